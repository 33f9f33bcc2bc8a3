"""What `aps ask` prints and writes of its answers: text, JSON and pages."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..text.visible import on_terminal

if TYPE_CHECKING:
    from ..pipelines.output import APSOutput

__all__ = ["json_rows", "show", "write_pages"]

COMPARED_FIELDS = ("text", "cut_off", "rewards", "cost")
"""What `--json` says of the plain answer and of the control's beside the steered one."""


def json_rows(
    outputs: Mapping[str, APSOutput], method: str, control: str | None, whole: bool = True
) -> list[dict[str, Any]]:
    """An object for each answer, with the plain one and the control's beside it.

    A run that a reward ended has fewer answers: where the steered one is missing, the object has
    the prompt and the plain answer only. The warnings of an answer are its own.

    Args:
        whole: every run was finished, so that the answers can be compared.
    """
    from ..pipelines.comparison import notices

    plain = outputs["plain"].as_dicts()
    steered = outputs[method].as_dicts() if method in outputs else []
    found = []
    for index, beside in enumerate(plain):
        row: dict[str, Any] = {"prompt": beside["prompt"]}
        if index < len(steered):
            alone = {title: out.alone(index) for title, out in outputs.items() if index < len(out)}
            said = notices(alone, method) if whole else alone[method].warnings
            row = {**steered[index], "warnings": said}
        if method != "plain":
            row["plain"] = {key: beside[key] for key in COMPARED_FIELDS}
        if control and control in outputs and index < len(outputs[control]):
            other = outputs[control].as_dicts()[index]
            row[control] = {key: other[key] for key in COMPARED_FIELDS}
        found.append(row)
    return found


def write_pages(name: str, outputs: dict[str, APSOutput], method: str) -> None:
    """Write a page for each answer: `name`, or `name-1.html`, `name-2.html`, ... if several."""
    from ..pipelines.comparison import notices

    path, steered, plain = Path(name), outputs[method], outputs["plain"]
    shown = {title: outputs[title] for title in ("plain", method)}
    for index in range(len(steered)):
        one = path.with_stem(f"{path.stem}-{index + 1}") if len(steered) > 1 else path
        alone = {title: out.alone(index) for title, out in shown.items()}
        notes = [f"warning: {warning}" for warning in notices(alone, method)]
        beside = None if steered is plain else plain
        steered.to_html(one, index=index, beside=beside, notes=notes)
        print(on_terminal(f"aps: wrote {one}", sys.stderr), file=sys.stderr)


def show(outputs: dict[str, APSOutput], warnings: Sequence[str] = ()) -> None:
    """Print answers, rewards, cost and warnings."""
    from rich.text import Text

    from ..text.text_console import TextConsole

    console = TextConsole(highlight=False)
    first = next(iter(outputs.values()))
    for index, prompt in enumerate(first.prompts):
        console.hanging("", Text(str(prompt), style="bold"))
        for method, output in outputs.items():
            if index >= len(output):  # a reward ended this run
                continue
            terms = "  ".join(
                f"{name} {_value(output, name, index)}"
                for name in output.rewards
                if name != "total" or (len(output.rewards) > 2 and not _weighted(output, index))
            )
            head = f"  {method:<8} "
            console.hanging(head, Text(output.text[index], style="green"))
            console.hanging(" " * len(head), Text(terms, style="dim"))
            weighted = _weighted(output, index)
            if weighted:
                console.hanging(" " * len(head), Text(weighted, style="dim"))
    for method, output in outputs.items():
        cost = output.cost
        spent = (
            f"{cost.seconds:.1f} s, denoiser {cost.denoiser_forwards} forward "
            f"{cost.denoiser_backwards} backward, reward {cost.reward_forwards} forward "
            f"{cost.reward_backwards} backward, peak memory {cost.peak_memory_mb:.0f} MiB"
        ) + ("" if method == "plain" else f", beta {output.config.sampler.beta:g}")
        console.hanging("", Text(f"{method}: {spent}", style="dim"))
    for warning in warnings:
        console.hanging("", Text(f"warning: {warning}"))


def _value(output: APSOutput, name: str, index: int) -> str:
    """A reward of an answer; `none` where it does not apply, which counts 0."""
    known = output.rewards.applies.get(name)
    return f"{output.rewards[name][index]:.3f}" if not known or known[index] else "none"


def _weighted(output: APSOutput, index: int) -> str:
    """The weighted total of an answer, by which it is steered; empty where all weights are 1."""
    weights = output.record.weights.get("guide", {}) if output.record else {}
    if "total" not in output.rewards or all(weight in (0, 1) for weight in weights.values()):
        return ""
    terms = " + ".join(f"{weight:g} x {name}" for name, weight in weights.items() if weight)
    return f"weighted total {output.rewards['total'][index]:.3f} ({terms})"
