"""The command `aps`, on a tiny random model in the published layout."""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import subprocess
import sys

import pytest
from tiny import write_tiny

from aps_text.cli import left_by_its_reader, main
from aps_text.commands import waiting as commands_waiting

SMALL = ["--steps", "3", "--max-new-tokens", "6", "--inner-steps", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model"))


def ask(folder, *args):
    return main(["ask", *args, "--model", folder, *SMALL])


def test_prints_both_answers_their_rewards_and_the_cost(folder, capsys):
    assert ask(folder, "what is a violin?", "--reward", "sentiment") == 0
    shown = capsys.readouterr().out
    assert "what is a violin?" in shown
    assert shown.count("    sentiment ") == 2  # a line of each; warnings quote it
    assert "plain: " in shown
    assert "aps: " in shown
    assert "forward" in shown


def test_json_is_an_object_for_one_question_and_a_list_for_several(folder, capsys):
    assert ask(folder, "what is a dog?", "--reward", "sentiment", "--json") == 0
    one = json.loads(capsys.readouterr().out)
    assert {"text", "rewards", "cost", "plain"} <= one.keys()
    assert one["cost"]["reward_forwards"] > one["plain"]["cost"]["reward_forwards"]
    plain = ["--method", "plain", "--inner-steps", "1", "--reward", "sentiment", "--json"]
    assert main(["ask", "why?", "who?", "--model", folder, *SMALL, *plain]) == 0  # 1 is the default
    several = json.loads(capsys.readouterr().out)
    assert [answer["prompt"] for answer in several] == ["why?", "who?"]


def test_settings_without_effect_are_warned_of_once_for_all_answers(folder, capsys, caplog):
    more = ["--reward", "sentiment", "--control", "zero", "--block-length", "1", "--steps", "2"]
    for _ in range(2):  # and again in another call
        caplog.clear()
        flags = ["--model", folder, *SMALL, *more, "--alg", "entropy"]
        assert main(["ask", "who?", *flags]) == 0
        said = [record.getMessage() for record in caplog.records]
        assert sum("alg='entropy': without effect" in one for one in said) == 1
        assert sum("6 blocks of block_length=1 in steps=2" in one for one in said) == 1


def test_show_draws_the_canvas_as_it_fills(folder, capsys):
    assert ask(folder, "who?", "--reward", "sentiment", "--show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("·" in line for line in lines)
    assert sum("plain" in line for line in lines) >= 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["  "], "prompt 0 is empty"),
        (["who?", "--reward", "relevnce"], "relevance"),
        (["who?", "--reward", "sentiment=much"], "much"),
        (["who?", "--reward", "sentiment", "--device", "abacus"], "no device 'abacus' here"),
        (["who?", "--beta", "-1"], "beta must be > 0 and <= 1e+09, got -1"),
        (["who?", "--preset", "slow"], "fast, balanced, paper; got 'slow'"),
        (["who?", "--preset", "posterior"], "for images (RestorationPipeline, `aps restore`, `aps"),
        (["dog " * 70, "--reward", "sentiment"], "shorten the prompt"),
    ],
)
def test_errors_name_the_value_and_the_mend(folder, capsys, args, message):
    assert ask(folder, *args) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("aps: ")
    assert shown.out == ""


def test_an_unknown_model_says_what_was_looked_for(capsys):
    assert main(["ask", "who?", "--model", "no-such-folder", "--reward", "sentiment"]) == 2
    assert "no model at 'no-such-folder'" in capsys.readouterr().err


def test_show_redraws_in_place_on_a_terminal_with_the_reward_of_each_step():
    import io

    from rich.console import Console
    from tiny import tiny_text_model

    from aps_text import APSPipeline
    from aps_text.cli import Canvas

    pipe = APSPipeline(tiny_text_model())
    screen = io.StringIO()
    shown = Canvas(pipe)
    shown.console = Console(file=screen, force_terminal=True, width=100)
    shown.title("aps")

    def vowels(prompts, completions, **columns):
        return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]

    pipe("why?", vowels, on_step=shown.step, steps=4, max_new_tokens=8)
    shown.close()
    drawn = screen.getvalue()
    assert drawn.count("vowels ") >= 3
    assert drawn.count("\x1b[2K") >= 3  # the line is erased and written again
    assert drawn.count("\n") <= 3


def test_the_steps_of_a_long_call_are_lines_on_stderr_where_no_bar_moves(
    folder, capsys, monkeypatch
):
    monkeypatch.setattr(commands_waiting, "BETWEEN", 0.0)
    assert ask(folder, "who?", "--reward", "sentiment", "--json") == 0
    shown = capsys.readouterr()
    json.loads(shown.out)
    for title in ("plain", "aps"):
        lines = [one for one in shown.err.splitlines() if f"answering by {title}, step" in one]
        lines = [one for one in lines if ": comparing " not in one]
        assert lines[0] == f"aps: answering by {title}, step 1 of {len(lines)} ..."
        assert lines[-1] == f"aps: answering by {title}, step {len(lines)} of {len(lines)} ..."


