"""The weights that a page states, one name for each reward of a call.

Of several rewards called `f` the second is `f_2`, as in `APSOutput.rewards`; a reward that is given
twice in a role has the sum of its weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...text.reward_operator.guidance import WeightedRewards

__all__ = ["names_by_id", "weights_by_name"]


def names_by_id(roles: Iterable[WeightedRewards], specs: Mapping[int, str]) -> dict[int, str]:
    """A name for each reward, by `id`; those of a role differ, and so do those of all objects.

    Args:
        roles: the rewards of each role, in the order in which they are judged.
        specs: what rewards were loaded by, by `id`, which are called by that; the others are
            objects of the caller.
    """
    names: dict[int, str] = {}
    objects = set[str]()
    for weighted in roles:
        loaded = {specs[id(reward)] for _, _, reward in weighted if id(reward) in specs}
        for name, _, reward in weighted:
            if id(reward) in specs:
                names[id(reward)] = specs[id(reward)]
            elif id(reward) not in names:
                names[id(reward)] = _numbered(name, loaded | objects)
                objects.add(names[id(reward)])
    return names


def _numbered(name: str, taken: set[str]) -> str:
    unique, count = name, 2
    while unique in taken:
        unique, count = f"{name}_{count}", count + 1
    return unique


def weights_by_name(rewards: WeightedRewards, names: Mapping[int, str]) -> dict[str, float]:
    """The weight of each reward of a role, by its name of its own."""
    found: dict[str, float] = {}
    for _, weight, reward in rewards:
        name = names[id(reward)]
        found[name] = found.get(name, 0.0) + weight
    return found
