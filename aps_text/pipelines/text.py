"""`APSPipeline`: questions in, steered answers out. Parse, build, call, show; nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from aps_rewards import Normalised, Reward, load_reward
from torch import nn

from ..core.config import APSConfig
from ..core.sampler import Method
from ..core.step import StepState
from ..methods.ancestral import Ancestral
from ..methods.aps import APS
from ..methods.registry import PEERS
from ..methods.unread import refuse_unread
from ..models.registry import load, wrap
from ..models.text_model import TextModel
from ..text.prompts import Prompt
from ..text.reward_operator.controls import CONTROLS
from ..text.reward_operator.guidance import RewardSpec, load_rewards
from .batch import Roles
from .calibration import normalised_in, observe
from .output import APSOutput
from .request import prepare
from .stream import Stream

__all__ = ["METHODS", "APSOutput", "APSPipeline"]

METHODS: dict[str, Callable[..., Method]] = {"aps": APS, "plain": Ancestral, **PEERS}


class APSPipeline:
    """Answer questions with a masked diffusion model, steered by a reward or plainly.

    Args:
        model: a `TextModel`, or a loaded Hugging Face model (then `tokenizer` is needed).
        tokenizer: the loaded model's tokenizer.
        batch_size: most rows (answers) in one pass.
    """

    def __init__(
        self, model: TextModel | nn.Module, tokenizer: Any = None, *, batch_size: int = 8
    ) -> None:
        if not isinstance(model, TextModel):
            if tokenizer is None:
                raise TypeError("APSPipeline(model=...) also needs tokenizer=... of that model")
            model = wrap(model, tokenizer)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.model, self.batch_size = model, batch_size
        self._rewards: dict[str, Any] = {}  # loaded by name, kept for the next call

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "mini",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int = 8,
        **options: Any,
    ) -> APSPipeline:
        """Load `"mini"` (embedded), a folder or a hub id.

        `options` are those of `aps_text.models.registry.load`: `device_map`, `load_in_4bit`,
        `attn_implementation`, `revision`, `chat`, `gradient_checkpointing`, `compile`, ...
        """
        return cls(load(name, device=device, dtype=dtype, **options), batch_size=batch_size)

    def __call__(
        self,
        prompts: Prompt | Iterable[Prompt],
        reward: RewardSpec = None,
        *,
        method: str | Method = "aps",
        select: RewardSpec = None,
        report: RewardSpec = None,
        control: str | None = None,
        on_error: str = "raise",
        config: APSConfig | None = None,
        preset: str | None = None,
        seeds: Sequence[int] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        start: Mapping[str, Any] | None = None,
        on_step: Callable[[int, StepState], None] | None = None,
        keep_trajectory: bool = False,
        warm_start: str | Path | None = None,
        **options: Any,
    ) -> APSOutput:
        """Answer prompts.

        Args:
            prompts: a question, a list of chat messages, or an iterable of either.
            reward: what to steer by (see `RewardSpec`); None only with `method="plain"`.
            method: a name in `METHODS` (docs/methods.md), or a `Method` object with settings.
            select: of a prompt's `num_return_sequences` answers, return the one this reward (or
                weighted sum) likes best; None returns them all.
            report: rewards that are only measured.
            control: steer by `zero`, `shuffled` or `flipped` instead (see `text.controls`), and
                report the reward itself.
            on_error: when a reward fails on a prompt, `raise` its `RewardError` at once, with the
                batches finished before it in `error.partial`; or `keep` going: the other prompts
                are answered as if it had not been asked, and it is in `output.failures`.
            config: settings; or `preset` and single `options` (`APSConfig` fields).
            seeds: one per prompt; default the setting `seed` for each. A prompt and its seed decide
                its answer, whatever the batch.
            columns: dataset columns for the rewards, one value per prompt, e.g. `reference`.
            start: what stands on the canvas before the first step: `prefix`, `suffix`, `template`,
                `init_text`, `init_strength` (see `text.drafts`), each a value for all prompts or a
                list with one per prompt.
            on_step: called as `on_step(step, state)` after each denoising step of each batch.
            keep_trajectory: keep every step state in the output.
            warm_start: folder of a saved adapter every prompt starts from (`adapter="lora"`).

        Raises:
            ValueError, TypeError: bad prompts, settings or rewards, before anything is computed.
            RewardError: a reward raised, took too long or returned no number; names the prompt.
        """
        stream = self._open(
            prompts,
            reward,
            method=method,
            select=select,
            report=report,
            control=control,
            on_error=on_error,
            config=config,
            preset=preset,
            seeds=seeds,
            columns=columns,
            start=start,
            keep_trajectory=keep_trajectory,
            warm_start=warm_start,
            **options,
        )
        for state in stream.states:
            if on_step is not None:
                on_step(state.step, state)
        return stream.output()

    def stream(
        self, prompts: Prompt | Iterable[Prompt], reward: RewardSpec = None, **kwargs: Any
    ) -> Stream:
        """The same call, step by step: iterate over `(state, texts so far)`, then `.output()`.

        Takes `__call__`'s arguments except `on_step`; without a reward the method is `plain`.
        Arguments are checked now, the work is done as you iterate.
        """
        return self._open(
            prompts, reward, **{"method": "plain" if reward is None else "aps", **kwargs}
        )

    def generate(self, prompts: Prompt | Iterable[Prompt], **kwargs: Any) -> APSOutput:
        """The base sampler: no steering; Dream's names for its knobs (`alg`, `temperature`, ...).

        Takes `__call__`'s arguments; a `reward` is only measured.
        """
        return self(prompts, method="plain", **kwargs)

    def generate_plain(self, prompts: Prompt | Iterable[Prompt], **kwargs: Any) -> APSOutput:
        """`generate` by its name before version 0.2, where it leaves."""
        warnings.warn("generate_plain is generate now", DeprecationWarning, stacklevel=2)
        return self.generate(prompts, **kwargs)

    def calibrate(
        self,
        reward: Reward | str,
        prompts: Prompt | Iterable[Prompt],
        *,
        samples: int = 4,
        columns: Mapping[str, Sequence[Any]] | None = None,
        **options: Any,
    ) -> Reward:
        """Give every `Normalised` reward in `reward` its mean and scale; returns the reward.

        They are those of the base model's own answers, `samples` to each prompt, drawn once.
        Calling again adds to the statistics. `options` are `generate`'s.

        Raises:
            ValueError: nothing in `reward` is normalised.
        """
        found: list[Normalised] = normalised_in(load_reward(reward))
        plain = self.generate(prompts, columns=columns, num_return_sequences=samples, **options)
        observe(found, plain, columns or {})
        return load_reward(reward)

    def _open(
        self,
        prompts: Prompt | Iterable[Prompt],
        reward: RewardSpec,
        *,
        method: str | Method,
        select: RewardSpec = None,
        report: RewardSpec = None,
        control: str | None = None,
        on_error: str = "raise",
        config: APSConfig | None = None,
        preset: str | None = None,
        seeds: Sequence[int] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        start: Mapping[str, Any] | None = None,
        keep_trajectory: bool = False,
        warm_start: str | Path | None = None,
        **options: Any,
    ) -> Stream:
        """A call, checked, with its rewards loaded; nothing is computed yet."""
        request = prepare(self.model, prompts, config, preset, options, seeds, columns, start)
        runner = as_method(method, reward)
        refuse_unread(runner, options, preset, drafted="init_text" in (start or {}))
        check_choices(control, on_error)
        if control is not None and isinstance(runner, Ancestral):
            raise ValueError(f"control={control!r} is a way of steering, which 'plain' does not")
        return Stream(
            self.model,
            request,
            Roles(*(load_rewards(spec, self._rewards) for spec in (reward, select, report))),
            runner,
            batch_size=self.batch_size,
            control=control,
            on_error=on_error,
            keep_trajectory=keep_trajectory,
            warm_start=warm_start,
        )


def check_choices(control: str | None, on_error: str) -> None:
    """Raise `ValueError` for a control or an error mode that does not exist."""
    if control is not None and control not in CONTROLS:
        raise ValueError(f"control is one of {', '.join(CONTROLS)}; got {control!r}")
    if on_error not in ("raise", "keep"):
        raise ValueError(f"on_error is 'raise' or 'keep', got {on_error!r}")


def as_method(method: str | Method, reward: RewardSpec) -> Method:
    """A method by name, or the object itself.

    Raises:
        ValueError: no such name, or a steered method without a reward.
    """
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    if method != "plain" and reward is None:
        raise ValueError(
            f"method {method!r} steers by a reward and got none; pass reward=..., "
            "or use generate / method='plain'"
        )
    return METHODS[method]()
