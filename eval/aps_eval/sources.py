"""Reading of records from bundled files, a user's files or hub datasets.

    bundled: word_knowledge.jsonl          in eval/aps_eval/data
    path: gsm8k/test.jsonl                 as given, else below --data or $APS_TEXT_DATA
    hub: openai/gsm8k, config, split       by `datasets`, downloaded once

A path ends in .json or .jsonl (a list, an object with the list under `records`, or one object per
line), .csv or .tsv (separated by commas, semicolons, tabs or bars, found from the header) or
.parquet, the text formats also with .gz appended; or it is a folder written by
`Dataset.save_to_disk` (`split` names one of several). Text is UTF-8, or UTF-16 with a byte order
mark.

A record that cannot be read becomes a `Record` with a `problem`; the others are not affected.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from aps_rewards.paths import typed_path

__all__ = ["DATA_VARIABLE", "Record", "find_file", "is_data", "read_records"]

DATA_VARIABLE = "APS_TEXT_DATA"
KINDS = ("bundled", "path", "hub")
KEYS: dict[str, set[str]] = {
    "bundled": set(),
    "path": {"records", "split"},
    "hub": {"config", "split", "revision"},
}
TEXTS = (".json", ".jsonl", ".jsonlines", ".ndjson", ".csv", ".tsv")
MOST = 2**30
"""Maximal size of a text file in bytes, unpacked."""
PACKED = {
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save the sheet as .csv"),
    b"BZh": ("packed by bzip2", "unpack it: bunzip2"),
    b"\xfd7zXZ": ("packed by xz", "unpack it: unxz"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "unpack it: unzstd"),
    b"PAR1": ("a parquet file", "name it .parquet"),
}
"""First bytes of files that are no text: their kind, and what to do."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Record:
    """A record of a source.

    Attributes:
        where: its place, for messages: `asked.jsonl line 3`.
        values: field -> value, as in the file.
        problem: why it could not be read; empty if it could.
    """

    where: str
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_records(source: Mapping[str, Any], data: str | Path | None = None) -> list[Record]:
    """The records of a source.

    Args:
        source: one of `bundled`, `path`, `hub`, with the options above.
        data: folder for relative paths; None is $APS_TEXT_DATA.

    Raises:
        ValueError: an unknown source or suffix, a file of another format or encoding, no record
            that can be read.
        FileNotFoundError: no such file; the message says where it was looked for.
    """
    kinds = [kind for kind in KINDS if kind in source]
    if len(kinds) != 1:
        raise ValueError(f"a source has one of {', '.join(KINDS)}; got {sorted(source) or 'none'}")
    kind = kinds[0]
    if unknown := set(source) - {kind} - KEYS[kind]:
        raise ValueError(f"a {kind} source has no {sorted(unknown)[0]!r}; known: {KEYS[kind]}")
    name = str(source[kind])
    if kind == "hub":
        found = from_hub(name, source)
    elif kind == "bundled":
        if name not in bundled_names():
            raise ValueError(f"bundled: no {name!r}; there are {', '.join(bundled_names())}")
        found = from_file(Path(str(files("aps_eval") / "data" / name)))
    else:
        found = from_file(find_file(name, data), source.get("records"), source.get("split"))
    if not found:
        raise ValueError(f"{name} has no records")
    if all(one.problem for one in found):
        raise ValueError(
            f"{name} has no record that can be read; {found[0].where} {found[0].problem}"
        )
    return found


def bundled_names() -> list[str]:
    """Names of the data files in the package."""
    folder = files("aps_eval") / "data"
    return sorted(one.name for one in folder.iterdir() if one.name.endswith(TEXTS))


def is_data(name: str) -> bool:
    """Whether a name is that of a data file, by its suffix, or of a folder of a saved dataset."""
    path = Path(name.lower().removesuffix(".gz"))
    return path.suffix in (*TEXTS, ".parquet") or typed_path(name).is_dir()


