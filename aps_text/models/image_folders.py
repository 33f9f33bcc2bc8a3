"""What a folder is that holds an image model or a part of one, for who takes it for something else.

    model_index.json                a model in diffusers' layout (aMUSEd, Lumina-DiMOO)
    prior.json, tokenizer.json      a model of this repository, or its embedded name
    config.json, `_class_name`      MAGVIT-v2's weights, or a part of a model in diffusers' layout

It judges by configurations alone, and never fails: what it does not know, it does not name.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from aps_rewards.links import leads_out

__all__ = ["EMBEDDED", "ImageFolder", "image_folder", "lenient_json", "mini_folder"]

log = logging.getLogger(__name__)

EMBEDDED = Path(__file__).parent.parent / "weights" / "mini_image"
"""The image models in the package, a folder each; `mini-NAME` loads the one in NAME."""

INDEX = "model_index.json"


@dataclass(frozen=True)
class ImageFolder:
    """What a folder is, and what loads it.

    Attributes:
        what: as in "it is ...".
        use: a sentence part that names the call.
        tokenizer: whether `tokenizer=` takes it.
    """

    what: str
    use: str
    tokenizer: bool = False


def image_folder(name: str | Path, folder: Path | None = None) -> ImageFolder | None:
    """The image model or part of one at a name; None for anything else.

    Args:
        name: as the user gave it: a folder, or an embedded model's name.
        folder: where its files are, if that is not `name`.
    """
    given, folder = str(name), Path(name) if folder is None else folder
    if given.startswith("mini-") and not folder.is_dir():
        folder = EMBEDDED / given.removeprefix("mini-")
    kind = lenient_json(folder / INDEX).get("_class_name")
    if isinstance(kind, str):
        return ImageFolder(f"an image model in diffusers' layout ({kind})", _loaded_by(given))
    if (folder / "prior.json").is_file() and (folder / "tokenizer.json").is_file():
        what = "an image model in the layout of recipes/mini_image"
        return ImageFolder(what, _loaded_by(given))
    part = lenient_json(folder / "config.json").get("_class_name")
    if part == "MAGVITv2":
        use = f"MMaDA takes it: RestorationPipeline.from_pretrained(model, tokenizer={given!r}), "
        use += "aps restore --tokenizer"
        return ImageFolder("the image tokenizer MAGVIT-v2", use, tokenizer=True)
    known = lenient_json(folder / "transformer" / "config.json").get("_class_name")
    if known == "UVit2DModel" or lenient_json(folder / "vqvae" / "config.json"):
        what = f"an image model in diffusers' layout without its {INDEX}"
        return ImageFolder(what, "copy the published file next to its parts")
    if isinstance(part, str) and (folder.parent / INDEX).is_file():
        what = f"a part of an image model in diffusers' layout ({part})"
        return ImageFolder(what, _loaded_by(str(Path(given).parent)))
    return None


def mini_folder(name: str | Path) -> Path | None:
    """The folder of a small model in the layout of recipes/mini_image; None for anything else.

    An embedded model's name, as text, is that model's. A folder of that name is meant by its path,
    `./mini-garments` or a `Path`; that the name is not it is warned of.
    """
    own, embedded = Path(name), EMBEDDED / str(name).removeprefix("mini-")
    text, here = isinstance(name, str), own.is_dir()
    if (text or not here) and str(name).startswith("mini-") and _is_whole(embedded):
        if here:
            log.warning("%s is the embedded model; for the folder give ./%s", name, name)
        return embedded
    return own if _is_whole(own) else None


def _is_whole(folder: Path) -> bool:
    return (folder / "prior.json").is_file() and (folder / "tokenizer.json").is_file()


def _loaded_by(name: str) -> str:
    return f"RestorationPipeline.from_pretrained({name!r}) and aps restore --model load it"


def lenient_json(path: Path) -> dict[str, object]:
    """The object in a file; empty if there is none (the loader says so better)."""
    if leads_out(path, path.parent):
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
