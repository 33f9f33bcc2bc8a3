"""The hooks of the documentation site: its links, notebooks, docstrings and tables."""

from __future__ import annotations

import json
import re

import pytest
from paths import ROOT
from test_docs import MADE_PAGES

pytest.importorskip("mkdocs")
griffe = pytest.importorskip("griffe")

from generated_pages import (  # noqa: E402 (needs mkdocs)
    ELSEWHERE,
    ListedSections,
    linked,
    notebook_page,
    on_page_content,
)

KNOWN = {"index.md", "rewards.md", "tasks/settings.md", "mini.md", "figures/a.svg"}
KNOWN |= {"notebooks/a.md", "notebooks/a.ipynb"}


def test_the_pages_made_of_other_files_are_those_of_the_navigation():
    assert {made: source for source, made in ELSEWHERE.items()} == MADE_PAGES


@pytest.mark.parametrize(
    ("text", "source", "here", "expected"),
    [
        ("[a](docs/rewards.md#use)", "README.md", "index.md", "[a](rewards.md#use)"),
        ("![a](docs/figures/a.svg)", "README.md", "index.md", "![a](figures/a.svg)"),
        ("see `docs/rewards.md`", "README.md", "index.md", "see [`docs/rewards.md`](rewards.md)"),
        ("[r](../rewards.md)", "docs/tasks/settings.md", "tasks/settings.md", "[r](../rewards.md)"),
        ("[r](../README.md)", "docs/rewards.md", "rewards.md", "[r](index.md)"),
        ("[l](../LICENSE)", "docs/rewards.md", "rewards.md", "l (`../LICENSE`)"),
        ("[x](https://a.b/c)", "README.md", "index.md", "[x](https://a.b/c)"),
        ("`docs/rewards.md`", "docs/rewards.md", "rewards.md", "`docs/rewards.md`"),
        ("[n](notebooks/a.ipynb)", "docs/one.md", "one.md", "[n](notebooks/a.md)"),
        ("[n](../notebooks/a.ipynb)", "docs/tasks/b.md", "tasks/b.md", "[n](../notebooks/a.md)"),
        ("[file](a.ipynb)", "docs/notebooks/a.md", "notebooks/a.md", "[file](a.ipynb)"),
        ("`docs/none.md`, [`x`](#y)", "README.md", "index.md", "`docs/none.md`, [`x`](#y)"),
        (
            "`aps_text/weights/mini_text/README.md`",
            "docs/tasks/settings.md",
            "tasks/settings.md",
            "[`aps_text/weights/mini_text/README.md`](../mini.md)",
        ),
    ],
)
def test_links_lead_to_pages_of_the_site_or_become_names(text, source, here, expected):
    assert linked(text, source, here, KNOWN) == expected


def test_a_notebook_page_has_its_texts_code_and_outputs():
    path = ROOT / "docs" / "notebooks" / "steer_and_watch.ipynb"
    book = json.loads(path.read_text(encoding="utf-8"))
    page = notebook_page(book, path.name)
    assert page.startswith("# Steer an answer")
    assert f"]({path.name})" in page
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert page.count("```python\n") == len(code)
    assert page.count("```text\n") == sum(bool(cell["outputs"]) for cell in code) > 2


def test_sections_of_a_docstring_become_lists_and_nothing_is_taken_for_a_tag():
    text = (
        "First.\n\nArgs:\n    a: kept <b> and `<c>`.\n\n"
        "Objective (with `x: y`):\n    beta: one\n        and two.\n    m, n: three.\n\n"
        "Other words:\n    Not a list.\n"
    )
    made = griffe.Class("C", docstring=griffe.Docstring(text))
    ListedSections().on_object(obj=made)
    value = made.docstring.value
    assert "Args:\n    a: kept &lt;b> and `<c>`." in value
    assert (
        "\n**Objective (with `x: y`)**\n\n- `beta`: one\n        and two.\n- `m`, `n`: three."
        in value
    )
    assert "Other words:\n    Not a list." in value


def test_every_setting_is_listed_under_a_title():
    from aps_text.core.config import SETTINGS, APSConfig

    made = griffe.Class("APSConfig", docstring=griffe.Docstring(APSConfig.__doc__ or ""))
    ListedSections().on_object(obj=made)
    spans = re.findall(r"^ *- (`.*?`):", made.docstring.value, flags=re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(spans))) == set(SETTINGS)


def test_long_code_in_a_table_may_be_broken_and_other_code_not():
    name = "tests/core/test_noise.py::test_the_global"
    html = f"<p><code>{name}</code></p><td><code>short_one</code> <code>{name}</code></td>"
    made = on_page_content(html, None, None, None)
    assert made.startswith(f"<p><code>{name}</code></p><td><code>short_one</code>")
    assert made.count("<wbr>") == 7
    assert re.sub(r"<wbr>| class=\"long\"", "", made) == html
