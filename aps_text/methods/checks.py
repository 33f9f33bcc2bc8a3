"""Checks of the methods' own settings; errors name the field, the value and what is allowed."""

from __future__ import annotations

import math

from ..core.config import APSConfig
from ..core.limits import check_number

__all__ = ["check_beta", "check_counts", "check_number", "check_one_of", "ordered"]

WINDOW = ("guidance_start", "guidance_end", "guidance_interval")
ORDERS = ("entropy", "topk_margin", "random", "origin", "anchored")


def check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(allowed)}; got {value!r}")


def check_counts(**counts: int) -> None:
    """Raise `TypeError` or `ValueError` unless each is a whole number >= 1."""
    for name, value in counts.items():
        check_number(name, value, (1, math.inf, True), whole=True)


def check_beta(beta: float | None, *, zero: bool = False) -> None:
    """Raise `TypeError` or `ValueError` unless beta is None or a number > 0 (>= 0 if `zero`)."""
    if beta is not None:
        check_number("beta", beta, (0, math.inf, zero))


def ordered(config: APSConfig, order: str) -> APSConfig:
    """The call's settings with an order policy, independent candidates and no pool.

    `entropy` and `topk_margin` rank positions by x_theta, `random` draws the order and keeps the
    counts, `origin` draws both. `anchored` is the one policy that depends on the candidates: it
    ranks them by their tilted probability, which biases the weights.
    """
    base = config.replace(rank_by="theta", candidate="sample", pool_size=None)
    if order == "random":
        return base.replace(alg="maskgit_plus", remasking="random")
    if order == "anchored":
        return base.replace(alg="maskgit_plus", remasking="anchored")
    return base.replace(alg=order, remasking="standard")
