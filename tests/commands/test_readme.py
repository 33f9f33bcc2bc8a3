"""The README's Python runs as written, in order, in one process."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

ROOT = ROOT


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


@pytest.mark.slow
def test_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    found = blocks("python")
    assert len(found) >= 3
    for block in found:
        exec(compile(block, "README.md", "exec"), names)


def test_commands_name_what_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shell = "\n".join(blocks("sh"))
    for target in re.findall(r"^make (\w+)", shell, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    for script in re.findall(r"python (\S+\.py)", shell):
        assert (ROOT / script).is_file(), script
    assert "make ask" in shell
    assert "make test" in shell
