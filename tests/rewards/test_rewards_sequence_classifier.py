"""Hugging Face reward models on tiny random weights: text and embedding side agree, with each
other and with the stock forward, whatever the batch, the padding and its side."""

from __future__ import annotations

import pytest
import torch
from aps_rewards import RewardError, call_reward, describe, is_differentiable, load_reward
from aps_rewards.published import PUBLISHED
from aps_rewards.sequence_classifier import SequenceClassifier
from test_bridge import byte_bpe
from tiny import word_tokenizer
from tokenizers import processors
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    LlamaConfig,
    ModernBertConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

CHATML = "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.4,
}
PROMPTS = ["The violin sings", "Is it a lion?", "The violin sings", "A cat in Berlin"]
ANSWERS = ["within the large evening", "A cat", "so", "The violin is a stringed instrument, so"]


def chat_tokenizer():
    tokenizer = byte_bpe(420)
    tokenizer.chat_template = CHATML
    return tokenizer


def pair_tokenizer(types: bool):
    tokenizer = word_tokenizer()
    ids = [(t, tokenizer.convert_tokens_to_ids(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    if types:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def model_of(config, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
    return model.float().eval()


def build(kind: str, labels: int = 1, **options):
    decoder = kind in ("qwen2", "qwen3", "llama")
    tokenizer = chat_tokenizer() if decoder else pair_tokenizer(kind == "bert")
    config = {
        "qwen2": Qwen2Config,
        "qwen3": Qwen3Config,
        "llama": LlamaConfig,
        "bert": BertConfig,
        "roberta": RobertaConfig,
        "deberta": DebertaV2Config,
        "modernbert": ModernBertConfig,
    }[kind]
    extra = {
        "qwen2": {"num_key_value_heads": 2},
        "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
        "llama": {"num_key_value_heads": 2},
        "roberta": {"max_position_embeddings": 80, "type_vocab_size": 1, "pad_token_id": 1},
        "bert": {"max_position_embeddings": 64},
        "deberta": {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
            "type_vocab_size": 0,
            "max_position_embeddings": 64,
        },
        "modernbert": {
            "global_attn_every_n_layers": 2,
            "local_attention": 6,
            "cls_token_id": 2,
            "sep_token_id": 3,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "pad_token_id": 0,
            "initializer_cutoff_factor": 4.0,
        },
    }[kind]
    common = {"vocab_size": len(tokenizer), "num_labels": labels}
    if decoder:
        common["pad_token_id"] = tokenizer.pad_token_id
    model = model_of(config(**{**SIZE, **common, **extra}))
    return SequenceClassifier(model, tokenizer, **options)


KINDS = ["qwen2", "qwen3", "llama", "bert", "roberta", "deberta", "modernbert"]


@pytest.fixture(scope="module", params=KINDS)
def reward(request):
    return build(request.param)


def rows_of(reward):
    rows = []
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
        before, after = reward.frame(prompt)
        rows.append((before, reward.template.answer(answer), after))
    return rows


def stock(reward) -> torch.Tensor:
    """transformers' own forward on token ids, row by row, without any padding."""
    scores = []
    for before, middle, after in rows_of(reward):
        inputs = {"input_ids": torch.tensor([[*before, *middle, *after]])}
        if reward.template.second_from_answer:
            types = [0] * len(before) + [1] * (len(middle) + len(after))
            inputs["token_type_ids"] = torch.tensor([types])
        with torch.no_grad():
            scores.append(reward.model(**inputs).logits[0])
    return torch.stack(scores)


def embedded(reward, layout: str, rows=range(4)):
    """Frames and answers as embeddings, with gaps of garbage where the layout puts them."""
    picked = [rows_of(reward)[i] for i in rows]
    widths = [max(len(row[k]) for row in picked) for k in range(3)]
    ids, mask = [], []
    for row in picked:
        mine, live = [], []
        for k, part in enumerate(row):
            gap = [7] * (widths[k] - len(part))
            left = layout == "left" or (layout == "holes" and k == 0)
            mine += [*gap, *part] if left else [*part, *gap]
            live += [0] * len(gap) + [1] * len(part) if left else [1] * len(part) + [0] * len(gap)
        if layout in ("left", "right"):  # gaps all on that side, as tokenizers pad
            flat = [t for t, on in zip(mine, live, strict=True) if on]
            gap = [7] * (len(mine) - len(flat))
            mine = [*gap, *flat] if layout == "left" else [*flat, *gap]
            live = [0] * len(gap) + [1] * len(flat)
            live = live if layout == "left" else live[::-1]
        ids.append(mine)
        mask.append(live)
    live = torch.tensor(mask)
    embeds = reward.embedding_table()[torch.tensor(ids)].clone()
    return embeds, live, (live.cumsum(-1) - 1).clamp_min(0), [PROMPTS[i] for i in rows]


def test_the_weights_tell_answers_apart(reward):
    spread = stock(reward)[:, 0]
    assert spread.std() > 0.05


def test_as_many_answers_as_prompts(reward):
    with pytest.raises(ValueError, match="shorter"):
        reward(PROMPTS, ANSWERS[:-1])


def test_text_equals_the_stock_forward_in_any_batch(reward):
    expected = stock(reward)[:, 0].tolist()
    for batch_size in (1, 3, 16):
        reward.batch_size = batch_size
        assert reward(PROMPTS, ANSWERS) == pytest.approx(expected, abs=1e-4)
    assert call_reward(reward, PROMPTS[::-1], ANSWERS[::-1]) == pytest.approx(
        expected[::-1], abs=1e-4
    )


@pytest.mark.parametrize("layout", ["left", "right", "holes"])
def test_embeddings_equal_text_wherever_the_padding_stands(reward, layout):
    embeds, live, positions, prompts = embedded(reward, layout)
    expected = torch.tensor(reward(PROMPTS, ANSWERS))
    found = reward.score_embeds(embeds, live, positions, prompts=prompts)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    for row in range(4):  # and alone
        one = embedded(reward, layout, [row])
        alone = reward.score_embeds(*one[:3], prompts=one[3])
        torch.testing.assert_close(alone[0], expected[row], atol=1e-4, rtol=0)


def test_either_padding_side_gives_the_same(reward):
    embeds, live, positions, prompts = embedded(reward, "holes")
    expected = reward.score_embeds(embeds, live, positions, prompts=prompts)
    if not reward._last_token:
        with pytest.raises(ValueError, match="reads its first token"):
            SequenceClassifier(reward.model, reward.tokenizer, padding_side="left")
        return
    left = SequenceClassifier(reward.model, reward.tokenizer, padding_side="left")
    found = left.score_embeds(embeds, live, positions, prompts=prompts)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert left(PROMPTS, ANSWERS) == pytest.approx(reward(PROMPTS, ANSWERS), abs=1e-4)


def test_the_gradient_reaches_live_embeddings_only(reward):
    embeds, live, positions, prompts = embedded(reward, "holes")
    embeds.requires_grad_()
    scores = reward.score_embeds(embeds, live, positions, prompts=prompts)
    (gradient,) = torch.autograd.grad(scores.sum(), embeds)
    size = gradient.abs().sum(-1)
    assert (size[live == 0] == 0).all()
    assert (size[live == 1] > 0).all()


# Qwen's norms compute in float32, whatever the weights: a longer step, a looser bound.
@pytest.mark.parametrize(("kind", "length", "rel"), [("bert", 1e-5, 1e-5), ("qwen3", 3e-4, 2e-3)])
def test_gradient_against_finite_differences(kind, length, rel):
    reward = build(kind)
    reward.model.double()
    embeds, live, positions, prompts = embedded(reward, "holes", [1, 2])
    embeds = embeds.double().requires_grad_()
    direction = torch.randn(embeds.shape, generator=torch.Generator().manual_seed(0)).double()

    def score(e):
        return reward.score_embeds(e, live, positions, prompts=prompts)

    (gradient,) = torch.autograd.grad(score(embeds).sum(), embeds)
    with torch.no_grad():
        step = length * direction
        found = (score(embeds + step) - score(embeds - step)).sum() / (2 * length)
    assert float(found) == pytest.approx(float((gradient * direction).sum()), rel=rel)


# The traps


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_the_stock_forward_reads_padding_when_given_embeddings(kind):
    """Why the head is applied here: right-padded embeddings, position -1."""
    reward = build(kind)
    embeds, live, positions, prompts = embedded(reward, "right")
    expected = stock(reward)[:, 0]
    with torch.no_grad():
        read = reward.model(
            inputs_embeds=embeds, attention_mask=live, position_ids=positions
        ).logits[:, 0]
    padded = live[:, -1] == 0
    assert bool(padded.any())
    assert ((read - expected).abs()[padded] > 1e-2).all()
    found = reward.score_embeds(embeds, live, positions, prompts=prompts)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_chat_frames_hold_one_bos_and_no_system_prompt():
    tokenizer = chat_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", end)]
    )
    tokenizer.chat_template = "<|end|>" + CHATML.replace("<|end|>\n", "</s>")
    config = Qwen2Config(
        **SIZE, vocab_size=len(tokenizer), num_labels=1, num_key_value_heads=2, pad_token_id=1
    )
    model = model_of(config)
    reward = SequenceClassifier(model, tokenizer)
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Is it so?"}]
    before, after = reward.frame(chat)
    assert before.count(end) == 1
    assert (before, after) == reward.frame("Is it so?")
    assert "Be kind." not in tokenizer.decode(before)
    assert "Be kind." in tokenizer.decode(
        SequenceClassifier(model, tokenizer, system=True).frame(chat)[0]
    )
    # The frame with an answer reads as the whole conversation printed by the template.
    said = [{"role": "user", "content": "Is it so?"}, {"role": "assistant", "content": "A cat"}]
    whole = tokenizer.apply_chat_template(said, tokenize=False)
    ids = [*before, *reward.template.answer("A cat"), *after]
    assert ids == tokenizer(whole, add_special_tokens=False)["input_ids"]
    silent = chat_tokenizer()
    silent.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(ValueError, match="does not print the assistant's answer exactly once"):
        SequenceClassifier(model, silent).frame("q")


def test_pairs_are_the_tokenizers_own():
    reward = build("bert")
    both = reward.tokenizer(PROMPTS[0], ANSWERS[0])
    before, middle, after = rows_of(reward)[0]
    assert [*before, *middle, *after] == both["input_ids"]
    assert both["token_type_ids"] == [0] * len(before) + [1] * (len(middle) + len(after))


def test_a_reward_is_tried_on_its_own_device():
    reward = build("bert")
    assert reward.template.second_from_answer
    live, ids = torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 4, dtype=torch.long)
    wanted = reward._tried(live, input_ids=ids)
    with torch.device("meta"):  # another device than the model's
        assert reward._tried(live, input_ids=ids).tolist() == wanted.tolist()


# Labels, templates, heads


def test_a_label_is_a_log_probability():
    reward = build("bert", labels=3, label="LABEL_2")
    assert describe(reward).range == (-float("inf"), 0.0)
    expected = stock(reward).log_softmax(-1)[:, 2]
    assert reward(PROMPTS, ANSWERS) == pytest.approx(expected.tolist(), abs=1e-4)
    # A classifier reads the answer alone: the question changes nothing.
    assert reward(PROMPTS[::-1], ANSWERS) == pytest.approx(expected.tolist(), abs=1e-5)
    by_number = SequenceClassifier(reward.model, reward.tokenizer, label=2)
    assert by_number(PROMPTS, ANSWERS) == reward(PROMPTS, ANSWERS)
    reward.model.config.problem_type = "multi_label_classification"
    expected = torch.nn.functional.logsigmoid(stock(reward)[:, 2])
    assert reward(PROMPTS, ANSWERS) == pytest.approx(expected.tolist(), abs=1e-4)
    reward.model.config.problem_type = "regression"  # several scores, no classes
    assert reward(PROMPTS, ANSWERS) == pytest.approx(stock(reward)[:, 2].tolist(), abs=1e-4)
    described = describe(SequenceClassifier(reward.model, reward.tokenizer, label=2))
    assert "log-probability" not in described.measures
    with pytest.raises(ValueError, match="no label True"):
        SequenceClassifier(reward.model, reward.tokenizer, label=True)


def test_the_only_label_is_the_score_by_whatever_name():
    plain = build("qwen2")
    for label in (0, "LABEL_0"):
        named = SequenceClassifier(plain.model, plain.tokenizer, label=label)
        assert named(PROMPTS, ANSWERS) == plain(PROMPTS, ANSWERS)  # no log-softmax of one logit
    with pytest.raises(ValueError, match="label=0 is not read"):
        SequenceClassifier(plain.model, plain.tokenizer, label=0, extract=lambda out, mask: out)


def test_a_pairwise_model_reads_a_reference_answer():
    template = "{question}\nA: {answer}\nB: {reference}"
    qwen = build("qwen2")
    reward = SequenceClassifier(qwen.model, qwen.tokenizer, template=template)
    columns = {"reference": ["a lion", "a cat", "a cat", "a violin"]}
    scores = call_reward(reward, PROMPTS, ANSWERS, columns)
    other = call_reward(reward, PROMPTS, ANSWERS, {"reference": ["a cat"] * 4})
    assert [a == b for a, b in zip(scores, other, strict=True)] == [False, True, True, False]
    before, after = reward.frame("Is it?", reference="a cat")
    decode = reward.tokenizer.decode
    assert decode(before) == "Is it?\nA: "
    assert decode(after) == "\nB: a cat"
    fixed = SequenceClassifier(qwen.model, qwen.tokenizer, template=template, reference="a cat")
    assert fixed(PROMPTS, ANSWERS) == other
    with pytest.raises(RewardError, match=r"give reference=\.\.\., or a column 'reference'"):
        call_reward(reward, PROMPTS, ANSWERS)
    own = SequenceClassifier(
        qwen.model,
        qwen.tokenizer,
        template=lambda prompt, columns: (prompt + "\nA: ", "\nB: a cat"),
    )
    assert own(PROMPTS, ANSWERS) == other


def test_other_heads_by_extract():
    """A head that averages two outputs of a chosen position; the mask says where."""
    qwen = build("qwen3", labels=2, label=0)
    seen = []

    def margin(outputs, attention_mask):
        seen.append(attention_mask)
        return outputs.logits[:, 0] - outputs.logits[:, 1]

    reward = SequenceClassifier(qwen.model, qwen.tokenizer, extract=margin, template="chat")
    expected = [float(row[0] - row[1]) for row in stock(qwen)]
    embeds, live, positions, prompts = embedded(reward, "holes")
    found = reward.score_embeds(embeds, live, positions, prompts=prompts)
    assert bool((seen[-1][:, -1] == 1).all())  # packed to the right: position -1 is the answer's
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    # transformers looks the last token up by id here, and finds it.
    assert reward(PROMPTS, ANSWERS) == pytest.approx(expected, abs=1e-4)


def test_length_limits():
    full = build("bert")
    with pytest.raises(ValueError, match="max_length is a number of tokens from 1 on, got 0"):
        SequenceClassifier(full.model, full.tokenizer, max_length=0)
    assert SequenceClassifier(full.model, full.tokenizer, max_length=1).max_length == 1
    reward = SequenceClassifier(full.model, full.tokenizer, max_length=12)
    long = "the violin is a big big big big big big big"
    before, after = reward.frame("why ?")
    cut = full.tokenizer.decode(full.template.answer(long)[: 12 - len(before) - len(after)])
    assert reward(["why ?"], [long]) == pytest.approx(reward(["why ?"], [cut]), abs=1e-5)
    embeds, live, positions, prompts = embedded(full, "right")
    with pytest.raises(ValueError, match=r"exceed the 12 that .* shorten max_new_tokens"):
        reward.score_embeds(embeds, live, positions, prompts=prompts)
    with pytest.raises(RewardError, match=r"takes \d+ tokens of the 12 .*shorten it"):
        call_reward(reward, ["violin " * 12], ["a"])
    assert build("roberta").max_length == 78  # positions start behind the padding's


def test_empty_answers_have_a_score():
    for kind in ("qwen2", "bert"):
        reward = build(kind)
        assert all(abs(v) < 1e4 for v in reward(["q"], [""]))
    bare = build("qwen2")
    reward = SequenceClassifier(bare.model, bare.tokenizer, template="answer")
    assert reward.frame("q") == ([bare.tokenizer.eos_token_id], [])
    assert len(reward(["q"], [""])) == 1


def test_scores_are_float32_or_wider():
    reward = build("qwen2")
    expected = reward(PROMPTS, ANSWERS)
    half = SequenceClassifier(reward.model, reward.tokenizer, dtype=torch.bfloat16)
    embeds, live, positions, prompts = embedded(half, "holes")
    assert embeds.dtype == torch.bfloat16
    found = half.score_embeds(embeds, live, positions, prompts=prompts)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("bert", {"labels": 3}, r"has 3 labels \(LABEL_0, LABEL_1, LABEL_2\); choose one"),
        ("bert", {"labels": 2, "label": "good"}, "no label 'good'; the model has LABEL_0"),
        ("bert", {"template": "chat"}, "no chat template; use 'pair' or 'answer'"),
        ("bert", {"template": "A: {question}"}, "a text with one {answer}"),
        ("bert", {"batch_size": 0}, "batch_size must be >= 1"),
        ("bert", {"padding_side": "middle"}, "padding_side is 'left' or 'right', got 'middle'"),
    ],
)
def test_bad_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        build(kind, **options)


