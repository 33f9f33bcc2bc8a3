"""`APSConfig`: every choice of the method as one documented field, validated, JSON round trip."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .idle import idle
from .limits import CHOICES, RANGES, check_number

__all__ = ["PRESETS", "APSConfig"]


@dataclass(frozen=True, kw_only=True)
class APSConfig:
    """Settings of one call. Defaults are the `balanced` preset.

    Length and time:
        max_new_tokens: positions on the canvas; None takes the model's own default.
        steps: denoising steps T. A row finishes early when it has no mask left.
        schedule: `linear` (alpha = 1 - t) or `cosine`.
        counting: `exact` (per row, sums to the row's masks) or `dream` (its own rounding).
        threshold: also reveal every position whose score reaches this (Fast-dLLM, Wu et al. 2025);
            with steps = max_new_tokens it saves forwards where the model is sure. None is off.
        block_length: fill blocks of this many positions left to right, each in its equal share of
            the steps (LLaDA's rule, docs/decoding.md); None is one block.
        prefix_reuse: keep the prompt's keys and values below the adapted layers for this many
            steps: faster at long prompts, approximate between refreshes (docs/decoding.md). None
            computes them at every step.

    Objective (method: `L_t = prior - w log q(y|x~) / beta`, summed over masked positions):
        inner_steps: optimiser steps M per denoising step; 0 fits no phi, and steers only by
            `num_candidates`.
        prior: `overlap` (-c log <x_phi, x_theta>, the paper's; it sharpens the model even without a
            reward), `kl` (c KL(x_phi || x_theta); without a reward it leaves the base sampler
            exactly), `none`. c is the share of the row's masks revealed at this step.
        likelihood_weight: w. `slides` is L (canvas length); `posterior` is c, for which the KL
            prior's optimum is the tilted posterior in the mean-field sense; or a number.
        beta: temperature of the reward, `q = exp(r / beta)`; smaller steers harder. In the
            reward's own units: always report it.

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
            the reward's gradient); see `text.bridge`.
        reward_timeout: seconds a reward may take to score one batch, of texts or of relaxed
            answers (not to pass a gradient back through them); None waits for ever.

    Adapter (phi):
        adapter: `lora` (our user's variant) or `logits` (cheap: no pass back through the model).
        lora_rank, lora_alpha: rank r and scale alpha / r.
        lora_layers: adapt the top n layers, the trunk below runs once a step; None adapts all.
        learning_rate: Adam's; None is 0.006 for lora and 0.5 for logits.
        adam_eps: Adam's eps, relative to the rms of a row's gradient; near 0 every weight moves by
            the learning rate, large is gradient descent.
        carry_over: keep a LoRA phi from one denoising step to the next (one more forward each):
            tilts further at one price, and rounding grows from step to step, so in float32 another
            batch may change a steered answer (benchmarks/batch_invariance.py); without it, or in
            float64, none did. A logits phi always starts anew.
        gradient_gate: rows whose loss gradient at the logits has a smaller L2 norm skip the
            optimiser step (Adam would amplify rounding noise to a full step).
        trust_region: bound on the mean KL(x_phi || x_theta) per masked position, in nats: a row
            beyond it stops optimising and is pulled back onto the bound. None is no bound.
        guidance_start, guidance_end: steer during this part of the steps, in [0, 1].
        guidance_interval: steer every so many steps.

    Remasking and decoding:
        remasking: `anchored` keeps the candidates with the highest TILTED probability; `standard`
            keeps them by `alg` under `standard_score`; `low_confidence` and `random` are LLaDA's
            names: standard by `maskgit_plus`, and a random order with the same counts.
        candidate: `sample` from x_phi (text) or the `quantized` expectation (image tokens).
        num_candidates: above 1 the candidates of a guided step are those of one whole answer,
            chosen by `exp(r / beta)` among so many: fresh draws from x_phi, and the one chosen at
            the step before (`tilted_sample`). It needs no gradient, so with `inner_steps=0` it
            steers at the price of plain decoding and these rewards. 1 draws each token by itself.
        anchor_score: `token` = x_phi[candidate], `bits` = product over LFQ bits of max(q, 1 - q).
        standard_score: whose probability standard remasking ranks by, `theta` (the prior) or `phi`.
        revisable: committed tokens compete again (ReMDM: at most (1 - alpha_s) / alpha_t of them),
            those of the lowest score; in a random order any of them, with a new draw.
        alg: confidence of plain decoding and standard remasking, by Dream's names: `maskgit_plus`
            (probability), `topk_margin`, `entropy`, `origin` (random order, random count).
            Always untempered, so temperature never changes the decoding order by itself.
        alg_temp: draw the positions instead of taking the best: `softmax(score / alg_temp)`
            without replacement, Dream's knob. None is off, and so is Dream's own 0.
        cfg_scale: classifier-free guidance by the prompt masked out, `(1 + w) cond - w uncond`,
            LLaDA's knob; one more forward a step. 0 is off.
        temperature, top_p, top_k: of the candidate's draw; temperature 0 takes the argmax.
        eos_penalty: subtracted from the stop tokens' logits.
        min_new_tokens: no stop token before this many positions; 1 forbids empty answers.
        num_return_sequences: answers per prompt, each with its own draws.
        seed: of every prompt's draws. The same prompt and seed give the same answer in any batch
            (steered: but for rounding, see `carry_over`).
    """

    max_new_tokens: int | None = None
    steps: int = 16
    schedule: Literal["linear", "cosine"] = "linear"
    counting: Literal["exact", "dream"] = "exact"
    threshold: float | None = None
    block_length: int | None = None
    prefix_reuse: int | None = None
    inner_steps: int = 1
    prior: Literal["overlap", "kl", "none"] = "kl"
    likelihood_weight: Literal["slides", "posterior"] | float = "posterior"
    beta: float = 0.02
    relaxation: Literal["quantized", "expectation", "entropy", "gumbel"] = "expectation"
    quantizer: Literal["nearest", "argmax", "sample"] = "sample"
    gumbel_temperature: float = 1.0
    estimator: Literal["auto", "relaxed", "rloo", "remax"] = "auto"
    num_samples: int = 8
    bridge: Literal["restrict", "error", "zero", "unk", "rloo"] = "restrict"
    reward_timeout: float | None = None
    adapter: Literal["lora", "logits"] = "lora"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_layers: int | None = 2
    learning_rate: float | None = None
    adam_eps: float = 0.1
    carry_over: bool = True
    gradient_gate: float = 1e-6
    trust_region: float | None = 3.0
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    guidance_interval: int = 1
    remasking: Literal["standard", "anchored", "low_confidence", "random"] = "anchored"
    candidate: Literal["sample", "quantized"] = "sample"
    num_candidates: int = 16
    anchor_score: Literal["token", "bits"] = "token"
    standard_score: Literal["phi", "theta"] = "theta"
    revisable: bool = False
    alg: Literal["maskgit_plus", "topk_margin", "entropy", "origin"] = "maskgit_plus"
    alg_temp: float | None = None
    cfg_scale: float = 0.0
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int | None = None
    eos_penalty: float = 0.0
    min_new_tokens: int = 1
    num_return_sequences: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field; raises `ValueError` or `TypeError` naming the field and the mend."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is one of {', '.join(allowed)}; got {getattr(self, name)!r}"
                )
        for name in RANGES:
            _check(name, getattr(self, name))
        if self.alg_temp == 0:
            object.__setattr__(self, "alg_temp", None)
        for name in ("carry_over", "revisable"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is True or False, got {getattr(self, name)!r}")
        if self.guidance_start > self.guidance_end:
            raise ValueError(
                f"guidance_start={self.guidance_start} lies after guidance_end={self.guidance_end}"
            )
        if self.threshold is not None and self.alg_temp is not None:
            raise ValueError(
                f"threshold={self.threshold} reads scores that alg_temp={self.alg_temp} makes "
                "random; set one of them to None"
            )
        if self.remasking in ("low_confidence", "random") and self.alg != "maskgit_plus":
            raise ValueError(
                f"remasking={self.remasking!r} and alg={self.alg!r} are two orders; "
                "use remasking='standard' with that alg"
            )
        if isinstance(self.likelihood_weight, str):
            if self.likelihood_weight not in ("slides", "posterior"):
                raise ValueError(
                    "likelihood_weight is 'slides', 'posterior' or a number; "
                    f"got {self.likelihood_weight!r}"
                )
        else:
            check_number("likelihood_weight", self.likelihood_weight, (0, math.inf, True))

    @classmethod
    def make(cls, preset: str | None = None, **options: Any) -> APSConfig:
        """A preset (`fast`, `balanced`, `paper`) with single fields changed.

        Raises:
            TypeError: an option that is not a field; the message suggests the nearest one.
            ValueError: an unknown preset, a value outside its range, or an option that does nothing
                beside the others (see `aps_text.core.idle`).
        """
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"preset is one of {', '.join(PRESETS)}; got {preset!r}")
        cls._known(options)
        base = PRESETS[preset or "balanced"]
        config, usual = cls(**{**base, **options}), cls(**base)
        for name, reason in config.idle().items():
            if name in options and options[name] != getattr(usual, name):
                raise ValueError(f"{name}={options[name]!r} has no use here: {reason}")
        return config

    def replace(self, **options: Any) -> APSConfig:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **options)

    def idle(self) -> dict[str, str]:
        """Fields that have no effect beside the others, each with the reason and the mend."""
        return idle(self)

    @property
    def adapter_learning_rate(self) -> float:
        """The learning rate in force."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.006 if self.adapter == "lora" else 0.5

    def to_json(self) -> str:
        """One JSON object, a key per field."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> APSConfig:
        """The inverse of `to_json`; missing fields take their defaults, unknown ones are errors."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError(f"a configuration is a JSON object, got {type(values).__name__}")
        cls._known(values)
        return cls(**values)

    @classmethod
    def _known(cls, names: Iterable[str]) -> None:
        known = [f.name for f in dataclasses.fields(cls)]
        for name in names:
            if name not in known:
                near = THEIRS.get(name, []) or difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
                raise TypeError(f"unknown option {name!r}{hint}")


def _check(name: str, value: Any) -> None:
    """A number within its range; its annotation says whether it is whole or may be None."""
    annotation = str(APSConfig.__annotations__[name])
    if value is not None or "None" not in annotation:
        check_number(name, value, RANGES[name], whole="int" in annotation)


# Names in the published code of Dream and LLaDA that are nothing like ours.
THEIRS = {"gen_length": ["max_new_tokens"]}

# One steered answer costs several plain ones; the presets are the dial.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"inner_steps": 0, "guidance_start": 0.5},
    "balanced": {},
    # The slides' objective and weights; steps and adapter are ours.
    "paper": {
        "steps": 32,
        "inner_steps": 10,
        "num_candidates": 1,
        "prior": "overlap",
        "likelihood_weight": "slides",
        "relaxation": "quantized",
        "quantizer": "nearest",
        "lora_layers": None,
    },
}
