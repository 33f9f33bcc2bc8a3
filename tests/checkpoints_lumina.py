"""Tiny Lumina-DiMOO checkpoints with the published keys, ids and folders, and random weights.

The names of the seven tokens behind LLaDA's are partly guesses (126351 to 126353), and so are the
fields of config.json beyond LLaDA's: the published files were not read.
"""

from __future__ import annotations

from pathlib import Path

from checkpoints import TRAP, llada_config, llada_shapes, random_tensors, write, write_weights
from checkpoints_amused import VERSION, drawn, shapes_of, vqvae_config
from checkpoints_mmada import MASK, TEXT_SIZE, tokenizer_files
from safetensors.torch import save_file

NAMES = ("<boi>", "<eoi>", "<uncondition>", "<system>", "</system>", "<answer>", "</answer>")
SIZE = 126356 + 8192  # the published code takes the last 8,192 logits for codes, less 126356


def write_lumina(folder: Path, *, seed=0, unit=0.05, size=SIZE, named=False, **changes) -> Path:
    """A folder as `Alpha-VLLM/Lumina-DiMOO`.

    Args:
        size: rows of the embedding.
        named: whether the tokenizer names the image tokens, too.
        changes: of config.json.
    """
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tokenizer_files(TEXT_SIZE).items():
        write(folder, name, text)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    images = [f"<|image_{code}|>" for code in range(8192 if named else 0)]
    tokenizer.add_tokens([*NAMES, *images], special_tokens=True)
    tokenizer.save_pretrained(folder)
    config = llada_config({"<|endoftext|>": 126081, "<|mdm_mask|>": MASK}, layers=2, vocab=size)
    config |= {"architectures": ["LLaDAForMultiModalGeneration"], "model_type": "llada", **changes}
    write(folder, "config.json", config)
    for name in ("configuration_llada.py", "modeling_llada.py"):
        write(folder, name, TRAP)
    write_weights(folder, random_tensors(llada_shapes(config), seed), 2)
    index = {
        "_class_name": "LuminaDiMOOPipeline",
        **VERSION,
        "vqvae": ["diffusers", "VQModel"],
    }
    write(folder, "model_index.json", index)
    (folder / "vqvae").mkdir(exist_ok=True)
    config = vqvae_config()
    write(folder / "vqvae", "config.json", config)
    tensors = drawn(shapes_of("VQModel", config), seed)
    tensors["quantize.embedding.weight"] *= unit
    tensors["post_quant_conv.weight"] /= unit
    save_file(tensors, folder / "vqvae" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    return folder
