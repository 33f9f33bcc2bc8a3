"""A model's own settings (`aps.json`): between a preset's and those a caller states.

    {"canvas": 32, "steps": 32, "presets": {"balanced": {"inner_steps": 0, "pool_size": 8}}}

Keywords of `APSConfig`; under `presets`, by preset, those that replace them. Later ones replace
earlier ones: the preset's, the model's, the model's for that preset, the stated ones. `canvas` is
the number of tokens that `steps` and `pool_rollout` are for: with another `max_new_tokens` they
change in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from .config import APSConfig
from .names import renamed
from .presets import find_preset

__all__ = ["config_for", "lacking", "own_settings", "stated_config", "without_pools"]

POOL = (
    "inner_steps",
    "pool_size",
    "pool_rollout",
    "pool_interval",
    "guidance_start",
    "guidance_end",
    "guidance_interval",
)
"""The keywords by which a model describes the pool of a preset."""


PER_CANVAS = {"steps", "pool_rollout"}
"""The keywords that grow with the canvas."""


def config_for(own: Mapping[str, Any], preset: str | None = None, **options: Any) -> APSConfig:
    """`APSConfig.make(preset, **options)` for a model with its `own` settings; those of them that
    have no effect beside the options are left out.

    Raises:
        ValueError, TypeError: as `APSConfig.make`.
    """
    stated = renamed(options, warn=False)
    kept = lacking(stated_config(own, preset, stated), own, stated)
    return APSConfig.make(preset, **kept, **options)


def stated_config(
    own: Mapping[str, Any], preset: str | None, stated: Mapping[str, Any]
) -> APSConfig:
    """The preset with the stated settings, for `lacking`.

    A stated `guidance_end` is checked against the model's own start, not against the preset's.
    """
    start = own_settings(own, preset).get("guidance_start")
    if start is None or "guidance_end" not in stated or "guidance_start" in stated:
        return APSConfig(preset, **stated)
    return APSConfig(preset, guidance_start=start, **stated)


def own_settings(
    own: Mapping[str, Any], preset: str | None, tokens: int | None = None
) -> dict[str, Any]:
    """A model's `own` settings for a call with a preset (None: `balanced`).

    Args:
        tokens: of the canvas; None is the model's own length.

    Raises:
        ValueError: `canvas` is no positive integer.
    """
    canvas = own.get("canvas", 1)
    if isinstance(canvas, bool) or not isinstance(canvas, int) or canvas < 1:
        raise ValueError(f"canvas is a number of tokens, at least 1; got {canvas!r}")
    of_all = {name: value for name, value in own.items() if name not in ("presets", "canvas")}
    found = {**of_all, **own.get("presets", {}).get(find_preset(preset), {})}
    if tokens is not None and "canvas" in own:
        for name in PER_CANVAS & found.keys():
            found[name] = math.ceil(found[name] * tokens / canvas)
    return found


def without_pools(own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` for a method that steers in its own way: without what it says of a preset's pool."""
    kept = {
        preset: {name: value for name, value in mine.items() if name not in POOL}
        for preset, mine in own.get("presets", {}).items()
    }
    return {**own, "presets": kept}


def lacking(config: APSConfig, own: Mapping[str, Any], stated: Collection[str]) -> dict[str, Any]:
    """Those of a model's `own` settings that are not `stated` and have an effect beside `config`.

    One that would leave a stated keyword without effect (`inner_steps=0` beside `lora_rank=4`) is
    left out, and those for the preset together where the stated ones take from them all that
    steers (`pool_size=None` beside `inner_steps=0`).
    """
    kept, steers = config.flat().keys() & set(stated), config.sampler.steers
    tokens = config.call.max_new_tokens

    def effective(mine: Mapping[str, Any]) -> dict[str, Any]:
        mine = {name: value for name, value in mine.items() if name not in stated}
        lost = config.ineffective(mine)
        return {name: value for name, value in mine.items() if name not in lost}

    def fits(mine: Mapping[str, Any]) -> bool:
        made = config.replace(**mine)
        return (made.sampler.steers or not steers) and kept <= made.flat().keys()

    whole = effective(own_settings(own, config.preset, tokens))
    if fits(whole):
        return whole
    if not steers or config.replace(**whole).sampler.steers:
        for name in whole:
            some = {key: value for key, value in whole.items() if key != name}
            if fits(some):
                return some
    return effective(own_settings({**own, "presets": {}}, config.preset, tokens))
