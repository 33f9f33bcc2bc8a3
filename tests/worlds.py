"""Small worlds where everything can be enumerated: tables as denoisers and as rewards.

Ids 0..K-1 are tokens, K is the mask, K+1 the fill token (padding, and behind a stop token). The
denoisers suppress both. Everything is float64 unless a table is cast.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aps_text.core.adapters import LogitsAdapter
from aps_text.core.canvas import Canvas
from aps_text.core.codebook import VectorCodebook
from aps_text.core.noise import Noise
from aps_text.core.operator import Scores
from aps_text.core.step import Step

SUPPRESSED = -1e9


def logits_adapter(batch, config):
    """A logits phi at the configuration's rate; these worlds have no layers for another."""
    phi = config.sampler.fit.phi
    return LogitsAdapter(batch, phi.learning_rate, phi.adam_eps)


def with_suppressed(log_probs: Tensor, columns: int) -> Tensor:
    """Append `columns` suppressed ids: `(N, K)` -> `(N, K + columns)`."""
    return torch.cat([log_probs, log_probs.new_full((len(log_probs), columns), SUPPRESSED)], -1)


@dataclass(frozen=True)
class TableDenoiser:
    """x_theta from a joint table p(x) over K^L answers: exact conditional marginals.

    `table (B, K, ..., K)` positive; canvas ids >= K are unknown. `suppressed` columns follow the
    K tokens (0 for image tokens, whose mask is no id of the codebook).
    """

    table: Tensor
    suppressed: int = 2

    @property
    def mask_id(self) -> int:
        return self.table.shape[1]

    @property
    def vocab_size(self) -> int:
        return self.table.shape[1] + self.suppressed

    def take(self, rows):
        return replace(self, table=self.table[rows])

    def trunk(self, z):
        return z

    def logits(self, state, where, phi=None):
        joint, axes = self.table, range(1, self.table.ndim)
        for axis in axes:
            token = state[:, axis - 1, None]
            fits = (token == torch.arange(self.mask_id)) | (token >= self.mask_id)
            shape = [len(state)] + [self.mask_id if a == axis else 1 for a in axes]
            joint = joint * fits.view(shape)
        marginals = torch.stack([_sum_but(joint, axis) for axis in axes], 1)[where]
        return with_suppressed((marginals / marginals.sum(-1, keepdim=True)).log(), self.suppressed)

    def new_adapter(self, config, noise):
        return logits_adapter(len(self.table), config)


def _sum_but(joint: Tensor, axis: int) -> Tensor:
    other = [a for a in range(1, joint.ndim) if a != axis]
    return joint.sum(other) if other else joint


@dataclass(frozen=True)
class FactorDenoiser:
    """x_theta with independent positions, on canvases of any width up to L: `(B, L, K)` logs."""

    log_probs: Tensor

    @property
    def mask_id(self) -> int:
        return self.log_probs.shape[-1]

    @property
    def vocab_size(self) -> int:
        return self.mask_id + 2

    def take(self, rows):
        return replace(self, log_probs=self.log_probs[rows])

    def trunk(self, z):
        return z

    def logits(self, state, where, phi=None):
        return with_suppressed(self.log_probs[where], 2)

    def new_adapter(self, config, noise):
        return logits_adapter(len(self.log_probs), config)


@dataclass(frozen=True)
class NeighbourDenoiser:
    """A network whose logits change with every token written; a prompt of one token, id 0."""

    embed: Tensor  # (K + 1, d), the mask's last
    place: Tensor  # (1 + L, d)
    head: Tensor  # (d, K)

    @classmethod
    def draw(cls, length: int, symbols: int, seed: int, width: int = 8) -> NeighbourDenoiser:
        generator = torch.Generator().manual_seed(seed)
        shapes = (symbols + 1, width), (1 + length, width), (width, symbols)
        return cls(*(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes))

    @property
    def mask_id(self) -> int:
        return len(self.embed) - 1

    @property
    def vocab_size(self) -> int:
        return len(self.embed)

    def take(self, rows):
        return self

    def of_ids(self, ids: Tensor) -> Tensor:
        """Logits `(B, n, K + 1)` of the prompt's token and what follows."""
        x = self.embed[ids]
        mixed = x + 0.7 * x.roll(1, 1) - 0.5 * x.roll(-3, 1) + self.place[: ids.shape[1]]
        return with_suppressed_last(torch.tanh(mixed) @ self.head)

    def trunk(self, z):
        return self.of_ids(torch.cat([torch.zeros_like(z[:, :1]), z], 1))[:, 1:]

    def logits(self, state, where, phi=None):
        return state[where]


def with_suppressed_last(logits: Tensor) -> Tensor:
    """The mask's column behind K logits, suppressed."""
    return torch.cat([logits, torch.full_like(logits[..., :1], SUPPRESSED)], -1)


@dataclass(frozen=True)
class TableReward:
    """r(x) = tanh(sum of weight * codes of x), or without the tanh: differentiable in the codes."""

    codes: Tensor  # (K + 2, d), the fill token's is 0
    weight: Tensor  # (B, L, d)
    differentiable: bool = True
    linear: bool = False
    name: str = "table"

    @property
    def codebook(self):
        return VectorCodebook(self.codes) if self.differentiable else None

    def take(self, rows):
        return replace(self, weight=self.weight[rows])

    def of_codes(self, codes):
        total = (codes * self.weight[:, : codes.shape[1]]).sum((-1, -2))
        return total if self.linear else torch.tanh(total)

    def log_prob(self, relaxed):
        total = self.of_codes(relaxed.codes(VectorCodebook(self.codes)))
        return Scores(total, {self.name: total.detach()})

    def log_prob_ids(self, ids):
        total = self.of_codes(self.codes[ids])
        return Scores(total, {self.name: total.detach()})


