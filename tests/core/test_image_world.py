"""Images through the unchanged core: 4 tokens of 2 LFQ bits, a linear decoder, a Gaussian camera.

Everything is enumerable: 4^4 images, p(x|y) ~ p(x) N(y; A(D(x)), sigma^2). There is no stop token,
and the mask is no id of the codebook.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from worlds import TableDenoiser, all_answers, index_of, joint_table, noise_for

from aps_text.core.canvas import Canvas
from aps_text.core.codebook import LFQCodebook
from aps_text.core.config import APSConfig
from aps_text.core.operator import Operator, Scores, ZeroOperator
from aps_text.core.remasking import anchor_scores
from aps_text.core.sampler import Result, denoise, run
from aps_text.core.schedule import keep_masked, reveal_count, time_grid
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS, PosteriorTilt

TOKENS, BITS, BATCH = 4, 2, 200
SYMBOLS = 2**BITS
MASK = SYMBOLS
IMAGES = all_answers(TOKENS, SYMBOLS)
CODES = LFQCodebook(BITS)


@dataclass(frozen=True)
class Camera:
    """`y = A D(x) + sigma n`: one object simulates and scores, with the one sigma."""

    decoder: Tensor  # (pixels, L * bits), D
    blur: Tensor  # (measurements, pixels), A
    sigma: float
    y: Tensor | None = None  # (B, measurements)
    differentiable: bool = True

    @property
    def codebook(self):
        return CODES

    def take(self, rows):
        return replace(self, y=self.y[rows])

    def measure(self, codes: Tensor) -> Tensor:
        return codes.flatten(1) @ self.decoder.T @ self.blur.T

    def simulate(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        clean = self.measure(CODES.embed(ids).double())
        return clean + self.sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)

    def log_density(self, codes: Tensor) -> Scores:
        residual = self.y - self.measure(codes)
        width = residual.shape[-1]
        total = -residual.square().sum(-1) / (2 * self.sigma**2)
        total = total - width * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return Scores(total, {"camera": total.detach()})

    def log_prob(self, relaxed):
        return self.log_density(relaxed.codes(CODES))

    def log_prob_ids(self, ids):
        return self.log_density(CODES.embed(ids).double())


@dataclass(frozen=True)
class World:
    denoiser: TableDenoiser
    camera: Camera
    truth: Tensor

    @property
    def canvas(self) -> Canvas:
        return Canvas.open([TOKENS] * len(self.truth), mask_id=MASK, fill_id=0)

    def log_likelihoods(self) -> Tensor:
        """Of every image given every row's measurement, `(B, 256)`."""
        clean = self.camera.measure(CODES.embed(IMAGES).double())
        law = torch.distributions.Normal(clean, self.camera.sigma)
        return law.log_prob(self.camera.y[:, None]).sum(-1)

    def posterior(self) -> Tensor:
        return (self.denoiser.table.flatten(1).log() + self.log_likelihoods()).softmax(-1)

    def residual(self, z: Tensor) -> Tensor:
        return (self.camera.y - self.camera.measure(CODES.embed(z).double())).square().sum(-1)

    def mass(self, z: Tensor) -> Tensor:
        """Posterior probability of each row's own image."""
        return self.posterior().gather(-1, index_of(z, SYMBOLS)[:, None]).squeeze(-1)


@pytest.fixture(scope="module")
def world() -> World:
    generator = torch.Generator().manual_seed(0)
    table = joint_table(TOKENS, SYMBOLS, 0)
    truth = IMAGES[torch.multinomial(table.flatten(), BATCH, True, generator=generator)]
    decoder = torch.randn(10, TOKENS * BITS, generator=generator, dtype=torch.float64) / 4
    blur = torch.randn(6, 10, generator=generator, dtype=torch.float64) / 3
    camera = Camera(decoder, blur, sigma=0.2)
    camera = replace(camera, y=camera.simulate(truth, generator))
    denoiser = TableDenoiser(table.expand(BATCH, *table.shape[1:]), suppressed=0)
    return World(denoiser, camera, truth)


CONFIG = APSConfig(
    adapter="logits",
    steps=TOKENS,
    inner_steps=20,
    learning_rate=0.3,
    beta=1.0,
    prior="kl",
    relaxation="quantized",
    quantizer="nearest",
    candidate="quantized",
    trust_region=None,
    temperature=1.0,
    top_p=1.0,
)


def draw(method, world: World, config: APSConfig, operator: Operator | None = None) -> Result:
    noise = noise_for(range(BATCH))
    operator = operator or world.camera
    return run(method, world.denoiser, operator, world.canvas, config, noise, keep_trajectory=True)


def test_the_camera_is_one_normalised_density(world):
    ids, at = world.truth, index_of(world.truth, SYMBOLS)
    expected = world.log_likelihoods().gather(-1, at[:, None]).squeeze(-1)
    torch.testing.assert_close(world.camera.log_prob_ids(ids).total, expected)
    assert isinstance(world.camera, Operator)
    # What it simulates has the sigma it scores with.
    share = world.residual(ids).mean().item() / world.camera.y.shape[1]
    assert share == pytest.approx(world.camera.sigma**2, rel=0.15)


def test_the_mask_is_no_token(world):
    assert world.denoiser.vocab_size == CODES.size == MASK


