"""The pipeline on tiny random weights: inputs, outputs, determinism, errors."""

from __future__ import annotations

import json

import pytest
import torch
from tiny import tiny_bert, tiny_text_model, word_tokenizer

from aps_text import APSConfig, APSPipeline

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?"]
SMALL = {"steps": 4, "max_new_tokens": 8}


def many_vowels(prompts, completions, **columns):
    """A black box with an obvious gradient."""
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


def test_one_question_one_answer(pipe):
    out = pipe(QUESTIONS[0], many_vowels, **SMALL)
    assert len(out) == len(out.token_ids) == 1
    assert out.text[0]
    assert out.rewards["many_vowels"] == pytest.approx(many_vowels([], out.text))
    assert out.rewards["total"] == out.rewards["many_vowels"]
    assert out.cost.seconds > 0
    assert out.cost.peak_memory_mb > 0
    record = json.loads(json.dumps(out.as_dicts()[0]))
    assert record.keys() == {"prompt", "text", "cut_off", "rewards", "relaxed", "cost"}
    assert record["cut_off"] is out.cut_off[0]


def test_an_answer_may_be_of_one_token(pipe):
    full = pipe(QUESTIONS, many_vowels, max_new_tokens=1, seed=3)
    assert all(text for text in full.text)


def test_lists_generators_and_messages_give_the_same_answers(pipe):
    want = pipe.generate(QUESTIONS, **SMALL).text
    assert pipe.generate((q for q in QUESTIONS), **SMALL).text == want
    chats = [[{"role": "user", "content": q}] for q in QUESTIONS]
    assert pipe.generate(chats, **SMALL).text == want
    assert pipe.generate(chats[0], **SMALL).text == want[:1]


def test_batches_of_any_size_give_the_same_answers(pipe):
    whole = pipe(QUESTIONS, many_vowels, num_return_sequences=2, **SMALL)
    single = APSPipeline(pipe.model, batch_size=1)
    assert single(QUESTIONS, many_vowels, num_return_sequences=2, **SMALL).text == whole.text


@pytest.mark.parametrize("adapter", ["lora", "logits"])
def test_the_global_random_state_is_neither_read_nor_moved(pipe, adapter):
    found = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            asked = {"adapter": adapter, "temperature": 1.0, **SMALL}
            found.append(pipe(QUESTIONS, many_vowels, **asked).token_ids)
            found.append(pipe.generate(QUESTIONS, temperature=1.0, **SMALL).token_ids)
            assert torch.get_rng_state().equal(before)
    assert found[:2] == found[2:]


def test_plain_batch_equals_single_on_uneven_prompts():
    pipe = APSPipeline(tiny_text_model(), batch_size=32)
    generator = torch.Generator().manual_seed(0)
    words = [w for w in pipe.model.tokenizer.get_vocab() if w.isalpha() and len(w) > 1]
    prompts = []
    for _ in range(96):
        length = int(torch.randint(1, 20, (1,), generator=generator))
        picks = torch.randint(len(words), (length,), generator=generator).tolist()
        prompts.append(" ".join(words[i] for i in picks))
    together = pipe.generate(prompts, **SMALL).token_ids
    alone = APSPipeline(pipe.model, batch_size=1).generate(prompts, **SMALL).token_ids
    assert sum(a != b for a, b in zip(together, alone, strict=True)) == 0


def test_return_sequences_differ_and_are_prompt_major(pipe):
    out = pipe.generate(QUESTIONS[:2], num_return_sequences=3, temperature=1.0, **SMALL)
    assert out.prompts == [q for q in QUESTIONS[:2] for _ in range(3)]
    assert len(set(out.text[:3])) == 3
    first = pipe.generate(QUESTIONS[0], temperature=1.0, **SMALL).text
    assert out.text[0] == first[0]


def test_a_prompts_own_seed_decides(pipe):
    options = {"temperature": 1.0, **SMALL}
    a = pipe.generate(QUESTIONS[:2], seeds=[5, 6], **options).text
    b = pipe.generate(QUESTIONS[1::-1], seeds=[6, 5], **options).text
    assert a == b[::-1]
    assert pipe.generate(QUESTIONS[0], seed=5, **options).text == a[:1]
    with pytest.raises(ValueError, match="seed=4 has no use beside seeds, which holds one per pr"):
        pipe.generate(QUESTIONS[:2], seeds=[5, 6], seed=4, **options)
    control = {"control": "shuffled", "seed": 4}  # which reads the seed
    assert pipe(QUESTIONS[0], many_vowels, seeds=[5], **control, **options).text
    assert pipe.generate(QUESTIONS[0], seed=7, **options).text != a[:1]


