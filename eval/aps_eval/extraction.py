"""Finding the answer in what a model wrote; answers are messy, so each finder looks in order.

    number    `#### 18`, `\\boxed{18}`, `the answer is 18`, the last number; plain digits come back
    choice    `the answer is (B)`, `\\boxed{B}`, the last `(B)`, a lone `B.`, an option's own words
    yes_no    `the answer is yes`, a yes or no at the start, the last one
    boolean   `the answer is True`, the last True or False
    text      the whole answer
    {pattern: REGEX}   the group `found` (or the first) of the last match, else the whole answer

All return a string, or None where nothing was found. Only `text` never does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

__all__ = ["EXTRACTIONS", "as_number", "check_extraction", "extract"]

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?"
_ANYWHERE = re.compile(rf"(?<![\w.]){_NUMBER}(?:\s*/\s*\d+)?")
_LEAD = r"\banswer(?:\s+(?:is|would be|must be|should be|equals)\b\s*:?|\s*[:=])\s*"
_MARKUP = re.compile(r"\*\*|__|\\text\s*|\\mathrm\s*|\\left|\\right|\$")
_WORDS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen", "twenty"),
]


def extract(how: str | Mapping[str, str], answer: str, choices: Sequence[str] = ()) -> str | None:
    """What `answer` says, by the rule `how`."""
    if not isinstance(how, str):
        found = list(re.finditer(how["pattern"], answer, flags=re.S | re.I))
        if not found:
            return answer.strip()
        groups = found[-1].groupdict()
        return (groups["found"] if "found" in groups else found[-1][1]).strip()
    return EXTRACTIONS[how](answer, choices)


def check_extraction(how: str | Mapping[str, str]) -> None:
    """Raise `ValueError` for a rule that does not exist."""
    if isinstance(how, str):
        if how not in EXTRACTIONS:
            raise ValueError(
                f"extract is one of {', '.join(EXTRACTIONS)}, or {{pattern: REGEX}}; got {how!r}"
            )
    elif set(how) != {"pattern"} or re.compile(how["pattern"]).groups < 1:
        raise ValueError(f"extract: a pattern has a group, `{{pattern: 'is (.+)'}}`; got {how!r}")


def as_number(text: str) -> float | None:
    """A number as `number` finds it: `1,234.5`, `-3`, `3/4`, `2e6`; None for anything else."""
    plain = text.replace(",", "").replace(" ", "")
    try:
        return float(Fraction(plain)) if "/" in plain else float(plain)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None


def number(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The number an answer ends up with, digits only (`1234.5`, `3/4`)."""
    text = _plain(answer)
    text = re.sub(r"\\d?frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", text)
    for lead in (r"####\s*", r"\\boxed\{", _LEAD):
        for match in reversed(list(re.finditer(lead, text, flags=re.I))):
            line = text[match.end() :].split("\n")[0]
            found = _ANYWHERE.search(line if lead == _LEAD else line.split("}")[0])
            if found and (lead != _LEAD or "." not in line[: found.start()]):
                return found[0].replace(",", "").replace(" ", "")
    every = _ANYWHERE.findall(text)
    if every:
        return str(every[-1]).replace(",", "").replace(" ", "")
    words = [word for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDS]
    return str(_WORDS.index(words[-1])) if words else None


def choice(answer: str, choices: Sequence[str] = ()) -> str | None:
    """A letter `A` to `Z`, or, where the choices are words, the chosen one."""
    text = _plain(answer).strip()
    letters = not choices or all(re.fullmatch(r"\(?[A-Z]\)?", one) for one in choices)
    if not letters:
        return _mentioned(text, choices)
    patterns = (
        _LEAD + r"(?:option\s+)?(?:\(([A-Za-z])\)|([A-Z])(?![\w'])|([a-z])(?=[.)]*\s*$))",
        r"\\boxed\{\(?([A-Za-z])\)?\}",
        r"\(([A-Z])\)",
        r"\b[Oo]ption\s+([A-Z])\b",
        r"(?:^|\n)\s*([A-Z])(?:[.):,](?:\s|$)|\s*(?:\n|$))",
        r"^\(?([a-z])\)?[.]?$",
    )
    for pattern in patterns:
        flags = 0 if pattern != patterns[0] else re.M
        lead = pattern.replace(r"\banswer", r"\b[Aa]nswer")
        if found := list(re.finditer(lead, text, flags=flags)):
            return next(group for group in found[-1].groups() if group).upper()
    return None


def yes_no(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`yes` or `no`."""
    return _either(answer, {"yes": "yes", "no": "no", "yeah": "yes", "nope": "no"}, first=True)


def boolean(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`true` or `false`."""
    return _either(answer, {"true": "true", "false": "false"}, first=False)


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


def _either(answer: str, words: Mapping[str, str], *, first: bool) -> str | None:
    text = _plain(answer).lower()
    any_word = rf"({'|'.join(words)})(?!'?\w)"
    for pattern in (_LEAD + r"\W*" + any_word, r"\\boxed\{\W*" + any_word):
        if found := re.findall(pattern, text):
            return words[found[-1]]
    if first and (start := re.match(rf"\W*{any_word}", text)):
        return words[start[1]]
    found = re.findall(rf"(?<!\w)(?<!\w'){any_word}", text)
    return words[found[-1]] if found else None


def _mentioned(text: str, choices: Sequence[str]) -> str | None:
    """The choice named last, longer names before shorter ones inside them."""
    spots = []
    for one in choices:
        found = list(re.finditer(rf"(?<!\w){re.escape(one)}(?!\w)", text, flags=re.I))
        if found:
            spots.append((found[-1].end(), len(one), one))
    return max(spots)[2] if spots else None


def _plain(text: str) -> str:
    """Without bold marks, dollar signs and typographic minus signs."""
    return (
        _MARKUP.sub("", text)
        .replace("−", "-")
        .replace("–", "-")
        .replace("’", "'")
        .replace("{,}", ",")
    )
