"""Per-prompt LoRA: every row of the batch has its own low-rank maps, computed in one pass.

    y_b = W x_b + (alpha / r) B_b A_b x_b        A_b (r, in), B_b (out, r), B_b = 0 at the start

(Hu et al. 2022.) Forward hooks on the base's linear modules add the maps, which are stored outside
the model in one flat tensor `(rows, P)`. The base's weights and module tree are never changed,
quantised linear layers work as they are, and one elementwise Adam with per-row gates updates all
maps. `lora_files` writes and reads them in PEFT's own format.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.adapters import LogitsAdapter, RowAdam
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Adapter, Denoiser, Where
from ..core.settings import Fit, Logits, LoRA
from .call_hooks import CallHook, attached
from .lora_files import FittedLora, read_maps
from .modes import ordinary, outside_modes

__all__ = ["LoraAdapter", "new_adapter"]


class LoraAdapter:
    """phi for B rows as low-rank maps (see `Adapter`); build it with `fresh`."""

    def __init__(
        self,
        modules: Mapping[str, nn.Linear],
        start: Tensor,
        *,
        rank: int,
        alpha: float,
        lr: float,
        eps: float = 0.1,
        carry_over: bool,
        warm: bool = False,
        rows: Tensor | None = None,
        record: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> None:
        self.modules, self.start = dict(modules), start
        self.rank, self.alpha, self.lr, self.eps = rank, alpha, lr, eps
        self.carry_over = carry_over
        self.equals_theta = not warm
        self.warm = warm
        self.adam = RowAdam(start, lr, eps=eps)
        self.at = self.leaf = start.new_empty(0)
        # Shared with every `take`: the first and the last phi of each row of the first batch.
        self.origin = start if origin is None else origin
        self.rows = torch.arange(len(start), device=start.device) if rows is None else rows
        self.record = start.clone() if record is None else record

    @classmethod
    @outside_modes
    def fresh(
        cls,
        modules: Mapping[str, nn.Linear],
        noise: Noise,
        *,
        rank: int,
        alpha: float,
        lr: float,
        eps: float = 0.1,
        carry_over: bool,
    ) -> LoraAdapter:
        """An adapter equal to theta: A uniform as in PEFT (Kaiming, a = sqrt 5), B zero.

        A is drawn from the row's own counted noise, so a row's phi never depends on its batch.
        """
        first = next(iter(modules.values()))
        dtype = torch.float64 if first.weight.dtype == torch.float64 else torch.float32
        rows = torch.arange(len(noise.row_seed), device=noise.row_seed.device)
        blocks = []
        for index, module in enumerate(modules.values()):
            place = torch.full_like(rows, index)
            u = noise.uniform(rows, place, 0, "lora", rank * module.in_features)
            blocks.append(((2 * u - 1) * module.in_features**-0.5).to(first.weight.device, dtype))
            blocks.append(blocks[-1].new_zeros(len(rows), module.out_features * rank))
        start = torch.cat(blocks, 1)
        return cls(modules, start, rank=rank, alpha=alpha, lr=lr, eps=eps, carry_over=carry_over)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each adapted module, by its name."""
        return {name: (m.in_features, m.out_features) for name, m in self.modules.items()}

    def sizes(self) -> list[int]:
        """Parameters per row of A and of B of every module, in order; they sum to P."""
        return [
            size * self.rank
            for module in self.modules.values()
            for size in (module.in_features, module.out_features)
        ]

    def maps(self, flat: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Views of `flat (B, P)`: per module A^T `(B, in, r)` and B^T `(B, r, out)`."""
        pieces = iter(flat.split(self.sizes(), 1))
        return {
            name: (
                next(pieces).view(len(flat), self.rank, module.in_features).transpose(1, 2),
                next(pieces).view(len(flat), module.out_features, self.rank).transpose(1, 2),
            )
            for name, module in self.modules.items()
        }

    def open(self) -> Tensor:
        """The maps `(rows, P)` as a new leaf tensor; the next `update` uses its gradient."""
        self.leaf = self.adam.value.detach()
        if torch.is_grad_enabled():
            self.leaf.requires_grad_()
        return self.leaf

    def attached(self) -> AbstractContextManager[None]:
        """Context in which the base's linear layers add phi's maps; any exit removes the hooks."""
        return self.hooked(self.open())

    def hooked(self, leaf: Tensor) -> AbstractContextManager[None]:
        """`attached` with maps from an earlier `open`, since a checkpointed layer runs twice."""
        scale = self.alpha / self.rank
        return attached(
            [
                (self.modules[name], _AddLowRank(down, up, scale))
                for name, (down, up) in self.maps(leaf).items()
            ]
        )

    def begin(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor | None:
        """See `Adapter.begin`: resets phi to its start unless `carry_over`; one forward of theta if
        phi differs from it."""
        if not self.carry_over:
            self.adam = RowAdam(self.start, self.lr, eps=self.eps)
            self.equals_theta = not self.warm
        if self.equals_theta:
            return None
        with torch.no_grad():
            return denoiser.logits(state, where)

    def logits(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor:
        """See `Adapter.logits`; one forward of the layers above the trunk."""
        self.at = where[0]
        return denoiser.logits(state, where, self)

    @outside_modes
    def update(self, logits: Tensor, grad: Tensor, gate: Tensor) -> None:
        """Back-propagate `dL/dlogits` to every row's maps and take one gated Adam step.

        `logits` are the last ones of `logits`. Under float16 weights the gradient of each row
        passes the model divided by a power of 2 near its largest number, which is exact: the
        likelihood of a measurement with little noise has slopes beyond 65504.
        """
        if not self.leaf.requires_grad:
            raise RuntimeError(
                "gradients are disabled, so phi cannot be updated; do not make a steered call "
                "inside torch.no_grad() or torch.inference_mode()"
            )
        grad, unit = ordinary(grad), None
        if any(module.weight.dtype == torch.float16 for module in self.modules.values()):
            at = self.at.to(grad.device)
            largest = grad.new_zeros(len(gate)).scatter_reduce(0, at, grad.abs().amax(1), "amax")
            unit = torch.exp2(torch.frexp(largest)[1].to(grad.dtype))
            grad = grad / unit[at][:, None]
        (flat,) = torch.autograd.grad(logits, self.leaf, grad)
        if unit is not None:
            flat = flat * unit.to(flat)[:, None]
        self.adam.step(flat, gate.to(flat.device))
        self.record[self.rows] = self.adam.value
        self.equals_theta = False

    @outside_modes
    def take(self, rows: Tensor) -> LoraAdapter:
        """See `Adapter.take`."""
        other = LoraAdapter(
            self.modules,
            self.start[rows],
            rank=self.rank,
            alpha=self.alpha,
            lr=self.lr,
            eps=self.eps,
            carry_over=self.carry_over,
            warm=self.warm,
            rows=self.rows[rows],
            record=self.record,
            origin=self.origin,
        )
        other.adam, other.equals_theta = self.adam.take(rows), self.equals_theta
        return other

    def fitted(self) -> FittedLora:
        """Each row's phi after its last update, detached from the model, for saving."""
        change = (self.record - self.origin).abs().amax(1)
        return FittedLora(self.shapes, self.rank, self.alpha, self.record.cpu(), change.cpu())

    def save(self, folder: str | Path, row: int = 0, base: str = "") -> None:
        """See `FittedLora.save`."""
        self.fitted().save(folder, row, base)

    def load(self, folder: str | Path) -> LoraAdapter:
        """The same rows, all starting from a saved phi.

        Raises:
            ValueError: the file lacks a map of this adapter's or has more, or its rank or scale is
                another.
        """
        maps = read_maps(folder, self.shapes, self.rank, self.alpha)
        start = maps.to(self.start).expand_as(self.start).clone()
        return LoraAdapter(
            self.modules,
            start,
            rank=self.rank,
            alpha=self.alpha,
            lr=self.lr,
            eps=self.eps,
            carry_over=self.carry_over,
            warm=True,
        )


class _AddLowRank(CallHook):
    """`out + scale x A^T B^T`, row by row."""

    def __init__(self, down: Tensor, up: Tensor, scale: float) -> None:
        self.down, self.up, self.scale = down, up, scale

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        x = args[0].to(self.down.dtype)
        low = torch.bmm(x, self.down.to(x.device))
        return out + self.scale * torch.bmm(low, self.up.to(x.device)).to(out.dtype)


def new_adapter(
    config: APSConfig, noise: Noise, blocks: Mapping[str, nn.Module], rows: int
) -> Adapter:
    """A transformer's new phi: an offset of the logits, or LoRA on the linear layers of `blocks`.

    Args:
        config: its `sampler.fit.phi` chooses the kind.
        noise: of the B rows.
        blocks: the adapted blocks, by their paths in the model.
        rows: B.
    """
    phi = (config.sampler.fit or Fit()).phi
    if isinstance(phi, Logits):
        return LogitsAdapter(rows, phi.learning_rate, phi.adam_eps)
    if not isinstance(phi, LoRA):
        raise TypeError(f"phi of kind {type(phi).__name__} is not the model's; see methods.aps")
    modules = {
        f"{path}.{name}": module
        for path, block in blocks.items()
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name  # a PeftModel's own maps
    }
    return LoraAdapter.fresh(
        modules,
        noise,
        rank=phi.rank,
        alpha=phi.alpha,
        lr=phi.learning_rate,
        eps=phi.adam_eps,
        carry_over=phi.carry_over,
    )
