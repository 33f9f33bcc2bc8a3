"""Answers as models write them, and what is found in them."""

from __future__ import annotations

import pytest
from aps_eval.digit_runs import digit_runs
from aps_eval.extraction import check_extraction, extract
from aps_eval.normal_text import normal_text
from aps_eval.numeral import as_number


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("16 - 3 - 4 = 9, and 9 * 2 = $18.\n#### 18", "18"),
        ("She makes #### 1,234 dollars", "1234"),
        ("#### $1,234.50.", "1234.50"),
        ("####-7", "-7"),
        ("The total is \\boxed{42}.", "42"),
        ("so \\(x = \\boxed{\\frac{3}{4}}\\) of 12", "3/4"),
        ("$\\boxed{\\$2{,}000}$", "2000"),
        ("First 3, then 4. The answer is 12. I used 2 steps.", "12"),
        ("The answer is **7** apples, not 9", "7"),
        ("**Answer:** 5 (from 2 + 3)", "5"),
        ("answer = 0.5", "0.5"),
        ("The final answer is: $\\boxed{-3}$", "-3"),
        ("The answer is that he has 6 left", "6"),
        ("The answer is unclear. Maybe 8 or 9", None),
        ("it is minus, that is −5 degrees", "-5"),
        ("2e6 grains", "2e6"),
        ("about .5 of them", ".5"),
        ("There are 3 fruits, 5 in total.", "5"),
        ("ends with a stop 10.", "10"),
        ("H2O and x2 have no number but 4", "4"),
        ("1,234,567 people", "1234567"),
        ("choose 1, 2, 3", None),
        ("There are seven cats", "7"),
        ("I counted two, then Twelve!", "12"),
        ("No idea.", None),
        ("", None),
    ],
)
def test_numbers(answer, found):
    assert extract("number", answer) == found
    if found:
        assert as_number(found) is not None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("(B)", "B"),
        ("B", "B"),
        ("b", "B"),
        ("B.", "B"),
        ("B) 12/25/1937", "B"),
        ("The answer is (B) 12/25/1937", "B"),
        ("The answer is B", "B"),
        ("the answer is b.", "B"),
        ("**Answer: C**", "C"),
        ("The correct answer is option D.", "D"),
        ("(A) is wrong, (C) is too late; so (E).", "E"),
        ("Not (A). The answer is (D), although (F) is near.", "D"),
        ("\\boxed{C}", "C"),
        ("$\\boxed{(F)}$", "F"),
        ("I pick option B because of the date", "B"),
        ("Let us think.\nB\n", "B"),
        ("A dog is an animal", None),
        ("The answer is a dog", None),
        ("Because of 5 days", None),
        ("It is not (A)", None),
        ("not (A) but (B)", "B"),
        ("The answer is A or B", None),
        ("Answer: I don't know", None),
        ("Answer: A dog", None),
        ("Answer: A because of the date", "A"),
        ("Answer: I", "I"),
        ("\\boxed{\\text{B}}", "B"),
        ("[C]", "C"),
        ('the answer is "B"', "B"),
        ("option b", "B"),
        ("The correct choice is C", "C"),
        ("", None),
    ],
)
def test_letters(answer, found):
    assert extract("choice", answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("(B) is right; (A) is wrong", "B"),
        ("A is wrong. B is right.", "B"),
        ("(A) is wrong, so (B)", "B"),
        ("(A) cannot be, so (B)", "B"),
        ("C because (A) is wrong", None),
        ("(A) cat (B) dog", None),
        ("A. cat\nB. dog", None),
        ("A. cat\nB. dog\nAnswer: B", "B"),
        ("(A) no; (B) no; (C) yes; (D) no", None),
        ("(A) is a trap, so (B)", "B"),
        ("\\boxed{B. 5}", "B"),
        ("\\boxed{(B) cat}", "B"),
        ("\\boxed{AB}", None),
        ("The answer is \\(B\\)", "B"),
        ("The answer is \\text{B}", "B"),
        ('"C"', "C"),
        ("C - dog", "C"),
        ("C.dog", "C"),
        ("C is correct", "C"),
        ("C is the answer", "C"),
        ("C is incorrect", None),
        ("I choose C", "C"),
        ("I choose a dog", None),
        ("I would say A dog", None),
        ("option (c)", "C"),
        ("U.S. people", None),
        ('{"answer": "B", "why": "A is no dog"}', "B"),
        ("<answer>B</answer>", "B"),
        ("答案是B。", "B"),
        ("Antwort: B", "B"),
        ("I would choose option B over option A", "B"),
        ("Option A is worse than option B", None),
        ("A: no, B: yes", None),
        ("A. No. B. Yes.", None),
        ("a) cat b) dog", None),
        ("- A. cat\n- B. dog", None),
        ("b) dog", "B"),
        ("(b) dog, not (a)", "B"),
        ("i.e. a dog", None),
        ("Answer: B? No, (C)", "C"),
        ("The answer is (B) No", "B"),
        ("The answer is clearly B.", "B"),
        ("The answer is probably not B", None),
        ("The answer has to be B", "B"),
        ("*B*", "B"),
        ("- B", "B"),
        ("So, B.", "B"),
        ("Therefore I think so", None),
        ("So A dog", None),
        ("B (dog)", "B"),
    ],
)
def test_letters_in_other_clothes(answer, found):
    assert extract("choice", answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("The answer is Paris. London is in England.", "Paris"),
        ("The answer is Paris because London is in England.", "Paris"),
        ("The answer is not Paris but London.", "London"),
        ("Not Paris, London", "London"),
        ("Not Paris or London", None),
        ("London is right, Paris is wrong", "London"),
        ("Paris isn't it. London", "London"),
        ("It is not New York", None),
        ("The answer is unclear: Paris or London", None),
        ("York", "York"),
        ("answer: Paris? no, London", "London"),
        ("Paris is no London", "Paris"),
        ("There is no Paris", None),
        ("never Paris; the York", "York"),
        ("Paris-like", None),
        ("The answer is that I like Paris", "Paris"),
    ],
)
def test_words_are_read_after_the_answer_is_and_denied_behind(answer, found):
    assert extract("choice", answer, ["Paris", "London", "New York", "York"]) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [("-5", None), ("x^5", None), ("5-6", None), ("5/6", None), ("5, not 6", "5"), ("is 5", "5")],
)
def test_choices_that_are_numbers(answer, found):
    assert extract("choice", answer, ["5", "6"]) == found


