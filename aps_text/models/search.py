"""Where a checkpoint is: in a folder, on the hub or in its cache; with the base of a PEFT adapter.

Of a hub repository only texts (configuration, tokenizer) and safetensors are downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aps_rewards.links import check_links

from .checkpoint_files import read_json
from .embedded import embedded_folder
from .image_folders import image_folder
from .peft_folder import ADAPTER, base_of

__all__ = ["Found", "download", "find", "find_adapter"]

TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja")


@dataclass(frozen=True)
class Found:
    """A checkpoint's folder, its config.json, and the folder of the adapter to apply, if any."""

    folder: Path
    config: dict[str, Any]
    adapter: Path | None = None


def find(
    name: str | Path,
    recognise: Callable[[Mapping[str, Any]], Any],
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> Found:
    """A checkpoint's folder and config.json; a hub id is downloaded, or found in the cache.

    For a PEFT adapter the folder is that of the base its adapter_config.json names.

    Args:
        name: `"mini"`, `"smol"`, a folder, or a hub id `owner/name`.
        recognise: called with config.json before weights are downloaded; must raise if the model
            is not supported.
        revision: branch, tag or commit of the hub repository; pin a commit to repeat a result.
        local_files_only: never download.
        cache_dir: of downloads; None is the hub's default.

    Raises:
        ValueError: nothing is found, an image model (says what loads it), a revision for a folder,
            an adapter of an adapter, or a link that leads out of its folder.
    """
    name = embedded_folder(name) or name
    folder, remote = Path(name), isinstance(name, str) and name.count("/") == 1
    remote = remote and not folder.is_dir()
    where = (revision, local_files_only, cache_dir)
    if remote:
        folder = download(str(name), TEXT_FILES, *where)
    elif revision is not None:
        raise ValueError(
            f"revision={revision!r} needs a hub id, and {str(name)!r} is a folder; leave it out"
        )
    check_links(folder)
    adapter = None
    if not (folder / "config.json").is_file() and (folder / ADAPTER).is_file():
        adapter = folder
        if remote:
            download(str(name), ("*.safetensors",), *where)
        base = base_of(adapter)
        nested = find(base, recognise, local_files_only=local_files_only, cache_dir=cache_dir)
        if nested.adapter is not None:
            raise ValueError(
                f"{base!r}, the base of {str(name)!r}, is an adapter itself; merge it into its "
                "base and name the result"
            )
        return replace(nested, adapter=adapter)
    path = folder / "config.json"
    try:
        if not path.is_file():
            raise ValueError(
                f"no model at {str(name)!r}: expected 'mini', 'smol', a folder with a config.json, "
                "or a hub id like 'Dream-org/Dream-v0-Instruct-7B'"
            )
        config = read_json(path)
        recognise(config)
    except ValueError as error:
        image = image_folder(name, folder)
        if image is None:
            raise
        raise ValueError(
            f"{str(name)!r} is {image.what}, and no language model; {image.use}"
        ) from error
    if remote:
        download(str(name), ("*.safetensors", "*.safetensors.index.json"), *where)
    return Found(folder, config)


def find_adapter(
    name: str | Path,
    *,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> Path:
    """The folder of a PEFT adapter; a hub id is downloaded, or found in the cache.

    Args:
        name: a folder, or a hub id `owner/name`.
        local_files_only, cache_dir: see `find`.

    Raises:
        TypeError: neither a name nor a folder.
        ValueError: nothing is found, or what is there is no adapter.
    """
    if not isinstance(name, str | Path):
        raise TypeError(f"an adapter is a folder or a hub id, got {name!r}")
    folder = Path(name)
    if isinstance(name, str) and name.count("/") == 1 and not folder.is_dir():
        patterns = (*TEXT_FILES, "*.safetensors")
        folder = download(name, patterns, None, local_files_only, cache_dir)
    check_links(folder)
    if not (folder / ADAPTER).is_file():
        raise ValueError(
            f"no adapter at {str(name)!r}: expected a folder or a hub id with {ADAPTER}, which "
            "PEFT's save_pretrained writes"
        )
    return folder


def download(
    name: str,
    patterns: Iterable[str],
    revision: str | None,
    local_files_only: bool,
    cache_dir: str | Path | None,
) -> Path:
    """The folder of a hub repository's files of these patterns, downloaded or from the cache.

    Raises:
        ValueError: not found.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                local_files_only=local_files_only,
                cache_dir=cache_dir,
                allow_patterns=list(patterns),
            )
        )
    except HFValidationError as error:
        raise ValueError(
            f"no model at {name!r}: not a folder, and no hub id, which is written owner/name"
        ) from error
    except (OSError, ValueError) as error:  # the hub's errors are subclasses of these
        where = "in the local cache" if local_files_only else "on the hub or in the local cache"
        raise ValueError(
            f"no model at {name!r}: not a folder, and not found {where}"
            f"{f' at revision {revision!r}' if revision else ''} ({type(error).__name__})"
        ) from error
