"""`aps models`: what is supported, and what each model needs."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

__all__ = ["SUPPORTED", "Supported", "add_parser", "models_command"]


@dataclass(frozen=True)
class Supported:
    """A family of checkpoints.

    Attributes:
        names: published ids, or what is meant.
        family: as in `docs/models.md`.
        layout: the stock class of transformers that runs it.
        shift: whether position i is predicted at i - 1.
        shape: a preset of `planning.shape`; None where sizes vary.
        needs: beyond the base install.
    """

    names: tuple[str, ...]
    family: str
    layout: str
    shift: bool
    shape: str | None
    needs: str


SUPPORTED = (
    Supported(("mini",), "embedded", "BertForMaskedLM", False, None, "nothing: weights are here"),
    Supported(
        (
            "Dream-org/Dream-v0-Instruct-7B",
            "Dream-org/Dream-v0-Base-7B",
            "Dream-org/Dream-Coder-v0-Instruct-7B",
            "apple/DiffuCoder-7B-cpGRPO",
        ),
        "Dream",
        "Qwen2ForCausalLM, both directions",
        True,
        "dream-7b",
        "a GPU; bitsandbytes for 8 and 4 bit",
    ),
    Supported(
        ("GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-1.5"),
        "LLaDA",
        "LlamaForCausalLM, both directions, keys renamed",
        False,
        "llada-8b",
        "a GPU; bitsandbytes for 8 and 4 bit",
    ),
    Supported(
        ("Qwen2, Qwen3 or Llama made bidirectional, e.g. of 0.6B",),
        "bidirectional LM",
        "Qwen2 / Qwen3 / LlamaForCausalLM, both directions",
        False,
        "qwen3-0.6b",
        "a mask token in its files",
    ),
    Supported(
        ("a BERT, ModernBERT or RoBERTa masked LM",),
        "masked LM",
        "BertForMaskedLM, ModernBertForMaskedLM, RobertaForMaskedLM",
        False,
        None,
        "a folder or a hub id",
    ),
)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("models", help="what is supported, and what each model needs")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=models_command)


def rows() -> list[dict[str, Any]]:
    """One record per family; weights in GiB by precision where the sizes are known."""
    from ..planning.memory import weights_bytes
    from ..planning.shape import PRESETS

    found = []
    for model in SUPPORTED:
        shape = None if model.shape is None else PRESETS[model.shape]
        sizes = None
        if shape is not None:
            sizes = {
                "bf16": round(weights_bytes(shape, 2) / 2**30, 2),
                "8bit": round(weights_bytes(shape, 2, 8) / 2**30, 2),
                "4bit": round(weights_bytes(shape, 2, 4) / 2**30, 2),
            }
        found.append(
            {
                "models": list(model.names),
                "family": model.family,
                "layout": model.layout,
                "shift": model.shift,
                "context": None if shape is None else shape.context,
                "parameters": None if shape is None else shape.parameters,
                "weights_gib": sizes,
                "needs": model.needs,
                "source": None if shape is None else shape.source,
            }
        )
    return found


def models_command(args: argparse.Namespace) -> int:
    """List them."""
    if args.json:
        print(json.dumps(rows(), indent=2))
        return 0
    for row in rows():
        print(f"{row['family']}: {', '.join(row['models'])}")
        print(f"  runs as   {row['layout']}{'; output shifted by one' if row['shift'] else ''}")
        if row["weights_gib"] is not None:
            sizes = ", ".join(f"{kind} {gib:.1f}" for kind, gib in row["weights_gib"].items())
            print(f"  weights   {sizes} GiB ({row['parameters'] / 1e9:.2f} B; {row['source']})")
        print(f"  needs     {row['needs']}")
    print("\nMemory and time of a call: aps plan --model NAME --gpu 24GB")
    return 0
