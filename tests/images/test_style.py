"""One property suite over the whole list of statistics; a new one is one line of CASES."""

from __future__ import annotations

import math

import pytest
import torch
from test_degradations import images, seeded
from torch.distributions import Normal

from aps_text.core.codebook import LFQCodebook, Relaxed
from aps_text.core.operator import Operator
from aps_text.images.classifier import AttributeClassifier, ClassifierConfig
from aps_text.images.degradations import SuperResolution
from aps_text.images.measurement import Measurement
from aps_text.images.style import Style
from aps_text.images.style_statistics import (
    Channels,
    Gram,
    Histogram,
    Statistic,
    filter_features,
    make_statistic,
)


def classifier(channels: int) -> AttributeClassifier:
    torch.manual_seed(0)
    config = ClassifierConfig(16, channels, 8, {"kind": ("a", "b")})
    return AttributeClassifier(config).double().eval().requires_grad_(False)


# name, statistic, channels of the images, number of statistics
CASES: list[tuple[str, Statistic, int, int]] = [
    ("channels of a classifier", Channels(classifier(1).features), 1, 2 * (8 + 16 + 32)),
    ("channels of filters", Channels(filter_features), 3, 3 * 2 * 12),
    ("gram of a classifier", Gram(classifier(3).features), 3, (8 * 9 + 16 * 17 + 32 * 33) // 2),
    ("gram of filters", Gram(filter_features), 1, 3 * 10),
    ("histogram", Histogram(), 1, 6),
    ("histogram of colours", Histogram(4), 3, 64),
]
every = pytest.mark.parametrize(
    ("statistic", "channels", "count"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)


@every
def test_shape_dtype_and_batch(statistic, channels, count):
    x = images(3, channels, (16, 16))
    found = statistic(x)
    assert found.shape == (3, count)
    assert found.dtype == x.dtype
    assert found.isfinite().all()
    for row in range(3):
        assert torch.allclose(statistic(x[row : row + 1]), found[row : row + 1], atol=1e-10)


@every
def test_the_reference_is_the_likeliest_image(statistic, channels, count):
    x = images(3, channels, (16, 16))
    style = Style.of(statistic, x)
    assert torch.allclose(style.distance(x), torch.zeros(3).double(), atol=1e-10)
    assert (style.log_density(x) > style.log_density(images(3, channels, (16, 16), 1))).all()
    peak, scale = style.gaussian()
    assert torch.allclose(style.log_density(x), peak)
    assert scale == style.sigma == statistic.sigma


@every
def test_the_density_is_that_of_torch(statistic, channels, count):
    x, other = images(2, channels, (16, 16), 1), images(2, channels, (16, 16), 2)
    style = Style.of(statistic, x, 0.3)
    expected = Normal(statistic(other), 0.3).log_prob(statistic(x)).sum(1)
    assert torch.allclose(style.log_density(other), expected, rtol=1e-9)
    assert style.counts().tolist() == [count, count]


@every
def test_the_gradient_is_that_of_finite_differences(statistic, channels, count):
    x, reference = images(1, channels, (16, 16), 7), images(1, channels, (16, 16), 3)
    style = Style.of(statistic, reference, 0.2)
    direction = torch.randn(x.shape, generator=seeded(8), dtype=torch.double)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(style.log_density(leaf).sum(), leaf)
    step = 1e-7
    up, down = (style.log_density(x + way * step * direction) for way in (1, -1))
    numeric = float(up - down) / (2 * step)
    exact = float((slope * direction).sum())
    assert abs(exact) > 1e-6
    assert math.isclose(numeric, exact, rel_tol=1e-3, abs_tol=1e-6)
    flat = torch.zeros_like(x).requires_grad_()
    (slope,) = torch.autograd.grad(style.log_density(flat).sum(), flat)
    assert slope.isfinite().all()


@every
def test_only_the_pixels_of_a_mask_count(statistic, channels, count):
    """The receptive fields of features cross the mask's border; far from it nothing counts."""
    x = images(1, channels, (16, 16), 1)
    where = torch.zeros(16, 16, dtype=torch.bool)
    where[:, :8] = True
    whole = torch.ones_like(where)
    assert torch.allclose(statistic(x, whole), statistic(x), atol=1e-10)
    assert not torch.allclose(statistic(x, where), statistic(x), atol=1e-4)
    leaf = x.clone().requires_grad_()
    style = Style.of(statistic, images(1, channels, (16, 16), 2)).inside(where)
    (slope,) = torch.autograd.grad(style.log_density(leaf).sum(), leaf)
    assert slope[..., :8].any()
    if statistic.name == "histogram":
        assert not slope[..., 8:].any()
    elif statistic.features is filter_features:
        assert not slope[..., 13:].any()


@every
def test_a_mask_of_the_reference_says_what_its_style_is(statistic, channels, count):
    x = images(2, channels, (16, 16))
    within = torch.zeros(16, 16, dtype=torch.bool)
    within[4:12, 4:12] = True
    part = Style.of(statistic, x, within=within)
    assert torch.allclose(part.target, statistic(x, within))
    assert not torch.allclose(part.target, Style.of(statistic, x).target, atol=1e-4)
    assert torch.allclose(
        part.inside(within).distance(x), torch.zeros(2, dtype=torch.double), atol=1e-10
    )


@every
def test_it_is_taken_by_rows(statistic, channels, count):
    x = images(3, channels, (16, 16))
    style, rows = Style.of(statistic, x), torch.tensor([2, 0, 0])
    other = images(3, channels, (16, 16), 5)
    assert torch.allclose(
        style.take(rows).log_density(other[rows]), style.log_density(other)[rows], rtol=1e-9
    )


def test_channel_statistics_by_hand():
    x = torch.tensor([[[[1.0, -1.0], [1.0, 1.0]]]]).double()
    found = Channels(lambda images: [images])(x)
    expected = torch.tensor([[0.5, math.sqrt(0.75 + 1e-4)]]).double() / math.sqrt(2)
    assert torch.allclose(found, expected)


def test_a_gram_matrix_by_hand_and_its_distance_is_frobenius():
    x, other = images(1, 3, (8, 8)), images(1, 3, (8, 8), 1)
    matrix = torch.einsum("bihw,bjhw->bij", x, x) / 64
    gap = matrix - torch.einsum("bihw,bjhw->bij", other, other) / 64
    style = Style.of(Gram(lambda images: [images]), x)
    assert torch.allclose(style.distance(other)[0] * 3, gap.square().sum().sqrt())


def test_a_histogram_by_hand():
    x = torch.tensor([-1.0, -1.0, 1.0, -0.5]).view(1, 1, 2, 2)
    assert torch.allclose(Histogram(3)(x), torch.tensor([[2.5, 0.5, 1.0]]) / 4)
    colour = torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1, 1)
    found = Histogram(2)(colour)[0].view(2, 2, 2)
    assert found[1, 0, 1] == 1
    assert torch.allclose(Histogram(4)(images(2, 3, (8, 8))).sum(1), torch.ones(2).double())


def test_averages_do_not_know_positions():
    x = images(1, 3, (16, 16))
    mixed = x.flatten(2)[:, :, torch.randperm(256, generator=seeded(0))].view(x.shape)
    assert torch.allclose(Histogram()(mixed), Histogram()(x))
    assert torch.allclose(Gram(lambda i: [i])(mixed), Gram(lambda i: [i])(x))
    assert not torch.allclose(Gram(filter_features)(mixed), Gram(filter_features)(x), atol=1e-3)


def test_filters_see_slopes_and_curves():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16) / 8 - 1
    first, second, third = filter_features(ramp)
    assert first.shape == (1, 4, 16, 16)
    assert third.shape == (1, 4, 4, 4)
    assert torch.allclose(first[0, 1, :, 1:-1], torch.tensor(1 / 8))
    assert torch.allclose(second[0, 1, :, 1:-1], torch.tensor(2 / 8))
    assert torch.allclose(first[0, 2:, 1:-1, 1:-1], torch.tensor(0.0), atol=1e-6)


