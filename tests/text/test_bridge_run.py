"""The bridge at work: gradients through it, what it carried, its memory; and RLOO beside it."""

from __future__ import annotations

import pytest
import torch
from aps_rewards.sequence_classifier import SequenceClassifier
from test_bridge import CORPUS, MAKES, bridge, byte_bpe, spoken, unigram, wordpiece, wrapped
from test_rewards_sequence_classifier import SIZE, model_of
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, Qwen2Config
from worlds import noise_for, step_at

from aps_text.core.canvas import Canvas
from aps_text.core.codebook import Relaxed
from aps_text.core.config import APSConfig
from aps_text.core.estimator import estimate
from aps_text.text.reward_operator.bridge import bridge_between
from aps_text.text.reward_operator.bridge_stats import BridgeStats
from aps_text.text.reward_operator.operator import RewardOperator
from aps_text.text.vocabulary import Vocabulary

PROMPTS = ["Is it so?", "The violin"]


def sentencepiece_bpe(size: int = 260):
    """Llama's kind: `▁` marks words, unknown characters fall back to bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=size + len(names), special_tokens=names[:3]),
    )
    return wrapped(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def judge(tokenizer, seed=0) -> SequenceClassifier:
    """A float64 BERT behind any tokenizer."""
    size = {**SIZE, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    config = BertConfig(**size, num_labels=1, type_vocab_size=1)
    template = "pair" if tokenizer.cls_token_id is not None else "Q: {question} A: {answer}"
    reward = SequenceClassifier(model_of(config, seed), tokenizer, template=template)
    reward.model.double()
    reward._table = reward.model.get_input_embeddings().weight.detach()
    return reward


def operator(generator, reward, prompts=PROMPTS, **options) -> RewardOperator:
    return RewardOperator(
        reward,
        "judge",
        prompts,
        Vocabulary(
            tokenizer=generator,
            size=len(generator),
            mask_id=-1,
            pad_id=generator.pad_token_id,
            fill_id=generator.pad_token_id,
            stop_ids=(generator.eos_token_id,),
        ),
        **options,
    )


def canvas_of(generator, *texts, width=7):
    """Canvases ending in the stop token, and two masked positions in each."""
    rows = [generator(t, add_special_tokens=False)["input_ids"][: width - 1] for t in texts]
    rows = [[*row, generator.eos_token_id] for row in rows]
    ids = torch.tensor([row + [generator.pad_token_id] * (width - len(row)) for row in rows])
    masked = torch.zeros_like(ids, dtype=torch.bool)
    masked[:, :2] = True
    return ids, masked


def relaxed_of(generator, ids, masked, probs, relaxation="expectation"):
    rows, cols = masked.nonzero(as_tuple=True)
    alive = (ids == generator.eos_token_id).cumsum(-1) == 0
    return Relaxed(ids, rows, cols, probs, alive, relaxation)


TARGETS = {
    "uncased": lambda: wordpiece(True),
    "cased": lambda: wordpiece(False),
    "unigram": unigram,
    "sentencepiece bpe": sentencepiece_bpe,
    "byte bpe": lambda: byte_bpe(330),
}


@pytest.mark.parametrize(
    ("target", "policy"),
    [
        (target, policy)
        for target in TARGETS
        for policy in ("restrict", "zero", "unk")
        if (target, policy) != ("byte bpe", "unk")  # it has no unknown token
    ],
)
def test_gradient_through_the_bridge_against_finite_differences(target, policy):
    generator, tokenizer = byte_bpe(300), TARGETS[target]()
    op = operator(generator, judge(tokenizer), policy=policy)
    ids, masked = canvas_of(generator, "The cat sings", "A lion, in Berlin")
    draws = torch.Generator().manual_seed(0)
    probs = torch.randn(4, len(generator), generator=draws, dtype=torch.float64).softmax(-1)
    probs.requires_grad_()

    def score(p):
        return op.log_prob(relaxed_of(generator, ids, masked, p)).total.sum()

    (gradient,) = torch.autograd.grad(score(probs), probs)
    assert (gradient.abs().sum(-1) > 1e-9).all()
    direction = torch.randn(probs.shape, generator=draws, dtype=torch.float64)
    with torch.no_grad():
        step = 1e-7 * direction
        found = (score(probs + step) - score(probs - step)) / 2e-7
    assert float(found) == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


def test_sentencepiece_bpe_maps_like_the_others():
    made = sentencepiece_bpe()
    assert bridge(made, made).matched_share == 1
    for make in MAKES.values():
        other = make()
        found = bridge(other, made)
        for k in found.matched.nonzero().flatten().tolist():
            said, heard = spoken(other, k), spoken(made, int(found.map[k]))
            assert said.strip() == heard.strip()


class Largest(TorchDispatchMode):
    """Notes the largest tensor any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor) and not func.is_view:
                self.numel = max(self.numel, one.numel())
        return result


@pytest.mark.parametrize("relaxation", ["expectation", "quantized", "entropy"])
def test_nothing_of_size_length_times_vocabulary_times_width(relaxation):
    generator, tokenizer = byte_bpe(420), wordpiece(True)
    op = operator(generator, judge(tokenizer))
    ids, masked = canvas_of(generator, "The cat sings in", "A lion, in Berlin sings", width=12)
    masked[:] = True
    count, size, width = int(masked.sum()), len(generator), 32
    probs = torch.rand(count, size, dtype=torch.float64).softmax(-1).requires_grad_()
    op.log_prob(relaxed_of(generator, ids, masked, probs, relaxation))  # builds what is kept
    with Largest() as largest:
        total = op.log_prob(relaxed_of(generator, ids, masked, probs, relaxation)).total
        torch.autograd.grad(total.sum(), probs)
    assert largest.numel >= count * size  # it does see the probabilities
    assert largest.numel <= max(count * size, size * width, len(tokenizer) * width)
    assert count * size * width > 10 * largest.numel


