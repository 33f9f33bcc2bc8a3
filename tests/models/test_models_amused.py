"""aMUSEd: its published layout, parity with diffusers' own pipeline, and its traps.

The traps: the mask's id, which is not behind the image tokens; a head without a column for it; the
text padded with `!` and attended; the last hidden state but one; the image's size among the
micro-conditions; guidance by the empty text; texts that are too long.
"""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from checkpoints_amused import write_amused
from safetensors.torch import load_file, save_file
from worlds import noise_for

from aps_text.core.config import APSConfig
from aps_text.core.schedule import keep_masked, reveal_count, time_grid
from aps_text.models.amused_files import load_amused
from aps_text.pipelines.diffusers_image_model import load_diffusers_image_model

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")

TEXTS = ["a red violin", "dog"]
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", params=[False, True], ids=["256", "512"])
def folder(request, tmp_path_factory):
    name = "amused-512" if request.param else "amused-256"
    return write_amused(tmp_path_factory.mktemp("models") / name, downsample=request.param)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_amused(tmp_path_factory.mktemp("models") / "amused-256")


@pytest.fixture(scope="module")
def prior(folder):
    return load_amused(folder, folder.name)


def everywhere(z):
    return torch.ones_like(z).nonzero().unbind(-1)


def logits_of(denoiser, z):
    with torch.no_grad():
        return denoiser.logits(denoiser.trunk(z), everywhere(z)).unflatten(0, z.shape)


def published(folder, texts, scale, steps=3, **how):
    """The canvas of every step of diffusers' pipeline, and its log-probabilities there."""
    pipe = diffusers.AmusedPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    seen, asked, step = [], [], pipe.scheduler.step

    def spied(model_output, timestep, sample, generator):
        seen.append((sample.flatten(1), model_output.flatten(2).transpose(1, 2)))
        return step(model_output=model_output, timestep=timestep, sample=sample)

    pipe.scheduler.step = spied
    hook = pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: asked.append(kwargs), with_kwargs=True
    )
    pipe(
        texts,
        num_inference_steps=steps,
        guidance_scale=1 + scale,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        **how,
    )
    hook.remove()
    return [z for z, _ in seen], [logits.log_softmax(-1) for _, logits in seen], asked


@pytest.mark.parametrize("scale", [0.0, 9.0])
def test_probabilities_are_those_of_the_published_pipeline(folder, prior, scale):
    """At every step, after guidance, whose scale is 1 + w there; 10 is its default."""
    canvases, wanted, _ = published(folder, TEXTS, scale)
    denoiser = prior.denoiser(TEXTS, cfg_scale=scale)
    assert len(canvases) == 3
    for z, want in zip(canvases, wanted, strict=True):
        found = logits_of(denoiser, torch.where(z == 8255, 8192, z)).log_softmax(-1)
        assert want.std() > 1
        assert found.shape == want.shape == (2, 16, 8192)
        assert (found - want).abs().max() < 1e-3
        assert torch.equal(found.argmax(-1), want.argmax(-1))


@pytest.mark.parametrize("text", ["", "a red violin", "dog " * 100])
def test_texts_are_those_of_the_published_pipeline(folder, prior, text):
    _, _, asked = published(folder, [text], 0.0, steps=1)
    hidden, pooled = prior.encode(text)
    assert hidden.shape == (1, 77, 24)
    assert (hidden - asked[0]["encoder_hidden_states"]).abs().max() < 1e-5
    assert (pooled - asked[0]["pooled_text_emb"]).abs().max() < 1e-5


def test_the_text_is_padded_with_its_own_token(small, tmp_path):
    """`!`, 0, as published; CLIP's usual padding is the end of the text and gives other logits."""
    prior = load_amused(small, "m")
    ids = prior.tokenizer("dog", padding="max_length", max_length=77).input_ids
    assert (ids[0], ids[2], set(ids[3:])) == (49406, 49407, {0})
    other = shutil.copytree(small, tmp_path / "m")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = other / "tokenizer" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "<|endoftext|>"}))
    changed = load_amused(other, "m")
    assert set(changed.tokenizer("dog", padding="max_length", max_length=77).input_ids[3:]) == {
        49407
    }
    assert (changed.encode("dog")[0] - prior.encode("dog")[0]).abs().max() > 1e-2


