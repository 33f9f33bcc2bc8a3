"""A window of a transformer's vocabulary as a vocabulary of its own: the image tokens of MMaDA.

    outside:  tokens 0 .. size - 1, mask = size          inside:  first + token, the model's mask

The head is applied to the window's rows only, so logits are `(N, size)` and every distribution is
normalised over the window: MMaDA has 134,656 tokens, and 8,192 of them are images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Adapter, Where
from .parts import ModelParts
from .transformer import TransformerDenoiser

__all__ = ["WindowDenoiser", "window_parts"]


def window_parts(parts: ModelParts, first: int, size: int) -> ModelParts:
    """The parts of a model whose head ends in the window `first .. first + size - 1`.

    Raises:
        ValueError: a window that does not lie within the vocabulary, or holds the mask token.
    """
    if size < 1 or first < 0 or first + size > parts.vocab_size:
        raise ValueError(
            f"the window {first} .. {first + size - 1} does not lie within the model's "
            f"{parts.vocab_size} tokens"
        )
    if first <= parts.mask_id < first + size:
        raise ValueError(
            f"the mask token {parts.mask_id} lies in the window {first} .. {first + size - 1}"
        )
    head = WindowHead(parts.head, first, size)
    return replace(parts, head=head, vocab_size=size, suppressed=())


@dataclass(frozen=True)
class WindowHead:
    """The rows `first .. first + size - 1` of a head.

    A plain linear head is multiplied with these rows alone; of another kind (quantised, split
    among devices), the window is cut out of its output.
    """

    head: Any
    first: int
    size: int

    def __call__(self, x: Tensor) -> Tensor:
        """States `(N, d)` to logits `(N, size)`."""
        rows = slice(self.first, self.first + self.size)
        plain = type(self.head) is nn.Linear and self.head.weight.is_floating_point()
        if not plain or hasattr(self.head, "_hf_hook"):
            logits: Tensor = self.head(x)[..., rows]
            return logits
        bias = self.head.bias
        return F.linear(x, self.head.weight[rows], None if bias is None else bias[rows])


@dataclass(frozen=True)
class WindowDenoiser:
    """A denoiser over the tokens of a window.

    Attributes:
        inner: bound with `window_parts`, so its logits are those of the window; it reads the
            model's own ids.
        first: the window's first id in the model.
    """

    inner: TransformerDenoiser
    first: int

    @property
    def mask_id(self) -> int:
        """See `Denoiser`; one beyond the tokens."""
        return self.inner.vocab_size

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`: the tokens of the window."""
        return self.inner.vocab_size

    def take(self, rows: Tensor) -> WindowDenoiser:
        """See `Denoiser.take`."""
        return replace(self, inner=self.inner.take(rows))

    def trunk(self, z: Tensor) -> Any:
        """See `Denoiser.trunk`."""
        return self.inner.trunk(torch.where(z == self.mask_id, self.inner.mask_id, z + self.first))

    def logits(self, state: Any, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`."""
        return self.inner.logits(state, where, phi)

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`."""
        return self.inner.new_adapter(config, noise)
