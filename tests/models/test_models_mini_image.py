"""The masked image model as a denoiser of the core."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.noise import Noise
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
from aps_text.models.mini_image import ImageDenoiser, MaskedImageModel, PriorConfig, load_prior

CONFIG = PriorConfig(
    grid=3, bits=4, width=16, layers=2, heads=2,
    attributes={"kind": ("a", "b", "c"), "hue": ("red", "blue")},
)  # fmt: skip
VALUES = torch.tensor([[0, 1], [2, -1], [-1, -1]])


def model():
    """Random, with a wide init, so that no two logits nearly tie."""
    torch.manual_seed(0)
    net = MaskedImageModel(CONFIG)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval().requires_grad_(False)


def canvas():
    z = torch.randint(0, 16, (3, 9), generator=torch.Generator().manual_seed(1))
    z[0, 2:7] = z[1, :] = z[2, 4] = 16
    return z


def noise(rows):
    return Noise(torch.arange(rows), torch.zeros(rows, dtype=torch.long))


def test_logits_are_those_of_the_whole_forward_where_asked():
    net, z = model(), canvas()
    where = tuple((z == net.mask_id).nonzero().T)
    whole = net.head(net(z, VALUES).flatten(0, 1)).view(3, 9, 16)
    for layers in (0, 1, 2):
        denoiser = ImageDenoiser.bind(net, VALUES, adapted_layers=layers)
        logits = denoiser.logits(denoiser.trunk(z), where)
        assert logits.shape == (len(where[0]), denoiser.vocab_size)
        assert torch.allclose(logits, whole[where], atol=1e-5)


def test_rows_taken_are_rows_alone():
    net, z = model(), canvas()
    rows = torch.tensor([2, 0, 0])
    denoiser = ImageDenoiser.bind(net, VALUES)
    everywhere = tuple(torch.ones(3, 9).nonzero().T)
    whole = denoiser.logits(denoiser.trunk(z), everywhere).view(3, 9, 16)
    other = denoiser.take(rows)
    taken = other.logits(other.trunk(z[rows]), everywhere).view(3, 9, 16)
    assert torch.allclose(taken, whole[rows], atol=1e-5)


def test_position_and_neighbours_matter():
    """A token's place is seen: the same canvas shifted is read differently."""
    net = model()
    z = torch.full((1, 9), net.mask_id)
    z[0, 0] = 3
    moved = z.roll(1, 1)
    assert not torch.allclose(net(z, VALUES[2:])[0, 5], net(moved, VALUES[2:])[0, 5], atol=1e-3)


def test_a_withheld_attribute_adds_nothing_and_a_given_one_does():
    net, z = model(), canvas()[:1]
    without = net.embed(z, torch.tensor([[-1, -1]]))
    both = net.embed(z, torch.tensor([[1, 0]])) - without
    parts = [net.attributes[0].weight[1], net.attributes[1].weight[0]]
    assert torch.allclose(both, sum(parts).expand_as(both), atol=1e-5)


