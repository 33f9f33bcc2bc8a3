"""Rewards that check a constraint: solved, nearly solved, and how each is gamed."""

from __future__ import annotations

from fractions import Fraction

import pytest
from aps_rewards.countdown import Countdown, work_out
from aps_rewards.distinctness import Distinctness
from aps_rewards.json_schema import JsonSchema
from aps_rewards.keywords import Keywords
from aps_rewards.length import Length
from aps_rewards.match import ExactMatch, NumericMatch, last_number
from aps_rewards.pattern import Pattern
from aps_rewards.sudoku import Sudoku4
from hypothesis import given
from hypothesis import strategies as st


def one(reward, text: str) -> float:
    return reward([""], [text])[0]


class TestKeywords:
    def test_whole_words_and_phrases(self):
        reward = Keywords(["art", "stringed instrument"], ["lion", "piano"])
        assert one(reward, "ART: a stringed  Instrument, no lions") == 1
        assert one(reward, "the heart of a stringed lion") == 0.25
        assert one(reward, "instrument stringed art") == 0.75

    def test_columns_per_row(self):
        scores = Keywords()(["", ""], ["a b", "a b"], present=[["a"], ["c"]], absent=[None, ["b"]])
        assert scores == [1, 0]

    def test_it_is_gamed_by_a_list_and_by_silence(self):
        assert one(Keywords(["violin", "bow"]), "bow violin") == 1
        assert one(Keywords(absent=["lion"]), "") == 1

    def test_errors(self):
        with pytest.raises(TypeError, match=r"write \['violin'\]"):
            Keywords("violin")
        with pytest.raises(ValueError, match="a keyword holds a letter or digit"):
            Keywords(["?!"])
        with pytest.raises(ValueError, match="no words to look for"):
            Keywords()([""], ["x"], absent=[[]])


class TestLength:
    def test_the_window_and_its_slopes(self):
        reward = Length(4, 8)
        found = [one(reward, "word " * n) for n in (0, 2, 4, 8, 12, 16, 99)]
        assert found == [0, 0.5, 1, 1, 8 / 12, 0.5, 8 / 99]
        assert one(Length(1, 3, "characters"), "abc") == 1
        assert one(Length(0, 3), "") == 1
        with pytest.raises(ValueError, match=r"low=5, high=4 \(5 and 12 where not given\)"):
            Length(high=4)

    def test_it_is_gamed_by_padding(self):
        assert one(Length(5, 8), "very very very very very") == 1

    def test_errors(self):
        with pytest.raises(ValueError, match="0 <= low <= high"):
            Length(5, 4)
        with pytest.raises(ValueError, match="got 'tokens'"):
            Length(unit="tokens")


class TestDistinctness:
    def test_by_hand(self):
        # words 3/5, pairs 3/4, triples 3/3
        assert one(Distinctness(), "a b. A b, c") == pytest.approx((3 / 5 + 3 / 4 + 1) / 3)
        assert one(Distinctness((2,)), "a b a b") == pytest.approx(2 / 3)
        assert one(Distinctness(), "violin violin violin") == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)
        assert one(Distinctness(), "") == 0

    def test_it_is_gamed_by_a_single_word(self):
        good = "A violin is a stringed instrument played with a bow."
        assert one(Distinctness(), "Violin") == 1 > one(Distinctness(), good)

    def test_errors(self):
        with pytest.raises(ValueError, match="at least 1, got"):
            Distinctness((0,))


