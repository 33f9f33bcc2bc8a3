"""Safe reading of YAML files of grids and tasks; no code in them is run.

Scalars are read as in YAML 1.2: `1e-3` and `010` are numbers (of ten), and `yes`, `no`, `on`,
`off`, `1:30` and `2026-11-28` texts. A duplicate key is an error. The size, the depth and the
number of values with aliases expanded are bounded, since a file may come from anyone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["read_yaml"]

MOST_BYTES = 2**20
MOST_NODES = 100_000
"""Maximal number of values in a file, with aliases expanded."""


def read_yaml(path: str | Path, what: str = "fields") -> dict[str, Any]:
    """The mapping in a file.

    Args:
        what: of the mapping's entries, for errors.

    Raises:
        ValueError: the file is not YAML, too large, or not a mapping.
    """
    import yaml

    path = Path(path)
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES:,} bytes: no file of {what}")
    try:
        loader = _loader()(data.decode("utf-8-sig"))
        node = loader.get_single_node()
        if node is not None and _unfolded(node, {}) > MOST_NODES:
            raise ValueError(f"{path} unfolds to more than {MOST_NODES:,} values; use no aliases")
        values = loader.construct_document(node) if node is not None else None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at place {error.start}"
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deep") from None
    except TypeError as error:  # a key that is a list
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no mapping of {what}")
    return values


def _loader() -> Any:
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Without the resolvers of YAML 1.1."""

        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
            first: [
                (tag, pattern) for tag, pattern in known if tag in (_TAG + "null", _TAG + "merge")
            ]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    def whole(loader: Any, node: Any) -> int:
        text = loader.construct_scalar(node).replace("_", "")
        return int(text, 0 if text[:2] in ("0x", "0o") else 10)

    Loader.add_constructor(_TAG + "int", whole)
    for kind, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(_TAG + kind, re.compile(rf"(?:{pattern})$"), list(first))
    return Loader


_TAG = "tag:yaml.org,2002:"
_SCALARS = (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?\d[\d_]*|0x[\da-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\d[\d_]*\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d[\d_]*[eE][-+]?\d+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
"""Scalars that are no text: kind, pattern, and the characters that they begin with."""


def _unfolded(node: Any, known: dict[int, float]) -> float:
    """The number of values of a node with aliases expanded; infinite if it contains itself."""
    import yaml

    if id(node) in known:
        return known[id(node)]
    known[id(node)] = float("inf")  # found again before it is counted, it contains itself
    parts: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1 and key != "<<"]:
            raise yaml.YAMLError(f"the key {twice[0]!r} occurs twice{node.start_mark}")
        parts = [one for pair in node.value for one in pair]
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    known[id(node)] = 1 + sum(_unfolded(one, known) for one in parts)
    return known[id(node)]