def test_guidance_is_the_formula():
    net, z = model(), canvas()
    where = tuple((z == net.mask_id).nonzero().T)

    def logits(denoiser):
        return denoiser.logits(denoiser.trunk(z), where)

    cond = logits(ImageDenoiser.bind(net, VALUES))
    plain = logits(ImageDenoiser.bind(net, torch.full_like(VALUES, -1)))
    guided = logits(ImageDenoiser.bind(net, VALUES, cfg_scale=1.5))
    assert torch.allclose(guided, 2.5 * cond - 1.5 * plain, atol=1e-4)
    assert torch.allclose(guided[where[0] == 2], cond[where[0] == 2], atol=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_base_sampler_fills_the_canvas_with_codes(schedule):
    net = model()
    denoiser = ImageDenoiser.bind(net, VALUES, cfg_scale=0.5)
    config = APSConfig(max_new_tokens=9, steps=4, schedule=schedule, temperature=1.0, top_p=1.0)
    opened = Canvas.open([9] * 3, mask_id=net.mask_id, fill_id=net.mask_id)
    z = run(Ancestral(), denoiser, ZeroOperator(), opened, config, noise(3)).z
    assert bool(((z >= 0) & (z < 16)).all())


@pytest.mark.parametrize("adapter", ["lora", "logits"])
def test_phi_starts_at_theta_moves_and_leaves_theta_alone(adapter):
    net, z = model(), canvas()
    where = tuple((z == net.mask_id).nonzero().T)
    denoiser = ImageDenoiser.bind(net, VALUES, adapted_layers=1)
    config = APSConfig(max_new_tokens=9, adapter=adapter)
    phi = denoiser.new_adapter(config, noise(3))
    state = denoiser.trunk(z)
    before = denoiser.logits(state, where)
    phi.begin(denoiser, state, where)
    first = phi.logits(denoiser, state, where)
    assert torch.allclose(first, before, atol=1e-5)
    grad = torch.zeros_like(before)
    grad[:, 3] = -1.0
    gate = torch.tensor([True, False, True])
    phi.update(first, grad, gate)
    after = phi.logits(denoiser, state, where)
    moved = (after - before).abs().amax(1) > 1e-6
    assert bool(moved[where[0] != 1].all())
    assert not bool(moved[where[0] == 1].any())
    assert bool((after[:, 3] > before[:, 3])[where[0] != 1].all())
    assert torch.equal(denoiser.logits(state, where), before)


def test_attributes_by_name():
    assert CONFIG.values({"hue": "blue"}).tolist() == [[-1, 1]]
    assert CONFIG.values({}).tolist() == [[-1, -1]]
    with pytest.raises(ValueError, match="no attribute 'colour'; this model knows kind, hue"):
        CONFIG.values({"colour": "red"})
    with pytest.raises(ValueError, match="kind='z' is not one of a, b, c"):
        CONFIG.values({"kind": "z"})


def test_attributes_are_known_in_any_spelling_and_the_nearest_is_named():
    known = {"hair colour": ("dark brown", "red"), "class": ("t-shirt", "shirt", "bag")}
    config = replace(CONFIG, attributes=known)
    for written in ("T-Shirt", "tshirt", "T shirt", "t_shirt", "t-shirt"):
        assert config.values({"Class": written}).tolist() == [[-1, 0]]
    assert config.values({"hair_colour": "Dark-Brown"}).tolist() == [[0, -1]]
    for wrong, said in (
        ({"hair color": "red"}, r"knows hair colour, class; did you mean 'hair colour'\?"),
        ({"class": "bags"}, r"is not one of t-shirt, shirt, bag; did you mean 'bag'\?"),
        ({"class": "violin"}, "is not one of t-shirt, shirt, bag$"),
        ({"class": "bag", "Class": "shirt"}, "class is given twice: 'shirt' and 'bag'"),
        ({"class": 3}, "class=3 is not one of"),
    ):
        with pytest.raises(ValueError, match=said):
            config.values(wrong)
    two = replace(CONFIG, attributes={"kind": ("a b", "ab")})  # alike but for the space
    assert two.values({"kind": "ab"}).tolist() == [[1]]
    with pytest.raises(ValueError, match="kind='A B' is not one of"):
        two.values({"kind": "A B"})


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (torch.zeros(3, 1).long(), {}, r"\(B, 2\) for kind, hue, got \(3, 1\)"),
        (torch.tensor([[3, 0]]), {}, "lie in -1"),
        (torch.tensor([[0, -2]]), {}, "lie in -1"),
        (VALUES, {"adapted_layers": 3}, "lora_layers=3"),
        (VALUES, {"cfg_scale": -1.0}, "cfg_scale must be >= 0, got -1"),
    ],
)
def test_what_cannot_be_bound_is_named(values, settings, message):
    with pytest.raises(ValueError, match=message):
        ImageDenoiser.bind(model(), values, **settings)


def test_a_saved_prior_comes_back(tmp_path):
    net = model().bfloat16()
    save_file(net.state_dict(), tmp_path / "prior.safetensors")
    (tmp_path / "prior.json").write_text(json.dumps(asdict(CONFIG)))
    loaded = load_prior(tmp_path)
    for old, new in zip(net.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(old.float(), new)
    where = (torch.tensor([0]), torch.tensor([2]))
    denoiser = ImageDenoiser.bind(loaded, loaded.config.values({"kind": "b"}))
    assert denoiser.logits(denoiser.trunk(canvas()[:1]), where).isfinite().all()


def test_guidance_towards_nothing_is_said(caplog):
    net = model()
    ImageDenoiser.bind(net, VALUES, cfg_scale=1.0)
    assert not caplog.records
    ImageDenoiser.bind(net, torch.full_like(VALUES, -1))
    assert not caplog.records
    ImageDenoiser.bind(net, torch.full_like(VALUES, -1), cfg_scale=1.0)
    assert "cfg_scale=1 guides towards attributes, and none is given" in caplog.text
