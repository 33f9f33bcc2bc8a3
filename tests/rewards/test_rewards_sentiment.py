from __future__ import annotations

import sys

import pytest
from aps_rewards import call_reward, load_reward
from aps_rewards.sentiment import Sentiment


def test_order_range_and_neutral():
    sentiment = load_reward("sentiment")
    texts = ["a horrible, sad failure", "a stone", "", "a wonderful, happy success"]
    worst, neutral, empty, best = call_reward(sentiment, [""] * 4, texts)
    assert -1 <= worst < 0 < best <= 1
    assert neutral == empty == 0


def test_messages_score_like_their_text():
    chat = [[{"role": "assistant", "content": "a wonderful day"}]]
    assert Sentiment()(["q"], chat) == Sentiment()(["q"], ["a wonderful day"])


def test_missing_package_gives_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(ModuleNotFoundError, match="pip install vaderSentiment"):
        Sentiment()
