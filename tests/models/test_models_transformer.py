"""The transformer denoiser and per-prompt LoRA, on tiny random weights."""

from __future__ import annotations

import json

import pytest
import torch
from tiny import tiny_text_model
from worlds import TableReward, noise_for

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import Scores, ZeroOperator
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.models.lora import LoraAdapter

PROMPTS = ["what is a violin ?", "who ?", "why is the big dog happy and what about the cat ?"]
LENGTH = 8


@pytest.fixture(scope="module")
def model():
    return tiny_text_model(dtype=torch.float64)


def reward_for(model, batch=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    codes = torch.randn(model.parts.vocab_size, 6, generator=g, dtype=torch.float64)
    weight = torch.randn(batch, LENGTH, 6, generator=g, dtype=torch.float64) * 0.3
    return TableReward(codes, weight)


def settings(**kw):
    return APSConfig(
        **{
            "steps": 4,
            "inner_steps": 3,
            "pool_size": 1,
            "learning_rate": 0.05,
            "beta": 0.1,
            **kw,
        }
    )


def bound(model, index, config):
    denoiser = model.bind(
        [model.encode(PROMPTS[i]) for i in index], [LENGTH] * len(index), config.lora_layers
    )
    canvas = Canvas.open(
        [LENGTH] * len(index),
        mask_id=denoiser.mask_id,
        fill_id=model.fill_id,
        stop_ids=model.stop_ids,
    )
    return denoiser, canvas


def sample(model, index, config, method=None, operator=None, **kw):
    denoiser, canvas = bound(model, index, config)
    operator = operator or reward_for(model).take(torch.tensor(index))
    return run(method or APS(), denoiser, operator, canvas, config, noise_for(index), **kw)


@pytest.mark.parametrize("layers", [1, 2, 3, None])
def test_trunk_and_replay_equal_the_whole_forward(model, layers):
    denoiser, canvas = bound(model, [0, 1, 2], settings(lora_layers=layers))
    z = canvas.z.clone()
    z[0, 3], z[1, 5:] = model.stop_ids[0], model.fill_id
    where = (torch.tensor([0, 0, 1, 2]), torch.tensor([1, 7, 4, 0]))
    got = denoiser.logits(denoiser.trunk(z), where)
    for n, (row, col) in enumerate(zip(*(w.tolist() for w in where), strict=True)):
        prompt = model.encode(PROMPTS[row])
        ids = torch.tensor([prompt + [t for t in z[row].tolist() if t != model.fill_id]])
        with torch.no_grad():
            want = model.parts.model(input_ids=ids).logits[0, len(prompt) + col]
        keep = torch.ones(len(want), dtype=torch.bool)
        keep[list(model.parts.suppressed)] = False
        torch.testing.assert_close(got[n, keep], want[keep], rtol=1e-10, atol=1e-10)
        assert (got[n, ~keep] < -1e8).all()


def test_more_adapted_layers_than_the_model_has_is_an_error(model):
    with pytest.raises(ValueError, match="lora_layers=9, but the model has 3 layers"):
        bound(model, [0], settings(lora_layers=9))


def test_reusing_the_trunk_gives_the_tokens_of_a_full_replay(model):
    # Adapting the top two layers with the trunk at layer 1, or with everything replayed.
    config = settings(lora_layers=2)
    denoiser, canvas = bound(model, [0, 1, 2], config)
    full, _ = bound(model, [0, 1, 2], settings(lora_layers=None))
    noise = noise_for([0, 1, 2])

    class Replayed:
        """The full replay with the same adapter: LoRA on the top two layers only."""

        mask_id, vocab_size = full.mask_id, full.vocab_size

        def __init__(self, inner, adapted):
            self.inner, self.adapted = inner, adapted

        def take(self, rows):
            return Replayed(self.inner.take(rows), self.adapted.take(rows))

        def trunk(self, z):
            return self.inner.trunk(z)

        def logits(self, state, where, phi=None):
            return self.inner.logits(state, where, phi)

        def new_adapter(self, config, noise):
            return self.adapted.new_adapter(config, noise)

    reward = reward_for(model)
    fast = run(APS(), denoiser, reward, canvas, config, noise, keep_trajectory=True)
    slow = run(APS(), Replayed(full, denoiser), reward, canvas, config, noise, keep_trajectory=True)
    assert torch.equal(fast.z, slow.z)
    for a, b in zip(fast.trajectory, slow.trajectory, strict=True):
        torch.testing.assert_close(a.tilted, b.tilted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("adapter", ["lora", "logits"])
@pytest.mark.parametrize("estimator", ["auto", "rloo"])
def test_steered_batch_equals_single_in_float64(model, adapter, estimator):
    config = settings(adapter=adapter, estimator=estimator)
    together = sample(model, [0, 1, 2], config)
    for i in range(3):
        assert torch.equal(sample(model, [i], config).z[0], together.z[i])


@pytest.mark.parametrize("carry_over", [False, True])
def test_a_prompts_lora_does_not_depend_on_its_neighbours_reward(model, carry_over):
    config = settings(carry_over=carry_over)
    one = sample(model, [0, 1], config)
    reward = reward_for(model).take(torch.tensor([0, 1]))
    reward.weight[1] *= -3
    other = sample(model, [0, 1], config, operator=reward)
    assert torch.equal(one.z[0], other.z[0])
    assert not torch.equal(one.z[1], other.z[1])


def test_zero_reward_with_the_kl_prior_is_the_base_sampler(model):
    for adapter in ("lora", "logits"):
        config = settings(adapter=adapter, prior="kl")
        plain = sample(model, [0, 1, 2], config, Ancestral(), ZeroOperator())
        zero = sample(model, [0, 1, 2], config, APS(), ZeroOperator())
        assert torch.equal(plain.z, zero.z)
        assert zero.cost.denoiser_backwards == 0


def test_steering_raises_the_reward_and_moves_lora(model):
    config = settings(beta=0.05, inner_steps=5, learning_rate=0.01)
    rows = [0, 1, 2] * 8
    reward = reward_for(model).take(torch.tensor(rows))
    denoiser, canvas = bound(model, rows, config)
    noise = noise_for(range(len(rows)))
    plain = run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise)
    steered = run(APS(), denoiser, reward, canvas, config, noise, keep_trajectory=True)
    gain = reward.log_prob_ids(steered.z).total - reward.log_prob_ids(plain.z).total
    assert gain.mean() > 3 * gain.std() / len(rows) ** 0.5
    assert steered.trajectory[0].kl is not None
    assert (steered.trajectory[0].kl > 1e-3).all()


class Breaking:
    """An operator that fails in the middle."""

    differentiable, codebook = True, None

    def __init__(self, error, after=2):
        self.error, self.left = error, after

    def take(self, rows):
        return self

    def log_prob(self, relaxed):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return Scores(relaxed.probs.square().sum().expand(len(relaxed.ids)))

    def log_prob_ids(self, ids):
        return Scores(torch.zeros(len(ids)))


@pytest.mark.parametrize("error", [None, RuntimeError("broken"), KeyboardInterrupt()])
def test_the_base_is_bit_identical_afterwards(model, error):
    module = model.parts.model
    before = {name: value.clone() for name, value in module.state_dict().items()}
    if error is None:
        sample(model, [0, 1], settings())
    else:
        with pytest.raises(type(error)):
            sample(model, [0, 1], settings(), operator=Breaking(error))
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(p.grad is None and not p.requires_grad for p in module.parameters())


def test_cost_counts_forwards_and_backwards(model):
    # T (M + 1) forwards, T M backwards; carried over: one more forward per step but the first.
    for carry_over, extra in ((False, 0), (True, 3)):
        config = settings(
            carry_over=carry_over, eos_penalty=100.0, trust_region=None, gradient_gate=0.0
        )
        cost = sample(model, [0], config).cost
        assert cost.trunk_forwards == 4
        assert cost.denoiser_forwards == 4 * 4 + extra
        assert cost.denoiser_backwards == cost.reward_backwards == cost.reward_forwards == 4 * 3


def test_saved_adapters_load_in_peft_and_as_a_warm_start(model, tmp_path):
    from peft import PeftModel
    from transformers import BertForMaskedLM

    config = settings(carry_over=True)
    denoiser, canvas = bound(model, [0, 2], config)
    phi = denoiser.new_adapter(config, noise_for([0, 2]))
    reward = reward_for(model).take(torch.tensor([0, 2]))
    for _ in APS().steps(denoiser, reward, canvas, config, noise_for([0, 2]), phi):
        pass
    assert isinstance(phi, LoraAdapter)
    phi.save(tmp_path / "phi", row=1)
    warm = phi.load(tmp_path / "phi")
    z = canvas.z
    where = (torch.tensor([1, 1]), torch.tensor([0, 5]))
    state = denoiser.trunk(z)
    with torch.no_grad():
        ours = denoiser.logits(state, where, warm)
        base = denoiser.logits(state, where)
    assert (ours - base).abs().max() > 1e-3

    copy = BertForMaskedLM(model.parts.model.config).double().eval()
    copy.load_state_dict(model.parts.model.state_dict())
    peft_model = PeftModel.from_pretrained(copy, str(tmp_path / "phi")).double().eval()
    ids = torch.tensor([model.encode(PROMPTS[2]) + z[1].tolist()])
    with torch.no_grad():
        theirs = peft_model(input_ids=ids).logits[0]
    offset = ids.shape[1] - LENGTH
    keep = [i for i in range(ours.shape[1]) if i not in model.parts.suppressed]
    torch.testing.assert_close(
        ours[:, keep], theirs[[offset, offset + 5]][:, keep], rtol=1e-5, atol=1e-5
    )


def test_a_warm_start_of_another_rank_is_refused(model, tmp_path):
    config = settings()
    denoiser, _ = bound(model, [0], config)
    denoiser.new_adapter(config, noise_for([0])).save(tmp_path, row=0)
    other = denoiser.new_adapter(config.replace(lora_rank=4), noise_for([0]))
    with pytest.raises(ValueError, match="use the lora_rank and lora_layers it was saved with"):
        other.load(tmp_path)
    with pytest.raises(ValueError, match=r"no adapter_model.safetensors"):
        other.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="row=3 is not below the adapter's number of rows, 1"):
        other.save(tmp_path, row=3)