def test_tokens_are_scored_through_the_decoder_and_styles_add_to_measurements():
    book = LFQCodebook(2)
    decode = lambda codes: codes.view(len(codes), 1, 8, 8) * 0.5  # noqa: E731
    ids = torch.randint(4, (2, 32), generator=seeded(0))
    shown = decode(book.embed(ids))
    style = Style.of(Histogram(), shown, decode=decode, codebook=book)
    assert isinstance(style, Operator)
    assert torch.allclose(style.log_prob_ids(ids).total, style.log_density(shown))
    rows, cols = torch.arange(2).repeat_interleave(32), torch.arange(32).repeat(2)
    probs = torch.full((64, 4), 0.25, requires_grad=True)
    relaxed = Relaxed(ids, rows, cols, probs, torch.ones_like(ids).bool(), "expectation")
    scores = style.log_prob(relaxed)
    (grad,) = torch.autograd.grad(scores.total.sum(), probs)
    assert grad.isfinite().all()
    assert list(scores.terms) == ["style"]
    y = Measurement.simulate(
        SuperResolution(2), shown, 0.1, seeded(1), decode=decode, codebook=book
    )
    both = (y + 0.5 * style).log_prob_ids(ids).total
    assert torch.allclose(both, y.log_density(shown) + 0.5 * style.log_density(shown))


