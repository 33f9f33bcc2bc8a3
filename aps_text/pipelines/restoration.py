"""`RestorationPipeline`: restores images from measurements with the sampler that steers text.

pipe = RestorationPipeline.from_pretrained("mini-garments")
measured = pipe.measure(images, "sr4")              # or Measurement(degradation, y, sigma)
restored = pipe(measured, {"class": "bag"}, samples=4)
restored.images                                     # (B, 4, C, H, W) in [-1, 1]

painted = pipe.paint({"class": "bag"}, style=pipe.style(reference, "histogram"), samples=4)
edited = pipe.edit(image, mask, {"class": "boot"})   # True in the mask: may change
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.config import APSConfig
from ..core.cost import Cost
from ..core.limits import Switch
from ..core.operator import Operator, ZeroOperator
from ..core.sampler import Method
from ..core.states import StepState
from ..images.degradation import Degradation
from ..images.editing import paste
from ..images.measurement import Measurement
from ..images.style import Style
from ..images.style_statistics import Statistic
from ..methods.aps import APS
from ..methods.aps_smc import APSSMC
from ..models.placement import as_device
from .any_image_model import AnyImageModel, Condition
from .image_call import Callbacks, ImageCall, check_on_sample, refuse_unguided
from .image_edits import new_edit
from .image_loading import load_any
from .image_measurements import (
    bound_measurement,
    bound_measurements,
    chi2_of,
    new_measurement,
    observed_measurement,
    terms_of,
    warn_of_unexplained,
)
from .image_output import PaintOutput, RestorationOutput
from .image_styles import bound_styles, new_style
from .inputs import as_count, as_seeds, kind_of, refuse_seeds
from .model_names import refuse_name
from .surroundings import shielded

__all__ = ["PaintOutput", "RestorationOutput", "RestorationPipeline"]


class RestorationPipeline:
    """Restore, paint and edit images with a masked model of their tokens.

    Args:
        model: tokenizer and prior.
        batch_size: maximal number of samples in one pass, >= 1.

    Raises:
        TypeError: a name or a folder, or a model of something else; `from_pretrained` loads one.
    """

    def __init__(self, model: AnyImageModel, *, batch_size: int = 16) -> None:
        refuse_name(type(self).__name__, model)
        if not isinstance(model, AnyImageModel):
            raise TypeError(
                f"{type(self).__name__}(...) takes a model of images, got {kind_of(model)}; "
                "from_pretrained loads one, of MMaDA with tokenizer='showlab/magvitv2'"
            )
        self.model, self.batch_size = model, as_count("batch_size", batch_size)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "mini-garments",
        *,
        tokenizer: str | Path | None = None,
        device: torch.device | str | int | None = "cpu",
        batch_size: int = 16,
        **options: Any,
    ) -> RestorationPipeline:
        """Load an embedded image model by name, a folder of the same layout, MMaDA, or aMUSEd.

        Args:
            name: of the model: an embedded one, a folder that `recipes/mini_image` exported, or a
                folder or hub id for MMaDA and aMUSEd (docs/image_models.md).
            tokenizer: folder or hub id of MMaDA's image tokenizer, `showlab/magvitv2`. aMUSEd has
                its own.
            device: of the weights; None is the CPU.
            batch_size: see the class.
            options: of MMaDA: see `load_text_image_model` (`size` in pixels, `dtype`, `device_map`,
                `load_in_4bit`, ...); of aMUSEd: see `load_diffusers_image_model` (`size`, `dtype`).

        Raises:
            ValueError: no such model or device, a model that is not supported, or that needs a
                `tokenizer`.
            TypeError: a name of another kind, options that the model does not take.
            ImportError: aMUSEd without diffusers.
        """
        as_count("batch_size", batch_size)  # before gigabytes are read
        if not isinstance(name, str | Path):
            raise TypeError(f"name is that of a model or a folder, got {kind_of(name)}")
        place = as_device(device) or "cpu"
        return cls(load_any(name, tokenizer, place, **options), batch_size=batch_size)

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.model.size

    @shielded
    def measure(
        self,
        images: Tensor,
        task: str | Degradation,
        *,
        sigma: float = 0.05,
        seed: int = 0,
        model_sigma: float = 0.0,
    ) -> Measurement:
        """Simulate a measurement of clean images `(B, C, H, W)` in [-1, 1], of 16 bits in float32.

        Args:
            task: a name in `images.tasks.TASKS`, or a `Degradation`.
            sigma, model_sigma: see `Measurement`.
            seed: of the noise, and of the random parts of a task given by name.

        Raises:
            ValueError: images of another size, pixels out of [-1, 1], an unknown task, or a
                degradation that is another one at each call or measures nothing.
            TypeError: no tensor, or one of integers.
        """
        return new_measurement(self.model, images, task, sigma, seed, model_sigma)

    @shielded
    def observe(
        self,
        y: Tensor,
        task: str | Degradation,
        *,
        sigma: float = 0.05,
        seed: int | None = None,
        model_sigma: float = 0.0,
    ) -> Measurement:
        """The measurement of degraded images `y (B, C', H', W')` in [-1, 1], as they are.

        Args:
            task: how they were degraded: a name in `images.tasks.TASKS`, or a `Degradation`.
                One with random parts (a hole, a path of motion) must be that very degradation.
                What it does not measure (a hole) becomes 0.
            sigma, model_sigma: see `Measurement`.
            seed: of the random parts of a task given by name; None for a task that has none.

        Raises:
            ValueError: images of another size than the task's, none, pixels far out of [-1, 1], an
                unknown task, or one with random parts without their seed.
            TypeError: no tensor, or one of integers.
        """
        return observed_measurement(self.model, y, task, sigma, seed, model_sigma)

    @shielded
    def style(
        self,
        reference: Tensor,
        statistic: str | Statistic = "channels",
        *,
        sigma: float | None = None,
        within: Tensor | None = None,
    ) -> Style:
        """The style of a reference image `(1, C, H, W)` in [-1, 1], for `paint` and `edit`.

        Args:
            statistic: `channels`, `gram` (of the features of the model's classifier, or of fixed
                filters if it has none), `histogram`, or a `Statistic`.
            sigma: standard deviation of every statistic, > 0; smaller is stricter. None is the
                statistic's usual one.
            within: `(H, W)` bool, the pixels of the reference that count; None is all of them. A
                background that counts is part of the style.

        Raises:
            ValueError: an image or a mask of another size, or an unknown statistic.
            TypeError: a statistic or a mask of another kind.
        """
        return new_style(self.model, reference, statistic, sigma, within)

    def bound(self, measurement: Measurement) -> Measurement:
        """The measurement with this model's tokenizer.

        Raises:
            ValueError: it is of images of another size.
        """
        return bound_measurement(self.model, measurement)

    @shielded
    def __call__(
        self,
        measurement: Measurement | Sequence[Measurement],
        attributes: Condition | Sequence[Condition] | None = None,
        *,
        method: str | Method = "aps",
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        config: APSConfig | None = None,
        preset: str | None = None,
        on_step: Callable[[int, StepState], None] | None = None,
        on_sample: Callable[[int, int, Tensor], None] | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> RestorationOutput:
        """Restore images from a measurement.

        Args:
            measurement: of B images of this model's size; or several of the same B images, whose
                densities are multiplied.
            attributes: known attributes of the images by name, one mapping for all or one each; for
                a model of texts and images, a text or one each.
            method: a name in `methods.registry.IMAGE_METHODS`, or a `Method` object.
            samples: n >= 1 per measurement, each with its own draws. With n > 1 or a method other
                than "aps" the default becomes `candidate="sample"`: quantised expectations of
                several samples would be identical.
            seeds: one per measurement, in place of the setting `seed` for each. A measurement and
                its seed determine its images, whatever the batch, but for rounding where something
                guides. Not refused where nothing is drawn.
            config: settings; or a `preset` and single `options` (`APSConfig`'s keywords) on top.
                `cfg_scale` guides towards the attributes.
            preset: None or `restore` for the likeliest image, `posterior` for samples that vary
                more nearly as the posterior does (docs/image_benchmarks.md has figures).
            on_step: called as `on_step(index, state)` after each denoising step of each batch.
            on_sample: called as `on_sample(index, draw, image)` for each sample of a batch as soon
                as the batch is done: the measurement's index, the number of the sample from 0, and
                `(C, H, W)` in [-1, 1].
            progress: True shows a progress bar on stderr, False does not, None shows it on a
                terminal only.

        Samples of "aps" and "aps-smc" that do not explain what was measured are warned of.

        Raises:
            TypeError, ValueError: naming the value and the mend.
        """
        refuse_seeds(seeds, options, "measurement")
        call = ImageCall.of(method, samples, config, preset, options, usual=self.model.usual)
        measured = bound_measurements(self.model, measurement)
        count = len(measured[0].y)
        own = as_seeds(seeds, call.config.call.seed, count, "measurement")
        check_on_sample(on_sample, "index, draw, image")
        decoded: list[Tensor] = []

        def keep(pairs: Sequence[tuple[int, int]], tokens: Tensor) -> None:
            decoded.append(self._decoded(tokens))
            if on_sample is not None:
                for (index, draw), image in zip(pairs, decoded[-1], strict=True):
                    on_sample(index, draw, image.clone())

        ids, cost = call.run(
            self.model,
            reduce(add, measured),
            self.model.conditions(attributes, count),
            own,
            batch_size=self.batch_size,
            label="restore",
            on_step=on_step,
            on_batch=keep,
            progress=progress,
        )
        images = torch.cat(decoded).unflatten(0, (count, samples))
        chi2 = chi2_of(measured, images, self.batch_size)
        if isinstance(call.method, APS | APSSMC):  # the others may leave much unexplained
            warn_of_unexplained(chi2, measured, self.model.name)
        return RestorationOutput(
            images,
            ids,
            chi2,
            measured[0],
            cost.stop(ids.device),
            tuple(measured[1:]),
        )

    @shielded
    def paint(
        self,
        attributes: Condition | None = None,
        *,
        style: Style | Sequence[Style] | None = None,
        method: str | Method | None = None,
        samples: int = 1,
        config: APSConfig | None = None,
        preset: str | None = None,
        on_step: Callable[[int, StepState], None] | None = None,
        on_sample: Callable[[int, Tensor], None] | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> PaintOutput:
        """Draw new images with these attributes, and in the style of a reference if one is given.

        Args:
            attributes: by name, those left out are free; or a text.
            style: of one reference; see the method `style`. Several are added: the image is to be
                near each reference.
            method: None is "aps" with a style and "plain" without.
            samples, config, preset, on_step, progress, options: see the call. Candidates are drawn
                (`candidate="sample"`) unless told otherwise.
            on_sample: called as `on_sample(draw, image)` for each sample of a batch as soon as the
                batch is done: the number of the sample from 0, and `(C, H, W)` in [-1, 1].

        Raises:
            TypeError, ValueError: naming the value and the mend.
        """
        check_on_sample(on_sample, "draw, image")
        method = ("plain" if style is None else "aps") if method is None else method
        call = ImageCall.of(
            method, samples, config, preset, options, sampled=True, usual=self.model.usual
        )
        if style is None:
            refuse_unguided(call.method)
        operator: Operator = ZeroOperator() if style is None else bound_styles(self.model, style)
        masked = torch.full((self.model.tokens,), self.model.mask_id)
        follow = Callbacks(on_step, on_sample, progress)
        ids, drawn, cost = self._painted(call, operator, attributes, masked, "paint", follow)
        scores = {} if style is None else terms_of(operator, ids)
        opened = torch.ones(len(masked), dtype=torch.bool)
        return PaintOutput(drawn, drawn, ids, opened, scores, cost.stop(ids.device))

    @shielded
    def edit(
        self,
        image: Tensor,
        mask: Tensor,
        attributes: Condition | None = None,
        *,
        style: Style | Sequence[Style] | None = None,
        keep_sigma: float | None = None,
        widen: int = 0,
        pasted: bool = True,
        method: str | Method = "aps",
        samples: int = 1,
        config: APSConfig | None = None,
        preset: str | None = None,
        on_step: Callable[[int, StepState], None] | None = None,
        on_sample: Callable[[int, Tensor], None] | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> PaintOutput:
        """Draw the masked part of an image anew; the rest is kept.

        The tokens whose cells the mask touches are drawn, the others are the encoded image's. The
        pixels outside of the mask are an operator of the draw, `N(x; drawn, keep_sigma^2)`.

        Args:
            image: `(1, C, H, W)` or `(C, H, W)` in [-1, 1].
            mask: `(H, W)`, True or 1 where the image may change.
            attributes: of the whole image after the edit, by name, those left out are free; or a
                text.
            style: of a reference, or several, for the pixels inside of the mask.
            keep_sigma: > 0; None is half of the tokenizer's own error on this image outside of the
                mask, so that an edit changes less there than encoding does; at least 0.01.
            widen: rings of tokens around the mask to draw as well, >= 0; see `images.editing`.
            pasted: the image's own pixels replace those outside of the mask in `images`; without
                it `images` is `drawn`.
            method, samples, config, preset, on_step, progress, options: see the call. Candidates
                are drawn (`candidate="sample"`) unless told otherwise.
            on_sample: see `paint`; an image of `images`.

        Raises:
            TypeError, ValueError: a mask of other values or of another size, one that marks no
                pixel or all, and what the call raises.
        """
        Switch().check("pasted", pasted)
        check_on_sample(on_sample, "draw, image")
        call = ImageCall.of(
            method, samples, config, preset, options, sampled=True, usual=self.model.usual
        )
        edit = new_edit(self.model, image, mask, style, keep_sigma, widen)

        def whole(drawn: Tensor) -> Tensor:
            return paste(drawn, edit.image, edit.inside) if pasted else drawn

        def finish(draw: int, drawn: Tensor) -> None:
            if on_sample is not None:
                on_sample(draw, whole(drawn[None])[0])

        follow = Callbacks(on_step, finish, progress)
        ids, drawn, cost = self._painted(
            call, edit.operator, attributes, edit.canvas, "edit", follow
        )
        images = whole(drawn)
        scores = terms_of(edit.operator, ids)
        return PaintOutput(images, drawn, ids, edit.opened, scores, cost.stop(ids.device))

    def _painted(
        self,
        call: ImageCall,
        operator: Operator,
        attributes: Condition | None,
        start: Tensor,
        label: str,
        follow: Callbacks,
    ) -> tuple[Tensor, Tensor, Cost]:
        """Tokens `(n, L)` of the samples that start from the canvas `start (L,)`, their images as
        they are decoded, and the cost."""
        decoded: list[Tensor] = []

        def keep(pairs: Sequence[tuple[int, int]], tokens: Tensor) -> None:
            decoded.append(self._decoded(tokens))
            if follow.on_sample is not None:
                for (_, draw), image in zip(pairs, decoded[-1], strict=True):
                    follow.on_sample(draw, image.clone())

        ids, cost = call.run(
            self.model,
            operator,
            self.model.conditions(attributes, 1),
            [call.config.call.seed],
            given=start[None].to(self.model.device),
            batch_size=self.batch_size,
            label=label,
            on_step=follow.on_step,
            on_batch=keep,
            progress=follow.progress,
        )
        return ids[0], torch.cat(decoded), cost

    @torch.no_grad()
    def _decoded(self, ids: Tensor) -> Tensor:
        """Images of tokens `(n, L)`, clipped, in passes of `batch_size`."""
        decode = self.model.tokenizer.decode_ids
        images = torch.cat([decode(part) for part in ids.split(self.batch_size)])
        if not bool(images.isfinite().all()):
            raise RuntimeError(
                f"the image tokenizer of {self.model.name} decodes tokens to numbers that are NaN "
                "or infinite; its weights are damaged: download or export them again"
            )
        return images.clamp(-1, 1)
