"""The input of a plan: a call of a model with the settings of an `APSConfig`, its reward model, and
its denoising steps.

By default a call is planned as a pipeline makes it: with the model's default length of an answer
and number type, all prompts of a batch padded to one width, and a relaxed reward if possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.limits import check_fields, number
from ..core.noise import Noise
from ..core.settings import COUNT, LoRA, Phi
from ..core.step import Step
from ..methods.rollouts import rollout_asked, rollout_config, unwritten_blocks
from .shape import ModelShape

__all__ = ["Call", "PlannedReward", "PlannedStep"]


@dataclass(frozen=True)
class PlannedStep:
    """One denoising step of one row.

    Attributes:
        masks: masked positions before it.
        asked: positions at which logits are computed: all masks where a phi is fitted or a pool
            fills them at once, else those that the step, or a rollout's first, can write.
        columns: canvas positions up to the last of these.
        settled: canvas positions in blocks that had no masks at the forward before it.
        guided: whether the step is steered.
        chooses: whether a steered step makes a pool, if there is one.
        again: whether an earlier step was steered.
    """

    masks: int
    asked: int
    columns: int
    settled: int
    guided: bool
    chooses: bool
    again: bool


@dataclass(frozen=True, kw_only=True)
class PlannedReward:
    """The reward model's part of a call.

    Attributes:
        shape: of the reward model.
        frame: positions around the answer: [CLS] and [SEP], or a prompt and its template.
        dtype_bytes: bytes of a number.
    """

    shape: ModelShape
    frame: int = 2
    dtype_bytes: int = 2


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a model and a reward model.

    Attributes:
        shape: of the model.
        reward: the guiding reward model; None if the reward is not a model.
        config: the settings.
        prompt: positions of the prompt, >= 0.
        batch: rows in one pass (prompts times answers each), >= 1.
        dtype_bytes: bytes of the base's numbers in computation (2: bfloat16, 4: float32, 8:
            float64); None is as the model is loaded.
        bits: 8 or 4 for a quantised base, else None.
        checkpointing: the adapted layers keep only their inputs and run again in the backward pass.

    Raises:
        ValueError: a value outside its range, or a call that does not fit the model.
    """

    shape: ModelShape
    reward: PlannedReward | None = None
    config: APSConfig = field(default_factory=APSConfig)
    prompt: int = number(64, 0, COUNT, whole=True)
    batch: int = number(1, 1, COUNT, whole=True)
    dtype_bytes: int | None = None
    bits: int | None = None
    checkpointing: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` naming the value and its range."""
        check_fields(self)
        for name, allowed in (("bits", (None, 8, 4)), ("dtype_bytes", (None, 2, 4, 8))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {allowed}, got {getattr(self, name)!r}")
        shape, context = self.shape, self.shape.limit or self.shape.context
        if self.layers > shape.layers:
            raise ValueError(
                f"lora_layers={self.layers}, but {shape.name} has {shape.layers}; use fewer"
            )
        if self.positions > context:
            raise ValueError(
                f"prompt {self.prompt} + tokens {self.tokens} = {self.positions} positions, but "
                f"{shape.name} has a context of {context}; use fewer tokens"
            )
        if self.bits is not None and not shape.quantisable:
            raise ValueError(
                f"bits={self.bits}: {shape.name} is put together in memory and takes no 8 or 4 "
                f"bit; leave out --load-in-{self.bits}bit, or use --dtype bfloat16"
            )
        settings = self.opened.sampler
        if settings.steers and not any(step.guided for step in self.steps):
            window = settings.guided_window
            if any(window.has(index, settings.steps) for index in range(settings.steps)):
                raise ValueError(
                    f"no step is steered: an answer of {self.tokens} tokens is finished before; "
                    "plan a lower guidance_start, or no more steps than tokens"
                )
            raise ValueError(
                f"no step is steered: none of {settings.steps} lies in [{window.start}, "
                f"{window.end}) on its interval; widen it, or plan inner_steps=0, no pool"
            )

    def changed(self, **settings: Any) -> Call:
        """The call with some fields of it, or keywords of its configuration, changed."""
        own = {name: settings.pop(name) for name in self.__dict__.keys() & settings.keys()}
        return replace(self, config=self.config.replace(**settings), **own)

    @property
    def tokens(self) -> int:
        """L, positions of the canvas."""
        return self.config.call.max_new_tokens or self.shape.new_tokens

    @property
    def block_length(self) -> int | None:
        """Positions of a block; None is one block."""
        return self.config.call.block_length or self.shape.block_length

    @property
    def positions(self) -> int:
        """S, the positions of prompt and canvas."""
        return self.prompt + self.tokens

    @property
    def opened(self) -> APSConfig:
        """The configuration as a pipeline takes it, for its blocks."""
        return self.config.in_blocks(self.block_length, self.tokens)

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """The denoising steps of a row."""
        start = self.opened.sampler.guided_window.start
        alike = self.config.replace(
            inner_steps=0,
            pool_size=None,
            lora_layers=None,
            guidance_start=start,
            block_length=self.block_length,
        )
        fits = self.config.sampler.fit is not None
        return planned(alike, self.config.sampler.steers, self.tokens, fits=fits)

    def positions_at(self, step: PlannedStep) -> int:
        """S at a step: without the masks behind all that is asked for, where masks are unseen, and
        in blocks of one token, with a shift, without the last of these."""
        if not self.shape.masks_unseen:
            return self.positions
        without = self.shape.shift if self.keeps_text and self.block_length == 1 else 0
        return max(self.prompt + step.columns - without, 1)

    @property
    def number_bytes(self) -> int:
        """e, bytes of a number in the base's computation."""
        return self.dtype_bytes or self.shape.stored_bytes

    @property
    def layers(self) -> int:
        """n, the number of adapted layers."""
        wanted = self.config.model.lora_layers
        if self.reads_blocks and not self.config.sampler.fits_lora:
            wanted = 1
        return self.shape.layers if wanted is None else wanted

    @property
    def kept_prompt(self) -> int:
        """P', columns of the prompt whose states in the trunk are computed once and kept."""
        if not self.shape.causal_prompt or self.layers == self.shape.layers:
            return 0
        return max(0, self.prompt - (0 if self.keeps_text else self.shape.shift))

    @property
    def reads_blocks(self) -> bool:
        """Whether text attends to nothing behind its block."""
        block = self.block_length or self.tokens
        return self.shape.block_causal and block < self.tokens

    @property
    def keeps_text(self) -> bool:
        """Whether the states of finished blocks are kept in the trunk, beside the prompt's."""
        return self.reads_blocks and self.layers < self.shape.layers

    def kept_at(self, step: PlannedStep) -> int:
        """Columns whose states are known at a step other than the first, at least."""
        known = self.kept_prompt + (step.settled if self.keeps_text else 0)
        return min(known, self.positions_at(step) - 1)

    @property
    def pool(self) -> int:
        """Whole answers in the pool of a steered step; 1 is no pool. At temperature 0, where all
        fresh ones are equal, one of them and the one kept."""
        size = self.config.sampler.pool_size or 1
        return min(size, 2) if self.config.sampler.draw.temperature == 0 else size

    @property
    def rollout(self) -> int:
        """R, steps in which an answer of the pool is drawn; 1 without a pool."""
        return self.config.sampler.pool_rollout if self.pool > 1 else 1

    @property
    def rollouts(self) -> tuple[tuple[int, PlannedStep], ...]:
        """The steps of a row's rollouts that cost a forward, and how many answers make each."""
        if self.rollout == 1:
            return ()
        config = rollout_config(self.config, self.rollout)
        config = config.replace(lora_layers=None, block_length=self.block_length)
        found: list[tuple[int, PlannedStep]] = []
        for step in self.steps:
            if step.chooses:
                fresh = self.pool - step.again  # one is kept from the step before
                own = planned(config, False, self.tokens, rollout_of=step.masks)
                found += [(fresh, each) for each in own]
        return tuple(found)

    @property
    def inner_steps(self) -> int:
        """M; 0 if no phi is fitted."""
        fit = self.config.sampler.fit
        return 0 if fit is None else fit.inner_steps

    @property
    def phi(self) -> Phi | None:
        """The settings of phi; None if none is fitted."""
        fit = self.config.sampler.fit
        return None if fit is None else fit.phi

    @property
    def lora(self) -> LoRA | None:
        """The settings of phi if it is a LoRA that is fitted, else None."""
        return self.phi if isinstance(self.phi, LoRA) else None

    @property
    def draws(self) -> int:
        """Answers drawn and scored per row and inner step; 0 if the reward is relaxed."""
        fit = self.config.sampler.fit
        if fit is None or fit.gradient.score is None:
            return 0
        if fit.gradient.relaxation is not None and self.config.reward.bridge != "rloo":
            return 0  # `auto`: reward models have a gradient
        return fit.gradient.score.samples + (fit.gradient.score.baseline == "remax")


@lru_cache(maxsize=64)
def planned(
    config: APSConfig,
    steers: bool,
    tokens: int,
    *,
    fits: bool = False,
    rollout_of: int | None = None,
) -> tuple[PlannedStep, ...]:
    """Every step that computes something, from the sampler's own `Step` on a canvas of one row.

    The row is finished when it has no masks. A threshold, which may reveal more, is ignored.

    Args:
        fits: steered steps fit a phi, for which they need all masked positions; a pool of rollouts
            needs those that may be written at once.
        rollout_of: the number of masks, the last ones, of a canvas that is completed by a rollout,
            whose first step computes nothing since its x_theta is known; None is an open canvas.
    """
    mask, token, fill = range(3)
    block, row = config.call.block_length, torch.zeros(1, dtype=torch.long)
    written = 0 if rollout_of is None else tokens - rollout_of
    start = [token] * written + [mask] * (tokens - written)
    canvas = Canvas.of([start], mask_id=mask, fill_id=fill, block_length=block)
    if rollout_of is not None:
        canvas = unwritten_blocks(canvas, mask)
    settings, noise, found = config.sampler, Noise(row, row), list[PlannedStep]()
    block, settled = block or tokens, written // (block or tokens) * (block or tokens)
    of_rollouts = rollout_config(config, max(settings.pool_rollout, 1))
    for index in range(settings.steps):
        masks = int((canvas.z == mask).sum())
        if masks == 0:
            break
        window, every = settings.guided_window, settings.pool_interval
        guided = steers and window.has(index, settings.steps)
        chooses = guided and window.begins(index, settings.steps, every)
        everywhere = guided and (fits or chooses)
        step = Step.open(canvas, mask, config, noise, index, everywhere=everywhere)
        if chooses and not fits and settings.pool_rollout > 1:
            step = replace(step, asked=rollout_asked(step, of_rollouts))
        cols = step.where[1]
        if not len(cols):
            continue
        again = any(earlier.guided for earlier in found)
        if index or rollout_of is None:
            columns = int(cols.max()) + 1
            found.append(PlannedStep(masks, len(cols), columns, settled, guided, chooses, again))
            settled = (tokens - masks) // block * block
        canvas = step.write(torch.full_like(cols, token), -cols).canvas  # from left to right
    return tuple(found)
