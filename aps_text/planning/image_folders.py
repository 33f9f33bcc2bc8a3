"""The sizes of an aMUSEd in a folder, from its configurations and its files' headers.

    transformer/config.json, vqvae/config.json, text_encoder/config.json     sizes
    the headers of their safetensors                                         numbers, and their type

No weights are read, so a folder of any size is planned at once.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..models.checkpoint_files import check_sizes, read_json
from ..models.diffusers_files import WEIGHTS, pipeline_class
from ..tensor_files import FLOATS, read_sizes
from .decoder import DecoderShape
from .images import IMAGE_SHAPES, ImageShape, UVitShape

__all__ = ["image_shape_in"]

PRIOR = (
    *("num_hidden_layers", "hidden_size", "intermediate_size", "block_out_channels"),
    *("num_res_blocks", "codebook_size", "sample_size"),
)
DECODER = ("layers_per_block", "latent_channels")


def image_shape_in(folder: Path) -> ImageShape:
    """The sizes of the image model in a folder.

    Raises:
        ValueError: another model than aMUSEd, or files that are missing, damaged or without a size.
    """
    kind = pipeline_class(folder)
    if kind is None or not kind.startswith("Amused"):
        raise ValueError(
            f"{str(folder)!r} is no folder of aMUSEd, the only image model whose folder is planned;"
            f" published names are: {', '.join(IMAGE_SHAPES)}"
        )
    net, tokenizer = _sizes(folder / "transformer", PRIOR), _sizes(folder / "vqvae", DECODER)
    text = _sizes(folder / "text_encoder", ("max_position_embeddings",))
    widths = tokenizer.get("block_out_channels")
    if not isinstance(widths, list) or not widths or not all(type(w) is int for w in widths):
        raise ValueError(
            f"{folder.name}/vqvae/config.json has block_out_channels={widths!r}; it is a list of "
            "sizes, compare it with the published file"
        )
    prior, bytes_each = _numbers(folder / "transformer" / WEIGHTS)
    decoder = DecoderShape(
        tuple(widths),
        (tokenizer["layers_per_block"] + 1,) * len(widths),
        tokenizer["latent_channels"],
        bool(tokenizer.get("mid_block_add_attention", True)),
        _numbers(folder / "vqvae" / WEIGHTS)[0],
    )
    return ImageShape(
        name=folder.name,
        source=f"the files of {folder.name}",
        trained=net["sample_size"] * decoder.factor,
        parameters=prior + _numbers(folder / "text_encoder" / "model.safetensors")[0],
        decoder=decoder,
        prior=UVitShape(
            layers=net["num_hidden_layers"],
            hidden=net["hidden_size"],
            ffn=net["intermediate_size"],
            channels=net["block_out_channels"],
            blocks=net["num_res_blocks"],
            halved=bool(net.get("downsample", False)),
            text=text["max_position_embeddings"],
        ),
        codes=net["codebook_size"],
        stored_bytes=bytes_each,
    )


def _sizes(part: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The configuration of a part, which states these sizes."""
    config, name = read_json(part / "config.json"), f"{part.parent.name}/{part.name}"
    check_sizes(config, names, name)
    lacking = [key for key in names if config.get(key) is None]
    if lacking:
        raise ValueError(f"{name}/config.json lacks {lacking[0]!r}; take the published file")
    return config


def _numbers(path: Path) -> tuple[int, int]:
    """How many numbers a file holds, and the bytes of the widest."""
    if not path.is_file():
        raise ValueError(f"{path} is not there; take the published file of that name")
    found = read_sizes(path)
    each = [FLOATS[kind] for kind, _ in found.values()]
    return sum(math.prod(shape) for _, shape in found.values()), max(each, default=4)
