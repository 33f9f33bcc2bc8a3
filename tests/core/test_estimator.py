"""Every estimator's mean gradient at the logits against the enumerated gradient of E[r]."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from worlds import (
    TableDenoiser,
    additive_reward,
    all_answers,
    enumerated_reward,
    joint_table,
    net_reward,
    noise_for,
    open_canvas,
    step_at,
    table_reward,
    with_suppressed,
)

from aps_text.core.canvas import Canvas, end_at_stop
from aps_text.core.config import APSConfig
from aps_text.core.estimator import Likelihood, estimate
from aps_text.core.operator import weighted_sum

LENGTH, SYMBOLS = 3, 4
MASK, FILL = SYMBOLS, SYMBOLS + 1
STOP = 1
ANSWERS = all_answers(LENGTH, SYMBOLS)
PLAIN = APSConfig(adapter="logits", temperature=1.0, top_p=1.0, min_new_tokens=0)


def canvas_of(*, stops: bool = False, given: bool = False, batch: int = 1) -> Canvas:
    canvas = open_canvas(batch, LENGTH, MASK, stop_ids=[STOP] if stops else [])
    if given:  # the middle position is committed text
        z, editable = canvas.z.clone(), canvas.editable.clone()
        z[:, 1], editable[:, 1] = 2, False
        canvas = replace(canvas, z=z, editable=editable)
    return canvas


def logits_at(canvas: Canvas, seed: int) -> torch.Tensor:
    one = canvas.take(torch.tensor([0]))
    where = (one.z == MASK).nonzero().unbind(-1)
    return TableDenoiser(joint_table(LENGTH, SYMBOLS, seed, sharp=1.5)).logits(one.z, where)


def score(operator, canvas: Canvas) -> tuple[torch.Tensor, torch.Tensor]:
    """All completions of the canvas and their rewards, ended at their stop tokens."""
    start = canvas.z[0]
    fits = ((start == ANSWERS) | (start == MASK)).all(-1)
    raw = ANSWERS[fits]
    editable = canvas.editable[:1].expand_as(raw)
    ended = end_at_stop(raw, editable, canvas.stop_ids, FILL)
    rows = torch.zeros(len(raw), dtype=torch.long)
    return raw, operator.take(rows).log_prob_ids(ended).total


def exact_gradient(operator, canvas: Canvas, logits: torch.Tensor) -> torch.Tensor:
    """d E[r(x)] / d logits, x drawn from the product of the marginals."""
    leaf = logits.clone().requires_grad_()
    log_probs = leaf.log_softmax(-1)
    raw, rewards = score(operator, canvas)
    cols = (canvas.z[0] == MASK).nonzero().squeeze(-1).tolist()
    law = sum(log_probs[i][raw[:, col]] for i, col in enumerate(cols)).exp()
    assert law.sum().item() == pytest.approx(1)
    return torch.autograd.grad((law * rewards).sum(), leaf)[0]


def estimates(
    operator, canvas: Canvas, logits: torch.Tensor, config: APSConfig, batch: int
) -> tuple[torch.Tensor, Likelihood]:
    """The estimator's gradient in `batch` rows of other seeds, `(batch, N, K)`."""
    rows = torch.zeros(batch, dtype=torch.long)
    wide = canvas.take(rows)
    leaf = logits.repeat(batch, 1).requires_grad_()
    step = step_at(wide, MASK, config, noise_for(range(batch)))
    found = estimate(operator.take(rows), leaf.log_softmax(-1), step, 0)
    (gradient,) = torch.autograd.grad(found.surrogate.sum(), leaf)
    return gradient.view(batch, len(logits), -1), found


def assert_unbiased(found: torch.Tensor, exact: torch.Tensor) -> None:
    error = found.std(0) / len(found) ** 0.5
    off = (found.mean(0) - exact).abs()
    assert (off <= 4 * error + 1e-12).all(), (off / error).max()
    assert exact.norm() > 20 * error.norm()  # the test could tell a wrong gradient


