"""The pipeline as a model of lm-evaluation-harness.

`generate_until` answers by any method and reward; the context is the prompt, encoded as the model
encodes questions (by its chat template, if it has one), and the answer is cut at the task's stop
strings. Sampling follows the `APSConfig`: a task's own `temperature` and `do_sample` are ignored,
its `max_gen_toks` is used as far as the context allows. `loglikelihood` and `loglikelihood_rolling`
are those of the BASE model, whatever the method (see `likelihood`); no stop token is scored, and
the canvas is as long as the scored text.

`contexts` converts contexts to prompts, also those of `--apply_chat_template` and `gen_prefix`.
`caching` keeps answers of different models, methods, rewards and settings apart in the harness's
`use_cache`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aps_rewards.protocol import Prompt
from lm_eval.api.model import LM

from aps_text import APSPipeline
from aps_text.core.config import APSConfig
from aps_text.core.own_settings import config_for
from aps_text.core.sampler import Method
from aps_text.methods.registry import METHODS, as_method
from aps_text.methods.unread import own_for
from aps_text.text.reward_operator.guidance import RewardSpec

from ..fingerprint import fingerprint
from .caching import check_cached, identity, keep_apart
from .contexts import Contexts, begun
from .likelihood import Span, greedy, log_likelihoods

__all__ = ["PipelineLM"]

logger = logging.getLogger(__name__)

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Tasks' names for the length of an answer; the first one given counts, as in the harness."""
READ = ("until", "do_sample", "temperature")
"""Options for which no warning is logged: used, or documented as ignored."""


