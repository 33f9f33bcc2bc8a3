"""Prompts, columns, seeds, starts: by position whatever holds them; errors say what came."""

from __future__ import annotations

import datetime
import sqlite3
import string
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_text_model

from aps_text import APSPipeline
from aps_text.pipelines.inputs import as_columns, as_seeds, as_starts
from aps_text.text.containers import in_order
from aps_text.text.prompts import as_prompts

pd = pytest.importorskip("pandas")
datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?"]
SMALL = {"steps": 3, "max_new_tokens": 6}


def shuffled_series(values):
    """A Series whose index runs against its positions."""
    return pd.Series(values, index=range(len(values), 0, -1), dtype=object)


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "generator": lambda values: (value for value in values),
    "dict values": lambda values: dict(enumerate(values)).values(),
    "Series": shuffled_series,
    "Series by label": lambda values: pd.Series(values, index=list(map(str, values)), dtype=object),
    "array": lambda values: np.array(values, dtype=object),
    "Column": lambda values: datasets.Dataset.from_dict({"x": values})["x"],
    "Arrow": lambda values: pa.chunked_array([pa.array(values)]),
    "Categorical": lambda values: pd.Series(pd.Categorical(values)),
}


def asked(prompts, completions, wanted, **columns):
    """1 where a row's column is its own prompt's."""
    return [float(w == p) for w, p in zip(wanted, prompts, strict=True)]


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


@pytest.mark.parametrize("kind", CONTAINERS)
@given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=5), min_size=1, max_size=6))
def test_any_container_is_read_by_position(kind, values):
    held = CONTAINERS[kind]
    assert in_order("x", held(values)) == values
    assert as_columns({"x": held(values)}, len(values)) == {"x": values}
    assert as_prompts(held(values)) == values
    assert as_starts({"prefix": held(values)}, len(values)) == {"prefix": values}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_any_unit_are_dates(unit):
    days = [datetime.datetime(2026, 11, day) for day in (28, 29)]
    assert in_order("x", np.array(days, dtype=f"M8[{unit}]")) == days
    assert in_order("x", pd.Series(days).to_numpy()) == days
    times = [datetime.timedelta(seconds=day) for day in (28, 29)]
    assert in_order("x", np.array(times, dtype=f"m8[{unit}]")) == times


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_tensor_without_a_list_is_named():
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    with pytest.raises(TypeError, match="x: a Tensor gives no list of its values"):
        in_order("x", nested)


def test_the_keys_of_a_dictionary_have_an_order():
    asked = dict.fromkeys(reversed(QUESTIONS))
    assert as_prompts(asked.keys()) == QUESTIONS[::-1]
    for unordered in (set(QUESTIONS), frozenset(QUESTIONS), asked.items()):
        with pytest.raises(TypeError, match="must be a list with one value per prompt"):
            in_order("prompts", unordered)


FRAME = pd.DataFrame({"id": ["a", "b"], "question": QUESTIONS[:2], "answer": ["yes", "no"]})


def database_row():
    base = sqlite3.connect(":memory:")
    base.row_factory = sqlite3.Row
    return base.execute("select 'a' as id, 'why ?' as question, 'yes' as answer").fetchone()


@pytest.mark.parametrize(
    "row",
    [
        *(FRAME.iloc[0], FRAME.set_index("id", drop=False).loc["a"], FRAME.to_dict("records")[0]),
        *(next(FRAME.itertuples()), next(FRAME.itertuples(index=False)), database_row()),
    ],
    ids=lambda row: type(row).__name__,
)
def test_one_row_of_a_table_is_not_several_prompts(row):
    with pytest.raises(TypeError, match=r"id.*question.*; pass the (one|value).* that holds the"):
        as_prompts(row)


def test_the_column_that_is_named_for_prompts_holds_the_question():
    with pytest.raises(TypeError, match=r"e\.g\. table\['question'\]"):
        as_prompts(FRAME)
    with pytest.raises(TypeError, match=r"e\.g\. its 'question'"):
        as_prompts(FRAME.iloc[1])


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6))
def test_seeds_are_whole_numbers_of_any_make(seeds):
    for held in (list, tuple, iter, np.array, torch.tensor, pd.Series):
        assert as_seeds(held(seeds), 0, len(seeds)) == seeds


