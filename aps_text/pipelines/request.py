"""A call, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..core.config import APSConfig
from ..core.noise import Noise
from ..models.text_model import TextModel
from ..text.drafts import Draft, draft
from ..text.prompts import Prompt, as_prompts

__all__ = ["Request", "prepare"]


@dataclass(frozen=True)
class Request:
    """What a user asked for, one value per prompt where it is a list.

    Attributes:
        prompts, config, seeds: as they will be used.
        columns: dataset columns of the rewards.
        starts: what stands on the canvas at the start, arguments of `text.drafts.draft`.
    """

    prompts: list[Prompt]
    config: APSConfig
    seeds: list[int]
    columns: Mapping[str, Sequence[Any]]
    starts: Mapping[str, list[Any]]

    def draft(self, model: TextModel, prompt: int, particle: int) -> Draft:
        """What stands on the canvas of a row at the start."""
        noise = Noise(torch.tensor([self.seeds[prompt]]), torch.tensor([particle]))
        options = {name: values[prompt] for name, values in self.starts.items()}
        length = self.config.call.max_new_tokens or model.max_new_tokens
        return draft(model.vocabulary, length, noise, **options)


def prepare(
    model: TextModel,
    prompts: Prompt | Iterable[Prompt],
    config: APSConfig | None,
    preset: str | None,
    options: dict[str, Any],
    seeds: Sequence[int] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    start: Mapping[str, Any] | None = None,
) -> Request:
    """Check everything that can be checked before work starts; arguments of the pipeline's call.

    Raises:
        ValueError, TypeError: naming the value and the mend.
    """
    if config is not None and (preset is not None or options):
        raise TypeError("pass either config=... or preset and options, not both")
    settings = config or APSConfig.make(preset, **options)
    asked = as_prompts(prompts)
    starts = start_columns(start, len(asked))
    for name, values in {"seeds": seeds, **(columns or {}), **starts}.items():
        if values is not None and len(values) != len(asked):
            raise ValueError(f"{name!r} has {len(values)} values for {len(asked)} prompts")
    length = settings.call.max_new_tokens or model.max_new_tokens
    least = settings.sampler.min_new_tokens
    if least >= length:
        raise ValueError(
            f"min_new_tokens={least} leaves no room for a stop token on a canvas of {length}; "
            "use less"
        )
    own = list(seeds) if seeds is not None else [settings.call.seed] * len(asked)
    request = Request(asked, settings, own, columns or {}, starts)
    drafts = [request.draft(model, index, 0) for index in range(len(asked))]
    for index, (prompt, row) in enumerate(zip(asked, drafts, strict=True)):
        used, width = len(model.encode(prompt)), len(row.tokens)
        if used + width > model.context:
            raise ValueError(
                f"prompt {index} has {used} tokens and the answer {width}, together more than "
                f"the context of {model.name} ({model.context}); shorten the prompt "
                "or max_new_tokens"
            )
    if any(row.closed for row in drafts):
        if not all(row.closed for row in drafts):
            raise ValueError("give every prompt a suffix (or closing text) or none of them")
        # The open span is to be filled, so no answer may stop in it.
        request = replace(request, config=settings.replace(min_new_tokens=model.context))
    return request


def start_columns(start: Mapping[str, Any] | None, prompts: int) -> dict[str, list[Any]]:
    """`start` with one value per prompt.

    Raises:
        TypeError: an unknown key.
    """
    known = ("prefix", "suffix", "template", "init_text", "init_strength")
    for name in start or {}:
        if name not in known:
            raise TypeError(f"unknown start {name!r}; known: {', '.join(known)}")
    return {
        name: list(value) if isinstance(value, list | tuple) else [value] * prompts
        for name, value in (start or {}).items()
        if value is not None
    }
