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
from recipes.smol_text.preference import Choice, PreferenceRun, choices, held_choices
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
    tokens = run.tokenizer([train.TEMPLATE.format(question), answer], add_special_tokens=False)
    prompt, text = tokens["input_ids"]
    model, total, seen = run.stock, 0.0, list(prompt)
    for token in [*text, run.ids.stop]:
        logits = model(input_ids=torch.tensor([seen])).logits[0, -1]
        total += float(logits.log_softmax(-1)[token])
        seen.append(token)
    return total, len(text) + 1


def test_log_probs_are_those_of_the_stock_model_read_from_left_to_right(run_of, base):
    run = run_of()
    run.stock = small_base(base)[0]  # the LoRA of the run is nothing yet
    part = run.collate(run.encoded(KNOWN[:4]))
    said = run.log_probs(run.network, part.rows)
    wanted = [by_hand(run, c.question, c.good)[0] for c in KNOWN[:4]]
    wanted += [by_hand(run, c.question, c.poor)[0] for c in KNOWN[:3]]
    assert said.tolist() == pytest.approx(wanted, rel=1e-4)
    assert (part.good, part.pair.tolist()) == (4, [0, 1, 2])


def test_the_loss_is_the_formula(run_of, base):
    run = run_of()
    run.stock = small_base(base)[0]
    some = KNOWN[1:5]
    run.reference = {(c.question, t): -1.5 * len(t) for c in some for t in (c.good, c.poor) if t}
    part = run.collate(run.encoded(some))
    loss = float(run.choice_loss(run.network, part, 40.0, 5))
    likelihood, choose = 0.0, 0.0
    for c in some:
        good, _ = by_hand(run, c.question, c.good)
        likelihood -= good
        if c.poor is not None:
            poor, _ = by_hand(run, c.question, c.poor)
            margin = good + 1.5 * len(c.good) - (poor + 1.5 * len(c.poor))
            choose += torch.tensor(1.0 + 2.718281828 ** (-0.3 * margin)).log()
    assert loss == pytest.approx(likelihood / 40 + 0.7 * float(choose) / 5, rel=1e-4)


def test_two_workers_take_the_same_step(run_of):
    one, two = run_of(), run_of(workers=2)
    for run in (one, two):
        disturbed(run.network)
    known = one.encoded(KNOWN[:12])
    whole = [one.collate(known)]
    parts = [two.collate(known[:5]), two.collate(known[5:])]
    assert one.step_on(whole) == pytest.approx(two.step_on(parts), rel=1e-4)
    assert one.tokens == two.tokens


def test_choosing_is_learnt_and_good_answers_stay_likely(run_of):
    run = run_of(steps=40, learning_rate=5e-3, weight=2.0)
    known = run.encoded(KNOWN)
    held = [run.collate(known)]
    run.reference = {}
    before, _, _ = run.accuracy(held)
    with torch.no_grad():
        for choice, part in zip(KNOWN, known, strict=True):
            if choice.poor is not None:
                said = run.log_probs(run.network, run.collate([part]).rows).tolist()
                run.reference[choice.question, choice.good] = said[0]
                run.reference[choice.question, choice.poor] = said[1]
    held = [run.collate(known)]
    while run.step < 40:
        for batch in run.steps_of(known, DATA):
            run.update(batch) if isinstance(batch, Rows) else run.step_on(batch)
            if run.step >= 40:
                break
        run.epoch, run.position = run.epoch + 1, 0
    after, likelier, moved = run.accuracy(held)
    assert after < before
    assert likelier == 1.0
    assert moved == 1.0


def shape_of(batch):
    rows = [batch] if isinstance(batch, Rows) else [part.rows for part in batch]
    return [row.ids.tolist() for row in rows]


def test_a_resumed_run_sees_the_batches_that_are_left(run_of):
    run = run_of(batch_tokens=60)
    known = run.encoded(KNOWN)
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
    with pytest.raises(ValueError, match="--rank makes"):
        run_of(rank=8).begin_from(tmp_path / "lora.safetensors")


def written(folder, name, rows):
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def words_of(split, count):
    found = (f"{a}{b}" for a in "abcdefghij" for b in "abcdefghijklmnopqrstuvwxyz")
    return [word for word in found if split_of(word) == split][:count]


def test_poor_answers_stand_beside_good_ones_of_their_question(tmp_path):
    one, two, three = words_of("train", 3)
    (held,) = words_of("tune", 1)
    good = [("what", one, "good one"), ("what", two, "good two"), ("what", three, "good three")]
    written(tmp_path, "answers", [*good, ("what", held, "good held")])
    own = [
        ("what", one, "poor a", "H"), ("what", one, "poor b", "N"), ("what", one, "poor c", "N"),
        ("what", two, "fine", "S"), ("what", two, "poor d", "N"),
        ("what", held, "poor held", "N"),
    ]  # fmt: skip
    written(tmp_path, "own", own)
    written(tmp_path, "asked", [("Why?", "Because."), ("How?", "So.", "Not so.")])
    data = SimpleNamespace(answers=good, question=lambda kind, subject, rng: f"{kind} {subject}")
    found = choices(tmp_path, data, 0)
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
