"""Programs in processes of their own that need not import torch and transformers each.

`together(["dream.py", "why ?"], ...)` runs scripts (or, behind "-m", modules) side by side, each in
a fork of one process that has imported what is heavy and computed nothing. Importing takes six
seconds of a processor, a fork a few milliseconds. What a test says about importing itself needs a
fresh interpreter instead.
"""

from __future__ import annotations

import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from paths import ROOT

TOP = [str(ROOT / part) for part in ("", "rewards", "eval", "tests")]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def together(*commands: list[Any], stdin: str = "", **environment: str) -> list[Done]:
    """What the commands ended with; `{rank}` in a value is the place of the command."""
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stdin").write_text(stdin)
        jobs = [
            {
                "words": [str(word) for word in words],
                "environment": {k: v.format(rank=n) for k, v in environment.items()},
                "files": [f"{folder}/stdin", f"{folder}/{n}.out", f"{folder}/{n}.err"],
            }
            for n, words in enumerate(commands)
        ]
        print(json.dumps(jobs), file=server.stdin, flush=True)
        ended = json.loads(server.stdout.readline())
        said = [[Path(file).read_text() for file in job["files"][1:]] for job in jobs]
    return [Done(status, *texts) for status, texts in zip(ended, said, strict=True)]


def run(*words: Any, stdin: str = "", **environment: str) -> Done:
    """What one command ended with."""
    return together(list(words), stdin=stdin, **environment)[0]


@functools.cache
def _server() -> Any:
    """The process that forks; it ends with this one, whose end closes its input."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(TOP), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, __file__],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _serve() -> None:
    import torch
    import transformers.modeling_utils  # noqa: F401

    import aps_text.pipelines.text  # noqa: F401

    torch.set_num_threads(1)  # a forked child has no other threads
    while line := sys.stdin.readline():
        children = [_fork(job) for job in json.loads(line)]
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(ended), flush=True)


def _fork(job: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    status: Any = 1
    try:
        for place, file in enumerate(job["files"]):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), place)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        os.environ.update(job["environment"])
        signal.alarm(600)  # what hangs is killed
        first, *rest = job["words"]
        if first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [first, *rest]
            sys.path[0] = str(Path(first).parent)
            runpy.run_path(first, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