# Loading


def test_a_folder_or_an_id_is_a_reward(tmp_path, monkeypatch):
    built = build("qwen3")
    built.model.save_pretrained(tmp_path / "judge")
    built.tokenizer.save_pretrained(tmp_path / "judge")
    reward = load_reward(str(tmp_path / "judge"), padding_side="left")
    assert is_differentiable(reward)
    assert reward.name == "judge"
    assert reward(PROMPTS, ANSWERS) == pytest.approx(built(PROMPTS, ANSWERS), abs=1e-4)
    with pytest.raises(TypeError, match="no option 'paddingside'; it has"):
        load_reward(str(tmp_path / "judge"), paddingside="left")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        load_reward(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"no reward 'nobody/nothing'.* As a model: "):
        load_reward("nobody/nothing", local_files_only=True)


def test_remote_code_runs_on_request_only(tmp_path):
    import json

    built = build("bert")
    built.model.save_pretrained(tmp_path)
    built.tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "surprise.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "surprise.py").write_text(
        "from transformers import BertForSequenceClassification\n"
        "class Model(BertForSequenceClassification):\n    surprising = True\n"
    )
    assert not hasattr(load_reward(str(tmp_path)).model, "surprising")
    assert load_reward(str(tmp_path), trust_remote_code=True).model.surprising


