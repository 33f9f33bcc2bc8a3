"""Checked calls of a reward's `score_embeds`: framed answers `(B, S, d)` to scores `(B,)`.

Whatever goes wrong in the reward's forward or backward pass becomes a `RewardError` that names the
reward and the prompt, as for scores of text. The timeout covers the forward pass (on a GPU until
its result is computed); the backward pass cannot be interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from aps_rewards import DifferentiableReward, Prompt, RewardError
from aps_rewards.calling import failure, quoted
from aps_rewards.guard import PASSED_ON, copied, undisturbed
from aps_rewards.waiting import within
from torch import Tensor

__all__ = ["EmbeddingScorer", "attributed"]

T = TypeVar("T")


def attributed(name: str, where: str, work: Callable[[], T]) -> T:
    """The result of `work()`, which calls a reward's code; `where` names that code in errors.

    Raises:
        RewardError: `work` raised.
    """
    try:
        with undisturbed():
            return work()
    except PASSED_ON:
        raise
    except BaseException as error:
        raise RewardError(name, f"raised in {where}: {failure(error)[1]}") from error


@dataclass(frozen=True)
class EmbeddingScorer:
    """Scores B rows of a batch by a reward's `score_embeds`.

    Attributes:
        name: of the reward.
        prompts: the prompt of each row.
        columns: dataset columns, B values each.
        index: each prompt's number in errors.
        timeout: seconds a forward pass may take, > 0; None is no limit.
    """

    name: str
    prompts: list[Prompt]
    columns: Mapping[str, list[Any]]
    index: list[int]
    timeout: float | None = None

    def scores(self, guide: DifferentiableReward, embeds: Tensor, mask: Tensor) -> Tensor:
        """Scores `(B,)` of framed answers: `embeds (B, S, d)`, `mask (B, S)` int64.

        Raises:
            RewardError: the reward raised, took too long, detached the gradient, or returned a
                wrong shape, a tensor on another device, NaN or inf. Later, from the backward pass:
                it raised, or its gradient is NaN or inf.
        """
        call = _Call(self, guide, mask)
        if embeds.requires_grad and torch.is_grad_enabled():
            found: Tensor = _Scored.apply(embeds, call)
            return found
        return call.forward(embeds)


@dataclass(frozen=True)
class _Call:
    rows: EmbeddingScorer
    guide: DifferentiableReward
    mask: Tensor

    def forward(self, embeds: Tensor) -> Tensor:
        try:
            scores = self._score(embeds, slice(None))
        except PASSED_ON:
            raise
        except BaseException as error:

            def alone(row: slice) -> None:
                with torch.no_grad():
                    self._score(embeds, row)

            raise self._blame("score_embeds", alone, error) from error
        self._check(scores, embeds)
        return scores

    def backward(self, scores: Tensor, embeds: Tensor, grad: Tensor) -> Tensor | None:
        """The gradient of `grad . scores` with respect to `embeds`; `scores` is of `forward`."""
        try:
            with undisturbed():
                (found,) = torch.autograd.grad(scores, embeds, grad, allow_unused=True)
        except PASSED_ON:
            raise
        except BaseException as error:

            def alone(row: slice) -> None:
                with torch.enable_grad(), undisturbed():
                    leaf = embeds.detach().requires_grad_()
                    torch.autograd.grad(self._score(leaf, row).sum(), leaf)

            raise self._blame("the backward pass of score_embeds", alone, error) from error
        if found is None:
            return None
        bad = ~found.isfinite().flatten(1).all(1)
        if bad.any():
            row = int(bad.nonzero()[0])
            raise RewardError(
                self.rows.name,
                "returned a gradient that is not finite from score_embeds for",
                self.rows.index[row],
                quoted(self.rows.prompts[row]),
                "; check the reward for square roots, logs and divisions at 0",
            )
        return found

    def _score(self, embeds: Tensor, part: slice) -> Tensor:
        rows, mask = self.rows, self.mask[part]
        # A CUDA stream is set per thread, and with a timeout `forward` runs in another thread.
        stream = torch.cuda.current_stream(embeds.device) if embeds.is_cuda else None

        def forward() -> Tensor:
            with torch.cuda.stream(stream):
                found = self.guide.score_embeds(
                    embeds[part],
                    mask,
                    (mask.cumsum(-1) - 1).clamp_min(0),
                    prompts=copied(rows.prompts[part]),
                    **{key: copied(values[part]) for key, values in rows.columns.items()},
                )
            if stream is not None and rows.timeout is not None:
                stream.synchronize()  # the kernels are only queued: the timeout covers their run
            return found

        found: Tensor = within(rows.timeout, forward)
        return found

    def _check(self, scores: Tensor, embeds: Tensor) -> None:
        name, prompts = self.rows.name, self.rows.prompts
        count, first = len(prompts), quoted(prompts[0])
        if not isinstance(scores, Tensor) or scores.shape != (count,):
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise RewardError(
                name,
                f"returned {'shape ' if isinstance(got, tuple) else 'a '}{got} from score_embeds "
                f"for {count} prompts (the first: {first}); return a tensor ({count},)",
            )
        if scores.device != embeds.device:
            raise RewardError(
                name,
                f"returned a tensor on {scores.device} from score_embeds for",
                self.rows.index[0],
                first,
                f"; return it on {embeds.device}, where the embeddings are",
            )
        bad = ~scores.detach().isfinite()
        if bad.any():
            row = int(bad.nonzero()[0])
            raise RewardError(
                name,
                f"returned {float(scores[row].detach())} from score_embeds for",
                self.rows.index[row],
                quoted(prompts[row]),
                "; check the reward for divisions and logs of 0",
            )
        if embeds.requires_grad and torch.is_grad_enabled() and not scores.requires_grad:
            raise RewardError(
                name,
                "says it is differentiable and returned scores without a gradient from "
                "score_embeds; compute them from `embeds` out of place and not under no_grad, "
                "or set differentiable = False",
            )

    def _blame(
        self, where: str, alone: Callable[[slice], None], error: BaseException
    ) -> RewardError:
        """The error of the first row that fails when scored alone, or of the batch if none does."""
        rows = self.rows
        verb, what = _failure(error)
        for row, prompt in enumerate(rows.prompts):
            try:
                alone(slice(row, row + 1))
            except PASSED_ON:
                raise
            except BaseException as found:
                verb, what = _failure(found)
                place = rows.index[row], quoted(prompt)
                return RewardError(rows.name, f"{verb} in {where} on", *place, f": {what}")
        whole = f"{verb} in {where} on a batch of {len(rows.prompts)} prompts"
        return RewardError(rows.name, f"{whole}, though on none of them alone: {what}")


def _failure(error: BaseException) -> tuple[str, str]:
    """See `failure`; of torch's message on its inference mode, what to do."""
    verb, what = failure(error)
    if "Inference tensors" in what:
        what = "it was made under torch.inference_mode(): make it outside of that"
    return verb, what


class _Scored(torch.autograd.Function):
    """`call.forward` in a graph of its own, so that errors of its backward pass can be caught."""

    @staticmethod
    def forward(ctx: Any, embeds: Tensor, call: _Call) -> Tensor:
        with torch.enable_grad():
            leaf = embeds.detach().requires_grad_()
            scores = call.forward(leaf)
        ctx.call, ctx.leaf, ctx.scores = call, leaf, scores
        return scores.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        scores, ctx.scores = ctx.scores, None  # the graph is freed by its first backward pass
        if scores is None:
            with torch.enable_grad():
                scores = ctx.call.forward(ctx.leaf)
        return ctx.call.backward(scores, ctx.leaf, grad), None