@pytest.mark.parametrize("kind", CONTAINERS)
def test_columns_reach_their_own_prompts(pipe, kind):
    held = CONTAINERS[kind]
    out = pipe.generate(held(QUESTIONS), reward=asked, columns={"wanted": held(QUESTIONS)}, **SMALL)
    assert out.prompts == QUESTIONS
    assert out.rewards["asked"] == [1.0] * 3


RECORD = [("wanted", "O"), ("n", "i8")]


def test_a_filtered_frame_a_dataset_an_arrow_table_and_rows_are_columns(pipe):
    frame = pd.DataFrame({"wanted": ["x", *QUESTIONS[::-1]], "n": range(4)}).iloc[1:][::-1]
    rows = frame.to_dict("records")
    tables = {
        "DataFrame": frame,
        "Dataset": datasets.Dataset.from_pandas(frame, preserve_index=False),
        "Table": pa.Table.from_pandas(frame, preserve_index=False),
        "rows": rows,
        "iterator": iter(rows),
        "iterrows": frame.iterrows(),
        "Series": [row for _, row in frame.iterrows()],
        "itertuples": list(frame.itertuples()),
        "records": frame.to_records(index=False),
        "structured": np.array(list(zip(frame.wanted, frame.n, strict=True)), dtype=RECORD),
        "dict": {"wanted": frame.wanted, "n": frame.n.to_numpy()},
    }
    for name, columns in tables.items():
        out = pipe.generate(frame.wanted, reward=asked, columns=columns, **SMALL)
        assert out.prompts == QUESTIONS, name
        assert out.rewards["asked"] == [1.0] * 3, name
    for odd in (frame.n, frame.wanted, np.arange(3), [("a", 1)] * 3, list(map(list, rows))):
        with pytest.raises(TypeError, match=r"one row \(a mapping\) per prompt; got"):
            pipe.generate(frame.wanted, reward=asked, columns=odd, **SMALL)


def test_starts_come_as_texts_arrays_and_numbers(pipe):
    prefixes = ["a dog", "a cat", "no"]
    want = pipe.generate(QUESTIONS, start={"prefix": prefixes}, **SMALL).text
    assert all(t.lower().startswith(p) for t, p in zip(want, prefixes, strict=True))
    for held in (np.array(prefixes), pd.Series(prefixes, index=[2, 1, 0]), tuple(prefixes)):
        assert pipe.generate(QUESTIONS, start={"prefix": held}, **SMALL).text == want
    draft = {"init_text": "a big dog", "init_strength": 0.5}
    want = pipe.generate(QUESTIONS, start=draft, **SMALL).text
    for half in (Decimal("0.5"), np.float32(0.5), [0.5] * 3, np.full(3, 0.5)):
        assert (
            pipe.generate(QUESTIONS, start={**draft, "init_strength": half}, **SMALL).text == want
        )


def test_one_message_is_one_chat(pipe):
    want = pipe.generate(QUESTIONS[0], **SMALL).text
    message = {"role": "user", "content": QUESTIONS[0]}
    parts = {"role": "user", "content": [{"type": "text", "text": QUESTIONS[0]}]}
    for prompt in (message, [message], (message,), [[message]], parts, [parts]):
        assert pipe.generate(prompt, **SMALL).text == want
    mixed = pipe.generate([QUESTIONS[1], message, [message]], **SMALL)
    assert mixed.text[1:] == want * 2


def test_prompts_are_the_callers_no_longer(pipe):
    chat = [{"role": "user", "content": "why ?"}]
    read = as_prompts([chat])
    read[0].append({"role": "assistant", "content": "because"})
    read[0][0]["content"] = "who ?"
    assert chat == [{"role": "user", "content": "why ?"}]
    enumerated = as_prompts(np.array(["why ?"]))
    assert type(enumerated[0]) is str


FRAME = pd.DataFrame({"question": QUESTIONS, "gold": QUESTIONS})


