"""One batch of rows (prompt, particle): bound to model and rewards, run by a method, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from aps_rewards.protocol import range_of
from torch import Tensor

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.cost import Cost, MeteredDenoiser, metered
from ..core.noise import Noise
from ..core.operator import Operator, Scores, ZeroOperator, guiding, merge_terms, start_ids
from ..core.protocols import Adapter, Denoiser
from ..core.sampler import Method
from ..core.states import StepState
from ..methods.aps import APS, new_phi
from ..methods.unread import inner_of
from ..models.guided import GuidedDenoiser
from ..models.lora import LoraAdapter
from ..models.text_model import TextModel
from ..text.prompts import Prompt
from ..text.reward_operator.bridge_stats import BridgeStats
from ..text.reward_operator.controls import controlled
from ..text.reward_operator.guidance import (
    ScoredRows,
    WeightedRewards,
    is_sampled,
    reward_operator,
)
from .request import Request

__all__ = ["Batch", "FinalScores", "Roles", "best_values", "bind"]


@dataclass(frozen=True)
class Roles:
    """The rewards of a call by role: to guide, to select among answers, or only to be reported."""

    guide: WeightedRewards = field(default_factory=list)
    select: WeightedRewards = field(default_factory=list)
    report: WeightedRewards = field(default_factory=list)

    def are_sampled(self, config: APSConfig) -> bool:
        """Whether a guiding reward steers without a gradient of its own, or none guides.

        Raises:
            RewardError, TypeError: see `is_sampled`.
        """
        guiding = [(reward, name) for name, weight, reward in self.guide if weight != 0]
        return not guiding or any(is_sampled(*one, config) for one in guiding)

    def items(self) -> list[tuple[str, WeightedRewards]]:
        """The rewards of each role by its name; a guide of weight 0 is moved to `report`."""
        guiding = [one for one in self.guide if one[1] != 0]
        silent = [one for one in self.guide if one[1] == 0]
        return [("guide", guiding), ("report", [*silent, *self.report]), ("select", self.select)]


def best_values(guide: WeightedRewards) -> dict[str, float]:
    """The best value that each guiding reward's range allows, by name, and that of their sum.

    Raises:
        RewardError: a `range` is a property that raises.
    """
    best: dict[str, float] = {}
    total = 0.0
    for name, weight, reward in guide:
        if weight != 0:
            low, high = range_of(reward, name)
            best[name] = high if weight > 0 else low
            total += weight * best[name]
    return {**best, "total": total}


@dataclass(frozen=True)
class FinalScores:
    """Scores of final answers.

    Attributes:
        terms: every reward's values `(B,)` by name, whatever its role.
        names: the rewards' names by role.
        total, chosen: weighted sums `(B,)` of the guiding and of the selecting rewards; None if
            there are none.
        applies: by name, the rows `(B,)` that a reward says anything about (its value of the others
            is 0); names that are missing apply to all of them.
    """

    terms: dict[str, Tensor]
    names: dict[str, list[str]]
    total: Tensor | None
    chosen: Tensor | None
    applies: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Batch:
    """Rows that are ready to run.

    Attributes:
        prompts, owners: each row's prompt, and that prompt's number in the call.
        denoiser: metered; with classifier-free guidance both of its denoisers are.
        operator: the guiding operator, metered and under the control.
        guided: whether a reward guides, with another weight than 0.
        judges: every distinct reward, by `id`, bound to the rows.
        roles: the call's rewards by role.
    """

    prompts: list[Prompt]
    owners: list[int]
    denoiser: Denoiser
    operator: Operator
    guided: bool
    judges: dict[int, Operator]
    roles: Roles
    canvas: Canvas
    noise: Noise

    def start(
        self, method: Method, config: APSConfig, warm_start: str | Path | None = None
    ) -> tuple[Iterator[StepState], Adapter | None]:
        """The method's states, and its phi (None for methods that fit none).

        Args:
            warm_start: folder of a saved LoRA to start from.

        Raises:
            ValueError: `warm_start` for a method or settings without LoRA.
        """
        if isinstance(inner_of(method), APS) and not self.guided:  # no pool: nothing to choose by
            start = config.sampler.guided_window.start
            config = config.replace(pool_size=None, guidance_start=start)
        bound = self.denoiser, self.operator, self.canvas, config, self.noise
        if not isinstance(method, APS):
            if warm_start is not None:
                raise ValueError(
                    f"warm_start needs method 'aps', and {type(method).__name__} fits no LoRA; "
                    "leave it out"
                )
            return method.steps(*bound), None
        if config.sampler.fit is None:
            if warm_start is not None:
                raise ValueError("warm_start needs inner_steps >= 1, got inner_steps=0")
            return method.steps(*bound), None
        phi = new_phi(self.denoiser, self.operator, config, self.noise)
        if warm_start is not None:
            if not isinstance(phi, LoraAdapter):
                raise ValueError(
                    f"warm_start needs adapter='lora', got {config.flat().get('adapter')!r}"
                )
            phi = phi.load(warm_start)
        return method.steps(*bound, phi), phi

    def pool(self, method: Method, config: APSConfig) -> Callable[[int], tuple[int, int]]:
        """Of a step's index: how many whole answers the step compares, and the most passes of the
        denoiser that it takes for them; `(0, 0)` where it compares none.

        At temperature 0 it is `(0, 0)`: all drafts are the same answer.
        """
        sampler = config.sampler
        size = sampler.pool_size
        draws = isinstance(inner_of(method), APS) and self.guided and sampler.draw.temperature > 0
        if not draws or size is None:
            return lambda index: (0, 0)
        if self.canvas.block is not None:
            sampler = config.in_blocks(1, 1 + int(self.canvas.block.max())).sampler
        found = size, sampler.pool_rollout
        return lambda index: found if sampler.chooses(index) else (0, 0)

    def judge(self, z: Tensor) -> FinalScores:
        """Every reward's scores of the final canvases `(B, L)`; all are started, then awaited."""
        started = {key: start_ids(operator, z) for key, operator in self.judges.items()}
        scores: dict[int, Scores] = {key: wait() for key, wait in started.items()}
        terms: dict[str, Tensor] = {}
        own: dict[int, list[str]] = {}
        applies: dict[str, Tensor] = {}
        for key, found in scores.items():
            known = set(terms)
            terms = merge_terms(terms, found.terms)
            own[key] = [name for name in terms if name not in known]
            if found.applies is not None:
                applies |= dict.fromkeys(own[key], found.applies)
        names = {
            role: [name for _, _, reward in weighted for name in own[id(reward)]]
            for role, weighted in self.roles.items()
        }
        total, chosen = (
            sum(
                (w * scores[id(r)].total for _, w, r in weighted),
                torch.zeros(len(z), dtype=torch.float32, device=z.device),
            )
            if weighted
            else None
            for weighted in (self.roles.guide, self.roles.select)
        )
        return FinalScores(terms, names, total, chosen, applies)