class TestPattern:
    def test_whole_and_part(self):
        whole = Pattern(r"\d+ cats")
        assert one(whole, " 12 cats ") == 1
        assert one(whole, "12 cats now") == pytest.approx(0.5 * 7 / 11)
        assert one(whole, "dogs") == 0
        assert one(Pattern(r"\d+ CATS", whole=False, ignore_case=True), "I saw 12 cats now") == 1
        assert one(Pattern(""), "") == 1

    def test_it_is_gamed_by_what_is_left_open(self):
        assert one(Pattern(r"Answer: .+"), "Answer: ?") == 1

    def test_errors(self):
        with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
            Pattern("(")


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class TestJsonSchema:
    def test_grades(self):
        reward = JsonSchema(PERSON)
        answers = ['{"name": "Ann", "age": 3}', '{"name": "Ann", "age": -3}', "{}", "[1]"]
        answers += ['{"name": "Ann", "age"', "Ann is 3", ""]
        scores = reward([""] * len(answers), answers)
        assert scores[:4] == [1, 0.75, 0.5 + 0.5 / 3, 0.75]
        assert 0.25 >= scores[4] > scores[5] == scores[6] == 0

    def test_it_is_gamed_by_the_smallest_document(self):
        assert one(JsonSchema({"type": "object"}), "{}") == 1
        assert one(JsonSchema(PERSON), '{"name": "", "age": 0}') == 1

    @pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "9" * 5000, '{"a": Infinity}'])
    def test_hostile_documents_score_and_do_not_raise(self, text):
        assert 0 <= one(JsonSchema(PERSON), text) <= 0.25

    def test_references_are_not_fetched(self):
        from referencing.exceptions import Unresolvable

        reward = JsonSchema({"$ref": "https://example.invalid/schema.json"})
        with pytest.raises(Unresolvable):
            one(reward, "{}")

    def test_errors(self):
        with pytest.raises(ValueError, match="is no JSON schema"):
            JsonSchema({"type": "thing"})


class TestMatch:
    def test_exact(self):
        reward = ExactMatch("A violin is an instrument.")
        assert one(reward, "violin is instrument") == 1
        assert one(reward, "An instrument violin is") == 0.5
        assert one(reward, "piano is instrument") == pytest.approx(0.5 * 2 / 3)
        assert one(reward, "") == one(reward, "dog") == 0
        assert one(ExactMatch(["x", "y"]), "Y!") == 1

    def test_the_graded_part_is_gamed_by_words_in_any_order(self):
        reward = ExactMatch("The dog bit the man.")
        assert one(reward, "man bit dog") == 0.5

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("It is 1,234.5.", 1234.5),
            ("from 3 to -4", -4),
            ("5-3", 3),
            (".5", 0.5),
            ("2e3", 2000),
            ("v1.2", None),
            ("none", None),
            ("1e999", None),
        ],
    )
    def test_last_number(self, text, number):
        assert last_number(text) == number

    def test_numeric(self):
        reward = NumericMatch(50)
        scores = reward([""] * 5, ["so 50", "so 50.00001", "40", "-500", "fifty"])
        assert scores == [1, 1, 0.5 / 1.2, 0.5 / 12, 0]
        assert NumericMatch()([""], ["#### 4"], reference=["2 + 2 = 4"]) == [1]
        assert one(NumericMatch(1), "2") == one(NumericMatch(0.5), "1.5") == 0.5 / 2

    def test_numeric_is_gamed_by_wrong_reasoning(self):
        assert one(NumericMatch(4), "2 + 2 = 5, hence 4") == 1

    def test_errors(self):
        with pytest.raises(ValueError, match="no number in the reference 'four'"):
            one(NumericMatch("four"), "4")
        with pytest.raises(ValueError, match="got no reference"):
            ExactMatch()([""], ["x"], reference=[[]])
        with pytest.raises(ValueError, match="tolerance must be >= 0, got nan"):
            NumericMatch(1, tolerance=float("nan"))