def raising():
    yield "why ?"
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("prompts", "error", "message"),
    [
        (None, TypeError, "prompts are texts or chats.*got None"),
        (5, TypeError, "got int 5"),
        (b"why ?", TypeError, r"got bytes b'why \?'; decode it"),
        (Path("why.txt"), TypeError, "read the file"),
        ({"question": "why ?"}, TypeError, "dict with the keys 'question'; pass the value of"),
        ([{"question": "why ?"}], TypeError, "prompt 0 .*with the keys 'question'"),
        ({"role": "user"}, TypeError, "with the keys 'role'"),
        (FRAME, TypeError, r"DataFrame with the columns question, gold.*table\['question'\]"),
        (datasets.Dataset.from_pandas(FRAME), TypeError, "Dataset with the columns question, gold"),
        (pa.Table.from_pandas(FRAME), TypeError, "Table with the columns question, gold"),
        ([None], TypeError, "prompt 0 is no text or chat.*got None"),
        (["why ?", float("nan")], TypeError, "prompt 1 is no text or chat.*got float nan"),
        ([1, 2], TypeError, "prompt 0 .*got int 1"),
        ([b"why ?"], TypeError, "prompt 0 .*decode it"),
        ([Path("a")], TypeError, "prompt 0 .*read the file"),
        ([["a", "b"]], TypeError, "prompt 0 is a list, so a chat, but holds str 'a'"),
        ([[{"role": "user"}]], TypeError, "message 0 of prompt 0 needs a 'role' and a 'content'"),
        ([[{"role": "user", "content": 5}]], TypeError, "message 0 of prompt 0.*got int 5"),
        (
            [[{"role": "user", "content": [{"type": "image"}]}]],
            TypeError,
            "the content of message 0 of prompt 0 is a text",
        ),
        ([[]], ValueError, "prompt 0 is empty: a chat without messages"),
        ([], ValueError, "no prompts were given"),
        ({"a", "b"}, TypeError, "got set"),
        (raising(), ValueError, "reading prompts raised KeyError after 1 of them: 'gone'"),
        (["why ?", "a \ud800 b"], ValueError, "prompt 1 has half of a surrogate.*character 2"),
        (["why ?", " \n"], ValueError, "prompt 1 is empty"),
    ],
)  # fmt: skip
def test_what_is_no_prompt_is_named(pipe, prompts, error, message):
    with pytest.raises(error, match=message):
        pipe.generate(prompts, **SMALL)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"columns": {"x": "abc"}}, TypeError, "column 'x' must be a list.*got str 'abc'"),
        ({"columns": {"x": {0: "a"}}}, TypeError, "column 'x' must be a list.*got dict"),
        ({"columns": {"x": {"a", "b", "c"}}}, TypeError, "column 'x' must be a list.*got set"),
        ({"columns": {"x": None}}, TypeError, "column 'x' must be a list.*got None"),
        ({"columns": {"x": 5}}, TypeError, "column 'x' must be a list.*got int 5"),
        ({"columns": {"x": ["a"]}}, ValueError, "column 'x' has 1 values for 3 prompts"),
        ({"columns": {"x": iter("abcdef")}}, ValueError, "column 'x' has at least 4 values for 3"),
        ({"columns": {1: ["a"] * 3}}, TypeError, "a column's name is text, got int 1"),
        ({"columns": "x"}, TypeError, "columns is a mapping.*got str 'x'"),
        ({"columns": [1, 2, 3]}, TypeError, "columns is a mapping.*int 1 at 0"),
        ({"columns": [{"x": 1}] * 2}, ValueError, "columns has 2 rows for 3 prompts"),
        ({"columns": [{"x": 1}, {"y": 1}, {"x": 1}]}, ValueError, "row 1 of columns has the keys"),
        ({"seeds": 5}, TypeError, "one for all is seed=5|for all prompts: seed=5"),
        ({"seeds": "123"}, TypeError, "seeds must be a list.*got str '123'"),
        ({"seeds": [1, 2]}, ValueError, "seeds has 2 values for 3 prompts"),
        ({"seeds": [1, 2.0, 3]}, TypeError, "seed 1 is a whole number, got float 2.0"),
        ({"seeds": [1, 2, True]}, TypeError, "seed 2 is a whole number, got bool True"),
        ({"seeds": [1, None, 3]}, TypeError, "seed 1 is a whole number, got None"),
        ({"seeds": ["1", "2", "3"]}, TypeError, "seed 0 is a whole number, got str '1'"),
        ({"seeds": [1, -2, 3]}, ValueError, "seed 1 must be >= 0.*got -2"),
        ({"seeds": [1, 2, 2**63]}, ValueError, "seed 2 must be"),
        ({"seeds": {0: 1}}, TypeError, "seeds must be a list.*got dict"),
        ({"start": "a dog"}, TypeError, "start is a mapping with keys of prefix"),
        ({"start": {"suffx": "a"}}, TypeError, "unknown start 'suffx'"),
        ({"start": {"prefix": 5}}, TypeError, "start 'prefix' is text.*got int 5"),
        ({"start": {"prefix": ["a", "b"]}}, ValueError, "start 'prefix' has 2 values for 3"),
        ({"start": {"prefix": ["a", "b", 5]}}, TypeError, "start 'prefix' is text.*got int 5"),
        ({"start": {"init_text": "a", "init_strength": "x"}}, TypeError, "got str 'x'"),
        ({"start": {"init_text": "a", "init_strength": True}}, TypeError, "got bool True"),
        ({"start": {"init_text": "a", "init_strength": 0}}, ValueError, "start of prompt 0: "),
        ({"start": {"init_strength": 0.5}}, ValueError, "'init_strength' and no 'init_text'"),
        ({"start": {"prefix": "a \ud800"}}, ValueError, "start 'prefix' has half of a surrogate"),
        ({"start": {"template": "[MASK:99999999]"}}, ValueError, "99999999 open positions"),
        ({"max_new_tokens": 10**8}, ValueError, "max_new_tokens must be .* got 100000000"),
        ({"config": {"steps": 3}}, TypeError, "config is an APSConfig, got dict .*'steps'"),
        ({"config": "fast"}, TypeError, "config is an APSConfig, got str 'fast'"),
    ],
)  # fmt: skip
def test_what_a_call_cannot_use_is_named(pipe, given, error, message):
    options = {} if "config" in given else {**SMALL, **given}
    with pytest.raises(error, match=message):
        pipe.generate(QUESTIONS, **{**options, **given})


