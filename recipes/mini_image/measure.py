"""Measurements of the parts of an image model on held-out images.

Tokenizer: PSNR of reconstructions, codes in use, the fraction of tokens that do not change when an
image is decoded and encoded again, and the PSNR of tokens fitted to the image by gradient
(`oracle`), an estimate of the best that tokens can reach. Prior: cross-entropy in nats per masked
token by the fraction masked, and the evidence bound per image. Samples: how often the classifier
finds the requested class, compared with real images and reconstructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.noise import Noise
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.images.classifier import AttributeClassifier
from aps_text.images.lfq import LFQTokenizer, straight_through
from aps_text.images.metrics import psnr, ssim
from aps_text.methods.ancestral import Ancestral
from aps_text.models.mini_image import ImageDenoiser, MaskedImageModel
from recipes.mini_image.images import Images
from recipes.mini_image.prior import masked

__all__ = ["accuracy", "cross_entropy", "oracle", "reconstruction", "sample"]

RATIOS = (0.125, 0.25, 0.5, 0.75, 0.875, 1.0)


@torch.no_grad()
def reconstruction(tokenizer: LFQTokenizer, images: Images, batch: int = 64) -> dict[str, float]:
    """Mean PSNR and SSIM of `D(sign(E(x)))`, codes used, and tokens unchanged by re-encoding."""
    decibels, likeness, ids, again = [], [], [], []
    for at in range(0, len(images), batch):
        x = images.at(slice(at, at + batch))
        tokens = tokenizer.encode(x)
        drawn = tokenizer.decode_ids(tokens).clamp(-1, 1)
        decibels.append(psnr(drawn, x))
        likeness.append(ssim(drawn, x))
        ids.append(tokens)
        again.append(tokenizer.encode(drawn))
    tokens, twice = torch.cat(ids), torch.cat(again)
    share = tokens.flatten().bincount(minlength=tokenizer.codebook.size) / tokens.numel()
    return {
        "images": len(images),
        "psnr": float(torch.cat(decibels).mean()),
        "ssim": float(torch.cat(likeness).mean()),
        "codes used": float((share > 0).float().mean()),
        "code perplexity": float((-torch.xlogy(share, share).sum()).exp()),
        "tokens surviving": float((tokens == twice).float().mean()),
    }


def oracle(tokenizer: LFQTokenizer, x: Tensor, steps: int = 150, rate: float = 0.05) -> float:
    """Mean PSNR of tokens fitted to the images `x`, started at the encoder's; best step of each."""
    z = tokenizer.project(x).detach().requires_grad_()
    optimiser = torch.optim.Adam([z], rate)
    best = torch.full((len(x),), -torch.inf)
    for _ in range(steps):
        drawn = tokenizer.decode(straight_through(z))
        best = best.maximum(psnr(drawn.detach(), x))
        (drawn - x).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return float(best.mean())


@torch.no_grad()
def cross_entropy(
    model: MaskedImageModel, ids: Tensor, values: Tensor, seed: int = 0, batch: int = 64
) -> dict[str, float]:
    """Nats per masked token by the fraction masked, with and without attributes, and per image.

    `bound` is the evidence bound of an image in nats: L times the mean over mask fractions, by the
    trapezium rule over those measured (with the value at 0 set to that of the smallest).
    """
    generator = torch.Generator().manual_seed(seed)
    result: dict[str, float] = {}
    for name, given in (("", values), (" unconditional", torch.full_like(values, -1))):
        for ratio in RATIOS if not name else (0.5, 1.0):
            total, count = 0.0, 0
            for at in range(0, len(ids), batch):
                x = ids[at : at + batch].long()
                share = torch.full((len(x),), ratio)
                z, where = masked(x, model.mask_id, share, generator)
                logits = model.head(model(z, given[at : at + batch])[where])
                total += float(F.cross_entropy(logits, x[where], reduction="sum"))
                count += int(where.sum())
            result[f"{ratio:g}{name}"] = total / count
    points = [(0.0, result[f"{RATIOS[0]:g}"]), *((r, result[f"{r:g}"]) for r in RATIOS)]
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    result["bound"] = area * ids.shape[1]
    return result


def sample(
    model: MaskedImageModel,
    values: Tensor,
    *,
    steps: int = 16,
    cfg_scale: float = 0.0,
    temperature: float = 1.0,
    seed: int = 0,
    **settings: object,
) -> Tensor:
    """Token ids `(B, L)` drawn from the prior by the core's base sampler, one row per `values`."""
    length = model.config.grid**2
    denoiser = ImageDenoiser.bind(model, values, cfg_scale)
    canvas = Canvas.open([length] * len(values), mask_id=model.mask_id, fill_id=model.mask_id)
    config = APSConfig(
        max_new_tokens=length, steps=steps, temperature=temperature, top_p=1.0, **settings
    )  # type: ignore[arg-type]
    rows = torch.arange(len(values))
    noise = Noise(rows + 100_003 * seed, torch.zeros_like(rows))
    return run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise).z


@torch.no_grad()
def accuracy(
    classifier: AttributeClassifier,
    x: Tensor,
    values: Tensor,
    names: Sequence[str],
    batch: int = 64,
) -> dict[str, float]:
    """For each attribute, the classifier's accuracy on the images that have it."""
    found = torch.cat([classifier.predict(x[at : at + batch]) for at in range(0, len(x), batch)])
    result = {}
    for name, mine, truth in zip(names, found.unbind(1), values.unbind(1), strict=True):
        known = truth >= 0
        if bool(known.any()):
            result[name] = float((mine == truth)[known].float().mean())
    return result
