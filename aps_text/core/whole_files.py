"""Files that are written whole or not at all: a full disk or a stop leaves what was there before.

The contents go to a new file in the same folder, which then replaces the old one. A symbolic link
stays, and the file it points to is replaced. What is no regular file (a pipe, /dev/stdout) is
written to as it is.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["is_full", "write_together", "write_whole"]


def write_whole(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Replace a file's contents, keeping its permissions.

    Args:
        path: in an existing folder.
        data: a text is written as UTF-8, its line breaks as they are.

    Raises:
        OSError: it cannot be written, and is as it was before; names `path`.
        UnicodeEncodeError: a text with half of a surrogate pair, which has no UTF-8.
    """
    write_together({Path(path): data})


def write_together(files: Mapping[Path, str | bytes]) -> None:
    """`write_whole` of files that belong together: all are on disk before one is replaced."""
    encoded = {path: one.encode() if isinstance(one, str) else one for path, one in files.items()}
    fresh: dict[Path, Path] = {}
    try:
        for path, data in encoded.items():
            with _named(path):
                real = Path(os.path.realpath(path))
                if not real.exists() or real.is_file() or real.is_dir():
                    fresh[path] = _name(real)
                    _write(fresh[path], data, real)
        for path, data in encoded.items():
            with _named(path):
                if path in fresh:
                    fresh[path].replace(os.path.realpath(path))
                else:
                    path.write_bytes(data)
    finally:
        for one in fresh.values():
            one.unlink(missing_ok=True)


def is_full(error: OSError) -> bool:
    """Whether an error says that no space is left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _name(real: Path) -> Path:
    """An unused name beside a file, short enough for any."""
    return real.parent / f".{secrets.token_hex(8)}.new"


def _write(fresh: Path, data: bytes, real: Path) -> None:
    """Write a new file with the permissions of the one it will replace.

    Raises:
        OSError: it cannot be written, or the old one is a folder or may not be written.
    """
    old = real.stat() if real.exists() else None
    if old is not None and (stat.S_ISDIR(old.st_mode) or not os.access(real, os.W_OK)):
        number = errno.EISDIR if stat.S_ISDIR(old.st_mode) else errno.EACCES
        raise OSError(number, os.strerror(number))
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        if old is not None:
            with suppress(PermissionError):  # another owner's file in a folder of ours
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Context whose errors name the path that the user gave."""
    try:
        yield
    except OSError as error:
        reason = "no space is left to write it" if is_full(error) else error.strerror
        raise OSError(error.errno, reason, str(path)) from error
