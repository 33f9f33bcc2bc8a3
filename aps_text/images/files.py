"""Reading and writing of image files, as tensors `(B, C, H, W)` in [-1, 1]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.limits import check_number
from ..core.whole_files import write_whole
from .metrics import check_range
from .pillow import pillow

__all__ = ["contact_sheet", "read_image", "read_mask", "sides_of", "square", "write_image"]

ORIENTATION, ASIDE = 0x0112, (5, 6, 7, 8)
"""EXIF's number of the orientation, and the orientations that swap height and width."""


def read_image(path: str | Path, channels: int = 3) -> Tensor:
    """An image file as `(1, channels, H, W)` in [-1, 1], as viewers show it: turned as its EXIF
    orientation says, and transparent pixels blended with white.

    Args:
        channels: 1 (gray) or 3 (RGB).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read as an image, has several frames or more than 8 bits a channel,
            or `channels` is neither 1 nor 3.
    """
    image = _opened(path)
    if channels not in (1, 3):
        raise ValueError(f"channels is 1 or 3, got {channels!r}")
    if _has_alpha(image):
        image = image.convert("RGBA")
        white = pillow().new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    image = image.convert("L" if channels == 1 else "RGB")
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    pixels = values.view(image.height, image.width, channels).permute(2, 0, 1)
    return pixels[None].float() / 127.5 - 1


