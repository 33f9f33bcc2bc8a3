"""Split Gibbs in the world of 2x2 tokens of 2 bits: its kernels by enumeration, and their draws.

The joint law pi(x, z) has 256 x 256 states. Kernels are built from the method's own functions, and
its draws are compared with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from test_image_world import CODES, IMAGES, MASK, SYMBOLS, TOKENS, Camera
from test_methods_laws import noise_floor
from torch import Tensor
from worlds import TableDenoiser, index_of, joint_table, noise_for, open_canvas, table_reward

from aps_text.core.config import APSConfig
from aps_text.core.sampler import run
from aps_text.methods.sign_flips import Conditional
from aps_text.methods.split_gibbs import SplitGibbs, log_rho, redraw_probs

LEVEL, FLIPS, BETA, STATES = 0.4, 2.0, 1.0, SYMBOLS**TOKENS
TABLE = joint_table(TOKENS, SYMBOLS, 0)
PRIOR = TABLE.flatten()
CONFIG = APSConfig(steps=TOKENS, beta=BETA, temperature=1.0, top_p=1.0)


class Saturating(Camera):
    """Values beyond 0.6 are cut off, so that signs behind them have no gradient."""

    def measure(self, codes: Tensor) -> Tensor:
        return super().measure(codes.double()).clamp(-0.6, 0.6)


class Linear(Camera):
    def measure(self, codes: Tensor) -> Tensor:
        return super().measure(codes.double())


def camera_of(kind: type[Camera]) -> Camera:
    generator = torch.Generator().manual_seed(3)
    decoder = torch.randn(10, TOKENS * 2, generator=generator, dtype=torch.float64) / 4
    blur = torch.randn(3, 10, generator=generator, dtype=torch.float64) / 3
    made = kind(decoder, blur, sigma=0.3)
    return replace(made, y=made.simulate(IMAGES[37:38], generator))


CAMERAS = {"linear": camera_of(Linear), "saturating": camera_of(Saturating)}


@dataclass(frozen=True)
class Shared:
    """The table's denoiser with all 5^4 canvases looked up; any row is any other."""

    marginals: Tensor

    mask_id, vocab_size = MASK, SYMBOLS

    @classmethod
    def make(cls) -> Shared:
        canvases = torch.cartesian_prod(*[torch.arange(SYMBOLS + 1)] * TOKENS)
        rows = torch.arange(len(canvases)).repeat_interleave(TOKENS)
        where = rows, torch.arange(TOKENS).repeat(len(canvases))
        whole = TableDenoiser(TABLE.expand(len(canvases), *TABLE.shape[1:]), suppressed=0)
        return cls(whole.logits(canvases, where).view(-1, TOKENS, SYMBOLS))

    def take(self, rows):
        return self

    def trunk(self, z):
        return self.marginals[index_of(z, SYMBOLS + 1)]

    def logits(self, state, where, phi=None):
        return state[where]


DENOISER = Shared.make()


def rows_of(camera: Camera, count: int) -> Camera:
    return camera.take(torch.zeros(count, dtype=torch.long))


def likelihood(camera: Camera) -> Tensor:
    return rows_of(camera, STATES).log_prob_ids(IMAGES).total / BETA


def target_of(camera: Camera) -> Tensor:
    """pi as `(x, z)`, from its definition."""
    same = (IMAGES[:, None] == IMAGES[None]).double()
    kernel = ((1 - LEVEL) * same + LEVEL / SYMBOLS).prod(-1)
    joint = PRIOR[:, None] * kernel * likelihood(camera).exp()
    return joint / joint.sum()


def prior_kernel(ratio: float) -> Tensor:
    """`P(x' | x, z)` as `(x, z, x')`, float32: over the 16 sets of positions that are redrawn."""
    x, z = IMAGES[:, None].expand(-1, STATES, -1), IMAGES[None].expand(STATES, -1, -1)
    chance = redraw_probs(x, z, ratio)
    out = torch.zeros(STATES, STATES, STATES)
    for m in torch.cartesian_prod(*[torch.tensor([False, True])] * TOKENS):
        weight = torch.where(m, chance, 1 - chance).prod(-1)
        fits = (IMAGES[:, None] == IMAGES[None])[..., ~m].all(-1)  # (z, x')
        law = fits * PRIOR
        law = law / law.sum(-1, keepdim=True)
        out += weight.float()[..., None] * law.float()[None]
    return out


