"""Atomic writing and locking of files, safe on a full disk and with several writers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aps_text.core import whole_files

__all__ = ["explained", "locked", "write_whole"]


def write_whole(path: str | Path, text: str) -> None:
    """`aps_text.core.whole_files.write_whole`, in a folder that is made if it is missing.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_files.write_whole(path, text)
    except OSError as error:
        raise explained(error, path, f"write {path.name}; all rows are safe") from error


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Context that holds an exclusive lock for a path, across threads and processes.

    The lock file is beside it (`.NAME.lock`), since the file itself is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)  # also releases the lock


def explained(error: OSError, path: str | Path, what: str) -> OSError:
    """The error with a message that says what failed and how to continue."""
    reason = "no space is left" if whole_files.is_full(error) else os.strerror(error.errno or 0)
    mend = "Make room and run the same command again, it goes on from there"
    return OSError(error.errno, f"{reason} to {what}. {mend}", str(path))
