"""What a classifier brings, asked of small models."""

from __future__ import annotations

import pytest
import torch
from aps_rewards.classifier_parts import reads_last_token, takes_mask, token_embeddings
from peft import LoraConfig, get_peft_model
from test_rewards_sequence_classifier import SIZE, model_of
from transformers import BertConfig, LlamaConfig


@pytest.mark.parametrize("size", [10, 64, 65, 200])
def test_a_plain_table_is_not_copied(size):
    class Plain:
        table = torch.nn.Embedding(size, 2)

        def get_input_embeddings(self):
            return self.table

    assert token_embeddings(Plain()).data_ptr() == Plain.table.weight.data_ptr()


def test_the_head_of_a_decoder_reads_its_last_token_also_where_peft_trains_it():
    decoder = model_of(LlamaConfig(vocab_size=8, num_labels=1, **SIZE))
    assert reads_last_token(decoder)
    assert not reads_last_token(model_of(BertConfig(vocab_size=8, num_labels=1, **SIZE)))
    tuned = get_peft_model(decoder, LoraConfig(task_type="SEQ_CLS")).get_base_model()
    assert not isinstance(tuned.score, torch.nn.Linear)
    assert reads_last_token(tuned)
    tuned.score = torch.nn.Sequential(torch.nn.Linear(32, 1))  # not ours to apply
    assert not reads_last_token(tuned)


@pytest.mark.parametrize(
    ("forward", "takes"),
    [
        (lambda input_ids, attention_mask=None: None, True),
        (lambda input_ids, **others: None, True),
        (lambda input_ids, *others: None, False),
        (lambda input_ids, token_type_ids=None: None, False),
    ],
)
def test_a_mask_is_given_to_a_forward_that_takes_it(forward, takes):
    model = torch.nn.Module()
    model.forward = forward
    assert takes_mask(model) == takes
