"""What answers say beside the answer: dialogues, references, suppositions, hedges."""

from __future__ import annotations

import pytest
from aps_eval.asides import of_dialogue, said_once, supposed, without_references
from aps_eval.extraction import extract


@pytest.mark.parametrize(
    ("how", "answer", "found"),
    [
        ("choice", "Q: which? A: B", "B"),
        ("choice", "q: which? a: b", "B"),
        ("choice", "Q: which?\n\nA: The answer is C.\n\nQ: and then?\nA: D", "C"),
        ("choice", "Question: which? Answer: (C) cat", "C"),
        ("choice", "Q: which? A: cat\nB: dog", None),  # "A:" is an option
        ("choice", "Q: which?\nA) cat\nB) dog\nAnswer: B", "B"),
        ("choice", "Q: which?", None),
        ("choice", "(Q) is right", "Q"),
        ("choice", "A: cat", "A"),
        ("number", "Q: How many of 12? A: seven", "7"),
        ("number", "A: 5\nQ: And 6 more?", "5"),
        ("number", "Q: 2 + 2?\nA: 4\n\nQ: 3 + 3?\nA: 6", "4"),
        ("yes_no", "Q: Is it 5? A: No", "no"),
        ("boolean", "Q: Is it true? A: No", "false"),
        ("boolean", "Q: true or false? A: true", "true"),
    ],
)
def test_of_a_dialogue_the_first_answer_counts(how, answer, found):
    assert extract(how, answer) == found


@pytest.mark.parametrize(
    ("how", "answer", "found"),
    [
        ("number", "If the answer is 6 there are too many; but it is 5", "5"),
        ("number", "If the answer is 6", None),
        ("number", "Assume the answer is 3. Then 5 fits. So the answer is 5.", "5"),
        ("number", "Suppose x = 3, then x + 1 = 4", "4"),
        ("number", "The answer is 5 if we round, 4 otherwise", "5"),
        ("choice", "If the answer is A, nothing fits; but it is (B)", "B"),
        ("choice", "If (B) is wrong then (A)", None),
        ("choice", "A, if B is wrong", "A"),
        ("yes_no", "If the answer is yes, it sinks. It is no.", "no"),
        ("choice", "If I had to choose I would say B", "B"),
        ("number", "If I am right the answer is 5", "5"),
        ("yes_no", "Yes, if it rains", "yes"),
        ("boolean", "Assume it is false; then it's true", "true"),
        ("boolean", "I wonder whether it is true", None),
    ],
)
def test_what_is_only_supposed_states_nothing(how, answer, found):
    assert extract(how, answer) == found


def test_a_supposed_word_to_choose_from_is_skipped():
    words = ["cat", "dog"]
    assert extract("choice", "If the answer is cat, it meows; the answer is dog", words) == "dog"
    assert extract("choice", "The answer is cat, if it meows", words) == "cat"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("The answer is, as shown in (2), 5", "5"),
        ("The answer is, by (2) and (3), 5", "5"),
        ("The answer is (see step 2) 5", "5"),
        ("The answer is (2)", "2"),
        ("It is 5 as shown in (2)", "5"),
        ("So 5, by step 2.", "5"),
        ("He has 6 (see table 2)", "6"),
        ("5, as derived from equation (4)", "5"),
        ("It is 5 [2].", "5"),
        ("It is 5 [1, 2].", "5"),
        ("The array is [5]", "5"),
        ("She went from page 3 to page 9", "9"),
        ("see step 2", "2"),  # nothing else is said
        ("It was divided by (2)", "2"),
        ("f(2) = 5", "5"),
    ],
)
def test_numbers_of_references_are_no_answers(answer, found):
    assert extract("number", answer) == found


def test_letters_of_references_are_no_answers():
    assert extract("choice", "The answer is, as shown in (A), B") == "B"
    assert extract("choice", "The answer is (B), see (A)") == "B"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("5 (five) or 6", None),
        ("five (5) or six (6)", None),
        ("The answer is five (5) or six (6)", None),
        ("5 apples (five apples) or 6", None),
        ("5 (five) to 6 (six)", None),
        ("The total is twelve (12) dollars", "12"),
        ("12 (twelve)", "12"),
        ("7 (eight)", "7"),  # not the same: as it is
        ("one (1) cat and two (2) dogs, so three (3)", "3"),
    ],
)
def test_a_number_that_is_said_twice_is_one(answer, found):
    assert extract("number", answer) == found


HEDGES = ["I think", "I'd say", "I guess", "perhaps", "maybe", "we believe", "most likely"]


@pytest.mark.parametrize("hedge", HEDGES)
@pytest.mark.parametrize("marks", [", {},", " ({})", " - {} -"])
def test_a_hedge_parts_no_alternatives(hedge, marks):
    said = marks.format(hedge)
    assert extract("choice", f"It's a cat{said} or a dog", ["cat", "dog"]) is None
    assert extract("choice", f"(A){said} or (B)") is None
    assert extract("number", f"It is 5{said} or 6") is None
    assert extract("yes_no", f"yes{said} or no") is None
    assert extract("choice", f"It's a cat{said}", ["cat", "dog"]) == "cat"
    assert extract("choice", f"(A){said}") == "A"
    assert extract("number", f"It is 5{said}") == "5"
    assert extract("yes_no", f"yes{said}") == "yes"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("either a cat with fur or a dog", None),
        ("a cat or, I think, a dog", None),
        ("It might be a cat or else a dog", None),
        ("It's a cat, not a mouse or a dog", "cat"),
        ("It is a cat rather than a mouse or a dog", "cat"),
        ("a cat. It is furry or a dog", "dog"),
    ],
)
def test_two_words_of_one_clause(answer, found):
    assert extract("choice", answer, ["cat", "dog"]) == found


def test_each_rule_alone():
    assert of_dialogue("Q: 3? A: 4", "Answer: ") == "Answer: 4"
    assert of_dialogue("Q: 3? A: 4", asked=True) == "3?\n4"
    assert of_dialogue("no dialogue: A") == "no dialogue: A"
    assert without_references("5 as in (2)") == "5"
    assert said_once("five (5) apples") == "5 apples"
    assert supposed("if it is 5", 9)
    assert not supposed("if so, it is 5", 12)
