"""The tilted sample: candidates that fit together, from the posterior of whole answers.

x_phi is a product over positions; the reward judges the answer as a whole. So at every guided step
n answers stand in a pool: fresh draws, of x_phi(. | z_t) or of x_theta(. | z_t) as a coin says, and
the answer that was chosen at the step before, whose anchors z_t holds. One of them is chosen by its
weight

    w(x) = exp(r(x) / beta) * p / (p/2 + f/2),   p = prod_l x_theta^l[x^l], f = prod_l x_phi^l[x^l]

and its tokens are the step's candidates. This is a step of iterated sampling-importance-resampling
(Tjelmeland 2004; Andrieu, Lee, Vihola 2018): a Markov kernel that leaves
`x_theta(x0 | z_t) exp(r(x0) / beta)` as it is, for any phi and any n >= 2, and forgets where it
started the sooner the larger n and the better phi. Re-masking makes the next step's x_theta see
the anchors, so the chain follows the posterior while it sharpens. A step costs no more forwards of
the denoiser than x_phi itself does, n - 1 rewards (n at the first), and no gradient; the kept
answer's reward is remembered, so rewards must not change from call to call.

Draws of x_phi alone would not do: over many positions p/f spans many nats, an answer that x_phi has
moved away from outweighs every reward, and the chain stands still. With draws of x_theta among them
no weight exceeds 2 exp(r / beta) (a defensive mixture, Hesterberg 1995).

Where a row's answers all weigh the same, the reward says nothing and the step is the base sampler's
own draw, token for token. Positions behind an answer's stop token are no part of its weight. Below
temperature 1 or with top-p the draws are narrower than the x_phi of the weights.
"""

from __future__ import annotations

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
    """The chain of B rows: the answer each holds, and what it is worth."""

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
        tokens, reward, terms = self._pool(tilted, step)
        log_weight = reward / self.config.beta
        if tilted.log_phi is not tilted.log_theta:
            answers = fill_in(step.canvas, step.where, tokens).view(batch, tokens.shape[1], -1)
            gap = (tilted.log_phi - tilted.log_theta).gather(-1, tokens).double()
            on = scored_positions(answers, step.canvas)[rows, :, cols]
            log_weight = log_weight - softplus(sum_rows(gap * on, rows, batch))
        each = torch.arange(batch, device=rows.device)
        chosen = step.noise.categorical(
            log_weight.softmax(-1), each, torch.zeros_like(each), step.index, "chosen"
        )
        worse = (log_weight < log_weight.amax(1, keepdim=True) - ALIKE) & reward.isfinite()
        chosen = torch.where(worse.any(1), chosen, 0)
        picked = tokens.gather(-1, chosen[rows, None]).squeeze(-1)
        self._held = step.canvas.z.index_put(step.where, picked)
        self._reward = reward[each, chosen]
        self._terms = {name: value[each, chosen] for name, value in terms.items()}
        return picked, self._terms

    def _pool(self, tilted: Tilted, step: Step) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Tokens `(N, n)`, rewards `(B, n)` double and their terms; the first is the base draw,
        the last the answer held."""
        where, batch = step.where, len(step.canvas.z)
        tokens = self._fresh(tilted, step)
        fresh = tokens.shape[1]
        owners = torch.arange(batch, device=tokens.device).repeat_interleave(fresh)
        scores = self.operator.take(owners).log_prob_ids(fill_in(step.canvas, where, tokens))
        reward = scores.total.to(tokens.device, torch.double).view(batch, fresh)
        terms = {name: value.view(batch, fresh) for name, value in scores.terms.items()}
        if self._held is None:
            return tokens, reward, terms
        held = self._held[where][:, None]
        # A step outside of the window may have written other tokens: then it is no candidate.
        now = fill_in(step.canvas, where, held)
        before = end_at_stop(
            self._held, step.canvas.editable, step.canvas.stop_ids, step.canvas.fill_id
        )
        worth = self._reward.masked_fill((now != before).any(-1), -torch.inf)
        return (
            torch.cat([tokens, held], 1),
            torch.cat([reward, worth[:, None]], 1),
            {name: torch.cat([terms[name], old[:, None]], 1) for name, old in self._terms.items()},
        )

    def _fresh(self, tilted: Tilted, step: Step) -> Tensor:
        """Tokens of the fresh answers, `(N, n)`; the first is the base draw. At temperature 0 there
        is nothing to draw, and x_phi's likeliest answer is the only one."""

        def drawn(log_probs: Tensor) -> Tensor:
            config, one = self.config, Tilted(log_probs, log_probs)
            tokens = step.draw(one, self.operator.codebook)[:, None]
            more = config.num_candidates - (self._held is not None) - 1
            if config.temperature == 0 or more < 1:
                return tokens
            probs, ids = sampling_support(log_probs, config.temperature, config.top_p, config.top_k)
            others = draw_answers(step, probs, more, "pool")
            return torch.cat([tokens, others if ids is None else ids.gather(-1, others)], 1)

        tokens = drawn(tilted.log_phi)
        if tilted.log_phi is tilted.log_theta or self.config.temperature == 0:
            return tokens
        each = torch.arange(len(step.canvas.z), device=tokens.device)
        toss = step.noise.uniform(
            each, torch.zeros_like(each), step.index, "proposal", tokens.shape[1]
        )
        return torch.where(toss[step.where[0]] < 0.5, tokens, drawn(tilted.log_theta))
