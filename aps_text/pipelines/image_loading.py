"""The image model for a name: an embedded one, a folder, or a hub id.

load_any("my-garments")                                     exported by recipes/mini_image
load_any("Gen-Verse/MMaDA-8B-MixCoT", "showlab/magvitv2")    the image tokenizer is named
load_any("amused/amused-256")                               the folder has a model_index.json
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import torch

from ..models.diffusers_files import INDEX
from ..models.image_folders import mini_folder
from ..models.refused import refuse_known
from ..models.search import download
from .any_image_model import AnyImageModel
from .diffusers_image_model import load_diffusers_image_model
from .image_model import load_image_model
from .text_image_model import load_text_image_model

__all__ = ["is_diffusers", "load_any"]

WHOLE = re.compile(r"amused|muse|lumina-dimoo")
"""Hub ids that are looked up on the hub without being told an image tokenizer."""


def load_any(
    name: str | Path,
    tokenizer: str | Path | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> AnyImageModel:
    """Load an image model of any layout.

    Args:
        name, device: see `RestorationPipeline.from_pretrained`.
        tokenizer: of a model whose image tokenizer is published elsewhere.
        options: of `load_text_image_model` with a tokenizer, of `load_diffusers_image_model` for a
            folder in diffusers' layout; none otherwise.

    Raises:
        ValueError: no such model, one that is not supported (says why), or one that needs a
            tokenizer or has its own.
        TypeError: options that the model does not take.
    """
    refuse_known(name)
    whole = (Path(name) / INDEX).is_file() or (tokenizer is None and is_diffusers(name, options))
    if tokenizer is not None:
        if whole or mini_folder(name) is not None:
            called = ", vqvae" if whole else ""
            raise ValueError(
                f"{str(name)!r} has its own image tokenizer{called}; leave tokenizer= out"
            )
        return load_text_image_model(name, tokenizer, device=device, **options)
    if whole:
        known = inspect.signature(load_diffusers_image_model).parameters
        said = {"adapter": "adapter (--tuned)"}  # --adapter is another thing
        unknown = [said.get(key, key) for key in options if key not in known]
        if unknown:
            raise TypeError(
                f"{', '.join(unknown)}: no option of a model in diffusers' layout, which takes "
                f"{', '.join(key for key in known if key not in ('name', 'device'))}"
            )
        return load_diffusers_image_model(name, device=device, **options)
    if options and mini_folder(name) is not None:
        raise TypeError(
            f"{', '.join(options)}: no option of {str(name)!r}, which has one size and is loaded "
            "in float32; leave it out"
        )
    return load_image_model(name, device)  # without options: it says what the name is instead


def is_diffusers(name: str | Path, options: dict[str, Any]) -> bool:
    """Whether a folder or hub id is in diffusers' layout; the ids of other families are known.

    Args:
        options: `revision`, `local_files_only` and `cache_dir` of a hub id.
    """
    if Path(name).exists() or not isinstance(name, str):
        return (Path(name) / INDEX).is_file()
    if name.count("/") != 1 or name[0] in "./~" or not WHOLE.search(name.lower()):
        return False
    where = [options.get(key) for key in ("revision", "local_files_only", "cache_dir")]
    try:
        return (download(name, (INDEX,), *where) / INDEX).is_file()  # type: ignore[arg-type]
    except ValueError:
        if re.search(r"amused|lumina-dimoo", name.lower()):
            raise  # it is of this layout, and cannot be found
        return False
