"""YAML files of grids and tasks; `1e-3` and `3.0e9` are numbers, as YAML 1.2 has it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["read_yaml"]


def read_yaml(path: str | Path, what: str = "fields") -> dict[str, Any]:
    """The mapping in a file.

    Raises:
        ValueError: the file is no YAML, or no mapping of `what`.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Takes a float without a dot or a sign for one."""

    number = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no mapping of {what}")
    return values
