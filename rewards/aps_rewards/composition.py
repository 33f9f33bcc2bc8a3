"""Rewards made of rewards: a function of their scores, row by row.

    WeightedSum   sum_i w_i r_i               Normalised   (r - mean) / scale
    Clipped       min(max(r, low), high)      Threshold    1[r >= at], or sigmoid((r - at) / width)
    Minimum       min_i r_i

Each is itself a reward (TRL's signature) and may be a part of another. `combine` is defined on
tensors and is applied both to the parts' scores of TEXT and to their scores of a RELAXED answer;
every part keeps its own tokenizer, embeddings and bridge. A composed reward therefore steers by
gradient if all its parts do, else as one black box (RLOO). The exception is a `WeightedSum` that is
not part of another reward: it is split, and each part uses its own estimator.

If a part does not apply to a row (`None`), the composed reward does not either; in a sum such a
part contributes 0, as in TRL, unless no part applies.
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
        timeout: seconds each part may take to score texts; None is no limit.
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
        """Scores `(B,)` from the parts' scores, each `(B,)`."""

    @property
    def differentiable(self) -> bool:
        """Whether all parts steer by gradient."""
        return all(steers_by_gradient(part) for part in self.parts)

    @property
    def measures(self) -> str:
        """A line that names the parts."""
        return f"{type(self).__name__.lower()} of {', '.join(map(reward_name, self.parts))}"

    @property
    def licence(self) -> str:
        """The licences of the parts."""
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
        """Whether it applies to a row with these scores of the parts."""
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
        """See `Composed.applies`; true if any part applies."""
        return any(value is not None for value in values)


class Clipped(Composed):
    """`min(max(r, low), high)`; the gradient is 0 beyond the bounds.

    Raises:
        ValueError: not low < high.
    """

    def __init__(
        self, reward: Reward | str, low: float = -math.inf, high: float = math.inf
    ) -> None:
        super().__init__(reward)
        if not low < high:
            raise ValueError(f"clipping needs low < high, got {low} and {high}")
        self.low, self.high = float(low), float(high)
        self.name = f"clipped({reward_name(self.parts[0])})"
        below, above = (min(max(end, self.low), self.high) for end in describe(self.parts[0]).range)
        self.range = (below, above)

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        return values[0].clamp(self.low, self.high)


class Threshold(Composed):
    """1 where `r >= at`, else 0; with a `width`, the smooth `sigmoid((r - at) / width)`.

    Without a width its gradient is 0 almost everywhere, so it is a black box.

    Raises:
        ValueError: `at` is not finite, or `width` not > 0 and finite.
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
        """Whether there is a width and the part steers by gradient."""
        return self.width is not None and super().differentiable

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        if self.width is None:
            return (values[0] >= self.at).to(values[0])
        return ((values[0] - self.at) / self.width).sigmoid()


class Minimum(Composed):
    """The lowest of several scores, row by row; its gradient is that of the lowest part.

    Bring the parts to one scale first (`Normalised`): otherwise a part of low values always wins.
    """

    def __init__(self, *rewards: Reward | str) -> None:
        super().__init__(*rewards)
        self.name = f"minimum({', '.join(map(reward_name, self.parts))})"
        ends = [describe(part).range for part in self.parts]
        self.range = (min(low for low, _ in ends), min(high for _, high in ends))

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """See `Composed.combine`."""
        return functools.reduce(lambda a, b: a.minimum(b), values)


class Normalised(Composed):
    """`(r - mean) / scale`: brings rewards of any unit to one scale, so that one `beta` fits all.

    Mean and scale (the standard deviation) are those of the base model's own answers, computed by
    `observe`, which `APSPipeline.calibrate` calls; each further batch updates them (Welford 1962).
    They do not change during a call, so no answer depends on the other prompts.

    Args:
        reward: the reward to normalise.
        mean, scale: known values; without them the reward must be calibrated before its first use.

    Raises:
        ValueError: only one of `mean` and `scale`, or a scale that is not positive and finite; when
            used, fewer than two observed scores, or scores that were all equal.
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
        """The part's range, normalised; infinite while mean and scale are unknown."""
        if self._given is None and self.count < 2:
            return (-math.inf, math.inf)
        mean, scale = self.statistics
        low, high = describe(self.parts[0]).range
        return ((low - mean) / scale, (high - mean) / scale)

    @property
    def statistics(self) -> tuple[float, float]:
        """The current `(mean, scale)`; raises `ValueError` if they are unknown."""
        if self._given is not None:
            return self._given
        if self.count < 2:
            raise ValueError(
                f"{self.name} has observed {self.count} scores, too few for a scale; call "
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
        """Add the scores of these answers of the base model to the running statistics."""
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