@pytest.mark.parametrize(
    ("how", "answer", "found"),
    [
        ("yes_no", "no-one knows", None),
        ("yes_no", "the yes-man", None),
        ("yes_no", "No—it is not", "no"),
        ("yes_no", "It is yes–I think", "yes"),
        ("yes_no", "Yes is wrong", None),
        ("yes_no", "No, yes is wrong", "no"),
        ("boolean", "True is wrong", None),
        ("boolean", "False is right, true is incorrect", "false"),
    ],
)
def test_a_word_that_is_said_to_be_wrong_or_part_of_another(how, answer, found):
    assert extract(how, answer) == found


def test_words_to_choose_from():
    words = ["car", "sports car", "ash"]
    assert extract("choice", "A Sports Car is fast.", words) == "sports car"
    assert extract("choice", "not a car but ash", words) == "ash"
    assert extract("choice", "the cart was washed", words) is None
    assert extract("choice", "a car, not ash", words) == "car"
    assert extract("choice", "it is 1.5", ["1", "5"]) is None
    assert extract("choice", "The answer is Paris or London", ["Paris", "London"]) is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Yes, a bay is a kind of water.", "yes"),
        ("No. There is no doubt, yes.", "no"),
        ("We end 2 steps away. So the answer is No.", "no"),
        ("At first yes, in the end no", "no"),
        ("**Yes**", "yes"),
        ("The answer is: **yes** (no doubt)", "yes"),
        ("'no'", "no"),
        ("Nope.", "no"),
        ("the answer is not yes", None),
        ("yes or no", None),
        ("I know nothing of yesterday's notes", None),
        ("", None),
    ],
)
def test_yes_and_no(answer, found):
    assert extract("yes_no", answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("not ( True ) and ( True ) is False", "false"),
        ("True and not False = True. The answer is True, not False", "true"),
        ("FALSE", "false"),
        ("It is not true", None),
        ("True/False", None),
        ("True or False? True", "true"),
        ("It is untrue and falsely said", None),
    ],
)
def test_truth_values(answer, found):
    assert extract("boolean", answer) == found


