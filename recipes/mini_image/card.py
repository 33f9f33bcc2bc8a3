"""The model card of an image model, with all figures taken from `metrics.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["card"]

_SETS = {
    "garments": """Fashion-MNIST (Xiao et al. 2017, MIT licence), padded from 28 to 32 pixels with
black. Trained on the first 58,000 training images; the other 2,000 are for tuning, and the 10,000
test images were never trained on.""",
    "portraits": """procedural portraits drawn by DiceBear 9 (code MIT) at 64 pixels in colour, in
three designs: "Personas by Draftbit" by Draftbit (https://personas.draftbit.com, CC BY 4.0),
"ToonHead" by Johan Melin (CC BY 4.0) and "Open Peeps" by Pablo Stanley (CC0 1.0). Backgrounds and
pixel size were changed. Held out are exact combinations of style, hair and clothing colour: one in
twenty for tests alone, one in twenty for tuning alone.""",
}

_FILES = {
    "garments": """the unpacked Debian package `dataset-fashion-mnist` (`apt-get download` and
`dpkg -x` need no rights)""",
    "portraits": """what `node recipes/mini_image/portraits.mjs DATA 42000` draws (its head says
what it needs)""",
}


def card(results: dict[str, Any], folder: Path) -> str:
    """Markdown from the contents of `metrics.json` and the sizes in `folder`."""
    name, tokens = results["set"], results["tokenizer"]
    sizes = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    grid = sizes["size"] // sizes["factor"]
    fitted = tokens["fitted tokens"]
    trained = ", ".join(
        f"{part} {count:,} steps of {results['recipes'][part]['batch']} images"
        for part, count in results["steps"].items()
    )
    commands = "\n".join(
        f"    python -m recipes.mini_image.train {name} {part} --data DATA --work WORK"
        for part in results["steps"]
    )
    megabytes = sum(results["bytes"].values()) / 1e6
    text = f"""# Mini-image: {name}

{grid**2} tokens of {sizes["bits"]} bits for an image of {sizes["size"]} x {sizes["size"]} pixels,
by a lookup-free quantised tokenizer; a masked transformer over the tokens, conditional on
attributes; and a small classifier that judges and measures. {megabytes:.1f} MB, bfloat16.

**Data**: {_SETS[name.removesuffix("-large")]}

**Training** (`recipes/mini_image`, one CPU core or a GPU): {trained}. Each command resumes where
it stopped, and `--steps` extends a budget:

{commands}
    python -m recipes.mini_image.export {name} --data DATA --work WORK --out FOLDER

`DATA` holds {_FILES[name.removesuffix("-large")]}.

## Measured on {tokens["images"]:,} held-out images (`{results["split"]}`)

| tokenizer | |
|---|---|
| PSNR of reconstructions, mean over images | {tokens["psnr"]:.2f} dB |
| SSIM | {tokens["ssim"]:.3f} |
| codes in use | {100 * tokens["codes used"]:.1f}% of {2 ** sizes["bits"]:,} |
| perplexity of the codes | {tokens["code perplexity"]:.0f} |
| tokens that survive decoding and encoding again | {100 * tokens["tokens surviving"]:.1f}% |
| tokens fitted to {fitted["images"]} images by gradient | {fitted["psnr"]:.2f} dB, \
where the encoder's give {fitted["psnr of the encoder's"]:.2f} |
"""
    if "prior" in results:
        nats = results["prior"]["nats a token"]
        shares = [key for key in nats if key.replace(".", "").isdigit()]
        text += f"""
Cross-entropy of the prior in nats a masked token, by the share of tokens that is masked; without
attributes {nats["0.5 unconditional"]:.2f} at 0.5 and {nats["1 unconditional"]:.2f} at 1; bound
{nats["bound"]:.0f} nats an image.

| {" | ".join(shares)} |
|{"---|" * len(shares)}
| {" | ".join(f"{nats[key]:.2f}" for key in shares)} |
"""
    if "classifier" in results:
        judged = results["classifier"]
        real, again = judged["accuracy"], judged["accuracy on reconstructions"]
        samples = results.get("prior", {}).get("accuracy of samples", {})
        heads = [f"samples, w = {scale}" for scale in samples]
        text += f"""
How often the classifier finds what an image is, in %. Samples are drawn with those attributes in
16 steps at temperature 1 and guidance scale w.

| attribute | images | reconstructions | {" | ".join(heads)} |
|---|---|---|{"---|" * len(heads)}
"""
        for key in real:
            found = "".join(f" {100 * samples[scale][key]:.0f} |" for scale in samples)
            text += f"| {key} | {100 * real[key]:.1f} | {100 * again[key]:.1f} |{found}\n"
    return text
