"""What joins two answers, neither of which is meant alone: or, and, a comma, a dash."""

from __future__ import annotations

from .asides import HEDGE

__all__ = ["ALSO", "OTHER"]

ALSO = r"\s*(?:/|\||&|\+|,?\s*\b(?:and/or|or|and|nor|as well as)\b)\s*"
"""A word or sign between two answers of any kind (yes or no)."""
OTHER = (
    rf"{HEDGE}?(?:{ALSO}|\s*[,;-]+\s*|\s+(?:to|through)\s+)(?:(?:maybe|perhaps|possibly|also)\s+)?"
)
"""What parts two choices (A, or maybe B)."""
