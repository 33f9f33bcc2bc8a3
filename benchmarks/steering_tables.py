"""The tables and figures of docs/steering.md and docs/rewards.md, from a folder of `aps eval`.

    python benchmarks/steering_tables.py results/methods
    python benchmarks/steering_tables.py results/ablations --figures results/figures

Read are `summary.json` and its paired differences to the run's baseline with their 95% intervals;
nothing is answered. Printed is a Markdown table for each guide and budget, or, where plain decoding
and one method are all there is (the grid `rewards`), one with a line for each guide. **Bold** is
what is below 5% after Holm's adjustment over the judges of that method: rewards that only report
and metrics against the key or of fluency. Costs are those measured for matching, else the run's.

`--figures` draws the methods called `GROUP: VARIANT` (the grid `ablations`), a file for each group,
beside the method `aps` that they change if that was run too; it needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aps_eval.measures import LOWER_IS_BETTER
from aps_eval.report.statistics import Difference, holm

JUDGES = ("f1", "exact", "nll", "named", "whole")
NAMES = {"f1": "token F1", "nll": "NLL"}
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a3db8")
Record = dict[str, Any]


class Run:
    """What `aps eval` found, by guide, label and value."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        entries = [e for e in about["entries"] if not e["stratum"] and not e["control"]]
        self.at = {(e["guide"], e["label"], e["value"]): e for e in entries}
        self.budgets = list(dict.fromkeys(e["budget"] for e in entries if e["budget"])) or [""]
        self.guides = list(dict.fromkeys(e["guide"] for e in entries))
        self.values = list(dict.fromkeys(e["value"] for e in entries))
        matching = about.get("matching") or []
        self.spent = {(m["guide"], m["label"]): m["cost"] for m in matching}
        self.operations = any(m["unit"] == "flops" for m in matching)
        self.taken = {
            (t["guide"], t["label"]): " ".join(f"{k}={v}" for k, v in t["settings"].items())
            for t in about.get("tuning") or []
            if t["taken"]
        }

    def labels(self, guide: str, budget: str = "") -> list[str]:
        """Methods of a block; those without a budget stand at each."""
        own = [e for (g, _, _), e in self.at.items() if g == guide and e["budget"] in ("", budget)]
        return list(dict.fromkeys(e["label"] for e in own))

    def judges(self, guide: str) -> list[str]:
        reports = [name for name in self.values if name.startswith("report:")]
        found = [*(n for n in reports if not n.endswith(" top")), *JUDGES]
        return [n for n in found if any((guide, one, n) in self.at for one in self.labels(guide))]

    def cost(self, guide: str, label: str) -> str:
        """As many times plain decoding's operations where those were counted, else seconds."""
        flops = self.at.get((guide, label, "flops"))
        plain = self.at.get((guide, "plain", "flops"))
        if flops and plain:
            return f"{flops['mean'] / plain['mean']:.1f}x"
        if self.operations:
            return f"{self.spent[guide, label] / self.spent[guide, 'plain']:.1f}x"
        seconds = self.spent.get((guide, label))
        return f"{self.at[guide, label, 'seconds']['mean'] if seconds is None else seconds:.2f}"


def cells(run: Run, guide: str, label: str, names: Sequence[str]) -> Iterator[str]:
    """A mean each and its difference to the baseline, adjusted over the judges among them."""
    found = {name: run.at.get((guide, label, name)) for name in names}
    gaps = {name: gap_of(one) for name, one in found.items() if one and one["against"]}
    judged = {name: gap for name, gap in gaps.items() if not name.startswith("guide:")}
    gaps |= dict(zip(judged, holm(list(judged.values())), strict=True))
    for name, one in found.items():
        if one is None:
            yield ""
        elif name not in gaps:
            yield f"{one['mean']:.3f}"
        else:
            bold = name in judged and gaps[name].verdict in ("better", "worse")
            yield f"{one['mean']:.3f} ({shown(gaps[name], bold)})"


def gap_of(one: Record) -> Difference:
    numbers = (one[f"difference_{k}"] for k in ("prompts", "mean", "low", "high", "wins", "p", "p"))
    return Difference(*numbers, one["value"] not in LOWER_IS_BETTER)


def shown(gap: Difference, bold: bool = False) -> str:
    mark = "**" * bold
    return f"{mark}{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]{mark}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(line) + " |" for line in (head, *lines)]
    return "\n".join([rows[0], "|---" * len(head) + "|", *rows[1:]])


