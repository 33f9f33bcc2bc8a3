"""The page of `aps demo`: its functions, the command, and what a browser does with it."""

from __future__ import annotations

import argparse
import base64
import json
import math
import re
import socket
import threading
import time
from importlib.util import find_spec

import pytest
import torch
from browser import CHROMIUM, chromium
from test_demo_answering import Reader
from test_image_model import write
from tiny import tiny_text_model, write_tiny

from aps_text import APSPipeline
from aps_text.cli import build_parser, main
from aps_text.commands.demo import demo_of
from aps_text.demo.app import launch, page_of
from aps_text.demo.closing import Closing
from aps_text.demo.functions import ROWS, Demo
from aps_text.demo.restoring import example, fitted, restoring
from aps_text.images.files import write_image
from aps_text.pipelines.image_model import load_image_model
from aps_text.pipelines.restoration import RestorationPipeline
from aps_text.pipelines.stream import Stream

# Not imported here: every process of a test run reads this file, and one needs Gradio.
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="the page needs Gradio")

SMALL = {"temperature": 1.0, "steps": 8, "max_new_tokens": 12}
MARKUP = "<img src=x onerror=h()>{{h}}${h}"
FUNCTION = "def mine(prompts, completions):\n    return [float(len(text)) for text in completions]"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return RestorationPipeline(load_image_model(write(tmp_path_factory.mktemp("image") / "m")))


@pytest.fixture(scope="module")
def demo(images):
    return Demo(APSPipeline(tiny_text_model()), {"m": images}, settings=SMALL, between=math.inf)


def form(question="what is a dog ?", *, reward="length", weight=1.0, seed=0, steps="4", own=()):
    rest = ["", 1.0, ""] * (ROWS - 1)
    return [question, "balanced", "0.1", seed, steps, "8", reward, weight, "", *rest, *own]


def test_a_run_draws_each_step_and_keeps_itself_in_links(demo):
    seen = list(demo.run(*form()))
    assert len(seen) == 1 + 4 + 1 + 4 + 1 + 1
    assert all((frame, links, run) == ("", "", None) for _, frame, links, run in seen[:-1])
    _, frame, links, run = seen[-1]
    assert Reader(frame).tags == ["div", "iframe"]
    files = [base64.b64decode(one).decode() for one in re.findall(r"base64,([\w+/=]+)", links)]
    assert json.loads(files[0]) == json.loads(json.dumps(run))
    assert files[1].startswith("<!DOCTYPE html>")


def test_run_again_says_whether_the_tokens_are_the_same(demo):
    run = list(demo.run(*form(seed=2)))[-1][3]
    shown, _, _, again = list(demo.again(run))[-1]
    assert "the same answers, token for token" in Reader(shown).text
    assert again["answers"][1]["token_ids"] == run["answers"][1]["token_ids"]
    run["answers"][1]["token_ids"] = [1]
    assert "the answers differ" in Reader(list(demo.again(run))[-1][0]).text
    assert "no run has finished yet" in next(iter(demo.again(None)))[0]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (form(""), "the question is empty"),
        (form(reward="os:system"), "is no installed reward"),
        (form(steps="many"), "steps is a whole number, got 'many'"),
        (form(steps="0"), "steps"),
        (form("why " * 4000), "tokens"),
    ],
)
def test_what_cannot_be_run_is_said_on_the_page(demo, typed, message):
    [(shown, *_)] = [one for one in demo.run(*typed) if 'role="alert"' in one[0]]
    assert message in Reader(shown).text


def test_a_function_is_a_reward_only_with_trust(images):
    pipe = APSPipeline(tiny_text_model())
    trusting = Demo(pipe, {"m": images}, trust_code=True, settings=SMALL)
    run = list(trusting.run(*form(reward="", own=(FUNCTION, 1.0))))[-1][3]
    assert set(run["answers"][1]["rewards"]) == {"mine", "total"}
    wary = Demo(pipe, {"m": images}, settings=SMALL)
    assert "--trust-code" in list(wary.again(run))[-1][0]
    fields = [max(len(fn.inputs) for fn in page_of(one).fns.values()) for one in (trusting, wary)]
    assert fields == [6 + 3 * ROWS + 2, 6 + 3 * ROWS]


def test_a_shared_run_fills_the_form(demo):
    typed = form(seed=3)
    run = list(demo.run(*typed))[-1][3]
    found = demo.opened(json.dumps(run).encode())
    assert found == typed[: len(found)]
    assert len(found) == 6 + 3 * ROWS
    with pytest.raises(ValueError, match="utf-8"):
        demo.opened(b"\xff\x00")


