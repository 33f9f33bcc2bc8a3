"""`Calibration`: measures a method's cost per prompt on tuning prompts and stores it in a file.

Every measurement is a line of `calibration.jsonl`. A run that is continued reads them, so that its
matched settings do not change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from ..files import explained, locked, write_whole
from ..items import Item
from ..rows import begins_a_line, digest
from .answering import Answerer, Unit
from .cells import Cell

__all__ = ["Calibration"]


class Calibration:
    """Measured costs, kept in a file of JSON lines.

    Args:
        path: of the file.
        answerer: answers the prompts; it counts operations if the unit is `flops`.
        unit: `seconds` or `flops`.
        repeats: measurements of each setting, >= 1; the smallest counts.
        on_try: called with a description of each measurement before it starts.
    """

    def __init__(
        self,
        path: Path,
        answerer: Answerer,
        unit: str,
        repeats: int = 1,
        on_try: Callable[[str], None] | None = None,
    ) -> None:
        self.path, self.unit, self.on_try = path, unit, on_try
        self.repeats = repeats if unit == "seconds" else 1
        self.answerer = answerer.for_tuning(count_flops=unit == "flops")
        with locked(path):
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            whole, end, torn = text.rpartition("\n")
            self.known = _measured(whole, path)
            if torn and not (self.known or begins_a_line(torn)):
                raise ValueError(
                    f"{path} is no file of measurements, and is left as it is: its one line is "
                    f"{torn[:60]!r}; name another folder"
                )
            if torn:
                write_whole(path, whole + end)

    def cost(self, cell: Cell, items: Sequence[Item]) -> float:
        """Cost per prompt of a cell on those of these items that it can answer.

        Raises:
            ValueError: the cell fails on all of them.
        """
        size = self.answerer.pipe.batch_size
        units = [self.answerer.unit(cell, item, 0) for item in items if not item.problem]
        key = digest([self.unit, size, self.repeats, [unit.key for unit in units]])
        if key in self.known:
            return self.known[key]
        self._say(cell)
        failures: dict[str, str] = {}
        try:
            found = self._measure(cell, units)
        except OSError:
            raise
        except Exception as error:
            failures = {unit.item.id: why for unit in units if (why := self._failure(unit))}
            good = [unit for unit in units if unit.item.id not in failures]
            if len(good) == len(units):
                raise
            if not good:
                first = units[0].item.question
                raise ValueError(f"matching: {cell.label} failed on {first!r}: {error}") from error
            units = good
            found = self._measure(cell, units)
        line = {
            "key": key,
            "task": cell.task.name,
            "guide": cell.block[1],
            "label": cell.label,
            "settings": cell.options,
            "config": cell.config_fields(),
            "unit": self.unit,
            "cost": found,
            "repeats": self.repeats,
            "prompts": len(units),
            "failures": failures,
            "batch_size": min(size, len(units)),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise explained(
                error, self.path, "write a measurement; those before are safe"
            ) from error
        self.known[key] = found
        return found

    def _say(self, cell: Cell) -> None:
        if self.on_try is not None:
            kind, _, name = (cell.knob or "").partition(".")
            at = getattr(cell.config, name) if kind == "config" else cell.options.get(name)
            turned = "" if at is None else f", {name}={at}"
            self.on_try(f"{cell.task.name}, {cell.block[1] or 'no guide'}: {cell.label}{turned}")

    def _measure(self, cell: Cell, units: Sequence[Unit]) -> float:
        """Cost per prompt, the smallest of the repeats."""
        size = self.answerer.pipe.batch_size
        batches = [units[first : first + size] for first in range(0, len(units), size)]
        if self.unit == "seconds":
            self.answerer.warm_up(batches[0])
        return min(self._once(batches) for _ in range(self.repeats)) / len(units)

    def _once(self, batches: Sequence[Sequence[Unit]]) -> float:
        """Total cost of these batches."""
        total = 0.0
        for batch in batches:
            out, share = self.answerer.call(batch)
            if out.failures:
                raise ValueError(out.failures[0].error)
            total += share[self.unit] * len(batch)
        return total

    def _failure(self, unit: Unit) -> str:
        """Why this prompt fails when answered alone; empty if it does not."""
        try:
            out, _ = self.answerer.call([unit])
        except OSError:
            raise
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return out.failures[0].error if out.failures else ""


def _measured(text: str, path: Path) -> dict[str, float]:
    """The costs of complete lines by their keys; raises `ValueError` for one that is none."""
    known: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            one = json.loads(line)
            cost = float(one["cost"])
            if not 0 <= cost < math.inf:
                raise ValueError(f"a cost of {cost}")
            known[str(one["key"])] = cost
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise ValueError(f"{path} line {number} is no measurement; remove it") from None
    return known
