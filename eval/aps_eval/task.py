"""`Task`: a declarative file that turns records into prompts and lists the measures of answers.

    about: grade-school word problems (MIT)
    source: {path: gsm8k/test.jsonl}
    capture: {answer: '#### (?P<number>.+)'}       # named groups become fields
    prompt: "{question}"
    gold: number
    columns: {reference: number}                   # what rewards are given, from fields
    extract: number
    metrics: [numeric, empty]

The bundled tasks are `eval/aps_eval/tasks/*.yaml`; a path to another task file, a data file with a
field mapping, or `hub:NAME` are accepted, too.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from aps_rewards.paths import typed_path

from .extraction import check_extraction
from .fields import FieldError, as_column, as_messages, as_text, as_texts
from .gold import readable_gold
from .items import Item
from .measures import check_item, check_measures
from .sources import Record, is_data, read_records
from .trust import check_file
from .yaml_files import read_yaml

__all__ = ["Task", "load_task", "task_names"]

YAML = (".yaml", ".yml")
MEASURED = ("words", "empty")
"""Metrics of every task that names none."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _is_text_map(value: Any) -> bool:
    return _is_map(value) and all(_is_text(one) and one != "" for one in value.values())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_TAKES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("prompt", "about"), (_is_text, "a text")),
    **dict.fromkeys(("source", "where", "config"), (_is_map, "a mapping, {name: value}")),
    "tune": (lambda v: v is None or _is_map(v), "a mapping like `source`"),
    "tune_every": (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
        "a whole number from 0 on",
    ),
    **dict.fromkeys(("capture", "split", "columns"), (_is_text_map, "a mapping, {field: text}")),
    **dict.fromkeys(
        ("gold", "id", "stratum"), (lambda v: v is None or _is_text(v), "the name of a field")
    ),
    "choices": (
        lambda v: v is None or _is_text(v) or _is_texts(v),
        "the name of a field, or a list of texts",
    ),
    "extract": (
        lambda v: _is_text(v) or _is_text_map(v),
        "the name of a rule, or {pattern: REGEX}",
    ),
    "metrics": (_is_texts, "a list of names"),
    "rewards": (
        lambda v: _is_map(v) and all(isinstance(one, list) for one in v.values()),
        "a mapping of lists, {guide: [NAME, ...]}",
    ),
}
"""For each field of a task file, a check of its value and the description of valid ones."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task; see the module.

    Attributes:
        name: of the task, by default that of its file.
        prompt: template with `{field}`s.
        source: see `aps_eval.sources`.
        about: a description.
        tune: source of the tuning items; None uses every `tune_every`-th record of `source`.
        tune_every: 0 keeps every record for the test.
        where: field -> value that a record must have; true is no 1, and in CSV, where all is text,
            numbers and true are meant by their text.
        capture: field -> regular expression, whose named groups become fields.
        split: field -> separator, which splits its text into a list.
        gold, id, stratum: names of fields; `gold` may hold a list.
        choices: a field with a list, or the list itself.
        columns: reward column -> field.
        extract: how the answer is found in the text (`aps_eval.extraction`).
        metrics: names in `aps_eval.measures`; None is `words` and `empty`, with gold answers also
            `exact` and `f1` (and `accuracy`, if something is extracted).
        config: `APSConfig` keywords of this task, e.g. `max_new_tokens`.
        rewards: by role; used if the grid names none.
    """

    name: str
    prompt: str
    source: dict[str, Any]
    about: str = ""
    tune: dict[str, Any] | None = None
    tune_every: int = 5
    where: dict[str, Any] = field(default_factory=dict)
    capture: dict[str, str] = field(default_factory=dict)
    split: dict[str, str] = field(default_factory=dict)
    gold: str | None = None
    id: str | None = None
    stratum: str | None = None
    choices: str | list[str] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    extract: str | dict[str, str] = "text"
    metrics: list[str] = None  # type: ignore[assignment]  # a list once it is made
    config: dict[str, Any] = field(default_factory=dict)
    rewards: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `ValueError` naming the task, the value and the mend."""
        for name, (fits, takes) in _TAKES.items():
            value = getattr(self, name)
            if not (fits(value) or (name == "metrics" and value is None)):
                raise ValueError(f"task {self.name!r}: {name} is {takes}; got {value!r}")
        if self.metrics is None:
            object.__setattr__(self, "metrics", self._usual())
        try:
            check_extraction(self.extract)
            check_measures(self.metrics)
            _check_template(self.prompt)
            for pattern in self.capture.values():
                re.compile(pattern)
        except (ValueError, re.error) as error:
            raise ValueError(f"task {self.name!r}: {error}") from None

    @property
    def usual_metrics(self) -> bool:
        """Whether the metrics are the default ones."""
        return self.metrics == self._usual()

    def _usual(self) -> list[str]:
        gold = ["exact", "f1"] if self.gold else []
        return [*gold, *(["accuracy"] if gold and self.extract != "text" else []), *MEASURED]

    def measured(self) -> dict[str, Any]:
        """The fields that, with the item, determine an answer's measures."""
        return {"name": self.name, "extract": self.extract, "metrics": self.metrics}

    def items(
        self,
        split: str = "test",
        limit: int | None = None,
        data: str | Path | None = None,
        *,
        offset: int = 0,
    ) -> list[Item]:
        """Items to report (`test`) or to choose settings on (`tune`); the two are disjoint.

        An invalid record becomes an item with a `problem`.

        Args:
            limit: number of items, evenly spaced in the split; None is all.
            data: see `read_records`.
            offset: shifts the items that a limit chooses by this many places, for another sample.

        Raises:
            ValueError: a split without items, no valid record (a field that none has), an id that
                occurs twice, an offset that repeats items of the choice without it.
        """
        if split not in ("test", "tune"):
            raise ValueError(f"split is 'test' or 'tune', got {split!r}")
        source = self.tune if split == "tune" and self.tune is not None else self.source
        records = list(enumerate(read_records(source, data)))
        if self.tune is None and self.tune_every:
            late = self.tune_every - 1
            tuning = split == "tune"
            records = [(i, r) for i, r in records if (i % self.tune_every == late) == tuning]
        elif self.tune is None and split == "tune":
            raise ValueError(
                f"task {self.name!r} has no tuning items: give it `tune` or `tune_every`"
            )
        wanted = self.where.items()
        records = [
            (i, r)
            for i, r in records
            if r.problem or all(_is_wanted(r.values.get(key), value) for key, value in wanted)
        ]
        if limit is not None:
            n = min(limit, len(records))
            free = len(records) // max(n, 1)
            if not 0 <= offset < max(free, 1):
                raise ValueError(
                    f"offset={offset}: {n} of {len(records)} {split} items are {free} apart; give "
                    f"an offset from 0 to {free - 1}, or a smaller limit"
                )
            records = [records[i * len(records) // n + offset] for i in range(n)]
        elif offset:
            raise ValueError(f"offset={offset} needs a limit: all items are taken without one")
        found = [self.item(record, number) for number, record in records]
        if not found:
            raise ValueError(f"task {self.name!r} has no {split} items")
        if all(item.problem for item in found):
            raise ValueError(f"task {self.name!r}: no record can be used; {found[0].problem}")
        ids = Counter(item.id for item in found if not item.problem)
        if twice := [name for name, count in ids.items() if count > 1]:
            raise ValueError(f"task {self.name!r}: the id {min(twice)!r} occurs twice")
        return found

    def item(self, record: Record, number: int) -> Item:
        """The item of a record; for an invalid record, an item with a `problem`."""
        try:
            if record.problem:
                raise FieldError(record.problem)
            return self._item(record.values, number)
        except FieldError as error:
            # An id of its own, which no valid item has.
            return Item(id=record.where, prompt="", problem=f"{record.where}: {error}")

    def _item(self, record: Mapping[str, Any], number: int) -> Item:
        values = dict(record)
        for name, pattern in self.capture.items():
            match = re.search(pattern, as_text(_field(values, name), name), flags=re.S)
            if match is None:
                raise FieldError(f"{pattern!r} is not in the field {name!r}")
            values |= match.groupdict()
        for name, separator in self.split.items():
            parts = as_text(_field(values, name), name).split(separator)
            values[name] = [part.strip() for part in parts]
        choices = self.choices or []
        if isinstance(choices, str):
            choices = as_texts(_field(values, choices), choices)
        item = Item(
            id=as_text(_field(values, self.id), self.id) if self.id else str(number),
            prompt=self._prompt(values),
            gold=as_texts(_field(values, self.gold), self.gold) if self.gold else [],
            stratum=as_text(_field(values, self.stratum), self.stratum) if self.stratum else "",
            choices=choices,
            columns={key: as_column(_field(values, n), n) for key, n in self.columns.items()},
        )
        try:
            check_item(self.metrics, item)
            item = dataclasses.replace(item, gold=readable_gold(self.extract, self.metrics, item))
        except (ValueError, TypeError) as error:
            raise FieldError(str(error)) from error
        return item

    def _prompt(self, values: Mapping[str, Any]) -> str | list[dict[str, str]]:
        """The filled template; if a field holds chat messages, it is applied to the last one."""
        wanted = [name for _, name, _, _ in string.Formatter().parse(self.prompt) if name]
        found = {name: as_messages(_field(values, name), name) for name in dict.fromkeys(wanted)}
        chats = {name: chat for name, chat in found.items() if chat}
        if len(chats) > 1:
            raise FieldError(f"the prompt has several chats: {', '.join(chats)}")
        texts = {
            name: chats[name][-1]["content"]
            if name in chats
            else ", ".join(as_texts(_field(values, name), name))
            for name in wanted
        }
        text = "".join(
            fixed + (texts[name] if name else "")
            for fixed, name, _, _ in string.Formatter().parse(self.prompt)
        )
        for chat in chats.values():
            if len(chat) == 1 and chat[0]["role"] == "user":
                break  # the message to which the template is applied
            return [*chat[:-1], {**chat[-1], "content": text}]
        return text


def _check_template(prompt: str) -> None:
    """Raise `ValueError` unless it is text with plain `{field}`s: no attributes or formats."""
    if not isinstance(prompt, str):
        raise ValueError(f"prompt is a text with {{field}}s, got {prompt!r:.60}")
    parts = list(string.Formatter().parse(prompt))
    for _, name, form, conversion in parts:
        if name is not None and (not name.strip() or form or conversion):
            raise ValueError(
                f"prompt: {{{name}{'!' if conversion else ''}{conversion or ''}"
                f"{':' if form else ''}{form:.40}}} is no {{field}}; write a brace itself twice"
            )
    if all(name is None for _, name, _, _ in parts):
        raise ValueError(
            f"prompt: {prompt!r:.60} has no {{field}}, so every question would be the same; name a "
            'field of the records in it: "{question}"'
        )


def _is_wanted(value: Any, wanted: Any) -> bool:
    """Whether a record's value is the one of `where`."""
    if isinstance(value, str) and isinstance(wanted, bool | int | float):
        return value.strip().lower() == as_text(wanted, "where")
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _field(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise FieldError(f"has no field {name!r}; it has: {', '.join(map(str, values))}")
    return values[name]


def task_names() -> list[str]:
    """Names of the bundled tasks."""
    folder = files("aps_eval") / "tasks"
    return sorted(one.name[:-5] for one in folder.iterdir() if one.name.endswith(".yaml"))


def load_task(spec: str, *, trust_code: bool = False, **fields: Any) -> Task:
    """A task by name, from a task file (.yaml), a data file or `hub:NAME[:CONFIG[:SPLIT]]`.

    Args:
        trust_code: allow a task file to name rewards that run code (see `aps_eval.trust`).
        fields: `Task` fields to set; a hub dataset needs `prompt`, and so does a data file whose
            first record has not one field named `prompt` or `question`.

    Raises:
        ValueError: no such task, an unknown or missing field, a file that would run code.
    """
    path = typed_path(spec)
    if spec.startswith("hub:"):
        name, _, rest = spec[4:].partition(":")
        config, _, split = rest.partition(":")
        source = {"hub": name, "config": config or None, "split": split or "test"}
        values: dict[str, Any] = {"name": name.rpartition("/")[2], "source": source}
    elif is_data(spec) and spec not in task_names():
        name = path.name.removesuffix(".gz")
        values = {"name": Path(name).stem, "source": {"path": spec}}
    else:
        values = _read(path if path.suffix in YAML else Path(str(files("aps_eval"))), spec)
        if not trust_code:
            check_file(values, spec)
    values |= {key: value for key, value in fields.items() if value is not None}
    known = {f.name for f in dataclasses.fields(Task)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"task {spec!r} has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    if "source" not in values:
        raise ValueError(f"task {spec!r} lacks 'source'")
    if "prompt" not in values:
        values["prompt"] = _usual_prompt(spec, values["source"])
    return Task(**values)


QUESTIONS = ("prompt", "question")
"""Names of the field to ask by, where nobody names it."""


def _usual_prompt(spec: str, source: Mapping[str, Any]) -> str:
    """`{prompt}` or `{question}`, whichever the first record of a data file has.

    Raises:
        ValueError: it has both or neither, or the source is no data file.
    """
    found: list[str] = []
    if "path" in source:
        records = read_records(dict(source))
        found = next((list(one.values) for one in records if not one.problem), [])
    usual = [name for name in QUESTIONS if name in found]
    if len(usual) == 1:
        return f"{{{usual[0]}}}"
    has = f" (it has {', '.join(found)})" if found else ""
    raise ValueError(
        f"task {spec!r} does not say which field to ask; name it by --question-field{has}"
    )


def _read(place: Path, spec: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a task file, merged over those of the file it `extends`."""
    path = place if place.suffix in YAML else place / "tasks" / f"{spec}.yaml"
    if not path.is_file():
        raise ValueError(
            f"no task {spec!r}; known: {', '.join(task_names())}, a .yaml, .json, .jsonl, .csv, "
            ".tsv or .parquet file, a folder of `save_to_disk`, or hub:NAME"
        )
    values = read_yaml(path)
    base = values.pop("extends", None)
    if base is not None:
        if base in (path.stem, *above) or not re.fullmatch(r"[\w.-]+", str(base)):
            raise ValueError(f"{path} extends {base!r}; name another task file beside it")
        values = {**_read(path.with_name(f"{base}.yaml"), base, (*above, path.stem)), **values}
    return {**values, "name": path.stem}
