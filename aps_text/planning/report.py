"""The plan of a call: passes, operations, memory, seconds, and what to change if it does not fit.

Changes are tried in the order of `ladder`, from the least to the greatest loss. Each is planned
again, alone and together with those before it, so every saving that is printed is computed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .call import Call
from .flops import Passes, count_flops, count_passes
from .gpus import GPUS, call_seconds, find_gpu, usable_bytes
from .memory import Memory, plan_memory

__all__ = ["Change", "Plan", "plan"]


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
        call, shape, gpu = self.call, self.call.shape, self.gpu or (None, None)
        own = ("tokens", "prompt", "batch", "dtype_bytes", "bits", "checkpointing")
        return {
            "model": asdict(shape) | {"parameters": shape.parameters},
            "call": {name: getattr(call, name) for name in own}
            | call.config.flat()
            | {"block_length": call.block_length},
            "reward": None if call.reward is None else asdict(call.reward),
            "passes": asdict(self.passes),
            "flops": self.flops | {"total": sum(self.flops.values())},
            "memory_bytes": self.memory.parts | {"total": self.memory.total},
            "worst_moment": self.memory.moment,
            "estimated_seconds": self.seconds,
            "gpu_gib": gpu[0],
            "usable_gib": gpu[1],
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
    seconds = call_seconds(call, [g for g in shown if memory.total <= usable_bytes(g.memory)])
    return Plan(call, count_passes(call), count_flops(call), memory, seconds, named, fits, changes)


def suggest(call: Call, usable: float) -> list[Change]:
    """The changes, from the least to the greatest loss, with which the call fits.

    Of a setting the smallest change that makes the call fit is taken, else the largest. When the
    call fits, changes that are not needed are removed again, the greatest loss first.
    """

    def needed(changes: dict[str, Any]) -> float:
        return plan_memory(call.changed(**changes)).total

    chosen: dict[str, Any] = {}
    options = dict[str, str]()
    for name, option, values in ladder(call):
        options[name] = option
        before, best = needed(chosen), chosen
        if before <= usable:
            break
        for value in values:
            changes = chosen | {name: value}
            after = needed(changes)
            if after < 0.995 * before:
                best = changes
            if after <= usable:
                break
        chosen = best
    if needed(chosen) <= usable:
        for name in [*chosen][-2::-1]:
            rest = {other: value for other, value in chosen.items() if other != name}
            if needed(rest) <= usable:
                chosen = rest
    found, done = [], dict[str, Any]()
    for name, value in chosen.items():
        done[name] = value
        alone, total = needed({}) - needed({name: value}), needed(done)
        what = options[name].format(value)
        found.append(Change(what, alone / 2**30, total / 2**30, total <= usable))
    return found


def ladder(call: Call) -> list[tuple[str, str, list[Any]]]:
    """Settings, how each is typed, and its values from the smallest change to the largest."""
    pools = [n for n in halves(call.pool) if n > 1]  # a pool of 1 would be no pool
    layers = halves(call.layers) if call.lora else []
    again = [True] if call.lora and not call.checkpointing else []
    fewer = [bits for bits in (8, 4) if call.bits is None or bits < call.bits]
    fewer = fewer if call.shape.quantisable else []
    return [
        ("batch", "--batch {}", halves(call.batch)),  # same answers, more time per answer
        ("pool_size", "--pool-size {}", pools),  # weaker steering, faster
        ("lora_layers", "--lora-layers {}", layers),  # weaker steering, faster
        ("checkpointing", "--gradient-checkpointing", again),  # same answers, an additional pass
        ("adapter", "--adapter {}", ["logits"] if call.lora else []),  # no pass back to the layers
        ("bits", "--load-in-{}bit", fewer),  # a slightly different model
        ("max_new_tokens", "--tokens {}", [n for n in halves(call.tokens) if n >= 16]),
    ]


def halves(number: int) -> list[int]:
    """`number` divided by 2, 4, 8, ... (rounded down), as long as it is at least 1."""
    return [number >> n for n in range(1, number.bit_length())]
