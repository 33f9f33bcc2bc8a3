"""Protection of global state from a reward's code.

    with undisturbed():          global state that the code changes is restored
        result = reward(...)

Restored are: grad mode, autocast, PyTorch's default dtype and device, deterministic and anomaly
mode, thread count, the global random states (Python, NumPy, PyTorch, CUDA), the working directory.
A reward that draws from a global generator therefore draws the same numbers in every call; give it
a generator of its own. `copied` protects the caller's lists and messages, and `described` turns any
exception or value into printable text.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import random
import reprlib
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["PASSED_ON", "Refused", "Surroundings", "copied", "described", "stepwise", "undisturbed"]

PASSED_ON = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Exceptions that end a program; every other exception counts as the reward's failure."""


class Refused(ValueError):
    """An error about files whose message already names the mend."""


_LONGEST = 2000  # maximal number of characters of a text in a message
_SHORT = reprlib.Repr()  # a `repr` that abbreviates large values
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlong = 60


@dataclass
class Surroundings:
    """Settings of the process and the thread that a reward might change, with their setters."""

    settings: list[tuple[Callable[[Any], Any], Any]]

    @classmethod
    def now(cls) -> Surroundings:
        """The current settings; those of PyTorch and NumPy only if they are imported."""
        found: list[tuple[Callable[[Any], Any], Any]] = [(random.setstate, random.getstate())]
        with contextlib.suppress(OSError):  # the working directory may be gone
            found.append((_change_directory, os.getcwd()))
        numpy, torch = _loaded("numpy"), _loaded("torch")
        if hasattr(numpy, "random"):
            found.append((numpy.random.set_state, numpy.random.get_state()))
        if hasattr(torch, "get_rng_state"):
            found += _of_torch(torch)
        return cls(found)

    def restore(self) -> None:
        """Restore all settings."""
        for put, value in self.settings:
            put(value)


def _loaded(name: str) -> Any:
    return sys.modules.get(name)


def _change_directory(folder: str) -> None:
    with contextlib.suppress(OSError):
        if os.getcwd() == folder:
            return
    with contextlib.suppress(OSError):
        os.chdir(folder)


def _of_torch(torch: Any) -> list[tuple[Callable[[Any], Any], Any]]:
    found: list[tuple[Callable[[Any], Any], Any]] = [
        (torch.set_grad_enabled, torch.is_grad_enabled()),
        (torch.set_default_dtype, torch.get_default_dtype()),
        (torch.set_rng_state, torch.get_rng_state()),
    ]
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()

    def default_device(device: Any) -> None:
        if torch.get_default_device() != device:
            torch.set_default_device(device)

    def thread_count(count: int) -> None:
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)

    def deterministic(strictly: bool) -> None:
        if torch.are_deterministic_algorithms_enabled() != strictly:
            torch.use_deterministic_algorithms(strictly, warn_only=warn_only)

    def anomaly(on: bool) -> None:
        if torch.is_anomaly_enabled() != on:
            torch.autograd.set_detect_anomaly(on)

    found += [
        (anomaly, torch.is_anomaly_enabled()),
        (default_device, torch.get_default_device()),
        (thread_count, threads),
        (deterministic, strict),
    ]
    for device in ("cpu", "cuda") if torch.cuda.is_initialized() else ("cpu",):
        enabled = functools.partial(torch.set_autocast_enabled, device)
        dtype = functools.partial(torch.set_autocast_dtype, device)
        found.append((enabled, torch.is_autocast_enabled(device)))
        found.append((dtype, torch.get_autocast_dtype(device)))
    if torch.cuda.is_initialized():
        found.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return found


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Context that restores its `Surroundings` on exit, also after an exception."""
    torch = _loaded("torch")
    before = Surroundings.now()
    try:
        with contextlib.ExitStack() as stack:
            if hasattr(torch, "inference_mode"):
                # These two end modes that the code entered and did not leave.
                grad = torch.is_grad_enabled()
                stack.enter_context(torch.inference_mode(torch.is_inference_mode_enabled()))
                stack.enter_context(torch.set_grad_enabled(grad))
            yield
    finally:
        before.restore()


class stepwise(Awaitable[Any]):
    """Awaits `coroutine` and keeps its settings apart from those of other code.

    The coroutine's own settings are restored whenever it continues, and the others' whenever it
    waits.
    """

    def __init__(self, coroutine: Awaitable[Any]) -> None:
        self.coroutine, self.inside = coroutine, Surroundings.now()

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self.coroutine.__await__()
        send, value = steps.send, None
        while True:
            before = Surroundings.now()
            self.inside.restore()
            try:
                waiting = send(value)
            except StopIteration as done:
                return done.value
            finally:
                self.inside = Surroundings.now()
                before.restore()
            try:
                send, value = steps.send, (yield waiting)
            except BaseException as error:
                send, value = steps.throw, error


def copied(value: Any) -> Any:
    """A deep copy; objects that cannot be copied (a lock, a handle) are shared."""
    if value is None or isinstance(value, (str, bytes, int, float, bool)):
        return value
    try:
        if type(value) in (list, tuple, set):
            return type(value)(copied(item) for item in value)
        if type(value) is dict:
            return {key: copied(item) for key, item in value.items()}
    except RecursionError:  # a container that contains itself
        pass
    try:
        return copy.deepcopy(value)
    except PASSED_ON:
        raise
    except BaseException:  # it cannot be copied: a lock, a file, a graph
        return value


def described(value: Any) -> str:
    """Text for a message: an exception's type and message, or a value's `repr`.

    The text is printable and of bounded length, also if `str` or `repr` fail.
    """
    name = _name_of(type(value))
    try:
        if isinstance(value, BaseException):
            said = str(value)
            text = f"{name}: {said}" if said else name
        else:
            text = _SHORT.repr(value)
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    except PASSED_ON:
        raise
    except BaseException as error:
        text = f"{name} (it cannot be printed: {_name_of(type(error))})"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _name_of(kind: type) -> str:
    return str(type.__dict__["__name__"].__get__(kind))