@pytest.mark.parametrize("estimator", ["rloo", "remax"])
@pytest.mark.parametrize("samples", [2, 6])
@pytest.mark.parametrize("case", ["open", "stops", "given", "stops and given"])
def test_score_functions_are_unbiased(estimator, samples, case):
    """With stop tokens too: what is dropped behind the stop has no bearing on the reward."""
    canvas = canvas_of(stops="stops" in case, given="given" in case)
    operator = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    logits = logits_at(canvas, seed=3)
    config = PLAIN.replace(estimator=estimator, num_samples=samples)
    found, _ = estimates(operator, canvas, logits, config, batch=40_000 // samples)
    assert_unbiased(found, exact_gradient(operator, canvas, logits))


def test_log_probs_behind_the_stop_are_dropped():
    """Where the first position always stops, the later ones get no gradient at all."""
    canvas = canvas_of(stops=True)
    operator = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    logits = logits_at(canvas, seed=3)
    logits[1, STOP] += 40  # the second position always stops
    found, _ = estimates(operator, canvas, logits, PLAIN.replace(estimator="rloo"), batch=500)
    assert found[:, 0].abs().amax() > 0.1
    assert found[:, 2].abs().amax() == 0


def test_rloo_samples_are_untempered():
    """The candidate's temperature and top-p must not bias the gradient."""
    canvas = canvas_of()
    operator = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    logits = logits_at(canvas, seed=3)
    config = PLAIN.replace(estimator="rloo", num_samples=4, temperature=0.2, top_p=0.3, top_k=1)
    found, _ = estimates(operator, canvas, logits, config, batch=10_000)
    assert_unbiased(found, exact_gradient(operator, canvas, logits))


@pytest.mark.parametrize("estimator", ["rloo", "remax"])
def test_the_value_is_the_mean_reward_of_the_samples(estimator):
    canvas = canvas_of(stops=True)
    operator = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    logits = logits_at(canvas, seed=3)
    config = PLAIN.replace(estimator=estimator, num_samples=4)
    _, found = estimates(operator, canvas, logits, config, batch=10_000)
    raw, rewards = score(operator, canvas)
    log_probs = logits.log_softmax(-1)
    law = sum(log_probs[i][raw[:, i]] for i in range(LENGTH)).exp()
    error = found.value.std() / 100
    assert (found.value.mean() - (law * rewards).sum()).abs() < 4 * error
    torch.testing.assert_close(found.terms["enumerated"], found.value)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", ["linear", "multilinear"])
def test_the_soft_relaxation_is_exact_where_the_reward_is_linear(kind, given):
    canvas = canvas_of(given=given)
    if kind == "linear":
        operator = table_reward(LENGTH, SYMBOLS, seed=6, linear=True)
    else:
        operator = enumerated_reward(LENGTH, SYMBOLS, seed=6)
    logits = logits_at(canvas, seed=4)
    config = PLAIN.replace(estimator="relaxed", relaxation="expectation")
    found, likelihood = estimates(operator, canvas, logits, config, batch=3)
    exact = exact_gradient(operator, canvas, logits)
    for row in found:
        torch.testing.assert_close(row, exact)
    assert likelihood.informative.all()


@pytest.mark.parametrize("relaxation", ["quantized", "entropy", "expectation"])
@pytest.mark.parametrize("quantizer", ["nearest", "argmax", "sample"])
def test_every_relaxation_is_exact_for_a_linear_reward(relaxation, quantizer):
    """The hard part is stop-gradient, and a linear reward has the same slope everywhere."""
    canvas = canvas_of()
    terms = torch.randn(LENGTH, SYMBOLS, generator=torch.Generator().manual_seed(7)).double()
    operator, logits = additive_reward(terms), logits_at(canvas, seed=4)
    config = PLAIN.replace(estimator="relaxed", relaxation=relaxation, quantizer=quantizer)
    found, _ = estimates(operator, canvas, logits, config, batch=2)
    exact = exact_gradient(operator, canvas, logits)
    for row in found:
        torch.testing.assert_close(row, exact)


# method.md gives, in toys of this size: sampled straight-through .89-.99, entropy .90-.996,
# soft .54-.95, argmax straight-through .58-.95. (lowest, lowest mean) over eight worlds here.
BOUNDS = {
    ("quantized", "sample"): (0.85, 0.93),
    ("entropy", "sample"): (0.88, 0.93),
    ("gumbel", "sample"): (0.88, 0.93),
    ("expectation", "sample"): (0.5, 0.85),
    ("quantized", "argmax"): (0.45, 0.7),
    ("entropy", "argmax"): (0.45, 0.7),
    ("quantized", "nearest"): (-0.3, 0.6),
    ("entropy", "nearest"): (0.6, 0.8),
}


@pytest.mark.parametrize(("relaxation", "quantizer"), BOUNDS)
def test_cosine_of_the_relaxations_to_the_exact_gradient(relaxation, quantizer):
    canvas, cosines = canvas_of(), []
    config = PLAIN.replace(estimator="relaxed", relaxation=relaxation, quantizer=quantizer)
    for seed in range(8):
        operator, logits = net_reward(LENGTH, SYMBOLS, seed + 50), logits_at(canvas, seed)
        exact = exact_gradient(operator, canvas, logits)
        found, _ = estimates(operator, canvas, logits, config, batch=2500)
        cosines.append(torch.cosine_similarity(found.mean(0).flatten(), exact.flatten(), 0))
    cosines = torch.stack(cosines)
    lowest, mean = BOUNDS[relaxation, quantizer]
    assert cosines.min() > lowest
    assert cosines.mean() > mean
    assert cosines.max() < 1 - 1e-4  # these are biased, and the test sees it


def test_constant_rewards_are_not_informative_and_have_no_gradient():
    canvas = canvas_of()
    flat = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    flat = replace(flat, values=torch.full_like(flat.values, 0.3))
    logits = logits_at(canvas, seed=3)
    for estimator in ("rloo", "remax"):
        config = PLAIN.replace(estimator=estimator)
        found, likelihood = estimates(flat, canvas, logits, config, batch=8)
        assert not likelihood.informative.any()
        assert found.abs().max() < 1e-15
    varied = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    _, likelihood = estimates(varied, canvas, logits, PLAIN.replace(estimator="rloo"), batch=50)
    assert likelihood.informative.all()


def test_auto_goes_through_what_is_differentiable_and_samples_the_rest():
    canvas = canvas_of(stops=True)
    smooth = table_reward(LENGTH, SYMBOLS, seed=6, linear=True, name="r")
    black = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False, name="r")
    logits = logits_at(canvas, seed=3)
    config = PLAIN.replace(relaxation="expectation", num_samples=6)
    batch = 8000
    both, found = estimates(
        weighted_sum((0.7, smooth), (-1.3, black)), canvas, logits, config, batch
    )
    through, one = estimates(smooth, canvas, logits, config.replace(estimator="relaxed"), batch)
    sampled, two = estimates(black, canvas, logits, config.replace(estimator="rloo"), batch)
    torch.testing.assert_close(both, 0.7 * through - 1.3 * sampled)
    torch.testing.assert_close(found.value, 0.7 * one.value - 1.3 * two.value)
    assert list(found.terms) == ["r", "r_2"]  # equal names in both parts are kept apart
    torch.testing.assert_close(found.terms["r"], one.value)
    torch.testing.assert_close(found.terms["r_2"], two.value)
    assert_unbiased(-1.3 * sampled, -1.3 * exact_gradient(black, canvas, logits))


