"""`aps rewards`, `aps rewards try`, and the controls of `aps ask`."""

from __future__ import annotations

import json

import pytest
from aps_rewards import list_rewards
from tiny import write_tiny

from aps_text.cli import main

SMALL = ["--steps", "3", "--max-new-tokens", "6", "--preset", "fast"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model"))


def test_every_installed_reward_is_listed(capsys):
    assert main(["rewards"]) == 0
    shown = capsys.readouterr().out
    for one in list_rewards():
        assert f"{one.name}: " in shown
    assert "relevance: closeness" in shown
    assert "-1 to 1, differentiable" in shown
    assert "-1 to 1, black box (steers by RLOO)" in shown
    assert "MIT (VADER lexicon)" in shown
    assert "options   present, absent" in shown
    assert main(["rewards", "--json"]) == 0
    records = {r["name"]: r for r in json.loads(capsys.readouterr().out)}
    assert records["relevance"]["differentiable"]
    assert records["sentiment"] == {
        "name": "sentiment",
        "from": "aps_rewards.sentiment:Sentiment",
        "measures": "positive against negative words (VADER lexicon)",
        "range": [-1.0, 1.0],
        "differentiable": False,
        "licence": "MIT (VADER lexicon)",
        "options": [],
    }


def test_a_broken_reward_is_listed_with_its_problem(tmp_path, monkeypatch, capsys):
    from test_rewards_loading import install

    install(tmp_path, monkeypatch, "lost = no_such_module_here:r")
    assert main(["rewards"]) == 0
    assert "lost: does not load: ModuleNotFoundError" in capsys.readouterr().out
    assert main(["rewards", "--json"]) == 0
    records = {r["name"]: r for r in json.loads(capsys.readouterr().out)}
    assert "no_such_module_here" in records["lost"]["problem"]


def test_try_scores_answers(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "def r(prompts, completions, wanted='?', *, scale=1, **columns):\n"
        "    if not isinstance(prompts[0], str):\n"
        "        completions = [c[0]['content'] for c in completions]\n"
        "    return [scale * float(w in c) for w, c in zip(wanted, completions)]\n"
    )
    spec = f"{tmp_path}/mine.py:r"
    args = ["rewards", "try", spec, "What?", "a fiddle", "a lion", "--column", "wanted=fiddle"]
    assert main([*args, "--option", "scale=2.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "r: not stated, any number"
    assert lines[1:] == ["     2.5000  a fiddle", "     0.0000  a lion"]
    assert main([*args, "--chat", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answers"] == [
        {"answer": "a fiddle", "score": 1.0},
        {"answer": "a lion", "score": 0.0},
    ]
    assert found["range"] == [None, None]


def test_try_shows_where_a_reward_does_not_apply(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "def r(prompts, completions, **columns):\n"
        "    return [-1.0 if c else None for c in completions]\n"
    )
    args = ["rewards", "try", f"{tmp_path}/mine.py:r", "What?", "", "a lion"]
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["    -1.0000  a lion", "       none  "]
    assert lines[3].startswith("none: the reward does not apply")
    assert main([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["score"] for one in found["answers"]] == [None, -1.0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["relevanse", "q", "a"], "Did you mean 'relevance'"),
        (["sentiment", "q", "a", "--column", "reference"], "--column is NAME=VALUE"),
        (["sentiment", "q", "a", "--option", "scale=1"], "no option 'scale'"),
        (["exact-match", "q", "a"], "give it as an option, 'exact-match:reference=...', or as a"),
        (["keywords", "q", "a"], "present or absent, e.g. 'keywords:present=king,queen', or"),
    ],
)
def test_try_errors(capsys, args, message):
    assert main(["rewards", "try", *args]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("aps: ")
    assert message in shown.err


@pytest.mark.parametrize(
    ("spec", "score"), [("exact-match:reference=a king", 1), ("keywords:present=king,queen", 0.5)]
)
def test_the_options_that_an_error_proposes_are_understood(capsys, spec, score):
    assert main(["rewards", "try", spec, "Who?", "a king"]) == 0
    assert f"{score:.4f}  a king" in capsys.readouterr().out


def test_ask_with_a_control_shows_a_third_answer(folder, capsys):
    question = ["ask", "what is a violin?", "--model", folder, *SMALL, "--reward", "sentiment"]
    assert main([*question, "--control", "zero", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["zero"]["text"] == found["plain"]["text"]
    assert found["zero"]["rewards"] == found["plain"]["rewards"]
    assert isinstance(found["warnings"], list)
    assert main([*question, "--control", "flipped"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("sentiment") >= 3
    assert "flipped: " in shown
    assert main([*question, "--control", "flipped", "--method", "plain"]) == 2
    assert "--control flipped needs a method that steers" in capsys.readouterr().err


def test_each_answer_has_its_own_warnings(folder, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "def mine(prompts, completions, **kw):\n"
        "    return [0.5 if p == 'flat ?' else float(sum(map(ord, c)) % 97)\n"
        "            for p, c in zip(prompts, completions)]\n"
    )
    asked = ["ask", "flat ?", "what is a violin?", "--model", folder, *SMALL]
    assert main([*asked, "--reward", f"{tmp_path}/mine.py:mine", "--json"]) == 0
    flat, other = (one["warnings"] for one in json.loads(capsys.readouterr().out))
    assert any("did not raise the reward (0.5, plain 0.5); try" in one for one in flat)
    assert any("never varied" in one for one in flat)
    assert not any("never varied" in one or "0.5, plain" in one for one in other)
    assert not any("2 answers" in one for one in [*flat, *other])


def test_ask_selects_and_warns(folder, tmp_path, capsys):
    (tmp_path / "flat.py").write_text(
        "def flat(completions, **kw):\n    return [1.0] * len(completions)\n"
    )
    question = ["ask", "what is a violin?", "--model", folder, *SMALL]
    question += ["--reward", f"{tmp_path}/flat.py:flat"]
    assert main(question) == 0
    shown = capsys.readouterr().out
    assert "warning: reward 'flat' never varied: it scored all" in shown
    assert f'differ: aps rewards try {tmp_path}/flat.py:flat "question" "answer"\n' in shown
    assert "call_reward" not in shown
    for method in ("best-of-n", "fk", "expectation"):
        assert main([*question, "--method", method]) == 0
        assert "warning: reward 'flat' never varied" in capsys.readouterr().out
    assert main([*question, "--method", "plain"]) == 0
    assert "varied" not in capsys.readouterr().out
    several = [*question, "--num-return-sequences", "3", "--temperature", "1", "--json"]
    assert main([*several, "--select", "sentiment"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert isinstance(one, dict)
    assert main(several) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_mistakes_of_a_reward_name_their_mend(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def one(completions, **kw): ...\n\n\ndef _two(): ...\n")
    for spec, mend in (
        (str(file), f"name a function of the file: {file}:one\n"),
        ("sentiment,valence", "separate them by spaces: --reward sentiment valence"),
        ("length:low=4,high=6", "options are separated by colons: low=4:high=6"),
    ):
        assert main(["rewards", "try", spec, "q", "a"]) == 2
        assert mend in capsys.readouterr().err


def test_a_forgotten_quotation_and_a_weighted_total_are_said(folder, capsys):
    words = ["ask", "what", "is", "--model", folder, *SMALL, "--reward"]
    assert main([*words, "length=-1"]) == 0
    shown = capsys.readouterr()
    assert "aps: 2 questions of one word: to ask one, quote it" in shown.err
    assert shown.out.count("(-1 x length)") == 4
    assert "peak memory" in shown.out
    assert main(["ask", "what is?", "--model", folder, *SMALL, "--reward", "length"]) == 0
    shown = capsys.readouterr()
    assert "quote it" not in shown.err
    assert "weighted" not in shown.out


def test_a_reward_that_does_not_apply_is_shown_as_none(folder, tmp_path, capsys):
    (tmp_path / "sometimes.py").write_text(
        "def dog(prompts, completions, **kwargs):\n"
        "    return [None if 'dog' in str(p) else -2.0 for p in prompts]\n"
    )
    reward = f"{tmp_path / 'sometimes.py'}:dog"
    base = [
        "ask",
        "What is a dog ?",
        "What is a cat ?",
        "--model",
        str(folder),
        "--method",
        "plain",
    ]
    assert main([*base, "--reward", reward, "--steps", "2", "--max-new-tokens", "4"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("dog none") == 1
    assert shown.count("dog -2.000") == 1
