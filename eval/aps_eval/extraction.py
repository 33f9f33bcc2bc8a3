"""Extraction of the final answer from a model's text; each rule tries its patterns in order.

    number    `#### 18`, `\\boxed{18}`, `the answer is 18`, the last number; see `numbers`
    choice    `the answer is (B)`, `\\boxed{B}`, the last `(B)` or `[B]`, `option B`, a lone
              `B.`, an option's own words
    yes_no    `the answer is yes`, a yes or no at the start, the last one
    boolean   `the answer is True`, the last True or False
    text      the whole answer
    {pattern: REGEX}   the group `found` (or the first that took part) of the last match

An equation after "the answer is" gives its last side that is a single number (`2 * 3 = 6`). What
is denied ("not 5 but 6", "cannot say yes", "not (A)", "(A) is wrong") and what is only asked ("Is
it 5? No", "The answer is 5? No") is skipped; the options repeated from a question ("(A) cat (B)
dog") choose none; yes and no answer a question that names an answer (`boolean`: "Is it true? No"
is false). What is only supposed ("if the answer is 6") or holds under a condition alone ("if (B)
is wrong, (A)"), references ("as shown in (2)") and the question of a dialogue ("Q: which? A: B")
are left out, see `asides`. "No" before a noun ("no doubt") is no answer. Several answers together
are none: "5 or 6", "between 3 and 5", "1,2,3", "2+3" and "2(3)" without their result, "A, B", "yes
and no". A box holds a number and its unit, or none (2x, 5i). See `number_groups`. What is taken
back ("5. Wait, no, 6") is none, see `corrections`.

All return a string, or None if nothing was found (counted as `not found`). Only `text` always finds
something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from .answer_leads import asserted
from .asides import of_dialogue, without_references
from .corrections import corrected
from .letters import are_letters, chosen_letter
from .named_choices import chosen_name
from .normal_text import normal_text
from .stated_number import number
from .truth_words import boolean, yes_no

__all__ = ["EXTRACTIONS", "RULES", "check_extraction", "extract", "number"]

RULES = 8
"""The version of the rules by which answers are read and measured. A row that was read by an older
version is read and measured again from its text; `tests/eval/test_eval_rules.py` fails when what is
read changes and this does not."""

_BLANK = re.compile(r"(?<=\s{8})(\s+)")
"""White space beyond eight characters, which says no more than these."""


def extract(how: str | Mapping[str, str], answer: str, choices: Sequence[str] = ()) -> str | None:
    """The final answer in the text `answer`, by the rule `how`; None if there is none."""
    if not isinstance(how, str):
        found = list(re.finditer(how["pattern"], answer, flags=re.S | re.I))
        groups = [found[-1].groupdict().get("found"), *found[-1].groups()] if found else []
        return next((one.strip() for one in groups if one is not None), None)
    if how != "text":
        answer = _BLANK.sub(lambda run: "\n" if "\n" in run[1] else "", answer)
        label = "Answer: " if how == "choice" else ""
        answer = of_dialogue(answer, label, asked=how in ("yes_no", "boolean"))
    if how == "text":
        return text(answer)
    return corrected(answer, lambda said: EXTRACTIONS[how](said, choices))


def check_extraction(how: str | Mapping[str, str]) -> None:
    """Raise `ValueError` for an unknown rule."""
    if isinstance(how, str):
        if how not in EXTRACTIONS:
            raise ValueError(
                f"extract is one of {', '.join(EXTRACTIONS)}, or {{pattern: REGEX}}; got {how!r}"
            )
    elif set(how) != {"pattern"} or re.compile(how["pattern"]).groups < 1:
        raise ValueError(f"extract: a pattern has a group, `{{pattern: 'is (.+)'}}`; got {how!r}")


def choice(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The chosen letter `A` to `Z`, or the chosen one of `choices` if these are words."""
    text = without_references(normal_text(asserted(answer))).strip()
    return chosen_letter(text) if are_letters(choices) else chosen_name(text, choices)


def text(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The whole answer."""
    return answer.strip()


EXTRACTIONS: dict[str, Callable[[str, Sequence[str]], str | None]] = {
    "number": number,
    "choice": choice,
    "yes_no": yes_no,
    "boolean": boolean,
    "text": text,
}
