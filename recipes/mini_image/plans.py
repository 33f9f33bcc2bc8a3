"""Sizes and budgets of the embedded image models."""

from __future__ import annotations

from dataclasses import dataclass

from aps_text.images.lfq import TokenizerConfig

from recipes.mini_image.training import Recipe

__all__ = ["PLANS", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What to train and for how long."""

    config: TokenizerConfig
    recipe: Recipe


PLANS = {
    "garments-tokenizer": Plan(
        TokenizerConfig(
            size=32, channels=1, factor=4, bits=10, width=96, encoder_blocks=3, decoder_blocks=5
        ),
        Recipe(steps=17_000),
    ),
}
