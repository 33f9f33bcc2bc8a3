"""The end of the page: runs stop at their next step, and the process waits for the present one.

A thread that computes while the interpreter ends would abort the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Closing"]


class Closing:
    """Counts the steps that are being computed."""

    def __init__(self) -> None:
        self._change, self._busy, self._closed = threading.Condition(), 0, False

    def until_closed(self, made: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The generator function, which ends without another step once the page closes."""

        def steps(*given: Any) -> Iterator[Any]:
            found = made(*given)
            while True:
                with self._change:
                    if self._closed:
                        return
                    self._busy += 1
                try:
                    one = next(found)
                except StopIteration:
                    return
                finally:
                    with self._change:
                        self._busy -= 1
                        self._change.notify_all()
                yield one

        return steps

    def stop(self) -> None:
        """No further step begins; for signal handlers, so without a lock."""
        self._closed = True

    def close(self) -> None:
        """Stop, and wait for the steps that have begun."""
        self.stop()
        with self._change:
            self._change.wait_for(lambda: not self._busy)
