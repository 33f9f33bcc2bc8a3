"""Degradations `A(x)` of images `(B, C, H, W)` in [-1, 1], of which a measurement is taken.

    super-resolution   antialiased bicubic, a = -0.5         linear
    blur               k * x, a Gaussian or a motion path    linear
    inpainting         m x, m in {0, 1}                      linear
    grayscale          0.299 R + 0.587 G + 0.114 B           linear
    hdr                clip(2 x, -1, 1)                      zero gradient where it saturates
    nonlinear blur     (k * x'^g)^(1/g), x' = (x + 1) / 2    blur of linear light, then a tone curve
    jpeg               rounded block cosines                 gradient of the rounding taken as 1

Random parts are drawn once, at construction, from an explicit generator, and are in `state()`.
Definitions: Chung et al. 2023, "Diffusion Posterior Sampling for General Noisy Inverse Problems"
(https://arxiv.org/abs/2209.14687). `tasks` names those that benchmarks and commands offer.
A new degradation is a class here and an entry in `KINDS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.limits import check_number
from .degradation import Degradation, Everywhere, check_images, filled, rough_image
from .kernels import check_kernel, convolve, own_copy

__all__ = [
    "Blur",
    "Compose",
    "Grayscale",
    "HighDynamicRange",
    "Inpainting",
    "JpegLike",
    "NonlinearBlur",
    "SuperResolution",
    "degradation_from_state",
]


@dataclass(frozen=True)
class SuperResolution(Everywhere):
    """Antialiased bicubic reduction by `factor` >= 2, which must divide the image's size."""

    factor: int
    name: ClassVar[str] = "super-resolution"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole = isinstance(self.factor, Integral) and not isinstance(self.factor, bool)
        if not whole or self.factor < 2:
            raise ValueError(f"factor is a whole number of at least 2, got {self.factor!r}")
        object.__setattr__(self, "factor", int(self.factor))

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`."""
        check_images(x)
        size = tuple(side // self.factor for side in x.shape[-2:])
        if any(side % self.factor for side in x.shape[-2:]):
            raise ValueError(
                f"an image of {x.shape[-1]} x {x.shape[-2]} pixels is not divisible by factor="
                f"{self.factor}; crop or resize it"
            )
        return F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name, "factor": self.factor}


@dataclass(frozen=True)
class Blur(Everywhere):
    """`k * x` with one kernel `(h, w)` of odd sides for every channel, mirrored at the border."""

    kernel: Tensor
    name: ClassVar[str] = "blur"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_kernel(self.kernel)
        object.__setattr__(self, "kernel", own_copy(self.kernel))

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`."""
        check_images(x)
        return convolve(x, self.kernel)

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name, "kernel": self.kernel}


@dataclass(frozen=True)
class NonlinearBlur(Everywhere):
    """`(k * x'^gamma)^(1/gamma)`: blur of linear light, then the tone curve; gamma > 0."""

    kernel: Tensor
    gamma: float = 2.2
    name: ClassVar[str] = "nonlinear-blur"
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_kernel(self.kernel)
        object.__setattr__(self, "kernel", own_copy(self.kernel))
        check_number("gamma", self.gamma, (0, 1e3, False))

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`; values outside of [-1, 1] are clipped."""
        check_images(x)
        # The lower bound keeps the root's slope finite at black pixels.
        light = ((x.clamp(-1, 1) + 1) / 2).clamp_min(1e-4).pow(self.gamma)
        return convolve(light, self.kernel).clamp_min(1e-9).pow(1 / self.gamma) * 2 - 1

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name, "kernel": self.kernel, "gamma": self.gamma}


@dataclass(frozen=True)
class Inpainting:
    """`m x`: pixels where the mask `(H, W)` bool is False are not measured (and read 0).

    `images.files.read_mask` and the mask of an edit are the other way round: True is missing.
    """

    mask: Tensor
    name: ClassVar[str] = "inpainting"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.mask, Tensor):
            raise TypeError(
                f"a mask is a tensor (H, W), got {type(self.mask).__name__}; of a file with white "
                "holes it is ~images.files.read_mask(path)"
            )
        if self.mask.ndim != 2:
            raise ValueError(f"a mask is (H, W), got {tuple(self.mask.shape)}")
        if self.mask.dtype != torch.bool:
            values = self.mask.unique()
            if not bool(((values == 0) | (values == 1)).all()):
                raise ValueError(
                    "a mask may only hold 0 (unknown) and 1 (measured), got values between "
                    f"{float(values.min()):g} and {float(values.max()):g}; threshold it first"
                )
        if not bool(self.mask.any()):
            raise ValueError("the mask is 0 (unknown) everywhere; set measured pixels to 1")
        object.__setattr__(self, "mask", own_copy(self.mask.bool()))

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`."""
        check_images(x)
        if x.shape[-2:] != self.mask.shape:
            raise ValueError(
                f"the mask is {self.mask.shape[1]} x {self.mask.shape[0]} pixels and the image "
                f"{x.shape[-1]} x {x.shape[-2]}; they must have the same size"
            )
        return torch.where(self.mask.to(x.device), x, torch.zeros_like(x))

    def observed(self, y: Tensor) -> Tensor | None:
        """See `Degradation.observed`."""
        return self.mask.to(y.device)

    def guess(self, y: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """See `rough_image`; the holes are filled smoothly from around them."""
        return filled(y, self.mask.to(y.device).expand_as(y))

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name, "mask": self.mask}


@dataclass(frozen=True)
class HighDynamicRange(Everywhere):
    """`clip(scale x, -1, 1)`; saturated pixels have no gradient."""

    scale: float = 2.0
    name: ClassVar[str] = "hdr"
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("scale", self.scale, (0, 1e6, False))

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`."""
        check_images(x)
        return (self.scale * x).clamp(-1, 1)

    def guess(self, y: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """See `rough_image`; what was clipped stays at the limit."""
        return y / self.scale

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name, "scale": self.scale}


@dataclass(frozen=True)
class Grayscale(Everywhere):
    """Luma of ITU-R BT.601, `(B, 3, H, W)` -> `(B, 1, H, W)`."""

    name: ClassVar[str] = "grayscale"
    linear: ClassVar[bool] = True

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`."""
        check_images(x)
        if x.shape[1] != 3:
            raise ValueError(
                f"grayscale takes images of 3 channels, got {x.shape[1]}; a model of grey images "
                "has no colours to restore"
            )
        weights = x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        return (x * weights).sum(1, keepdim=True)

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name}


