"""Contact sheets: grids of images as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["sheet", "write_sheet"]


def sheet(rows: Sequence[Tensor], gap: int = 2, zoom: int = 2) -> Tensor:
    """One picture `(3, H, W)` uint8 of rows of images `(B, C, S, S)` in [-1, 1], white between."""
    lines = []
    for row in rows:
        bytes_ = ((row.clamp(-1, 1) + 1) * 127.5).round()
        big = bytes_.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
        framed = F.pad(big.expand(-1, 3, -1, -1), (0, gap, 0, gap), value=255.0)
        lines.append(torch.cat(list(framed), 2))
    width = max(line.shape[2] for line in lines)
    lines = [F.pad(line, (0, width - line.shape[2]), value=255.0) for line in lines]
    return torch.cat(lines, 1).to(torch.uint8)


def write_sheet(path: Path, rows: Sequence[Tensor], zoom: int = 2) -> None:
    """Write `sheet` as PNG."""
    from PIL import Image

    picture = sheet(rows, zoom=zoom).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(picture).save(path, optimize=True)
