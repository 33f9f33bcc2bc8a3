"""The tables of `benchmarks/images.py`, from its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from aps_eval.report.statistics import DRAWS, Difference, difference, holm, mean_interval
from aps_eval.rows import Row
from image_contenders import BASE


def values(rows: Sequence[Row], name: str) -> dict[str, float]:
    """A metric by image; images without it are left out."""
    return {row.item: float(v) for row in rows if (v := row.metrics.get(name)) is not None}


def ratio(rows: Sequence[Row]) -> tuple[float, float, float] | None:
    """Calibration and its 95% interval over resampled images; None for single samples."""
    spread, error = values(rows, "spread"), values(rows, "error")
    if not spread:
        return None
    pairs = np.array([(spread[item], error[item]) for item in spread])
    counts = np.random.default_rng(0).multinomial(
        len(pairs), np.full(len(pairs), 1 / len(pairs)), size=DRAWS
    )
    sums = counts @ pairs
    low, high = np.percentile(np.sqrt(sums[:, 0] / sums[:, 1]), [2.5, 97.5])
    total = pairs.sum(0)
    return math.sqrt(total[0] / total[1]), float(low), float(high)


def table(task: str, lines: Mapping[str, list[Row]]) -> str:
    """The table of a task, in Markdown."""
    several = {f"{BASE}, mean of the samples": lines[BASE]} if values(lines[BASE], "spread") else {}
    shown = {**lines, **several}
    names = {label: "mean " if label in several else "" for label in shown}
    base = values(lines[BASE], "psnr")
    gaps: dict[str, Difference] = {}
    for label, rows in shown.items():
        gap = difference(values(rows, f"{names[label]}psnr"), base)
        if label != BASE and gap is not None:
            gaps[label] = gap
    gaps = dict(zip(gaps, holm(list(gaps.values())), strict=True))
    count = len(lines[BASE])
    out = [
        f"**{task}**, {count} images",
        "",
        f"| line | PSNR | minus {BASE} | SSIM | perceptual | chi2 | calibration | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label, rows in shown.items():
        before = names[label]
        found = values(rows, f"{before}psnr")
        cells = [label, f"{mean_interval(list(found.values())).mean:.2f}" if found else ""]
        cells.append(said(gaps[label]) if label in gaps else "")
        for name, digits in (("ssim", 3), ("perceptual", 3), ("chi2", 2)):
            one = {} if before and name == "chi2" else values(rows, f"{before}{name}")
            cells.append(f"{np.mean(list(one.values())):.{digits}f}" if one else "")
        fit = None if before else ratio(rows)
        cells.append("" if fit is None else "{:.2f} [{:.2f}, {:.2f}]".format(*fit))
        seconds = float(np.mean([row.cost["seconds"] for row in rows]))
        cells.append(f"{seconds:.3f}" if not before else "all samples'")
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out)


def said(gap: Difference) -> str:
    """A difference with its interval, bold where it is shown."""
    text = f"{gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
    return f"**{text}**" if gap.verdict in ("better", "worse") else text
