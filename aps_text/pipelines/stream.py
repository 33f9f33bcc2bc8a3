"""`Stream`: a running call, as an iterator over its denoising steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from aps_rewards import RewardError

from ..core.sampler import Method
from ..core.states import StepState
from ..methods.ancestral import Ancestral
from ..methods.aps import APS
from ..models.lora import LoraAdapter
from ..models.text_model import TextModel
from ..text.decoding import open_text
from ..text.prompts import begun_answer
from .batch import Roles, bind
from .guidance_monitor import GuidanceMonitor
from .output import APSOutput
from .output_builder import OutputBuilder, Row
from .page.call import CallRecord, name_of
from .page.weights import names_by_id, weights_by_name
from .request import Request
from .step_progress import StepProgress
from .surroundings import ordinary_surroundings
from .wording import NO_TRIES

__all__ = ["Stream"]


class Stream(Iterator[tuple[StepState, list[str]]]):
    """An iterator over `(state, texts)` of the denoising steps; `output()` gives the answers.

    `texts` has the unfinished text of each row of the current batch. With `on_error="keep"` a batch
    in which a reward fails is restarted without the failing prompt, or prompt by prompt if the
    error names none; its steps are then repeated.

    Args:
        request: the checked call.
        method: the sampling method.
        batch_size: maximal number of rows in one pass.
        control, on_error, keep_trajectory, warm_start: as in `APSPipeline`.
        by_name: what the rewards were loaded by that were given by name, not as objects, by `id`.
        loaded: the name or folder that the model was loaded by; empty if it was given as an
            object.
        tries: how to try a reward, by its name, for warnings (`wording.how_to_try`).

    Attributes:
        rows: `(prompt, particle)` of each row of the current batch.
        states: iterator over the remaining steps, without texts.
        finished: number of answers in finished batches.
        on_pass: called, if not None, as each pass of the denoiser begins: a step that compares
            whole answers takes many. What it raises ends the stream.

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
        by_name: Mapping[int, str] = MappingProxyType({}),
        loaded: str = "",
        tries: Mapping[str, str] = NO_TRIES,
    ) -> None:
        self.model, self.request, self.roles, self.method = model, request, roles, method
        self.batch_size, self.control, self.on_error = batch_size, control, on_error
        self.keep_trajectory, self.warm_start = keep_trajectory, warm_start
        self.by_name, self.loaded = by_name, loaded
        weighted = bool(roles.items()[0][1])  # whether a guiding reward has another weight than 0
        self._work = OutputBuilder(
            model,
            request,
            roles,
            guided=control != "shuffled",
            steered=isinstance(method, APS) and control != "zero" and weighted,
            silent=bool(roles.guide) and not weighted and not isinstance(method, Ancestral),
            record=self._record(),
            tries=tries,
        )
        for index, why in request.unanswerable.items():
            self._work.note(index, "", why)
        self.rows: list[Row] = []
        self.on_pass: Callable[[StepProgress], None] | None = None
        self._steps = self._run()
        self._turn = threading.RLock()
        self._ended = False

    @property
    def finished(self) -> int:
        """The number of answers in the finished batches."""
        return self._work.answers

    @property
    def record(self) -> CallRecord:
        """What the call is; the texts of its tokens are in it once `output` was called."""
        return self._work.record

    @property
    def states(self) -> Iterator[StepState]:
        """The remaining steps, without texts."""
        while (found := self._step()) is not None:
            yield found[0]

    def __next__(self) -> tuple[StepState, list[str]]:
        """The next step, and every row's text with `_` where it is open."""
        found = self._step()
        if found is None:
            raise StopIteration
        state, rows = found
        asked = (begun_answer(self.request.prompts[prompt]) for prompt, _ in rows)
        texts = [
            open_text(self.model.vocabulary, row, begun)
            for row, begun in zip(state.z, asked, strict=True)
        ]
        return state, texts

    def output(self) -> APSOutput:
        """The answers of all finished batches; after the last step, those of the whole call.

        Before the last step `warnings` of the output says that answers are missing.
        """
        out = self._work.output()
        if not self._ended:
            copies = self.request.config.call.num_return_sequences
            asked = (len(self.request.prompts) - len(self.request.unanswerable)) * copies
            out.warn(f"the stream is not at its end: {self.finished} of {asked} answers are there")
        return out

    def _step(self) -> tuple[StepState, list[Row]] | None:
        """The next step and its rows, computed in `ordinary_surroundings`; None after the last.

        Threads that share a stream take turns. With checkpointed layers the backward pass runs the
        layers and their hooks again, so the whole step holds the network's lock.
        """
        alone = self.model.lock if self.model.parts.checkpointing else nullcontext()
        with self._turn, alone, ordinary_surroundings(self.model.parts.device):
            state = next(self._steps, None)
            self._ended = state is None
            return None if state is None else (state, self.rows)

    def _run(self) -> Iterator[StepState]:
        asked = (
            (prompt, particle)
            for prompt in range(len(self.request.prompts))
            if prompt not in self.request.unanswerable
            for particle in range(self.request.config.call.num_return_sequences)
        )
        while batch := list(islice(asked, self.batch_size)):
            waiting = [batch]
            while waiting:
                self.rows = waiting.pop(0)
                try:
                    yield from self._batch()
                except RewardError as error:
                    if self.on_error == "raise":
                        error.partial = self.output()
                        raise
                    waiting = [*self._work.fail(error, self.rows), *waiting]

    def _record(self) -> CallRecord:
        """What the call was, for the page of an answer."""
        vocabulary, request = self.model.vocabulary, self.request
        name, expression, imports = name_of(self.method)
        given = self.roles
        roles = {"guide": given.guide, "select": given.select, "report": given.report}
        names = names_by_id((one for _, one in given.items()), self.by_name)
        others = {
            "columns": bool(request.columns),
            "start": bool(request.starts),
            "warm_start": self.warm_start is not None,
        }
        return CallRecord(
            model=self.loaded or self.model.name,
            loaded=bool(self.loaded),
            method=name,
            expression=expression,
            imports=imports,
            weights={role: weights_by_name(one, names) for role, one in roles.items()},
            by_name=frozenset(
                (role, self.by_name[id(reward)])
                for role, rewards in roles.items()
                for _, _, reward in rewards
                if id(reward) in self.by_name
            ),
            control=self.control,
            seeds=request.seeds,
            others=tuple(name for name, there in others.items() if there),
            mask_id=vocabulary.mask_id,
            stop_ids=frozenset(vocabulary.stop_ids),
            hidden_ids=frozenset({vocabulary.pad_id, vocabulary.fill_id} - {vocabulary.mask_id}),
        )

    def _batch(self) -> Iterator[StepState]:
        work, config = self._work, self.request.config
        steps = config.sampler.steps
        at = StepProgress(0, steps, 0)

        def passed() -> None:
            nonlocal at
            if self.on_pass is not None:
                at = replace(at, passes=at.passes + 1)
                self.on_pass(at)

        batch = bind(
            *(self.model, self.request, self.rows, self.roles, work.cost),
            *(self.control, work.stats, passed),
        )
        pool = batch.pool(self.method, config)
        at = StepProgress(0, steps, 0, *pool(0))
        states, phi = batch.start(self.method, config, self.warm_start)
        monitor = GuidanceMonitor(batch.canvas.z, self.model.parts.mask_id)
        z, kept = batch.canvas.z, []
        for state in states:
            z = state.z
            monitor.see(state)
            if self.keep_trajectory:
                kept.append(state)
            yield state
            at = StepProgress(state.step + 1, state.steps, 0, *pool(state.step + 1))
        work.add(batch, z, self.rows, monitor)
        if self.keep_trajectory:
            work.trajectory.append(kept)
        if isinstance(phi, LoraAdapter):
            work.adapters.append(phi.fitted())
