"""Sizes of a transformer, from a preset's name or a `config.json`, without loading a model.

Three layouts are known, which differ in the tensors a backward pass needs (see `memory`):

    llama       RMSNorm before each half, rotary positions, gated MLP (Dream, LLaDA, Qwen3)
    bert        LayerNorm after each half, learned positions, GELU MLP, a transform before the head
    modernbert  LayerNorm before each half, rotary positions, gated MLP, q, k, v in one map, a
                transform before the head; layers alternate between global and local attention
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aps_rewards.links import check_links
from aps_rewards.weight_index import INDEX

from ..models.checkpoint_files import read_headers
from ..models.embedded import TEXT_MODELS, embedded_folder
from ..models.llada import SIZES
from ..tensor_files import FLOATS

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
        limit: maximal number of positions in use (of aps.json, or in training), if less.
        new_tokens: default length of an answer in tokens.
        block_length: of decoding in blocks, where the configuration has none; None is one block.
        settings: of a call that does not state them (`core.own_settings`).
        token_head: False for rewards, whose output is a number (or a mean vector).
        attention_bias: q, k and v have biases (Qwen2, BERT).
        qk_norm: heads are normalised before attention (Qwen3).
        shift: 1 if the prediction for i is the head's output at i - 1 (Dream).
        causal_prompt: attention always takes a mask, and the trunk's states of the prompt, but for
            its last `shift` positions, are computed once per run and kept (smol).
        block_causal: of a canvas in blocks the states of finished ones are kept, too (smol).
        masks_unseen: masks are attended by nobody but themselves (smol).
        quantisable: whether the model can be loaded in 8 and 4 bit.
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
    block_length: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    token_head: bool = True
    attention_bias: bool = False
    qk_norm: bool = False
    shift: int = 0
    causal_prompt: bool = False
    block_causal: bool = False
    masks_unseen: bool = False
    quantisable: bool = True
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
        d, layer, table = self.hidden, self.map_weights, self.vocab * self.hidden
        beside, head = d, 0
        if self.layout == "llama":
            layer += 2 * d + (2 * self.head_dim if self.qk_norm else 0)
            layer += sum(o for _, o in self.maps[:3]) if self.attention_bias else 0
        elif self.layout == "bert":
            layer += sum(o for _, o in self.maps) + 4 * d
            beside, head = (self.context + 4) * d, d * d + 3 * d + self.vocab
        else:  # the first layer lacks a norm, and the embedding has one
            layer, head = layer + 2 * d, d * d + d + self.vocab
        head += 0 if self.tied else table
        return self.layers * layer + table + beside + (head if self.token_head else 0)


_ENCODER: dict[str, Any] = {"tied": True, "new_tokens": 24, "stored_bytes": 4}
_BERT = {**_ENCODER, "layout": "bert", "attention_bias": True}
# By `model_type`: what its models share.
_KINDS: dict[str, dict[str, Any]] = {
    "dream": {"attention_bias": True, "shift": 1},
    "llada": {},
    "mmada": {},
    "smol": {
        **{"shift": 1, "causal_prompt": True, "block_causal": True},
        **{"masks_unseen": True, "quantisable": False},
    },
    "llama": {},
    "qwen2": {"attention_bias": True},
    "qwen3": {"qk_norm": True},
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), _BERT),
    "modernbert": {**_ENCODER, "layout": "modernbert"},
}
# By preset: model_type, N, d, H, KV, d_h, the MLP's inner width, K and the context.
_SIZES: dict[str, tuple[Any, ...]] = {
    "dream-7b": ("dream", 28, 3584, 28, 4, 128, 18944, 152064, 131072),
    "llada-8b": ("llada", 32, 4096, 32, 32, 128, 12288, 126464, 4096),
    "mmada-8b": ("mmada", 32, 4096, 32, 32, 128, 12288, 134656, 4096),
    "qwen3-0.6b": ("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960),
    "skywork-0.6b": ("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960),
    "skywork-1.7b": ("qwen3", 28, 2048, 16, 8, 128, 6144, 151936, 40960),
    "skywork-4b": ("qwen3", 36, 2560, 32, 8, 128, 9728, 151936, 40960),
    "bert-base": ("bert", 12, 768, 12, 12, 64, 3072, 30522, 512),
    "minilm": ("bert", 6, 384, 12, 12, 32, 1536, 30522, 512),
}


def _preset(key: str, name: str, source: str, **other: Any) -> tuple[str, ModelShape]:
    kind, *sizes = _SIZES[key]
    fields = "layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "context"
    known = {**_KINDS[kind], **dict(zip(fields, sizes, strict=True)), **other}
    return key, ModelShape(name=name, source=f"config.json of {source}", **known)


def _skywork(size: str) -> tuple[str, ModelShape]:
    source = f"Qwen/Qwen3-{size}, the base of Skywork/Skywork-Reward-V2-Qwen3"
    key, name = f"skywork-{size.lower()}", f"Skywork-Reward-V2-Qwen3-{size}"
    return _preset(key, name, source, tied=True, token_head=False)


PRESETS: dict[str, ModelShape] = dict(
    (
        # Trained with 2048 tokens; its config.json has room for more.
        _preset("dream-7b", "Dream-7B", "Dream-org/Dream-v0-Instruct-7B", limit=2048),
        _preset("llada-8b", "LLaDA-8B", "GSAI-ML/LLaDA-8B-Instruct"),
        _preset("mmada-8b", "MMaDA-8B", "tyfeld/MMaDA-Parallel-M"),
        _preset("qwen3-0.6b", "Qwen3-0.6B", "Qwen/Qwen3-0.6B", tied=True),
        *map(_skywork, ("0.6B", "1.7B", "4B")),
        _preset("bert-base", "BERT-base", "google-bert/bert-base-uncased"),
        _preset("minilm", "MiniLM-L6", "all-MiniLM-L6-v2 (the relevance reward)", token_head=False),
    )
)

# Published names with the shape of a preset; compared in lower case, without the owner.
_PUBLISHED = {
    "dream-7b": r"dream|dream-(coder-)?v0-(instruct|base)-7b|diffucoder-7b-(base|instruct|cpgrpo)",
    "llada-8b": r"llada|llada-8b-(instruct|base)|llada-1\.5",
    "mmada-8b": r"mmada|mmada-8b-(base|mixcot)|mmada-parallel-m",
    "qwen3-0.6b": r"qwen3-0\.6b(-diffusion-(mdlm|bd3lm)-v\d\.\d)?",
    "bert-base": r"bert-base-uncased",
    "minilm": r"relevance",
}
# The fields of which LLaDA has its own names.
_LLADA = {
    **SIZES,
    "n_kv_heads": "num_key_value_heads",
    "embedding_size": "vocab_size",
    "weight_tying": "tie_word_embeddings",
}


def find_shape(name: str) -> ModelShape:
    """The shape of a preset, a published name (`Dream-org/Dream-v0-Instruct-7B`), `mini`, `smol`, a
    folder with a `config.json`, or such a file.

    Raises:
        ValueError: none of these, or a `config.json` that lacks a size.
    """
    key = name.lower().rstrip("/").rsplit("/", 1)[-1].replace("-reward-v2-qwen3", "")
    path = embedded_folder(name) or Path(name)
    file = path if path.suffix == ".json" else path / "config.json"
    check_links(path)
    if file.is_file():
        config = json.loads(file.read_text())
        shape = as_stored(from_config(config, name=path.name), config, file.parent)
        beside = file.parent / "aps.json"
        settings = json.loads(beside.read_text()) if beside.is_file() else {}
        tokens = settings.get("max_new_tokens", shape.new_tokens)
        return replace(
            shape,
            limit=settings.get("context"),
            new_tokens=tokens,
            block_length=settings.get("block_length"),
            settings=settings.get("settings", {}),
        )
    for preset, shape in PRESETS.items():
        if key == preset or re.fullmatch(_PUBLISHED.get(preset, preset), key):
            return shape
    known = ", ".join([*TEXT_MODELS, *PRESETS])
    raise ValueError(f"no shape for {name!r}: give a folder with a config.json, or one of {known}")


def as_stored(shape: ModelShape, config: Mapping[str, Any], folder: Path) -> ModelShape:
    """The shape with the precision of the folder's weights, where config.json states none.

    Raises:
        ValueError: weights that cannot be read.
    """
    here = any((folder / name).is_file() for name in ("model.safetensors", INDEX))
    if config.get("dtype") or config.get("torch_dtype") or not here:
        return shape
    kinds = (one.kind for one in read_headers(folder, folder.name).values() if one.floating)
    first = next(kinds, None)  # as transformers does
    return shape if first is None else replace(shape, stored_bytes=FLOATS[first])


def from_config(config: Mapping[str, Any], name: str = "model") -> ModelShape:
    """The shape in a Hugging Face or LLaDA `config.json`.

    Raises:
        ValueError: a `model_type` of no known layout, or a missing size.
    """
    kind = str(config.get("model_type", "")).lower().removeprefix("a2d-")
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ValueError(f"model_type {kind!r} of {name!r} has no plan; known: {known}")
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
    fields = {
        "kv_heads": int(config.get("num_key_value_heads") or sizes["heads"]),
        "head_dim": int(config.get("head_dim") or sizes["hidden"] // sizes["heads"]),
        "tied": bool(config.get("tie_word_embeddings", False)),
        "token_head": not architecture.endswith(("ForSequenceClassification", "BertModel")),
        "attention_bias": bool(config.get("attention_bias", False)),
        "new_tokens": min(128, sizes["context"] // 2),
        "stored_bytes": {"float64": 8, "float32": 4}.get(str(stored).removeprefix("torch."), 2),
    }
    return ModelShape(
        name=name, source=f"config.json of {name}", **{**sizes, **fields, **_KINDS[kind]}
    )
