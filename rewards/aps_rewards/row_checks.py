"""How a model scores rows: together or one by one, and from embeddings or from ids only.

A model should give a row the score it has alone, whatever else is in the batch, and the same score
for the row's embeddings as for its ids. Some do not: convolutions and Fourier layers mix padding
into a row (ConvBERT, Nystromformer, FNet), some heads find their token by the ids (ESM, CTRL,
BART), some refuse embeddings (T5). So both are tried on three short rows when a reward is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .guard import PASSED_ON, described
from .padding import padded

__all__ = ["Rows", "rows_of"]

LENGTHS = (2, 5, 9)
"""Tokens of the rows that are tried, those of the frame not counted."""

Score = Callable[..., Tensor]
"""Scores `(B,)` of rows: `score(mask, input_ids=...)` or `score(mask, inputs_embeds=...)`."""


@dataclass(frozen=True)
class Rows:
    """What a model needs.

    Attributes:
        alone: each row has to be scored in a forward of its own, without padding.
        embeds: rows may be given as embeddings.
        why_not: why they may not be; "" if they may.
    """

    alone: bool = False
    embeds: bool = True
    why_not: str = ""


@torch.no_grad()
def rows_of(
    score: Score,
    table: Tensor,
    words: Sequence[int],
    frame: tuple[Sequence[int], Sequence[int]],
    *,
    longest: int,
    pad_id: int,
) -> Rows:
    """Try a model.

    Args:
        score: the model's scores; rows are padded on the right.
        table: its embeddings `(V, d)`.
        words: ids of ordinary tokens, at least one.
        frame: ids before and after each row.
        longest: maximal number of tokens of a row, the frame's included.
        pad_id: the id of padding.

    Raises:
        Exception: whatever the model raises for a single row of ids.
    """
    before, after = frame
    room = longest - len(before) - len(after)
    sizes = sorted({max(1, min(size, room)) for size in LENGTHS})
    step = max(1, len(words) // sum(sizes))
    picked = iter([*words[::step], *words, *list(words) * sum(sizes)])
    rows = [[*before, *(next(picked) for _ in range(size)), *after] for size in sizes]
    ids, mask = padded(rows, table.device, pad_id=pad_id)
    live = mask.bool()
    single = [
        score(live[i : i + 1, : len(row)], input_ids=ids[i : i + 1, : len(row)])
        for i, row in enumerate(rows)
    ]
    alone = torch.cat(single).double()
    if len(alone) != len(rows):  # no score for each row, which every call will say
        return Rows()
    # Kernels round differently for other shapes: a few units in the last place of 16-bit weights.
    bound = max(1e-3, 16 * torch.finfo(table.dtype).eps) * alone.abs().max().clamp_min(1e-9)

    def same(found: Tensor) -> bool:
        return bool(((found.double() - alone).abs() <= bound).all())

    together = same(score(live, input_ids=ids))
    # Padding positions hold an ordinary token, as the library's own rows do.
    filled = torch.where(live, ids, rows[0][0])
    try:
        if together and same(score(live, inputs_embeds=table[filled])):
            return Rows()
        each = [
            score(live[i : i + 1, : len(row)], inputs_embeds=table[ids[i : i + 1, : len(row)]])
            for i, row in enumerate(rows)
        ]
        if same(torch.cat(each)):
            return Rows(alone=True)
        why = "it gives a text's embeddings another score than the text"
    except PASSED_ON:
        raise
    except Exception as error:  # the model's own refusal
        why = f"it takes no embeddings ({described(error)})"
    return Rows(alone=not together, embeds=False, why_not=why)
