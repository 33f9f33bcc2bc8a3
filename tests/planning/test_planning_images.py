"""The plan of image calls beside what runs and the published sizes take, by shapes alone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from checkpoints_amused import text_config, transformer_config, vqvae_config, write_amused
from checkpoints_lumina import write_lumina
from checkpoints_mmada import SIZE, TEXT_SIZE, magvit_shapes, write_magvit, write_mmada
from paths import ROOT
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from aps_text.cli import main
from aps_text.core.config import APSConfig
from aps_text.images.lfq import LFQTokenizer, TokenizerConfig
from aps_text.images.magvit_files import sizes_of
from aps_text.images.magvit_layers import Magvit
from aps_text.models.lumina import SYSTEM
from aps_text.models.mini_image import MaskedImageModel, PriorConfig
from aps_text.pipelines.restoration import RestorationPipeline
from aps_text.planning.image_folders import image_shape_in
from aps_text.planning.image_shapes import IMAGE_SHAPES, find_image_shape
from aps_text.planning.images import PAPER, ImageCall, plan_images
from aps_text.planning.shape import from_config

PUBLISHED = ((128, (1, 2, 2, 4, 4), (4, 3, 4, 3, 4)), (128, (1, 1, 2, 2, 4), (4, 4, 3, 4, 3)), 13)
UVIT = {
    "block_num_heads": 12,
    "block_out_channels": 768,
    "cond_embed_dim": 768,
    "encoder_hidden_size": 768,
    "hidden_size": 1024,
    "in_channels": 768,
    "intermediate_size": 2816,
    "micro_cond_embed_dim": 1280,
    "micro_cond_encode_dim": 256,
    "num_attention_heads": 16,
    "num_hidden_layers": 22,
    "num_res_blocks": 3,
}
VQ = {"block_out_channels": [128, 256, 256, 512, 768], "latent_channels": 64, "layers_per_block": 2}


def count(network):
    return sum(p.numel() for p in network.parameters())


def decoders(name):
    """The network, and its decoder of codes `(1, d, h, w)`."""
    if name == "mmada-8b":
        net = Magvit(*sizes_of(magvit_shapes(*PUBLISHED)))
        return net, net.decoder
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    net = diffusers.VQModel.from_config(vqvae_config(**VQ))
    return net, lambda codes: net.decoder(net.post_quant_conv(codes))


@pytest.mark.parametrize("name", ["mmada-8b", "amused-512"])
@pytest.mark.parametrize("side", [256, 512, 1024])
def test_the_decoder_is_that_of_the_published_sizes(name, side):
    shape = IMAGE_SHAPES[name].decoder
    with torch.device("meta"):
        net, decode = decoders(name)
        codes = torch.zeros(1, shape.width, side // 16, side // 16, requires_grad=True)
    net.requires_grad_(False)
    weights = {p.untyped_storage()._cdata for p in net.parameters()}
    seen, kept = {}, []

    def pack(tensor):
        kept.append(tensor)
        seen[tensor.untyped_storage()._cdata] = tensor.numel() * tensor.element_size()
        return tensor

    counter = FlopCounterMode(display=False)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), counter:
        made = decode(codes)
    found = sum(size for storage, size in seen.items() if storage not in weights)
    assert shape.kept(side, None) == pytest.approx(found, rel=0.01)
    forward = counter.get_total_flops()
    assert shape.operations(side) == pytest.approx(forward, rel=0.01)
    with FlopCounterMode(display=False) as counter:
        made.sum().backward()
    assert counter.get_total_flops() == pytest.approx(forward, rel=0.02)
    assert shape.factor == 16
    assert count(net) == pytest.approx(shape.parameters, rel=1e-3)


@pytest.mark.parametrize(("name", "side"), [("amused-256", 16), ("amused-512", 32)])
def test_amused_is_that_of_the_published_sizes(name, side):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    clip = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    clip |= {"num_hidden_layers": 12, "projection_dim": 768}
    with torch.device("meta"):
        net = diffusers.UVit2DModel.from_config(transformer_config(side == 32, **UVIT))
        text = CLIPTextModelWithProjection(CLIPTextConfig(**text_config(**clip)))
        ids = torch.zeros(1, side, side, dtype=torch.long)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(ids, torch.zeros(1, 77, 768), torch.zeros(1, 768), torch.zeros(1, 5))
    shape = IMAGE_SHAPES[name]
    assert count(net) + count(text) == shape.parameters
    assert shape.forward(side**2) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_passes_are_those_of_a_call(tmp_path):
    pipe = RestorationPipeline.from_pretrained(
        write_mmada(tmp_path / "m"), tokenizer=write_magvit(tmp_path / "t"), size=32
    )
    measured = pipe.measure(torch.zeros(2, 3, 32, 32), "sr4")
    for options in ({"steps": 3, "inner_steps": 2}, {"steps": 2, "inner_steps": 1, "cfg_scale": 1}):
        cost = pipe(measured, "a dog", **options).cost
        config = APSConfig("restore", **options)
        call = ImageCall(shape=IMAGE_SHAPES["mmada-8b"], side=32, config=config, batch=2)
        passes = plan_images(call).passes
        each = 2 if options.get("cfg_scale") else 1
        assert passes == {
            "prior": each * cost.denoiser_forwards,
            "decoder forward": cost.reward_forwards,
            "decoder backward": cost.reward_backwards,
        }


def test_lumina_is_what_a_small_one_reads_and_holds(tmp_path):
    """Positions, passes and parameters, by a checkpoint of the published layout."""
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    pipe = RestorationPipeline.from_pretrained(write_lumina(tmp_path / "lumina"), size=64)
    prior = pipe.model.prior
    small = from_config(json.loads((tmp_path / "lumina" / "config.json").read_text()))
    assert small.parameters == count(prior.text.parts.model)
    shape = IMAGE_SHAPES["lumina-dimoo"]
    assert (shape.prior.vocab, shape.codes, shape.trained) == (SIZE, prior.size, 512)
    assert shape.trained // shape.decoder.factor == math.isqrt(prior.tokens)
    read = []
    table = prior.text.parts.model.get_input_embeddings()
    hook = table.register_forward_pre_hook(lambda _, args: read.append(args[0].shape[1]))
    words = prior.text.tokenizer("dog " * 600).input_ids
    text = prior.text.tokenizer.decode(words[:510])
    measured = pipe.measure(torch.zeros(2, 3, 64, 64), "sr4")
    cost = pipe(measured, text, steps=3, inner_steps=2).cost
    hook.remove()
    # The small tokenizer knows few words, so the tags and the system take more of its tokens.
    frame = len(prior.prompt("dog")) - len(prior.text.tokenizer("dog").input_ids)
    assert max(read) == shape.positions(16) - shape.around + 510 + frame + 2
    words_around = f"<system>{SYSTEM}</system><user></user>".replace("<", " <").split()
    assert len(words_around) + 4 < shape.around - 510 < 3 * len(words_around)
    config = APSConfig("restore", schedule="cosine", steps=3, inner_steps=2)
    passes = plan_images(ImageCall(shape=shape, side=64, config=config, batch=2)).passes
    assert passes == {
        "prior": cost.denoiser_forwards,
        "decoder forward": cost.reward_forwards,
        "decoder backward": cost.reward_backwards,
    }


@pytest.mark.parametrize("side", PAPER)
def test_memory_is_of_the_order_that_the_paper_reports(side):
    """Its implementation is another one, and keeps the whole decoder's graph at 1024 pixels."""
    config = APSConfig("restore", steps=15)
    shape = IMAGE_SHAPES["mmada-8b"]
    bounded, whole = (
        plan_images(ImageCall(shape=shape, side=side, config=config, at_most=at_most))
        for at_most in (2**18, None)
    )
    assert whole.paper == PAPER[side]
    gib = sum(whole.memory.values()) / 2**30
    assert 0.6 * PAPER[side][1] < gib < 1.2 * PAPER[side][1]
    assert (bounded.memory["decoder"] < whole.memory["decoder"]) == (side == 1024)
    assert bounded.call.tokens == (side // 16) ** 2


def test_the_table_in_the_docs_is_what_is_planned():
    page = (ROOT / "docs" / "image_models.md").read_text(encoding="utf-8")
    config = APSConfig("restore", steps=15)
    for side, (seconds, gib) in PAPER.items():
        cells = []
        for name, at_most in (
            ("mmada-8b", 2**18),
            ("mmada-8b", None),
            ("amused-512", 2**18),
            ("lumina-dimoo", 2**18),
        ):
            call = ImageCall(shape=IMAGE_SHAPES[name], side=side, config=config, at_most=at_most)
            found = plan_images(call)
            total = sum(found.memory.values()) / 2**30
            cells.append(f"{found.seconds['a100-80']:.0f} s, {total:.1f} GiB")
        cells.insert(2, f"{seconds} s, {gib} GiB")
        assert f"| {side} | {(side // 16) ** 2:,} | {' | '.join(cells)} |\n" in page


def test_more_images_are_decoded_one_after_the_other():
    shape = IMAGE_SHAPES["amused-512"]
    one, four = (plan_images(ImageCall(shape=shape, side=512, batch=n)) for n in (1, 4))
    assert four.memory["decoder"] == one.memory["decoder"]
    assert four.memory["distributions"] == pytest.approx(4 * one.memory["distributions"])
    assert four.flops["decoder forward"] == 8 * one.flops["decoder forward"]  # computed again


def test_the_command(capsys):
    assert main(["plan", "--model", "amused/amused-512", "--image", "512", "--gpu", "12GB"]) == 0
    out = capsys.readouterr().out
    assert "1 x 512 x 512 pixels, 1024 tokens of 8192, T=15, M=5, phi = 64 numbers a token" in out
    assert "12 GB (10.7 GiB for tensors): fits" in out
    assert "unverified" in out
    name = "Gen-Verse/MMaDA-8B-MixCoT"
    for side, (seconds, gib) in PAPER.items():
        assert main(["plan", "--model", name, "--image", str(side), "--steps", "15"]) == 0
        out = capsys.readouterr().out
        assert f"the paper reports {seconds} s and {gib} GiB on an A100 at T=15" in out
    assert main(["plan", "--model", name, "--image", "512", "--cfg-scale", "3.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passes"]["prior"] == 30
    assert found["call"]["tokens"] == 1024


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model", "dream-7b", "--image", "512"],
            "no image plan for 'dream-7b'; known: mmada-8b",
        ),
        (["--model", "amused-256", "--image", "250"], "--image 250: sides are multiples of 16"),
        (["--model", "amused-256", "--image", "0"], "--image 0: sides are multiples of 16"),
        (["--model", "mmada-8b", "--image", "100000"], "--image 100000: sides are at most 16000 p"),
        (["--model", "Alpha-VLLM/Lumina-DiMOO"], "draws images: give --image"),
        (["--model", "mini-garments"], "recipes/mini_image: give --image with its pixels per s"),
        (["--model", "mini-garments", "--image", "64"], "of 32 pixels a side alone; give --image"),
        (
            ["--model", "mini-garments", "--image", "32", "--dtype", "float16"],
            "is loaded in float32 alone",
        ),
        (["--model", "mini-garments", "--image", "32", "--tokenizer", "t"], "--tokenizer is of M"),
        (["--model", "mmada-8b", "--image", "256", "--tokenizer", "t"], "goes with a folder of M"),
        (["--model", "mmada-8b", "--tokenizer", "t"], "--tokenizer is of images: give --image"),
        (["--model", "x/MMaDA-Parallel-A", "--image", "256"], "is MMaDA-Parallel-A, which is not"),
        (
            ["--model", "amused-256", "--image", "256", "--reward", "relevance"],
            "--reward has no us",
        ),
        (["--model", "amused-256", "--image", "256", "--tokens", "8"], "(--max-new-tokens) has no"),
        (["--model", "amused-256", "--image", "256", "--batch", "0"], "batch must be >= 1, got 0"),
        (["--model", "amused-256", "--image", "256", "--adapter", "lora"], "planned for adapter="),
    ],
)
def test_bad_arguments_are_one_line(options, message, capsys):
    assert main(["plan", *options]) == 2
    assert message in capsys.readouterr().err


