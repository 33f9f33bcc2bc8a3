"""Rewards made of rewards: a function of their scores, row by row.

    WeightedSum   sum_i w_i r_i               Normalised   (r - mean) / scale
    Clipped       min(max(r, low), high)      Threshold    1[r >= at], or sigmoid((r - at) / width)
    Minimum       min_i r_i

Each is itself a reward (TRL's signature) and may be a part of another. `combine` is written once,
on tensors, and is applied to the parts' scores of TEXT and to their scores of a RELAXED answer
alike; every part keeps its own tokenizer, embeddings and bridge, so nothing has to be shared. A
composed reward therefore steers by gradient if all parts do, else as one black box (RLOO). Only
the parts of a `WeightedSum` at the top are told apart: each steers in its own way.

A row to which a part does not apply (`None`) is one to which the composed reward does not apply;
in a sum the part contributes 0, as in TRL, unless no part applies.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .calling import RewardCall
from .loading import load_reward
from .protocol import Prompt, Reward, describe, reward_name, steers_by_gradient

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Clipped", "Composed", "Minimum", "Normalised", "Threshold", "WeightedSum"]


class Composed(ABC):
    """A reward that is a function of other rewards' scores; subclasses write `combine`.

    Attributes:
        parts: the rewards it is made of.
        timeout: seconds each part may take; None waits for ever. For the text side.
    """

    name: str
    range: tuple[float, float]
    timeout: float | None = None

    def __init__(self, *parts: Reward | str) -> None:
        if not parts:
            raise ValueError(f"{type(self).__name__} needs at least one reward, got none")
        self.parts: list[Reward] = [load_reward(part) for part in parts]

    @abstractmethod
    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """One score per row from the parts' scores, each `(B,)`; differentiable where it can be."""

    @property
    def differentiable(self) -> bool:
        """Whether all parts steer by gradient, so that this does."""
        return all(steers_by_gradient(part) for part in self.parts)

    @property
    def measures(self) -> str:
        """What it is made of."""
        return f"{type(self).__name__.lower()} of {', '.join(map(reward_name, self.parts))}"

    @property
    def licence(self) -> str:
        """Those of the parts."""
        return "; ".join(dict.fromkeys(filter(None, (describe(p).licence for p in self.parts))))

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float | None]:
        """Scores of text: the parts are started together, then combined."""
        import torch

        calls = [
            RewardCall(
                part,
                prompts,
                completions,
                columns,
                completion_ids=completion_ids,
                timeout=self.timeout,
            )
            for part in self.parts
        ]
        scores = [call.result() for call in calls]
        filled = [[0.0 if v is None else v for v in values] for values in scores]
        total = self.combine([torch.tensor(v, dtype=torch.float64) for v in filled]).tolist()
        rows = zip(*scores, strict=True)
        return [v if self.applies(row) else None for v, row in zip(total, rows, strict=True)]

    def applies(self, values: Sequence[float | None]) -> bool:
        """Does it apply to a row whose parts scored this?"""
        return all(value is not None for value in values)


class WeightedSum(Composed):
    """`sum_i w_i r_i`. Weights may be negative; weight 0 is reported and never steers.

    Args:
        weighted: `(reward, weight)` pairs, or `{reward: weight}`; rewards or their names.

    Raises:
        ValueError: no rewards, or a weight that is not finite.
    """

    def __init__(
        self, weighted: Mapping[Reward | str, float] | Sequence[tuple[Reward | str, float]]
    ) -> None:
        pairs = list(weighted.items() if isinstance(weighted, Mapping) else weighted)
        super().__init__(*(reward for reward, _ in pairs))
        self.weights = [float(weight) for _, weight in pairs]
        if not all(map(math.isfinite, self.weights)):
            raise ValueError(f"weights are finite numbers, got {self.weights}")
        self.name = " + ".join(
            f"{w:g} {reward_name(part)}" for w, part in zip(self.weights, self.parts, strict=True)
        )
        spans = [
            sorted((w * end if w else 0.0) for end in describe(part).range)
            for w, part in zip(self.weights, self.parts, strict=True)
        ]
        self.range = (sum(low for low, _ in spans), sum(high for _, high in spans))

    @property
    def differentiable(self) -> bool:
        """Whether all parts with a weight steer by gradient."""
        pairs = zip(self.weights, self.parts, strict=True)
        return all(steers_by_gradient(part) for weight, part in pairs if weight)

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        terms = [w * value for w, value in zip(self.weights, values, strict=True)]
        return functools.reduce(lambda a, b: a + b, terms)

    def applies(self, values: Sequence[float | None]) -> bool:
        """If any part does."""
        return any(value is not None for value in values)


