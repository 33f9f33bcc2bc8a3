"""The site's pages and notebooks: their code runs as written and prints what they say."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import run_pages
from paths import ROOT

from aps_text.cli import build_parser

PAGES = [ROOT / "docs" / "getting_started.md", *sorted((ROOT / "docs" / "tasks").glob("*.md"))]
BOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MEND = "if the page is out of date: python docs/run_pages.py "


@pytest.mark.slow
@pytest.mark.parametrize("path", [*PAGES, *BOOKS], ids=lambda path: path.name)
def test_code_prints_what_the_page_says(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done, _ = run_pages.run(path)
    said = [one for one in done if one.stated is not None]
    assert said
    for one in said:
        assert run_pages.alike(one.stated, one.printed), (
            f"{one.code}\nsays:\n{one.stated}\nprinted:\n{one.printed}\n{MEND}{path}"
        )


def test_commands_that_are_only_shown_are_understood():
    shown = [
        re.split(r" [<>|] ", line)[0]  # without what the shell does with it
        for path in PAGES
        for line in re.findall(r"^\$ aps (.*)$", path.read_text(), re.M)
    ]
    assert len(shown) >= 4
    for line in shown:
        if line.startswith("--print-completion "):  # prints and ends
            with pytest.raises(SystemExit, match=r"^0$"):
                build_parser().parse_args(shlex.split(line)[:2])
        else:
            assert callable(build_parser().parse_args(shlex.split(line)).run)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.name)
def test_notebooks_open_in_jupyter(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids) >= 6
    for cell in book["cells"]:
        keys = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            keys |= {"execution_count", "outputs"}
        assert set(cell) == keys
    assert book["cells"][0]["source"][0].startswith("# ")


def test_a_page_that_says_something_else_is_noticed(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    text = "```python\nprint('score', 1.23)\n```\n\n```text\n{}\n```\n\nand\n\n```text\nx\n```\n"
    monkeypatch.chdir(tmp_path)
    for stated, right in (("score 1.23", True), ("score 1.24", True), ("score 1.26", False)):
        page.write_text(text.format(stated), encoding="utf-8")
        [one], kept = run_pages.run(page)
        assert run_pages.same(one.stated, one.printed) is right
        assert kept == text.format("score 1.23")
    for other, right in (("the total is 2.0", True), ("it costs 2.0", False), ("a\nb", False)):
        assert run_pages.alike("the total is 1.0", other) is right
    assert not run_pages.same("kl 0.01", "kl 0.06")
    assert not run_pages.same("a 1.0", "b 1.0")
    assert not run_pages.same("1.0 2.0", "1.0")


def test_a_command_that_fails_and_code_that_raises_are_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```sh\naps plan --model no-such-model\n```\n", encoding="utf-8")
    with pytest.raises((RuntimeError, SystemExit)):
        run_pages.run(page)
    page.write_text("```sh\npip install nothing\n```\n```python\nraise KeyError\n```\n")
    with pytest.raises(KeyError):
        run_pages.run(page)
