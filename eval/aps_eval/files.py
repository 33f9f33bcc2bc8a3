"""Atomic writing and locking of files, safe on a full disk and with several writers."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["explained", "locked", "write_whole"]


def write_whole(path: str | Path, text: str) -> None:
    """Write `text` to a temporary file, which then replaces `path`.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    path = Path(path)
    fresh: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        fresh = Path(name)
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        fresh.chmod(0o666 & ~mask)  # the permissions that `open` gives
        fresh.replace(path)
    except OSError as error:
        raise explained(error, path, f"write {path.name}; all rows are safe") from error
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)


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
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    reason = "no space is left" if full else os.strerror(error.errno or 0)
    mend = "Make room and run the same command again, it goes on from there"
    return OSError(error.errno, f"{reason} to {what}. {mend}", str(path))
