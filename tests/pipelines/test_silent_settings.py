"""A call tells of settings and given text that would be passed over without a word."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from tiny import tiny_text_model

from aps_text import APSConfig, APSPipeline

QUESTION = "what is a violin ?"
BROUGHT = {"canvas": 6, "steps": 5, "presets": {"fast": {"pool_size": 3, "pool_interval": 2}}}


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(replace(tiny_text_model(), settings=BROUGHT))


def logged(pipe, caplog, config):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "aps_text"):
        pipe(QUESTION, reward="length", progress=False, config=config)
    return [line for line in caplog.messages if "states every setting" in line]


def test_a_config_of_the_library_alone_is_told_of(pipe, caplog):
    (line,) = logged(pipe, caplog, APSConfig.make("fast", steps=3, max_new_tokens=6))
    assert "pool_interval=2, pool_size=3, steps=5" in line
    assert "answer.config.save" in line


def test_the_config_of_an_answer_is_not(pipe, caplog):
    for options in ({"preset": "fast"}, {"preset": "fast", "steps": 3}, {"inner_steps": 1}):
        out = pipe(QUESTION, reward="length", progress=False, max_new_tokens=6, **options)
        assert not logged(pipe, caplog, out.config)
        assert not logged(pipe, caplog, APSConfig.from_json(out.config.to_json()))
    longer = pipe(QUESTION, reward="length", progress=False, max_new_tokens=12)
    assert not logged(pipe, caplog, longer.config)


def test_a_model_that_brings_nothing_tells_nothing(caplog):
    plain = APSPipeline(tiny_text_model())
    assert not logged(plain, caplog, APSConfig.make("fast", steps=3, max_new_tokens=6))


def test_given_text_that_the_tokenizer_cannot_hold_is_told_of(pipe, caplog):
    with caplog.at_level(logging.WARNING, "aps_text"):
        pipe.generate(QUESTION, start={"prefix": "a violin"}, max_new_tokens=6, progress=False)
        assert not [line for line in caplog.messages if "given text" in line]
        pipe.generate(QUESTION, start={"prefix": "a 🎻"}, max_new_tokens=6, progress=False)
    assert [line for line in caplog.messages if "the given text 'a 🎻' is" in line]