def test_nobody_but_the_page_can_call_and_nothing_is_kept_or_sent(demo):
    page = page_of(demo)
    assert {one.api_visibility for one in page.fns.values()} == {"private"}
    assert page.analytics_enabled is False


def test_an_upload_is_degraded_and_restored(images, demo, tmp_path):
    write_image(torch.rand(3, 40, 24) * 2 - 1, tmp_path / "a.png")
    assert fitted(tmp_path / "a.png", images.size).shape == (1, *images.size)
    shown = list(demo.restored(str(tmp_path / "a.png"), "m", "restore", "sr2", 0.05, 3, 1))
    assert shown[1:-1]
    assert "step 1 of" in shown[1]
    read = Reader(shown[-1])
    assert read.tags.count("img") == 3 + 3 + 2
    assert re.search(r"enlarged without a model, PSNR \d", read.text)
    assert "spread of the samples" in read.text
    assert re.search(r"chi2 \d", read.text)
    assert (
        'role="alert"'
        in list(demo.restored(str(tmp_path / "no.png"), "m", "restore", "sr2", 0.05, 1, 1))[-1]
    )
    other = demo.restored(None, "n", "restore", "sr2", 0.05, 1, 1)
    assert "model is one of m; got" in list(other)[-1]
    assert "task is one of" in list(demo.restored(None, "m", "restore", "sr3", 0.05, 1, 1))[-1]


def test_without_a_file_the_model_draws_an_example(images, demo):
    assert example(images, 1).equal(example(images, 1))
    assert not example(images, 1).equal(example(images, 2))
    assert (
        Reader(list(demo.restored(None, "m", "posterior", "hdr", 0.05, 1, 1))[-1]).tags.count("img")
        == 3
    )


def test_a_restoration_is_the_pipeline_s_own_and_stops_when_it_is_left(images):
    truth, computed = example(images, 0), []
    *_, last = restoring(images, truth, "sr2", sigma=0.05, samples=2, seed=4, steps=6)
    measurement = images.measure(truth, "sr2", sigma=0.05, seed=4)
    want = images(measurement, samples=2, seeds=[4], steps=6)
    assert last.output.ids.equal(want.ids)
    model, decode = images.model.tokenizer, images.model.tokenizer.decode
    model.decode = lambda codes: computed.append(1) or decode(codes)
    try:
        run = restoring(images, truth, "sr2", sigma=0.05, samples=1, seed=4, steps=50)
        for found in run:
            if found.step == 3:
                break
        run.close()
        done = len(computed)
        time.sleep(0.3)
        assert len(computed) == done
        assert last.output is not None
        assert found.output is None
    finally:
        del model.decode


def test_without_an_image_model_the_tab_says_so():
    demo = Demo(APSPipeline(tiny_text_model()))
    assert "No image model is installed" in next(
        demo.restored(None, "m", "restore", "sr2", 0.1, 1, 0)
    )


def parsed(*words) -> argparse.Namespace:
    return build_parser().parse_args(["demo", *words])


def test_it_is_local_and_not_shared_unless_told(monkeypatch, tmp_path):
    import gradio

    seen = []
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setattr(gradio.Blocks, "launch", lambda self, **how: seen.append(how))
    monkeypatch.setattr(gradio.Blocks, "block_thread", lambda self: None)
    assert main(["demo", "--model", write_tiny(tmp_path)]) == 0
    assert (seen[0]["server_name"], seen[0]["share"]) == ("127.0.0.1", False)
    assert seen[0]["run_history"] is False


def test_its_warnings_advise_commands(tmp_path):
    assert demo_of(parsed("--model", write_tiny(tmp_path))).pipe.shell


def test_a_page_that_closes_ends_its_runs_and_waits_for_the_step_they_are_at():
    closing, begun, go, ended = Closing(), threading.Event(), threading.Event(), []

    def run(count):
        for number in range(count):
            begun.set()
            go.wait()
            ended.append(number)
            yield number

    steps = closing.until_closed(run)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(steps(9)))
    reader.start()
    begun.wait()
    closing.stop()
    closer = threading.Thread(target=closing.close)
    closer.start()
    assert closer.is_alive()
    go.set()
    [thread.join() for thread in (reader, closer)]
    assert seen == ended == [0]
    assert list(steps(9)) == []
    assert list(Closing().until_closed(run)(3)) == [0, 1, 2]


