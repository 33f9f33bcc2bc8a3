"""docs/formulas.md names functions that exist."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from paths import ROOT

TEXT = (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:core|methods|models|images|text|pipelines)\.[\w.]+)`", TEXT)))


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_is_there(name):
    parts = ["aps_text", *name.split(".")]
    module, rest = import_module(".".join(parts[:3])), parts[3:]
    found = module
    for part in rest:
        found = getattr(found, part)
    assert found.__doc__


def test_every_row_has_a_source():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 25
    assert all(row.count("|") == 4 and row.split("|")[3].strip() for row in rows)
