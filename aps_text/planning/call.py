"""What is planned: a call of a model, and the reward model's part of it.

Where nothing is said, settings are those of a call (`APSConfig`), on a canvas of 128 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.routing import DEFAULTS
from .shape import ModelShape
from .steps import planned_steps

__all__ = ["Call", "RewardCall"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is asked of a model: `APSConfig`'s fields where it has them.

    Attributes:
        prompt, tokens: positions of the prompt and of the canvas (L).
        batch: rows in one pass (prompts times answers each).
        steps, inner_steps: T and M.
        pool_size: whole answers in the pool of a steered step; 1 is no pool.
        lora_layers: adapted layers n; None adapts all.
        dtype_bytes: of the base's numbers in computation (2: bfloat16, 4: float32, 8: float64).
        bits: 8 or 4 for a quantised base, None for none.
        checkpointing: replayed layers keep their inputs only and are run again on the way back.
        padded: prompts of different lengths, so attention takes a mask (one row alone takes none).
        restrict: the bridge leaves unmatched tokens out (the default policy, two tokenizers).
        threshold: reveals more than planned, so with it everything is an upper bound.
    """

    prompt: int = 64
    tokens: int = 128
    batch: int = 1
    steps: int = DEFAULTS["steps"]
    inner_steps: int = DEFAULTS["inner_steps"]
    pool_size: int = DEFAULTS["pool_size"]
    lora_layers: int | None = DEFAULTS["lora_layers"]
    lora_rank: int = DEFAULTS["lora_rank"]
    adapter: str = "lora"
    carry_over: bool = True
    estimator: str = "relaxed"
    num_samples: int = 8
    schedule: str = "linear"
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    guidance_interval: int = 1
    cfg_scale: float = 0.0
    block_length: int | None = None
    threshold: float | None = None
    dtype_bytes: int = 2
    bits: int | None = None
    checkpointing: bool = False
    padded: bool = True
    restrict: bool = True

    def __post_init__(self) -> None:
        """Raises `ValueError` naming the value and its range."""
        counts = ("tokens", "batch", "steps", "lora_rank", "num_samples", "guidance_interval")
        for name in (*counts, "pool_size", "block_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("guidance_start", "guidance_end", "threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {value}")
        if self.guidance_start > self.guidance_end:
            raise ValueError(
                f"guidance_start={self.guidance_start} lies after guidance_end={self.guidance_end}"
            )
        for name in ("prompt", "inner_steps", "cfg_scale"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.lora_layers is not None and self.lora_layers < 1:
            raise ValueError(f"lora_layers must be at least 1 or 'all', got {self.lora_layers}")
        for name, allowed in (
            ("adapter", ("lora", "logits")),
            ("estimator", ("relaxed", "rloo")),
            ("bits", (None, 8, 4)),
            ("dtype_bytes", (2, 4, 8)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {allowed}, got {getattr(self, name)!r}")

    @property
    def positions(self) -> int:
        """S, prompt and canvas."""
        return self.prompt + self.tokens

    @property
    def steers(self) -> bool:
        """Whether the steps in the window differ from plain decoding's."""
        return self.inner_steps > 0 or self.pool_size > 1

    @property
    def masked(self) -> bool:
        """Whether attention takes a mask: where something is padded."""
        return self.padded and self.batch > 1

    def adapted(self, shape: ModelShape) -> int:
        """n, the layers that are replayed.

        Raises:
            ValueError: more than the model has.
        """
        top = shape.layers if self.lora_layers is None else self.lora_layers
        if top > shape.layers:
            raise ValueError(f"lora_layers={top}, but {shape.name} has {shape.layers}; use fewer")
        return top

    def check(self, shape: ModelShape) -> None:
        """Raises `ValueError` where the model cannot take the call."""
        self.adapted(shape)
        context = shape.limit or shape.context
        if self.positions > context:
            raise ValueError(
                f"prompt {self.prompt} + tokens {self.tokens} = {self.positions} positions, but "
                f"{shape.name} has a context of {context}; use fewer tokens"
            )
        if self.steers and not any(step.guided for step in planned_steps(self)):
            raise ValueError(
                f"no step is steered: none of {self.steps} lies in [{self.guidance_start}, "
                f"{self.guidance_end}) on its interval; widen it, or plan inner_steps=0, no pool"
            )


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
