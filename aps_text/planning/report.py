"""The plan of a call: passes, operations, memory, seconds, and what to change if it does not fit.

Changes are tried in this order, from the least to the greatest loss. Each is planned again, alone
and together with those before it, so every saving that is printed is computed:

    fewer rows in a pass          same answers, more time per answer
    fewer answers in the pool     weaker steering, faster
    fewer adapted layers          weaker steering, faster
    gradient checkpointing        same answers, the adapted layers run once more
    adapter = logits              another adapter: no backward pass through the model
    8-bit, then 4-bit base        a slightly different model
    fewer new tokens              shorter answers
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from .call import Call
from .flops import Passes, count_flops, count_passes
from .gpus import GPUS, estimate, find_gpu, usable_bytes
from .memory import Memory, plan_memory

__all__ = ["Change", "Plan", "plan"]

_Setting = tuple[str, dict[str, Any]]  # an option as typed, and the settings it changes


@dataclass(frozen=True)
class Change:
    """A suggested change.

    Attributes:
        what: the option, as typed.
        alone: GiB saved if only this is changed.
        total: GiB needed with this and all changes before it.
        fits: whether that is within the GPU's usable memory.
    """

    what: str
    alone: float
    total: float
    fits: bool


@dataclass(frozen=True)
class Plan:
    """The plan of a call; see the module.

    Attributes:
        call: the input.
        passes: of the whole call.
        flops: by part, of the whole call.
        memory: at the worst moment.
        seconds: estimated, by GPU; only GPUs with enough memory.
        gpu: (GiB of the GPU, GiB usable for tensors); None if no GPU was given.
        fits: whether the call fits `gpu`; None if no GPU was given.
        changes: suggested changes if it does not fit, up to the first that makes it fit.
    """

    call: Call
    passes: Passes
    flops: dict[str, float]
    memory: Memory
    seconds: dict[str, float]
    gpu: tuple[float, float] | None
    fits: bool | None
    changes: list[Change]

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict: bytes, operations and seconds as plain numbers."""
        call = {field.name: getattr(self.call, field.name) for field in fields(self.call)}
        shape, reward, config = (call.pop(name) for name in ("shape", "reward", "config"))
        return {
            "model": asdict(shape) | {"parameters": shape.parameters},
            "call": {"tokens": self.call.tokens, **call, **config.flat()},
            "reward": None if reward is None else asdict(reward),
            "passes": asdict(self.passes),
            "flops": self.flops | {"total": sum(self.flops.values())},
            "memory_bytes": self.memory.parts | {"total": self.memory.total},
            "worst_moment": self.memory.moment,
            "estimated_seconds": self.seconds,
            "gpu_gib": None if self.gpu is None else self.gpu[0],
            "usable_gib": None if self.gpu is None else self.gpu[1],
            "fits": self.fits,
            "changes": [asdict(change) for change in self.changes],
        }


def plan(call: Call, gpu: str | None = None) -> Plan:
    """Plan a call, optionally for a GPU, given by its name or its memory (`24GB`).

    Raises:
        ValueError: an unknown GPU.
    """
    memory, named, fits = plan_memory(call), None, None
    changes: list[Change] = []
    shown = list(GPUS.values())
    if gpu is not None:
        size, known = find_gpu(gpu)
        usable = usable_bytes(size)
        named, fits = (size, usable / 2**30), memory.total <= usable
        shown = [known] if known is not None else [g for g in shown if g.memory == size]
        changes = [] if fits else suggest(call, usable)
    seconds = estimate(call, [g for g in shown if memory.total <= usable_bytes(g.memory)])
    return Plan(call, count_passes(call), count_flops(call), memory, seconds, named, fits, changes)


def suggest(call: Call, usable: float) -> list[Change]:
    """The changes, from the least to the greatest loss, with which the call fits.

    Of a kind (rows, pool, layers, tokens) the smallest change that makes the call fit is taken,
    else the largest. When the call fits, changes that are not needed are removed again, the
    greatest loss first.
    """

    def needed(changes: Sequence[_Setting]) -> float:
        settings = {key: value for _, each in changes for key, value in each.items()}
        return plan_memory(call.changed(**settings)).total

    chosen: list[_Setting] = []
    for tries in ladder(call):
        before = needed(chosen)
        if before <= usable:
            break
        best: _Setting | None = None
        for setting in tries:
            after = needed([*chosen, setting])
            if after < 0.995 * before:
                best = setting
            if after <= usable:
                break
        if best is not None:
            chosen.append(best)
    if needed(chosen) <= usable:
        for setting in chosen[-2::-1]:
            rest = [other for other in chosen if other is not setting]
            if needed(rest) <= usable:
                chosen = rest
    found = []
    for index, setting in enumerate(chosen):
        alone, total = needed([]) - needed([setting]), needed(chosen[: index + 1])
        found.append(Change(setting[0], alone / 2**30, total / 2**30, total <= usable))
    return found


def ladder(call: Call) -> Iterator[list[_Setting]]:
    """For each kind of change, its settings from the smallest change to the largest."""
    yield [(f"--batch {rows}", {"batch": rows}) for rows in halves(call.batch)]
    pools = [n for n in halves(call.pool) if n > 1]  # a pool of 1 would be no pool
    yield [(f"--pool-size {n}", {"pool_size": n}) for n in pools]
    if call.lora is not None:
        yield [(f"--lora-layers {n}", {"lora_layers": n}) for n in halves(call.layers)]
        if not call.checkpointing:
            yield [("--gradient-checkpointing", {"checkpointing": True})]
        yield [("--adapter logits", {"adapter": "logits"})]
    fewer = [bits for bits in (8, 4) if call.bits is None or bits < call.bits]
    yield [(f"--load-in-{bits}bit", {"bits": bits}) for bits in fewer]
    yield [(f"--tokens {n}", {"max_new_tokens": n}) for n in halves(call.tokens) if n >= 16]


def halves(number: int) -> list[int]:
    """`number` divided by 2, 4, 8, ... (rounded down), as long as it is at least 1."""
    found = []
    while number > 1:
        number //= 2
        found.append(number)
    return found
