"""Measurements for a model: simulated, observed, bound to it; and what they say of its images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.operator import Operator
from ..images.degradation import Degradation, degraded
from ..images.measurement import Measurement
from ..images.measurement_files import unknown_part
from .any_image_model import AnyImageModel
from .image_inputs import (
    as_degradation,
    as_images,
    as_observed,
    check_each_alone,
    check_function,
    check_pixels,
    check_size,
    refuse_drawn,
    seen_of,
    warn_of_sigma,
)
from .inputs import kind_of

__all__ = [
    "UNEXPLAINED",
    "bound_measurement",
    "bound_measurements",
    "chi2_of",
    "new_measurement",
    "observed_measurement",
    "terms_of",
    "warn_of_unexplained",
]

UNEXPLAINED, USUAL = 20.0, 0.05
"""The mean chi2 of an image's samples of APS that is warned of at sigma `USUAL` or above: 17.8 at
most in 500 restorations of garments and portraits by the right task (overexposed), tens to hundreds
by a wrong one. What a tokenizer cannot say stays as large where sigma is smaller, so the limit of
the excess above 1 grows with 1 / sigma^2."""

SHOWN = 8
"""Images whose chi2 a warning names."""

log = logging.getLogger(__name__)


def new_measurement(
    model: AnyImageModel,
    images: Tensor,
    task: str | Degradation,
    sigma: float,
    seed: int,
    model_sigma: float,
) -> Measurement:
    """See `RestorationPipeline.measure`."""
    images = as_images(model, images)
    degradation = as_degradation(model, task, seed)
    check_function(model, degradation, images.device)
    seen_of(degradation, degraded(degradation, images))
    generator = torch.Generator().manual_seed(int(seed))
    with torch.no_grad():  # a degradation with weights, a network, would leave a graph on y
        made = Measurement.simulate(degradation, images, sigma, generator, model_sigma=model_sigma)
    return _newly_bound(model, made)


def observed_measurement(
    model: AnyImageModel,
    y: Tensor,
    task: str | Degradation,
    sigma: float,
    seed: int | None,
    model_sigma: float,
) -> Measurement:
    """See `RestorationPipeline.observe`."""
    if seed is None and isinstance(task, str):
        refuse_drawn(task)
    degradation = as_degradation(model, task, 0 if seed is None else seed)
    y = as_observed(model, degradation, y, sigma)
    return _newly_bound(model, Measurement(degradation, y, sigma, model_sigma=model_sigma))


def _newly_bound(model: AnyImageModel, made: Measurement) -> Measurement:
    """A new measurement, bound; a large sigma is warned of."""
    warn_of_sigma(made.sigma)
    return bound_measurement(model, made)


def bound_measurement(model: AnyImageModel, measurement: Measurement) -> Measurement:
    """The measurement with this model's tokenizer; raises `ValueError` at another size, or pixels
    of another range than our degradations make."""
    tokenizer, y = model.tokenizer, measurement.y.to(model.device)
    check_size(model, measurement.degradation, y)
    own = unknown_part(measurement.degradation) is not None
    if own and measurement.decode is None:  # not bound before
        check_function(model, measurement.degradation, model.device)
        check_each_alone(model, measurement.degradation)
    if len(y) and not own:
        seen = measurement.degradation.observed(y)
        measured = y if seen is None else y[seen.expand_as(y)]
        largest = check_function(model, measurement.degradation, model.device)
        check_pixels(measured, measurement.sigma, largest)
    return replace(
        measurement,
        y=y.clone() if y.is_inference() else y,
        decode=tokenizer.decode,
        codebook=tokenizer.codebook,
        encode=tokenizer.encode,
        shape=model.size,
    )


def bound_measurements(
    model: AnyImageModel, given: Measurement | Sequence[Measurement]
) -> list[Measurement]:
    """The measurements of the same images, with this model's tokenizer."""
    several: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    for one in several:
        if not isinstance(one, Measurement):
            raise TypeError(
                "a measurement is made by pipe.measure (of clean images) or pipe.observe (of "
                f"degraded ones), several are a list of them; got {kind_of(one)}"
            )
    counts = sorted({len(one.y) for one in several})
    if not several or not counts[0]:
        raise ValueError("the measurement is of no image; give at least one")
    if len(counts) > 1:
        raise ValueError(
            f"several measurements are of the same images, got some of {counts[0]} and of "
            f"{counts[-1]}"
        )
    return [bound_measurement(model, one) for one in several]


@torch.no_grad()
def chi2_of(measured: Sequence[Measurement], images: Tensor, batch_size: int) -> Tensor:
    """`chi2` of images `(B, n, C, H, W)` over the entries of all measurements, `(B, n)`.

    Args:
        batch_size: maximal number of images in one pass.
    """
    count, samples = images.shape[:2]
    rows = torch.arange(count).repeat_interleave(samples)
    parts = zip(rows.split(batch_size), images.flatten(0, 1).split(batch_size), strict=True)
    return torch.cat([_chi2(measured, row, part) for row, part in parts]).view(count, samples)


def warn_of_unexplained(chi2: Tensor, measured: Sequence[Measurement], model: str) -> None:
    """Warn of images whose samples' `chi2 (B, n)` says that they are not what was measured.

    Args:
        measured: the measurements that `chi2` is over.
        model: its name.
    """
    counts = torch.stack([one.counts() for one in measured]).double().cpu()  # (measurements, B)
    scales = [max(one.sigma, one.model_sigma, USUAL) / one.sigma for one in measured]
    excess = (UNEXPLAINED - 1) * torch.tensor(scales, dtype=torch.double).square()
    limits = 1 + (counts * excess[:, None]).sum(0) / counts.sum(0).clamp_min(1)
    means = chi2.mean(1).tolist()
    bad = [
        f"{value:.3g}" + (f" (image {index + 1})" if len(means) > 1 else "")
        for index, (value, limit) in enumerate(zip(means, limits.tolist(), strict=True))
        if not value <= limit
    ]
    if bad:
        log.warning(
            "the samples do not explain what was measured, chi2 is %s and should be about 1: the "
            "task, its seed or the mask is not what degraded this image, sigma=%s is too small for "
            "its noise, the settings guide too little, or the image is unlike those that %s learnt "
            "from",
            ", ".join(bad[:SHOWN]) + (f" and {len(bad) - SHOWN} more" if bad[SHOWN:] else ""),
            " and ".join(f"{sigma:g}" for sigma in dict.fromkeys(one.sigma for one in measured)),
            model,
        )


def _chi2(measured: Sequence[Measurement], rows: Tensor, images: Tensor) -> Tensor:
    """Of images `(n, C, H, W)` of these rows, `(n,)`."""
    each = [one.take(rows) for one in measured]
    if len(each) == 1:
        return each[0].chi2(images)
    counts = torch.stack([one.counts() for one in each]).double()
    chi2 = torch.stack([one.chi2(images) for one in each]).double()
    chi2 = torch.where(counts > 0, chi2, torch.zeros_like(chi2))  # nothing seen explains nothing
    return ((counts * chi2).sum(0) / counts.sum(0)).float()


@torch.no_grad()
def terms_of(operator: Operator, ids: Tensor) -> dict[str, Tensor]:
    """The terms of an operator of one row for tokens `(n, L)`, `(n,)` each."""
    return operator.take(torch.zeros(len(ids), dtype=torch.long)).log_prob_ids(ids).terms