SIGNS = CODES.embed(IMAGES).flatten(1) > 0
FLIP = SIGNS[:, None] ^ SIGNS[None]
ELSEWHERE = (IMAGES[:, None] != IMAGES[None]).sum(-1)


def likelihood_kernel(
    camera: Camera, proposal: str, ratio: float, images: Tensor = IMAGES
) -> Tensor:
    """`P(z' | x, z)` of one proposal, as `(x, z, z')` for x among `images`; float32."""
    camera = rows_of(camera, STATES)
    free = torch.ones_like(IMAGES, dtype=torch.bool)
    out = []
    for x in images:
        target = Conditional(camera, x.expand_as(IMAGES), free, ratio, BETA)
        if proposal == "langevin":
            value, odds = target.flips(IMAGES, FLIPS)
            yes, no = odds.sigmoid().log(), (-odds).sigmoid().log()
            change = (yes - no).view(STATES, 1, -1)
            forward = (FLIP * change).sum(-1) + no.view(STATES, -1).sum(-1, keepdim=True)
        else:
            value = target.value(IMAGES)
            reach, share = {"uniform": (ELSEWHERE, SYMBOLS), "bit": (FLIP.sum(-1), 2)}[proposal]
            forward = torch.where(reach == 1, -math.log(TOKENS * share), -math.inf)
        gain = value[None] - value[:, None] + torch.nan_to_num(forward.T - forward, nan=0.0)
        move = (forward + gain.clamp_max(0)).exp().fill_diagonal_(0)
        out.append((move + torch.diag(1 - move.sum(-1))).float())
    return torch.stack(out)


def after_prior(law: Tensor, kernel: Tensor) -> Tensor:
    """The law `(x, z)` after a prior step."""
    return torch.einsum("xz,xzy->yz", law.float(), kernel).double()


def after_likelihood(law: Tensor, kernel: Tensor) -> Tensor:
    return torch.bmm(law.float()[:, None], kernel)[:, 0].double()


def distance(one: Tensor, two: Tensor) -> float:
    return (one - two).abs().sum().item() / 2


RIGHT = log_rho(LEVEL, SYMBOLS)


@pytest.fixture(scope="module")
def prior_half() -> Tensor:
    return prior_kernel(RIGHT)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_prior_half_leaves_the_target_as_it_is(name, prior_half):
    target = target_of(CAMERAS[name])
    assert distance(after_prior(target, prior_half), target) < 1e-5


def test_a_wrong_share_of_redrawn_tokens_changes_the_target():
    target = target_of(CAMERAS["linear"])
    wrong = prior_kernel(math.log(LEVEL / SYMBOLS))  # without the copies that were drawn anew
    assert distance(after_prior(target, wrong), target) > 1e-3


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("proposal", ["uniform", "bit", "langevin"])
def test_the_likelihood_half_leaves_the_target_as_it_is(name, proposal):
    some = torch.arange(0, STATES, 8)  # x does not change, so every x is a law of its own
    target = target_of(CAMERAS[name])[some]
    target = target / target.sum()

    def gap(ratio: float) -> float:
        kernel = likelihood_kernel(CAMERAS[name], proposal, ratio, IMAGES[some])
        return distance(after_likelihood(target, kernel), target)

    assert gap(RIGHT) < 1e-5
    assert gap(1.3 * RIGHT) > 1e-3


@pytest.mark.parametrize(("name", "proposal"), [("saturating", "bit"), ("linear", "langevin")])
def test_the_law_falls_to_the_target(name, proposal, prior_half):
    camera = CAMERAS[name]
    target = target_of(camera)
    several = likelihood_kernel(camera, proposal, RIGHT)
    for _ in range(3):
        several = torch.bmm(several, several)  # 8 proposals
    law = torch.diag(PRIOR)  # z = x ~ p
    start = distance(law, target)
    law = after_likelihood(law, several)
    for _ in range(25):
        law = after_likelihood(after_prior(law, prior_half), several)
    assert start > 0.5
    assert distance(law, target) < 0.02


def law_of(z: Tensor) -> Tensor:
    return torch.bincount(index_of(z, SYMBOLS), minlength=STATES) / len(z)


