"""Values of attributes that occur together in what an image model learnt from: combinations.json.

    {"style": {"personas": {"hair": ["bald", ...], ...}, ...}}

For each value of an attribute (a design), the values of the others that occur with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .image_folders import lenient_json

__all__ = ["Combinations", "never_together", "read_combinations"]

Combinations = Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]

ABSENT = ("none",)
"""The values of an attribute that a design does not have."""


def read_combinations(folder: Path) -> Combinations:
    """Those of a model's folder; empty if it has none."""
    return lenient_json(folder / "combinations.json")  # type: ignore[return-value]


def never_together(known: Combinations, chosen: Mapping[str, str]) -> str:
    """What is wrong with attributes that never occur together, in words; empty if they do.

    Args:
        known: of the model; attributes that it does not name go with all.
        chosen: attributes by name, as the model spells them.
    """
    for by, values in known.items():
        known_of = {name for seen in values.values() for name in seen}
        others = {name: chosen[name] for name in chosen if name != by and name in known_of}
        with_each = {
            name: [kind for kind, seen in values.items() if value in seen.get(name, ABSENT)]
            for name, value in others.items()
        }
        asked = [chosen[by]] if by in chosen else list(values)
        if any(all(kind in fits for fits in with_each.values()) for kind in asked):
            continue
        for name, fits in with_each.items():
            if not fits:
                return f"{name}={others[name]} never occurred"
        narrow = {name: fits for name, fits in with_each.items() if set(asked) - set(fits)}
        shown = {by: chosen[by]} if by in chosen else {}
        shown |= {name: others[name] for name in narrow}
        listed = ", ".join(f"{name}={value}" for name, value in shown.items())
        where = "; ".join(
            f"{name}={others[name]} is of {by} {' and '.join(fits)}"
            for name, fits in narrow.items()
        )
        return f"{listed} never occurred together ({where})"
    return ""
