"""The records of a call's settings; a feature that is off is None instead of a record.

    SamplerSettings   what the loop and the methods read
        order         Ranked | Shuffled          which masked positions are written at a step
        fit           Fit | None                 how phi is fitted; None fits none
            phi       LoRA | Logits | Codes      what phi is
            gradient  Gradient                   through a relaxation, a score function, or both
        pool_size     int | None                 None draws every token by itself
        pool_rollout  int                        steps in which an answer of the pool is drawn
        pool_interval int                        guided steps from one choice to the next
        prefer_ended  bool                       choose no answer that the canvas cut off
        draw          Draw                       temperature, top-p, top-k
        window        Window                     the steps that are steered
    CallSettings      length, blocks, answers, seed: read where a call becomes a canvas
    ModelSettings     read where a model is bound to its prompts
    RewardSettings    read where a reward becomes an operator

`aps_text.core.config` documents every setting and builds these from flat keywords.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from .limits import MOST, check_fields, choice, number, switch

__all__ = [
    "CallSettings",
    "Codes",
    "Draw",
    "Fit",
    "Gradient",
    "LoRA",
    "Logits",
    "ModelSettings",
    "Order",
    "Phi",
    "Ranked",
    "Relaxation",
    "RewardSettings",
    "SamplerSettings",
    "ScoreFunction",
    "Shuffled",
    "Window",
]

COUNT = 1_000_000
SMALLEST = 1e-6
"""The smallest temperature other than 0: dividing float32 logits by less overflows."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """phi is a low-rank update of the layers above the trunk."""

    rank: int = number(8, 1, COUNT, whole=True, flat="lora_rank")
    alpha: float = number(16.0, above=True, flat="lora_alpha")
    learning_rate: float = number(0.006, above=True)
    adam_eps: float = number(0.1)
    carry_over: bool = switch(True)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Logits:
    """phi is an offset of the logits at the masked positions, reset at every step."""

    learning_rate: float = number(0.5, above=True)
    adam_eps: float = number(0.1)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Codes:
    """phi is a tilt towards the guiding operator's codes; see `core.adapters.CodeTilt`.

    Attributes:
        keep: factor in [0, 1] on the tilt at the start of every denoising step.
        start: the first step's tilt, as a multiple of the codes of the operator's guess, >= 0.
    """

    learning_rate: float = number(0.3, above=True)
    adam_eps: float = number(0.1)
    keep: float = number(1.0, 0, 1, flat="tilt_keep")
    start: float = number(0.0, flat="tilt_start")

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)


Phi = LoRA | Logits | Codes


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """How x_phi is presented to the operator.

    Attributes:
        kind: see `codebook.Relaxed`.
        quantizer: the token that `quantized` and `entropy` round to; None for the other kinds.
        gumbel_temperature: > 0 for `gumbel`; None for the other kinds.
    """

    kind: str = choice("expectation", "quantized", "entropy", "gumbel", flat="relaxation")
    quantizer: Literal["nearest", "argmax", "sample"] | None = None
    gumbel_temperature: float | None = number(None, above=True, least=SMALLEST, optional=True)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)
        if (self.quantizer is not None) != (self.kind in ("quantized", "entropy")):
            raise ValueError(f"relaxation={self.kind!r} with quantizer={self.quantizer!r}")
        if (self.gumbel_temperature is not None) != (self.kind == "gumbel"):
            raise ValueError(
                f"relaxation={self.kind!r} with gumbel_temperature={self.gumbel_temperature!r}"
            )

    @property
    def draws(self) -> bool:
        """Whether the operator's input is random."""
        return self.kind == "gumbel" or self.quantizer == "sample"


