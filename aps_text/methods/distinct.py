"""Equal canvases of a row are computed once: rollouts of a row often hold the same tokens.

    z (B, L), owner (B,)  ->  the U distinct pairs (owner, z)  ->  logits of each for all its copies

Logits depend on the row and its canvas alone, so each copy gets those that it would get by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.canvas import positions_of
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Adapter, Denoiser, Where, masks_unseen

__all__ = ["DistinctRows"]


@dataclass
class _State:
    """The trunk of U distinct canvases `(U, L)`.

    Attributes:
        denoiser: bound to their rows.
        trunk: its state.
        shape: U and L.
        place: `(B,)` int64, which of them each row has.
    """

    denoiser: Denoiser
    trunk: Any
    shape: tuple[int, int]
    place: Tensor


@dataclass(frozen=True)
class DistinctRows:
    """A denoiser of copies of the rows of another one; see the module.

    Attributes:
        inner: bound to the rows that are copied.
        owner: `(B,)` int64, the row of `inner` that each row is a copy of.
    """

    inner: Denoiser
    owner: Tensor

    @property
    def mask_id(self) -> int:
        """See `Denoiser`."""
        return self.inner.mask_id

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`."""
        return self.inner.vocab_size

    @property
    def masks_unseen(self) -> bool:
        """See `Denoiser`."""
        return masks_unseen(self.inner)

    def take(self, rows: Tensor) -> DistinctRows:
        """See `Denoiser.take`."""
        return DistinctRows(self.inner, self.owner[rows])

    def trunk(self, z: Tensor) -> _State:
        """See `Denoiser.trunk`."""
        both, place = torch.cat([self.owner[:, None], z], 1).unique(dim=0, return_inverse=True)
        denoiser, canvases = self.inner.take(both[:, 0]), both[:, 1:]
        return _State(denoiser, denoiser.trunk(canvases), (len(both), z.shape[1]), place)

    def logits(self, state: _State, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`; computed wherever one of the copies asks.

        Raises:
            ValueError: a `phi`: each copy would have its own.
        """
        if phi is not None:
            raise ValueError("copies of a row share a forward, so they take no phi; got one")
        at = state.place[where[0]], where[1]
        asked = torch.zeros(state.shape, dtype=torch.bool, device=at[0].device)
        asked = asked.index_put(at, asked.new_ones(()))
        index = (asked.flatten().cumsum(0) - 1).view(state.shape)
        found = state.denoiser.logits(state.trunk, positions_of(asked))
        return found[index[at]]

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`.

        Raises:
            ValueError: always; see `logits`.
        """
        raise ValueError("copies of a row share a forward, so they take no phi")
