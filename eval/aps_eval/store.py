"""`RowStore`: an append-only file of rows; a process that is killed loses at most one batch.

A batch of rows is one write at the end of `rows.jsonl`, under a lock, and is flushed to disk before
the next batch starts. Several processes may share the file. When it is opened, a last line without
a line break (its process died while writing) is removed if it is a row's; a broken line elsewhere
is an error with its line number. A key is written once, except that a failure may be followed by
another try, and an answer by the same one that newer rules have read (`Row.rules`) or that was
judged again (`Row.judged`); the last line counts.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .files import explained
from .rows import BrokenRow, Row, begins_a_line

__all__ = ["RowStore", "read_rows"]


class RowStore:
    """The rows of a file, to which rows can be appended.

    Args:
        path: of the file; created, with its folder, if missing.

    Raises:
        BrokenRow: a line that is not a row, or a key with two answers; names file and line.
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, Row] = {}
        self._lines = self._read = 0
        with self._locked() as file:
            self._catch_up(file)

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._rows)

    def rows(self) -> list[Row]:
        """The rows as of the last reading of the file; the last try of a repeated failure."""
        return list(self._rows.values())

    def done(self, key: str, *, retry: bool = False) -> bool:
        """Whether there is a row of this key; with `retry`, one that did not fail."""
        row = self._rows.get(key)
        return row is not None and not (retry and row.error is not None)

    def get(self, key: str) -> Row | None:
        """The row of a key, or None."""
        return self._rows.get(key)

    def outdated(self, key: str, rules: int) -> bool:
        """Whether there is an answer of this key that rules before `rules` have read."""
        row = self._rows.get(key)
        return row is not None and row.error is None and row.rules < rules

    def refresh(self) -> None:
        """Read the rows that other processes wrote."""
        with self._locked() as file:
            self._catch_up(file)

    def append(self, rows: Iterable[Row]) -> int:
        """Write rows whose key has no answer yet, or that follow it (`Row.follows`).

        Returns:
            How many were written.

        Raises:
            OSError: the file cannot be written, and then has none of these rows.
        """
        with self._locked() as file:
            self._catch_up(file)
            return self._write(file, rows)

    def amend(self, changes: Mapping[str, Callable[[Row], Row]]) -> int:
        """Write rows again as a change makes them of what stands in the file now, by key.

        A change that gives its row back, or one that does not follow it, writes nothing.

        Returns:
            How many were written.

        Raises:
            KeyError: there is no row of a key.
            OSError: as `append`.
        """
        with self._locked() as file:
            self._catch_up(file)
            return self._write(file, [change(self._rows[key]) for key, change in changes.items()])

    def _write(self, file: int, rows: Iterable[Row]) -> int:
        new = {
            row.key: row
            for row in rows
            if (old := self._rows.get(row.key)) is None or row.follows(old)
        }
        if not new:
            return 0
        data = "".join(row.to_json() + "\n" for row in new.values()).encode()
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        except OSError as error:
            os.ftruncate(file, self._read)
            what = f"write {len(new)} rows; the {len(self._rows)} before them are safe"
            raise explained(error, self.path, what) from error
        self._read += len(data)
        self._lines += len(new)
        self._rows |= new
        return len(new)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)  # also releases the lock

    def _catch_up(self, file: int) -> None:
        """Read new rows; remove an incomplete last line."""
        size = os.fstat(file).st_size
        if size < self._read:
            raise OSError(
                f"{self.path} became shorter while it was in use; run the same command again"
            )
        data = os.pread(file, size - self._read, self._read)
        whole, end, torn = data.rpartition(b"\n")
        for row in parse(whole + end, str(self.path), self._lines):
            old = self._rows.get(row.key)
            self._lines += 1
            if old is not None and not row.follows(old):
                raise BrokenRow(
                    f"{self.path} line {self._lines}: the key {row.key[:12]}... has an answer "
                    "above; remove one of the two lines"
                )
            self._rows[row.key] = row
        self._read += len(whole) + len(end)
        if torn and not (self._rows or begins_a_line(torn.decode(errors="replace"))):
            raise BrokenRow(
                f"{self.path} is no file of rows, and is left as it is: its one line, which has no "
                f"line break, is {torn[:60]!r}; name another folder"
            )
        if torn:
            os.ftruncate(file, self._read)


def parse(data: bytes, name: str, before: int = 0) -> Iterator[Row]:
    """The rows of complete lines; `before` is the number of lines before them in the file."""
    for number, line in enumerate(data.splitlines(), before + 1):
        where = f"{name} line {number}"
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise BrokenRow(f"{where} is not UTF-8; remove that line") from None
        try:
            yield Row.from_json(text, where)
        except BrokenRow as error:
            raise BrokenRow(f"{error}; remove that line, its answer is made again") from None


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file, read-only; an incomplete last line is skipped.

    Raises:
        BrokenRow, OSError: as `RowStore`.
    """
    whole, end, _ = Path(path).read_bytes().rpartition(b"\n")
    found: dict[str, Row] = {}
    for row in parse(whole + end, str(path)):
        found[row.key] = row
    return list(found.values())
