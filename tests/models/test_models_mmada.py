"""MMaDA: its published layout, parity with its published code, and its traps.

The traps: where the image tokens begin, the softmax over them alone, what stands before and behind
them, guidance by the empty text, and texts that are too long.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from checkpoints_mmada import LLM_SIZE, MASK, SIZE, TEXT_SIZE, write_mmada
from reference.make_mmada import CASES, LONG
from references import read
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM
from worlds import noise_for

from aps_text import APSPipeline
from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.core.schedule import keep_masked, reveal_count, time_grid
from aps_text.methods.ancestral import Ancestral
from aps_text.models.guided import GuidedDenoiser
from aps_text.models.mmada import IDS, MmadaPrior
from aps_text.models.registry import load
from aps_text.models.transformer import TransformerDenoiser
from aps_text.models.window import WindowHead, window_parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mmada(tmp_path_factory.mktemp("models") / "mmada")


@pytest.fixture(scope="module")
def text(folder):
    return load(folder)


@pytest.fixture(scope="module")
def prior(text):
    return MmadaPrior.of(text)


@pytest.fixture(scope="module")
def reference(folder):
    return read("mmada", folder)


def everywhere(z):
    return torch.ones_like(z).nonzero().unbind(-1)


def logits_of(denoiser, z):
    return denoiser.logits(denoiser.trunk(z), everywhere(z)).unflatten(0, z.shape)


@pytest.mark.parametrize("case", CASES)
def test_probabilities_are_those_of_the_published_code(prior, reference, case):
    """At every step of its decoding, after guidance, over the 8,192 image tokens."""
    texts, scale, steps, _ = CASES[case]
    denoiser = prior.denoiser(texts, 16, scale)
    assert len(reference[f"{case}/canvas"]) == steps
    for step, z in enumerate(reference[f"{case}/canvas"]):
        found = logits_of(denoiser, z).log_softmax(-1)
        want = reference[f"{case}/log_probs"][step]
        assert want.std() > 1
        assert (found[..., ::64] - want).abs().max() < 1e-3
        assert torch.equal(found.argmax(-1), reference[f"{case}/best"][step])


@pytest.mark.parametrize("case", ["plain", "guided"])
def test_tokens_are_those_of_the_published_code(prior, reference, case):
    """In three steps from masks alone, where both reveal the same numbers of tokens."""
    texts, scale, steps, _ = CASES[case]
    z = reference[f"{case}/canvas"][0]
    assert (z == 8192).all()
    canvas = Canvas.open([16] * len(z), mask_id=8192, fill_id=8192)
    config = APSConfig(
        max_new_tokens=16,
        steps=steps,
        schedule="cosine",
        temperature=0.0,
        remasking="standard",
        top_p=1.0,
        min_new_tokens=0,
    )
    denoiser = prior.denoiser(texts, 16, scale)
    found = run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise_for(range(len(z)))).z
    assert torch.equal(found, reference[f"{case}/ids"])


@pytest.mark.parametrize("case", CASES)
def test_prompts_are_those_of_the_published_code(prior, reference, case):
    """Their left padding apart, which nothing attends to."""
    for row, text in enumerate(CASES[case][0]):
        mask = reference[f"{case}/mask"][row].bool()
        ids = reference[f"{case}/prompt"][row]
        assert prior.prompt(text) == ids[mask].tolist()
        assert set(ids[~mask].tolist()) == {IDS["iPAD"]}
    assert prior.prompt("") == [IDS["t2i"], 126080, 126081, IDS["soi"]]


def test_a_text_that_is_too_long_is_cut_as_published(prior, reference, caplog):
    with caplog.at_level("WARNING"):
        ids = prior.prompt(LONG)
    assert ids == reference["long/prompt"][0].tolist()
    assert (len(ids), ids[-2]) == (514, 126081)
    assert "and mmada reads 510; the rest is cut" in caplog.text
    caplog.clear()
    exact = next(n for n in range(520) if len(prior.prompt("a" + " a" * n)) == 514) - 1
    with caplog.at_level("WARNING"):
        assert len(prior.prompt("a" + " a" * exact)) == 513
        assert len(prior.prompt("a" + " a" * (exact + 1))) == 514
    assert not caplog.text


def test_image_tokens_begin_behind_the_tokenizer(prior, text):
    assert (prior.first, prior.size, prior.tokens) == (TEXT_SIZE, 8192, 16)
    assert prior.first != LLM_SIZE
    z = torch.arange(16)[None] * 500
    z[0, 3] = 8192
    with torch.no_grad():
        found = logits_of(prior.denoiser(["Who?"]), z)[0]
        inner = torch.where(z == 8192, MASK, z + TEXT_SIZE)
        ids = torch.cat(
            [torch.tensor([prior.prompt("Who?")]), inner, torch.tensor([[IDS["eoi"]]])], 1
        )
        whole = text.parts.model(ids, attention_mask=torch.ones(1, 1, *[ids.shape[1]] * 2).bool())
    whole = whole.logits[0, -17:-1]
    assert (found - whole[:, TEXT_SIZE : TEXT_SIZE + 8192]).abs().max() < 1e-4
    assert (found - whole[:, LLM_SIZE : LLM_SIZE + 8192]).abs().max() > 1


def test_the_head_is_cut_before_anything_is_normalised(prior):
    seen = []
    parts = prior.parts
    denoiser = prior.denoiser(["Who?"])
    spied = replace(parts, head=lambda x: seen.append(parts.head(x)) or seen[-1])
    denoiser = replace(denoiser, inner=replace(denoiser.inner, parts=spied))
    z = torch.full((1, 16), 8192)
    logits = denoiser.logits(denoiser.trunk(z), everywhere(z))
    assert logits.shape == seen[0].shape == (16, 8192)
    assert (denoiser.mask_id, denoiser.vocab_size) == (8192, 8192)
    # Of a head that is not a plain linear map, the same rows of its output.
    x = torch.randn(2, 32)
    head = prior.text.parts.head
    other = WindowHead(torch.nn.Sequential(head), prior.first, prior.size)
    assert (other(x) - parts.head(x)).abs().max() < 1e-5


def test_the_end_of_the_image_stands_behind_the_canvas(prior, reference):
    z = reference["slow/canvas"][0]
    denoiser = prior.denoiser(CASES["slow"][0])
    without = replace(denoiser, inner=replace(denoiser.inner, suffix=None))
    assert denoiser.inner.suffix.tolist() == [[IDS["eoi"]]]
    assert (logits_of(denoiser, z) - logits_of(without, z)).abs().max() > 1e-2
    moved = replace(denoiser.inner, suffix=torch.tensor([[IDS["soi"]]]))
    assert (logits_of(replace(denoiser, inner=moved), z) - logits_of(denoiser, z)).abs().max() > 0.1


def test_guidance_is_by_the_empty_text(prior):
    z = torch.full((2, 16), 8192)
    texts = ["The red violin", ""]
    guided = logits_of(prior.denoiser(texts, cfg_scale=3.5), z)
    plain, empty = (logits_of(prior.denoiser(t), z) for t in (texts, ["", ""]))
    assert (guided - (4.5 * plain - 3.5 * empty)).abs().max() < 1e-3
    assert (guided[1] - plain[1]).abs().max() < 1e-3
    assert (guided[0] - plain[0]).abs().max() > 1
    with pytest.raises(ValueError, match="cfg_scale must be >= 0, got -1"):
        prior.denoiser(texts, cfg_scale=-1)


def test_rows_are_those_of_the_text_alone_whatever_the_padding(prior):
    texts = ["A", "The red violin is a string instrument", "Who?"]
    z = torch.full((3, 16), 8192)
    z[:, ::3] = torch.arange(6) * 1000
    denoiser = prior.denoiser(texts, cfg_scale=1.0)
    padding = denoiser.conditional.inner.prompt[~denoiser.conditional.inner.prompt_mask]
    assert len(padding) > 10
    assert set(padding.tolist()) == {IDS["iPAD"]}
    together = logits_of(denoiser, z)
    for row, text in enumerate(texts):
        alone = logits_of(prior.denoiser([text], cfg_scale=1.0), z[:1])
        assert (together[row] - alone[0]).abs().max() < 1e-3
    picked = logits_of(denoiser.take(torch.tensor([2, 0, 0])), z)
    assert (picked - together[[2, 0, 0]]).abs().max() < 1e-3


def test_lora_reaches_the_window(prior):
    config = APSConfig(adapter="lora", lora_layers=1, min_new_tokens=0)
    denoiser = prior.denoiser(["Who?", "A dog"], adapted_layers=1)
    z = torch.full((2, 16), 8192)
    phi = denoiser.new_adapter(config, noise_for(range(2)))
    state = denoiser.trunk(z)
    phi.begin(denoiser, state, everywhere(z))
    with torch.enable_grad():
        logits = phi.logits(denoiser, state, everywhere(z))
    assert logits.shape == (32, 8192)
    before = logits.detach().clone()
    phi.update(logits, torch.randn(32, 8192), torch.ones(2, dtype=torch.bool))
    assert (phi.logits(denoiser, state, everywhere(z)) - before).abs().max() > 1e-3


def test_it_answers_as_a_text_model(folder, text):
    """The turns are those it was trained on: one newline behind a header."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Who? "}]
    assert text.tokenizer.decode(text.encode(turns)) == (
        "<|startoftext|><|start_header_id|>system<|end_header_id|>\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\nWho?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n"
    )
    assert text.parts.mask_id == MASK
    assert set(range(TEXT_SIZE, SIZE)) <= set(text.parts.suppressed)
    pipe = APSPipeline.from_pretrained(folder)
    found = pipe(
        "Who?",
        lambda completions, **_: [float(len(text)) for text in completions],
        max_new_tokens=8,
        steps=4,
    )
    ids = pipe.tokenizer(found.text[0], add_special_tokens=False)["input_ids"]
    assert ids
    assert max(ids) < TEXT_SIZE