def find_file(name: str, data: str | Path | None = None) -> Path:
    """The path of an existing file: as given, or below `data`, or below $APS_TEXT_DATA.

    Raises:
        FileNotFoundError: none of them exists.
    """
    folder = data or os.environ.get(DATA_VARIABLE)
    tried = [
        typed_path(name),
        *([typed_path(folder) / name] if folder else []),
    ]
    for path in tried:
        if path.exists():
            return path
    where = " and ".join(str(path) for path in tried)
    raise FileNotFoundError(
        f"no file {where}"
        + ("" if folder else f"; name its folder by --data or the variable {DATA_VARIABLE}")
    )


def from_file(path: Path, records: str | None = None, split: str | None = None) -> list[Record]:
    """The records of a file, whose format is given by its suffix."""
    if path.is_dir():
        return from_saved(path, split)
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending == ".parquet":
        return _numbered(from_parquet(path), path.name)
    if ending not in TEXTS:
        raise ValueError(
            f"{path} is none of {', '.join(TEXTS)}, .parquet (.gz may follow a text's)"
        )
    text = read_text(path)
    if ending in (".csv", ".tsv"):
        return list(from_csv(text, path.name))
    return from_json(text, records, path)


def read_text(path: Path) -> str:
    """A text file, unpacked.

    Raises:
        ValueError: not UTF-8 (the message has the byte and a conversion), too large, a broken .gz.
    """
    if path.name.lower().endswith(".gz"):
        try:
            with gzip.open(path) as file:
                data = file.read(MOST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is no whole .gz file: {error}") from None
    else:
        with path.open("rb") as plain:
            data = plain.read(MOST + 1)
    if len(data) > MOST:
        raise ValueError(
            f"{path} has more than {MOST:,} bytes of text; cut it, or make it .parquet"
        )
    if data[:2] == b"\x1f\x8b":
        raise ValueError(f"{path} is packed by gzip; name it {path.name}.gz")
    for begin, (kind, mend) in PACKED.items():
        if data.startswith(begin):
            raise ValueError(f"{path} is no text but {kind}; {mend}")
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") or (
        b"\0" in data[:400] and data[:2] not in (b"\xff\xfe", b"\xfe\xff")
    ):
        wide = (
            "utf-32" if b"\0\0" in data[:400] else "utf-16be" if data[:1] == b"\0" else "utf-16le"
        )
        raise ValueError(
            f"{path} holds zero bytes, as {wide} does; if it is that, convert it: iconv -f {wide} "
            f"-t utf-8 {path.name} > new-{path.name}"
        )
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # Bytes 0x80 to 0x9f are quotes and dashes in Windows' code page, and nothing in latin-1.
        windows = any(0x80 <= byte <= 0x9F for byte in data)
        old = ("Windows-1252", "cp1252") if windows else ("latin-1", "latin1")
        raise ValueError(
            f"{path} is not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'}: byte "
            f"0x{data[error.start]:02x} at place {error.start} (line {line}). If it is {old[0]}, "
            f"convert it: iconv -f {old[1]} -t utf-8 {path.name} > new-{path.name}"
        ) from None


def from_json(text: str, records: str | None, path: Path) -> list[Record]:
    """Records from JSON text: a list, an object with a list under `records`, or one per line."""
    whole: Any = None
    problem = ""
    if records is not None or text.lstrip()[:1] in ("[", "{"):
        whole, problem = _json(text)
    if problem and (records is not None or "\n" not in text.strip()):
        raise ValueError(f"{path} is not JSON: {problem}")
    if records is not None:
        if not isinstance(whole, dict) or records not in whole:
            raise ValueError(f"{path} has no list under {records!r}")
        whole = whole[records]
    lines = path.name.lower().removesuffix(".gz").endswith(("l", ".ndjson", ".jsonlines"))
    if isinstance(whole, list):
        return [_object(one, f"{path.name} record {n}") for n, one in enumerate(whole, 1)]
    if (isinstance(whole, dict) and not lines) or records is not None:
        keys = f" (its keys: {', '.join(whole)})" if isinstance(whole, dict) else ""
        raise ValueError(
            f"{path} is no list of records{keys}; name the list by `records` in a task file's "
            "source"
        )
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            value, problem = _json(line)
            where = f"{path.name} line {number}"
            found.append(
                Record(where, problem=f"is not JSON: {problem}")
                if problem
                else _object(value, where)
            )
    return found


