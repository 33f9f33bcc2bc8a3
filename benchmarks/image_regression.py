"""A supervised regression from measurements to images: about the best mean square error there is.

One small network for each task, trained with squared error on simulated measurements of training
images, and kept in a file. It serves its task alone and gives one image, the mean of the possible
ones, so no sample of a posterior can be expected to reach its PSNR.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aps_text.images.degradation import Degradation
from aps_text.images.measurement import Measurement
from recipes.mini_image.images import Images

__all__ = ["Regression", "trained"]

BATCH, RATE, WIDTH = 32, 1.5e-3, 48
"""Images a step, the largest learning rate, and channels: about half a second a step on a CPU."""


class Block(nn.Module):
    """`x + conv(silu(conv(silu(x))))`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.two.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.silu(self.one(F.silu(x))))


class Regression(nn.Module):
    """A U-Net of two levels, at a half and a quarter of the sides, on the measurement's rough
    image and what is measured of it; its output is added to the rough image.

    Args:
        channels: of the images; their sides are multiples of 4.
        width: of the upper level; the lower one has twice that.
    """

    def __init__(self, channels: int, width: int = WIDTH) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * (channels + 1), width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.first = nn.Sequential(Block(width), Block(width))
        self.low = nn.Sequential(*(Block(2 * width) for _ in range(4)))
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.last = nn.Sequential(Block(width), Block(width))
        self.out = nn.Conv2d(width, 4 * channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, measurement: Measurement, shape: tuple[int, int, int]) -> Tensor:
        """Images `(B, *shape)` for a measurement of B images."""
        rough = measurement.first_image(shape)
        if rough is None:
            raise ValueError(f"{measurement.degradation.name} has no rough image: give it a guess")
        observed = measurement.degradation.observed(measurement.y)
        seen = torch.ones_like(rough[:, :1])
        if observed is not None and observed.shape[-2:] == rough.shape[-2:]:
            seen = observed.expand_as(rough)[:, :1].to(rough)
        x = self.first(self.stem(F.pixel_unshuffle(torch.cat([rough, seen], 1), 2)))
        x = x + self.up(self.low(self.down(x)))
        return rough + F.pixel_shuffle(self.out(self.last(x)), 2)


def trained(
    file: Path,
    images: Images,
    degradation: Degradation,
    sigma: float,
    steps: int,
    width: int = WIDTH,
) -> Regression:
    """The regression in `file`, or one that is trained now and written there.

    Args:
        file: safetensors; the name without its ending is shown as the training goes on.
        images: to train on, `(N, C, H, W)` with H and W multiples of 4.
        degradation: of the task.
        sigma: standard deviation of the noise of their measurements, >= 0.
        steps: of the training, of `BATCH` images each, >= 1.
        width: see `Regression`.
    """
    with torch.random.fork_rng():  # the weights of one seed, and the caller's draws as they were
        torch.manual_seed(0)
        model = Regression(images.pixels.shape[1], width)
    if file.exists():
        model.load_state_dict(load_file(file))
        return model.eval()
    train(model, images, degradation, sigma, steps, file.stem)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), file)
    return model.eval()


def train(
    model: Regression,
    images: Images,
    degradation: Degradation,
    sigma: float,
    steps: int,
    name: str,
) -> None:
    """Train a regression in place; see `trained`. `name` is for the lines of progress."""
    _, channels, high, wide = images.pixels.shape
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(0)
    began, mean = time.process_time(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * (1 - step / steps)
        truth, _ = images.batch(BATCH, generator)
        y = Measurement.simulate(degradation, truth, sigma, generator)
        loss = F.mse_loss(model(y, (channels, high, wide)), truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        value = float(loss.detach())
        mean = value if step == 0 else 0.98 * mean + 0.02 * value
        if step % 100 == 99:
            minutes = (time.process_time() - began) / 60
            said = f"step {step + 1} of {steps}, squared error {mean:.4f}, {minutes:.1f} min"
            print(f"{name}: {said}", file=sys.stderr)