def test_models_are_listed(capsys):
    assert main(["models", "--json"]) == 0
    rows = {row["family"]: row for row in json.loads(capsys.readouterr().out)}
    row = rows["aMUSEd (images)"]
    assert row["models"] == ["amused/amused-256", "amused/amused-512"]
    assert "unverified" in row["needs"]
    assert row["weights_gib"]["float32"] > row["weights_gib"]["bf16"]
    assert find_image_shape("Amused/aMUSEd-512/").name == "aMUSEd-512"
    assert find_image_shape("tyfeld/MMaDA-Parallel-M").trained == 256
    assert find_image_shape("Gen-Verse/MMaDA-8B-Base").trained == 512


def test_sides_are_those_that_the_model_takes():
    with pytest.raises(ValueError, match="sides are multiples of 32 pixels"):
        ImageCall(shape=IMAGE_SHAPES["amused-512"], side=272)
    assert ImageCall(shape=IMAGE_SHAPES["amused-256"], side=272).tokens == 289


@pytest.mark.parametrize("side", [256, 512])
def test_a_folder_of_the_published_sizes_is_planned_as_by_its_name(tmp_path, side):
    """The files' numbers are few here; all else is what the published configurations state."""
    folder = write_amused(tmp_path / "m", downsample=side == 512)
    for part, config in (
        ("transformer", transformer_config(side == 512, **UVIT, sample_size=side // 16)),
        ("vqvae", vqvae_config(**VQ)),
    ):
        (folder / part / "config.json").write_text(json.dumps(config))
    found, known = image_shape_in(folder), IMAGE_SHAPES[f"amused-{side}"]
    assert found.prior == known.prior
    assert replace(found.decoder, parameters=0) == replace(known.decoder, parameters=0)
    assert (found.codes, found.trained, found.stored_bytes) == (8192, side, 4)


def test_a_folder_is_planned_by_its_files(tmp_path, capsys):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    folder = write_amused(tmp_path / "m")
    found = image_shape_in(folder)
    pipe = RestorationPipeline.from_pretrained(folder)
    prior = pipe.model.prior
    assert found.parameters == count(prior.net) + count(prior.text_encoder)
    assert found.decoder.parameters == count(pipe.model.tokenizer.net)
    assert found.trained == pipe.size[1]
    assert main(["plan", "--model", str(folder), "--image", "64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["call"]["tokens"] == pipe.model.tokens
    assert main(["plan", "--model", str(folder)]) == 2
    assert "(AmusedPipeline): give --image with its pixels per side" in capsys.readouterr().err


def test_presets_of_texts_are_none_of_images_and_back(capsys):
    for model, preset, says in (
        (["mmada-8b", "--image", "512"], "balanced", "images take 'restore' or 'posterior'"),
        (["dream-7b"], "posterior", "is for images"),
        (["mmada-8b", "--image", "512"], "posterior", None),
    ):
        status = main(["plan", "--model", *model, "--preset", preset])
        assert status == (0 if says is None else 2)
        assert (says or "") in capsys.readouterr().err


def test_a_folder_of_mmada_is_planned_by_its_files(tmp_path, capsys):
    model, tokenizer = write_mmada(tmp_path / "m"), write_magvit(tmp_path / "t")
    pipe = RestorationPipeline.from_pretrained(model, tokenizer=tokenizer)
    found = image_shape_in(model, tokenizer)
    assert found.stored_bytes == pipe.model.prior.text.parts.head.weight.element_size() == 4
    assert found.parameters == count(pipe.model.prior.text.parts.model)
    assert found.decoder.parameters == count(pipe.model.tokenizer.net)
    assert (found.prior.vocab, found.codes, found.trained) == (SIZE, 8192, 64)
    assert found.positions(16) == IMAGE_SHAPES["mmada-8b"].positions(16)
    options = ["plan", "--model", str(model), "--image", "64", "--json"]
    assert main([*options, "--tokenizer", str(tokenizer)]) == 0
    small = json.loads(capsys.readouterr().out)
    assert small["call"]["tokens"] == pipe.model.tokens
    assert main(options) == 0
    published = json.loads(capsys.readouterr().out)
    assert published["memory_bytes"]["tokenizer"] == 4 * IMAGE_SHAPES["mmada-8b"].decoder.parameters
    assert published["memory_bytes"]["tokenizer"] > small["memory_bytes"]["tokenizer"]
    for side in PAPER:
        assert main(["plan", "--model", str(model), "--image", str(side)]) == 0
        out = capsys.readouterr().out
        assert f"{(side // 16) ** 2} tokens of 8192, T=15, M=5, phi = 13 numbers" in out


def test_a_folder_of_lumina_is_planned_by_its_files(tmp_path):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    folder = write_lumina(tmp_path / "lumina")
    pipe = RestorationPipeline.from_pretrained(folder, size=64)
    found = image_shape_in(folder)
    assert found.parameters == count(pipe.model.prior.text.parts.model)
    assert found.decoder.parameters == count(pipe.model.tokenizer.net)
    assert (found.prior.vocab, found.codes, found.newlines) == (126356 + 8192, 8192, True)


@pytest.mark.parametrize("refine", [0, 2])
def test_a_small_model_is_planned_by_its_files(tmp_path, refine):
    """Operations, kept numbers and passes are those of a tokenizer and a prior of these sizes."""
    sizes = TokenizerConfig(16, 3, 4, 4, 24, 2, 3, refine)
    prior = PriorConfig(4, 4, 16, 2, 2, {"class": ["a", "b"]})
    tokens, net = LFQTokenizer(sizes), MaskedImageModel(prior)
    for name, config, model in (("tokenizer", sizes, tokens), ("prior", prior, net)):
        (tmp_path / f"{name}.json").write_text(json.dumps(asdict(config)))
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    shape = image_shape_in(tmp_path)
    assert (shape.parameters, shape.decoder.parameters) == (count(net), count(tokens))
    assert (shape.codes, shape.trained, shape.decoder.factor) == (16, 16, 4)
    pipe = RestorationPipeline.from_pretrained(tmp_path)
    codes = torch.zeros(1, 16, 4, requires_grad=True)
    weights = {p.untyped_storage()._cdata for p in pipe.model.tokenizer.parameters()}
    seen, held = {}, []

    def pack(tensor):
        held.append(tensor)
        seen[tensor.untyped_storage()._cdata] = tensor.numel() * tensor.element_size()
        return tensor

    counter = FlopCounterMode(display=False)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), counter:
        pipe.model.tokenizer.decode(codes)
    found = sum(size for storage, size in seen.items() if storage not in weights)
    assert shape.decoder.kept(16, None) == pytest.approx(found, rel=0.01)
    assert shape.decoder.operations(16) == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        state = pipe.model.prior(torch.full((1, 16), 16), torch.tensor([[-1]]))
        pipe.model.prior.head(state[0])
    assert shape.forward(16) == counter.get_total_flops()
    cost = pipe(pipe.measure(torch.zeros(2, 3, 16, 16), "sr2"), steps=3, inner_steps=2).cost
    config = APSConfig("restore", steps=3, inner_steps=2)
    plan = plan_images(ImageCall(shape=shape, side=16, config=config, batch=2))
    assert plan.passes == {
        "prior": cost.denoiser_forwards,
        "decoder forward": cost.reward_forwards,
        "decoder backward": cost.reward_backwards,
    }
    assert plan.flops["decoder forward"] == plan.flops["decoder backward"]  # never computed again
    assert plan.memory["decoder"] in (0, 2 * found)


def test_the_embedded_model_is_planned_by_its_name(capsys):
    assert main(["plan", "--model", "mini-garments", "--image", "32", "--gpu", "24GB"]) == 0
    out = capsys.readouterr().out
    usual = APSConfig("restore").sampler
    assert f"64 tokens of 1024, T={usual.steps}, M={usual.fit.inner_steps}, phi = 10" in out
    assert "unverified" not in out
    assert "seconds" not in out


def test_images_that_fit_one_slice_are_not_computed_again():
    shape = IMAGE_SHAPES["amused-256"]
    one, four, five = (plan_images(ImageCall(shape=shape, side=256, batch=n)) for n in (1, 4, 5))
    assert four.flops["decoder forward"] == 4 * one.flops["decoder forward"]
    assert five.flops["decoder forward"] == 10 * one.flops["decoder forward"]


def test_a_folder_that_cannot_be_planned_says_what_it_lacks(tmp_path, capsys):
    def error_of(folder):
        assert main(["plan", "--model", str(folder), "--image", "64"]) == 2
        return capsys.readouterr().err

    assert "is no folder of an image model; planned are folders of MMaDA" in error_of(tmp_path)
    assert "is the image tokenizer MAGVIT-v2; planned are" in error_of(write_magvit(tmp_path / "t"))
    parallel = write_mmada(tmp_path / "a", architectures=["LLaDAForMultiModalGeneration"])
    assert "is MMaDA-Parallel-A, which is not supported: it draws an image" in error_of(parallel)
    other = write_mmada(tmp_path / "b", codebook_size=4096)
    assert "has 4096 image tokens, and MAGVIT-v2 as published 8192; name its" in error_of(other)
    lumina = write_lumina(tmp_path / "lumina", size=TEXT_SIZE + 7)
    assert "ends with its image tokens, 126356 .. 134547" in error_of(lumina)
    for number, (break_it, says) in enumerate(
        (
            (lambda f: (f / "vqvae/config.json").unlink(), "config.json is not there"),
            (lambda f: (f / "transformer/config.json").write_text("{}"), "lacks 'num_hidden_la"),
            (
                lambda f: (f / "vqvae/config.json").write_text(
                    json.dumps(vqvae_config(block_out_channels=3))
                ),
                "block_out_channels=3; it is a list",
            ),
            (lambda f: (f / "text_encoder/model.safetensors").unlink(), "safetensors is not there"),
            (
                lambda f: (f / "vqvae/diffusion_pytorch_model.safetensors").write_bytes(b"x"),
                "no safetensors file",
            ),
        )
    ):
        folder = write_amused(tmp_path / str(number))
        break_it(folder)
        assert says in error_of(folder)


def test_a_folder_is_not_planned_by_its_name(tmp_path):
    (tmp_path / "mmada").mkdir()
    with pytest.raises(ValueError, match=r"is a folder; planning\.image_folders reads its sizes"):
        find_image_shape(str(tmp_path / "mmada"))


@pytest.mark.parametrize(
    ("flag", "value"), [("--prompt", "9"), ("--reward-prompt", "7"), ("--reward-dtype", "float32")]
)
def test_options_of_text_are_refused(flag, value, capsys):
    assert main(["plan", "--model", "amused-256", "--image", "256", flag, value]) == 2
    assert f"{flag} has no use with --image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--num-return-sequences", "3"], "num_return_sequences=3 has no use here: use samples="),
        (["--eos-penalty", "1"], "eos_penalty=1 has no use here: an image has a fixed number"),
        (["--block-length", "8"], "block_length=8 has no use here: images are not filled from"),
        (["--pool-size", "8"], "pool_size=8 has no use here: candidate='quantized' is one answer"),
        (["--pool-size", "8", "--candidate", "sample"], "without a pool of answers, got pool_size"),
        (["--estimator", "rloo"], "images are planned for gradients through the decoder"),
        (["--load-in-4bit"], "--load-in-4bit is not planned with --image"),
        (["--max-new-tokens", "8"], "(--max-new-tokens) has no use with --image"),
    ],
)
def test_settings_that_a_plan_would_leave_out_are_refused(args, said, capsys):
    assert main(["plan", "--model", "mmada-8b", "--image", "256", *args]) == 2
    assert said in capsys.readouterr().err


def test_the_settings_of_a_plan_are_those_of_a_call(capsys):
    asked = ["--steps", "4", "--guidance-end", "0.5", "--candidate", "sample", "--json"]
    assert main(["plan", "--model", "mmada-8b", "--image", "256", *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passes"] == {"prior": 4, "decoder forward": 10, "decoder backward": 10}
    assert (found["call"]["schedule"], found["call"]["steps"]) == ("cosine", 4)
    assert main(["plan", "--model", "mmada-8b", "--image", "256", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["call"]["steps"] == 15


def test_a_model_of_images_asks_for_their_size(capsys):
    assert main(["plan", "--model", "amused/amused-256"]) == 2
    assert "draws images: give --image" in capsys.readouterr().err
