"""`aps ask --html` and `--show`, and the completion of shells."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from html import unescape

import pytest
from rich.console import Console
from rich.style import Style
from tiny import tiny_text_model, write_tiny

from aps_text import APSPipeline
from aps_text.cli import main
from aps_text.commands.canvas import Canvas, tint
from aps_text.commands.completion import SHELLS
from aps_text.commands.setting_words import WORDS
from aps_text.core.config import SETTINGS

SMALL = ["--steps", "3", "--max-new-tokens", "6", "--inner-steps", "1", "--reward", "length"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model"))


def data(path):
    html = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', html)[1])


def test_a_page_holds_the_plain_and_the_steered_answer(folder, tmp_path, capsys):
    path = tmp_path / "answer.html"
    assert main(["ask", "who?", "--model", folder, *SMALL, "--json", "--html", str(path)]) == 0
    shown = capsys.readouterr()
    found = data(path)
    assert [side["title"] for side in found] == ["plain", "aps"]
    answer = json.loads(shown.out)  # the notice is on stderr
    assert found[1]["rewards"] == pytest.approx(answer["rewards"])
    assert f"wrote {path}" in shown.err


def test_the_code_of_a_page_names_the_rewards_as_they_were_given(folder, tmp_path):
    path, named = tmp_path / "answer.html", "keywords:present=cat"
    flags = ["--reward", "sentiment=0.5", named, "--html", str(path)]
    assert main(["ask", "who?", "--model", folder, *SMALL, *flags]) == 0
    code = unescape(path.read_text(encoding="utf-8"))
    assert code.count("{'length': 1.0, 'sentiment': 0.5, 'keywords:present=cat': 1.0}") == 2
    assert "Your own, not in this file" not in code


def test_several_answers_are_numbered_pages(folder, tmp_path):
    path = str(tmp_path / "a.html")
    plain = ["--method", "plain", "--steps", "3", "--max-new-tokens", "6", "--reward", "length"]
    assert main(["ask", "who?", "why?", "--model", folder, *plain, "--html", path]) == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a-1.html", "a-2.html"]
    assert [side["title"] for side in data(tmp_path / "a-2.html")] == ["plain"]


def test_a_page_has_the_warnings_of_its_own_answer(folder, tmp_path, capsys):
    (tmp_path / "half.py").write_text(
        "def half(prompts, completions, **columns):\n"
        "    pairs = zip(prompts, completions)\n"
        "    return [0.5 if p == 'who?' else len(set(text)) / 40 for p, text in pairs]\n"
    )
    flags = [*SMALL[:-1], f"{tmp_path}/half.py:half", "--html", str(tmp_path / "a.html")]
    flags += ["--steps", "6"]
    assert main(["ask", "who?", "why?", "--model", folder, *flags]) == 0
    assert "'half' never varied on 1 of 2 answers" in capsys.readouterr().out
    who, why = (unescape((tmp_path / f"a-{n}.html").read_text("utf-8")) for n in (1, 2))
    assert who.count("warning: reward 'half' never varied on the answer") == 1
    assert "varied" not in why
    assert not re.search("warning: [^<]* of 2 answers", who + why)
    bare = [*SMALL[:-2], "--reward", "length=0", "--html", str(tmp_path / "b.html")]
    assert main(["ask", "who?", "why?", "--model", folder, *bare]) == 0
    for number in (1, 2):
        page = (tmp_path / f"b-{number}.html").read_text("utf-8")
        assert page.count("every guiding reward has weight 0") == 1


def test_a_folder_that_is_not_there_is_named_before_anything_runs(folder, tmp_path, capsys):
    path = str(tmp_path / "no" / "a.html")
    assert main(["ask", "who?", "--model", folder, *SMALL, "--html", path]) == 2
    shown = capsys.readouterr()
    assert "there is no such folder" in shown.err
    assert shown.out == ""
    assert main(["ask", "who?", "--model", folder, *SMALL, "--html", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert f"--html {tmp_path} is a folder; name a file in it" in shown.err
    assert "answering" not in shown.err


def drawn(**how):
    """What `Canvas` writes for a run of four steps."""
    for cached in (Style.parse, Style._add):  # a style keeps the codes of its first terminal
        cached.cache_clear()
    pipe, screen = APSPipeline(tiny_text_model()), io.StringIO()
    canvas = Canvas(pipe)
    canvas.console = Console(file=screen, width=100, **how)
    pipe.generate("why ?", on_step=canvas.step, steps=4, max_new_tokens=8)
    canvas.close()
    return screen.getvalue()


def test_anchors_and_the_time_of_commitment_are_coloured_on_a_terminal():
    text = drawn(force_terminal=True, color_system="truecolor")
    assert "\x1b[1;30;42m" in text  # bold black on green
    first = ";".join(re.findall(r"\d+", tint(0.0)))
    assert f"\x1b[38;2;{first}m" in text
    assert tint(0.0) != tint(1.0)


def test_a_pipe_and_no_colour_get_no_colours(monkeypatch):
    assert "\x1b" not in drawn()
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(force_terminal=True, color_system="truecolor")
    assert not re.search(r"\x1b\[[\d;]*(?:3[0-8]|4[0-8])[;m]", text)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_knows_the_commands(shell, capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    assert end.value.code == 0
    script = capsys.readouterr().out
    assert re.search(r"(?<![\w-])ask(?![\w-])", script)
    assert re.search(r"(?<![\w-])html(?![\w-])" if shell == "tcsh" else r"--html(?![\w-])", script)
    if shell != "tcsh" and shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_a_command_and_an_option(capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    script = capsys.readouterr().out
    asked = """