def test_rloo_on_a_sum_is_unbiased_for_the_sum():
    canvas = canvas_of(stops=True)
    smooth = table_reward(LENGTH, SYMBOLS, seed=6)
    black = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    total, logits = weighted_sum((2.0, smooth), (0.5, black)), logits_at(canvas, seed=3)
    config = PLAIN.replace(estimator="rloo", num_samples=6)
    found, _ = estimates(total, canvas, logits, config, batch=8000)
    assert_unbiased(found, exact_gradient(total, canvas, logits))


def test_weight_zero_is_left_out_of_the_gradient():
    canvas, logits = canvas_of(), logits_at(canvas_of(), seed=3)
    smooth = table_reward(LENGTH, SYMBOLS, seed=6)
    black = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    config = PLAIN.replace(estimator="relaxed")  # and no complaint about the black box
    alone, _ = estimates(smooth, canvas, logits, config, batch=4)
    both, found = estimates(weighted_sum((1.0, smooth), (0.0, black)), canvas, logits, config, 4)
    assert both.equal(alone)
    assert list(found.terms) == ["table"]
    log_phi = logits.log_softmax(-1).requires_grad_()
    step = step_at(canvas, MASK, config, noise_for([0]))
    found = estimate(weighted_sum((0.0, smooth)), log_phi, step, 0)
    assert not found.surrogate.requires_grad
    assert (found.surrogate == 0).all()
    assert not found.informative.any()


