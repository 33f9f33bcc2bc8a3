"""Image models in the layout of diffusers, a folder per part: aMUSEd 256 and 512.

model = load_diffusers_image_model("amused/amused-256")
denoiser = model.denoiser(["a red violin"], rows=1, cfg_scale=9.0)  # guidance_scale=10
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch
from aps_rewards.links import check_links

from ..images.sliced_tokenizer import check_at_most, check_side
from ..images.vq import VQTokenizer, factor_of
from ..models.amused_files import load_amused
from ..models.checkpoint import Checkpoint
from ..models.checkpoint_files import read_json
from ..models.diffusers_files import WEIGHTS, import_diffusers, pipeline_class, read_part
from ..models.lumina import LuminaPrior, load_lumina
from ..models.placement import as_device, as_dtype
from ..models.search import TEXT_FILES, download
from .text_image_model import PIXELS, TextImageModel

__all__ = ["load_diffusers_image_model"]

PIPELINES = ("AmusedPipeline", "AmusedImg2ImgPipeline", "AmusedInpaintPipeline")
"""What model_index.json may name for aMUSEd; the three have the same parts."""

log = logging.getLogger(__name__)

LUMINA = "LuminaDiMOOPipeline"

TEXTS = (*TEXT_FILES, "*/config.json", "scheduler/*.json", "tokenizer/*")
TENSORS = (f"transformer/{WEIGHTS}", f"vqvae/{WEIGHTS}", "text_encoder/model.safetensors")
ROOT_TENSORS = (f"vqvae/{WEIGHTS}", "model*.safetensors", "*.safetensors.index.json")


def load_diffusers_image_model(
    name: str | Path,
    *,
    size: int | None = None,
    device: torch.device | str | int | None = "cpu",
    dtype: torch.dtype | str | None = None,
    at_most: int | None = PIXELS,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> TextImageModel:
    """Load aMUSEd or Lumina-DiMOO with its image tokenizer.

    Args:
        name: folder with a model_index.json, or hub id: `amused/amused-256`, `amused/amused-512`,
            `Alpha-VLLM/Lumina-DiMOO`.
        size: pixels per side of the images, a multiple of 16; None is what it was trained for.
        device: of the weights; None is the CPU.
        dtype: of the transformer and the text encoder; None is what is stored (float32). The image
            tokenizer is float32 always: in float16 it makes NaNs.
        at_most: pixels whose activations the decoder holds at a time, >= 1; None is no limit.
        revision, local_files_only, cache_dir: of a hub id; see `models.search.find`.

    Raises:
        ImportError: diffusers is not installed.
        ValueError: a model that cannot be found or read, another pipeline, parts that do not fit
            together, a size that is no multiple of a token's cell.
    """
    check_at_most(at_most)
    number, place = as_dtype(dtype), as_device(device)
    folder, remote = Path(name), isinstance(name, str) and not Path(name).is_dir()
    where = (revision, local_files_only, cache_dir)
    if remote:
        folder = download(str(name), TEXTS, *where)
    elif revision is not None:
        raise ValueError(
            f"revision={revision!r} needs a hub id, and {str(name)!r} is a folder; leave it out"
        )
    check_links(folder)
    kind = pipeline_class(folder)
    if kind not in (*PIPELINES, LUMINA):
        raise ValueError(
            f"{str(name)!r} is a {kind}, which is not supported; of diffusers' pipelines "
            f"{PIPELINES[0]} and {LUMINA} are. docs/image_models.md lists the others"
        )
    # What can be told without the weights is told before gigabytes of them are downloaded.
    import_diffusers()
    widths = read_json(folder / "vqvae" / "config.json").get("block_out_channels")
    if size is not None and isinstance(widths, list):
        check_side(size, 2 ** (len(widths) - 1))
    if remote:
        download(str(name), ROOT_TENSORS if kind == LUMINA else TENSORS, *where)
    shown = str(name) if remote else folder.name
    net = read_part(folder, "vqvae", "VQModel", device=place, dtype=torch.float32)
    factor = factor_of(net)
    if kind == LUMINA:
        checkpoint = Checkpoint(
            folder=folder,
            name=shown,
            config=read_json(folder / "config.json"),
            device=place,
            dtype=number,
        )
        lumina = LuminaPrior(load_lumina(checkpoint))
        side = math.isqrt(lumina.tokens) * factor if size is None else size
        return TextImageModel(shown, VQTokenizer(net, side, side, at_most), lumina)
    prior = load_amused(folder, shown, device=place, dtype=number, factor=factor)
    trained = int(prior.net.config.sample_size) * factor
    side = trained if size is None else size
    if side != trained:
        log.warning("%s was trained for images of %d pixels a side, not %d", shown, trained, side)
    prior.check_grid((side // factor) ** 2)
    return TextImageModel(shown, VQTokenizer(net, side, side, at_most), prior)