def by_method(run: Run, guide: str, budget: str) -> str:
    """A line for each method."""
    names = [f"guide:{guide}", *run.judges(guide)]
    labels = run.labels(guide, budget)
    against = next(e["against"] for e in run.at.values() if e["guide"] == guide and e["against"])
    head = ["method", "cost", *(NAMES.get(n, n.partition(":")[2] or n) for n in names)]
    lines = [
        [one.partition(" @")[0], run.cost(guide, one), *cells(run, guide, one, names)]
        for one in labels
    ]
    title = f"**Guide {guide}{f', {budget}' * bool(budget)}** (minus {against.partition(' @')[0]})"
    return f"{title}\n\n{markdown(head, lines)}\n"


def by_guide(run: Run, label: str) -> str:
    """A line for each guide: plain decoding and one method."""
    moved = [n for n in ("nll", "named", "words", "f1") if n in run.values]
    names = [NAMES.get(name, name) for name in moved]
    head = ["reward", "settings", "plain", label, "reward moved", *(f"{n} moved" for n in names)]
    lines = []
    for guide in run.guides:
        plain, own = (run.at[guide, one, f"guide:{guide}"] for one in ("plain", label))
        line = [f"`{guide}`", run.taken.get((guide, label), ""), f"{plain['mean']:.3f}"]
        line += [f"{own['mean']:.3f}", shown(gap_of(own))]
        line += [shown(gap_of(run.at[guide, label, name])) for name in moved]
        lines.append([*line, f"{run.cost(guide, 'plain')} / {run.cost(guide, label)}"])
    return markdown([*head, f"cost, plain / {label}"], lines)


def draw(run: Run, group: str, path: Path) -> None:
    """Dots with intervals: a panel for each value, a colour for each guide."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.hashsalt": "aps_text", "font.size": 9})
    guides, labels = run.guides, group_of(run, group)
    flops = run.cost(guides[0], labels[0]).endswith("x")
    wide = len(guides) + 2
    figure, panels = pyplot.subplots(
        1, wide, figsize=(2.4 * wide + 1, 0.42 * len(labels) + 1.1), sharey=True
    )
    for n, (guide, colour) in enumerate(zip(guides, COLOURS, strict=False)):
        panels[n].set_title(f"{guide}\n(the guide) minus plain", color=colour, fontsize=9)
        for y, label in enumerate(labels):
            shifted = y + 0.12 * (2 * n - len(guides) + 1)
            for name, panel, at in ((f"guide:{guide}", panels[n], y), ("f1", panels[-2], shifted)):
                gap = gap_of(run.at[guide, label, name])
                panel.plot([gap.low, gap.high], [at, at], color=colour, lw=1.5)
                panel.plot([gap.mean], [at], "o", color=colour, ms=4)
            cost = float(run.cost(guide, label).rstrip("x"))
            panels[-1].plot([cost], [shifted], "o", color=colour, ms=4)
    panels[-2].set_title("token F1\nminus plain", fontsize=9)
    panels[-1].set_title("operations,\ntimes plain" if flops else "seconds", fontsize=9)
    for panel in panels[:-1]:
        panel.axvline(0, color="#888", lw=0.8)
    panels[-1].set_xlim(left=0)
    names = [label.partition(": ")[2] or "as it is" for label in labels]
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="x", color="#ddd", lw=0.5)
        panel.locator_params(axis="x", nbins=4)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def group_of(run: Run, group: str) -> list[str]:
    """The method `aps`, if it was run, and the methods that change it."""
    labels = run.labels(run.guides[0])
    return [one for one in labels if one == "aps" or one.startswith(f"{group}: ")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the --out of `aps eval`")
    parser.add_argument("--figures", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    run = Run(args.folder)
    labels = run.labels(run.guides[0])
    if len(run.guides) > 1 and len(labels) == 2 and labels[0] == "plain":
        print(by_guide(run, labels[1]))
        return
    for guide in run.guides:
        for budget in run.budgets:
            print(by_method(run, guide, budget))
    if args.figures is not None:
        for group in dict.fromkeys(one.partition(": ")[0] for one in labels if ": " in one):
            draw(run, group, args.figures / f"ablation-{group.replace(' ', '_')}.svg")


if __name__ == "__main__":
    main()