COMP_WORDS=(aps ask --htm); COMP_CWORD=2; COMP_LINE="aps ask --htm"
_shtab_aps_text aps 2>/dev/null || _shtab_aps; printf '%s\\n' "${COMPREPLY[@]}"
"""
    run = subprocess.run(["bash", "-c", script + asked], text=True, capture_output=True)
    assert "--html" in run.stdout.split()


@pytest.mark.parametrize(
    ("command", "flag", "names"),
    [
        ("ask", "--preset", ["fast", "balanced", "paper"]),
        ("restore", "--preset", ["restore", "posterior"]),
        ("ask", "--adapter", list(SETTINGS["adapter"].names)),
    ],
)
def test_bash_completes_the_names_of_a_setting(command, flag, names, capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    script = capsys.readouterr().out
    asked = f"""
COMP_WORDS=(aps {command} {flag} ""); COMP_CWORD=3; COMP_LINE="aps {command} {flag} "
_shtab_aps_text aps 2>/dev/null || _shtab_aps; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    run = subprocess.run(["bash", "-c", script + asked], text=True, capture_output=True)
    assert sorted(run.stdout.split()) == sorted(names)


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish on this machine")
def test_fish_completes_commands_options_and_files(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["--print-completion", "fish"])
    (tmp_path / "aps.fish").write_text(capsys.readouterr().out)
    (tmp_path / "page.html").touch()

    def offered(typed):
        run = f"source {tmp_path}/aps.fish; complete -C '{typed}'"
        found = subprocess.run(["fish", "-c", run], text=True, capture_output=True, check=True)
        return {line.split("\t")[0] for line in found.stdout.splitlines()}

    assert {"ask", "chat", "demo", "restore", "eval"} <= offered("aps ")
    assert "--html" in offered("aps ask --ht")
    assert f"{tmp_path}/page.html" in offered(f"aps ask --html {tmp_path}/pa")


def test_every_setting_has_its_line_of_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # no word is broken
    assert set(WORDS) == set(SETTINGS)
    with pytest.raises(SystemExit):
        main(["ask", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert [words for words in WORDS.values() if words not in printed or len(words) > 70] == []
