"""The style of a reference image as an operator: made with a model, and bound to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from torch import Tensor

from ..core.operator import Operator
from ..images.style import Style
from ..images.style_statistics import STATISTICS, Statistic, filter_features, make_statistic
from .any_image_model import AnyImageModel
from .image_inputs import as_images
from .inputs import kind_of

__all__ = ["bound_styles", "new_style"]


def new_style(
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
    elif isinstance(statistic, type) or not callable(statistic):
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


def bound_styles(
    model: AnyImageModel, given: Style | Sequence[Style], where: Tensor | None = None
) -> Operator:
    """The sum of styles, each of one reference, with this model's tokenizer; within `where`, of a
    style with pixels of its own in those of both."""
    several: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise ValueError("style is an empty list; give None, or a Style of each reference")
    return reduce(add, [_style(model, style, where) for style in several])


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
    if where is not None and style.where is not None:
        if style.where.shape != where.shape:
            raise ValueError(
                f"the style counts in pixels of {tuple(style.where.shape)} and the image is "
                f"{tuple(where.shape)}; give Style.inside a mask of the image's size"
            )
        where = where & style.where.to(where.device)
        if not bool(where.any()):
            raise ValueError(
                "the style counts in pixels (Style.inside) that the edit's mask keeps, so that it "
                "would guide nothing; mark some that may change"
            )
    return replace(
        style,
        target=style.target.to(model.device),
        decode=tokenizer.decode,
        codebook=tokenizer.codebook,
        where=style.where if where is None else where,
    )
