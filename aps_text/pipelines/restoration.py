"""`RestorationPipeline`: a measurement in, restored images out, by the sampler that steers text.

pipe = RestorationPipeline.from_pretrained("mini-garments")
measured = pipe.measure(images, "sr4")              # or Measurement(degradation, y, sigma)
restored = pipe(measured, {"class": "bag"}, samples=4)
restored.images                                     # (B, 4, C, H, W) in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.adapters import CodeTilt
from ..core.config import APSConfig
from ..core.cost import Cost, MeteredDenoiser, metered
from ..core.noise import Noise
from ..core.protocols import Adapter
from ..core.sampler import Method, StepState
from ..images.degradations import Degradation, make_task
from ..images.measurement import Measurement
from ..methods.ancestral import Ancestral
from ..methods.aps import APS
from ..methods.registry import PEERS
from .image_model import ImageModel, load_image_model

__all__ = ["RESTORE", "RestorationOutput", "RestorationPipeline"]

RESTORE: dict[str, Any] = {
    "steps": 16,
    "inner_steps": 5,
    "prior": "kl",
    "likelihood_weight": "posterior",
    "beta": 1.0,
    "relaxation": "quantized",
    "quantizer": "nearest",
    "candidate": "quantized",
    "adapter": "logits",
    "trust_region": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "min_new_tokens": 0,
}
"""The settings of `preset="restore"`, beside the tilt's own (`RestorationPipeline.__call__`)."""


@dataclass
class RestorationOutput:
    """Restored images of B measurements, n samples each.

    Attributes:
        images: `(B, n, C, H, W)` in [-1, 1], clipped.
        ids: `(B, n, L)` their tokens.
        chi2: `(B, n)`; see `Measurement.chi2`.
        measurement: what was measured.
        cost: what it took.
    """

    images: Tensor
    ids: Tensor
    chi2: Tensor
    measurement: Measurement
    cost: Cost

    @property
    def mean(self) -> Tensor:
        """`(B, C, H, W)`: the mean of the samples, nearer to the truth than each of them."""
        return self.images.mean(1)

    @property
    def spread(self) -> Tensor:
        """`(B, C, H, W)`: their standard deviation, 0 of one sample."""
        if self.images.shape[1] == 1:
            return torch.zeros_like(self.mean)
        return self.images.std(1)

    def __repr__(self) -> str:
        """Its sizes and how well the measurements are explained."""
        count, samples = self.images.shape[:2]
        return (
            f"RestorationOutput({count} images, {samples} sample(s), "
            f"chi2 {float(self.chi2.mean()):.2f})"
        )


