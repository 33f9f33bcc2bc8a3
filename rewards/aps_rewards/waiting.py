"""Starting a reward without waiting for it, and not waiting for ever.

Coroutines of all rewards run on ONE background event loop, so several that are started before the
first is waited for run at the same time, and a notebook's own loop is not in the way. A plain
function runs when it is waited for; with a timeout in a thread of its own, which cannot be stopped
and is abandoned. Code that never returns to the interpreter and keeps its lock stops the wait, too.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from .protocol import Reward

__all__ = ["RewardTimeout", "start", "within"]


class RewardTimeout(TimeoutError):
    """A reward did not answer in time."""


def start(reward: Reward, arguments: dict[str, Any], timeout: float | None) -> Callable[[], Any]:
    """Begin `reward(**arguments)`; the returned function waits for what it returns.

    Args:
        timeout: seconds, counted from the wait; None waits for ever.

    Raises:
        RewardTimeout: from the returned function, as is whatever the reward raises.
    """
    call = functools.partial(reward, **arguments)
    if is_async(reward):
        return _background(call(), timeout)

    def finish() -> Any:
        result = within(timeout, call)
        return _background(result, timeout)() if inspect.isawaitable(result) else result

    return finish


def within(timeout: float | None, work: Callable[[], Any]) -> Any:
    """What `work()` returns, if it does so in time; under None it runs here, else in a thread.

    Raises:
        RewardTimeout: it did not; and whatever `work` raises.
    """
    return work() if timeout is None else _in_thread(work, timeout)


def is_async(reward: Reward) -> bool:
    """Is it a coroutine function, or an object whose call is one?"""
    while isinstance(reward, functools.partial):
        reward = reward.func
    if inspect.isroutine(reward):
        return inspect.iscoroutinefunction(reward)
    return inspect.iscoroutinefunction(type(reward).__call__)


class _Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()


_LOOP: list[_Loop] = []  # at most one; a loop that hangs is given up for a new one
_LOCK = threading.Lock()


def _background(awaitable: Any, timeout: float | None) -> Callable[[], Any]:
    async def wait() -> Any:
        return await awaitable

    with _LOCK:
        if not _LOOP:
            _LOOP.append(_Loop())
        mine = _LOOP[0]
    if threading.current_thread() is mine.thread:  # a reward that calls rewards: no waiting here
        return lambda: _in_thread(lambda: asyncio.run(wait()), timeout)
    future = asyncio.run_coroutine_threadsafe(wait(), mine.loop)

    def finish() -> Any:
        try:
            return future.result(timeout)
        except TimeoutError:
            if future.done():  # the reward's own
                raise
            future.cancel()
            with _LOCK:
                if mine in _LOOP:
                    _LOOP.remove(mine)
            raise RewardTimeout(f"no answer within {timeout:g} s") from None

    return finish


def _in_thread(work: Callable[[], Any], timeout: float | None) -> Any:
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if failed:
        raise failed[0]
    if not found:
        raise RewardTimeout(f"no answer within {timeout:g} s")
    return found[0]
