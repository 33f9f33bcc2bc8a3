"""Files are written whole or not at all."""

import pytest
from aps_eval.files import write_whole


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    for text in ("one", "two"):
        write_whole(tmp_path / "a.csv", text)
        assert (tmp_path / "a.csv").read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OSError, match=r"a\.csv"):
        write_whole(tmp_path / "a.csv", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
