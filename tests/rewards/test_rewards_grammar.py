"""Grammar: its weights against the graph they were read from, and how it is gamed."""

from __future__ import annotations

import pytest
import torch
from aps_rewards.grammar import Grammar, tagger_folder


@pytest.fixture(scope="module")
def grammar():
    return Grammar()


@pytest.mark.slow
def test_the_weights_are_the_graphs(grammar):
    """The published graph, run by onnx itself with its ACTIVATIONS left unrounded."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(str(tagger_folder() / "tagger.onnx"))
    model.opset_import[0].version = 19  # the reference has DequantizeLinear from 19 on
    graph = model.graph
    rounded = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "QuantizeLinear"}
    passed = {
        n.output[0]: rounded[n.input[0]]
        for n in graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in rounded
    }
    kept = [n for n in graph.node if n.output[0] not in passed and n.output[0] not in rounded]
    assert len(passed) > 50  # there were activations to leave alone
    for node in kept:
        for i, name in enumerate(node.input):
            node.input[i] = passed.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    for output in graph.output:
        assert output.name not in passed
    batch = grammar.tokenizer(["There is there house, and they was here."], return_tensors="pt")
    feed = {k: batch[k].numpy() for k in ("input_ids", "attention_mask")}
    theirs = torch.from_numpy(ReferenceEvaluator(model).run(None, feed)[0])
    states = grammar.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    torch.testing.assert_close(grammar.classifier(states), theirs, atol=1e-2, rtol=0)


def test_it_finds_slips_of_fluent_writers(grammar):
    pairs = [
        ("It's a good day.", "Its a good day."),
        ("They were here.", "They was here."),
        ("There is their house.", "There is there house."),
        ("I have seen too many of them.", "I have seen to many of them."),
    ]
    for right, wrong in pairs:
        good, bad = grammar(["", ""], [right, wrong])
        assert good > bad + 0.05, (right, good, bad)


def test_only_first_pieces_count(grammar):
    """`They` and `was` decide; a rare word of many pieces is one word of the mean."""
    pieces = grammar.tokenizer.tokenize("They was antidisestablishmentarian.")
    assert sum(p.startswith("##") for p in pieces) >= 4
    batch = grammar.tokenizer(["They was antidisestablishmentarian."], return_tensors="pt")
    states = grammar.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    keep = grammar.classifier(states).softmax(-1)[0, 1:-1, grammar.keep]
    first = torch.tensor([not p.startswith("##") for p in pieces])
    found = grammar([""], ["They was antidisestablishmentarian."])[0]
    assert found == pytest.approx(float(keep[first].mean()), abs=1e-5)


def test_words_that_a_relaxed_text_hardly_begins_weigh_by_their_share(grammar):
    """The mean over first pieces is one of shares, down to a sum of 1e-6."""
    ids = grammar.tokenizer(["They was here."], return_tensors="pt")["input_ids"]
    mask, positions = torch.ones_like(ids), torch.arange(ids.shape[1])[None]
    embeds = grammar.embedding_table()[ids].clone()
    whole = grammar.score_embeds(embeds, mask, positions, prompts=[""])
    embeds[..., -1] *= 1.5e-6 / embeds[0, 1:-1, -1].sum()
    found = grammar.score_embeds(embeds, mask, positions, prompts=[""])
    torch.testing.assert_close(found, whole)


def test_it_misses_much_and_is_gamed_by_what_is_grammatical_or_unseen(grammar):
    true, false, empty_talk, salad, missed = grammar(
        [""] * 5,
        [
            "A violin is a stringed instrument.",
            "A violin is a large wild cat.",
            "It is what it is.",
            "instrument a of violin kind is",
            "He go to the store.",
        ],
    )
    assert min(true, false, empty_talk, missed) > 0.99
    assert salad > 0.95


def test_an_empty_answer_scores_0(grammar):
    assert grammar(["", ""], ["", "  "]) == [0.0, 0.0]


def test_double_precision_agrees(grammar):
    text = ["They was here.", "There is there house."]
    assert Grammar(dtype=torch.float64)(["", ""], text) == pytest.approx(
        grammar(["", ""], text), abs=1e-4
    )
