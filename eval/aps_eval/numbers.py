"""Numerals in running text, read by these rules:

    thousands   1,234,567  1 234 567  1'234'567  1_234  1{,}234  1\\,234  12,34,567; 1.234.567 too
    decimals    3.5  .5  3,5  1.234,5; a comma before three digits marks thousands (not in 0,125)
    fractions   3/4  \\frac{3}{4}  ½; mixed: 3 1/2  3½  3\\frac{1}{2}
    powers      2^3, 2**3 is 8; 3 x 10^8, 3e8; 5 million, 5 hundred thousand, 5 bn, 5k, 5M, 5万;
                2 dozen
    parts       1 and a half, 2 and three quarters
    signs       a dash next to the digits that does not touch a word before it, or after a sign of
                equality, a colon, `is` or a brace (= - 5); minus 5, negative 5
    units       $5  5%  5 kg  5kg  4th: the number without them
    no number   times and ratios (10:30), ranges and dates (5-10, 2026-11-28, 5/6/26), versions
                (1.2.3), digits inside a word (H2O, COVID-19, 0x1F), a number under a root, or
                followed by a root, pi, a variable (2x, 5i) or a non-integer power (5 squared);
                wrong digit groups (1,234,5); a division by zero (5/0); a period (0.(3)); a day, a
                month and a year (28 November 2026)
    denied      not 5, rather than 5, less than 5, > 5: what is beside it is meant
    a list      1,2,3: several numbers; see `number_groups` for what is stated together
    words       twenty-one, three hundred and five, two dozen, twenty-first, minus five; only if
                there are no digits, and not before or after a fraction (three quarters, one point
                five, half a million)

Powers, fractions and mixed numbers are exact; results are text (`1234.50`, `-7/2`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

__all__ = [
    "DENIED",
    "NEAR",
    "NUMBER_WORDS",
    "Numeral",
    "as_number",
    "normal_text",
    "numerals",
    "spoken_numerals",
]

_DASHES = "−‐‑‒–—―﹘﹣－➖"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_MARKUP = re.compile(r"\*\*|__|\\(?:text|mathrm|mathbf|left|right|!)(?![a-zA-Z])\s*|\\?\$")
_DOLLARS = re.compile(r"(?<![\w\\$])(?:US|CA|AU|NZ|HK|SG|NT|[ACRS])\\?\$(?=\s?\d)")
"""A dollar sign with its country before an amount (US$5)."""
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Kana, Chinese characters and Hangul: text without spaces around numbers."""
_LATEX = {
    **{r"\,": " ", r"\;": " ", r"\:": " ", "\\ ": " ", "{,}": ",", r"\%": "%"},
    **{r"\times": "×", r"\cdot": "·", r"\div": "÷", r"\approx": "≈", r"\sqrt": "√", r"\pm": "±"},
}

