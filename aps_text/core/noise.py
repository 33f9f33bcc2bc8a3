"""Noise that is counted, not consumed: every draw is a hash of its coordinates.

    u = hash(row_seed, particle, step, position, stream, k)  in (0, 1)

A prompt's draws depend on its own seed and on nothing else: not on its neighbours in the batch, on
rows that finished, or on how many draws were made before. The hash is the SplitMix64 finaliser
(Steele, Lea, Flood 2014), applied once per coordinate in wrapping 64-bit integers.

From a small vocabulary a token is drawn by inverting the cumulative sum, from a large one by a
race of its likeliest tokens (`raced`), which rounding decides more rarely.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Noise", "drawn", "inverted"]

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of signed 64-bit integers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(state: Tensor, value: Tensor | int) -> Tensor:
    """Absorb one coordinate into the state."""
    if isinstance(value, int):
        value = state.new_tensor(value)  # tensors wrap at 64 bits, Python integers do not
    x = state ^ (value * _GOLDEN + _MIX_1)
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _open_unit(state: Tensor) -> Tensor:
    """64 random bits to (0, 1), float64. Only 52 are used: then `n + 1/2` is exact and never 1."""
    return (_shift(state, 12).double() + 0.5) * 2.0**-52


@dataclass(frozen=True)
class Noise:
    """Draws for B rows.

    Attributes:
        row_seed: `(B,)` int64, one seed per prompt.
        particle: `(B,)` int64, which of the prompt's parallel samples a row is.
    """

    row_seed: Tensor
    particle: Tensor

    def take(self, rows: Tensor) -> Noise:
        """The noise of other rows, `(B',)` int64."""
        return Noise(self.row_seed[rows], self.particle[rows])

    def _state(self, rows: Tensor, step: int, stream: str) -> Tensor:
        state = _mix(torch.zeros_like(rows), self.row_seed[rows])
        state = _mix(state, self.particle[rows])
        return _mix(_mix(state, step), zlib.crc32(stream.encode()))

    def uniform(
        self, rows: Tensor, position: Tensor, step: int, stream: str, count: int | None = None
    ) -> Tensor:
        """Uniforms in the open interval (0, 1), float64.

        Args:
            rows, position: `(N,)` int64: whose draw, and where on the canvas.
            step: the denoising step.
            stream: what the draw is for; streams are independent.
            count: None for `(N,)`, else `(N, count)` independent draws per position.
        """
        state = _mix(self._state(rows, step, stream), position)
        if count is not None:
            state = _mix(state[:, None], torch.arange(count, device=rows.device)[None, :])
        return _open_unit(state)

    def gumbel(self, rows: Tensor, position: Tensor, step: int, stream: str, count: int) -> Tensor:
        """Standard Gumbel draws `(N, count)`, float64."""
        return -(-self.uniform(rows, position, step, stream, count).log()).log()

    def normal(self, step: int, stream: str, count: int) -> Tensor:
        """Standard normal draws `(B, count)` per row, float32, by Box and Muller."""
        rows = torch.arange(len(self.row_seed), device=self.row_seed.device)
        u = self.uniform(rows, torch.zeros_like(rows), step, stream, 2 * count)
        radius = (-2 * u[:, :count].log()).sqrt()
        return (radius * (2 * math.pi * u[:, count:]).cos()).float()

    def categorical(
        self,
        probs: Tensor,
        rows: Tensor,
        position: Tensor,
        step: int,
        stream: str,
        ids: Tensor | None = None,
        size: int | None = None,
    ) -> Tensor:
        """One column per distribution: `(N, W)` -> `(N,)`; see `drawn`."""
        u = self.uniform(rows, position, step, stream)
        return drawn(probs, u[:, None], ids, size).squeeze(-1)


BLOCK, LARGE, RACING, ROWS = 512, 32_768, 64, 64
"""A vocabulary of at least LARGE tokens is drawn from by a race of the RACING likeliest. Where the
others win it, `inverted` searches them in blocks of BLOCK tokens, for ROWS distributions at a time.
"""


def drawn(probs: Tensor, u: Tensor, ids: Tensor | None = None, size: int | None = None) -> Tensor:
    """Columns `(N, n)` of `probs (N, W)`, one for each uniform of `u (N, n)` in (0, 1).

    Probabilities need not sum to 1; a token of probability 0 is never drawn.

    Args:
        ids: `(N, W)` tokens of the columns, ascending but for a padding of probability 0; None: the
            columns are the vocabulary. The same u draws the same token either way.
        size: of the vocabulary, which decides how it is drawn from; None is W.
    """
    size = size or probs.shape[-1]
    return inverted(probs, u) if size < LARGE else raced(probs, u, ids, size)


def raced(probs: Tensor, u: Tensor, ids: Tensor | None = None, size: int | None = None) -> Tensor:
    """`drawn` as argmin_k E_k / p_k, with E_k = -log of a hash of u and token k (Gumbel-max).

    The RACING likeliest tokens race against all others together; where these win, one of them is
    found by inversion. Logits that differ in their last bits, as they do by the rows of a batch and
    by threads, give another token only where two tokens arrive nearly at once; an inversion does
    where u lies beside any bound of its many intervals.
    """
    size = size or probs.shape[-1]
    likeliest, columns = probs.topk(min(RACING, probs.shape[-1]), -1)
    others = probs.sum(-1, keepdim=True) - likeliest.sum(-1, keepdim=True)
    masses = torch.cat([likeliest, others.clamp_min(0)], -1).double()
    tokens = columns if ids is None else ids.gather(-1, columns)
    runners = torch.cat([tokens, tokens.new_full((len(tokens), 1), size)], -1)
    state = (u * 2.0**52).long()[..., None]
    arrival = -_open_unit(_mix(state, runners[:, None])).log() / masses[:, None]
    ahead = arrival.argmin(-1)
    beaten = ahead == columns.shape[-1]
    first = columns.gather(-1, ahead.masked_fill(beaten, 0))
    for some in beaten.any(-1).nonzero().squeeze(-1).split(ROWS):
        rest = probs[some].scatter(-1, columns[some], 0.0)
        found = inverted(rest, _open_unit(_mix(state[some, :, 0], size + 1)))
        rounding = rest.gather(-1, found) == 0  # there were no others, only the rounding of sums
        next_ = columns[some].gather(-1, arrival[some, :, :-1].argmin(-1))
        found = torch.where(rounding, next_, found)
        first[some] = torch.where(beaten[some], found, first[some])
    return first


def inverted(probs: Tensor, u: Tensor) -> Tensor:
    """Token ids `(N, n)` by inverting the cumulative sum of `probs (N, K)` at `u (N, n)` in (0, 1).

    Probabilities need not sum to 1; a token of probability 0 is never drawn. For a large vocabulary
    the block is found first and then the token in it, which avoids a cumulative sum over all
    tokens.
    """
    size = probs.shape[-1]
    if size < LARGE:
        cumulative = probs.double().cumsum(-1)
        at = _below(u * cumulative[:, -1:], cumulative[:, -1:])
        found = torch.searchsorted(cumulative, at, right=True)
        return found.clamp_max(size - 1)  # NaN is found past the end; Step.report raises
    whole = size // BLOCK * BLOCK
    blocks = probs[:, :whole].unflatten(-1, (-1, BLOCK)).sum(-1, dtype=torch.double)
    if whole < size:
        rest = probs[:, whole:].sum(-1, keepdim=True, dtype=torch.double)
        blocks = torch.cat([blocks, rest], -1)
    cumulative = blocks.cumsum(-1)
    at = _below(u * cumulative[:, -1:], cumulative[:, -1:])
    chosen = torch.searchsorted(cumulative, at, right=True).clamp_max(blocks.shape[-1] - 1)
    inside = at - (cumulative - blocks).gather(-1, chosen)
    ids = chosen[..., None] * BLOCK + torch.arange(BLOCK, device=probs.device)
    own = probs.gather(-1, ids.clamp_max(size - 1).flatten(1)).view(ids.shape).double()
    own = own.masked_fill(ids >= size, 0.0)
    running = own.cumsum(-1)
    last = running[..., -1:]
    token = torch.searchsorted(running, _below(inside[..., None].clamp_min(0), last), right=True)
    return (chosen * BLOCK + token.squeeze(-1)).clamp_max(size - 1)


def _below(at: Tensor, end: Tensor) -> Tensor:
    """`at`, but strictly below `end`, which rounding may otherwise reach."""
    return at.minimum(end.nextafter(torch.zeros_like(end)))
