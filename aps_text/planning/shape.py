"""Sizes of a transformer, from a preset's name or a `config.json`; nothing is loaded.

Three layouts are known, which differ in what a backward pass has to keep (see `memory`):

    llama       RMSNorm before each half, rotary positions, gated MLP (Dream, LLaDA, Qwen3)
    bert        LayerNorm after each half, learned positions, GELU MLP, a transform before the head
    modernbert  LayerNorm before each half, rotary positions, gated MLP, q, k, v in one map, a
                transform before the head; layers attend globally and locally in turn
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["PRESETS", "ModelShape", "find_shape", "from_config"]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A transformer's sizes.

    Attributes:
        name: for reports.
        layout: `llama`, `bert` or `modernbert`.
        layers, hidden, heads, kv_heads, head_dim, ffn: N, d, H, KV, d_h and the MLP's inner width.
        vocab: K, rows of the embedding and, where there is a token head, the head's width.
        tied: the head is the embedding (no weights of its own).
        context: positions there are.
        limit: most positions in use, where that is less.
        token_head: False for rewards, which have one number (or a mean vector) instead.
        attention_bias: q, k and v have biases (Qwen2, BERT).
        qk_norm: heads are normalised before attention (Qwen3).
        shift: 1 if the prediction for i is the head's output at i - 1 (Dream).
        stored_bytes: of a number as the model is loaded when no dtype is asked for.
        source: where the numbers come from.
    """

    name: str
    layout: str = "llama"
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool = False
    context: int = 2048
    limit: int | None = None
    token_head: bool = True
    attention_bias: bool = False
    qk_norm: bool = False
    shift: int = 0
    stored_bytes: int = 2
    source: str = "config.json"

    @property
    def attention_width(self) -> int:
        """H d_h, the width of queries and of the attention's output."""
        return self.heads * self.head_dim

    @property
    def linears(self) -> list[tuple[int, int]]:
        """`(in, out)` of a layer's linear maps: q, k, v first."""
        d, wide, narrow = self.hidden, self.attention_width, self.kv_heads * self.head_dim
        mlp = [(d, self.ffn)] * (1 if self.layout == "bert" else 2) + [(self.ffn, d)]
        return [(d, wide), (d, narrow), (d, narrow), (wide, d), *mlp]

    @property
    def maps(self) -> list[tuple[int, int]]:
        """`(in, out)` of what LoRA is added to: `linears`, some of them joined."""
        d, f = self.hidden, self.ffn
        if self.layout == "modernbert":
            return [(d, 3 * d), (d, d), (d, 2 * f), (f, d)]
        return self.linears

    @property
    def layer_linear_parameters(self) -> int:
        """Weights of one layer's linear maps; what 8- and 4-bit bases compress."""
        return sum(i * o for i, o in self.linears)

    @property
    def parameters(self) -> int:
        """All weights, exactly."""
        d, layer = self.hidden, self.layer_linear_parameters
        embedding = self.vocab * d
        head = self.vocab * d if self.token_head and not self.tied else 0
        if self.layout == "bert":
            layer += sum(o for _, o in self.linears) + 4 * d
            embedding += (self.context + 2) * d + 2 * d
            head += d * d + 3 * d + self.vocab if self.token_head else 0
            return self.layers * layer + embedding + head
        if self.layout == "modernbert":  # the first layer has one norm
            head = d * d + d + self.vocab if self.token_head else 0
            return self.layers * (layer + 2 * d) + embedding + d + head
        layer += 2 * d + (2 * self.head_dim if self.qk_norm else 0)
        if self.attention_bias:
            layer += sum(o for _, o in self.linears[:3])
        return self.layers * layer + embedding + head + d


_DREAM = ModelShape(
    name="Dream-7B",
    layers=28,
    hidden=3584,
    heads=28,
    kv_heads=4,
    head_dim=128,
    ffn=18944,
    vocab=152064,
    attention_bias=True,
    shift=1,
    source="config.json of Dream-org/Dream-v0-Instruct-7B",
)
_LLADA = ModelShape(
    name="LLaDA-8B",
    layers=32,
    hidden=4096,
    heads=32,
    kv_heads=32,
    head_dim=128,
    ffn=12288,
    vocab=126464,
    context=4096,
    source="config.json of GSAI-ML/LLaDA-8B-Instruct",
)
_QWEN3 = ModelShape(
    name="Qwen3-0.6B",
    layers=28,
    hidden=1024,
    heads=16,
    kv_heads=8,
    head_dim=128,
    ffn=3072,
    vocab=151936,
    tied=True,
    context=40960,
    qk_norm=True,
    source="config.json of Qwen/Qwen3-0.6B",
)
_MINILM = ModelShape(
    name="MiniLM-L6",
    layout="bert",
    layers=6,
    hidden=384,
    heads=12,
    kv_heads=12,
    head_dim=32,
    ffn=1536,
    vocab=30522,
    tied=True,
    context=512,
    attention_bias=True,
    token_head=False,
    source="config.json of all-MiniLM-L6-v2 (the relevance reward)",
)


def _skywork(size: str, **sizes: Any) -> ModelShape:
    return replace(
        _QWEN3,
        name=f"Skywork-Reward-V2-Qwen3-{size}",
        token_head=False,
        source=f"config.json of Qwen/Qwen3-{size}, the base of Skywork/Skywork-Reward-V2-Qwen3",
        **sizes,
    )


