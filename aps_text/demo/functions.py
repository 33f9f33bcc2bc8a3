"""What the page of `aps demo` calls: values of its form in, HTML of an answer out.

Nothing that was typed becomes HTML unescaped, and no file is kept: what can be downloaded is
inside of the page.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from aps_rewards import RewardError

from ..pipelines.restoration import RestorationPipeline
from ..pipelines.text import APSPipeline
from .answering import BETWEEN, answering, as_json, notices_of, same
from .asked import Asked, as_asked, read_asked, usable
from .closing import Closing
from .drawn import drawn, framed, problem
from .restoring import MISSING, example, fitted, pictures, restoring

__all__ = ["FAILURES", "ROWS", "Demo", "downloads"]

ROWS = 3  # rewards that can be chosen at once
FAILURES = (ValueError, TypeError, ImportError, OSError, RuntimeError, RewardError)


class Demo:
    """What the page calls, and the page itself.

    Args:
        pipe: answers the questions, of several users at once.
        images: restore images, by name; empty shows why there is nothing to restore with.
        trust_code: whether a user's function may be run.
        settings: keywords of `APSConfig` below those a user gives.
        between: seconds without a step after which the page says what the step is at.
    """

    def __init__(
        self,
        pipe: APSPipeline,
        images: Mapping[str, RestorationPipeline] = MappingProxyType({}),
        *,
        trust_code: bool = False,
        settings: dict[str, Any] | None = None,
        between: float = BETWEEN,
    ) -> None:
        self.pipe, self.images, self.trust_code = pipe, dict(images), trust_code
        self.settings, self.between = settings or {}, between
        self.rewards = usable()
        self.closing = Closing()

    def asked(self, *typed: Any) -> Asked:
        """The checked values of the form, in its order."""
        question, preset, beta, seed, steps, tokens, *rest = typed
        rows = [tuple(rest[3 * row : 3 * row + 3]) for row in range(ROWS)]
        function, weight = rest[3 * ROWS :] if self.trust_code else ("", 1.0)
        return as_asked(
            question,
            rows,
            known=self.rewards,
            function=function,
            function_weight=1.0 if weight is None else weight,
            trust_code=self.trust_code,
            preset=preset,
            beta=beta,
            seed=seed,
            settings={
                **self.settings,
                **_typed("steps", steps),
                **_typed("max_new_tokens", tokens),
            },
        )

    def run(self, *typed: Any) -> Iterator[tuple[str, str, str, Any]]:
        """A run of the form; yields (canvases, replay, downloads, the run or None)."""
        try:
            asked = self.asked(*typed)
        except FAILURES as error:
            yield problem(str(error)), "", "", None
            return
        yield from self.answered(asked, None)

    def again(self, earlier: dict[str, Any] | None) -> Iterator[tuple[str, str, str, Any]]:
        """The last finished run once more; says whether the tokens are the same."""
        if not earlier:
            yield problem("no run has finished yet, so there is none to repeat"), "", "", None
            return
        try:
            text = json.dumps(earlier)
            asked = read_asked(text, known=self.rewards, trust_code=self.trust_code)
        except FAILURES as error:
            yield problem(str(error)), "", "", earlier
            return
        yield from self.answered(asked, earlier)

    def answered(
        self, asked: Asked, earlier: dict[str, Any] | None
    ) -> Iterator[tuple[str, str, str, Any]]:
        """The steps of a run, and then what is kept of it."""
        try:
            parts = []
            for parts in answering(self.pipe, asked, self.between):
                yield drawn(parts), "", "", earlier
        except FAILURES as error:
            yield problem(str(error)), "", "", earlier
            return
        record = as_json(self.pipe, asked, parts)
        plain, last = parts[0].output, parts[-1].output
        assert plain is not None
        assert last is not None
        notes = [f"warning: {one}" for one in notices_of(parts)]
        page = last.to_html(beside=None if last is plain else plain, notes=notes)
        note = ""
        if earlier is not None:
            equal = same(earlier, record)
            note = f"Run again with seed {asked.seed}: " + (
                "the same answers, token for token." if equal else "the answers differ."
            )
        yield drawn(parts, note), framed(page), downloads(record, page), record

    def opened(self, data: bytes) -> list[Any]:
        """The form's values of a shared run's JSON.

        Raises:
            ValueError, TypeError, RewardError: no run of this page, or one that it cannot show.
        """
        asked = read_asked(data.decode("utf-8"), known=self.rewards, trust_code=self.trust_code)
        if len(asked.rewards) > ROWS:
            raise ValueError(f"this page has room for {ROWS} rewards")
        rows = [(*name.partition(":")[::2], weight) for name, weight in asked.rewards]
        rows += [("", "", 1.0)] * (ROWS - len(rows))
        typed = [asked.beta, *map(asked.settings.get, ("steps", "max_new_tokens"))]
        beta, steps, tokens = ("" if one is None else str(one) for one in typed)
        form: list[Any] = [asked.question, asked.preset, beta, asked.seed, steps, tokens]
        form += [value for name, options, weight in rows for value in (name, weight, options)]
        return form + ([asked.function, asked.function_weight] if self.trust_code else [])

    def restored(
        self,
        path: str | None,
        model: str,
        preset: str,
        task: str,
        sigma: Any,
        samples: Any,
        seed: Any,
    ) -> Iterator[str]:
        """A restoration of an uploaded image, or of one the model draws."""
        if not self.images:
            yield problem(MISSING)
            return
        try:
            if model not in self.images:
                raise ValueError(f"model is one of {', '.join(self.images)}; got {model!r}")
            pipe, number = self.images[model], int(seed or 0)
            truth = fitted(path, pipe.size) if path else example(pipe, number)
            for found in restoring(
                pipe,
                truth,
                task,
                sigma=float(sigma),
                samples=int(samples),
                seed=number,
                preset=preset,
            ):
                yield pictures(found)
        except FAILURES as error:
            yield problem(str(error))


def downloads(record: dict[str, Any], page: str) -> str:
    """Links that hold what they download: the run as JSON, and the page of the answers."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    files = {
        "run.json": ("the run as JSON", "application/json", text),
        "answer.html": ("the page of these answers", "text/html", page),
    }
    links = " ".join(
        f'<a download="{name}" href="data:{kind};base64,'
        f'{base64.b64encode(content.encode()).decode()}">{label}</a>'
        for name, (label, kind, content) in files.items()
    )
    return f'<div class="aps"><p class="soft links">Download {links}</p></div>'


def _typed(name: str, text: Any) -> dict[str, int]:
    """A whole number that was typed; nothing for an empty field."""
    if text is None or not str(text).strip():
        return {}
    try:
        return {name: int(str(text))}
    except ValueError:
        raise ValueError(f"{name} is a whole number, got {text!r}") from None
