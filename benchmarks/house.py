"""Measures the code's structure: lines per folder, imports between folders, import cycles.

    python benchmarks/house.py [--root FOLDER]

`--root` is another checkout (an older version, e.g.), whose packages are read. Only source text is
read, except for the last part, which runs one step of this version and lists the files whose
functions are passed the canvas, in order.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "aps_text": ["aps_text"],
    "aps_rewards": ["rewards/aps_rewards"],
    "rewards": ["rewards"],
    "aps_eval": ["eval/aps_eval"],
    "eval": ["eval"],
    "recipes": ["recipes"],
}


def packages(root: Path) -> dict[str, Path]:
    """The packages in a checkout, by import name."""
    found = {}
    for name, places in PLACES.items():
        for place in places:
            if (root / place / "__init__.py").is_file():
                found[name] = root / place
    return found


def modules(root: Path) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for name, folder in packages(root).items():
        for path in sorted(folder.rglob("*.py")):
            parts = [name, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """Absolute names a module imports, and the line: at the top, inside functions, for types."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")
            base = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield (inner if inner in known else source), node.lineno


def graph_of(known: dict[str, Path]) -> dict[str, set[str]]:
    """Which of our modules each of our modules imports."""
    return {
        name: {t for t, _ in imported(name, path, known) if t in known and t != name}
        for name, path in known.items()
    }


def folder_of(name: str, known: dict[str, Path]) -> str:
    """A module's folder; modules at the top of a package (the public names, the command) count as
    folders of their own."""
    inside = known[name].name != "__init__.py" and name.count(".") > 1
    flat = name.startswith(("aps_eval.", "aps_rewards.", "eval.", "rewards."))
    return name.rpartition(".")[0] if inside or flat else name


def folders_of(
    graph: dict[str, set[str]], known: dict[str, Path], entries: set[str] = frozenset()
) -> dict[str, set[str]]:
    """The imports between folders; `entries` are modules that may import anything."""
    folders: dict[str, set[str]] = {}
    for name, targets in graph.items():
        here = folders.setdefault(folder_of(name, known), set())
        if name not in entries:
            here.update(folder_of(target, known) for target in targets)
    for here, targets in folders.items():
        targets.discard(here)
    return folders


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def floors(folders: dict[str, set[str]]) -> dict[str, int]:
    """For each folder, the length of its longest chain of imported folders (cycles count once)."""
    level: dict[str, int] = {}

    def of(name: str, above: frozenset[str]) -> int:
        if name not in level:
            below = [of(t, above | {name}) for t in folders[name] if t not in above]
            level[name] = 1 + max(below, default=0)
        return level[name]

    for name in folders:
        of(name, frozenset())
    return level


def lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def canvas_way() -> list[str]:
    """The files whose functions are passed a canvas during one step of APS, in order."""
    sys.path.insert(0, str(ROOT / "tests"))
    import torch
    from worlds import TableDenoiser, TableReward

    from aps_text.core.canvas import Canvas
    from aps_text.core.config import APSConfig
    from aps_text.core.noise import Noise
    from aps_text.methods.aps import APS

    generator = torch.Generator().manual_seed(0)
    table = torch.rand(1, 3, 3, 3, 3, generator=generator).double() + 0.1
    codes = torch.randn(5, 2, generator=generator).double()
    weight = torch.randn(1, 4, 2, generator=generator).double()
    denoiser, reward = TableDenoiser(table / table.sum()), TableReward(codes, weight)
    canvas = Canvas.of([[3] * 4], mask_id=3, fill_id=4)
    config = APSConfig.make(steps=2, min_new_tokens=0)
    states = APS().steps(
        denoiser, reward, canvas, config, Noise(torch.tensor([0]), torch.tensor([0]))
    )
    seen: list[str] = []

    def holds(value: Any) -> bool:
        return isinstance(value, Canvas) or isinstance(getattr(value, "canvas", None), Canvas)

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(str(ROOT / "aps_text")):
            return
        file = str(Path(frame.f_code.co_filename).relative_to(ROOT))
        if any(holds(value) for value in frame.f_locals.values()) and file not in seen:
            seen.append(file)

    sys.setprofile(watch)
    try:
        next(iter(states))
    finally:
        sys.setprofile(None)
    return seen


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout")
    args = parser.parse_args()
    known = modules(args.root)
    graph = graph_of(known)
    folders = folders_of(graph, known)
    size, files = Counter(), Counter()
    for name, path in known.items():
        size[folder_of(name, known)] += lines(path)
        files[folder_of(name, known)] += 1
    print(f"{sum(size.values())} lines, {len(known)} files")
    print(f"\n{'folder':36} lines files  imports")
    level = floors(folders)
    for name in sorted(folders, key=lambda n: (level[n], n)):
        below = ", ".join(sorted(folders[name])) or "-"
        print(f"{name:36} {size[name]:5} {files[name]:5}  {below}")
    for what, found in (("modules", circles(graph)), ("folders", circles(folders))):
        print(f"\ncircles of {what}: {len(found)}")
        for circle in found:
            print("  " + ", ".join(circle))
    if args.root == ROOT:
        way = canvas_way()
        print(f"\na canvas in one step of APS is handed to functions of {len(way)} files:")
        print("  " + " -> ".join(way))


if __name__ == "__main__":
    main()
