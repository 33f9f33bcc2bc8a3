"""Checks of answers: a batch gives the answers of its rows alone, and answers have no masks."""

from __future__ import annotations

from ..models.text_model import TextModel
from ..pipelines.text import APSPipeline
from .logits import QUESTIONS, tolerance
from .report import Check

__all__ = ["check_answers", "check_batch"]


def check_batch(model: TextModel, tokens: int) -> Check:
    """Check that at temperature 0 a batch of uneven prompts gives each prompt's own tokens."""
    answers = [
        APSPipeline(model, batch_size=size)
        .generate(QUESTIONS, temperature=0.0, steps=tokens, max_new_tokens=tokens)
        .token_ids
        for size in (len(QUESTIONS), 1)
    ]
    differ = sum(
        sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
        for a, b in zip(*answers, strict=True)
    )
    figure = f"{differ} of {sum(map(len, answers[1]))} tokens differ from each prompt alone"
    if differ and tolerance(model) > 0.01:
        return Check(
            "batch", "SKIP", f"{figure}; cannot tell: rounding turns near ties; try float32"
        )
    return Check("batch", "FAIL" if differ else "PASS", figure)


def check_answers(model: TextModel, tokens: int) -> Check:
    """Check that neither greedy nor high-temperature answers are empty, or have a mask or an
    unknown id."""
    pipe = APSPipeline(model, batch_size=len(QUESTIONS))
    known = set(model.tokenizer.get_vocab().values())
    never = {model.parts.mask_id}
    drawn: list[list[int]] = []
    for options in ({"temperature": 0.0}, {"temperature": 1.5, "top_p": 1.0}):
        drawn += pipe.generate(
            QUESTIONS, steps=max(1, tokens // 2), max_new_tokens=tokens, **options
        ).token_ids
    emitted = [token for answer in drawn for token in answer]
    bad = [token for token in emitted if token in never or token not in known]
    empty = sum(not answer for answer in drawn)
    figure = (
        f"{len(bad)} of {len(emitted)} tokens are masks or no words, "
        f"{empty} of {len(drawn)} answers are empty"
    )
    return Check("answers", "FAIL" if bad or empty else "PASS", figure)
