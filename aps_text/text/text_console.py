"""A `rich` console on which text has no control characters (see `visible`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from .visible import visible

__all__ = ["TextConsole"]

NARROWEST = 20  # columns beside a head; a narrower terminal breaks the lines itself


class TextConsole(Console):
    """As `rich.console.Console`; colours and cursor movements are rich's own only."""

    def hanging(self, head: str, text: Text) -> None:
        """Print a text beside a head: its further lines begin below its first.

        On a terminal it is wrapped between words (within one that is longer than a line); in a
        file it has the breaks that it came with.
        """
        lines = text.split("\n", allow_blank=True)
        if self.is_terminal:
            lines = text.wrap(self, max(self.width - len(head), NARROWEST))
        for line in lines:
            self.print(Text(head), line, sep="", soft_wrap=True)
            head = " " * len(head)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of a renderable; their text is `visible` on a terminal."""
        for segment in super().render(renderable, options):
            if self.is_terminal and not segment.control:
                segment = segment._replace(text=visible(segment.text))
            yield segment
