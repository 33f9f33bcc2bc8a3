"""Which values of the attributes occur together in a set of images, as `combinations.json`.

    {"style": {"personas": {"hair": ["bald", ...], ...}, ...}}

A model draws what it has seen; a call that asks for what never occurred is warned of
(`aps_text.models.combinations`).
"""

from __future__ import annotations

import json
from pathlib import Path

from recipes.mini_image.images import Images

__all__ = ["combinations", "write_combinations"]


def combinations(images: Images, by: str) -> dict[str, dict[str, dict[str, list[str]]]]:
    """For each value of the attribute `by`, the values of the others that occur with it."""
    names = list(images.attributes)
    column = names.index(by)
    found: dict[str, dict[str, list[str]]] = {}
    for index, value in enumerate(images.attributes[by]):
        rows = images.values[images.values[:, column] == index]
        found[value] = {
            name: [images.attributes[name][seen] for seen in rows[:, at].unique() if seen >= 0]
            for at, name in enumerate(names)
            if name != by and bool((rows[:, at] >= 0).any())
        }
    return {by: found}


def write_combinations(images: Images, folder: Path, by: str = "style") -> None:
    """Write `combinations.json` into the folder of a model, if its images have the attribute."""
    if by in images.attributes:
        text = json.dumps(combinations(images, by))
        (folder / "combinations.json").write_text(text + "\n", encoding="utf-8")
