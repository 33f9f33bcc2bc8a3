"""Sizes of a transformer, from a preset's name or a `config.json`, without loading a model.

Three layouts are known, which differ in the tensors a backward pass needs (see `layers`):

    llama       RMSNorm before each half, rotary positions, gated MLP (Dream, LLaDA, Qwen3)
    bert        LayerNorm after each half, learned positions, GELU MLP, a transform before the head
    modernbert  LayerNorm before each half, rotary positions, gated MLP, q, k, v in one map, a
                transform before the head; layers alternate between global and local attention
"""

from __future__ import annotations

import json
import re
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
        vocab: K, rows of the embedding and, with a token head, its width.
        tied: the head is the embedding (no weights of its own).
        context: number of position embeddings, or the length the model was made for.
        limit: maximal number of positions in use, if less.
        new_tokens: default length of an answer in tokens.
        token_head: False for rewards, whose output is a number (or a mean vector).
        attention_bias: q, k and v have biases (Qwen2, BERT).
        qk_norm: heads are normalised before attention (Qwen3).
        shift: 1 if the prediction for i is the head's output at i - 1 (Dream).
        stored_bytes: bytes of a number if the model is loaded without a dtype.
        source: the origin of the numbers.
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
    new_tokens: int = 128
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
    def kv_width(self) -> int:
        """Width of the keys and of the values: heads of keys times head dimension."""
        return self.kv_heads * self.head_dim

    @property
    def maps(self) -> list[tuple[int, int]]:
        """`(in, out)` of a layer's linear projections, which LoRA adapts: q, k, v (one module in
        ModernBERT), the output's, and the MLP's."""
        d, f, wide, narrow = self.hidden, self.ffn, self.attention_width, self.kv_width
        if self.layout == "modernbert":
            return [(d, 3 * d), (d, d), (d, 2 * f), (f, d)]
        mlp = [(d, f)] * (1 if self.layout == "bert" else 2) + [(f, d)]
        return [(d, wide), (d, narrow), (d, narrow), (wide, d), *mlp]

    @property
    def map_weights(self) -> int:
        """Weights of a layer's linear projections, which 8 and 4 bit compress."""
        return sum(i * o for i, o in self.maps)

    @property
    def parameters(self) -> int:
        """The exact number of parameters."""
        d, layer = self.hidden, self.map_weights
        embedding = self.vocab * d
        head = self.vocab * d if self.token_head and not self.tied else 0
        if self.layout == "bert":
            layer += sum(o for _, o in self.maps) + 4 * d
            embedding += (self.context + 2) * d + 2 * d
            head += d * d + 3 * d + self.vocab if self.token_head else 0
            return self.layers * layer + embedding + head
        if self.layout == "modernbert":  # the first layer has one norm
            head = d * d + d + self.vocab if self.token_head else 0
            return self.layers * (layer + 2 * d) + embedding + d + head
        layer += 2 * d + (2 * self.head_dim if self.qk_norm else 0)
        if self.attention_bias:
            layer += sum(o for _, o in self.maps[:3])
        return self.layers * layer + embedding + head + d


def _preset(name: str, source: str, sizes: tuple[int, ...], **other: Any) -> ModelShape:
    fields = "layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "context"
    known: dict[str, Any] = dict(zip(fields, sizes, strict=True))
    return ModelShape(name=name, source=f"config.json of {source}", **known, **other)


def _skywork(size: str, sizes: tuple[int, ...]) -> ModelShape:
    source = f"Qwen/Qwen3-{size}, the base of Skywork/Skywork-Reward-V2-Qwen3"
    name, other = f"Skywork-Reward-V2-Qwen3-{size}", {**_QWEN3, "token_head": False}
    return _preset(name, source, sizes, **other)


_QWEN3 = {"tied": True, "qk_norm": True}
_BERT = {"layout": "bert", "tied": True, "attention_bias": True, "new_tokens": 24}

PRESETS: dict[str, ModelShape] = {
    "dream-7b": _preset(
        "Dream-7B",
        "Dream-org/Dream-v0-Instruct-7B",
        (28, 3584, 28, 4, 128, 18944, 152064, 2048),
        attention_bias=True,
        shift=1,
    ),
    "llada-8b": _preset(
        "LLaDA-8B", "GSAI-ML/LLaDA-8B-Instruct", (32, 4096, 32, 32, 128, 12288, 126464, 4096)
    ),
    "qwen3-0.6b": _preset(
        "Qwen3-0.6B", "Qwen/Qwen3-0.6B", (28, 1024, 16, 8, 128, 3072, 151936, 40960), **_QWEN3
    ),
    "skywork-0.6b": _skywork("0.6B", (28, 1024, 16, 8, 128, 3072, 151936, 40960)),
    "skywork-1.7b": _skywork("1.7B", (28, 2048, 16, 8, 128, 6144, 151936, 40960)),
    "skywork-4b": _skywork("4B", (36, 2560, 32, 8, 128, 9728, 151936, 40960)),
    "bert-base": _preset(
        "BERT-base",
        "google-bert/bert-base-uncased",
        (12, 768, 12, 12, 64, 3072, 30522, 512),
        stored_bytes=4,
        **_BERT,
    ),
    "minilm": _preset(
        "MiniLM-L6",
        "all-MiniLM-L6-v2 (the relevance reward)",
        (6, 384, 12, 12, 32, 1536, 30522, 512),
        token_head=False,
        **_BERT,
    ),
}

