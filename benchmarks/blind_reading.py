r"""Which of two answers does a READER prefer? Pairs in random order, and the count of the marks.

    aps eval --task sentences --method plain best-of-n:samples=8 aps --reward sentiment \
        --limit 40 --out results/eye
    python benchmarks/blind_reading.py results/eye --sheet sheet.md --wish "sentiment=more cheerful"
    python benchmarks/blind_reading.py results/eye --marks marks.txt

The sheet shows each prompt with two answers, A and B: one of the method `--of` (`aps`), one of
another method; which is which follows from `--seed` alone and is written nowhere. Pairs of equal
answers are left out and counted. The reader writes a line a pair: its number, then which answer
fits the wish better, then which reads better, each `A`, `B` or `=`:

    1 A =

Counted are wins, losses and ties of `--of` against each other method, with the exact two-sided
sign test over the pairs that were not marked as ties. Keep the marks beside the run.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aps_eval.rows import Row
from aps_eval.store import read_rows

QUESTIONS = ("fits the wish better", "reads better")


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt under one guide; `first`: whether A is of the method asked about."""

    guide: str
    question: str
    other: str
    answers: tuple[str, str]
    first: bool


def pairs(rows: Sequence[Row], of: str, seed: int) -> tuple[list[Pair], Counter[tuple[str, str]]]:
    """The pairs in random order, and how many had equal answers, by guide and other method.

    Raises:
        ValueError: no answer of `of`, or none of another method beside it.
    """
    answered = [row for row in rows if row.error is None]
    own = {_asked(row): row for row in answered if row.label == of}
    if not own:
        found = ", ".join(sorted({r.label for r in answered})) or "none"
        raise ValueError(f"no answers of {of!r}; there are those of: {found}")
    draw = random.Random(seed)
    found_pairs, equal = [], Counter[tuple[str, str]]()
    for row in sorted(answered, key=lambda r: r.key):
        mine = own.get(_asked(row))
        if mine is None or row.label == of:
            continue
        if row.answer.strip() == mine.answer.strip():
            equal[row.guide, row.label] += 1
            continue
        first = draw.random() < 0.5
        both = (mine.answer, row.answer) if first else (row.answer, mine.answer)
        found_pairs.append(Pair(row.guide, row.question, row.label, both, first))
    if not found_pairs and not equal:
        raise ValueError(f"no other method answered what {of!r} answered")
    draw.shuffle(found_pairs)
    return found_pairs, equal


def _asked(row: Row) -> tuple[Any, ...]:
    """What two answers of a pair have in common; an item's id may have changed between them."""
    return row.guide, row.task, row.question, tuple(row.gold), row.seed


def sheet(found: Sequence[Pair], wishes: dict[str, str]) -> str:
    """What the reader sees."""
    lines = [
        "For each pair: its number, which answer fits the wish better, which reads better",
        "(A, B or =), as in `1 A =`. Judge each pair by itself.",
    ]
    for number, pair in enumerate(found, 1):
        lines += [
            "",
            f"{number}. {pair.question}",
            f"   wish: {wishes.get(pair.guide, pair.guide)}",
        ]
        lines += [
            f"   {name}: {' / '.join(answer.splitlines()) or '(no answer)'}"
            for name, answer in zip("AB", pair.answers, strict=True)
        ]
    return "\n".join(lines) + "\n"


def wishes_of(said: Sequence[str], guides: Collection[str]) -> dict[str, str]:
    """The wishes of `--wish` by guide.

    Raises:
        ValueError: one without `=`, or of a guide that no pair has.
    """
    wishes = {}
    for one in said:
        guide = next((name for name in guides if one.startswith(f"{name}=")), None)
        if guide is None:
            known = ", ".join(sorted(guides))
            raise ValueError(f"--wish {one!r} is no GUIDE=TEXT of a guide of this run: {known}")
        wishes[guide] = one.removeprefix(f"{guide}=")
    return wishes


def marks(text: str, count: int) -> list[str]:
    """The marks of each pair, two characters of `A`, `B`, `=`.

    Raises:
        ValueError: a line that is no mark, or a pair without a mark or with two.
    """
    found: dict[int, str] = {}
    for at, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        mark = re.fullmatch(r"\s*(\d+)[.:]?\s+([AB=])\s*([AB=])\s*", line)
        if not mark or not 1 <= int(mark[1]) <= count:
            raise ValueError(f"line {at}: {line!r} is no mark of one of {count} pairs (1 A =)")
        if int(mark[1]) in found:
            raise ValueError(f"line {at}: pair {mark[1]} is marked twice")
        found[int(mark[1])] = mark[2] + mark[3]
    if missing := [n for n in range(1, count + 1) if n not in found]:
        raise ValueError(f"no mark of pair {missing[0]}; {len(missing)} of {count} are missing")
    return [found[n] for n in range(1, count + 1)]


def counted(
    found: Sequence[Pair], equal: Counter[tuple[str, str]], marked: Sequence[str], of: str
) -> str:
    """A Markdown table: a line for each guide, other method and question."""
    lines = ["| guide | against | question | better | worse | alike | equal answers | p |"]
    lines.append("|---" * 8 + "|")
    keys = dict.fromkeys([*((p.guide, p.other) for p in found), *equal])
    for guide, other in keys:
        for at, question in enumerate(QUESTIONS):
            own = Counter[str]()
            for pair, mark in zip(found, marked, strict=True):
                if (pair.guide, pair.other) == (guide, other):
                    own["=" if mark[at] == "=" else "+-"[(mark[at] == "A") != pair.first]] += 1
            p = sign_test(own["+"], own["-"])
            cells = [guide, other, question, own["+"], own["-"], own["="], equal[guide, other]]
            cells.append(f"{p:.3f}" if p >= 0.001 else "<0.001")
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return f"`{of}` against others, marked by a reader who saw no names\n\n" + "\n".join(lines)


def sign_test(better: int, worse: int) -> float:
    """The exact two-sided p-value of that many of both, if either were as likely."""
    count = better + worse
    below = sum(math.comb(count, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * below / 2**count)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Pairs of answers for a reader, and their count.")
    parser.add_argument("folder", type=Path, help="of `aps eval --out`")
    parser.add_argument("--of", default="aps", help="label of the method asked about")
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the sides")
    parser.add_argument("--wish", nargs="*", default=[], metavar="GUIDE=TEXT")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--sheet", type=Path, help="file to write for the reader")
    what.add_argument("--marks", type=Path, help="file of the reader's marks")
    chosen = parser.parse_args(arguments)
    try:
        found, equal = pairs(read_rows(chosen.folder / "rows.jsonl"), chosen.of, chosen.seed)
        if chosen.sheet:
            wishes = wishes_of(chosen.wish, {pair.guide for pair in found})
            chosen.sheet.write_text(sheet(found, wishes), encoding="utf-8")
            alike = equal.total()
            print(f"{len(found)} pairs in {chosen.sheet}; {alike} with equal answers left out")
        else:
            marked = marks(chosen.marks.read_text(encoding="utf-8"), len(found))
            print(counted(found, equal, marked, chosen.of))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
