"""Painting by class and style, and editing by mask, on a tiny image model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_image_model import PRIOR, TOKENS, write

from aps_text.images.degradations import Blur
from aps_text.images.editing import outside_error
from aps_text.images.kernels import gaussian_kernel
from aps_text.images.lfq import LFQTokenizer
from aps_text.images.style import Style
from aps_text.images.style_statistics import Histogram
from aps_text.methods.g2d2 import G2D2
from aps_text.methods.split_gibbs import SplitGibbs
from aps_text.models.mini_image import MaskedImageModel
from aps_text.pipelines.image_model import ImageModel, load_image_model
from aps_text.pipelines.progress import progress_bar
from aps_text.pipelines.restoration import RestorationPipeline

FEW = {"steps": 4, "inner_steps": 4}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return RestorationPipeline(load_image_model(write(tmp_path_factory.mktemp("m") / "m")))


@pytest.fixture(scope="module")
def pictures(pipe):
    """Smooth pictures, which this tokenizer of random weights reproduces badly."""
    x = torch.linspace(-0.9, 0.9, 16)
    waves = [torch.sin(3 * x[:, None] * k + k) * torch.cos(2 * x * k) * 0.8 for k in (1, 2, 3)]
    return torch.stack(waves)[:, None]


def hole(*rows_and_cols: slice) -> torch.Tensor:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[rows_and_cols] = True
    return mask


MASKS = [
    hole(slice(5, 6), slice(9, 10)),
    hole(slice(4, 9), slice(4, 9)),
    hole(slice(0, 16), slice(0, 8)),
]


def smooth(count: int, generator: torch.Generator) -> torch.Tensor:
    """Images `(count, 1, 16, 16)` of blurred noise."""
    noise = torch.randn(count, 1, 16, 16, generator=generator)
    return (4 * Blur(gaussian_kernel(2.0))(noise)).clamp(-1, 1)


@pytest.fixture(scope="module")
def trained():
    """A pipeline whose tokenizer knows blurred noise, with a prior that knows nothing."""
    torch.manual_seed(0)
    tokenizer = LFQTokenizer(replace(TOKENS, width=16, bits=6))
    optimiser = torch.optim.Adam(tokenizer.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(150):
        x = smooth(16, generator)
        loss = (tokenizer(x)[0] - x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    prior = MaskedImageModel(replace(PRIOR, bits=6))
    for part in (tokenizer, prior):
        part.eval().requires_grad_(False)
    return RestorationPipeline(ImageModel("trained", tokenizer, prior))


@pytest.mark.parametrize("mask", MASKS, ids=["one pixel", "box", "half"])
def test_outside_an_edit_changes_less_than_the_tokenizer_s_own_error(trained, mask):
    """Each image, drawn and pasted; draws that ignore the pixels outside miss them by more."""
    errors, blind = [], []
    for image in smooth(4, torch.Generator().manual_seed(2)).split(1):
        tokenizer = trained.model.tokenizer
        before = tokenizer.decode_ids(tokenizer.encode(image)).clamp(-1, 1)
        own = float(outside_error(before, image, mask))
        found = trained.edit(image, mask, {"kind": "a"}, samples=4, steps=4, inner_steps=10)
        changed = outside_error(found.drawn, before.expand(4, -1, -1, -1), mask)
        assert (changed < own).all()
        other = trained.edit(image, mask, method="plain", samples=4, steps=4).drawn
        errors.append(outside_error(found.drawn, image.expand(4, -1, -1, -1), mask))
        blind.append(outside_error(other, image.expand(4, -1, -1, -1), mask))
        assert torch.equal(found.images[..., ~mask], image.expand(4, -1, -1, -1)[..., ~mask])
        assert torch.equal(found.images[..., mask], found.drawn[..., mask])
    assert float(torch.cat(errors).mean()) < float(torch.cat(blind).mean())


def test_a_style_of_another_model_is_scored_with_this_ones_tokenizer(pipe, trained, pictures):
    """Its decoder and its codes are not those of the tokens that are drawn."""
    own, other = (p.style(pictures[:1], "histogram") for p in (pipe, trained))
    one, two = (pipe.paint(style=style, **FEW) for style in (own, other))
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(one.scores["style"], two.scores["style"])
    mask = MASKS[1]
    one, two = (pipe.edit(pictures[0], mask, style=style, **FEW) for style in (own, other))
    assert torch.equal(one.ids, two.ids)
    coloured = Style.of(Histogram(), torch.zeros(1, 3, 16, 16))
    assert coloured.channels == 3
    with pytest.raises(
        ValueError, match=r"of images of 3 channels, and those of .* have 1; take it"
    ):
        pipe.paint(style=coloured, **FEW)
    with pytest.raises(ValueError, match="of images of 3 channels, and these have 1"):
        coloured.residual(pictures[:1])
    with pytest.raises(TypeError, match=r"style is a Style; make one .* got a?n? ?Tensor"):
        pipe.paint(style=pictures[:1])


def test_only_the_tokens_under_the_mask_are_drawn(pipe, pictures):
    image = pictures[:1]
    ids = pipe.model.tokenizer.encode(image)[0]
    short = SplitGibbs(sweeps=1, mh_steps=10), G2D2(inner_steps=3)
    for method in ("aps", "plain", "svdd", *short):
        found = pipe.edit(image, MASKS[1], method=method, samples=2, steps=3)
        assert found.opened.view(4, 4).nonzero().tolist() == [
            [row, col] for row in (1, 2) for col in (1, 2)
        ]
        kept = ids[~found.opened].expand(2, -1)
        assert torch.equal(found.ids[:, ~found.opened], kept), method
        assert int(found.ids.max()) < pipe.model.mask_id
    wide = pipe.edit(image, MASKS[0], widen=1, steps=3)
    assert int(wide.opened.sum()) == 9
    assert "1 image(s), 9 of 16 tokens" in repr(wide)


def test_an_edit_keeps_the_outside_better_than_a_draw_that_ignores_it(pipe, pictures):
    """The pixels outside guide the draw: their density is higher than under the prior."""
    for row in range(3):
        image = pictures[row : row + 1]
        blind = pipe.edit(image, MASKS[1], method="plain", samples=8, steps=4)
        found = pipe.edit(image, MASKS[1], samples=8, **FEW)
        assert found.scores["kept"].mean() > blind.scores["kept"].mean()


def test_a_style_guides_what_is_painted(pipe, pictures):
    reference = pipe.model.tokenizer.decode_ids(torch.full((1, 16), 5)).detach().clamp(-1, 1)
    plain = pipe.paint({"kind": "b"}, samples=6, steps=4)
    assert plain.scores == {}
    assert plain.opened.all()
    assert torch.equal(plain.images, plain.drawn)
    for name in ("channels", "gram", "histogram"):
        style = pipe.style(reference, name, sigma=0.003)  # this decoder's images are pale
        found = pipe.paint({"kind": "b"}, style=style, samples=6, **FEW)
        rows = torch.zeros(6, dtype=torch.long)
        gap = style.take(rows).distance(found.images).mean()
        assert gap < style.take(rows).distance(plain.images).mean(), name
        assert found.images.shape == (6, 1, 16, 16)
        assert torch.allclose(
            found.scores["style"], style.take(rows).log_prob_ids(found.ids).total, rtol=1e-4
        )


def test_several_references_are_added(pipe, pictures):
    styles = [pipe.style(picture[None], "gram", sigma=0.01) for picture in pictures[:2]]
    found = pipe.paint(style=styles, samples=3, **FEW)
    rows = torch.zeros(3, dtype=torch.long)
    assert set(found.scores) == {"style", "style_2"}
    for name, style in zip(("style", "style_2"), styles, strict=True):
        torch.testing.assert_close(
            found.scores[name], style.take(rows).log_prob_ids(found.ids).total, rtol=1e-4, atol=1e-3
        )
    alone, listed = (pipe.paint(style=one, **FEW) for one in (styles[0], styles[:1]))
    assert torch.equal(alone.ids, listed.ids)
    edited = pipe.edit(pictures[0], MASKS[1], style=tuple(styles), **FEW)
    assert set(edited.scores) == {"kept", "style", "style_2"}
    inside = styles[1].inside(MASKS[1])
    torch.testing.assert_close(
        edited.scores["style_2"], inside.log_prob_ids(edited.ids).total, rtol=1e-4, atol=1e-3
    )
    for wrong, says in (([], "an empty list"), ([styles[0], "gram"], "style is a Style")):
        with pytest.raises((TypeError, ValueError), match=says):
            pipe.paint(style=wrong, **FEW)


def test_a_style_counts_inside_of_an_edit_only(pipe, pictures):
    image, mask = pictures[:1], MASKS[2]
    style = pipe.style(-image, Histogram(), sigma=0.03)
    found = pipe.edit(image, mask, style=style, samples=4, **FEW)
    without = pipe.edit(image, mask, samples=4, **FEW)
    rows, inside = torch.zeros(4, dtype=torch.long), style.inside(mask)
    near = inside.take(rows).distance(found.drawn).mean()
    assert near < inside.take(rows).distance(without.drawn).mean()
    assert set(found.scores) == {"kept", "style"}
    assert torch.allclose(
        found.scores["style"], inside.take(rows).log_prob_ids(found.ids).total, rtol=1e-4
    )


def test_a_style_of_some_pixels_counts_in_those_of_them_that_may_change(pipe, pictures):
    image, mask = pictures[:1], MASKS[2]
    half = mask & (torch.arange(16) < 4)
    assert bool(half.any())
    assert not torch.equal(half, mask)
    style = pipe.style(-image, Histogram(), sigma=0.03)
    found = pipe.edit(image, mask, style=style.inside(half | ~mask), samples=2, **FEW)
    score = style.inside(half).take(torch.zeros(2, dtype=torch.long)).log_prob_ids(found.ids).total
    assert torch.allclose(found.scores["style"], score, rtol=1e-4)
    with pytest.raises(ValueError, match="that the edit's mask keeps, so that it would guide noth"):
        pipe.edit(image, mask, style=style.inside(~mask), **FEW)


def test_a_seed_and_a_draw_decide_a_picture(pipe, pictures):
    few = pipe.paint({"kind": "a"}, samples=2, steps=4, seed=3)
    many = RestorationPipeline(pipe.model, batch_size=2).paint(
        {"kind": "a"}, samples=5, steps=4, seed=3
    )
    assert torch.equal(few.ids, many.ids[:2])
    assert not torch.equal(few.ids, pipe.paint({"kind": "a"}, samples=2, steps=4).ids)
    one = pipe.edit(pictures[0], MASKS[1], samples=1, seed=3, **FEW)
    two = pipe.edit(pictures[:1], MASKS[1].float(), samples=2, seed=3, **FEW)
    assert torch.equal(one.ids, two.ids[:1])


def test_the_classifier_s_features_make_the_style_and_filters_without_one(pipe, tmp_path):
    image = torch.zeros(1, 1, 16, 16)
    judged = pipe.style(image, "channels")
    bare = RestorationPipeline(load_image_model(write(tmp_path / "m", ("tokenizer", "prior"))))
    assert judged.target.shape == (1, 2 * (8 + 16 + 32))
    assert bare.style(image, "channels").target.shape == (1, 3 * 2 * 4)


def test_a_bar_shows_the_steps_of_all_samples(pipe, capsys, monkeypatch):
    monkeypatch.setattr("aps_text.pipelines.progress.DELAY", 0)

    def eager(*args):
        bar = progress_bar(*args)
        bar.mininterval = 0
        return bar

    monkeypatch.setattr("aps_text.pipelines.image_call.progress_bar", eager)
    pipe.paint(samples=3, steps=2, progress=True)
    shown = capsys.readouterr().err
    assert "paint:  50%" in shown
    assert "paint: 100%" in shown
    pipe.paint(samples=3, steps=2, progress=False)
    assert capsys.readouterr().err == ""


BAD = [
    (lambda p, i: p.edit(i, torch.rand(16, 16)), ValueError, "only hold 0"),
    (lambda p, i: p.edit(i, torch.ones(8, 8)), ValueError, "the same size"),
    (lambda p, i: p.edit(i[..., :8, :8], MASKS[0]), ValueError, r"images \(B, 1, 16, 16\), got"),
    (lambda p, i: p.edit(i.expand(2, -1, -1, -1), MASKS[0]), ValueError, "one image, got 2"),
    (lambda p, i: p.edit(i, MASKS[0], keep_sigma=-1.0), ValueError, "sigma must be >= 1e-06"),
    (lambda p, i: p.edit(i, MASKS[0], {"kind": "z"}), ValueError, "kind='z' is not one of a, b"),
    (lambda p, i: p.edit(i, MASKS[0], samples=0), ValueError, "samples must be at least 1"),
    (lambda p, i: p.edit(i, MASKS[0], style="mood"), TypeError, "pipe.style"),
    (lambda p, i: p.edit(i, MASKS[0], pasted="no"), TypeError, "pasted is True or False, got 'no'"),
    (lambda p, i: p.style(i, Histogram), TypeError, "or a Statistic; got"),
    (
        lambda p, i: p.edit(i, MASKS[0], style=p.style(i).inside(torch.ones(8, 8).bool())),
        ValueError,
        r"counts in pixels of \(8, 8\) and the image is \(16, 16\)",
    ),
    (lambda p, i: p.paint(method="magic"), ValueError, "method is one of aps"),
    (lambda p, i: p.paint(inner_steps=50), ValueError, "inner_steps=50 has no use here"),
    (lambda p, i: p.paint(num_return_sequences=2), ValueError, "use samples="),
    (lambda p, i: p.paint(progress="yes"), TypeError, "progress is True, False or None"),
    (
        lambda p, i: p.paint(style=p.style(i).take(torch.zeros(2).long())),
        ValueError,
        "of one reference here, got one of 2; give a list",
    ),
    (lambda p, i: p.style(i[..., :8, :8]), ValueError, r"images \(B, 1, 16, 16\), got"),
    (lambda p, i: p.style(i, "mood"), ValueError, "statistic is one of channels"),
    (lambda p, i: p.style(i, sigma=0), ValueError, "sigma must be >= 1e-06"),
]


@pytest.mark.parametrize(("call", "kind", "says"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said(pipe, pictures, call, kind, says):
    with pytest.raises(kind, match=says):
        call(pipe, pictures[:1])


def test_calls_with_values_of_another_kind_are_one_line_errors(pipe, pictures):
    image, mask = pictures[:1], MASKS[1]
    calls = (
        (lambda: pipe.paint(on_step=3, steps=4), TypeError, r"on_step\(index, state\); got .*3"),
        (lambda: pipe.edit(image, mask, on_step=3), TypeError, r"on_step\(index, state\)"),
        (lambda: pipe.paint(5), TypeError, r"by name, e\.g\. {'kind': 'a'}; got 5"),
        (lambda: pipe.paint([5]), TypeError, r"by name, e\.g\. {'kind': 'a'}; got 5"),
        (lambda: pipe.paint(""), ValueError, r"by name \(kind\), not a text; got ''"),
        (lambda: pipe.style(image, 5), TypeError, "one of channels, gram, histogram, .* got .*5"),
        (lambda: pipe.style(image, within=[[True]]), TypeError, r"tensor \(H, W\), got .*list"),
    )
    for call, kind, said in calls:
        with pytest.raises(kind, match=said) as found:
            call()
        assert "\n" not in str(found.value)
