"""Options that do nothing beside others: whoever typed one is told, instead of a silent no-op.

`APSConfig.make` (so the pipeline's and the command's options too) raises for an option that was
given, is not what it is by default, and has no effect under the rest. What depends on the method is
in `methods.unread`; what depends on the reward or the model is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .schedule import in_window

if TYPE_CHECKING:
    from .config import APSConfig

__all__ = ["idle"]

STEERING = (
    "prior",
    "likelihood_weight",
    "beta",
    "relaxation",
    "quantizer",
    "gumbel_temperature",
    "estimator",
    "num_samples",
    "adapter",
    "lora_rank",
    "lora_alpha",
    "learning_rate",
    "adam_eps",
    "carry_over",
    "gradient_gate",
    "trust_region",
    "standard_score",
)
WINDOW = ("guidance_start", "guidance_end", "guidance_interval")
ORDER = (
    *("schedule", "counting", "remasking", "anchor_score", "standard_score", "revisable"),
    *("alg", "alg_temp", "threshold", "block_length", "carry_over"),
    *WINDOW[1:],
)


def idle(config: APSConfig) -> dict[str, str]:
    """Fields that change nothing under the others, each with the reason and the mend."""
    found: dict[str, str] = {}

    def add(names: Iterable[str], reason: str) -> None:
        for name in names:
            found.setdefault(name, reason)

    steps = range(config.steps)
    if config.inner_steps == 0 and config.num_candidates == 1:
        add((*STEERING, *WINDOW), "inner_steps=0 steers nothing; use inner_steps >= 1")
    elif config.inner_steps == 0:
        add({*STEERING} - {"beta"}, "inner_steps=0 fits no phi; use inner_steps >= 1")
    steers = config.inner_steps > 0 or config.num_candidates > 1
    window = config.guidance_start, config.guidance_end, config.guidance_interval
    if steers and not any(in_window(index, config.steps, *window) for index in steps):
        add(
            (*WINDOW, *STEERING, "num_candidates"),
            f"no step is steered: none of the {config.steps} steps lies in "
            f"[{config.guidance_start}, {config.guidance_end}) on its interval; widen the window",
        )
    if config.steps == 1:
        add(ORDER, "steps=1 writes everything at once; use more steps")
    unfitted = config.inner_steps == 0 or config.adapter == "logits"
    if unfitted and config.prefix_reuse is None:
        add(("lora_layers",), "no LoRA is fitted and no prefix kept; use adapter='lora'")
    _gradient(config, add)
    _order(config, add)
    _draws(config, add)
    return found


def _gradient(config: APSConfig, add: Callable[[Iterable[str], str], None]) -> None:
    """What the gradient is taken through, and what it moves."""
    if config.estimator in ("rloo", "remax"):
        add(
            ("relaxation", "quantizer", "gumbel_temperature"),
            f"estimator={config.estimator!r} scores drawn answers and relaxes none; "
            "use estimator='auto'",
        )
    if config.estimator == "relaxed":
        add(("num_samples",), "estimator='relaxed' draws no answers; use 'auto' or 'rloo'")
    if config.relaxation != "gumbel":
        add(
            ("gumbel_temperature",),
            f"relaxation={config.relaxation!r} draws no Gumbel noise; use relaxation='gumbel'",
        )
    if config.relaxation not in ("quantized", "entropy"):
        add(
            ("quantizer",),
            f"relaxation={config.relaxation!r} has no hard point; "
            "use relaxation='quantized' or 'entropy'",
        )
    if config.adapter == "logits":
        add(
            ("lora_rank", "lora_alpha", "carry_over"),
            "adapter='logits' has no LoRA and starts anew at each step; use adapter='lora'",
        )
    if config.likelihood_weight == 0:
        left_out = "likelihood_weight=0 leaves the reward out of phi; use a weight > 0"
        pooled = {"beta", *WINDOW} if config.num_candidates > 1 else set()
        phis = {"beta", "estimator", "num_samples", "relaxation", "quantizer"}
        add(phis - pooled, left_out)
        if config.prior != "overlap":  # the other two stay at x_theta, where phi starts
            add({*STEERING, *WINDOW} - {"likelihood_weight", "prior"} - pooled, left_out)


def _order(config: APSConfig, add: Callable[[Iterable[str], str], None]) -> None:
    """What is revealed when."""
    chance = next(
        (
            f"{name}={value!r}"
            for name, value in (("alg", "origin"), ("remasking", "random"))
            if getattr(config, name) == value
        ),
        None,
    )
    if chance is not None:
        add(
            ("anchor_score", "standard_score", "alg_temp", "threshold"),
            f"{chance} reveals in a random order, whatever the scores",
        )
    if config.alg == "origin":
        add(("remasking",), "alg='origin' reveals in a random order; use another alg")
    if config.alg == "entropy":
        add(
            ("threshold",),
            "minus an entropy never reaches it; use alg='maskgit_plus' or 'topk_margin'",
        )
    if config.remasking == "anchored":
        add(("standard_score",), "remasking='anchored' ranks by phi; use remasking='standard'")
        if config.alg != "maskgit_plus":
            add(("anchor_score",), f"alg={config.alg!r} scores the anchors; use 'maskgit_plus'")
    else:
        add(("anchor_score",), f"remasking={config.remasking!r} keeps no anchors; use 'anchored'")
    if config.counting == "dream" and config.alg != "origin" and not config.revisable:
        add(("schedule",), "counting='dream' has its own; use counting='exact'")
    if None not in (config.block_length, config.max_new_tokens) and (
        (config.block_length or 0) >= (config.max_new_tokens or 0)
    ):
        add(("block_length",), f"max_new_tokens={config.max_new_tokens} is one block; use less")


def _draws(config: APSConfig, add: Callable[[Iterable[str], str], None]) -> None:
    """What tokens are drawn from."""
    hard = config.quantizer == "sample" and config.relaxation in ("quantized", "entropy")
    if config.candidate == "quantized" and not (hard and config.inner_steps > 0):
        add(
            ("temperature", "top_p", "top_k"),
            "candidate='quantized' draws no candidates; use candidate='sample'",
        )
    if config.temperature == 0:
        add(("top_p", "top_k"), "temperature=0 takes the likeliest token; use temperature > 0")
    if config.candidate == "quantized":
        add(("num_candidates",), "candidate='quantized' draws none; use candidate='sample'")
