"""Restore nine portraits that the model never saw, three of each design, and draw the sheet.

    python examples/restore_portraits.py --data FOLDER --task sr4 box-inpainting

FOLDER holds what `node recipes/mini_image/portraits.mjs FOLDER 42000` draws (its head says what it
needs); run this from the repository, which knows their held-out combinations. The images are the
first three test portraits of each design, nothing is selected; the model is told nothing about
them. Rows of the sheet as in `restore_garments.py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from restore_garments import restored_sheet  # noqa: E402

from aps_text import RestorationPipeline  # noqa: E402
from aps_text.images.files import contact_sheet, write_image  # noqa: E402
from recipes.mini_image.portraits import portraits  # noqa: E402


def first_of_each_design(folder: Path, count: int = 3) -> torch.Tensor:
    """`(3 count, 3, 64, 64)` in [-1, 1]."""
    images = portraits(folder, "test")
    design = images.values[:, list(images.attributes).index("style")]
    rows = [(design == each).nonzero()[:count, 0] for each in range(3)]
    return images.at(torch.cat(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini-portraits")
    parser.add_argument("--task", nargs="+", default=["sr4"])
    parser.add_argument("--sigma", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("portraits.png"))
    args = parser.parse_args()

    pipe = RestorationPipeline.from_pretrained(args.model)
    truth = first_of_each_design(args.data)
    rows = restored_sheet(pipe, truth, args.task, args.sigma, args.seed)
    write_image(contact_sheet([list(row) for row in rows], zoom=1), args.out)


if __name__ == "__main__":
    main()