def bind(
    model: TextModel,
    request: Request,
    rows: list[tuple[int, int]],
    roles: Roles,
    cost: Cost,
    control: str | None = None,
    stats: dict[str, BridgeStats] | None = None,
    on_pass: Callable[[], None] | None = None,
) -> Batch:
    """Bind (prompt, particle) pairs to a model and its rewards.

    Args:
        control: None, or the control that replaces the guiding rewards
            (`text.reward_operator.controls`).
        stats: of the call's earlier batches, to be continued; see `ScoredRows.stats`.
        on_pass: called as each pass of the denoiser begins.
    """
    config, device = request.config, model.parts.device
    owners = [prompt for prompt, _ in rows]
    prompts = [request.prompts[i] for i in owners]
    drafts = [request.draft(model, *row) for row in rows]
    canvas = Canvas.of(
        [row.tokens for row in drafts],
        given=[row.given for row in drafts],
        mask_id=model.parts.mask_id,
        fill_id=model.fill_id,
        stop_ids=model.stop_ids,
        block_length=config.call.block_length or model.block_length,
        group=owners,
        device=device,
    )
    stats = {} if stats is None else stats
    bound = ScoredRows(model.vocabulary, prompts, owners, request.columns, config, stats)
    guide = reward_operator(roles.guide, bound)
    fixed = {*model.parts.suppressed, *model.stop_ids, model.fill_id}
    steering = controlled(guide, control, model.parts.vocab_size, fixed, config.call.seed)
    judges: dict[int, Operator] = {}
    for _, weighted in roles.items():
        for name, _, reward in weighted:
            if id(reward) not in judges:
                judges[id(reward)] = metered(reward_operator([(name, 1.0, reward)], bound), cost)
    noise = Noise(
        torch.tensor([request.seeds[i] for i in owners], device=device),
        torch.tensor([particle for _, particle in rows], device=device),
    )
    return Batch(
        prompts,
        owners,
        _denoiser(
            model, prompts, canvas, [len(row.tokens) for row in drafts], config, cost, on_pass
        ),
        metered(steering, cost),
        not isinstance(guiding(steering), ZeroOperator),
        judges,
        roles,
        canvas,
        noise,
    )


def _denoiser(
    model: TextModel,
    prompts: list[Prompt],
    canvas: Canvas,
    lengths: list[int],
    config: APSConfig,
    cost: Cost,
    on_pass: Callable[[], None] | None,
) -> Denoiser:
    """The model bound to these prompts and metered, with classifier-free guidance if set."""
    layers, reuse = config.model.lora_layers, config.model.prefix_reuse
    blocks = canvas.reading_blocks(model.parts.mask_id) if model.parts.block_causal else None
    if blocks is not None and bool(blocks.any()) and not config.sampler.fits_lora:
        layers = 1  # all else is the trunk, whose states are kept

    def bound(
        encoded: list[list[int]], on_pass: Callable[[], None] | None = None
    ) -> MeteredDenoiser:
        denoiser = model.bind(encoded, lengths, layers, reuse, blocks)
        return MeteredDenoiser(denoiser, cost, on_pass)

    encoded = [model.encode(prompt) for prompt in prompts]
    if config.model.cfg_scale == 0:
        return bound(encoded, on_pass)
    without = bound([[model.parts.mask_id] * len(ids) for ids in encoded])
    return GuidedDenoiser(bound(encoded, on_pass), without, config.model.cfg_scale)