_WESTERN = r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d?(?:,\d\d)+,\d{3}(?:\.\d+)?"
_QUOTED = r"[1-9]\d{0,2}(?:(?:'\d{3})+|(?:_\d{3})+)(?:[.,]\d+)?"
_DOTTED = r"[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?|[1-9]\d{0,2}(?:\.\d{3})+,\d+"
_PLAIN = r"\d+(?:\.\d+)?|\.\d+"
_CHUNK = re.compile(
    r"(?<![\w.^√])(?<!√[\[({])(?<!sqrt\()(?<![A-Z]-)(?!0(?:[xX][\da-fA-F]|[oObB]\d))\.?\d+(?:[.,:'_/-]\d+)*(?:[eE][-+]?\d+)?"
)
"""A run of digits with separators; not inside a word, under a root, or in another base."""
_SIGN = re.compile(r"(?:^|[^\w)\]%.}])([-+])[€£¥₹]?$")
_SIGN_WORD = re.compile(r"(?:^|[^\d)\s]\s*)\b(?:minus|negative)\s+[€£¥₹]?$", re.I)
_POWER = re.compile(r"\s?\^\s?(?:[{(]\s?([-+]?\d+)\s?[)}]|([-+]?\d+))(?![\d.^]*[\d^])")
_GOES_ON = re.compile(
    r"\s(?:thirds|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|hundredths)\b|"
    r"\.?\(\d+\)|h\d|[\u0304\u0305]|\s(?:squared|cubed|factorial)\b(?!\s(?:[ck]?m|met|f[eo]{1,2}t|inch))|"
    r"\s?[})]?\s?(?:\^(?!\{?\s?\\circ)|√|π|\\(?:pi|sqrt|cdot\s*\\pi)\b)"
    r"|(?:[abijnqruvwxyz]|(?!cc)[abcijxyz]{2,4})(?![A-Za-z])"  # 2x, 5i, 3xy
)
"""What follows digits that are no number of their own: a part, a period, a power, a variable."""
_SCIENTIFIC = re.compile(r"\s?[x×*·]\s?10\s?\^\s?[{(]?([-+]?\d+)[)}]?")
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_OTHER_SCALES = {
    **{"lakh": 5, "lakhs": 5, "crore": 7, "crores": 7, "mn": 6, "mln": 6, "mio": 6, "bn": 9},
    **{"bln": 9, "tn": 12, "hundreds": 2, "thousands": 3, "millions": 6, "billions": 9},
    **{"trillions": 12, "millionen": 6, "millones": 6, "milliarde": 9, "milliarden": 9},
    **{"milliard": 9, "milliards": 9, "billionen": 12},
}
_EASTERN = {"千": 3, "万": 4, "萬": 4, "만": 4, "億": 8, "亿": 8, "억": 8}
_SCALE = re.compile(
    rf"\s?\{{?\s({'|'.join([*_SCALES, *_OTHER_SCALES])})\b|\s?([{''.join(_EASTERN)}])", re.I
)
"""A power of ten in words behind digits (5 million, 5万)."""
_LETTERS = {"k": 3, "K": 3, "M": 6, "mn": 6, "B": 9, "bn": 9}
_LETTER = re.compile(rf"({'|'.join(_LETTERS)})\b(?!['.-]?\w)")
"""A power of ten in letters that touch the digits (5k)."""
_DOZEN = re.compile(r"\s(?:dozens?)\b", re.I)
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
_BOUND = re.compile(r"(?:^|[^<>=\n-])[ \t]*[<>]\s*[$€£]?[-+]?$")
"""A strict bound; no arrow, no `>>`, no quotation mark of a line."""
_TAG = re.compile(r"</?[A-Za-z][^<>]*>\s*[$€£]?[-+]?$")
"""A tag of markup, whose bracket is no bound (<b>5)."""
_MONTH = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
_DATE = re.compile(
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTH})\.?,?\s+\d{{4}}\b"
    rf"|\b(?:{_MONTH})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b"
)

