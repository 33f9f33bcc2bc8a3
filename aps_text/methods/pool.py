"""A pool of whole answers: candidates that fit together, chosen by what the answers are worth.

x_phi is a product over positions; the reward judges the answer as a whole. So at every guided step
n answers stand in a pool: fresh draws, of p' or of f' as a coin says, and the answer that was
chosen at the step before, whose anchors z_t holds. One of them is chosen by its weight

    w(x) = exp(r(x) / beta) * p'(x) / (p'(x)/2 + f'(x)/2)

    p'(x) = prod_l p'^l[x^l]   x_theta as candidates are drawn from it: tempered, top-k, top-p
    f'(x) = prod_l f'^l[x^l]   x_phi tempered alike, inside the support of p'

and its tokens are the step's candidates. This is a step of iterated sampling-importance-resampling
(Tjelmeland 2004; Andrieu, Lee, Vihola 2018, https://arxiv.org/abs/1312.6432): a Markov kernel that
leaves `p'(x0 | z_t) exp(r(x0) / beta)` as it is, for any phi and any n >= 2, and forgets where it
started the sooner the larger n and the better phi. Re-masking makes the next step's x_theta see
the anchors, so the chain follows the posterior while it sharpens. A step costs no more forwards of
the denoiser than x_phi itself does, n - 1 rewards (n at the first), and no gradient; the kept
answer's reward is remembered, so rewards must not change from call to call.

Draws of f' alone would not do: over many positions p'/f' spans many nats, an answer that x_phi has
moved away from outweighs every reward, and the chain stands still. With draws of p' among them no
weight exceeds 2 exp(r / beta) (a defensive mixture, Hesterberg 1995).

Where a row's answers all weigh the same, the reward says nothing and the step is the base sampler's
own draw, token for token. An answer whose reward is -inf is never chosen where another is worth
anything. Positions behind an answer's stop token are no part of its weight. At temperature 0
nothing is drawn: the pool compares x_phi's likeliest answer with the one held.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..core.canvas import end_at_stop
from ..core.completions import draw_answers, fill_in, scored_positions
from ..core.config import APSConfig
from ..core.objective import sum_rows
from ..core.operator import Operator, guiding
from ..core.step import Step, Tilted
from ..core.token_sampling import sampling_support

__all__ = ["AnswerPool"]

ALIKE = 1e-4
"""Log-weights this near are the same: rounding must not move what no reward moves."""


class AnswerPool:
    """The chain of B rows: the answer each holds, and what it is worth; see `CandidatePool`."""

    def __init__(self, operator: Operator, config: APSConfig) -> None:
        self.operator, self.config = guiding(operator), config
        self._held: Tensor | None = None  # (B, L), as drawn: not ended at a stop token
        self._reward = torch.empty(0)
        self._terms: dict[str, Tensor] = {}

    def take(self, rows: Tensor) -> None:
        """Keep these rows, `(B',)`."""
        self.operator = self.operator.take(rows)
        if self._held is not None:
            self._held, self._reward = self._held[rows], self._reward[rows]
            self._terms = {name: value[rows] for name, value in self._terms.items()}

    def __call__(self, tilted: Tilted, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """One token per masked position `(N,)`, and the chosen answers' unweighted rewards `(B,)`.

        `step.where` must hold every masked position of its rows.
        """
        (rows, cols), batch = step.where, len(step.canvas.z)
        laws = _Laws.of(tilted, self.config)
        tokens, gap = self._answers(laws, tilted, step)
        reward, terms = self._worth(step, tokens)
        # Behind its stop an answer has no tokens that could weigh anything.
        answers = fill_in(step.canvas, step.where, tokens).view(batch, tokens.shape[1], -1)
        on = scored_positions(answers, step.canvas)[rows, :, cols]
        gap = sum_rows(torch.where(on, gap, 0.0), rows, batch)
        log_weight = reward / self.config.sampler.beta - softplus(gap)
        each = torch.arange(batch, device=rows.device)
        chosen = step.noise.categorical(
            log_weight.softmax(-1), each, torch.zeros_like(each), step.index, "chosen"
        )
        near = log_weight >= log_weight.amax(1, keepdim=True) - ALIKE
        alike = (near | log_weight.isneginf()).all(1)
        chosen = torch.where(alike, near.long().argmax(1), chosen)
        picked = tokens.gather(-1, chosen[rows, None]).squeeze(-1)
        self._held = step.canvas.z.index_put(step.where, picked)
        self._reward = reward[each, chosen]
        self._terms = {name: value[each, chosen] for name, value in terms.items()}
        return picked, self._terms

    def _answers(self, laws: _Laws, tilted: Tilted, step: Step) -> tuple[Tensor, Tensor]:
        """The pool's tokens and their log f'/p', both `(N, n)`, double; the first answer is the
        base draw, the last the one held."""
        if self.config.sampler.draw.temperature == 0:
            tokens = step.draw(tilted, self.operator.codebook)[:, None]
            gap = laws.gap_of(tokens)
        else:
            more = (self.config.sampler.pool_size or 1) - (self._held is not None) - 1
            tokens, gap = laws.fresh(step, more)
        if self._held is None:
            return tokens, gap
        held = self._held[step.where][:, None]
        return torch.cat([tokens, held], 1), torch.cat([gap, laws.gap_of(held)], 1)

    def _worth(self, step: Step, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Rewards of the answers `(B, n)` double, and their terms; the held one's are known."""
        batch = len(step.canvas.z)
        fresh = tokens.shape[1] - (self._held is not None)
        owners = torch.arange(batch, device=tokens.device).repeat_interleave(fresh)
        answers = fill_in(step.canvas, step.where, tokens[:, :fresh])
        scores = self.operator.take(owners).log_prob_ids(answers)
        reward = scores.total.to(tokens.device, torch.double).view(batch, fresh)
        terms = {name: value.view(batch, fresh) for name, value in scores.terms.items()}
        if self._held is None:
            return reward, terms
        # A step outside of the window may have written other tokens: then it is no candidate.
        now = fill_in(step.canvas, step.where, self._held[step.where][:, None])
        before = end_at_stop(
            self._held, step.canvas.editable, step.canvas.stop_ids, step.canvas.fill_id
        )
        worth = self._reward.masked_fill((now != before).any(-1), -torch.inf)
        return (
            torch.cat([reward, worth[:, None]], 1),
            {name: torch.cat([terms[name], old[:, None]], 1) for name, old in self._terms.items()},
        )


