"""Countdown: an expression that uses exactly the given numbers and hits the target.

    r = 1 if solved, else 0.1 + 0.4 u + 0.4 c;   0 without an expression
    u = shared numbers / larger count (as multisets)
    c = 1 / (1 + |value - target| / max(|target|, 1))

A black box, graded. Expressions of whole numbers, `+ - * /` and parentheses are parsed by `ast` and
computed in exact fractions; nothing is evaluated as code.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from .protocol import Prompt, last_text, row_values

__all__ = ["Countdown", "work_out"]

LONGEST = 200
"""The maximal length of an expression in characters; longer ones are ignored."""

_EXPRESSION = re.compile(r"[\d+\-*/() \t]+")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})


class Countdown:
    """How near the answer's expression is to a Countdown solution, in [0, 1]; 1 only if solved.

    The expression is the longest stretch of digits, signs and parentheses in the answer (inside the
    last `<answer>` tag, if there is one), up to a `=`.

    How to game it: nothing short of a solution gets more than 0.9, but the target alone, written
    as a number, gets 0.5 for a puzzle it does not solve.

    Args:
        numbers: each to be used once; None = the dataset column `numbers`, a list per prompt.
        target: the value to reach; None = the dataset column `target`.

    Raises:
        ValueError: neither is given, or no numbers.
    """

    name = "countdown"
    measures = "expression uses exactly the given numbers and hits the target"
    range = (0.0, 1.0)
    differentiable = False

    def __init__(self, numbers: Sequence[int] | None = None, target: int | None = None) -> None:
        self.numbers = None if numbers is None else list(numbers)
        self.target = target

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        count = len(completions)
        numbers = row_values(self.name, "numbers", self.numbers, columns, count)
        targets = row_values(self.name, "target", self.target, columns, count)
        return [
            _score(last_text(completion), [int(n) for n in given], int(target))
            for completion, given, target in zip(completions, numbers, targets, strict=True)
        ]


def _score(text: str, given: list[int], target: int) -> float:
    if not given:
        raise ValueError(f"reward 'countdown' got no numbers for the target {target}")
    try:
        value, used = work_out(_expression(text))
    except (ValueError, ZeroDivisionError):
        return 0.0
    if value == target and Counter(used) == Counter(given):
        return 1.0
    shared = (Counter(used) & Counter(given)).total() / max(len(used), len(given))
    close = float(1 / (1 + abs(value - target) / max(abs(target), 1)))
    return 0.1 + 0.4 * shared + 0.4 * close


def work_out(expression: str) -> tuple[Fraction, list[int]]:
    """Value and numbers of an expression of whole numbers, `+ - * /` and parentheses.

    Raises:
        ValueError: anything else in it, or longer than `LONGEST`.
        ZeroDivisionError: a division by 0.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"an expression of {len(expression)} characters exceeds {LONGEST}")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"{expression!r} is no expression") from None
    used: list[int] = []
    return _value(tree, used), used


def _value(node: ast.expr, used: list[int]) -> Fraction:
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            used.append(number)
            return Fraction(number)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left, used) + _value(right, used)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _value(left, used) - _value(right, used)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _value(left, used) * _value(right, used)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _value(left, used) / _value(right, used)
    raise ValueError(f"{ast.unparse(node)!r} is not allowed: whole numbers, + - * / and () only")


def _expression(text: str) -> str:
    tagged = re.findall(r"<answer>(.*?)</answer>", text, flags=re.DOTALL)
    body = (tagged[-1] if tagged else text).translate(_SIGNS)
    left = [side.partition("=")[0] for side in body.splitlines()]
    found = [match.strip() for line in left for match in _EXPRESSION.findall(line)]
    found = [match for match in found if any(c.isdigit() for c in match)]
    return max(found, key=len, default="")
