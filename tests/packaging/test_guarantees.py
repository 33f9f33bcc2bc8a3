"""Every test that docs/guarantees.md names is there."""

from __future__ import annotations

import re

from paths import ROOT


def test_each_guarantee_names_a_test_that_exists():
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    named, file = [], ""
    for reference in re.findall(r"`((?:tests/[\w/]+(?:\.py)?)?(?:::\w+)?)`", page):
        place, _, test = reference.partition("::")
        file = place or file
        assert (ROOT / file).exists(), file
        if test:
            source = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"def {test}\b", source), f"{file}::{test}"
            named.append(test)
    assert len(named) > 15