BAD = [
    (lambda: make_statistic("mood"), ValueError, "statistic is one of channels, gram, histogram"),
    (lambda: Histogram(1), ValueError, "bins is a whole number of at least 2, got 1"),
    (lambda: Style(Histogram(), torch.zeros(1, 6), 0.0), ValueError, "sigma must be >= 1e-06"),
    (lambda: Style(Histogram(), torch.zeros(1, 6), 1e30), ValueError, r"and <= 1e\+06, got 1e\+30"),
    (lambda: Style(Histogram(), torch.zeros(1, 6), "1"), TypeError, "sigma is a number, got '1'"),
    (lambda: Style(Histogram(), torch.zeros(6), 0.1), ValueError, r"target is \(B, m\)"),
    (lambda: Style(Histogram(), torch.full((1, 6), math.nan), 0.1), ValueError, "finite"),
    (
        lambda: Style.of(Histogram(), images(1, 1, (8, 8)), within=torch.ones(8, 4).bool()),
        ValueError,
        r"mask of the references, is bool and of their height and width \(8, 8\); got \(8, 4\)",
    ),
    (
        lambda: Style.of(Histogram(), images(1, 1, (8, 8)), within=torch.zeros(8, 8).bool()),
        ValueError,
        "within is False everywhere",
    ),
    (lambda: style().inside(torch.ones(4, 4)), ValueError, r"where is \(H, W\) bool"),
    (lambda: style().inside(torch.zeros(8, 8).bool()), ValueError, "False everywhere"),
    (
        lambda: style().inside(torch.ones(4, 4).bool()).log_density(images(1, 1, (8, 8))),
        ValueError,
        "the same size",
    ),
    (lambda: style().log_density(images(2, 1, (8, 8))), ValueError, "2 images for the style of 1"),
    (lambda: style().log_prob_ids(torch.zeros(1, 4).long()), ValueError, "can only score images"),
    (lambda: Style.of(Histogram(), torch.zeros(1, 1, 8, 8).byte()), TypeError, "127.5"),
    (lambda: filter_features(images(1, 1, (4, 8))), ValueError, "at least 8 pixels"),
]


def reds(x, where):
    """Writes on its images, as the code of a user may."""
    return x.clamp_(0, 1).mean((2, 3))


def test_a_statistic_of_ones_own_may_write_on_the_images_it_is_given():
    reference, other = images(1, 1, (8, 8)), images(1, 1, (8, 8), seed=1)
    kept = reference.clone(), other.clone()
    found = Style.of(reds, reference, 0.1).distance(other)
    assert torch.equal(reference, kept[0])
    assert torch.equal(other, kept[1])
    assert torch.allclose(found, (reds(kept[0], None) - reds(kept[1], None)).abs()[0])


@pytest.mark.parametrize(
    ("statistic", "kind", "says"),
    [
        (lambda x, where: x.mean(), ValueError, r"must be \(2, m\), got \(\)"),
        (lambda x, where: x.mean(0, keepdim=True)[0].flatten(1), ValueError, r"must be \(2, m\)"),
        (lambda x, where: x.numpy(), TypeError, r"is a tensor .B, m., got ndarray"),
        (lambda x, where: x.mean((2, 3)) * torch.rand(()), ValueError, "another one at each call"),
        (lambda x, where: x.mean((2, 3)) / 0, ValueError, "of which 0 are finite"),
        (lambda x, where: (x - x.mean()).mean((2, 3)), ValueError, "another one beside other imag"),
        (lambda x, where: x.mean((2, 3)) / x.abs().max(), ValueError, "take it of each image"),
    ],
)
def test_a_statistic_that_is_none_is_refused_of_its_reference(statistic, kind, says):
    with pytest.raises(kind, match=says):
        Style.of(statistic, images(2, 1, (8, 8)), 0.1)


def test_a_statistic_without_a_gradient_is_refused_where_it_would_steer_nothing():
    made = Style.of(lambda x, where: x.detach().mean((2, 3)), images(1, 1, (8, 8)), 0.1)
    assert made.log_density(images(1, 1, (8, 8))).isfinite().all()
    with pytest.raises(ValueError, match=r"passes no gradient on .* estimator='rloo'"):
        made.log_density(images(1, 1, (8, 8)).requires_grad_())


def style() -> Style:
    return Style.of(Histogram(), images(1, 1, (8, 8)))


@pytest.mark.parametrize(("make", "kind", "says"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said(make, kind, says):
    with pytest.raises(kind, match=says):
        make()
