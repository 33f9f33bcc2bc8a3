"""Restoring an image for the page: an upload is degraded first, then restored step by step."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.states import StepState
from ..images.files import read_image
from ..images.metrics import psnr
from ..images.tasks import TASKS
from ..pipelines.image_output import RestorationOutput
from ..pipelines.restoration import RestorationPipeline
from .drawn import escape
from .stepwise import stepwise

__all__ = ["GAIN", "MISSING", "Restored", "example", "fitted", "pictures", "restoring"]

GAIN = 4
"""The spread is shown at four times its size: a quarter of the range is white."""
MISSING = (
    "No image model is installed, so there is nothing to restore with. Start the page with "
    "aps demo --image-model FOLDER; docs/images.md says how such a folder is made."
)


@dataclass
class Restored:
    """A restoration as far as it is.

    Attributes:
        truth: `(1, C, H, W)` in [-1, 1], the clean image.
        y: `(1, C', H', W')` its measurement.
        step, steps: of the run.
        now: `(C, H, W)` in [-1, 1], the first sample with what the step proposed where it is open.
        output: the finished restoration.
    """

    truth: Tensor
    y: Tensor
    step: int = 0
    steps: int = 0
    now: Tensor | None = None
    output: RestorationOutput | None = None


def restoring(
    pipe: RestorationPipeline,
    truth: Tensor,
    task: str,
    *,
    sigma: float,
    samples: int,
    seed: int,
    **options: Any,
) -> Iterator[Restored]:
    """Degrade a clean image, then restore it; yields after each step. A reader who leaves stops it.

    Args:
        truth: `(1, C, H, W)` in [-1, 1], of the model's size.
        task: a name in `images.tasks.TASKS`.
        sigma: of the noise on [-1, 1].
        samples, seed, options: see `RestorationPipeline`.

    Raises:
        ValueError, TypeError: naming the value and the mend.
    """
    if task not in TASKS:
        raise ValueError(f"task is one of {', '.join(TASKS)}; got {task!r}")
    measurement = pipe.measure(truth, task, sigma=sigma, seed=seed)
    found = Restored(truth, measurement.y)
    yield found

    def call(tell: Callable[[tuple[int, StepState]], None]) -> None:
        def on_step(step: int, state: StepState) -> None:
            tell((step, state))

        found.output = pipe(
            measurement, samples=samples, seeds=[seed], on_step=on_step, progress=False, **options
        )

    with closing(stepwise(call)) as events:
        for step, state in events:
            found.step, found.steps = step + 1, state.steps
            found.now = _proposed(pipe, state)
            yield found
    yield found


@torch.no_grad()
def _proposed(pipe: RestorationPipeline, state: StepState) -> Tensor:
    """`(C, H, W)`: the first row's canvas as an image, open positions as they were proposed."""
    model = pipe.model
    ids = torch.where(state.z[:1] == model.mask_id, state.candidates[:1], state.z[:1])
    return model.tokenizer.decode_ids(ids.clamp(0, model.mask_id - 1))[0].clamp(-1, 1)


def example(pipe: RestorationPipeline, seed: int) -> Tensor:
    """An image `(1, C, H, W)` in [-1, 1] drawn by the model itself."""
    return pipe.paint(method="plain", samples=1, seed=seed, progress=False).images


def fitted(path: str | Path, size: tuple[int, int, int]) -> Tensor:
    """An image file as `(1, C, H, W)` in [-1, 1] of `size`: its middle square, resized.

    Raises:
        ValueError: it cannot be read as an image.
    """
    channels, high, wide = size
    image = read_image(path, channels)
    side = min(image.shape[-2:])
    top, left = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    square = image[..., top : top + side, left : left + side]
    found = torch.nn.functional.interpolate(
        square, (high, wide), mode="bilinear", antialias=True, align_corners=False
    )
    return found.clamp(-1, 1)


def pictures(found: Restored) -> str:
    """The HTML of a restoration: clean, measured, samples, their mean and spread, and figures."""
    shown: dict[str, Tensor] = {"clean": found.truth[0], "measured": found.y[0]}
    if found.y.shape[1] == found.truth.shape[1] and found.y.shape != found.truth.shape:
        plain = enlarged(found.y, found.truth.shape[-2:])
        quality = float(psnr(plain, found.truth))
        shown[f"enlarged without a model, PSNR {quality:.1f} dB"] = plain[0]
    said = f"step {found.step} of {found.steps}" if found.steps else "begun"
    if found.now is not None and found.output is None:
        shown["sample 1, as proposed now"] = found.now
    if found.output is not None:
        output = found.output
        samples = output.images[0]
        for number, image in enumerate(samples, 1):
            quality = float(psnr(image[None], found.truth.to(image.device)))
            shown[f"sample {number}, PSNR {quality:.1f} dB"] = image
        if len(samples) > 1:
            quality = float(psnr(output.mean, found.truth.to(output.mean.device)))
            shown[f"mean, PSNR {quality:.1f} dB"] = output.mean[0]
            spread = (output.spread[0] / 2 * GAIN).clamp(0, 1) * 2 - 1
            shown[f"spread of the samples x {GAIN}"] = spread
        cost = output.cost
        said = (
            f"misfit chi2 {float(output.chi2.mean()):.2f} (1: the samples miss the measurement by "
            f"its noise alone); PSNR: likeness to the clean image; {cost.seconds:.1f} s; denoiser "
            f"{cost.denoiser_forwards} forward, {cost.denoiser_backwards} backward"
        )
    figures = "".join(
        f'<figure><img alt="{escape(name)}" src="{_png(image)}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, image in shown.items()
    )
    return (
        f'<div class="aps"><p class="soft" role="status">{escape(said)}</p>'
        f'<div class="pictures">{figures}</div></div>'
    )


def enlarged(y: Tensor, size: Sequence[int]) -> Tensor:
    """Images `(B, C, H, W)` in [-1, 1] at another size `(H', W')`, by bicubic interpolation."""
    found = torch.nn.functional.interpolate(y, tuple(size), mode="bicubic", align_corners=False)
    return found.clamp(-1, 1)


def _png(image: Tensor) -> str:
    """`(C, H, W)` in [-1, 1] as the address of a PNG that is the address itself."""
    from PIL import Image

    from ..images.files import pixels_of

    pixels = pixels_of(image)
    mode = "L" if pixels.shape[-1] == 1 else "RGB"
    made = Image.frombytes(
        mode, (pixels.shape[1], pixels.shape[0]), pixels.contiguous().numpy().tobytes()
    )
    buffer = io.BytesIO()
    made.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
