"""`Asked`: what the page asks for, checked; and as the JSON that is shared.

What comes from a page is not trusted: a reward is one of the installed ones by its name, with its
own options but none that names a file or a device, and a function is run only where its server was
started with `--trust-code`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aps_rewards import Reward, list_rewards
from aps_rewards.specs import FILE_OPTIONS, split_options

from ..core.config import APSConfig
from ..core.own_settings import config_for
from ..core.presets import TEXT_PRESETS
from ..pipelines.page.call import steered_by
from ..text.reward_operator.guidance import RewardSpec

__all__ = ["FORMAT", "Asked", "Usable", "as_asked", "compiled", "read_asked", "usable"]

FORMAT = "aps_text run 1"
OF_THE_SERVER = FILE_OPTIONS | {"device", "dtype", "batch_size"}
"""Options of a reward that a page may not give: they read its server's files or use its devices."""


@dataclass(frozen=True)
class Asked:
    """A question and how it is answered; make it with `as_asked`, which checks.

    Attributes:
        question: the prompt.
        rewards: (name with its options, weight) of installed rewards; weight 0 only measures.
        function: source of the asker's own reward, "" for none.
        function_weight: its weight.
        preset: one of `core.presets.TEXT_PRESETS`.
        beta: of the rewards, > 0; None takes their own.
        seed: of the draws.
        settings: further keywords of `APSConfig`.
    """

    question: str
    rewards: tuple[tuple[str, float], ...] = ()
    function: str = ""
    function_weight: float = 1.0
    preset: str = "fast"
    beta: float | None = None
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(self, own: Mapping[str, Any] | None = None) -> APSConfig:
        """The settings of both answers; `own` are the model's."""
        beta = {} if self.beta is None else {"beta": self.beta}
        options = {"seed": self.seed, **beta, **self.settings}
        return config_for(own or {}, self.preset, **options)

    def spec(self) -> RewardSpec:
        """The rewards as a pipeline takes them; None if there is none.

        Raises:
            ValueError: the function cannot be compiled; says why.
        """
        named: list[Any] = [f"{name}={weight!r}" for name, weight in self.rewards]
        own = [(compiled(self.function), self.function_weight)] if self.function else []
        return [*named, *own] or None

    @property
    def steers(self) -> bool:
        """Whether a reward has a weight."""
        weights = [weight for _, weight in self.rewards]
        return any([*weights, self.function_weight if self.function else 0.0])

    @property
    def by(self) -> str:
        """What steers, with the weights, in words: `2 x length and your function`."""
        own = {"your function": self.function_weight} if self.function else {}
        return steered_by({**dict(self.rewards), **own})

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "rewards": [list(one) for one in self.rewards]}


@dataclass(frozen=True)
class Usable:
    """An installed reward that loads.

    Attributes:
        measures: what it measures, in a line.
        options: names of those of its options that a page may give.
    """

    measures: str
    options: tuple[str, ...] = ()


def usable() -> dict[str, Usable]:
    """Installed rewards that load, by name."""
    return {
        one.name: Usable(
            one.info.measures, tuple(name for name in one.options if name not in OF_THE_SERVER)
        )
        for one in list_rewards()
        if one.info is not None
    }


def as_asked(
    question: Any,
    rewards: Iterable[tuple[Any, Any, Any]] = (),
    *,
    known: Iterable[str],
    function: Any = "",
    function_weight: Any = 1.0,
    trust_code: bool = False,
    preset: Any = "fast",
    beta: Any = None,
    seed: Any = 0,
    settings: Mapping[str, Any] | None = None,
) -> Asked:
    """Check what a page sent.

    Args:
        rewards: (name, weight, options) each; one without a name is left out. Options are written
            as after a name on the command line: `present=king,queen`.
        known: names of the rewards that may be used.
        trust_code: whether a function may be run.
        settings: keywords of `APSConfig`; those that are None are left out.

    Raises:
        ValueError, TypeError: naming the value and the mend.
    """
    if not isinstance(question, str) or not question.strip():
        raise ValueError("the question is empty; type one")
    allowed = set(known)
    found: dict[str, float] = {}
    for name, weight, options in rewards:
        if not name:
            continue
        if not isinstance(name, str) or name not in allowed:
            raise ValueError(
                f"{name!r} is no installed reward; the list at the end of the page has them"
            )
        given = str(options or "").strip()
        spec = f"{name}:{given}" if given else str(name)
        read, named = split_options(spec)
        if given and (read != name or not named):
            raise ValueError(f"options of {name} are NAME=VALUE:NAME=VALUE, got {given!r}")
        for option in OF_THE_SERVER & named.keys():
            raise ValueError(f"the option {option} of {name} cannot be given on this page")
        if spec in found:
            raise ValueError(f"the reward {spec!r} is given twice; leave one out")
        found[spec] = _number(weight, f"the weight of {name}")
    source = str(function or "").strip("\n")
    if source.strip() and not trust_code:
        raise ValueError("a function runs as code here: start the page with aps demo --trust-code")
    if preset not in TEXT_PRESETS:
        raise ValueError(f"preset is one of {', '.join(TEXT_PRESETS)}; got {preset!r}")
    asked = Asked(
        question,
        tuple(found.items()),
        source if source.strip() else "",
        _number(function_weight, "the weight of the function"),
        preset,
        None if beta is None or not str(beta).strip() else _number(beta, "beta"),
        _whole(seed, "seed"),
        {name: value for name, value in (settings or {}).items() if value is not None},
    )
    asked.config()
    return asked


def read_asked(text: str, *, known: Iterable[str], trust_code: bool) -> Asked:
    """What a shared run asked for, checked as if it were typed.

    Raises:
        ValueError: no JSON of such a run, or what `as_asked` raises.
    """
    try:
        asked = json.loads(text)["asked"]
        rewards = [(*_split(spec), weight) for spec, weight in asked["rewards"]]
        return as_asked(
            asked["question"],
            [(name, weight, options) for name, options, weight in rewards],
            known=known,
            function=asked["function"],
            function_weight=asked["function_weight"],
            trust_code=trust_code,
            preset=asked["preset"],
            beta=asked["beta"],
            seed=asked["seed"],
            settings=dict(asked["settings"]),
        )
    except (KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"this is no run of this page ({FORMAT}): {error!r}"[:200]) from error


def compiled(source: str) -> Reward:
    """The last function that a text of Python defines, as a reward. RUNS the text.

    Raises:
        ValueError: it does not run, or defines no function; says why.
    """
    names: dict[str, Any] = {"__name__": "reward_of_this_page"}
    try:
        exec(compile(source, "<your function>", "exec"), names)
    except Exception as error:
        raise ValueError(f"your function does not run: {type(error).__name__}: {error}") from error
    own = [
        one
        for one in names.values()
        if callable(one) and getattr(one, "__module__", "") == names["__name__"]
    ]
    if not own:
        raise ValueError(
            "your text defines no function; write def NAME(prompts, completions, **columns): ..."
        )
    return own[-1]


def _split(spec: str) -> tuple[str, str]:
    name, _, options = str(spec).partition(":")
    return name, options


def _number(value: Any, what: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{what} is a number, got {value!r}") from None
    if not math.isfinite(found):
        raise ValueError(f"{what} is a finite number, got {value!r}")
    return found


def _whole(value: Any, what: str) -> int:
    found = _number(0 if value in (None, "") else value, what)
    if found != int(found) or not 0 <= found < 2**53:
        raise ValueError(f"{what} is a whole number from 0 to 2^53 - 1, got {value!r}")
    return int(found)
