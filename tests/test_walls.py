"""The walls of docs/design.md, read off the imports: no circles, and layers only downwards.

Every import counts: at the top, inside a function, and for types only. The import of a package's
name (`from .lora import LoraAdapter`) counts as one of the module that is named.
"""

from __future__ import annotations

import sys

import pytest
from house import circles, folders_of, graph_of, imported, modules
from paths import ROOT

# A layer may import itself and what stands below it.
LAYERS = [
    ["aps_text.core", "aps_rewards", "aps_text.tensor_files"],
    ["aps_text.methods", "aps_text.models", "aps_text.text", "aps_text.images"],
    ["aps_text.pipelines"],
    ["aps_text.planning", "aps_text.verification", "aps_text.demo", "aps_eval"],
    ["aps_text.commands"],
    ["aps_text.cli"],
    ["recipes"],
]
# Within a layer, who may see whom.
BESIDE = {("aps_text.models", "aps_text.text")}
# Holes that stood when the walls were drawn. Who closes one deletes it here; nothing may be added.
HOLES: set[str] = set()
# An entry point may call what stands above it.
ENTRIES = {"aps_eval.__main__"}


MODULES = modules(ROOT)
OURS = graph_of(MODULES)


def layer_of(name: str) -> tuple[int, str] | None:
    for level, group in enumerate(LAYERS):
        for prefix in group:
            if name == prefix or name.startswith(prefix + "."):
                return level, prefix
    return None


def test_the_walls_hold():
    """No circle of modules or of folders, and layers only downwards; but for known holes."""
    found = {"circle: " + ", ".join(circle) for circle in circles(OURS)}
    for name, targets in OURS.items():
        for target in () if name in ENTRIES else targets:
            if climbs(name, target):
                found.add(f"up: {name} imports {target}")
    folders = folders_of(OURS, MODULES, ENTRIES)
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


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("aps_text.core")])
def test_the_core_knows_torch_and_itself(name):
    for target, line in imported(name, MODULES[name], MODULES):
        top = target.split(".")[0]
        allowed = top == "torch" or top in sys.stdlib_module_names
        allowed = allowed or f"up: {name} imports {target}" in HOLES
        assert allowed or target.startswith("aps_text.core"), f"{name}:{line} imports {target}"


def test_rewards_never_import_the_sampler():
    for name, path in MODULES.items():
        if name.startswith("aps_rewards"):
            found = [target for target, _ in imported(name, path, MODULES)]
            assert not [target for target in found if target.startswith("aps_text")], name


def test_a_circle_and_a_climb_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []
    assert climbs("aps_text.core.made_up", "aps_text.methods.aps")
    assert climbs("aps_text.text.made_up", "aps_text.models.dream")
    assert not climbs("aps_text.methods.made_up", "aps_text.core.step")
    assert not climbs("aps_text.models.made_up", "aps_text.text.prompts")
