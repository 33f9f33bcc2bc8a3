"""The page of an answer: what it holds, what it escapes, and what a browser shows of it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from browser import CHROMIUM, chromium
from tiny import tiny_text_model

from aps_text import APSPipeline
from aps_text.methods.aps import APS
from aps_text.methods.best_of_n import BestOf
from aps_text.methods.fk_steering import FKSteering
from aps_text.pipelines.page.call import name_of
from aps_text.pipelines.page.frames import END, HIDDEN, OPEN, Frames, frames_of
from aps_text.pipelines.page.page import Side
from aps_text.pipelines.page.page import page as page_of
from aps_text.pipelines.page.replay import replay
from aps_text.text.decoding import token_pieces

SMALL = {"steps": 6, "max_new_tokens": 10}
NASTY = "</script><img src=x onerror=hit()> & \u2028\u202e'"


def vowels(prompts, completions, **columns):
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


@pytest.fixture(scope="module")
def pair(pipe):
    """Steered and plain answers of two questions, one of them with markup in it."""
    questions = ["what is a dog ?", NASTY]
    steered = pipe(questions, vowels, keep_trajectory=True, **SMALL)
    return steered, pipe.generate(questions, reward=vowels, keep_trajectory=True, **SMALL)


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.data, self._in = [], [], {}, ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._in = dict(attrs).get("id", tag)

    def handle_data(self, data):
        self.data[self._in] = self.data.get(self._in, "") + data


def words(pipe, state, row):
    """What a canvas shows, read off the state: a text a position, None for what is hidden."""
    model, shown, ended = pipe.model, [], False
    for token in state.z[row].tolist():
        if token == model.parts.mask_id:
            shown.append("")
        elif token in model.stop_ids and not ended:
            shown.append("■")
            ended = True
        elif token in (*model.stop_ids, model.fill_id, model.parts.pad_id):
            shown.append(None)
        else:
            name = pipe.tokenizer.convert_ids_to_tokens(token)
            shown.append(name.removeprefix("##"))
    return shown


def replayed(data, step):
    """The canvas after a step, by the format's description in `frames`."""
    pieces = list(data["first"])
    for frame in data["frames"]:
        if frame["s"] <= step:
            for at in range(0, len(frame["z"]), 3):
                pieces[frame["z"][at]] = frame["z"][at + 1]
    known = {OPEN: "", END: "■", HIDDEN: None}
    return [known[one] if one in known else data["pieces"][one].strip() for one in pieces]


def test_the_frames_replay_the_states(pipe, pair):
    for out in pair:
        for index in range(len(out)):
            batch, row = out.places[index]
            states = out.trajectory[batch]
            data = frames_of(states, row, out.record).as_dict()
            assert set(data["first"]) == {OPEN}
            for state in states:
                assert replayed(data, state.step + 1) == words(pipe, state, row)
                frame = next((f for f in data["frames"] if f["s"] == state.step + 1), None)
                if frame is not None:
                    kept = state.revealed[row].nonzero().squeeze(-1).tolist()
                    assert frame["a"][::3] == kept
            assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_a_replay_shows_what_the_states_hold(pipe, pair):
    for out in pair:
        for index in range(len(out)):
            batch, row = out.places[index]
            states = out.trajectory[batch]
            data = frames_of(states, row, out.record)
            assert {one.kind for one in replay(data, 0)} == {"open"}
            kept = 0
            for state in states:
                found = replay(data, state.step + 1)
                said = {"end": "■", "open": ""}
                assert [(one.at, said.get(one.kind, one.text.strip())) for one in found] == [
                    (at, word)
                    for at, word in enumerate(words(pipe, state, row))
                    if word is not None
                ]
                for one in found:
                    if one.kind == "open":
                        assert (one.wrote, one.anchor) == (0, False)
                        continue
                    assert one.wrote == int(state.written[row, one.at]) + 1
                    if state.step + 1 in {frame["s"] for frame in data.frames}:
                        assert one.anchor == bool(state.revealed[row, one.at])
                    if one.anchor:
                        tilted = float(state.tilted[row, one.at])
                        assert one.chance[0] == pytest.approx(tilted, rel=0.06)
                        kept += 1
            assert kept > 2
            assert not any(one.anchor for one in replay(data, 99))


