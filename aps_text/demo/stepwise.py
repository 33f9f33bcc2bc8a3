"""Events of a call in a thread that waits for its reader: nothing is computed ahead of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from queue import Queue
from typing import Any

__all__ = ["stepwise"]


class _Left(BaseException):
    """Nobody reads any further."""


def stepwise(call: Callable[[Callable[[Any], None]], None]) -> Generator[Any, None, None]:
    """What `call(tell)` tells, one by one.

    The call runs in a thread of its own. `tell` returns only when the next event is asked for, and
    ends the call when the reader leaves. What the call raises is raised here.
    """
    events: Queue[Any] = Queue()
    turn = threading.Semaphore(0)
    left = threading.Event()

    def tell(event: Any) -> None:
        events.put((event,))
        turn.acquire()
        if left.is_set():
            raise _Left

    def work() -> None:
        try:
            call(tell)
        except _Left:
            pass
        except BaseException as error:
            events.put(error)
        finally:
            events.put(None)

    thread = threading.Thread(target=work, name="aps-demo", daemon=True)
    thread.start()
    try:
        while (found := events.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found[0]
            turn.release()
    finally:
        left.set()
        turn.release()
        thread.join()
