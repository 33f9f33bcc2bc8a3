"""Warnings of a call's settings that a command prints once, however many calls it makes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["warned_once"]


class NewOnly(logging.Filter):
    """Passes a message the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
        message = record.getMessage()
        new = message not in self.seen
        self.seen.add(message)
        return new


@contextmanager
def warned_once() -> Iterator[None]:
    """Context in which calls of `APSPipeline` with the same settings warn of them once."""
    from ..pipelines.request import log

    new_only = NewOnly()
    log.addFilter(new_only)
    try:
        yield
    finally:
        log.removeFilter(new_only)