@dataclass(frozen=True)
class _Laws:
    """What answers are drawn from, `(N, W)` over the tokens `ids` (None: all of them).

    At temperature 0 these are x_theta and x_phi themselves.
    """

    p: Tensor
    f: Tensor
    ids: Tensor | None

    @classmethod
    def of(cls, tilted: Tilted, config: APSConfig) -> _Laws:
        """p' of x_theta, and f' of x_phi inside its support."""
        same, heat = tilted.log_phi is tilted.log_theta, config.sampler.draw.temperature
        if heat == 0:
            p = tilted.log_theta.exp()
            return cls(p, p if same else tilted.log_phi.exp(), None)
        p, ids = sampling_support(
            tilted.log_theta, heat, config.sampler.draw.top_p, config.sampler.draw.top_k
        )
        if same:
            return cls(p, p, ids)
        log_phi = tilted.log_phi if ids is None else tilted.log_phi.gather(-1, ids)
        return cls(p, (log_phi / heat).masked_fill(p == 0, -torch.inf).softmax(-1), ids)

    def fresh(self, step: Step, more: int) -> tuple[Tensor, Tensor]:
        """`1 + more` answers' tokens and their log f'/p', `(N, 1 + more)`; the first is the draw
        that the base sampler makes."""

        def drawn(probs: Tensor) -> Tensor:
            one = step.noise.categorical(probs, *step.where, step.index, "candidate")
            return torch.cat([one[:, None], draw_answers(step, probs, more, "pool")], 1)

        at = drawn(self.p)
        if self.f is not self.p:
            each = torch.arange(len(step.canvas.z), device=at.device)
            toss = step.noise.uniform(
                each, torch.zeros_like(each), step.index, "proposal", at.shape[1]
            )
            at = torch.where(toss[step.where[0]] < 0.5, drawn(self.f), at)
        tokens = at if self.ids is None else self.ids.gather(-1, at)
        return tokens, self._gap(self.p.gather(-1, at), self.f.gather(-1, at))

    def gap_of(self, tokens: Tensor) -> Tensor:
        """log f'/p' of given tokens `(N, 1)`; inf where p' is 0."""
        if self.ids is None:
            return self._gap(self.p.gather(-1, tokens), self.f.gather(-1, tokens))
        hit = (self.ids == tokens).to(self.p)  # where a row is short its ids repeat, p' being 0
        p, f = ((law * hit).sum(-1, keepdim=True) for law in (self.p, self.f))
        return self._gap(p, f)

    def _gap(self, p: Tensor, f: Tensor) -> Tensor:
        gap = torch.zeros_like(p, dtype=torch.double)
        if self.f is not self.p:
            gap = f.double().clamp_min(1e-300).log() - p.double().log()
        return gap.masked_fill(p == 0, torch.inf)
