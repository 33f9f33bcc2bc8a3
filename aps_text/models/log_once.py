"""A logging filter for libraries that repeat themselves."""

from __future__ import annotations

import logging

__all__ = ["Once"]


class Once(logging.Filter):
    """Lets a message through once: bitsandbytes repeats one in every pass of every 8-bit map."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
        message = record.getMessage()
        new = message not in self.said
        self.said.add(message)
        return new
