"""LLaDA: its published layout and names, its tokenizer, and parity with its published code."""

from __future__ import annotations

import json
import re

import pytest
import torch
from checkpoints import llada_config, llada_shapes, write_llada
from references import CASES, FOLDER, STEPS, decode, logits_gap, read
from safetensors.torch import load_file
from worlds import NeighbourDenoiser, noise_for

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
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


BLOCKS = load_file(FOLDER / "llada_blocks.safetensors")
SPLITS = [name for name in BLOCKS if "/" in name]


@pytest.mark.parametrize("length", [8, 16, 24, 32, 64])
def test_tokens_in_blocks_are_those_of_the_published_code(length):
    """In every way its code lets a length be split into blocks and steps."""
    tables = {name: BLOCKS[name] for name in ("embed", "place", "head")}
    denoiser = NeighbourDenoiser(**tables)
    splits = [name for name in SPLITS if int(name.split("/")[0]) == length]
    assert len(splits) > 10
    for name in splits:
        _, block, steps = map(int, name.split("/"))
        config = APSConfig(
            temperature=0.0,
            remasking="low_confidence",
            steps=steps,
            block_length=block,
            min_new_tokens=0,
        )
        mask_id = denoiser.mask_id
        canvas = Canvas.open([length], mask_id=mask_id, fill_id=mask_id + 1, block_length=block)
        found = run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise_for([0])).z
        assert found[0].equal(BLOCKS[name]), name


def test_its_tokenizer_is_read_natively(model):
    assert model.tokenizer.is_fast
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Who? "}]
    assert model.tokenizer.decode(model.encode(turns)) == (
        "<|startoftext|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layer_norm_with_affine", False),
        ("bias_for_layer_norm", True),
        ("multi_query_attention", True),
        ("rope_full_precision", False),
        ("rope_full_precision", None),
        ("block_type", "sequential"),
        ("scale_logits", True),
    ],
)
def test_a_field_that_the_published_code_reads_and_llama_does_not_have_is_refused(
    tmp_path, key, value
):
    write_llada(tmp_path, **{key: value})
    with pytest.raises(ValueError, match=f"sets {key}={value!r}; the published LLaDA models set"):
        load(tmp_path)


@pytest.mark.parametrize("value", [None, False])
def test_a_field_of_the_published_files_may_be_null_where_that_means_false(tmp_path, value):
    keys = ("bias_for_layer_norm", "multi_query_attention", "include_qkv_bias")
    write_llada(tmp_path, **dict.fromkeys(keys, value))
    assert load(tmp_path).name == tmp_path.name


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("rope_theta", 0, "has rope_theta=0, and it is a number above 0"),
        ("rope_theta", float("nan"), "has rope_theta=nan"),
        ("rms_norm_eps", "1e-5", "has rms_norm_eps='1e-5'"),
        ("weight_tying", True, "has weight_tying=true, and its files hold the head's own weights"),
    ],
)
def test_a_field_that_contradicts_the_weights_or_arithmetic_is_refused(tmp_path, key, value, says):
    write_llada(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=says):
        load(tmp_path)