def test_a_text_that_is_too_long_is_cut_with_a_warning(small, caplog):
    prior = load_amused(small, "m")
    with caplog.at_level("WARNING"):
        cut = prior.encode("dog " * 100)
    assert "the text has 100 tokens and m reads 75; the rest is cut" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING"):
        whole = prior.encode("dog " * 75)
    assert not caplog.text
    assert torch.equal(cut[0], whole[0])


def test_the_mask_is_none_of_the_image_tokens(prior):
    """Outside it is K, inside 8255, and the head has a column for neither."""
    assert (prior.size, prior.tokens, prior.model_mask) == (8192, 16, 8255)
    denoiser = prior.denoiser(["dog"])
    assert (denoiser.mask_id, denoiser.vocab_size) == (8192, 8192)
    z = torch.arange(16)[None] * 500
    z[0, 5] = 8192
    seen = []
    hook = prior.net.embed.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    logits = logits_of(denoiser, z)
    hook.remove()
    inside = seen[0].flatten(1)
    assert inside[0, 5] == 8255
    assert torch.equal(inside[z != 8192], z[z != 8192])
    assert logits.shape == (1, 16, 8192)


def test_the_size_of_the_image_is_a_condition(folder, prior):
    """In pixels, with the crop at the corner and an aesthetic score of 6."""
    _, _, asked = published(folder, ["dog"], 0.0, steps=1)
    assert torch.equal(prior.denoiser(["dog"]).micro, asked[0]["micro_conds"])
    assert prior.denoiser(["dog"]).micro.tolist() == [[64.0, 64.0, 0.0, 0.0, 6.0]]
    wide = prior.denoiser(["dog"], 64)
    assert wide.micro.tolist() == [[128.0, 128.0, 0.0, 0.0, 6.0]]
    canvases, wanted, _ = published(folder, ["dog"], 0.0, steps=2, height=128, width=128)
    z = torch.where(canvases[1] == 8255, 8192, canvases[1])
    assert (logits_of(wide, z).log_softmax(-1) - wanted[1]).abs().max() < 1e-3


def test_guidance_is_by_the_empty_text(prior):
    z = torch.full((2, 16), 8192)
    guided = logits_of(prior.denoiser(TEXTS, cfg_scale=3.5), z)
    plain, empty = (logits_of(prior.denoiser(t), z) for t in (TEXTS, ["", ""]))
    assert (guided - (4.5 * plain - 3.5 * empty)).abs().max() < 1e-3
    assert (guided - plain).abs().max() > 0.1


def test_rows_do_not_depend_on_their_batch(prior):
    z = torch.randint(8193, (2, 16), generator=torch.Generator().manual_seed(0))
    both = logits_of(prior.denoiser(TEXTS), z)
    turned = prior.denoiser(TEXTS).take(torch.tensor([1, 0, 1]))
    assert (logits_of(turned, z[[1, 0, 1]]) - both[[1, 0, 1]]).abs().max() < 1e-4
    alone = logits_of(prior.denoiser(TEXTS[1:]), z[1:])
    assert (alone - both[1:]).abs().max() < 1e-4


def test_some_positions_have_the_logits_of_all(prior):
    z = torch.full((2, 16), 8192)
    denoiser = prior.denoiser(TEXTS)
    where = (torch.tensor([0, 1, 1]), torch.tensor([3, 0, 15]))
    with torch.no_grad():
        some = denoiser.logits(denoiser.trunk(z), where)
    assert (some - logits_of(denoiser, z)[where]).abs().max() < 1e-5


