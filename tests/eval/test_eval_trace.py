"""What a trace keeps of an answer's steps."""

from types import SimpleNamespace

import pytest
import torch
from aps_eval.run.trace import mean_kl


def out(written, kls):
    """An output of one batch of one row, with these KLs by step (None: not steered)."""
    states = [
        SimpleNamespace(step=step, kl=None if kl is None else torch.tensor([kl]), written=written)
        for step, kl in enumerate(kls)
    ]
    return SimpleNamespace(trajectory=[states], places=[(0, 0)])


@pytest.mark.parametrize(
    ("written", "kls", "expected"),
    [
        ([[0, 0]], [1.0, 9.0], 1.0),  # written at once: what came later is of other rows
        ([[0, 1]], [1.0, 9.0, 100.0], 5.0),
        ([[-1, -1]], [3.0, 9.0], 3.0),  # nothing written
        ([[0, 2]], [None, 4.0, 6.0], 5.0),
        ([[0, 1]], [None, None], None),
    ],
)
def test_the_kl_is_the_mean_over_the_steps_until_the_answer_stood(written, kls, expected):
    assert mean_kl(out(torch.tensor(written), kls), 0) == expected


def test_no_trajectory_no_kl():
    assert mean_kl(SimpleNamespace(trajectory=[]), 0) is None
