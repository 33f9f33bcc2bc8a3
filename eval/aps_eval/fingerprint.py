"""A hash of a model's weights; rows of different fingerprints are different rows.

Up to 65,536 evenly spaced numbers of each tensor are hashed, with its name, shape and type, so that
a model of 8 billion parameters takes seconds; a change of other single numbers is not detected.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch

__all__ = ["fingerprint"]

NUMBERS = 65_536


def fingerprint(model: Any) -> str:
    """16 hex digits of a `TextModel`'s weights, vocabulary and template."""
    found = hashlib.sha256()
    parts = model.parts
    for name, tensor in sorted(parts.model.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // NUMBERS)
        kept = flat[::step].cpu().contiguous()
        found.update(kept.view(torch.uint8).numpy().tobytes() if kept.numel() else b"")
    vocabulary = model.tokenizer.get_vocab()
    found.update(repr(sorted(vocabulary.items(), key=lambda pair: pair[1])).encode())
    found.update(repr((getattr(model.tokenizer, "chat_template", None), model.stop_ids)).encode())
    found.update(repr(model.encode("What is it?")).encode())
    return found.hexdigest()[:16]