def test_what_was_carried_is_reported():
    generator = byte_bpe(420)
    op = operator(generator, judge(byte_bpe(420)))
    ids, masked = canvas_of(generator, "the cat sings", "the violin")
    op.log_prob_ids(ids)
    assert (op.stats.texts, op.stats.changed) == (2, 0)
    letters = generator.convert_tokens_to_ids(["t", "h", "e", "Ġ", "c", "a", "t"])
    spelled = torch.tensor([letters, ids[1].tolist()])
    assert op.texts(spelled)[0] == "the cat"
    op.take(torch.tensor([0, 1])).log_prob_ids(spelled)
    assert op.stats.retokenised == 0.25  # one of four: it reads the same and is cut otherwise
    probs = torch.zeros(4, len(generator), dtype=torch.float64)
    probs[:, letters[0]], probs[:, generator.eos_token_id] = 0.5, 0.5
    op.log_prob(relaxed_of(generator, ids, masked, probs))
    assert op.stats.mass == 1.0


def test_the_mean_of_rloo_is_the_enumerated_gradient():
    """A black box on text, behind decoding and the stop token: all answers enumerated."""
    generator = byte_bpe(300)
    words = generator.convert_tokens_to_ids(["a", "t", "Ġ", "<|end|>"])
    canvas = Canvas.open(
        [2], mask_id=generator.mask_token_id, fill_id=generator.pad_token_id, stop_ids=[words[-1]]
    )

    def black_box(prompts, completions, **columns):
        return [len(c) + 2.0 * c.count("at") - 0.5 * c.count("t") for c in completions]

    op = operator(generator, black_box, prompts=["q"])
    logits = torch.full((2, len(generator)), -1e9, dtype=torch.float64)
    logits[0, words] = torch.tensor([0.3, -0.2, 0.1, -0.4], dtype=torch.float64)
    logits[1, words] = torch.tensor([-0.5, 0.4, 0.2, 0.0], dtype=torch.float64)
    # Exactly: every answer, its probability and its reward.
    leaf = logits.clone().requires_grad_()
    answers = torch.cartesian_prod(torch.tensor(words), torch.tensor(words))
    log_probs = leaf.log_softmax(-1)
    law = log_probs[0, answers[:, 0]] + log_probs[1, answers[:, 1]]
    rewards = op.take(torch.zeros(len(answers), dtype=torch.long)).log_prob_ids(answers).total
    (exact,) = torch.autograd.grad((law.exp() * rewards).sum(), leaf)
    batch, config = 3000, APSConfig(estimator="rloo", num_samples=4, adapter="logits")
    rows = torch.zeros(batch, dtype=torch.long)
    wide, many = canvas.take(rows), logits.repeat(batch, 1).requires_grad_()
    step = step_at(wide, generator.mask_token_id, config, noise_for(range(batch)))
    found = estimate(op.take(rows), many.log_softmax(-1), step, 0)
    (each,) = torch.autograd.grad(found.surrogate.sum(), many)
    each = each.view(batch, 2, -1)[..., words]
    error = each.std(0) / batch**0.5
    assert ((each.mean(0) - exact[:, words]).abs() < 4 * error).all()
    assert exact[:, words].abs().max() > 20 * error.max()


def test_a_decoder_reward_behind_another_family():
    """A Qwen-like judge with a chat template, a WordPiece generator: relaxed on hard canvases is
    the score of the mapped tokens, and of the text where the text is cut the same way."""
    tokenizer = byte_bpe(420)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}<|end|>{% endfor %}"
    )
    config = Qwen2Config(**SIZE, vocab_size=len(tokenizer), num_labels=1, num_key_value_heads=2)
    reward = SequenceClassifier(model_of(config), tokenizer)
    generator = byte_bpe(420)
    op = operator(generator, reward, policy="error")
    ids, masked = canvas_of(generator, "The cat sings", "A lion, in Berlin")
    hard = torch.nn.functional.one_hot(ids[masked], len(generator)).float()
    for relaxation in ("expectation", "quantized"):
        soft = op.log_prob(relaxed_of(generator, ids, masked, hard, relaxation)).total
        torch.testing.assert_close(soft, op.log_prob_ids(ids).total.float(), atol=1e-4, rtol=0)
    assert op.stats.retokenised == 0


def test_a_frame_that_the_rewards_tokenizer_puts_around_texts_is_no_change_of_theirs():
    target = wordpiece(True)
    ids = [(name, target.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    target.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ids
    )
    source = wordpiece(True)
    stats = BridgeStats(bridge_between(source, target, vocab_size=len(source)))
    texts = ["the violin sings", "a cat", ""]
    answers = source(texts, add_special_tokens=False)["input_ids"]
    stats.count_texts(target, answers, texts)
    assert (stats.texts, stats.changed, stats.retokenised) == (3, 0, 0)
    stats.count_texts(target, [answers[1], answers[0][:-1]], texts[1::-1])
    assert (stats.texts, stats.changed) == (5, 1)
    assert stats.retokenised == 1 / 5
