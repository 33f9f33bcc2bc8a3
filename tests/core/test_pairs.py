"""NAME=VALUE texts of a command line."""

from __future__ import annotations

import pytest

from aps_text.core.pairs import read_pairs


def test_values_are_json_where_they_are_and_text_otherwise():
    texts = ["steps=8", "top-k=null", "name=a=b", "on=true", "word=[MASK]", "empty="]
    found = {"steps": 8, "top_k": None, "name": "a=b", "on": True, "word": "[MASK]", "empty": ""}
    assert read_pairs(texts, "a setting is") == found
    assert read_pairs(["top-k=1"], "a column is", dashes=False) == {"top-k": 1}


@pytest.mark.parametrize("text", ["steps", "=8", ""])
def test_another_form_is_refused_by_name(text):
    with pytest.raises(ValueError, match=f"--set takes NAME=VALUE, got {text!r}"):
        read_pairs([text], "--set takes")


@pytest.mark.parametrize("texts", [["steps=3", "steps=4"], ["a-b=1", "c=2", "a_b=1"]])
def test_a_name_given_twice_is_refused_even_with_one_value(texts):
    with pytest.raises(ValueError, match=r"is given twice: .* and .*; give it once"):
        read_pairs(texts, "--set takes")
