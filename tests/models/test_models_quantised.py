"""8- and 4-bit bases by bitsandbytes, on the CPU: they answer, steer and keep their gradients."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from checkpoints import write_dream, write_llada
from test_models_prompts import peft_of
from test_verify import LINES

from aps_text.models.registry import load
from aps_text.verification.adapting import Fitting
from aps_text.verification.logits import Sample, gap
from aps_text.verification.suite import verify

# Not imported here: every process of a test run reads this file, and one needs bitsandbytes.
pytestmark = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="no bitsandbytes")

# Its 4-bit blocks are 64 wide.
WIDE = {
    "dream": (write_dream, {"hidden_size": 64, "intermediate_size": 128}),
    "llada": (write_llada, {"d_model": 64, "mlp_hidden_size": 128}),
}


@pytest.fixture(scope="module", params=WIDE)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("quantised") / request.param
    writer, sizes = WIDE[request.param]
    writer(path, **sizes)
    return path


@pytest.mark.parametrize("bits", [8, 4])
def test_verify_fails_nowhere_and_says_what_it_cannot_tell(folder, bits):
    model = load(folder, dtype=torch.bfloat16, **{f"load_in_{bits}bit": True})
    report = verify(model, tokens=4)
    found = {check.name: check.status for check in report.checks}
    assert list(found) == LINES
    assert "FAIL" not in found.values(), report.as_dict()
    # Random weights cannot tell their shift, and rounding turns near ties of a batch.
    assert {name for name, status in found.items() if status == "SKIP"} <= {"shift", "batch"}
    assert report.figures["peak memory, GiB"] > 0


def restored(folder, quantised):
    """The same checkpoint in float32, with the quantised weights in place of its own."""
    import bitsandbytes

    model = load(folder, dtype=torch.float32)
    parts = dict(quantised.parts.model.named_modules())
    for name, module in model.parts.model.named_modules():
        weight = getattr(parts[name], "weight", None)
        if isinstance(weight, bitsandbytes.nn.Params4bit):
            exact = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
            module.weight.data.copy_(exact)
    return model


def test_the_gradient_through_a_4_bit_base_is_that_of_its_numbers(folder):
    """After a pass without gradients, which is when bitsandbytes would change its kernels."""
    quantised = load(folder, dtype=torch.float32, load_in_4bit=True)
    exact, stored = restored(folder, quantised), load(folder, dtype=torch.float32)
    logits, grads = [], []
    for model in (quantised, exact, stored):
        sample = Sample.of(model, 8)
        logits.append(sample.logits(model))
        fitting = Fitting(model, sample)
        found = fitting.phi.logits(fitting.denoiser, fitting.state, fitting.where)
        (grad,) = torch.autograd.grad(
            found.log_softmax(-1)[:, fitting.target].sum(), fitting.phi.leaf
        )
        grads.append(grad)
    assert gap(quantised, *logits[:2])[1] < 1e-4
    assert gap(quantised, *logits[1:])[1] > 1e-2  # it is quantised
    torch.testing.assert_close(
        grads[0], grads[1], rtol=1e-3, atol=1e-3 * float(grads[1].abs().max())
    )


def test_eight_bits_say_what_they_cast_once(folder, caplog):
    text = load(folder, load_in_8bit=True)
    denoiser = text.bind([[5, 6, 7]], [4], None)
    z = torch.full((1, 4), text.parts.mask_id)
    with caplog.at_level("WARNING"):
        for _ in range(2):
            denoiser.logits(denoiser.trunk(z), (torch.tensor([0]), torch.tensor([1])))
    assert caplog.text.count("MatMul8bitLt") <= 1


def test_a_tuned_adapter_stays_beside_a_quantised_base(folder, tmp_path):
    peft_of(load(folder).parts.model).save_pretrained(tmp_path)
    how = {"dtype": torch.float32, "load_in_4bit": True}
    plain, tuned = load(folder, **how), load(folder, adapter=tmp_path, **how)
    names = [name for name, _ in tuned.parts.model.named_modules() if name.endswith("lora_A")]
    assert names
    dropout = [m for name, m in tuned.parts.model.named_modules() if "lora_dropout" in name]
    assert dropout
    assert not any(module.training for module in dropout)
    sample = Sample.of(plain, 8)
    assert (sample.logits(plain) - sample.logits(tuned)).abs().max() > 1e-2
    found = {check.name: check.status for check in verify(tuned, tokens=4).checks}
    assert "FAIL" not in found.values(), found
