"""The images that benchmarks restore: those of a set, or drawn from the model's own prior."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aps_text.pipelines.restoration import RestorationPipeline


@dataclass(frozen=True)
class Pictures:
    """Truths `(N, C, H, W)` and the attributes that each is known to have."""

    images: Tensor
    attributes: list[dict[str, str]]

    def part(self, index: Sequence[int]) -> Pictures:
        """Some of them."""
        return Pictures(self.images[list(index)], [self.attributes[i] for i in index])


def pictures(
    pipe: RestorationPipeline,
    name: str | None,
    data: Path | None,
    split: str,
    count: int,
    untold: bool = False,
) -> Pictures:
    """`count` images of a split, `tune | test`, of a set in `recipes`, or drawn from the prior; if
    `untold`, without their attributes."""
    if name is None:
        kind, values = next(iter(pipe.model.attributes.items()))
        asked = [{kind: values[i % len(values)]} for i in range(count)]
        first = 0 if split == "test" else 1_000_000
        drawn = [pipe.paint(one, seed=first + i).images for i, one in enumerate(asked)]
        return Pictures(torch.cat(drawn), [{}] * count if untold else asked)
    from recipes.mini_image.plans import SETS

    if data is None:
        raise SystemExit(f"--set {name} is read from files: give their folder as --data")
    found = SETS[name].images(data, split).first(count)
    known = []
    for row in found.values.tolist():
        named = zip(found.attributes.items(), row, strict=True)
        known.append({key: names[value] for (key, names), value in named if value >= 0})
    if untold:
        known = [{} for _ in known]
    return Pictures(found.at(slice(None)), known)


def fingerprint(pipe: RestorationPipeline) -> str:
    """16 hex digits of the weights of tokenizer and prior."""
    found = hashlib.sha256()
    for part in (pipe.model.tokenizer, pipe.model.prior):
        for name, tensor in sorted(part.state_dict().items()):
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
