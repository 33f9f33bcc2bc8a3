"""docs/image_models.md: its Python runs on tiny checkpoints, commands parse, named tests exist."""

from __future__ import annotations

import re
import shlex

import pytest
import torch
from checkpoints_amused import write_amused
from checkpoints_mmada import write_magvit, write_mmada
from paths import ROOT

from aps_text import APSConfig
from aps_text.cli import build_parser
from aps_text.planning.image_shapes import IMAGE_SHAPES
from aps_text.planning.images import ImageCall, plan_images

TEXT = (ROOT / "docs" / "image_models.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    aps (.*)$", TEXT.replace("\\\n", " "), flags=re.MULTILINE)


def test_its_python_runs(tmp_path):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    names = {
        "Gen-Verse/MMaDA-8B-MixCoT": write_mmada(tmp_path / "mmada"),
        "showlab/magvitv2": write_magvit(tmp_path / "magvitv2"),
        "amused/amused-256": write_amused(tmp_path / "amused"),
    }
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        for name, folder in names.items():
            code = code.replace(name, folder.as_posix())
        code = code.replace('device="cuda", dtype="bfloat16"', 'device="cpu", dtype="float32"')
        code = code.replace("cfg_scale=", "steps=1, inner_steps=1, cfg_scale=")
        known = {"images": torch.zeros(1, 3, 64, 64)}
        exec("from aps_text import RestorationPipeline\n" + code, known)
        assert known["restored"].images.shape == (1, 1, 3, 64, 64)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_parse(command):
    args = build_parser().parse_args(shlex.split(command))
    assert args.run.__name__ in ("restore_command", "verify_command")


def test_every_test_it_names_is_there():
    assert len(COMMANDS) >= 4
    known = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        known |= set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 40
    assert named <= known
    files = re.findall(r"`(tests/[\w/]+\.py)`", TEXT)
    assert files
    assert all((ROOT / file).is_file() for file in files)


def test_figures_of_memory_are_those_that_are_planned():
    config = APSConfig("restore", steps=15)
    assert config.model.cfg_scale == 0  # guidance is off where nothing is said
    for name, joined in (("mmada-8b", ","), ("amused-512", " and")):
        small, wide = (IMAGE_SHAPES[name].decoder.kept(side, None) / 2**30 for side in (256, 512))
        assert f"holds {small:.1f} GiB at 256 pixels{joined} {wide:.1f} at 512" in TEXT
        found = plan_images(ImageCall(shape=IMAGE_SHAPES[name], side=512, config=config))
        assert f"planned are {found.memory['distributions'] / 2**20:.0f} MiB at 512 pixels" in TEXT
