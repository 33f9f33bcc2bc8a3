"""A call of an image pipeline: its checked request, and the run that fills canvases in batches."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ..core.config import APSConfig
from ..core.cost import Cost, MeteredDenoiser, metered
from ..core.noise import Noise
from ..core.operator import Operator, ZeroOperator
from ..core.presets import IMAGE_PRESETS, PRESETS, image_preset
from ..core.routing import DEFAULTS
from ..core.sampler import Method
from ..core.states import StepState
from ..methods.ancestral import Ancestral
from ..methods.aps import APS
from ..methods.draws import Draws
from ..methods.registry import IMAGE_METHODS, as_method
from ..methods.unread import refuse_unread, refuse_unsteered
from ..models.checkpoint_files import machine_memory
from .any_image_model import AnyImageModel, masked_canvas
from .inputs import as_count, kind_of
from .progress import progress_bar

__all__ = ["Callbacks", "ImageCall", "check_on_sample", "refuse_unguided"]

OF_TEXT = {
    **dict.fromkeys(
        ("max_new_tokens", "min_new_tokens", "eos_penalty", "prefer_ended"),
        "an image has a fixed number of tokens",
    ),
    "num_return_sequences": "use samples=",
    "block_length": "images are not filled from left to right",
    "prefix_reuse": "there is no prompt",
    **dict.fromkeys(("bridge", "reward_timeout"), "a measurement is no text reward"),
}
"""Settings of text alone, and why they have no effect on images."""

GUIDED = tuple(
    kind for kind in IMAGE_METHODS.values() if isinstance(kind, type) and kind is not Ancestral
)
"""The methods that need something that guides."""

log = logging.getLogger(__name__)

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Callbacks:
    """How a caller follows the samples of one image; see `RestorationPipeline.paint`."""

    on_step: Callable[[int, StepState], None] | None
    on_sample: Callable[[int, Tensor], None] | None
    progress: bool | None


@dataclass(frozen=True)
class ImageCall:
    """What a call asks for; make it with `of`, which checks.

    Attributes:
        method, config: what runs, and its settings.
        samples: n >= 1 per image.
    """

    method: Method
    config: APSConfig
    samples: int

    @classmethod
    def of(
        cls,
        method: str | Method,
        samples: int,
        config: APSConfig | None,
        preset: str | None,
        options: dict[str, Any],
        *,
        sampled: bool = False,
        usual: Mapping[str, Any] = NO_SETTINGS,
    ) -> ImageCall:
        """Check a call.

        Args:
            method: a name in `methods.registry.IMAGE_METHODS`, or a method.
            config, preset, options: settings, or single ones on top of a preset of images, None
                is `restore`. Of a config, what only texts read is refused; what this method
                ignores is not, so that one config can go to several methods.
            sampled: candidates are drawn by default, also for one sample of "aps".
            usual: the model's own defaults on top of the preset.

        Raises:
            TypeError, ValueError: naming the value and the mend.
        """
        if config is not None and (preset is not None or options):
            raise TypeError("pass either config=... or preset and options, not both")
        preset = image_preset(preset)
        count, runner = as_count("samples", samples), as_method(IMAGE_METHODS, method)
        settings = config
        if settings is None:
            drawn = sampled or count > 1 or not isinstance(runner, APS)
            settings = settings_for(runner, options, drawn, usual, preset)
        if not isinstance(settings, APSConfig):
            raise TypeError(f"config is an APSConfig, got {kind_of(settings)}")
        if config is not None:
            refuse_text(config)
        quantized = settings.sampler.candidate == "quantized"
        if count > 1 and quantized and not Draws(samples=False).sources(settings):
            raise ValueError(
                f"candidate='quantized' makes {count} identical images; use "
                "candidate='sample' or samples=1"
            )
        return cls(runner, settings, count)

    def run(
        self,
        model: AnyImageModel,
        operator: Operator,
        conditions: Sequence[Any],
        seeds: Sequence[int],
        *,
        given: Tensor | None = None,
        batch_size: int,
        label: str,
        on_step: Callable[[int, StepState], None] | None = None,
        on_batch: Callable[[Sequence[tuple[int, int]], Tensor], None] | None = None,
        progress: bool | None = None,
    ) -> tuple[Tensor, Cost]:
        """Token ids `(B, n, L)` of the samples of B images, and the cost.

        Args:
            operator: bound to the B images.
            conditions: one per image, of the model's `conditions`.
            seeds: one per image; with the draw's number they determine a sample.
            given: `(B, L)` tokens that stay, the mask id where open; None opens all.
            batch_size: maximal number of samples in one pass.
            label: of the progress bar.
            on_step, progress: see `RestorationPipeline`.
            on_batch: called after each batch with the (image, draw) of its samples, and their
                tokens `(n, L)`.

        Raises:
            TypeError: an `on_step` that cannot be called.
            ValueError: more samples than this machine has memory for.
        """
        if on_step is not None and not callable(on_step):
            raise TypeError(f"on_step is called as on_step(index, state); got {kind_of(on_step)}")
        device, config, count = model.device, self.config, len(conditions)
        layers = config.model.lora_layers if config.sampler.fits_lora else 0
        check_room(model, count, self.samples)
        cost, found = Cost(), []
        pairs = [(row, draw) for row in range(count) for draw in range(self.samples)]
        with progress_bar(len(pairs) * config.sampler.steps, label, progress) as bar:
            for first in range(0, len(pairs), batch_size):
                part = pairs[first : first + batch_size]
                rows = torch.tensor([row for row, _ in part], device=device)
                noise = Noise(
                    torch.tensor([seeds[row] for row, _ in part], device=device),
                    torch.tensor([draw for _, draw in part], device=device),
                )
                chosen, scale = [conditions[row] for row, _ in part], config.model.cfg_scale
                denoiser = MeteredDenoiser(model.denoiser(chosen, len(part), scale, layers), cost)
                bound = metered(operator.take(rows), cost)
                canvas = masked_canvas(model, len(rows), None if given is None else given[rows])
                z = canvas.z
                for state in self.method.steps(denoiser, bound, canvas, config, noise):
                    z = state.z
                    share = (state.step + 1) / state.steps
                    bar.update((first + len(part) * share) * config.sampler.steps - bar.n)
                    if on_step is not None:
                        on_step(state.step, state.copy())
                found.append(z)
                if on_batch is not None:
                    on_batch(part, z)
        ids = torch.cat(found).unflatten(0, (count, self.samples))
        warn_if_alike(ids, config)
        guides = not isinstance(self.method, Ancestral) and not isinstance(operator, ZeroOperator)
        if guides and not cost.reward_forwards:
            log.warning(
                "nothing was steered: by these settings (inner_steps, trust_region, ...) what was "
                "measured, or the style, was never looked at; raise them, or take method='plain'"
            )
        return ids, cost


def check_on_sample(on_sample: object, arguments: str) -> None:
    """Raise `TypeError` for an `on_sample` that cannot be called with the `arguments`."""
    if on_sample is not None and not callable(on_sample):
        raise TypeError(f"on_sample is called as on_sample({arguments}); got {kind_of(on_sample)}")


def warn_if_alike(ids: Tensor, config: APSConfig) -> None:
    """Warn of samples that temperature 0 made identical, whose spread says nothing."""
    if (
        ids.shape[1] > 1
        and config.sampler.draw.temperature == 0
        and bool((ids == ids[:, :1]).all())
    ):
        log.warning(
            "temperature=0 made %d identical images; leave it out, or take samples=1", ids.shape[1]
        )


def check_room(model: AnyImageModel, count: int, samples: int) -> None:
    """Raise `ValueError` if the samples of `count` images are larger than the memory they lie in.

    They are drawn and decoded in batches, and held all: as tokens, as images, and once more while
    the batches' images are put together.
    """
    each = 2 * 4 * math.prod(model.size) + 2 * 8 * model.tokens
    device = torch.device(model.device)
    if device.type == "cuda":
        room: int | None = torch.cuda.get_device_properties(device).total_memory
    else:
        room = machine_memory()
    if room is not None and each * count * samples > room:
        raise ValueError(
            f"samples={samples} of {count} image(s) take {each * count * samples / 2**30:.3g} GiB, "
            f"and there are {room / 2**30:.1f}; ask for at most "
            f"{max(1, room // (2 * each * count))}, and call again with another seed"
        )


def refuse_text(config: APSConfig) -> None:
    """Raise `ValueError` for a preset of texts, or a setting of text alone that the caller has
    changed."""
    if config.preset not in IMAGE_PRESETS:
        raise ValueError(
            f"config is of preset={config.preset!r}, which is for texts; make it by "
            "APSConfig('restore', ...), or pass its fields as keywords"
        )
    usual = [APSConfig(preset).flat() for preset in PRESETS]
    for name, value in config.flat().items():
        if name in OF_TEXT and all(value != one.get(name, DEFAULTS[name]) for one in usual):
            raise ValueError(f"config has {name}={value!r}, no use here: {OF_TEXT[name]}")


def refuse_unguided(method: Method) -> None:
    """Raise `ValueError` for a method that needs something that guides, where nothing does."""
    if isinstance(method, GUIDED):
        raise ValueError(
            f"{type(method).__name__} fits or chooses by what guides, and nothing does: "
            "give a style (aps paint --reference), or leave the method out"
        )


def settings_for(
    method: Method,
    options: dict[str, Any],
    drawn: bool,
    usual: Mapping[str, Any] = NO_SETTINGS,
    preset: str = "restore",
) -> APSConfig:
    """The settings of a preset of images with `options`; raises for one without effect."""
    for name in options:
        if name in OF_TEXT:
            raise ValueError(f"{name}={options[name]!r} has no use here: {OF_TEXT[name]}")
    if drawn:
        options = {"candidate": "sample", **options}
    made = APSConfig.make(preset, **options)
    # What is measured has a gradient.
    refuse_unread(method, options, preset, draws=Draws(samples=False))
    refuse_unsteered(method, made)
    missing = {name: value for name, value in usual.items() if name not in options}
    return made.replace(**missing) if missing else made