@dataclass(frozen=True, kw_only=True)
class ScoreFunction:
    """Score-function gradient: answers drawn from x_phi, untempered, each weighted by its reward
    minus a baseline."""

    samples: int = number(8, 2, COUNT, whole=True, flat="num_samples")
    baseline: Literal["rloo", "remax"] = "rloo"

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """How the reward's gradient is estimated.

    With `relaxation` alone every reward must be differentiable; `score` alone works for any reward;
    with both, differentiable rewards use the relaxation and the others the score function.
    """

    relaxation: Relaxation | None = Relaxation()
    score: ScoreFunction | None = ScoreFunction()

    def __post_init__(self) -> None:
        """Raises `ValueError` if both are None, or for ReMax beside a relaxation."""
        if self.relaxation is None and self.score is None:
            raise ValueError("a gradient needs a relaxation, a score function, or both")
        if self.relaxation and self.score and self.score.baseline != "rloo":
            raise ValueError("ReMax is a choice for every reward: leave the relaxation out")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How phi is fitted at a guided step: objective, gradient, and when a row stops."""

    inner_steps: int = number(1, 1, COUNT, whole=True)
    phi: Phi = LoRA()
    gradient: Gradient = Gradient()
    prior: str = choice("kl", "overlap", "none")
    likelihood_weight: str | float = number("posterior", above=True, words=("length", "posterior"))
    gradient_gate: float = number(1e-6)
    trust_region: float | None = number(3.0, above=True, optional=True)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The positions with the highest scores are written first.

    Attributes:
        alg: the score.
        under: whose probabilities are scored: `phi` (anchored remasking) or `theta` (standard).
        anchor_score: `bits` replaces the score `maskgit_plus` under phi by that of the LFQ bits.
        alg_temp: draw the positions at this temperature; None takes the best.
        threshold: also write every position whose score reaches it, in (0, 1]; None is off.
    """

    alg: str = choice("maskgit_plus", "topk_margin", "entropy")
    under: Literal["phi", "theta"] = "phi"
    anchor_score: str = choice("token", "bits")
    alg_temp: float | None = number(None, least=SMALLEST, optional=True)
    threshold: float | None = number(None, 0, 1, above=True, optional=True)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)
        if self.alg_temp == 0:  # what Dream's code calls None
            object.__setattr__(self, "alg_temp", None)
        if self.anchor_score == "bits" and (self.alg, self.under) != ("maskgit_plus", "phi"):
            raise ValueError("anchor_score='bits' is of anchored remasking by maskgit_plus")
        if self.threshold is not None and self.alg_temp is not None:
            raise ValueError(
                f"threshold={self.threshold} reads scores that alg_temp={self.alg_temp} makes "
                "random; set one of them to None"
            )


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """Positions are written in a random order; with `coins` their number is random too: each mask
    is revealed by its own coin (ancestral sampling)."""

    coins: bool = False


