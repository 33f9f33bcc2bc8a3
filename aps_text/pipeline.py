"""`APSPipeline`: questions in, steered answers out. Parse, build, call, show; nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .adapter import Adapter, Denoiser
from .canvas import Canvas
from .config import APSConfig
from .cost import Cost, MeteredDenoiser, metered
from .methods.ancestral import Ancestral
from .models.guided import GuidedDenoiser
from .models.lora import LoraAdapter
from .models.text_model import TextModel, load, wrap
from .noise import Noise
from .operator import Operator
from .output import APSOutput
from .posterior import APS
from .request import Request, prepare
from .sampler import Method, StepState
from .text.decoding import answer_ids, decode_canvas
from .text.guidance import RewardSpec, load_rewards, reward_operator
from .text.prompts import Prompt

__all__ = ["METHODS", "APSOutput", "APSPipeline"]

METHODS: dict[str, Callable[[], Method]] = {"aps": APS, "plain": Ancestral}


@dataclass
class _Batch:
    """One batch of rows, ready to run."""

    prompts: list[Prompt]
    denoiser: MeteredDenoiser
    operator: Operator
    canvas: Canvas
    noise: Noise


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
            method: `aps`, `plain`, or a `Method` object.
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
        """
        request = prepare(self.model, prompts, config, preset, options, seeds, columns, start)
        cost = Cost()
        output = APSOutput([], [], [], {}, cost, request.config)
        runner = as_method(method, reward)
        for batch in self._batches(request, reward, cost):
            states, phi = self._start(runner, batch, request.config, warm_start)
            z, kept = batch.canvas.z, []
            for state in states:
                z = state.z
                if on_step is not None:
                    on_step(state.step, state)
                if keep_trajectory:
                    kept.append(state)
            if keep_trajectory:
                output.trajectory.append(kept)
            if isinstance(phi, LoraAdapter):
                output.adapters.append(phi)
            self._collect(output, batch, z, reward is not None)
        cost.stop(self.model.anatomy.device)
        return output

    def stream(
        self, prompts: Prompt | Iterable[Prompt], reward: RewardSpec = None, **kwargs: Any
    ) -> Iterator[tuple[StepState, list[str]]]:
        """Iterate over denoising steps: `(state, texts so far)`; takes `__call__`'s arguments.

        The texts are those of the rows in work, open positions shown as `_`.
        """
        runner = as_method(kwargs.pop("method", "plain" if reward is None else "aps"), reward)
        config, preset = kwargs.pop("config", None), kwargs.pop("preset", None)
        own = [kwargs.pop(name, None) for name in ("seeds", "columns", "start")]
        request = prepare(self.model, prompts, config, preset, kwargs, *own)
        for batch in self._batches(request, reward, Cost()):
            for state in self._start(runner, batch, request.config, None)[0]:
                yield state, [self.draw(row) for row in state.z]

    def generate_plain(self, prompts: Prompt | Iterable[Prompt], **kwargs: Any) -> APSOutput:
        """The base sampler: no steering; Dream's names for its knobs (`alg`, `temperature`, ...).

        Takes `__call__`'s arguments; a `reward` is only measured.
        """
        return self(prompts, method="plain", **kwargs)

    def draw(self, row: Tensor) -> str:
        """A canvas row `(L,)` as text, `_` where it is open."""
        tokenizer, anatomy = self.model.tokenizer, self.model.anatomy
        open_token = tokenizer.convert_ids_to_tokens(anatomy.mask_id)
        hidden = {anatomy.pad_id, *self.model.stop_ids} - {anatomy.mask_id}
        text = tokenizer.decode([token for token in row.tolist() if token not in hidden])
        return text.replace(open_token, "_")

    def _batches(self, request: Request, reward: RewardSpec, cost: Cost) -> Iterator[_Batch]:
        """Rows are (prompt, particle) pairs, `batch_size` at a time."""
        config, model, device = request.config, self.model, self.model.anatomy.device
        rewards = load_rewards(reward, self._rewards)
        rows = [
            (prompt, particle)
            for prompt in range(len(request.prompts))
            for particle in range(config.num_return_sequences)
        ]
        for first in range(0, len(rows), self.batch_size):
            part = rows[first : first + self.batch_size]
            owners = [prompt for prompt, _ in part]
            asked = [request.prompts[i] for i in owners]
            drafts = [request.draft(self.model, *row) for row in part]
            canvas = Canvas.of(
                [row.tokens for row in drafts],
                given=[row.given for row in drafts],
                mask_id=model.anatomy.mask_id,
                fill_id=model.fill_id,
                stop_ids=model.stop_ids,
                block_length=config.block_length,
                group=owners,
                device=device,
            )
            operator = reward_operator(rewards, model, asked, owners, request.columns)
            noise = Noise(
                torch.tensor([request.seeds[i] for i in owners], device=device),
                torch.tensor([particle for _, particle in part], device=device),
            )
            denoiser = self._denoiser(asked, [len(row.tokens) for row in drafts], config)
            yield _Batch(
                asked, MeteredDenoiser(denoiser, cost), metered(operator, cost), canvas, noise
            )

    def _denoiser(self, prompts: list[Prompt], lengths: list[int], config: APSConfig) -> Denoiser:
        """The model with these prompts bound, guided by their absence if asked for."""
        encoded = [self.model.encode(prompt) for prompt in prompts]
        denoiser = self.model.bind(encoded, lengths, config.lora_layers)
        if config.cfg_scale == 0:
            return denoiser
        masks = [[self.model.anatomy.mask_id] * len(ids) for ids in encoded]
        without = self.model.bind(masks, lengths, config.lora_layers)
        return GuidedDenoiser(denoiser, without, config.cfg_scale)

    def _start(
        self, method: Method, batch: _Batch, config: APSConfig, warm_start: str | Path | None
    ) -> tuple[Iterator[StepState], Adapter | None]:
        """A method's states, and phi where the method has one."""
        if isinstance(method, APS):
            phi = batch.denoiser.new_adapter(config, batch.noise)
            if warm_start is not None:
                if not isinstance(phi, LoraAdapter):
                    raise ValueError(f"warm_start needs adapter='lora', got {config.adapter!r}")
                phi = phi.load(warm_start)
            states = method.steps(
                batch.denoiser, batch.operator, batch.canvas, config, batch.noise, phi
            )
            return states, phi
        return (
            method.steps(batch.denoiser, batch.operator, batch.canvas, config, batch.noise),
            None,
        )

    def _collect(self, output: APSOutput, batch: _Batch, z: Tensor, scored: bool) -> None:
        """Text and rewards of a finished batch."""
        model = self.model
        texts = decode_canvas(model.tokenizer, z, model.stop_ids, (model.fill_id,))
        output.text += [model.finish(text) for text in texts]
        output.token_ids += answer_ids(z, model.stop_ids, (model.fill_id,))
        output.prompts += batch.prompts
        if not scored:
            return
        scores = batch.operator.log_prob_ids(z)
        for name, value in {"total": scores.total, **scores.terms}.items():
            output.rewards.setdefault(name, []).extend(value.tolist())


def as_method(method: str | Method, reward: RewardSpec) -> Method:
    """A method by name, or the object itself.

    Raises:
        ValueError: no such name, or APS without a reward.
    """
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    if method == "aps" and reward is None:
        raise ValueError(
            "method 'aps' steers by a reward and got none; pass reward=..., "
            "or use generate_plain / method='plain'"
        )
    return METHODS[method]()