def test_the_counts_are_near_those_of_the_published_code():
    """Per row and exact; the published ones are rounded from the whole length at every step."""
    steps, length = 15, 1024
    grid, masked, theirs, gaps = time_grid(steps), torch.tensor(length), length, []
    for step in range(steps):
        masked = masked - reveal_count(masked, keep_masked(grid[step], grid[step + 1], "cosine"))
        share = math.cos(math.pi / 2 * (step + 1) / steps)
        last = step + 1 == steps
        theirs = 0 if last else max(1, min(theirs - 1, math.floor(length * share)))
        gaps.append(abs(int(masked) - theirs))
    assert int(masked) == 0
    assert max(gaps) == 3


def test_missing_header_tokens_are_added_first(tmp_path):
    """A tokenizer without them gets them, and the image tokens begin behind."""
    write_mmada(tmp_path, size=TEXT_SIZE - 3)
    found = MmadaPrior.of(load(tmp_path))
    assert found.first == TEXT_SIZE
    names = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    ids = found.text.tokenizer.convert_tokens_to_ids(names)
    assert ids == [TEXT_SIZE - 3, TEXT_SIZE - 2, TEXT_SIZE - 1]


def test_the_width_is_that_of_the_weights(tmp_path, text):
    """Whatever `embedding_size` says: the published code resizes the embedding."""
    write_mmada(tmp_path, embedding_size=LLM_SIZE, vocab_size=LLM_SIZE, auto_map=None)
    weights = {}
    for shard in sorted(tmp_path.glob("*.safetensors")):
        weights |= load_file(shard)
    assert weights["model.transformer.wte.weight"].shape[0] == LLM_SIZE
    with pytest.raises(ValueError, match=r"would be 126349 \.\. 134540 .* the model has 126464"):
        load(tmp_path)
    write_mmada(
        tmp_path, embedding_size=LLM_SIZE, tensors=dict(as_stored(text)), num_vq_tokens=None
    )
    assert MmadaPrior.of(load(tmp_path)).tokens == 1024


