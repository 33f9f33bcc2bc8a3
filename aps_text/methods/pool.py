"""A pool of whole answers, one of which is chosen by its reward and gives a step's candidates.

x_phi is a product over positions, while the reward judges the whole answer. So at every guided
step n answers form a pool: fresh draws, each from p' or f' with probability 1/2, and the answer
chosen at the step before, some of whose tokens are the anchors in z_t. One is drawn by its weight

    w(x) = exp(r(x) / beta) * p'(x) / (p'(x)/2 + f'(x)/2)

    p'(x) = prod_l p'^l[x^l]   x_theta after temperature, top-k and top-p
    f'(x) = prod_l f'^l[x^l]   x_phi at the same temperature, inside the support of p'

and its tokens are the step's candidates. This is a step of iterated sampling-importance-resampling
(Tjelmeland 2004; Andrieu, Lee, Vihola 2018, https://arxiv.org/abs/1312.6432): a Markov kernel that
leaves `p'(x0 | z_t) exp(r(x0) / beta)` invariant for any phi and any n >= 2, and mixes faster the
larger n and the better phi. The next step's x_theta is conditioned on the anchors that are kept, so
the target of the kernel follows the posterior given them. A step costs no forward of the denoiser
beyond those of x_phi, n - 1 rewards (n at the first step) and no gradient. The reward of the
answer kept from the step before is not computed again, so rewards must be deterministic.

p' is a product: its answers are less coherent the more masks are left, and rewards then favour
words that no sentence holds. With `pool_rollout=R` > 1 the fresh answers are `rollouts`: R steps of
the base sampler from z_t, each answer R - 1 forwards. They are drawn from p_R itself and not
from f', so w(x) = exp(r(x) / beta), the kernel leaves `p_R(x0 | z_t) exp(r(x0) / beta)` invariant,
and phi only decides which tokens are kept.

With draws from f' alone the chain would stall: over many positions p'/f' spans many nats, and an
answer that x_phi has moved away from would outweigh any reward. With the mixture no weight exceeds
2 exp(r / beta) (a defensive mixture, Hesterberg 1995).

With `pool_interval=m` only every m-th guided step makes a pool; at those between, further tokens of
the answer chosen last are kept, ranked by the step's own distributions, for one forward a step.

If all answers of a row have the same weight, the step makes the base sampler's draw, token for
token; with rollouts it takes the first one's, or, where they are whole runs, keeps the answer kept
before: the base sampler's own, if no reward has ever preferred another. An answer with reward -inf
is chosen only if all have -inf. With `prefer_ended` one without a stop token, which the canvas may
have cut off, counts as -inf beside one that ends, unless all weigh the same. Positions after an
answer's stop token do not enter its weight. At temperature 0 nothing is drawn: the pool is x_phi's
likeliest answer (or the one rollout) and the one kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..core.canvas import end_at_stop
from ..core.completions import draw_answers, ended, ended_first, fill_in, scored_positions
from ..core.config import APSConfig
from ..core.objective import sum_rows
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.sampler import Choice
from ..core.states import Tilted
from ..core.step import Step
from ..core.token_sampling import sampling_support
from .rollouts import are_whole_runs, draw_rollouts, rollout_asked, rollout_config

__all__ = ["AnswerPool"]

ALIKE = 1e-4
"""Log-weights that differ by at most this count as equal, so that rounding decides nothing."""


class AnswerPool:
    """The Markov chain of B rows: each row's kept answer and its reward; see `CandidatePool`."""

    def __init__(self, operator: Operator, config: APSConfig) -> None:
        self.operator, self.config = guiding(operator), config
        rollout = config.sampler.pool_rollout
        self._rollouts = rollout_config(config, rollout) if rollout > 1 else None
        self._whole = rollout > 1 and are_whole_runs(config)
        self._held: Tensor | None = None  # (B, L), as drawn: not ended at a stop token
        self._reward = torch.empty(0)
        self._stale = torch.empty(0)  # (B,) bool, set with the kept answer's worth at each step
        self._terms: dict[str, Tensor] = {}

    def take(self, rows: Tensor) -> None:
        """Keep these rows, `(B',)`."""
        self.operator = self.operator.take(rows)
        if self._held is not None:
            self._held, self._reward = self._held[rows], self._reward[rows]
            self._terms = {name: value[rows] for name, value in self._terms.items()}

    def asked(self, step: Step) -> Tensor:
        """See `CandidatePool.asked`: rollouts need x_theta where their first step writes."""
        if self._rollouts is None:
            return step.asked
        return rollout_asked(step, self._rollouts)

    def __call__(self, denoiser: Denoiser, tilted: Tilted, step: Step) -> Choice:
        """See `CandidatePool.__call__`."""
        tokens, gap = self._answers(denoiser, tilted, step)
        asked, step = step, replace(step, asked=step.canvas.z == step.mask_id)
        (rows, cols), batch = step.where, len(step.canvas.z)
        kept = self._held
        reward, terms = self._worth(step, tokens)
        # Positions after an answer's stop token do not enter its weight.
        answers = fill_in(step.canvas, step.where, tokens).view(batch, tokens.shape[1], -1)
        on = scored_positions(answers, step.canvas)[rows, :, cols]
        gap = sum_rows(torch.where(on, gap, 0.0), rows, batch)
        log_weight = reward / self.config.sampler.beta - softplus(gap)
        if kept is not None:
            log_weight[:, -1] = log_weight[:, -1].masked_fill(self._stale, -torch.inf)
        chosen, cut = self._chosen(step, log_weight, answers, kept is not None)
        out = cut.clone()
        if kept is not None:
            out[:, -1] |= self._stale
        compared = {"answers": answers, "rewards": reward, "chosen": chosen}
        compared |= {"out": out, "cut_off": cut}
        each = torch.arange(batch, device=rows.device)
        picked = tokens.gather(-1, chosen[rows, None]).squeeze(-1)
        self._held = step.canvas.z.index_put(step.where, picked)
        self._reward = reward[each, chosen]
        self._terms = {name: value[each, chosen] for name, value in terms.items()}
        on = on.gather(-1, chosen[rows, None]).squeeze(-1)
        within = asked.asked[step.where]
        picked, on = picked[within], on[within]
        if self._rollouts is not None and not bool(on.all()):
            # Behind its stop token a rollout has no tokens.
            base = asked.draw(Tilted(tilted.log_theta, tilted.log_theta), self.operator.codebook)
            picked = torch.where(on, picked, base)
        return Choice(picked, self._terms, compared)

    def continued(self, tilted: Tilted, step: Step) -> Tensor:
        """See `CandidatePool.continued`; behind an answer's stop token, and where a token was
        masked again (`remask`), the step's own draw."""
        if self._held is None:
            return step.draw(tilted, self.operator.codebook)
        (rows, cols), canvas = step.where, step.canvas
        held = end_at_stop(self._held, canvas.editable, canvas.stop_ids, canvas.fill_id)
        on = scored_positions(held[:, None], canvas)[rows, 0, cols]
        on &= canvas.written[step.where] < 0
        tokens = self._held[step.where]
        if bool(on.all()):
            return tokens
        return torch.where(on, tokens, step.draw(tilted, self.operator.codebook))

    def _chosen(
        self, step: Step, log_weight: Tensor, answers: Tensor, kept: bool
    ) -> tuple[Tensor, Tensor]:
        """Which of a row's `answers (B, n, L)` is chosen by its weight, `(B,)`, and which of them
        gave way since the canvas cut them off, `(B, n)` bool.

        Args:
            log_weight: `(B, n)`.
            kept: whether the last is the one kept from the step before.
        """
        near = log_weight >= log_weight.amax(1, keepdim=True) - ALIKE
        alike = (near | log_weight.isneginf()).all(1)
        first = near.long().argmax(1)
        if self._whole and kept:
            first = torch.where(near[:, -1] & ~self._stale, near.shape[1] - 1, first)
        judged = log_weight
        if self.config.sampler.prefer_ended:
            log_weight = ended_first(judged, ended(step.canvas, answers))
        each = torch.arange(len(near), device=near.device)
        drawn = step.noise.categorical(
            log_weight.softmax(-1), each, torch.zeros_like(each), step.index, "chosen"
        )
        gave_way = (log_weight != judged) & ~alike[:, None]
        return torch.where(alike, first, drawn), gave_way

    def _answers(self, denoiser: Denoiser, tilted: Tilted, step: Step) -> tuple[Tensor, Tensor]:
        """The pool's tokens and their log f'/p', both `(N', n)`, double; the first answer is the
        base sampler's draw, the last the one kept from the step before."""
        settings = self.config.sampler
        fresh = (settings.pool_size or 1) - (self._held is not None)
        if self._rollouts is not None:
            drawn = 1 if settings.draw.temperature == 0 else fresh
            tokens = draw_rollouts(denoiser, step, tilted.log_theta, drawn, self._rollouts)
            if self._held is not None:
                held = self._held[step.canvas.z == step.mask_id]
                tokens = torch.cat([tokens, held[:, None]], 1)
            return tokens, torch.zeros_like(tokens, dtype=torch.double)
        laws = _Laws.of(tilted, self.config)
        if settings.draw.temperature == 0:
            tokens = step.draw(tilted, self.operator.codebook)[:, None]
            gap = laws.gap_of(tokens)
        else:
            tokens, gap = laws.fresh(step, fresh - 1)
        if self._held is None:
            return tokens, gap
        held = self._held[step.where][:, None]
        return torch.cat([tokens, held], 1), torch.cat([gap, laws.gap_of(held)], 1)

    def _worth(self, step: Step, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Rewards of the answers `(B, n)` double, and their terms; the kept one's are stored, and
        `_stale` says where it cannot be chosen any more."""
        batch = len(step.canvas.z)
        fresh = tokens.shape[1] - (self._held is not None)
        owners = torch.arange(batch, device=tokens.device).repeat_interleave(fresh)
        answers = fill_in(step.canvas, step.where, tokens[:, :fresh])
        scores = self.operator.take(owners).log_prob_ids(answers)
        reward = scores.total.to(tokens.device, torch.double).view(batch, fresh)
        terms = {name: value.view(batch, fresh) for name, value in scores.terms.items()}
        if self._held is None:
            return reward, terms
        # An unguided step may have written tokens that the kept answer does not have.
        now = fill_in(step.canvas, step.where, self._held[step.where][:, None])
        before = end_at_stop(
            self._held, step.canvas.editable, step.canvas.stop_ids, step.canvas.fill_id
        )
        self._stale = (now != before).any(-1)
        return (
            torch.cat([reward, self._reward[:, None]], 1),
            {name: torch.cat([terms[name], old[:, None]], 1) for name, old in self._terms.items()},
        )


@dataclass(frozen=True)
class _Laws:
    """The distributions p' and f' of answers, `(N, W)` over the tokens `ids` (None: all tokens).

    At temperature 0 they are x_theta and x_phi themselves.
    """

    p: Tensor
    f: Tensor
    ids: Tensor | None
    size: int | None = None  # of the vocabulary

    @classmethod
    def of(cls, tilted: Tilted, config: APSConfig) -> _Laws:
        """p' of x_theta, and f' of x_phi inside its support."""
        same, heat = tilted.log_phi is tilted.log_theta, config.sampler.draw.temperature
        size = tilted.log_theta.shape[-1]
        if heat == 0:
            p = tilted.log_theta.exp()
            return cls(p, p if same else tilted.log_phi.exp(), None, size)
        p, ids = sampling_support(
            tilted.log_theta, heat, config.sampler.draw.top_p, config.sampler.draw.top_k
        )
        if same:
            return cls(p, p, ids, size)
        log_phi = tilted.log_phi if ids is None else tilted.log_phi.gather(-1, ids)
        f = (log_phi / heat).masked_fill(p == 0, -torch.inf).softmax(-1)
        return cls(p, f, ids, size)

    def fresh(self, step: Step, more: int) -> tuple[Tensor, Tensor]:
        """Tokens of `1 + more` answers and their log f'/p', `(N, 1 + more)`; the first answer, if
        drawn from p', is the base sampler's draw."""

        def drawn(probs: Tensor) -> Tensor:
            over = self.ids, self.size
            one = step.noise.categorical(probs, *step.where, step.index, "candidate", *over)
            return torch.cat([one[:, None], draw_answers(step, probs, more, "pool", *over)], 1)

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
        hit = (self.ids == tokens).to(self.p)  # padding repeats ids, but has p' = 0
        p, f = ((law * hit).sum(-1, keepdim=True) for law in (self.p, self.f))
        return self._gap(p, f)

    def _gap(self, p: Tensor, f: Tensor) -> Tensor:
        gap = torch.zeros_like(p, dtype=torch.double)
        if self.f is not self.p:
            gap = f.double().clamp_min(1e-300).log() - p.double().log()
        return gap.masked_fill(p == 0, torch.inf)