@pytest.mark.parametrize("anchor_score", ["token", "bits"])
@pytest.mark.parametrize("relaxation", ["quantized", "expectation"])
def test_steering_explains_the_measurement(world, anchor_score, relaxation):
    config = CONFIG.replace(anchor_score=anchor_score, relaxation=relaxation)
    plain = draw(Ancestral(), world, config.replace(candidate="sample")).z
    steered = draw(APS(), world, config).z
    assert steered.min() >= 0
    assert steered.max() < SYMBOLS
    drop = world.residual(plain) - world.residual(steered)
    assert drop.mean() > 5 * drop.std() / BATCH**0.5
    assert world.residual(steered).mean() < 0.6 * world.residual(plain).mean()
    gain = world.mass(steered) - world.mass(plain)
    assert gain.mean() > 5 * gain.std() / BATCH**0.5
    right = [(z == world.truth).double().mean().item() for z in (plain, steered)]
    assert right[1] > right[0] + 0.1


@pytest.mark.parametrize("inner_steps", [0, 3])
def test_quantised_candidates_are_untouched_by_the_pool(world, inner_steps):
    """The pool is of drawn answers: with the quantised expectation there is none, at no cost."""
    config = CONFIG.replace(inner_steps=inner_steps)
    assert config.sampler.pool_size is None
    alone = draw(APS(), world, config)
    pooled = config.replace(candidate="sample", pool_size=4)
    assert pooled.sampler.pool_size == 4
    assert not draw(APS(), world, pooled).z.equal(alone.z)
    assert draw(APS(), world, pooled.replace(candidate="quantized")).z.equal(alone.z)
    with pytest.raises(ValueError, match="pool_size=4 has no use here: candidate='quantized'"):
        APSConfig.make(candidate="quantized", pool_size=4)


def test_sampled_candidates_explain_it_too(world):
    config = CONFIG.replace(candidate="sample", relaxation="expectation")
    plain = draw(Ancestral(), world, config).z
    steered = draw(APS(), world, config).z
    gain = world.mass(steered) - world.mass(plain)
    assert gain.mean() > 5 * gain.std() / BATCH**0.5


class Watched:
    """The real tilt, with what it returned kept."""

    def __init__(self, inner: PosteriorTilt) -> None:
        self.inner, self.seen = inner, []

    def take(self, rows):
        self.inner.take(rows)

    def __call__(self, denoiser, step):
        tilted = self.inner(denoiser, step)
        self.seen.append((step, tilted))
        return tilted


@pytest.mark.parametrize("anchor_score", ["token", "bits"])
@pytest.mark.parametrize("steps", [1, 3, 4])
def test_anchors_are_counted_and_are_the_best_by_their_score(world, anchor_score, steps):
    config = CONFIG.replace(anchor_score=anchor_score, steps=steps)
    noise = noise_for(range(BATCH))
    adapter = world.denoiser.new_adapter(config, noise)
    watched = Watched(PosteriorTilt(world.camera, config, adapter))
    states = list(denoise(world.denoiser, world.camera, world.canvas, config, noise, watched))
    grid, z = time_grid(steps), world.canvas.z
    for state, (step, tilted) in zip(states, watched.seen, strict=True):
        masked = z == MASK
        keep = keep_masked(grid[state.step], grid[state.step + 1])
        assert state.revealed.sum(-1).equal(reveal_count(masked.sum(-1), keep))
        assert not (state.revealed & ~masked).any()
        probs = tilted.log_phi.exp()
        torch.testing.assert_close(probs.sum(-1), torch.ones(len(probs)).double())
        # Candidates are the quantised expectation: a sign per bit.
        signs = probs @ CODES.embed(torch.arange(SYMBOLS)).double()
        tokens = ((signs > 0).long() * torch.tensor([2, 1])).sum(-1)
        assert state.candidates[masked].equal(tokens)
        if anchor_score == "token":
            score = probs.gather(-1, tokens[:, None]).squeeze(-1)
        else:
            score = ((1 + signs.abs()) / 2).prod(-1)
        torch.testing.assert_close(
            anchor_scores(anchor_score, tilted.log_phi, tokens, CODES), score
        )
        board = torch.full(z.shape, math.nan).double().index_put(step.where, score)
        for row in range(BATCH):
            left = masked[row] & ~state.revealed[row]
            if left.any():
                assert board[row][state.revealed[row]].min() >= board[row][left].max() - 1e-12
        z = state.z
    assert not (z == MASK).any()


def test_the_two_anchor_scores_keep_other_anchors(world):
    first = [
        draw(APS(), world, CONFIG.replace(anchor_score=s)).trajectory[0].revealed
        for s in ("token", "bits")
    ]
    assert not first[0].equal(first[1])


def test_no_measurement_with_the_kl_prior_is_the_base_sampler(world):
    config = CONFIG.replace(candidate="sample")
    one = draw(APS(), world, config, ZeroOperator())
    two = draw(Ancestral(), world, config, ZeroOperator())
    assert one.z.equal(two.z)
    assert not one.z.equal(draw(APS(), world, config).z)


def test_rows_are_what_they_are_alone(world):
    together = draw(APS(), world, CONFIG).z
    for row in range(0, BATCH, 40):
        at = torch.tensor([row])
        canvas = world.canvas.take(at)
        few, camera = world.denoiser.take(at), world.camera.take(at)
        alone = run(APS(), few, camera, canvas, CONFIG, noise_for([row])).z
        assert alone[0].equal(together[row])


def test_quantising_needs_a_codebook(world):
    with pytest.raises(ValueError, match="codebook"):
        draw(APS(), world, CONFIG, ZeroOperator())
