"""What README and docs name is there: files, folders, modules, commands."""

from __future__ import annotations

import importlib
import importlib.util
import json
import posixpath
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "aps_text").rglob("README.md")) + sorted((ROOT / "rewards").rglob("*.md"))
OURS = r"(?:aps_text|rewards|eval|recipes|benchmarks|docs|examples|tests|\.ci)"
PATH = re.compile(rf"(?<![\w/.-]){OURS}/[\w./*-]*[\w*/]")
MODULE = re.compile(r"python (?:-m )?((?:recipes|aps_text|aps_eval|aps_rewards)[\w.]*)")
MADE = ("results/", "tests/fuzz/cases")
"""Made by a command, not kept."""


SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
MADE_PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "mini.md": "aps_text/weights/mini_text/README.md",
    "smol.md": "aps_text/weights/smol_text/README.md",
}
"""Pages of the site whose text is a file outside docs/ (docs/generated_pages.py)."""


def entries(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in entries(part)]


def made() -> set[str]:
    """Pages of the site that are no file in docs/."""
    return set(MADE_PAGES) | {
        page for page in entries(SITE["nav"]) if page.startswith("notebooks/")
    }


def target_of(page: Path, target: str) -> str:
    """A link of a page of the site, as a path in docs/."""
    return posixpath.normpath(posixpath.join(page.parent.relative_to(ROOT / "docs"), target))


def source_of(page: str) -> Path:
    if page.startswith("notebooks/"):
        return (ROOT / "docs" / page).with_suffix(".ipynb")
    return ROOT / MADE_PAGES.get(page, f"docs/{page}")


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


def test_the_tables_that_one_adds_to_are_in_the_files_named():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([A-Z_]+)` (?:in|of) `([\w/]+\.py)`", text)
    assert len(named) >= 10
    for table, file in named:
        code = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^{table}\b.* = ", code, re.M), table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_command_runs_are_there(page):
    for name in MODULE.findall(page.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(name) is not None, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (page.parent / target).exists() or target_of(page, target) in made(), target


def test_every_page_and_notebook_is_in_the_navigation_once():
    docs = ROOT / "docs"
    written = {str(path.relative_to(docs)) for path in docs.rglob("*.md")} | set(MADE_PAGES)
    written |= {str(path.relative_to(docs).with_suffix(".md")) for path in docs.rglob("*.ipynb")}
    listed = entries(SITE["nav"])
    assert sorted(listed) == sorted(written)
    assert all(source_of(page).is_file() for page in listed)


@pytest.mark.parametrize("page", entries(SITE["nav"]))
def test_a_page_has_one_title(page):
    source = source_of(page)
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    assert bare.startswith("# ")
    assert len(re.findall(r"^# ", bare, flags=re.M)) == 1


def test_all_that_is_public_is_in_the_reference():
    shown = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.md"))
    documented = set(re.findall(r"^::: ([\w.]+)$", shown, flags=re.M))
    for package in ("aps_text", "aps_rewards"):
        module = importlib.import_module(package)
        home = {
            name: f"aps_rewards.{name}" for name in importlib.import_module("aps_rewards").__all__
        }
        for name in set(module.__all__) - {"__version__"}:
            assert {f"{package}.{name}", home.get(name)} & documented, name
    for name in sorted(documented):
        module_name, rest = name, []
        while True:
            try:
                found = importlib.import_module(module_name)
                break
            except ModuleNotFoundError:
                module_name, _, last = module_name.rpartition(".")
                rest.insert(0, last)
        for part in rest:
            found = getattr(found, part)
        assert found is not None, name


def test_the_site_takes_nothing_from_the_net():
    assert SITE["theme"]["font"] is False
    assert "offline" in SITE["plugins"]
    assert SITE["extra"]["polyfills"] == ["assets/iframe-worker.js"]
    for path in [*SITE["extra"]["polyfills"], *SITE["extra_css"]]:
        text = (ROOT / "docs" / path).read_text(encoding="utf-8")
        assert "http://" not in text
        assert "https://" not in text
