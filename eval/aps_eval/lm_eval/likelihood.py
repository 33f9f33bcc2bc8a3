"""log p(answer | prompt) of a masked diffusion model, estimated by Monte Carlo.

    log p(x) >= E[ L/l sum_{i in S} log x_theta^i[x^i](x with S masked) ],   l ~ U{1..L},  |S| = l

the any-order bound of masked diffusion, on L tokens (Nie et al. 2025, LLaDA, eq. 6). It is equal to
log p(x) if the conditionals are those of one joint distribution. The n samples are stratified:
l_j = 1 + floor(L (j + u) / n), which does not change the expectation. All requests of one length
share their draws, so that the options of a multiple choice are compared under the same masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aps_text.core.canvas import Canvas, positions_of
from aps_text.core.config import APSConfig
from aps_text.core.noise import Noise
from aps_text.core.operator import ZeroOperator
from aps_text.core.protocols import Denoiser
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral

__all__ = ["Bind", "Span", "greedy", "log_likelihoods"]

Bind = Callable[[Sequence[Sequence[int]], Sequence[int]], Denoiser]
"""Makes a denoiser of prompts (token ids) and canvas lengths, one of each per row."""


@dataclass(frozen=True)
class Span:
    """Tokens to score.

    Attributes:
        prompt: token ids that are bound in the denoiser.
        given: token ids on the canvas before the target.
        target: the scored token ids, at least one.
    """

    prompt: tuple[int, ...]
    given: tuple[int, ...]
    target: tuple[int, ...]


def log_likelihoods(
    bind: Bind,
    spans: Sequence[Span],
    *,
    samples: int,
    seed: int = 0,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] | None = None,
) -> list[float]:
    """The estimate of each span, in nats.

    Args:
        samples: n >= 1 forwards per span; a span of one token needs only one, which is exact.
        batch_size: rows per pass.
        device: of the denoisers.
        on_rows: called with the number of rows after each pass.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    rows = [
        (index, sample, samples if len(span.target) > 1 else 1)
        for index, span in enumerate(spans)
        for sample in range(samples if len(span.target) > 1 else 1)
    ]
    rows.sort(key=lambda row: len(spans[row[0]].prompt) + len(spans[row[0]].target))
    found = [0.0] * len(spans)
    for part in _parts(rows, batch_size):
        owners = [index for index, _, _ in part]
        draws = [row[1:] for row in part]
        values = _bound(bind, [spans[i] for i in owners], draws, seed, device)
        for index, value, (_, _, many) in zip(owners, values.tolist(), part, strict=True):
            found[index] += value / many
        if on_rows is not None:
            on_rows(len(part))
    return found


def greedy(
    bind: Bind,
    spans: Sequence[Span],
    mask_id: int,
    fill_id: int,
    *,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> list[bool]:
    """For each span, whether decoding at temperature 0, one token per step, gives the target."""
    found = [False] * len(spans)
    lengths = sorted({len(span.target) for span in spans})
    for length in lengths:
        config = APSConfig(
            steps=length, temperature=0.0, min_new_tokens=0, remasking="standard", adapter="logits"
        )
        these = [i for i, span in enumerate(spans) if len(span.target) == length]
        for part in _parts(these, batch_size):
            own = [spans[i] for i in part]
            canvas = Canvas.of(
                [[*span.given, *[mask_id] * length] for span in own],
                given=[[True] * len(span.given) + [False] * length for span in own],
                mask_id=mask_id,
                fill_id=fill_id,
                device=device,
            )
            denoiser = bind([one.prompt for one in own], [len(one.given) + length for one in own])
            zero = torch.zeros(len(own), dtype=torch.long, device=device)
            z = run(Ancestral(), denoiser, ZeroOperator(), canvas, config, Noise(zero, zero)).z
            for i, span, row in zip(part, own, z.tolist(), strict=True):
                first = len(span.given)
                found[i] = row[first : first + length] == list(span.target)
    return found


@torch.no_grad()
def _bound(
    bind: Bind,
    spans: Sequence[Span],
    samples: Sequence[tuple[int, int]],
    seed: int,
    device: torch.device | str,
) -> Tensor:
    """`L/l sum log x_theta` of each row, `(B,)`; `samples` are (j, n) by row."""
    starts = torch.tensor([len(span.given) for span in spans])
    lengths = torch.tensor([len(span.target) for span in spans])
    width = int((starts + lengths).max())
    number, many = torch.tensor(samples).unbind(-1)
    hidden, count = masked_sets(starts, lengths, number, many, width, seed)
    denoiser = bind([one.prompt for one in spans], (starts + lengths).tolist())
    z = torch.full((len(spans), width), 0)
    for row, one in enumerate(spans):
        z[row, : len(one.given) + len(one.target)] = torch.tensor([*one.given, *one.target])
    where = positions_of(hidden)
    answer = z[where]
    z[where] = denoiser.mask_id
    log_x = denoiser.logits(
        denoiser.trunk(z.to(device)), (where[0].to(device), where[1].to(device))
    )
    chosen = log_x.log_softmax(-1).cpu().double()[torch.arange(len(answer)), answer]
    total = torch.zeros(len(spans), dtype=torch.double).index_add(0, where[0], chosen)
    return total * lengths / count


def masked_sets(
    starts: Tensor, lengths: Tensor, number: Tensor, many: Tensor, width: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The masked positions of each row, `(B, W)` bool, and their number, `(B,)`.

    Args:
        starts, lengths: `(B,)` first position and number of the target's tokens.
        number, many: `(B,)` j and n of each row.
    """
    rows = torch.arange(len(lengths))
    seeds = torch.full_like(lengths, seed)
    shared = Noise(seeds, torch.zeros_like(seeds))
    u = shared.uniform(rows, torch.zeros_like(rows), 0, "likelihood count")
    count = 1 + ((number + u) / many * lengths).long().minimum(lengths - 1)
    cols = torch.arange(width).expand(len(lengths), -1) - starts[:, None]
    place = rows[:, None].expand_as(cols).flatten()
    keys = Noise(seeds, number).uniform(place, cols.flatten(), 0, "likelihood set")
    inside = (cols >= 0) & (cols < lengths[:, None])
    keys = torch.where(inside, keys.view_as(cols), torch.inf)
    return keys.argsort(-1).argsort(-1) < count[:, None], count


def _parts(items: Sequence, size: int) -> Iterator[Sequence]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
