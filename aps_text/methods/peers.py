"""The methods to compare APS with, by the names `method=` and `--method` take; see docs/methods.md.

Settings are constructor arguments: `METHODS["fk"](particles=8, potential="max")`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..sampler import Method
from .aps_smc import APSSMC
from .best_of_n import BestOf
from .entrgi import EntRGi, aps_logits, expectation
from .fk_steering import FKSteering
from .svdd import SVDD
from .twisted_smc import TwistedSMC

__all__ = ["PEERS", "make_method"]

PEERS: dict[str, Callable[..., Method]] = {
    "best-of-n": BestOf,
    "svdd": SVDD,
    "fk": FKSteering,
    "entrgi": EntRGi,
    "expectation": expectation,
    "aps-logits": aps_logits,
    "twisted-smc": TwistedSMC,
    "aps-smc": APSSMC,
}


def make_method(
    known: Mapping[str, Callable[..., Method]], name: str, texts: Iterable[str] = ()
) -> Method:
    """A method by name with settings as a command line gives them: `["particles=8"]`.

    Values are read as JSON (numbers, `null`), and as words where they are not.

    Raises:
        ValueError, TypeError: no such name, a text without `=`, a setting the method lacks or
            refuses.
    """
    if name not in known:
        raise ValueError(f"method is one of {', '.join(known)}; got {name!r}")
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"a method option is NAME=VALUE, got {text!r}")
        try:
            options[key.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            options[key.replace("-", "_")] = value
    accepted = list(inspect.signature(known[name]).parameters)
    for key in options:
        if key not in accepted:
            has = ", ".join(accepted) or "none"
            raise TypeError(f"method {name!r} has no setting {key!r}; it has: {has}")
    return known[name](**options)
