"""Published image models that are not supported, by what their files say, and the reason of each.

A model is recognised by its hub id before anything is downloaded, and in a folder by the class in
its config.json or model_index.json, by the hub id of the model it was made from (`_name_or_path`),
and by the names of its files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .image_folders import lenient_json

__all__ = ["REFUSED", "Refused", "refuse_known"]


@dataclass(frozen=True)
class Refused:
    """A family of checkpoints that is refused.

    Attributes:
        family: its name.
        ids: regular expression of its hub ids, in lower case, the owner included.
        classes: what config.json or model_index.json calls it.
        files: regular expression of its files' names, in lower case.
        reason: why, and what to use instead.
    """

    family: str
    ids: str
    classes: tuple[str, ...]
    files: str
    reason: str


REFUSED = (
    Refused(
        "Show-o",
        r".*/show-?o(?![a-z]).*",
        ("Showo",),
        r"$^",
        "it reads a text causally and an image in both directions, in the layout of Phi-1.5, and "
        "neither is here; MMaDA has the same image tokenizer",
    ),
    Refused(
        "MMaDA-Parallel-A",
        r".*/mmada-parallel-a(?![a-z]).*",
        ("LLaDAForMultiModalGeneration",),
        r"$^",
        "it draws an image and a text together from another image, which is not here; "
        "Lumina-DiMOO, which it comes from, and MMaDA-Parallel-M are. A folder of Lumina-DiMOO, "
        "whose class has the same name, needs its model_index.json",
    ),
    Refused(
        "Meissonic",
        r".*/(meissonic|monetico|muddit|editmgt)(?![a-z]).*",
        ("MeissonicPipeline", "SymmetricTransformer2DModel"),
        r"$^",
        "its transformer's class is in no library, and code that comes with a checkpoint is never "
        "run; amused/amused-512 is of the same kind",
    ),
    Refused(
        "MaskBit",
        r".*/maskbit(?![a-z]).*",
        ("MaskBit", "LFQBert"),
        r"maskbit.*\.(bin|pth|pt)",
        "its weights are published as pickles, which are never opened, and each of its tokens is "
        "two of 7 bits, drawn apart",
    ),
    Refused(
        "Halton-MaskGIT",
        r".*/halton.*",
        ("MaskGIT", "Halton"),
        r"(imagenet_(256|384|512)_.*|vq_ds(8|16)_c2i.*)\.(pth|pt)",
        "its weights are published as pickles (.pth), which are never opened, and its transformer "
        "is not here",
    ),
    Refused(
        "TiTok",
        r".*/.*(titok|maskgen).*",
        ("TiTok", "TiTokTokenizer"),
        r".*titok.*\.(bin|pth|pt|safetensors)",
        "its tokens belong to no place in the image: a mask of pixels opens none, and its prior "
        "has no grid",
    ),
    Refused(
        "open-MUSE",
        r"openmuse/.*",
        ("PipelineMuse", "MaskGiTUViT", "MaskGiTUViT_v2"),
        r"$^",
        "it is the layout before the weights were converted for diffusers; use amused/amused-256 "
        "or amused/amused-512",
    ),
)


def refuse_known(name: str | Path) -> None:
    """Do nothing for a model that may be supported.

    Args:
        name: a folder or a hub id.

    Raises:
        ValueError: a model in `REFUSED`, with the reason.
    """
    folder = Path(name)
    if folder.is_dir():
        classes, files = _classes(folder), [f.name.lower() for f in folder.iterdir()]
        origin = str(lenient_json(folder / "config.json").get("_name_or_path", ""))
        for one in REFUSED:
            known = classes & set(one.classes) or any(re.fullmatch(one.files, f) for f in files)
            if known or _has_id(one, origin):
                raise _error(name, one)
    elif isinstance(name, str):
        for one in REFUSED:
            if _has_id(one, name):
                raise _error(name, one)


def _has_id(one: Refused, name: str) -> bool:
    return name.count("/") == 1 and re.fullmatch(one.ids, name.lower()) is not None


def _error(name: str | Path, one: Refused) -> ValueError:
    return ValueError(f"{str(name)!r} is {one.family}, which is not supported: {one.reason}")


def _classes(folder: Path) -> set[str]:
    """The classes that the configurations of a folder and of its transformer name.

    A transformer that comes with code of its own, or of diffusers' name for another model, makes
    it a Meissonic. MMaDA-Parallel-A and Lumina-DiMOO have the same class, and the second an index.
    """
    found: set[str] = set()
    for path in (folder / "config.json", folder / "model_index.json"):
        config = lenient_json(path)
        found |= {config.get("_class_name"), *_names(config.get("architectures"))}  # type: ignore[arg-type]
    transformer = lenient_json(folder / "transformer" / "config.json")
    if transformer.get("_class_name") == "Transformer2DModel" and "codebook_size" in transformer:
        found.add("MeissonicPipeline")
    if "LuminaDiMOOPipeline" in found:
        found.discard("LLaDAForMultiModalGeneration")
    return found - {None}


def _names(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
