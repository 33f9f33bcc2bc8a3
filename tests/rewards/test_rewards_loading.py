"""Where rewards are found, and what the errors say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from aps_rewards import (
    describe,
    installed,
    is_differentiable,
    last_text,
    list_rewards,
    load_reward,
    parse_reward_spec,
)
from aps_rewards.installed import installed_names
from aps_rewards.sentiment import Sentiment
from aps_rewards.specs import TypedOption


def shortness(prompts, completions, *, limit=10, **columns):
    """Short answers."""
    return [float(len(c) <= limit) for c in completions]


def install(folder, monkeypatch, entry_points: str):
    """A real distribution on the import path, as pip would leave it."""
    info = folder / "plug_in-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[aps_text.rewards]\n{entry_points}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_built_in_rewards_are_installed_and_described():
    rewards = {r.name: r for r in list_rewards()}
    assert {"relevance", "sentiment"} <= rewards.keys()
    assert rewards["relevance"].info.differentiable
    assert not rewards["sentiment"].info.differentiable
    for name in ("relevance", "sentiment"):
        info = rewards[name].info
        assert info.range == (-1.0, 1.0)
        assert info.measures != "not stated"
        assert info.licence


def test_importing_rewards_is_light_and_knows_no_sampler():
    check = (
        "import sys, aps_rewards; aps_rewards.list_rewards; "
        "heavy = {'aps_text', 'torch', 'transformers', 'vaderSentiment'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_instances_classes_and_functions_pass_through():
    assert load_reward(shortness) is shortness
    built = load_reward(Sentiment)
    assert isinstance(built, Sentiment)
    assert load_reward(built) is built
    assert load_reward(shortness, limit=2)(["q"], ["abc"]) == [0.0]
    assert isinstance(load_reward("sentiment"), Sentiment)


def test_module_and_file_specs(tmp_path, monkeypatch):
    (tmp_path / "my_plug.py").write_text(
        "def vowels(prompts, completions, **columns):\n"
        "    return [sum(c in 'aeiou' for c in text) for text in completions]\n"
        "class Inner:\n    class Deep:\n        def __init__(self, scale=1): self.scale = scale\n"
        "        def __call__(self, completions, **kw): return [self.scale for _ in completions]\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_reward("my_plug:vowels")(["q"], ["banana"]) == [3]
    assert load_reward(f"{tmp_path}/my_plug.py:vowels")(["q"], ["banana"]) == [3]
    assert load_reward("my_plug:Inner.Deep", scale=4)(completions=["x"]) == [4]
    with pytest.raises(ValueError, match=r"'my_plug' has no 'vowel'; did you mean 'vowels'"):
        load_reward("my_plug:vowel")
    with pytest.raises(TypeError, match="int, not a function"):
        load_reward("my_plug:number")
    with pytest.raises(ValueError, match=r"no reward file 'missing\.py'"):
        load_reward("missing.py:vowels")


def test_entry_points_are_found_and_a_broken_one_is_named(tmp_path, monkeypatch):
    (tmp_path / "good_plug.py").write_text("def r(completions, **kw): return [2.0] * 1\n")
    (tmp_path / "broken_plug.py").write_text("import no_such_dependency\n")
    install(tmp_path, monkeypatch, "good = good_plug:r\nbroken = broken_plug:r")
    assert load_reward("good")(completions=["x"]) == [2.0]
    with pytest.raises(ImportError, match=r"'broken' is installed .*no_such_dependency"):
        load_reward("broken")
    listed = {r.name: r for r in list_rewards()}
    assert listed["broken"].info is None
    assert "no_such_dependency" in listed["broken"].problem
    # A module that is there but lacks a dependency is not "unknown".
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_reward("broken_plug:r")


def test_names_are_read_again_only_where_a_file_that_names_them_changed(tmp_path, monkeypatch):
    reads, find = [], installed.entry_points
    monkeypatch.setattr(installed, "entry_points", lambda **group: reads.append(1) or find(**group))
    monkeypatch.syspath_prepend(str(tmp_path))  # puts the path back in the end
    sys.path[:] = [str(tmp_path)]
    os.utime(tmp_path, (1e9, 1e9))  # so that its next change has another time
    assert installed_names() == installed_names() == []
    assert len(reads) == 1
    # As pip writes it: first the folder, then the file, bit by bit.
    info = tmp_path / "plug_in-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1.0\n")
    assert installed_names() == []
    half = "[aps_text.rewards]\nlater = aps_rewards.length:Length\n"
    for text, names in ((half, ["later"]), (f"{half}more = a:b\n", ["later", "more"])):
        (info / "entry_points.txt").write_text(text)
        assert installed_names() == installed_names() == names
    assert len(reads) == 4
    assert load_reward("later:low=1:high=3") is not None
    info = info.rename(tmp_path / "PLUG_IN-1.0.DIST-INFO")  # its case does not matter to Python
    assert installed_names() == ["later", "more"]
    (info / "entry_points.txt").write_text(half)
    assert installed_names() == ["later"]


@pytest.mark.parametrize("spec", ["relevence", "no.such.module:attr", "", ":x", "x:"])
def test_unknown_names_say_what_was_tried(spec):
    with pytest.raises(ValueError, match="Tried: an installed name") as caught:
        load_reward(spec)
    assert repr(spec) in str(caught.value)
    assert "relevance, " in str(caught.value)
    assert "owner/name" in str(caught.value)


def test_a_close_match_is_suggested():
    with pytest.raises(ValueError, match="Did you mean 'relevance'"):
        load_reward("relevence")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("relevance", {"refrence": "text"}, r"no option 'refrence'; it has reference, weights"),
        ("sentiment", {"scale": 1}, r"no option 'scale'; it has none"),
        (shortness, {"limits": 1}, r"no option 'limits'; it has limit"),
        (shortness, {"prompts": []}, r"no option 'prompts'"),
        (3, {}, "a reward is a name or a callable, got 3"),
    ],
)
def test_unknown_options_are_named(spec, options, message):
    with pytest.raises(TypeError, match=message):
        load_reward(spec, **options)


def test_options_for_something_already_built():
    with pytest.raises(TypeError, match="already built"):
        load_reward(Sentiment(), scale=1)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("relevance", ("relevance", 1.0)),
        ("relevance=0.5", ("relevance", 0.5)),
        (" sentiment =-2", ("sentiment", -2.0)),
        ("pkg.mod:attr=0", ("pkg.mod:attr", 0.0)),
        ("a=b/f.py:r=1e-1", ("a=b/f.py:r", 0.1)),
        ("keywords:present=king,lonely", ("keywords:present=king,lonely", 1.0)),
        ("keywords:present=king,lonely=-2", ("keywords:present=king,lonely", -2.0)),
        ("length:words=12", ("length:words=12", 1.0)),
        ("length:words=12=3", ("length:words=12", 3.0)),
        ("f.py:r:limit=1", ("f.py:r:limit=1", 1.0)),
        ("f.py:r:limit=1:other=a b=2", ("f.py:r:limit=1:other=a b", 2.0)),
        ("owner/name:label=positive=2", ("owner/name:label=positive", 2.0)),
        ("pattern:pattern=a:b", ("pattern:pattern=a:b", 1.0)),
    ],
)
def test_reward_specs(spec, expected):
    assert parse_reward_spec(spec) == expected


@pytest.mark.parametrize(
    "spec", ["", "=1", "  =1", "relevance=", "relevance=much", "r=nan", "r=inf"]
)
def test_bad_reward_specs_name_the_value(spec):
    with pytest.raises(ValueError, match="write") as caught:
        parse_reward_spec(spec)
    assert repr(spec) in str(caught.value)


def test_options_in_the_text_are_what_the_option_takes(tmp_path):
    text = load_reward("keywords:present=king,lonely:absent=queen")
    built = load_reward("keywords", present=["king", "lonely"], absent=["queen"])
    assert (text.present, text.absent) == (built.present, built.absent)
    assert load_reward("distinctness:sizes=1,2").sizes == (1, 2)
    assert load_reward("exact-match:reference=12").reference == "12"
    assert load_reward('exact-match:reference="a, b"').reference == "a, b"
    assert load_reward("numeric-match:reference=12:tolerance=0.5").tolerance == 0.5
    (tmp_path / "mine.py").write_text(
        "def r(completions, *, words=2, tag='', **columns):\n"
        "    return [float(len(c.split()) <= words) for c in completions]\n"
    )
    reward = load_reward(f"{tmp_path}/mine.py:r:words=1:tag=x, y")
    assert reward.keywords == {"words": 1, "tag": "x, y"}
    assert reward(completions=["a", "a b"]) == [1.0, 0.0]
    with pytest.raises(TypeError, match="has no option 'words'; it has present, absent"):
        load_reward("keywords:words=king")
    for twice, more in (("keywords:present=king", {"present": []}), ("length:low=1:low=2", {})):
        with pytest.raises(TypeError, match=r"option '(present|low)' is given twice; give it once"):
            load_reward(twice, **more)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("a,b", "list[str]", ["a", "b"]),
        ("a,b", "typing.List[str]", ["a", "b"]),
        ("1,2", "Sequence[int]", [1, 2]),
        ("12", "str", "12"),
        ("12", "", 12),
        ("1,2", "Dataset", "1,2"),
        ("9" * 5000, "", "9" * 5000),
    ],
)
def test_what_an_option_is_depends_on_its_annotation(text, kind, value):
    assert TypedOption(text).read(kind) == value


def test_describe_fills_in_what_a_function_does_not_state():
    info = describe(shortness)
    assert info.name == "shortness"
    assert info.measures == "Short answers."
    assert info.range == (float("-inf"), float("inf"))
    assert not info.differentiable


def test_half_a_differentiable_reward_is_refused():
    class Half:
        differentiable = True
        tokenizer = None

        def frame(self, prompt):
            return [], []

    with pytest.raises(TypeError, match="no embedding_table, score_embeds"):
        is_differentiable(Half())
    assert not is_differentiable(shortness)


def test_last_text_of_messages():
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert last_text(chat) == "u"
    assert last_text("plain") == "plain"
    assert last_text([]) == ""


def test_two_packages_that_give_one_name_are_named(monkeypatch, tmp_path):
    from importlib.metadata import EntryPoint

    points = [
        EntryPoint("mood", "aps_rewards.sentiment:Sentiment", "aps_text.rewards"),
        EntryPoint("mood", "aps_rewards.valence:Valence", "aps_text.rewards"),
        EntryPoint("tone", "aps_rewards.length:Length", "aps_text.rewards"),
        EntryPoint("tone", "aps_rewards.length:Length", "aps_text.rewards"),  # installed twice
    ]
    monkeypatch.setattr(installed, "entry_points", lambda group: points)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])  # so that they are read
    with pytest.raises(ValueError, match=r"2 installed rewards are called 'mood': .*sentiment"):
        load_reward("mood")
    assert {one.name: bool(one.problem) for one in list_rewards()} == {"mood": True, "tone": False}
    assert load_reward("tone") is not None


def test_loading_changes_nothing_of_the_callers(tmp_path):
    import random

    import torch

    file = tmp_path / "rude.py"
    file.write_text(
        "import os, random, torch\n"
        "torch.set_default_dtype(torch.float64); torch.manual_seed(1); random.seed(1)\n"
        "torch.set_grad_enabled(False); os.chdir('/')\n"
        "def reward(completions, **kw): return [0.0] * len(completions)\n"
    )
    before = torch.get_rng_state(), random.getstate(), os.getcwd()
    with torch.inference_mode():
        weights = load_reward("relevance").encoder.get_input_embeddings().weight
        load_reward(f"{file}:reward")
        assert torch.is_inference_mode_enabled()
    assert not weights.is_inference()  # else it could never steer by gradient
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert before[0].equal(torch.get_rng_state())
    assert before[1:] == (random.getstate(), os.getcwd())


@pytest.mark.parametrize("spec", [".\n:r[\xe9", "~:", "~nobody-of-this-name/x", "..:x", "a..b:c"])
def test_a_text_that_is_no_place_is_no_reward(spec):
    with pytest.raises(ValueError, match=r"no reward .* Tried: an installed name"):
        load_reward(spec)


def test_a_weight_that_is_none_is_said_printably():
    with pytest.raises(ValueError, match=r"is not a number; write e.g.") as caught:
        parse_reward_spec("\ud800a=~")
    str(caught.value).encode()


@pytest.mark.parametrize("found", [int, type])
def test_a_class_written_in_c_is_no_reward(found):
    with pytest.raises(TypeError, match="is a class written in C whose arguments are not known"):
        load_reward(found)


@pytest.mark.parametrize("spec", ["~\n.\ud800", "~\ud800/a.py:f", "~\0", "~nobody-of-this-name/x"])
def test_a_home_that_no_user_can_have_is_no_reward(spec):
    with pytest.raises(ValueError, match="no reward"):
        load_reward(spec)


class NotCalled:
    def score(self, prompts, completions):
        return [0.0] * len(completions)


@pytest.mark.parametrize("spec", [NotCalled, float])
def test_a_class_whose_objects_cannot_be_called_is_refused(spec):
    with pytest.raises(TypeError, match="which cannot be called with prompts and completions"):
        load_reward(spec)
    assert load_reward(NotCalled().score)
