"""`APSConfig`: the settings of a call as flat keywords, stored as records; JSON; presets."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ineffective import ineffective_options
from .names import RENAMED, hint, renamed
from .presets import IMAGE_PRESETS, PRESETS, find_preset
from .routing import DEFAULTS, SETTINGS, Options, flatten, records_of
from .settings import CallSettings, ModelSettings, RewardSettings, SamplerSettings
from .whole_files import write_whole

_OFFERS = ("flat", "ineffective", "replace", "to_json", "from_json", "save", "load")

__all__ = ["SETTINGS", "APSConfig"]


class APSConfig:
    """Settings of one call: a preset (default `balanced`) with single keywords changed.

    Every keyword goes to one record (`aps_text.core.settings`): the loop and the methods read
    `sampler`; `call` is read when prompts become a canvas, `model` when the model is bound to
    them, `reward` when a reward becomes an operator. A keyword of a feature that another keyword
    turns off (`lora_rank` with `adapter="logits"`) has no record: `APSConfig` ignores it, while
    `make`, a pipeline's call and a command refuse it. Immutable; `replace` makes a changed copy.

    Args:
        preset: `fast`, `balanced` or `paper` for text, `restore` or `posterior` for images; see
            `core.presets.PRESETS`.

    Length and time:
        max_new_tokens: positions on the canvas; None takes the model's own default.
        steps: denoising steps T. A row finishes early when it has no mask left.
        schedule: `linear` (alpha = 1 - t) or `cosine`.
        reveal_rule: how many positions a step reveals: `exact` (per row, sums to the row's masks)
            or `dream` (its own rounding).
        threshold: also reveal every position whose score reaches this (Fast-dLLM, Wu et al. 2025);
            with steps = max_new_tokens it saves forwards where the model is sure. None is off.
        block_length: fill blocks of this many positions left to right, each in an equal share of
            the steps (LLaDA's rule, docs/decoding.md); None is the model's own length (`smol`: 1),
            or one block. A block as long as `max_new_tokens` is one block with any model.
        prefix_reuse: keep the prompt's keys and values below the adapted layers for this many
            steps: faster at long prompts, approximate between refreshes (docs/decoding.md). None
            computes them at every step. A causal prompt (`smol`) is always kept for the whole run,
            exactly.

    Objective (method: `L_t = prior - w log q(y|x~) / beta`, summed over masked positions):
        inner_steps: optimiser steps M per guided denoising step; 0 fits no phi, so only
            `pool_size` steers.
        prior: `overlap` (-c log <x_phi, x_theta>, the paper's; it sharpens the model even without a
            reward), `kl` (c KL(x_phi || x_theta); without a reward it leaves the base sampler
            exactly), `none`. c is the share of the row's masks revealed at this step.
        likelihood_weight: w. `length` is L (the canvas length, as in the slides); `posterior` is c,
            for which the KL prior's optimum is the tilted posterior in the mean-field sense; or a
            number above 0.
        beta: temperature of the reward, `q = exp(r / beta)`, in the reward's own units; smaller
            steers harder. Report it with every result. None takes the scale that the guiding
            rewards declare (docs/rewards.md), 0.02 where they declare none.

    Gradient:
        relaxation: what the operator sees: `quantized` (straight-through), `expectation` (soft),
            `entropy` (EntRGi's entropy-weighted mix), `gumbel` (straight-through Gumbel-softmax).
        quantizer: the token that `quantized` and `entropy` round to: the code `nearest` to the
            expected code, the `argmax` token, or a `sample` under the decoding settings.
        gumbel_temperature: of the Gumbel-softmax.
        estimator: `relaxed` (through the relaxation), `rloo`, `remax` (score function, for black
            boxes), `auto` (per operator: relaxed where differentiable and the reward does not ask
            for samples, rloo elsewhere).
        num_samples: answers drawn per row for rloo / remax, untempered.
        bridge: treatment of the generator's tokens that a differentiable reward's tokenizer lacks:
            `restrict` (their probability is removed), `error`, `zero`, `unk`, or `rloo` (steer
            without the reward's gradient); see `text.reward_operator.bridge`.
        reward_timeout: seconds a reward may take for the forward pass of one batch, of texts or of
            relaxed answers; the backward pass is not timed. None is no limit.

    Adapter (phi):
        adapter: `lora` (weights of the model), `logits` (cheap: no backward pass through it) or
            `codes` (as cheap: a tilt towards the guiding operator's codes, for image tokens).
        lora_rank, lora_alpha: rank r and scale alpha / r.
        lora_layers: adapt the top n layers; the layers below (the trunk) run once per step. None
            adapts all layers; then there is no trunk, and nothing of a causal prompt (`smol`) is
            kept. `smol` in blocks has all layers but one in the trunk where no LoRA is fitted.
        learning_rate: Adam's; None is 0.006 for lora, 0.5 for logits, 0.3 for codes.
        adam_eps: Adam's eps, relative to the rms of a row's gradient; near 0 every weight moves by
            the learning rate, a large eps approaches gradient descent.
        carry_over: keep a LoRA phi from one denoising step to the next: it tilts further for one
            more forward per step. Rounding errors then grow from step to step: in float32 a
            steered answer may change with its batch (benchmarks/batch_invariance.py); none did
            without it, or in float64 (the reward's numbers, too). A logits phi is never kept.
        tilt_keep: factor in [0, 1] on a codes phi at the start of every denoising step.
        tilt_start: the start of a codes phi, as a multiple of the codes of a measurement's first
            guess (`Measurement.guess`); 0 starts without a tilt.
        gradient_gate: rows whose loss gradient at the logits has a smaller L2 norm skip the
            optimiser step (Adam would amplify rounding noise to a full step).
        trust_region: bound on the mean KL(x_phi || x_theta) per masked position, in nats: a row
            beyond it stops optimising and is pulled back onto the bound. None is no bound.
        guidance_start, guidance_end: steer during this part of the steps, in [0, 1]. None starts
            at 0.5 where answers of a pool are rollouts (a step in the second half is guided at
            least) and the canvas is one block, at 0 elsewhere.
        guidance_interval: of that part, steer the steps whose index is a multiple of this.

    Remasking and decoding:
        remasking: `anchored` keeps the candidates with the highest TILTED probability; `standard`
            keeps them by `alg` under `rank_by`; `low_confidence` and `random` are LLaDA's names:
            standard by `maskgit_plus`, and a random order with the same counts.
        candidate: `sample` from x_phi (text) or the `quantized` expectation (image tokens), which
            is a single answer and so excludes `pool_size`.
        pool_size: take the candidates of a guided step from one whole answer, chosen by
            `exp(r / beta)` among this many: fresh draws, and the one chosen at the step before
            (`methods.pool`). It needs no gradient: with `inner_steps=0` and `pool_rollout=1`
            steering costs plain decoding and these rewards. None (or 1) draws every token
            independently.
        pool_rollout: steps of the base sampler in which each fresh answer of the pool is drawn. 1
            draws its tokens independently; with more, tokens fit those before them, for one
            forward more each and answer (`methods.rollouts`).
        pool_interval: a pool is made at the first guided step and at those whose index is a
            multiple of this; the guided steps between go on with the answer that was chosen.
        prefer_ended: of whole answers (a pool's, or best-of-n's samples) choose one without a stop
            token, which the canvas may have cut off, only where none has one, or where the reward
            prefers none of them. False judges all by the reward alone.
        anchor_score: `token` = x_phi[candidate], `bits` = product over LFQ bits of max(q, 1 - q).
        rank_by: whose probability standard remasking ranks by, `theta` (the prior) or `phi`
            (equivalent to anchored remasking).
        remask: committed tokens compete again (ReMDM: at most (1 - alpha_s) / alpha_t of them, and
            at most half), those of the lowest score; in a random order, ones drawn at random.
        alg: confidence of plain decoding and standard remasking, by Dream's names: `maskgit_plus`
            (probability), `topk_margin`, `entropy`, `origin` (random order, random count).
            Always untempered, so temperature never changes the decoding order by itself.
        alg_temp: Dream's option: draw the positions from `softmax(score / alg_temp)` without
            replacement instead of taking the best. None and 0 take the best.
        cfg_scale: LLaDA's w of classifier-free guidance, `(1 + w) cond - w uncond`, where uncond
            masks out the prompt (diffusers' `guidance_scale` is 1 + w); one more forward per step.
            0 is off.
        temperature, top_p, top_k: of the candidate's draw; temperature 0 takes the argmax.
        eos_penalty: subtracted from the stop tokens' logits.
        min_new_tokens: no stop token before this many positions; 1 forbids empty answers, and as
            many as the canvas has leave no room for a stop token, so that all are cut off.
        num_return_sequences: answers per prompt, each with its own draws.
        seed: of every prompt's draws. The same prompt and seed give the same answer in any batch
            (in float32 up to rounding, see `carry_over` and docs/guarantees.md).

    Raises:
        TypeError: an unknown keyword (the message suggests one), or a value of a wrong type.
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
        self._set(preset, {**PRESETS[preset], **checked_options(renamed(options))})

    def _set(self, preset: str, values: Mapping[str, Any]) -> None:
        sampler, call, model, reward = records_of(Options(values))
        made = {"sampler": sampler, "call": call, "model": model, "reward": reward}
        for name, record in {**made, "preset": preset}.items():
            object.__setattr__(self, name, record)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an APSConfig does not change; use replace({name}=...)")

    @classmethod
    def make(cls, preset: str | None = None, **options: Any) -> APSConfig:
        """`APSConfig(preset, **options)`, where every option must have an effect.

        Raises:
            ValueError, TypeError: as `APSConfig`.
            ValueError: an option that differs from its default and has no effect together with
                the others.
        """
        made = cls(preset, **options)
        for name, reason in cls(preset).ineffective(options).items():
            raise ValueError(f"{name}={options[name]!r} has no use here: {reason}")
        return made

    def in_blocks(self, block_length: int | None, length: int) -> APSConfig:
        """The configuration for canvases of `length` tokens in blocks: where no `guidance_start` is
        given, all steps are steered, since the first blocks are finished before the second half of
        the steps (and with them short answers). Without several blocks it stays as it is."""
        if not self.sampler.steers or self.sampler.window.start is not None:
            return self
        return self.replace(guidance_start=0.0) if block_length and block_length < length else self

    def ineffective(self, options: Mapping[str, Any]) -> dict[str, str]:
        """The given keywords that would have no effect in this configuration, with the reason.

        A keyword given with the value that it has anyway is not reported.
        """
        typed, usual = checked_options(renamed(options, warn=False)), self.flat()
        values = Options({**usual, **typed})
        sampler, call, model, _ = records_of(values)
        lost = ineffective_options(sampler, call, model)
        return {
            name: values.reasons.get(name) or lost[name]
            for name, value in typed.items()
            if value != usual.get(name, DEFAULTS[name])
            and (name not in values.used or name in lost)
        }

    def replace(self, **options: Any) -> APSConfig:
        """A copy with some keywords changed; raises what the class raises."""
        return _made(self.preset, {**self.flat(), **checked_options(renamed(options))})

    if not TYPE_CHECKING:  # the library reads the records; mypy reports attributes by keyword

        def __getattr__(self, name: str) -> Any:
            """A keyword's value, for interactive use; its default where it has no record."""
            name = RENAMED.get(name, name)
            if name.startswith("_") or name not in SETTINGS:
                near = difflib.get_close_matches(name, [*SETTINGS, *_OFFERS], n=1)
                mend = f"did you mean {near[0]!r}" if near else "it has its keywords as attributes"
                raise AttributeError(
                    f"a configuration has no {name!r}; {mend}, and {', '.join(_OFFERS)}"
                )
            return self.flat().get(name, DEFAULTS[name])

    def flat(self) -> dict[str, Any]:
        """The keywords that have a record, by name."""
        return flatten(self.sampler, self.call, self.model, self.reward)

    def to_json(self) -> str:
        """One flat JSON object of the keywords that have a record, and of a preset of images."""
        named = {"preset": self.preset} if self.preset in IMAGE_PRESETS else {}
        return json.dumps({**named, **self.flat()}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> APSConfig:
        """The inverse of `to_json`. Missing keywords take the defaults of the `preset`, if one is
        named; those without effect are dropped.

        Raises:
            TypeError: not a JSON object, an unknown keyword, or a value of a wrong type.
            ValueError: not JSON, an unknown preset, or a value outside its range.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError(f"a configuration is a JSON object, got {type(values).__name__}")
        preset = find_preset(values.pop("preset", None))
        values = checked_options(renamed(values, warn=False))
        return _made(preset, {**PRESETS[preset], **values})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_json` to a file, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> APSConfig:
        """Read a file that `save` wrote.

        Raises:
            OSError: no such file; otherwise as `from_json`, naming the file.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8-sig"))
        except TypeError as error:
            raise TypeError(f"{path}: {error}") from error
        except ValueError as error:  # of JSON, or of an encoding
            raise ValueError(f"{path}: {error}") from error

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
    """A configuration of these values; `preset` is only remembered."""
    made: APSConfig = object.__new__(APSConfig)
    made._set(preset, values)
    return made


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, checked, with numbers as `int` and `float`.

    Raises:
        TypeError: an unknown option, or a value of a wrong type.
        ValueError: a value outside its range.
    """
    for name in options:
        if name not in SETTINGS:
            raise TypeError(f"unknown option {name!r}{hint(name, SETTINGS)}")
    return {name: SETTINGS[name].check(name, value) for name, value in options.items()}
