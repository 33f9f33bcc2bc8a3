"""`examples/steering_picture.py`: an animated picture of a real run, small enough for README."""

from __future__ import annotations

import importlib.util

import pytest
from paths import ROOT
from tiny import tiny_text_model

from aps_text import APSPipeline

Image = pytest.importorskip("PIL.Image")
PICTURE = ROOT / "docs/assets/steering.gif"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "examples/steering_picture.py"
    spec = importlib.util.spec_from_file_location("steering_picture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def colours(image):
    return {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}


def test_a_frame_a_step_with_anchors_and_the_answers_of_its_choice(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "GUIDE", "length")
    pipe = APSPipeline(tiny_text_model())
    outs = script.answers(pipe, "why ?", steps=6, max_new_tokens=12, temperature=1.0)
    frames = script.picture("why ?", outs)
    assert len(frames) == 7
    anchor = (11, 122, 67)
    assert anchor not in colours(frames[0])
    assert all(anchor in colours(one) for one in frames[1:6])
    assert len({one.tobytes() for one in frames}) == 7
    script.write([frames, frames[:2]], tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as found:
        assert found.n_frames == 10
        assert found.info["loop"] == 0


def test_the_questions_are_those_of_the_readme(script):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = [text.index(f"\n{question}\n  plain ") for question in script.QUESTIONS]
    assert places == sorted(places)


def test_the_picture_of_the_readme_is_an_animation_below_400_kb():
    assert PICTURE.stat().st_size < 400_000
    with Image.open(PICTURE) as found:
        assert found.n_frames > 4
