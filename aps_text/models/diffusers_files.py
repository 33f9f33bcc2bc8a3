"""Models in the layout of diffusers: a folder per part, read without running code of a checkpoint.

    model_index.json            the pipeline's class, and the library and class of each part
    PART/config.json            the part's class (`_class_name`) and sizes
    PART/diffusion_pytorch_model.safetensors

A part is built from its config.json in diffusers' own class, and takes exactly the tensors of its
file: of the right names, shapes and kinds, all of them finite. The library is the extra
`aps-text[diffusers]`, imported when a part is read.
"""

from __future__ import annotations

import logging
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..tensor_files import check_tensors, check_written, read_tensors
from .checkpoint import check_finite
from .checkpoint_files import check_sizes, read_json
from .frozen import frozen
from .modes import outside_modes

__all__ = ["INDEX", "WEIGHTS", "import_diffusers", "pipeline_class", "read_part"]

INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def import_diffusers() -> Any:
    """The library.

    Raises:
        ImportError: it is not installed; says how to.
    """
    try:
        import diffusers
    except ImportError as error:
        raise ImportError(
            "this model runs in the classes of diffusers, which is not installed: "
            "pip install 'aps-text[diffusers]'"
        ) from error
    return diffusers


def pipeline_class(folder: Path) -> str | None:
    """The pipeline that a folder's model_index.json names; None without such a file.

    Raises:
        ValueError: a file that is no JSON object, or that names no class.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    found = read_json(path).get("_class_name")
    if not isinstance(found, str):
        raise ValueError(f"{path} has _class_name={found!r}; it is the name of a pipeline's class")
    return found


@outside_modes
def read_part(
    folder: Path,
    part: str,
    kind: str,
    *,
    device: torch.device | str | None = "cpu",
    dtype: torch.dtype | None = None,
) -> Any:
    """A part's network with its weights; frozen, in eval mode.

    Args:
        folder: with model_index.json.
        part: its folder in it.
        kind: the name of diffusers' class, which config.json must name too.
        device, dtype: of the weights; None is the widest dtype that is stored.

    Raises:
        ImportError: see `import_diffusers`.
        ValueError: files that are missing, damaged, of another class, or contradict each other.
    """
    name = f"{folder.name}/{part}"
    config = read_json(folder / part / "config.json")
    if config.get("_class_name") != kind:
        raise ValueError(
            f"{name}/config.json describes a {config.get('_class_name')!r}, and a {kind} is read; "
            "take the published files"
        )
    check_sizes(config, SIZES, name)
    _check_stated(config, kind, name)
    made = getattr(import_diffusers(), kind)
    try:
        with torch.device("meta"), _quiet():
            net: nn.Module = made.from_config(config)
    except Exception as error:  # a wrong field may raise anything
        raise ValueError(
            f"{name}/config.json describes no {kind} ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}); compare it with the published "
            "file"
        ) from error
    stored = read_tensors(_weight_file(folder / part, name))
    check_tensors(stored, net.state_dict(), name, kind, "the sizes of config.json")
    one = dtype or reduce(torch.promote_types, {value.dtype for value in stored.values()})
    wanted = {key: value.to(device=device, dtype=one) for key, value in stored.items()}
    net.load_state_dict(wanted, assign=True)
    check_finite(net, name)
    check_written(net, name)
    if kind == "VQModel":
        _check_codes(wanted["quantize.embedding.weight"], name)
    return frozen(net)


SIZES = (
    *("hidden_size", "vocab_size", "codebook_size", "num_hidden_layers", "num_attention_heads"),
    *("sample_size", "num_vq_embeddings", "latent_channels", "layers_per_block"),
)


STATED = {
    "UVit2DModel": (
        *("sample_size", "codebook_size", "vocab_size", "num_attention_heads", "block_num_heads"),
        *("layer_norm_eps", "micro_cond_encode_dim", "downsample", "upsample"),
    ),
    "VQModel": ("block_out_channels", "num_vq_embeddings", "norm_num_groups", "act_fn"),
}
"""Fields that no shape of a tensor tells. Without one diffusers takes a number of its own, which is
that of no published model."""


def _check_stated(config: dict[str, Any], kind: str, name: str) -> None:
    lacking = [key for key in STATED.get(kind, ()) if config.get(key) is None]
    if lacking:
        raise ValueError(f"{name}/config.json lacks {lacking[0]!r}; take the published file")
    eps = config.get("layer_norm_eps", 1e-6)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise ValueError(
            f"{name}/config.json has layer_norm_eps={eps!r}, and it is a number between 0 and 1; "
            "compare it with the published file"
        )


def _check_codes(table: Tensor, name: str) -> None:
    if bool((table == table[0]).all()):
        raise ValueError(
            f"{name}: all {len(table)} code vectors in 'quantize.embedding.weight' are equal, so "
            "every image would have one token alone; download or export the file again"
        )


def _weight_file(folder: Path, name: str) -> Path:
    path = folder / WEIGHTS
    if not path.is_file():
        others = sorted(f.name for f in folder.iterdir() if f.suffix in (".bin", ".safetensors"))
        raise ValueError(
            f"{name} has no {WEIGHTS}{f', only {others[0]}' if others else ''}; take the published "
            "file of that name (variants and pickled weights are not read)"
        )
    return path


class _quiet:
    """Context in which diffusers does not report fields of a configuration that it ignores."""

    def __enter__(self) -> None:
        self.log = logging.getLogger("diffusers")
        self.level = self.log.level
        self.log.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self.log.setLevel(self.level)
