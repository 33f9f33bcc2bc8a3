"""The number that an answer states: in a box, behind `####` or "the answer is", or its last.

An equation gives its last side that is a single number (`2 * 3 = 6`). A box holds a number and its
unit, or none (2x, 5i). What belongs to several numbers is none, see `number_groups`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .answer_leads import BEHIND, LEAD, asserted, clause
from .asides import conditional, said_once, supposed, without_references
from .denials import REFUTED
from .normal_text import normal_text
from .number_groups import Statement, spoken_statement, statements
from .number_words import NUMBER_WORDS
from .numeral import NEAR

__all__ = ["boxed", "in_box", "number"]

_RESULT = re.compile(
    r"(?:\s?[A-Za-z]+)?[\s,;)]*(?:(?:which|that|this|it|so)\s+)?(?:[=≈]|\b(?:is|are|equals?|makes?|gives?)\b)\s*[-+$€£¥₹]*",
    re.I,
)
_QUOTED = re.compile(r"\\(?:text(?:bf|rm|it)?|math(?:rm|bf|it)|mbox|operatorname)\s*\{([^{}]*)\}")
_UNIT_LETTERS = set("mgshdLlAVWNJKCF")
_QUIET = {
    "circ",
    "degree",
    "degrees",
    "deg",
    "displaystyle",
    "rm",
    "bf",
    "percent",
    "euro",
    "pounds",
}


def number(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The final number of an answer, as plain text (`1234.5`, `3/4`)."""
    for content in reversed(boxed(answer)):
        if found := in_box(content):
            return found[0]
    text = said_once(without_references(normal_text(asserted(answer))))
    for lead in (r"####\s*", LEAD):
        for match in reversed(list(re.finditer(lead, text, flags=re.I))):
            line = text[match.end() : match.end() + BEHIND].split("\n")[0]
            said = line if lead != LEAD else clause(line)
            if re.match(r"\W*\d(?:[\d.,]*\d)?\W*\?", line):
                continue  # the answer is 5? No
            if supposed(text, match.start()):
                continue
            if found := _stated(said):
                return found[0]
    every = [one for one in statements(text) if not one.denied and not REFUTED.match(text, one.end)]
    affirmed = [
        one
        for one in every
        if (one.text is not None or one.undecided) and not _only_supposed(text, one)
    ]
    if not affirmed:
        return None
    last = affirmed[-1]
    if last.expression and len(affirmed) > 1:  # 5 = 2 + 3
        between = text[affirmed[-2].end : last.start]
        return affirmed[-2].text if re.fullmatch(r"\s*[=≈]\s*[-+]?", between) else None
    return last.text


def _only_supposed(text: str, one: Statement) -> bool:
    """Whether a number is in a condition, or in a supposition before or as its answer."""
    if conditional(text, one.start):
        return True
    if not supposed(text, one.start):
        return False
    before = text[max(0, one.start - NEAR) : one.start]
    behind = text[one.end : one.end + 2 * NEAR]  # if x = 2 the answer is 5
    return (
        re.search(LEAD + r"\W*$", before) is not None
        or re.match(r"[^\n,;:!?.]*?" + LEAD, behind, re.I) is not None
    )


def in_box(content: str) -> tuple[str | None] | None:
    """A tuple of the number in a box; None if there is none, and `(None,)` if more than the number,
    an unknown before it and its unit is there (2x, 5i, \\pi/2)."""
    if re.search(
        r"\d\s*!|\\\{[^,\n]*,.*\\\}|(?:[,;]|\b(?:or|and)\b).*=", content
    ):  # a factorial, a set, two unknowns
        return (None,)
    found = _stated(normal_text(re.sub(r"^\s*[-−]\s+", "-", content.replace("~", " "))))
    if found is None or found[0] is None:
        return (None,) if re.search(r"\d", content) else found  # x^2
    content = re.sub(r"^\s*-\s+", "-", content.replace("~", " "))
    bare = _QUOTED.sub(lambda m: m[1] if re.search(r"\d", m[1]) else " ", content)
    side = re.split(r"[=≈]|\\approx", bare)[-1]
    text = normal_text(re.sub(r"(?<=\d)\s+(?=[A-Za-z](?![A-Za-z]))", "", side))
    every = statements(text)
    if not every:
        return found  # in words
    alone = len(every) == 1 and every[0].text is not None
    return found if alone and _is_unit(text[: every[0].start], text[every[0].end :]) else (None,)


def _is_unit(before: str, behind: str) -> bool:
    """Whether the text around a number in a box is words, a sign, a currency or a unit only."""
    for text in (before, behind):
        last = ""
        for token in re.findall(r"\\[A-Za-z]+|[A-Za-z]+|\d+|\S", text):
            of_unit = text is behind and last[-1:].isalpha()
            if token[0] == "\\":
                known = token[1:] in _QUIET
            elif token.isalpha() and token.isascii():
                known = (len(token) > 1 and not set(token) <= set("abcijxyz")) or (
                    text is behind and token in _UNIT_LETTERS
                )
            elif token == "^":
                known = of_unit or "\\circ" in text
            elif token in "/·×":
                known = of_unit
            elif token.isdigit():
                known = last == "^"
            else:
                known = token in "{}()[]%°$€£¥₹.:'\"" or (text is before and token in "+-")
            if not known:
                return False
            last = token if token not in "{}" else last
    return True


def boxed(text: str) -> list[str]:
    """The contents of every `\\boxed{...}` (`\\fbox`, `\\boxed 5`), with balanced braces.

    Longer contents than `BEHIND` characters are left out.
    """
    found: list[tuple[int, str]] = []
    opened: list[int | None] = []  # the start of a box; None for any other brace
    for match in re.finditer(r"\\f?boxed?\s*(?:(\{)|([^\s{}]+))|([{}])", text):
        if match[2]:
            found.append((match.start(), match[2][: BEHIND + 1].rstrip("$")))
        elif match[1] or match[3] == "{":
            opened.append(match.end() if match[1] else None)
        elif opened and (begin := opened.pop()) is not None:
            found.append((begin, text[begin : min(match.start(), begin + BEHIND + 1)]))
    return [content for _, content in sorted(found) if len(content) <= BEHIND]


def _stated(text: str) -> tuple[str | None] | None:
    """A tuple of the number that a text states; `(None,)` if it is ambiguous; None without one."""
    equation = re.match(r"\s*(?:[A-Za-z]\s*)?[\d\s.,^*/+×÷·()√%{}-]*[=≈]", text)
    if equation:
        for side in reversed(re.split("[=≈]", text)):
            own = statements(side)
            first = next(iter(own), None)
            rest = re.sub(r"\s", "", side[first.end :] if first else side)
            if first is None or re.search(r"[\d+*/×÷√(^]", side[: first.start]):
                continue
            if first.text is not None and not re.match(r"[-+*/×÷·^(\d]", rest):
                return (first.text,)
    if (spoken := re.match(r"\W*(?:exactly |about |a total of )?", text)) and re.match(
        rf"(?:{NUMBER_WORDS})\b(?! of\b)", text[spoken.end() :], flags=re.I
    ):
        stated = spoken_statement(text)
        return None if stated is None else (stated.text,)
    own = [one for one in statements(text) if not one.denied and not REFUTED.match(text, one.end)]
    if not own:
        return None
    between = text[own[0].end : own[1].start] if len(own) > 1 else None
    if between is not None and own[0].expression and _RESULT.fullmatch(between):
        return (own[1].text,)
    if between is not None and re.fullmatch(r"\s*(?:,|;|and|or|to|through|&)?\s*", between):
        return (None,)
    return (own[0].text,)
