"""docs/models.md: its example runs as written, and its table is the table in the code."""

from __future__ import annotations

import re
import shlex

import torch
from paths import ROOT
from tiny import tiny_text_model

from aps_text.cli import build_parser
from aps_text.models.registry import LAYOUTS
from aps_text.verification.suite import verify

TEXT = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_example_runs_and_can_be_steered():
    names: dict[str, object] = {"__name__": "example"}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    assert len(blocks) == 3
    with torch.random.fork_rng(devices=[]):
        for block in blocks:
            exec(compile(block, "models.md", "exec"), names)
    pipe, answer = names["pipe"], names["answer"]
    assert len(answer.text) == 2
    assert answer.cost.denoiser_backwards > 0
    assert "[MASK]" not in " ".join(answer.text)
    assert names["report"].passed
    assert [c.name for c in names["report"].checks if c.status == "SKIP"] == ["shift"]
    questions = ["what is a violin ?"] * 24
    how = {"steps": 4, "beta": 0.1, "guidance_start": 0}
    steered = pipe(questions, reward=names["about_strings"], seeds=range(24), **how)
    plain = pipe.generate(questions, reward=names["about_strings"], steps=4, seeds=range(24))
    gain = sum(steered.rewards["total"]) - sum(plain.rewards["total"])
    assert gain > 12


def test_every_command_line_shown_is_understood():
    shown = re.findall(r"^\$ aps (.*)$", TEXT, flags=re.M)
    assert shown
    for line in shown:
        assert callable(build_parser().parse_args(shlex.split(line)).run)


def test_every_line_of_the_report_is_explained():
    table = TEXT.split("## Does it work")[1].split("## What is verified")[0]
    for check in verify(tiny_text_model(), tokens=4).checks:
        assert f"`{check.name}`" in table


def test_every_supported_layout_is_listed():
    table = TEXT.split("## Supported")[1].split("Not supported")[0]
    for kind in LAYOUTS:
        assert f"`{kind.removeprefix('a2d-')}`" in table, kind
    for file in set(re.findall(r"`(\w+\.py)`", table)):
        assert (ROOT / "aps_text" / "models" / file).is_file()
