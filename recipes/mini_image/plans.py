"""Sizes and budgets of the embedded image models.

The sets are `garments`, `portraits` and `garments-large` (four times the tokens, the same
classifier as `garments`); the parts are `tokenizer`, `prior` and `classifier`. A prior needs its
tokenizer trained first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aps_text.images.lfq import TokenizerConfig
from recipes.mini_image.garments import garments
from recipes.mini_image.images import Images
from recipes.mini_image.portraits import portraits
from recipes.mini_image.training import Recipe

__all__ = ["SETS", "Plan", "PriorSize"]


@dataclass(frozen=True)
class PriorSize:
    """Sizes of the prior's transformer."""

    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Plan:
    """Sizes and hyper-parameters of the models of a set of images.

    Attributes:
        images: reads a split of the set.
        tokenizer, prior: sizes.
        classifier: width of the classifier's first stage; None if another set's is used.
        recipes: hyper-parameters by part.
    """

    images: Callable[[Path, str], Images]
    tokenizer: TokenizerConfig
    prior: PriorSize
    classifier: int | None
    recipes: dict[str, Recipe]


SETS = {
    "garments": Plan(
        images=garments,
        tokenizer=TokenizerConfig(
            size=32, channels=1, factor=4, bits=10, width=96, encoder_blocks=5, decoder_blocks=5
        ),
        prior=PriorSize(width=192, layers=5, heads=3),
        classifier=32,
        recipes={
            "tokenizer": Recipe(steps=20_000),
            "prior": Recipe(steps=8_000, warmup=200, weight_decay=0.03),
            "classifier": Recipe(steps=2_000, batch=64, decay=0.7),
        },
    ),
    "portraits": Plan(
        images=portraits,
        tokenizer=TokenizerConfig(
            size=64, channels=3, factor=8, bits=10, width=96, encoder_blocks=3, decoder_blocks=4,
            refine=1,
        ),
        prior=PriorSize(width=192, layers=5, heads=3),
        classifier=32,
        recipes={
            "tokenizer": Recipe(steps=12_000),
            "prior": Recipe(steps=8_000, warmup=200, weight_decay=0.03),
            "classifier": Recipe(steps=2_000, batch=64, decay=0.7),
        },
    ),
    "garments-large": Plan(
        images=garments,
        tokenizer=TokenizerConfig(
            size=32, channels=1, factor=2, bits=8, width=64, encoder_blocks=2, decoder_blocks=3
        ),
        prior=PriorSize(width=128, layers=4, heads=2),
        classifier=None,
        recipes={
            "tokenizer": Recipe(steps=6_000),
            "prior": Recipe(steps=6_000, warmup=200, weight_decay=0.03),
        },
    ),
}  # fmt: skip