# The luminance table of JPEG's Annex K.
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)


@dataclass(frozen=True)
class JpegLike(Everywhere):
    """DCT coefficients of 8 x 8 blocks rounded by JPEG's luminance table, `quality` in [1, 100].

    This is the loss of a grey JPEG: chroma is not subsampled. The gradient of the rounding is taken
    as 1 (straight-through).
    """

    quality: int = 20
    name: ClassVar[str] = "jpeg"
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.quality, bool) or not isinstance(self.quality, Integral):
            raise TypeError(f"quality is a whole number, got {self.quality!r}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be in [1, 100], got {self.quality}")
        object.__setattr__(self, "quality", int(self.quality))

    @property
    def table(self) -> Tensor:
        """`(8, 8)` rounding steps of the coefficients, for pixels in [0, 255]."""
        scale = 5000 / self.quality if self.quality < 50 else 200 - 2 * self.quality
        steps = (torch.tensor(LUMINANCE, dtype=torch.double) * scale + 50) / 100
        return steps.floor().clamp(1, 255).view(8, 8)

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`."""
        check_images(x)
        high, wide = x.shape[-2:]
        padded = F.pad(x, (0, -wide % 8, 0, -high % 8), mode="replicate")
        basis, table = cosines(8).to(x), self.table.to(x)
        blocks = padded.unfold(-2, 8, 8).unfold(-2, 8, 8) * 127.5
        steps = (basis @ blocks @ basis.T) / table
        rounded = steps + (steps.round() - steps).detach()
        back = basis.T @ (rounded * table) @ basis / 127.5
        whole = back.transpose(-3, -2).reshape(padded.shape)
        return whole[..., :high, :wide]

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name, "quality": self.quality}


@dataclass(frozen=True)
class Compose:
    """`A_n(... A_1(x))`.

    What an earlier part does not measure is 0 to the next one, and part of what that measures; only
    the last one's gaps are gaps of the measurement.
    """

    parts: Sequence[Degradation]
    name: str = field(default="composed")

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Sequence):  # a generator would be empty after its check
            raise TypeError(
                f"a composition is of a list of degradations, got a {type(self.parts).__name__}"
            )
        if not self.parts:
            raise ValueError("a composition needs at least one degradation, got none")
        for part in self.parts:
            if isinstance(part, type) or not callable(part):
                raise TypeError(
                    f"a composition is of degradations, got {part!r}; make_task makes one by name"
                )
        object.__setattr__(self, "parts", tuple(self.parts))

    @property
    def linear(self) -> bool:
        """Whether all parts are linear."""
        return all(part.linear for part in self.parts)

    def __call__(self, x: Tensor) -> Tensor:
        """See `Degradation.__call__`."""
        for part in self.parts:
            x = part(x)
        return x

    def observed(self, y: Tensor) -> Tensor | None:
        """See `Degradation.observed`."""
        return self.parts[-1].observed(y)

    def guess(self, y: Tensor, shape: tuple[int, int, int]) -> Tensor | None:
        """See `rough_image`; the parts' guesses, from the last to the first."""
        x, shapes = y.new_zeros(1, *shape), []
        for part in self.parts:
            shapes.append((x.shape[1], x.shape[2], x.shape[3]))
            x = part(x)
        found: Tensor | None = y
        for part, own in zip(reversed(self.parts), reversed(shapes), strict=True):
            found = None if found is None else rough_image(part, found, own)
        return found

    def state(self) -> dict[str, Any]:
        """See `Degradation.state`."""
        return {"name": self.name, "parts": [part.state() for part in self.parts]}


def cosines(size: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II) `(size, size)`, double."""
    at = torch.arange(size, dtype=torch.double)
    table = torch.cos(math.pi / size * (at + 0.5) * at[:, None]) * math.sqrt(2 / size)
    table[0] /= math.sqrt(2)
    return table


def degradation_from_state(state: dict[str, Any]) -> Degradation:
    """The inverse of `Degradation.state`.

    Raises:
        ValueError: an unknown name.
    """
    values = dict(state)
    name = values.pop("name", None)
    if "parts" in values:
        return Compose([degradation_from_state(part) for part in values["parts"]], str(name))
    for kind in KINDS:
        if kind.name == name:
            made: Degradation = kind(**values)
            return made
    raise ValueError(
        f"no degradation is called {name!r}; known: {', '.join(k.name for k in KINDS)}"
    )


KINDS: tuple[Any, ...] = (
    SuperResolution,
    Blur,
    NonlinearBlur,
    Inpainting,
    HighDynamicRange,
    Grayscale,
    JpegLike,
)
