"""`examples/wishes.py`: a row for each question, and the page that shows what it printed."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace

import pytest
from aps_rewards import load_reward, parse_reward_spec
from paths import ROOT
from tiny import tiny_text_model

from aps_text import APSPipeline

PAGE = ROOT / "docs/wishes.md"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("wishes", ROOT / "examples/wishes.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def test_a_row_for_each_question(script):
    pipe = APSPipeline(tiny_text_model())
    wish = replace(script.WISHES[0], reward="length:low=1:high=2")
    lines = script.table(pipe, wish, seed=0).splitlines()
    assert len(lines) == 2 + len(wish.questions)
    assert {line.count("|") for line in lines} == {6}
    for line, question in zip(lines[2:], wish.questions, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        plain, steered = (pipe.generate, pipe)
        how = {"reward": wish.reward, "seed": 0}
        assert cells[0] == question
        assert cells[1] == plain(question, **how).text[0].replace("\n", " / ")
        assert cells[3] == steered(question, **how).text[0].replace("\n", " / ")
        assert 0 <= float(cells[2]) <= 1


def test_every_reward_is_one(script):
    for wish in script.WISHES:
        name, _ = parse_reward_spec(wish.reward)
        assert load_reward(name)


def test_the_page_shows_all_of_them_in_order(script):
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^\| ([^|]+) \|.*\| -?\d+\.\d\d \|$", text, re.MULTILINE)
    assert shown == [question for wish in script.WISHES for question in wish.questions]
    places = [text.index(f"`{wish.reward}`") for wish in script.WISHES]
    assert places == sorted(places)