def test_patterns_and_whole_texts():
    rule = {"pattern": r"kind of (?P<found>.+?)\W*$"}
    assert extract(rule, "A fender is a kind of Barrier.") == "Barrier"
    assert extract(rule, "  barrier ") is None  # what the pattern does not find is not found
    assert extract({"pattern": "kind of (.+)|^ *([a-z]+) *$"}, "  barrier ") == "barrier"
    assert (
        extract({"pattern": "<answer>(.*?)</answer>"}, "<answer>1</answer><answer>2</answer>")
        == "2"
    )
    assert extract("text", " as it is ") == "as it is"


def test_rules_that_do_not_exist():
    with pytest.raises(ValueError, match=r"extract is one of number, .*; got 'numbr'"):
        check_extraction("numbr")
    check_extraction({"pattern": "is (.+)"})
    with pytest.raises(ValueError, match="a pattern has a group"):
        check_extraction({"pattern": "no group"})


def test_numbers_of_other_makes():
    assert as_number("1,234.5") == 1234.5
    assert as_number("3/4") == 0.75
    assert as_number("3/0") is None
    assert [as_number(text) for text in ("seven", "nan", "inf", "1_000", "1e999", "")] == [None] * 6


@pytest.mark.parametrize("word", ["yes", "no", "yeah", "nope"])
@pytest.mark.parametrize("how", ["yes_no"])
def test_a_yes_or_no_inside_a_word_is_none(how, word):
    means = "yes" if word.startswith("y") else "no"
    for before in ("e", "E", "1", "_", "x'"):
        assert extract(how, f"I saw {before}{word} there") is None, before
        assert extract(how, f"{before}{word}") is None, before
    for behind in ("terday", "S", "1", "_", "'s", "t"):
        assert extract(how, f"I saw {word}{behind} there") is None, behind
        assert extract(how, f"{word}{behind}") is None, behind
    for before, behind in (
        ("", ""),
        ("(", ")"),
        ('"', '"'),
        ("- ", "!"),
        ("**", "**"),
        ("\n", "."),
    ):
        assert extract(how, f"I say {before}{word}{behind} to it") == means
        assert extract(how, f"{before}{word}{behind}") == means


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("The answer is b\nbecause it is so.", "B"),  # a small letter at the end of its line
        ("The answer is b.\n\nIt is.", "B"),
        ("The answer is b because it is so.", None),
        ("(b).", "B"),  # alone, a small letter is the whole answer
        ("b", "B"),
        ("a\nof those", None),
        ("one of\na\nthose", None),
    ],
)
def test_small_letters_are_read_at_the_end_of_a_line_that_names_the_answer(answer, found):
    assert extract("choice", answer) == found


NEGATED = ["cannot say {}", "can't say {}", "I would not say {}", "I don't think the answer is {}"]
NEGATED += ["never say {}", "it is not a clear {}", "I refuse to say {}", "unable to answer {}"]
NEGATED += ["it would be wrong to say {}", "it is incorrect to answer {}"]
NEGATED += [
    "not {}",
    "I can't be sure that it is {}",
    "The answer is not {}",
    "I will not answer '{}'",
]
BOTH = ["{} and {}", "{} or {}", "{}/{}", "both {} and {}", "neither {} nor {}", "{} as well as {}"]
BOTH += [
    "Maybe {} or {}",
    "The answer is {} or {}",
    "somewhere between {} and {}",
    "{}, {}",
    "{} {}",
]


@pytest.mark.parametrize(
    ("how", "one", "other"), [("yes_no", "yes", "no"), ("boolean", "true", "false")]
)
def test_what_is_denied_or_one_of_two_is_undecided(how, one, other):
    for first, second in ((one, other), (other, one)):
        for form in NEGATED:
            assert extract(how, form.format(first)) is None, form.format(first)
            assert extract(how, f"{form.format(first)}, but {second}") == second, form
        for form in BOTH:
            said = form.format(first, second)
            assert extract(how, said) is None, said
            assert extract(how, said.capitalize() + ".") is None, said