@pytest.mark.parametrize("layers", [1, 3])
def test_lora_starts_as_theta_and_moves(prior, layers):
    config = APSConfig(adapter="lora", lora_layers=layers, learning_rate=0.1, lora_rank=2)
    denoiser = prior.denoiser(TEXTS, adapted_layers=layers)
    z = torch.full((2, 16), 8192)
    state, where = denoiser.trunk(z), everywhere(z)
    theta = logits_of(prior.denoiser(TEXTS), z).flatten(0, 1)
    phi = denoiser.new_adapter(config, noise_for(range(2)))
    assert len(phi.modules) == 10 * layers  # q, k, v, out twice, and two of the feed-forward net
    phi.begin(denoiser, state, where)
    logits = phi.logits(denoiser, state, where)
    assert (logits - theta).abs().max() < 1e-4
    phi.update(logits, torch.randn(logits.shape), torch.tensor([True, False]))
    with torch.no_grad():
        after = phi.logits(denoiser, state, where)
    assert (after[:16] - theta[:16]).abs().max() > 1e-2
    assert (after[16:] - theta[16:]).abs().max() < 1e-4
    # The base is never changed, and no hook stays.
    assert (logits_of(prior.denoiser(TEXTS), z).flatten(0, 1) - theta).abs().max() < 1e-5


def test_the_counts_are_those_of_the_published_scheduler():
    """Per row and exact; the published ones are rounded from the whole length at every step."""
    steps, length = 12, 256
    scheduler = diffusers.AmusedScheduler(mask_token_id=8255)
    scheduler.set_timesteps(steps)
    grid = time_grid(steps)
    z, masked, gaps = torch.full((1, length), 8255), torch.tensor(length), []
    for index, timestep in enumerate(scheduler.timesteps):
        masked = masked - reveal_count(masked, keep_masked(grid[index], grid[index + 1], "cosine"))
        z = scheduler.step(torch.zeros(1, length, 4), timestep, z).prev_sample
        gaps.append(abs(int((z == 8255).sum()) - int(masked)))
    assert int(masked) == 0
    assert max(gaps) <= 3


def test_a_canvas_of_other_sizes(prior, folder):
    wide = folder.name == "amused-512"
    with pytest.raises(ValueError, match=r"makes square images.*got 20 tokens"):
        prior.denoiser(["dog"], 20)
    if wide:
        with pytest.raises(ValueError, match="an even number of tokens per side; got 25 tokens"):
            prior.denoiser(["dog"], 25)
    else:
        assert logits_of(prior.denoiser(["dog"], 25), torch.full((1, 25), 8192)).isfinite().all()
    with pytest.raises(ValueError, match="cfg_scale must be >= 0, got -1"):
        prior.denoiser(["dog"], cfg_scale=-1)
    with pytest.raises(ValueError, match=r"lora_layers=4, but .* has 3 layers"):
        prior.denoiser(["dog"], adapted_layers=4)


def edited(part, **changes):
    def change(folder):
        path = folder / part
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def weights(part, name=WEIGHTS, **changes):
    def change(folder):
        path = folder / part / name
        tensors = load_file(path)
        for key, value in changes.items():
            key = key.replace("__", ".")
            if value is None:
                del tensors[key]
            else:
                tensors[key] = value
        save_file(tensors, path, {"format": "pt"})

    return change


def renamed(old, new):
    return lambda folder: (folder / old).rename(folder / new)


