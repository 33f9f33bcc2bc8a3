"""Masked training rows, distributed like the sampler's canvases.

A row is `[CLS] question [SEP] canvas`; the canvas holds `C` positions: the answer, the stop token
`[SEP]`, and further stop tokens to the end. Each canvas position is masked with probability `t`;
then everything after the FIRST revealed stop token becomes `[PAD]` (not attended, no loss), because
the sampler, once a stop token is committed, fills all later positions with `[PAD]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = [
    "Batch",
    "TokenIds",
    "canvas_of",
    "cut_after_stop",
    "draw_times",
    "make_batches",
    "own_lengths",
]


@dataclass(frozen=True)
class TokenIds:
    """Ids of the special tokens."""

    pad: int = 0
    unk: int = 1
    cls: int = 2
    stop: int = 3
    mask: int = 4


@dataclass
class Batch:
    """`ids`, `target` and `weight`, all `(B, L)`; the loss weight is 0 at positions without a
    loss."""

    ids: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor

    @property
    def tokens(self) -> int:
        """The number of positions, including padding."""
        return self.ids.numel()

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(self.ids.to(device), self.target.to(device), self.weight.to(device))

    def split(self, parts: int) -> list[Batch]:
        """The rows in up to `parts` batches of about equal size."""
        fields = (self.ids, self.target, self.weight)
        return [
            Batch(*f)
            for f in zip(*(x.tensor_split(parts) for x in fields), strict=True)
            if len(f[0])
        ]


def draw_times(rows: int, full: float, generator: torch.Generator) -> torch.Tensor:
    """Mask probabilities `(rows,)`: a fraction `full` is 1, the others stratified of density 2t."""
    u = (torch.arange(rows) + torch.rand(rows, generator=generator)) / rows
    t = u.sqrt()[torch.randperm(rows, generator=generator)]
    t[torch.rand(rows, generator=generator) < full] = 1.0
    return t


def canvas_of(answers: list[list[int]], length: int, ids: TokenIds) -> torch.Tensor:
    """Clean canvases `(B, length)`: answer, then stop tokens to the end.

    Raises:
        ValueError: an answer leaves no room for its stop token.
    """
    canvas = torch.full((len(answers), length), ids.stop)
    for row, answer in enumerate(answers):
        if len(answer) >= length:
            raise ValueError(
                f"an answer of {len(answer)} pieces does not fit: at most {length - 1} do; use a "
                "longer canvas"
            )
        canvas[row, : len(answer)] = torch.tensor(answer, dtype=torch.long)
    return canvas


def cut_after_stop(z: torch.Tensor, ids: TokenIds) -> torch.Tensor:
    """`z (B, C)` with `[PAD]` everywhere after the first revealed stop token of each row."""
    stops = (z == ids.stop).int()
    behind = (stops.cumsum(1) - stops) > 0
    return z.masked_fill(behind, ids.pad)


def mask_canvas(
    canvas: torch.Tensor, t: torch.Tensor, ids: TokenIds, tail: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masked and cut canvas `(B, C)` and its loss weights: 1 up to the stop token, `tail` after it.

    At least one position up to the stop token is masked in each row. After the stop token one
    masked position in four has a loss, with four times the weight: the same expectation, and the
    head has fewer rows to compute.
    """
    rows, length = canvas.shape
    hidden = torch.rand(rows, length, generator=generator) < t[:, None]
    stop_at = (canvas == ids.stop).int().argmax(1)
    forced = (torch.rand(rows, generator=generator) * (stop_at + 1)).long()
    hidden[torch.arange(rows), forced] |= ~(
        hidden & (torch.arange(length) <= stop_at[:, None])
    ).any(1)
    z = cut_after_stop(canvas.masked_fill(hidden, ids.mask), ids)
    sampled = (torch.rand(rows, length, generator=generator) < 0.25) * 4.0 * tail
    weight = torch.where(torch.arange(length) <= stop_at[:, None], 1.0, sampled)
    return z, weight * (z == ids.mask)


def own_lengths(
    answers: list[list[int]], lengths: Sequence[int], generator: torch.Generator
) -> torch.Tensor:
    """A canvas length for each answer `(B,)` int64, drawn evenly from those of `lengths` that hold
    it and its stop token.

    Raises:
        ValueError: an answer that none of them holds.
    """
    table = torch.tensor(sorted(lengths))
    own = torch.tensor([len(answer) for answer in answers])
    fits = table > own[:, None]
    if not bool(fits.any(1).all()):
        raise ValueError(
            f"an answer of {int(own.max())} pieces fits none of the canvases {table.tolist()}; add "
            "a longer one"
        )
    first = fits.int().argmax(1)  # the shortest that fits
    u = torch.rand(len(answers), generator=generator)
    return table[first + (u * (len(table) - first)).long()]


def make_batches(
    prompts: list[list[int]],
    answers: list[list[int]],
    *,
    canvas_length: int,
    budget: int,
    ids: TokenIds,
    generator: torch.Generator,
    full: float = 0.2,
    tail: float = 0.1,
    shorter: Sequence[int] = (),
) -> list[Batch]:
    """Mask a pool of rows, sort them by length and cut it into batches of about `budget` tokens.

    `prompts` hold `[CLS] question [SEP]`, `answers` the bare answer pieces. The order of the
    batches is random.

    Args:
        shorter: further lengths of a canvas. A row gets one of these and `canvas_length`, of those
            that hold its answer, with equal probability; so most rows cost fewer positions, and
            the model learns to answer at each length.
    """
    canvas = canvas_of(answers, canvas_length, ids)
    t = draw_times(len(answers), full, generator)
    z, weight = mask_canvas(canvas, t, ids, tail, generator)
    attended = (z != ids.pad).sum(1)
    if shorter:
        own = own_lengths(answers, (*shorter, canvas_length), generator)
        attended = torch.minimum(attended, own)
    kept = attended.tolist()
    lengths = [len(p) + k for p, k in zip(prompts, kept, strict=True)]
    order = sorted(range(len(prompts)), key=lengths.__getitem__)
    batches, start = [], 0
    while start < len(order):
        end = start + 1
        while end < len(order) and lengths[order[end]] * (end + 1 - start) <= budget:
            end += 1
        rows = order[start:end]
        width = max(lengths[r] for r in rows)
        out = torch.full((len(rows), width), ids.pad)
        target, loss = out.clone(), torch.zeros(len(rows), width)
        for i, r in enumerate(rows):
            at = len(prompts[r])
            out[i, :at] = torch.tensor(prompts[r])
            out[i, at : lengths[r]] = z[r, : kept[r]]
            target[i, at : lengths[r]] = canvas[r, : kept[r]]
            loss[i, at : lengths[r]] = weight[r, : kept[r]]
        batches.append(Batch(out, target, loss))
        start = end
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
