"""The stored reference tensors (`tests/reference/make.py` says how they were made)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from worlds import noise_for

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral

FOLDER = Path(__file__).parent / "reference"
CASES = ["one", "short", "uneven", "steps"]
STEPS = {"one": 8, "short": 3, "uneven": 8, "steps": 5}


def read(name, checkpoint):
    """A file's tensors; fails where the weights are not those it was made with."""
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        made_with = file.metadata()["weights"]
    weights = {}
    for shard in sorted(checkpoint.glob("*.safetensors")):
        weights |= load_file(shard)
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode() + weights[key].numpy().tobytes())
    assert digest.hexdigest() == made_with, "this torch draws other weights: run make.py again"
    return load_file(FOLDER / f"{name}.safetensors")


def prompts_of(tensors, case):
    lengths = tensors[f"{case}/lengths"].tolist()
    rows = tensors[f"{case}/prompt"].tolist()
    return [row[len(row) - n :] for row, n in zip(rows, lengths, strict=True)]


def row_of(tensors, case, row):
    """The tensors of a case's inputs with this row alone."""
    names = (f"{case}/prompt", f"{case}/lengths", f"{case}/canvas")
    return {name: tensors[name][row : row + 1] for name in names}


def logits_gap(model, tensors, case):
    """Largest difference at the canvas over ids that are not suppressed, and the logits' scale."""
    z, want = tensors[f"{case}/canvas"], tensors[f"{case}/logits"]
    prompts = prompts_of(tensors, case)
    denoiser = model.bind(prompts, [z.shape[1]] * len(z), 2)
    rows, cols = torch.ones_like(z).nonzero().unbind(-1)
    got = denoiser.logits(denoiser.trunk(z), (rows, cols)).view(want.shape)
    keep = [i for i in range(want.shape[-1]) if i not in set(model.parts.suppressed)]
    return float((got - want)[..., keep].abs().max()), float(want.std())


def decode(model, tensors, case, *, infill=False, **settings):
    """Our plain decoding of a case's prompts at temperature 0, without stops.

    Args:
        infill: complete the case's canvas, whose tokens are given; else one of masks alone.
    """
    prompts, z = prompts_of(tensors, case), tensors[f"{case}/canvas"]
    width, mask_id = z.shape[1], model.parts.mask_id
    given = (z != mask_id) & infill
    config = APSConfig(**{"temperature": 0.0, "remasking": "standard", **settings})
    canvas = Canvas.of(
        torch.where(given, z, mask_id).tolist(),
        given=given.tolist(),
        mask_id=mask_id,
        fill_id=model.fill_id,
        block_length=config.block_length,
    )
    # A stop would end a row, theirs never does: none is offered on either side.
    parts = model.parts
    never = (*parts.suppressed, *model.stop_ids)
    quiet = replace(model, parts=replace(parts, suppressed=never))
    denoiser = quiet.bind(prompts, [width] * len(prompts), None)
    noise = noise_for(range(len(prompts)))
    return run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise).z
