"""Samples written to files as they come, so that a command that is stopped leaves what is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..text.visible import on_terminal

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SampleFiles"]


class SampleFiles:
    """The files of a command's samples.

    Args:
        folder: they are written to; made at the first.
        count: of the samples that are asked for.
        doing: what the command does, for its progress: `restoring`.
        first: called before the first sample is written.
        beside: what `first` writes, for the message after a stop: `, with the measurement`.

    Attributes:
        done: how many are written.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        doing: str,
        first: Callable[[], None] | None = None,
        beside: str = "",
    ) -> None:
        self.folder, self.count, self.doing = folder, count, doing
        self.first, self.beside, self.done = first, beside, 0

    def write(self, name: str, image: Tensor) -> None:
        """Write a sample `(C, H, W)` in [-1, 1] as `<name>.png`."""
        from ..images.files import write_image

        if not self.done:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.first is not None:
                self.first()
        write_image(image, self.folder / f"{name}.png")
        self.done += 1

    def progress(self) -> str:
        """What is done, in words."""
        return f"{self.doing}, {self.done} of {self.count} samples done"

    @contextmanager
    def told_when_stopped(self) -> Iterator[None]:
        """Context that says, when it is interrupted, which samples are written."""
        try:
            yield
        except KeyboardInterrupt:
            if self.done:
                left = f"{self.done} of {self.count} samples are in {self.folder}{self.beside}"
                print(on_terminal(f"aps: {left}", sys.stderr), file=sys.stderr)
            raise