def test_the_curves_are_the_states_rewards_while_the_row_was_open(pair):
    steered, plain = pair
    data = frames_of(steered.trajectory[0], 0, steered.record).as_dict()
    guided = [s for s in steered.trajectory[0] if s.guided]
    found = {frame["s"]: frame for frame in data["frames"] if frame.get("r")}
    assert found
    for state in guided:
        if state.step + 1 in found:
            frame = found[state.step + 1]
            assert frame["r"]["vowels"] == pytest.approx(
                float(state.rewards["vowels"][0]), rel=1e-4
            )
            assert frame["k"] == pytest.approx(float(state.kl[0]), rel=1e-4)
    assert not any(f.get("r") for f in frames_of(plain.trajectory[0], 0, plain.record).frames)


def test_everything_typed_is_text(pair):
    steered, plain = pair
    html = steered.to_html(index=1, beside=plain)
    read = Reader(html)
    assert "img" not in read.tags
    assert read.tags.count("script") == 2  # the data and ours
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "\u2028" not in html.split("<script", 1)[1]
    assert read.data["h1"] == NASTY
    assert json.loads(read.data["data"])[1]["title"] == "aps"
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org)", html.replace(
        "&lt;img src=x", ""))  # fmt: skip


def test_a_rewards_name_and_an_answer_with_markup_are_text(pipe):
    def odd(prompts, completions, **columns):
        return [0.5 + len(text) / 100 for text in completions]

    odd.__name__ = "</script><b onclick=x>"
    out = pipe("why ?", odd, keep_trajectory=True, **SMALL)
    out.text[0] = "<b>bold</b>"
    read = Reader(out.to_html())
    assert "b" in read.tags  # the value of a reward
    assert not [name for name, _ in read.attributes if name == "onclick"]
    assert "<b>bold</b>" in "".join(read.data.values())


def test_it_is_small_at_48_tokens_and_48_steps(pipe):
    settings = {"steps": 48, "max_new_tokens": 48, "keep_trajectory": True, "temperature": 1.0}
    steered = pipe("why ?", vowels, **settings)
    plain = pipe.generate("why ?", reward=vowels, **settings)
    assert len(steered.trajectory[0]) > 40
    assert len(steered.to_html(beside=plain).encode()) < 100_000