def square(image: Tensor, size: int) -> Tensor:
    """The middle square of `(B, C, H, W)` in [-1, 1], resized to `(B, C, size, size)`.

    Raises:
        TypeError: no tensor, images of integers, or a size that is none.
        ValueError: no images `(B, C, H, W)`, pixels of another range, or a size below 1.
    """
    check_number("size", size, (1, 2**15, True), whole=True)
    if not isinstance(image, Tensor):
        raise TypeError(
            f"images are a tensor (B, C, H, W), got a {type(image).__name__}; read_image(path) "
            "reads a file"
        )
    if image.ndim != 4 or not image.numel():
        raise ValueError(f"images are (B, C, H, W), got {tuple(image.shape)}")
    check_range(image)
    side = min(image.shape[2:])
    top, left = ((length - side) // 2 for length in image.shape[2:])
    middle = image[:, :, top : top + side, left : left + side]
    return F.interpolate(
        middle, (size, size), mode="bicubic", antialias=True, align_corners=False
    ).clamp(-1, 1)


def read_mask(path: str | Path) -> Tensor:
    """A mask file, black and white, as `(H, W)` bool: white is True.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has grey or transparent pixels, or see `read_image`.
    """
    image = _opened(path)
    if _has_alpha(image) and image.convert("RGBA").getextrema()[3][0] < 255:
        raise ValueError(
            f"the mask {path} has transparent pixels, which are neither black nor white; put it on "
            "a black or a white background, and save it without transparency"
        )
    values = (read_image(path, 1)[0, 0] + 1) * 127.5
    values = values.round()
    if not bool(((values == 0) | (values == 255)).all()):
        if float(values.max()) == 1:
            raise ValueError(
                f"the mask {path} has pixels of 0 and 1 alone, and white is 255; multiply it by 255"
            )
        odd = values[(values != 0) & (values != 255)]
        raise ValueError(
            f"the mask {path} has grey pixels ({int(odd[0])}, e.g.); make every pixel black (0) "
            "or white (255), and save it as PNG, not as JPEG"
        )
    return values == 255


def sides_of(path: str | Path) -> tuple[int, int]:
    """Height and width of an image file, by its header: its pixels are not read.

    They are those of `read_image`, but may be swapped in a TIFF that is to be turned.

    Raises:
        FileNotFoundError, ValueError: see `read_image`.
    """
    high, wide = _opened(path, pixels=False)
    return int(high), int(wide)


def _opened(path: str | Path, pixels: bool = True) -> Any:
    """The image, turned; without its pixels its height and width."""
    module = pillow()
    from PIL import ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no image file at {path}")
    try:
        # A path is mapped into memory, where Pillow 12.3 garbles grey TIFFs that are turned.
        with path.open("rb") as file, module.open(file) as image:
            if not pixels:
                # Pillow has turned the size of a TIFF already, since 11.3.
                aside = image.format != "TIFF" and image.getexif().get(ORIENTATION) in ASIDE
                return image.size if aside else image.size[::-1]
            wide = any(map(_is_wide, image.tile))  # loading drops the tiles
            frames, kind = getattr(image, "n_frames", 1), image.format
            image.load()
            turned = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as an image: of no format known here") from error
    except module.DecompressionBombError as error:
        raise ValueError(
            f"{path} has more than {2 * module.MAX_IMAGE_PIXELS} pixels, the most that are read; "
            "crop or resize it"
        ) from error
    except Exception as error:  # Pillow's own errors, and those of its decoders
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if frames > 1 and kind != "MPO":  # a photograph with a preview of itself
        raise ValueError(f"{path} has {frames} frames or pages; save the one you mean as a PNG")
    if wide or turned.mode.startswith(("I", "F")):
        raise ValueError(
            f"{path} has pixels of more than 8 bits (mode {turned.mode}), whose range is not "
            "known; save it with 8 bits a channel, 16 bits divided by 257 (Pillow's convert "
            "clips them)"
        )
    return turned.convert("RGB") if turned.mode == "LAB" else turned


def _is_wide(tile: Any) -> bool:
    """Whether Pillow reads a tile from more than 8 bits a channel, which may become 8 silently."""
    args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    if tile[0] in ("ppm", "ppm_plain") and isinstance(args[-1], int):
        return args[-1] > 255  # the largest value of a channel; a bitmap has none
    return any(re.fullmatch(r"(I|L|LA|RGB|RGBA|RGBX|CMYK);16.*", str(one)) for one in args)


def _has_alpha(image: Any) -> bool:
    return bool({"A", "a"} & set(image.getbands())) or "transparency" in image.info


def pixels_of(image: Tensor) -> Tensor:
    """`(C, H, W)` in [-1, 1], clipped, as `(H, W, C)` uint8."""
    return ((image.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu()


def write_image(image: Tensor, path: str | Path) -> None:
    """Write `(C, H, W)` in [-1, 1], clipped, as an image file, whole or not at all; its suffix
    selects the format.

    Raises:
        TypeError: no tensor.
        ValueError: not one image of 1 or 3 channels, one of integers, of another range, or of
            numbers that are not finite; a suffix of no image format.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"an image is a tensor (1 or 3, H, W), got a {type(image).__name__}")
    if not image.is_floating_point() or not bool(image.isfinite().all()):
        raise ValueError(f"an image is finite and floating in [-1, 1], got {image.dtype}")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"one image is (1 or 3, H, W), got {tuple(image.shape)}")
    check_range(image)
    module, suffix = pillow(), Path(path).suffix
    kind = module.registered_extensions().get(suffix.lower())
    if kind not in module.SAVE:
        raise ValueError(f"{path}: {suffix!r} is the suffix of no image format; name it .png")
    pixels, made = pixels_of(image), BytesIO()
    mode = "L" if image.shape[0] == 1 else "RGB"
    size = pixels.shape[1], pixels.shape[0]
    module.frombytes(mode, size, pixels.contiguous().numpy().tobytes()).save(made, kind)
    write_whole(path, made.getvalue())


def contact_sheet(
    rows: Sequence[Sequence[Tensor] | Tensor], zoom: int | None = None, gap: int = 2
) -> Tensor:
    """A grid of images, `(3, H, W)` in [-1, 1], on white.

    Args:
        rows: the grid's rows, of images `(C, h, w)` each, or batches `(n, C, h, w)`; smaller images
            are enlarged to about the size of the largest by repeating pixels.
        zoom: side in the sheet of a pixel of the largest image, >= 1; None is 4 for images of up
            to 64 pixels a side, and less for larger ones, so that none takes more than 256.
        gap: pixels between images.
    """
    if not any(len(row) for row in rows):
        raise ValueError("a sheet shows at least one image, got none")
    high = max(image.shape[-2] for row in rows for image in row)
    wide = max(image.shape[-1] for row in rows for image in row)
    if zoom is None:
        zoom = min(4, max(1, 256 // max(high, wide)))
    high, wide = high * zoom, wide * zoom
    across = max(len(row) for row in rows)
    sheet = torch.ones(3, len(rows) * (high + gap) + gap, across * (wide + gap) + gap)
    for down, row in enumerate(rows):
        for right, image in enumerate(row):
            big = image.expand(3, -1, -1) if image.shape[0] == 1 else image
            ups = high // big.shape[-2], wide // big.shape[-1]
            big = big.repeat_interleave(ups[0], 1).repeat_interleave(ups[1], 2)
            top, left = gap + down * (high + gap), gap + right * (wide + gap)
            sheet[:, top : top + big.shape[1], left : left + big.shape[2]] = big.clamp(-1, 1)
    return sheet
