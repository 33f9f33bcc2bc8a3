"""RowAdam and the logits adapter: rows are independent, noise is not blown up."""

from __future__ import annotations

import torch
from worlds import FactorDenoiser, factor_world

from aps_text.core.adapters import LogitsAdapter, RowAdam


def gradients(steps: int, rows: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, rows, width, generator=generator, dtype=torch.float64)


def test_row_adam_is_torch_adam_with_a_relative_eps():
    grads = gradients(20, 3, 7, seed=0)
    value = torch.zeros(3, 7, dtype=torch.float64)
    ours = RowAdam(value, lr=0.1, eps=1e-3)
    reference = torch.nn.Parameter(value.clone())
    theirs = torch.optim.Adam([reference], lr=0.1, eps=0)
    for grad in grads:
        ours.step(grad, torch.ones(3, dtype=torch.bool))
        reference.grad = grad
        theirs.step()
    torch.testing.assert_close(ours.value, reference.detach(), atol=5e-3, rtol=0)
    assert not ours.value.equal(reference.detach())


def test_rows_are_optimised_as_if_alone():
    grads = gradients(15, 4, 6, seed=1)
    gates = torch.rand(15, 4, generator=torch.Generator().manual_seed(2)) < 0.6
    together = RowAdam(torch.zeros(4, 6, dtype=torch.float64), lr=0.3)
    for grad, gate in zip(grads, gates, strict=True):
        together.step(grad, gate)
    for row in range(4):
        alone = RowAdam(torch.zeros(1, 6, dtype=torch.float64), lr=0.3)
        for grad, gate in zip(grads[:, row], gates[:, row], strict=True):
            if gate:  # a closed gate is as if the step had never been
                alone.step(grad[None], torch.ones(1, dtype=torch.bool))
        assert alone.value[0].equal(together.value[row])


def test_the_step_does_not_depend_on_the_rewards_scale():
    grads = gradients(10, 2, 5, seed=3)
    results = []
    for scale in (1e-8, 1.0, 1e8):
        adam = RowAdam(torch.zeros(2, 5, dtype=torch.float64), lr=0.1)
        for grad in grads:
            adam.step(scale * grad, torch.ones(2, dtype=torch.bool))
        results.append(adam.value)
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[2], results[1])


def test_a_zero_gradient_moves_nothing_and_stays_finite():
    adam = RowAdam(torch.zeros(2, 3), lr=0.1)
    adam.step(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool))
    assert (adam.value == 0).all()


def test_rounding_noise_beside_a_real_gradient_moves_nothing():
    adam = RowAdam(torch.zeros(1, 3, dtype=torch.float64), lr=0.5)
    adam.step(torch.tensor([[1.0, 1e-9, -1e-9]]).double(), torch.tensor([True]))
    assert -0.5 < adam.value[0, 0] < -0.45
    assert adam.value[0, 1:].abs().max() < 1e-5


def test_rounding_noise_at_one_position_beside_a_real_one_moves_nothing():
    """The logits adapter's eps is relative to the prompt's gradient, not to the position's."""
    denoiser = factor_world(3, 4, seed=4, batch=2)
    where = (torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]))
    phi = LogitsAdapter(2, lr=0.5)
    phi.begin(denoiser, None, where)
    grad = torch.zeros(3, 6, dtype=torch.float64)
    grad[0, :2] = torch.tensor([1.0, -1.0])
    grad[1] = 1e-9 * torch.arange(-3, 3)
    grad[2] = 1e-9 * torch.arange(-3, 3)  # another prompt, whose whole gradient is this small
    phi.update(None, grad, torch.tensor([True, True]))
    offset = phi.logits(denoiser, None, where) - phi.theta
    assert offset[0].abs().max() > 0.45
    assert offset[1].abs().max() < 1e-5
    assert offset[2].abs().max() > 0.45


def test_take_carries_the_optimiser_state():
    grads = gradients(6, 3, 4, seed=5)
    on = torch.ones(3, dtype=torch.bool)
    rows = torch.tensor([2, 0])
    whole = RowAdam(torch.zeros(3, 4, dtype=torch.float64), lr=0.2)
    for grad in grads[:3]:
        whole.step(grad, on)
    part = whole.take(rows)
    for grad in grads[3:]:
        whole.step(grad, on)
        part.step(grad[rows], on[:2])
    assert part.value.equal(whole.value[rows])


def test_logits_adapter_starts_at_theta_at_every_step():
    denoiser = factor_world(3, 4, seed=6, batch=2)
    where = (torch.tensor([0, 1]), torch.tensor([0, 1]))
    phi = LogitsAdapter(2, lr=0.5)
    for _ in range(2):
        assert phi.begin(denoiser, None, where) is None
        theta = denoiser.logits(None, where)
        assert phi.logits(denoiser, None, where).equal(theta)
        phi.update(None, gradients(1, 2, 6, seed=7)[0], torch.tensor([True, False]))
        moved = phi.logits(denoiser, None, where)
        assert not moved[0].equal(theta[0])
        assert moved[1].equal(theta[1])
    assert denoiser.logits(None, where).equal(theta)


def test_taken_logits_adapter_has_the_new_rows():
    denoiser = FactorDenoiser(factor_world(2, 3, seed=7, batch=4).log_probs)
    phi = LogitsAdapter(4, lr=0.5).take(torch.tensor([3, 1]))
    few = denoiser.take(torch.tensor([3, 1]))
    where = (torch.tensor([0, 1]), torch.tensor([0, 0]))
    phi.begin(few, None, where)
    phi.update(None, torch.ones(2, 5).double(), torch.tensor([False, True]))
    moved = (phi.logits(few, None, where) - few.logits(None, where)).abs().amax(-1)
    assert (moved > 0.1).tolist() == [False, True]


def test_the_first_step_at_each_position_is_scaled_by_its_rows_gradient():
    """-lr g / (|g| + eps rms), where rms is over all positions and tokens of the row."""
    denoiser = factor_world(3, 4, seed=6, batch=4)
    rows = torch.tensor([0, 1, 1, 2, 2, 2])  # row 3 has no masked position
    where = (rows, torch.tensor([0, 0, 2, 0, 1, 2]))
    grad = gradients(1, 6, 6, seed=8)[0] * torch.tensor([1.0, 10.0, 0.1, 1.0, 1e-3, 5.0])[:, None]
    phi = LogitsAdapter(4, lr=0.5, eps=0.3)
    phi.begin(denoiser, None, where)
    phi.update(None, grad, torch.tensor([True] * 4))
    moved = phi.logits(denoiser, None, where) - denoiser.logits(None, where)
    for row in range(3):
        own = grad[rows == row]
        expected = -0.5 * own / (own.abs() + 0.3 * own.square().mean().sqrt())
        torch.testing.assert_close(moved[rows == row], expected)
