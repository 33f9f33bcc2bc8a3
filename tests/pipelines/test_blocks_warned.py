"""Calls whose blocks leave settings without effect, or tokens that do not see each other."""

from __future__ import annotations

import logging

import pytest
from tiny import tiny_text_model

from aps_text import APSPipeline

QUESTION = "what is a violin ?"


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model())


def logged(pipe, caplog, **options):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "aps_text"):
        pipe.generate(QUESTION, progress=False, max_new_tokens=6, **options)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    "stated", [{"alg": "entropy"}, {"threshold": 0.9}, {"alg_temp": 0.5}, {"remasking": "standard"}]
)
def test_orders_of_blocks_of_one_token_are_warned_of(pipe, caplog, stated):
    (name, value), same = *stated.items(), {"steps": 6, "seed": 3}
    plain = pipe.generate(QUESTION, progress=False, max_new_tokens=6, block_length=1, **same)
    found = logged(pipe, caplog, block_length=1, **same, **stated)
    assert [f"{name}={value!r}: without effect" in line for line in found] == [True]
    other = pipe.generate(
        QUESTION, progress=False, max_new_tokens=6, block_length=1, **same, **stated
    )
    assert other.token_ids == plain.token_ids  # as the warning says
    assert not logged(pipe, caplog, block_length=2, **same, **stated)
    assert not logged(pipe, caplog, block_length=1, **same)
    assert not logged(pipe, caplog, block_length=1, remask=True, **same, **stated)


def test_blocks_that_share_a_step_are_warned_of(pipe, caplog):
    (line,) = logged(pipe, caplog, block_length=2, steps=2)
    assert line.startswith("3 blocks of block_length=2 in steps=2")
    assert "with steps=3 each has its own" in line
    assert not logged(pipe, caplog, block_length=2, steps=3)
