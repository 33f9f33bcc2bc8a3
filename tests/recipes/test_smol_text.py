"""The recipe of `smol`: its network is the stock one, its short rows are the whole canvas."""

from __future__ import annotations

import argparse
import random
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from checkpoints import small_base, write_causal

from aps_text.models.smol import merge, read_lora
from recipes.smol_text import train
from recipes.smol_text.network import LoraLlama
from recipes.smol_text.rows import attention_bias, compact, in_blocks, in_order
from recipes.smol_text.train import Run
from recipes.word_knowledge.masking import Batch, TokenIds

SETTINGS = {
    "seed": 0, "device": "cpu", "rank": 4, "workers": 1, "learning_rate": 1e-2, "ema": 0.9,
    "steps": 8, "ahead": 0.5, "batch_tokens": 200, "blocks": 0.5, "ordered": 0.25,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_causal(folder, "llama")
    return folder


def ids_of(tokenizer):
    """The run's special tokens under the names that the small tokenizer has."""
    pad, stop, mask = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>", "<|mask|>"])
    return TokenIds(pad=pad, stop=stop, mask=mask)


@pytest.fixture
def parts(base):
    model, tokenizer = small_base(base)
    return model, tokenizer, ids_of(tokenizer)


def disturbed(network, seed=0):
    """The network with a LoRA that changes something."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.pairs.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=g)
    return network


def batch_of(ids, turn, rows=5, seed=0):
    """Rows `<turn> a b .. <turn> x y canvas`, some positions masked, some without a loss."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    lines = []
    for _ in range(rows):
        words = [rng.randrange(20) for _ in range(rng.randrange(2, 6))]
        lines.append([turn, *words, turn, 3, 4, *(rng.randrange(20) for _ in range(8))])
    width = max(map(len, lines))
    clean = torch.full((rows, width), ids.pad)
    seen, weight = clean.clone(), torch.zeros(rows, width)
    for i, line in enumerate(lines):
        clean[i, : len(line)] = torch.tensor(line)
        hidden = torch.rand(8, generator=g) < 0.6
        hidden[rng.randrange(8)] = True
        canvas = torch.tensor(line[-8:]).masked_fill(hidden, ids.mask)
        seen[i, : len(line) - 8] = torch.tensor(line[:-8])
        seen[i, len(line) - 8 : len(line)] = canvas
        loss = hidden & (torch.rand(8, generator=g) < 0.7)
        weight[i, len(line) - 8 : len(line)] = loss.float()
    return Batch(seen, clean, weight)


def by_loops(row, ids, prompt):
    """The keys of each query, from the two rules."""
    size = len(row)
    seen = torch.zeros(size, size, dtype=torch.bool)
    for i in range(size):
        for j in range(size):
            shown = row[j] not in (ids.mask, ids.pad)
            seen[i, j] = j == i or (shown and (j < i or i >= prompt - 1))
    return seen


def test_a_short_row_predicts_what_the_whole_canvas_predicts(parts):
    model, tokenizer, ids = parts
    turn = tokenizer.convert_tokens_to_ids("<|im_start|>")
    network = disturbed(LoraLlama(model, 4, ids.mask))
    batch = batch_of(ids, turn)
    rows = compact(batch, ids, [turn, 3, 4])
    assert rows.ids.shape[1] < batch.ids.shape[1]
    with torch.no_grad():
        merged = {name: p.detach().clone() for name, p in network.pairs.items()}
        short = network(rows.ids, rows.at, attention_bias(rows, ids))
        merge(model, merged, ids.mask)
    for i in range(len(batch.ids)):
        length = int((batch.target[i] != ids.pad).sum())
        row, prompt = batch.ids[i, :length], length - 8
        mask = by_loops(row.tolist(), ids, prompt)[None, None]
        with torch.no_grad():
            whole = model.model(input_ids=row[None], attention_mask=mask).last_hidden_state[0]
        asked = rows.weight[i] > 0
        at = rows.at[i, asked]
        assert (at + 1).tolist() == (batch.weight[i] > 0).nonzero().flatten().tolist()
        assert torch.equal(rows.target[i, asked], batch.target[i, at + 1])
        assert torch.equal(rows.weight[i, asked], batch.weight[i, at + 1])
        torch.testing.assert_close(short[i, asked], whole[at], rtol=1e-4, atol=1e-4)


def test_looking_ahead_is_learnt_by_and_by(parts):
    _, tokenizer, ids = parts
    turn = tokenizer.convert_tokens_to_ids("<|im_start|>")
    rows = compact(batch_of(ids, turn), ids, [turn, 3, 4])
    biases = [attention_bias(rows, ids, ahead) for ahead in (1e-9, 0.25, 1.0)]
    later = (rows.at[:, None, :] > rows.at[:, :, None]) & (biases[2] == 0)
    assert later.any()
    assert not later[rows.causal].any()  # the prompt never does
    for bias, weight in zip(biases, (1e-9, 0.25, 1.0), strict=True):
        torch.testing.assert_close(bias[later].exp(), torch.full_like(bias[later], weight))
        assert torch.equal(bias[~later], biases[2][~later])


def test_rows_decoded_in_blocks_are_text_then_a_block_then_nothing(parts):
    _, tokenizer, ids = parts
    turn = tokenizer.convert_tokens_to_ids("<|im_start|>")
    batch = batch_of(ids, turn, rows=400)
    ends = torch.randint(2, 7, (400,), generator=torch.Generator().manual_seed(2))
    start = (batch.target == turn).int().cumsum(1).argmax(1) + 3
    for i, (a, n) in enumerate(zip(start.tolist(), ends.tolist(), strict=True)):
        batch.target[i, a + n : a + 8] = ids.stop
        batch.ids[i, a + n : a + 8] = ids.pad
    g = torch.Generator().manual_seed(0)
    rows = in_blocks(batch, ids, [turn, 3, 4], g, longest=3)
    sizes, hidden_counts, begins = Counter(), Counter(), Counter()
    for i, (a, n) in enumerate(zip(start.tolist(), ends.tolist(), strict=True)):
        line, own = rows.ids[i].tolist(), batch.target[i].tolist()
        hidden = [j for j, token in enumerate(line) if token == ids.mask]
        end = line.index(ids.pad) if ids.pad in line else len(line)
        assert line[:a] == batch.ids[i, :a].tolist()
        assert all(line[j] == own[j] for j in range(a, end) if j not in hidden)
        assert all(token == ids.pad for token in line[end:])
        assert 1 <= len(hidden) <= 3
        assert hidden[-1] - hidden[0] < 3
        assert end <= a + n + 1  # nothing behind the stop token
        assert rows.weight[i].nonzero().flatten().tolist() == hidden
        assert torch.equal(rows.target[i], batch.target[i])
        hidden_counts[len(hidden)] += 1
        begins[hidden[0] - a] += 1
        sizes[end - hidden[0]] += 1
    assert set(hidden_counts) == set(sizes) == {1, 2, 3}
    assert set(begins) >= set(range(6))
    assert in_blocks(batch, ids, [turn, 3, 4], g, share=0.0).ids.equal(batch.ids)
    some = in_blocks(batch, ids, [turn, 3, 4], g, share=0.5)
    assert 120 < int((some.ids == batch.ids).all(1).sum()) < 280
    short = compact(rows, ids, [turn, 3, 4])
    assert int((short.weight > 0).sum()) == int((rows.weight > 0).sum())


def run_of(base, **changes):
    return Run(*small_base(base), argparse.Namespace(**SETTINGS | changes))


def test_rows_in_order_teach_every_token_of_an_answer_from_those_before_it():
    ids, turn = TokenIds(pad=0, stop=1, mask=2), 5
    text = torch.tensor([[9, turn, 3, 4, 6, 7, 1, 0, 0], [8, turn, 3, 4, 6, 7, 8, 9, 1]])
    hidden = text.clone()
    hidden[:, 5:] = ids.mask
    target = text.masked_fill(torch.arange(9) < 4, 0)
    rows = in_order(Batch(hidden, target, torch.zeros(2, 9)), ids, [turn, 3, 4])
    for row, answer in zip(range(2), ([6, 7, 1], [6, 7, 8, 9, 1]), strict=True):
        on = rows.weight[row] > 0
        assert rows.target[row][on].tolist() == answer
        assert rows.at[row][on].tolist() == list(range(3, 3 + len(answer)))
    real = rows.ids != ids.pad
    assert not (rows.ids == ids.mask).any()
    sees = attention_bias(rows, ids) == 0
    before = rows.at[:, None, :] <= rows.at[:, :, None]
    expected = before & real[:, None, :] & real[:, :, None]
    itself = torch.eye(rows.ids.shape[1], dtype=torch.bool)
    assert (sees & real[:, :, None]).equal(expected | (itself & real[:, :, None]))


DATA = SimpleNamespace(
    epoch=lambda number: [(f"who is {a} ?", f"{a} is {b} .") for a in "abcde" for b in "fghij"]
)


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(train, "token_ids", ids_of)


def trained(run, steps, batches):
    for _ in range(steps):
        run.update(next(batches))
    return run


def test_a_resumed_run_is_the_run(base, known, tmp_path):
    whole = run_of(base)
    trained(whole, 6, whole.batches(DATA))
    first = run_of(base)
    trained(first, 3, first.batches(DATA)).save(tmp_path)
    second = run_of(base, seed=0)
    second.load(tmp_path)
    trained(second, 3, second.batches(DATA))
    assert (second.step, second.position, second.tokens) == (6, 6, whole.tokens)
    for a, b, c, d in zip(whole.parameters, second.parameters, whole.ema, second.ema, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(c, d)


def test_workers_share_the_weights_and_the_gradient(base, known):
    one, two = run_of(base), run_of(base, workers=2)
    for run in (one, two):
        disturbed(run.network)
    rows = next(one.batches(DATA))
    losses = [run.gradients(rows, 1.0) for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for a, b in zip(one.parameters, two.parameters, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)


def test_products_in_bfloat16_train_too(base, known, monkeypatch):
    """On a GPU, and where a CPU has such instructions."""
    full, half = run_of(base), run_of(base)
    for run in (full, half):
        disturbed(run.network)
    rows = next(full.batches(DATA))
    wanted = full.gradients(rows, 1.0)
    monkeypatch.setattr(
        train, "half_precision", lambda device: torch.autocast("cpu", torch.bfloat16)
    )
    assert half.gradients(rows, 1.0) == pytest.approx(wanted, rel=0.05)
    ours = torch.cat([p.grad.flatten() for p in half.parameters])
    theirs = torch.cat([p.grad.flatten() for p in full.parameters])
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.95


def test_it_learns_and_its_export_is_the_mean_of_its_weights(base, known, tmp_path):
    run = run_of(base, steps=60)
    before = run.evaluate(list(run.batches(DATA)))
    while run.step < 60:
        for rows in run.batches(DATA):
            run.update(rows)
            if run.step >= 60:
                break
        run.epoch, run.position = run.epoch + 1, 0
    run.position = 0
    held = list(run.batches(DATA))
    assert run.evaluate(held) < 0.7 * before
    run.save(tmp_path)
    model = small_base(base)[0]
    merge(model, read_lora(tmp_path / "lora.safetensors"), run.ids.mask)
    stock = LoraLlama(model, 4, run.ids.mask)  # its own LoRA is nothing yet
    with torch.no_grad():
        stock.pairs["mask"].copy_(model.get_input_embeddings().weight[run.ids.mask])
        run.swap()
        for rows in held[:2]:
            bias = attention_bias(rows, run.ids)
            ours, theirs = run.network(rows.ids, rows.at, bias), stock(rows.ids, rows.at, bias)
            real = rows.ids != run.ids.pad
            torch.testing.assert_close(ours[real], theirs[real], rtol=0.1, atol=0.1)  # 8 bits
