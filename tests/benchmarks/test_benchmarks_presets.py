"""`benchmarks/presets.py` prints a ratio for each preset, reward and number of answers."""

import sys

import presets


def test_a_row_for_one_answer_and_one_for_a_batch(monkeypatch, capsys):
    options = ["--repeats", "1", "--questions", "2", "--rewards", "length", "--presets", "fast"]
    monkeypatch.setattr(sys, "argv", ["presets.py", *options])
    presets.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows[0] == ["reward", "answers", "plain,", "s", "fast"]
    assert [row[:2] for row in rows[1:]] == [["length", "1"], ["length", "2"]]
    assert all(float(value) > 0 for row in rows[1:] for value in row[2:])
