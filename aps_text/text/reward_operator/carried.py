"""What passed between generator and reward during a run, counted without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .bridge import VocabularyBridge

__all__ = ["Carried"]


@dataclass
class Carried:
    """Running counts of one reward, over all rows and steps.

    Attributes:
        matched: probability mass on matched tokens, summed over positions.
        text: mass on text tokens (the stop token's is not text), summed over positions.
        texts: answers whose text was scored.
        changed: those the reward's tokenizer cut otherwise than the bridge had mapped them.
        scored: answers given as text and scored, samples included.
        low, high: the smallest and the largest of those scores.
    """

    matched: Tensor | float = 0.0
    text: Tensor | float = 0.0
    texts: int = 0
    changed: int = 0
    scored: int = 0
    low: float = math.inf
    high: float = -math.inf

    @property
    def mass(self) -> float:
        """Share of the text mass that was carried, in [0, 1]; 1 where nothing was seen."""
        text = float(self.text)
        return float(self.matched) / text if text > 0 else 1.0

    @property
    def retokenised(self) -> float:
        """Share of the answers whose own tokenisation differs from the mapped tokens, in [0, 1].

        Where it differs, the relaxed score and the text's are scores of different tokens.
        """
        return self.changed / self.texts if self.texts else 0.0

    @torch.no_grad()
    def count_mass(self, bridge: VocabularyBridge, probs: Tensor) -> None:
        """Add the distributions `(N, K)` of a relaxed answer."""
        probs = probs.detach()
        self.matched = self.matched + bridge.mass(probs).sum(dtype=torch.float32)
        self.text = self.text + bridge.text_mass(probs).sum(dtype=torch.float32)

    def count_scores(self, values: Iterable[float]) -> None:
        """Add scores of texts."""
        for value in values:
            self.scored += 1
            self.low, self.high = min(self.low, value), max(self.high, value)

    def count_texts(
        self, bridge: VocabularyBridge, target: object, answers: list[list[int]], texts: list[str]
    ) -> None:
        """Add answers: their generator's ids, and their text as the reward's tokenizer cuts it."""
        cut = target(texts, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
        for answer, own in zip(answers, cut, strict=True):
            mapped = bridge.map[answer] if answer else bridge.map[:0]
            self.texts += 1
            self.changed += mapped.tolist() != list(own)
