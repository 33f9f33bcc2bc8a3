"""Names of attributes and of their values as people write them: `T-Shirt`, `hair_colour`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["known_name", "nearest"]


def known_name(given: object, known: Iterable[str]) -> str | None:
    """The name in `known` that `given` is, whatever its case, spaces, hyphens and underscores; None
    if there is none, or several."""
    names = list(known)
    if given in names:
        return str(given)
    found = [name for name in names if _plain(name) == _plain(given)]
    return found[0] if isinstance(given, str) and len(found) == 1 else None


def nearest(given: object, known: Iterable[str]) -> str:
    """`; did you mean 'NAME'?` for the name in `known` next to `given`; empty if none is near."""
    plain = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(given), list(plain), n=1)
    return f"; did you mean {plain[near[0]]!r}?" if near else ""


def _plain(name: object) -> str:
    return "".join(letter for letter in str(name).casefold() if letter not in " -_")