def test_relaxing_a_black_box_is_an_error():
    canvas, logits = canvas_of(), logits_at(canvas_of(), seed=3)
    black = enumerated_reward(LENGTH, SYMBOLS, seed=5, differentiable=False)
    smooth = table_reward(LENGTH, SYMBOLS, seed=6)
    config = PLAIN.replace(estimator="relaxed")
    with pytest.raises(ValueError, match="black box"):
        estimates(weighted_sum((1.0, smooth), (0.1, black)), canvas, logits, config, batch=2)


def test_what_the_operator_sees_ends_at_the_stop():
    """`alive` is False from the relaxed answer's stop token on, and on padding."""
    seen = []

    class Looking:
        differentiable, codebook = True, None

        def take(self, rows):
            return self

        def log_prob(self, relaxed):
            seen.append(relaxed)
            return smooth.log_prob(relaxed)

    smooth = table_reward(LENGTH, SYMBOLS, seed=6, batch=2)
    canvas = Canvas.open([3, 2], mask_id=MASK, fill_id=FILL, stop_ids=[STOP])
    logits = torch.zeros(5, SYMBOLS + 2, dtype=torch.float64)
    logits[[0, 3, 4], 2] = 9  # row 0: 2 <stop> .   row 1: 2 2 and padding
    logits[1, STOP] = logits[2, 3] = 9
    config = PLAIN.replace(estimator="relaxed", quantizer="argmax")
    log_phi = logits.log_softmax(-1)
    estimate(Looking(), log_phi, step_at(canvas, MASK, config, noise_for([0, 1])), 0)
    assert seen[0].ids.tolist() == [[2, STOP, FILL], [2, 2, FILL]]
    assert seen[0].alive.tolist() == [[True, False, False], [True, True, False]]


def test_rows_are_estimated_as_if_alone():
    canvas = canvas_of(stops=True, batch=4)
    operator = table_reward(LENGTH, SYMBOLS, seed=6, batch=4)
    generator = torch.Generator().manual_seed(8)
    logits = torch.randn(12, SYMBOLS, generator=generator, dtype=torch.float64)
    logits = with_suppressed(logits, 2)
    noise = noise_for([5, 6, 7, 8])
    for estimator, relaxation in (
        ("rloo", "entropy"),
        ("relaxed", "gumbel"),
        ("relaxed", "entropy"),
    ):
        config = PLAIN.replace(estimator=estimator, relaxation=relaxation)
        step = step_at(canvas, MASK, config, noise, index=1)
        together = estimate(operator, logits.log_softmax(-1), step, 2)
        for row in range(4):
            at = torch.tensor([row])
            mine = logits[3 * row : 3 * row + 3].log_softmax(-1)
            alone = estimate(operator.take(at), mine, step.take(at), 2)
            torch.testing.assert_close(alone.surrogate[0], together.surrogate[row])
            torch.testing.assert_close(alone.value[0], together.value[row])