def test_it_is_written_where_asked(pair, tmp_path):
    steered, _ = pair
    html = steered.to_html(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == html
    assert html.startswith("<!DOCTYPE html>")
    assert steered.to_html() == html


def test_the_script_reads_all_that_the_page_sends(pair):
    html = pair[0].to_html()
    [side], script = json.loads(Reader(html).data["data"]), html.rsplit("<script>", 1)[1]
    for key in {*side, *(one for frame in side["frames"] for one in frame)}:
        assert re.search(rf"\.{key}\b", script), key


def test_what_cannot_be_shown_is_named(pipe, pair):
    steered, plain = pair
    without = pipe("what is a dog ?", vowels, **SMALL)
    with pytest.raises(ValueError, match="keep_trajectory=True"):
        without.to_html()
    with pytest.raises(ValueError, match="keep_trajectory=True"):
        steered.to_html(beside=without)
    with pytest.raises(ValueError, match="no answer 2: the output has 2"):
        steered.to_html(index=2)
    with pytest.raises(ValueError, match="beside answers another prompt"):
        steered[1:].to_html(beside=plain)


@pytest.mark.parametrize("method", ["aps", "svdd", FKSteering(particles=2)], ids=str)
def test_the_python_of_the_page_repeats_the_answers(pipe, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipe, "_source", (Path("../models/tiny"), {}))
    settings = {"num_return_sequences": 2, "keep_trajectory": True, "temperature": 1.0, **SMALL}
    question = ["why ?", "what is a dog ?"]
    out = pipe(question, "length", method=method, seeds=[3, 5], **settings)
    plain = pipe.generate(question, reward="length", seeds=[3, 5], **settings)
    code = Reader(out.to_html(index=3, beside=plain)).data["pre"]
    asked = []
    monkeypatch.setattr(APSPipeline, "from_pretrained", lambda name: asked.append(name) or pipe)
    found = {}
    exec(code, found)
    assert asked == [str(Path("../models/tiny"))]  # the folder as it was given, not its name
    assert found["out"].token_ids[1] == out.token_ids[3]
    assert found["plain"].token_ids[1] == plain.token_ids[3]
    again = Reader((tmp_path / "answer.html").read_text(encoding="utf-8"))
    first = json.loads(Reader(out.to_html(index=3, beside=plain)).data["data"])
    assert [one["frames"] for one in json.loads(again.data["data"])] == [
        one["frames"] for one in first
    ]


def test_a_reward_of_the_callers_own_is_not_taken_for_an_installed_one(pipe, monkeypatch):
    monkeypatch.setattr(pipe, "_source", ("tiny", {}))

    def length(prompts, completions, **columns):
        return [-float(len(text)) for text in completions]

    own = pipe("why ?", length, keep_trajectory=True, **SMALL).to_html()
    assert "Your own, not in this file: length" in own
    assert "{length: 1.0}" in own
    named = pipe("why ?", "length", keep_trajectory=True, **SMALL).to_html()
    assert "Your own" not in named
    both = pipe("why ?", length, report="length", keep_trajectory=True, **SMALL).to_html()
    code = Reader(both).data["pre"]
    assert "pipe(prompt, {length: 1.0}, report={'length': 1.0}" in code
    assert "not in this file: length\n" in code


def test_rewards_of_one_name_keep_their_own_weights(pipe, monkeypatch):
    monkeypatch.setattr(pipe, "_source", ("tiny", {}))

    def named(value):
        def f(prompts, completions, **columns):
            return [value * len(text) for text in completions]

        return f

    def shown(reward, **options):
        html = pipe("why ?", reward, keep_trajectory=True, **options, **SMALL).to_html()
        return html, Reader(html).data["pre"]

    html, code = shown([("length", 1.0), ("length", 2.0)])
    assert "steered by 3 x length" in html
    assert "pipe(prompt, {'length': 3.0}" in code
    html, code = shown([(named(1.0), 1.0), (named(2.0), 3.0)])
    assert "steered by f and 3 x f_2" in html
    assert "not in this file: f, f_2\n" in code
    assert "pipe(prompt, {f: 1.0, f_2: 3.0}" in code
    own = named(1.0)
    own.__name__ = "length"
    html, code = shown([("length", 2.0), own], report=own)
    assert "steered by 2 x length and length_2" in html
    assert "pipe(prompt, {'length': 2.0, length_2: 1.0}, report={length_2: 1.0}" in code


class My(FKSteering):
    """A method with a setting that is no field."""

    def __init__(self, number):
        super().__init__()
        self.number = number


class Bare:
    """A method that is no dataclass."""

    def __init__(self, number):
        self.number, self.inner = number, FKSteering()

    def steps(self, *given, **named):
        return self.inner.steps(*given, **named)


def test_a_model_and_a_method_of_the_callers_own_are_said_to_be_missing(pipe):
    def my_reward(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    my_reward.__name__ = "my-fn"
    assert name_of(Bare(3)) == ("Bare", "method", ())
    assert name_of(My(3)) == ("My", "method", ())
    out = pipe("why ?", my_reward, keep_trajectory=True, **SMALL)
    code = Reader(out.to_html()).data["pre"]
    assert "not in this file: pipe, my_fn\n" in code
    assert "from_pretrained" not in code
    for own in (Bare(3), My(3)):
        out = pipe("why ?", my_reward, method=own, keep_trajectory=True, **SMALL)
        code = Reader(out.to_html()).data["pre"]
        assert "not in this file: pipe, my_fn, method\n" in code
        assert "method=method, config" in code


def test_settings_that_differ_beside_are_said(pipe, pair):
    steered, _ = pair
    other = pipe.generate(
        ["what is a dog ?", NASTY], reward=vowels, keep_trajectory=True, steps=3, max_new_tokens=10
    )
    said = steered.to_html(beside=other)
    assert re.search(r"; left: [^;<]*\bsteps=3\b[^;<]*; right: [^;<]*\bsteps=6\b", said)
    assert "max_new_tokens" not in said.split("; left: ")[1].split("</p>")[0]
    assert "; left: " not in steered.to_html(beside=steered)


def test_above_the_answers_stands_no_python_and_each_side_says_what_steers_it(pipe):
    how = {"keep_trajectory": True, "preset": "fast", **SMALL}
    steered = pipe("why ?", [(vowels, 2.0)], beta=0.05576923, **how)
    plain = pipe.generate("why ?", reward=vowels, **how)
    html = steered.to_html(beside=plain)
    head, code = html.split("<pre>")
    assert "APSConfig" not in head
    assert all(one in head for one in (", preset fast, ", ", max_new_tokens 10, ", ", steps 6, "))
    assert ", beta 0.0558, " in head
    assert "beta=0.05576923" in code
    assert '<h2>plain <span class="soft">the model alone</span></h2>' in head
    assert '<h2>aps <span class="soft">steered by 2 x vowels</span></h2>' in head
    control = pipe("why ?", vowels, control="zero", keep_trajectory=True, **SMALL)
    assert '<h2>aps, control zero <span class="soft"></span></h2>' in control.to_html()


def test_the_seeds_are_said_the_left_one_first(pipe):
    three, five = (
        pipe.generate("why ?", seeds=[seed], keep_trajectory=True, **SMALL) for seed in (3, 5)
    )
    for page, said in (
        (five.to_html(beside=three), ", seeds 3 and 5</p>"),
        (three.to_html(beside=five), ", seeds 5 and 3</p>"),
        (three.to_html(beside=three), ", seed 3</p>"),
        (three.to_html(), ", seed 3</p>"),
    ):
        assert said in page


def test_a_method_is_named_as_it_was_made():
    assert name_of(FKSteering()) == ("fk", "'fk'", ())
    name, code, imports = name_of(FKSteering(particles=2))
    found = {}
    exec("\n".join([*imports, f"made = {code}"]), found)
    assert (name, found["made"]) == ("fk", FKSteering(particles=2))


def test_pieces_keep_the_space_before_a_word(pipe):
    tokenizer = pipe.tokenizer
    ids = tokenizer.convert_tokens_to_ids(["dog", "##s", "[UNK]"])
    assert list(token_pieces(tokenizer, ids).values()) == [" dog", "s", "[UNK]"]


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
TOKENS = """[...document.querySelectorAll('#canvas%d .token')].map(
  t => [Number(t.dataset.at), t.textContent, t.classList.contains('anchor')])"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def go_to(browser, step):
    """Open the page at a step by its address, and wait until its own listener has run."""
    address = json.dumps(f"#step={step}")
    browser.js(
        f"new Promise(done => {{ if (location.hash === {address}) {{ done(); return; }}"
        " addEventListener('hashchange', () => done(), {once: true});"
        f" location.hash = {address}; }})"
    )


@needs_browser
def test_a_browser_shows_the_tokens_of_each_step(pipe, pair, browser, tmp_path):
    steered, plain = pair
    steered.to_html(tmp_path / "a.html", index=1, beside=plain)
    browser.look()
    browser.open(tmp_path / "a.html")
    assert browser.js("document.getElementById('play').textContent") == "Play"  # motion is reduced
    seen = 0
    for side, out in enumerate([plain, steered]):
        batch, row = out.places[1]
        for state in out.trajectory[batch]:
            go_to(browser, state.step + 1)
            want = [
                (at, text, bool(state.revealed[row, at]))
                for at, text in enumerate(words(pipe, state, row))
                if text is not None
            ]
            assert [tuple(one) for one in browser.js(TOKENS % side)] == want
            seen += sum(kept for _, _, kept in want)
    assert seen > 5
    assert browser.js("document.querySelectorAll('img').length") == 0
    assert browser.errors == []


def by_hand(title, text, pieces, reward):
    """A side whose tokens are all written at step 1; its reward is the same at steps 1 and 2."""
    count = len(pieces)
    changed = [value for at in range(count) for value in (at, at + 3, 1)]
    steps = [{"s": step, "z": [], "a": [], "c": [], "r": {"r": reward}} for step in (1, 2)]
    steps[0]["z"] = changed
    return Side(
        title, text, {"r": reward}, COST, 1, Frames([0] * count, ["", "", "", *pieces], steps)
    )


COST = {
    f"{part}_{way}": 1 for part in ("denoiser", "reward") for way in ("forwards", "backwards")
} | {"seconds": 1.0}


@needs_browser
def test_a_line_ends_with_its_sign_rules_are_level_and_a_flat_curve_has_one_line(browser, tmp_path):
    verse = by_hand("plain", "the king\nA friend", [" king", "\n", "A", ",\n", "friend"], 0.5)
    long = by_hand("aps", "the king had a friend " * 12, [" king"] * 60, 0.5)
    (tmp_path / "v.html").write_text(page_of("why ?", [verse, long], "mini", "pipe"), "utf-8")
    browser.look()
    browser.open(tmp_path / "v.html", "#step=2")
    shown = browser.js("document.getElementById('canvas0').textContent")
    assert shown == "king⏎\nA,\nfriend"
    tops = "[...document.querySelectorAll('.final')].map(one => one.getBoundingClientRect().top)"
    assert len(set(browser.js(tops))) == 1
    ticks = (
        "[...document.querySelectorAll('#panels text[text-anchor=end]')].map(t => t.textContent)"
    )
    assert browser.js(ticks) == ["0.500"]
    wide = "document.querySelector('figure').offsetWidth"
    assert 500 < browser.js(wide) <= 560  # alone, it has the room
    size = "document.querySelector('svg text').getBoundingClientRect().height"
    browser.look(width=390, height=844)
    assert browser.js(size) >= 12  # pixels of a line
    assert browser.errors == []


@needs_browser
def test_keys_and_play_move_the_steps(pair, browser, tmp_path):
    steered, plain = pair
    steered.to_html(tmp_path / "b.html", beside=plain)
    at = "document.getElementById('step').value"
    browser.look()
    browser.open(tmp_path / "b.html", "#step=2")
    browser.press("ArrowRight")
    assert browser.js(at) == "3"
    browser.press("Home")
    assert browser.js(at) == "0"
    browser.press("End")
    assert browser.js(at) == browser.js("document.getElementById('step').max")
    browser.look(still=False)
    browser.open(tmp_path / "b.html")
    browser.js("new Promise(r => setTimeout(r, 900))")
    assert int(browser.js(at)) >= 1  # it plays by itself
    browser.press(" ")
    held = browser.js(at)
    browser.js("new Promise(r => setTimeout(r, 700))")
    assert browser.js(at) == held
    assert browser.errors == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_on_a_phone(pair, browser, tmp_path, dark):
    steered, plain = pair
    steered.to_html(tmp_path / "c.html", index=1, beside=plain)
    browser.look(dark=dark, width=390, height=844)
    browser.open(tmp_path / "c.html")
    assert browser.js("document.documentElement.scrollWidth") <= 390
    light = browser.js("getComputedStyle(document.body).backgroundColor")
    assert light == ("rgb(21, 24, 28)" if dark else "rgb(251, 251, 249)")


def test_a_frame_has_what_its_step_chose_among(pipe, pair):
    steered, plain = pair
    assert not any(state.pool for states in plain.trajectory for state in states)
    chose = 0
    for index in range(len(steered)):
        batch, row = steered.places[index]
        states = steered.trajectory[batch]
        data = frames_of(states, row, steered.record)
        for state, frame in zip(states, data.frames, strict=False):
            assert ("p" in frame) == (bool(state.pool) and "r" in frame)
            if "p" not in frame:
                continue
            chose += 1
            rewards = state.pool["rewards"][row].tolist()
            assert frame["n"] == len(rewards) == state.pool["answers"].shape[1]
            assert frame["m"] == 0 or len(frame["p"]) >= 6
            assert sum(line[1] for line in frame["p"]) + frame["m"] <= frame["n"]
            shown = [line[0] for line in frame["p"]]
            assert shown == sorted(shown, reverse=True)
            assert shown[0] == pytest.approx(max(rewards), rel=1e-4)
            [chosen] = [line for line in frame["p"] if line[2]]
            assert chosen[0] == pytest.approx(rewards[state.pool["chosen"][row]], rel=1e-4)
            # It is the answer that the step's candidates are of.
            ids = state.pool["answers"][row, state.pool["chosen"][row]]
            kept = state.revealed[row]
            ended = [*steered.record.stop_ids, pipe.model.fill_id]
            alive = kept & ~torch.isin(ids, torch.tensor(ended))
            assert state.z[row][alive].equal(ids[alive])
            assert state.rewards["vowels"][row] == pytest.approx(chosen[0], rel=1e-4)
    assert chose > 5


@needs_browser
def test_a_browser_lists_the_answers_of_the_last_choice(pair, browser, tmp_path):
    steered, plain = pair
    steered.to_html(tmp_path / "a.html", beside=plain)
    browser.look()
    browser.open(tmp_path / "a.html")
    batch, row = steered.places[0]
    frames = frames_of(steered.trajectory[batch], row, steered.record).frames
    first, last = frames[0], frames[-1]
    before = next(f["s"] for f in frames if "p" in f) - 1
    assert browser.js("document.getElementById('pool0').hidden") is True
    lines = "[...document.querySelectorAll('#pool1 li')].map(one => one.innerText)"
    for step in (before, first["s"], last["s"]):
        go_to(browser, step)
        found = next((f for f in reversed(frames) if "p" in f and f["s"] <= step), None)
        shown = browser.js(lines)
        assert len(shown) == (0 if found is None else len(found["p"]) + (found["m"] > 0))
        if found is not None:
            title = browser.js("document.querySelector('#pool1 p').textContent")
            assert title == f"step {found['s']} chose among {found['n']} whole answers, by reward:"
            assert browser.js("document.querySelectorAll('#pool1 li.chosen').length") == 1
            assert shown[0].startswith(f"{found['p'][0][0]:.2f}")
    assert browser.errors == []


def test_the_best_of_several_runs_lists_no_choice_of_another(pipe):
    best = BestOf(APS(), samples=3)
    out = pipe("why ?", vowels, method=best, keep_trajectory=True, **SMALL)
    assert not any(state.pool for states in out.trajectory for state in states)
    batch, row = out.places[0]
    frames = frames_of(out.trajectory[batch], row, out.record).frames
    assert not any("p" in frame for frame in frames)
