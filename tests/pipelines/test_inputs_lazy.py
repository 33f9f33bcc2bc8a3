"""Prompts and columns whose values are not there yet: taken once, in order, or refused by name."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset, IterableDataset

from aps_text.pipelines.inputs import as_columns, as_seeds
from aps_text.text.containers import in_order
from aps_text.text.prompts import as_prompts

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.dataset")

ROWS = [{"question": "why ?", "n": 1}, {"question": "who ?", "n": 2}]
COLUMNS = {"question": ["why ?", "who ?"], "n": [1, 2]}


class LazyFrame:
    """As polars': names and types are known at a cost, the values by `collect`."""

    @property
    def columns(self):
        raise AssertionError("a schema was resolved")

    dtypes = columns

    def collect(self):
        return ROWS


class Bag:
    """As dask's: iterable, and computed anew by each iteration."""

    def __iter__(self):
        raise AssertionError("a graph was computed")

    def compute(self):
        return ROWS


class DataArray:
    """As xarray's: `compute` is there whether dask holds the values, in `chunks`, or memory."""

    def __init__(self, values, chunks=None):
        self.values, self._chunks = np.array(values), chunks

    @property
    def chunks(self):
        return self._chunks

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter([DataArray(value) for value in self.values])

    def compute(self):
        return DataArray(self.values)

    def to_numpy(self):
        return self.values


class MapStyle(Dataset):
    """By number alone, and never at an end."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, at):
        return ROWS[at % 2]


class Streamed(IterableDataset):
    def __iter__(self):
        return iter(ROWS)


def stream():
    return datasets.Dataset.from_list(ROWS).to_iterable_dataset()


TABLE = pa.table(COLUMNS)
REFUSED = {
    "polars": (LazyFrame, r"LazyFrame .* pass \.collect\(\)"),
    "dask": (Bag, r"Bag .* pass \.compute\(\)"),
    "xarray": (lambda: DataArray([1, 2], chunks=((1, 1),)), r"DataArray .* pass \.compute\(\)"),
    "Arrow dataset": (lambda: pa.dataset.dataset(TABLE), r"InMemoryDataset .* \.to_table\(\)"),
    "Arrow reader": (TABLE.to_reader, r"RecordBatchReader .* pass \.read_all\(\)"),
    "torch": (MapStyle, r"MapStyle is not iterable; pass \[data\[i\] for i in range"),
    "loader": (lambda: DataLoader(MapStyle(), batch_size=2), "DataLoader holds batches of rows"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_values_that_are_not_there_are_refused_with_the_mend(kind):
    made, mend = REFUSED[kind]
    for name, read in {
        "prompts": as_prompts,
        "columns": lambda value: as_columns(value, 2),
        "column 'x'": lambda value: as_columns({"x": value}, 2),
        "seeds": lambda value: as_seeds(value, 0, 2),
    }.items():
        with pytest.raises(TypeError, match=f"^{name}: a {mend}"):
            read(made())


TAKEN = {
    "known names": stream,
    "unknown names": lambda: datasets.IterableDataset.from_generator(lambda: iter(ROWS)),
    "mapped": lambda: stream().map(lambda row: row),
    "torch": Streamed,
    "loader of rows": lambda: DataLoader(MapStyle(), batch_size=None),
    "generator": lambda: (row for row in ROWS),
    "map": lambda: map(dict, ROWS),
    "zip": lambda: (dict(question=q, n=n) for q, n in zip(*COLUMNS.values(), strict=True)),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_rows_that_are_streamed_are_columns(kind):
    assert as_columns(TAKEN[kind](), 2) == COLUMNS


def test_a_stream_is_read_once_and_to_its_need():
    read = []

    def rows():
        for n in itertools.count():
            read.append(n)
            yield {"n": n}

    streamed = datasets.IterableDataset.from_generator(
        rows, datasets.Features(n=datasets.Value("int64"))
    )
    with pytest.raises(ValueError, match="columns has at least 3 rows for 2 prompts"):
        as_columns(streamed, 2)
    assert read[:3] == [0, 1, 2]
    assert len(read) < 5


def test_a_stream_is_no_list_of_prompts():
    with pytest.raises(TypeError, match=r"IterableDataset with columns; pass one .*'question'"):
        as_prompts(TAKEN["unknown names"]())
    assert as_prompts(stream()["question"]) == COLUMNS["question"]
    with pytest.raises(TypeError, match="prompt 0 is a tuple"):
        as_prompts(zip(*COLUMNS.values(), strict=True))
    with pytest.raises(TypeError, match=r"one row \(a mapping\) per prompt; got zip with tuple"):
        as_columns(zip(*COLUMNS.values(), strict=True), 2)


def test_rows_that_raise_are_named():
    def rows():
        yield {"n": 1}
        raise KeyError("gone")

    with pytest.raises(ValueError, match="reading columns raised KeyError after 1 of them"):
        as_columns(rows(), 2)


def test_a_list_that_can_compute_is_a_list():
    class Ready(list):
        def compute(self):
            raise AssertionError

    assert as_prompts(Ready(["why ?"])) == ["why ?"]
    assert as_columns(type("Table", (dict,), {"collect": len})(COLUMNS), 2) == COLUMNS


def test_arrays_in_memory_are_taken_whatever_they_can_compute():
    lazy = DataArray(COLUMNS["question"], chunks=((1, 1),))
    assert as_prompts(lazy.compute()) == COLUMNS["question"]
    assert as_columns({name: DataArray(COLUMNS[name]) for name in COLUMNS}, 2) == COLUMNS
    assert as_seeds(DataArray([3, 4]), 0, 2) == [3, 4]
    with pytest.raises(TypeError, match=r"a mapping of names to lists, .* got DataArray"):
        as_columns(DataArray([1, 2]), 2)
    with pytest.raises(TypeError, match="a list with one value per prompt, got DataArray"):
        as_prompts(DataArray("why ?"))


def test_groups_of_a_frame_are_no_prompts():
    pd = pytest.importorskip("pandas")
    groups = pd.DataFrame(ROWS).groupby("question")
    with pytest.raises(TypeError, match="holds groups of values"):
        as_prompts(groups)
    with pytest.raises(TypeError, match="holds groups of values"):
        as_columns(groups, 2)
    assert in_order("x", iter(groups))[0][0] == "who ?"


@pytest.mark.parametrize("grouped", ["groupby", "rolling"])
def test_groups_of_values_are_no_column(grouped):
    series = pytest.importorskip("pandas").Series([1.0, 2.0, 3.0])
    groups = series.groupby([0, 1, 0]) if grouped == "groupby" else series.rolling(2)
    with pytest.raises(TypeError, match=r"holds groups of values; pass the column itself"):
        in_order("columns['x']", groups)
    assert in_order("columns['x']", series) == [1.0, 2.0, 3.0]