@pytest.mark.parametrize("more", [["--share"], ["--host", "0.0.0.0"]])
def test_code_is_never_taken_from_a_page_others_can_open(more, capsys):
    with pytest.raises(ValueError, match="leave out one of them"):
        demo_of(parsed("--trust-code", *more))
    assert main(["demo", "--trust-code", *more]) == 2
    assert "lets others type" in capsys.readouterr().err


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
READY = "document.querySelector('#run') && document.querySelector('#question textarea')"
DONE = "document.querySelectorAll('#links a').length === 2"
UNDER_ARROWS = """[...document.querySelectorAll('input[role=combobox]')].filter(box => {
  const style = getComputedStyle(box), ink = document.createElement('canvas').getContext('2d');
  ink.font = style.font;
  const end = box.getBoundingClientRect().x + parseFloat(style.paddingLeft);
  const arrow = box.parentElement.querySelector('svg').getBoundingClientRect();
  return arrow.width && end + ink.measureText(box.value).width > arrow.x;
}).map(box => box.value)"""
CAN = "document.querySelector('#{}')?.disabled === false"
SHOWN = "document.querySelector('#shown').innerText"


@pytest.fixture(scope="module")
def served(demo):
    page = launch(demo, host="127.0.0.1", port=None, share=False, browser=False)
    yield page.local_url
    page.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def type_in(browser, where, text):
    browser.js(
        f"""(box => {{
          const set = Object.getOwnPropertyDescriptor(box.constructor.prototype, "value").set;
          set.call(box, {json.dumps(text)});
          box.dispatchEvent(new Event("input", {{bubbles: true}}));
        }})(document.querySelector({json.dumps(where)}))"""
    )


def click(browser, where):
    browser.js(f"document.querySelector({json.dumps(where)}).click()")


@pytest.fixture
def slowly(monkeypatch):
    """Steps that take a while, counted."""
    computed, step = [], Stream._step

    def slow(self):
        computed.append(1)
        time.sleep(0.15)
        return step(self)

    monkeypatch.setattr(Stream, "_step", slow)
    return computed


@needs_browser
def test_a_browser_sees_tokens_appear_and_text_stays_text(served, browser, slowly):
    browser.look()
    browser.visit(served, READY)
    type_in(browser, "#question textarea", MARKUP)
    click(browser, "#run")
    counts = set()
    texts = "document.querySelectorAll('#shown .token:not(.open)').length"
    end = time.monotonic() + 180
    while not browser.js(DONE):
        counts.add(browser.js(texts))
        assert time.monotonic() < end, browser.js(SHOWN)
    assert len(counts) > 4
    assert browser.js("document.querySelectorAll('#shown img, #links img').length") == 0
    assert browser.js("document.querySelectorAll('#shown [data-side]').length") == 2
    browser.wait(CAN.format("again"))
    click(browser, "#replay button")
    browser.wait("document.querySelector('#page iframe')")
    browser.js("document.querySelector('#page iframe').scrollIntoView()")  # unseen, it is not drawn
    browser.wait("document.querySelector('#page iframe').style.height")  # as the page told it
    frame = browser.js("document.querySelector('#page iframe').srcdoc")
    assert MARKUP in Reader(frame).text
    assert browser.js("document.querySelector('#page iframe').sandbox.value") == "allow-scripts"
    other = "performance.getEntriesByType('resource').filter(r => !r.name.startsWith(origin)"
    assert browser.js(other + " && !r.name.startsWith('data:')).map(r => r.name)") == []
    click(browser, "#again")
    browser.wait(f"{SHOWN}.includes('token for token')")
    assert browser.errors == []


@needs_browser
def test_on_a_phone_run_shows_its_result_and_only_what_can_be_pressed_is_pressed(
    served, browser, slowly
):
    def can():
        return [browser.js(CAN.format(one)) for one in ("run", "stop", "again", "shared")]

    browser.look(width=390, height=844)
    browser.visit(served, READY)
    assert can() == [True, False, False, True]
    assert browser.js("document.querySelector('#replay')") is None
    type_in(browser, "#question textarea", " ")
    click(browser, "#run")
    browser.wait("document.querySelector('#shown [role=alert]')")
    browser.wait(CAN.format("run"))
    assert can() == [True, False, False, True]
    type_in(browser, "#question textarea", "what is a dog ?")
    browser.js("scrollTo(0, 0)")
    click(browser, "#run")
    browser.wait("document.querySelector('#shown [data-side]')")
    assert browser.js("document.querySelector('#shown [role=alert]')") is None
    assert can() == [False, True, False, False]
    browser.wait(
        "document.querySelector('#shown .canvas').getBoundingClientRect().top < innerHeight"
    )
    browser.wait("document.querySelector('#stop').getBoundingClientRect().top >= 0")
    browser.wait("document.querySelector('#stop').getBoundingClientRect().top < innerHeight / 3")
    click(browser, "#run")
    browser.wait(DONE)
    assert len(slowly) <= 2 * (8 + 1)  # of one run: two answers
    browser.wait(CAN.format("again"))
    assert can() == [True, False, True, True]
    click(browser, "#again")
    browser.wait(CAN.format("stop"))
    browser.wait("document.querySelectorAll('#shown .token.anchor').length > 1")
    click(browser, "#stop")
    browser.wait(CAN.format("run"))
    assert can() == [True, False, True, True]
    assert "Stopped" in browser.js("document.querySelector('#links').innerText")


