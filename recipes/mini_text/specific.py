"""A score of how specific an answer is to its subject, computed with the teacher.

    s = (log p(rest | own subject) - mean_k log p(rest | subject k)) / tokens of the rest

`rest` is the answer without the tokens of its subject; in the k-th term the subject is replaced by
another one of the same kind. An answer like "People care about X because it makes us feel better"
scores about 0. On 100 kept answers marked by a reader, s ranked sensible above nonsensical answers
in 73% of all pairs, the likelihood itself in 53%.

    python -m recipes.mini_text.specific --raw DIR/raw.jsonl --out DIR/specific.jsonl

scores the answers that pass the other filters, in an order of which every prefix is balanced; the
same command continues after the last line. `corpus --specific FILE` drops low scores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from aps_eval.subjects import inflections

from aps_text.models.smollm2 import smollm2
from recipes.mini_text.corpus import choose, drawn
from recipes.mini_text.generate import whole_lines
from recipes.precision import fast_dtype

__all__ = ["OTHERS", "Read", "Row", "put", "spans", "specific"]

log = logging.getLogger(__name__)

OTHERS = 2
"""Number of other subjects with which an answer's own is compared."""
WORD = re.compile(r"[A-Za-z']+")

Row = tuple[str, str, str]
Read = Callable[[Sequence[tuple[str, list[tuple[int, int]]]]], list[tuple[float, int]]]
"""Maps (text, spans to leave out) pairs to (log-probability, number of tokens) of the rest."""


def spans(subject: str, text: str) -> list[tuple[int, int]]:
    """The (start, end) spans of the subject in a text."""
    own = inflections(subject.split()[-1])
    return [m.span() for m in WORD.finditer(text) if m.group().lower() in own]


def put(subject: str, text: str, other: str) -> str:
    """The text with its subject replaced everywhere by `other`, keeping capitals."""
    word, parts, at = other.split()[-1], [], 0
    for start, end in spans(subject, text):
        parts += [text[at:start], word.capitalize() if text[start].isupper() else word]
        at = end
    return "".join([*parts, text[at:]])


def specific(rows: Sequence[Row], by_kind: dict[str, list[str]], read: Read) -> list[float]:
    """`s` of each (kind, subject, answer); the other subjects are chosen by the answer's hash."""
    asked: list[tuple[str, list[tuple[int, int]]]] = []
    for kind, subject, text in rows:
        rng = random.Random(f"{kind} {subject} {text}")
        own = inflections(subject.split()[-1])
        fits = [s for s in by_kind[kind] if s.split()[-1] not in own]
        asked.append((text, spans(subject, text)))
        for other in rng.sample(fits, OTHERS):
            said = put(subject, text, other)
            asked.append((said, spans(other, said)))
    found = read(asked)
    scores = []
    for at in range(0, len(found), OTHERS + 1):
        (own_score, count), others = found[at], found[at + 1 : at + OTHERS + 1]
        mean = sum(value for value, _ in others) / OTHERS
        scores.append((own_score - mean) / max(1, count))
    return scores


def teacher_reader(device: str = "cpu", batch_size: int = 32) -> Read:
    """A `Read` that uses SmolLM2."""
    model, tokenizer = smollm2("the teacher")
    return reader(model.to(device, fast_dtype(device)), tokenizer, batch_size)


def reader(model: Any, tokenizer: Any, batch_size: int) -> Read:
    """A `Read` that uses a causal language model and its fast tokenizer."""
    start = tokenizer.bos_token_id

    @torch.inference_mode()
    def read(asked: Sequence[tuple[str, list[tuple[int, int]]]]) -> list[tuple[float, int]]:
        texts = [text for text, _ in asked]
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        found: list[tuple[float, int]] = [(0.0, 0)] * len(asked)
        order = sorted(range(len(asked)), key=lambda i: len(encoded["input_ids"][i]))
        for first in range(0, len(order), batch_size):
            part = order[first : first + batch_size]
            width = 1 + max(len(encoded["input_ids"][i]) for i in part)
            ids = torch.full((len(part), width), start)
            kept = torch.zeros(len(part), width, dtype=torch.bool)
            real = torch.zeros(len(part), width, dtype=torch.long)
            for row, i in enumerate(part):
                own = encoded["input_ids"][i]
                ids[row, 1 : len(own) + 1] = torch.tensor(own)
                real[row, : len(own) + 1] = 1
                for at, (a, b) in enumerate(encoded["offset_mapping"][i], 1):
                    kept[row, at] = not any(a < end and b > begin for begin, end in asked[i][1])
            ids, kept, real = (x.to(model.device) for x in (ids, kept, real))
            logits = model(input_ids=ids, attention_mask=real).logits[:, :-1].float()
            said = logits.gather(2, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
            total = (said * kept[:, 1:]).sum(1).tolist()
            for i, value, count in zip(part, total, kept.sum(1).tolist(), strict=True):
                found[i] = (value, count)
        return found

    return read


def main() -> None:
    """Score the kept answers, in shards; continues an earlier run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--raw", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    kept, _ = choose(row for file in args.raw for row in drawn(file))
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, subject, _ in sorted(kept):
        if subject not in by_kind[kind][-1:]:
            by_kind[kind].append(subject)
    whole_lines(args.out)  # removes an incomplete last line
    lines = args.out.read_text(encoding="utf-8").splitlines() if args.out.exists() else []
    done = {tuple(json.loads(line)[:3]) for line in lines}
    waiting = sorted(
        (row for row in kept if row not in done),
        key=lambda row: hashlib.sha256(" ".join(row).encode()).digest(),
    )
    log.info("%d answers, %d of them scored", len(kept), len(kept) - len(waiting))
    read = teacher_reader(args.device)
    for first in range(0, len(waiting), 96):
        part = waiting[first : first + 96]
        scores = specific(part, by_kind, read)
        with args.out.open("a", encoding="utf-8") as out:
            for row, score in zip(part, scores, strict=True):
                out.write(json.dumps([*row, round(score, 3)], ensure_ascii=False) + "\n")
        if first % 960 == 0:
            log.info("%d of %d", first + len(part), len(waiting))


if __name__ == "__main__":
    main()
