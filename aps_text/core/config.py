"""`APSConfig`: the settings of a call, flat at the surface, records inside; JSON; presets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .names import RENAMED, hint, renamed
from .routing import DEFAULTS, SETTINGS, Options, flatten, ineffective_options, settings_of
from .settings import CallSettings, ModelSettings, RewardSettings, SamplerSettings

__all__ = ["PRESETS", "SETTINGS", "APSConfig"]


class APSConfig:
    """Settings of one call: a preset (default `balanced`) with single keywords changed.

    Every keyword goes to one record (`aps_text.core.settings`): `sampler` is what the loop and the
    methods read, `call`, `model` and `reward` are read where a call becomes a canvas, where the
    model is bound, and where a reward becomes an operator. A keyword that chooses what there is not
    (`adapter="logits"` has no LoRA) leaves the others of it without a record; `make`, a pipeline's
    call and a command refuse them. Immutable; `replace` makes another.

    Args:
        preset: `fast`, `balanced` or `paper`; see `PRESETS`.

    Length and time:
        max_new_tokens: positions on the canvas; None takes the model's own default.
        steps: denoising steps T. A row finishes early when it has no mask left.
        schedule: `linear` (alpha = 1 - t) or `cosine`.
        reveal_rule: how many positions a step reveals: `exact` (per row, sums to the row's masks)
            or `dream` (its own rounding).
        threshold: also reveal every position whose score reaches this (Fast-dLLM, Wu et al. 2025);
            with steps = max_new_tokens it saves forwards where the model is sure. None is off.
        block_length: fill blocks of this many positions left to right, each in its equal share of
            the steps (LLaDA's rule, docs/decoding.md); None is one block.
        prefix_reuse: keep the prompt's keys and values below the adapted layers for this many
            steps: faster at long prompts, approximate between refreshes (docs/decoding.md). None
            computes them at every step.

    Objective (method: `L_t = prior - w log q(y|x~) / beta`, summed over masked positions):
        inner_steps: optimiser steps M per denoising step; 0 fits no phi, and steers only by
            `pool_size`.
        prior: `overlap` (-c log <x_phi, x_theta>, the paper's; it sharpens the model even without a
            reward), `kl` (c KL(x_phi || x_theta); without a reward it leaves the base sampler
            exactly), `none`. c is the share of the row's masks revealed at this step.
        likelihood_weight: w. `length` is L (the canvas length, as in the slides); `posterior` is c,
            for which the KL prior's optimum is the tilted posterior in the mean-field sense; or a
            number above 0.
        beta: temperature of the reward, `q = exp(r / beta)`; smaller steers harder. In the
            reward's own units: always report it. None is the scale of the rewards that guide
            (docs/rewards.md), 0.02 where they declare none.

    Gradient:
        relaxation: what the operator sees: `quantized` (straight-through), `expectation` (soft),
            `entropy` (EntRGi's entropy-weighted mix), `gumbel` (straight-through Gumbel-softmax).
        quantizer: the hard point of `quantized` and `entropy`: `nearest` code to the expected
            code, the `argmax` token, or a `sample` at the decoding temperature and top-p.
        gumbel_temperature: of the Gumbel-softmax.
        estimator: `relaxed` (through the relaxation), `rloo`, `remax` (score function, for black
            boxes), `auto` (per operator: relaxed where differentiable and the reward does not ask
            for samples, rloo elsewhere).
        num_samples: answers drawn per row for rloo / remax, untempered.
        bridge: what becomes of the generator's tokens a differentiable reward's tokenizer lacks:
            `restrict` (they leave the mixture), `error`, `zero`, `unk`, or `rloo` (steer without
            the reward's gradient); see `text.reward_operator.bridge`.
        reward_timeout: seconds a reward may take to score one batch, of texts or of relaxed
            answers (not to pass a gradient back through them); None waits for ever.

    Adapter (phi):
        adapter: `lora` (weights of the model) or `logits` (cheap: no pass back through the model).
        lora_rank, lora_alpha: rank r and scale alpha / r.
        lora_layers: adapt the top n layers, the trunk below runs once a step; None adapts all.
        learning_rate: Adam's; None is 0.006 for lora and 0.5 for logits.
        adam_eps: Adam's eps, relative to the rms of a row's gradient; near 0 every weight moves by
            the learning rate, large is gradient descent.
        carry_over: keep a LoRA phi from one denoising step to the next (one more forward each):
            tilts further at one price, and rounding grows from step to step, so in float32 another
            batch may change a steered answer (benchmarks/batch_invariance.py); without it, or in
            float64 (the reward's numbers, too), none did. A logits phi always starts anew.
        gradient_gate: rows whose loss gradient at the logits has a smaller L2 norm skip the
            optimiser step (Adam would amplify rounding noise to a full step).
        trust_region: bound on the mean KL(x_phi || x_theta) per masked position, in nats: a row
            beyond it stops optimising and is pulled back onto the bound. None is no bound.
        guidance_start, guidance_end: steer during this part of the steps, in [0, 1].
        guidance_interval: steer every so many steps.

    Remasking and decoding:
        remasking: `anchored` keeps the candidates with the highest TILTED probability; `standard`
            keeps them by `alg` under `rank_by`; `low_confidence` and `random` are LLaDA's names:
            standard by `maskgit_plus`, and a random order with the same counts.
        candidate: `sample` from x_phi (text) or the `quantized` expectation (image tokens), which
            is one answer: there is no pool to choose from.
        pool_size: the candidates of a guided step are those of one whole answer, chosen by
            `exp(r / beta)` among so many: fresh draws from x_phi, and the one chosen at the step
            before (`methods.pool`). It needs no gradient, so with `inner_steps=0` it steers at the
            price of plain decoding and these rewards. None (or 1) draws each token by itself.
        anchor_score: `token` = x_phi[candidate], `bits` = product over LFQ bits of max(q, 1 - q).
        rank_by: whose probability standard remasking ranks by, `theta` (the prior) or `phi` (then
            it is anchored remasking by another name).
        remask: committed tokens compete again (ReMDM: at most (1 - alpha_s) / alpha_t of them),
            those of the lowest score; in a random order any of them, with a new draw.
        alg: confidence of plain decoding and standard remasking, by Dream's names: `maskgit_plus`
            (probability), `topk_margin`, `entropy`, `origin` (random order, random count).
            Always untempered, so temperature never changes the decoding order by itself.
        alg_temp: draw the positions instead of taking the best: `softmax(score / alg_temp)`
            without replacement, Dream's knob. None is off, and so is Dream's own 0.
        cfg_scale: classifier-free guidance by the prompt masked out, `(1 + w) cond - w uncond`,
            LLaDA's knob (diffusers' `guidance_scale` is 1 + w); one more forward a step. 0 is off.
        temperature, top_p, top_k: of the candidate's draw; temperature 0 takes the argmax.
        eos_penalty: subtracted from the stop tokens' logits.
        min_new_tokens: no stop token before this many positions; 1 forbids empty answers.
        num_return_sequences: answers per prompt, each with its own draws.
        seed: of every prompt's draws. The same prompt and seed give the same answer in any batch
            (steered: but for rounding, see `carry_over`).

    Raises:
        TypeError: a keyword that is none (the message suggests one), or a value of a wrong type.
        ValueError: an unknown preset, or a value outside its range.
    """

    __slots__ = ("call", "model", "preset", "reward", "sampler")

    sampler: SamplerSettings
    call: CallSettings
    model: ModelSettings
    reward: RewardSettings
    preset: str

    def __init__(self, preset: str | None = None, **options: Any) -> None:
        preset = find_preset(preset)
        self._set(preset, {**PRESETS[preset], **checked(renamed(options))})

    def _set(self, preset: str, values: Mapping[str, Any]) -> None:
        sampler, call, model, reward = settings_of(Options(values))
        made = {"sampler": sampler, "call": call, "model": model, "reward": reward}
        for name, record in {**made, "preset": preset}.items():
            object.__setattr__(self, name, record)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an APSConfig does not change; use replace({name}=...)")

    @classmethod
    def make(cls, preset: str | None = None, **options: Any) -> APSConfig:
        """`APSConfig(preset, **options)`, where every option must have an effect.

        Raises:
            ValueError, TypeError: as `APSConfig`; and for an option that changes nothing beside the
                others (and is not what it is anyway).
        """
        made = cls(preset, **options)
        for name, reason in cls(preset).ineffective(options).items():
            raise ValueError(f"{name}={options[name]!r} has no use here: {reason}")
        return made

    def ineffective(self, options: Mapping[str, Any]) -> dict[str, str]:
        """Which of these keywords would change nothing beside the rest, and why; one that has its
        value anyway is none of them."""
        typed, usual = checked(renamed(options, warn=False)), self.flat()
        values = Options({**usual, **typed})
        sampler, call, model, _ = settings_of(values)
        lost = ineffective_options(sampler, call, model)
        return {
            name: values.reasons.get(name) or lost[name]
            for name, value in typed.items()
            if value != usual.get(name, DEFAULTS[name])
            and (name not in values.used or name in lost)
        }

    def replace(self, **options: Any) -> APSConfig:
        """A copy with some keywords changed, checked again."""
        return _made(self.preset, {**self.flat(), **checked(renamed(options))})

    if not TYPE_CHECKING:  # our own code reads the records, and mypy holds it to that

        def __getattr__(self, name: str) -> Any:
            """A keyword's value, for reading at a prompt."""
            name = RENAMED.get(name, name)
            if name.startswith("_") or name not in SETTINGS:
                raise AttributeError(f"a configuration has no {name!r}{hint(name, SETTINGS)}")
            return self.flat().get(name, DEFAULTS[name])

    def flat(self) -> dict[str, Any]:
        """Every keyword that has a record here, by name."""
        return flatten(self.sampler, self.call, self.model, self.reward)

    def to_json(self) -> str:
        """One flat JSON object, a key per keyword that has a record here."""
        return json.dumps(self.flat(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> APSConfig:
        """The inverse of `to_json`. Missing keywords take their defaults; those without effect are
        dropped, so files of earlier versions, which held all of them, can be read.

        Raises:
            TypeError: not an object, or a keyword that is none.
            ValueError: a value outside its range.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError(f"a configuration is a JSON object, got {type(values).__name__}")
        return _made("balanced", checked(renamed(values, warn=False)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, APSConfig) and self._records() == other._records()

    def __hash__(self) -> int:
        return hash(self._records())

    def _records(self) -> tuple[Any, ...]:
        return self.sampler, self.call, self.model, self.reward

    def __repr__(self) -> str:
        """The preset and what differs from it."""
        usual = APSConfig(self.preset).flat()
        own = [
            f"{name}={value!r}"
            for name, value in self.flat().items()
            if value != usual.get(name, DEFAULTS[name])
        ]
        named = [] if self.preset == "balanced" else [repr(self.preset)]
        return f"APSConfig({', '.join([*named, *own])})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.preset, self.flat())


def _made(preset: str, values: Mapping[str, Any]) -> APSConfig:
    """A configuration of these values, which started from a preset."""
    made: APSConfig = object.__new__(APSConfig)
    made._set(preset, values)
    return made


def find_preset(name: Any) -> str:
    """A preset's name, `balanced` for None; raises `ValueError` naming what there is."""
    if name is None:
        return "balanced"
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"preset is one of {', '.join(PRESETS)}; got {name!r}")
    return name


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with numbers as `int` and `float`.

    Raises:
        TypeError: an option that does not exist, or a value of a wrong type.
        ValueError: a value outside its range.
    """
    for name in options:
        if name not in SETTINGS:
            raise TypeError(f"unknown option {name!r}{hint(name, SETTINGS)}")
    return {name: SETTINGS[name].check(name, value) for name, value in options.items()}


# One steered answer costs several plain ones; the presets are the dial.
PRESETS: dict[str, dict[str, Any]] = {
    # No phi: a pool of answers re-weighted by the reward inside plain decoding, in its second half.
    "fast": {"inner_steps": 0, "guidance_start": 0.5},
    "balanced": {},
    # The slides' objective, weight, relaxation and candidates one by one; steps and adapter are
    # ours.
    "paper": {
        "steps": 32,
        "inner_steps": 10,
        "pool_size": None,
        "prior": "overlap",
        "likelihood_weight": "length",
        "relaxation": "quantized",
        "quantizer": "nearest",
        "lora_layers": None,
    },
}
"""Presets by name: what each changes of `balanced`."""
