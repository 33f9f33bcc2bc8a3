from __future__ import annotations

import pytest
from aps_rewards import call_reward, load_reward


def test_order_range_and_neutral():
    texts = ["a horrible, sad failure", "a stone", "", "a wonderful, happy success"]
    worst, neutral, empty, best = call_reward(load_reward("valence"), [""] * 4, texts)
    assert -1 < worst < 0 < best < 1
    assert neutral == empty == 0


def test_words_add_up_as_the_list_says():
    one, two = call_reward(load_reward("valence"), [""] * 2, ["superb", "superb superb"])
    assert one == pytest.approx(5 / 40**0.5)  # the list gives it 5
    assert two == pytest.approx(10 / 115**0.5)


def test_how_it_is_gamed():
    honest, gamed, negated = call_reward(
        load_reward("valence"), [""] * 3, ["a stone", "a stone, great great", "never great"]
    )
    assert gamed > honest
    assert negated > 0
