"""Where items come from: bundled files, a user's files, hub datasets; always a list of dicts.

    bundled: word_knowledge.jsonl          shipped in eval/aps_eval/data
    path: gsm8k/test.jsonl                 as it is, else below --data or $APS_TEXT_DATA
    hub: openai/gsm8k, config, split       by `datasets`, downloaded once

A path ends in .json (a list, or an object with the list under `records`), .jsonl, .csv or .parquet.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["DATA_VARIABLE", "find_file", "read_records"]

DATA_VARIABLE = "APS_TEXT_DATA"
KINDS = ("bundled", "path", "hub")
KEYS = {"bundled": set(), "path": {"records"}, "hub": {"config", "split", "revision"}}

Record = dict[str, Any]


def read_records(source: Mapping[str, Any], data: str | Path | None = None) -> list[Record]:
    """The records of a source.

    Args:
        source: one of `bundled`, `path`, `hub`, with the options above.
        data: folder that relative paths are looked up in; None is $APS_TEXT_DATA.

    Raises:
        ValueError: an unknown source or ending, a file that is not what it says, no records.
        FileNotFoundError: no such file; says where it was looked for.
    """
    kinds = [kind for kind in KINDS if kind in source]
    if len(kinds) != 1:
        raise ValueError(f"a source has one of {', '.join(KINDS)}; got {sorted(source) or 'none'}")
    kind = kinds[0]
    if unknown := set(source) - {kind} - KEYS[kind]:
        raise ValueError(f"a {kind} source has no {sorted(unknown)[0]!r}; known: {KEYS[kind]}")
    name = str(source[kind])
    if kind == "hub":
        records = from_hub(name, source)
    elif kind == "bundled":
        records = from_file(Path(str(files("aps_eval") / "data" / name)), None)
    else:
        records = from_file(find_file(name, data), source.get("records"))
    if not records:
        raise ValueError(f"{name} has no records")
    return records


def find_file(name: str, data: str | Path | None = None) -> Path:
    """A path as it stands, or below `data`, or below $APS_TEXT_DATA."""
    folder = data or os.environ.get(DATA_VARIABLE)
    tried = [Path(name).expanduser(), *([Path(folder).expanduser() / name] if folder else [])]
    for path in tried:
        if path.is_file():
            return path
    where = " and ".join(str(path) for path in tried)
    raise FileNotFoundError(
        f"no file {where}"
        + ("" if folder else f"; name its folder by --data or the variable {DATA_VARIABLE}")
    )


def from_file(path: Path, records: str | None) -> list[Record]:
    """Read by the name's end."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        return from_parquet(path)
    if ending not in (".json", ".jsonl", ".csv"):
        raise ValueError(f"{path} is none of .json, .jsonl, .csv, .parquet")
    if ending == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    text = path.read_text(encoding="utf-8-sig")
    if ending == ".json":
        return _listed(_json(text, str(path)), records, path)
    lines = enumerate(text.split("\n"), 1)
    return [_object(_json(line, f"{path} line {n}"), path) for n, line in lines if line.strip()]


def from_parquet(path: Path) -> list[Record]:
    """Read by pyarrow, which comes with `datasets`."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"{path.name} needs pyarrow: pip install 'aps-text[eval]'") from error
    return list(parquet.read_table(path).to_pylist())


def from_hub(name: str, source: Mapping[str, Any]) -> list[Record]:
    """A hub dataset by its name."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError(f"{name} needs datasets: pip install 'aps-text[eval]'") from error
    found = load_dataset(
        name,
        source.get("config"),
        split=source.get("split", "test"),
        revision=source.get("revision"),
    )
    return [dict(row) for row in found]


def _listed(value: Any, records: str | None, path: Path) -> list[Record]:
    if records is not None:
        if not isinstance(value, dict) or records not in value:
            raise ValueError(f"{path} has no list under {records!r}")
        value = value[records]
    if not isinstance(value, list):
        keys = f" (its keys: {', '.join(value)})" if isinstance(value, dict) else ""
        raise ValueError(
            f"{path} is no list of records{keys}; name the list by `records` in a task file's "
            "source"
        )
    return [_object(one, path) for one in value]


def _object(value: Any, path: Path) -> Record:
    if not isinstance(value, dict):
        raise ValueError(f"{path}: a record is an object, got {value!r:.80}")
    return value


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