@pytest.mark.parametrize(
    "noun", ["doubt", "question", "other way", "reason", "one", "problem", "matter"]
)
def test_a_no_that_belongs_to_a_noun_is_no_answer(noun):
    assert extract("yes_no", f"no {noun}, yes") == "yes"
    assert extract("yes_no", f"There is no {noun}. Yes.") == "yes"
    assert extract("yes_no", f"Yes, there is no {noun} in it") == "yes"
    assert extract("yes_no", f"I see no {noun} in that") is None
    assert extract("yes_no", f"No, there is {noun} in it") == "no"


@pytest.mark.parametrize(
    "said", ["No", "No it is not", "No, it isn't", "no way", "No because of it"]
)
def test_a_no_of_its_own_is_an_answer(said):
    assert extract("yes_no", said) == "no"


def test_yes_and_no_answer_what_was_asked():
    for be in ("Is it", "Is that", "So is this", "Would it be"):
        assert extract("boolean", f"{be} true? No") == "false"
        assert extract("boolean", f"{be} true? Yes, it is.") == "true"
        assert extract("boolean", f"{be} false? No.") == "true"
        assert extract("boolean", f"{be} false? Yes.") == "false"
        assert extract("boolean", f"{be} true? No, it is false") == "false"
        assert extract("boolean", f"{be} true or false? I say true") == "true"
        assert extract("boolean", f"{be} true or false? Yes") is None
        assert extract("boolean", f"{be} not true? No") is None
        assert extract("boolean", f"{be} true?") is None
        assert extract("yes_no", f"{be} a no? Yes") == "no"
        assert extract("yes_no", f"{be} a dog? Yes, no doubt") == "yes"
        assert extract("choice", f"{be} (A)? No, it is (B).") == "B"
        assert extract("choice", f"{be} (A)? No.") is None
        assert extract("choice", f"{be} (A)? Yes.") == "A"
    assert extract("yes_no", "Yes or no? No.") == "no"
    assert extract("boolean", "True or false? I say true") == "true"
    assert extract("boolean", "No") is None  # no question that names it


JOINS = [
    "{} or {}",
    "both {} and {}",
    "{}, {}",
    "{}/{}",
    "{} & {}",
    "{}; {}",
    "either {} or maybe {}",
]


@pytest.mark.parametrize("form", JOINS)
def test_several_choices_are_undecided(form):
    for wrap in ("{}", "({})", "[{}]", "option {}", "'{}'"):
        for one, other in (("A", "B"), ("C", "A"), ("B", "D")):
            said = form.format(wrap.format(one), wrap.format(other))
            for speak in ("{}", "The answer is {}", "I pick {}.", "The answer is {} because of it"):
                assert extract("choice", speak.format(said)) is None, speak.format(said)
    words = ["cat", "dog", "sports car"]
    for one, other in (("cat", "dog"), ("a cat", "a dog"), ("Dog", "the sports car")):
        for speak in ("{}", "It is {}.", "The answer is {}"):
            said = speak.format(form.format(one, other))
            assert extract("choice", said, words) is None, said


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("A, because B is wrong", "A"),
        ("(A), not (B)", "A"),
        ("not (A), (B)", "B"),
        ("A, I think", "A"),
        ("A-C", None),
        ("A\nB", None),
        ("A, B, C", None),
        ("(A)(B)", None),
        ("A. A dog is an animal", "A"),
        ("(A) is wrong and (C) is too late; so (E)", "E"),
        ("I do not think it is (A)", None),
    ],
)
def test_what_stands_around_a_letter(said, found):
    assert extract("choice", said) == found


def test_a_long_text_of_choices_is_read_in_one_pass():
    words = ["Paris", "Paris South", "South"]
    assert extract("choice", "Paris South " * 5_000, words) == "Paris South"
    assert extract("choice", "South Paris " * 5_000 + "South", words) == "Paris South"
    assert extract("choice", "Paris " * 10_000, words) == "Paris"


def test_raised_digits_are_powers():
    assert normal_text("2 m² and 10⁻³") == "2 m^2 and 10^-3"


def test_several_strokes_are_one_run_without_a_number():
    assert digit_runs("1 / 2 / 3 / 4") == [(0, 13, None)]
    assert digit_runs("1 / 2, 3") == [(0, 5, "1/2"), (7, 8, "3")]


def test_a_choice_denied_with_another_word_is_denied_among_several_mentions():
    text = "It is a cat, not a fish or a dog. So: cat."
    assert extract("choice", text, ["cat", "dog"]) == "cat"
