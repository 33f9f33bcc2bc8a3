"""The counter of operations, against counting by hand; torch's own is in `test_planning.py`."""

from __future__ import annotations

import torch
from aps_eval.run.flops import CPU_ATTENTION, FlopCounter
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode


def test_attention_on_a_cpu_is_counted_forward_and_backward():
    for flops in (FlopCounter(), FlopCounter(active=False)):
        x = torch.ones(2, 3, 5, 4, requires_grad=True)
        with flops:
            scaled_dot_product_attention(x, x, x).sum().backward()
        # Two products of (5, 4) and (4, 5) matrices forward; five backward, the scores' once more.
        assert flops.total == (7 * 2 * (2 * 3) * 5 * 4 * 5 if flops.active else 0)


def test_torchs_counter_gives_the_formulas_tensors_too():
    theirs = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION).flop_registry
    assert all(theirs[operation] is formula for operation, formula in CPU_ATTENTION.items())