_ONES = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13},
    **{"fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18},
    "nineteen": 19,
}
_TENS = {
    **{"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50},
    **{"sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90},
}
NUMBER_WORDS = "|".join([*_ONES, *_TENS, *_SCALES, "dozen"])
_SPOKEN = re.compile(
    rf"(?<!\w)(?<!\w-)(?<!\bno )(?:(?:minus|negative)\s+)?"
    rf"(?:a\s+(?=(?:{'|'.join(_SCALES)}|dozen)\b))?"
    rf"(?:(?:{NUMBER_WORDS})\b(?:(?:\s+and\s+|\s+|-)(?=(?:{NUMBER_WORDS})\b))?)+",
    re.I,
)

_PART = (
    r"hal(?:f|ves)|quarters?|thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?"
    r"|elevenths?|twelfths?|\w+(?:teenth|tieth)s?|hundredths?|thousandths?|millionths?"
)
_IN_PARTS = re.compile(
    rf"[\s-]*(?:and[\s-]+(?:a|an|one|two|three)[\s-]+)?(?:{_PART})\b"
    r"|\s+(?:hundreds|thousands|(?:m|b|tr)illions)\b|\s*(?:point|dot)\b",
    re.I,
)
"""What makes a number in words before it a count of parts (three quarters, one point five)."""
_OF_PARTS = re.compile(rf"\b(?:(?:point|dot)|(?:{_PART})(?:\s+of)?(?:\s+an?)?)\s+$", re.I)
"""What makes a number in words behind it a multiple of a part (half a million, point five)."""
_PARTS = {
    **{"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6},
    **{"seventh": 7, "eighth": 8, "ninth": 9},
    **{"tenth": 10, "hundredth": 100, "thousandth": 1000, "millionth": 10**6},
}
_AND_PARTS = re.compile(rf"\s+and\s+(an?|one|two|three|four|five)\s+({'|'.join(_PARTS)})s?\b", re.I)
"""A fraction in words behind a whole number (1 and a half)."""
_ORDINALS = [
    *["first", "second", "third", "fourth", "fifth"],
    *["sixth", "seventh", "eighth", "ninth"],
]
"""In the order of the digits 1 to 9."""
_ORDINAL = re.compile(rf"(?:\s+|-)({'|'.join(_ORDINALS)})\b", re.I)

NEAR = 60
"""Maximal number of characters before a number in which a sign or negation is looked for."""


@dataclass(frozen=True)
class Numeral:
    """A run of digits in a text.

    Attributes:
        start, end: its place in the text.
        text: the number in plain notation; None if it is not a number (a time, a range, a date).
        denied: whether it is negated ("not 5", "rather than 5").
        in_words: whether it is spelled out.
    """

    start: int
    end: int
    text: str | None
    denied: bool = False
    in_words: bool = False


def normal_text(text: str) -> str:
    """A text with one kind of dash, space, apostrophe and digit, and without LaTeX markup."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda m: "^" + m[0].translate(_SUPERSCRIPTS), text)
    text = re.sub(r"\\[dtc]?frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"(?:\{\s*)?(?<!\d)(-?\d+)\s*\\over\s*(-?\d+)(?:\s*\})?", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\bRs\.?[ \t]?(?=\d)", "", _DOLLARS.sub("", text))
    text = re.sub(r"((?:[=≈:({\[]|\bis|####)[ \t]*)[-−][ \t](?=[$€£¥₹]?\s?\d)", r"\1-", text)
    text = "".join(map(_character, text))
    text = re.sub(rf"(?<=[{_IDEOGRAPHS}])(?=[-+.\d])", " ", text)
    text = re.sub(r"(?<=\d)(?<!\b0)\s?[xX]\s?(?=\d)", "×", text)
    text = re.sub(r"(?<=[\d)])\s?\*\*\s?(?=[-+(]?\d)", "^", text)
    text = re.sub(r"(?<!\w)_([-+]?\d[\d.,]*)_(?!\w)", r"\1", text)
    text = re.sub(
        r"(?<=\d)~(?=\d{3}(?!\d))|\\(?:thin|en|neg)?space(?![a-zA-Z])\s*|\\quad\s*", " ", text
    )
    text = _MARKUP.sub("", re.sub(r"\.\.+(?=\d)", " … ", text))
    for name, sign in _LATEX.items():
        text = text.replace(name, sign)
    fraction = (
        r"(?:(\d)\s*)?\\[dtc]?frac\s*\{\s*\{?(-?[\d.,]+)\}?\s*\}\s*\{\s*\{?(-?[\d.,]+)\}?\s*\}"
    )
    text = re.sub(fraction, _over, text)
    return re.sub(r"(\d)\s*‹", r"\1 ", text).replace("‹", "").replace("⁄", "/")


def numerals(text: str) -> list[Numeral]:
    """The numerals of a text from `normal_text`, in order, including those that are no number."""
    parts = _pieces(text)
    dates = [date.span() for date in _DATE.finditer(text)]
    found: list[Numeral] = []
    at = 0
    while at < len(parts):
        start, end, plain = parts[at]
        at += 1
        if any(first <= start < last for first, last in dates):
            plain = None
        if plain is not None and "," in plain:  # a list
            for one in re.finditer(r"\d+(?:\.\d+)?", text[start:end]):
                found.append(Numeral(start + one.start(), start + one.end(), one[0]))
            continue
        if plain is not None and (after := _SCIENTIFIC.match(text, end)):
            plain, end = f"{plain}e{int(after[1])}", after.end()
        elif plain is not None and (after := _POWER.match(text, end)):
            plain, end = _power(plain, int(after[1] or after[2])), after.end()
        elif _GOES_ON.match(text, end):
            plain = None
        elif plain is not None and "/" not in plain and (after := _LETTER.match(text, end)):
            plain, end = f"{plain}e{_LETTERS[after[1]]}", after.end()
        elif plain is not None and "e" not in plain and (after := _DOZEN.match(text, end)):
            plain, end = _written(12 * Fraction(plain)), after.end()
        elif plain is not None and (after := _AND_PARTS.match(text, end)):
            plain, end = _with_parts(plain, after), after.end()
            if _SCALE.match(text, end):
                plain = None  # 1 and a half million
        elif plain is not None and "/" not in plain:
            plain, end = _scaled(plain, text, end)
        while at < len(parts) and parts[at][0] < end:  # the 10 of "x 10^3"
            at += 1
        before = text[max(0, start - NEAR) : start]
        sign = _SIGN.search(before)
        minus = (sign is not None and sign[1] == "-") or _SIGN_WORD.search(before) is not None
        if plain is not None and minus:
            plain = f"-{plain}"
        denied = DENIED.search(before) or (_BOUND.search(before) and not _TAG.search(before))
        found.append(Numeral(start, end, plain, bool(denied)))
    return found


def _scaled(plain: str, text: str, end: int) -> tuple[str, int]:
    """A number and its end, with the powers of ten that follow it in words."""
    power = 0
    while after := _SCALE.match(text, end):
        word = (after[1] or after[2]).lower()
        power += {**_SCALES, **_OTHER_SCALES, **_EASTERN}[word]
        end = after.end()
    return (f"{plain}e{power}" if power else plain), end


def _with_parts(plain: str, parts: re.Match[str]) -> str | None:
    """A whole number and a fraction in words; None for any other number before it."""
    if not plain.isdigit():
        return None
    count = _ONES.get(parts[1].lower(), 1)
    return _written(int(plain) + Fraction(count, _PARTS[parts[2].lower().removesuffix("s")]))


def _written(value: Fraction) -> str:
    return (
        str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
    )


def spoken_numerals(text: str) -> list[Numeral]:
    """The numbers in words of a text, in order; without text before a part (three quarters)."""
    found = []
    for run in _SPOKEN.finditer(text):
        for start, end in _each_spoken(text, run.start(), run.end()):
            words = text[start:end]
            value = _spoken(words)
            before = text[max(0, start - NEAR) : start]
            if value % 10 == 0 and value % 100 >= 20 and (last := _ORDINAL.match(text, end)):
                value, end = value + 1 + _ORDINALS.index(last[1].lower()), last.end()
            sign = _SIGN.search(before)
            minus = value and (
                re.match("minus|negative", words, re.I) or (sign is not None and sign[1] == "-")
            )
            of_parts = _IN_PARTS.match(text, end) or _OF_PARTS.search(before)
            plain = None if value >= 10**30 or of_parts else f"{'-' if minus else ''}{value}"
            found.append(Numeral(start, end, plain, DENIED.search(before) is not None, True))
    return found


def as_number(text: str) -> Fraction | None:
    """The exact value of a number as text: `1,234.5`, `-3`, `3/4`, `2e6`; None for anything else,
    and for powers of ten above 400."""
    plain = text.replace(",", "").replace(" ", "")
    match = re.fullmatch(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE]([-+]?\d+)|/\d+(?:\.\d+)?)?", plain)
    if match is None or abs(int(match[1] or 0)) > 400:
        return None
    above, _, below = plain.partition("/")
    try:
        return Fraction(above) / Fraction(below or 1)
    except (ValueError, ZeroDivisionError):
        return None


def _over(found: re.Match[str]) -> str:
    """A LaTeX fraction as `3/4` with its sign in front, after a whole number if there is one."""
    whole, above, below = found.groups()
    sign = "-" if above.startswith("-") != below.startswith("-") else ""
    return f"{whole + ' ' if whole else ''}{sign}{above.lstrip('-')}/{below.lstrip('-')}"


def _pieces(text: str) -> list[tuple[int, int, str | None]]:
    """Start, end and plain number of each run of digits, digit groups and fractions joined."""
    runs = [(m.start(), m.end(), m[0]) for m in _CHUNK.finditer(text)]
    found: list[tuple[int, int, str | None]] = []
    at = 0
    while at < len(runs):
        start, end, run = runs[at]
        at += 1
        if re.fullmatch(r"[1-9]\d{0,2}", run):  # 1 234 567,8
            digits = run
            while (
                at < len(runs)
                and text[end : runs[at][0]] == " "
                and re.fullmatch(r"\d{3}", digits[-3:].rjust(3, "0"))
                and (group := re.fullmatch(r"(\d{3})([.,]\d+)?", runs[at][2]))
            ):
                digits, end = digits + group[0].replace(",", "."), runs[at][1]
                at += 1
                if group[2]:
                    break
            if digits != run:
                found.append((start, end, digits))
                continue
        plain = _plain(run)
        if re.fullmatch(r"\d+,\d+", run) and re.fullmatch(
            r"[\[(][\])]", text[max(0, start - 1) : start] + text[end : end + 1]
        ):
            plain = None  # (3,4): a pair
        if re.search(r"[A-Za-z_]\d{1,3} $", text[max(0, start - 9) : start]) and len(run) == 3:
            plain = None  # of x1 000
        if (
            at < len(runs)
            and text[end : runs[at][0]] == " "
            and re.fullmatch(r"[1-9]\d{0,2}", run)
            and re.match(r"\d{3}-", runs[at][2])
        ):  # 1 000-2 000
            end = runs[at][1]
            at += 1
            while at < len(runs) and text[end : runs[at][0]] == " " and runs[at][2].isdigit():
                end = runs[at][1]
                at += 1
            found.append((start, end, None))
            continue
        if plain is not None and at < len(runs) and "," not in plain:
            between, (_, stop, after) = text[end : runs[at][0]], runs[at]
            over = re.fullmatch(r"(\d+)/(\d+)", after)
            if between == " " and run.isdigit() and over and int(over[1]) < int(over[2]):
                mixed = Fraction(int(run)) + Fraction(int(over[1]), int(over[2]))
                found.append((start, stop, f"{mixed.numerator}/{mixed.denominator}"))
                at += 1
                continue
            if re.fullmatch(r"\s+/\s*|\s*/\s+", between) and "/" not in plain:
                below = _plain(after)
                if below is not None and re.fullmatch(_PLAIN, below):
                    whole = f"{plain}/{below}"
                    plain, end = whole if as_number(whole) is not None else None, stop
                    at += 1
                while at < len(runs) and text[end : runs[at][0]].strip() == "/":  # 1 / 2 / 3
                    plain, end = None, runs[at][1]
                    at += 1
        found.append((start, end, plain))
    return found


def _plain(run: str) -> str | None:
    """A run of digits and signs as a number, `1,2,3` as it is, or None."""
    number, mark, power = run.partition("e") if "e" in run else run.partition("E")
    if mark:
        plain = _plain(number)
        return None if plain is None or "/" in plain or "," in plain else f"{plain}{mark}{power}"
    if re.fullmatch(_PLAIN, run):
        return run
    if re.fullmatch(_WESTERN, run):
        return run.replace(",", "")
    if re.fullmatch(_QUOTED, run):
        return re.sub("['_]", "", run).replace(",", ".")
    if re.fullmatch(_DOTTED, run):
        return run.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+,\d+", run):
        return run.replace(",", ".")
    if over := re.fullmatch(r"([^/]+)/([^/]+)", run):
        above, below = map(_plain, over.groups())
        if (
            above
            and below
            and "," not in above + below
            and as_number(f"{above}/{below}") is not None
        ):
            return f"{above}/{below}"
        return None
    if re.fullmatch(r"\d{1,3}(?:,\d+)+", run) and re.search(r",\d{3}(?!\d)", run):
        return None  # wrong digit groups
    return run if re.fullmatch(r"\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)+", run) else None


def _power(plain: str, power: int) -> str | None:
    """The power in plain notation (`2^3` as 8); None if it is very long."""
    try:
        base = Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return None
    if abs(power) > 100 or (base == 0 and power < 0):
        return None
    value = base**power
    size = max(value.numerator.bit_length(), value.denominator.bit_length())
    if size > 400:
        return None
    if value.denominator == 1:
        return str(value.numerator)
    return f"{value.numerator}/{value.denominator}"


def _each_spoken(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The places of the numbers in a run of number words ("three five", "three and five")."""
    words = [
        (word[0].lower(), start + word.start(), start + word.end())
        for word in re.finditer("[A-Za-z]+", text[start:end])
    ]
    found: list[tuple[int, int]] = []
    part, begin, before = 0, start, ""
    for at, (word, left, right) in enumerate(words):
        value = _ONES.get(word, _TENS.get(word))
        joins = before == "and" and at > 1 and words[at - 2][0] not in _SCALES
        tens = part % 100 >= 20 and part % 10 == 0 and 0 < (value or 0) < 10
        goes_on = value is None or not part or tens or part % 100 == 0
        if found and (joins or not goes_on):
            begin, part = left, 0
            found.append((left, right))
        elif word != "and":
            found[-1:] = [(begin, right)]
        if value is not None:
            part += value
        elif word in ("hundred", "dozen"):
            part = (part or 1) * (100 if word == "hundred" else 12)
        elif word in _SCALES:
            part = 0
        before = word
    return found


def _spoken(words: str) -> int:
    total = part = 0
    for word in re.findall(r"[a-z]+", words.lower()):
        if word in _ONES or word in _TENS:
            value = _ONES.get(word, _TENS.get(word, 0))
            tens = part % 100 >= 20 and part % 10 == 0 and 0 < value < 10
            part = part + value if part == 0 or tens or part % 100 == 0 else value
        elif word in ("hundred", "dozen"):
            part = (part or 1) * (100 if word == "hundred" else 12)
        elif word in _SCALES:
            total += (part or 1) * 10 ** _SCALES[word]
            part = 0
    return total + part


def _character(one: str) -> str:
    if one < "\x80":
        return one
    if one in _DASHES:
        return "-"
    if one in "’ʼ‘′":
        return "'"
    kind = unicodedata.category(one)
    if kind == "Nd":
        return str(unicodedata.decimal(one))
    if kind == "Zs":
        return " "
    if kind == "Sc" and one not in "€£¥₹":
        return "€"
    if kind == "No" and "⁄" in (parts := unicodedata.normalize("NFKC", one)):
        return "‹" + parts  # ½; the mark separates it from a digit before it
    if "！" <= one <= "～":
        return unicodedata.normalize("NFKC", one)
    return {"٫": ".", "٬": ",", "∕": "/"}.get(one, one)
