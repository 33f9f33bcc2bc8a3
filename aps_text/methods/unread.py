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
from ..core.settings import LoRA, Ranked
from .ancestral import Ancestral
from .aps import APS
from .best_of_n import BestOf
from .checks import WINDOW

__all__ = ["own_for", "refuse_unread", "unread"]


def own_for(method: Method, own: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model's `own` settings (as in `config_for`) as they are for this method: one that steers
    without a pool takes nothing that a preset of the model says of its pool."""
    used, read = in_force(method.method if isinstance(method, BestOf) else method, APSConfig())
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
    drafted: bool = False,
    shuffled: bool = False,
    sampled: bool = True,
    check_window: bool = True,
) -> None:
    """Raise `ValueError` for an option that was passed but that this method ignores.

    An option passed with the preset's own value is accepted.

    Args:
        options, preset: arguments of `APSConfig.make`.
        own: the model's settings, as in `config_for`.
        drafted: the canvas starts from a draft, positions of which are masked at random.
        shuffled: the control of this name permutes words by the seed.
        sampled: whether a guiding reward has no gradient, so that one is estimated from samples;
            True where this is not known.
        check_window: whether a step must lie in the window (unknown before a model is loaded).

    Raises:
        ValueError: an ignored option, or a guidance window without a step.
        TypeError: as `APSConfig.make`, or a method with only some attributes of `Declares`.
    """
    usual, options = APSConfig(preset).flat(), renamed(options, warn=False)
    config = config_for(own or {}, preset, **options)
    reasons = unread(method, config, drafted=drafted, shuffled=shuffled, sampled=sampled)
    for name, reason in reasons.items():
        if name in options and options[name] != usual.get(name, DEFAULTS[name]):
            raise ValueError(f"{name}={options[name]!r} has no use here: {reason}")
    inner = method.method if isinstance(method, BestOf) else method
    sampler = in_force(inner, config)[0].sampler
    if not check_window:
        return
    if options and sampler.steers and not any(map(sampler.is_guided, range(sampler.steps))):
        window = sampler.guided_window
        raise ValueError(
            f"no step is steered: none of the {sampler.steps} steps lies in guidance_start="
            f"{window.start} to guidance_end={window.end} at guidance_interval="
            f"{window.interval}; widen the window"
        )


def unread(
    method: Method,
    config: APSConfig,
    *,
    drafted: bool = False,
    shuffled: bool = False,
    sampled: bool = True,
) -> dict[str, str]:
    """The keywords of `config` that have no effect under this method, each with the reason; the
    other arguments are those of `refuse_unread`."""
    inner = method.method if isinstance(method, BestOf) else method
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
    if isinstance(method, BestOf) and "pool_size" in found:
        mend = "to draw another number: BestOf(samples=...), --method-option samples=..."
        found["pool_size"] = f"best-of-n draws {method.samples} whole answers, no pool; {mend}"
    told = declared(inner)
    selects = told is not None and told.selects  # x_phi is only a proposal of its draws
    certain = used.sampler.draw.temperature == 0 and not draws_order(used)
    if (is_greedy(used) or (selects and certain)) and not drafted:
        mend = "temperature=0 draws nothing, so all are identical; use temperature > 0"
        found["num_return_sequences"] = mend
        if selects or isinstance(method, BestOf):
            found["temperature"] = f"{type(method).__name__} chooses among draws, and {mend}"
    if used.sampler.candidate == "quantized" and not draws_order(used):
        found["num_return_sequences"] = (
            "candidate='quantized' draws nothing, so all are identical; use candidate='sample'"
        )
    gradient = used.sampler.fit.gradient if used.sampler.fit else None
    if gradient and gradient.relaxation and gradient.score and not sampled:
        found["num_samples"] = (
            "all that guides has a gradient, which estimator='auto' takes without drawing answers; "
            "use estimator='rloo'"
        )
    known = type(inner) in (APS, Ancestral)  # others may draw what no setting says
    if known and not (drafted or shuffled or draws(used, sampled)):
        quantized = used.sampler.candidate == "quantized"
        found["seed"] = "nothing is drawn with " + (
            "candidate='quantized'; use candidate='sample'"
            if quantized
            else "temperature=0; use temperature > 0"
        )
    return found


def in_force(method: Method, config: APSConfig) -> tuple[APSConfig, tuple[str, ...]]:
    """The settings a method runs the loop with, and the other keywords it reads of `config`.

    A method that declares nothing runs with `config`.
    """
    told = declared(method)
    return (config, ()) if told is None else (told.settings(config), told.reads)


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


def draws_order(config: APSConfig) -> bool:
    """Whether the positions to reveal are drawn at random."""
    order = config.sampler.order
    return not isinstance(order, Ranked) or order.alg_temp is not None


def draws(config: APSConfig, sampled: bool = True) -> bool:
    """Whether APS or the base sampler draws anything with these settings.

    Args:
        sampled: see `refuse_unread`.
    """
    sampler = config.sampler
    tokens = sampler.candidate == "sample" and sampler.draw.temperature > 0
    if tokens or draws_order(config) or sampler.pool_size is not None:
        return True
    if sampler.fit is None:
        return False
    relaxation, score = sampler.fit.gradient.relaxation, sampler.fit.gradient.score
    heat = sampler.draw.temperature
    if relaxation is not None and relaxation.draws and (relaxation.kind == "gumbel" or heat > 0):
        return True
    answers = score is not None and (sampled or relaxation is None)
    return answers or isinstance(sampler.fit.phi, LoRA)  # whose start is drawn


def is_greedy(config: APSConfig) -> bool:
    """Whether all answers to one prompt are identical, because the loop draws nothing."""
    settings = config.sampler
    drawn = settings.draw.temperature > 0 or draws_order(config)
    return not settings.steers and settings.candidate == "sample" and not drawn
