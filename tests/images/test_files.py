"""Image files as users have them: turned, transparent, deep, animated and damaged ones."""

from __future__ import annotations

import struct
import zlib

import pytest
import torch
from PIL import Image

from aps_text.images.files import (
    contact_sheet,
    read_image,
    read_mask,
    sides_of,
    square,
    write_image,
)

LEVELS = torch.arange(24).view(4, 6) * 10


@pytest.fixture
def grey():
    return Image.frombytes("L", (6, 4), LEVELS.byte().numpy().tobytes())


def levels(image):
    return ((image[0, 0] + 1) * 127.5).round().long()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "pgm"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA"])
def test_lossless_files_give_their_pixels(tmp_path, grey, suffix, mode):
    path = tmp_path / f"a.{suffix}"
    kept = {"pgm": "L", "bmp": mode if mode != "RGBA" else "RGB"}.get(suffix, mode)
    grey.convert(kept).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert torch.equal(levels(read_image(path)), LEVELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_is_turned_as_viewers_show_it(tmp_path, grey, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey.save(tmp_path / f"a.{suffix}", exif=exif)
    shown = {
        1: LEVELS,
        2: LEVELS.flip(1),
        3: LEVELS.flip(0, 1),
        4: LEVELS.flip(0),
        5: LEVELS.T,
        6: LEVELS.flip(0).T,
        7: LEVELS.flip(0, 1).T,
        8: LEVELS.flip(1).T,
    }
    assert torch.equal(levels(read_image(tmp_path / f"a.{suffix}")), shown[orientation])
    shape = tuple(shown[orientation].shape)
    found = sides_of(tmp_path / f"a.{suffix}")
    assert found == shape or (suffix == "tif" and found == shape[::-1])


def deep(kind: int, channels: int) -> bytes:
    """A PNG of 2 x 2 pixels of 16 bits."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 2, 2, 16, kind, 0, 0, 0)
    rows = (b"\0" + b"\x12\x34" * channels * 2) * 2
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_more_than_8_bits_are_refused_in_every_mode(tmp_path, kind, channels):
    (tmp_path / "a.png").write_bytes(deep(kind, channels))
    with pytest.raises(
        ValueError, match=r"a\.png has pixels of more than 8 bits .* divided by 257"
    ):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["P6", "P3", "P5", "P2"])
@pytest.mark.parametrize("most", [1023, 65535])
def test_a_pnm_of_more_than_8_bits_is_refused_too(tmp_path, kind, most):
    binary, channels = kind in ("P5", "P6"), 3 if kind in ("P3", "P6") else 1
    body = b"\1\2" * channels if binary else b" 258" * channels
    (tmp_path / "a.ppm").write_bytes(f"{kind} 1 1 {most}\n".encode() + body)
    with pytest.raises(ValueError, match=r"a\.ppm has pixels of more than 8 bits"):
        read_image(tmp_path / "a.ppm")
    small = b"\5" * channels if binary else b" 5" * channels
    (tmp_path / "a.ppm").write_bytes(f"{kind} 1 1 15\n".encode() + small)
    assert ((read_image(tmp_path / "a.ppm") + 1) * 127.5).round().unique().tolist() == [85]


@pytest.mark.parametrize("body", [b"P1\n2 1\n1 0\n", b"P4\n2 1\n\x80"])
def test_a_pnm_of_black_and_white_is_read(tmp_path, body):
    (tmp_path / "a.pbm").write_bytes(body)
    assert read_image(tmp_path / "a.pbm", 1).flatten().tolist() == [-1, 1]
    assert read_mask(tmp_path / "a.pbm").tolist() == [[False, True]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_one_of_several_frames_is_not_taken_silently(tmp_path, grey, suffix):
    path = tmp_path / f"a.{suffix}"
    grey.save(path, save_all=True, append_images=[Image.new("L", grey.size, 255)])
    with pytest.raises(ValueError, match=r"has 2 frames or pages; save the one you mean"):
        read_image(path)


def test_a_mask_of_0_and_1_is_told_that_white_is_255(tmp_path):
    Image.frombytes("L", (2, 1), b"\0\1").save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"has pixels of 0 and 1 alone, .* multiply it by 255"):
        read_mask(tmp_path / "a.png")


def test_a_mask_with_transparent_pixels_is_refused(tmp_path):
    """White strokes on nothing would mark everything, and black ones all but themselves."""
    for stroke in ("white", "black"):
        canvas = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
        canvas.putpixel((1, 1), (255, 255, 255, 255) if stroke == "white" else (0, 0, 0, 255))
        canvas.save(tmp_path / f"{stroke}.png")
        with pytest.raises(ValueError, match=rf"{stroke}\.png has transparent pixels.* background"):
            read_mask(tmp_path / f"{stroke}.png")
    opaque = Image.new("RGBA", (4, 4), (0, 0, 0, 255))
    opaque.putpixel((1, 2), (255, 255, 255, 255))
    opaque.save(tmp_path / "opaque.png")
    assert read_mask(tmp_path / "opaque.png").nonzero().tolist() == [[2, 1]]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\nnothing"])
def test_what_is_no_image_is_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
        read_image(tmp_path / "a.png")


def test_an_image_of_too_many_pixels_is_told_before_it_is_read(tmp_path, monkeypatch):
    Image.new("L", (60, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for read in (read_image, read_mask, sides_of):
        with pytest.raises(
            ValueError, match=r"a\.png has more than 2000 pixels, .* crop or resize"
        ):
            read(tmp_path / "a.png")


def test_a_file_that_is_cut_off_is_named(tmp_path):
    pixels = torch.randint(256, (64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()
    Image.frombytes("RGB", (64, 64), pixels.numpy().tobytes()).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image: .*truncated"):
        read_image(tmp_path / "b.png")


def test_only_images_are_written(tmp_path):
    image = torch.zeros(1, 2, 2)
    for wrong, said in (
        (image.byte(), "got torch.uint8"),
        (image * float("nan"), "finite and floating"),
        (image + 127.5, "images are in .-1, 1., got pixels up to 127.5; from 0 to 255"),
        (image[None], r"one image is \(1 or 3, H, W\), got \(1, 1, 2, 2\)"),
    ):
        with pytest.raises(ValueError, match=said):
            write_image(wrong, tmp_path / "a.png")
    with pytest.raises(TypeError, match=r"an image is a tensor .* got a ndarray"):
        write_image(image.numpy(), tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("width", [4, 5, 6, 16, 53])
def test_a_width_is_no_depth(tmp_path, width):
    """Pillow's tiles hold strides as well: 16 bytes in a row are not 16 bits."""
    image = Image.new("RGB", (width, 3), (10, 20, 30))
    for suffix in ("bmp", "tga", "tif", "ppm"):
        image.save(tmp_path / f"a.{suffix}")
        assert ((read_image(tmp_path / f"a.{suffix}")[0, 1] + 1) * 127.5).round().eq(20).all()


def test_lab_has_no_transparency(tmp_path, grey):
    """Its second band is called A, as the one of transparency is."""
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    made = ImageCms.profileToProfile(grey.convert("RGB"), rgb, lab, outputMode="LAB")
    made.save(tmp_path / "a.tif")
    assert int((levels(read_image(tmp_path / "a.tif", 1)) - LEVELS).abs().max()) <= 3


@pytest.mark.parametrize(("side", "shown"), [(32, 128), (64, 256), (100, 200), (512, 512)])
def test_a_sheet_enlarges_small_images_only(side, shown):
    """Sixteen images of 512 pixels, four times enlarged, would take 200 MB."""
    assert contact_sheet([[torch.zeros(1, side, side)] * 3], gap=0).shape == (3, shown, 3 * shown)


def test_a_square_is_the_middle_and_of_images_only():
    image = torch.zeros(1, 1, 8, 4)
    image[:, :, 2:6] = 0.5
    assert torch.equal(square(image, 4), torch.full((1, 1, 4, 4), 0.5))
    for wrong, size, kind, said in (
        (image + 127.5, 4, ValueError, "from 0 to 255"),
        (image.byte(), 4, TypeError, "got torch.uint8"),
        (image[0], 4, ValueError, r"images are .B, C, H, W., got .1, 8, 4."),
        (image, 0, ValueError, "size must be >= 1"),
        ("photo.png", 4, TypeError, r"got a str; read_image.path. reads"),
        (image, 4.5, TypeError, "size is an integer, got 4.5"),
    ):
        with pytest.raises(kind, match=said):
            square(wrong, size)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_images_of_16_bits_are_written_as_in_32(tmp_path, dtype):
    """Added to 1, a number of 16 bits loses a bit or two, which are grey levels."""
    image = (torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1).to(dtype)
    for name, one in (("a.png", image), ("b.png", image.float())):
        write_image(one, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
