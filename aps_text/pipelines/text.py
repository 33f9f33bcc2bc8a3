"""`APSPipeline`: answers questions with a masked diffusion model, plainly or steered by rewards."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from aps_rewards import Normalised, Reward, load_reward
from torch import nn

from ..core.config import APSConfig
from ..core.sampler import Method
from ..core.states import StepState
from ..methods.ancestral import Ancestral
from ..methods.draws import Draws
from ..methods.registry import METHODS, as_method
from ..methods.unread import own_for, refuse_unread, refuse_unsteered
from ..models.registry import load, wrap
from ..models.text_model import TextModel
from ..text.containers import kind_of
from ..text.prompts import Prompt, prompt_items
from ..text.reward_operator.controls import CONTROLS
from ..text.reward_operator.guidance import RewardSpec, beta_of, load_rewards, specs_of
from .batch import Roles
from .calibration import normalised_in, observe
from .inputs import as_columns, as_count, refuse_seeds
from .model_names import refuse_name
from .output import APSOutput
from .progress import shown
from .request import prepare
from .step_progress import StepProgress
from .stream import Stream
from .surroundings import ordinary_surroundings
from .wording import how_to_try

__all__ = ["METHODS", "APSOutput", "APSPipeline"]


class APSPipeline:
    """Answer questions with a masked diffusion model, steered by a reward or plainly.

    Args:
        model: a `TextModel`, or a loaded Hugging Face model (then `tokenizer` is needed).
        tokenizer: the loaded model's tokenizer.
        batch_size: maximal number of rows (answers) in one pass, >= 1.

    Attributes:
        shell: whether warnings advise commands of `aps` and not Python, as its commands want it.

    Raises:
        TypeError: a name or a folder (says what loads it), or a model without its tokenizer.
    """

    def __init__(
        self, model: TextModel | nn.Module, tokenizer: Any = None, *, batch_size: int = 8
    ) -> None:
        if not isinstance(model, TextModel):
            refuse_name(type(self).__name__, model)
            if tokenizer is None:
                raise TypeError("APSPipeline(model=...) also needs tokenizer=... of that model")
            model = wrap(model, tokenizer)
        self.model, self.batch_size = model, as_count("batch_size", batch_size)
        self.shell = False
        self._rewards: dict[str, Any] = {}  # cache of rewards loaded by name
        self._loading = threading.Lock()
        self._source: tuple[str | Path, dict[str, Any]] | None = None

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
        """Load `"mini"` or `"smol"` (the embedded models), a folder or a hub id.

        `options` are those of `aps_text.models.registry.load`: `device_map`, `load_in_4bit`,
        `attn_implementation`, `revision`, `chat`, `gradient_checkpointing`, `compile`, `adapter`
        (a fine-tuned LoRA of the model, its folder or hub id), ...
        """
        options = {"device": device, "dtype": dtype, **options}
        with ordinary_surroundings(torch.device("cpu")), quiet_loading():
            pipe = cls(load(name, **options), batch_size=batch_size)
        pipe._source = name, options
        return pipe

    @property
    def device(self) -> torch.device:
        """The device of the model's input embeddings."""
        return self.model.parts.device

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, a Hugging Face fast one."""
        return self.model.tokenizer

    def know(self, rewards: Mapping[str, Any]) -> None:
        """Take rewards that were loaded by name (`load_rewards`) for calls that name them."""
        self._rewards.update(rewards)

    def __repr__(self) -> str:
        model = self.model
        return (
            f"APSPipeline({model.name!r}, {type(model.parts.model).__name__} on {self.device}, "
            f"batch_size={self.batch_size})"
        )

    def _loaded_by(self) -> str:
        """The name or folder by which a page can load the model again; else empty."""
        if self._source is None or self._source[1].get("adapter") is not None:
            return ""
        return str(self._source[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the arguments of `from_pretrained`: unpickling loads the model again."""
        if self._source is None:
            raise TypeError(
                "only pipelines made by from_pretrained can be pickled; make this one in the "
                "worker, or load it by APSPipeline.from_pretrained(folder)"
            )
        return _loaded_again, (type(self), *self._source, self.batch_size)

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
        on_pass: Callable[[StepProgress], None] | None = None,
        keep_trajectory: bool = False,
        warm_start: str | Path | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> APSOutput:
        """Answer prompts.

        Args:
            prompts: a question, a list of chat messages, or any container of either (list, column,
                Series, array, iterator), read in order.
            reward: the guiding rewards (see `RewardSpec`); None only with `method="plain"`.
            method: a name in `METHODS` (docs/methods.md), or a `Method` object with settings.
            select: of a prompt's `num_return_sequences` answers, return the one with the highest
                value of this reward (or weighted sum); None returns them all.
            report: rewards that are only measured.
            control: steer by `zero`, `shuffled` or `flipped` instead (see
                `text.reward_operator.controls`); the reward itself is reported.
            on_error: when a reward fails on a prompt, `raise` its `RewardError` at once, with the
                batches finished before it in `error.partial`; or `keep` going: the other prompts
                are answered as if that prompt had not been given, and it is listed in
                `output.failures`. An invalid prompt (empty, too long, not text) is treated alike.
            config: settings; or `preset` and single `options` (`APSConfig` keywords).
            seeds: one per prompt, in place of the setting `seed` for each. A prompt and its seed
                determine its answer, whatever the batch. Not refused where nothing is drawn.
            columns: dataset columns for the rewards, by name, one value per prompt in order, e.g.
                `{"reference": df["gold"]}`; or a table (DataFrame, `Dataset`), or a mapping per
                prompt.
            start: the initial canvas: `prefix`, `suffix`, `template`, `init_text`, `init_strength`
                (see `text.drafts`), each a value for all prompts or a list with one per prompt.
            on_step: called as `on_step(step, state)` after each denoising step of each batch.
            on_pass: called as `on_pass(progress)` (a `step_progress.StepProgress`) as each pass of
                the denoiser begins: a step that compares whole answers takes many.
            keep_trajectory: keep every step state in the output.
            warm_start: folder of a saved adapter that every prompt starts from (`adapter="lora"`).
            progress: show a progress bar on stderr; None shows it on a terminal only.

        Raises:
            ValueError, TypeError: bad prompts, settings or rewards, before anything is computed.
            RewardError: a reward raised, took too long or returned no number; names the prompt.
        """
        if on_step is not None and not callable(on_step):
            raise TypeError(f"on_step is called as on_step(step, state); got {kind_of(on_step)}")
        if on_pass is not None and not callable(on_pass):
            raise TypeError(f"on_pass is called as on_pass(progress); got {kind_of(on_pass)}")
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
        stream.on_pass = on_pass
        for state in shown(stream, method if isinstance(method, str) else "aps_text", progress):
            if on_step is not None:
                on_step(state.step, state.copy())
        return stream.output()

    def stream(
        self, prompts: Prompt | Iterable[Prompt], reward: RewardSpec = None, **kwargs: Any
    ) -> Stream:
        """The same call step by step: iterate over `(state, texts)`, then take `.output()`.

        Takes `__call__`'s arguments except `on_step` and `on_pass`; without a reward the method is
        `plain`.
        Arguments are checked immediately, the computation happens during the iteration.
        """
        return self._open(
            prompts, reward, **{"method": "plain" if reward is None else "aps", **kwargs}
        )

    def generate(self, prompts: Prompt | Iterable[Prompt], **kwargs: Any) -> APSOutput:
        """Answer prompts with the base sampler, without steering.

        Takes `__call__`'s arguments; a `reward` is only measured. Decoding options have Dream's
        names (`alg`, `temperature`, ...).
        """
        return self(prompts, method="plain", **kwargs)

    def generate_plain(self, prompts: Prompt | Iterable[Prompt], **kwargs: Any) -> APSOutput:
        """Deprecated alias of `generate`."""
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
        """Set mean and scale of every `Normalised` reward in `reward`; returns the reward.

        They are computed from `samples` answers of the base model to each prompt. Calling again
        adds to the statistics.

        Args:
            options: of `generate`.

        Raises:
            ValueError: `reward` contains no `Normalised`.
        """
        loaded = load_reward(reward)
        found: list[Normalised] = normalised_in(loaded)
        items = prompt_items(prompts)
        known = as_columns(columns, len(items))
        plain = self.generate(items, columns=known, num_return_sequences=samples, **options)
        observe(found, plain, known)
        return loaded

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
        """The stream of a checked call with its rewards loaded; computes nothing."""
        check_choices(control, on_error)
        shuffled = control == "shuffled"
        if not shuffled:  # by `seed`, of the whole call
            refuse_seeds(seeds, options)
        runner = as_method(METHODS, method)
        mine = own_for(runner, self.model.settings)
        with ordinary_surroundings(self.device), quiet_loading():
            request = prepare(
                replace(self.model, settings=mine),
                *(prompts, config, preset, options, seeds, columns, start, on_error),
            )
            with self._loading:
                loaded = [load_rewards(one, self._rewards) for one in (reward, select, report)]
                by_name = {
                    id(one): name
                    for rewards in loaded
                    for name, _, one in rewards
                    if self._rewards.get(name) is one
                }
                specs: dict[str, str] = {}
                for rewards in loaded:
                    specs |= specs_of(rewards, self._rewards)
        check_reward(method, reward)
        roles = Roles(*loaded)
        draws = Draws(
            draft="init_text" in request.starts,
            control=shuffled,
            samples=shuffled or roles.are_sampled(request.config),
        )
        refuse_unread(runner, options, preset, own=mine, draws=draws)
        for name, reason in self.model.without_effect.items():
            if options.get(name) is not None:
                raise ValueError(f"{name}={options[name]!r} has no use here: {reason}")
        if options:
            refuse_unsteered(runner, request.config)
        if control is not None and isinstance(runner, Ancestral):
            raise ValueError(
                f"control={control!r} needs a method that steers, got 'plain'; leave it out"
            )
        if request.config.reward.beta is None and loaded[0]:
            own = request.config.replace(beta=beta_of(loaded[0]))
            request = replace(request, config=own)
        return Stream(
            self.model,
            request,
            roles,
            runner,
            batch_size=self.batch_size,
            control=control,
            on_error=on_error,
            keep_trajectory=keep_trajectory,
            warm_start=warm_start,
            by_name=by_name,
            loaded=self._loaded_by(),
            tries={name: how_to_try(spec, self.shell) for name, spec in specs.items()},
        )


def _loaded_again(
    kind: type[APSPipeline], name: str | Path, options: dict[str, Any], batch_size: int
) -> APSPipeline:
    return kind.from_pretrained(name, batch_size=batch_size, **options)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Context in which transformers shows no progress bars."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def check_choices(control: str | None, on_error: str) -> None:
    """Raise `ValueError` for an unknown `control` or `on_error`."""
    if control is not None and control not in CONTROLS:
        raise ValueError(f"control is one of {', '.join(CONTROLS)}; got {control!r}")
    if on_error not in ("raise", "keep"):
        raise ValueError(f"on_error is 'raise' or 'keep', got {on_error!r}")


def check_reward(method: str | Method, reward: RewardSpec) -> None:
    """Raise `ValueError` for a method by name that steers, without a reward."""
    if isinstance(method, str) and method != "plain" and reward is None:
        raise ValueError(
            f"method {method!r} steers by a reward and got none; pass reward=..., "
            "or use generate / method='plain'"
        )
