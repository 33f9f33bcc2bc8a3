"""Runs the code of pages and notebooks, and keeps what it printed in them.

    python docs/run_pages.py docs/getting_started.md docs/notebooks/*.ipynb

In a page, blocks marked `python` run in order with shared names, `aps ...` lines of blocks marked
`sh` run as commands, and a block marked `text` right behind a `python` block is what that printed.
Blocks marked `py` or `console` are not run. A file is changed only where another text was printed;
the tests run the same code and compare roughly (`alike`; `tests/commands/test_pages.py`).
"""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Printed", "alike", "run", "same"]

BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True)
class Printed:
    """What a block of code printed, and what the file says it prints (None: nothing is said)."""

    code: str
    stated: str | None
    printed: str


def same(one: str, other: str, units: float = 1.5) -> bool:
    """Whether two printed texts are equal, but for `units` of the last digit of a decimal.

    Of two decimals with different numbers of digits, the shorter one counts.
    """
    if NUMBER.sub("#", one.rstrip()) != NUMBER.sub("#", other.rstrip()):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(
        abs(float(a) - float(b)) <= units * 10.0 ** -min(len(n.split(".")[1]) for n in (a, b))
        for a, b in pairs
    )


def alike(one: str, other: str, share: float = 0.6) -> bool:
    """Whether two printed texts have the same number of lines and most of their words.

    Another processor, or another number of threads, takes sums in another order, and an answer may
    then have other words; labels, columns and the lines around it stay.
    """
    a, b = (NUMBER.sub("#", text.rstrip()) for text in (one, other))
    if len(a.splitlines()) != len(b.splitlines()):
        return False
    return difflib.SequenceMatcher(None, a.split(), b.split(), autojunk=False).ratio() >= share


def run(path: Path, commands: bool = True) -> tuple[list[Printed], str]:
    """Run a page or notebook in the current folder.

    Args:
        commands: run the lines `aps ...`, too; those of README.md install and evaluate.

    Returns:
        what each block printed, and the file's text with that put in.

    Raises:
        Exception: whatever the code raises; a command that fails is a `RuntimeError`.
    """
    text = path.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": path.stem}
    if path.suffix == ".ipynb":
        return _notebook(text, path.name, names)
    blocks, done, parts, end = list(BLOCK.finditer(text)), [], [], 0
    for block, follower in zip(blocks, [*blocks, None][1:], strict=True):
        language, code = block.groups()
        if language == "text":
            continue
        line = text.count("\n", 0, block.start()) + 1
        if language == "sh" and not commands:
            continue
        printed = _python(code, path.name, names, line) if language == "python" else _sh(code)
        shows_output = follower is not None and follower[1] == "text" and language == "python"
        shows_output = shows_output and not text[block.end() : follower.start()].strip()
        done.append(Printed(code, follower[2] if shows_output else None, printed))
        if shows_output:
            parts += [text[end : follower.start(2)], printed.rstrip() + "\n"]
            end = follower.end(2)
    return done, "".join([*parts, text[end:]])


def _notebook(text: str, name: str, names: dict[str, Any]) -> tuple[list[Printed], str]:
    book, done, count = json.loads(text), [], 0
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        code = "".join(cell["source"])
        printed = _python(code, f"{name}[{count}]", names)
        stated = "".join("".join(one.get("text", "")) for one in cell["outputs"])
        done.append(Printed(code, stated, printed))
        lines = printed.splitlines(keepends=True)
        cell["outputs"] = (
            [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
        )
        cell["execution_count"] = count
    return done, json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _python(code: str, name: str, names: dict[str, Any], line: int = 0) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\n" * line + code, name, "exec"), names)
    return out.getvalue()


def _sh(code: str) -> str:
    from aps_text.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as out:
        for line in code.replace("\\\n", " ").splitlines():
            if line.startswith("aps ") and (status := main(shlex.split(line)[1:])):
                raise RuntimeError(f"{line!r} ended with status {status}")
    return out.getvalue()


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)


def refresh(paths: list[Path]) -> None:
    """Run files, each in an empty folder, and write those whose output is no longer the same."""
    for path in paths:
        with _elsewhere():
            done, text = run(path, commands=path.name != "README.md")
        changed = [one for one in done if one.stated is not None and one.stated != one.printed]
        if changed:
            path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(done)} blocks, {len(changed)} outputs changed")


if __name__ == "__main__":
    refresh([Path(name).resolve() for name in sys.argv[1:]])