def as_stored(text):
    """The weights of a loaded model by their published names."""
    ours = text.parts.model.state_dict()
    layers = {
        "q_proj": "self_attn.q_proj",
        "k_proj": "self_attn.k_proj",
        "v_proj": "self_attn.v_proj",
        "attn_out": "self_attn.o_proj",
        "ff_proj": "mlp.gate_proj",
        "up_proj": "mlp.up_proj",
        "ff_out": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "ff_norm": "post_attention_layernorm",
    }
    for n in range(2):
        for theirs, name in layers.items():
            key = f"model.layers.{n}.{name}.weight"
            yield f"model.transformer.blocks.{n}.{theirs}.weight", ours[key]
    yield "model.transformer.wte.weight", ours["model.embed_tokens.weight"]
    yield "model.transformer.ln_f.weight", ours["model.norm.weight"]
    yield "model.transformer.ff_out.weight", ours["lm_head.weight"]


BROKEN = [
    ({"codebook_size": 16384}, r"would be 126349 \.\. 142732 .*codebook_size=16384"),
    ({"codebook_size": -1}, "codebook_size=-1, which is no size"),
    ({"num_vq_tokens": "many"}, "num_vq_tokens='many', which is no size"),
    ({"num_new_special_tokens": 7}, "sets num_new_special_tokens=7"),
    ({"block_type": "sequential"}, "sets block_type='sequential'"),
    ({"architectures": ["MMadaForVision"]}, "of model_type 'mmada', MMadaModelLM is supported"),
    ({"size": TEXT_SIZE + 4}, "has 126353 tokens; .* image tokens begin at 126349"),
    ({"size": 126090}, "has 126093 tokens, and the layout of images needs its reserved ids"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_a_config_that_does_not_fit_is_refused(folder, tmp_path, changes, message):
    write_mmada(tmp_path, tensors={"model.transformer.wte.weight": torch.zeros(SIZE, 1)}, **changes)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_guidance_without_a_text_says_that_it_does_nothing(prior, caplog):
    with caplog.at_level("WARNING"):
        denoiser = prior.denoiser(["", ""], 4, cfg_scale=2.0)
    assert not isinstance(denoiser, GuidedDenoiser)
    assert "cfg_scale=2 guides towards a text, and no text is given" in caplog.text
    caplog.clear()
    assert isinstance(prior.denoiser(["", "a dog"], 4, cfg_scale=2.0), GuidedDenoiser)
    assert not caplog.text


def test_files_that_are_not_read(folder, tmp_path):
    """Code next to the weights is not run (the folders here have it), pickles are not opened."""
    for file in folder.iterdir():
        if file.suffix != ".safetensors" and "index" not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"has no weights; only safetensors are read"):
        load(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match=r"only pickled weights \(pytorch_model.bin\)"):
        load(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    for file in folder.glob("*.safetensors*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="has no tokenizer"):
        load(tmp_path)
    assert "auto_map" in json.loads((folder / "config.json").read_text())


def test_a_missing_weight_is_named_before_any_is_read(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "m")
    for shard in (tmp_path / "m").glob("*.safetensors"):
        tensors = load_file(shard)
        if tensors.pop("model.transformer.ln_f.weight", None) is not None:
            save_file(tensors, shard, {"format": "pt"})
    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", None)  # 16 GB, and words of its own
    with pytest.raises(ValueError, match=r"'m' lacks 1 of the weights .* e\.g\. 'model\.norm"):
        load(tmp_path / "m")


def test_weights_of_another_layout_are_refused(text, tmp_path):
    """A bias that is ignored, and the rest of a shard that was not written, make another model."""
    bias = {"model.transformer.blocks.0.q_proj.bias": torch.ones(32)}
    rotary = {"model.transformer.rotary_emb.inv_freq": torch.ones(4)}
    stored = dict(as_stored(text))
    last = "model.transformer.blocks.1.ff_out.weight"
    unwritten = {last: torch.zeros_like(stored[last])}
    for new, message in (
        (bias, r"holds 1 weights that its layout does not have, e.g. '.*q_proj.bias'"),
        (unwritten, r"numbers in 'model.layers.1.mlp.down_proj.weight' are 0; its file was not"),
        (rotary, None),
    ):
        write_mmada(tmp_path, tensors={**stored, **new})
        if message is None:
            assert load(tmp_path).parts.mask_id == MASK
            continue
        with pytest.raises(ValueError, match=message):
            load(tmp_path)


def test_a_window_that_does_not_fit_is_refused(prior):
    parts = prior.text.parts
    for first, size in ((SIZE - 10, 11), (-1, 5), (5, 0)):
        with pytest.raises(ValueError, match=r"does not lie within the model's 134656 tokens"):
            window_parts(parts, first, size)
    with pytest.raises(ValueError, match="the mask token 126336 lies in the window"):
        window_parts(parts, MASK - 1, 8192)
    with pytest.raises(ValueError, match="is a model of text"):
        MmadaPrior.of(load("mini"))


def test_suffixes_are_one_for_each_row(prior):
    bind = TransformerDenoiser.bind
    for suffixes in ([[1]], [[1], [2, 3]]):
        with pytest.raises(ValueError, match="give one for each prompt, all of one length"):
            bind(prior.parts, [[1], [2]], [4, 4], suffixes=suffixes)


def test_another_mask_token_is_refused(tmp_path):
    write_mmada(tmp_path, mask_token_id=5)
    with pytest.raises(ValueError, match="has mask_token_id=5; published is 126336"):
        load(tmp_path)