def from_csv(text: str, name: str) -> Iterator[Record]:
    """Records from CSV text, one per row, with the header's names.

    Raises:
        ValueError: no header, or one that names a field twice.
    """
    before = csv.field_size_limit(sys.maxsize)
    try:
        delimiter = _delimiter(text)
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=delimiter,
            strict=True,
            skipinitialspace=f"{delimiter} " in _header(text),
        )
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                until = f" (up to line {reader.line_num})" if reader.line_num > line else ""
                yield Record(f"{name} line {line}", problem=f"is no CSV{until}: {error}")
                continue
            if not row:
                continue
            if header is None:
                header = [one.strip() for one in row]
                if header == ["sep=", ""]:
                    header = None  # a separator line written by spreadsheets
                    continue
                while len(header) > 1 and not header[-1]:  # columns without a name at the end
                    header.pop()
                if twice := [one for one in header if header.count(one) > 1]:
                    raise ValueError(f"{name}: the header names {twice[0]!r} twice")
                continue
            problem = ""
            while len(row) > len(header) and not row[-1]:
                row.pop()
            if len(row) != len(header):
                problem = (
                    f"has {len(row)} fields, the header {len(header)} (parted by "
                    f"{DELIMITERS[delimiter]})"
                )
            yield Record(f"{name} line {line}", dict(zip(header, row, strict=False)), problem)
    finally:
        csv.field_size_limit(before)


def from_parquet(path: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file; needs pyarrow, which `datasets` installs."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ImportError(f"{path.name} needs pyarrow: pip install 'aps-text[eval]'") from error
    try:
        return list(parquet.read_table(path).to_pylist())
    except ArrowException as error:
        raise ValueError(f"{path} is no parquet file that can be read: {error}") from None


def from_saved(path: Path, split: str | None) -> list[Record]:
    """Records of a folder written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    if not any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise ValueError(
            f"the folder {path} holds no saved dataset; name a file in it, or a folder that "
            "`Dataset.save_to_disk` wrote"
        )
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise ImportError(f"{path} needs datasets: pip install 'aps-text[eval]'") from error
    try:
        found = load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:  # files are missing or damaged
        raise ValueError(
            f"{path} cannot be read as `Dataset.save_to_disk` writes it "
            f"({type(error).__name__}: {error}); save it again"
        ) from error
    if isinstance(found, DatasetDict):
        if split is None and len(found) > 1:
            raise ValueError(f"{path} has the splits {', '.join(found)}; name one by `split`")
        split = split or next(iter(found))
        if split not in found:
            raise ValueError(f"{path} has no split {split!r}; it has {', '.join(found)}")
        found = found[split]
    return _numbered([dict(row) for row in found], path.name)


def from_hub(name: str, source: Mapping[str, Any]) -> list[Record]:
    """Records of a hub dataset, or of a folder of data files laid out like one.

    Raises:
        ValueError: a name without an owner: `datasets` reads such names as file formats of the
            working folder's files (in older versions `pandas` unpickles them).
        ImportError: `datasets` is not installed.
    """
    if not Path(name).is_absolute() and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise ValueError(f"hub: {name!r} is no dataset; write OWNER/NAME, or `path: FILE`")
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
    return _numbered([dict(row) for row in found], name)


def _numbered(rows: list[dict[str, Any]], name: str) -> list[Record]:
    return [Record(f"{name} record {n}", row) for n, row in enumerate(rows, 1)]


def _object(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        return Record(where, problem=f"is no object with fields, but {value!r:.60}")
    return Record(where, value)


def _json(text: str) -> tuple[Any, str]:
    """The value of JSON text and ""; or None and why it is invalid."""
    try:
        return json.loads(text, object_pairs_hook=_once), ""
    except json.JSONDecodeError as error:
        return None, str(error)
    except (ValueError, RecursionError) as error:  # thousands of digits, or nested too deeply
        return None, f"{error}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields; a name that occurs twice is refused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return found


def _delimiter(text: str) -> str:
    """The header's delimiter: the one that occurs most outside of quotes."""
    return max(DELIMITERS, key=_header(text).count)


def _header(text: str) -> str:
    """The first line that is not empty, without what is in quotes."""
    head = next((line for line in text.splitlines() if line.strip()), "")
    return "".join(head.split('"')[::2])