class Clipped(Composed):
    """`min(max(r, low), high)`: no gradient, and nothing to gain, beyond the bounds."""

    def __init__(
        self, reward: Reward | str, low: float = -math.inf, high: float = math.inf
    ) -> None:
        super().__init__(reward)
        if not low < high:
            raise ValueError(f"clipping needs low < high, got {low} and {high}")
        self.low, self.high = float(low), float(high)
        self.name = f"clipped({reward_name(self.parts[0])})"
        below, above = describe(self.parts[0]).range
        self.range = (max(below, self.low), min(above, self.high))

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        return values[0].clamp(self.low, self.high)


class Threshold(Composed):
    """1 where `r >= at`, else 0; with a `width`, the smooth `sigmoid((r - at) / width)`.

    Without a width it is flat almost everywhere, so it has no gradient and is a black box.
    """

    def __init__(self, reward: Reward | str, at: float, width: float | None = None) -> None:
        super().__init__(reward)
        if not math.isfinite(at):
            raise ValueError(f"a threshold is a finite number, got {at}")
        if width is not None and not 0 < width < math.inf:
            raise ValueError(f"width must be > 0 and finite, or None for a hard step; got {width}")
        self.at, self.width = float(at), width
        self.name = f"threshold({reward_name(self.parts[0])})"
        self.range = (0.0, 1.0)

    @property
    def differentiable(self) -> bool:
        """Whether the step is smooth and the part steers by gradient."""
        return self.width is not None and super().differentiable

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        if self.width is None:
            return (values[0] >= self.at).to(values[0])
        return ((values[0] - self.at) / self.width).sigmoid()


class Minimum(Composed):
    """The worst of several: all must be good. The gradient is the worst one's, row by row.

    Bring the parts to one scale first (`Normalised`): the smallest scale always is the minimum.
    """

    def __init__(self, *rewards: Reward | str) -> None:
        super().__init__(*rewards)
        self.name = f"minimum({', '.join(map(reward_name, self.parts))})"
        ends = [describe(part).range for part in self.parts]
        self.range = (min(low for low, _ in ends), min(high for _, high in ends))

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        return functools.reduce(lambda a, b: a.minimum(b.to(a)), values)


class Normalised(Composed):
    """`(r - mean) / scale`: rewards of any unit on one scale, so that one `beta` fits all.

    Mean and scale (the standard deviation) are those of the base model's own answers. They come
    from `observe`, which `APSPipeline.calibrate` calls, and run on with every further batch
    (Welford 1962); during a call they stand still, so no prompt depends on its neighbours.

    Args:
        reward: what is normalised.
        mean, scale: known values; without them the reward must be calibrated before its first use.

    Raises:
        ValueError: one of `mean` and `scale` alone, or a scale that is not positive; when used,
            fewer than two observed scores, or scores that were all the same.
    """

    def __init__(
        self, reward: Reward | str, mean: float | None = None, scale: float | None = None
    ) -> None:
        super().__init__(reward)
        if (mean is None) != (scale is None):
            raise ValueError(f"give mean and scale, or neither; got {mean} and {scale}")
        if scale is not None and not 0 < scale < math.inf:
            raise ValueError(f"scale must be > 0 and finite, got {scale}")
        self._given = None if mean is None or scale is None else (float(mean), float(scale))
        self.count, self._mean, self._square = 0, 0.0, 0.0
        self.name = f"normalised({reward_name(self.parts[0])})"

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        """The part's, in standard deviations; infinite before there are any."""
        if self._given is None and self.count < 2:
            return (-math.inf, math.inf)
        mean, scale = self.statistics
        low, high = describe(self.parts[0]).range
        return ((low - mean) / scale, (high - mean) / scale)

    @property
    def statistics(self) -> tuple[float, float]:
        """`(mean, scale)` in force."""
        if self._given is not None:
            return self._given
        if self.count < 2:
            raise ValueError(
                f"{self.name} has seen {self.count} scores and knows no scale; call "
                "pipe.calibrate(reward, prompts), or give mean= and scale="
            )
        scale = math.sqrt(self._square / self.count)
        if scale == 0:
            raise ValueError(
                f"{self.name}: all {self.count} observed scores were {self._mean:g}, so there is "
                "no scale; calibrate on more varied prompts, or give mean= and scale="
            )
        return self._mean, scale

    def observe(
        self, prompts: list[Prompt], completions: list[Prompt], **columns: list[Any]
    ) -> None:
        """Take the scores of these answers of the base model into the running statistics."""
        ids = columns.pop("completion_ids", None)
        call = RewardCall(self.parts[0], prompts, completions, columns, completion_ids=ids)
        for value in call.result():
            if value is not None:
                self.count += 1
                step = value - self._mean
                self._mean += step / self.count
                self._square += step * (value - self._mean)

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        mean, scale = self.statistics
        return (values[0] - mean) / scale