PRESETS: dict[str, ModelShape] = {
    "dream-7b": _DREAM,
    "llada-8b": _LLADA,
    "qwen3-0.6b": _QWEN3,
    "skywork-0.6b": _skywork("0.6B"),
    "skywork-1.7b": _skywork("1.7B", hidden=2048, ffn=6144),
    "skywork-4b": _skywork("4B", layers=36, hidden=2560, heads=32, ffn=9728),
    "bert-base": replace(
        _MINILM,
        name="BERT-base",
        stored_bytes=4,
        layers=12,
        hidden=768,
        head_dim=64,
        ffn=3072,
        token_head=True,
        source="config.json of google-bert/bert-base-uncased",
    ),
    "minilm": _MINILM,
}

# Published names with the shape of a preset; compared in lower case, without the owner.
_ALIASES = {
    "dream": "dream-7b",
    "dream-v0-instruct-7b": "dream-7b",
    "dream-v0-base-7b": "dream-7b",
    "dream-coder-v0-instruct-7b": "dream-7b",
    "dream-coder-v0-base-7b": "dream-7b",
    "diffucoder-7b-base": "dream-7b",
    "diffucoder-7b-instruct": "dream-7b",
    "diffucoder-7b-cpgrpo": "dream-7b",
    "llada": "llada-8b",
    "llada-8b-instruct": "llada-8b",
    "llada-8b-base": "llada-8b",
    "llada-1.5": "llada-8b",
    "skywork-reward-v2-qwen3-0.6b": "skywork-0.6b",
    "skywork-reward-v2-qwen3-1.7b": "skywork-1.7b",
    "skywork-reward-v2-qwen3-4b": "skywork-4b",
    "bert-base-uncased": "bert-base",
    "relevance": "minilm",
}


def find_shape(name: str) -> ModelShape:
    """The shape of a preset, a published name (`Dream-org/Dream-v0-Instruct-7B`), `mini`, a folder
    with a `config.json`, or such a file.

    Raises:
        ValueError: none of these; or a `config.json` that lacks a size.
    """
    key = name.lower().rstrip("/").rsplit("/", 1)[-1]
    path = Path(__file__).parent.parent / "weights" / "mini_text" if name == "mini" else Path(name)
    file = path if path.suffix == ".json" else path / "config.json"
    if file.is_file():
        shape = from_config(json.loads(file.read_text()), name=path.name)
        own = file.parent / "aps.json"
        settings = json.loads(own.read_text()) if own.is_file() else {}
        return replace(shape, limit=settings.get("context"))
    key = _ALIASES.get(key, key)
    if key in PRESETS:
        return PRESETS[key]
    raise ValueError(
        f"no shape for {name!r}: give a folder with a config.json, or one of {', '.join(PRESETS)}"
    )


def from_config(config: Mapping[str, Any], name: str = "model") -> ModelShape:
    """The shape in a Hugging Face or LLaDA `config.json`.

    Raises:
        ValueError: a layout other than Llama's and BERT's, or a size that is not there.
    """
    kind = str(config.get("model_type", "")).lower().removeprefix("a2d-")
    if kind == "llada":
        names = {"layers": "n_layers", "hidden": "d_model", "heads": "n_heads"}
        names |= {"ffn": "mlp_hidden_size", "context": "max_sequence_length"}
        kv, tied = config.get("n_kv_heads"), bool(config.get("weight_tying", False))
        vocab = config.get("embedding_size") or config.get("vocab_size")
    else:
        names = {"layers": "num_hidden_layers", "hidden": "hidden_size"}
        names |= {"heads": "num_attention_heads", "ffn": "intermediate_size"}
        names |= {"context": "max_position_embeddings"}
        kv, tied = config.get("num_key_value_heads"), bool(config.get("tie_word_embeddings", False))
        vocab = config.get("vocab_size")
    encoders = ("bert", "roberta", "xlm-roberta", "modernbert")
    known = ("dream", "llada", "llama", "qwen2", "qwen3", *encoders)
    if kind not in known:
        raise ValueError(f"model_type {kind!r} of {name!r} has no plan; known: {', '.join(known)}")
    absent = [key for key in names.values() if not isinstance(config.get(key), int)]
    if absent or not isinstance(vocab, int):
        raise ValueError(f"the config.json of {name!r} lacks {(absent or ['vocab_size'])[0]!r}")
    sizes = {field: int(config[key]) for field, key in names.items()}
    stored = config.get("dtype") or config.get("torch_dtype")
    architecture = str((config.get("architectures") or [""])[0])
    is_bert = kind in encoders
    return ModelShape(
        name=name,
        layout="modernbert" if kind == "modernbert" else "bert" if is_bert else "llama",
        kv_heads=int(kv or sizes["heads"]),
        head_dim=int(config.get("head_dim") or sizes["hidden"] // sizes["heads"]),
        vocab=vocab,
        tied=is_bert or tied,
        token_head=not architecture.endswith(("ForSequenceClassification", "BertModel")),
        attention_bias=(is_bert and kind != "modernbert")
        or kind in ("dream", "qwen2")
        or bool(config.get("attention_bias", False)),
        qk_norm=kind == "qwen3",
        shift=int(kind == "dream"),
        stored_bytes=4 if is_bert or stored == "float32" else 2,
        source=f"config.json of {name}",
        **sizes,
    )
