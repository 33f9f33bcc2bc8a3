"""`APSPipeline`: questions in, steered answers out. Parse, build, call, show; nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rewards import Normalised, Reward, RewardError, load_reward

from .batch import Batch, Roles, bind
from .calibration import normalised_in, observe
from .collecting import Collector
from .config import APSConfig
from .cost import Cost
from .diagnosis import Watch
from .methods.ancestral import Ancestral
from .methods.peers import PEERS
from .models.lora import LoraAdapter
from .models.text_model import TextModel, load, wrap
from .output import APSOutput
from .posterior import APS
from .request import Request, prepare
from .sampler import Method, StepState
from .text.controls import CONTROLS
from .text.guidance import RewardSpec, load_rewards
from .text.prompts import Prompt

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

        `options` are those of `aps_text.models.text_model.load`: `device_map`, `load_in_4bit`,
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
            seeds: one per prompt; default `config.seed` for each. A prompt and its seed decide its
                answer, whatever the batch.
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
        request = prepare(self.model, prompts, config, preset, options, seeds, columns, start)
        runner = as_method(method, reward)
        check_choices(control, on_error)
        roles = Roles(self._load(reward), self._load(select), self._load(report))
        work = Collector(self.model, request, roles, guided=control != "shuffled")
        for rows in self._rows(request):
            while rows:
                batch = bind(self.model, request, rows, roles, work.cost, control, work.bridges)
                try:
                    states, phi = batch.start(runner, request.config, warm_start)
                    watch = Watch(batch.canvas.z, self.model.anatomy.mask_id)
                    z, kept = batch.canvas.z, []
                    for state in states:
                        z = state.z
                        watch.see(state)
                        if on_step is not None:
                            on_step(state.step, state)
                        if keep_trajectory:
                            kept.append(state)
                    work.add(batch, z, rows, watch)
                except RewardError as error:
                    if on_error == "raise":
                        error.partial = work.output()
                        raise
                    rows = work.fail(error, rows)
                    continue
                if keep_trajectory:
                    work.trajectory.append(kept)
                if isinstance(phi, LoraAdapter):
                    work.adapters.append(phi)
                break
        return work.output()

    def stream(
        self, prompts: Prompt | Iterable[Prompt], reward: RewardSpec = None, **kwargs: Any
    ) -> Iterator[tuple[StepState, list[str]]]:
        """Iterate over denoising steps: `(state, texts so far)`; takes `__call__`'s arguments.

        The texts are those of the rows in work, open positions shown as `_`.
        """
        runner = as_method(kwargs.pop("method", "plain" if reward is None else "aps"), reward)
        control = kwargs.pop("control", None)
        check_choices(control, "raise")
        config, preset = kwargs.pop("config", None), kwargs.pop("preset", None)
        own = [kwargs.pop(name, None) for name in ("seeds", "columns", "start")]
        request = prepare(self.model, prompts, config, preset, kwargs, *own)
        roles = Roles(self._load(reward))
        for rows in self._rows(request):
            batch: Batch = bind(self.model, request, rows, roles, Cost(), control)
            for state in batch.start(runner, request.config)[0]:
                yield state, [self.draw(row) for row in state.z]

    def generate_plain(self, prompts: Prompt | Iterable[Prompt], **kwargs: Any) -> APSOutput:
        """The base sampler: no steering; Dream's names for its knobs (`alg`, `temperature`, ...).

        Takes `__call__`'s arguments; a `reward` is only measured.
        """
        return self(prompts, method="plain", **kwargs)

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
        Calling again adds to the statistics. `options` are `generate_plain`'s.

        Raises:
            ValueError: nothing in `reward` is normalised.
        """
        found: list[Normalised] = normalised_in(load_reward(reward))
        plain = self.generate_plain(
            prompts, columns=columns, num_return_sequences=samples, **options
        )
        observe(found, plain, columns or {})
        return load_reward(reward)

    def draw(self, row: Tensor) -> str:
        """A canvas row `(L,)` as text, `_` where it is open."""
        tokenizer, anatomy = self.model.tokenizer, self.model.anatomy
        open_token = tokenizer.convert_ids_to_tokens(anatomy.mask_id)
        hidden = {anatomy.pad_id, *self.model.stop_ids} - {anatomy.mask_id}
        text = tokenizer.decode([token for token in row.tolist() if token not in hidden])
        return text.replace(open_token, "_")

    def _load(self, spec: RewardSpec) -> list[tuple[str, float, Any]]:
        return load_rewards(spec, self._rewards)

    def _rows(self, request: Request) -> Iterator[list[tuple[int, int]]]:
        """(prompt, particle) pairs, `batch_size` at a time."""
        rows = [
            (prompt, particle)
            for prompt in range(len(request.prompts))
            for particle in range(request.config.num_return_sequences)
        ]
        for first in range(0, len(rows), self.batch_size):
            yield rows[first : first + self.batch_size]


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
            "or use generate_plain / method='plain'"
        )
    return METHODS[method]()
