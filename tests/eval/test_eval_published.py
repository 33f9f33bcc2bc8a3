"""The published files themselves, where the variable APS_TEXT_DATA names the folder they lie in."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from aps_eval.extraction import extract
from aps_eval.items import Item
from aps_eval.measures import measure
from aps_eval.numeral import as_number
from aps_eval.sources import DATA_VARIABLE
from aps_eval.task import Task, load_task

SIZES = {  # as published: items, and those kept for the test
    "gsm8k": (1319, 1056),
    "svamp": (1000, 800),
    "bbh-boolean-expressions": (250, 200),
    "bbh-date-understanding": (250, 200),
    "bbh-navigate": (250, 200),
    "bbh-object-counting": (250, 200),
    "bbh-sports-understanding": (250, 200),
    "countdown": (1000, 800),
}


@pytest.fixture(params=SIZES)
def read(request) -> tuple[Task, list[Item]]:
    """A task and all of its test items."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{DATA_VARIABLE} names no folder with the published files")
    task = load_task(request.param)
    if not (Path(folder) / task.source["path"]).is_file():
        pytest.skip(f"{task.source['path']} is not below {DATA_VARIABLE}")
    return task, task.items("test")


def test_every_item_of_a_published_file_is_read(read):
    task, items = read
    whole, tested = SIZES[task.name]
    assert len(items) == tested
    assert len(task.items("tune")) == whole - tested
    for item in items:
        assert item.prompt == item.prompt.strip()
        assert "{" not in item.prompt
        assert ".." not in item.prompt.replace("...", "")
        assert all(item.gold)
        assert set(item.columns) == set(task.columns)


def test_every_gold_answer_in_a_sentence_is_found_right_and_another_wrong(read):
    task, items = read
    main = task.metrics[0]
    for item in items:
        gold = item.gold[0]
        if main == "solved":
            (made, value), (right, _) = (step.split("=") for step in gold.split(","))
            right = re.sub(rf"(?<!\d){re.escape(value)}(?!\d)", f"({made})", right, count=1)
            wrong = "+".join(item.columns["numbers"]) + "+1"
        else:
            right = f"First this, then that. The answer is {gold}."
            other = str(as_number(gold) + 1) if main == "numeric" else {"(A)": "(B)"}.get(gold)
            wrong = f"The answer is {other or _opposite(gold)}."
        found = [extract(task.extract, text, item.choices) for text in (right, wrong)]
        values = measure([main], [right, wrong], found, [item] * 2)
        assert [value[main] for value in values] == [1.0, 0.0], (item.prompt, right, found)


def _opposite(gold: str) -> str:
    pairs = [("yes", "no"), ("Yes", "No"), ("True", "False")]
    return {**dict(pairs), **{b: a for a, b in pairs}}.get(gold, "(A)")
