"""The canvas before the first step: what is open, what is given, how much of a draft is kept."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import WORDS, tiny_text_model

from aps_text.core.noise import Noise
from aps_text.text.drafts import draft

VOCABULARY = tiny_text_model().vocabulary
MASK = VOCABULARY.mask_id
texts = st.lists(st.sampled_from(WORDS[:40]), min_size=1, max_size=6).map(" ".join)


def of(seed: int, length: int, **options):
    return draft(VOCABULARY, length, Noise(torch.tensor([seed]), torch.tensor([0])), **options)


@given(texts, texts, st.integers(1, 5))
def test_given_text_stays_and_the_rest_is_open(prefix, suffix, room):
    before, after = (
        VOCABULARY.tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in (prefix, suffix)
    )
    length = len(before) + room + len(after)
    row = of(0, length, prefix=prefix, suffix=suffix)
    assert row.tokens == [*before, *[MASK] * room, *after]
    assert row.given == [True] * len(before) + [False] * room + [True] * len(after)
    assert row.closed
    filled = of(0, length, template=f"{prefix} [MASK:{room}] {suffix}")
    assert (filled.tokens, filled.given) == (row.tokens, row.given)


@given(st.integers(0, 10**6), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_stronger_start_masks_more_of_the_same_draft(seed, one, two):
    low, high = sorted((one, two))
    text = " ".join(WORDS[:20])
    weak, strong = (of(seed, 24, init_text=text, init_strength=s).tokens for s in (low, high))
    opened = [{i for i, token in enumerate(row) if token == MASK} for row in (weak, strong)]
    assert opened[0] <= opened[1]
    assert not any(of(seed, 24, init_text=text, init_strength=low).given)
    assert set(of(seed, 24, init_text=text, init_strength=1.0).tokens) == {MASK}


def test_the_share_that_is_masked_is_the_strength():
    text, count = " ".join(WORDS[:20]), 0
    for seed in range(200):
        row = of(seed, 20, init_text=text, init_strength=0.2).tokens
        count += row.count(MASK)
    assert abs(count / 4000 - 0.2) < 0.03  # 4.7 standard deviations


@pytest.mark.parametrize("span", ["[mask]", "[MASK: 2]", "[MASK:2.5]", "[MASK:-1]", "[MASK:0]"])
def test_a_span_that_is_written_otherwise_is_no_given_text(span):
    with pytest.raises(ValueError, match="which is no span; write"):
        of(0, 9, template=f"violin {span} [MASK]")
    kept = of(0, 9, template="violin [masked] [MASK:2]")  # another word is text
    assert (kept.tokens.count(MASK), kept.given.count(False)) == (2, 2)


@pytest.mark.parametrize(
    ("prefix", "suffix", "whole"),
    [
        ("A dog is ", "with a tail.", "A dog is____ with a tail."),
        ("A dog is", " with a tail.", "A dog is____ with a tail."),
        ("Here:\n", ", and so on.", "Here:\n____, and so on."),
        ("", "7 days", "____ 7 days"),
        ("犬は", "動物", "犬は____動物"),
    ],
)
def test_words_of_given_text_do_not_run_into_the_span(prefix, suffix, whole):
    letters = SimpleNamespace(encode=lambda text: [ord(c) for c in text], mask_id=ord("_"))
    length = len(whole)
    row = draft(letters, length, Noise(torch.tensor([0]), torch.tensor([0])), prefix=prefix,
                suffix=suffix)  # fmt: skip
    assert "".join(map(chr, row.tokens)) == whole


def test_a_draft_does_not_run_into_the_prefix():
    letters = SimpleNamespace(encode=lambda text: [ord(c) for c in text], mask_id=ord("_"))
    noise = Noise(torch.tensor([0]), torch.tensor([0]))
    for prefix, start in (("A dog is ", "A dog is "), ("Here:\n", "Here:\n")):
        row = draft(letters, 40, noise, prefix=prefix, init_text="a cat", init_strength=1e-6)
        kept = "".join(map(chr, row.tokens)).rstrip("_")
        assert kept == f"{start}a cat"
