"""Running statistics of one reward: the probability on tokens that its vocabulary bridge matched,
how often the reward's tokenizer splits a text differently, and the range of the scores.

Sums stay on the device; only reading a property synchronises with it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .bridge import VocabularyBridge

__all__ = ["BridgeStats"]

DISTINCT = 32


@dataclass
class BridgeStats:
    """Running counts of one reward, over all rows and steps of a call.

    Attributes:
        bridge: the vocabulary bridge; None for a black box.
        matched: probability mass on matched tokens, summed over positions.
        text: mass on text tokens (a stop token is not text), summed over positions.
        texts: answers compared with the reward's own tokenisation.
        changed: those of `texts` that it splits into other tokens than the bridge's.
        scored: answers scored as text, samples included.
        skips: by the prompt's number, answers for which the reward returned None (it does not
            apply).
        low, high: the lowest and the highest score.
        scores: of each prompt, by its number in the call, how often each score was given, to six
            digits; all beyond `DISTINCT` different ones count as one, NaN.
        same: of each prompt whose scored answers were all the same text, that text and their
            number; None once another was scored.
    """

    bridge: VocabularyBridge | None = None
    matched: Tensor | float = 0.0
    text: Tensor | float = 0.0
    texts: int = 0
    changed: int = 0
    scored: int = 0
    skips: Counter[int] = field(default_factory=Counter)
    low: float = math.inf
    high: float = -math.inf
    scores: dict[int, Counter[float]] = field(default_factory=dict)
    same: dict[int, tuple[str, int] | None] = field(default_factory=dict)

    @property
    def mass(self) -> float:
        """Fraction of the text mass on matched tokens, in [0, 1]; 1 if nothing was counted."""
        text = float(self.text)
        return float(self.matched) / text if text > 0 else 1.0

    @property
    def skipped(self) -> int:
        """Answers for which the reward returned None."""
        return self.skips.total()

    def of(self, prompt: int) -> BridgeStats:
        """A copy with the scores of one prompt alone; what is counted of the bridge stays."""
        counts = self.scores.get(prompt, Counter[float]())
        known = [score for score in counts if not math.isnan(score)]
        return replace(
            self,
            scored=counts.total(),
            skips=Counter({prompt: self.skips[prompt]}),
            low=min(known, default=math.inf),
            high=max(known, default=-math.inf),
            scores={prompt: counts.copy()},
            same={prompt: self.same[prompt]} if prompt in self.same else {},
        )

    @property
    def retokenised(self) -> float:
        """Fraction of the answers whose tokenisation differs from the mapped tokens, in [0, 1].

        For those the relaxed score and the text's score are computed from different tokens.
        """
        return self.changed / self.texts if self.texts else 0.0

    @torch.no_grad()
    def count_mass(self, probs: Tensor) -> None:
        """Add the distributions `(N, K)` of a relaxed canvas."""
        if self.bridge is None:
            return
        probs = probs.detach()
        self.matched = self.matched + self.bridge.mass(probs).sum(dtype=torch.float32)
        self.text = self.text + self.bridge.text_mass(probs).sum(dtype=torch.float32)

    def count_scores(self, values: Iterable[float | None], prompts: Iterable[int]) -> None:
        """Add scores of texts, each with its prompt's number; None counts as skipped."""
        for value, prompt in zip(values, prompts, strict=True):
            if value is None:
                self.skips[prompt] += 1
                continue
            self.scored += 1
            self.low, self.high = min(self.low, value), max(self.high, value)
            counts = self.scores.setdefault(prompt, Counter())
            score = _six_digits(value)
            counts[score if score in counts or len(counts) < DISTINCT else math.nan] += 1

    def count_same(self, texts: Iterable[str], prompts: Iterable[int]) -> None:
        """Compare the texts that are scored with the earlier ones of their prompt."""
        for text, prompt in zip(texts, prompts, strict=True):
            before = self.same.get(prompt, (text, 0))
            again = before is not None and before[0] == text
            self.same[prompt] = (text, before[1] + 1) if before is not None and again else None

    def certain(self, prompt: int) -> bool:
        """Whether several answers to this prompt were scored, and all were the same text."""
        found = self.same.get(prompt)
        return found is not None and found[1] > 1

    def varied(self, prompt: int) -> bool:
        """Whether two answers to this prompt had different scores."""
        return len(self.scores.get(prompt, ())) > 1

    def others(self, prompt: int, score: float) -> tuple[int, int]:
        """How many answers to this prompt had another score than `score`, and how many any."""
        counts = self.scores.get(prompt, Counter[float]())
        return counts.total() - counts[_six_digits(score)], counts.total()

    def count_texts(self, target: Any, answers: list[list[int]], texts: list[str]) -> None:
        """Compare the generator's ids of each answer, mapped, with the tokens that the reward's
        tokenizer `target` makes of its text."""
        if self.bridge is None:
            return
        cut = target(texts, add_special_tokens=False)["input_ids"]
        for answer, own in zip(answers, cut, strict=True):
            mapped = self.bridge.map[answer] if answer else self.bridge.map[:0]
            self.texts += 1
            self.changed += mapped.tolist() != list(own)


def _six_digits(score: float) -> float:
    return float(f"{score:.6g}")
