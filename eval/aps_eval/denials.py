"""What denies an answer.

before a number or a letter   not 5, rather than (A), less than 5      `DENIED`
before a number               over 5, above five, > 5                  `number_denied`
before a word                 cannot say yes, it is wrong to say no    `negated`
behind any answer             (A) is wrong, 5 cannot be                `REFUTED`
"""

from __future__ import annotations

import re

from .numeral import NEAR

__all__ = ["DENIED", "NEGATED", "REFUTED", "denied", "negated", "number_denied"]

DENIED = re.compile(
    r"(?:\b(?:not|cannot|never|neither|nor|rather than|instead of|nowhere near|far from"
    r"|anything but|no longer|(?<!no )(?<!not )"
    r"(?:less|fewer|more|greater|higher|lower|larger|smaller) than)"
    r"|n't)\s+"
    r"(?:(?:a|an|the|just|only|exactly|equal to|be|say|think|believe|claim|sure|certain|that|it"
    r"|it's|is|answer|option|choice|pick|choose|necessarily|really|simply|clearly)\s+)*[-+€£¥₹(]*$",
    re.I,
)
"""What denies an answer directly behind it (not 5, rather than exactly 5, less than 5)."""
REFUTED = re.compile(
    r"[)\]\"'}]*\s+(?:(?:is|are|was|were|would be|seems|looks|must be"
    r"|turns? out(?: to be)?|proves?(?: to be)?)\s+"
    r"(?:(?:also|both|all|clearly|obviously|simply|just|definitely|certainly|a|the)\s+)*"
    r"(?:wrong|incorrect|false|ruled out|not|untrue|impossible|trap|distractor)\b"
    r"|(?:is|are|was|were|ca|does|could|would)n't\b|cannot be\b|can not be\b)",
    re.I,
)
"""What follows an answer that is denied."""
_BOUND = re.compile(r"(?:^|[^<>=\n-])[ \t]*[<>]\s*[$€£]?[-+]?$")
"""A strict bound; no arrow, no `>>`, no quotation mark of a line."""
_OVER = re.compile(
    r"\b(?:over|under|above|below|beyond|exceed(?:s|ed|ing)?)\s+[$€£¥₹]?[-+]?$", re.I
)
"""A strict bound in words, but for what is `_TURNED`."""
_TURNED = re.compile(
    r"\b(?:left|hand(?:s|ed|ing)?|carr(?:y|ies|ied|ying)|turn(?:s|ed|ing)?|flip(?:s|ped|ping)?"
    r"|roll(?:s|ed|ing)?)\s+over\s+\S{0,2}$",
    re.I,
)
"""What is left, carried or turned over is no bound."""
_TAG = re.compile(r"</?[A-Za-z][^<>]*>\s*[$€£]?[-+]?$")
"""A tag of markup, whose bracket is no bound (<b>5)."""
_CLAUSE = re.compile(
    r"[.,;:!?\n=]|\b(?:but|so|because|therefore|hence|thus|then|and|since"
    r"|yes|no|yeah|nope|true|false)\b"
)
NEGATED = re.compile(
    r"\b(?:not|cannot|never|neither|nor|hardly|unable|refuse[sd]?|rather than|instead of"
    r"|(?:wrong|incorrect|mistaken?) to)\b|n't\b"
)


def denied(text: str, found: re.Match[str]) -> bool:
    """Whether "not", "never", "rather than", ... is directly before a match or inside its lead, or
    "is wrong", "is not", ... directly behind it."""
    first = next((i for i in range(1, len(found.groups()) + 1) if found[i]), 0)
    if REFUTED.match(text, found.end(first)):
        return True
    before = text[max(0, found.start(first) - NEAR) : found.start(first)]
    if re.search(r"[.!?;]\s+\W*$", before):
        return False  # it begins a sentence
    return DENIED.search(re.sub(r"[\s\W]*$", " ", before)) is not None


def number_denied(before: str) -> bool:
    """Whether the text before a number denies it, or makes it a strict bound."""
    return bool(
        DENIED.search(before)
        or (_OVER.search(before) and not _TURNED.search(before))
        or (_BOUND.search(before) and not _TAG.search(before))
    )


def negated(text: str, at: int) -> bool:
    """Whether the clause that leads to a word is negated ("cannot say yes")."""
    return NEGATED.search(_CLAUSE.split(text[max(0, at - NEAR) : at])[-1]) is not None
