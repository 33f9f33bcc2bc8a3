"""A progress bar on stderr for calls of more than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from ..core.states import StepState
from .step_progress import StepProgress
from .stream import Stream

__all__ = ["progress_bar", "shown"]

DELAY = 1.0  # seconds before the bar appears
INTERVAL = 0.1  # seconds between two of its states, at least


def progress_bar(total: int, name: str, progress: bool | None) -> Any:
    """A bar of `total` steps, a context manager that closes it.

    Args:
        name: label of the bar.
        progress: True shows the bar, False does not, None shows it on a terminal only.

    Raises:
        TypeError: `progress` is none of these.
    """
    if progress not in (True, False, None):
        raise TypeError(f"progress is True, False or None, got {progress!r}")
    from tqdm import tqdm

    hidden = None if progress is None else not progress
    if hidden is None and not sys.stderr.isatty():
        hidden = True
    layout = "{desc}: {percentage:3.0f}%|{bar}|{postfix} [{elapsed}<{remaining}]"
    return tqdm(
        total=total,
        desc=name,
        disable=hidden,
        delay=DELAY,
        mininterval=INTERVAL,
        leave=False,
        file=sys.stderr,
        bar_format=layout,
    )


def shown(stream: Stream, name: str, progress: bool | None) -> Iterator[StepState]:
    """The stream's steps, shown by a progress bar; see `progress_bar` for `name`, `progress`.

    Within a step that compares answers the bar says which pass it is at. The stream's own
    `on_pass` is called as well.
    """
    request = stream.request
    steps = request.config.sampler.steps
    answers = (len(request.prompts) - len(request.unanswerable)) * (
        request.config.call.num_return_sequences
    )
    begun, own = time.monotonic(), stream.on_pass
    with progress_bar(answers * steps, name, progress) as bar:

        def passed(at: StepProgress) -> None:
            if own is not None:
                own(at)
            if at.answers and time.monotonic() - begun >= DELAY:
                bar.set_postfix_str(at.what)

        if not bar.disable:
            stream.on_pass = passed
        for state in stream.states:
            done = stream.finished
            if not bar.disable:
                bar.set_postfix_str(f"{done} of {answers} answers", refresh=False)
                share = (state.step + 1) / state.steps
                bar.update(done * steps + len(stream.rows) * share * steps - bar.n)
            yield state
