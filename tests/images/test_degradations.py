"""One property suite over the whole list of degradations; a new one is one line of CASES."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import Normal

from aps_text.core.codebook import LFQCodebook
from aps_text.images.degradation import Degradation, adjoint, rough_image
from aps_text.images.degradations import (
    Blur,
    Compose,
    Grayscale,
    HighDynamicRange,
    Inpainting,
    JpegLike,
    NonlinearBlur,
    SuperResolution,
    degradation_from_state,
)
from aps_text.images.kernels import gaussian_kernel, motion_kernel
from aps_text.images.masks import box_mask, drop_mask
from aps_text.images.measurement import Measurement, model_sigma_of
from aps_text.images.measurement_files import read_measurement, write_measurement
from aps_text.images.tasks import TASKS, make_task


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int, channels: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Smooth images in about [-.8, .8], double."""
    noise = torch.randn(batch, channels, *size, generator=seeded(seed), dtype=torch.double)
    smooth = Blur(gaussian_kernel(1.5).double())(noise)
    return 0.8 * smooth / smooth.abs().amax((1, 2, 3), keepdim=True)


# name, degradation, size, channels, shape of the measurement, slopes that are 0 by design
CASES: list[tuple[str, Degradation, tuple[int, int], int, tuple[int, ...]]] = [
    ("sr2", SuperResolution(2), (16, 24), 1, (1, 8, 12)),
    ("sr4", SuperResolution(4), (16, 16), 3, (3, 4, 4)),
    ("gauss", Blur(gaussian_kernel(1.5).double()), (15, 16), 3, (3, 15, 16)),
    ("motion", Blur(motion_kernel(9, seeded(1)).double()), (16, 16), 1, (1, 16, 16)),
    ("tiny blur", Blur(gaussian_kernel(2.0).double()), (4, 4), 1, (1, 4, 4)),
    ("drop", Inpainting(drop_mask((16, 16), seeded(2))), (16, 16), 3, (3, 16, 16)),
    ("box", Inpainting(box_mask((16, 12), seeded(3))), (16, 12), 1, (1, 16, 12)),
    ("hdr", HighDynamicRange(), (8, 8), 3, (3, 8, 8)),
    ("nonlinear", NonlinearBlur(motion_kernel(9, seeded(4)).double()), (16, 16), 3, (3, 16, 16)),
    ("jpeg", JpegLike(30), (13, 16), 1, (1, 13, 16)),
    ("gray", Grayscale(), (8, 10), 3, (1, 8, 10)),
    ("both", Compose([Grayscale(), SuperResolution(2)]), (8, 8), 3, (1, 4, 4)),
    (
        "holes",
        Compose([Grayscale(), Inpainting(drop_mask((8, 8), seeded(5)))]),
        (8, 8),
        3,
        (1, 8, 8),
    ),
]
every = pytest.mark.parametrize(
    ("degradation", "size", "channels", "shape"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)


@every
def test_shape_dtype_and_batch(degradation, size, channels, shape):
    x = images(3, channels, size)
    y = degradation(x)
    assert y.shape == (3, *shape)
    assert y.dtype == x.dtype
    assert degradation(x.float()).dtype == torch.float32
    for row in range(3):
        assert torch.allclose(degradation(x[row : row + 1]), y[row : row + 1], atol=1e-12)


@every
def test_a_constant_image_stays_in_range(degradation, size, channels, shape):
    """Averages and tone curves keep black, grey and white where they are, but for the rounding."""
    for value in (-1.0, 0.0, 0.4, 1.0):
        x = torch.full((1, channels, *size), value, dtype=torch.double)
        y = degradation(x)
        assert y.isfinite().all()
        assert y.abs().max() <= 1 + 0.05
        if degradation.name in ("super-resolution", "blur", "grayscale"):
            assert torch.allclose(y, torch.full_like(y, value), atol=1e-4)


@every
def test_it_is_a_function_and_its_state_builds_it_again(degradation, size, channels, shape):
    x = images(2, channels, size)
    again = degradation_from_state(degradation.state())
    assert torch.equal(degradation(x), degradation(x))
    assert torch.equal(again(x), degradation(x))
    assert again.linear == degradation.linear


@every
def test_the_gradient_is_that_of_finite_differences(degradation, size, channels, shape):
    x = 0.4 * images(1, channels, size, seed=7)  # hdr does not saturate here
    direction = torch.randn(x.shape, generator=seeded(8), dtype=torch.double)
    weight = torch.randn((1, *shape), generator=seeded(9), dtype=torch.double)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad((degradation(leaf) * weight).sum(), leaf)
    assert slope.isfinite().all()
    if degradation.name == "jpeg":  # straight-through: its own test
        return
    step = 1e-6
    up, down = degradation(x + step * direction), degradation(x - step * direction)
    numeric = ((up - down) * weight).sum() / (2 * step)
    assert torch.allclose(numeric, (slope * direction).sum(), rtol=1e-4, atol=1e-6)


@every
def test_the_rough_image_of_a_constant_image_is_that_image(degradation, size, channels, shape):
    flat = torch.full((2, channels, *size), 0.3, dtype=torch.double)
    found = rough_image(degradation, degradation(flat), (channels, *size))
    assert found.shape == flat.shape
    assert torch.allclose(found, flat, atol=0.03)  # jpeg rounds
    rough = rough_image(degradation, degradation(images(2, channels, size)), (channels, *size))
    assert rough.isfinite().all()


def test_a_hole_is_filled_from_around_it_and_the_rest_stays():
    mask = box_mask((16, 16), seeded(0))
    ramp = torch.linspace(-0.8, 0.8, 16).expand(1, 1, 16, 16)
    found = rough_image(Inpainting(mask), Inpainting(mask)(ramp), (1, 16, 16))
    assert torch.equal(found[..., mask], ramp[..., mask])
    assert float((found - ramp).abs().max()) < 0.3  # what is measured of the hole reads 0


class Unguessed:
    name, linear = "own", True

    def __call__(self, x: Tensor) -> Tensor:
        return -x

    def observed(self, y: Tensor) -> None:
        return None


def test_a_degradation_without_a_rough_image_has_none_in_a_chain_either():
    y = torch.zeros(1, 1, 4, 4)
    for degradation in (Unguessed(), Compose([Unguessed(), SuperResolution(2)])):
        assert rough_image(degradation, y, (1, 8, 8)) is None
        book = LFQCodebook(3)
        made = Measurement(
            degradation, y, 0.1, lambda codes: codes, book,
            encode=lambda x: torch.zeros(len(x), 4, dtype=torch.long), shape=(1, 8, 8),
        )  # fmt: skip
        assert made.guess().shape == (1, 0, 3)


def test_the_guess_counts_what_is_measured_of_a_tokens_cell():
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[:4, :4] = False  # all of the first token's cell
    mask[0:2, 4:] = False  # half of the second's
    made = Measurement(
        Inpainting(mask), torch.zeros(2, 3, 8, 8), 0.1, lambda codes: codes, LFQCodebook(3),
        encode=lambda x: torch.full((len(x), 4), 5), shape=(3, 8, 8),
    )  # fmt: skip
    code = LFQCodebook(3).embed(torch.tensor(5))
    expected = torch.tensor([0.0, 0.5, 1.0, 1.0])[:, None] * code
    assert torch.equal(made.guess(), expected.expand(2, 4, 3))


def test_saturated_pixels_have_no_gradient():
    x = torch.tensor([[[[0.2, 0.7], [-0.9, -0.1]]]], dtype=torch.double, requires_grad=True)
    (slope,) = torch.autograd.grad(HighDynamicRange()(x).sum(), x)
    assert slope.flatten().tolist() == [2, 0, 0, 2]


def test_jpeg_passes_the_gradient_of_its_rounding_on_unchanged():
    x = images(1, 1, (16, 16)).requires_grad_()
    weight = torch.randn(1, 1, 16, 16, generator=seeded(1), dtype=torch.double)
    (slope,) = torch.autograd.grad((JpegLike(10)(x) * weight).sum(), x)
    assert torch.allclose(slope, weight, atol=1e-9)


@every
def test_linear_ones_are_linear_and_adjoint(degradation, size, channels, shape):
    x, u = images(2, channels, size, 1), images(2, channels, size, 2)
    if not degradation.linear:
        assert not torch.allclose(degradation(x + u), degradation(x) + degradation(u), atol=1e-6)
        with pytest.raises(ValueError, match="no adjoint"):
            adjoint(degradation, degradation(x), x)
        return
    assert torch.allclose(degradation(x + 3 * u), degradation(x) + 3 * degradation(u), atol=1e-9)
    y = torch.randn(2, *shape, generator=seeded(3), dtype=torch.double)
    left = (degradation(x) * y).sum()
    right = (x * adjoint(degradation, y, x)).sum()
    assert torch.allclose(left, right, rtol=1e-9)


@every
def test_the_density_is_that_of_torch(degradation, size, channels, shape):
    x, other = images(2, channels, size, 1), images(2, channels, size, 2)
    measured = Measurement.simulate(degradation, x, 0.05, seeded(4), model_sigma=0.12)
    mean = degradation(other)
    each = Normal(mean, math.hypot(0.05, 0.12)).log_prob(measured.y)
    observed = degradation.observed(each)
    if observed is not None:
        each = each * observed
    expected = each.flatten(1).sum(1)
    assert torch.allclose(measured.log_density(other), expected, rtol=1e-9)


@every
def test_the_true_image_has_a_chi2_of_about_one(degradation, size, channels, shape):
    x = images(40, channels, size, 1)
    measured = Measurement.simulate(degradation, x, 0.05, seeded(4))
    entries = int(measured.counts().sum())
    mean = float(measured.chi2(x).mean())
    assert abs(mean - 1) < 5 * math.sqrt(2 / entries)
    assert float(measured.chi2(images(40, channels, size, 2)).mean()) > 2


@every
def test_a_measurement_is_seeded_image_by_image_and_taken_by_rows(
    degradation, size, channels, shape
):
    x = images(3, channels, size)
    y = Measurement.simulate(degradation, x, 0.1, seeded(0))
    assert torch.equal(y.y, Measurement.simulate(degradation, x, 0.1, seeded(0)).y)
    assert not torch.equal(y.y, Measurement.simulate(degradation, x, 0.1, seeded(1)).y)
    first = Measurement.simulate(degradation, x[:2], 0.1, seeded(0))
    assert torch.allclose(first.y, y.y[:2], atol=1e-12)
    rows = torch.tensor([2, 0, 0])
    assert torch.allclose(y.take(rows).log_density(x[rows]), y.log_density(x)[rows], rtol=1e-12)


@every
def test_it_is_saved_with_all_that_is_random_in_it(degradation, size, channels, shape, tmp_path):
    x = images(2, channels, size)
    measured = Measurement.simulate(degradation, x, 0.1, seeded(0), model_sigma=0.2)
    write_measurement(measured, tmp_path / "y.safetensors")
    again = read_measurement(tmp_path / "y.safetensors")
    assert torch.equal(again.log_density(x), measured.log_density(x))
    assert (again.sigma, again.model_sigma) == (0.1, 0.2)


def test_a_sigma_of_numpy_is_saved_as_a_number(tmp_path):
    y, sigma = images(1, 1, (4, 4)), np.float32(0.25)
    write_measurement(Measurement(HighDynamicRange(np.float32(2)), y, sigma), tmp_path / "y")
    found = read_measurement(tmp_path / "y")
    assert (found.sigma, found.degradation) == (0.25, HighDynamicRange(2.0))


def test_no_noise_where_nothing_is_measured():
    mask = drop_mask((16, 16), seeded(0))
    x = images(1, 1, (16, 16))
    measured = Measurement.simulate(Inpainting(mask), x, 0.3, seeded(1))
    assert (measured.y[0, 0][~mask] == 0).all()
    assert int(measured.counts()[0]) == int(mask.sum())
    other = torch.where(mask, x, torch.ones_like(x))
    assert torch.equal(measured.log_density(other), measured.log_density(x))


def test_masks_of_other_values_are_refused():
    with pytest.raises(ValueError, match=r"hold 0 \(unknown\) and 1"):
        Inpainting(torch.full((4, 4), 0.5))
    with pytest.raises(ValueError, match=r"is 0 \(unknown\) everywhere"):
        Inpainting(torch.zeros(4, 4))
    assert Inpainting(torch.eye(3)).mask.dtype == torch.bool


def test_the_tasks_are_drawn_by_their_seed():
    for name in TASKS:
        one, two = make_task(name, (32, 32), 3), make_task(name, (32, 32), 3)
        x = images(1, 3, (32, 32))
        assert torch.equal(one(x), two(x))
    for name, task in TASKS.items():
        found = [make_task(name, (32, 32), seed)(x) for seed in range(6)]
        differs = any(not torch.equal(found[0], other) for other in found[1:])
        assert task.random == differs, name
    with pytest.raises(ValueError, match="task is one of sr2"):
        make_task("deblur", (32, 32))


def test_the_masks_have_the_shares_they_say():
    assert int((~drop_mask((20, 20), seeded(0), 0.7)).sum()) == 280
    hidden = [float((~drop_mask((40, 40), seeded(s), 0.3, 0.7)).double().mean()) for s in range(30)]
    assert 0.29 < min(hidden) < 0.4
    assert 0.6 < max(hidden) < 0.71
    for seed in range(20):
        box = ~box_mask((32, 32), seeded(seed))
        rows, cols = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
        assert (len(rows), len(cols)) == (16, 16)
        assert int(box.sum()) == 256
        assert rows.min() >= 2
        assert rows.max() <= 29


@pytest.mark.parametrize("size", [3, 9, 15, 61])
@pytest.mark.parametrize("seed", range(5))
def test_motion_kernels_are_kernels(size, seed):
    kernel = motion_kernel(size, seeded(seed))
    assert kernel.shape == (size, size)
    assert (kernel >= 0).all()
    assert abs(float(kernel.sum()) - 1) < 1e-5
    assert int((kernel > 0).sum()) >= size // 2


def test_bicubic_is_the_a_of_minus_a_half():
    """A cubic of a = -.5 keeps straight ramps inside the image, as the field's resizer does."""
    ramp = torch.linspace(-1, 1, 32, dtype=torch.double).expand(1, 1, 32, 32)
    small = SuperResolution(4)(ramp)
    step = ramp[0, 0, 0, 1] - ramp[0, 0, 0, 0]
    inside = small[0, 0, 3, 2:-2]
    assert torch.allclose(inside.diff(), (4 * step).expand(len(inside) - 1), atol=1e-9)


def test_the_tokenizers_error_seen_through_a():
    x = images(6, 1, (16, 16))
    assert model_sigma_of(SuperResolution(4), x, x) == 0
    off = x + 0.1
    assert abs(model_sigma_of(SuperResolution(4), x, off) - 0.1) < 1e-9
    mask = drop_mask((16, 16), seeded(0))
    assert abs(model_sigma_of(Inpainting(mask), x, off) - 0.1) < 1e-9


BAD = [
    (lambda: SuperResolution(1), ValueError, "factor is a whole number of at least 2, got 1"),
    (lambda: SuperResolution(4)(images(1, 1, (18, 16))), ValueError, "not divisible by factor=4"),
    (lambda: Blur(torch.ones(2, 2) / 4), ValueError, "odd sides"),
    (lambda: Blur(torch.ones(3, 3)), ValueError, "sums to 1, got a sum of 9"),
    (lambda: Grayscale()(images(1, 1, (8, 8))), ValueError, "takes images of 3 channels"),
    (lambda: HighDynamicRange(0), ValueError, "scale must be > 0"),
    (lambda: JpegLike(0), ValueError, r"quality must be in \[1, 100\], got 0"),
    (lambda: JpegLike(2.5), TypeError, "whole number"),
    (lambda: gaussian_kernel(-1), ValueError, "std is in pixels"),
    (lambda: motion_kernel(4, seeded(0)), ValueError, "odd"),
    (lambda: drop_mask((4, 4), seeded(0), 1.0), ValueError, "shares to drop"),
    (lambda: box_mask((4, 4), seeded(0), 1.0), ValueError, "share of a side"),
    (lambda: Compose([]), ValueError, "at least one"),
    (lambda: Compose(["sr4"]), TypeError, "of degradations, got 'sr4'; make_task makes one"),
    (lambda: Compose([Grayscale]), TypeError, "of degradations, got <class"),
    (lambda: HighDynamicRange("2"), TypeError, "scale is a number, got '2'"),
    (lambda: NonlinearBlur(gaussian_kernel(1.0), None), TypeError, "gamma is a number, got None"),
    (lambda: NonlinearBlur(gaussian_kernel(1.0), 0.0), ValueError, "gamma must be > 0"),
    (lambda: Blur([[1.0]]), TypeError, "a kernel is a tensor .h, w., got list"),
    (lambda: Inpainting([[1]]), TypeError, "a mask is a tensor .H, W., got list"),
    (
        lambda: degradation_from_state({"name": "zoom"}),
        ValueError,
        "no degradation is called 'zoom'",
    ),
    (lambda: HighDynamicRange()(torch.zeros(1, 1, 4, 4, dtype=torch.uint8)), TypeError, "127.5"),
    (lambda: HighDynamicRange()(torch.zeros(4, 4)), ValueError, r"images are \(B, 1 or 3, H, W\)"),
    (
        lambda: Inpainting(torch.eye(4))(images(1, 1, (8, 8))),
        ValueError,
        "mask is 4 x 4 pixels and",
    ),
    (
        lambda: Measurement(Grayscale(), images(1, 1, (4, 4)), 0.0),
        ValueError,
        "sigma must be >= 1e-06",
    ),
    (lambda: Measurement(Grayscale(), images(1, 1, (4, 4)), "1"), TypeError, "sigma is a number"),
    (
        lambda: Measurement(Grayscale(), torch.full((1, 1, 4, 4), math.nan), 0.1),
        ValueError,
        "not finite",
    ),
    (
        lambda: Measurement(SuperResolution(2), images(1, 1, (4, 4)), 0.1).log_density(
            images(1, 1, (4, 4))
        ),
        ValueError,
        "what was measured is",
    ),
    (
        lambda: Measurement(Grayscale(), images(1, 1, (4, 4)), 0.1).log_prob_ids(
            torch.zeros(1, 4, dtype=torch.long)
        ),
        ValueError,
        "can only score images",
    ),
]


@pytest.mark.parametrize(("make", "kind", "says"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said(make, kind, says):
    with pytest.raises(kind, match=says):
        make()


@pytest.mark.parametrize("sigma", [1e-30, 1e-7, 0, -1.0, 1e7, 1e30, math.inf, math.nan, 10**400])
def test_a_sigma_whose_density_float32_cannot_hold_is_refused(sigma):
    with pytest.raises(ValueError, match=r"^sigma must be >= 1e-06 and <= 1e\+06, got"):
        Measurement(Grayscale(), images(1, 1, (4, 4)), sigma)
    if sigma != 0 and not 0 < sigma < 1:
        with pytest.raises(ValueError, match=r"^model_sigma must be >= 0 and <= 1e\+06, got"):
            Measurement(Grayscale(), images(1, 1, (4, 4)), 0.1, model_sigma=sigma)


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_the_density_of_every_sigma_is_held_by_float32(sigma):
    x = images(1, 3, (64, 64)).float()
    other = (-x).requires_grad_()
    density = Measurement(HighDynamicRange(), HighDynamicRange()(x), sigma).log_density(other)
    (slope,) = torch.autograd.grad(density.sum(), other)
    assert bool(density.isfinite().all())
    assert bool(slope.isfinite().all())
    assert float(slope.abs().max()) > 0


def test_a_file_that_is_no_measurement(tmp_path):
    with pytest.raises(FileNotFoundError, match="no measurement at"):
        read_measurement(tmp_path / "none")
    (tmp_path / "text").write_text("hello, this is not it")
    with pytest.raises(ValueError, match="no safetensors file"):
        read_measurement(tmp_path / "text")


def test_a_damaged_measurement_is_named(tmp_path):
    path = tmp_path / "y.safetensors"
    whole = Measurement(Blur(motion_kernel(9, seeded(1))), images(1, 1, (16, 16)).float(), 0.05)
    write_measurement(whole, path)
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["measurement"])
    hdr = {"name": "hdr", "foo": 1}
    for text, kept, says in (
        ("{", tensors, "cannot be read: Expecting property name"),
        ("[1]", tensors, "cannot be read"),
        ("[" * 5000, tensors, "cannot be read"),
        (json.dumps({**facts, "sigma": "x"}), tensors, "sigma is a number, got 'x'"),
        (json.dumps({"degradation": facts["degradation"]}), tensors, "lacks 'sigma'"),
        (json.dumps({**facts, "degradation": hdr}), tensors, "unexpected keyword argument 'foo'"),
        (json.dumps({**facts, "degradation": "hdr"}), tensors, "cannot be read"),
        (json.dumps(facts), {"y": tensors["y"]}, "lacks 'degradation.kernel'"),
        (json.dumps(facts), {**tensors, "y": tensors["y"].int()}, "images are floating"),
        (json.dumps(facts), {**tensors, "y": tensors["y"] * math.nan}, "not finite"),
    ):
        save_file(kept, path, metadata={"measurement": text})
        with pytest.raises(ValueError, match=says) as found:
            read_measurement(path)
        assert str(path) in str(found.value)


def test_only_what_can_be_read_again_is_written(tmp_path):
    class Own:
        name, linear = "own", True

        def __call__(self, x):
            return x

        def observed(self, y):
            return None

    y = torch.zeros(1, 1, 4, 4)
    with pytest.raises(TypeError, match=r"only degradations of images.degradations .* got Own"):
        write_measurement(Measurement(Own(), y, 0.05), tmp_path / "y.safetensors")
    composed = Compose([Grayscale(), Own()])
    with pytest.raises(TypeError, match=r"only degradations of images.degradations .* got Own"):
        write_measurement(Measurement(composed, y, 0.05), tmp_path / "y.safetensors")
    with pytest.raises(ValueError, match="there is no such folder"):
        write_measurement(Measurement(Grayscale(), y, 0.05), tmp_path / "no" / "y.safetensors")
    assert not list(tmp_path.iterdir())
