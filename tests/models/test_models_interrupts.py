"""A network is as it was, whatever ends a call and wherever; and calls on one network do not mix.

An interrupt is raised between two lines of the library's own code, as Ctrl-C is.
"""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from contextlib import suppress

import pytest
import torch
from tiny import tiny_bert, tiny_text_model, word_tokenizer
from worlds import noise_for

from aps_text.core.config import APSConfig
from aps_text.models import call_hooks, forward_inputs, lora, partial_forward, transformer
from aps_text.models.registry import wrap

FILES = {m.__file__ for m in (call_hooks, forward_inputs, lora, partial_forward, transformer)}
PROMPTS = ["what is a violin ?", "who ?"]
CONFIG = APSConfig(lora_layers=2, lora_rank=2)


def slope(logits):
    return torch.sin(torch.arange(logits.numel(), dtype=logits.dtype)).view(logits.shape).to(logits)


def answer(model, steps=1):
    """Logits of theta, then of a phi that was moved, at some positions of two prompts."""
    encoded = [model.encode(prompt) for prompt in PROMPTS]
    denoiser = model.bind(encoded, [6, 6], CONFIG.lora_layers)
    z = torch.full((2, 6), denoiser.mask_id)
    where = (torch.tensor([0, 0, 1]), torch.tensor([1, 4, 2]))
    state = denoiser.trunk(z)
    plain = denoiser.logits(state, where)
    phi = denoiser.new_adapter(CONFIG, noise_for([0, 1]))
    for _ in range(steps):
        logits = phi.logits(denoiser, state, where)
        phi.update(logits, slope(logits), torch.ones(2).bool())
    return plain, phi.logits(denoiser, state, where).detach()


def interrupted_at(number, job):
    """Run `job`, raising KeyboardInterrupt before the given line of `FILES`; the lines run."""
    lines = 0

    def trace(frame, event, arg):
        nonlocal lines
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            lines += 1
            if lines == number:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(KeyboardInterrupt):
            job()
    finally:
        sys.settrace(before)
    return lines


def snapshot(network):
    """Every attribute of every module, and every weight."""
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    modules = {
        name: {k: dict(v) if isinstance(v, dict) else v for k, v in vars(module).items()}
        for name, module in network.named_modules()
    }
    return weights, modules


def check_untouched(network, before):
    weights, modules = snapshot(network)
    assert all(torch.equal(weights[name], before[0][name]) for name in before[0])
    assert modules.keys() == before[1].keys()
    for name, found in modules.items():
        assert found.keys() == before[1][name].keys(), name
        assert "forward" not in found
        for key, value in found.items():
            if not isinstance(value, torch.Tensor):
                assert str(value) == str(before[1][name][key]), (name, key)


def test_an_interrupt_anywhere_changes_no_later_answer():
    model = tiny_text_model(dtype=torch.float64)
    want, before = answer(model), snapshot(model.parts.model)
    lines = interrupted_at(-1, lambda: answer(model))
    assert lines > 200
    g = torch.Generator().manual_seed(0)
    drawn = {int(i) for i in torch.randint(1, lines + 1, (15,), generator=g)}
    for number in sorted(drawn | set(range(1, lines + 1, 61))):
        interrupted_at(number, lambda: answer(model))
        assert torch.is_grad_enabled()
        for found, right in zip(answer(model), want, strict=True):
            assert torch.equal(found, right), number
        check_untouched(model.parts.model, before)


def test_an_interrupt_while_hooks_come_and_go_leaves_none_behind():
    """Every line of the file that puts hooks on and off; what a removal left is swept."""
    model = tiny_text_model(dtype=torch.float64)
    want, before = answer(model), snapshot(model.parts.model)
    everywhere = FILES.copy()
    try:
        FILES.clear()
        FILES.add(call_hooks.__file__)
        lines = interrupted_at(-1, lambda: answer(model))
        for number in range(1, lines + 1, 11):
            interrupted_at(number, lambda: answer(model))
            for found, right in zip(answer(model), want, strict=True):
                assert torch.equal(found, right), number
    finally:
        FILES.update(everywhere)
    check_untouched(model.parts.model, before)


def test_threads_on_one_network_compute_what_each_computes_alone():
    tokenizer = word_tokenizer()
    network = tiny_bert(tokenizer, dtype=torch.float64)
    models = [wrap(network, tokenizer) for _ in range(8)]  # as 8 pipelines around one network
    want = [answer(models[0], steps) for steps in range(4)]
    found, barrier = {}, threading.Barrier(8)

    def work(index):
        barrier.wait()
        with models[index].lock, models[index].lock:  # a call within a call
            found[index] = answer(models[index], index % 4)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(8):
        for mine, right in zip(found[index], want[index % 4], strict=True):
            assert torch.equal(mine, right)


def test_a_network_has_one_lock_whoever_wraps_it_and_can_still_be_copied():
    tokenizer = word_tokenizer()
    network = tiny_bert(tokenizer)
    one, two = wrap(network, tokenizer), wrap(network, tokenizer)
    assert one.lock is two.lock is one.parts.lock
    other = wrap(copy.deepcopy(network), tokenizer)
    assert other.lock is not one.lock
    assert pickle.loads(pickle.dumps(network)) is not None


MODES = {
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_kept_from_inside_a_mode_serves_outside_of_it(mode):
    model = tiny_text_model()
    want_plain, want_phi = answer(model)
    where = (torch.tensor([0, 0, 1]), torch.tensor([1, 4, 2]))
    with MODES[mode]():
        denoiser = model.bind([model.encode(p) for p in PROMPTS], [6, 6], CONFIG.lora_layers)
        state = denoiser.trunk(torch.full((2, 6), denoiser.mask_id))
        plain = denoiser.logits(state, where)
        phi = denoiser.new_adapter(CONFIG, noise_for([0, 1]))
    assert torch.equal(plain, want_plain)
    logits = phi.logits(denoiser, state, where)
    phi.update(logits, slope(logits), torch.ones(2).bool())
    assert torch.equal(phi.logits(denoiser, state, where).detach(), want_phi)


@pytest.mark.parametrize("mode", ["inference", "autocast"])
def test_answers_inside_a_mode_are_those_outside(mode):
    model = tiny_text_model()
    want = answer(model)
    with MODES[mode]():
        found = answer(model)
    for mine, right in zip(found, want, strict=True):
        assert torch.equal(mine, right)


def test_another_default_dtype_changes_nothing():
    model = tiny_text_model()
    want = answer(model)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        found = answer(model)
    finally:
        torch.set_default_dtype(before)
    for mine, right in zip(found, want, strict=True):
        assert mine.dtype == right.dtype
        assert torch.equal(mine, right)


def test_phi_without_gradients_says_so():
    model = tiny_text_model()
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"gradients are disabled.*no_grad"):
        answer(model)


def test_a_network_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        network = tiny_bert(word_tokenizer())
    with pytest.raises(ValueError, match="load it outside of that"):
        wrap(network, word_tokenizer())
