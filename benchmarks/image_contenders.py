"""What `benchmarks/images.py` compares: methods, their settings, and the trials of these."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from image_lines import LINES

BASE = "aps"
"""The line that others are compared with, and whose seconds others are given."""
SUPERVISED = "supervised"
"""The line of `image_regression`."""


@dataclass(frozen=True)
class Contender:
    """A method with settings.

    Attributes:
        label: in tables.
        method: a name in `methods.registry.IMAGE_METHODS`, or in `image_lines.LINES`.
        options: the method's own settings.
        config: keywords of `APSConfig` on top of `preset="restore"`.
        knob: the setting that costs time in proportion; empty for none.
        grid: values of settings, whose combinations are the trials.
        single: it draws nothing, so there is one sample.
    """

    label: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    knob: str = ""
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    single: bool = False

    def changed(self, **settings: Any) -> Contender:
        """With other settings, each where it belongs."""
        own = {name: value for name, value in settings.items() if name in self.options}
        rest = {name: value for name, value in settings.items() if name not in self.options}
        return replace(self, options={**self.options, **own}, config={**self.config, **rest})

    def value(self, name: str) -> Any:
        """A setting's value."""
        return {**self.config, **self.options}[name]

    def trials(self, count: int) -> list[Contender]:
        """The first `count` trials: the defaults, then combinations in a fixed random order."""
        combined = [
            dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())
        ]
        random.Random(0).shuffle(combined)
        found = [self]
        for settings in combined:
            one = self.changed(**settings)
            if one not in found:
                found.append(one)
        return found[: max(1, count)]


FITTED = {"learning_rate": 0.3, "inner_steps": 5, "tilt_keep": 1.0}
FIT = {"learning_rate": [0.1, 0.3, 1.0], "inner_steps": [5, 10], "tilt_keep": [1.0, 0.7]}
CONTENDERS = [
    *(Contender(name, name, single=True) for name in LINES),
    Contender("prior", "plain"),
    Contender(
        BASE,
        "aps",
        config={"candidate": "sample", **FITTED},
        knob="inner_steps",
        grid=FIT,
    ),
    Contender(
        "aps, quantised",
        "aps",
        config={"candidate": "quantized", **FITTED},
        knob="inner_steps",
        grid=FIT,
        single=True,
    ),
    Contender(
        "aps-smc",
        "aps-smc",
        {"particles": 4},
        {"candidate": "sample", **FITTED},
        knob="particles",
        grid=FIT,
    ),
    Contender(
        "best-of-n",
        "best-of-n",
        {"samples": 16},
        {"cfg_scale": 0.0, "temperature": 1.0},
        knob="samples",
        grid={"cfg_scale": [0.0, 0.5, 1.0, 2.0], "temperature": [0.7, 0.85, 1.0]},
    ),
    Contender(
        "svdd",
        "svdd",
        {"candidates": 8, "beta": 1.0},
        knob="candidates",
        grid={"candidates": [4, 8, 16], "beta": [0.0, 0.3, 1.0, 3.0]},
    ),
    Contender(
        "fk",
        "fk",
        {"particles": 8, "every": 2, "beta": 1.0},
        knob="particles",
        grid={"particles": [8, 16], "every": [1, 2, 4], "beta": [1.0, 10.0]},
    ),
    Contender(
        "g2d2",
        "g2d2",
        {"inner_steps": 10, "lr": 10.0, "kl": 3e-4, "noising": "star"},
        knob="inner_steps",
        grid={"noising": ["star", "standard"], "lr": [1.0, 10.0, 30.0], "kl": [3e-4, 3e-3]},
    ),
    Contender(
        "sgdd",
        "sgdd",
        {"sweeps": 10, "proposal": "bit", "epsilon": 0.1, "prior_step": "renoise"},
        knob="sweeps",
        grid={
            "proposal": ["bit", "langevin"],
            "epsilon": [0.03, 0.1, 0.3],
            "prior_step": ["exact", "renoise"],
        },
    ),
]
