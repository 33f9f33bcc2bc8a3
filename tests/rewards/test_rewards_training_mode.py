"""Training mode counts where it changes what a network answers."""

from __future__ import annotations

import types

import pytest
from aps_rewards.training_mode import random_part
from torch import nn


class Attention(nn.Module):
    def __init__(self, **fields):
        super().__init__()
        vars(self).update(fields)


PARTS = {
    "0": nn.Dropout(0.1),
    "1": nn.AlphaDropout(0.5),
    "2": nn.BatchNorm1d(2),
    "3": Attention(attention_dropout=0.1),
    "4": Attention(drop_prob=0.2),
    "5": Attention(config=types.SimpleNamespace(hidden_dropout_prob=0.1)),
}


@pytest.mark.parametrize("name", PARTS)
def test_what_answers_at_random_is_found_in_training_mode_only(name):
    network = nn.Sequential(nn.Linear(2, 2), PARTS[name])
    assert random_part(network.train()) == "1"
    assert random_part(network.eval()) is None
    PARTS[name].train()
    assert random_part(network) == "1"


def test_what_computes_the_same_in_both_modes_is_not():
    still = [nn.Linear(2, 2), nn.LayerNorm(2), nn.Dropout(0.0), Attention(attention_dropout=0.0)]
    assert random_part(nn.Sequential(*still).train()) is None
