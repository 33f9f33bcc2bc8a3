"""Loading aMUSEd: the transformer, the text encoder, its tokenizer and the scheduler's facts.

Layout: that of diffusers (`models.diffusers_files`); the folders are transformer, text_encoder,
tokenizer and scheduler.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .amused import AmusedPrior
from .checkpoint import Checkpoint, quiet
from .checkpoint_files import read_json
from .diffusers_files import read_part

__all__ = ["load_amused"]


def load_amused(
    folder: Path,
    name: str,
    *,
    device: torch.device | str | None = "cpu",
    dtype: torch.dtype | None = None,
    factor: int = 16,
) -> AmusedPrior:
    """The transformer and the text encoder of a folder in diffusers' layout.

    Args:
        folder: with transformer, text_encoder, tokenizer and scheduler.
        name: as the user gave it.
        device, dtype: of the weights; None is the dtype that is stored.
        factor: pixels per side of a token's cell, of the image tokenizer.

    Raises:
        ImportError: diffusers is not installed.
        ValueError: files that are missing, damaged or contradict each other.
    """
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    _check_class(scheduler.get("_class_name"), "AmusedScheduler", f"{name}/scheduler")
    mask, schedule = scheduler.get("mask_token_id"), scheduler.get("masking_schedule", "cosine")
    if not isinstance(mask, int) or isinstance(mask, bool):
        raise ValueError(
            f"the scheduler of {name!r} has mask_token_id={mask!r}; it is a token id, 8255 as "
            "published"
        )
    if schedule != "cosine":
        raise ValueError(
            f"the scheduler of {name!r} has masking_schedule={schedule!r}; published is cosine"
        )
    net = read_part(folder, "transformer", "UVit2DModel", device=device, dtype=dtype)
    part = folder / "text_encoder"
    config = read_json(part / "config.json")
    _check_class(config.get("model_type"), "clip_text_model", f"{name}/text_encoder")
    encoder = Checkpoint(
        folder=part, name=f"{name}/text_encoder", config=config, device=device, dtype=dtype
    )
    fields = {key: value for key, value in config.items() if key != "architectures"}
    clip = encoder.network_config(CLIPTextConfig, fields)
    return AmusedPrior(
        name,
        net,
        encoder.model(CLIPTextModelWithProjection, clip, exact=True),
        _tokenizer(folder / "tokenizer", name),
        mask,
        factor,
    )


def _check_class(stated: Any, kind: str, name: str) -> None:
    if stated != kind:
        raise ValueError(
            f"{name} describes {stated!r}, and {kind!r} is read; take the published files"
        )


def _tokenizer(folder: Path, name: str) -> Any:
    from transformers import CLIPTokenizer

    for file in ("vocab.json", "merges.txt"):
        if not (folder / file).is_file():
            raise ValueError(f"the tokenizer of {name!r} has no {file}; copy the published files")
    lines = (folder / "merges.txt").read_bytes().splitlines()
    if not [line for line in lines if line.strip() and not line.startswith(b"#version")]:
        raise ValueError(
            f"merges.txt of the tokenizer of {name!r} has no merges, and every text would be read "
            "letter by letter; copy the published file"
        )
    try:
        with quiet():
            return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"the tokenizer files of {name!r} cannot be read ({type(error).__name__}: {error}); "
            "copy the published ones"
        ) from error
