"""Capitals and spacing restored by rule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aps_text.text.capitals import join_punctuation, restore_capitals


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a violin is old.", "A violin is old."),
        ("yes. it is! is it? no.", "Yes. It is! Is it? No."),
        ("what i know, i'm sure i do", "What I know, I'm sure I do"),
        ("for example: i.e. nothing", "For example: i.e. nothing"),
        ("the french king on monday", "The French king on Monday"),
        ("japan's capital", "Japan's capital"),
        ("may march be kind", "May march be kind"),
        ('"a big house." so', '"A big house." So'),
        ("", ""),
    ],
)
def test_restore_capitals(raw, expected):
    assert restore_capitals(raw) == expected


@given(st.text(alphabet="abi .!?'\"", max_size=30))
@settings(deadline=None)
def test_capitals_change_case_only_and_settle(text):
    once = restore_capitals(text)
    assert once.lower() == text.lower()
    assert restore_capitals(once) == once


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a , b .", "a, b."),
        ("self - made", "self-made"),
        ("it ' s here", "it's here"),
        ("( so )", "(so)"),
        ('say " a big house . "', 'say "a big house."'),
    ],
)
def test_join_punctuation(raw, expected):
    assert join_punctuation(raw) == expected
