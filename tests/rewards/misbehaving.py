"""Rewards that misbehave on some prompts, in every way we know of; the tests draw from them."""

from __future__ import annotations

import asyncio
import math
import os
import random
import tempfile
from decimal import Decimal

import numpy as np
import torch
from aps_rewards import RewardError


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class NotEvenAnException(BaseException):
    pass


class Surrogate(Exception):
    def __str__(self):
        return "half a character: \ud800"


class Locked:
    """A number nobody can read."""

    ndim = 0

    def item(self):
        raise RuntimeError("locked")

    def __repr__(self):
        raise RuntimeError("locked")


class Pretender(float):
    def __float__(self):
        raise ZeroDivisionError("no float")

    def __repr__(self):
        raise NotEvenAnException


def throw(error):
    raise error


def endless():
    while True:
        yield 0.0


# By name: what stands in the place of a row's value. A function is called and may raise.
VALUES = {
    "nan": lambda: math.nan,
    "minus infinity": lambda: -math.inf,
    "beyond float32": lambda: 1e39,
    "beyond float": lambda: 10**400,
    "a signalling nan": lambda: Decimal("sNaN"),
    "text": lambda: "good \ud800",
    "a list": lambda: [1.0],
    "complex": lambda: 1j,
    "locked": Locked,
    "pretender": lambda: Pretender(1.0),
    "two numbers": lambda: torch.ones(2),
    "a tensor without data": lambda: torch.ones((), device="meta"),
    "an error": lambda: throw(ZeroDivisionError("no")),
    "an unprintable error": lambda: throw(Unprintable()),
    "no Exception": lambda: throw(NotEvenAnException("odd")),
    "a surrogate": lambda: throw(Surrogate()),
    "stop": lambda: throw(StopIteration(1)),
    "async stop": lambda: throw(StopAsyncIteration()),
    "cancelled": lambda: throw(asyncio.CancelledError()),
    "out of memory": lambda: throw(MemoryError()),
    "too deep": lambda: throw(RecursionError()),
    "its own RewardError": lambda: throw(RewardError("other", "raised on", 99, "'x'", ": no")),
    "half a RewardError": lambda: throw(RewardError.__new__(RewardError)),
    "a group": lambda: throw(BaseExceptionGroup("several", [NotEvenAnException(), KeyError(1)])),
    "an import": lambda: __import__("no_such_module_anywhere"),
    "an assertion": lambda: throw(AssertionError()),
    "an os error": lambda: throw(OSError(2, "no file", "x")),
}


def empties(prompts, completions, columns):
    """Leaves nothing to say who is at fault."""
    for given in (prompts, completions, *columns.values()):
        if isinstance(given, list):
            given.clear()
    raise KeyError("gone")


def rewrites(prompts, completions, columns):
    for given in (prompts, completions, *columns.values()):
        if isinstance(given, list):
            given.reverse()
            given.append("one more")
            given[:] = [None] * len(given)
    raise KeyError("rewritten")


def switches(prompts=(), completions=(), columns=()):
    """Changes what belongs to everyone, and fails."""
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float16)
    torch.manual_seed(7)
    torch.inference_mode().__enter__()
    torch.autocast("cpu").__enter__()
    torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
    torch.autograd.set_detect_anomaly(not torch.is_anomaly_enabled())
    random.seed(7)
    np.random.seed(7)
    os.chdir(tempfile.gettempdir())
    raise KeyError("switched")


# By name: what is done with the whole call where a bad prompt is in it. Returns the result.
DEEDS = {
    "empties its lists": empties,
    "rewrites its lists": rewrites,
    "switches everything": switches,
    "one value short": lambda prompts, completions, columns: [0.0] * (len(prompts) - 1),
    "one value more": lambda prompts, completions, columns: [0.0] * (len(prompts) + 1),
    "no end of values": lambda prompts, completions, columns: endless(),
    "a number": lambda prompts, completions, columns: 1.0,
    "a mapping": lambda prompts, completions, columns: dict.fromkeys(range(len(prompts)), 0.0),
    "nothing": lambda prompts, completions, columns: None,
    "bytes": lambda prompts, completions, columns: b"0" * len(prompts),
    "itself": lambda prompts, completions, columns: completions,
}


def score(prompt, completion) -> float:
    """What a well-behaved reward says."""
    return (len(completion) * 7 + len(str(prompt))) % 11 / 11


def reward_of(name: str, bad: set[str], coroutine: bool):
    """A reward that misbehaves as `name` says where a prompt of `bad` is asked about."""

    def misbehaving(prompts, completions, **columns):
        if name in DEEDS and bad & set(prompts):
            return DEEDS[name](prompts, completions, columns)
        return [
            VALUES[name]() if name in VALUES and p in bad else score(p, c)
            for p, c in zip(prompts, completions, strict=True)
        ]

    async def misbehaving_async(prompts, completions, **columns):
        await asyncio.sleep(0)
        return misbehaving(prompts, completions, **columns)

    return misbehaving_async if coroutine else misbehaving
