"""Wrong answers drawn from the embedded text model, for training the answer-quality rewards.

    python -m recipes.answer_quality.samples --wordnet DICT --out FILE.jsonl --count 4000

The model is asked about the training and validation facts of the guide at temperature 1; right
answers (an accepted key, any category above the word, a definition with most of the words) are
left out. Each line is a JSON object with question, gold, answer, type and lemma.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from pathlib import Path

from aps_eval.metrics import token_f1

from recipes.answer_quality.pairs import Pair, split_facts
from recipes.word_knowledge.phrases import ANSWERS, KEYED, TRAIN, capitalise, key_of, normalise
from recipes.word_knowledge.wordnet_facts import Fact
from recipes.word_knowledge.wordnet_qa import KnowledgeData, build_data

__all__ = ["is_wrong", "sampled_pairs"]

log = logging.getLogger(__name__)


def is_wrong(fact: Fact, gold: str, answer: str, data: KnowledgeData) -> bool:
    """Whether an answer is certainly wrong: another key, or few words in common with the gold."""
    kind = fact.kind.split("_")[0]
    if kind in KEYED:
        true = {normalise(k) for k in fact.keys} | {key_of(kind, gold)}
        if kind == "kind":
            true |= data.ancestors.get(fact.lemma, set())
        return key_of(kind, answer) not in true
    return token_f1(answer, [gold]) < 0.8


def sampled_pairs(path: Path, lemmas: set[str], hidden: set[str]) -> list[Pair]:
    """Pairs of a file of samples about `lemmas`, without those that contain a `hidden` word."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        said = set(normalise(row["answer"]).split())
        if row["lemma"] in lemmas and not hidden & (said | {w.removesuffix("s") for w in said}):
            pairs.append(Pair(row["question"], row["gold"], row["answer"], "own sample",
                              row["type"], row["lemma"]))  # fmt: skip
    return pairs


def main() -> None:
    """Ask the embedded model, and write its wrong answers."""
    from transformers import AutoTokenizer, BertForMaskedLM

    import aps_text
    from recipes.word_knowledge.decoding import decode

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4000, help="questions to ask")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = Path(aps_text.__file__).parent / "weights/mini_text"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertForMaskedLM.from_pretrained(folder, dtype="float32").eval()
    data, rng = build_data(args.wordnet), random.Random(args.seed)
    train, validation = split_facts(data, 1)
    facts = [f for f in train + validation if f.weight >= 0.5]
    asked = rng.sample(facts, min(args.count, len(facts)))
    rows = []
    for fact in asked:
        template, slots = data.draw(fact, rng)
        question = capitalise(rng.choice(TRAIN[fact.kind]).format(**slots))
        rows.append((fact, question, capitalise(ANSWERS[template].format(**slots))))
    answers = decode(
        model, tokenizer, [q for _, q, _ in rows], steps=args.steps, temperature=1.0, seed=args.seed
    )
    wrong = 0
    with args.out.open("w", encoding="utf-8") as handle:
        for (fact, question, gold), answer in zip(rows, answers, strict=True):
            if is_wrong(fact, gold, answer, data):
                kind = fact.kind.split("_")[0]
                row = {"question": question, "gold": gold, "answer": answer, "type": kind,
                       "lemma": fact.lemma}  # fmt: skip
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")
                wrong += 1
    log.info("%d questions, %d wrong answers in %s", len(rows), wrong, args.out)


if __name__ == "__main__":
    main()