class RestorationPipeline:
    """Restore images from measurements with a masked model of their tokens.

    Args:
        model: tokenizer and prior.
        batch_size: most samples in one pass.
    """

    def __init__(self, model: ImageModel, *, batch_size: int = 16) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is an integer of at least 1, got {batch_size!r}")
        self.model, self.batch_size = model, batch_size

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "mini-garments",
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 16,
    ) -> RestorationPipeline:
        """Load an embedded image model by name, or a folder of the same layout."""
        return cls(load_image_model(name, device), batch_size=batch_size)

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        config = self.model.tokenizer.config
        return config.channels, config.size, config.size

    def measure(
        self,
        images: Tensor,
        task: str | Degradation,
        *,
        sigma: float = 0.05,
        seed: int = 0,
        model_sigma: float = 0.0,
    ) -> Measurement:
        """Simulate a measurement of clean images `(B, C, H, W)` in [-1, 1].

        Args:
            task: a name in `images.degradations.TASKS`, whose random part `seed` draws, or an
                object.
            sigma, model_sigma: see `Measurement`.

        Raises:
            ValueError: images of another size, or no such task.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.size:
            raise ValueError(
                f"{self.model.name} restores images (B, {', '.join(map(str, self.size))}), got "
                f"{tuple(images.shape)}"
            )
        degradation = make_task(task, self.size[1:], seed) if isinstance(task, str) else task
        generator = torch.Generator().manual_seed(seed)
        made = Measurement.simulate(degradation, images, sigma, generator, model_sigma=model_sigma)
        return self.bound(made)

    def bound(self, measurement: Measurement) -> Measurement:
        """The measurement with this model's decoder and codes."""
        tokenizer = self.model.tokenizer
        return replace(measurement, decode=tokenizer.decode, codebook=tokenizer.codebook)

    def __call__(
        self,
        measurement: Measurement,
        attributes: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        *,
        method: str | Method = "aps",
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        seed: int = 0,
        tilt_rate: float = 0.3,
        tilt_keep: float = 1.0,
        tilt_start: float = 0.0,
        cfg_scale: float = 0.0,
        config: APSConfig | None = None,
        on_step: Callable[[int, StepState], None] | None = None,
        **options: Any,
    ) -> RestorationOutput:
        """Restore.

        Args:
            measurement: of B images of this model's size.
            attributes: what the images are known to be, for all or one mapping each.
            method: a name in `METHODS`, or an object.
            samples: n per measurement, each with its own draws; above 1, candidates are drawn
                (`candidate="sample"`), since the quantised expectation is the same every time.
            seeds, seed: one per measurement, or the same for all. A measurement and its seed decide
                its images, whatever the batch.
            tilt_rate, tilt_keep, tilt_start: of the tilt (`core.adapters.CodeTilt`): Adam's rate,
                the share a step keeps, and where it starts, in units of the codes of `A^T y`: 0 is
                no start; about 1.5 helps where A averages (super-resolution), and hurts in holes.
            cfg_scale: classifier-free guidance towards the attributes.
            config: settings; or single `options` on top of `RESTORE`.

        Raises:
            TypeError, ValueError: naming the value and the mend.
        """
        if config is not None and options:
            raise TypeError("pass either config=... or single options, not both")
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise ValueError(f"samples is an integer of at least 1, got {samples!r}")
        settings = config or self._settings(samples, method, options)
        if samples > 1 and settings.sampler.candidate == "quantized":
            raise ValueError(
                f"candidate='quantized' makes {samples} images that are all alike; use "
                "candidate='sample' or samples=1"
            )
        count = len(measurement.y)
        own = [seed] * count if seeds is None else [int(one) for one in seeds]
        if len(own) != count:
            raise ValueError(f"seeds has {len(own)} values for {count} measurements")
        operator, runner = self.bound(measurement), _method(method)
        values = self._values(attributes, count)
        cost, found = Cost(), []
        pairs = [(row, draw) for row in range(count) for draw in range(samples)]
        for first in range(0, len(pairs), self.batch_size):
            part = pairs[first : first + self.batch_size]
            rows = torch.tensor([row for row, _ in part])
            noise = Noise(
                torch.tensor([own[row] for row, _ in part]),
                torch.tensor([draw for _, draw in part]),
            )
            denoiser = MeteredDenoiser(
                self.model.denoiser(values[rows], len(rows), cfg_scale), cost
            )
            bound = metered(operator.take(rows), cost)
            canvas = self.model.canvas(len(rows))
            call = denoiser, bound, canvas, settings, noise
            if isinstance(runner, APS) and settings.sampler.fit is not None:
                phi = self._phi(operator.take(rows), tilt_rate, tilt_keep, tilt_start)
                states = runner.steps(*call, phi)
            else:
                states = runner.steps(*call)
            z = canvas.z
            for state in states:
                z = state.z
                if on_step is not None:
                    on_step(state.step, state)
            found.append(z)
        ids = torch.cat(found)
        with torch.no_grad():
            images = self.model.tokenizer.decode_ids(ids).clamp(-1, 1)
            rows = torch.tensor([row for row, _ in pairs])
            chi2 = operator.take(rows).chi2(images)
        return RestorationOutput(
            images.unflatten(0, (count, samples)),
            ids.unflatten(0, (count, samples)),
            chi2.view(count, samples),
            measurement,
            cost.stop(ids.device),
        )

    def _settings(self, samples: int, method: str | Method, options: dict[str, Any]) -> APSConfig:
        usual = dict(RESTORE)
        if samples > 1 or method != "aps":
            usual["candidate"] = "sample"
        return APSConfig(**usual).replace(**options)

    def _values(
        self, attributes: Mapping[str, str] | Sequence[Mapping[str, str]] | None, count: int
    ) -> Tensor:
        prior = self.model.prior.config
        if attributes is None or isinstance(attributes, Mapping):
            return prior.values(attributes or {}).expand(count, -1)
        if len(attributes) != count:
            raise ValueError(f"{len(attributes)} attributes for {count} measurements")
        return torch.cat([prior.values(one) for one in attributes])

    def _phi(self, measurement: Measurement, rate: float, keep: float, start: float) -> Adapter:
        tokenizer = self.model.tokenizer
        shape = len(measurement.y), tokenizer.config.tokens, tokenizer.config.bits
        u = torch.zeros(shape, device=measurement.y.device)
        if start:
            like = torch.zeros(len(measurement.y), *self.size, device=measurement.y.device)
            with torch.no_grad():
                ids = measurement.start(tokenizer.encode, like)
            u = start * tokenizer.codebook.embed(ids)
        return CodeTilt(u, tokenizer.codebook, rate, keep=keep)


METHODS: dict[str, Callable[..., Method]] = {"aps": APS, "plain": Ancestral, **PEERS}


def _method(method: str | Method) -> Method:
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    return METHODS[method]()
