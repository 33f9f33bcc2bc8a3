"""A text as the readers of answers take it: one kind of dash, space, digit and fraction."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normal_text"]

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
    text = _MARKUP.sub("", re.sub(r"(?<!\.)\.{2,}(?=\d)", " … ", text))
    for name, sign in _LATEX.items():
        text = text.replace(name, sign)
    fraction = (
        r"(?:(\d)\s*)?\\[dtc]?frac\s*\{\s*\{?(-?[\d.,]+)\}?\s*\}\s*\{\s*\{?(-?[\d.,]+)\}?\s*\}"
    )
    text = re.sub(fraction, _over, text)
    return re.sub(r"(\d)\s*‹", r"\1 ", text).replace("‹", "").replace("⁄", "/")


def _over(found: re.Match[str]) -> str:
    """A LaTeX fraction as `3/4` with its sign in front, after a whole number if there is one."""
    whole, above, below = found.groups()
    sign = "-" if above.startswith("-") != below.startswith("-") else ""
    return f"{whole + ' ' if whole else ''}{sign}{above.lstrip('-')}/{below.lstrip('-')}"


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
