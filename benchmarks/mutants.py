"""Mutation testing: small changes of the code, each tried against the tests that reach its line.

    make mutants            (python benchmarks/mutants.py --sample 200)
    python benchmarks/mutants.py --again results/mutants/done-....jsonl --tests tests/core

First, once per state of the code, the tests run under `coverage`, which records which test reaches
which line. Then each of a seeded sample of changes (`mutations`) replaces its module in a fork of a
process that has imported everything else, and the tests that reach the line run, nearest first,
until one fails. The sample is ordered by a hash of seed and change, so edits elsewhere do not
change it. `--again` tries the changes of an earlier run that survived or that no test reached, if
their line is unchanged, against the tests of `--tests`. Nothing is written to the tree. Changes
without any effect are listed in `tests/equivalent_mutants.json` with the reason, and do not count.

mutmut and cosmic-ray are not used because they copy the tree for each change and start an
interpreter that imports torch and transformers, which takes 5 to 10 seconds before the first test.
With forks, and only the tests that reach the line, 200 changes take minutes of one core, not hours.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
AREAS = {
    "core": ROOT / "aps_text" / "core",
    "methods": ROOT / "aps_text" / "methods",
    "text": ROOT / "aps_text" / "text",
    "rewards": ROOT / "rewards" / "aps_rewards",
    "eval": ROOT / "eval" / "aps_eval",
}
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.json"
WORK = ROOT / "results" / "mutants"
SECONDS = 40.0
"""Maximal total processor seconds of the tests run for a change; at least five tests are run."""

COMPARE = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
BINARY = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"), ast.Pow: ("**", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
}  # fmt: skip
METHODS = {
    "min": "max", "max": "min", "amin": "amax", "amax": "amin", "any": "all", "all": "any",
    "clamp_min": "clamp_max", "clamp_max": "clamp_min", "argmax": "argmin", "argmin": "argmax",
    "sum": "mean", "mean": "sum", "floor": "ceil", "ceil": "floor", "maximum": "minimum",
    "minimum": "maximum", "startswith": "endswith", "endswith": "startswith", "cumsum": "cumprod",
}  # fmt: skip
DROPPED = {"detach", "copy", "lower", "strip", "sqrt", "abs", "square", "exp", "log", "double"}


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes from `start` to `end` of a file become `piece`; `old` and `new` are its
    line before and after."""

    file: str
    line: int
    start: int
    end: int
    piece: str
    old: str
    new: str

    @property
    def key(self) -> str:
        """A key that is the same as long as the line does not change."""
        return f"{self.file}: {self.old} -> {self.new}"


