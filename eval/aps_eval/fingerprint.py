"""Hashes of weights: of a model, whose rows of another fingerprint are other rows, and of a reward.

Up to 65,536 evenly spaced numbers of each tensor are hashed, with its name, shape and type, so that
a model of 8 billion parameters takes seconds; a change of other single numbers is not detected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

__all__ = ["fingerprint", "reward_fingerprint"]

NUMBERS = 65_536


def fingerprint(model: Any) -> str:
    """16 hex digits of a `TextModel`'s weights, vocabulary and template."""
    found = hashlib.sha256()
    parts = model.parts
    _add(found, parts.model)
    vocabulary = model.tokenizer.get_vocab()
    found.update(repr(sorted(vocabulary.items(), key=lambda pair: pair[1])).encode())
    found.update(repr((getattr(model.tokenizer, "chat_template", None), model.stop_ids)).encode())
    found.update(repr(model.encode("What is it?")).encode())
    return found.hexdigest()[:16]


def reward_fingerprint(reward: Any, files: Sequence[str] = ()) -> str:
    """16 hex digits of a reward's networks and of the files it names; "" if it has neither.

    Networks are found in the reward's own attributes and in those of its parts.

    Args:
        files: as of `aps_eval.reward_content.contents`.
    """
    networks = list(_networks(reward))
    if not networks and not any(files):
        return ""
    found = hashlib.sha256(repr(list(files)).encode())
    for one in networks:
        _add(found, one)
    return found.hexdigest()[:16]


def _networks(reward: Any) -> Iterator[torch.nn.Module]:
    while isinstance(reward, partial):
        reward = reward.func
    if isinstance(reward, torch.nn.Module):
        yield reward
        return
    for _, value in sorted(getattr(reward, "__dict__", {}).items()):
        if isinstance(value, torch.nn.Module):
            yield value
        elif isinstance(value, list):  # the parts of a composed reward
            for one in value:
                if callable(one):
                    yield from _networks(one)


def _add(found: Any, network: torch.nn.Module) -> None:
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // NUMBERS)
        kept = flat[::step].cpu().contiguous()
        found.update(kept.view(torch.uint8).numpy().tobytes() if kept.numel() else b"")