@needs_browser
def test_the_tab_of_images_stops_and_can_be_pressed_again(served, browser):
    browser.look(width=390, height=844)
    browser.visit(served, READY)
    browser.js("[...document.querySelectorAll('[role=tab]')].at(-1).click()")
    browser.wait("document.querySelector('#restore')?.offsetHeight")
    assert not browser.js(CAN.format("image-stop"))
    click(browser, "#restore")
    browser.wait("document.querySelectorAll('#restored img').length > 5")
    browser.wait(CAN.format("restore"))
    assert not browser.js(CAN.format("image-stop"))
    assert browser.js("document.querySelector('#restored').getBoundingClientRect().top") < 844


@needs_browser
def test_a_stopped_run_stops_computing_and_so_does_one_that_is_left(served, browser, slowly):
    for leave in (
        lambda: click(browser, "#stop"),
        lambda: browser.do("Page.navigate", url="about:blank"),
    ):
        browser.visit(served, READY)
        slowly.clear()
        click(browser, "#run")
        browser.wait("document.querySelectorAll('#shown .token.anchor').length > 1")
        leave()
        time.sleep(1.0)
        done = len(slowly)
        time.sleep(1.0)
        assert len(slowly) == done
        assert 1 <= done < 12  # of two times eight, and two ends


@needs_browser
def test_two_users_at_once_get_their_own_answers(served, browser, demo):
    def wanted(question):
        typed = [question, "balanced", "", 0, "", "", "sentiment", 1.0, ""]
        run = list(demo.run(*typed, *["", 1.0, ""] * (ROWS - 1)))[-1][3]
        return [answer["text"] for answer in run["answers"]]

    asked = ["what is a dog ?", "why is the piano red ?"]
    want = [wanted(question) for question in asked]
    with chromium() as other:
        both = list(zip([browser, other], asked, strict=True))
        for one, question in both:
            one.visit(served, READY)
            type_in(one, "#question textarea", question)
        for one, _ in both:
            click(one, "#run")
        for (one, _), texts in zip(both, want, strict=True):
            one.wait(DONE)
            shown = one.js("[...document.querySelectorAll('#shown .answer')].map(p => p.innerText)")
            assert [line.removeprefix("answer ").strip() for line in shown] == texts
    assert want[0] != want[1]


@needs_browser
def test_a_run_s_file_fills_the_form_in_a_browser(served, browser, demo, tmp_path):
    run = list(demo.run(*form("why is the piano red ?", seed=5)))[-1][3]
    (tmp_path / "run.json").write_text(json.dumps(run))
    (tmp_path / "other.json").write_text('{"a": 1}')
    browser.visit(served, READY)
    root = browser.do("DOM.getDocument")["root"]["nodeId"]
    where = "input[type=file][accept='.json']"
    found = browser.do("DOM.querySelector", nodeId=root, selector=where)["nodeId"]
    for name, said in [("run.json", "press Run"), ("other.json", "no run of this page")]:
        browser.do("DOM.setFileInputFiles", nodeId=found, files=[str(tmp_path / name)])
        browser.wait(f"document.querySelector('#shown')?.innerText.includes({said!r})")
        typed = browser.js("document.querySelector('#question textarea').value")
        assert typed == "why is the piano red ?"
    assert browser.errors == []


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_is_a_number_of_sixteen_bits(port):
    with pytest.raises(ValueError, match=f"--port is 1 to 65535, got {port}"):
        demo_of(parsed("--port", str(port)))


def test_a_port_that_is_taken_is_said_with_the_mend(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--model", write_tiny(tmp_path), "--port", str(port)]) == 2
    assert f"port {port}, which is taken" in capsys.readouterr().err


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_on_a_phone_and_the_dark_is_dark(served, browser, dark):
    browser.look(dark=dark, width=390, height=844)
    browser.visit(served, READY)
    click(browser, "#run")
    browser.wait(DONE)
    assert browser.js("document.documentElement.scrollWidth") <= 390
    for width in (320, 340, 360, 390, 412):
        browser.look(dark=dark, width=width, height=844)
        assert browser.js(UNDER_ARROWS) == [], width
    ink = browser.js("getComputedStyle(document.querySelector('#shown .canvas')).color")
    assert ink == ("rgb(231, 233, 236)" if dark else "rgb(28, 31, 35)")
