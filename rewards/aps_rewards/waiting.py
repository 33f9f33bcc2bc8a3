"""Starting a reward without waiting for it, and waiting no longer than asked.

Coroutines of all rewards run on ONE background event loop, so several that are started before the
first is waited for run at the same time, and a notebook's own loop is not in the way. A plain
function runs when it is waited for; with a timeout in a thread of its own, which cannot be stopped
and is abandoned. Code that never gives the interpreter back stops the wait, too.

Either way the code runs `undisturbed`, and whatever it raises is raised where it is waited for:
`SystemExit` in a coroutine ends neither the loop nor the wait, and a forked process starts a loop
of its own.
"""

from __future__ import annotations

import asyncio
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
    """Begin `read(reward(**arguments))`; the returned function waits for it.

    Args:
        timeout: seconds, counted from the wait; None waits for ever.
        read: takes the reward's result apart; runs where the reward runs.

    Raises:
        RewardTimeout: from the returned function, as is whatever the reward raises.
    """
    call = functools.partial(reward, **arguments)
    if is_async(reward):
        return _background(_awaited(call, read), timeout)

    def finish() -> Any:
        def work() -> Any:
            result = call()
            return result if inspect.isawaitable(result) else (read(result),)

        found = within(timeout, work)
        if inspect.isawaitable(found):
            return _background(_awaited(lambda: found, read), timeout)()
        return found[0]

    return finish


class Clock:
    """What time limits are measured by; a test puts one of its own in the place of `CLOCK`."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wait(self, done: threading.Event, seconds: float) -> bool:
        """Wait for an event, at most so long; whether it came."""
        return done.wait(seconds)


CLOCK = Clock()


async def _awaited(call: Callable[[], Awaitable[Any]], read: Callable[[Any], Any]) -> Any:
    return read(await call())


def within(timeout: float | None, work: Callable[[], Any]) -> Any:
    """What `work()` returns, if it does so in time; under None it runs here, else in a thread.

    Raises:
        RewardTimeout: it did not; and whatever `work` raises.
    """
    with undisturbed():
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
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.loop.run_forever()
            except BaseException:  # a task that a reward left behind; its awaiter is told
                continue
            return


class _Shared:
    """At most one loop a process; one that hangs is given up for a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: _Loop | None = None

    def running(self) -> _Loop:
        with self.lock:
            if self.loop is None:
                self.loop = _Loop()
            return self.loop

    def give_up(self, loop: _Loop) -> None:
        with self.lock:
            if self.loop is loop:
                self.loop = None


_SHARED = _Shared()
if hasattr(os, "register_at_fork"):  # threads do not survive a fork, and a lock might be held
    os.register_at_fork(after_in_child=_SHARED.__init__)  # type: ignore[misc]


def _background(work: Awaitable[Any], timeout: float | None) -> Callable[[], Any]:
    surrounded = stepwise(work)

    async def outcome() -> tuple[Any, BaseException | None]:
        try:
            return await surrounded, None
        except BaseException as error:  # raised in the loop's thread, SystemExit would end it
            return None, error

    mine = _SHARED.running()
    if threading.current_thread() is mine.thread:  # a reward that calls rewards: no waiting here
        return lambda: _value(_in_thread(lambda: asyncio.run(outcome()), timeout))
    future = asyncio.run_coroutine_threadsafe(outcome(), mine.loop)
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())

    def finish() -> Any:
        end = None if timeout is None else CLOCK.now() + timeout
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


def _in_thread(work: Callable[[], Any], timeout: float | None) -> Any:
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
        CLOCK.wait(done, timeout)
    if failed:
        raise failed[0]
    if not found:
        raise RewardTimeout(f"no answer within {timeout:g} s")
    return found[0]
