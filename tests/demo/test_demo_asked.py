"""What a page may ask for, and that nothing it sends is trusted."""

from __future__ import annotations

import json

import pytest

from aps_text.core.config import APSConfig
from aps_text.demo.asked import FORMAT, as_asked, compiled, read_asked, usable

KNOWN = ("length", "keywords", "pattern", "sentiment", "answer-quality")


def asked(*rewards, **given):
    return as_asked(given.pop("question", "why ?"), rewards, known=KNOWN, **given)


def test_the_form_becomes_a_call():
    found = asked(
        ("length", 2, ""),
        ("keywords", "0.5", "present=apple,pear:absent=a"),
        ("", 1, ""),
        preset="fast",
        beta="0.2",
        seed=3.0,
        settings={"steps": 5, "max_new_tokens": None},
    )
    assert found.rewards == (("length", 2.0), ("keywords:present=apple,pear:absent=a", 0.5))
    assert found.spec() == ["length=2.0", "keywords:present=apple,pear:absent=a=0.5"]
    assert found.config() == APSConfig.make("fast", beta=0.2, seed=3, steps=5)
    assert found.steers


def test_a_models_own_settings_stand_behind_those_of_the_form():
    own = {"steps": 6, "presets": {"fast": {"pool_size": 3}}}
    assert asked(preset="fast").config(own) == APSConfig.make("fast", steps=6, pool_size=3)
    assert asked(preset="balanced").config(own) == APSConfig.make("balanced", steps=6)
    typed = asked(preset="fast", settings={"steps": 4})
    assert typed.config(own) == APSConfig.make("fast", steps=4, pool_size=3)


def test_a_reward_of_weight_0_does_not_steer():
    assert not asked(("length", 0, "")).steers
    assert not asked().steers
    assert asked().spec() is None


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([("os:system", 1, "")], "'os:system' is no installed reward"),
        ([("rewards.py:mine", 1, "")], "is no installed reward"),
        ([("gpt2", 1, "")], "is no installed reward"),
        ([(["length"], 1, "")], "is no installed reward"),
        ([("answer-quality", 1, "weights=/etc")], "option weights of answer-quality cannot be"),
        ([("answer-quality", 1, "trust_remote_code=1")], "option trust_remote_code of answer-qual"),
        ([("answer-quality", 1, "device=cuda")], "option device of answer-quality cannot be"),
        ([("keywords", 1, "apple")], "options of keywords are NAME=VALUE"),
        ([("length", 1, ""), ("length", 2, "")], "given twice"),
        ([("length", "much", "")], "the weight of length is a number, got 'much'"),
        ([("length", float("nan"), "")], "finite"),
    ],
)
def test_only_installed_rewards_with_options_of_their_own(rewards, message):
    with pytest.raises(ValueError, match=message):
        asked(*rewards)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"question": "  "}, "empty"),
        ({"question": None}, "empty"),
        ({"preset": "restore"}, "preset is one of fast, balanced, paper"),
        ({"beta": "-1"}, "beta"),
        ({"beta": "x"}, "beta is a number"),
        ({"seed": 1.5}, "seed is a whole number"),
        ({"seed": -1}, "seed is a whole number"),
        ({"settings": {"steps": 0}}, "steps"),
        ({"settings": {"nosuch": 1}}, "nosuch"),
        ({"function": "def f(p, c): return [0]"}, "--trust-code"),
    ],
)
def test_what_cannot_be_asked_is_named(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        asked(**given)


def test_a_run_s_json_asks_the_same_again():
    first = asked(
        ("keywords", 0.5, "present=apple,pear"), ("length", 0, ""), beta=0.3, seed=7,
        settings={"steps": 4},
    )  # fmt: skip
    text = json.dumps({"format": FORMAT, "asked": first.as_dict()})
    assert read_asked(text, known=KNOWN, trust_code=False) == first


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"asked": 3}', '{"asked": {"question": "why ?"}}', "[" * 100_000,
     '{"asked": {"question": "why ?", "rewards": [1]}}'],
)  # fmt: skip
def test_what_is_no_run_is_refused(text):
    with pytest.raises(ValueError, match="this is no run of this page"):
        read_asked(text, known=KNOWN, trust_code=False)


def test_a_shared_run_with_code_is_not_run_without_trust():
    first = asked(function="def f(prompts, completions): return [1.0]", trust_code=True)
    text = json.dumps({"asked": first.as_dict()})
    with pytest.raises(ValueError, match="--trust-code"):
        read_asked(text, known=KNOWN, trust_code=False)
    assert read_asked(text, known=KNOWN, trust_code=True) == first


def test_the_last_function_of_a_text_is_the_reward():
    source = "import math\nfrom os import getcwd\n\ndef one(p, c):\n    return [1.0]\n"
    mine = compiled(source + "def two(p, c):\n    return [math.sqrt(4)]\n")
    assert (mine.__name__, mine([], [])) == ("two", [2.0])
    with pytest.raises(ValueError, match="does not run: SyntaxError"):
        compiled("def f(:")
    with pytest.raises(ValueError, match="does not run: ZeroDivisionError"):
        compiled("1 / 0")
    with pytest.raises(ValueError, match="defines no function"):
        compiled("from os import getcwd\nx = 3")


def test_the_installed_rewards_say_what_they_measure():
    found = usable()
    assert all(isinstance(one.measures, str) and one.measures for one in found.values())
    assert found["keywords"].options[0] == "present"
    assert "weights" not in found["answer-quality"].options  # of the server
