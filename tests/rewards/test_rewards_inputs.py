"""Values of another kind than a reward expects: references, options, ranges, timeouts."""

from __future__ import annotations

import json
import math

import pytest
from aps_rewards import (
    Clipped,
    Minimum,
    RewardError,
    Threshold,
    WeightedSum,
    call_reward,
    describe,
    load_reward,
)

from aps_text.cli import main


def test_a_reference_may_be_a_number():
    reward = load_reward("exact-match")
    rows = ["q"] * 3, ["5", "it is 2.5", "7"]
    columns = {"reference": [5, 2.5, [6, 7]]}
    assert call_reward(reward, *rows, columns=columns) == [1.0, pytest.approx(1 / 3), 1.0]
    assert call_reward(load_reward("exact-match", reference=5), ["q"], ["5"]) == [1.0]
    for none in (None, math.nan, []):
        with pytest.raises(RewardError, match="got no reference for 'q'"):
            call_reward(reward, ["q"], ["5"], columns={"reference": [none]})
    with pytest.raises(RewardError, match="is a text or a list of texts, got <object"):
        call_reward(reward, ["q"], ["5"], columns={"reference": [object()]})


def test_keywords_that_are_no_list_name_the_column_the_row_and_the_mend():
    reward = load_reward("keywords")
    wrong = r"prompt 1 .*got 5 in the column 'present'; write \['5'\]"
    with pytest.raises(RewardError, match=wrong):
        call_reward(reward, ["q"] * 2, ["a", "b"], columns={"present": [["a"], 5]})
    with pytest.raises(TypeError, match="got 'a' in the option absent; write"):
        load_reward("keywords", absent="a")
    columns = {"present": [["a"], math.nan, ("b",)], "absent": [None, ["c"], ""]}
    assert call_reward(reward, ["q"] * 3, ["a", "b", "c"], columns=columns) == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, "5"])
def test_a_timeout_is_above_0(timeout):
    with pytest.raises(ValueError, match=r"timeout is a number of seconds above 0, .*; got "):
        call_reward(load_reward("length"), ["q"], ["a"], timeout=timeout)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("length:high=abc", r"'length': the option high is a number \(int\), got 'abc'"),
        ("length:high=true", "the option high is a number"),
        ("numeric-match:tolerance=nan", "'numeric-match': the option tolerance is a number"),
        ("json-schema:schema=5", "a JSON schema is an object, or true or false, got 5"),
    ],
)
def test_an_option_of_another_kind_is_named(spec, message):
    with pytest.raises((TypeError, ValueError), match=message):
        load_reward(spec)


class Odd:
    """A reward whose range is none."""

    range: object = (0, 1, 2)

    def __call__(self, completions, **kwargs):
        return [0.5 for _ in completions]


@pytest.mark.parametrize("ends", [(0, 1, 2), None, "ab", (0, math.nan), 3])
def test_a_range_of_another_form_is_any_number(ends):
    reward = Odd()
    reward.range = ends
    assert describe(reward).range == (-math.inf, math.inf)
    for made in (WeightedSum([(reward, 1.0)]), Clipped(reward), Minimum(reward)):
        assert made.range == (-math.inf, math.inf)
        assert call_reward(made, ["q"], ["a"]) == [0.5]
    assert call_reward(Threshold(reward, at=0.1), ["q"], ["a"]) == [1.0]


def test_a_range_that_raises_is_named():
    class Raises(Odd):
        @property
        def range(self):
            raise KeyError("x")

    with pytest.raises(RewardError, match="'Raises' raised in range: KeyError"):
        describe(Raises())


def test_what_a_reward_does_not_apply_to_is_none_and_last(tmp_path, capsys):
    (tmp_path / "r.py").write_text(
        "def r(prompts, completions, **kwargs):\n"
        "    return [None if 'bad' in text else -float(len(text)) for text in completions]\n"
        "class Odd:\n    range = (0, 1, 2)\n"
        "    def __call__(self, completions, **kwargs): return [0.5 for _ in completions]\n"
    )
    tried = ["rewards", "try", f"{tmp_path}/r.py:r", "q", "bad a", "good"]
    assert main(tried) == 0
    assert capsys.readouterr().out.splitlines()[1:3] == ["    -4.0000  good", "       none  bad a"]
    assert main([*tried, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [one["score"] for one in answers] == [None, -4.0]
    assert main(["rewards", "try", f"{tmp_path}/r.py:Odd", "q", "a"]) == 0
    assert "any number" in capsys.readouterr().out


def test_whole_numbers_of_a_column_with_a_gap_are_references():
    """Such a column comes from a table as floats: 42 as 42.0, the gap as NaN."""
    exact = load_reward("exact-match")
    for gold in (42, 42.0, [42.0, "no"]):
        assert exact(["q"], ["42"], reference=[gold]) == [1.0]
    assert exact(["q"], ["2.5"], reference=[2.5]) == [1.0]
