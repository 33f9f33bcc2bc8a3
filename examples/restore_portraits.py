"""Restore nine portraits that the model never saw, three of each design, and draw the sheet.

    python examples/restore_portraits.py --data FOLDER --task sr4 box-inpainting

FOLDER holds what `node recipes/mini_image/portraits.mjs FOLDER 42000` draws (its head says what it
needs); run this from the repository, which knows their held-out combinations. The images are the
first three test portraits of each design, nothing is selected; the model is told nothing about
them. Rows of the sheet as in `restore_garments.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from restore_garments import draw_sheet  # noqa: E402

from recipes.mini_image.portraits import portraits  # noqa: E402


def first_of_each_design(folder: Path, count: int = 3) -> torch.Tensor:
    """`(3 count, 3, 64, 64)` in [-1, 1]."""
    images = portraits(folder, "test")
    design = images.values[:, list(images.attributes).index("style")]
    rows = [(design == each).nonzero()[:count, 0] for each in range(3)]
    return images.at(torch.cat(rows))


def main() -> None:
    draw_sheet(__doc__, first_of_each_design, "mini-portraits", "portraits.png", zoom=1)


if __name__ == "__main__":
    main()
