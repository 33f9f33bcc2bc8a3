"""`Canvas`: `aps ask --show`, a canvas on the terminal that fills as it is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

    from ..core.states import StepState
    from ..pipelines.step_progress import StepProgress
    from ..pipelines.text import APSPipeline

__all__ = ["Canvas"]

EARLY, LATE = (86, 156, 255), (255, 140, 66)  # sRGB of tokens committed first and last


class Canvas:
    """Prints the first row of the canvas at every step, in place on a terminal.

    Tokens that the step kept (the anchors) are bold on green, the others coloured from blue to
    orange by the step that committed them; the line ends with the guiding rewards. Without a
    terminal each step is a line without colours, and `NO_COLOR` leaves the bold face only.

    Args:
        transient: take the canvas off the terminal at the end, where the answer is printed below.
    """

    def __init__(self, pipe: APSPipeline, transient: bool = False) -> None:
        from ..text.text_console import TextConsole

        self.pipe, self.console = pipe, TextConsole(highlight=False)
        self.transient = transient
        self._live: Live | None = None
        self._shown: tuple[int, Text] | None = None  # the step and the canvas that stand there
        self._pieces: dict[int, str] = {}

    def title(self, method: str) -> None:
        """Print a title above a method's steps."""
        self.close()
        self.console.rule(method)

    def close(self) -> None:
        """Keep the last canvas on the terminal, unless it is transient."""
        self._shown = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def step(self, step: int, state: StepState) -> None:
        """Print the canvas after a step; open positions are dots."""
        line = self._drawn(state)
        if not self.console.is_terminal:
            self.console.print(self._head(step), line, sep="", soft_wrap=True)
            return
        if step == 0 and self._shown is not None:  # the next batch begins below
            self.close()
        self._shown = step, line
        self._update(step, line)

    def passed(self, progress: StepProgress) -> None:
        """On a terminal, say behind the canvas what a step that compares answers is at."""
        from rich.text import Text

        if not progress.answers or not self.console.is_terminal:
            return
        if progress.step == 0 and self._shown is not None:
            self.close()
        step, line = self._shown or (-1, Text())
        at = Text(f"{'   ' if line else ''}{progress if step < 0 else progress.what}", style="dim")
        self._update(step, line + at)

    def _update(self, step: int, line: Text) -> None:
        from rich.live import Live
        from rich.table import Table

        beside = Table.grid(padding=(0, 1))
        beside.add_column(no_wrap=True)
        beside.add_row(self._head(step), line)
        if self._live is None:
            live = Live(console=self.console, auto_refresh=False, transient=self.transient)
            self._live = live
            live.start()
        self._live.update(beside, refresh=True)

    def _head(self, step: int) -> Text:
        from rich.text import Text

        space = "" if self.console.is_terminal else " "
        return Text(f"step {step + 1:>2}{space}" if step >= 0 else "", style="dim")

    def _drawn(self, state: StepState) -> Text:
        from rich.text import Text

        parts, stop_ids = self.pipe.model.parts, self.pipe.model.stop_ids
        hidden = {parts.pad_id, self.pipe.model.fill_id} - {parts.mask_id, *stop_ids}
        line = Text()
        row = (state.z[0].tolist(), state.revealed[0].tolist(), state.written[0].tolist())
        for token, anchor, wrote in zip(*row, strict=True):
            if token in hidden:
                continue
            if token == parts.mask_id:
                line.append(" ·", style="dim")
                continue
            piece = " ■" if token in stop_ids else self._piece(token)
            line.append(" " * (piece.startswith(" ") and not line.plain.endswith("\n")))
            when = tint(wrote / max(state.steps - 1, 1)) if wrote >= 0 else ""
            style = "bold black on green" if anchor else when
            line.append(piece.strip() or "⏎", style=style)
            line.append("\n" * ("\n" in piece and self.console.is_terminal))
        for name, values in state.rewards.items():
            line.append(f"   {name} {float(values[0]):.3f}", style="dim")
        return line

    def _piece(self, token: int) -> str:
        from ..text.decoding import token_pieces

        if token not in self._pieces:
            self._pieces |= token_pieces(self.pipe.model.tokenizer, [token])
        return self._pieces[token]


def tint(share: float) -> str:
    """rich's name of the colour at `share` in [0, 1] of the way from the first step to the last."""
    mixed = [round(a + (b - a) * share) for a, b in zip(EARLY, LATE, strict=True)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"
