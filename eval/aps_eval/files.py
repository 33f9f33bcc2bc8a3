"""Files that are there whole or not at all, also on a full disk and with several writers."""

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
    """Write `text` in a new file of its own name, which then takes the old one's place.

    Raises:
        OSError: it cannot be written; the old one is as it was, and the message says what is safe.
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
        fresh.chmod(0o666 & ~mask)  # as `open` would have made it
        fresh.replace(path)
    except OSError as error:
        raise explained(error, path, f"write {path.name}; all rows are safe") from error
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Nobody else is inside, in this process or another, who names the same path.

    The lock lies beside it (`.NAME.lock`), since the path itself is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)  # and with it the lock


def explained(error: OSError, path: str | Path, what: str) -> OSError:
    """The error with what it means and the mend."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    reason = "no space is left" if full else os.strerror(error.errno or 0)
    mend = "Make room and run the same command again, it goes on from there"
    return OSError(error.errno, f"{reason} to {what}. {mend}", str(path))
