"""aMUSEd in `RestorationPipeline` and the commands: restored, painted and edited end to end."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from checkpoints_amused import write_amused
from checkpoints_mmada import write_mmada
from safetensors.torch import load_file, save_file

from aps_text.cli import main
from aps_text.images.files import write_image
from aps_text.images.vq import VQTokenizer
from aps_text.models.diffusers_files import read_part
from aps_text.pipelines import diffusers_image_model
from aps_text.pipelines.diffusers_image_model import load_diffusers_image_model
from aps_text.pipelines.restoration import RestorationPipeline
from aps_text.pipelines.text_image_model import PIXELS, TextImageModel

pytest.importorskip("diffusers", reason="diffusers is not installed")

COMMIT = "0" * 40
FEW = {"steps": 4, "inner_steps": 4}


@pytest.fixture(scope="module", params=[False, True], ids=["256", "512"])
def folder(request, tmp_path_factory):
    name = "amused-512" if request.param else "amused-256"
    return write_amused(tmp_path_factory.mktemp("models") / name, downsample=request.param)


@pytest.fixture(scope="module")
def pipe(folder):
    return RestorationPipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def images(pipe):
    ids = torch.randint(8192, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return pipe.model.tokenizer.decode_ids(ids).clamp(-1, 1)


@pytest.mark.parametrize("task", ["sr4", "box-inpainting"])
def test_it_restores_images_of_64_pixels(pipe, images, task):
    measured = pipe.measure(images, task, sigma=0.05)
    found = pipe(measured, "a red violin", cfg_scale=1.5, **FEW)
    assert found.images.shape == (2, 1, 3, 64, 64)
    assert found.ids.shape == (2, 1, 16)
    assert int(found.ids.max()) < 8192
    assert float(found.images.abs().max()) <= 1
    plain = pipe(measured, "a red violin", method="plain", steps=4)
    assert (found.chi2 < plain.chi2).all()
    assert found.cost.denoiser_forwards == 2 * 4


@pytest.mark.parametrize(
    "options",
    [
        {"adapter": "logits"},
        {"adapter": "lora", "lora_layers": 2, "learning_rate": 0.05},
        {"method": "svdd"},
        {"method": "best-of-n"},
        {"samples": 2, "cfg_scale": 1.0},
        {"tilt_start": 0.5},
    ],
    ids=str,
)
def test_other_kinds_of_phi_and_other_methods(pipe, images, options):
    measured = pipe.measure(images[:1], "sr4")
    plain = pipe(measured, "dog", method="plain", steps=3, samples=4)
    given = {"inner_steps": 3} if "method" not in options else {}
    found = pipe(measured, "dog", steps=3, **given, **options)
    assert found.chi2.mean() < plain.chi2.mean()


def test_methods_that_turn_signs_say_that_there_are_none(pipe, images):
    from aps_text.methods.split_gibbs import SplitGibbs

    measured = pipe.measure(images[:1], "sr4")
    with pytest.raises(ValueError, match="turn signs, which VectorCodebook has not"):
        pipe(measured, "dog", method=SplitGibbs(sweeps=1, proposal="bit"), steps=2)


def test_it_paints_in_a_style_and_edits(pipe, images):
    painted = pipe.paint("a red violin", steps=3, cfg_scale=9.0)
    other = pipe.paint("dog", steps=3, cfg_scale=9.0)
    assert painted.images.shape == (1, 3, 64, 64)
    assert not torch.equal(painted.ids, other.ids)
    reference = (1.5 * images[:1] + 0.2).clamp(-1, 1)
    style = pipe.style(reference, "histogram", sigma=0.01)
    styled = pipe.paint("dog", style=style, steps=4, inner_steps=4)
    plain = pipe.paint("dog", steps=4).images
    assert style.distance(styled.images) < 0.9 * style.distance(plain)
    mask = torch.zeros(64, 64)
    mask[20:30, 20:30] = 1
    edited = pipe.edit(images[0], mask, "a red violin", style=style, steps=2, inner_steps=1)
    assert int(edited.opened.sum()) == 1  # one cell of 16 x 16 pixels
    kept = pipe.model.tokenizer.encode(images[:1])[0]
    assert torch.equal(edited.ids[0][~edited.opened], kept[~edited.opened])
    outside = mask[None, None].expand(1, 3, -1, -1) == 0
    assert torch.equal(edited.images[outside], images[:1][outside])


def test_each_image_may_have_its_own_text(pipe, images):
    measured = pipe.measure(images, "sr4")
    each = pipe(measured, ["a red violin", "dog"], steps=2, inner_steps=1)
    one = pipe(measured.take(torch.tensor([1])), "dog", steps=2, inner_steps=1)
    assert torch.equal(each.ids[1], one.ids[0])
    with pytest.raises(ValueError, match=r"takes a text .* not attributes"):
        pipe(measured, {"class": "bag"})


def test_the_schedule_is_cosine_unless_told_otherwise(pipe, images):
    measured, left = pipe.measure(images[:1], "sr4"), []
    pipe(
        measured,
        steps=4,
        inner_steps=1,
        on_step=lambda _, state: left.append(int((state.z == 8192).sum())),
    )
    assert left == [14, 10, 5, 0]


def test_memory_is_bounded(pipe, images):
    """Pixels in slices change no image; the pipeline's own limit is one image of 512 pixels."""
    assert pipe.model.tokenizer.at_most == PIXELS == 512 * 512
    measured = pipe.measure(images, "sr4")
    whole = pipe(measured, steps=2, inner_steps=2)
    model = replace(pipe.model, tokenizer=VQTokenizer(pipe.model.tokenizer.net, 64, 64, 64))
    sliced = RestorationPipeline(model)(measured, steps=2, inner_steps=2)
    assert torch.equal(whole.ids, sliced.ids)


