"""Choices between answers: rows, the loss by its formula, what is known of a question, resuming."""

from __future__ import annotations

import argparse
import gzip
import json
from types import SimpleNamespace

import pytest
import torch
from checkpoints import small_base, write_causal
from test_smol_text import DATA, SETTINGS, disturbed, ids_of

from aps_text.models.smol import pack
from recipes.mini_text.subjects import split_of
from recipes.smol_text import train
from recipes.smol_text.choices import Choice, encode, held_choices, load_choices
from recipes.smol_text.mixture import TEMPLATE, SmolData, asked_rows
from recipes.smol_text.preference import PreferenceRun
from recipes.smol_text.rows import Rows

OWN = {"beta": 0.3, "weight": 0.7, "filled": 4}
KNOWN = [
    Choice(f"who is {a} ?", f"{a} is {b} .", f"{b} {b} ." if b in "fgh" else None)
    for a in "abcde" for b in "fghij"
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_causal(folder, "llama")
    return folder


@pytest.fixture
def run_of(base, monkeypatch):
    monkeypatch.setattr(train, "token_ids", ids_of)

    def made(**changes):
        return PreferenceRun(*small_base(base), argparse.Namespace(**SETTINGS | OWN | changes))

    return made


def by_hand(run, question, answer):
    """log p of an answer and the stop token, token by token, by the stock model."""
    tokens = run.tokenizer([TEMPLATE.format(question), answer], add_special_tokens=False)
    prompt, text = tokens["input_ids"]
    model, total, seen = run.stock, 0.0, list(prompt)
    for token in [*text, run.ids.stop]:
        logits = model(input_ids=torch.tensor([seen])).logits[0, -1]
        total += float(logits.detach().log_softmax(-1)[token])
        seen.append(token)
    return total, len(text) + 1


def texts_of(choices):
    return [(c.question, text) for c in choices for text in (c.good, c.poor) if text]


def test_log_probs_are_those_of_the_stock_model_read_from_left_to_right(run_of, base):
    run = run_of()
    run.stock = small_base(base)[0]  # the LoRA of the run is nothing yet
    run.reference = dict.fromkeys(texts_of(KNOWN[:4]), 0.0)
    part = run.collate(encode(run.tokenizer, KNOWN[:4]))
    said = run.log_probs(run.network, part.rows)
    wanted = [by_hand(run, c.question, c.good)[0] for c in KNOWN[:4]]
    wanted += [by_hand(run, c.question, c.poor)[0] for c in KNOWN[:3]]
    assert said.tolist() == pytest.approx(wanted, rel=1e-4)
    assert (part.num_good, part.pair_rows.tolist()) == (4, [0, 1, 2])


def test_the_loss_is_the_formula(run_of, base):
    run = run_of()
    run.stock = small_base(base)[0]
    some = KNOWN[1:5]
    run.reference = {(c.question, t): -1.5 * len(t) for c in some for t in (c.good, c.poor) if t}
    part = run.collate(encode(run.tokenizer, some))
    loss = float(run.dpo_loss(run.network, part, 40.0, 5))
    likelihood, choose = 0.0, 0.0
    for c in some:
        good, _ = by_hand(run, c.question, c.good)
        likelihood -= good
        if c.poor is not None:
            poor, _ = by_hand(run, c.question, c.poor)
            margin = good + 1.5 * len(c.good) - (poor + 1.5 * len(c.poor))
            choose += torch.tensor(1.0 + 2.718281828 ** (-0.3 * margin)).log()
    assert loss == pytest.approx(likelihood / 40 + 0.7 * float(choose) / 5, rel=1e-4)


def test_workers_share_the_gradient_of_the_formula(run_of, base):
    one, two = run_of(), run_of(workers=2)
    for run in (one, two):
        disturbed(run.network)
        run.reference = {key: -1.5 * len(key[1]) for key in texts_of(KNOWN)}
    known = encode(one.tokenizer, KNOWN[:12])
    whole = [one.collate(known)]
    losses = [one.choose(whole), two.choose([two.collate(known[:5]), two.collate(known[5:])])]
    tokens, pairs = whole[0].num_tokens, sum(c.poor is not None for c in KNOWN[:12])
    assert tokens == sum(len(x.good) + 1 for x in known)
    wanted = float(one.dpo_loss(one.network, whole[0], tokens, pairs).detach())
    assert losses == pytest.approx([wanted, wanted], rel=1e-4)
    for a, b in zip(one.parameters, two.parameters, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)


def learnt(run, known, steps):
    while run.step < steps:
        for batch in run.steps_of(known, DATA):
            run.update(batch) if isinstance(batch, Rows) else run.step_on(batch)
            if run.step >= steps:
                break
        run.epoch, run.position = run.epoch + 1, 0
    return run


def test_choosing_is_learnt_beyond_what_likelihood_teaches(run_of, tmp_path):
    """The poor answers are the good ones of other questions."""
    choices = [Choice(f"who is {a} ?", f"{a} is f .", f"{b} is f .") for a in "ab" for b in "cd"]
    margins, nats = {}, {}
    for weight in (0.0, 4.0):
        run = run_of(steps=30, learning_rate=2e-3, weight=weight, beta=0.5, filled=0)
        disturbed(run.network)
        known = encode(run.tokenizer, choices)
        run.compute_reference(known, tmp_path / f"{weight}.json", "start")
        held = [run.collate(known)]
        before, _, moved = run.accuracy(held)
        assert moved == 0.0
        learnt(run, known, 30)
        nats[weight], _, moved = run.accuracy(held)
        said = run.log_probs(run.network, held[0].rows).detach()
        margins[weight] = float((said[held[0].pair_rows] - said[4:]).mean())
    assert moved == 1.0
    assert margins[4.0] > margins[0.0] + 0.5
    assert nats[4.0] < before - 1


def test_the_reference_is_kept_and_only_of_the_same_start(run_of, tmp_path):
    run = run_of(workers=2)
    disturbed(run.network)
    known, file = encode(run.tokenizer, KNOWN), tmp_path / "reference.json"
    run.compute_reference(known[:8], file, "start")
    some = dict(run.reference)
    part = run.collate(known[:8])
    said = run.log_probs(run.network, part.rows).detach()
    both = torch.stack([said[part.pair_rows], said[part.num_good :]], 1)
    torch.testing.assert_close(part.reference, both, rtol=1e-4, atol=1e-4)
    again = run_of(workers=2)  # other weights
    again.compute_reference(known, file, "start")
    assert {key: again.reference[key] for key in some} == some
    assert set(again.reference) == set(texts_of(c for c in KNOWN if c.poor))
    other = run_of()
    other.compute_reference(known, file, "another")
    assert all(other.reference[key] != some[key] for key in some)
    with pytest.raises(KeyError):
        run.collate(known)


def test_every_so_many_steps_fill_gaps_or_none_do(run_of):
    for filled in (1, -1):
        with pytest.raises(ValueError, match="N >= 2, or 0"):
            run_of(filled=filled)
    run = run_of(filled=0, batch_tokens=60)
    run.reference = dict.fromkeys(texts_of(KNOWN), 0.0)
    assert not any(isinstance(b, Rows) for b in run.steps_of(encode(run.tokenizer, KNOWN), DATA))
    run = run_of(filled=2, batch_tokens=60)
    run.reference = dict.fromkeys(texts_of(KNOWN), 0.0)
    few = type(DATA)(epoch=lambda number: [("who is a ?", "a is b .")])
    with pytest.raises(ValueError, match="larger --filled"):
        list(run.steps_of(encode(run.tokenizer, KNOWN), few))


def shape_of(batch):
    rows = [batch] if isinstance(batch, Rows) else [part.rows for part in batch]
    return [row.ids.tolist() for row in rows]


def test_a_resumed_run_sees_the_batches_that_are_left(run_of):
    run = run_of(batch_tokens=60)
    run.reference = dict.fromkeys(texts_of(KNOWN), 0.0)
    known = encode(run.tokenizer, KNOWN)
    whole = [shape_of(b) for b in run.steps_of(known, DATA)]
    kinds = [isinstance(b, Rows) for b in run.steps_of(known, DATA)]
    assert kinds == [(n + 1) % 4 == 0 for n in range(len(kinds))]
    for done in (1, 3, 4, 5, 8):
        run.position = done
        assert [shape_of(b) for b in run.steps_of(known, DATA)] == whole[done:]


def test_a_start_is_the_export_and_another_rank_is_refused(run_of, tmp_path):
    from safetensors.torch import save_file

    first = run_of()
    disturbed(first.network)
    names = list(first.network.pairs.keys())
    save_file(
        pack({n: p.detach() for n, p in zip(names, first.parameters, strict=True)}),
        tmp_path / "lora.safetensors",
    )
    second = run_of()
    second.begin_from(tmp_path / "lora.safetensors")
    for a, b, mean in zip(first.parameters, second.parameters, second.ema, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=0.02, atol=0.01)  # 8 bits
        assert torch.equal(b.detach(), mean)
    other, before = run_of(rank=8), run_of(rank=8)
    with pytest.raises(ValueError, match="with --rank 8"):
        other.begin_from(tmp_path / "lora.safetensors")
    assert all(map(torch.equal, other.parameters, before.parameters))  # nothing was taken
    lora = {n: p.detach() for n, p in zip(names, first.parameters, strict=True)}
    save_file(pack({n: p for n, p in lora.items() if n != names[0]}), tmp_path / "less")
    with pytest.raises(ValueError, match=f"differ in {names[0]} and 0 more"):
        second.begin_from(tmp_path / "less")


def written(folder, name, rows):
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def words_of(split, count):
    found = (f"{a}{b}" for a in "abcdefghij" for b in "abcdefghijklmnopqrstuvwxyz")
    return [word for word in found if split_of(word) == split][:count]


def test_poor_answers_stand_beside_good_ones_of_their_question(tmp_path):
    one, two, three, never = words_of("train", 4)
    (held,) = words_of("tune", 1)
    good = [("what", one, "good one"), ("what", two, "good two"), ("what", three, "good three")]
    written(tmp_path, "answers", [*good, ("what", held, "good held")])
    own = [
        ("what", one, "poor a", "H"), ("what", one, "poor b", "N"), ("what", one, "poor c", "N"),
        ("what", two, "fine", "S"), ("what", two, "poor d", "N"), ("what", never, "fine", "S"),
        ("what", held, "poor held", "N"),
    ]  # fmt: skip
    written(tmp_path, "own", own)
    asked = [("Why?", "Because."), ("How?", "So.", "Not so."), (f"What is {never}?", "That.")]
    written(tmp_path, "asked", asked)
    data = SimpleNamespace(
        answers=good,
        question=lambda kind, subject, rng: f"{kind} {subject}",
        asked=asked_rows(tmp_path / "asked.jsonl.gz", {never}),
    )
    found = load_choices(tmp_path, data, {never}, 0)
    assert sorted(found, key=str) == sorted(
        [
            Choice(f"what {one}", "good one", "poor a"),
            Choice(f"what {one}", "good one", "poor b"),  # twice at most
            Choice(f"what {two}", "good two", "poor d"),
            Choice(f"what {two}", "fine", "poor d"),
            Choice(f"what {three}", "good three"),
            Choice("Why?", "Because."),
            Choice("How?", "So.", "Not so."),
        ],
        key=str,
    )
    assert held_choices(tmp_path, data) == [Choice(f"what {held}", "good held", "poor held")]


def test_typed_questions_are_in_every_epoch_and_held_words_are_not(tmp_path):
    written(tmp_path, "asked", [("Why?", "Because."), ("What is an owl?", "A bird.", "A cat.")])
    rows = asked_rows(tmp_path / "asked.jsonl.gz", {"owl"})
    assert rows == [("Why?", "Because.")]
    facts = SimpleNamespace(epoch=lambda number, often: iter([("Is it?", "yes")] * 9))
    data = SmolData(facts, [], {}, asked=[*rows, ("How?", "So.", "Not so.")])
    assert sorted(data.epoch(0)) == [("How?", "So."), ("Why?", "Because.")]
    with pytest.raises(FileNotFoundError):
        asked_rows(tmp_path / "more.jsonl.gz", set())


def test_a_share_of_what_was_learnt_before_leaves_all_typed_questions(tmp_path):
    good = [("what", word, f"good {word}") for word in words_of("train", 10)]
    written(tmp_path, "own", [])
    asked = [(f"Why {n}?", "Because.") for n in range(7)]
    data = SimpleNamespace(
        answers=good, question=lambda kind, subject, rng: f"{kind} {subject}", asked=asked
    )
    found = load_choices(tmp_path, data, set(), 0, share=0.3)
    assert [c.question for c in found[3:]] == [question for question, _ in asked]
    assert {c.good for c in found[:3]} < {answer for *_, answer in good}


def test_a_corpus_without_answers_is_refused(tmp_path):
    for name in ("answers", "own", "asked"):
        written(tmp_path, name, [])
    data = SimpleNamespace(answers=[], asked=[])
    with pytest.raises(ValueError, match="no answer to learn from"):
        load_choices(tmp_path, data, set(), 0)
    with pytest.raises(ValueError, match="no poor answer"):
        held_choices(tmp_path, data)


def test_a_poor_answer_that_is_too_long_leaves_the_good_one(run_of):
    long = " ".join("abcdefghij" * 6)
    (one,) = encode(run_of().tokenizer, [Choice("who ?", "a is b .", long)])
    assert one.poor is None
    assert encode(run_of().tokenizer, [Choice("who ?", long, "a")]) == []
