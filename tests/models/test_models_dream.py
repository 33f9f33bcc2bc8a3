"""Dream: its published layout, the shift, its tokenizer, and parity with its published code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from checkpoints import QUESTIONS, write, write_dream
from references import CASES, STEPS, decode, logits_gap, read, row_of

from aps_text.models.registry import load
from aps_text.pipelines.text import APSPipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "dream"
    write_dream(path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


@pytest.fixture(scope="module")
def reference(folder):
    return read("dream", folder)


def test_everything_is_read_from_the_files(tmp_path):
    ids = write_dream(tmp_path, max_position_embeddings=512)
    file = tmp_path / "config.json"
    other = {"mask_token_id": ids["<|beginoftext|>"], "pad_token_id": ids["<|im_end|>"]}
    write(tmp_path, file.name, {**json.loads(file.read_text()), **other})
    model = load(tmp_path)
    assert model.parts.mask_id == ids["<|beginoftext|>"]
    assert model.fill_id == ids["<|im_end|>"]
    assert set(model.stop_ids) == {ids["<|endoftext|>"], ids["<|im_end|>"]}
    assert model.context == 512
    assert model.parts.shift == 1
    assert model.parts.attend_fill
    assert type(model.parts.model).__name__ == "Qwen2ForCausalLM"
    rope = model.parts.model.config
    theta = getattr(rope, "rope_parameters", None) or {"rope_theta": rope.rope_theta}
    assert theta["rope_theta"] == 1000000.0


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_published_code(model, reference, case):
    gap, scale = logits_gap(model, reference, case)
    assert scale > 1
    assert gap < 1e-4


def test_the_reference_notices_a_missing_shift_and_a_causal_mask(model, reference):
    def causal(real):
        size = real.shape[1]
        return (real[:, None, None, :] & torch.ones(size, size, dtype=torch.bool).tril()).clone()

    for change in ({"shift": 0}, {"attention": causal}):
        other = replace(model, parts=replace(model.parts, **change))
        gap, scale = logits_gap(other, reference, "uneven")
        assert gap > scale


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy"])
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_those_of_the_published_code_with_its_counting(model, reference, case, alg):
    ours = decode(model, reference, case, alg=alg, steps=STEPS[case], reveal_rule="dream")
    assert torch.equal(ours, reference[f"{case}/tokens/{alg}"])


def test_the_published_code_emits_untrained_ids_and_ours_never(model, reference):
    known = set(model.tokenizer.get_vocab().values())
    published = {
        token
        for name, value in reference.items()
        if "/published/" in name
        for token in value.flatten().tolist()
    }
    assert published - known
    ours = decode(model, reference, "steps", alg="entropy", steps=5, reveal_rule="dream")
    assert set(ours.flatten().tolist()) <= known - {model.parts.mask_id}


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy"])
@pytest.mark.parametrize(
    ("case", "masks", "left", "lost"),
    [("uneven", [4, 6, 8], [2, 0, 2], [2, 0, 0]), ("steps", [9, 8], [1, 0], [0, 0])],
)
def test_the_published_code_counts_by_the_batch_average_and_ours_by_the_row(
    model, reference, case, masks, left, lost, alg
):
    z, mask_id = reference[f"{case}/canvas"], model.parts.mask_id
    given = z != mask_id
    assert (~given).sum(-1).tolist() == masks
    # Theirs: rows with more masks than the average keep some, and rows with fewer have to reveal
    # more than they hold, which writes masks over given tokens.
    theirs = reference[f"{case}/infill/{alg}"][:, -z.shape[1] :]
    assert (theirs == mask_id).sum(-1).tolist() == left
    assert (given & (theirs == mask_id)).sum(-1).tolist() == lost
    alone = reference[f"{case}/alone/{alg}"]
    assert bool((alone != mask_id).all())
    assert not torch.equal(theirs, alone)
    for counting in ("dream", "exact"):
        settings = {"infill": True, "alg": alg, "steps": STEPS[case], "reveal_rule": counting}
        ours = decode(model, reference, case, **settings)
        assert bool((ours != mask_id).all())
        assert torch.equal(ours[given], z[given])
        rows = [decode(model, row_of(reference, case, b), case, **settings) for b in range(len(z))]
        assert torch.equal(ours, torch.cat(rows))
        if counting == "dream":
            assert torch.equal(ours, alone)


def test_its_tokenizer_is_read_natively(model):
    tokenizer = model.tokenizer
    assert tokenizer.is_fast
    ids = model.encode("Who?")
    shown = "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(ids) == shown
    assert tokenizer.decode(tokenizer("It's 2.5  €, naïve\n\n ok")["input_ids"]) == (
        "It's 2.5  €, naïve\n\n ok"
    )


def test_system_prompts_and_turns_go_through_the_template(model):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": "Why?"},
    ]
    text = model.tokenizer.decode(model.encode(turns))
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n"
        "<|im_start|>assistant\nA dog.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    for wrong in ([{"role": "bot", "content": "x"}], turns[:1]):
        with pytest.raises(ValueError, match=r"end with the user's, or .* got \['(bot|system)'\]"):
            model.encode(wrong)
    begun = model.tokenizer.decode(model.encode(turns[:3]))
    assert begun == text[: text.index("A dog.") + len("A dog.")]  # continued, not ended


def test_base_models_read_plain_text(folder, tmp_path):
    write_dream(tmp_path, chat=False)
    base, plain = load(tmp_path), load(folder, chat=False)
    for model in (base, plain):
        assert model.tokenizer.decode(model.encode("A violin is")) == "A violin is"
        with pytest.raises(ValueError, match="answers one question"):
            model.encode([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}])
    with pytest.raises(ValueError, match="chat=True, but the tokenizer has no chat template"):
        load(tmp_path, chat=True)


def test_a_stop_of_either_kind_ends_an_answer(model):
    pipe = APSPipeline(model)
    out = pipe.generate(
        QUESTIONS, num_return_sequences=20, max_new_tokens=16, steps=16, temperature=2.0, top_p=1.0
    )
    stops = set(model.stop_ids)
    assert not any(stops & set(answer) for answer in out.token_ids)
    assert min(map(len, out.token_ids)) < 16  # some ended early
