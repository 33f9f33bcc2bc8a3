"""G2D2 on a tiny image model, its distance and its rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_image_model import write
from test_split_gibbs import CAMERAS, CONFIG, DENOISER, MASK, TOKENS
from worlds import noise_for, open_canvas, table_reward

from aps_text.core.config import APSConfig
from aps_text.core.operator import weighted_sum
from aps_text.core.sampler import run
from aps_text.core.step import Step
from aps_text.methods.g2d2 import G2D2, distances
from aps_text.pipelines.any_image_model import masked_canvas
from aps_text.pipelines.image_model import load_image_model
from aps_text.pipelines.restoration import RestorationPipeline

FEW = G2D2(inner_steps=8)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return RestorationPipeline(load_image_model(write(tmp_path_factory.mktemp("m") / "m")))


@pytest.fixture(scope="module")
def measured(pipe):
    ids = torch.randint(16, (3, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = pipe.model.tokenizer.decode_ids(ids).clamp(-1, 1)
    return pipe.measure(images, "random-inpainting", sigma=0.02)


@pytest.mark.parametrize("noising", ["star", "standard"])
def test_it_explains_what_was_measured_better_than_the_prior(pipe, measured, noising):
    plain = pipe(measured, method="plain", steps=4, samples=4)
    found = pipe(measured, method=replace(FEW, noising=noising), steps=4, samples=2)
    assert (found.chi2.mean(1) < 0.5 * plain.chi2.mean(1)).all()
    assert not found.ids[:, 0].equal(found.ids[:, 1])


@pytest.mark.parametrize("noising", ["star", "standard"])
def test_rows_are_what_they_are_alone(pipe, measured, noising):
    method = replace(FEW, noising=noising)
    whole = pipe(measured, method=method, steps=4, seeds=[5, 6, 7])
    alone = pipe(measured.take(torch.tensor([2])), method=method, steps=4, seeds=[7])
    assert alone.ids[0].equal(whole.ids[2])


def test_cost_and_counts(pipe, measured):
    seen = []
    found = pipe(measured, method=FEW, steps=4, on_step=lambda i, state: seen.append(state))
    mask = pipe.model.mask_id
    assert [(s.z == mask).sum(-1).tolist() for s in seen] == [[n] * 3 for n in (14, 11, 6, 0)]
    seen = []
    loose = replace(FEW, floor=-8.0)
    pipe(measured, method=loose, steps=4, on_step=lambda i, state: seen.append(state))
    revised = [((a.z != b.z) & (a.z != mask) & (b.z != mask)).any() for a, b in pairwise(seen)]
    assert any(revised)  # the star redraws what was committed
    for state in seen:
        drawn = state.z != mask
        assert state.candidates[drawn].equal(state.z[drawn])
    cost = found.cost
    assert cost.denoiser_forwards == 3 * 4
    assert cost.reward_forwards == cost.reward_backwards == 3 * 4 * 8
    assert set(seen[0].loss) == {"distance", "prior"}
    seen = []
    method = replace(FEW, noising="standard")
    pipe(measured, method=method, steps=4, on_step=lambda i, state: seen.append(state))
    for one, two in pairwise(seen):
        assert one.z[one.z != mask].equal(two.z[one.z != mask])
    left = [(state.z == mask).sum().item() for state in seen]
    assert 3 * 16 > left[0] > left[1] > left[2] > left[3] == 0


def relaxed_of(pipe, measured):
    operator = pipe.bound(measured)
    z = torch.full((3, 16), pipe.model.mask_id)
    z[1, 4:] = 3
    free = z == pipe.model.mask_id
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(int(free.sum()), 16, generator=generator)
    return operator, z, free, logits.requires_grad_()


def test_the_distance_is_that_of_the_pixels(pipe, measured):
    operator, z, free, logits = relaxed_of(pipe, measured)
    codes = operator.codebook.embed(z.clamp_max(15))
    codes[free] = operator.codebook.expect(logits.softmax(-1))
    with torch.no_grad():
        gap = operator.residual(pipe.model.tokenizer.decode(codes)).flatten(1).norm(dim=1)
        found = distances(operator, z, free, logits.softmax(-1))
        torch.testing.assert_close(found, gap, rtol=1e-3, atol=0)
        both = weighted_sum((1.0, operator), (0.5, operator))
        torch.testing.assert_close(distances(both, z, free, logits.softmax(-1)), 1.5 * found)


def test_the_gradient_of_a_row_is_that_of_the_row_alone(pipe, measured):
    operator, z, free, logits = relaxed_of(pipe, measured)
    whole = distances(operator, z, free, logits.softmax(-1))
    (grad,) = torch.autograd.grad(whole.sum(), logits)
    owner = free.nonzero()[:, 0]
    for row in range(3):
        at, own = torch.tensor([row]), logits[owner == row].detach().requires_grad_()
        alone = distances(operator.take(at), z[at], free[at], own.softmax(-1))
        (found,) = torch.autograd.grad(alone.sum(), own)
        torch.testing.assert_close(grad[owner == row], found, rtol=1e-3, atol=1e-6)
    (one_norm,) = torch.autograd.grad(
        distances(operator, z, free, logits.softmax(-1)).square().sum().sqrt(), logits
    )
    assert (one_norm.norm() < 0.8 * grad.norm()).item()  # a norm of the batch shrinks them all


def test_without_a_step_m_is_the_prior(pipe, measured):
    """And committed tokens are one-hot in it."""
    operator, z, free, _ = relaxed_of(pipe, measured)
    canvas, config = replace(masked_canvas(pipe.model, 3), z=z), APSConfig("restore", steps=4)
    step = Step.open(canvas, pipe.model.mask_id, config, noise_for(range(3)), 0, everywhere=True)
    denoiser, everywhere = pipe.model.denoiser(rows=3), torch.ones_like(free)
    log_p = FEW._prior(denoiser, step, everywhere).view(3, 16, 16)
    torch.testing.assert_close(log_p[free], step.x_theta(denoiser))
    assert (log_p[~free].argmax(-1) == 3).all()
    assert log_p[~free].exp().sum().item() == pytest.approx(int((~free).sum()))
    flat = log_p.flatten(0, 1)
    same, _ = replace(FEW, inner_steps=0).fit(operator, step, everywhere, flat, flat)
    torch.testing.assert_close(same, flat)


@pytest.mark.parametrize(("index", "factor"), [(0, 10.0), (3, 0.1)])
def test_the_kl_weighs_more_at_the_first_step_than_at_the_last(pipe, measured, index, factor):
    operator, z, free, logits = relaxed_of(pipe, measured)
    canvas, config = replace(masked_canvas(pipe.model, 3), z=z), APSConfig("restore", steps=4)
    step = Step.open(
        canvas, pipe.model.mask_id, config, noise_for(range(3)), index, everywhere=True
    )
    log_p, start = logits.detach().log_softmax(-1), torch.full_like(logits, -2.0).log_softmax(-1)
    (even, spread) = (
        replace(FEW, inner_steps=1, kl=3.0, kl_span=span).fit(operator, step, free, start, log_p)[1]
        for span in (0.0, 2.0)
    )
    assert (even["prior"] > 0).all()
    torch.testing.assert_close(spread["prior"], factor * even["prior"])


def test_the_kl_holds_m_at_the_prior(pipe, measured):
    loose, tight = (
        pipe(measured, method=replace(FEW, kl=kl, noising="standard"), steps=4).chi2.mean()
        for kl in (0.0, 1e4)
    )
    assert loose < 0.7 * tight


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"noising": "ring"}, "noising is one of star, standard"),
        ({"inner_steps": -1}, "inner_steps must be >= 0"),
        ({"lr": 0}, "lr must be > 0"),
        ({"kl": -1}, "kl must be >= 0"),
        ({"forget": 1.5}, "forget must be"),
        ({"temperature": 0}, "temperature must be > 0"),
        ({"top_p": 0}, "top_p must be"),
        ({"floor": 1.0}, "floor must be"),
    ],
)
def test_settings_are_checked(options, says):
    with pytest.raises(ValueError, match=says):
        G2D2(**options)


def test_operators_that_cannot_serve_are_refused():
    canvas, noise = open_canvas(1, TOKENS, MASK), noise_for([0])
    for operator in (table_reward(TOKENS, 4, 0), CAMERAS["linear"]):
        with pytest.raises(ValueError, match="needs a differentiable measurement"):
            run(G2D2(), DENOISER, operator, canvas, CONFIG, noise)
    with pytest.raises(ValueError, match="it is for images"):
        run(G2D2(), DENOISER, CAMERAS["linear"], replace(canvas, stop_ids=(0,)), CONFIG, noise)
    with pytest.raises(ValueError, match="remask=True"):
        run(G2D2(), DENOISER, CAMERAS["linear"], canvas, CONFIG.replace(remask=True), noise)