STARTS = [(0, 0), (37, 37), (200, 37), (9, 250)]


@pytest.mark.parametrize("proposal", ["uniform", "bit", "langevin"])
def test_a_likelihood_step_is_drawn_from_its_kernel(proposal):
    camera, count = CAMERAS["saturating"], 20_000
    kernel = likelihood_kernel(camera, proposal, RIGHT, IMAGES[[x for x, _ in STARTS]]).double()
    method = SplitGibbs(proposal=proposal, flips=FLIPS, mh_steps=2)
    for at, (x, z) in enumerate(STARTS):
        ids = IMAGES[z].expand(count, -1)
        free = torch.ones_like(ids, dtype=torch.bool)
        rows = rows_of(camera, count)
        target = Conditional(rows, IMAGES[x].expand(count, -1), free, RIGHT, BETA)
        noise = noise_for(range(at * count, (at + 1) * count))
        found = law_of(method.likelihood_step(target, ids, SYMBOLS, noise))
        exact = (kernel[at] @ kernel[at])[z]
        assert distance(found, exact) < 1.5 * noise_floor(exact, count)
        assert exact[z] < 0.98


def test_a_prior_step_is_drawn_from_its_kernel(prior_half):
    count, method = 20_000, SplitGibbs()
    canvas = open_canvas(count, TOKENS, MASK)
    free = torch.ones_like(canvas.z, dtype=torch.bool)
    for at, (x, z) in enumerate(STARTS):
        noise = noise_for(range(at * count, (at + 1) * count))
        ids = [IMAGES[one].expand(count, -1) for one in (x, z)]
        settings = method.settings(CONFIG), noise
        found = method.prior_step_of(DENOISER, canvas, *ids, free, LEVEL, SYMBOLS, *settings)
        exact = prior_half[x, z].double()
        assert distance(law_of(found), exact) < 1.5 * noise_floor(exact, count)


def answers(method: SplitGibbs, count: int, camera: Camera) -> Tensor:
    canvas, noise = open_canvas(count, TOKENS, MASK), noise_for(range(count))
    return run(method, DENOISER, rows_of(camera, count), canvas, CONFIG, noise).z


@pytest.mark.parametrize("proposal", ["bit", "langevin"])
def test_answers_follow_the_target(proposal):
    camera, count = CAMERAS["linear"], 4000
    exact = target_of(camera).sum(0)
    method = SplitGibbs(
        sweeps=15, mh_steps=16, epsilon=LEVEL, start=LEVEL, proposal=proposal, flips=FLIPS
    )
    allowed = 1.4 * noise_floor(exact, count)
    assert distance(law_of(answers(method, count, camera)), exact) < allowed
    assert distance(PRIOR, exact) > 0.4
    if proposal == "bit":
        loose = replace(method, prior_step="renoise")
        assert distance(law_of(answers(loose, count, camera)), exact) > 1.2 * allowed


def test_the_noise_level_falls_from_start_to_epsilon():
    method = SplitGibbs(sweeps=5, epsilon=0.2, start=0.6)
    assert [method.noise_level(k) for k in range(5)] == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2])
    assert SplitGibbs(sweeps=1, epsilon=0.2).noise_level(0) == 0.2
    assert log_rho(1.0, 8) == 0


@pytest.mark.parametrize("prior_step", ["exact", "renoise"])
@pytest.mark.parametrize("proposal", ["uniform", "bit", "langevin"])
def test_rows_are_what_they_are_alone(prior_step, proposal):
    method = SplitGibbs(sweeps=3, mh_steps=5, proposal=proposal, prior_step=prior_step)
    camera = CAMERAS["linear"]
    camera = replace(camera, y=camera.y + torch.linspace(-1, 1, 6)[:, None])
    canvas, noise = open_canvas(6, TOKENS, MASK), noise_for(range(6))
    z = canvas.z.clone()
    z[1, 0], z[2, 1], z[2, 3], z[4] = 3, 2, 0, 1  # given; all of the fifth
    canvas = replace(canvas, z=z)
    whole = run(method, DENOISER, camera, canvas, CONFIG, noise, keep_trajectory=True)
    assert len(whole.trajectory) == 3
    before = z
    for state in whole.trajectory:  # what a sweep drew again as it was is not revealed by it
        assert state.revealed.equal(state.z != before)
        before = state.z
    none = run(
        method,
        DENOISER,
        camera,
        replace(canvas, z=z.clamp(max=1)),
        CONFIG,
        noise,
        keep_trajectory=True,
    )
    assert none.trajectory == []
    given = z != MASK
    assert whole.z[given].equal(z[given])
    assert whole.z.max() < SYMBOLS
    for row in (2, 5):
        at = torch.tensor([row])
        alone = run(method, DENOISER, camera.take(at), canvas.take(at), CONFIG, noise.take(at))
        assert alone.z[0].equal(whole.z[row])


