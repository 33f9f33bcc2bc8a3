"""APS and the methods it is compared with, by their names in `method=`; see docs/methods.md.

A method's settings are constructor arguments: `METHODS["fk"](particles=8, potential="max")`.
Calls use `as_method`, command lines `make_method`, which parses NAME=VALUE, and the evaluation
`build_method`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core.pairs import read_pairs
from ..core.sampler import Method
from .ancestral import Ancestral
from .aps import APS
from .aps_smc import APSSMC
from .best_of_n import BestOf
from .entrgi import EntRGi, aps_logits, expectation
from .ets import ETS
from .fk_steering import FKSteering
from .g2d2 import G2D2
from .particle_gibbs import ParticleGibbs
from .split_gibbs import SplitGibbs
from .svdd import SVDD
from .twisted_smc import TwistedSMC
from .vgb import VGB

__all__ = [
    "IMAGE_METHODS",
    "IMAGE_PEERS",
    "METHODS",
    "PEERS",
    "as_method",
    "build_method",
    "make_method",
    "options_of",
]

PEERS: dict[str, Callable[..., Method]] = {
    "best-of-n": BestOf,
    "svdd": SVDD,
    "fk": FKSteering,
    "entrgi": EntRGi,
    "expectation": expectation,
    "aps-logits": aps_logits,
    "twisted-smc": TwistedSMC,
    "aps-smc": APSSMC,
    "ets": ETS,
    "vgb": VGB,
    "particle-gibbs": ParticleGibbs,
}

IMAGE_PEERS: dict[str, Callable[..., Method]] = {"g2d2": G2D2, "sgdd": SplitGibbs}
"""Those for measurements of images alone; text has neither their codes nor a fixed length."""

METHODS: dict[str, Callable[..., Method]] = {"aps": APS, "plain": Ancestral, **PEERS}
"""Every method for text."""

IMAGE_METHODS: dict[str, Callable[..., Method]] = {**METHODS, **IMAGE_PEERS}
"""Every method for images."""


def as_method(known: Mapping[str, Callable[..., Method]], method: str | Method) -> Method:
    """A method by name, with its default settings, or the object itself.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor an object with `steps`.
    """
    if isinstance(method, str):
        return build_method(known, method, {})
    if isinstance(method, type) or not callable(getattr(method, "steps", None)):
        got = f"{method!r:.80}"
        if isinstance(method, type):
            got = f"the class {method.__name__} itself; call it"
        raise TypeError(
            f"method is one of {', '.join(known)}, or an object with `steps`; got {got}"
        )
    return method


def make_method(
    known: Mapping[str, Callable[..., Method]], name: str, texts: Iterable[str] = ()
) -> Method:
    """`build_method` with settings from a command line: `["particles=8", "best_of=4"]`.

    A value that is JSON (a number, `null`) is parsed, any other is taken as a string.

    Raises:
        ValueError, TypeError: a setting without `=` or given twice, and what `build_method` raises.
    """
    return build_method(known, name, read_pairs(texts, "a method option is"))


def options_of(known: Mapping[str, Callable[..., Method]], name: str) -> list[str]:
    """The settings of a method, `best_of` among them.

    Raises:
        ValueError: no such name.
    """
    if name not in known:
        raise ValueError(f"method is one of {', '.join(known)}; got {name!r}")
    own = [key for key in inspect.signature(known[name]).parameters if key != "method"]
    return [*own, "best_of"]


def build_method(
    known: Mapping[str, Callable[..., Method]], name: str, options: Mapping[str, Any]
) -> Method:
    """A method by name with settings.

    `best_of` is a setting of every method: the number of runs, of which the answer with the highest
    guiding reward is returned (see `best_of_n`).

    Raises:
        ValueError: an unknown name, or a value outside its range.
        TypeError: a setting that the method does not have, or a value of a wrong type.
    """
    accepted = options_of(known, name)
    own = {key: value for key, value in options.items() if key != "best_of"}
    for key in own:
        if key not in accepted:
            has = ", ".join(accepted)
            raise TypeError(f"method {name!r} has no setting {key!r}; it has: {has}")
    made = known[name](**own)
    return BestOf(made, options["best_of"]) if "best_of" in options else made