@pytest.mark.parametrize("size", ["8", None, True, 2.0, [8]])
def test_a_batch_size_is_a_whole_number(pipe, size):
    with pytest.raises(TypeError, match="batch_size is a whole number, got "):
        APSPipeline(pipe.model, batch_size=size)
    assert APSPipeline(pipe.model, batch_size=np.int64(2)).batch_size == 2


BAD = ["a \ud800 b", " ", "dog " * 60, None, 5]


def test_a_prompt_that_cannot_be_asked_is_its_own_failure(pipe):
    prompts = [QUESTIONS[0], *BAD, *QUESTIONS[1:]]
    places = [0, len(BAD) + 1, len(BAD) + 2]
    columns, seeds = {"wanted": prompts}, list(range(len(prompts)))
    out = pipe.generate(
        prompts, reward=asked, columns=columns, seeds=seeds, on_error="keep",
        temperature=1.0, **SMALL,
    )  # fmt: skip
    assert out.index == places
    assert out.rewards["asked"] == [1.0] * 3
    assert [failure.index for failure in out.failures] == [1, 2, 3, 4, 5]
    assert all(f"prompt {f.index}" in f.error and f.reward == "" for f in out.failures)
    alone = pipe.generate(QUESTIONS, seeds=places, temperature=1.0, **SMALL)
    assert out.text == alone.text
    alone = pipe.generate("a \ud800 b", on_error="keep", **SMALL)
    assert (len(alone), len(alone.failures)) == (0, 1)
    with pytest.raises(TypeError, match="prompt 0 is no text or chat"):
        pipe.generate([None], on_error="keep", **SMALL)


@given(st.data())
def test_whatever_is_passed_is_answered_or_refused_by_type_or_value(data):
    """No input of these kinds ends in an error of another kind, or in answers to other prompts."""
    texts, data_ = st.text(max_size=4), st.binary(max_size=3)
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, data_)
    message = st.fixed_dictionaries({"role": leaf, "content": leaf})

    def nested(inner):
        return st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)

    try:
        read = as_prompts(data.draw(st.recursive(leaf | message, nested)))
    except (TypeError, ValueError):
        return
    for prompt in read:
        said = [prompt] if isinstance(prompt, str) else [m["content"] for m in prompt]
        assert said
        assert all(type(text) is str and text.strip() for text in said)