def test_the_site_of_a_proposal_is_its_share_of_the_free_positions_in_order():
    """Of many, as a sort that is not stable leaves few in order."""
    free = torch.rand(1, 128, generator=torch.Generator().manual_seed(0)) < 0.5
    z, noise = torch.zeros(1, 128, dtype=torch.long), noise_for([0])
    flat = SimpleNamespace(free=free, value=lambda z: torch.zeros(len(z)))
    found = SplitGibbs(mh_steps=1).likelihood_step(flat, z, SYMBOLS, noise)
    zero = torch.tensor([0])
    share = noise.uniform(zero, zero, 0, "proposal", 3)[0, 0]
    places = free[0].nonzero().squeeze(-1)
    assert found[0].nonzero().tolist() == [[places[int(share * len(places))]]]


def test_cost_is_counted():
    camera, canvas = rows_of(CAMERAS["linear"], 2), open_canvas(2, TOKENS, MASK)
    method = SplitGibbs(sweeps=3, mh_steps=5, proposal="langevin", prior_step="renoise")
    cost = run(method, DENOISER, camera, canvas, CONFIG, noise_for(range(2))).cost
    assert cost.reward_forwards == cost.reward_backwards == 2 * 3 * 6
    assert 2 * TOKENS < cost.denoiser_forwards <= 2 * 3 * TOKENS
    cost = run(SplitGibbs(2, 7), DENOISER, camera, canvas, CONFIG, noise_for(range(2))).cost
    assert (cost.reward_forwards, cost.reward_backwards) == (2 * 2 * 8, 0)


BAD = [
    ({"sweeps": 0}, "sweeps must be >= 1"),
    ({"mh_steps": -1}, "mh_steps must be >= 0"),
    ({"epsilon": 0.0}, "epsilon must be > 0"),
    ({"start": 1.5}, "start must be"),
    ({"proposal": "gibbs"}, "proposal is one of uniform, bit, langevin"),
    ({"prior_step": "none"}, "prior_step is one of exact, renoise"),
    ({"order": "anchored"}, "order is one of random"),
    ({"fill_steps": 0}, "fill_steps must be >= 1"),
    ({"flips": 0}, "flips must be > 0"),
    ({"beta": 0}, "beta must be > 0"),
]


@pytest.mark.parametrize(("options", "says"), BAD)
def test_settings_are_checked(options, says):
    with pytest.raises(ValueError, match=says):
        SplitGibbs(**options)


def test_operators_that_cannot_serve_are_refused():
    canvas, noise = open_canvas(1, TOKENS, MASK), noise_for([0])

    def tried(operator, method=None, canvas=canvas, config=CONFIG):
        list((method or SplitGibbs()).steps(DENOISER, operator, canvas, config, noise))

    with pytest.raises(ValueError, match=r"codebook of all tokens .* got none"):
        tried(table_reward(TOKENS, SYMBOLS, 0, differentiable=False))
    text = table_reward(TOKENS, SYMBOLS, 0)
    with pytest.raises(ValueError, match="the mask 4 is one of them; it is for tokens of images"):
        tried(text)
    black = replace(CAMERAS["linear"], differentiable=False)
    with pytest.raises(ValueError, match="use proposal='bit'"):
        tried(black, SplitGibbs(proposal="langevin"))
    stopped = replace(canvas, stop_ids=(0,))
    with pytest.raises(ValueError, match="it is for images"):
        tried(CAMERAS["linear"], canvas=stopped)
    with pytest.raises(ValueError, match="remask=True"):
        tried(CAMERAS["linear"], config=CONFIG.replace(remask=True))