def cut(name):
    def change(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return change


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"


def written(name, text):
    return lambda folder: (folder / name).write_text(text)


def turned(folder):
    """The vocabulary of another model: the ends of a text come first."""
    path = folder / "tokenizer/vocab.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({word: (k + 2) % len(found) for word, k in found.items()}))


BROKEN = [
    (edited("scheduler/scheduler_config.json", mask_token_id=8000), r"mask_token_id=8000 .* 8192 "),
    (edited("scheduler/scheduler_config.json", mask_token_id=9000), r"mask_token_id=9000 "),
    (edited("scheduler/scheduler_config.json", mask_token_id=None), "mask_token_id=None; it is a"),
    (edited("scheduler/scheduler_config.json", masking_schedule="linear"), "='linear'; published"),
    (edited("transformer/config.json", _class_name="Transformer2DModel"), "a UVit2DModel is read"),
    (
        edited("scheduler/scheduler_config.json", _class_name="DDIMScheduler"),
        "'AmusedScheduler' is",
    ),
    *(
        (edited("transformer/config.json", **{key: None}), f"transformer/config.json lacks '{key}'")
        for key in ("sample_size", "num_attention_heads", "downsample")
    ),
    (edited("transformer/config.json", layer_norm_eps="x"), "layer_norm_eps='x', and it is a numb"),
    (edited("transformer/config.json", downsample=True), r"lacks 2 .*down_block.downsample.conv"),
    (edited("text_encoder/config.json", model_type="t5"), "describes 't5', and 'clip_text_model'"),
    (edited("text_encoder/config.json", num_attention_heads=5), "(multiple|divisible).*num"),
    (written("tokenizer/merges.txt", "#version: 0.2\n"), "has no merges, and every text would be"),
    (written(f"transformer/{WEIGHTS}", POINTER), "is a pointer of Git LFS, not the file; run git"),
    (turned, "ends a text with token 1, and its text encoder looks for 49407"),
    (
        weights("transformer", mlm_layer__conv1__weight=torch.zeros(32, 32, 1, 1)),
        "all 1024 numbers in 'mlm_layer.conv1.weight' are 0; its file was not written whole",
    ),
    (edited("transformer/config.json", hidden_size="32"), "hidden_size='32', which is no size"),
    (edited("transformer/config.json", block_num_heads=0), "describes no UVit2DModel"),
    (edited("transformer/config.json", num_hidden_layers=4), "lacks .* 'transformer_layers.3."),
    (edited("transformer/config.json", num_hidden_layers=2), "has unknown .*transformer_layers.2."),
    (
        edited("transformer/config.json", vocab_size=8300),
        r"\(8256, 32\), and the sizes of config.json make",
    ),
    (weights("transformer", mlm_layer__conv2__weight=None), "lacks 1 tensors of UVit2DModel"),
    (
        weights("transformer", mlm_layer__conv1__weight=torch.full((32, 32, 1, 1), torch.nan)),
        "1024 of the 1024 numbers in 'mlm_layer.conv1.weight' are NaN",
    ),
    (
        weights("transformer", mlm_layer__conv1__weight=torch.zeros(32, 32, 1, 1).int()),
        "stored as I32",
    ),
    (renamed(f"transformer/{WEIGHTS}", f"transformer/{WEIGHTS[:-11]}bin"), r"only .*model.bin; ta"),
    (
        renamed(f"transformer/{WEIGHTS}", "transformer/diffusion_pytorch_model.fp16.safetensors"),
        "only diffusion_pytorch_model.fp16.safetensors; take the published",
    ),
    (cut(f"transformer/{WEIGHTS}"), "cut off"),
    (renamed("transformer/config.json", "transformer/old.json"), "config.json is not there"),
    (renamed("tokenizer/vocab.json", "tokenizer/v.json"), "has no vocab.json; copy the published"),
    (cut("tokenizer/vocab.json"), "cannot be read"),
    (renamed("text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"), "safetensors"),
    (edited("text_encoder/config.json", num_hidden_layers=2), "states 2 layers and its files hold"),
    (
        weights("text_encoder", "model.safetensors", visual_projection__weight=torch.ones(2, 2)),
        "holds 1 weights that its layout does not have, e.g. 'visual_projection.weight'",
    ),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_files_that_do_not_fit_are_refused(small, tmp_path, change, message):
    broken = shutil.copytree(small, tmp_path / "m")
    change(broken)
    with pytest.raises(ValueError, match=message):
        load_amused(broken, "m")


def test_tables_that_are_computed_may_be_stored(small, tmp_path):
    older = shutil.copytree(small, tmp_path / "m")
    ids = {"text_model__embeddings__position_ids": torch.arange(77)[None]}
    weights("text_encoder", "model.safetensors", **ids)(older)
    load_amused(older, "m")


def test_a_text_encoder_of_another_width_is_refused(tmp_path):
    for field, part, what in (
        ("projection_dim", {"text_encoder": {"projection_dim": 8}}, "cond_embed_dim=16"),
        ("hidden_size", {"text_encoder": {"hidden_size": 32}}, "encoder_hidden_size=24"),
    ):
        folder = write_amused(tmp_path / field, changes=part)
        with pytest.raises(ValueError, match=f"{what} and its text encoder makes"):
            load_amused(folder, "m")


def test_half_precision(small):
    whole, half = load_amused(small, "m"), load_amused(small, "m", dtype=torch.bfloat16)
    assert half.net.dtype == half.text_encoder.dtype == torch.bfloat16
    z = torch.full((1, 16), 8192)
    one, two = (logits_of(p.denoiser(["dog"]), z) for p in (whole, half))
    assert two.dtype == torch.float32
    assert 0 < (one - two).square().mean().sqrt() < 0.1 * one.std()


def test_a_part_in_several_dtypes_takes_the_widest(small, tmp_path):
    mixed = shutil.copytree(small, tmp_path / "m")
    path = mixed / "transformer" / WEIGHTS
    tensors = load_file(path)
    half = {key: value.half() if "ff" in key else value for key, value in tensors.items()}
    save_file(half, path, {"format": "pt"})
    read = load_amused(mixed, "m").net
    assert {value.dtype for value in read.parameters()} == {torch.float32}


def test_lora_in_half_precision_takes_any_gradient(small):
    """Slopes beyond 65504, the largest number of float16; each row with a unit of its own."""
    half = load_amused(small, "m", dtype=torch.float16)
    z = torch.full((2, 16), 8192)
    generator = torch.Generator().manual_seed(0)

    def moved(rows, sizes):
        part = z[rows]
        denoiser = half.denoiser([TEXTS[row] for row in rows], adapted_layers=1)
        state, where = denoiser.trunk(part), everywhere(part)
        config = APSConfig(adapter="lora", lora_layers=1, learning_rate=0.1, lora_rank=2)
        phi = denoiser.new_adapter(config, noise_for(rows))
        phi.begin(denoiser, state, where)
        logits = phi.logits(denoiser, state, where)
        grad = slope.view(2, 16, -1)[rows] * torch.tensor(sizes)[:, None, None]
        phi.update(logits, grad.flatten(0, 1), torch.ones(len(rows), dtype=torch.bool))
        return phi.adam.value - phi.origin

    slope = torch.randn(2 * 16, 8192, generator=generator) / 8192
    small_one, large = moved([0, 1], [1.0, 1.0]), moved([0, 1], [2.0**-20, 2.0**30])
    assert large.isfinite().all()
    assert small_one.abs().max() > 1e-3
    # Adam does not know the unit of a gradient, and a row does not know its neighbour's.
    assert torch.allclose(large, small_one, atol=1e-4)


def test_without_diffusers_the_error_says_what_to_install(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"pip install 'aps-text\[diffusers\]'"):
        load_amused(small, "m")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": {"mask_token_id": 8200}}, "mask_token_id=8200 .* the last id .* 8255"),
        ({"tokenizer": {"model_max_length": 8}}, "model_max_length=8 and its text encoder 77"),
        ({"text_encoder": {"vocab_size": 100}}, "has 49408 tokens and its text encoder 100"),
    ],
)
def test_parts_that_are_not_published_together_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load_amused(write_amused(tmp_path, changes=changes), "m")


def test_control_tokens_in_a_text_are_text(prior):
    one, other, plain = (
        prior.encode(f"a {word} dog")[1]
        for word in ("<|endoftext|> red", "<|endoftext|> green", "<|startoftext|>")
    )
    assert (one - other).abs().max() > 1e-3  # what follows is read
    assert (one - plain).abs().max() > 1e-3


def test_another_size_than_the_models_own_is_said(folder, caplog):
    with caplog.at_level("WARNING"):
        load_diffusers_image_model(folder)
        assert not caplog.text
        load_diffusers_image_model(folder, size=96)
    assert "was trained for images of 64 pixels a side, not 96" in caplog.text
