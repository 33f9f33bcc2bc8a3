"""`aps ask --method NAME --method-option NAME=VALUE`, on a tiny random model."""

from __future__ import annotations

import json

import pytest
from tiny import write_tiny

from aps_text.cli import main

SMALL = ["--steps", "3", "--max-new-tokens", "6", "--preset", "fast", "--reward", "sentiment"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model"))


def ask(folder, method, *options):
    given = [word for option in options for word in ("--method-option", option)]
    return main(["ask", "who?", "--method", method, *given, "--model", folder, *SMALL, "--json"])


def cost(capsys):
    found = json.loads(capsys.readouterr().out)
    return found["cost"], found["plain"]["cost"]


@pytest.mark.parametrize(
    ("method", "options", "factor"),
    [
        ("best-of-n", ["samples=5"], 5),
        ("fk", ["particles=3", "potential=max", "every=1"], 3),
        ("fk", ["particles=2", "best-of=2"], 4),
        ("plain", ["best_of=3"], 3),
    ],
)
def test_a_method_option_reaches_the_method(folder, capsys, method, options, factor):
    assert ask(folder, method, *options) == 0
    if method == "plain":  # is shown alone
        spent = json.loads(capsys.readouterr().out)["cost"]["denoiser_forwards"]
        assert ask(folder, method) == 0
        plain = json.loads(capsys.readouterr().out)["cost"]["denoiser_forwards"]
    else:
        spent, plain = (one["denoiser_forwards"] for one in cost(capsys))
    # Rows that end early cost less, so a random model's particles cost nearly k times as much.
    assert factor - 1 < spent / plain <= factor + 1
    assert spent != plain


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        ("fk", "k=3", "method 'fk' has no setting 'k'; it has: particles"),
        ("fk", "particles", "a method option is NAME=VALUE, got 'particles'"),
        ("fk", "particles=many", "particles is an integer, got 'many'"),
        ("svdd", "candidates=0", "candidates must be >= 1, got 0"),
        ("plain", "particles=2", "method 'plain' has no setting 'particles'"),
        ("fkk", "particles=2", "got 'fkk'"),
    ],
)
def test_a_bad_method_option_is_one_clear_line(folder, capsys, method, option, message):
    assert ask(folder, method, option) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
