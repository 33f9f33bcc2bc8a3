"""`RestorationPipeline`: restores images from measurements with the sampler that steers text.

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

from ..core.config import APSConfig
from ..core.cost import Cost, MeteredDenoiser, metered
from ..core.noise import Noise
from ..core.sampler import Method, StepState
from ..core.settings import LoRA
from ..images.degradations import Degradation, make_task
from ..images.measurement import Measurement
from ..methods.ancestral import Ancestral
from ..methods.aps import APS
from ..methods.registry import IMAGE_PEERS, PEERS
from ..methods.unread import refuse_unread
from .image_model import ImageModel, load_image_model
from .inputs import as_count, as_seeds, kind_of

__all__ = ["RestorationOutput", "RestorationPipeline"]


@dataclass
class RestorationOutput:
    """Restored images of B measurements, n samples each.

    Attributes:
        images: `(B, n, C, H, W)` in [-1, 1], clipped.
        ids: `(B, n, L)` their tokens.
        chi2: `(B, n)`; see `Measurement.chi2`.
        measurement: the input.
        cost: of the call.
    """

    images: Tensor
    ids: Tensor
    chi2: Tensor
    measurement: Measurement
    cost: Cost

    @property
    def mean(self) -> Tensor:
        """`(B, C, H, W)`: the samples' mean; its squared error is at most the mean of theirs."""
        return self.images.mean(1)

    @property
    def spread(self) -> Tensor:
        """`(B, C, H, W)`: the standard deviation of the samples; 0 for one sample."""
        if self.images.shape[1] == 1:
            return torch.zeros_like(self.mean)
        return self.images.std(1)

    def __repr__(self) -> str:
        """The number of images and samples, and the mean chi2."""
        count, samples = self.images.shape[:2]
        return (
            f"RestorationOutput({count} images, {samples} sample(s), "
            f"chi2 {float(self.chi2.mean()):.2f})"
        )


class RestorationPipeline:
    """Restore images from measurements with a masked model of their tokens.

    Args:
        model: tokenizer and prior.
        batch_size: maximal number of samples in one pass, >= 1.
    """

    def __init__(self, model: ImageModel, *, batch_size: int = 16) -> None:
        self.model, self.batch_size = model, as_count("batch_size", batch_size)

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
            task: a name in `images.degradations.TASKS`, or a `Degradation`.
            sigma, model_sigma: see `Measurement`.
            seed: of the noise, and of the random parts of a task given by name.

        Raises:
            ValueError: images of another size, or an unknown task.
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
        """The measurement with this model's tokenizer."""
        tokenizer = self.model.tokenizer
        return replace(
            measurement,
            y=measurement.y.to(self.model.prior.positions.device),
            decode=tokenizer.decode,
            codebook=tokenizer.codebook,
            encode=tokenizer.encode,
            shape=self.size,
        )

    def __call__(
        self,
        measurement: Measurement,
        attributes: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        *,
        method: str | Method = "aps",
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        config: APSConfig | None = None,
        on_step: Callable[[int, StepState], None] | None = None,
        **options: Any,
    ) -> RestorationOutput:
        """Restore images from a measurement.

        Args:
            measurement: of B images of this model's size.
            attributes: known attributes of the images by name, one mapping for all or one each.
            method: a name in `METHODS`, or a `Method` object.
            samples: n >= 1 per measurement, each with its own draws. With n > 1 or a method other
                than "aps" the default becomes `candidate="sample"`: quantised expectations of
                several samples would be identical.
            seeds: one per measurement; default: the setting `seed` for each. A measurement and its
                seed determine its images, whatever the batch.
            config: settings; or single `options` (`APSConfig`'s keywords) on top of
                `preset="restore"`. `cfg_scale` guides towards the attributes.
            on_step: called as `on_step(index, state)` after each denoising step of each batch.

        Raises:
            TypeError, ValueError: naming the value and the mend.
        """
        if config is not None and options:
            raise TypeError("pass either config=... or single options, not both")
        samples, runner = as_count("samples", samples), _method(method)
        settings = self._settings(samples, runner, options) if config is None else config
        if not isinstance(settings, APSConfig):
            raise TypeError(f"config is an APSConfig, got {kind_of(settings)}")
        if samples > 1 and settings.sampler.candidate == "quantized":
            raise ValueError(
                f"candidate='quantized' makes {samples} identical images; use "
                "candidate='sample' or samples=1"
            )
        count = len(measurement.y)
        own = as_seeds(seeds, settings.call.seed, count)
        device = self.model.prior.positions.device
        operator = self.bound(measurement)
        values = self._values(attributes, count).to(device)
        fit = settings.sampler.fit
        layers = settings.model.lora_layers if fit and isinstance(fit.phi, LoRA) else 0
        cost, found = Cost(), []
        pairs = [(row, draw) for row in range(count) for draw in range(samples)]
        for first in range(0, len(pairs), self.batch_size):
            part = pairs[first : first + self.batch_size]
            rows = torch.tensor([row for row, _ in part], device=device)
            noise = Noise(
                torch.tensor([own[row] for row, _ in part], device=device),
                torch.tensor([draw for _, draw in part], device=device),
            )
            scale = settings.model.cfg_scale
            denoiser = MeteredDenoiser(
                self.model.denoiser(values[rows], len(rows), scale, layers), cost
            )
            bound = metered(operator.take(rows), cost)
            canvas = self.model.canvas(len(rows))
            z = canvas.z
            for state in runner.steps(denoiser, bound, canvas, settings, noise):
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

    def _settings(self, samples: int, method: Method, options: dict[str, Any]) -> APSConfig:
        for name in options:
            if name in OF_TEXT:
                raise ValueError(f"{name}={options[name]!r} has no use here: {OF_TEXT[name]}")
        if samples > 1 or not isinstance(method, APS):
            options = {"candidate": "sample", **options}
        made = APSConfig.make("restore", **options)
        refuse_unread(method, options, "restore")
        return made

    def _values(
        self, attributes: Mapping[str, str] | Sequence[Mapping[str, str]] | None, count: int
    ) -> Tensor:
        prior = self.model.prior.config
        if attributes is None or isinstance(attributes, Mapping):
            return prior.values(attributes or {}).expand(count, -1)
        if len(attributes) != count:
            raise ValueError(
                f"attributes has {len(attributes)} mappings for {count} measurements; give one "
                "for all, or one for each"
            )
        return torch.cat([prior.values(one) for one in attributes])


OF_TEXT = {
    **dict.fromkeys(
        ("max_new_tokens", "min_new_tokens", "eos_penalty"), "an image has a fixed number of tokens"
    ),
    "num_return_sequences": "use samples=",
    "block_length": "images are not filled from left to right",
    "prefix_reuse": "there is no prompt",
    **dict.fromkeys(("bridge", "reward_timeout"), "a measurement is no text reward"),
}
"""Settings of text alone, and why they have no effect on images."""

METHODS: dict[str, Callable[..., Method]] = {
    "aps": APS,
    "plain": Ancestral,
    **PEERS,
    **IMAGE_PEERS,
}


def _method(method: str | Method) -> Method:
    if not isinstance(method, str):
        if isinstance(method, type) or not callable(getattr(method, "steps", None)):
            raise TypeError(
                f"method is one of {', '.join(METHODS)}, or an object with `steps`; got {method!r}"
            )
        return method
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    return METHODS[method]()
