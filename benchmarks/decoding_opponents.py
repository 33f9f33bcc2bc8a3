"""The programs `decoding.py` compares with: Dream's published code, a plain loop, and the floor.

The published code (`modeling_dream.py`, `configuration_dream.py` and `generation_utils.py` of
Dream's checkpoint) is read from a folder given by the user; it is not part of this repository.
With transformers 5 some copies of `generation_utils.py` fail (their `validate` takes no arguments);
those in ZHZisZZ/dllm (dllm/pipelines/dream/models) run.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

NEVER = -1e9
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
)


def published(folder: Path, model, mask_id: int):
    """`generate(prompt, length, steps, **knobs)` by their code, on `model`'s own weights.

    transformers 5 lacks a rotary embedding that their code needs; it is added here as in
    transformers 4.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    def default_rope(config, device=None, **_):
        width = config.hidden_size // config.num_attention_heads
        powers = torch.arange(0, width, 2, dtype=torch.int64, device=device).float() / width
        return 1.0 / (rope_theta(config) ** powers), 1.0

    ROPE_INIT_FUNCTIONS.setdefault("default", default_rope)
    folder = folder if folder.is_dir() else folder.parent
    spec = importlib.util.spec_from_file_location(
        "published", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["published"] = importlib.util.module_from_spec(spec)
    config_class = importlib.import_module("published.configuration_dream").DreamConfig
    model_class = importlib.import_module("published.modeling_dream").DreamModel
    settings = importlib.import_module("published.generation_utils").DreamGenerationConfig
    sizes = {name: getattr(model.config, name) for name in SIZES}
    config = config_class(**sizes, rope_theta=rope_theta(model.config), pad_token_id=0)
    config._attn_implementation = "sdpa"
    theirs = model_class(config).eval().requires_grad_(False)
    theirs.load_state_dict(model.state_dict(), assign=True)
    for module in theirs.modules():  # loading under transformers 5 leaves these unset
        if hasattr(module, "rope_init_fn"):
            module.inv_freq = default_rope(config, model.device)[0]

    def no_mask(step, x, logits):
        logits[..., mask_id] = NEVER  # in place: it costs theirs nothing
        return logits

    def generate(prompt, length, steps, alg, temperature=0.0, top_p=None):
        config = settings(
            max_new_tokens=length,
            steps=steps,
            alg=alg,
            alg_temp=0.0,
            temperature=temperature,
            top_p=top_p,
            top_k=None,
            mask_token_id=mask_id,
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=0,
        )
        out = theirs.diffusion_generate(prompt, config, generation_logits_hook_func=no_mask)
        return (out if torch.is_tensor(out) else out.sequences)[:, -length:]

    return generate


def rope_theta(config) -> float:
    """The rotary base in a configuration of transformers 4 or 5."""
    nested = getattr(config, "rope_parameters", None)
    return nested["rope_theta"] if nested else config.rope_theta


def plain_loop(model, mask_id: int):
    """A straightforward `generate`: logits at every position, softmax over the whole vocabulary,
    and a full sort for top-p. It has the same reveal rule and makes the same tokens."""

    @torch.no_grad()
    def generate(prompt, length, steps, alg, temperature=0.0, top_p=None):
        z = torch.cat([prompt, prompt.new_full((len(prompt), length), mask_id)], 1)
        everything = torch.ones(len(z), 1, z.shape[1], z.shape[1], dtype=torch.bool)
        times = torch.linspace(1, 1e-3, steps + 1)
        for step in range(steps):
            masked = z == mask_id
            logits = model(input_ids=z, attention_mask=everything, use_cache=False).logits
            logits = torch.cat([logits[:, :1], logits[:, :-1]], 1)
            logits[..., mask_id] = NEVER
            logits = logits[masked]
            if temperature > 0:
                logits = logits / temperature
            if top_p is not None:
                ranked, order = logits.sort(-1, descending=True)
                total = ranked.softmax(-1).cumsum(-1)
                ranked = ranked.masked_fill(total - ranked.softmax(-1) > top_p, NEVER)
                logits = torch.empty_like(logits).scatter(-1, order, ranked)
            probs = logits.softmax(-1)
            best, tokens = probs.max(-1)
            if temperature > 0:
                tokens = torch.multinomial(probs, 1).squeeze(-1)
                best = probs.gather(-1, tokens[:, None]).squeeze(-1)
            if alg == "topk_margin":
                ranked = probs.sort(-1, descending=True).values
                best = ranked[:, 0] - ranked[:, 1]
            if alg == "entropy":
                best = (probs * (probs + 1e-10).log()).sum(-1)
            left = int(masked.sum()) // len(z)
            share = 1.0 if step + 1 == steps else float(1 - times[step + 1] / times[step])
            count = int(left * share)
            if count == 0:
                continue
            score = torch.full(z.shape, -torch.inf).masked_scatter(masked, best)
            proposal = z.masked_scatter(masked, tokens)
            at = score.topk(count, -1).indices
            z = z.scatter(1, at, proposal.gather(1, at))
        return z[:, -length:]

    return generate


def floor(model, alg: str):
    """`step(ids, masked)`: the computations that no exact decoder can avoid at temperature 0.

    All layers except the last everywhere; of the last, keys and values everywhere and the rest at
    the masked positions; the head there; of each row of logits the largest (two for `topk_margin`)
    and the normaliser. Written for a Qwen2, without any bookkeeping.
    """
    from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

    body, last = model.model, model.model.layers[-1]
    attend = last.self_attn

    @torch.no_grad()
    def step(ids, masked):
        batch, size = ids.shape
        hidden = body.embed_tokens(ids)
        places = torch.arange(size)[None].expand(batch, -1)
        cos, sin = body.rotary_emb(hidden, places)
        how = {"attention_mask": None, "is_causal": False, "position_embeddings": (cos, sin)}
        for layer in body.layers[:-1]:
            hidden = layer(hidden, **how)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        at = masked.nonzero()[:, 1].view(batch, -1) - 1  # shifted
        pick = at[..., None].expand(-1, -1, hidden.shape[-1])
        normed = last.input_layernorm(hidden)
        q, k, v = (
            maps(x).view(batch, x.shape[1], -1, attend.head_dim).transpose(1, 2)
            for maps, x in (
                (attend.q_proj, normed.gather(1, pick)),
                (attend.k_proj, normed),
                (attend.v_proj, normed),
            )
        )
        here = at[..., None].expand(-1, -1, cos.shape[-1])
        q, _ = apply_rotary_pos_emb(q, q, cos.gather(1, here), sin.gather(1, here))
        _, k = apply_rotary_pos_emb(k, k, cos, sin)
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = scaled_dot_product_attention(q, k, v, scale=attend.scaling)
        out = attend.o_proj(out.transpose(1, 2).reshape(batch, at.shape[1], -1))
        out = hidden.gather(1, pick) + out
        out = out + last.mlp(last.post_attention_layernorm(out))
        logits = model.lm_head(body.norm(out))
        return logits.topk(2, -1) if alg == "topk_margin" else logits.max(-1), logits.logsumexp(-1)

    return step