def test_a_step_that_compares_answers_is_lines_on_stderr_too(folder, capsys, monkeypatch):
    monkeypatch.setattr(commands_waiting, "BETWEEN", 0.0)
    pool = ["--guidance-start", "0", "--pool-size", "3", "--pool-rollout", "4"]
    assert ask(folder, "who?", "--reward", "length", "--temperature", "1", "--json", *pool) == 0
    shown = capsys.readouterr()
    json.loads(shown.out)
    said = [one for one in shown.err.splitlines() if "comparing" in one]
    first = "aps: answering by aps, step 1 of "
    assert said[0].startswith(first)
    assert said[0].endswith(": comparing 3 answers ...")
    assert said[1].endswith(": comparing 3 answers, pass 2 of at most 4 ...")
    assert not any("by plain" in one for one in said)


def test_the_canvas_on_a_terminal_says_what_a_step_is_at_and_a_transient_one_goes():
    import io

    from tiny import tiny_text_model

    from aps_text import APSPipeline
    from aps_text.cli import Canvas
    from aps_text.text.text_console import TextConsole

    pipe = APSPipeline(tiny_text_model())
    how = {"guidance_start": 0.0, "pool_size": 3, "pool_rollout": 4, "temperature": 1.0}
    for transient in (False, True):
        screen, shown = io.StringIO(), Canvas(pipe, transient)
        shown.console = TextConsole(file=screen, force_terminal=True, width=100)
        hears = {"on_step": shown.step, "on_pass": shown.passed}
        pipe("why?", "length", **hears, **how, steps=4, max_new_tokens=8)
        shown.close()
        drawn = screen.getvalue()
        assert drawn.index("step 1 of 4: comparing 3 answers") < drawn.index("step  1")
        assert "comparing 3 answers, pass 2 of at most 4" in drawn
        last = drawn[drawn.rindex("step  4") :]
        assert "comparing" not in last
        assert ("\x1b[1A\x1b[2K" in last) == transient


def test_a_verse_has_its_lines_below_each_other_and_no_word_is_broken(monkeypatch, capsys):
    import io

    from rich.text import Text

    from aps_text.text.text_console import TextConsole

    verse = "the king who was so lonely\nhad a friend"
    file = io.StringIO()
    TextConsole(file=file, width=30).hanging("  aps      ", Text(verse))
    assert file.getvalue().splitlines() == [
        "  aps      the king who was so lonely",  # a file has the text's own breaks
        "           had a friend",
    ]
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    TextConsole(file=file, width=31, force_terminal=True).hanging("  aps      ", Text(verse))
    assert [line.rstrip() for line in file.getvalue().splitlines()] == [
        "  aps      the king who was so",
        "           lonely",
        "           had a friend",
    ]


def test_aps_alone_prints_its_help(capsys):
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: aps")
    assert "answer questions, plainly and steered" in shown.err


def test_what_takes_long_is_a_line_on_stderr_where_no_spinner_turns(folder, capsys):
    assert ask(folder, "who?", "--reward", "sentiment", "--json") == 0
    shown = capsys.readouterr()
    json.loads(shown.out)
    said = [line for line in shown.err.splitlines() if ", step " not in line]
    assert said[0] == f"aps: loading {folder} and sentiment ..."
    assert said[-2:] == ["aps: answering by plain ...", "aps: answering by aps ..."]
    assert main(["rewards", "try", "length", "who?", "a dog", "--json"]) == 0
    shown = capsys.readouterr()
    json.loads(shown.out)
    assert shown.err.splitlines() == ["aps: loading length ...", "aps: scoring ..."]


def test_what_a_reward_prints_is_no_part_of_the_json(folder, tmp_path, capsys):
    loud = tmp_path / "loud.py"
    loud.write_text(
        "print('imported')\n"
        "def loud(prompts, completions, **kwargs):\n"
        "    print('called')\n"
        "    return [len(text) / 50 for text in completions]\n"
    )
    for command in (
        ["ask", "who?", "--model", str(folder), "--reward", f"{loud}:loud", "--json"],
        ["rewards", "try", f"{loud}:loud", "who?", "a dog", "--json"],
    ):
        assert main(command) == 0
        shown = capsys.readouterr()
        json.loads(shown.out)
        assert "called" in shown.err
    assert main(["rewards", "try", f"{loud}:loud", "who?", "a dog"]) == 0
    assert "called" in capsys.readouterr().out


def test_what_a_subprocess_of_a_reward_prints_is_no_part_of_the_json(tmp_path):
    (tmp_path / "loud.py").write_text(
        "import os, subprocess, sys\n"
        "def loud(prompts, completions, **kwargs):\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"below\")'])\n"
        "    os.write(1, b'deep\\n')\n"
        "    return [1.0] * len(completions)\n"
    )
    command = [sys.executable, "-m", "aps_text", "rewards", "try", "loud.py:loud", "q", "a"]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for more, clean in ((["--json"], True), ([], False)):
        ran = subprocess.run(
            [*command, *more], capture_output=True, text=True, cwd=tmp_path, env=paths, check=True
        )
        assert ("below" in ran.stderr) is ("deep" in ran.stderr) is clean
        if clean:
            json.loads(ran.stdout)


