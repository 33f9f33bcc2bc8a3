"""Which tokens a pixel mask opens, and the masks that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aps_text.images.editing import as_mask, outside_error, paste, tokens_of_mask


def marked(*pixels: tuple[int, int], size: int = 12) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    for row, col in pixels:
        mask[row, col] = True
    return mask


@pytest.mark.parametrize("row", range(12))
@pytest.mark.parametrize("col", [0, 3, 4, 7, 11])
def test_one_pixel_opens_the_token_of_its_cell(row, col):
    opened = tokens_of_mask(marked((row, col)), 3).view(3, 3)
    assert opened.nonzero().tolist() == [[row // 4, col // 4]]


def test_a_hole_opens_every_cell_it_touches():
    corner = marked((3, 3), (4, 4), (3, 4), (4, 3))  # where four cells meet
    assert tokens_of_mask(corner, 3).view(3, 3).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    line = marked(*((6, col) for col in range(12)))
    assert tokens_of_mask(line, 3).view(3, 3).tolist() == [[0, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert not tokens_of_mask(marked(), 3).any()


def test_rings_around_the_hole():
    opened = tokens_of_mask(marked((0, 0), size=20), 5, widen=1).view(5, 5)
    assert opened.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert int(tokens_of_mask(marked((9, 9), size=20), 5, widen=1).sum()) == 9
    assert tokens_of_mask(marked((9, 9), size=20), 5, widen=4).all()
    assert tokens_of_mask(marked((9, 9), size=20), 5, widen=np.int64(4)).all()


def test_what_is_outside_is_compared_and_pasted():
    mask = marked((0, 0), (5, 5))
    image = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    drawn = image + 0.1
    drawn[..., mask] += 7
    assert torch.allclose(outside_error(drawn, image, mask), torch.full((2,), 0.1))
    whole = paste(drawn, image, mask)
    assert torch.equal(whole[..., ~mask], image[..., ~mask])
    assert torch.equal(whole[..., mask], drawn[..., mask])


def test_masks_are_bool_or_0_and_1():
    mask = marked((2, 3))
    for same in (mask, mask.float(), mask.long()[None], mask.byte()):
        assert torch.equal(as_mask(same, (12, 12)), mask)


BAD = [
    (lambda: as_mask("m.png", (4, 4)), TypeError, "mask is a tensor .* got str; read_mask"),
    (lambda: as_mask(torch.eye(4) / 2, (4, 4)), ValueError, r"only hold 0 \(keep\) and 1 .*0\.5"),
    (lambda: as_mask(255 * torch.eye(4).byte(), (4, 4)), ValueError, "between 0 and 255"),
    (lambda: as_mask(torch.eye(4), (4, 5)), ValueError, "is 4 x 4 pixels and the image 5 x 4;"),
    (lambda: as_mask(torch.ones(3, 4, 4), (4, 4)), ValueError, "the same size"),
    (lambda: as_mask(torch.zeros(4, 4), (4, 4)), ValueError, r"is 0 \(keep\) everywhere"),
    (lambda: as_mask(torch.ones(4, 4), (4, 4)), ValueError, "everywhere, .* use paint"),
    (lambda: tokens_of_mask(marked(), 5), ValueError, "no 5 x 5 cells"),
    (lambda: tokens_of_mask(marked(), 3, widen=-1), ValueError, "widen .* >= 0, got -1"),
    (lambda: tokens_of_mask(marked(), 3, widen=True), ValueError, "got True"),
]


@pytest.mark.parametrize(("make", "kind", "says"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said(make, kind, says):
    with pytest.raises(kind, match=says):
        make()


def test_any_number_of_rings_costs_what_the_grid_does():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[0, 0] = True
    assert tokens_of_mask(mask, 8, 10**9).all()
    assert int(tokens_of_mask(mask, 8, 7).sum()) == 64
    assert int(tokens_of_mask(mask, 8, 6).sum()) == 49
