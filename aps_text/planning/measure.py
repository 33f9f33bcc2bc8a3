"""What a real run takes, counted: the plan's numbers stand beside these in tests and benchmarks.

    flops       by the formulas of torch's `FlopCounterMode`, and one for the CPU's attention kernel
    saved       bytes that autograd keeps, `saved_tensors_hooks`, each storage once, parameters out
    peak        most bytes of tensors alive at a time that the run itself made

Counting bytes of tensors, not of the process, makes the numbers exact and the same on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.canvas import Canvas
from ..core.codebook import Relaxed, VectorCodebook
from ..core.config import APSConfig
from ..core.cost import Cost
from ..core.noise import Noise
from ..core.operator import Arithmetic, Scores, ZeroOperator
from ..core.protocols import Denoiser
from ..core.sampler import run
from ..methods.ancestral import Ancestral
from ..methods.aps import APS
from ..models.causal import both_directions
from ..models.guided import GuidedDenoiser
from ..models.masked_lm import masked_lm_layout
from ..models.parts import ModelParts, padding_mask
from ..models.transformer import TransformerDenoiser
from .call import Call, RewardCall
from .counting import Counter, saved_bytes
from .shape import ModelShape

__all__ = ["Measured", "Setting", "measure", "random_model"]

_DTYPES = {2: torch.bfloat16, 4: torch.float32, 8: torch.float64}


def random_model(shape: ModelShape, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The stock model of a layout with random weights, frozen.

    A body without a token head where `shape.token_head` is False. The global seed is not moved.
    """
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertModel,
        ModernBertConfig,
        ModernBertForMaskedLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen2Model,
        Qwen3Config,
        Qwen3ForCausalLM,
        Qwen3Model,
    )

    sizes: dict[str, Any] = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.context,
        # Distributions as peaked as a trained model's: a flat one makes top-p look at every token.
        "initializer_range": 6 * shape.hidden**-0.5,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module
        if shape.layout == "bert":
            config = BertConfig(**sizes)
            model = BertForMaskedLM(config) if shape.token_head else BertModel(config, False)
        elif shape.layout == "modernbert":
            model = ModernBertForMaskedLM(
                ModernBertConfig(**sizes, pad_token_id=0, bos_token_id=0, eos_token_id=0)
            )
        else:
            sizes |= {"num_key_value_heads": shape.kv_heads, "use_cache": False}
            sizes |= {"tie_word_embeddings": shape.tied, "head_dim": shape.head_dim}
            if shape.qk_norm:
                model = (Qwen3ForCausalLM if shape.token_head else Qwen3Model)(Qwen3Config(**sizes))
            else:
                model = (Qwen2ForCausalLM if shape.token_head else Qwen2Model)(Qwen2Config(**sizes))
    return model.to(dtype).eval().requires_grad_(False)


