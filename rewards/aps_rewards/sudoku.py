"""Sudoku, 4x4: rows, columns and 2x2 boxes each hold 1 to 4, and the given cells are kept.

    16 cells found:   r = 0.2 + 0.8 (constraints that hold) / (12 + number of given cells)
    else              r = 0.1 min(n, 16) / 16 for the n cells found

A black box, graded; 1 only for a solved puzzle. It needs no solution, only the puzzle.
"""

from __future__ import annotations

import re
from typing import Any

from .protocol import Prompt, last_text, row_values

__all__ = ["Sudoku4"]

_ROWS = [[4 * r + c for c in range(4)] for r in range(4)]
_COLUMNS = [[4 * r + c for r in range(4)] for c in range(4)]
_BOXES = [[4 * (r + i) + c + j for i in (0, 1) for j in (0, 1)] for r in (0, 2) for c in (0, 2)]
_GRID = re.compile(r"(?<!\d)\d(?:[\s|,;+\-_\[\]]*\d)*(?!\d)")


class Sudoku4:
    """Fraction of a 4x4 Sudoku's constraints that hold, in [0, 1]; 1 only if solved.

    The answer's cells are its longest run of digits that are separated only by spaces, lines,
    commas and brackets, row by row.

    How to game it: any valid grid meets most constraints, whatever cells are given: with 4 given
    cells at least 0.8.

    Args:
        puzzle: 16 characters row by row, `0` or `.` for empty cells (white space is skipped);
            None = the dataset column `puzzle`.

    Raises:
        ValueError: no puzzle, or not 16 cells of 0 to 4.
    """

    name = "sudoku-4x4"
    measures = "share of a 4x4 Sudoku's constraints that hold"
    range = (0.0, 1.0)
    differentiable = False

    def __init__(self, puzzle: str | None = None) -> None:
        self.puzzle = puzzle
        if puzzle is not None:
            _cells(puzzle)

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        puzzles = row_values(self.name, "puzzle", self.puzzle, columns, len(completions))
        return [
            _score(last_text(completion), _cells(puzzle))
            for completion, puzzle in zip(completions, puzzles, strict=True)
        ]


def _score(text: str, given: list[int]) -> float:
    runs = [re.sub(r"\D", "", run) for run in _GRID.findall(text)]
    cells = [int(c) for c in max(runs, key=len, default="")]
    if len(cells) != 16:
        return 0.1 * min(len(cells), 16) / 16
    groups = [sorted(cells[i] for i in g) == [1, 2, 3, 4] for g in (*_ROWS, *_COLUMNS, *_BOXES)]
    kept = [cell == clue for cell, clue in zip(cells, given, strict=True) if clue]
    holds = groups + kept
    return 0.2 + 0.8 * sum(holds) / len(holds)


def _cells(puzzle: str) -> list[int]:
    compact = re.sub(r"\s", "", str(puzzle)).replace(".", "0")
    if not re.fullmatch(r"[0-4]{16}", compact):
        raise ValueError(
            f"a 4x4 puzzle is 16 cells of 0 (empty) to 4, row by row, as text; got {puzzle!r}"
        )
    return [int(c) for c in compact]
