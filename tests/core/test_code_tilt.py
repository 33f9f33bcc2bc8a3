"""phi as a tilt towards codes: its optimum is that of free logits, and it is kept row by row."""

from __future__ import annotations

import pytest
import torch
from test_image_world import BATCH, BITS, CODES, CONFIG, TOKENS, draw, world
from worlds import noise_for

from aps_text.core.adapters import CodeTilt, LogitsAdapter
from aps_text.core.codebook import LFQCodebook, VectorCodebook
from aps_text.core.step import Step
from aps_text.methods.aps import APS, PosteriorTilt

__all__ = ["world"]

ZERO = torch.zeros(BATCH, TOKENS, BITS, dtype=torch.double)


def loss_of(phi, world, config) -> torch.Tensor:
    """The surrogate after the first step's inner steps, `(B,)`."""
    noise = noise_for(range(BATCH))
    step = Step.open(world.canvas, world.denoiser.mask_id, config, noise, 0, everywhere=True)
    tilted = PosteriorTilt(world.camera, config, phi)(world.denoiser, step)
    return tilted.loss["prior"] - tilted.loss["likelihood"]


def test_the_optimum_of_free_logits_lies_in_the_family(world):
    config = CONFIG.replace(
        relaxation="expectation", inner_steps=600, learning_rate=0.1, adam_eps=0.3
    )
    free = loss_of(LogitsAdapter(BATCH, 0.1, 0.3), world, config)
    tilt = loss_of(CodeTilt(ZERO, CODES, 0.1, 0.3), world, config)
    start = loss_of(CodeTilt(ZERO, CODES, 0.1), world, config.replace(inner_steps=1))
    gain = (start - free).mean()
    assert gain > 5
    assert (tilt - free).abs().mean() < 0.002 * gain
    assert (tilt - free).mean() < 0.001 * gain


def test_it_explains_the_measurement_with_few_inner_steps(world):
    config = CONFIG.replace(inner_steps=3)

    class Tilted(APS):
        def steps(self, *args, phi=None):
            return super().steps(*args, phi=CodeTilt(ZERO, CODES, 0.3))

    free, tilt = draw(APS(), world, config), draw(Tilted(), world, config)
    drop = world.residual(free.z) - world.residual(tilt.z)
    assert drop.mean() > 3 * drop.std() / BATCH**0.5
    assert tilt.cost.denoiser_forwards == free.cost.denoiser_forwards


@pytest.mark.parametrize("book", [LFQCodebook(3), VectorCodebook(torch.randn(8, 5).double())])
def test_its_gradient_is_that_of_the_logits_through_the_codes(book):
    generator = torch.Generator().manual_seed(0)
    width = book.embed(torch.tensor(0)).shape[-1]
    theta = torch.randn(4, 8, generator=generator, dtype=torch.double)
    where = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 1, 2])

    class Fixed:
        def logits(self, state, at, phi=None):
            return theta

    phi = CodeTilt(torch.zeros(2, 3, width, dtype=torch.double), book, lr=0.5, eps=0.1)
    assert phi.begin(Fixed(), None, where) is None  # u is 0: phi is theta
    grad = torch.randn(4, 8, generator=generator, dtype=torch.double)
    phi.update(theta, grad, torch.tensor([True, False]))
    expected = grad[:2] @ book.embed(torch.arange(8)).double()
    moved = phi.u[0, [0, 2]]
    # Adam's first step: against the gradient, at most the rate, more where it is larger.
    assert torch.equal(moved.sign(), -expected.sign())
    rms = expected.square().mean().sqrt()
    assert torch.allclose(moved, -0.5 * expected / (expected.abs() + 0.1 * rms))
    assert not phi.u[1].any()  # its gate was closed
    assert not phi.u[0, 1].any()  # not asked for
    assert torch.allclose(phi.logits(None, None, where)[:2] - theta[:2], book.tilt(moved))


def test_what_is_kept_from_step_to_step_and_row_to_row():
    book = LFQCodebook(2)
    u = torch.arange(12, dtype=torch.double).view(2, 3, 2)
    where = torch.tensor([0]), torch.tensor([1])

    class Fixed:
        def logits(self, state, at, phi=None):
            return torch.zeros(1, 4, dtype=torch.double)

    phi = CodeTilt(u, book, lr=0.1, keep=0.5)
    theta = phi.begin(Fixed(), None, where)
    assert theta is not None  # phi is not theta, whose logits are needed beside
    assert torch.equal(phi.u, u / 2)
    assert torch.equal(phi.take(torch.tensor([1, 1])).u, (u / 2)[[1, 1]])
    phi.begin(Fixed(), None, where)
    assert torch.equal(phi.u, u / 4)
    fresh = CodeTilt(u, book, lr=0.1, keep=0.0)
    assert fresh.begin(Fixed(), None, where) is None