def test_other_sizes(folder):
    wide = RestorationPipeline.from_pretrained(folder, size=96)
    assert (wide.size, wide.model.tokens, wide.model.grid) == ((3, 96, 96), 36, 6)
    assert wide.paint("dog", steps=2).images.shape == (1, 3, 96, 96)
    with pytest.raises(ValueError, match=r"size=250: .* the nearest are 240 and 256"):
        RestorationPipeline.from_pretrained(folder, size=250)
    if folder.name == "amused-512":  # halved inside
        with pytest.raises(ValueError, match="an even number of tokens per side; got 25"):
            RestorationPipeline.from_pretrained(folder, size=80)


def test_the_image_tokenizer_stays_float32(folder):
    half = RestorationPipeline.from_pretrained(folder, dtype="bfloat16", at_most=None)
    assert half.model.tokenizer.net.dtype == torch.float32
    assert half.model.prior.net.dtype == torch.bfloat16
    assert half.model.tokenizer.at_most is None
    assert half.paint("dog", steps=1).images.isfinite().all()


def test_what_is_refused(folder, tmp_path):
    load = RestorationPipeline.from_pretrained
    with pytest.raises(ValueError, match="has its own image tokenizer, vqvae; leave tokenizer= ou"):
        load(folder, tokenizer="showlab/magvitv2")
    with pytest.raises(TypeError, match=r"load_in_4bit: no option .* which takes size, dtype, at_"):
        load(folder, load_in_4bit=True)
    with pytest.raises(TypeError, match=r"adapter \(--tuned\): no option of a model in diffusers'"):
        load(folder, adapter="lora")
    with pytest.raises(ValueError, match=r"a part of an image model in diffusers' layout .VQM"):
        load(folder / "vqvae", size=64)
    with pytest.raises(ValueError, match="revision='main' needs a hub id"):
        load(folder, revision="main")
    other = shutil.copytree(folder, tmp_path / "other")
    index = json.loads((other / "model_index.json").read_text())
    (other / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    with pytest.raises(
        ValueError, match="is a FluxPipeline, which is not supported; of diffusers'"
    ):
        load(other)
    (other / "model_index.json").unlink()
    with pytest.raises(
        ValueError, match=r"without its model_index\.json, and no whole model; copy"
    ):
        load(other)
    (other / "model_index.json").write_text(json.dumps({"_class_name": 3}))
    with pytest.raises(ValueError, match="has _class_name=3; it is the name of a pipeline's"):
        load(other)


def test_images_that_are_no_numbers_are_refused(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    file = other / "vqvae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["decoder.conv_out.weight"] *= 1e38
    save_file(tensors, file, {"format": "pt"})
    pipe = RestorationPipeline.from_pretrained(other)
    with pytest.raises(RuntimeError, match="tokenizer of other decodes tokens to numbers that are"):
        pipe.paint("dog", steps=1)


def test_parts_that_do_not_fit(tmp_path, pipe):
    small = write_amused(tmp_path / "m", changes={"vqvae": {"num_vq_embeddings": 512}})
    with pytest.raises(ValueError, match="has 8192 image tokens and the image tokenizer 512"):
        RestorationPipeline.from_pretrained(small)
    net = read_part(small, "vqvae", "VQModel")
    with pytest.raises(ValueError, match="makes square images, got 64 x 32"):
        TextImageModel("m", VQTokenizer(pipe.model.tokenizer.net, 64, 32), pipe.model.prior)
    assert VQTokenizer(net, 32, 32).codes == 512


def test_weights_are_not_downloaded_for_a_call_that_cannot_be(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        diffusers_image_model, "download", lambda name, *_: asked.append(name) or folder
    )
    with pytest.raises(ValueError, match="size=250: a token covers 16 x 16 pixels"):
        load_diffusers_image_model("amused/amused-256", size=250)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ImportError, match="diffusers, which is not installed: pip install"):
            load_diffusers_image_model("amused/amused-256")
    assert asked == ["amused/amused-256"] * 2  # the configurations
    load_diffusers_image_model("amused/amused-256")
    assert len(asked) == 4


def test_hub_ids_are_found_in_the_cache(folder, tmp_path):
    name = f"amused/{folder.name}"
    repo = tmp_path / f"models--amused--{folder.name}"
    shutil.copytree(folder, repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    found = RestorationPipeline.from_pretrained(name, local_files_only=True, cache_dir=tmp_path)
    assert (found.model.name, found.size) == (name, (3, 64, 64))
    with pytest.raises(ValueError, match="not found in the local cache"):
        RestorationPipeline.from_pretrained(
            "amused/amused-1024", local_files_only=True, cache_dir=tmp_path
        )


def test_mmada_needs_no_download_to_be_told_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match="name its own with tokenizer="):
        RestorationPipeline.from_pretrained(write_mmada(tmp_path / "mmada"))
    with pytest.raises(ValueError, match="needs its image tokenizer too"):
        RestorationPipeline.from_pretrained("Gen-Verse/MMaDA-8B-MixCoT")


@pytest.fixture
def photo(images, tmp_path):
    write_image(images[0], tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_the_commands(folder, photo, tmp_path, capsys):
    common = ["--model", str(folder), "--text", "dog", "--steps", "2", "--out", str(tmp_path / "o")]
    args = ["restore", photo, "--task", "sr4", "--simulate", "--inner-steps", "1", *common]
    assert main([*args, "--cfg-scale", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["images"][0]) >= {"chi2", "PSNR"}
    assert (tmp_path / "o" / "photo-1.png").is_file()
    assert main(["paint", *common, "--samples", "1"]) == 0
