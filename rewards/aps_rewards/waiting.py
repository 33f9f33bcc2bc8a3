"""Starting rewards concurrently, and waiting for them with a timeout.

Coroutines of all rewards run on ONE background event loop, so several that are started before the
first is awaited run concurrently, independent of a notebook's own loop. A plain function runs when
its result is awaited; with a timeout it runs in a thread of its own, which cannot be stopped and is
abandoned after the timeout. Code that never releases the GIL blocks the waiting thread, too.

In both cases the code runs `undisturbed`, and whatever it raises is raised from the waiting call;
`SystemExit` in a coroutine ends neither the loop nor the wait. A forked process starts a loop of
its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from typing import Any

from .guard import Surroundings, stepwise, undisturbed
from .protocol import Reward

__all__ = ["RewardTimeout", "start", "within"]


class RewardTimeout(TimeoutError):
    """A reward did not answer in time."""


def start(
    reward: Reward,
    arguments: dict[str, Any],
    timeout: float | None,
    read: Callable[[Any], Any] = lambda result: result,
) -> Callable[[], Any]:
    """Start `read(reward(**arguments))`; the returned function waits for its result.

    Args:
        timeout: seconds, counted from the call of the returned function; None is no limit.
        read: converts the reward's result, in the thread in which the reward runs.

    Raises:
        RewardTimeout: from the returned function, which also raises whatever the reward raises.
    """
    call = functools.partial(reward, **arguments)
    if is_async(reward):
        return _background(_awaited(call, read), timeout)

    def finish() -> Any:
        begun = CLOCK.now()

        def work() -> Any:
            result = call()
            return result if inspect.isawaitable(result) else (read(result),)

        found = within(timeout, work)
        if inspect.isawaitable(found):
            return _background(_awaited(lambda: found, read), timeout, CLOCK.now() - begun)()
        return found[0]

    return finish


class Clock:
    """The clock of the timeouts; tests replace `CLOCK` by one of their own."""

    def now(self) -> float:
        """Seconds since an arbitrary fixed moment."""
        return time.monotonic()

    def wait(self, done: threading.Event, seconds: float) -> bool:
        """Wait for an event at most `seconds`; returns whether it was set."""
        return done.wait(seconds)


CLOCK = Clock()


async def _awaited(call: Callable[[], Awaitable[Any]], read: Callable[[Any], Any]) -> Any:
    return read(await call())


def within(timeout: float | None, work: Callable[[], Any]) -> Any:
    """The result of `work()`, run in this thread if `timeout` is None, else in one of its own.

    Raises:
        RewardTimeout: it took longer than `timeout` seconds; and whatever `work` raises.
    """
    with undisturbed():
        return work() if timeout is None else _in_thread(work, timeout)


def is_async(reward: Reward) -> bool:
    """Whether a reward is a coroutine function, or an object with an async `__call__`."""
    while isinstance(reward, functools.partial):
        reward = reward.func
    if inspect.isroutine(reward):
        return inspect.iscoroutinefunction(reward)
    return inspect.iscoroutinefunction(type(reward).__call__)


class _Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.loop.is_closed():  # restarted if a reward stops it
            # An exception of a task reaches whoever awaits the task.
            with contextlib.suppress(BaseException):
                self.loop.run_forever()


class _Shared:
    """Holds the process's event loop, if any; a loop that hangs is replaced by a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: _Loop | None = None

    def running(self) -> _Loop:
        with self.lock:
            if self.loop is None or not self.loop.thread.is_alive():
                self.loop = _Loop()
            return self.loop

    def give_up(self, loop: _Loop) -> None:
        with self.lock:
            if self.loop is loop:
                self.loop = None


_SHARED = _Shared()
if hasattr(os, "register_at_fork"):  # threads do not survive a fork, and a lock might be held
    os.register_at_fork(after_in_child=_SHARED.__init__)  # type: ignore[misc]


def _background(
    work: Awaitable[Any], timeout: float | None, spent: float = 0.0
) -> Callable[[], Any]:
    """The result of `work` in the shared loop; `spent` seconds of `timeout` are over."""
    surrounded = stepwise(work)

    async def outcome() -> tuple[Any, BaseException | None]:
        try:
            return await surrounded, None
        except BaseException as error:  # SystemExit would end the loop's thread
            return None, error

    mine = _SHARED.running()
    if threading.current_thread() is mine.thread:  # called by a coroutine: waiting would deadlock
        return lambda: _value(_in_thread(lambda: asyncio.run(outcome()), timeout, spent))
    future = asyncio.run_coroutine_threadsafe(outcome(), mine.loop)
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())

    def finish() -> Any:
        end = None if timeout is None else CLOCK.now() + timeout - spent
        while True:
            left = 1.0 if end is None else min(1.0, end - CLOCK.now())
            if CLOCK.wait(done, max(0.0, left)) or done.is_set():
                try:
                    return _value(future.result())
                except CancelledError:
                    raise RuntimeError("the reward's event loop cancelled it") from None
            if not mine.thread.is_alive():
                raise RuntimeError("the reward's event loop ended before it answered")
            if end is not None and CLOCK.now() >= end:
                future.cancel()
                _SHARED.give_up(mine)
                raise RewardTimeout(f"no answer within {timeout:g} s")

    return finish


def _value(outcome: tuple[Any, BaseException | None]) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value


def _in_thread(work: Callable[[], Any], timeout: float | None, spent: float = 0.0) -> Any:
    found: list[Any] = []
    failed: list[BaseException] = []
    done = threading.Event()
    # A new thread starts with the default grad mode, autocast and context variables.
    surroundings, context = Surroundings.now(), contextvars.copy_context()

    def run() -> None:
        try:
            surroundings.restore()
            found.append(context.run(work))
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if timeout is None:
        done.wait()
    else:
        CLOCK.wait(done, max(0.0, timeout - spent))
    if failed:
        raise failed[0]
    if not found:
        raise RewardTimeout(f"no answer within {timeout:g} s")
    return found[0]
