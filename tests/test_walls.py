"""The walls of docs/design.md, read off the imports: no circles, and layers only downwards.

Every import counts: at the top, inside a function, and for types only. The import of a package's
name (`from .lora import LoraAdapter`) counts as one of the module that is named.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

PACKAGES = {
    "aps_text": ROOT / "aps_text",
    "aps_rewards": ROOT / "rewards" / "aps_rewards",
    "aps_eval": ROOT / "eval" / "aps_eval",
    "recipes": ROOT / "recipes",
}
# A layer may import itself and what stands below it.
LAYERS = [
    ["aps_text.core", "aps_rewards"],
    ["aps_text.methods", "aps_text.models", "aps_text.text", "aps_text.images"],
    ["aps_text.pipelines"],
    ["aps_text.planning", "aps_text.verification", "aps_eval"],
    ["aps_text.commands"],
    ["aps_text.cli"],
    ["recipes"],
]
# Within a layer, who may see whom.
BESIDE = {("aps_text.models", "aps_text.text"), ("aps_eval", "aps_text.planning")}
# Holes that stood when the walls were drawn. Who closes one deletes it here; nothing may be added.
HOLES = {
    "circle: aps_eval.measures, aps_eval.task",
    "circle: aps_text.core.adapters, aps_text.core.candidates, aps_text.core.completions, "
    "aps_text.core.config, aps_text.core.cost, aps_text.core.idle, aps_text.core.sampler, "
    "aps_text.core.state, aps_text.core.transition, aps_text.methods.pool",
    "circle: aps_text.models.causal, aps_text.models.masked_lm, aps_text.models.text_model",
    "circle: aps_text.planning.call, aps_text.planning.steps",
    "circle: recipes.word_knowledge.strata, recipes.word_knowledge.wordnet_qa",
    "folders: aps_text.core, aps_text.methods",
    "folders: aps_text.models, aps_text.text",
    "up: aps_text.core.sampler imports aps_text.methods.pool",
    "up: aps_text.text.decoding imports aps_text.models.text_model",
    "up: aps_text.text.drafts imports aps_text.models.text_model",
    "up: aps_text.text.reward_operator.guidance imports aps_text.models.text_model",
}
# An entry point may call what stands above it.
ENTRIES = {"aps_eval.__main__"}


def modules() -> dict[str, Path]:
    found = {}
    for name, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [name, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names this module imports, and the line."""
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
                yield (inner if inner in MODULES else source), node.lineno


IMPORTS = {name: list(imported(name, path)) for name, path in MODULES.items()}
OURS = {
    name: {target for target, _ in found if target in MODULES and target != name}
    for name, found in IMPORTS.items()
}


def layer_of(name: str) -> tuple[int, str] | None:
    for level, group in enumerate(LAYERS):
        for prefix in group:
            if name == prefix or name.startswith(prefix + "."):
                return level, prefix
    return None


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


def test_the_walls_hold():
    """No circle of modules or of folders, and layers only downwards; but for known holes."""
    found = {"circle: " + ", ".join(circle) for circle in circles(OURS)}
    for name, targets in OURS.items():
        for target in () if name in ENTRIES else targets:
            if climbs(name, target):
                found.add(f"up: {name} imports {target}")
    folders: dict[str, set[str]] = {}
    for name, targets in OURS.items():
        here = folders.setdefault(folder_of(name), set())
        if name not in ENTRIES:
            here.update(folder_of(target) for target in targets)
    for here, targets in folders.items():
        targets.discard(here)
    found |= {"folders: " + ", ".join(circle) for circle in circles(folders)}
    # A hole that shrank is still a hole: of a known circle any part may be left.
    new = {hole for hole in found if not any(within(hole, known) for known in HOLES)}
    assert new == set()
    assert {known for known in HOLES if not any(within(hole, known) for hole in found)} == set()


def within(hole: str, known: str) -> bool:
    kind, _, members = hole.partition(": ")
    other, _, allowed = known.partition(": ")
    return kind == other and set(members.split(", ")) <= set(allowed.split(", "))


def climbs(name: str, target: str) -> bool:
    mine, theirs = layer_of(name), layer_of(target)
    if mine is None or theirs is None:
        return False
    (level, here), (below, there) = mine, theirs
    return here != there and (below > level or (below == level and (here, there) not in BESIDE))


def folder_of(name: str) -> str:
    """A module's folder; what lies at the top of the library (the names users import, the command)
    are rooms of their own."""
    path = MODULES[name]
    inside = path.name != "__init__.py" and name.count(".") > 1
    return name.rpartition(".")[0] if inside or name.startswith("aps_eval.") else name


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("aps_text.core")])
def test_the_core_knows_torch_and_itself(name):
    import sys

    for target, line in IMPORTS[name]:
        top = target.split(".")[0]
        allowed = top == "torch" or top in sys.stdlib_module_names
        allowed = allowed or f"up: {name} imports {target}" in HOLES
        assert allowed or target.startswith("aps_text.core"), f"{name}:{line} imports {target}"


def test_rewards_never_import_the_sampler():
    for name, found in IMPORTS.items():
        if name.startswith("aps_rewards"):
            assert not [t for t, _ in found if t.startswith("aps_text")], name


def test_a_circle_and_a_climb_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []
    assert climbs("aps_text.core.made_up", "aps_text.methods.aps")
    assert climbs("aps_text.text.made_up", "aps_text.models.dream")
    assert not climbs("aps_text.methods.made_up", "aps_text.core.step")
    assert not climbs("aps_text.models.made_up", "aps_text.text.prompts")
