"""Low-rank maps of single rows in PEFT's own format: adapter_model.safetensors and its config.

A row's maps are one flat tensor `(P,)`: A `(r, in)`, then B `(out, r)`, of every module in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from aps_rewards.links import check_links
from torch import Tensor

from ..core.whole_files import write_together
from .checkpoint_files import read_json
from .peft_folder import ADAPTER, check_numbers

__all__ = ["FittedLora", "read_maps"]


@dataclass(frozen=True)
class FittedLora:
    """The fitted phi of B rows, without the model and the optimiser.

    Attributes:
        shapes: (in, out) of each adapted module, by its name.
        rank, alpha: r, and the scale times r.
        record: `(B, P)` the maps, in the modules' order, on the CPU.
        change: `(B,)` largest absolute change of a parameter of the row; 0 if it was never updated.
    """

    shapes: Mapping[str, tuple[int, int]]
    rank: int
    alpha: float
    record: Tensor
    change: Tensor

    def save(self, folder: str | Path, row: int = 0, base: str = "") -> None:
        """Write one row in PEFT's format; `PeftModel.from_pretrained(base_model, folder)` loads it.

        Args:
            folder: created if it is not there.
            row: which row's phi, as it was after its last update.
            base: name or path of the base model, written to adapter_config.json.

        Raises:
            ValueError: no such row.
        """
        from peft import LoraConfig
        from safetensors.torch import save

        if not 0 <= row < len(self.record):
            raise ValueError(
                f"row={row} is not below the adapter's number of rows, {len(self.record)}"
            )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        sizes = [size * self.rank for shape in self.shapes.values() for size in shape]
        pieces = iter(self.record[row].split(sizes))
        tensors = {}
        for key, shape in _layout(self.shapes, self.rank):
            tensors[key] = next(pieces).view(shape).clone()
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            target_modules=sorted(map(_plain, self.shapes)),
            base_model_name_or_path=base,
            inference_mode=True,
        )
        with TemporaryDirectory() as made:
            config.save_pretrained(made)
            facts = (Path(made) / "adapter_config.json").read_bytes()
        write_together(
            {
                folder / "adapter_model.safetensors": save(tensors, {"format": "pt"}),
                folder / "adapter_config.json": facts,
            }
        )


def read_maps(
    folder: str | Path, shapes: Mapping[str, tuple[int, int]], rank: int, alpha: float
) -> Tensor:
    """The maps `(P,)` that `FittedLora.save` or PEFT wrote, for modules of these (in, out) shapes.

    They are read whole or not at all, and at the scale they were saved with.

    Raises:
        ValueError: no file, or one that lacks a map, has more of them, another rank or another
            scale than `alpha / rank`.
    """
    from safetensors.torch import load_file

    check_links(Path(folder))
    path = Path(folder) / "adapter_model.safetensors"
    if not path.is_file():
        raise ValueError(
            f"no adapter_model.safetensors in {str(folder)!r}; give a folder written by save"
        )
    tensors, blocks = load_file(path), []
    for key, shape in _layout(shapes, rank):
        found = tensors.pop(key, None)
        if found is None or found.shape != shape:
            raise ValueError(
                f"{path}: {key} should be {shape}, found "
                f"{'nothing' if found is None else tuple(found.shape)}; "
                "use the lora_rank and lora_layers it was saved with"
            )
        blocks.append(found.flatten())
    if tensors:
        raise ValueError(
            f"{path} has {len(tensors)} tensors more than this adapter, e.g. {min(tensors)}; use "
            "the lora_layers it was saved with (lora_layers=None takes all layers)"
        )
    _check_scale(Path(folder), rank, alpha)
    return torch.cat(blocks)


def _check_scale(folder: Path, rank: int, alpha: float) -> None:
    """Refuse maps that were saved with another scale than `alpha / rank`.

    Raises:
        ValueError: no such configuration, or the scale it states is another.
    """
    stated = read_json(folder / ADAPTER)
    check_numbers(folder, stated)
    saved = stated.get("lora_alpha", 8)
    if stated.get("alpha_pattern"):
        raise ValueError(
            f"{folder / ADAPTER} has a scale for some maps of their own (alpha_pattern), and a "
            "warm start has one for all; train it without"
        )
    own = saved / math.sqrt(rank) * rank if stated.get("use_rslora") else saved
    if not math.isclose(own, alpha, rel_tol=1e-5):
        raise ValueError(
            f"{folder / ADAPTER} scales its maps as lora_alpha={own:g} does, and this call has "
            f"lora_alpha={alpha:g}; pass lora_alpha={own:g}"
        )


def _layout(
    shapes: Mapping[str, tuple[int, int]], rank: int
) -> Iterator[tuple[str, tuple[int, int]]]:
    """PEFT's names of the maps and their shapes, in the order of the flat tensor."""
    for name, (width, height) in shapes.items():
        for kind, shape in (("A", (rank, width)), ("B", (height, rank))):
            yield f"base_model.model.{_plain(name)}.lora_{kind}.weight", shape


def _plain(name: str) -> str:
    """A module's name without the prefixes that a `PeftModel` adds."""
    return name.removesuffix(".base_layer")
