"""Files that are there whole or not at all, also on a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["explained", "write_whole"]


def write_whole(path: str | Path, text: str) -> None:
    """Write `text` in a new file that takes the old one's place.

    Raises:
        OSError: it cannot be written; the old one is as it was, and the message says what is safe.
    """
    path = Path(path)
    fresh = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8", newline="")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise explained(error, path, f"write {path.name}; all rows are safe") from error


def explained(error: OSError, path: str | Path, what: str) -> OSError:
    """The error with what it means and the mend."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    reason = "no space is left" if full else os.strerror(error.errno or 0)
    mend = "Make room and run the same command again, it goes on from there"
    return OSError(error.errno, f"{reason} to {what}. {mend}", str(path))
