"""A Llama with a LoRA, in plain operations: what the training of `smol` computes.

    y = x W^T + (x down^T) up^T          W frozen, products of one input joined (q, k, v; gate, up)

Shapes: B rows, S positions, d the width. The stock classes compute the same (tests/recipes), in a
quarter more time on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aps_text.models.smol import JOINED

__all__ = ["LoraLlama"]

WIDER = {"qkv": 2, "gate_up": 2}
"""Joined layers have so many times the rank."""


class _Lora(torch.autograd.Function):
    """`x W^T + (x A^T) B^T` without a gradient of W; saves x and x A^T only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, a: Tensor, b: Tensor) -> Tensor:
        inner = x @ a.t()
        ctx.save_for_backward(x, w, a, b, inner)
        return torch.addmm(inner @ b.t(), x, w.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:  # type: ignore[override]
        x, w, a, b, inner = (saved.to(grad.dtype) for saved in ctx.saved_tensors)  # autocast
        back = grad @ b
        return torch.addmm(back @ a, grad, w), None, back.t() @ x, grad.t() @ inner


class LoraLlama(nn.Module):
    """Hidden states of a frozen `LlamaForCausalLM` under a LoRA, with any attention bias.

    Args:
        model: its weights are shared, not copied, where no join is needed.
        rank: of the LoRA.
        mask_id: the row of the embedding that is trained, too (`mask`).
    """

    def __init__(self, model: Any, rank: int, mask_id: int) -> None:
        super().__init__()
        config = model.config
        self.heads, self.kv = config.num_attention_heads, config.num_key_value_heads
        self.width, self.eps, self.rank = config.head_dim, config.rms_norm_eps, rank
        self.mask_id = mask_id
        self.frozen: list[dict[str, Tensor]] = []
        pairs = {}
        for number, layer in enumerate(model.model.layers):
            own = {"before": layer.input_layernorm.weight.detach(),
                   "between": layer.post_attention_layernorm.weight.detach()}  # fmt: skip
            for name, joined in JOINED.items():
                weights = [layer.get_submodule(path).weight.detach() for path in joined]
                own[name] = torch.cat(weights) if len(weights) > 1 else weights[0]
                wide = rank * WIDER.get(name, 1)
                rows, columns = own[name].shape
                down = torch.randn(wide, columns, device=own[name].device) / columns**0.5
                pairs[f"{number}_{name}_a"] = nn.Parameter(down)
                pairs[f"{number}_{name}_b"] = nn.Parameter(down.new_zeros(rows, wide))
            self.frozen.append(own)
        self.table = model.get_input_embeddings().weight.detach()
        self.norm = model.model.norm.weight.detach()
        rope = getattr(config, "rope_parameters", None)  # transformers 5
        base = rope["rope_theta"] if rope else config.rope_theta
        at = torch.arange(0, self.width, 2, dtype=torch.float, device=self.table.device)
        angle = torch.arange(512, device=at.device)[:, None] * base ** (-at / self.width)
        self.cos = torch.cat([angle.cos(), angle.cos()], -1)
        self.sin = torch.cat([angle.sin(), angle.sin()], -1)
        pairs["mask"] = nn.Parameter(self.table.mean(0))
        self.pairs = nn.ParameterDict(pairs)

    def replica(self) -> LoraLlama:
        """The same network: parameters share their values, gradients are its own."""
        twin = LoraLlama.__new__(LoraLlama)
        nn.Module.__init__(twin)
        twin.__dict__.update({k: v for k, v in self.__dict__.items() if k != "_modules"})
        twin._modules = {}
        twin.pairs = nn.ParameterDict({k: nn.Parameter(p.data) for k, p in self.pairs.items()})
        return twin

    def _linear(self, x: Tensor, layer: int, name: str) -> Tensor:
        pair = self.pairs[f"{layer}_{name}_a"], self.pairs[f"{layer}_{name}_b"]
        return _Lora.apply(x, self.frozen[layer][name], *pair)  # type: ignore[no-any-return]

    def forward(self, ids: Tensor, at: Tensor, bias: Tensor) -> Tensor:
        """Hidden states `(B, S, d)` behind the last norm.

        Args:
            ids: `(B, S)`.
            at: `(B, S)` positions, in any order, below 512.
            bias: `(B, S, S)`, added to the scores of query and key.
        """
        rows, count = ids.shape
        x = F.embedding(ids, self.table)
        x = torch.where((ids == self.mask_id)[..., None], self.pairs["mask"], x).flatten(0, 1)
        size, group = (x.shape[-1],), self.heads // self.kv
        cos, sin = self.cos[at][:, None], self.sin[at][:, None]
        bias = bias.repeat(1, group, 1)[:, None]  # the queries of a group share their keys

        def turn(v: Tensor) -> Tensor:
            low, high = v.chunk(2, -1)
            return v * cos + torch.cat([-high, low], -1) * sin

        for number, own in enumerate(self.frozen):
            h = F.rms_norm(x, size, own["before"], self.eps)
            h = self._linear(h, number, "qkv").view(rows, count, -1, self.width).transpose(1, 2)
            q, k, v = h.split([self.heads, self.kv, self.kv], 1)
            q = turn(q).reshape(rows, self.kv, group * count, self.width) * self.width**-0.5
            h = torch.softmax(q @ turn(k).transpose(-1, -2) + bias, -1) @ v
            h = h.view(rows, self.heads, count, self.width).transpose(1, 2).flatten(0, 1)
            x = x + self._linear(h.flatten(1), number, "out")
            h = F.rms_norm(x, size, own["between"], self.eps)
            gate, up = self._linear(h, number, "gate_up").chunk(2, -1)
            x = x + self._linear(F.silu(gate) * up, number, "down")
        return F.rms_norm(x, size, self.norm, self.eps).view(rows, count, -1)
