"""A reward as an operator: `log q(y | x) = r(x)`, the sampler divides by beta.

    relaxed:  x~ = [prefix | codes of the canvas | suffix]  in the REWARD's embeddings -> (B,)
    ids:      decode to text up to the stop token, call the reward on it               -> (B,)

Frames are left-padded before and right-padded after, dead positions (after a stop token) get
attention 0 and `position_ids = cumsum(mask) - 1`, so that a row's score depends neither on its
neighbours nor on its padding. Committed special tokens are skipped, as they are in the text, and
so is, under `restrict`, a committed token the bridge cannot carry. The reward may live on another
device than the denoiser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rewards import DifferentiableReward, Prompt, Reward, call_reward, is_differentiable

from ..codebook import Codebook, Relaxed
from ..operator import Arithmetic, Scores
from .bridge import VocabularyBridge, bridge_between
from .decoding import answer_ids, decode_canvas

__all__ = ["MatchedMass", "RewardOperator"]


@dataclass
class MatchedMass:
    """Running probability mass on tokens the bridge can carry; tensors, so nothing waits.

    Attributes:
        matched: mass on matched tokens, summed over positions.
        text: mass on text tokens (the stop token's is not text), summed over positions.
    """

    matched: Tensor | float = 0.0
    text: Tensor | float = 0.0

    @property
    def mean(self) -> float:
        """Share of the text mass that was carried, in [0, 1]; 1 where nothing was seen."""
        text = float(self.text)
        return float(self.matched) / text if text > 0 else 1.0


class RewardOperator(Arithmetic):
    """Scores canvases of a generator's tokens by a reward, bound to B prompts.

    Args:
        reward: a plain reward (black box) or a `DifferentiableReward`.
        name: of its term in reports.
        prompts: B strings or message lists, as the user gave them. For messages the reward gets
            its completions as messages too.
        tokenizer: the generator's; a fast one where the reward is differentiable.
        stop_ids: tokens that end an answer.
        fill_id: what stands after the stop token.
        vocab_size: K of the generator's distributions.
        columns: further arguments of the reward by name, B values each.
        policy: `error | restrict | zero | unk` for tokens the bridge cannot carry, or `rloo`: do
            without the reward's gradient.
        finish: what the final text goes through after decoding (capitals, spacing), so that
            scored text is shown text.

    Attributes:
        differentiable: whether `log_prob` carries a gradient; False for black boxes and `rloo`.
        codebook: the reward's embeddings per generator token; None unless differentiable.
        bridge: likewise.
        matched_mass: running statistics, shared with everything `take` returned.

    Raises:
        ValueError: no prompts, a column of another length, an unknown policy, and the bridge's.
        TypeError: a reward that says it is differentiable and is not.
    """

    def __init__(
        self,
        reward: Reward,
        name: str,
        prompts: Sequence[Prompt],
        tokenizer: Any,
        *,
        stop_ids: Sequence[int],
        fill_id: int,
        vocab_size: int,
        columns: Mapping[str, Sequence[Any]] | None = None,
        policy: str = "restrict",
        finish: Callable[[str], str] | None = None,
    ) -> None:
        if not prompts:
            raise ValueError("a reward operator needs at least one prompt, got none")
        self.reward, self.name = reward, name
        self.prompts = list(prompts)
        self.columns = {key: list(values) for key, values in (columns or {}).items()}
        for key, values in self.columns.items():
            if len(values) != len(self.prompts):
                raise ValueError(
                    f"column {key!r} has {len(values)} values for {len(self.prompts)} prompts"
                )
        self.tokenizer, self.finish = tokenizer, finish
        self.stop_ids, self.fill_id = tuple(stop_ids), fill_id
        self.matched_mass = MatchedMass()
        self.bridge: VocabularyBridge | None = None
        self.codebook: Codebook | None = None
        self._guide: DifferentiableReward | None = None
        self.differentiable = is_differentiable(reward) and policy != "rloo"
        if is_differentiable(reward) and policy != "rloo":
            self._guide = reward
            self.bridge = bridge_between(
                tokenizer,
                reward.tokenizer,
                vocab_size=vocab_size,
                policy=policy,
                exclude=(*self.stop_ids, fill_id),
            )
            table = reward.embedding_table()
            self.codebook = self.bridge.codebook(table)
            # Committed, these are no text, or (restrict) text the reward has no embedding for.
            unread = ~self.bridge.matched if policy == "restrict" else self.bridge.special
            self._unread = unread.to(table.device)
            frames = [reward.frame(prompt) for prompt in self.prompts]
            self._before = _padded([f[0] for f in frames], left=True, device=table.device)
            self._after = _padded([f[1] for f in frames], left=False, device=table.device)

    def take(self, rows: Tensor) -> RewardOperator:
        """See `Operator.take`; bridge, codes, statistics and the reward's caches are shared."""
        other = object.__new__(RewardOperator)
        other.__dict__.update(self.__dict__)
        index = rows.tolist()
        other.prompts = [self.prompts[i] for i in index]
        other.columns = {key: [values[i] for i in index] for key, values in self.columns.items()}
        if self.differentiable:
            at = rows.to(self._unread.device)
            other._before = (self._before[0][at], self._before[1][at])
            other._after = (self._after[0][at], self._after[1][at])
        return other

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """See `Operator.log_prob`; scores come back on the device of `relaxed.probs`.

        Raises:
            ValueError: the operator is a black box, or the batch has another number of rows.
            RuntimeError: the reward returned a wrong shape, or NaN or inf (names the prompt).
        """
        if self._guide is None or self.bridge is None or self.codebook is None:
            raise ValueError(f"reward {self.name!r} has no gradient; estimate it with rloo")
        self._same_rows(relaxed.ids)
        self._count(self.bridge, relaxed.probs)
        codes = relaxed.codes(self.codebook)
        table = self._guide.embedding_table()
        (before, mask_before), (after, mask_after) = self._before, self._after
        live = self._live(relaxed).to(codes.device).long()
        mask = torch.cat([mask_before, live, mask_after], 1)
        scores = self._guide.score_embeds(
            torch.cat([table[before].to(codes), codes, table[after].to(codes)], 1),
            mask,
            (mask.cumsum(-1) - 1).clamp_min(0),
            prompts=self.prompts,
            **self.columns,
        )
        if scores.shape != (len(self.prompts),):
            raise RuntimeError(
                f"reward {self.name!r}: score_embeds returned shape {tuple(scores.shape)} for "
                f"{len(self.prompts)} prompts; return ({len(self.prompts)},)"
            )
        bad = ~scores.detach().isfinite()
        if bad.any():
            row = int(bad.nonzero()[0])
            raise RuntimeError(
                f"reward {self.name!r}: score_embeds returned {float(scores[row])} for prompt "
                f"{row} ({self.prompts[row]!r}); check the reward for divisions and logs of 0"
            )
        total = scores.to(relaxed.probs.device)
        return Scores(total, {self.name: total.detach()})

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """See `Operator.log_prob_ids`: the checked reward on the decoded text, float32."""
        self._same_rows(ids)
        texts = self.texts(ids)
        completions: list[Prompt] = [
            text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
            for prompt, text in zip(self.prompts, texts, strict=True)
        ]
        values = call_reward(
            self.reward,
            self.prompts,
            completions,
            self.columns,
            completion_ids=answer_ids(ids, self.stop_ids, (self.fill_id,)),
        )
        total = torch.tensor(values, dtype=torch.float32, device=ids.device)
        return Scores(total, {self.name: total})

    def texts(self, ids: Tensor) -> list[str]:
        """The answers on canvases `(B, L)`, as they are scored and shown."""
        texts = decode_canvas(self.tokenizer, ids, self.stop_ids, (self.fill_id,))
        return texts if self.finish is None else [self.finish(text) for text in texts]

    def _live(self, relaxed: Relaxed) -> Tensor:
        """Positions the reward sees, `(B, L)`: alive, and open or committed to a token it reads."""
        unread = self._unread.to(relaxed.ids.device)[relaxed.ids]
        index = (relaxed.rows, relaxed.cols)
        return relaxed.alive & ~unread.index_put(index, unread.new_zeros(()))

    @torch.no_grad()
    def _count(self, bridge: VocabularyBridge, probs: Tensor) -> None:
        stats, probs = self.matched_mass, probs.detach()
        stats.matched = stats.matched + bridge.mass(probs).sum(dtype=torch.float32)
        stats.text = stats.text + bridge.text_mass(probs).sum(dtype=torch.float32)

    def _same_rows(self, ids: Tensor) -> None:
        if ids.ndim != 2 or len(ids) != len(self.prompts):
            raise ValueError(
                f"canvas of shape {tuple(ids.shape)} for an operator bound to "
                f"{len(self.prompts)} prompts; use take(rows)"
            )


def _padded(
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