class _MeanReward(Arithmetic):
    """A reward model on embeddings: the mean of its last hidden state."""

    differentiable = True

    def __init__(self, shape: ModelShape, dtype: torch.dtype, frame: int, vocab: int) -> None:
        self.body = random_model(shape, dtype)
        draw = torch.Generator().manual_seed(0)
        self.frame = frame
        self.table = torch.randn(vocab, shape.hidden, generator=draw).to(dtype)
        self.codebook = VectorCodebook(self.table, torch.arange(vocab) % 7 > 0)

    def take(self, rows: Tensor) -> _MeanReward:
        return self

    def log_prob(self, relaxed: Relaxed) -> Scores:
        codes = relaxed.codes(self.codebook)
        frame = self.table[: self.frame].expand(len(codes), -1, -1)
        embeds = torch.cat([frame, codes], 1)
        mask = torch.ones(embeds.shape[:2], dtype=torch.long)
        mask[:, 0] = 0  # as a padded frame is
        hidden = self.body(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        score = hidden.float().square().mean((1, 2)).to(relaxed.probs.dtype)
        return Scores(score)

    def log_prob_ids(self, ids: Tensor) -> Scores:
        embeds = self.table[: self.frame].expand(len(ids), -1, -1)
        with torch.no_grad():
            embeds = torch.cat([embeds, self.table[ids]], 1)
            hidden = self.body(inputs_embeds=embeds).last_hidden_state
        return Scores(hidden.float().square().mean((1, 2)))


class Setting:
    """A model of random weights, bound as a call asks."""

    def __init__(self, shape: ModelShape, call: Call, reward: RewardCall | None = None) -> None:
        self.shape, self.call = shape, call
        dtype = _DTYPES[call.dtype_bytes]
        model: Any = random_model(shape, dtype)
        mask, fill, stop = shape.vocab - 1, shape.vocab - 2, shape.vocab - 3
        if shape.layout == "llama":
            layout = {"layers_path": "model.layers", "head": model.lm_head}
            layout |= {"final": model.model.norm}
        else:
            layout = masked_lm_layout(model)
        encoder = shape.layout != "llama"
        parts = ModelParts(
            model=model,
            **layout,
            mask_id=mask,
            pad_id=fill,
            vocab_size=shape.vocab,
            suppressed=(mask, fill),
            attend_fill=not encoder,
            shift=shape.shift,
            attention=padding_mask if encoder else both_directions(model),
            checkpointing=call.checkpointing,
        )
        prompts = [[1] * max(1, call.prompt - (row % 2)) for row in range(call.batch)]
        lengths = [call.tokens] * call.batch
        self.denoiser = TransformerDenoiser.bind(parts, prompts, lengths, call.lora_layers)
        self.bound: Denoiser = self.denoiser
        if call.cfg_scale > 0:
            masks = [[mask] * len(prompt) for prompt in prompts]
            without = TransformerDenoiser.bind(parts, masks, lengths, call.lora_layers)
            self.bound = GuidedDenoiser(self.denoiser, without, call.cfg_scale)
        self.operator = None
        if reward is not None:
            self.operator = _MeanReward(
                reward.shape, _DTYPES[reward.dtype_bytes], reward.frame, shape.vocab
            )
        self.canvas = Canvas.open(
            lengths,
            mask_id=mask,
            fill_id=fill,
            stop_ids=(stop,),
            block_length=call.block_length,
        )
        rows = torch.arange(call.batch)
        self.noise = Noise(rows, torch.zeros_like(rows))
        self.config = APSConfig(
            steps=call.steps,
            inner_steps=call.inner_steps,
            pool_size=call.pool_size,
            lora_layers=call.lora_layers,
            lora_rank=call.lora_rank,
            adapter=call.adapter,
            carry_over=call.carry_over,
            schedule=call.schedule,
            guidance_start=call.guidance_start,
            guidance_end=call.guidance_end,
            guidance_interval=call.guidance_interval,
            block_length=call.block_length,
            threshold=call.threshold,
            estimator="rloo" if call.estimator == "rloo" else "auto",
            num_samples=call.num_samples,
            relaxation="entropy",  # the one that keeps most, and what a plan counts
            quantizer="sample",
            trust_region=None,
            gradient_gate=0.0,
            eos_penalty=1e4,
        )

    def run(self) -> Cost:
        """The whole call."""
        operator: Any = self.operator or ZeroOperator()
        method = APS() if self.call.steers else Ancestral()
        return run(method, self.bound, operator, self.canvas, self.config, self.noise).cost

    def replay_saved(self) -> int:
        """Bytes kept by one replay of the adapted layers, for its backward."""
        phi: Any = self.denoiser.new_adapter(self.config, self.noise)
        state = self.denoiser.trunk(self.canvas.z)
        rows, cols = (self.canvas.z == self.denoiser.mask_id).nonzero().unbind(-1)
        weights = [*self.denoiser.parts.model.parameters(), phi.adam.value]
        return saved_bytes(lambda: phi.logits(self.denoiser, state, (rows, cols)), weights)


@dataclass(frozen=True)
class Measured:
    """See the module.

    Attributes:
        replay_saved: bytes kept for the backward pass by one replay at the first step.
        flops: of the whole call.
        peak: bytes of tensors made by the call, at the worst moment.
        cost: the passes, as `Cost` counts them.
    """

    replay_saved: int
    flops: float
    peak: int
    cost: Cost


def measure(shape: ModelShape, call: Call, reward: RewardCall | None = None) -> Measured:
    """Run the call on random weights, counted."""
    setting = Setting(shape, call, reward)
    saved = setting.replay_saved() if call.adapter == "lora" else 0
    counter = Counter()
    with counter:
        cost = setting.run()
    return Measured(saved, counter.flops, counter.peak, cost)
