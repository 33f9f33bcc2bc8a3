"""Portraits: DiceBear's procedural figures in three designs, 64 pixels in colour, with attributes.

`portraits.mjs` draws them with Node. Designs: Personas by Draftbit (CC BY 4.0), ToonHead by Johan
Melin (CC BY 4.0), Open Peeps by Pablo Stanley (CC0).

The designs' own options are mapped to shared attributes, and colours to names, so that a condition
has the same meaning in all designs. Combinations of (style, hair, clothing colour) are held out:
one in twenty is only in `test`, and one in twenty only in `tune`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from recipes.mini_image.images import Images

__all__ = ["attributes_of", "portraits", "split_of"]

SIZE = 64

_RENAMED = {
    "personas": {
        "hair": "hair", "body": "clothes", "eyes": "eyes", "mouth": "mouth", "nose": "nose",
        "facialHair": "beard",
    },
    "toon-head": {
        "hair": "hair", "rearHair": "rear hair", "clothes": "clothes", "eyes": "eyes",
        "mouth": "mouth", "eyebrows": "brows", "beard": "beard",
    },
    "open-peeps": {
        "head": "hair", "face": "face", "facialHair": "beard", "accessories": "accessory",
        "mask": "mask",
    },
}  # fmt: skip
_ABSENT = {
    "personas": ("beard",),
    "toon-head": ("rear hair", "beard"),
    "open-peeps": ("beard", "accessory", "mask"),
}
_CLOTHING = {
    "456dff": "blue", "54d7c7": "teal", "7555ca": "purple", "6dbb58": "green", "e24553": "red",
    "f3b63a": "amber", "f55d81": "pink",
    "545454": "gray", "b11f1f": "red", "0b3286": "navy", "147f3c": "green", "eab308": "amber",
    "731ac3": "purple", "ec4899": "pink", "f97316": "orange", "151613": "black", "e8e9e6": "white",
    "e78276": "red", "ffcf77": "amber", "fdea6b": "yellow", "78e185": "green", "9ddadb": "teal",
    "8fa7df": "blue", "e279c7": "pink",
}  # fmt: skip
_HAIR = {
    "362c47": "black", "6c4545": "brown", "e15c66": "red", "e16381": "pink", "f27d65": "orange",
    "f29c65": "ginger", "dee1f5": "white",
    "2c1b18": "black", "a55728": "auburn", "b58143": "honey", "d6b370": "blond",
    "724133": "brown", "e8e1e1": "white", "ecdcbf": "platinum", "f59797": "pink",
    "4a312c": "dark brown", "c93305": "red",
}  # fmt: skip
_SKIN = {
    "eeb4a4": "1", "e7a391": "2", "e5a07e": "3", "d78774": "4", "b16a5b": "5", "92594b": "6",
    "623d36": "7",
    "f1c3a5": "1", "c68e7a": "3", "b98e6a": "4", "a36b4f": "5", "5c3829": "7",
    "ffdbb4": "1", "edb98a": "2", "d08b5b": "4", "ae5d29": "5", "694d3d": "7",
}  # fmt: skip
_COLOURS = {
    "clothingColor": ("clothing colour", _CLOTHING),
    "clothesColor": ("clothing colour", _CLOTHING),
    "hairColor": ("hair colour", _HAIR),
    "headContrastColor": ("hair colour", _HAIR),
    "skinColor": ("skin", _SKIN),
}


def attributes_of(drawn: Mapping[str, object]) -> dict[str, str]:
    """The shared attributes of one line of `portraits.jsonl`."""
    style = str(drawn["style"])
    found = {"style": style, "background": str(drawn["background"])}
    found |= dict.fromkeys(_ABSENT[style], "none")
    for key, value in drawn.items():
        if key in _COLOURS:
            name, words = _COLOURS[key]
            found[name] = words[str(value).lstrip("#")]
        elif key in _RENAMED[style]:
            found[_RENAMED[style][key]] = str(value)
    return found


def split_of(attributes: Mapping[str, str]) -> str:
    """`train | tune | test`, a function of style, hair and clothing colour."""
    words = "/".join(attributes[name] for name in ("style", "hair", "clothing colour"))
    return {0: "test", 1: "tune"}.get(zlib.crc32(words.encode()) % 20, "train")


def portraits(folder: Path, split: str) -> Images:
    """One split, `train | tune | test`, of the files that `portraits.mjs` wrote into `folder`.

    Raises:
        ValueError: another split, or files that do not fit each other.
        FileNotFoundError: no such files; says what draws them.
    """
    if split not in ("train", "tune", "test"):
        raise ValueError(f"split is 'train', 'tune' or 'test', got {split!r}")
    for name in ("portraits.jsonl", "portraits.rgb"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"no {name} in {folder}; node recipes/mini_image/portraits.mjs {folder} 42000 "
                "draws it (the head of that file says what it needs)"
            )
    lines = (folder / "portraits.jsonl").read_text(encoding="utf-8").splitlines()
    known = [attributes_of(json.loads(line)) for line in lines]
    pixels = np.memmap(folder / "portraits.rgb", np.uint8, "r")
    if len(pixels) != len(known) * SIZE * SIZE * 3:
        raise ValueError(
            f"portraits.rgb has {len(pixels)} bytes, which are not {len(known)} portraits; "
            "run portraits.mjs until it finishes"
        )
    names = sorted({name for one in known for name in one})
    words = {name: tuple(sorted({one[name] for one in known if name in one})) for name in names}
    values = torch.tensor(
        [[words[n].index(one[n]) if n in one else -1 for n in names] for one in known]
    )
    rows = [row for row, one in enumerate(known) if split_of(one) == split]
    chosen = torch.from_numpy(pixels.reshape(-1, SIZE, SIZE, 3)[rows])
    return Images(chosen.permute(0, 3, 1, 2), values[rows], words)
