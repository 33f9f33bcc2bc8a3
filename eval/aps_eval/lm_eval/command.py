"""`aps eval --lm-eval`: tasks of lm-evaluation-harness, answered by any method and reward.

    aps eval --lm-eval --tasks gsm8k --method aps --reward answer-quality --limit 20
    aps eval --lm-eval --tasks my_task --include-path folder --trust-code --method plain

Needs `pip install "aps-text[lm-eval]"`. Tasks that load data sets by name need the network; a task
file with `dataset_path: json` and `data_files` runs offline. Task files of the harness may contain
code (`!function`, templates without a sandbox), so `--include-path` needs `--trust-code`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["lm_eval_parser", "main"]


def lm_eval_parser() -> argparse.ArgumentParser:
    """The parser of the arguments after `--lm-eval`."""
    parser = argparse.ArgumentParser(
        prog="aps eval --lm-eval", description="Tasks of lm-evaluation-harness."
    )
    parser.add_argument(
        "--tasks", nargs="+", required=True, metavar="NAME", help="of the harness, or task files"
    )
    parser.add_argument(
        "--include-path", metavar="FOLDER", help="where task files lie; they run code"
    )
    parser.add_argument(
        "--trust-code", action="store_true", help="task files of yours may run their code"
    )
    parser.add_argument("--model", default="mini", help="'mini', 'smol', a folder or a hub id")
    parser.add_argument(
        "--method",
        default="plain",
        metavar="NAME[:OPTION=VALUE,...]",
        help="plain, aps or a peer of docs/methods.md, e.g. fk:particles=8",
    )
    parser.add_argument("--reward", nargs="+", metavar="NAME[=WEIGHT]", help="what to steer by")
    parser.add_argument("--preset", metavar="NAME", help="fast, balanced, paper")
    parser.add_argument(
        "--set",
        dest="config",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="fields of APSConfig, e.g. beta=0.02 steps=8",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="items per task")
    parser.add_argument(
        "--num-fewshot", type=int, metavar="N", help="worked examples before a question"
    )
    parser.add_argument(
        *("--apply-chat-template", "--apply_chat_template"),
        action="store_true",
        help="few-shot and system turns as a chat; joined where the model has no turns",
    )
    parser.add_argument(
        "--fewshot-as-multiturn",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="each example a turn of its own",
    )
    parser.add_argument("--system-instruction", metavar="TEXT", help="the system's turn")
    parser.add_argument(
        "--use-cache", metavar="FILE", help="keep answers here (a pickle: use files of your own)"
    )
    parser.add_argument(
        "--likelihood-samples",
        type=int,
        default=32,
        metavar="N",
        help="maskings that estimate the likelihood of a text (default: 32)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=8, metavar="N", help="answers in one pass (default: 8)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write results and samples here, as JSON"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the tasks, print the harness's table; returns the exit status.

    Raises:
        ImportError: lm-eval is not installed.
        ValueError, TypeError: unknown tasks, methods, settings or rewards.
    """
    args = lm_eval_parser().parse_args(list(argv))
    print(table(evaluate(args)))
    return 0


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """The harness's results, with `samples`; `aps` has the model, method, rewards and settings."""
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ImportError('lm-eval is missing; pip install "aps-text[lm-eval]"') from error
    from aps_rewards import parse_reward_spec

    from aps_text import APSPipeline
    from aps_text.core.config import APSConfig
    from aps_text.core.own_settings import config_for
    from aps_text.core.pairs import read_pairs
    from aps_text.core.presets import text_preset
    from aps_text.methods.registry import make_method
    from aps_text.methods.unread import own_for
    from aps_text.pipelines.text import METHODS
    from aps_text.text.reward_operator.guidance import load_rewards

    from ..files import write_whole
    from ..reward_content import contents
    from ..trust import check_harness_file
    from .adapter import PipelineLM
    from .caching import check_cached

    preset, options = text_preset(args.preset), read_pairs(args.config, "a setting is")
    APSConfig.make(preset, **options)  # bad settings are told before anything is loaded
    name, colon, fields = args.method.partition(":")
    method = make_method(METHODS, name, fields.split(",") if colon else [])
    rewards = [(reward, weight) for _, weight, reward in load_rewards(args.reward or None)]
    if name != "plain" and not rewards:
        raise ValueError(f"method {name!r} steers by a reward and got none; use --reward")
    names = [name for text in args.tasks for name in text.split(",") if name]
    if not args.trust_code:
        for place in (args.include_path, *(n for n in names if Path(n).exists())):
            if place is not None:
                check_harness_file(place)
    # Indexing the harness's thousands of files takes seconds; try the user's folder alone first.
    own = args.include_path is not None
    manager = TaskManager(include_path=args.include_path, include_defaults=not own)
    if own and not set(names) <= set(manager.all_tasks):
        manager = TaskManager(include_path=args.include_path)
    for name in names:
        if name not in manager.all_tasks and not Path(name).is_file():
            raise ValueError(
                f"lm-eval has no task {name!r}; give a folder of task files by --include-path"
            )
    pipe = APSPipeline.from_pretrained(args.model, batch_size=args.batch_size)
    config = config_for(own_for(method, pipe.model.settings), preset, **options)
    lm = PipelineLM(
        pipe,
        method=method,
        reward=rewards or None,
        config=config,
        samples=args.likelihood_samples,
        cache_key=[
            args.method,
            args.reward,
            [contents(parse_reward_spec(text)[0]) for text in args.reward or ()],
        ],
    )
    found: dict[str, Any] = simple_evaluate(
        lm,
        tasks=names,
        num_fewshot=args.num_fewshot,
        limit=args.limit,
        task_manager=manager,
        apply_chat_template=args.apply_chat_template,
        fewshot_as_multiturn=args.fewshot_as_multiturn,
        system_instruction=args.system_instruction,
        use_cache=args.use_cache,
    )
    for task in found["configs"].values() if args.use_cache else ():
        if task["output_type"] == "generate_until":  # all answers may have been in the cache
            check_cached(task["repeats"], task["generation_kwargs"])
    found["aps"] = {
        "model": lm.pipe.model.name,
        "method": args.method,
        "reward": args.reward,
        "config": json.loads(config.to_json()),
        "likelihood_samples": args.likelihood_samples,
        "generation_seconds": lm.seconds,
    }
    if args.out is not None:
        write_whole(args.out, json.dumps(found, indent=2, default=str, ensure_ascii=False))
    return found


def table(found: dict[str, Any]) -> str:
    """The harness's own table, below a line with model, method and rewards."""
    from lm_eval.utils import make_table

    about = found["aps"]
    rewards = " ".join(about["reward"] or [])
    how = f"{about['model']}, {about['method']}" + (f", guided by {rewards}" if rewards else "")
    return f"{how}; likelihoods are the base model's\n{make_table(found)}"
