"""`aps chat`: a loop of questions, its commands, and its turns."""

from __future__ import annotations

import io
import re
import sys

import pytest
from checkpoints import write_causal
from forked import run
from tiny import tiny_text_model, write_tiny

from aps_text import APSPipeline
from aps_text.cli import main
from aps_text.commands.chat import HELP, Chat
from aps_text.models.registry import load

FEW = ["--steps", "3", "--max-new-tokens", "6"]
SETTINGS = {"steps": 3, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model())


def said(chat, capsys, *typed):
    """What each line prints on stdout."""
    found = []
    for line in typed:
        assert chat.take(line)
        found.append(capsys.readouterr().out)
    return found


def test_a_pipe_gets_an_answer_a_line_and_nothing_else_on_stdout(folder, pipe, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("who ?\n\nwhy ?\n/quit\nwhat ?\n"))
    assert main(["chat", "--model", folder, "--reward", "length", *FEW]) == 0
    shown = capsys.readouterr()
    want = [pipe(one, "length", **SETTINGS).text[0] for one in ("who ?", "why ?")]
    assert shown.out == "".join(f"{text}\n" for text in want)
    assert len(re.findall(r"^  length [01]\.", shown.err, re.M)) == 2
    assert len(re.findall(r"^  plain: length [01]\.", shown.err, re.M)) == 2
    assert "\x1b" not in shown.out + shown.err


@pytest.mark.parametrize("end", ["quit", "Exit", "/quit"])
def test_a_chat_ends_at_the_usual_words(pipe, end):
    assert not Chat(pipe, ["none"], None, SETTINGS).take(end)


def test_a_line_that_fails_is_said_and_the_next_is_answered(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("/reward no-such\n/nothing\nwho ?\n"))
    assert main(["chat", "--model", folder, "--reward", "none", *FEW]) == 1
    shown = capsys.readouterr()
    assert "no reward 'no-such'" in shown.err
    assert "no command '/nothing'" in shown.err
    assert len(shown.out.splitlines()) == 1


def test_a_real_process_reads_a_pipe(folder):
    command = ["-m", "aps_text", "chat", "--model", folder, "--reward", "none", *FEW]
    done = run(*command, stdin="who ?\n")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_chat_says_the_warnings_of_aps_ask(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "flat.py").write_text(
        "def flat(completions, **kw):\n    return [0.5] * len(completions)"
    )
    options = ["--reward", f"{tmp_path}/flat.py:flat", "--eos-penalty", "1000", *FEW]
    options += ["--model", folder]

    def warned(stream):
        return [line.strip() for line in stream.splitlines() if "warning: " in line]

    assert main(["ask", "why ?", *options]) == 0
    asked = warned(capsys.readouterr().out)
    assert asked[-2].startswith("warning: steering did not raise the reward (0.5, plain 0.5); try")
    full = "warning: the canvas of 6 tokens was full within a sentence: "
    assert asked[-1] == f"{full}plain, aps; raise max_new_tokens"
    (flat,) = [one for one in asked if "'flat' never varied" in one]
    assert flat.endswith(f'differ: aps rewards try {tmp_path}/flat.py:flat "question" "answer"')

    def chatted(*more):
        monkeypatch.setattr(sys, "stdin", io.StringIO("why ?\n"))
        assert main(["chat", *options, *more]) == 0
        return warned(capsys.readouterr().err)

    assert chatted() == asked
    alone = [*asked[:-2], f"{full}aps; raise max_new_tokens"]
    assert chatted("--no-compare") == alone
    assert chatted("--reward", "none")[-1] == f"{full}plain; raise max_new_tokens"