def test_no_answer_holds_a_mask_or_is_empty(pipe):
    out = pipe.generate(QUESTIONS, num_return_sequences=8, **SMALL)
    banned = set(pipe.model.parts.suppressed)
    assert all(ids and not banned & set(ids) for ids in out.token_ids)
    empty = pipe.generate(QUESTIONS, eos_penalty=-1000.0, min_new_tokens=0, **SMALL)
    assert empty.text == ["", "", ""]
    three = pipe.generate(QUESTIONS, eos_penalty=-1000.0, min_new_tokens=3, **SMALL)
    assert [len(ids) for ids in three.token_ids] == [3, 3, 3]


def test_steps_stream_and_call_back(pipe):
    seen = []
    out = pipe(
        QUESTIONS[0],
        many_vowels,
        on_step=lambda step, state: seen.append((step, state.z.clone())),
        keep_trajectory=True,
        **SMALL,
    )
    assert [step for step, _ in seen] == list(range(len(out.trajectory[0])))
    assert torch.equal(seen[-1][1], out.trajectory[0][-1].z)
    for _ in pipe.stream(QUESTIONS[0], many_vowels, **SMALL):
        assert torch.is_grad_enabled()
    streamed = [texts[0] for _, texts in pipe.stream(QUESTIONS[0], many_vowels, **SMALL)]
    assert len(streamed) == len(seen)
    assert "_" in streamed[0]
    assert "_" not in streamed[-1]
    state = next(state for state in out.trajectory[0] if state.guided)
    assert set(state.loss) == {"prior", "likelihood"}
    assert set(state.rewards) == {"many_vowels"}
    assert (state.tilted[0][state.revealed[0]] > 0).all()


def test_columns_reach_the_reward_row_by_row(pipe):
    def same(prompts, completions, wanted, **columns):
        return [float(w == p) for w, p in zip(wanted, prompts, strict=True)]

    out = pipe(QUESTIONS, same, columns={"wanted": QUESTIONS}, num_return_sequences=2, **SMALL)
    assert out.rewards["same"] == [1.0] * 6


def test_weights_sum_and_weight_zero_only_reports(pipe):
    def length(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    plain = pipe.generate(QUESTIONS, reward=[(many_vowels, 2.0), (length, 0.0)], **SMALL)
    assert plain.rewards["length"] == [float(len(text)) for text in plain.text]
    assert plain.rewards["total"] == pytest.approx([2 * v for v in plain.rewards["many_vowels"]])
    # A reward of weight 0 steers nothing.
    zero = pipe(QUESTIONS, [(length, 0.0)], prior="kl", **SMALL)
    assert zero.text == plain.text
    (said,) = [one for one in zero.warnings if "has weight 0, so nothing steered" in one]
    assert said.endswith("give one another weight, or take method 'plain', which only measures")
    both = pipe(QUESTIONS, [(length, 0.0), (many_vowels, 1.0)], **SMALL)
    for other in (plain, both, pipe.generate(QUESTIONS, reward=(length, 0), **SMALL)):
        assert not [one for one in other.warnings if "has weight 0" in one]


def test_adapters_are_saved_and_warm_start(pipe, tmp_path):
    out = pipe(QUESTIONS[0], many_vowels, carry_over=True, learning_rate=0.1, **SMALL)
    out.save_adapter(0, tmp_path)
    options = {"guidance_end": 0.25, "inner_steps": 1, "trust_region": None, **SMALL}
    warm = pipe(QUESTIONS[0], many_vowels, warm_start=tmp_path, **options)
    cold = pipe(QUESTIONS[0], many_vowels, **options)
    # theta needs a forward of its own where phi does not start at it
    assert warm.cost.denoiser_forwards == cold.cost.denoiser_forwards + 1
    with pytest.raises(ValueError, match="no LoRA adapter for answer 3"):
        out.save_adapter(3, tmp_path)
    with pytest.raises(ValueError, match="warm_start needs adapter='lora'"):
        pipe(QUESTIONS[0], many_vowels, warm_start=tmp_path, adapter="logits", **SMALL)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: p("", many_vowels), ValueError, "prompt 0 is empty"),
        (lambda p: p(["why ?", "  "], many_vowels), ValueError, "prompt 1 is empty"),
        (lambda p: p([], many_vowels), ValueError, "no prompts were given"),
        (lambda p: p("why ?"), ValueError, "steers by a reward and got none"),
        (lambda p: p("why ?", "relevanse"), ValueError, "relevance"),
        (
            lambda p: p("why ?", many_vowels, method="apt"),
            ValueError,
            "aps, plain, best-of-n, .*; got 'apt'",
        ),
        (lambda p: p("why ?", many_vowels, stepz=3), TypeError, "did you mean 'steps'"),
        (lambda p: p("why ?", many_vowels, beta=0), ValueError, "beta must be > 0"),
        (lambda p: p("dog " * 60, many_vowels), ValueError, "prompt 0 has 62 tokens"),
        (lambda p: p("why ?", many_vowels, seeds=[1, 2]), ValueError, "seeds has 2 values"),
        (
            lambda p: p("why ?", many_vowels, columns={"gold": []}),
            ValueError,
            "column 'gold' has 0 values for 1 prompts",
        ),
        (
            lambda p: p("why ?", many_vowels, config=APSConfig(), steps=3),
            TypeError,
            "not both",
        ),
        (
            lambda p: p("why ?", many_vowels, max_new_tokens=4, min_new_tokens=5),
            ValueError,
            "min_new_tokens=5 is more than the canvas holds",
        ),
        (
            lambda p: p([{"role": "system", "content": "x"}], many_vowels),
            ValueError,
            "pass the last user message alone",
        ),
        (
            lambda p: p("why ?", many_vowels, estimator="relaxed"),
            ValueError,
            "needs differentiable rewards",
        ),
    ],
)
def test_bad_input_names_the_value_and_the_mend(pipe, call, error, message):
    with pytest.raises(error, match=message):
        call(pipe)


