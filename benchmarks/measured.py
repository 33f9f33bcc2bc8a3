"""Measurements of a real run, with which tests and benchmarks compare the plan's numbers.

    flops       by the formulas of torch's `FlopCounterMode`, and one for the CPU's attention kernel
    saved       bytes kept by autograd (`saved_tensors_hooks`), each storage once, no parameters
    peak        the largest number of bytes of live tensors that the run itself made

Bytes are counted per tensor, not for the process, so they are exact and the same on every machine.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from aps_eval.run.flops import FlopCounter
from torch import Tensor, nn

from aps_text.core.canvas import Canvas
from aps_text.core.codebook import Relaxed, VectorCodebook
from aps_text.core.cost import Cost
from aps_text.core.noise import Noise
from aps_text.core.operator import Arithmetic, Scores
from aps_text.core.protocols import Denoiser
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.models.causal import both_directions
from aps_text.models.guided import GuidedDenoiser
from aps_text.models.masked_lm import masked_lm_layout
from aps_text.models.parts import ModelParts, padding_mask
from aps_text.models.transformer import TransformerDenoiser
from aps_text.planning.call import Call
from aps_text.planning.rehearsal import DTYPES, ConstantGradient, Moments
from aps_text.planning.shape import ModelShape

__all__ = ["Measured", "Setting", "measure", "random_model"]


def random_model(
    shape: ModelShape, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> nn.Module:
    """The stock model of a layout with random weights, frozen.

    Without a token head if `shape.token_head` is False. The global generators are not advanced. Off
    the CPU the weights are drawn in `dtype`, so that no copy in float32 has to fit.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

    decoder = shape.layout == "llama"
    kind = ("qwen3" if shape.qk_norm else "qwen2") if decoder else shape.layout
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.context,
        # Distributions as peaked as a trained model's: with flat ones top-p needs every token.
        "initializer_range": 6 * shape.hidden**-0.5,
    }
    if kind == "modernbert":  # whose defaults a small vocabulary lacks
        sizes |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)
    if decoder:
        sizes |= {"num_key_value_heads": shape.kv_heads, "use_cache": False}
        sizes |= {"tie_word_embeddings": shape.tied, "head_dim": shape.head_dim}
    config = AutoConfig.for_model(kind, **sizes)
    device = torch.device(device)
    drawn = torch.float32 if device.type == "cpu" else dtype
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]), device:
        torch.manual_seed(0)
        if shape.token_head:
            made = (AutoModelForCausalLM if decoder else AutoModelForMaskedLM).from_config(
                config, dtype=drawn
            )
        else:
            pooler = {"add_pooling_layer": False} if kind == "bert" else {}
            made = AutoModel.from_config(config, dtype=drawn, **pooler)
    return made.to(dtype).eval().requires_grad_(False)


