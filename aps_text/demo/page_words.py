"""Warnings in the words of the page: its controls have other names than the settings of a call.

Advice that no control of the page can follow is left out, or says what else helps.
"""

from __future__ import annotations

import re

__all__ = ["for_the_page"]

WORDS = [
    (r",? or a larger pool_size than \d+", ""),
    (r", a larger pool_size than \d+", ""),
    (r"a larger pool_size or a higher temperature draws others, a graded", "a graded"),
    (r"; a higher temperature draws others", "; a question with more than one answer leaves room"),
    (r"a smaller temperature or another seed writes others", "another Seed writes others"),
    (r"; raise init_strength, the part of it that is, or lower guidance_start", ""),
    (r"inner_steps=0 fits no adapter", "no adapter is fitted"),
    (r"; give a pool_size of 2 or more, or inner_steps", "; take another Preset"),
    (r"lower guidance_start, or take no more steps than tokens", "take no more Steps than Tokens"),
    (r" Try relaxation='quantized', more steps, or estimator='rloo'", " Try more Steps"),
    (r"raise num_samples, or use a reward", "use a reward"),
    (r"\. Compare with bridge='rloo', which scores the text itself", ""),
    (r", draw more answers by a larger pool_size, or", ", or"),
    (r"try it on answers that differ: aps.*", "try another reward, or other Options of this one"),
    (r"\ba smaller beta\b", "a smaller Beta"),
    (r"\banother seed\b", "another Seed"),
    (r"\bmax_new_tokens\b", "Tokens"),
]
"""Patterns of the texts of `pipelines.diagnosis`, `unvaried` and `comparison`, in this order."""

PLACE = "Tokens and Steps stand under More rewards and length."


def for_the_page(warning: str) -> str:
    """A warning, or an error, in the words of the page's controls."""
    found = warning
    for pattern, words in WORDS:
        found = re.sub(pattern, words, found, flags=re.DOTALL)
    if found != warning and re.search(r"\b(Tokens|Steps)\b", found):
        found = f"{found.rstrip('.')}. {PLACE}"
    return found
