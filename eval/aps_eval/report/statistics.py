"""Paired comparison of two methods over prompts: intervals, a sign-flip test and a verdict.

Each prompt counts once: its values under several seeds are averaged first. Values that differ only
by rounding (`tolerance`), and values of identical answers, count as equal. Reported of the paired
differences d_i are the mean, its 95% percentile bootstrap interval over prompts, the fraction of
prompts won (ties count half), and the two-sided p of the sign-flip test (Fisher 1935): under the
null hypothesis d_i and -d_i are equally likely, and

    p = P(|sum s_i d_i| >= |sum d_i|),   s_i = +-1 with probability 1/2 each,

over all 2^k signs of the k prompts that differ where k <= 14 (exact), else over 10,000 draws of
signs, p = (1 + count) / (1 + draws). Ties do not count: three prompts won and seven ties give
p = 1/4. With fewer than six prompts that differ, p cannot be below 0.05.

Over the tasks of one comparison p is adjusted by Holm's method (1979). A difference is `better` or
`worse` if its interval excludes 0 and its adjusted p is below 0.05, else `no difference shown`; of
fewer than six prompts it is `too few prompts`, and no interval of them is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..rows import Row

__all__ = ["FEWEST", "Difference", "Interval", "by_prompt", "difference", "holm", "mean_interval"]

DRAWS = 10_000
LEVEL = 0.05
EXACT = 14
"""The maximal number of differing prompts for which all signs are enumerated."""

FEWEST = 6
"""Prompts below which nothing is said about others: the sign-flip p cannot be below 0.05, and the
resamples of a bootstrap interval are too alike."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class Difference:
    """A paired comparison.

    Attributes:
        prompts: pairs.
        mean, low, high: of the differences, with the 95% interval.
        wins: fraction of prompts with a higher value, ties counted half, in [0, 1].
        p, p_holm: two-sided, unadjusted and adjusted over tasks.
        higher_is_better: of the value compared.
    """

    prompts: int
    mean: float
    low: float
    high: float
    wins: float
    p: float
    p_holm: float
    higher_is_better: bool = True

    @property
    def interval(self) -> str:
        """`[low, high]`; empty for too few prompts."""
        return "" if self.prompts < FEWEST else f" [{self.low:+.3f}, {self.high:+.3f}]"

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `no difference shown` or `too few prompts`."""
        if self.prompts < FEWEST:
            return "too few prompts"
        if self.low <= 0 <= self.high or self.p_holm >= LEVEL:
            return "no difference shown"
        return "better" if (self.mean > 0) == self.higher_is_better else "worse"


def by_prompt(pairs: Iterable[tuple[Row, float | None]]) -> dict[str, float]:
    """Item id -> mean over its seeds; values that are None are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for row, value in pairs:
        if value is not None:
            found[row.item].append(value)
    return {item: float(np.mean(values)) for item, values in found.items()}


def mean_interval(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean and percentile bootstrap interval; for paired DIFFERENCES, the paired bootstrap.

    Raises:
        ValueError: no values.
    """
    low, high = np.percentile(_resampled(values, seed, draws), [2.5, 97.5])
    return Interval(float(np.mean(values)), float(low), float(high))


def difference(
    one: Mapping[str, float],
    other: Mapping[str, float],
    *,
    higher_is_better: bool = True,
    same: Collection[str] = (),
    seed: int = 0,
) -> Difference | None:
    """`one` minus `other` over the prompts that both have; None without any.

    Args:
        one, other: value by prompt.
        same: prompts with identical answers of both, counted as ties whatever their values.
        seed: of the resamples.
    """
    shared = [item for item in one if item in other]
    if not shared:
        return None
    pairs = np.array([(one[item], other[item]) for item in shared], dtype=float)
    gaps = pairs[:, 0] - pairs[:, 1]
    tied = np.abs(gaps) <= tolerance(pairs)
    gaps[tied | np.array([item in same for item in shared])] = 0.0
    interval = mean_interval(gaps, seed=seed)
    sign = 1.0 if higher_is_better else -1.0
    wins = float(np.mean((sign * gaps > 0) + 0.5 * (gaps == 0)))
    p = sign_flip_p(gaps, seed)
    return Difference(
        len(shared), interval.mean, interval.low, interval.high, wins, p, p, higher_is_better
    )


def tolerance(pairs: np.ndarray) -> np.ndarray:
    """The difference up to which two values of a pair are equal, `(n,)` for pairs `(n, 2)`.

    float32 results of different batch sizes differ by rounding; allowed are 1e-5 of the pair's own
    size plus 1e-6 of a typical size of all pairs.
    """
    size = np.abs(pairs)
    return 1e-5 * size.max(1) + 1e-6 * np.median(size)


def sign_flip_p(gaps: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test; exact for up to `EXACT` differences other than 0."""
    moved = gaps[gaps != 0]
    if not moved.size:
        return 1.0
    moved = moved / np.abs(moved).max()
    if moved.size <= EXACT:
        bits = np.arange(2**moved.size)[:, None] >> np.arange(moved.size)
        signs, extra = 1 - 2 * (bits & 1), 0
    else:
        draws = np.random.default_rng(seed).integers(0, 2, size=(DRAWS, moved.size), dtype=np.int8)
        signs, extra = 1 - 2 * draws, 1
    sums = np.abs(signs @ moved)
    count = int((sums >= abs(moved.sum()) * (1 - 1e-12)).sum())
    return (count + extra) / (len(signs) + extra)


def holm(found: Sequence[Difference]) -> list[Difference]:
    """The differences with p adjusted by Holm's method, in the same order."""
    order = sorted(range(len(found)), key=lambda i: found[i].p)
    adjusted, highest = [0.0] * len(found), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(found) - rank) * found[i].p))
        adjusted[i] = highest
    return [replace(one, p_holm=p) for one, p in zip(found, adjusted, strict=True)]


def _resampled(values: Sequence[float] | np.ndarray, seed: int, draws: int = DRAWS) -> np.ndarray:
    """Means of `draws` resamples."""
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        raise ValueError("an interval needs at least one value, got none")
    return _resamples(array.size, seed, draws) @ array / array.size


@lru_cache(maxsize=4)
def _resamples(size: int, seed: int, draws: int) -> np.ndarray:
    """How often each of `size` values is drawn, `(draws, size)`: the intervals of a page share it.

    Drawing takes 20 times as long as adding up. No count is above `size`: a small type holds it.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(size, np.full(size, 1 / size), size=draws)
    return counts.astype(np.min_scalar_type(size))
