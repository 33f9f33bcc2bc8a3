"""A call at work: its denoising steps, one at a time, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aps_rewards import RewardError

from ..core.sampler import Method
from ..core.step import StepState
from ..models.lora import LoraAdapter
from ..models.text_model import TextModel
from ..text.decoding import open_text
from .batch import Roles, bind
from .diagnosis import GuidanceMonitor
from .output import APSOutput
from .output_builder import OutputBuilder, Row
from .request import Request

__all__ = ["Stream"]


class Stream(Iterator[tuple[StepState, list[str]]]):
    """Iterate over `(state, texts so far)`, one text per row in work; then ask for `output()`.

    A batch in which a reward fails starts again without the failing prompt (`on_error="keep"`), or,
    where the error names none, prompt by prompt; so its steps come again, too.

    Args:
        request: what is asked, checked.
        method: what runs.
        batch_size: most rows in one pass.
        control, on_error, keep_trajectory, warm_start: as `APSPipeline` takes them.

    Attributes:
        states: the same steps without texts.
        rows: `(prompt, particle)` of each row in work.

    Raises:
        RewardError: from the iteration, with the batches finished before it in `partial`, unless
            `on_error="keep"`.
    """

    def __init__(
        self,
        model: TextModel,
        request: Request,
        roles: Roles,
        method: Method,
        *,
        batch_size: int,
        control: str | None = None,
        on_error: str = "raise",
        keep_trajectory: bool = False,
        warm_start: str | Path | None = None,
    ) -> None:
        self.model, self.request, self.roles, self.method = model, request, roles, method
        self.batch_size, self.control, self.on_error = batch_size, control, on_error
        self.keep_trajectory, self.warm_start = keep_trajectory, warm_start
        self._work = OutputBuilder(model, request, roles, guided=control != "shuffled")
        self.rows: list[Row] = []
        self.states = self._run()

    def __next__(self) -> tuple[StepState, list[str]]:
        """The next step, and every row's text with `_` where it is open."""
        state = next(self.states)
        return state, [open_text(self.model.vocabulary, row) for row in state.z]

    def output(self) -> APSOutput:
        """The answers of all finished batches; after the last step, of the call."""
        return self._work.output()

    def _run(self) -> Iterator[StepState]:
        copies = self.request.config.call.num_return_sequences
        asked = range(len(self.request.prompts))
        rows = [(prompt, particle) for prompt in asked for particle in range(copies)]
        for first in range(0, len(rows), self.batch_size):
            waiting = [rows[first : first + self.batch_size]]
            while waiting:
                self.rows = waiting.pop(0)
                try:
                    yield from self._batch()
                except RewardError as error:
                    if self.on_error == "raise":
                        error.partial = self.output()
                        raise
                    waiting = [*self._work.fail(error, self.rows), *waiting]

    def _batch(self) -> Iterator[StepState]:
        work, config = self._work, self.request.config
        batch = bind(
            self.model, self.request, self.rows, self.roles, work.cost, self.control, work.stats
        )
        states, phi = batch.start(self.method, config, self.warm_start)
        monitor = GuidanceMonitor(batch.canvas.z, self.model.parts.mask_id)
        z, kept = batch.canvas.z, []
        for state in states:
            z = state.z
            monitor.see(state)
            if self.keep_trajectory:
                kept.append(state)
            yield state
        work.add(batch, z, self.rows, monitor)
        if self.keep_trajectory:
            work.trajectory.append(kept)
        if isinstance(phi, LoraAdapter):
            work.adapters.append(phi)
