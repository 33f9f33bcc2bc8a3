"""Small worlds where everything can be enumerated: a joint table as the denoiser."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aps_text.adapter import LogitsAdapter
from aps_text.canvas import Canvas
from aps_text.codebook import VectorCodebook
from aps_text.noise import Noise
from aps_text.operator import Scores

SUPPRESSED = -1e9


@dataclass(frozen=True)
class TableDenoiser:
    """x_theta from a joint table p(x) over K^L answers: exact conditional marginals.

    Ids 0..K-1 are tokens, K is the mask (suppressed). `table (B, K, ..., K)`, float64.
    """

    table: Tensor

    @property
    def mask_id(self) -> int:
        return self.table.shape[1]

    @property
    def vocab_size(self) -> int:
        return self.table.shape[1] + 1

    def take(self, rows):
        return replace(self, table=self.table[rows])

    def trunk(self, z):
        return z

    def logits(self, state, where, phi=None):
        z, out = state, []
        for row, col in zip(*(w.tolist() for w in where), strict=True):
            joint = self.table[row]
            for axis, token in enumerate(z[row].tolist()):
                if token != self.mask_id:
                    pick = torch.zeros(joint.shape[axis], dtype=joint.dtype)
                    pick[token] = 1
                    shape = [-1 if a == axis else 1 for a in range(joint.ndim)]
                    joint = joint * pick.view(shape)
            other = [a for a in range(joint.ndim) if a != col]
            marginal = joint.sum(other) if other else joint
            marginal = marginal / marginal.sum()
            out.append(torch.cat([marginal.log(), marginal.new_tensor([SUPPRESSED])]))
        return torch.stack(out) if out else self.table.new_zeros(0, self.vocab_size)

    def new_adapter(self, config, noise):
        return LogitsAdapter(len(self.table), config.adapter_learning_rate)


@dataclass(frozen=True)
class TableReward:
    """r(x) = w . mean of the codes of x: differentiable through the codes, any nonlinearity."""

    codes: Tensor  # (K + 1, d)
    weight: Tensor  # (B, L, d)
    differentiable: bool = True

    @property
    def codebook(self):
        return VectorCodebook(self.codes) if self.differentiable else None

    def take(self, rows):
        return replace(self, weight=self.weight[rows])

    def of_codes(self, codes):
        return torch.tanh((codes * self.weight).sum((-1, -2)))

    def log_prob(self, relaxed):
        total = self.of_codes(relaxed.codes(VectorCodebook(self.codes)))
        return Scores(total, {"table": total.detach()})

    def log_prob_ids(self, ids):
        total = self.of_codes(self.codes[ids])
        return Scores(total, {"table": total.detach()})


def joint_table(length: int, symbols: int, seed: int, batch: int = 1, sharp: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, symbols**length, generator=generator, dtype=torch.float64)
    return (sharp * logits).softmax(-1).view(batch, *(symbols,) * length)


def table_reward(length: int, symbols: int, seed: int, batch: int = 1, **kw) -> TableReward:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(symbols + 1, 2, generator=generator, dtype=torch.float64)
    weight = torch.randn(batch, length, 2, generator=generator, dtype=torch.float64)
    return TableReward(codes, weight, **kw)


def open_canvas(batch: int, length: int, mask_id: int, **kw) -> Canvas:
    return Canvas.open([length] * batch, mask_id=mask_id, fill_id=mask_id + 1, **kw)


def noise_for(seeds, particles=None) -> Noise:
    seeds = torch.as_tensor(seeds)
    particles = torch.zeros_like(seeds) if particles is None else torch.as_tensor(particles)
    return Noise(seeds, particles)


def all_answers(length: int, symbols: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(symbols), repeat=length)))
