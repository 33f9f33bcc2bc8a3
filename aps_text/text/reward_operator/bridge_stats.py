"""Running statistics of one reward: how much probability its vocabulary bridge carried, how often
the reward's tokenizer cuts a text differently, and the range of the scores.

Sums stay on the device; reading a property is what waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .bridge import VocabularyBridge

__all__ = ["BridgeStats"]


@dataclass
class BridgeStats:
    """Running counts of one reward, over all rows and steps of a call.

    Attributes:
        bridge: the vocabulary bridge; None for a black box.
        matched: probability mass on matched tokens, summed over positions.
        text: mass on text tokens (the stop token's is not text), summed over positions.
        texts: answers whose text was scored.
        changed: those that the reward's tokenizer cuts into other tokens than the bridge mapped.
        scored: answers given as text and scored, samples included.
        skipped: answers to which the reward did not apply (None).
        low, high: the smallest and the largest of those scores.
        ranges: the same of each prompt's, by its number in the call.
    """

    bridge: VocabularyBridge | None = None
    matched: Tensor | float = 0.0
    text: Tensor | float = 0.0
    texts: int = 0
    changed: int = 0
    scored: int = 0
    skipped: int = 0
    low: float = math.inf
    high: float = -math.inf
    ranges: dict[int, tuple[float, float]] = field(default_factory=dict)

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
    def count_mass(self, probs: Tensor) -> None:
        """Add the distributions `(N, K)` of a relaxed answer."""
        if self.bridge is None:
            return
        probs = probs.detach()
        self.matched = self.matched + self.bridge.mass(probs).sum(dtype=torch.float32)
        self.text = self.text + self.bridge.text_mass(probs).sum(dtype=torch.float32)

    def count_scores(self, values: Iterable[float | None], prompts: Iterable[int]) -> None:
        """Add scores of texts, each with its prompt's number; None is no score."""
        for value, prompt in zip(values, prompts, strict=True):
            if value is None:
                self.skipped += 1
                continue
            self.scored += 1
            self.low, self.high = min(self.low, value), max(self.high, value)
            low, high = self.ranges.get(prompt, (value, value))
            self.ranges[prompt] = min(low, value), max(high, value)

    def varied(self, prompt: int) -> bool:
        """Whether two texts that answer this prompt were scored differently."""
        low, high = self.ranges.get(prompt, (0.0, 0.0))
        return low < high

    def count_texts(self, target: Any, answers: list[list[int]], texts: list[str]) -> None:
        """Add answers: their generator's ids, and their text as the reward's tokenizer cuts it."""
        if self.bridge is None:
            return
        cut = target(texts, add_special_tokens=False)["input_ids"]
        for answer, own in zip(answers, cut, strict=True):
            mapped = self.bridge.map[answer] if answer else self.bridge.map[:0]
            self.texts += 1
            self.changed += mapped.tolist() != list(own)