@pytest.mark.parametrize(
    "options",
    [
        {"estimator": "rloo"},
        {"estimator": "remax"},
        {"relaxation": "quantized", "quantizer": "sample"},
        {"relaxation": "entropy", "quantizer": "sample"},
        {"relaxation": "gumbel"},
    ],
)
def test_every_inner_step_and_every_step_draws_anew(options):
    """The same logits at another inner step, or at another step, are other samples."""
    canvas, operator = canvas_of(batch=50), table_reward(LENGTH, SYMBOLS, seed=6, batch=50)
    log_phi = logits_at(canvas, seed=3).repeat(50, 1).log_softmax(-1)
    config, noise = PLAIN.replace(**options), noise_for(range(50))
    values = [
        estimate(operator, log_phi, step_at(canvas, MASK, config, noise, index), inner).value
        for index, inner in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    for i, one in enumerate(values):
        for two in values[:i]:
            same = (one - two).abs() < 1e-12
            assert same.double().mean() < 0.9


class Seen:
    """A reward that keeps the relaxed canvas it was shown."""

    differentiable = True

    def __init__(self, inner):
        self.inner, self.codebook, self.relaxed = inner, inner.codebook, None

    def take(self, rows):
        return self

    def log_prob(self, relaxed):
        self.relaxed = relaxed
        return self.inner.log_prob(relaxed)


@pytest.mark.parametrize(
    "options",
    [
        {"relaxation": "expectation"},
        {"relaxation": "quantized", "quantizer": "argmax"},
        {"relaxation": "quantized", "quantizer": "nearest"},
        {"relaxation": "quantized", "quantizer": "sample"},
        {"relaxation": "entropy", "quantizer": "argmax"},
        {"relaxation": "gumbel", "gumbel_temperature": 0.5},
        {"relaxation": "gumbel", "gumbel_temperature": 3.0},
    ],
)
def test_a_reward_is_shown_what_the_settings_say(options):
    canvas, batch = canvas_of(), 50
    logits = logits_at(canvas, seed=3)
    seen = Seen(enumerated_reward(LENGTH, SYMBOLS, seed=5))
    config = PLAIN.replace(**options)
    _, found = estimates(seen, canvas, logits, config, batch)
    shown, kind = seen.relaxed, options["relaxation"]
    log_phi = logits.log_softmax(-1).repeat(batch, 1)
    assert shown.relaxation == kind
    assert shown.quantizer == options.get("quantizer", "sample")
    assert shown.temperature == options.get("gumbel_temperature", 1.0)
    torch.testing.assert_close(shown.probs.detach(), log_phi.exp())
    hard = shown.ids[shown.rows, shown.cols]
    if kind == "gumbel":
        assert hard.equal((log_phi + shown.gumbel).argmax(-1))
        # The gradient is that of the softmax of (log p + gumbel) / temperature.
        leaf = log_phi.exp().requires_grad_()
        soft = ((leaf.log() + shown.gumbel) / options["gumbel_temperature"]).softmax(-1)
        codes = soft.view(batch, LENGTH, -1)
        one_hot = torch.nn.functional.one_hot(hard, SYMBOLS + 2).view(batch, LENGTH, -1)
        codes = one_hot + codes - codes.detach()
        values = torch.einsum("abc,na,nb,nc->n", seen.inner.values, *codes.unbind(1))
        (expected,) = torch.autograd.grad(values.sum(), leaf)
        (gradient,) = torch.autograd.grad(seen.inner.log_prob(shown).total.sum(), shown.probs)
        torch.testing.assert_close(gradient[:, :SYMBOLS], expected[:, :SYMBOLS])
    else:
        assert shown.gumbel is None
        sampled = options.get("quantizer") == "sample"
        assert hard.equal(log_phi.argmax(-1)) != sampled
    assert found.informative.all()
    assert found.value.equal(found.terms["enumerated"])