@dataclass(frozen=True)
class NetReward:
    """A small network on the codes, the same for every row: no relaxation is exact for it."""

    codes: Tensor  # (K + 2, d)
    hidden: Tensor  # (H, L * d)
    head: Tensor  # (H,)
    differentiable: bool = True

    @property
    def codebook(self):
        return VectorCodebook(self.codes)

    def take(self, rows):
        return self

    def of_codes(self, codes):
        return torch.tanh(codes.flatten(1) @ self.hidden.T) @ self.head

    def log_prob(self, relaxed):
        total = self.of_codes(relaxed.codes(self.codebook))
        return Scores(total, {"net": total.detach()})

    def log_prob_ids(self, ids):
        total = self.of_codes(self.codes[ids])
        return Scores(total, {"net": total})


@dataclass(frozen=True)
class EnumeratedReward:
    """Any r(x) as a table `(K + 2, ..., K + 2)`, the same for every row.

    Its codes are one-hot and `log_prob` is multilinear in them, so that the `expectation`
    relaxation is exactly E[r] under the product of the marginals.
    """

    values: Tensor
    differentiable: bool = True
    name: str = "enumerated"

    @property
    def codebook(self):
        return VectorCodebook(torch.eye(len(self.values), dtype=self.values.dtype))

    def take(self, rows):
        return self

    def log_prob(self, relaxed):
        codes, size = relaxed.codes(self.codebook), len(self.values)
        total = codes[:, 0] @ self.values.reshape(size, -1)
        for position in range(1, codes.shape[1]):
            total = torch.einsum("bv,bvr->br", codes[:, position], total.view(len(codes), size, -1))
        total = total.squeeze(-1)
        return Scores(total, {self.name: total.detach()})

    def log_prob_ids(self, ids):
        total = self.values[tuple(ids.unbind(-1))]
        return Scores(total, {self.name: total})


def joint_table(length: int, symbols: int, seed: int, batch: int = 1, sharp: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, symbols**length, generator=generator, dtype=torch.float64)
    return (sharp * logits).softmax(-1).view(batch, *(symbols,) * length)


def factor_world(
    length: int, symbols: int, seed: int, batch: int = 1, sharp: float = 1.0
) -> FactorDenoiser:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, length, symbols, generator=generator, dtype=torch.float64)
    return FactorDenoiser((sharp * logits).log_softmax(-1))


def product_table(log_probs: Tensor) -> Tensor:
    """The joint table of independent positions, `(L, K)` -> `(K, ..., K)`."""
    table = log_probs.new_ones(())
    for row in log_probs.exp():
        table = table[..., None] * row
    return table


def table_reward(length: int, symbols: int, seed: int, batch: int = 1, **kw) -> TableReward:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(symbols + 2, 2, generator=generator, dtype=torch.float64)
    codes[-1] = 0
    weight = torch.randn(batch, length, 2, generator=generator, dtype=torch.float64)
    return TableReward(codes, weight, **kw)


def enumerated_reward(length: int, symbols: int, seed: int, **kw) -> EnumeratedReward:
    generator = torch.Generator().manual_seed(seed)
    shape = (symbols + 2,) * length
    return EnumeratedReward(torch.randn(shape, generator=generator, dtype=torch.float64), **kw)


def net_reward(length: int, symbols: int, seed: int, **kw) -> NetReward:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return NetReward(draw(symbols + 2, 3), draw(16, 3 * length) / 1.5, draw(16) / 4, **kw)


def additive_reward(terms: Tensor, **kw) -> EnumeratedReward:
    """r(x) = sum_l terms[l, x_l], `terms (L, K)`; mask and fill are worth 0."""
    padded = torch.cat([terms, terms.new_zeros(len(terms), 2)], -1)
    values = terms.new_zeros(())
    for row in padded:
        values = values[..., None] + row
    return EnumeratedReward(values, **kw)


def open_canvas(batch: int, length: int, mask_id: int, **kw) -> Canvas:
    return Canvas.open([length] * batch, mask_id=mask_id, fill_id=mask_id + 1, **kw)


def noise_for(seeds, particles=None) -> Noise:
    seeds = torch.as_tensor(seeds)
    particles = torch.zeros_like(seeds) if particles is None else torch.as_tensor(particles)
    return Noise(seeds, particles)


def step_at(canvas: Canvas, mask_id: int, config, noise, index: int = 0, count: int = 1) -> Step:
    """A step that asks for all masks and reveals `count` in each row."""
    asked = canvas.z == mask_id
    counts = torch.full((len(canvas.z),), count)
    return Step(index, canvas, mask_id, asked, counts, counts, noise, config)


def all_answers(length: int, symbols: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(symbols), repeat=length)))


def index_of(answers: Tensor, symbols: int) -> Tensor:
    """The row of each answer in `all_answers`, `(B, L)` -> `(B,)`."""
    powers = symbols ** torch.arange(answers.shape[-1] - 1, -1, -1)
    return (answers * powers).sum(-1)
