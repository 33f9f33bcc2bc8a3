"""Keywords that have a record, but no effect together with the values of others.

A keyword without a record is told by `routing.Options.reasons`; this is about those with one.
"""

from __future__ import annotations

from collections.abc import Iterable

from .routing import names_of
from .settings import CallSettings, Draw, ModelSettings, Ranked, SamplerSettings

__all__ = ["ineffective_options"]

ORDERING = (
    *("schedule", "reveal_rule", "remask", "remasking", "rank_by", "carry_over"),
    *("block_length", "guidance_end", "guidance_interval"),
)
"""Keywords about when something is written, which one step alone has no use for."""


POOL = ("pool_rollout", "pool_interval")


def ineffective_options(
    sampler: SamplerSettings, call: CallSettings, model: ModelSettings
) -> dict[str, str]:
    """Keywords that have a record but no effect together with these values, and why."""
    found: dict[str, str] = {}

    def add(reason: str, names: Iterable[str]) -> None:
        for name in names:
            found.setdefault(name, reason)

    if sampler.steps == 1:
        add("steps=1 writes everything at once; use more steps", (*names_of(Ranked), *ORDERING))
    ranked = isinstance(sampler.order, Ranked)
    if isinstance(sampler.order, Ranked) and sampler.order.alg == "entropy":
        reason = "alg='entropy' has scores below 0; use alg='maskgit_plus' or 'topk_margin'"
        add(reason, ["threshold"])
    if sampler.reveal_rule == "dream" and ranked and not sampler.remask:
        add("reveal_rule='dream' has its own schedule; use reveal_rule='exact'", ["schedule"])
    relaxation = sampler.fit.gradient.relaxation if sampler.fit else None
    hard_draws = relaxation is not None and relaxation.quantizer == "sample"
    if sampler.candidate == "quantized" and not hard_draws:
        reason = "candidate='quantized' draws no candidates; use candidate='sample'"
        add(reason, names_of(Draw))
    if sampler.candidate == "quantized":
        add("candidate='quantized' has no pool; use candidate='sample'", POOL)
    elif sampler.pool_size is None:
        add("there is no pool of answers; use pool_size=2 or more", POOL)
    if not sampler.fits_lora and model.prefix_reuse is None:
        mend = "inner_steps >= 1" if sampler.fit is None else "adapter='lora'"
        add(f"no LoRA is fitted and no prefix kept; use {mend}", ["lora_layers"])
    if call.block_length and call.max_new_tokens and call.block_length > call.max_new_tokens:
        reason = f"max_new_tokens={call.max_new_tokens} fits into one block; use a shorter block"
        add(reason, ["block_length"])
    return found
