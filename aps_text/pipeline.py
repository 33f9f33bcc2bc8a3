"""`APSPipeline`: questions in, steered answers out. Parse, build, call, show; nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .adapter import Adapter
from .canvas import Canvas
from .config import APSConfig
from .cost import Cost, MeteredDenoiser, metered
from .methods.ancestral import Ancestral
from .models.lora import LoraAdapter
from .models.text_model import Prompt, TextModel, load, wrap
from .noise import Noise
from .operator import Operator, WeightedSum, ZeroOperator
from .posterior import APS
from .sampler import Method, StepState

__all__ = ["METHODS", "APSOutput", "APSPipeline", "RewardSpec"]

METHODS: dict[str, Callable[[], Method]] = {"aps": APS, "plain": Ancestral}

RewardSpec = Any
"""A name, a callable, a (reward, weight) pair, a list of those, {name: weight}, or an Operator."""


@dataclass
class APSOutput:
    """Answers and what they cost; lists are prompt-major, `num_return_sequences` per prompt.

    Attributes:
        text: the answers.
        token_ids: their tokens, up to and without the stop token.
        prompts: the prompt of each answer.
        rewards: each reward's value on the final TEXT, by name; `total` is the weighted sum.
        cost: what the whole call spent.
        config: the settings in force.
        trajectory: the step states of each batch of rows, if asked for.
        adapters: each batch's LoRA adapter, if one was used; see `save_adapter`.
    """

    text: list[str]
    token_ids: list[list[int]]
    prompts: list[Prompt]
    rewards: dict[str, list[float]]
    cost: Cost
    config: APSConfig
    trajectory: list[list[StepState]] = field(default_factory=list)
    adapters: list[LoraAdapter] = field(default_factory=list)

    def __len__(self) -> int:
        """How many answers."""
        return len(self.text)

    def save_adapter(self, index: int, folder: str | Path) -> None:
        """Write answer `index`'s phi, as it was after its last update, in PEFT's format.

        Raises:
            ValueError: no such answer, or none was steered by LoRA.
        """
        if not self.adapters or not 0 <= index < len(self.text):
            raise ValueError(
                f"no LoRA adapter for answer {index}: {len(self.text)} answers, "
                f"adapter={self.config.adapter!r}"
            )
        rows = len(self.adapters[0].record)
        self.adapters[index // rows].save(folder, index % rows)

    def as_dicts(self) -> list[dict[str, Any]]:
        """One JSON-ready object per answer; `cost` is the whole call's."""
        return [
            {
                "prompt": prompt,
                "text": text,
                "rewards": {name: values[i] for name, values in self.rewards.items()},
                "cost": self.cost.as_dict(),
            }
            for i, (prompt, text) in enumerate(zip(self.prompts, self.text, strict=True))
        ]


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

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "mini",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int = 8,
    ) -> APSPipeline:
        """Load `"mini"` (embedded) or a folder; see `aps_text.models.text_model.load`."""
        return cls(load(name, device=device, dtype=dtype), batch_size=batch_size)

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
            on_step: called as `on_step(step, state)` after each denoising step of each batch.
            keep_trajectory: keep every step state in the output.
            warm_start: folder of a saved adapter every prompt starts from (`adapter="lora"`).

        Raises:
            ValueError, TypeError: bad prompts, settings or rewards, before anything is computed.
        """
        asked, settings, seeds = self._prepare(prompts, config, preset, options, seeds, columns)
        if reward is None and method == "aps":
            raise ValueError(
                "method 'aps' steers by a reward and got none; pass reward=..., "
                "or use generate_plain / method='plain'"
            )
        cost = Cost()
        output = APSOutput([], [], [], {}, cost, settings)
        runner = METHODS[method]() if isinstance(method, str) and method in METHODS else method
        if isinstance(runner, str):
            raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
        for batch in self._batches(asked, reward, settings, seeds, columns, cost):
            states, phi = self._start(runner, batch, settings, warm_start)
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
        method = kwargs.pop("method", "plain" if reward is None else "aps")
        config, preset = kwargs.pop("config", None), kwargs.pop("preset", None)
        seeds, columns = kwargs.pop("seeds", None), kwargs.pop("columns", None)
        asked, settings, seeds = self._prepare(prompts, config, preset, kwargs, seeds, columns)
        for batch in self._batches(asked, reward, settings, seeds, columns, Cost()):
            runner = METHODS[method]() if isinstance(method, str) else method
            for state in self._start(runner, batch, settings, None)[0]:
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

    def _prepare(
        self,
        prompts: Prompt | Iterable[Prompt],
        config: APSConfig | None,
        preset: str | None,
        options: dict[str, Any],
        seeds: Sequence[int] | None,
        columns: Mapping[str, Sequence[Any]] | None,
    ) -> tuple[list[Prompt], APSConfig, list[int]]:
        """Check everything that can be checked before work starts."""
        if config is not None and (preset is not None or options):
            raise TypeError("pass either config=... or preset and options, not both")
        settings = config or APSConfig.make(preset, **options)
        asked = as_prompts(prompts)
        for name, values in {"seeds": seeds, **(columns or {})}.items():
            if values is not None and len(values) != len(asked):
                raise ValueError(f"{name!r} has {len(values)} values for {len(asked)} prompts")
        length = settings.max_new_tokens or self.model.max_new_tokens
        for index, prompt in enumerate(asked):
            used = len(self.model.encode(prompt))
            if used + length > self.model.context:
                raise ValueError(
                    f"prompt {index} has {used} tokens and the answer {length}, together more than "
                    f"the context of {self.model.name} ({self.model.context}); shorten the prompt "
                    "or max_new_tokens"
                )
        if settings.min_new_tokens >= length:
            raise ValueError(
                f"min_new_tokens={settings.min_new_tokens} leaves no room for a stop token on a "
                f"canvas of {length}; use less"
            )
        return asked, settings, list(seeds) if seeds is not None else [settings.seed] * len(asked)

    def _batches(
        self,
        prompts: list[Prompt],
        reward: RewardSpec,
        config: APSConfig,
        seeds: list[int],
        columns: Mapping[str, Sequence[Any]] | None,
        cost: Cost,
    ) -> Iterator[_Batch]:
        """Rows are (prompt, particle) pairs, `batch_size` at a time."""
        rows = list(itertools.product(range(len(prompts)), range(config.num_return_sequences)))
        model, device = self.model, self.model.anatomy.device
        rewards = load_rewards(reward)
        length = config.max_new_tokens or model.max_new_tokens
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            owners = [prompt for prompt, _ in part]
            asked = [prompts[i] for i in owners]
            canvas = Canvas.open(
                [length] * len(part),
                mask_id=model.anatomy.mask_id,
                fill_id=model.fill_id,
                stop_ids=model.stop_ids,
                block_length=config.block_length,
                group=owners,
                device=device,
            )
            denoiser = model.bind(
                [model.encode(prompt) for prompt in asked], [length] * len(part), config.lora_layers
            )
            operator = self._operator(rewards, asked, owners, columns)
            noise = Noise(
                torch.tensor([seeds[i] for i in owners], device=device),
                torch.tensor([particle for _, particle in part], device=device),
            )
            yield _Batch(
                asked, MeteredDenoiser(denoiser, cost), metered(operator, cost), canvas, noise
            )

    def _operator(
        self,
        rewards: list[tuple[str, float, Any]],
        prompts: list[Prompt],
        owners: list[int],
        columns: Mapping[str, Sequence[Any]] | None,
    ) -> Operator:
        """The operator around the rewards, bound to these rows."""
        from .text.operator import RewardOperator

        if not rewards:
            return ZeroOperator()
        mine = {name: [values[i] for i in owners] for name, values in (columns or {}).items()}
        weighted: list[tuple[float, Operator]] = []
        for name, weight, reward in rewards:
            operator: Operator
            if isinstance(reward, Operator):
                operator = reward.take(torch.tensor(owners))
            else:
                operator = RewardOperator(
                    reward,
                    name,
                    prompts=prompts,
                    tokenizer=self.model.tokenizer,
                    stop_ids=self.model.stop_ids,
                    fill_id=self.model.fill_id,
                    vocab_size=self.model.anatomy.vocab_size,
                    columns=mine,
                    finish=self.model.finish,
                )
            weighted.append((weight, operator))
        return WeightedSum(weighted)

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
        from .text.decoding import answer_ids, decode_canvas

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


def as_prompts(prompts: Prompt | Iterable[Prompt]) -> list[Prompt]:
    """A list of prompts from one prompt or an iterable of them, none of them empty."""
    if isinstance(prompts, str):
        asked: list[Prompt] = [prompts]
    else:
        items = list(prompts)
        one_chat = bool(items) and all(isinstance(item, Mapping) for item in items)
        asked = cast(list[Prompt], [items] if one_chat else items)
    if not asked:
        raise ValueError("no prompts were given; pass a question or a list of them")
    for index, prompt in enumerate(asked):
        texts = [prompt] if isinstance(prompt, str) else [m.get("content") for m in prompt]
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(f"prompt {index} is empty: {prompt!r}; ask a question")
    return asked


def load_rewards(spec: RewardSpec) -> list[tuple[str, float, Any]]:
    """`RewardSpec` to (name, weight, reward) triples; names load by `rewards.load_reward`."""
    from rewards.loading import load_reward, parse_reward_spec, reward_name

    if spec is None:
        return []
    if isinstance(spec, Mapping):
        items = list(spec.items())
    elif isinstance(spec, list):
        items = [item if isinstance(item, tuple) else (item, None) for item in spec]
    else:
        items = [spec if isinstance(spec, tuple) else (spec, None)]
    found = []
    for reward, weight in items:
        if isinstance(reward, str):
            reward, named = parse_reward_spec(reward)
            weight = named if weight is None else weight
        loaded = reward if isinstance(reward, Operator) else load_reward(reward)
        name = reward if isinstance(reward, str) else reward_name(cast(Any, loaded))
        found.append((name, 1.0 if weight is None else float(weight), loaded))
    return found
