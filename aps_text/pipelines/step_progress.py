"""`StepProgress`: where a step that has not ended is; a pool of whole answers takes many passes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StepProgress"]


@dataclass(frozen=True)
class StepProgress:
    """A step under way, as `on_pass` is told.

    Attributes:
        step: its index from 0.
        steps: of the call.
        passes: of the denoiser that the step has begun, at least 1.
        answers: whole answers of each row that the step compares; 0 if it compares none, and at
            temperature 0, which draws the same answer again.
        most: the most passes that the step can take; 0 if that is unknown.
    """

    step: int
    steps: int
    passes: int
    answers: int = 0
    most: int = 0

    @property
    def what(self) -> str:
        """What the step does, in words: `comparing 8 answers, pass 3 of at most 32`."""
        most = f" of at most {self.most}" if self.most >= self.passes else ""
        done = f"pass {self.passes}{most}"
        if not self.answers:
            return done
        return f"comparing {self.answers} answers" + f", {done}" * (self.passes > 1)

    def __str__(self) -> str:
        return f"step {self.step + 1} of {self.steps}: {self.what}"
