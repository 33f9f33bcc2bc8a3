"""What nobody has run yet: MMaDA and aMUSEd with their published weights, on one photograph.

    python benchmarks/mmada.py PHOTO --text "what it shows" --out FOLDER --device cuda \\
        --dtype bfloat16
    python benchmarks/mmada.py PHOTO --text "what it shows" --out FOLDER --model amused/amused-512

Estimates, not measured: MMaDA takes 17 GB of downloads, 16 GB of GPU memory for the weights and
5 GB for the decoder's gradient at 512 pixels; aMUSEd 3.5 GB of downloads and 9 GB of memory, of a
GPU or of a CPU with patience. `aps plan --image 512` plans both. It writes report.json and
sheet.png (the photograph, its tokens decoded, an image drawn from the text; for each task what was
measured, what APS and what the plain model restored), and prints four verdicts:

reconstruction   PSNR of the encoded and decoded photograph. MAGVIT-v2 in a right layout gives more
                 than 18 dB; bits in another order or other ranges give noise, below 12. The same
                 holds for aMUSEd's VQModel.
window           nats per token of half of the photograph's tokens given the other half and the
                 text. Guessing is log 8192 = 9.01. Image tokens that begin at len(tokenizer) must
                 be below 8, and below those of a window that begins at llm_vocab_size; of aMUSEd,
                 whose image tokens begin at 0, below 8. Lumina-DiMOO's begin at 126356, and are
                 compared with a window that begins as MMaDA's.
text             the same without the text: not lower.
restore          chi2 of sr4 and box, 1 where all is explained: APS is below the plain model.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text import RestorationPipeline
from aps_text.images.files import contact_sheet, read_image, square, write_image
from aps_text.images.metrics import psnr
from aps_text.models.amused import AmusedPrior
from aps_text.models.lumina import LuminaPrior
from aps_text.models.mmada import MmadaPrior
from aps_text.pipelines.image_loading import is_diffusers

GUESS = 9.01
WRONG_FIRST = {MmadaPrior: 126464, LuminaPrior: 126349}
"""Where image tokens would begin by `llm_vocab_size`, and as MMaDA's."""


@torch.no_grad()
def nats(prior: MmadaPrior | AmusedPrior | LuminaPrior, ids: Tensor, text: str) -> float:
    """Mean negative log-probability of a random half of tokens `(1, L)`, given the other half."""
    g = torch.Generator().manual_seed(0)
    hidden = torch.randperm(ids.shape[1], generator=g)[: ids.shape[1] // 2].sort().values
    hidden = hidden.to(ids.device)
    z = ids.clone()
    z[0, hidden] = prior.size
    denoiser = prior.denoiser([text], ids.shape[1])
    where = (torch.zeros_like(hidden), hidden)
    logits = denoiser.logits(denoiser.trunk(z), where)
    return float(-logits.log_softmax(-1).gather(1, ids[0, hidden, None]).mean())


def measure(pipe: RestorationPipeline, photo: Tensor, text: str, **options: Any) -> dict[str, Any]:
    """The report, with the rows of the sheet under `rows`."""
    model, prior = pipe.model, pipe.model.prior
    size, windowed = pipe.size[1], isinstance(prior, MmadaPrior | LuminaPrior)
    truth = square(photo, size).to(model.device)
    with torch.no_grad():
        ids = model.tokenizer.encode(truth)
        again = model.tokenizer.decode_ids(ids).clamp(-1, 1)
    drawn = pipe.paint(text, cfg_scale=3.5, steps=options["steps"])
    report: dict[str, Any] = {
        "model": model.name,
        "torch": torch.__version__,
        "device": str(model.device),
        "size": size,
        "first": prior.first if windowed else 0,
        "reconstruction_db": float(psnr(again, truth)),
        "nats": nats(prior, ids, text),
        "nats_without_text": nats(prior, ids, ""),
        "paint_seconds": drawn.cost.seconds,
        "tasks": {},
        "rows": [[truth[0], again[0], drawn.images[0]]],
    }
    wrong = WRONG_FIRST.get(type(prior))
    if wrong is not None and wrong + prior.size <= prior.text.parts.vocab_size:
        report["nats_displaced"] = nats(replace(prior, first=wrong), ids, text)
    for task in ("sr4", "box-inpainting"):
        measured = pipe.measure(truth, task)
        plain = pipe(measured, text, method="plain", steps=options["steps"])
        found = pipe(measured, text, **options)
        report["tasks"][task] = {
            "psnr": float(psnr(found.images[:, 0], truth)),
            "chi2": float(found.chi2),
            "chi2_plain": float(plain.chi2),
            "seconds": found.cost.seconds,
            "peak_memory_mb": found.cost.peak_memory_mb,
        }
        seen = F.interpolate(measured.y, (size, size)) if task == "sr4" else measured.y
        report["rows"].append([seen[0], found.images[0, 0], plain.images[0, 0]])
    report["verdicts"] = verdicts(report)
    return report


def verdicts(report: dict[str, Any]) -> dict[str, bool]:
    """What must hold for the published weights; see the module."""
    wrong = report.get("nats_displaced", GUESS)
    return {
        "reconstruction": report["reconstruction_db"] > 18,
        "window": report["nats"] < min(8.0, wrong),
        "text": report["nats"] <= report["nats_without_text"] + 0.02,
        "restore": all(row["chi2"] < row["chi2_plain"] for row in report["tasks"].values()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run it; 0 if every verdict holds, 2 with a line if it cannot be run."""
    parser = argparse.ArgumentParser(description="MMaDA or aMUSEd with their published weights")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--text", required=True, help="what the photograph shows")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="Gen-Verse/MMaDA-8B-MixCoT")
    parser.add_argument(
        "--tokenizer", help="MMaDA's; default: showlab/magvitv2; aMUSEd has its own"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--size", type=int, default=None, help="pixels (default: the model's own)")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--inner-steps", type=int, default=5)
    args = parser.parse_args(arguments)
    try:
        photo = read_image(args.photo)  # before gigabytes are read
        args.out.mkdir(parents=True, exist_ok=True)
        whole = is_diffusers(args.model, {})
        pipe = RestorationPipeline.from_pretrained(
            args.model,
            tokenizer=args.tokenizer or (None if whole else "showlab/magvitv2"),
            device=args.device,
            dtype=args.dtype,
            size=args.size,
        )
    except (ValueError, TypeError, ImportError, OSError) as error:
        parser.error(str(error))
    options = {"steps": args.steps, "inner_steps": args.inner_steps}
    report = measure(pipe, photo, args.text, **options)
    write_image(contact_sheet(report.pop("rows"), zoom=1), args.out / "sheet.png")
    (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    for name, holds in report["verdicts"].items():
        print(f"{name:<16}{'ok' if holds else 'FAILS'}")
    return 0 if all(report["verdicts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
