"""LLaDA: its published layout and names, its tokenizer, and parity with its published code."""

from __future__ import annotations

import json
import re

import pytest
import torch
from checkpoints import llada_config, llada_shapes, write_llada
from references import CASES, STEPS, decode, logits_gap, read

from aps_text.models.llada import RENAMED
from aps_text.models.registry import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "llada"
    write_llada(path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


@pytest.fixture(scope="module")
def reference(folder):
    return read("llada", folder)


def test_every_published_name_has_exactly_one_of_llamas(model):
    ids = {"<|mdm_mask|>": 5, "<|endoftext|>": 4}
    found = set()
    for name in llada_shapes(llada_config(ids)):
        matching = [(old, new) for old, new in RENAMED.items() if re.search(old, name)]
        assert len(matching) == 1
        found.add(re.sub(*matching[0], name))
    assert found == set(model.parts.model.state_dict())


def test_a_mask_only_the_vocabulary_knows_is_found_by_its_name(tmp_path):
    ids = write_llada(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    del config["mask_token_id"]
    file.write_text(json.dumps(config))
    assert load(tmp_path).parts.mask_id == ids["<|mdm_mask|>"]


def test_everything_is_read_from_the_files(model, tmp_path):
    ids = write_llada(tmp_path, n_kv_heads=2, max_sequence_length=64, rope_theta=7.0)
    other = load(tmp_path)
    assert other.parts.mask_id == ids["<|mdm_mask|>"]
    assert other.tokenizer.mask_token is None
    assert set(other.stop_ids) == {ids["<|endoftext|>"], ids["<|eot_id|>"]}
    assert other.fill_id == ids["<|endoftext|>"]
    assert other.context == 64
    assert other.parts.shift == 0
    assert other.parts.model.config.num_key_value_heads == 2
    assert type(other.parts.model).__name__ == "LlamaForCausalLM"
    assert (model.context, model.max_new_tokens) == (4096, 128)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_published_code(model, reference, case):
    gap, scale = logits_gap(model, reference, case)
    assert scale > 1
    assert gap < 1e-4


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_those_of_the_published_code(model, reference, case, blocks):
    # steps_per_block tokens of each block: our steps are over the whole canvas, and the same counts
    # come out where the blocks divide them.
    width = reference[f"{case}/canvas"].shape[1]
    steps = STEPS[case] - STEPS[case] % blocks
    ours = decode(
        model,
        reference,
        case,
        remasking="low_confidence",
        steps=steps,
        block_length=width // blocks,
    )
    assert torch.equal(ours, reference[f"{case}/tokens/low_confidence/{blocks}"])


def test_its_tokenizer_is_read_natively(model):
    assert model.tokenizer.is_fast
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Who? "}]
    assert model.tokenizer.decode(model.encode(turns)) == (
        "<|startoftext|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
