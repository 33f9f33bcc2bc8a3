"""PSNR, SSIM and calibration against what they are by hand."""

from __future__ import annotations

import math

import pytest
import torch

from aps_text.images.classifier import AttributeClassifier, ClassifierConfig
from aps_text.images.metrics import calibration, perceptual, psnr, spread_and_error, ssim


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_psnr_by_hand():
    truth = torch.zeros(2, 1, 16, 16)
    x = truth.clone()
    x[0] += 0.2  # .1 on [0, 1]: 20 dB
    x[1] += 0.02
    assert torch.allclose(psnr(x, truth), torch.tensor([20.0, 40.0]), atol=1e-3)
    assert psnr(truth, truth).isinf().all()


def test_values_outside_of_the_range_are_clipped_and_nothing_is_stretched():
    truth = torch.ones(1, 1, 16, 16)
    assert psnr(truth * 3, truth).isinf().all()
    dim = torch.full((1, 1, 16, 16), 0.5)
    assert torch.allclose(psnr(dim, truth), torch.tensor([-20 * math.log10(0.25)]))


@pytest.mark.parametrize(
    "metric", [psnr, ssim, lambda x, y: calibration(x[None].repeat(2, 1, 1, 1, 1), y)]
)
def test_images_of_another_range_are_refused(metric):
    images = torch.full((1, 1, 16, 16), 200.0)
    with pytest.raises(ValueError, match=r"got pixels up to 200; from 0 to 255: x / 127.5 - 1"):
        metric(images, images)
    with pytest.raises(TypeError, match=r"got torch.uint8; use x.float\(\) / 127.5 - 1"):
        metric(images.byte(), images)


def test_ssim_is_one_of_itself_and_symmetric_and_falls_with_noise():
    truth = torch.rand(3, 3, 24, 20, generator=seeded(0), dtype=torch.double) * 2 - 1
    noise = torch.randn(truth.shape, generator=seeded(1), dtype=torch.double)
    assert torch.allclose(ssim(truth, truth), torch.ones(3, dtype=torch.double))
    some, more = truth + 0.1 * noise, truth + 0.4 * noise
    assert torch.allclose(ssim(some, truth), ssim(truth, some))
    assert (ssim(some, truth) > ssim(more, truth)).all()
    with pytest.raises(ValueError, match="at least 11"):
        ssim(truth[..., :10, :10], truth[..., :10, :10])


def test_ssim_of_two_constants_by_hand():
    a, b = torch.full((1, 1, 16, 16), 0.0), torch.full((1, 1, 16, 16), 0.5)
    one = 0.01**2
    expected = (2 * 0.5 * 0.75 + one) / (0.25 + 0.5625 + one)
    assert torch.allclose(ssim(a, b), torch.tensor([expected]).double(), atol=1e-6)


def test_each_image_by_itself():
    x = torch.rand(4, 1, 16, 16, generator=seeded(0)) * 2 - 1
    y = torch.rand(4, 1, 16, 16, generator=seeded(1)) * 2 - 1
    for metric in (psnr, ssim):
        both = metric(x, y)
        assert both.shape == (4,)
        assert torch.allclose(
            both, torch.cat([metric(x[i : i + 1], y[i : i + 1]) for i in range(4)])
        )
    with pytest.raises(ValueError, match="the same shape"):
        psnr(x, y[:2])


def test_posterior_samples_are_calibrated_and_sure_ones_are_not():
    mean = torch.zeros(50, 1, 12, 12, dtype=torch.double)
    draw = lambda seed, std: std * torch.randn(50, 1, 12, 12, generator=seeded(seed)).double()  # noqa: E731
    truth = mean + draw(0, 0.2)
    honest = torch.stack([mean + draw(s, 0.2) for s in range(1, 5)])
    sure = torch.stack([mean + draw(s, 0.1) for s in range(1, 5)])
    between, error = calibration(honest, truth)
    assert abs(float(between / error) - 1) < 0.03
    between, error = calibration(sure, truth)
    assert float(between / error) < 0.75
    with pytest.raises(ValueError, match="n >= 2"):
        calibration(honest[:1], truth)


def test_the_spread_and_error_of_each_image_by_hand():
    """Two samples .2 apart, the truth at one of them and .1 outside of both, in [0, 1] units."""
    pair = torch.tensor([0.2, 0.6]).view(2, 1, 1, 1, 1).expand(2, 2, 1, 4, 4)
    truth = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    between, error = spread_and_error(pair, truth)
    assert torch.allclose(between, torch.full((2,), 0.2**2), atol=1e-6)
    assert torch.allclose(error, torch.tensor([0.2**2 / 2, (0.3**2 + 0.1**2) / 2]), atol=1e-6)
    whole = calibration(pair, truth)
    assert torch.allclose(torch.stack(whole).square(), torch.stack([between.mean(), error.mean()]))


def test_the_perceptual_distance_by_hand():
    def features(images):
        right = torch.cat([images, torch.zeros_like(images)], 1)
        up = torch.cat([torch.zeros_like(images), images], 1)
        return [torch.where(images > 0, right, up), images]

    x, truth = torch.ones(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    x[1, :, 0, 0] = -0.5  # (1, 0) against (0, -1): 2; 1 against -1: 4; at one of four positions
    assert torch.allclose(
        perceptual(x, truth, features), torch.tensor([0.0, (2 / 4 + 4 / 4) / 2]), atol=1e-6
    )
    assert torch.equal(perceptual(3 * truth, truth, features), torch.zeros(2))  # clipped


def test_the_perceptual_distance_of_a_classifier_grows_with_noise_image_by_image():
    torch.manual_seed(0)
    judge = AttributeClassifier(ClassifierConfig(16, 1, 8, {"kind": ("a", "b")})).eval()
    truth = torch.rand(3, 1, 16, 16, generator=seeded(0)) - 0.5
    noise = torch.randn(truth.shape, generator=seeded(1))
    with torch.no_grad():
        some = perceptual(truth + 0.05 * noise, truth, judge.features)
        more = perceptual(truth + 0.3 * noise, truth, judge.features)
        alone = perceptual((truth + 0.3 * noise)[1:2], truth[1:2], judge.features)
    assert some.shape == (3,)
    assert (some > 0).all()
    assert (more > some).all()
    assert torch.allclose(alone, more[1:2], rtol=1e-4)
    with pytest.raises(ValueError, match="takes images"):
        perceptual(truth[..., :8, :8], truth[..., :8, :8], judge.features)