class TestCountdown:
    def test_solutions(self):
        reward = Countdown([3, 5, 2, 7], 29)
        for text in ("3*5+2*7", "(3 × 5) + (7 · 2) = 29", "Try <answer>2*7+3*5</answer> now 1"):
            assert one(reward, text) == 1
        assert one(Countdown([8, 3], 8), "8 / 3") < 1
        assert one(Countdown([1, 3, 3], 1), "1 / 3 * 3") == 1  # exact fractions

    def test_grades(self):
        reward = Countdown([2, 3, 4], 24)
        assert one(reward, "no idea") == one(reward, "") == one(reward, "2/(3-3)") == 0
        near = one(reward, "2*3*4-1")  # a number too many, 23
        assert near == pytest.approx(0.1 + 0.4 * 3 / 4 + 0.4 * 24 / 25)
        assert 0 < one(reward, "2+3") < near < 1

    def test_it_is_gamed_by_the_target_alone(self):
        assert one(Countdown([2, 3, 4], 24), "24") == 0.5

    @pytest.mark.parametrize(
        "text",
        [
            "2**9**9",
            "__import__('os')",
            "2//1",
            "-2",
            "1.5+1",
            "True+1",
            "2+",
            "f(2)",
            "2 if 1 else 3",
        ],
    )
    def test_nothing_else_is_worked_out(self, text):
        with pytest.raises(ValueError, match=r"not allowed|no expression"):
            work_out(text)

    def test_long_expressions_are_none(self):
        assert one(Countdown([1], 1), "+".join(["1"] * 5000)) == 0
        assert one(Countdown([1], 1), "(" * 150 + "1" + ")" * 150) == 0
        assert work_out("9" * 150 + "*" + "9" * 40)[1] == [int("9" * 150), int("9" * 40)]

    @given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.data())
    def test_any_tree_over_the_numbers_is_worked_out_and_solves_its_own_value(self, numbers, data):
        trees = [(str(n), Fraction(n)) for n in numbers]
        while len(trees) > 1:
            (a, x), (b, y) = trees.pop(), trees.pop()
            sign = data.draw(st.sampled_from("+-*"))
            value = {"+": x + y, "-": x - y, "*": x * y}[sign]
            trees.append((f"({a} {sign} {b})", value))
        text, value = trees[0]
        assert work_out(text) == (value, pytest.approx(work_out(text)[1]))
        assert sorted(work_out(text)[1]) == sorted(numbers)
        assert one(Countdown(numbers, int(value)), f"{text} = {value}") == 1

    def test_errors(self):
        with pytest.raises(ValueError, match="no numbers for the target 3"):
            one(Countdown([], 3), "3")


class TestSudoku:
    puzzle = "1... ..2. .3.. ...4"

    def test_solved_in_any_layout(self):
        grid = "1243 3421 4312 2134"
        reward = Sudoku4(self.puzzle)
        assert one(reward, grid) == 1
        assert one(reward, "|1|2|4|3|\n|3|4|2|1|\n|4|3|1|2|\n|2|1|3|4|") == 1
        assert one(reward, "The 4x4 grid is: [[1,2,4,3],[3,4,2,1],[4,3,1,2],[2,1,3,4]].") == 1

    def test_grades(self):
        reward = Sudoku4(self.puzzle)
        assert one(reward, "") == one(reward, "no") == 0
        assert one(reward, "1 2 3 4 1 2 3 4") == pytest.approx(0.05)
        assert one(reward, "1" * 40) == pytest.approx(0.1)
        assert one(reward, "1" * 16) == pytest.approx(0.2 + 0.8 * 1 / 16)
        two_wrong = one(reward, "1243 3421 4312 2143")  # one given and three columns or boxes off
        assert 0.7 < two_wrong < 1

    def test_it_is_gamed_by_any_valid_grid(self):
        other = "2134 4312 3421 1243"
        kept = sum(
            a == b
            for a, b in zip(other.replace(" ", ""), self.puzzle.replace(" ", ""), strict=True)
        )
        assert kept <= 1
        assert one(Sudoku4(self.puzzle), other) >= 0.8

    def test_errors(self):
        with pytest.raises(ValueError, match="16 cells of 0"):
            Sudoku4("123")
        with pytest.raises(ValueError, match="16 cells of 0"):
            Sudoku4("5" * 16)


def test_countdown_takes_each_number_as_often_as_it_is_given():
    countdown = Countdown(numbers=[2, 2, 4], target=8)
    right, once, thrice = countdown(["q"] * 3, ["2 * 2 + 4", "2 * 4", "2 * 2 * 2 + 4 - 4"])
    assert right == 1.0
    assert max(once, thrice) < 1.0
