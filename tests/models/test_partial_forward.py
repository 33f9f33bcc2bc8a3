"""Blocks whose cache has the name of one version of transformers or of another."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aps_text.models.partial_forward import CACHES, recorded, run_after, run_at, takes_cache


class OneHead(nn.Module):
    """Attention to all positions, with a cache as the stock blocks have it."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(4, 4) for _ in range(3))
        self.queries_of: list[int] = []

    def forward(self, hidden, **kwargs):
        cache = kwargs.pop(self.name)
        assert not kwargs, "a name that this version does not know"
        q, k, v = (project(hidden)[:, None] for project in (self.q_proj, self.k_proj, self.v_proj))
        if cache is not None:
            k, v = cache.update(k, v, 0, kwargs={})
        self.queries_of.append(q.shape[2])
        return torch.softmax(q @ k.mT, -1).matmul(v)[:, 0]


@pytest.mark.parametrize("name", CACHES)
def test_a_part_of_the_positions_is_computed_alone_under_either_name(name):
    torch.manual_seed(0)
    layer, hidden, given = OneHead(name), torch.randn(2, 6, 4), {name: None}
    whole = layer(hidden, **given)
    assert takes_cache(given)
    index = torch.tensor([[1, 4], [0, 5]])
    layer.queries_of.clear()
    part = run_at(layer, hidden, (), given, index)
    assert layer.queries_of == [2]  # and the other run ended at its keys
    torch.testing.assert_close(part, whole.gather(1, index[:, :, None].expand(-1, -1, 4)))

    output, known = recorded(layer, hidden, (), given, 3)
    torch.testing.assert_close(output, whole)
    torch.testing.assert_close(run_after(layer, hidden[:, 3:], (), given, known), whole[:, 3:])


def test_a_block_without_a_cache_is_run_everywhere_and_records_nothing():
    layer, hidden = nn.Linear(4, 4), torch.randn(1, 6, 4)
    assert not takes_cache({})
    index = torch.tensor([[2, 3]])
    torch.testing.assert_close(run_at(layer, hidden, (), {}, index), layer(hidden)[:, 2:4])
    with pytest.raises(ValueError, match="Linear does not"):
        recorded(layer, hidden, (), {}, 2)
