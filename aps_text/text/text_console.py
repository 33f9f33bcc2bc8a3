"""A `rich` console on which text has no control characters (see `visible`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from .visible import visible

__all__ = ["TextConsole"]


class TextConsole(Console):
    """As `rich.console.Console`; colours and cursor movements are rich's own only."""

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of a renderable; their text is `visible` on a terminal."""
        for segment in super().render(renderable, options):
            if self.is_terminal and not segment.control:
                segment = segment._replace(text=visible(segment.text))
            yield segment
