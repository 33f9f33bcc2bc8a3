"""The sizes of an image model in a folder, from its configurations and its files' headers.

    model_index.json    aMUSEd: transformer, vqvae, text_encoder; Lumina-DiMOO: config.json, vqvae
    prior.json          this repository's own, or an embedded one by its name
    config.json         MMaDA; its image tokenizer is in another folder

No weights are read, so a folder of any size is planned at once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from aps_rewards.links import check_links

from ..images.lfq import TokenizerConfig
from ..images.magvit_files import sizes_of, weight_file
from ..models.checkpoint_files import check_sizes, read_headers, read_json
from ..models.diffusers_files import WEIGHTS, pipeline_class
from ..models.image_folders import image_folder, mini_folder
from ..models.lumina import check_vocabulary
from ..models.mini_image import PriorConfig
from ..models.mmada import MAX_TEXT, image_sizes
from ..models.refused import refuse_known
from ..tensor_files import FLOATS, part_config, read_sizes
from .decoder import DecoderShape
from .image_shapes import IMAGE_SHAPES, ImageShape, UVitShape
from .mini_images import MiniDecoderShape, MiniPriorShape
from .shape import ModelShape, as_stored, from_config

__all__ = ["image_model_folder", "image_shape_in"]

PRIOR = (
    *("num_hidden_layers", "hidden_size", "intermediate_size", "block_out_channels"),
    *("num_res_blocks", "codebook_size", "sample_size"),
)
DECODER = ("layers_per_block", "latent_channels")


def image_model_folder(name: str | Path) -> Path | None:
    """The folder that a name means: its own, or an embedded model's; None for any other name."""
    return mini_folder(name) or (Path(name) if Path(name).is_dir() else None)


def image_shape_in(
    folder: Path, tokenizer: str | Path | None = None, name: str | None = None
) -> ImageShape:
    """The sizes of the image model in a folder.

    Args:
        folder: see the module.
        tokenizer: the folder of MMaDA's image tokenizer; None is MAGVIT-v2 of the published sizes.
        name: for reports; None is the folder's.

    Raises:
        ValueError: no image model, one that is not supported, a tokenizer of another model, or
            files that are missing, damaged or without a size.
    """
    refuse_known(folder)
    check_links(folder)
    name = folder.name if name is None else name
    kind = pipeline_class(folder)
    if kind is None and (folder / "config.json").is_file():
        config = read_json(folder / "config.json")
        if config.get("model_type") == "mmada":
            return _mmada(folder, config, tokenizer)
    if tokenizer is not None:
        raise ValueError(f"--tokenizer is of MMaDA, and {str(folder)!r} is none; leave it out")
    if kind is not None and kind.startswith("Amused"):
        return _amused(folder)
    if kind == "LuminaDiMOOPipeline":
        return _lumina(folder)
    if kind is None and (folder / "prior.json").is_file():
        return _mini(folder, name)
    found = image_folder(folder)
    says = "is no folder of an image model" if found is None else f"is {found.what}"
    raise ValueError(
        f"{str(folder)!r} {says}; planned are folders of MMaDA, aMUSEd, Lumina-DiMOO and of "
        f"recipes/mini_image, and published names: {', '.join(IMAGE_SHAPES)}"
    )


def _mini(folder: Path, name: str) -> ImageShape:
    sizes = part_config(folder / "tokenizer.json", TokenizerConfig)
    prior = part_config(folder / "prior.json", PriorConfig)
    numbers, _ = _numbers(folder / "prior.safetensors")
    return ImageShape(
        name=name,
        source=f"the files of {name}",
        trained=sizes.size,
        parameters=numbers,
        decoder=MiniDecoderShape(sizes, _numbers(folder / "tokenizer.safetensors")[0]),
        prior=MiniPriorShape(prior),
        codes=2**prior.bits,
        stored_bytes=4,
    )


def _mmada(folder: Path, config: dict[str, Any], tokenizer: str | Path | None) -> ImageShape:
    codes, tokens = image_sizes(config, folder.name)
    usual = IMAGE_SHAPES["mmada-8b"]
    decoder = usual.decoder if tokenizer is None else _magvit(Path(tokenizer))
    if codes != 2**decoder.width:
        where = "MAGVIT-v2 as published" if tokenizer is None else str(tokenizer)
        raise ValueError(
            f"{folder.name} has {codes} image tokens, and {where} {2**decoder.width}; name its "
            "image tokenizer's folder with --tokenizer"
        )
    prior, numbers = _llada(folder, config)
    beside = "MAGVIT-v2 of the published sizes" if tokenizer is None else Path(tokenizer).name
    return replace(
        usual,
        name=f"MMaDA in {folder.name}",
        source=f"the files of {folder.name}; {beside}",
        trained=math.isqrt(tokens) * decoder.factor,
        parameters=numbers,
        decoder=decoder,
        prior=prior,
        codes=codes,
        around=MAX_TEXT + 3,
        stored_bytes=prior.stored_bytes,
    )


def _lumina(folder: Path) -> ImageShape:
    prior, numbers = _llada(folder, read_json(folder / "config.json"))
    check_vocabulary(prior.vocab, folder.name)
    return replace(
        IMAGE_SHAPES["lumina-dimoo"],
        name=folder.name,
        source=f"the files of {folder.name}",
        parameters=numbers,
        decoder=_vq(folder),
        prior=prior,
        stored_bytes=prior.stored_bytes,
    )


def _llada(folder: Path, config: dict[str, Any]) -> tuple[ModelShape, int]:
    """The transformer, and its numbers; the vocabulary is that of the weights, and so is the
    precision where config.json states none."""
    shape, stored = from_config(config, folder.name), read_headers(folder, folder.name)
    table = stored.get("model.transformer.wte.weight")
    if table is not None:
        shape = replace(shape, vocab=table.shape[0])
    return as_stored(shape, config, folder), sum(math.prod(one.shape) for one in stored.values())


def _magvit(folder: Path) -> DecoderShape:
    sizes = read_sizes(weight_file(folder), "quantize.")
    shapes = {key: tuple(shape) for key, (_, shape) in sizes.items()}
    shapes = {key: shape for key, shape in shapes.items() if not key.startswith("quantize.")}
    _, decoder = sizes_of(shapes, folder.name)
    numbers = sum(map(math.prod, shapes.values()))
    return DecoderShape(decoder.widths, decoder.blocks, decoder.bits, True, numbers)


def _vq(folder: Path) -> DecoderShape:
    tokenizer = _sizes(folder / "vqvae", DECODER)
    widths = tokenizer.get("block_out_channels")
    if not isinstance(widths, list) or not widths or not all(type(w) is int for w in widths):
        raise ValueError(
            f"{folder.name}/vqvae/config.json has block_out_channels={widths!r}; it is a list of "
            "sizes, compare it with the published file"
        )
    return DecoderShape(
        tuple(widths),
        (tokenizer["layers_per_block"] + 1,) * len(widths),
        tokenizer["latent_channels"],
        bool(tokenizer.get("mid_block_add_attention", True)),
        _numbers(folder / "vqvae" / WEIGHTS)[0],
    )


def _amused(folder: Path) -> ImageShape:
    net, decoder = _sizes(folder / "transformer", PRIOR), _vq(folder)
    text = _sizes(folder / "text_encoder", ("max_position_embeddings",))
    prior, bytes_each = _numbers(folder / "transformer" / WEIGHTS)
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
