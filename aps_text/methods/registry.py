"""The methods to compare APS with, by the names `method=` and `--method` take; see docs/methods.md.

Settings are constructor arguments: `METHODS["fk"](particles=8, potential="max")`; command lines
and the evaluation go through `make_method` and `build_method`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core.sampler import Method
from .aps_smc import APSSMC
from .best_of_n import BestOf
from .entrgi import EntRGi, aps_logits, expectation
from .fk_steering import FKSteering
from .svdd import SVDD
from .twisted_smc import TwistedSMC

__all__ = ["PEERS", "build_method", "make_method"]

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
    """`build_method` with settings as a command line gives them: `["particles=8", "best_of=4"]`.

    Values are read as JSON (numbers, `null`), and as words where they are not.

    Raises:
        ValueError, TypeError: a text without `=`, and what `build_method` raises.
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"a method option is NAME=VALUE, got {text!r}")
        try:
            options[key.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            options[key.replace("-", "_")] = value
    return build_method(known, name, options)


def build_method(
    known: Mapping[str, Callable[..., Method]], name: str, options: Mapping[str, Any]
) -> Method:
    """A method by name with settings.

    `best_of` is a setting of every method: so many runs of it, and the one whose answer the guiding
    rewards like best (see `best_of_n`).

    Raises:
        ValueError, TypeError: no such name, a setting the method lacks or refuses.
    """
    if name not in known:
        raise ValueError(f"method is one of {', '.join(known)}; got {name!r}")
    accepted = [key for key in inspect.signature(known[name]).parameters if key != "method"]
    own = {key: value for key, value in options.items() if key != "best_of"}
    for key in own:
        if key not in accepted:
            has = ", ".join([*accepted, "best_of"])
            raise TypeError(f"method {name!r} has no setting {key!r}; it has: {has}")
    made = known[name](**own)
    return BestOf(made, options["best_of"]) if "best_of" in options else made
