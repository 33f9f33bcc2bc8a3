"""Degradations that users write: what they may do, and what is said of those that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_image_model import write
from torch import Tensor

from aps_text.images.degradation import adjoint
from aps_text.images.degradations import (
    Blur,
    Compose,
    Inpainting,
    JpegLike,
    NonlinearBlur,
    SuperResolution,
)
from aps_text.images.kernels import gaussian_kernel
from aps_text.images.measurement import Measurement, model_sigma_of
from aps_text.images.measurement_files import read_measurement, write_measurement
from aps_text.pipelines.image_model import load_image_model
from aps_text.pipelines.restoration import RestorationPipeline

FEW = {"steps": 4, "inner_steps": 3}


class Own:
    name, linear = "own", True

    def __call__(self, x: Tensor) -> Tensor:
        return -x

    def observed(self, y: Tensor) -> Tensor | None:
        return None


class Hole(Own):
    """As one writes a hole: on the images themselves."""

    def __call__(self, x: Tensor) -> Tensor:
        x[..., 4:12, 4:12] = 0
        return x

    def observed(self, y: Tensor) -> Tensor:
        seen = torch.ones(16, 16, dtype=torch.bool)
        seen[4:12, 4:12] = False
        return seen

    def guess(self, y: Tensor, shape: tuple[int, int, int]) -> Tensor:
        y[..., 4:12, 4:12] = 0.5
        return y


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return RestorationPipeline(load_image_model(write(tmp_path_factory.mktemp("m") / "m")))


def pictures(pipe: RestorationPipeline, count: int = 1) -> Tensor:
    ids = torch.randint(16, (count, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return pipe.model.tokenizer.decode_ids(ids).clamp(-1, 1)


def test_it_may_write_on_the_images_it_is_given(pipe):
    clean = pictures(pipe, 2)
    kept = clean.clone()
    measured = pipe.measure(clean, Hole())
    assert torch.equal(clean, kept)
    found = pipe(measured, **FEW)
    assert torch.equal(found.images.flatten(0, 1), decoded(pipe, found.ids))
    assert float(found.images[..., 4:12, 4:12].abs().min()) > 0
    assert float(measured.y[..., 4:12, 4:12].abs().max()) == 0  # nor did its guess
    assert model_sigma_of(Hole(), clean, clean * 0.9) > 0
    assert torch.equal(clean, kept)
    assert adjoint(Hole(), kept, kept)[..., 4:12, 4:12].abs().max() == 0


def decoded(pipe: RestorationPipeline, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return pipe.model.tokenizer.decode_ids(ids.flatten(0, 1)).clamp(-1, 1)


def calling(call):
    return type("Called", (Own,), {"__call__": lambda self, x: call(x)})()


def seeing(seen):
    return type("Seeing", (Own,), {"observed": lambda self, y: seen(y)})()


def guessing(guess):
    return type("Guessing", (Own,), {"guess": lambda self, y, shape: guess(y)})()


@pytest.mark.parametrize(
    ("degradation", "kind", "says"),
    [
        (
            calling(lambda x: x.mean(0, keepdim=True)),
            ValueError,
            r"own of images .* must be \(\d, ",
        ),
        (calling(lambda x: x.flatten(1)), ValueError, r"1 or 3, H', W'\), got \(\d, 256\)"),
        (calling(lambda x: x.expand(-1, 2, -1, -1)), ValueError, r"got \(\d, 2, 16, 16\)"),
        (calling(lambda x: x * torch.ones(2, 1, 1, 1)), ValueError, "masks that differ by image"),
        (calling(lambda x: x > 0), TypeError, r"own of images is in their dtype, got torch.bool"),
        (calling(lambda x: (x * 9).int()), TypeError, r"in their dtype, got torch.int32"),
        (calling(lambda x: x.numpy()), TypeError, r"own of images is a tensor .*, got ndarray"),
        (calling(lambda x: x * torch.rand_like(x)), ValueError, "another one at each call; draw"),
        (seeing(torch.ones_like), ValueError, r"own.observed\(y\) is bool and True where"),
        (seeing(lambda y: y > 9), ValueError, r"own.observed\(y\) is bool .* got 0 entries"),
        (seeing(lambda y: True), TypeError, r"a tensor, or None for all; got bool True"),
        (seeing(lambda y: (y > -9).numpy()), TypeError, "or None for all; got ndarray"),
        (seeing(lambda y: y[0, 0, :5, :5] > -9), ValueError, r"such as \(16, 16\); got \(5, 5\)"),
        (seeing(lambda y: y[None] > -9), ValueError, r"expands to it, .* got \(1, \d, 1, 16, 16\)"),
        (calling(lambda x: x - x.mean()), ValueError, "another one beside other images: a mean"),
        (calling(lambda x: x / x.abs().max()), ValueError, "take it of each image"),
        (calling(lambda x: x - x.amin()), ValueError, "beside other images"),
        (calling(lambda x: F.batch_norm(x, None, None, training=True)), ValueError, "whole batch"),
        (Compose([Own(), calling(lambda x: x / x.norm())]), ValueError, "beside other images"),
        (calling(lambda x: x * 0 + 0.5), ValueError, "own of different images is the same"),
        (object(), TypeError, "got object"),
        (type("Bare", (), {"__call__": Own.__call__})(), TypeError, "no name and no observed"),
    ],
)
def test_one_that_is_none_is_refused_when_it_measures(pipe, degradation, kind, says):
    with pytest.raises(kind, match=says):
        pipe.measure(pictures(pipe, 2), degradation)
    with pytest.raises(kind, match=says):
        pipe.observe(pictures(pipe, 2), degradation)


def test_one_without_a_gradient_is_refused_where_it_would_steer_nothing(pipe):
    measured = pipe.measure(pictures(pipe), calling(lambda x: -x.detach()))
    with pytest.raises(ValueError, match=r"own passes no gradient on .* estimator='rloo'"):
        pipe(measured, **FEW)
    plain = pipe(measured, method="plain", samples=4, steps=4).chi2.mean()
    rloo = pipe(measured, samples=4, steps=4, inner_steps=8, estimator="rloo").chi2.mean()
    best = pipe(measured, method="best-of-n", samples=4, steps=4).chi2.mean()
    assert max(float(rloo), float(best)) < float(plain)


def test_its_values_may_be_of_another_range(pipe):
    for scale in (5.0, 40.0):
        counts = calling(lambda x, scale=scale: scale * (x + 1))
        y = pipe.measure(pictures(pipe), counts).y
        assert torch.equal(pipe.observe(y, counts).y, y)
        with pytest.raises(ValueError, match=r"but for noise of sigma=0\.05, got"):
            pipe.observe(y * 10, counts)
    slopes = calling(lambda x: x[..., 1:] - x[..., :-1])
    assert pipe.observe(pipe.measure(pictures(pipe).sign(), slopes).y, slopes).y.abs().max() > 1.5


def test_rounding_of_large_values_is_no_other_image(pipe):
    """What another kernel rounds in a batch is relative to the values."""
    kernel = 1 + 2e-6
    large = calling(lambda x: 1e5 * x * (kernel if len(x) > 1 else 1))
    assert float(pipe.measure(pictures(pipe, 2), large, sigma=10).y.abs().max()) > 1e4
    with pytest.raises(ValueError, match="beside other images"):
        pipe.measure(pictures(pipe, 2), calling(lambda x: 1e5 * (x - x.mean())), sigma=10)


@pytest.mark.parametrize(
    ("guess", "says"),
    [
        (lambda y: y[..., :8, :8], r"got \(1, 1, 8, 8\), all finite"),
        (lambda y: y * float("nan"), "not all finite"),
        (lambda y: y.numpy(), "is floating, got ndarray"),
        (lambda y: y.int(), "is floating, got torch.int32"),
    ],
)
def test_a_guess_that_is_no_image_is_named(pipe, guess, says):
    measured = pipe.measure(pictures(pipe), guessing(guess))
    with pytest.raises((ValueError, TypeError), match=rf"own.guess\(y, .*{says}"):
        pipe(measured, **FEW)


def test_a_chain_is_a_list(pipe):
    """Of a generator nothing would be left after its check: `A(x) = x`, silently."""
    for parts in (SuperResolution(2), (part for part in [SuperResolution(2)])):
        with pytest.raises(TypeError, match="a composition is of a list of degradations, got a"):
            Compose(parts)


def test_its_density_is_that_of_its_function(pipe):
    clean = pictures(pipe)
    measured = Measurement(Hole(), clean, 0.1)
    seen = Hole().observed(clean)
    expected = torch.distributions.Normal(clean * 0.5, 0.1).log_prob(clean)[..., seen].sum()
    assert torch.allclose(measured.log_density(clean * 0.5), expected)


def test_one_that_normalises_each_image_is_taken(pipe):
    own = calling(lambda x: x / x.abs().amax((1, 2, 3), keepdim=True))
    y = pipe.measure(pictures(pipe, 2), own).y
    assert torch.equal(y[:1], pipe.measure(pictures(pipe, 2)[:1], own).y)


def test_a_measurement_made_by_hand_is_checked_too(pipe):
    clean = pictures(pipe, 2)
    for call, says in (
        (lambda x: x - x.mean(), "beside other images"),
        (lambda x: x * torch.rand_like(x), "another one at each call"),
    ):
        with pytest.raises(ValueError, match=says):
            pipe(Measurement(calling(call), clean, 0.1), **FEW)


class Clipped(Own):
    """What is clipped is not measured: which entries are depends on what was measured."""

    def __call__(self, x: Tensor) -> Tensor:
        return (3 * x).clamp(-1, 1)

    def observed(self, y: Tensor) -> Tensor:
        return y.abs() < 1


def test_what_is_measured_may_depend_on_what_was_measured(pipe):
    clean = pictures(pipe, 2)
    measured = pipe.measure(clean, Clipped(), sigma=0.01)
    seen = measured.y.abs() < 1
    assert 0 < int(seen.sum()) < seen.numel()
    other = clean * 0.1  # where y is clipped, this differs, and must not count
    gap = (measured.y - Clipped()(other)).masked_fill(~seen, 0)
    assert torch.equal(measured.residual(other), gap)
    expected = gap.square().sum((1, 2, 3)) / (seen.sum((1, 2, 3)) * 0.01**2)
    assert torch.allclose(measured.chi2(other), expected)


def test_one_with_weights_leaves_no_graph_on_what_it_measured(pipe):
    weight = torch.ones(1, requires_grad=True)
    measured = pipe.measure(pictures(pipe), calling(lambda x: x * weight))
    assert not measured.y.requires_grad
    assert not pipe(measured, **FEW).images.requires_grad


def test_a_degradation_derived_from_ours_is_not_saved_as_ours(pipe, tmp_path):
    """It would be read as its base, which computes something else."""

    class Negative(SuperResolution):
        def __call__(self, x: Tensor) -> Tensor:
            return -super().__call__(x)

    for own in (Negative(2), Compose([Negative(2)])):
        measured = pipe.measure(pictures(pipe), own)
        with pytest.raises(TypeError, match="are saved, got Negative"):
            write_measurement(measured, tmp_path / "m.safetensors")


def test_whole_numbers_of_numpy_are_taken_and_saved(pipe, tmp_path):
    for own in (SuperResolution(np.int64(2)), JpegLike(np.int32(30))):
        measured = pipe.measure(pictures(pipe), own)
        write_measurement(measured, tmp_path / "m.safetensors")
        assert read_measurement(tmp_path / "m.safetensors").degradation == own


def test_one_kernel_used_twice_is_saved(pipe, tmp_path):
    kernel = gaussian_kernel(1.0)
    measured = pipe.measure(pictures(pipe), Compose([Blur(kernel), Blur(kernel)]))
    twice = measured.degradation.parts
    object.__setattr__(twice[1], "kernel", twice[0].kernel)
    write_measurement(measured, tmp_path / "m.safetensors")
    again = read_measurement(tmp_path / "m.safetensors")
    other = pictures(pipe) * 0.5
    assert torch.equal(again.log_density(other), measured.log_density(other))


def test_what_the_caller_writes_later_changes_no_measurement(pipe):
    clean, y = pictures(pipe), pictures(pipe)
    known = torch.ones(16, 16, dtype=torch.bool)
    known[4:12, 4:12] = False
    kernel, parts = torch.ones(3, 3) / 9, [Inpainting(known)]
    made = [
        pipe.observe(y, Own()),
        pipe.measure(clean, Inpainting(known)),
        pipe.measure(clean, Blur(kernel)),
        pipe.measure(clean, NonlinearBlur(kernel)),
        pipe.measure(clean, Compose(parts)),
    ]
    before = [(one.y.clone(), one.log_density(clean * 0.5)) for one in made]
    y.zero_()
    known.fill_(True)
    kernel.copy_(torch.eye(3) / 3)
    parts.append(SuperResolution(2))
    for one, (was, score) in zip(made, before, strict=True):
        assert torch.equal(one.y, was)
        assert torch.equal(one.log_density(clean * 0.5), score)


def test_masks_and_kernels_may_be_made_in_inference_mode(pipe):
    clean = pictures(pipe)
    with torch.inference_mode():
        known = torch.ones(16, 16, dtype=torch.bool)
        known[4:12, 4:12] = False
        for own in (Inpainting(known), Blur(torch.ones(3, 3) / 9)):
            assert pipe(pipe.measure(clean, own), **FEW).images.shape == (1, 1, 1, 16, 16)
