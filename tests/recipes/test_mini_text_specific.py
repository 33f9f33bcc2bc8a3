"""What an answer says of its own subject, by a reader whose likelihoods are known."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recipes.mini_text.specific import put, reader, spans, specific


def test_another_subject_stands_where_the_own_one_was():
    text = "Knives are sharp, so hold a knife well."
    assert put("sharp knife", text, "old spoon") == "Spoon are sharp, so hold a spoon well."
    assert [text[a:b] for a, b in spans("knife", text)] == ["Knives", "knife"]
    assert put("fork", text, "spoon") == text


def test_what_fits_its_subject_only_is_specific():
    def read(asked):
        scores = []
        for text, left_out in asked:
            assert left_out
            fits = text.startswith("A knife") or "better" in text
            scores.append((-4.0 if fits else -10.0, 4))
        return scores

    rows = [("what", "knife", "A knife cuts bread."), ("what", "dust", "A dust feels better.")]
    by_kind = {"what": ["dust", "knife", "lamp", "rope"]}
    assert specific(rows, by_kind, read) == [1.5, 0.0]


class Letters:
    """One id a letter."""

    bos_token_id = 1

    def __call__(self, texts, add_special_tokens, return_offsets_mapping):
        return {
            "input_ids": [[3 + ord(c) % 29 for c in text] for text in texts],
            "offset_mapping": [[(i, i + 1) for i in range(len(text))] for text in texts],
        }


@torch.no_grad()
def test_the_reader_sums_log_probabilities_outside_of_the_subject():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=4, initializer_range=0.4,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    texts = [("abcdef", [(1, 3)]), ("hi", []), ("a longer one", [(0, 1), (9, 12)])]
    found = reader(model, Letters(), batch_size=2)(texts)
    for (text, left_out), (value, count) in zip(texts, found, strict=True):
        ids = [1, *(3 + ord(c) % 29 for c in text)]
        log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        kept = [i for i in range(len(text)) if not any(a <= i < b for a, b in left_out)]
        assert count == len(kept)
        assert value == pytest.approx(sum(float(log_p[i, ids[i + 1]]) for i in kept), abs=1e-3)
