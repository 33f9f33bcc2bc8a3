"""The embedding side of a reward, called and not trusted: framed answers in, `(B,)` scores out.

What goes wrong is a `RewardError` that names the reward and the prompt, as on the text side. A time
limit is on the forward pass, until its numbers are there to be read; the way back runs inside
autograd, where nothing can be waited for less than for ever, and is not limited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from aps_rewards import DifferentiableReward, Prompt, RewardError, last_text
from aps_rewards.waiting import RewardTimeout, within
from torch import Tensor

__all__ = ["EmbeddingScorer"]


@dataclass(frozen=True)
class EmbeddingScorer:
    """B rows of a batch, for a reward's embedding side.

    Attributes:
        name: of the reward.
        prompts: of each row.
        columns: dataset columns, B values each.
        index: what errors call each prompt's number.
        timeout: seconds a forward may take; None waits for ever.
    """

    name: str
    prompts: list[Prompt]
    columns: Mapping[str, list[Any]]
    index: list[int]
    timeout: float | None = None

    def scores(self, guide: DifferentiableReward, embeds: Tensor, mask: Tensor) -> Tensor:
        """Scores `(B,)` of framed answers: `embeds (B, S, d)`, `mask (B, S)` int64.

        Raises:
            RewardError: it raised, took too long, cut the gradient, or returned a wrong shape,
                another device's tensor, NaN or inf.
        """

        def score(part: slice) -> Tensor:
            # Grad mode and CUDA stream belong to a thread, and under a timeout this is another.
            grad, on_gpu = torch.is_grad_enabled(), embeds.is_cuda
            stream = torch.cuda.current_stream(embeds.device) if on_gpu else None

            def forward() -> Tensor:
                with torch.set_grad_enabled(grad), torch.cuda.stream(stream):
                    found = guide.score_embeds(
                        embeds[part],
                        mask[part],
                        (mask[part].cumsum(-1) - 1).clamp_min(0),
                        prompts=self.prompts[part],
                        **{key: values[part] for key, values in self.columns.items()},
                    )
                if stream is not None and self.timeout is not None:
                    stream.synchronize()  # a GPU is only asked so far: wait for it inside
                return found

            return within(self.timeout, forward)

        try:
            scores = score(slice(None))
        except Exception as error:
            raise self._blame(score, error) from error
        self._check(scores, embeds)
        return scores

    def _check(self, scores: Tensor, embeds: Tensor) -> None:
        rows = len(self.prompts)
        if scores.shape != (rows,):
            raise RewardError(
                self.name,
                f"returned shape {tuple(scores.shape)} from score_embeds for {rows} prompts "
                f"(the first: {last_text(self.prompts[0])!r}); return ({rows},)",
            )
        if scores.device != embeds.device:
            raise RewardError(
                self.name,
                f"returned a tensor on {scores.device} from score_embeds for",
                self.index[0],
                repr(last_text(self.prompts[0])),
                f"; return it on {embeds.device}, where the embeddings are",
            )
        bad = ~scores.detach().isfinite()
        if bad.any():
            row = int(bad.nonzero()[0])
            raise RewardError(
                self.name,
                f"returned {float(scores[row].detach())} from score_embeds for",
                self.index[row],
                repr(last_text(self.prompts[row])),
                "; check the reward for divisions and logs of 0",
            )
        if embeds.requires_grad and torch.is_grad_enabled() and not scores.requires_grad:
            raise RewardError(
                self.name,
                "says it is differentiable and returned scores without a gradient from "
                "score_embeds; compute them from `embeds` out of place and not under no_grad, "
                "or set differentiable = False",
            )

    def _blame(self, score: Callable[[slice], Tensor], error: Exception) -> RewardError:
        """The row that makes `score_embeds` fail, or the whole batch if none does alone."""
        verb, what = _said(error)
        for row, prompt in enumerate(self.prompts):
            try:
                with torch.no_grad():
                    score(slice(row, row + 1))
            except Exception as alone:
                verb, what = _said(alone)
                where = self.index[row], repr(last_text(prompt))
                return RewardError(self.name, f"{verb} in score_embeds on", *where, f": {what}")
        where_from = f"{verb} in score_embeds on a batch of {len(self.prompts)} prompts"
        return RewardError(self.name, f"{where_from}, though on none of them alone: {what}")


def _said(error: Exception) -> tuple[str, str]:
    """How a call failed, and what it said of it."""
    if isinstance(error, RewardTimeout):
        return "timed out", str(error)
    return "raised", f"{type(error).__name__}: {error}"
