"""What guides an image call, bound to a model: measurements and styles with its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.operator import Operator, weighted_sum
from ..images.measurement import Measurement
from ..images.style import Style
from ..images.style_statistics import STATISTICS, Statistic, filter_features, make_statistic
from .any_image_model import AnyImageModel
from .image_inputs import as_images, check_size
from .inputs import kind_of

__all__ = ["bound", "chi2_of", "measurements", "style_of", "styles", "terms_of"]


def bound(model: AnyImageModel, measurement: Measurement) -> Measurement:
    """The measurement with this model's tokenizer; raises `ValueError` at another size."""
    tokenizer, y = model.tokenizer, measurement.y.to(model.device)
    check_size(model, measurement.degradation, y)
    return replace(
        measurement,
        y=y.clone() if y.is_inference() else y,
        decode=tokenizer.decode,
        codebook=tokenizer.codebook,
        encode=tokenizer.encode,
        shape=model.size,
    )


def measurements(
    model: AnyImageModel, given: Measurement | Sequence[Measurement]
) -> list[Measurement]:
    """The measurements of the same images, with this model's tokenizer."""
    several: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    for one in several:
        if not isinstance(one, Measurement):
            raise TypeError(
                "a measurement is made by pipe.measure (of clean images) or pipe.observe (of "
                f"degraded ones); got {kind_of(one)}"
            )
    counts = sorted({len(one.y) for one in several})
    if not several or not counts[0]:
        raise ValueError("the measurement is of no image; give at least one")
    if len(counts) > 1:
        raise ValueError(
            f"several measurements are of the same images, got some of {counts[0]} and of "
            f"{counts[-1]}"
        )
    return [bound(model, one) for one in several]


def style_of(
    model: AnyImageModel,
    reference: Tensor,
    statistic: str | Statistic,
    sigma: float | None,
    within: Tensor | None,
) -> Style:
    """See `RestorationPipeline.style`."""
    reference = as_images(model, reference)
    if within is not None and not isinstance(within, Tensor):
        raise TypeError(
            f"within is a bool tensor (H, W), got {kind_of(within)}; read_mask reads files"
        )
    if isinstance(statistic, str):
        judge = model.classifier
        statistic = make_statistic(statistic, judge.features if judge else filter_features)
    elif not callable(statistic):
        raise TypeError(
            f"statistic is one of {', '.join(STATISTICS)}, or a Statistic; got {kind_of(statistic)}"
        )
    return Style.of(
        statistic,
        reference.to(model.device),
        sigma,
        within=None if within is None else within.to(model.device),
        decode=model.tokenizer.decode,
        codebook=model.tokenizer.codebook,
    )


def styles(
    model: AnyImageModel, given: Style | Sequence[Style], where: Tensor | None = None
) -> Operator:
    """The sum of styles, each of one reference, with this model's tokenizer, in `where`."""
    several: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise ValueError("style is an empty list; give None, or a Style of each reference")
    each = [_style(model, style, where) for style in several]
    return each[0] if len(each) == 1 else weighted_sum(*((1.0, style) for style in each))


def _style(model: AnyImageModel, style: Style, where: Tensor | None) -> Style:
    if not isinstance(style, Style):
        raise TypeError(
            f"style is a Style; make one with pipe.style(reference), got {kind_of(style)}"
        )
    if len(style.target) != 1:
        raise ValueError(
            f"a style is of one reference here, got one of {len(style.target)}; give a list "
            "with a Style of each"
        )
    if style.channels not in (None, model.size[0]):
        raise ValueError(
            f"the style is of images of {style.channels} channels, and those of "
            f"{model.name} have {model.size[0]}; take it from a reference of this model"
        )
    tokenizer = model.tokenizer
    return replace(
        style,
        target=style.target.to(model.device),
        decode=tokenizer.decode,
        codebook=tokenizer.codebook,
        where=style.where if where is None else where,
    )


def chi2_of(measured: Sequence[Measurement], rows: Tensor, images: Tensor) -> Tensor:
    """`chi2` of images `(n, C, H, W)` over the entries of all measurements, `(n,)`."""
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
