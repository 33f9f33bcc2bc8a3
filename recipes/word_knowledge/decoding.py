"""A small confidence decoder, for monitoring the model during training.

It is not the library's sampler: greedy or tempered draws, the most confident positions first, equal
numbers per step. It has the library's stop rule: a committed stop token at `p` turns all later
positions into `[PAD]`.
"""

from __future__ import annotations

import torch
from transformers import BertForMaskedLM, PreTrainedTokenizerBase

from aps_text.text.capitals import join_punctuation, restore_capitals
from recipes.word_knowledge.masking import TokenIds, cut_after_stop

__all__ = ["answer_text", "decode"]


def answer_text(tokenizer: PreTrainedTokenizerBase, canvas: list[int], ids: TokenIds) -> str:
    """The sentence on a canvas up to its stop token, with capitals and spacing restored."""
    if ids.stop in canvas:
        canvas = canvas[: canvas.index(ids.stop)]
    special = {ids.pad, ids.cls, ids.mask}
    text = tokenizer.decode([i for i in canvas if i not in special])
    return restore_capitals(join_punctuation(text))


@torch.no_grad()
def decode(
    model: BertForMaskedLM,
    tokenizer: PreTrainedTokenizerBase,
    questions: list[str],
    *,
    steps: int = 8,
    canvas_length: int = 24,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 64,
    ids: TokenIds = TokenIds(),  # noqa: B008
) -> list[str]:
    """Answers to `questions` in `steps` denoising steps (at most `canvas_length`)."""
    steps = min(steps, canvas_length)
    device = model.device
    generator = torch.Generator(device).manual_seed(seed)
    order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
    answers = [""] * len(questions)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        prompts = [tokenizer(questions[r])["input_ids"] for r in rows]
        width = max(map(len, prompts)) + canvas_length
        x = torch.full((len(rows), width), ids.pad)
        place = torch.zeros(len(rows), canvas_length, dtype=torch.long)
        for i, prompt in enumerate(prompts):
            x[i, : len(prompt)] = torch.tensor(prompt)
            place[i] = torch.arange(canvas_length) + len(prompt)
        z = torch.full((len(rows), canvas_length), ids.mask, device=device)
        x, place = x.to(device), place.to(device)
        for step in range(steps):
            x.scatter_(1, place, z)
            hidden = model.bert(x, attention_mask=(x != ids.pad).long()).last_hidden_state
            at = place[..., None].expand(-1, -1, hidden.shape[-1])
            logits = model.cls(hidden.gather(1, at)).float()
            logits[..., [ids.pad, ids.unk, ids.cls, ids.mask]] = -torch.inf
            p = logits.softmax(-1)
            token = p.argmax(-1)
            if temperature > 0:
                q = (logits / temperature).softmax(-1).flatten(0, 1)
                token = torch.multinomial(q, 1, generator=generator).view_as(token)
            masked = z == ids.mask
            score = p.gather(-1, token[..., None])[..., 0].masked_fill(~masked, -1.0)
            count = (masked.sum(1).float() / (steps - step)).ceil().long()
            rank = score.argsort(1, descending=True).argsort(1)
            reveal = masked & (rank < count[:, None])
            z = cut_after_stop(torch.where(reveal, token, z), ids)
        for i, r in enumerate(rows):
            answers[r] = answer_text(tokenizer, z[i].tolist(), ids)
    return answers