def test_commands_change_what_steers(pipe, capsys):
    chat = Chat(pipe, ["length"], None, SETTINGS)
    steered, _, plain, _, weighted, _ = said(
        chat, capsys, "who ?", "/reward none", "who ?", "/reward length=-1", "who ?", "/show"
    )
    assert steered == pipe("who ?", "length", **SETTINGS).text[0] + "\n"
    assert plain == pipe.generate("who ?", **SETTINGS).text[0] + "\n"
    assert weighted == pipe("who ?", {"length": -1.0}, **SETTINGS).text[0] + "\n"
    said(chat, capsys, "/preset fast", "/set seed 5", "/set temperature 1.0")
    [fast] = said(chat, capsys, "who ?")
    how = {"preset": "fast", "seed": 5, "temperature": 1.0, **SETTINGS}
    assert fast == pipe("who ?", {"length": -1.0}, **how).text[0] + "\n"
    [shown] = said(chat, capsys, "/show")
    assert "reward length=-1; preset fast" in shown
    assert "seed=5" in shown
    said(chat, capsys, "/set seed none")
    assert "seed" not in said(chat, capsys, "/show")[0]
    assert said(Chat(pipe, ["none"]), capsys, "/show") == ["reward nothing; preset balanced\n"]
    assert said(chat, capsys, "/help")[0].strip() == HELP.strip()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/preset slow", "slow"),
        ("/preset", "no command"),
        ("/set steps 0", "steps"),
        ("/set nosuch 1", "nosuch"),
        ("/set steps", "no command"),
        ("/reward", "no command"),
        ("/quit now", "no command"),
        ('/reward "a', "quotation"),
    ],
)
def test_a_bad_command_changes_nothing(pipe, capsys, line, message):
    chat = Chat(pipe, ["length"], "fast", SETTINGS)
    before = said(chat, capsys, "/show")
    with pytest.raises((ValueError, TypeError), match=message):
        chat.take(line)
    assert said(chat, capsys, "/show") == before
    assert not chat.take("/quit")


def test_a_model_with_a_template_sees_the_turns_before(tmp_path, capsys):
    write_causal(tmp_path)
    pipe = APSPipeline(load(tmp_path))
    chat = Chat(pipe, ["none"], None, SETTINGS)
    first, second = said(chat, capsys, "Who?", "Why?")
    turns = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": first.rstrip("\n")},
        {"role": "user", "content": "Why?"},
    ]
    assert second == pipe.generate([turns], **SETTINGS).text[0] + "\n"
    said(chat, capsys, "/new")
    assert said(chat, capsys, "Who?") == [first]


def test_a_model_of_single_questions_sees_each_alone(pipe, capsys):
    chat = Chat(pipe, ["none"], None, SETTINGS)
    assert len(set(said(chat, capsys, "who ?", "who ?", "who ?"))) == 1
    assert chat.turns == []


def test_a_changed_reward_file_is_read_again(pipe, tmp_path):
    file = tmp_path / "ed.py"
    code = "def f(prompts, completions, **kwargs): return [{}.0] * len(completions)\n"
    file.write_text(code.format(1))
    chat = Chat(pipe, [f"{file}:f"], "fast", SETTINGS)
    assert pipe.generate("who ?", reward=f"{file}:f", **SETTINGS).rewards["total"] == [1]
    file.write_text(code.format(2))
    assert pipe.generate("who ?", reward=f"{file}:f", **SETTINGS).rewards["total"] == [2]
    chat.take("who ?")
    [(reward, _)] = chat._spec
    assert reward([], ["a"]) == [2]


def test_a_broken_reward_file_fails_its_line_only(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "ne.py").write_text("x = missing\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"/reward {tmp_path}/ne.py:f\nwho ?\n"))
    assert main(["chat", "--model", folder, "--reward", "none", *FEW]) == 1
    shown = capsys.readouterr()
    assert "ne.py' does not load: NameError" in shown.err
    assert len(shown.out.splitlines()) == 1


def test_a_line_that_is_not_utf_8_fails_alone(folder, monkeypatch, capsys):
    typed = io.TextIOWrapper(io.BytesIO(b"who \xff ?\nwhy ?\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", typed)
    assert main(["chat", "--model", folder, "--reward", "none", *FEW]) == 1
    shown = capsys.readouterr()
    assert "is not UTF-8; type it again" in shown.err
    assert len(shown.out.splitlines()) == 1


def test_a_setting_that_nothing_reads_any_more_names_its_mend(pipe):
    chat = Chat(pipe, ["length"], None, SETTINGS)
    chat.take("/set beta 0.1")
    chat.take("/reward none")
    with pytest.raises(ValueError, match="undo it by /set beta none"):
        chat.take("who ?")
    chat.take("/set beta none")
    chat.take("who ?")


def test_a_full_context_names_new(tmp_path):
    write_causal(tmp_path)
    chat = Chat(APSPipeline(load(tmp_path)), ["none"], None, SETTINGS)
    chat.turns += [{"role": "user", "content": "why ? " * 5000}]
    with pytest.raises(ValueError, match="forget the conversation by /new"):
        chat.take("who ?")
