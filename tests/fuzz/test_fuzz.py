"""A minute of generated inputs: each is answered or refused clearly. `make fuzz` tries 10,000.

APS_FUZZ=2000 tries so many inputs of every kind here.
"""

from __future__ import annotations

import os

import pytest
from harness import outcome, run
from kinds import KINDS

COUNT = int(os.environ.get("APS_FUZZ", "60"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_every_input_is_answered_or_refused_clearly(kind):
    tally = run(kind, COUNT)
    assert tally.mishandled == {}
    assert tally.counts["refused"] > 0  # the inputs are no kinder than they should be


def test_the_harness_tells_the_three_apart():
    def fails(value):
        raise KeyError(value)

    def foreign(value):
        int(value)

    from aps_rewards import load_reward

    assert outcome(lambda value: None, 1)[0] == "answered"
    assert outcome(lambda value: "an odd answer", 1) == ("mishandled", "an odd answer")
    assert outcome(fails, 1)[0] == "mishandled"
    assert outcome(foreign, "x")[0] == "mishandled"  # a ValueError, and not ours
    assert outcome(load_reward, "no such reward")[0] == "refused"
