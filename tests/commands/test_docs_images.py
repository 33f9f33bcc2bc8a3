"""docs/images.md: its Python runs on a tiny image model, its commands parse."""

from __future__ import annotations

import re
import shlex

import pytest
import torch
from paths import ROOT
from test_image_model import write

from aps_text.cli import build_parser
from aps_text.images.style_statistics import STATISTICS
from aps_text.images.tasks import TASKS

TEXT = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^aps .*$", TEXT, flags=re.MULTILINE)


def test_its_python_runs(tmp_path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL))
    assert code.count("pipe.") >= 4
    images = torch.zeros(2, 1, 16, 16)
    mask = torch.eye(16)
    names = {"images": images, "reference": images[:1], "image": images[:1], "mask": mask}
    exec(code.replace("mini-garments", str(write(tmp_path / "m"))), names)
    assert names["restored"].images.shape == (2, 4, 1, 16, 16)
    assert names["painted"].images.shape == names["edited"].images.shape == (4, 1, 16, 16)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_parse(command):
    args = build_parser().parse_args(shlex.split(command, comments=True)[1:])
    assert args.run.__name__ in ("restore_command", "paint_command")


def test_every_task_and_statistic_is_there():
    assert len(COMMANDS) >= 8
    named = set(re.findall(r"`([\w-]+)`", TEXT))
    assert set(TASKS) | set(STATISTICS) <= named
