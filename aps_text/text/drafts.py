"""The initial canvas of an answer: empty, with given text, or with a draft.

prefix + open + suffix    given text around an open span; the canvas has `length` tokens
template                  given text with [MASK] or [MASK:n] spans, n >= 1; its length is the
                          canvas's
init_text                 a draft: a random fraction of its tokens is masked, the rest is kept
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import torch

from ..core.noise import Noise
from .vocabulary import Vocabulary

__all__ = ["Draft", "draft"]

_SPAN = re.compile(r"\[MASK(?::(\d{1,9}))?\]")
_SPAN_LIKE = re.compile(r"\[\s*mask\b[^\[\]]{0,20}\]", re.I)
"""What is meant as a span, well written or not."""


@dataclass(frozen=True)
class Draft:
    """One row of a canvas.

    Attributes:
        tokens: token ids, `mask_id` where open.
        given: for each token, whether it must stay.
    """

    tokens: list[int]
    given: list[bool]

    @property
    def closed(self) -> bool:
        """Whether given text follows the last open position, so that no stop may be written."""
        return bool(self.given) and self.given[-1]


def draft(
    vocabulary: Vocabulary,
    length: int,
    noise: Noise,
    *,
    prefix: str | None = None,
    suffix: str | None = None,
    template: str | None = None,
    init_text: str | None = None,
    init_strength: float = 0.5,
    limit: int | None = None,
) -> Draft:
    """The initial canvas of one row; see the module.

    Args:
        vocabulary: the generator's tokens.
        length: canvas length in tokens; not used with a template.
        noise: of this one row; the tokens of a draft to mask are drawn from it.
        prefix, suffix: given text before and after the open span. The space beside the span is the
            model's: one that ends the prefix is left out, and a suffix that starts with a letter or
            digit gets one. A template is taken to the letter.
        template: given text with spans; excludes prefix, suffix and init_text.
        init_text: a draft of the open span.
        init_strength: probability with which each token of the draft is masked, in (0, 1]; at
            least one position is open.
        limit: maximal number of open positions in a template; None is no limit.

    Raises:
        ValueError: a template with other text, given text that leaves no open position, a template
            without a span or with one that is written otherwise ([mask], [MASK: 2], [MASK:0]), a
            strength outside (0, 1].
    """
    if template is not None:
        if prefix or suffix or init_text:
            raise ValueError(
                "template excludes prefix, suffix and init_text; leave those out, or the template"
            )
        return _of_template(vocabulary, template, limit)
    # Tokens that hold their space would glue a word to the one before it.
    prefix = prefix and prefix.rstrip(" ")
    if suffix and _begins_a_word(suffix):
        suffix = f" {suffix}"
    if init_text and prefix and not prefix[-1].isspace() and _begins_a_word(init_text):
        init_text = f" {init_text}"
    before, after, drafted = (vocabulary.encode(text or "") for text in (prefix, suffix, init_text))
    room = length - len(before) - len(after)
    if room < 1:
        raise ValueError(
            f"prefix and suffix have {len(before) + len(after)} tokens and the canvas {length}, so "
            "nothing is open; raise max_new_tokens"
        )
    middle = [vocabulary.mask_id] * room
    if init_text is not None:
        if not 0 < init_strength <= 1:
            raise ValueError(f"init_strength lies in (0, 1], got {init_strength}")
        if len(drafted) > room:
            raise ValueError(
                f"init_text has {len(drafted)} tokens for {room} open positions; raise "
                "max_new_tokens"
            )
        positions = torch.arange(len(drafted))
        drawn = noise.uniform(torch.zeros_like(positions), positions, 0, "draft")
        for at, again in enumerate((drawn < init_strength).tolist()):
            if not again:
                middle[at] = drafted[at]
        if vocabulary.mask_id not in middle:  # a draft that fills the canvas: mask one
            middle[int(drawn.argmin())] = vocabulary.mask_id
    sides = [True] * len(before), [False] * room, [True] * len(after)
    return Draft([*before, *middle, *after], [*sides[0], *sides[1], *sides[2]])


def _begins_a_word(text: str) -> bool:
    """Whether a space goes before it: not in scripts of wide characters, which have none."""
    return text[0].isalnum() and unicodedata.east_asian_width(text[0]) not in "WF"


def _of_template(vocabulary: Vocabulary, template: str, limit: int | None) -> Draft:
    """The canvas of a template: its text is given, its spans are open."""
    for written in _SPAN_LIKE.finditer(template):
        span = _SPAN.fullmatch(written[0])
        if span is None or int(span[1] or 1) < 1:
            raise ValueError(
                f"the template has {written[0]!r}, which is no span; write [MASK], or [MASK:n] "
                "with a whole number n from 1 on"
            )
    # Texts and sizes of spans alternate; behind the last text there is none.
    parts = _SPAN.split(template)
    sizes = [*(int(size or 1) for size in parts[1::2]), 0]
    wide = sum(sizes)
    if wide == 0:
        raise ValueError(f"the template {template!r} has no [MASK] or [MASK:n] span to fill")
    if limit is not None and wide > limit:
        raise ValueError(
            f"the template has {wide} open positions, more than the context of {limit} tokens; "
            "use shorter spans"
        )
    tokens: list[int] = []
    given: list[bool] = []
    for text, count in zip(parts[::2], sizes, strict=True):
        ids = vocabulary.encode(text)
        tokens += [*ids, *[vocabulary.mask_id] * count]
        given += [True] * len(ids) + [False] * count
    return Draft(tokens, given)