def test_a_warm_start_takes_the_whole_adapter_at_its_own_scale(model, tmp_path):
    config = settings().replace(lora_layers=2, lora_alpha=16.0)

    def fresh(**options):
        own = config.replace(**options)
        return bound(model, [0], own)[0].new_adapter(own, noise_for([0]))

    fresh().save(tmp_path)
    assert fresh().load(tmp_path).warm
    with pytest.raises(ValueError, match=r"tensors more than this adapter, e\.g\. .*lora_layers"):
        fresh(lora_layers=1).load(tmp_path)
    with pytest.raises(ValueError, match=r"as lora_alpha=16 does.*has lora_alpha=64; pass lora_a"):
        fresh(lora_alpha=64.0).load(tmp_path)
    facts = json.loads((tmp_path / "adapter_config.json").read_text())
    stated = {**facts, "use_rslora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match="has lora_alpha=16; pass"):
        fresh().load(tmp_path)
    stated = {**facts, "alpha_pattern": {"query": 3}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match="alpha_pattern"):
        fresh().load(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(ValueError, match=r"adapter_config\.json is not there"):
        fresh().load(tmp_path)


def test_low_precision_bases_keep_lora_in_float32():
    model = tiny_text_model(dtype=torch.bfloat16)
    config = settings()
    denoiser, canvas = bound(model, [0], config)
    phi = denoiser.new_adapter(config, noise_for([0]))
    assert phi.adam.value.dtype == torch.float32
    where = (torch.tensor([0]), torch.tensor([2]))
    logits = phi.logits(denoiser, denoiser.trunk(canvas.z), where)
    assert logits.dtype == torch.float32
    phi.update(logits, torch.randn_like(logits), torch.tensor([True]))
    assert not torch.equal(phi.adam.value, phi.start)
