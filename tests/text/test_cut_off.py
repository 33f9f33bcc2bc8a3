"""Which answers may have been cut off by the end of their canvas."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_text_model

from aps_text import APSPipeline
from aps_text.core.canvas import Canvas
from aps_text.text.decoding import cut_off

MASK, FILL, STOP = 90, 91, 92


def judged(rows, texts, given=None):
    """Each row of tokens on a canvas of its own length, and its text."""
    opened = [[MASK] * len(row) for row in rows]
    kwargs = {"mask_id": MASK, "fill_id": FILL, "stop_ids": (STOP,), "given": given}
    canvas = Canvas.of(opened, **kwargs)
    z = Canvas.of(rows, **kwargs).z
    return cut_off(canvas, z, texts)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("a king of the", True),
        ("a king, and", True),
        ("a king.", False),
        ("a king!  ", False),
        ('he said "no."', False),
        ('{"name": "king"}', False),
        ("a king …", False),
        ("国王。", False),
        ("**a king.**", False),
        ("「国王」（王）", False),
        ("a 3.5", True),
        ("", False),
    ],
)
def test_a_full_canvas_is_cut_where_no_sentence_ends(text, cut):
    assert judged([[1, 2, 3]], [text]) == [cut]


def test_rows_are_judged_at_their_own_length():
    rows = [[1, 2, 3, 4], [1, 2], [1, STOP], [1, 2, STOP, FILL], [1, 2, 3, STOP]]
    assert judged(rows, ["a king of"] * 5) == [True, True, False, False, False]


def test_given_text_at_the_end_is_no_cut():
    given = [[False, False, True], [True, False, False]]
    assert judged([[1, 2, 3]] * 2, ["a king of"] * 2, given) == [False, True]


def test_answers_say_whether_they_were_cut():
    pipe = APSPipeline(tiny_text_model())
    prompts = ["what is a violin ?", "why ?", "who ?", "a dog is what ?"]
    never = pipe.generate(prompts, steps=4, max_new_tokens=8, eos_penalty=-1000.0)
    assert never.cut_off == [False] * 4  # a stop token comes first of all
    full = pipe.generate(prompts, steps=4, max_new_tokens=8, min_new_tokens=7, eos_penalty=1000.0)
    ends = [text[-1:] in tuple(".?") for text in full.text]
    assert full.cut_off == [not one for one in ends]
    assert any(full.cut_off)
    assert full[1:3].cut_off == full.cut_off[1:3]
    assert all(len(ids) == 8 for ids in full.token_ids)
    infilled = pipe.generate(prompts, start={"suffix": "a dog"}, steps=4, max_new_tokens=8)
    assert infilled.cut_off == [False] * 4


def test_a_row_that_holds_no_stop_token_by_chance_is_told_from_padding():
    canvas = Canvas.of([[MASK] * 2, [MASK] * 4], mask_id=MASK, fill_id=FILL, stop_ids=(STOP,))
    z = torch.tensor([[1, 2, FILL, FILL], [1, 2, FILL, FILL]])
    assert cut_off(canvas, z, ["of", "of"]) == [True, False]
