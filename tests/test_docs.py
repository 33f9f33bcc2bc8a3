"""What README and docs name is there: files, folders, modules, commands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "aps_text").rglob("README.md")) + sorted((ROOT / "rewards").rglob("*.md"))
OURS = r"(?:aps_text|rewards|eval|recipes|benchmarks|docs|examples|tests|\.ci)"
PATH = re.compile(rf"(?<![\w/.-]){OURS}/[\w./*-]*[\w*/]")
MODULE = re.compile(r"python (?:-m )?((?:recipes|aps_text|aps_eval|aps_rewards)[\w.]*)")
MADE = ("results/", "tests/fuzz/cases")
"""Made by a command, not kept."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    gone = []
    for found in PATH.findall(text):
        if (
            "NAME" not in found
            and not found.startswith(MADE)
            and not list(ROOT.glob(found.rstrip("/")))
        ):
            gone.append(found)
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_command_runs_are_there(page):
    for name in MODULE.findall(page.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(name) is not None, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target
