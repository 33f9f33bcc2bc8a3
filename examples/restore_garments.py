"""Restore ten garments that the model never saw, one of each class, and draw the sheet.

    python examples/restore_garments.py --data FOLDER --task sr4 box-inpainting

FOLDER holds Fashion-MNIST (Debian's package dataset-fashion-mnist, or its four .gz files). The
images are the first test image of each class, nothing is selected; the model is told no class. Rows
of the sheet: the truth; for each task what was measured, what can be done without a model (bicubic,
or the observed pixels spread), and APS's restoration. PSNRs are printed.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from aps_text import RestorationPipeline
from aps_text.images.files import contact_sheet, write_image
from aps_text.images.metrics import psnr


def first_of_each_class(folder: Path) -> torch.Tensor:
    """`(10, 1, 32, 32)` in [-1, 1]."""
    raw = {}
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        (file,) = sorted(folder.rglob(f"t10k-{kind}-ubyte.gz"))[:1] or [None]
        if file is None:
            raise SystemExit(f"no t10k-{kind}-ubyte.gz below {folder}: give Fashion-MNIST's folder")
        content = gzip.decompress(file.read_bytes())[header:]
        raw[kind] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    labels = raw["labels-idx1"]
    rows = torch.stack([(labels == each).nonzero()[0, 0] for each in range(10)])
    pixels = raw["images-idx3"].view(-1, 1, 28, 28)[rows].float() / 127.5 - 1
    return F.pad(pixels, (2, 2, 2, 2), value=-1.0)


def restored_sheet(
    pipe: RestorationPipeline, truth: torch.Tensor, tasks: list[str], sigma: float, seed: int
) -> list[torch.Tensor]:
    """The rows of the sheet, `(n, C, H, W)` each; PSNRs are printed."""
    rows, count = [truth], len(truth)
    for task in tasks:
        measured = pipe.measure(truth, task, sigma=sigma, seed=seed)
        without = measured.first_image(pipe.size)
        restored = pipe(measured, seeds=list(range(count)))
        images = restored.images[:, 0]
        rows += [measured.y, without, images]
        print(
            f"{task:<18} without a model {psnr(without, truth).mean():.2f} dB, "
            f"APS {psnr(images, truth).mean():.2f} dB, "
            f"chi2 {restored.chi2.mean():.2f}, {restored.cost.seconds / count:.2f} s an image"
        )
    return rows


def name_rows(path: Path, tasks: list[str]) -> None:
    """Write the names of the rows beside a sheet, and set its tasks apart."""
    names = ["the truth"]
    for task in tasks:
        names += [f"{task}: measured", f"{task}: without a model", f"{task}: APS"]
    with Image.open(path) as opened:
        sheet = opened.convert("RGB")
    scale = max(1.0, sheet.width / 640)
    font = ImageFont.load_default(15 * scale)
    margin = round(20 * scale + max(map(font.getlength, names)))
    gap, height = round(10 * scale), sheet.height / len(names)
    size = margin + sheet.width, sheet.height + gap * len(tasks)
    named = Image.new("RGB", size, "#ffffff")
    draw = ImageDraw.Draw(named)
    for row, name in enumerate(names):
        top, end = round(row * height), round((row + 1) * height)
        below = gap * ((row + 2) // 3)
        named.paste(sheet.crop((0, top, sheet.width, end)), (margin, top + below))
        middle = (top + end) / 2 + below
        draw.text((margin - 10 * scale, middle), name, "#1c1f23", font, anchor="rm")
    named.save(path, optimize=True)


def draw_sheet(
    about: str, first: Callable[[Path], torch.Tensor], model: str, out: str, zoom: int
) -> None:
    """Read the flags, and draw the sheet of the images that `first` reads from `--data`."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=model)
    parser.add_argument("--task", nargs="+", default=["sr4"])
    parser.add_argument("--sigma", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(out))
    args = parser.parse_args()

    pipe = RestorationPipeline.from_pretrained(args.model)
    rows = restored_sheet(pipe, first(args.data), args.task, args.sigma, args.seed)
    write_image(contact_sheet([list(row) for row in rows], zoom=zoom), args.out)
    name_rows(args.out, args.task)


def main() -> None:
    draw_sheet(__doc__, first_of_each_class, "mini-garments", "garments.png", zoom=2)


if __name__ == "__main__":
    main()