def test_presets_name_options_that_exist():
    import inspect

    known = inspect.signature(SequenceClassifier).parameters
    for name, options in PUBLISHED.items():
        assert options.keys() <= known.keys(), name
        assert options["licence"]


def test_another_vocabulary_scale_is_followed():
    """Embedding modules that scale their weight: the table holds what the model reads."""

    class Scaled(torch.nn.Embedding):
        def forward(self, ids):
            return super().forward(ids) * 3

    reward = build("llama")
    old = reward.model.get_input_embeddings()
    scaled = Scaled(*old.weight.shape)
    scaled.weight = torch.nn.Parameter(old.weight / 3)
    reward.model.set_input_embeddings(scaled)
    again = SequenceClassifier(reward.model, reward.tokenizer)
    torch.testing.assert_close(again.embedding_table(), old.weight.detach())


def test_presets_are_those_of_the_cards():
    """Read anew: what `load_reward("owner/name")` fills in."""
    import importlib

    from aps_rewards import published

    table = importlib.reload(published).PUBLISHED
    found = {
        name: tuple(options.get(key) for key in ("label", "template", "max_length", "batch_size"))
        for name, options in table.items()
    }
    assert found == {
        "Skywork/Skywork-Reward-V2-Qwen3-0.6B": (None, "chat", 16384, 4),
        "Skywork/Skywork-Reward-V2-Qwen3-1.7B": (None, "chat", 16384, 4),
        "Skywork/Skywork-Reward-V2-Qwen3-4B": (None, "chat", 16384, 4),
        "cardiffnlp/twitter-roberta-base-sentiment-latest": ("positive", "answer", None, None),
        "s-nlp/roberta_toxicity_classifier": ("neutral", "answer", None, None),
        "textattack/roberta-base-CoLA": (1, "answer", None, None),
    }
    assert table["Skywork/Skywork-Reward-V2-Qwen3-4B"]["system"] is False


@pytest.mark.parametrize("many", [-1, 1])
def test_a_head_that_gives_another_number_of_scores_is_an_error(many):
    """Not a row that silently keeps its 0."""
    bert = build("bert")

    def wrong(outputs, attention_mask):
        return torch.zeros(len(attention_mask) + many)

    reward = SequenceClassifier(bert.model, bert.tokenizer, extract=wrong, template="pair")
    with pytest.raises(ValueError, match="zip"):
        reward(PROMPTS, ANSWERS)


def test_a_classifier_in_training_mode_is_refused():
    reward = build("bert")
    before = reward(PROMPTS, ANSWERS)
    reward.model.train()
    with pytest.raises(RewardError, match=r"in training mode.*model\.eval\(\)"):
        call_reward(reward, PROMPTS, ANSWERS)
    reward.model.eval()
    assert reward(PROMPTS, ANSWERS) == before
