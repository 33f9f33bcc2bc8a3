"""Checks of the logits: the shift, bidirectional attention, padding.

    shift    mean log p(token | the rest) of plain English, one position masked at a time, with the
             declared shift and with the other one: the declared one must be better

Differences are given relative to the spread of the logits (their standard deviation), so that one
tolerance serves any model: 1e-9 in float64, 1e-3 in float32, 0.1 in 16 bit and quantised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..models.text_model import TextModel
from ..models.transformer import TransformerDenoiser
from .report import Check

__all__ = [
    "QUESTIONS",
    "Sample",
    "check_blocks",
    "check_directions",
    "check_left_padding",
    "check_pad_keys",
    "check_shift",
    "gap",
    "tolerance",
]

# Of uneven lengths.
QUESTIONS = (
    "Who?",
    "What is a violin?",
    "Name the capital of France.",
    "Why is the sky blue during the day and dark at night, even when there are no clouds?",
    "What is the opposite of hot?",
    "How do I boil an egg so that the yolk stays soft?",
    "Is a whale a fish?",
    "Tell me in one short sentence what a library is for, and who may use it.",
)
PLAIN = (
    ("What is a violin?", "A violin is a musical instrument with four strings."),
    ("What is a dog?", "A dog is an animal that people keep in the house."),
    ("What is ice?", "Ice is water that is so cold that it is hard."),
    ("What is the capital of France?", "The capital of France is Paris."),
)
ROWS = 8  # in one pass


def tolerance(model: TextModel) -> float:
    """The root mean square difference, relative to the logits' spread, that rounding may make."""
    kinds = {p.dtype for p in model.parts.model.parameters()}
    if not kinds <= {torch.float32, torch.float64}:
        return 0.1
    return 1e-3 if torch.float32 in kinds else 1e-9


@dataclass(frozen=True)
class Sample:
    """Uneven prompts over half-filled canvases: `(B, L)` ids, and its masked positions."""

    prompts: list[list[int]]
    z: Tensor

    @classmethod
    def of(cls, model: TextModel, width: int) -> Sample:
        """A sample of plain English with every second position masked, starting at the first."""
        words = model.tokenizer(
            " ".join(answer for _, answer in PLAIN), add_special_tokens=False
        ).input_ids
        text = words * (width + len(QUESTIONS))
        z = torch.tensor([text[row : row + width] for row in range(len(QUESTIONS))])
        z[:, ::2] = model.parts.mask_id
        z = z.to(model.parts.device)
        return cls([model.encode(question) for question in QUESTIONS], z)

    @property
    def where(self) -> tuple[Tensor, Tensor]:
        """The masked positions, as `(rows, cols)`."""
        rows, width = self.z.shape
        rows_at = torch.arange(rows, device=self.z.device).repeat_interleave((width + 1) // 2)
        return rows_at, torch.arange(0, width, 2, device=self.z.device).repeat(rows)

    def bind(self, model: TextModel, layers: int | None = None) -> TransformerDenoiser:
        """The model with these prompts bound."""
        return model.bind(self.prompts, [self.z.shape[1]] * len(self.prompts), layers)

    def row(self, index: int) -> Sample:
        """The sample of one row alone."""
        return Sample([self.prompts[index]], self.z[index : index + 1])

    @torch.no_grad()
    def logits(self, model: TextModel) -> Tensor:
        """`(N, K)` at the masked positions."""
        denoiser = self.bind(model)
        return denoiser.logits(denoiser.trunk(self.z), self.where)


def gap(model: TextModel, one: Tensor, two: Tensor) -> tuple[float, float]:
    """The largest difference of logits `(N, K)`, and the root mean square over their spread."""
    keep = torch.ones(one.shape[-1], dtype=torch.bool, device=one.device)
    keep[list(model.parts.suppressed)] = False
    a, b = one[:, keep].double(), two[:, keep].double()
    spread = float(a.std().clamp_min(1e-30))
    return float((a - b).abs().max()), float((a - b).square().mean().sqrt()) / spread


def _verdict(name: str, model: TextModel, one: Tensor, two: Tensor, what: str) -> Check:
    largest, relative = gap(model, one, two)
    limit = tolerance(model)
    figure = f"{what}: logits differ by {largest:.2g} at most, {relative:.1e} of their spread"
    fine = relative <= limit  # NaN fails
    return Check(name, "PASS" if fine else "FAIL", f"{figure} (limit {limit:.0e})")


@torch.no_grad()
def check_shift(model: TextModel) -> Check:
    """Check that the declared shift predicts plain English better than the other one."""
    declared = model.parts.shift
    scores = {}
    for shift in (declared, 1 - declared):
        other = replace(model, parts=replace(model.parts, shift=shift))
        scores[shift] = torch.cat([_pseudo_likelihood(other, q, a) for q, a in PLAIN])
    right, wrong = scores[declared], scores[1 - declared]
    better = right - wrong
    error = _standard_error(better)
    figure = (
        f"shift {declared}: {float(right.mean()):.2f} nats a token, shift {1 - declared}: "
        f"{float(wrong.mean()):.2f} ({len(better)} tokens, difference {float(better.mean()):.2f} "
        f"+- {error:.2f})"
    )
    # Weights that know nothing of English prefer one of the two by chance.
    known = max(right, wrong, key=lambda scores: float(scores.mean()))
    uniform = -math.log(model.parts.vocab_size)
    if not float(known.mean()) > uniform + 3 * _standard_error(known):
        return Check("shift", "SKIP", f"cannot tell: these weights know no English; {figure}")
    if not abs(float(better.mean())) > 3 * error:
        return Check("shift", "SKIP", f"cannot tell: {figure}")
    return Check("shift", "PASS" if float(better.mean()) > 0 else "FAIL", figure)


def _standard_error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))