# Published names with the shape of a preset; compared in lower case, without the owner.
_PUBLISHED = {
    "dream-7b": r"dream|dream-(coder-)?v0-(instruct|base)-7b|diffucoder-7b-(base|instruct|cpgrpo)",
    "llada-8b": r"llada|llada-8b-(instruct|base)|llada-1\.5",
    "bert-base": r"bert-base-uncased",
    "minilm": r"relevance",
}
# LLaDA's names for fields that the other configurations share.
_LLADA = {
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "mlp_hidden_size": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "embedding_size": "vocab_size",
    "weight_tying": "tie_word_embeddings",
}


def find_shape(name: str) -> ModelShape:
    """The shape of a preset, a published name (`Dream-org/Dream-v0-Instruct-7B`), `mini`, a folder
    with a `config.json`, or such a file.

    Raises:
        ValueError: none of these, or a `config.json` that lacks a size.
    """
    key = name.lower().rstrip("/").rsplit("/", 1)[-1].replace("-reward-v2-qwen3", "")
    path = Path(__file__).parent.parent / "weights" / "mini_text" if name == "mini" else Path(name)
    file = path if path.suffix == ".json" else path / "config.json"
    if file.is_file():
        shape = from_config(json.loads(file.read_text()), name=path.name)
        own = file.parent / "aps.json"
        settings = json.loads(own.read_text()) if own.is_file() else {}
        tokens = settings.get("max_new_tokens", shape.new_tokens)
        return replace(shape, limit=settings.get("context"), new_tokens=tokens)
    for preset, shape in PRESETS.items():
        if key == preset or re.fullmatch(_PUBLISHED.get(preset, preset), key):
            return shape
    raise ValueError(
        f"no shape for {name!r}: give a folder with a config.json, or one of {', '.join(PRESETS)}"
    )


def from_config(config: Mapping[str, Any], name: str = "model") -> ModelShape:
    """The shape in a Hugging Face or LLaDA `config.json`.

    Raises:
        ValueError: a `model_type` of no known layout, or a missing size.
    """
    kind = str(config.get("model_type", "")).lower().removeprefix("a2d-")
    encoders = ("bert", "roberta", "xlm-roberta", "modernbert")
    known = ("dream", "llada", "llama", "qwen2", "qwen3", *encoders)
    if kind not in known:
        raise ValueError(f"model_type {kind!r} of {name!r} has no plan; known: {', '.join(known)}")
    own = {ours: config.get(theirs) for theirs, ours in _LLADA.items()}
    config = {**config, **{key: value for key, value in own.items() if value is not None}}
    keys = {
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
        "context": "max_position_embeddings",
        "vocab": "vocab_size",
    }
    absent = [key for key in keys.values() if not isinstance(config.get(key), int)]
    if absent:
        raise ValueError(f"the config.json of {name!r} lacks {absent[0]!r}")
    sizes = {field: int(config[key]) for field, key in keys.items()}
    stored = config.get("dtype") or config.get("torch_dtype")
    architecture = str((config.get("architectures") or [""])[0])
    is_bert = kind in encoders
    return ModelShape(
        name=name,
        layout="modernbert" if kind == "modernbert" else "bert" if is_bert else "llama",
        kv_heads=int(config.get("num_key_value_heads") or sizes["heads"]),
        head_dim=int(config.get("head_dim") or sizes["hidden"] // sizes["heads"]),
        tied=is_bert or bool(config.get("tie_word_embeddings", False)),
        token_head=not architecture.endswith(("ForSequenceClassification", "BertModel")),
        attention_bias=(is_bert and kind != "modernbert")
        or kind in ("dream", "qwen2")
        or bool(config.get("attention_bias", False)),
        qk_norm=kind == "qwen3",
        shift=int(kind == "dream"),
        new_tokens=24 if is_bert else min(128, sizes["context"] // 2),
        stored_bytes=4 if is_bert or stored == "float32" else 2,
        source=f"config.json of {name}",
        **sizes,
    )
