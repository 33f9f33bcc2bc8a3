"""Baseline answers without a language model, for comparison with the model's scores.

`shuffled`: the gold answer of another question of the same stratum. `majority`: the most frequent
training answer of the question's type, in its sentence (choice: the option named first).
`nearest`: the answer of the training question nearest by MiniLM sentence embedding.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

import torch
from aps_eval.word_knowledge import Question

from recipes.word_knowledge import phrases
from recipes.word_knowledge.pruned_tokenizer import minilm_folder
from recipes.word_knowledge.wordnet_qa import KnowledgeData

__all__ = ["embed", "majority", "nearest", "shuffled"]


def shuffled(items: Sequence[Question], seed: int = 0) -> list[str]:
    """For each item, the gold answer of another question of the same stratum."""
    rng = random.Random(seed)
    answers = [""] * len(items)
    for stratum in sorted({i.stratum for i in items}):
        rows = [n for n, item in enumerate(items) if item.stratum == stratum]
        order = rows[:]
        rng.shuffle(order)
        for here, there in zip(order, order[1:] + order[:1], strict=True):
            answers[here] = items[there].gold[0]
    return answers


def majority(items: Sequence[Question], pairs: Sequence[tuple[str, str, str]]) -> list[str]:
    """The most frequent training answer of each type; `pairs` are (type, question, answer)."""
    keys: dict[str, Counter[str]] = {}
    for kind, _, answer in pairs:
        keys.setdefault(kind, Counter())[phrases.key_of(kind, answer) or answer] += 1
    answers = []
    for item in items:
        top = keys[item.type].most_common(1)[0][0] if item.type in keys else ""
        key = phrases.key_of(item.type, item.gold[0])
        if item.type == "choice":
            named = re.findall(r"(?:an? )?(\w+)(?: and | or |, or )(?:an? )?(\w+)", item.question)
            top = named[-1][0] if named else ""
        if key is None:
            answers.append(top)
        else:
            gold = phrases.normalise(item.gold[0])
            answers.append(re.sub(rf"\b{re.escape(key)}\b", top, gold))
    return answers


@torch.no_grad()
def embed(texts: Sequence[str], batch_size: int = 128) -> torch.Tensor:
    """MiniLM sentence embeddings `(B, 384)`, mean-pooled and normalised."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    encoder = AutoModel.from_pretrained(minilm_folder()).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.zeros(len(texts), encoder.config.hidden_size)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = tokenizer([texts[i] for i in rows], padding=True, return_tensors="pt")
        hidden = encoder(**inputs).last_hidden_state
        real = inputs["attention_mask"][..., None]
        mean = (hidden * real).sum(1) / real.sum(1)
        out[torch.tensor(rows)] = torch.nn.functional.normalize(mean, dim=-1)
    return out


def nearest(items: Sequence[Question], pairs: Sequence[tuple[str, str, str]]) -> list[str]:
    """For each item, the answer to the nearest training question."""
    trained = embed([question for _, question, _ in pairs])
    asked = embed([item.question for item in items])
    best = torch.cat([(part @ trained.T).argmax(-1) for part in asked.split(64)])
    return [pairs[n][2] for n in best.tolist()]


def training_pairs(data: KnowledgeData, seed: int = 0) -> list[tuple[str, str, str]]:
    """Every training fact once, as (type, question, answer)."""
    rng = random.Random(seed)
    rendered = [(fact.kind.split("_")[0], *data.render(fact, rng)) for fact in data.facts]
    return [(kind, question, answer) for kind, question, answer in rendered]
