"""Checking of a call's arguments, before anything is computed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.own_settings import config_for
from ..core.presets import TEXT_PRESETS, text_preset
from ..core.routing import names_of
from ..core.settings import Ranked
from ..models.text_model import TextModel
from ..text.containers import kind_of
from ..text.drafts import Draft, draft
from ..text.prompts import Prompt, prompt_items, read_prompt
from .inputs import Columns, as_columns, as_seeds, as_starts

__all__ = ["Request", "prepare"]

log = logging.getLogger(__name__)

ORDER = (*names_of(Ranked), "remasking")
"""Keywords that rank the positions a step may write."""


@dataclass(frozen=True)
class Request:
    """A checked call; lists have one value per prompt.

    Attributes:
        prompts, config, seeds: as they will be used.
        columns: dataset columns of the rewards.
        starts: initial canvases, as arguments of `text.drafts.draft`.
        unanswerable: invalid prompts by number, and why (`on_error="keep"`).
    """

    prompts: list[Prompt]
    config: APSConfig
    seeds: list[int]
    columns: Columns
    starts: Columns
    unanswerable: dict[int, str] = field(default_factory=dict)

    def draft(self, model: TextModel, prompt: int, particle: int) -> Draft:
        """The initial canvas of a row."""
        noise = Noise(torch.tensor([self.seeds[prompt]]), torch.tensor([particle]))
        options = {name: values[prompt] for name, values in self.starts.items()}
        length = self.config.call.max_new_tokens or model.max_new_tokens
        return draft(model.vocabulary, length, noise, limit=model.context, **options)


def _warn_of_crowded_blocks(
    block: int | None, rows: Iterable[Draft], mask_id: int, steps: int
) -> None:
    """Tell of open blocks that share a step: tokens written at once do not see each other."""
    if not block:
        return
    open_at = ([i for i, token in enumerate(row.tokens) if token == mask_id] for row in rows)
    blocks = max((len({i // block for i in at}) for at in open_at), default=0)
    if 1 < steps < blocks:
        log.warning(
            "%d blocks of block_length=%d in steps=%d: some steps write several, whose tokens do "
            "not see each other; with steps=%d each has its own",
            blocks, block, steps, blocks,
        )  # fmt: skip


def _warn_of_no_order(block: int | None, settings: APSConfig) -> None:
    """Tell of settings of the order, where a block of one token leaves none to choose."""
    if block != 1 or settings.sampler.remask:
        return
    usual, values = APSConfig(settings.preset).flat(), settings.flat()
    given = {name: values[name] for name in ORDER if name in values}
    idle = [f"{name}={value!r}" for name, value in given.items() if value != usual.get(name)]
    if idle:
        log.warning(
            "%s: without effect on answers written in blocks of one token, whose order is fixed; "
            "with block_length=2 or more there is a choice",
            ", ".join(idle),
        )


def _warn_of_unchosen_length(model: TextModel, config: APSConfig) -> None:
    """Tell of a suffix behind an open span that is as long as the usual canvas leaves it."""
    if config.call.max_new_tokens is None:
        log.warning(
            "the suffix stands at the end of a canvas of %d tokens, all of which are written; "
            "choose a length that fits: max_new_tokens, of given and open tokens together",
            model.max_new_tokens,
        )


def _warn_of_changed_text(model: TextModel, starts: Columns) -> None:
    """Tell of given text that the model's tokenizer cannot hold: it is kept as it was read."""
    texts = {text for name in ("prefix", "suffix") for text in starts.get(name) or ()}
    for text in sorted(filter(None, texts)):
        read = model.vocabulary.tokenizer.decode(model.vocabulary.encode(text))
        if _letters(read) != _letters(text):
            log.warning(
                "the given text %r is %r to the tokenizer of %s, and stands so in the answer; "
                "a model whose tokens are bytes keeps every character",
                text, read, model.name,
            )  # fmt: skip


def _letters(text: str) -> str:
    """Without case and spaces, which an answer may restore."""
    return "".join(text.casefold().split())


def _warn_of_unused_settings(model: TextModel, config: APSConfig) -> None:
    """Tell of a config that took nothing from the model's own settings."""
    values, length = config.flat(), config.call.max_new_tokens

    def brought_to(preset: str | None) -> dict[str, Any]:
        usual = APSConfig(preset, max_new_tokens=length).flat()
        own = config_for(model.settings, preset, max_new_tokens=length).flat()
        return {name: value for name, value in own.items() if usual.get(name) != value}

    brought = brought_to(config.preset)
    taken = (  # a saved config does not say which preset it was
        values.get(name) == value
        for preset in TEXT_PRESETS
        for name, value in brought_to(preset).items()
    )
    if brought and not any(taken):
        told = ", ".join(f"{name}={value!r}" for name, value in sorted(brought.items()))
        log.warning(
            "config= states every setting, so what %s brings does not apply (%s); pass settings "
            "as keywords instead of a config, or keep those of an answer: answer.config.save(FILE)",
            model.name, told,
        )  # fmt: skip