Order = Ranked | Shuffled


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How a token is drawn; temperature 0 takes the likeliest, whatever top-p and top-k are."""

    temperature: float = number(0.7, least=SMALLEST)
    top_p: float = number(1.0, 0, 1, above=True)
    top_k: int | None = number(None, 1, COUNT, whole=True, optional=True)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)
        if self.temperature == 0:
            object.__setattr__(self, "top_p", 1.0)
            object.__setattr__(self, "top_k", None)


@dataclass(frozen=True, kw_only=True)
class Window:
    """The guided steps: index / steps in `[start, end)`, index a multiple of `interval`.

    Attributes:
        start: None is chosen by `SamplerSettings.guided_window`.
    """

    start: float | None = number(None, 0, 1, optional=True, flat="guidance_start")
    end: float = number(1.0, 0, 1, flat="guidance_end")
    interval: int = number(1, 1, COUNT, whole=True, flat="guidance_interval")

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)
        if self.start is not None and self.start > self.end:
            raise ValueError(f"guidance_start={self.start} lies after guidance_end={self.end}")

    def has(self, index: int, steps: int) -> bool:
        """Whether step `index` of `steps` is guided; from the first one on if `start` is None."""
        return (self.start or 0.0) <= index / steps < self.end and index % self.interval == 0

    def begins(self, index: int, steps: int, every: int) -> bool:
        """Whether step `index` is the first that is guided, or guided and a multiple of `every`."""
        if not self.has(index, steps):
            return False
        return index % every == 0 or not any(self.has(i, steps) for i in range(index))


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """What the loop and the methods read; see the module, and `APSConfig` for each setting."""

    steps: int = number(16, 1, COUNT, whole=True)
    schedule: str = choice("linear", "cosine")
    reveal_rule: str = choice("exact", "dream")
    order: Order = Ranked()
    remask: bool = switch(False)
    candidate: str = choice("sample", "quantized")
    pool_size: int | None = number(8, 1, COUNT, whole=True, optional=True)
    pool_rollout: int = number(4, 1, COUNT, whole=True)
    pool_interval: int = number(1, 1, COUNT, whole=True)
    prefer_ended: bool = switch(False)
    draw: Draw = Draw()
    fit: Fit | None = field(default=Fit())
    window: Window = Window()
    beta: float = number(0.02, above=True, least=1e-9)
    eos_penalty: float = number(0.0, -MOST)
    min_new_tokens: int = number(1, 0, COUNT, whole=True)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)
        if self.pool_size == 1:  # one answer leaves nothing to choose
            object.__setattr__(self, "pool_size", None)
        if self.candidate == "quantized" and self.pool_size is not None:
            raise ValueError(
                f"candidate='quantized' draws nothing to choose from, so pool_size="
                f"{self.pool_size} has no meaning; use None"
            )

    @property
    def steers(self) -> bool:
        """Whether guided steps differ from plain decoding's."""
        return self.fit is not None or self.pool_size is not None

    @property
    def fits_lora(self) -> bool:
        """Whether a LoRA of the model's upper layers is fitted."""
        return self.fit is not None and isinstance(self.fit.phi, LoRA)

    @property
    def rolls_out(self) -> bool:
        """Whether the pool's answers are rollouts of several steps."""
        return self.pool_size is not None and self.pool_rollout > 1

    @property
    def guided_window(self) -> Window:
        """The window with its `start`: where none is given, the second half of the steps with
        rollouts (answers drawn from an almost empty canvas cost most and say least), else all. For
        canvases in blocks `APSConfig.in_blocks` gives one."""
        if self.window.start is not None:
            return self.window
        late = replace(self.window, start=min(0.5, self.window.end))
        found = self.rolls_out and any(late.has(index, self.steps) for index in range(self.steps))
        return late if found else replace(self.window, start=0.0)

    def is_guided(self, index: int) -> bool:
        """Whether step `index` is guided."""
        return self.steers and self.guided_window.has(index, self.steps)

    def chooses(self, index: int) -> bool:
        """Whether a pool is made at step `index`; the other guided steps go on with its choice."""
        window = self.guided_window
        return self.pool_size is not None and window.begins(index, self.steps, self.pool_interval)


@dataclass(frozen=True, kw_only=True)
class CallSettings:
    """Lengths, blocks, number of answers and seed: read when prompts become canvases."""

    max_new_tokens: int | None = number(None, 1, COUNT, whole=True, optional=True)
    block_length: int | None = number(None, 1, COUNT, whole=True, optional=True)
    num_return_sequences: int = number(1, 1, COUNT, whole=True)
    seed: int = number(0, 0, 2**63 - 1, whole=True, instead="one for each prompt are seeds=[...]")

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How the model is run: read when it is bound to its prompts.

    Attributes:
        lora_layers: layers above the trunk, which runs once per step; None is all layers.
        prefix_reuse, cfg_scale: see `APSConfig`.
    """

    lora_layers: int | None = number(2, 1, COUNT, whole=True, optional=True)
    prefix_reuse: int | None = number(None, 1, COUNT, whole=True, optional=True)
    cfg_scale: float = number(0.0)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """Read when rewards become operators.

    Attributes:
        beta: None takes the scale that the rewards declare (`aps_rewards.scale`).
        bridge, reward_timeout: see `APSConfig`.
    """

    beta: float | None = number(None, above=True, least=1e-9, optional=True)
    bridge: str = choice("restrict", "error", "zero", "unk", "rloo")
    reward_timeout: float | None = number(None, above=True, optional=True)

    def __post_init__(self) -> None:
        """Raises `ValueError` or `TypeError` naming the setting."""
        check_fields(self)
