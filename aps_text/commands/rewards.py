"""`aps rewards` lists installed rewards; `aps rewards try` scores answers with one."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

from ..core.pairs import read_pairs
from ..text.visible import on_terminal
from .streams import prints_aside
from .waiting import waiting

__all__ = ["add_parser", "rewards_command", "try_command"]


def add_parser(subparsers: Any) -> None:
    """Add the command and its subcommand."""
    parser = subparsers.add_parser("rewards", help="what can steer, and what a reward says")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=rewards_command)
    actions = parser.add_subparsers()
    attempt = actions.add_parser("try", help="score answers to a question")
    add = attempt.add_argument
    add("name", metavar="NAME", help="a name, package.module:attribute, file.py:function, a model")
    add("question", metavar="QUESTION")
    add("answers", nargs="+", metavar="ANSWER")
    add(
        "--column",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a dataset column, e.g. reference='a fiddle'; the same for every answer",
    )
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the reward, e.g. label=positive; numbers, true, [lists] are JSON",
    )
    add("--chat", action="store_true", help="pass chat messages instead of strings")
    add("--timeout", type=float, default=None, metavar="SECONDS")
    add("--json", action="store_true", help="for machines")
    attempt.set_defaults(run=try_command)


def rewards_command(args: argparse.Namespace) -> int:
    """List the installed rewards, including those that cannot be imported."""
    from aps_rewards import list_rewards

    found = list_rewards()
    if args.json:
        print(json.dumps([_record(one) for one in found], indent=2))
        return 0
    for one in found:
        if one.info is None:
            print(f"{one.name}: does not load: {one.problem}\n  from      {one.target}")
            continue
        info = one.info
        side = "differentiable" if info.differentiable else "black box (steers by RLOO)"
        print(f"{one.name}: {info.measures}")
        print(f"  range     {_range(info.range)}, {side}")
        print(f"  licence   {info.licence or 'none stated'}")
        if one.options:
            print(f"  options   {', '.join(one.options)}")
    print('\nWhat one says: aps rewards try NAME "question" "answer"')
    print("Options follow the name, then the weight: --reward keywords:present=king,queen=0.5")
    print("Several options are separated by colons: --reward length:low=4:high=6")
    return 0


def try_command(args: argparse.Namespace) -> int:
    """Load a reward, score the answers and print the scores."""
    options = read_pairs(args.option, "--option is", dashes=False)
    columns = {
        name: [value] * len(args.answers)
        for name, value in read_pairs(args.column, "--column is", dashes=False).items()
    }
    prompts: list[Any] = [args.question] * len(args.answers)
    answers: list[Any] = list(args.answers)
    if args.chat:
        prompts = [[{"role": "user", "content": args.question}] for _ in answers]
        answers = [[{"role": "assistant", "content": text}] for text in answers]
    with waiting(f"loading {args.name}"), prints_aside(args.json):
        from aps_rewards import describe, load_reward
        from aps_rewards.calling import RewardCall

        reward = load_reward(args.name, **options)
    with waiting("scoring"), prints_aside(args.json):
        scores = RewardCall(reward, prompts, answers, columns, timeout=args.timeout).result()
    with prints_aside(args.json):
        info = describe(reward)
    if args.json:
        shown = [{"answer": a, "score": s} for a, s in zip(args.answers, scores, strict=True)]
        print(json.dumps({"reward": info.name, "range": _finite(info.range), "answers": shown}))
        return 0
    print(f"{info.name}: {info.measures}, {_range(info.range)}")
    scored = list(zip(args.answers, scores, strict=True))
    for answer, score in sorted(scored, key=lambda pair: pair[1] is None):
        value = "none" if score is None else f"{score:.4f}"
        print(on_terminal(f"  {value:>9}  {answer}", sys.stdout))
    if None in scores:
        print("none: the reward does not apply to these answers; what guides counts 0 for it")
    return 0


def _range(limits: tuple[float, float]) -> str:
    low, high = limits
    if math.isinf(low) and math.isinf(high):
        return "any number"
    return f"{low:g} to {high:g}".replace("-inf to", "up to").replace("to inf", "and more")


def _finite(limits: tuple[float, float]) -> list[float | None]:
    return [None if math.isinf(end) else end for end in limits]


def _record(one: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"name": one.name, "from": one.target}
    if one.info is None:
        return {**record, "problem": one.problem}
    info = one.info
    return {
        **record,
        "measures": info.measures,
        "range": _finite(info.range),
        "differentiable": info.differentiable,
        "licence": info.licence,
        "options": one.options,
    }
