"""A reward as an operator: `log q(y | x) = r(x)`; the sampler divides by beta.

    relaxed:  x~ = [prefix | codes of the canvas | suffix]  in the REWARD's embeddings -> (B,)
    ids:      decode to text up to the stop token, call the reward on it               -> (B,)

The prefix is left-padded and the suffix right-padded, positions after a stop token get attention 0,
and `position_ids = cumsum(mask) - 1`, so that a row's score depends neither on other rows nor on
padding. Committed special tokens get attention 0, too, since the text does not have them, and so,
under `restrict`, do committed tokens without a match. The reward may be on another device than the
denoiser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from aps_rewards import (
    DifferentiableReward,
    Prompt,
    Reward,
    RewardCall,
    RewardError,
    is_differentiable,
)
from aps_rewards.calling import failure, quoted
from aps_rewards.guard import PASSED_ON, copied, undisturbed
from aps_rewards.padding import padded
from torch import Tensor

from ...core.codebook import Codebook, Relaxed
from ...core.operator import Arithmetic, Scores
from ..decoding import answer_ids, decode_canvas, finished
from ..prompts import begun_answer
from ..vocabulary import Vocabulary
from .bridge import VocabularyBridge, bridge_between
from .bridge_stats import BridgeStats
from .embedding_scorer import EmbeddingScorer, attributed

__all__ = ["RewardOperator"]


class RewardOperator(Arithmetic):
    """Scores canvases of a generator's tokens by a reward, bound to B prompts.

    Args:
        reward: a plain reward (black box) or a `DifferentiableReward`.
        name: of its term in reports.
        prompts: B strings or message lists, as the user gave them. For a message list the reward
            gets its completions as messages, too.
        vocabulary: of the generator; its `finish` is applied, so that the scored text is the text
            shown.
        columns: further arguments of the reward by name, B values each.
        policy: `error | restrict | zero | unk` for tokens that the bridge does not match, or
            `rloo`: do not use the reward's gradient.
        timeout: seconds the reward may take for a batch of texts, and for the forward pass of a
            batch of relaxed answers (see `embedding_scorer`); None is no limit.
        index: each prompt's number in errors; default 0 to B-1.
        stats: statistics of the call's earlier batches, to be continued; default: new ones.

    Attributes:
        differentiable: whether `log_prob` carries a gradient; False for black boxes and `rloo`.
        codebook: the reward's embeddings per generator token; None unless differentiable.
        bridge: the vocabulary bridge; None unless differentiable.
        stats: running statistics, shared with the operators that `take` returns.

    Raises:
        ValueError: no prompts, a column of another length, an unknown policy, or what the bridge
            raises.
        TypeError: a reward that declares itself differentiable but lacks the methods.
        RewardError: its `frame`, `tokenizer` or `embedding_table` raised or is invalid.
    """

    def __init__(
        self,
        reward: Reward,
        name: str,
        prompts: Sequence[Prompt],
        vocabulary: Vocabulary,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
        policy: str = "restrict",
        timeout: float | None = None,
        index: Sequence[int] | None = None,
        stats: BridgeStats | None = None,
    ) -> None:
        if not prompts:
            raise ValueError("a reward operator needs at least one prompt, got none")
        self.reward, self.name = reward, name
        self.prompts = list(prompts)
        self.columns = {key: list(values) for key, values in (columns or {}).items()}
        for key, values in self.columns.items():
            if len(values) != len(self.prompts):
                raise ValueError(
                    f"column {key!r} has {len(values)} values for {len(self.prompts)} prompts; "
                    "give one per prompt"
                )
        self.vocabulary = vocabulary
        self.timeout = timeout
        self.index = list(range(len(self.prompts)) if index is None else index)
        self.stats = BridgeStats() if stats is None else stats
        self.bridge: VocabularyBridge | None = None
        self.codebook: Codebook | None = None
        guide = reward if policy != "rloo" and is_differentiable(reward) else None
        self._guide: DifferentiableReward | None = guide
        self.differentiable = guide is not None
        if guide is not None:
            self.bridge = bridge_between(
                vocabulary.tokenizer,
                attributed(name, "tokenizer", lambda: guide.tokenizer),
                vocab_size=vocabulary.size,
                policy=policy,
                exclude=(*vocabulary.stop_ids, vocabulary.fill_id),
            )
            self.stats.bridge = self.bridge
            table = self._table(guide)
            self.codebook = self.bridge.codebook(table)
            # Committed tokens with attention 0: special ones, and under restrict unmatched ones.
            unread = ~self.bridge.matched if policy == "restrict" else self.bridge.special
            self._unread = unread.to(table.device)
            frames = self._frames(guide)
            self._before = padded([f[0] for f in frames], table.device, left=True)
            self._after = padded([f[1] for f in frames], table.device)

    def take(self, rows: Tensor) -> RewardOperator:
        """See `Operator.take`; bridge, codes, statistics and the reward's caches are shared."""
        other = object.__new__(RewardOperator)
        other.__dict__.update(self.__dict__)
        index = rows.tolist()
        other.prompts = [self.prompts[i] for i in index]
        other.index = [self.index[i] for i in index]
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
            RewardError: what `EmbeddingScorer.scores` raises; names the prompt.
        """
        if self._guide is None or self.bridge is None or self.codebook is None:
            raise ValueError(f"reward {self.name!r} has no gradient; use estimator='rloo'")
        self._same_rows(relaxed.ids)
        self.stats.count_mass(relaxed.probs)
        codes = relaxed.codes(self.codebook)
        table = self._table(self._guide)
        (before, mask_before), (after, mask_after) = self._before, self._after
        live = self._live(relaxed).to(codes.device).long()
        mask = torch.cat([mask_before, live, mask_after], 1)
        embeds = torch.cat([table[before].to(codes), codes, table[after].to(codes)], 1)
        rows = EmbeddingScorer(self.name, self.prompts, self.columns, self.index, self.timeout)
        total = rows.scores(self._guide, embeds, mask).to(relaxed.probs.device)
        return Scores(total, {self.name: total.detach()})

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """See `Operator.log_prob_ids`; calls the reward on the decoded text, float64."""
        return self.start_ids(ids)()

    def start_ids(self, ids: Tensor) -> Callable[[], Scores]:
        """See `Startable`; an `async` reward starts before the returned function is called.

        Raises:
            RewardError: from the returned function; names the reward and the prompt.
        """
        self._same_rows(ids)
        texts = self.texts(ids)
        answers = answer_ids(ids, self.vocabulary.stop_ids, (self.vocabulary.fill_id,))
        if self._guide is not None:
            self.stats.count_texts(self._guide.tokenizer, answers, texts)
        completions: list[Prompt] = [
            text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
            for prompt, text in zip(self.prompts, texts, strict=True)
        ]
        call = RewardCall(
            self.reward,
            self.prompts,
            completions,
            self.columns,
            completion_ids=answers,
            timeout=self.timeout,
        )

        def wait() -> Scores:
            try:
                values = call.result()
            except RewardError as error:
                raise error.at(self.index) from error.__cause__
            self.stats.count_scores(values, self.index)
            self.stats.count_same(texts, self.index)
            numbers = [0.0 if value is None else value for value in values]
            wide = torch.float32 if ids.device.type == "mps" else torch.float64
            total = torch.tensor(numbers, dtype=wide, device=ids.device)
            applies = None
            if None in values:
                applies = torch.tensor([v is not None for v in values], device=ids.device)
            return Scores(total, {self.name: total}, applies)

        return wait

    def texts(self, ids: Tensor) -> list[str]:
        """The texts of canvases `(B, L)`, as they are scored and shown."""
        known = self.vocabulary
        texts = decode_canvas(known.tokenizer, ids, known.stop_ids, (known.fill_id,))
        return [
            finished(known, text, begun_answer(prompt))
            for text, prompt in zip(texts, self.prompts, strict=True)
        ]

    def _live(self, relaxed: Relaxed) -> Tensor:
        """Positions `(B, L)` with attention 1: before the stop, and not an `_unread` token."""
        unread = self._unread.to(relaxed.ids.device)[relaxed.ids]
        index = (relaxed.rows, relaxed.cols)
        return relaxed.alive & ~unread.index_put(index, unread.new_zeros(()))

    def _frames(self, reward: DifferentiableReward) -> list[tuple[list[int], list[int]]]:
        """Each prompt's token ids before and after the answer, from the reward's `frame`."""
        parameters = attributed(
            self.name, "frame", lambda: inspect.signature(reward.frame).parameters.values()
        )
        takes_columns = any(p.kind is p.VAR_KEYWORD for p in parameters)
        columns: list[dict[str, Any]] = [{} for _ in self.prompts]
        if takes_columns:
            columns = [
                {key: values[row] for key, values in self.columns.items()}
                for row in range(len(self.prompts))
            ]
        frames = []
        for i, (prompt, row) in enumerate(zip(self.prompts, columns, strict=True)):
            try:
                with undisturbed():
                    before, after = reward.frame(copied(prompt), **copied(row))
                    frames.append(([int(t) for t in before], [int(t) for t in after]))
            except PASSED_ON:
                raise
            except BaseException as error:
                where, what = quoted(prompt), f": {failure(error)[1]}"
                raise RewardError(
                    self.name, "raised in frame on", self.index[i], where, what
                ) from error
        return frames

    def _table(self, reward: DifferentiableReward) -> Tensor:
        table = attributed(self.name, "embedding_table", reward.embedding_table)
        if not isinstance(table, Tensor) or table.ndim != 2 or not table.is_floating_point():
            shape = tuple(table.shape) if isinstance(table, Tensor) else type(table).__name__
            raise RewardError(
                self.name,
                f"returned {shape} from embedding_table; return a float tensor (V, d), a row for "
                "each id of its tokenizer",
            )
        if table.is_inference():
            raise RewardError(
                self.name,
                "was made under torch.inference_mode(), so nothing can be differentiated through "
                "it; make it outside of that",
            )
        return table

    def _same_rows(self, ids: Tensor) -> None:
        if ids.ndim != 2 or len(ids) != len(self.prompts):
            raise ValueError(
                f"canvas of shape {tuple(ids.shape)} for an operator bound to "
                f"{len(self.prompts)} prompts; use take(rows)"
            )
