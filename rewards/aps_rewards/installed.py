"""Rewards that are installed: the entry points of the group `aps_text.rewards`, by name."""

from __future__ import annotations

import functools
import os
import sys
from importlib.metadata import EntryPoint, entry_points

__all__ = ["GROUP", "installed", "installed_names", "the_only"]

GROUP = "aps_text.rewards"

_Files = tuple[tuple[str, int, int], ...]


def installed() -> dict[str, list[EntryPoint]]:
    """Entry points by name; a package that is installed twice counts once.

    Reading them takes 50 ms, so it is done again only where a file that names them has changed.
    """
    return _read(_files())


def installed_names() -> list[str]:
    """Names of the installed rewards; none is imported."""
    return sorted(installed())


def the_only(name: str, points: list[EntryPoint]) -> EntryPoint:
    """The entry point of a name.

    Raises:
        ValueError: several packages define the name; the message has their places.
    """
    if len(points) > 1:
        places = [f"{p.value} ({p.dist.name if p.dist else 'unknown package'})" for p in points]
        raise ValueError(
            f"{len(points)} installed rewards are called {name!r}: {', '.join(places)}; load one "
            f"by its place, e.g. {points[0].value!r}, or uninstall the other"
        )
    return points[0]


def _files() -> _Files:
    """What is on the import path (an archive, too) and the files there that name entry points.

    Each with its time and size: a file that is still being written differs from the whole one.
    """
    found = []
    for place in sys.path:
        folder = place or "."
        try:
            inside = [one for one in os.listdir(folder) if one.lower().endswith("-info")]
        except OSError:  # an archive, or nothing is there
            inside = []
        for path in (folder, *(os.path.join(folder, one, "entry_points.txt") for one in inside)):
            try:
                state = os.stat(path)
            except OSError:  # this package names none
                continue
            found.append((path, state.st_mtime_ns, state.st_size))
    return tuple(found)


@functools.lru_cache(maxsize=1)
def _read(files: _Files) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        same = found.setdefault(point.name, [])
        if point.value not in [one.value for one in same]:
            same.append(point)
    return found
