"""What a terminal is shown: control characters of foreign text are escapes, markup is text."""

from __future__ import annotations

import io
import json
import math
import sys

import pytest
from rich.table import Table
from rich.text import Text

from aps_text.cli import main
from aps_text.commands.waiting import waiting
from aps_text.text.text_console import TextConsole
from aps_text.text.visible import json_text, on_terminal, visible

HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\x9b31mc\u202ed\u2066e\r"
SHOWN = r"a\x1b[2J\x1b]0;owned\x07b\x9b31mc\u202ed\u2066e\x0d"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_control_characters_are_escapes_and_text_stays():
    assert visible(HOSTILE) == SHOWN
    assert visible("\ud800") == r"\ud800"
    plain = "Zürich\n\t猫 שלום مرحبا 🙂 e\u0301 \u200d"
    assert visible(plain) == plain
    assert on_terminal(HOSTILE, Terminal()) == SHOWN
    assert on_terminal(HOSTILE, io.StringIO()) == HOSTILE  # a file gets the text as it is


def test_json_has_no_control_characters_and_is_read_back():
    values = {
        "text": HOSTILE + "\ud800 Zürich 🙂\x7f",
        "numbers": [math.inf, -math.inf, math.nan, 1],
    }
    text = json_text(values)
    assert visible(text) == text
    assert "\n" not in json_text({"a": "b\nc"})
    assert "Zürich 🙂" in text
    assert json.loads(text) == {**values, "numbers": [None, None, None, 1]}


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_prints_its_own_colours_only(terminal, monkeypatch):
    file = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    console = TextConsole(file=file, force_terminal=terminal, width=200, highlight=False)
    table = Table("head")
    table.add_row(Text(HOSTILE, style="red"))
    console.print(table)
    console.print(HOSTILE, markup=False, soft_wrap=True)
    written = file.getvalue()
    seen = visible(HOSTILE.replace("\x07", "").rstrip())  # rich itself leaves these out
    assert (seen in written) == terminal
    assert ("\x1b]0;owned" in written) != terminal
    assert ("\x1b[31m" in written) == terminal  # rich's red


@pytest.mark.parametrize("what", ["loading [/INST]", "pattern:regex=[/a]", "[red]x"])
def test_what_is_waited_for_is_no_markup(what, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with waiting(what):
        pass
    assert what in sys.stderr.getvalue()


def test_an_error_shows_the_characters_of_a_hostile_name(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["rewards", "try", f"no-such{HOSTILE}", "q", "a"]) == 2
    assert "\x1b]0;" not in sys.stderr.getvalue()
    assert r"no-such" in sys.stderr.getvalue()
