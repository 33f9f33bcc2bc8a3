"""Models whose scores depend on padding, or that take no embeddings: every family of transformers'
sequence classifiers scores a row of a batch as the stock forward scores it alone."""

from __future__ import annotations

import pytest
import torch
import transformers
from aps_rewards import call_reward, is_differentiable
from aps_rewards.sequence_classifier import SequenceClassifier
from test_rewards_sequence_classifier import SIZE, model_of, pair_tokenizer

ANSWERS = ["a cat", "the violin is a string instrument", "is it big", "what is the dog ? no"]
PROMPTS = ["what is a cat ?"] * len(ANSWERS)
SEQ2SEQ = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "init_std": 0.4,
    "eos_token_id": 3,
}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
CTRL = {"n_embd": 32, "dff": 48, "n_layer": 2, "n_head": 4, "n_positions": 64}
XLNET = {"d_model": 32, "n_head": 4, "n_layer": 2, "d_inner": 48, "initializer_range": 0.4}
KINDS = {
    # kind: (its sizes, whether it steers by gradient)
    "Bert": (SIZE, True),
    "ConvBert": ({**SIZE, "embedding_size": 32}, True),  # convolutions over padding
    "FNet": (SIZE, True),  # a Fourier transform over padding
    "Nystromformer": (SIZE, True),
    "IBert": (SIZE, True),  # its embeddings come with a scale
    "CTRL": (CTRL, True),  # its head reads the last position of embeddings
    "ModernBertDecoder": ({**SIZE, "initializer_cutoff_factor": 4.0}, True),
    "XLNet": (XLNET, True),
    "Esm": ({**SIZE, "mask_token_id": 4, "token_dropout": True}, False),
    "Bart": (SEQ2SEQ, False),
    "T5": ({**T5, "decoder_start_token_id": 0, "eos_token_id": 3}, False),
}


def tokens(answers, tokenizer):
    rows = [tokenizer(answer)["input_ids"] for answer in answers]
    width = max(map(len, rows))
    ids = torch.tensor([[7] * (width - len(row)) + row for row in rows])
    live = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return rows, ids, live


def classifier(kind, sizes, **options):
    tokenizer = pair_tokenizer(False)
    config = getattr(transformers, f"{kind}Config")
    ids = {"vocab_size": len(tokenizer), "pad_token_id": 0, "num_labels": 1}
    model = model_of(config(**{**ids, **sizes}))
    return SequenceClassifier(model, tokenizer, template="answer", **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_scored_as_it_is_alone(kind, caplog):
    sizes, gradient = KINDS[kind]
    reward = classifier(kind, sizes)
    rows, ids, live = tokens(ANSWERS, reward.tokenizer)
    with torch.no_grad():
        alone = [reward.model(input_ids=torch.tensor([row])).logits[0, 0].item() for row in rows]
    assert max(alone) - min(alone) > 1e-3
    bound = 1e-3 * max(map(abs, alone))
    assert call_reward(reward, PROMPTS, ANSWERS) == pytest.approx(alone, abs=bound)
    assert is_differentiable(reward) == gradient
    assert ("steers as a black box" in caplog.text) == (not gradient)
    if not gradient:
        return
    embeds = reward.embedding_table()[ids].clone().requires_grad_()
    scores = reward.score_embeds(embeds, live, (live.cumsum(-1) - 1).clamp_min(0), prompts=PROMPTS)
    assert scores.tolist() == pytest.approx(alone, abs=bound)
    scores.sum().backward()
    assert embeds.grad[live == 0].abs().max() == 0
    assert (embeds.grad[live == 1].abs().sum(-1) > 0).all()


def test_an_extract_that_reads_padding_scores_a_row_as_it_is_alone():
    """A mean over all positions: rows then go one by one."""
    bert = classifier("Bert", SIZE)

    def mean(outputs, attention_mask):
        return outputs.hidden_states[-1].mean((1, 2))

    bert.model.config.output_hidden_states = True
    reward = SequenceClassifier(bert.model, bert.tokenizer, extract=mean, template="answer")
    together = call_reward(reward, PROMPTS, ANSWERS)
    alone = [call_reward(reward, PROMPTS[:1], [answer])[0] for answer in ANSWERS]
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("kind", ["MPNet", "Roberta", "Data2VecText", "Bert"])
def test_a_long_answer_is_cut_at_the_positions_there_are(kind):
    """Positions of some families begin behind the padding id; the tokenizer names no limit."""
    reward = classifier(kind, {**SIZE, "max_position_embeddings": 20, "pad_token_id": 1})
    assert reward.max_length == (20 if kind == "Bert" else 18)
    long, longer = call_reward(reward, PROMPTS[:2], ["a cat " * 10, "a cat " * 40])
    assert long == pytest.approx(longer, abs=1e-5)


def test_a_model_of_characters_has_no_table_of_tokens():
    with pytest.raises(ValueError, match=r"CanineForSeq.* has no table of token embeddings"):
        classifier("Canine", {**SIZE, "hidden_size": 32, "num_hash_buckets": 16})


def test_a_label_that_two_have_is_refused():
    tokenizer = pair_tokenizer(False)
    names = {0: "good", 1: "Good", 2: "bad"}
    sizes = {**SIZE, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    model = model_of(transformers.BertConfig(**sizes, id2label=names))
    with pytest.raises(ValueError, match=r"2 labels are called 'GOOD'.* number: 0, 1"):
        SequenceClassifier(model, tokenizer, label="GOOD")
    first, second = (SequenceClassifier(model, tokenizer, label=i) for i in ("good", "Good"))
    scores = [call_reward(reward, PROMPTS, ANSWERS) for reward in (first, second)]
    assert scores[0] != pytest.approx(scores[1], abs=1e-4)
