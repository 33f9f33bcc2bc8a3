"""A weighted mean of exports: what one run learnt and another forgot stands in it.

    python -m recipes.mini_text.merge 0.6 RUN_A/export 0.4 RUN_B/export --out FOLDER

Tensor by tensor in float32 (Wortsman et al. 2022, "Model soups"); it works for runs that began with
the same weights. The weights of the mean are chosen on tuning questions. Everything but the weights
is the first export's.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

__all__ = ["merge"]

FILE = "model.safetensors"


def merge(parts: list[tuple[float, Path]], out: Path) -> None:
    """Write the weighted mean of exports to `out`, in the dtype of the first.

    Raises:
        ValueError: no part, weights that do not sum to 1, or exports of other shapes.
        FileExistsError: `out` exists.
    """
    if not parts or abs(sum(weight for weight, _ in parts) - 1) > 1e-6:
        raise ValueError(f"the weights sum to 1, got {[weight for weight, _ in parts]}")
    states = [(weight, load_file(folder / FILE)) for weight, folder in parts]
    first = states[0][1]
    for (_, state), (_, folder) in zip(states, parts, strict=True):
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in first.items()}:
            raise ValueError(f"{folder} has other tensors than {parts[0][1]}")
    shutil.copytree(parts[0][1], out)
    mean = {k: sum(w * state[k].float() for w, state in states).to(first[k].dtype) for k in first}
    save_file(mean, out / FILE, metadata={"format": "pt"})


def main() -> None:
    """Merge exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", help="WEIGHT FOLDER WEIGHT FOLDER ...")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if len(args.parts) % 2:
        parser.error(f"a folder lacks its weight, or a weight its folder: {' '.join(args.parts)}")
    pairs = zip(args.parts[::2], args.parts[1::2], strict=True)
    merge([(float(weight), Path(folder)) for weight, folder in pairs], args.out)


if __name__ == "__main__":
    main()
