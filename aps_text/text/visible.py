"""Text for a terminal: control characters of answers, data and error messages are shown as escapes.

A terminal obeys some characters: ESC and the C1 controls move the cursor, set the window's title or
erase what stands there, and bidirectional controls show text in another order than it is read. On a
terminal they are printed as `\\x1b` or `\\u202e`; files and pipes get the text as it is. JSON has
escapes of its own, which every reader undoes, and has them everywhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any

__all__ = ["finite", "json_text", "on_terminal", "visible"]

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with control characters (but line breaks and tabs) and surrogates as escapes."""
    return _CONTROLS.sub(_escaped, text)


def on_terminal(text: Any, file: IO[str] | None) -> str:
    """`str(text)` as it may be printed to `file`: `visible` if that is a terminal."""
    return visible(str(text)) if file is not None and file.isatty() else str(text)


def json_text(value: Any) -> str:
    """A value as one line of JSON without control characters; infinite and NaN become null."""
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def finite(value: Any) -> Any:
    """A JSON value with null for each number that is infinite or NaN."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