def _pseudo_likelihood(model: TextModel, question: str, answer: str) -> Tensor:
    """`log p(token | question and the other tokens)` of each token of the answer."""
    ids = model.tokenizer(answer, add_special_tokens=False).input_ids
    row = torch.tensor([*ids, model.stop_ids[0]], device=model.parts.device)
    found = []
    for first in range(0, len(ids), ROWS):
        at = torch.arange(first, min(first + ROWS, len(ids)), device=row.device)
        z = row.repeat(len(at), 1)
        lines = torch.arange(len(at), device=row.device)
        z[lines, at] = model.parts.mask_id
        prompts = [model.encode(question)] * len(at)
        denoiser = model.bind(prompts, [len(row)] * len(at), None)
        logits = denoiser.logits(denoiser.trunk(z), (lines, at))
        found.append(logits.log_softmax(-1)[lines, row[at]])
    return torch.cat(found).double().clamp_min(-50)  # unknown words have suppressed logits


@torch.no_grad()
def check_directions(model: TextModel, sample: Sample) -> Check:
    """Check that the first position of the canvas attends to the last one."""
    last = sample.z.clone()
    last[:, -1] = torch.where(last[:, -1] == last[0, 1], model.stop_ids[0], last[0, 1])
    rows = torch.arange(len(last), device=last.device)
    denoiser = sample.bind(model)
    one, two = (
        denoiser.logits(denoiser.trunk(z), (rows, torch.zeros_like(rows))) for z in (sample.z, last)
    )
    largest, relative = gap(model, one, two)
    figure = f"the last token moves the first position's logits by {largest:.2g}"
    return Check("directions", "PASS" if relative > 1e-7 else "FAIL", figure)


@torch.no_grad()
def check_pad_keys(model: TextModel, sample: Sample) -> Check:
    """Check that the tokens at padded positions do not change the logits."""
    denoiser = sample.bind(model)
    other = torch.where(denoiser.prompt_mask, denoiser.prompt, sample.z[0, 1])
    changed = replace(denoiser, prompt=other)
    one, two = (d.logits(d.trunk(sample.z), sample.where) for d in (denoiser, changed))
    padded = int((~denoiser.prompt_mask).sum())
    return _verdict("padded keys", model, one, two, f"{padded} padded tokens replaced")


def check_left_padding(model: TextModel, sample: Sample) -> Check:
    """Check that a row in a batch with longer ones has the same logits as alone."""
    together = sample.logits(model)
    alone = torch.cat([sample.row(index).logits(model) for index in range(len(sample.prompts))])
    return _verdict("left padding", model, together, alone, f"{len(sample.prompts)} uneven rows")


@torch.no_grad()
def check_blocks(model: TextModel, sample: Sample) -> Check:
    """Check of a block-causal model that text is read by block, and computed once.

    The logits of a half-written canvas must be those that a row has alone, computed anew, with
    other text behind its block; and neither move when the states of what stood there before are
    kept.
    """
    rows, width = sample.z.shape
    text = torch.where(sample.z == model.parts.mask_id, sample.z.roll(1, 1), sample.z)
    text[:, 0] = sample.z[0, 1]
    half, at = width // 2, torch.arange(width, device=text.device)
    begun, ended = (text.masked_fill(at >= end, model.parts.mask_id) for end in (half, half + 1))
    blocks = at.expand(rows, width)

    def logits(pick: list[int], *canvases: Tensor) -> Tensor:
        """Of the last canvas at its first mask, the same bound model having read the others."""
        prompts = [sample.prompts[row] for row in pick]
        denoiser = model.bind(prompts, [width] * len(pick), 1, blocks=blocks[pick])
        trunks = [denoiser.trunk(z[pick]) for z in canvases]
        place = torch.full((len(pick),), half + 1, device=text.device)
        return denoiser.logits(trunks[-1], (torch.arange(len(pick), device=text.device), place))

    behind = text.clone()
    behind[:, half + 1] = model.parts.mask_id
    kept = logits(list(range(rows)), begun, ended)
    alone = torch.cat([logits([row], behind) for row in range(rows)])
    return _verdict("blocks", model, kept, alone, f"{rows} rows, text kept and computed anew")
