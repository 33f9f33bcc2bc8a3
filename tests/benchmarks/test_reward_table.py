"""The benchmark of rewards: answers are kept by what they depend on; each reward has a place."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import entry_points

import pytest
from aps_eval.word_knowledge import Question
from aps_rewards import load_reward
from aps_rewards.loading import GROUP
from paths import ROOT
from tiny import tiny_text_model

from aps_text import APSConfig, APSPipeline

ITEMS = [
    Question(f"q{i}", "A", "kind", f"what is a {word} ?", ["x"], ["x"], word)
    for i, word in enumerate(["dog", "cat", "violin"])
]


@pytest.fixture(scope="module")
def table():
    folder = str(ROOT / "benchmarks")
    sys.path.append(folder)  # after the packages: a script's own folder comes first only when run
    yield importlib.import_module("reward_table")
    sys.path.remove(folder)


def test_every_reward_is_measured_or_left_out_with_a_reason(table):
    ours = {p.name for p in entry_points(group=GROUP) if p.value.startswith("aps_rewards.")}
    for name in ours & set(table.SETTINGS):
        setting = table.SETTINGS[name]
        columns = table.columns_of(name, ITEMS)
        scores = load_reward(name, **setting.options)(["q"] * 3, ["a dog"] * 3, **columns)
        assert len(scores) == 3
        assert list(setting.betas) == sorted(setting.betas, reverse=True)  # from the mildest
    assert set(table.SETTINGS) | set(table.LEFT_OUT) <= ours
    assert not set(table.SETTINGS) & set(table.LEFT_OUT)


def test_answers_are_kept_and_read_back(table, tmp_path):
    pipe = APSPipeline(tiny_text_model(), batch_size=2)
    config = APSConfig.make("fast", steps=2, inner_steps=1, max_new_tokens=4)
    file = tmp_path / "kept" / "rows.jsonl"
    reward = load_reward("length", low=2, high=3)
    first = table.Answers(pipe, "tiny", file)(ITEMS[:2], config, "length", reward)
    with file.open("a") as broken:
        broken.write('{"key": "cut o')  # a run that was killed
    again = table.Answers(pipe, "tiny", file)
    assert again(ITEMS[:2], config, "length", reward) == first
    three = again(ITEMS, config, "length", reward)
    assert three["text"][:2] == first["text"]
    together = table.Answers(pipe, "tiny", tmp_path / "other.jsonl")
    assert together(ITEMS, config, "length", reward)["text"] == three["text"]
    again(ITEMS, config.replace(beta=2 * config.sampler.beta), "length", reward)
    again(ITEMS, config)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["reward"] for row in rows] == ["length"] * 6 + ["plain"] * 3
    assert len({row["key"] for row in rows}) == 9