def test_loaded_objects_and_their_errors():
    tokenizer = word_tokenizer()
    model = tiny_bert(tokenizer)
    assert APSPipeline(model=model, tokenizer=tokenizer).generate("why ?", **SMALL).text
    with pytest.raises(TypeError, match=r"also needs tokenizer"):
        APSPipeline(model)
    with pytest.raises(TypeError, match="no adapter for Linear"):
        APSPipeline(torch.nn.Linear(2, 2), tokenizer)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        APSPipeline(model, tokenizer, batch_size=0)
    with pytest.raises(ValueError, match=r"no model at 'nowhere'"):
        APSPipeline.from_pretrained("nowhere")


def test_float32_steered_batch_equals_single_for_all_but_one_percent():
    pipe = APSPipeline(tiny_text_model(), batch_size=16)
    single = APSPipeline(pipe.model, batch_size=1)
    prompts = [f"what is a {w} ?" for w in ("dog", "cat", "tree", "house", "violin", "piano")]
    options = {"num_return_sequences": 8, "inner_steps": 2, **SMALL}
    together = pipe(prompts, many_vowels, **options).token_ids
    alone = single(prompts, many_vowels, **options).token_ids
    tokens = sum(len(ids) for ids in together)
    differ = sum(
        sum(a != b for a, b in zip(x, y, strict=False)) + abs(len(x) - len(y))
        for x, y in zip(together, alone, strict=True)
    )
    print(f"float32: {differ} of {tokens} tokens differ between batch and single")
    assert differ / tokens < 0.01


def test_the_name_before_still_answers_and_says_its_new_one(pipe):
    with pytest.warns(DeprecationWarning, match="generate_plain is generate now"):
        old = pipe.generate_plain(QUESTIONS[0], **SMALL)
    assert old.text == pipe.generate(QUESTIONS[0], **SMALL).text


def test_a_network_in_training_mode_is_refused_and_answers_as_before_afterwards():
    pipe = APSPipeline(tiny_text_model())
    ask = {"steps": 3, "max_new_tokens": 6}
    before = pipe.generate("why ?", **ask).text
    network = pipe.model.parts.model
    network.bert.encoder.layer[1].train()  # a trainer's train() reaches every layer
    with pytest.raises(ValueError, match=r"layer\.1.* is in training mode.*model\.eval\(\)"):
        pipe.generate("why ?", **ask)
    network.eval()
    assert pipe.generate("why ?", **ask).text == before
