"""Errors for options that were passed but that the chosen method ignores.

Only options given one by one, as keywords or flags, are checked, in addition to what
`APSConfig.make` refuses for any method. A whole configuration (`config=`) is never refused, so that
the same settings can go to several methods, plain decoding among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.config import APSConfig
from ..core.ineffective import ineffective_options
from ..core.names import renamed
from ..core.own_settings import config_for, without_pools
from ..core.routing import DEFAULTS
from ..core.sampler import Declares, Method
from .ancestral import Ancestral
from .aps import APS
from .best_of_n import BestOf
from .checks import WINDOW
from .draws import Draws

__all__ = ["inner_of", "own_for", "refuse_unread", "refuse_unsteered", "unread"]

UNKNOWN = Draws()


def own_for(method: Method, own: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model's `own` settings (as in `config_for`) as they are for this method: one that steers
    without a pool takes nothing that a preset of the model says of its pool."""
    used, read = in_force(inner_of(method), APSConfig())
    steers = used.sampler.steers or any(name in read for name in WINDOW)
    if used.sampler.pool_size is not None or not steers:
        return own
    return without_pools(own)


def refuse_unread(
    method: Method,
    options: dict[str, Any],
    preset: str | None = None,
    *,
    own: Mapping[str, Any] | None = None,
    draws: Draws = UNKNOWN,
) -> None:
    """Raise `ValueError` for an option that was passed but that this method ignores.

    An option passed with the preset's own value is accepted.

    Args:
        options, preset: arguments of `APSConfig.make`.
        own: the model's settings, as in `config_for`.
        draws: what the call draws that its settings do not say.

    Raises:
        ValueError: an ignored option.
        TypeError: as `APSConfig.make`, or a method with only some attributes of `Declares`.
    """
    usual, options = APSConfig(preset).flat(), renamed(options, warn=False)
    config = config_for(own or {}, preset, **options)
    for name, reason in unread(method, config, draws).items():
        if name in options and options[name] != usual.get(name, DEFAULTS[name]):
            raise ValueError(f"{name}={options[name]!r} has no use here: {reason}")


def refuse_unsteered(method: Method, config: APSConfig) -> None:
    """Raise `ValueError` for a method that steers, if no step lies in the guidance window."""
    sampler = in_force(inner_of(method), config)[0].sampler
    if sampler.steers and not any(map(sampler.is_guided, range(sampler.steps))):
        window = sampler.guided_window
        raise ValueError(
            f"no step is steered: none of the {sampler.steps} steps lies in guidance_start="
            f"{window.start} to guidance_end={window.end} at guidance_interval="
            f"{window.interval}; widen the window"
        )


def unread(method: Method, config: APSConfig, draws: Draws = UNKNOWN) -> dict[str, str]:
    """The keywords of `config` that have no effect under this method, each with the reason; for
    `draws` see `refuse_unread`."""
    inner = inner_of(method)
    name = getattr(inner, "name", type(inner).__name__)
    if inner is not method:
        name = f"best-of-n draws by {name}, which"
    used, read = in_force(inner, config)
    values, found = used.flat(), {}
    lost = ineffective_options(used.sampler, used.call, used.model)
    if not used.sampler.steers:
        lost |= dict.fromkeys(("beta", *WINDOW), "nothing steers")
    for field, value in config.flat().items():
        if field in read:
            continue
        if field not in values or field in lost:
            found[field] = f"{name} does not read it"
        elif values[field] != value:
            own = values[field]
            found[field] = (
                f"{name} takes none" if own is None else f"{name} has {own!r} in its place"
            )
    if not isinstance(method, BestOf) and used.sampler.pool_size is None:
        found.setdefault("prefer_ended", "no whole answers are compared; use pool_size=2 or more")
    if isinstance(method, BestOf) and "pool_size" in found:
        mend = "to draw another number: BestOf(samples=...), --method-option samples=..."
        found["pool_size"] = f"best-of-n draws {method.samples} whole answers, no pool; {mend}"
    gradient = used.sampler.fit.gradient if used.sampler.fit else None
    if gradient and gradient.relaxation and gradient.score and not draws.samples:
        found["num_samples"] = (
            "all that guides has a gradient, which estimator='auto' takes without drawing answers; "
            "use estimator='rloo'"
        )
    return found | undrawn(method, used, draws)


def undrawn(method: Method, used: APSConfig, draws: Draws) -> dict[str, str]:
    """The keywords without effect where nothing is drawn, each with the reason.

    Args:
        used: the settings in force.
    """
    inner, sources = inner_of(method), draws.sources(used)
    declares = declared(inner)
    selects = declares is not None and declares.selects
    known = type(inner) in (APS, Ancestral)  # others may draw what no setting says
    # Of a method that selects, x_phi is only the proposal of its draws.
    alike = not sources - {"pool", "fit"} if selects else not sources
    quantized = used.sampler.candidate == "quantized"
    mend = (
        "candidate='quantized' draws nothing, so all are identical; use candidate='sample'"
        if quantized
        else "temperature=0 draws nothing, so all are identical; use temperature > 0"
    )
    found = {}
    if alike and (known or selects or not used.sampler.steers):
        found["num_return_sequences"] = mend
        if (selects or isinstance(method, BestOf)) and not quantized:
            found["temperature"] = f"{type(method).__name__} chooses among draws, and {mend}"
    if known and not (sources or draws.control or draws.beside):
        found["seed"] = "nothing is drawn with " + (
            "candidate='quantized'; use candidate='sample'"
            if quantized
            else "temperature=0; use temperature > 0"
        )
    return found


def inner_of(method: Method) -> Method:
    """The method that `BestOf` draws by, or the method itself."""
    return method.method if isinstance(method, BestOf) else method


def in_force(method: Method, config: APSConfig) -> tuple[APSConfig, tuple[str, ...]]:
    """The settings a method runs the loop with, and the other keywords it reads of `config`.

    A method that declares nothing runs with `config`.
    """
    declares = declared(method)
    return (config, ()) if declares is None else (declares.settings(config), declares.reads)


def declared(method: Method) -> Declares | None:
    """The method, if it declares what it reads; None if it declares nothing.

    Raises:
        TypeError: it has only some of the attributes of `Declares`, or `reads` is no tuple of
            keywords.
    """
    if isinstance(method, Declares):
        unknown = [name for name in method.reads if name not in DEFAULTS]
        if unknown:
            raise TypeError(
                f"{type(method).__name__}.reads is a tuple of APSConfig's keywords, got "
                f"{method.reads!r} with {', '.join(map(repr, unknown))}"
            )
        return method
    names = ("settings", "reads", "selects")
    missing = [name for name in names if not hasattr(method, name)]
    if len(missing) < len(names):
        has = [name for name in names if name not in missing]
        raise TypeError(
            f"{type(method).__name__} has {' and '.join(has)} but not {' and '.join(missing)}; a "
            "method declares all three (see core.sampler.Declares), or none if it reads everything"
        )
    return None
