"""What is planned: a call of a model with the settings of an `APSConfig`, its reward model, and the
steps it takes.

Where nothing is said a call is planned as a pipeline makes it: the model's own length of an answer
and number type, all prompts of a batch padded to one width, a relaxed reward where it can be.
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
from ..core.settings import COUNT, LoRA
from ..core.step import Step
from .shape import ModelShape

__all__ = ["Call", "PlannedStep", "RewardCall"]


@dataclass(frozen=True)
class PlannedStep:
    """One denoising step of one row.

    Attributes:
        masks: masked positions before it.
        asked: positions logits are computed at; unsteered, those that can be written.
        guided: whether it is steered.
        again: whether an earlier one was.
    """

    masks: int
    asked: int
    guided: bool
    again: bool


@dataclass(frozen=True, kw_only=True)
class RewardCall:
    """A reward model's part.

    Attributes:
        shape: of the model.
        frame: positions around the answer: [CLS] and [SEP], or a prompt and its template.
        dtype_bytes: of its numbers.
    """

    shape: ModelShape
    frame: int = 2
    dtype_bytes: int = 2


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call, and whom it asks.

    Attributes:
        shape: the model's.
        reward: what steers; None: nothing that is a model.
        config: the settings.
        prompt: positions of the prompt.
        batch: rows in one pass (prompts times answers each).
        dtype_bytes: of the base's numbers in computation (2: bfloat16, 4: float32, 8: float64);
            None is how the model is loaded.
        bits: 8 or 4 for a quantised base, None for none.
        checkpointing: replayed layers keep their inputs only and are run again on the way back.

    Raises:
        ValueError: a value outside of its range, or the model cannot take the call.
    """

    shape: ModelShape
    reward: RewardCall | None = None
    config: APSConfig = field(default_factory=APSConfig)
    prompt: int = number(64, 0, COUNT, whole=True)
    batch: int = number(1, 1, COUNT, whole=True)
    dtype_bytes: int | None = None
    bits: int | None = None
    checkpointing: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError` naming the value and its range."""
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
        settings = self.config.sampler
        if settings.steers and not any(step.guided for step in self.steps):
            raise ValueError(
                f"no step is steered: none of {settings.steps} lies in [{settings.window.start}, "
                f"{settings.window.end}) on its interval; widen it, or plan inner_steps=0, no pool"
            )

    def changed(self, **settings: Any) -> Call:
        """The call with some settings, its own or its configuration's."""
        own = {name: settings.pop(name) for name in self.__dict__.keys() & settings.keys()}
        return replace(self, config=self.config.replace(**settings), **own)

    @property
    def tokens(self) -> int:
        """L, positions of the canvas."""
        return self.config.call.max_new_tokens or self.shape.new_tokens

    @property
    def positions(self) -> int:
        """S, prompt and canvas."""
        return self.prompt + self.tokens

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """What every step does to a row."""
        alike = self.config.replace(inner_steps=0, pool_size=None, lora_layers=None)
        return planned(alike, self.config.sampler.steers, self.tokens)

    @property
    def number_bytes(self) -> int:
        """e, of a number in the base's computation."""
        return self.dtype_bytes or self.shape.stored_bytes

    @property
    def layers(self) -> int:
        """n, the layers that are replayed."""
        wanted = self.config.model.lora_layers
        return self.shape.layers if wanted is None else wanted

    @property
    def inner_steps(self) -> int:
        """M; 0 where no phi is fitted."""
        fit = self.config.sampler.fit
        return 0 if fit is None else fit.inner_steps

    @property
    def lora(self) -> LoRA | None:
        """phi, where it is a low-rank update that is fitted."""
        fit = self.config.sampler.fit
        return fit.phi if fit is not None and isinstance(fit.phi, LoRA) else None

    @property
    def phi(self) -> str | None:
        """What kind phi is, as `adapter` names it; None where none is fitted."""
        fit = self.config.sampler.fit
        return None if fit is None else type(fit.phi).__name__.lower()

    @property
    def draws(self) -> int:
        """Answers drawn and scored per row and inner step; 0 where the reward is relaxed."""
        fit = self.config.sampler.fit
        score = None if fit is None else fit.gradient.score
        if fit is None or score is None:
            return 0
        if fit.gradient.relaxation is not None and self.config.reward.bridge != "rloo":
            return 0  # `auto`: reward models have a gradient
        return score.samples + (score.baseline == "remax")

    @property
    def pool(self) -> int:
        """Whole answers in the pool of a steered step; 1 is no pool."""
        return self.config.sampler.pool_size or 1

    @property
    def masked(self) -> bool:
        """Whether attention takes a mask: rows are planned as padded, one alone is not."""
        return self.batch > 1


@lru_cache(maxsize=64)
def planned(config: APSConfig, steers: bool, tokens: int) -> tuple[PlannedStep, ...]:
    """Every step that computes something, as the sampler's own steps open and write a canvas of one
    row; without masks it is finished. A threshold, which may reveal more, is left out."""
    mask, token, fill = range(3)
    block, row = config.call.block_length, torch.zeros(1, dtype=torch.long)
    canvas = Canvas.open([tokens], mask_id=mask, fill_id=fill, block_length=block)
    settings, noise, again = config.sampler, Noise(row, row), False
    found = []
    for index in range(settings.steps):
        masks = int((canvas.z == mask).sum())
        if masks == 0:
            break
        guided = steers and settings.window.has(index, settings.steps)
        step = Step.open(canvas, mask, config, noise, index, everywhere=guided)
        cols = step.where[1]
        if not len(cols):
            continue
        found.append(PlannedStep(masks, len(cols), guided, again))
        again |= guided
        canvas = step.write(torch.full_like(cols, token), -cols).canvas  # from left to right
    return tuple(found)