class _MeanReward(Arithmetic):
    """A reward model on embeddings: the mean square of one coordinate of its last hidden state."""

    def __init__(self, call: Call, body: nn.Module, device: torch.device) -> None:
        reward, vocab, bridge = call.reward, call.shape.vocab, call.config.reward.bridge
        assert reward is not None
        self.body = body
        draw = torch.Generator(device).manual_seed(0)
        self.frame, self.differentiable = reward.frame, bridge != "rloo"
        table = torch.randn(vocab, reward.shape.hidden, generator=draw, device=device)
        self.table = table.to(DTYPES[reward.dtype_bytes])
        allowed = torch.arange(vocab, device=device) % 7 > 0 if bridge == "restrict" else None
        self.codebook = VectorCodebook(self.table, allowed)

    def take(self, rows: Tensor) -> _MeanReward:
        return self

    def framed(self, codes: Tensor) -> Tensor:
        return torch.cat([self.table[: self.frame].expand(len(codes), -1, -1), codes], 1)

    def score(self, embeds: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.body(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        return hidden.float().square().mean(1)[:, 0]

    def log_prob(self, relaxed: Relaxed) -> Scores:
        codes = relaxed.codes(self.codebook)
        embeds = self.framed(codes)
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        mask[:, 0] = 0  # like a padded prefix
        return Scores(self.score(embeds, mask).to(relaxed.probs.dtype))

    @torch.no_grad()
    def log_prob_ids(self, ids: Tensor) -> Scores:
        return Scores(self.score(self.framed(self.table[ids])))


class Setting:
    """A model with random weights, bound for a call.

    Args:
        model, reward: of the call's shapes and numbers, on one device; None makes them, on the CPU.
    """

    def __init__(self, call: Call, model: Any = None, reward: nn.Module | None = None) -> None:
        self.call, shape = call, call.shape
        if model is None:
            model = random_model(shape, DTYPES[call.number_bytes])
        if reward is None and call.reward is not None:
            reward = random_model(call.reward.shape, DTYPES[call.reward.dtype_bytes])
        device = next(model.parameters()).device
        mask, fill, stop = shape.vocab - 1, shape.vocab - 2, shape.vocab - 3
        encoder = shape.layout != "llama"
        layout: dict[str, Any] = {"layers_path": "model.layers"}
        if encoder:
            layout = masked_lm_layout(model)
        else:
            layout |= {"head": model.lm_head, "final": model.model.norm}
        parts = ModelParts(
            model=model,
            **layout,
            mask_id=mask,
            pad_id=fill,
            vocab_size=shape.vocab,
            suppressed=(mask, fill),
            attend_fill=not encoder and not shape.causal_prompt,
            attend_masks=not shape.causal_prompt,
            causal_prompt=shape.causal_prompt,
            shift=shape.shift,
            attention=padding_mask if encoder else both_directions(model),
            checkpointing=call.checkpointing,
        )
        prompts = [[1] * max(1, call.prompt - (row % 2)) for row in range(call.batch)]
        lengths = [call.tokens] * call.batch
        self.denoiser = TransformerDenoiser.bind(parts, prompts, lengths, call.layers)
        self.bound: Denoiser = self.denoiser
        scale = call.config.model.cfg_scale
        if scale > 0:
            masks = [[mask] * len(prompt) for prompt in prompts]
            without = TransformerDenoiser.bind(parts, masks, lengths, call.layers)
            self.bound = GuidedDenoiser(self.denoiser, without, scale)
        self.operator = ConstantGradient() if reward is None else _MeanReward(call, reward, device)
        block = call.block_length
        self.canvas = Canvas.open(
            lengths,
            mask_id=mask,
            fill_id=fill,
            stop_ids=(stop,),
            block_length=block,
            device=device,
        )
        rows = torch.arange(call.batch, device=device)
        self.noise = Noise(rows, torch.zeros_like(rows))
        # Nothing ends a step or an answer early: a plan is an upper bound.
        endless: dict[str, Any] = {"eos_penalty": 1e4}
        if call.inner_steps:
            endless |= {"trust_region": 1e9, "gradient_gate": 0.0}
        self.config = call.config.replace(**endless)

    def run(self) -> Cost:
        """Run the whole call."""
        method = APS() if self.config.sampler.steers else Ancestral()
        return run(method, self.bound, self.operator, self.canvas, self.config, self.noise).cost

    def replay_saved(self) -> int:
        """Bytes kept by one replay of the adapted layers, for its backward."""
        # What is kept of the prompts is computed in `run`, as in a call.
        denoiser = replace(self.denoiser, prefix=copy(self.denoiser.prefix))
        phi: Any = denoiser.new_adapter(self.config, self.noise)
        state = denoiser.trunk(self.canvas.z)
        rows, cols = (self.canvas.z == denoiser.mask_id).nonzero().unbind(-1)
        weights = [*denoiser.parts.model.parameters(), phi.adam.value]
        return saved_bytes(lambda: phi.logits(denoiser, state, (rows, cols)), weights)


def saved_bytes(job: Callable[[], Any], exclude: Iterable[Tensor] = ()) -> int:
    """Bytes of the distinct storages that autograd keeps for the backward pass of `job()`'s result,
    without those of `exclude` (weights)."""
    known = {tensor.untyped_storage()._cdata for tensor in exclude}
    held: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage._cdata] = weakref.ref(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = job()
    alive = {at: storage.nbytes() for at, ref in held.items() if (storage := ref()) is not None}
    del result
    return sum(size for at, size in alive.items() if at not in known)


@dataclass(frozen=True)
class Measured:
    """The result of `measure`; see the module.

    Attributes:
        replay_saved: bytes kept for the backward pass by one replay at the first step.
        flops: of the whole call.
        peak: peak bytes of live tensors made by the call.
        cost: the passes, as counted by `Cost`.
    """

    replay_saved: int
    flops: float
    peak: int
    cost: Cost


def measure(call: Call) -> Measured:
    """Run the call on random weights and count its cost."""
    setting = Setting(call)
    saved = setting.replay_saved() if call.lora is not None else 0
    with FlopCounter() as flops, Moments() as held:
        cost = setting.run()
    return Measured(saved, flops.total, max(held.most.values()), cost)