class PipelineLM(LM):
    """An `APSPipeline` with a method and its rewards.

    Args:
        pipe: the pipeline.
        method, reward, select: as in its call.
        config: settings of every answer; its `max_new_tokens` is used if a task names no length.
        samples: forwards per continuation of `loglikelihood`, >= 1; LLaDA uses 128.
        cache_key: a JSON value that identifies method and rewards in the harness's cache, needed if
            they are objects without a name.

    Raises:
        ValueError, TypeError: no samples; otherwise as the pipeline's call.
    """

    def __init__(
        self,
        pipe: APSPipeline,
        *,
        method: str | Method = "plain",
        reward: RewardSpec = None,
        select: RewardSpec = None,
        config: APSConfig | None = None,
        samples: int = 32,
        cache_key: Any = None,
    ) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        self.pipe, self.method, self.reward, self.select = pipe, method, reward, select
        if config is None:
            config = config_for(own_for(as_method(METHODS, method), pipe.model.settings))
        self.config = config
        self.samples = samples
        self.seconds, self.cache_key = 0.0, cache_key
        self.contexts = Contexts(pipe.model)
        self._unread: set[str] = set()
        # A stream checks all that a call checks, and computes nothing.
        pipe.stream(
            "question", reward, method=method, select=select, config=self._sized(self._length({}))
        )

    @property
    def tokenizer_name(self) -> str:
        """The name under which the harness caches tokenised requests."""
        return self.pipe.model.name

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Called by the harness if it caches answers; selects the cache's table of this model."""
        super().set_cache_hook(cache_hook)
        if cache_hook.dbdict is not None:
            answered = self.cache_key
            if answered is None:
                answered = identity([self.method, self.reward, self.select])
            settings = [json.loads(self.config.to_json()), self.samples]
            keep_apart(cache_hook.dbdict, [fingerprint(self.pipe.model), answered, settings])

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The messages as JSON, which `contexts` parses when it comes back as a context."""
        return json.dumps(chat_history)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """An answer per request; repetitions of a request get different seeds.

        Raises:
            ValueError: before any is answered: a request that cannot be asked, by its number, or
                several answers of one request from the harness's cache, which keeps one.
        """
        from tqdm import tqdm

        answers = [""] * len(requests)
        repeats: Counter[int] = Counter()
        asked = []
        for index, request in enumerate(requests):
            length, prompt = self._asked(index, *request.args)
            asked.append((length, index, prompt, repeats[id(request)]))
            repeats[id(request)] += 1
            if self.cache_hook.dbdict is not None:
                check_cached(repeats[id(request)], request.args[1])
        asked.sort(key=lambda one: one[0])  # one length per call
        bar = tqdm(total=len(asked), desc="generate_until", disable=disable_tqdm)
        while asked:
            length = asked[0][0]
            part = [one for one in asked[: self.pipe.batch_size] if one[0] == length]
            asked = asked[len(part) :]
            out = self.pipe(
                [prompt for _, _, prompt, _ in part],
                self.reward,
                method=self.method,
                select=self.select,
                config=self._sized(length),
                seeds=[self.config.call.seed + repeat for *_, repeat in part],
                progress=False,
            )
            self.seconds += out.cost.seconds
            for number, (_, index, _, _) in enumerate(part):
                text = next(t for t, i in zip(out.text, out.index, strict=True) if i == number)
                answers[index] = until(text, requests[index].args[1].get("until"))
                self.cache_hook.add_partial("generate_until", requests[index].args, answers[index])
            bar.update(len(part))
        bar.close()
        return answers

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Per (context, continuation): (estimate in nats, whether greedy decoding gives it)."""
        spans = [self._span(*request.args) for request in requests]
        values = self._scored(spans, "loglikelihood", disable_tqdm)
        model = self.pipe.model
        likeliest = greedy(
            self._bind,
            spans,
            model.parts.mask_id,
            model.fill_id,
            batch_size=self.pipe.batch_size,
            device=model.parts.device,
        )
        found = list(zip(values, likeliest, strict=True))
        for request, one in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, one)
        return found

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """The estimate for a whole text, as the answer to an empty question.

        A text longer than half the context is scored in parts, each conditioned on as much of the
        preceding text as fits.
        """
        prompt = tuple(self.pipe.model.encode(""))
        room = self.pipe.model.context - len(prompt)
        width = max(1, room // 2)
        spans: list[Span] = []
        owners: list[int] = []
        for index, request in enumerate(requests):
            tokens = self._tokens(request.args[0])
            for first in range(0, len(tokens), width):
                part = tokens[first : first + width]
                before = tokens[max(0, first + len(part) - room) : first]
                spans.append(Span(prompt, before, part))
                owners.append(index)
        found = [0.0] * len(requests)
        for index, value in zip(
            owners, self._scored(spans, "loglikelihood_rolling", disable_tqdm), strict=True
        ):
            found[index] += value
        for request, one in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, one)
        return found

    def _scored(self, spans: Sequence[Span], name: str, quiet: bool) -> list[float]:
        from tqdm import tqdm

        total = sum(self.samples if len(span.target) > 1 else 1 for span in spans)
        with tqdm(total=total, desc=name, disable=quiet) as bar:
            return log_likelihoods(
                self._bind,
                spans,
                samples=self.samples,
                seed=self.config.call.seed,
                batch_size=self.pipe.batch_size,
                device=self.pipe.model.parts.device,
                on_rows=bar.update,
            )

    def _bind(self, prompts: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        return self.pipe.model.bind(prompts, lengths, 1)

    def _tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.pipe.model.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _span(self, context: str, continuation: str) -> Span:
        """The span of a continuation after its context.

        Raises:
            ValueError: it has no token, or does not fit.
        """
        read = self.contexts.read(context)
        plain = self._tokens(begun(read))[-1:]
        # After a chat template an answer does not begin with a space, as a continuation does.
        framed = tuple(self.pipe.model.encode(read))[-1:] != plain or not plain
        target = self._tokens(continuation.lstrip() if framed else continuation)
        if not target:
            raise ValueError(
                f"the continuation {continuation!r} has no token to score; remove its document"
            )
        prompt = self.contexts.fitting(context, len(target))[1]
        return Span(tuple(prompt), (), target)

    def _asked(self, index: int, context: str, options: Any) -> tuple[int, Prompt]:
        """Length and prompt of a request.

        Raises:
            ValueError: the request cannot be asked; names it.
        """
        try:
            if not isinstance(options, Mapping):
                raise ValueError(f"its generation_kwargs are a mapping, got {options!r}")
            stops = options.get("until") or ()
            for stop in (stops,) if isinstance(stops, str) else stops:
                if not isinstance(stop, str):
                    raise TypeError(f"until is a list of texts, got {stop!r}")
            length = self._length(options)
            prompt = self.contexts.fitting(context, length)[0]
            if not begun(prompt).strip():
                raise ValueError("its question is empty")
        except (ValueError, TypeError) as error:
            shown = str(context).encode("utf-8", "backslashreplace").decode()
            raise ValueError(f"request {index} ({shown:.80}): {error}") from error
        return length, prompt

    def _sized(self, length: int) -> APSConfig:
        """The settings of answers of a length; one token leaves no room for a least length."""
        least = min(self.config.flat()["min_new_tokens"], length - 1)
        return self.config.replace(max_new_tokens=length, min_new_tokens=least)

    def _length(self, options: Mapping[str, Any]) -> int:
        """Canvas length of an answer; at most half the context.

        Raises:
            ValueError: a length that is not a positive number.
        """
        model = self.pipe.model
        named = [name for name in LENGTHS if options.get(name) is not None]
        wanted: int | None = None
        if named:
            try:
                wanted = 0 if options[named[0]] is True else int(options[named[0]])
            except (TypeError, ValueError, OverflowError):
                wanted = 0
            if wanted < 1:
                raise ValueError(f"{named[0]} is a number from 1, got {options[named[0]]!r}")
        for name in options:
            if name not in (*LENGTHS, *READ) and name not in self._unread:
                self._unread.add(name)
                logger.warning("the task's %s is ignored; settings come from --set", name)
        usual = self.config.call.max_new_tokens or model.max_new_tokens
        return max(1, min(wanted or usual, model.context // 2))


def until(text: str, stops: str | Sequence[str] | None) -> str:
    """The part of `text` before the first stop string."""
    for stop in [stops] if isinstance(stops, str) else stops or ():
        if stop:
            text = text.split(stop, 1)[0]
    return text