def test_a_reader_that_has_enough_gets_no_error(monkeypatch, capsys):
    reads, writes = os.pipe()
    os.close(reads)
    with monkeypatch.context() as changed, os.fdopen(writes, "w") as closed:
        changed.setattr(sys, "stdout", closed)
        assert main(["plan", "--model", "dream-7b", "--preset", "fast"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not hasattr(select, "poll"), reason="the system cannot tell")
def test_a_reader_that_is_gone_is_seen_with_nothing_left_to_write(monkeypatch):
    reads, writes = os.pipe()
    with monkeypatch.context() as changed, os.fdopen(writes, "w") as out:
        changed.setattr(sys, "stdout", out)
        assert not left_by_its_reader()
        os.close(reads)
        assert left_by_its_reader()


def test_a_process_that_ends_looks_for_no_garbage(monkeypatch, capsys):
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    main([])
    (at_the_end,) = at_exit
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append("all"))
    monkeypatch.setitem(sys.modules, "triton", object())
    frozen = []
    at_the_end()
    assert frozen == []  # triton would report all that is left as leaked
    monkeypatch.delitem(sys.modules, "triton")
    at_the_end()
    assert frozen == ["all"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["ask", "--reward", "sentiment", "Who is it?", "--select", "length", "--seed", "-1"],
            "no QUESTION is left, --reward takes all words up to the next flag: 'sentiment', "
            "'Who is it?'; put QUESTION before --reward, or -- between them",
        ),
        (["restore", "--truth", "a.png", "b.png"], "no IMAGE is left, --truth takes all words"),
        (
            ["ask", "--reward", "sentiment", "--"],
            "no QUESTION follows --, and --reward took 'sentiment'; write it after --",
        ),
        (["restore", "--truth", "a.png", "--json", "--"], "no IMAGE follows --, and --truth"),
        (["ask", "--reward=sentiment"], "the following arguments are required: QUESTION"),
    ],
)
def test_a_usage_error_names_the_flag_that_took_the_question(capsys, args, message):
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == 2
    assert f" error: {message}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["who?", "--reward", "x"], ["--reward", "x", "--", "who?"]])
def test_the_mends_of_that_error_are_understood(capsys, words):
    assert main(["ask", *words]) == 2
    assert "no reward 'x'" in capsys.readouterr().err


def test_what_steering_did_not_raise_and_what_was_cut_is_said(folder, tmp_path, capsys):
    (tmp_path / "flat.py").write_text(
        "def flat(completions, **kw):\n    return [0.5 for _ in completions]"
    )
    page = tmp_path / "page.html"
    flat = ["--reward", f"{tmp_path}/flat.py:flat", "--eos-penalty", "1000", "--html", str(page)]
    assert ask(folder, "what is a violin?", *flat) == 0
    shown = capsys.readouterr().out
    unraised = (
        "steering did not raise the reward (0.5, plain 0.5); try another seed or a larger pool_"
    )
    full = "the canvas of 6 tokens was full within a sentence: plain, aps; raise max_new_tokens"
    assert f"warning: {unraised}" in shown
    assert f"warning: {full}\n" in shown
    assert f'<p class="soft">warning: {unraised}' in page.read_text(encoding="utf-8")
    assert f'<p class="soft">warning: {full}</p>' in page.read_text(encoding="utf-8")
    assert ask(folder, "what is a violin?", *flat[:4], "--control", "zero", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert full.replace("aps", "aps, zero") in found["warnings"]
    assert [one["cut_off"] for one in (found, found["plain"], found["zero"])] == [True] * 3
    ends = [*flat[:2], "--eos-penalty", "-1000", "--min-new-tokens", "0", "--json"]
    assert ask(folder, "what is a violin?", *ends) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["cut_off"] for one in (found, found["plain"])] == [False] * 2
    assert ask(folder, "what is a violin?", *flat[:4], "--method", "plain", "--json") == 0
    (alone,) = json.loads(capsys.readouterr().out)["warnings"]
    assert alone == full.replace("plain, aps", "plain")
    plain = ["--method", "plain", "--eos-penalty", "-1000", "--reward", "sentiment"]
    assert ask(folder, "what is a violin?", *plain) == 0
    assert "warning" not in capsys.readouterr().out


def test_the_command_of_a_report_can_be_typed_again():
    from aps_text.commands.eval import typed

    wanted = ["aps", "eval", "--limit", "2"]
    assert typed(["/bin/aps", "eval", "--limit", "2"]) == wanted
    assert typed(["/x/aps_text/__main__.py", "eval", "--limit", "2"]) == wanted
    assert typed(["/x/aps_eval/__main__.py", "--limit", "2"]) == wanted
