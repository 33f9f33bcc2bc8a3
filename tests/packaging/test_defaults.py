"""Public defaults and constants are those on record: a changed one is a change for users.

python tests/packaging/test_defaults.py        # writes the record again, after a change on purpose
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RECORD = ROOT / "tests" / "reference" / "defaults.json"
PLAIN = (int, float, str, tuple, frozenset)
PACKAGES = ("aps_text", "aps_rewards", "aps_eval")
LONG = 300
"""A text that is longer is a page or a style sheet and no default."""


def plain(value):
    """Whether a constant is put on record."""
    return isinstance(value, PLAIN) and not (isinstance(value, str) and len(value) > LONG)


def modules():
    """Every module of ours whose requirements are installed, by name."""
    for package in map(importlib.import_module, PACKAGES):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.rpartition(".")[2] == "__main__":
                continue
            try:
                yield importlib.import_module(found.name)
            except ImportError:
                continue


def shown(value):
    """A default as text without addresses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        inner = ", ".join(f"{f.name}={shown(getattr(value, f.name))}" for f in fields)
        return f"{type(value).__name__}({inner})"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(repr, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def defaults_of(function):
    """Default by parameter; None where there is no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: shown(p.default) for p in parameters if p.default is not p.empty}


def all_defaults():
    """{module.name or module.Class.method: {parameter: default}}; constants by ""."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            if name.isupper() and not name.startswith("_") and plain(value):
                found[f"{module.__name__}.{name}"] = {"": shown(value)}
                continue
            own = getattr(value, "__module__", None) == module.__name__
            if name.startswith("_") or not own or not callable(value):
                continue
            members = {name: value}
            if isinstance(value, type):
                members |= {
                    f"{name}.{inner}": getattr(value, inner)
                    for inner in vars(value)
                    if not inner.startswith("_") and callable(getattr(value, inner))
                }
                for inner, constant in vars(value).items():
                    if not inner.startswith("_") and plain(constant):
                        found.setdefault(f"{module.__name__}.{name}", {})[inner] = shown(constant)
            for label, each in members.items():
                if defaults := defaults_of(each):
                    found.setdefault(f"{module.__name__}.{label}", {}).update(defaults)
    return found


def test_defaults_are_those_on_record():
    found, record = all_defaults(), json.loads(RECORD.read_text(encoding="utf-8"))
    known = tuple(f"{module.__name__}." for module in modules())
    changed = {
        name: (record.get(name), found.get(name))
        for name in record.keys() | found.keys()
        if record.get(name) != found.get(name) and name.startswith(known)
    }
    assert not changed, f"on record, and now; after a change on purpose: python {__file__}"


if __name__ == "__main__":
    RECORD.write_text(json.dumps(all_defaults(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
