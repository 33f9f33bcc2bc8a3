"""The embedding side of a reward, called and not trusted: framed answers in, `(B,)` scores out.

What goes wrong is a `RewardError` that names the reward and the prompt, as on the text side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rewards import DifferentiableReward, Prompt, RewardError, last_text

__all__ = ["FramedRows", "padded"]


@dataclass(frozen=True)
class FramedRows:
    """B rows of a batch, for a reward's embedding side.

    Attributes:
        name: of the reward.
        prompts: of each row.
        columns: dataset columns, B values each.
        index: what errors call each prompt's number.
    """

    name: str
    prompts: list[Prompt]
    columns: Mapping[str, list[Any]]
    index: list[int]

    def scores(self, guide: DifferentiableReward, embeds: Tensor, mask: Tensor) -> Tensor:
        """Scores `(B,)` of framed answers: `embeds (B, S, d)`, `mask (B, S)` int64.

        Raises:
            RewardError: it raised, or returned a wrong shape, another device's tensor, NaN or inf.
        """
        rows = len(self.prompts)

        def score(part: slice) -> Tensor:
            return guide.score_embeds(
                embeds[part],
                mask[part],
                (mask[part].cumsum(-1) - 1).clamp_min(0),
                prompts=self.prompts[part],
                **{key: values[part] for key, values in self.columns.items()},
            )

        try:
            scores = score(slice(None))
        except Exception as error:
            raise self._blame(score, error) from error
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
        return scores

    def _blame(self, score: Callable[[slice], Tensor], error: Exception) -> RewardError:
        """The row that makes `score_embeds` raise, or the whole batch if none does alone."""
        for row, prompt in enumerate(self.prompts):
            try:
                with torch.no_grad():
                    score(slice(row, row + 1))
            except Exception as alone:
                what = f": {type(alone).__name__}: {alone}"
                where = self.index[row], repr(last_text(prompt))
                return RewardError(self.name, "raised in score_embeds on", *where, what)
        what = f"raised in score_embeds on a batch of {len(self.prompts)} prompts, though on none "
        return RewardError(self.name, f"{what}of them alone: {type(error).__name__}: {error}")


def padded(
    rows: Sequence[Sequence[int]], *, left: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Ids and attention mask `(B, P)`, int64, padded with id 0 on one side."""
    width = max(map(len, rows))
    gaps = [[0] * (width - len(row)) for row in rows]
    ids = [[*gap, *row] if left else [*row, *gap] for gap, row in zip(gaps, rows, strict=True)]
    mask = [
        [*gap, *[1] * len(row)] if left else [*[1] * len(row), *gap]
        for gap, row in zip(gaps, rows, strict=True)
    ]
    shape = (len(rows), width)
    return (
        torch.tensor(ids, dtype=torch.long, device=device).view(shape),
        torch.tensor(mask, dtype=torch.long, device=device).view(shape),
    )