def prepare(
    model: TextModel,
    prompts: Any,
    config: APSConfig | None,
    preset: str | None,
    options: dict[str, Any],
    seeds: Any = None,
    columns: Any = None,
    start: Any = None,
    on_error: str = "raise",
) -> Request:
    """Check the arguments of a pipeline's call, before anything is computed.

    With `on_error="keep"` an invalid prompt (empty, too long, not text) is left out and recorded;
    if all are of a wrong type, the first one's error is raised.

    Raises:
        ValueError, TypeError: naming the value and the mend.
    """
    if config is not None and (preset is not None or options):
        raise TypeError(
            "pass either config=... or preset and options, not both; config.replace(NAME=VALUE) "
            "changes single settings"
        )
    settings = config
    if settings is None:
        settings = config_for(model.settings, preset, **options)
    if not isinstance(settings, APSConfig):
        raise TypeError(
            f"config is an APSConfig, got {kind_of(settings)}; make one by APSConfig.make(...) or "
            "APSConfig.from_json(...), or pass its fields as keywords"
        )
    text_preset(settings.preset)
    if config is not None:
        _warn_of_unused_settings(model, settings)
    length = settings.call.max_new_tokens or model.max_new_tokens
    items = prompt_items(prompts)
    request = Request(
        items,
        settings,
        as_seeds(seeds, settings.call.seed, len(items)),
        as_columns(columns, len(items)),
        as_starts(start, len(items)),
    )
    block = settings.call.block_length or model.block_length
    # A template's canvas has a length of its own, which no other prompt may see.
    canvas = model.context if "template" in request.starts else length
    settings = settings.in_blocks(block, canvas)
    request = replace(request, config=settings)
    least = settings.sampler.min_new_tokens
    if least > length:
        raise ValueError(
            f"min_new_tokens={least} is more than the canvas holds ({length} tokens); use a "
            "smaller min_new_tokens or a larger max_new_tokens"
        )
    if length > model.context and "template" not in request.starts:
        raise ValueError(
            f"max_new_tokens={length} exceeds the context of {model.name} ({model.context} tokens, "
            "the prompt's included); use a smaller max_new_tokens"
        )
    drafts: dict[int, Draft] = {}
    errors: dict[int, Exception] = {}
    for index, item in enumerate(items):
        try:
            request.prompts[index] = read_prompt(item, f"prompt {index}")
            drafts[index] = fitting_draft(model, request, index)
        except (TypeError, ValueError) as error:
            if on_error == "raise":
                raise
            errors[index] = error
    if all(isinstance(errors.get(index), TypeError) for index in range(len(items))):
        raise errors[0]
    mask_id = model.parts.mask_id
    _warn_of_changed_text(model, request.starts)
    _warn_of_no_order(block, settings)
    _warn_of_crowded_blocks(block, drafts.values(), mask_id, settings.sampler.steps)
    if any(row.closed for row in drafts.values()):
        if not all(row.closed for row in drafts.values()):
            raise ValueError(
                "some prompts have a suffix (or a template that ends with text) and others do "
                "not; give one to every prompt or to none"
            )
        if "template" not in request.starts:
            _warn_of_unchosen_length(model, settings)
        # With text after the open span, no answer may stop in it.
        request = replace(request, config=settings.replace(min_new_tokens=model.context))
    return replace(request, unanswerable={index: str(error) for index, error in errors.items()})


def fitting_draft(model: TextModel, request: Request, index: int) -> Draft:
    """The initial canvas of a prompt, after a check that the two together fit the model.

    Raises:
        ValueError: they do not fit, or cannot be encoded; names the prompt.
    """
    try:
        row = request.draft(model, index, 0)
    except ValueError as error:
        raise ValueError(f"the start of prompt {index}: {error}") from error
    try:
        with model.lock:  # a tokenizer initialises parts of itself at its first use
            used = len(model.encode(request.prompts[index]))
    except Exception as error:  # a chat template may raise anything
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"prompt {index} cannot be put to {model.name}: {what}") from error
    width = len(row.tokens)
    if used + width > model.context:
        raise ValueError(
            f"prompt {index} has {used} tokens and the answer {width}, together more than "
            f"the context of {model.name} ({model.context}); shorten the prompt "
            "or max_new_tokens"
        )
    return row
