"""`Degradation`: what a measurement is taken of, and what holds for all: adjoints, rough images.

A rough image is made of a measurement without a model: enlarged, its holes filled. Restoring starts
from it.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Degradation",
    "Everywhere",
    "adjoint",
    "check_followed",
    "check_images",
    "degraded",
    "filled",
    "rough_image",
]


class Degradation(Protocol):
    """`A`, the same for every image of a batch; differentiable unless its class says otherwise.

    It may also have `guess(y, shape)`: a rough image `(B, *shape)` for a measurement `y`, made
    without a model, from which restoring starts.
    """

    @property
    def name(self) -> str:
        """Its name in messages and files."""
        ...

    @property
    def linear(self) -> bool:
        """Whether `A(a x + b u) = a A(x) + b A(u)`."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """`A(x)`: `(B, C, H, W)` -> `(B, C', H', W')`, C' 1 or 3, on x's device and in its dtype.

        The same images have the same `A(x)` at every call: random parts are drawn at construction.
        """
        ...

    def observed(self, y: Tensor) -> Tensor | None:
        """Which entries of `y` are measured, bool, broadcastable to `y`; None is all of them."""
        ...

    def state(self) -> dict[str, Any]:
        """Its name and parameters, from which `degradation_from_state` builds it again."""
        ...


class Everywhere:
    """Base of degradations that measure every entry: their guess is the measurement, enlarged."""

    def observed(self, y: Tensor) -> Tensor | None:
        """See `Degradation.observed`; None: every entry is measured."""
        return None

    def guess(self, y: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """See `rough_image`; `y` itself, enlarged by bicubic interpolation if it is
        smaller, grey in every channel if it has one."""
        if y.shape[-2:] != shape[1:]:
            y = F.interpolate(y, size=shape[1:], mode="bicubic", align_corners=False)
        return y.expand(-1, shape[0], -1, -1)


def check_images(x: Tensor) -> None:
    """Raise unless `x` is a batch of floating-point images.

    Raises:
        TypeError: not floating.
        ValueError: not `(B, C, H, W)` with 1 or 3 channels.
    """
    if not x.is_floating_point():
        raise TypeError(f"images are floating in [-1, 1], got {x.dtype}; use x.float() / 127.5 - 1")
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"images are (B, 1 or 3, H, W), got {tuple(x.shape)}")


def degraded(degradation: Degradation, images: Tensor) -> Tensor:
    """`A(x)` of a copy of the images, which a degradation of one's own may write on.

    Raises:
        TypeError: no floating tensor comes out.
        ValueError: another number of images, no images of 1 or 3 channels, or none that the
            gradient of `images` reaches.
    """
    made: Any = degradation(images.clone())
    if not isinstance(made, Tensor):
        raise TypeError(
            f"{degradation.name} of images is a tensor (B, C', H', W'), got {type(made).__name__}"
        )
    if made.ndim != 4 or len(made) != len(images) or made.shape[1] not in (1, 3):
        raise ValueError(
            f"{degradation.name} of images {tuple(images.shape)} must be "
            f"({len(images)}, 1 or 3, H', W'), got {tuple(made.shape)}; masks that differ by image "
            "are degradations of their own, measured one by one"
        )
    if not made.is_floating_point():
        raise TypeError(f"{degradation.name} of images is in their dtype, got {made.dtype}")
    check_followed(degradation.name, made, images)
    return made


def check_followed(name: str, made: Tensor, images: Tensor) -> None:
    """Raise `ValueError` if the gradient of `images` is asked for and does not reach `made`."""
    if images.requires_grad and torch.is_grad_enabled() and not made.requires_grad:
        raise ValueError(
            f"{name} passes no gradient on to its images, so nothing can follow it; "
            "compute it by torch without detach or numpy, or take estimator='rloo', or a method "
            "without gradients such as 'fk'"
        )


def rough_image(degradation: Degradation, y: Tensor, shape: tuple[int, int, int]) -> Tensor | None:
    """A rough image `(B, *shape)` for a measurement `y`, made without a model: enlarged, its holes
    filled. None if the degradation has no `guess`."""
    guess = getattr(degradation, "guess", None)
    made: Tensor | None = None if guess is None else guess(y.clone(), shape)
    return made


def filled(y: Tensor, observed: Tensor, rounds: int = 200) -> Tensor:
    """`y (B, C, H, W)` with smooth values where `observed` (bool, y's shape) is False.

    They start as the mean of what is observed and become the mean of their neighbours, `rounds`
    times.
    """
    seen = torch.where(observed, y, torch.zeros_like(y))
    mean = seen.sum((2, 3), keepdim=True) / observed.sum((2, 3), keepdim=True)
    x = torch.where(observed, y, mean.expand_as(y))
    for _ in range(rounds):
        near = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = torch.where(observed, y, near)
    return x


def adjoint(degradation: Degradation, y: Tensor, like: Tensor) -> Tensor:
    """`A^T y` of a linear degradation, in the shape of the images `like (B, C, H, W)`.

    Raises:
        ValueError: the degradation is not linear.
    """
    if not degradation.linear:
        raise ValueError(
            f"{degradation.name} is not linear and has no adjoint; use a linear degradation"
        )
    with torch.enable_grad():
        x = torch.zeros_like(like).requires_grad_()
        (found,) = torch.autograd.grad(degraded(degradation, x), x, y.to(like))
    return found
