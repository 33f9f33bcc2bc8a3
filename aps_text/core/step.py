"""One reverse step t -> s of a masked diffusion: from the canvas z_t to z_s.

    open      z_t -> the masked positions, and how many of them each row reveals
    x_theta   the denoiser's distributions there; a method may tilt them into x_phi
    draw      a candidate token for each: a draw from x_phi, or the quantised expectation
    score     the scores by which candidates are ranked
    write     the best are revealed, the rest stays masked: z_s
    report    the step's `StepState`, for callbacks and trajectories

Every method uses this step, so counts, orders, blocks and stop tokens are the same for all.
Shapes: B rows of L positions, N masked positions of all rows together, K tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .canvas import Canvas, end_at_stop, is_stop, positions_of
from .codebook import Codebook
from .config import APSConfig
from .noise import Noise
from .objective import kl_rows
from .protocols import Denoiser, Where, masks_unseen
from .remasking import anchor_scores, choose, confidence, margin, weakest_committed
from .schedule import (
    Clock,
    alpha,
    block_clock,
    dream_count,
    keep_masked,
    reveal_count,
    time_grid,
)
from .settings import Order, Ranked, Shuffled
from .states import StepState, Tilted, Transition, each_tensor, refuse_nan
from .token_sampling import draw_tokens, sampling_support, stop_bias

__all__ = ["Step"]


@dataclass
class Step:
    """The inputs of one step, for the rows that still have masks.

    Attributes:
        index: from 0.
        canvas: z_t.
        mask_id: the mask token.
        asked: `(B, L)` bool; the masked positions at which logits are computed.
        count: `(B,)` how many each row reveals.
        expected: `(B,)` the mean of `count`, which is random with `alg='origin'`.
        noise: the rows' noise.
        config: the settings of the call.
    """

    index: int
    canvas: Canvas
    mask_id: int
    asked: Tensor
    count: Tensor
    expected: Tensor
    noise: Noise
    config: APSConfig

    @classmethod
    def open(
        cls,
        canvas: Canvas,
        mask_id: int,
        config: APSConfig,
        noise: Noise,
        index: int,
        *,
        everywhere: bool,
    ) -> Step:
        """Step `index` of rows that all have masks.

        Args:
            everywhere: ask for all masked positions, not only for those that this step can write
                (which may be none).
        """
        masked = canvas.z == mask_id
        settings = config.sampler
        masks, steps = masked.sum(-1), settings.steps
        clock: Clock = (index, steps)
        if canvas.block is not None:
            # Dream's counts know no schedule.
            law = "linear" if settings.reveal_rule == "dream" else settings.schedule
            blocks = canvas.editable, canvas.block
            masks, clock = block_clock(masked, *blocks, index, steps, law)
        at, of = clock
        keep = keep_masked(1 - at / of, 1 - (at + 1) / of, settings.schedule)
        if settings.reveal_rule == "dream":
            count = dream_count(masks, at, of)
        else:
            count = reveal_count(masks, keep)
        expected = count
        within = writable(masked, canvas.block, count)
        order = settings.order
        coins = isinstance(order, Shuffled) and order.coins
        if coins:
            # Every mask is revealed by its own coin; a row may reveal none before the last step.
            tossed = positions_of(within)
            chance = 1 - keep
            if isinstance(chance, Tensor):
                chance = chance[tossed[0]]
            coin = noise.uniform(*tossed, index, "order") < chance
            count = torch.zeros_like(count).index_add(0, tossed[0], coin.long())
            if canvas.block is None and not settings.remask:
                within = torch.zeros_like(within).index_put(tossed, coin)
        may_reveal_none = coins or settings.reveal_rule == "dream"
        if may_reveal_none and _threshold(order) is None and not settings.remask:
            within = within & (count > 0)[:, None]
        asked = masked if everywhere else within
        return cls(index, canvas, mask_id, asked, count, expected, noise, config)

    def take(self, rows: Tensor) -> Step:
        """The same step of other rows, `(B',)` int64."""
        return Step(
            self.index,
            self.canvas.take(rows),
            self.mask_id,
            self.asked[rows],
            self.count[rows],
            self.expected[rows],
            self.noise.take(rows),
            self.config,
        )

    @cached_property
    def where(self) -> Where:
        """`asked` as `(rows, cols)`, each `(N,)`, ordered by row."""
        return positions_of(self.asked)

    @cached_property
    def reveal_fraction(self) -> Tensor:
        """`(B,)` c = expected / masks of the row; only for a step that asks at every mask."""
        expected = self.expected.clamp_min(1)
        if not expected.is_floating_point():  # two integers divide into the default dtype
            expected = expected.float()
        return expected / self.asked.sum(-1)

    @cached_property
    def bias(self) -> Callable[[Tensor], Tensor]:
        """`eos_penalty` and `min_new_tokens`, applied to logits `(N, K)`."""
        settings = self.config.sampler
        return stop_bias(self.canvas, self.where, settings.eos_penalty, settings.min_new_tokens)

    @torch.no_grad()
    def x_theta(self, denoiser: Denoiser) -> Tensor:
        """`log x_theta(z_t)` at `where`, `(N, K)`: one forward of a denoiser bound to the rows."""
        trunk = denoiser.trunk(self._needed if masks_unseen(denoiser) else self.canvas.z)
        # One expression: a variable would keep the unbiased logits in memory.
        return self.bias(denoiser.logits(trunk, self.where)).log_softmax(-1)

    @property
    def _needed(self) -> Tensor:
        """z_t, with the fill token instead of masks behind all tokens and all positions asked."""
        masked, fill = self.canvas.z == self.mask_id, self.canvas.fill_id
        kept = self.asked | (~masked & (self.canvas.z != fill))
        behind = kept.flip(1).int().cumsum(1).flip(1) == 0
        return self.canvas.z.masked_fill(masked & behind, fill)

    def draw(self, tilted: Tilted, codebook: Codebook | None = None) -> Tensor:
        """A candidate per masked position `(N,)`: from x_phi, or the quantised expectation.

        Raises:
            ValueError: `candidate="quantized"` without a codebook.
        """
        settings = self.config.sampler
        order, law = settings.order, settings.draw
        if settings.candidate == "quantized":
            if codebook is None:
                raise ValueError(
                    "candidate='quantized' needs an operator with a codebook; "
                    "use candidate='sample'"
                )
            return codebook.nearest(codebook.expect(tilted.log_phi.exp()))
        if law.temperature == 0:
            if isinstance(order, Ranked) and order.alg == "topk_margin":
                return tilted.likeliest[1]
            return tilted.log_phi.argmax(-1)
        probs, ids = sampling_support(tilted.log_phi, law.temperature, law.top_p, law.top_k)
        size = tilted.log_phi.shape[-1]
        return draw_tokens(self.noise, self.where, self.index, probs, ids, "candidate", size)

    def score(self, tilted: Tilted, candidates: Tensor, codebook: Codebook | None = None) -> Tensor:
        """The scores `(N,)` by which candidates are ranked."""
        order = self.config.sampler.order
        if isinstance(order, Shuffled):
            return -self.noise.uniform(*self.where, self.index, "order")
        if order.under == "phi" and order.alg == "maskgit_plus":
            scores = anchor_scores(order.anchor_score, tilted.log_phi, candidates, codebook)
        else:
            ranked = tilted.log_theta if order.under == "theta" else tilted.log_phi
            if order.alg == "topk_margin" and ranked is tilted.log_phi:
                scores = margin(tilted.likeliest[0])
            else:
                scores = confidence(order.alg, ranked, candidates)
        return self.perturbed(scores)

    def perturbed(self, scores: Tensor) -> Tensor:
        """With `alg_temp`, scores `(N,)` whose n best are a draw from `softmax(score / alg_temp)`
        without replacement (the Gumbel-top-k trick); without it, `scores`."""
        order = self.config.sampler.order
        if not isinstance(order, Ranked) or order.alg_temp is None:
            return scores
        gumbel = self.noise.gumbel(*self.where, self.index, "alg_temp", 1).squeeze(-1)
        return scores / order.alg_temp + gumbel

    def remask_candidates(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Committed positions that compete again `(B, L)` bool, and their scores `(B, L)`.

        `scores (B, L)` are those they were committed with. A random order stores no scores: the
        tokens to re-mask and their new scores are both drawn. Stop tokens and the fill after them
        are never re-masked.
        """
        canvas, settings = self.canvas, self.config.sampler
        grid, shuffled = time_grid(settings.steps), isinstance(settings.order, Shuffled)
        t, s = grid[self.index], grid[self.index + 1]
        settled = canvas.editable & (canvas.z != self.mask_id) & (canvas.z != canvas.fill_id)
        settled &= ~is_stop(canvas.z, canvas.stop_ids)

        def drawn(on: Tensor, stream: str) -> Tensor:
            where = positions_of(on)
            return scores.index_put(where, -self.noise.uniform(*where, self.index, stream))

        if shuffled:
            scores = drawn(settled, "revise")
        shares = (float(alpha(time, settings.schedule)) for time in (t, s))
        again = weakest_committed(scores, settled, *shares)
        return again, drawn(again, "order") if shuffled else scores

    def write(
        self,
        candidates: Tensor,
        scores: Tensor,
        again: Tensor | None = None,
        committed_scores: Tensor | None = None,
    ) -> Transition:
        """Reveal the `count` best candidates of each row.

        Args:
            candidates, scores: `(N,)` at `where`.
            again, committed_scores: `(B, L)`; the result of `remask_candidates`. Tokens that are
                not kept are masked again.
        """
        canvas, asked, count = self.canvas, self.asked, self.count
        dense = torch.zeros(canvas.z.shape, dtype=torch.double, device=canvas.z.device)
        dense = dense.index_put(self.where, scores.double())
        threshold = _threshold(self.config.sampler.order)
        if threshold is not None:
            sure = (dense >= threshold) & writable(asked, canvas.block, count)
            count = count.maximum(sure.sum(-1))
        offered = asked
        if again is not None and committed_scores is not None:
            dense = torch.where(again, committed_scores, dense)
            offered, count = asked | again, count + again.sum(-1)
        kept = choose(dense, offered, canvas.block, count, again)
        proposal = torch.full_like(canvas.z, canvas.fill_id).index_put(self.where, candidates)
        revealed = kept & asked
        z = torch.where(revealed, proposal, canvas.z)
        if again is not None:
            z = torch.where(again & ~kept, self.mask_id, z)
        z = end_at_stop(z, canvas.editable, canvas.stop_ids, canvas.fill_id)
        written = torch.where(z == canvas.z, canvas.written, self.index)
        return Transition(replace(canvas, z=z, written=written), proposal, dense, revealed)

    def report(
        self,
        canvas: Canvas,
        active: Tensor,
        tilted: Tilted,
        move: Transition,
        *,
        guided: bool = True,
        pool: dict[str, Tensor] | None = None,
    ) -> StepState:
        """What the step did, spread over all B rows of `canvas`.

        Args:
            canvas: after the step, with the rows that had finished before.
            active: `(B',)` int64, ascending; the row in `canvas` of each of the step's rows.
            guided: whether the step was steered.
            pool: of the step's rows; see `StepState`.

        Raises:
            RuntimeError: a probability is NaN.
        """

        def spread(values: Tensor, empty: float) -> Tensor:
            if len(active) == len(canvas.z):  # no row has finished
                return values
            out = values.new_full((len(canvas.z), *values.shape[1:]), empty)
            return out.index_put((active,), values)

        at = move.candidates[self.where][:, None]
        blank = torch.zeros(move.revealed.shape, dtype=tilted.log_phi.dtype, device=at.device)

        def picked(log_probs: Tensor) -> Tensor:
            chosen = log_probs.gather(-1, at).squeeze(-1).exp()
            return spread(blank.index_put(self.where, chosen), 0.0)

        under_phi = picked(tilted.log_phi)
        refuse_nan(under_phi, self.index)
        kl = None
        if guided:
            kl = blank.new_zeros(len(active))
            if tilted.log_phi is not tilted.log_theta:
                kl = kl_rows(tilted.log_phi, tilted.log_theta, self.where[0], len(active))
            kl = spread(kl, 0.0)
        loss, rewards, norm, among = (
            each_tensor(part, lambda value: spread(value, 0.0))
            for part in (tilted.loss, tilted.rewards, tilted.gradient_norm, pool or {})
        )
        return StepState(
            step=self.index,
            steps=self.config.sampler.steps,
            z=canvas.z,
            written=canvas.written,
            revealed=spread(move.revealed, False),
            candidates=spread(move.candidates, canvas.fill_id),
            tilted=under_phi,
            prior=under_phi if tilted.log_theta is tilted.log_phi else picked(tilted.log_theta),
            guided=guided,
            loss=loss,
            rewards=rewards,
            gradient_norm=norm,
            kl=kl,
            pool=among,
        )


def _threshold(order: Order) -> float | None:
    """The score at which a position is written in addition to `count`; None is off."""
    return order.threshold if isinstance(order, Ranked) else None


def writable(masked: Tensor, block: Tensor | None, count: Tensor) -> Tensor:
    """The masks `(B, L)` in blocks that a step of `count (B,)` can write; the others need no
    logits."""
    if block is None:
        return masked
    far = torch.iinfo(torch.long).max
    ordered = torch.where(masked, block, far).sort(-1).values
    last = ordered.gather(-1, (count - 1).clamp_min(0)[:, None])
    return masked & (block <= last)
