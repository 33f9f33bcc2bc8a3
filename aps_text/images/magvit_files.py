"""Reading a MAGVIT-v2 checkpoint: its sizes from the shapes of its tensors, and checks of its file.

    encoder.conv_in.weight (first, C, 3, 3)        encoder.down.N.block.M.conv2.weight (width, ...)
    decoder.conv_in.weight (first, bits, 3, 3)     decoder.up.N.block.M.conv2.weight (width, ...)
    quantize.embedding (2^bits, bits), power_vals  the codes, which must be the binary numbers

Every error is a `ValueError` that names the file or tensor and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from aps_rewards.links import check_links
from torch import Tensor

from ..core.codebook import LFQCodebook
from ..tensor_files import check_tensors, check_written, read_tensors
from .magvit_layers import GROUPS, CoderSizes, Magvit

__all__ = ["FILES", "read_magvit", "sizes_of", "weight_file"]

FILES = ("pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.safetensors")
TABLES = "quantize."  # the beginning of the codes' names

Shapes = Mapping[str, tuple[int, ...]]


def read_magvit(folder: str | Path, device: torch.device | str, dtype: torch.dtype) -> Magvit:
    """The network in a folder's safetensors file; frozen, in eval mode.

    Raises:
        ValueError: no such file, a pickled one, tensors that are missing, unknown or of shapes that
            contradict each other, numbers that are not finite, or codes in another order.
    """
    folder = Path(folder)
    stored = read_tensors(weight_file(folder), TABLES)
    codes = {key: stored.pop(key) for key in list(stored) if key.startswith(TABLES)}
    name = repr(folder.name)
    sizes = sizes_of({key: tuple(value.shape) for key, value in stored.items()}, name)
    with torch.device("meta"):
        net = Magvit(*sizes)
    check_tensors(stored, net.state_dict(), name, "showlab/magvitv2", "the other tensors")
    _check_codes(codes, net.bits, name)
    placed = {key: value.to(device=device, dtype=dtype) for key, value in stored.items()}
    net.load_state_dict(placed, assign=True)
    check_written(net, folder.name)
    return net.eval().requires_grad_(False)


def sizes_of(shapes: Shapes, name: str = "the checkpoint") -> tuple[CoderSizes, CoderSizes]:
    """Sizes of the encoder and the decoder whose tensors have these shapes.

    Raises:
        ValueError: a tensor that states a size is missing, or the two do not fit together.
    """

    def shape(key: str, rank: int = 4) -> tuple[int, ...]:
        found = shapes.get(key)
        if found is None:
            raise ValueError(
                f"{name} lacks {key!r}; it is no MAGVIT-v2 in the layout of showlab/magvitv2, or "
                "is incomplete: download it again"
            )
        if len(found) != rank or 0 in found:
            raise ValueError(f"{name}: {key!r} has shape {tuple(found)} instead of {rank} sizes")
        return tuple(found)

    def levels(part: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        counts: dict[int, int] = {}
        for key in shapes:
            found = re.match(rf"{re.escape(part)}\.(\d+)\.block\.(\d+)\.", key)
            if found:
                level, block = int(found[1]), int(found[2])
                counts[level] = max(counts.get(level, 0), block + 1)
        many = max(counts, default=0) + 1
        if many > 16 or max(counts.values(), default=0) > 1000:
            raise ValueError(f"{name}: {part} has {many} levels, which no image could have")
        widths, blocks = [], []
        for level in range(many):
            blocks.append(counts.get(level, 1))
            widths.append(shape(f"{part}.{level}.block.{blocks[-1] - 1}.conv2.weight")[0])
        return tuple(widths), tuple(blocks)

    first, channels = shape("encoder.conv_in.weight")[:2]
    encoder = CoderSizes(
        channels, shape("encoder.quant_conv.weight")[0], first, *levels("encoder.down")
    )
    first, bits = shape("decoder.conv_in.weight")[:2]
    decoder = CoderSizes(shape("decoder.conv_out.weight")[0], bits, first, *levels("decoder.up"))
    for field in ("channels", "bits", "factor"):
        ours, theirs = getattr(encoder, field), getattr(decoder, field)
        if ours != theirs:
            raise ValueError(
                f"{name}: the encoder has {field}={ours} and the decoder {field}={theirs}; they "
                "do not belong together"
            )
    if not 1 <= decoder.bits <= 20:
        raise ValueError(f"{name}: {decoder.bits} bits per token; a codebook has 1 to 20")
    for width in (encoder.first, decoder.first, *encoder.widths, *decoder.widths):
        if width % GROUPS:
            raise ValueError(
                f"{name}: {width} channels are no multiple of {GROUPS}, the groups of its norms"
            )
    return encoder, decoder


def weight_file(folder: Path) -> Path:
    """The safetensors file of a folder.

    Raises:
        ValueError: no folder, none in it, or a link that leads out of it.
    """
    if not folder.is_dir():
        raise ValueError(
            f"no image tokenizer at {str(folder)!r}: give a folder with {FILES[0]}, e.g. a "
            "download of showlab/magvitv2"
        )
    check_links(folder)
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    files = sorted(f.name for f in folder.iterdir())
    other = [name for name in files if name.endswith(".safetensors")]
    pickled = [name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    found = f"only pickled weights ({pickled[0]})" if pickled else "no weights"
    found = f"weights under another name ({other[0]})" if other else found
    raise ValueError(
        f"{str(folder)!r} has {found}; only safetensors are read, as {FILES[0]} or {FILES[1]}. "
        "Take the published file of that name, or convert the weights with "
        "safetensors.torch.save_file"
    )


def _check_codes(stored: Mapping[str, Tensor], bits: int, name: str) -> None:
    """Raise `ValueError` if the stored codes are not the binary numbers of their ids, MSB first."""
    codes = LFQCodebook(bits).codes
    wanted = {
        "quantize.embedding": codes,
        "quantize.power_vals": 2 ** torch.arange(bits - 1, -1, -1),
    }
    for key, value in stored.items():
        if key not in wanted:
            raise ValueError(f"{name} has an unknown tensor {key!r}; its codes cannot be read")
        want = wanted[key]
        if value.shape != want.shape or not torch.equal(value.double(), want.double()):
            raise ValueError(
                f"{name}: {key!r} {tuple(value.shape)} is not the table of {bits} signs -1 and +1 "
                "per token, most significant bit first; with another order of codes its tokens "
                "would mean other images"
            )