def mutations(file: Path) -> Iterator[Mutant]:
    """Every change of a file that this script knows."""
    source = file.read_text(encoding="utf-8")
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    raw = source.encode()
    name = str(file.relative_to(ROOT))

    def at(node: ast.AST) -> tuple[int, int]:
        first = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        last = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return first, last

    def made(node: ast.AST, new: str, span: tuple[int, int] | None = None) -> Mutant:
        first, last = span or at(node)
        begin = raw.rfind(b"\n", 0, first) + 1
        stop = raw.find(b"\n", last)
        stop = len(raw) if stop < 0 else stop
        before = raw[begin:stop].decode()
        after = raw[begin:first].decode() + new + raw[last:stop].decode()
        line = raw[:first].count(b"\n") + 1
        return Mutant(name, line, first, last, new, before.strip(), after.strip())

    def operator(left: ast.AST, right: ast.AST, old: str, new: str) -> Mutant | None:
        """Another operator between two operands, regardless of brackets and line breaks."""
        first, last = at(left)[1], at(right)[0]
        gap = raw[first:last].decode()
        where = gap.find(old)
        if where < 0 or "#" in gap:
            return None
        first += len(gap[:where].encode())
        return made(left, new, (first, first + len(old)))

    def text(node: ast.AST) -> str:
        first, last = at(node)
        return raw[first:last].decode()

    def walk(node: ast.AST) -> Iterator[Mutant]:
        found: Mutant | None = None
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            pair = COMPARE.get(type(node.ops[0]))
            if pair is not None:
                found = operator(node.left, node.comparators[0], *pair)
        elif isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            found = operator(node.left, node.right, *BINARY[type(node.op)])
        elif isinstance(node, ast.BoolOp):
            pair = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            found = operator(node.values[0], node.values[1], *pair)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            if not (isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)):
                yield made(node, f"({text(node.operand)})")
            else:
                # An axis -1 of a matrix is its axis 1: -2 is a change.
                yield made(node, f"-{next_number(node.operand.value)}")
                return
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield made(node, str(not node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield made(node, next_number(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            word = node.func.attr
            end = at(node.func)[1]
            if word in METHODS:
                yield made(node.func, METHODS[word], (end - len(word), end))
            elif word in DROPPED and not node.args and not node.keywords:
                yield made(node, text(node.func.value))
        if found is not None:
            yield found
        if isinstance(node, ast.If | ast.IfExp | ast.While) and not guards(node):
            yield made(node.test, f"(not ({text(node.test)}))")
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield made(node, "pass")
        if isinstance(node, ast.AugAssign):
            yield made(node, "pass")
        for child in inner(node):
            yield from walk(child)

    yield from walk(ast.parse(source))


def next_number(value: object) -> str:
    """Another number: an integer and 1, a float times 2."""
    if isinstance(value, int):
        return str(value + 1)
    return repr(value * 2 if value else 1.0) if isinstance(value, float) else repr(value)


def guards(node: ast.AST) -> bool:
    """Whether a node is `if TYPE_CHECKING`, or a test of a length for the layout of messages."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def inner(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that run: no annotations, no texts of errors, no `__all__`."""
    if isinstance(node, ast.Raise) or guards(node):
        return []
    if isinstance(node, ast.Assign) and any(
        isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
    ):
        return []
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [d for d in [*node.args.defaults, *node.args.kw_defaults] if d is not None]
        return [*defaults, *node.body]
    if isinstance(node, ast.ClassDef):
        protocol = any("Protocol" in ast.dump(base) for base in node.bases)
        return [] if protocol else list(node.body)
    if isinstance(node, ast.JoinedStr):
        return []
    return list(ast.iter_child_nodes(node))


def order(mutants: list[Mutant], seed: int) -> list[Mutant]:
    """The changes by a hash of the seed and each one's key: a draw that an edit elsewhere keeps."""
    return sorted(mutants, key=lambda m: hashlib.sha256(f"{seed} {m.key}".encode()).digest())


def state(paths: list[str]) -> str:
    """A hash of the code, the tests and the paths of the tests that run."""
    digest = hashlib.sha256(" ".join(sorted(paths)).encode())
    for folder in ("aps_text", "rewards", "eval", "recipes", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def learn(paths: list[str]) -> dict[str, Any]:
    """Which tests reach which lines, and the seconds of each test; cached in `results/mutants`."""
    WORK.mkdir(parents=True, exist_ok=True)
    kept = WORK / f"map-{state(paths)}.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    print("learning which test reaches which line (once)", flush=True)
    data, times = WORK / "coverage", WORK / "times.json"
    settings = WORK / "coveragerc"
    settings.write_text(
        f"[run]\ndata_file = {data}\nsource_pkgs = aps_text, aps_rewards, aps_eval\n",
        encoding="utf-8",
    )
    env = {**os.environ, "MUTANTS_TIMES": str(times), "PYTHONPATH": os.pathsep.join(PATHS)}
    command = [sys.executable, "-m", "coverage", "run", "--rcfile", str(settings), "-m", "pytest"]
    command += ["-q", "-p", "mutants", "-p", "no:cacheprovider", *paths]
    # A test lets a template call itself without end; traced, that needs more than 8 MB of stack.
    deep = ["bash", "-c", 'ulimit -s unlimited; exec "$@"', "tests", *command]
    done = subprocess.run(deep, cwd=ROOT, env=env, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the tests did not run under coverage: pytest said {done.returncode}")
    if done.returncode == 1:
        print("some tests fail already: they are left out", flush=True)
    import coverage

    measured = coverage.CoverageData(str(data))
    measured.read()
    lines: dict[str, dict[str, list[str]]] = {}
    for file in measured.measured_files():
        by_line = measured.contexts_by_lineno(file)
        own = {str(n): sorted(c for c in names if c) for n, names in by_line.items()}
        lines[str(Path(file).relative_to(ROOT))] = own
    found = {"lines": lines, "times": json.loads(times.read_text(encoding="utf-8"))}
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


PATHS = [str(ROOT / name) for name in ("", "rewards", "eval", "benchmarks", "tests")]
_TIMES: dict[str, list[float]] = defaultdict(list)


def pytest_runtest_setup(item: Any) -> None:
    """Attribute the lines that run from here on to this test, including its fixtures."""
    if "MUTANTS_TIMES" in os.environ:
        import coverage

        running = coverage.Coverage.current()
        if running is not None:
            running.switch_context(item.nodeid.partition("[")[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: Any) -> Iterator[None]:
    """Record a test function's seconds of processor, which other programs do not change, its
    fixtures and its processes included."""
    if "MUTANTS_TIMES" not in os.environ:
        return (yield)
    before = processor_seconds()
    found = yield
    _TIMES[item.nodeid.partition("[")[0]].append(processor_seconds() - before)
    return found


def processor_seconds() -> float:
    """Those of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def pytest_runtest_logreport(report: Any) -> None:
    """A failing test counts for nothing."""
    if "MUTANTS_TIMES" in os.environ and not report.passed:
        _TIMES[report.nodeid.partition("[")[0]].append(float("inf"))


def pytest_sessionfinish(session: Any) -> None:
    """Write the times."""
    if "MUTANTS_TIMES" in os.environ:
        total = {name: sum(values) for name, values in _TIMES.items()}
        good = {name: value for name, value in total.items() if value != float("inf")}
        Path(os.environ["MUTANTS_TIMES"]).write_text(json.dumps(good), encoding="utf-8")


def tests_for(mutant: Mutant, known: dict[str, Any]) -> list[str]:
    """The tests that reach a line, those that mirror its area first, and of both the fastest first;
    for a line that runs at import, those that reach any line of its file, or else those of a test
    file that names its module."""
    times: dict[str, float] = known["times"]
    own = known["lines"].get(mutant.file, {})
    nodes = set(own.get(str(mutant.line), []))
    if not nodes:
        nodes = {name for found in own.values() for name in found}
    if not nodes:
        nodes = {node for node in times if module_of(mutant.file) in _text_of(node)}
    nodes &= times.keys()
    chosen: list[str] = []
    spent = 0.0
    own_folder = f"{mirrored(mutant.file)}/"
    for node in sorted(nodes, key=lambda n: (not n.startswith(own_folder), times[n])):
        if len(chosen) >= 5 and spent + times[node] > SECONDS:
            break
        chosen.append(node)
        spent += times[node]
    return chosen


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _text_of(node: str) -> str:
    """The source of a test's file."""
    return _source(ROOT / node.partition("::")[0])


class _Served(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves one module from a changed source."""

    def __init__(self, module: str, path: Path, source: bytes) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.module:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self.path))
        spec.has_location = True
        if self.path.name == "__init__.py":
            spec.submodule_search_locations = [str(self.path.parent)]
        return spec

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def module_of(file: str) -> str:
    """The import name of a file."""
    parts = list(Path(file).with_suffix("").parts)
    if parts[0] in ("rewards", "eval"):
        parts = parts[1:]
    return ".".join(parts).removesuffix(".__init__")


def try_one(mutant: Mutant, nodes: list[str], limit: float) -> str:
    """`caught`, `survived`, `timeout` (caught, too) or `unreached`."""
    if not nodes:
        return "unreached"
    source = (ROOT / mutant.file).read_bytes()
    middle = changed_text(mutant, source)
    child = os.fork()
    if child == 0:
        os.setsid()
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        served = _Served(module_of(mutant.file), ROOT / mutant.file, middle)
        sys.meta_path.insert(0, served)
        import pytest

        code = 1
        try:
            arguments = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", *nodes]
            code = int(pytest.main(arguments))
        finally:
            os._exit(code)
    began = time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "caught"
        if time.monotonic() - began > limit:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(0.05)


def changed_text(mutant: Mutant, source: bytes) -> bytes:
    """The file with the change in it."""
    return source[: mutant.start] + mutant.piece.encode() + source[mutant.end :]


def main() -> None:
    """Sample changes and print which no test noticed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--areas", nargs="+", choices=list(AREAS), default=list(AREAS))
    parser.add_argument("--only", default="", help="only files whose path has this")
    parser.add_argument("--tests", nargs="*", default=[], help="paths to learn from; all if none")
    parser.add_argument("--again", type=Path, help="results of an earlier run: try what it left")
    args = parser.parse_args()
    again = None if args.again is None else read_results(args.again)
    os.chdir(ROOT)
    sys.path[:0] = PATHS
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = [
        mutant
        for area in args.areas
        for file in sorted(AREAS[area].rglob("*.py"))
        if args.only in str(file)
        for mutant in mutations(file)
    ]
    if again is not None:
        try_again(again, found, args.tests)
        return
    known = learn(args.tests)
    excused = named_equivalent()
    chosen = [m for m in order(found, args.seed) if m.key not in excused][: args.sample]
    print(f"{len(found)} changes known, {len(chosen)} tried, seed {args.seed}", flush=True)
    warm()
    counts: dict[str, int] = defaultdict(int)
    done_file = WORK / f"done-{state(args.tests)}.jsonl"
    done = {}
    if done_file.is_file():
        done = {(one["key"], one["line"]): one["result"] for one in read_results(done_file)}
    for number, mutant in enumerate(chosen, 1):
        result = done.get((mutant.key, mutant.line))
        if result is None:
            result = tried(mutant, known)
            with done_file.open("a", encoding="utf-8") as out:
                record = {**asdict(mutant), "key": mutant.key, "result": result}
                out.write(json.dumps(record) + "\n")
        counts[result] += 1
        if result in LEFT:
            show(number, result, mutant)
    caught = counts["caught"] + counts["timeout"]
    print(
        f"{caught} of {len(chosen)} caught ({100 * caught / max(1, len(chosen)):.1f}%), "
        f"{counts['timeout']} of them by running on; {counts['survived']} survived, "
        f"{counts['unreached']} on lines no test reaches; {len(excused)} named equivalent"
    )


LEFT = ("survived", "unreached")


def tried(mutant: Mutant, known: dict[str, Any]) -> str:
    """`try_one` against the tests that reach the change, within five times what they take."""
    nodes = tests_for(mutant, known)
    return try_one(mutant, nodes, 60 + 5 * sum(known["times"][node] for node in nodes))


def show(number: int, result: str, mutant: Mutant) -> None:
    """Print what became of a change."""
    print(f"{number:4} {result}: {mutant.file}:{mutant.line}", flush=True)
    print(f"       {mutant.old}\n    -> {mutant.new}", flush=True)


def named_equivalent() -> dict[str, str]:
    """The reasons of the changes that change nothing, by key."""
    if not EQUIVALENT.is_file():
        return {}
    found: dict[str, str] = json.loads(EQUIVALENT.read_text("utf-8"))
    return found


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def still_there(record: dict[str, Any], found: list[Mutant]) -> Mutant | None:
    """The change of an earlier run in the code of today; of several alike the nearest."""
    alike = [m for m in found if m.key == record["key"]]
    return min(alike, key=lambda m: abs(m.line - record["line"]), default=None)


def mirrored(file: str) -> str:
    """The folder of tests that mirrors a file's area."""
    for area, folder in AREAS.items():
        if (ROOT / file).is_relative_to(folder):
            return f"tests/{area}"
    return "tests"


def try_again(results: list[dict[str, Any]], found: list[Mutant], paths: list[str]) -> None:
    """Try what an earlier run left, and print the share of its whole sample that is caught by now.

    A change whose line is gone is left out of the share, one named equivalent too. Without `paths`,
    the tests of the folders that mirror the changed files run.
    """
    excused = named_equivalent()
    counts: dict[str, int] = defaultdict(int)
    left: list[tuple[int, Mutant]] = []
    for number, record in enumerate(results, 1):
        mutant = still_there(record, found)
        if record["result"] not in LEFT:
            counts["before"] += 1
        elif mutant is None:
            counts["gone"] += 1
            print(f"{number:4} gone: {record['key']}", flush=True)
        elif mutant.key in excused:
            counts["equivalent"] += 1
            show(number, "equivalent", mutant)
        else:
            left.append((number, mutant))
    known = learn(paths or sorted({mirrored(mutant.file) for _, mutant in left})) if left else {}
    warm()
    for number, mutant in left:
        result = tried(mutant, known)
        counts["left" if result in LEFT else "now"] += 1
        show(number, result, mutant)
    whole = len(results) - counts["gone"] - counts["equivalent"]
    caught = counts["before"] + counts["now"]
    print(
        f"{caught} of {whole} caught ({100 * caught / max(1, whole):.1f}%): {counts['before']} "
        f"before and {counts['now']} now; {counts['left']} are left, {counts['gone']} of "
        f"{len(results)} lines are gone, {counts['equivalent']} changes are named equivalent"
    )


def warm() -> None:
    """Import the third-party packages that every test needs, once, before the forks."""
    import hypothesis
    import peft
    import pytest
    import torch
    import transformers
    from transformers import AutoTokenizer, BertForMaskedLM, Qwen2ForCausalLM

    torch.set_num_threads(1)
    del hypothesis, peft, pytest, transformers, AutoTokenizer, BertForMaskedLM, Qwen2ForCausalLM


if __name__ == "__main__":
    main()
