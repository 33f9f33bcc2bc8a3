"""MMaDA with MAGVIT-v2 in `RestorationPipeline`: restored end to end, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from checkpoints_mmada import magvit_tensors, write_magvit, write_mmada

from aps_text import APSPipeline
from aps_text.images.magvit import MagvitTokenizer, load_magvit
from aps_text.models.mmada import MmadaPrior
from aps_text.pipelines.restoration import RestorationPipeline
from aps_text.pipelines.text_image_model import PIXELS, TextImageModel


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    return write_mmada(parent / "mmada"), write_magvit(parent / "magvitv2")


@pytest.fixture(scope="module")
def pipe(folders):
    folder, tokenizer = folders
    return RestorationPipeline.from_pretrained(folder, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def images(pipe):
    ids = torch.randint(8192, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return pipe.model.tokenizer.decode_ids(ids).clamp(-1, 1)


COMMIT = "0" * 40
FEW = {"steps": 4, "inner_steps": 3}


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


def test_memory_is_bounded(pipe, images):
    """Pixels in slices change no image; the pipeline's own limit is one image of 512 pixels."""
    assert pipe.model.tokenizer.at_most == PIXELS == 512 * 512
    measured = pipe.measure(images, "sr4")
    whole = pipe(measured, steps=2, inner_steps=2)
    model = replace(pipe.model, tokenizer=MagvitTokenizer(pipe.model.tokenizer.net, 64, 64, 64))
    sliced = RestorationPipeline(model)(measured, steps=2, inner_steps=2)
    assert torch.equal(whole.ids, sliced.ids)


def test_each_image_may_have_its_own_text(pipe, images):
    measured = pipe.measure(images, "sr4")
    each = pipe(measured, ["a violin", "a dog"], steps=2, inner_steps=1)
    one = pipe(measured.take(torch.tensor([1])), "a dog", steps=2, inner_steps=1)
    assert torch.equal(each.ids[1], one.ids[0])
    assert pipe.model.conditions(None, 2) == ["", ""]


@pytest.mark.parametrize(
    "options",
    [
        {"adapter": "logits"},
        {"adapter": "lora", "lora_layers": 1},
        {"method": "svdd"},
        {"method": "best-of-n"},
        {"samples": 2, "cfg_scale": 1.0},
    ],
    ids=str,
)
def test_other_kinds_of_phi_and_other_methods(pipe, images, options):
    measured = pipe.measure(images[:1], "sr4")
    plain = pipe(measured, "a dog", method="plain", steps=3, samples=options.get("samples", 1))
    given = {"inner_steps": 3} if "method" not in options else {}
    found = pipe(measured, "a dog", steps=3, **given, **options)
    assert found.chi2.mean() < plain.chi2.mean()


def test_it_paints_and_edits(pipe, images):
    painted = pipe.paint("a red violin", steps=3, cfg_scale=3.5)
    other = pipe.paint("a big dog", steps=3, cfg_scale=3.5)
    assert painted.images.shape == (1, 3, 64, 64)
    assert not torch.equal(painted.ids, other.ids)
    mask = torch.zeros(64, 64)
    mask[20:30, 20:30] = 1
    edited = pipe.edit(images[0], mask, "a red violin", steps=2, inner_steps=1)
    assert int(edited.opened.sum()) == 1  # one cell of 16 x 16 pixels
    kept = pipe.model.tokenizer.encode(images[:1])[0]
    assert torch.equal(edited.ids[0][~edited.opened], kept[~edited.opened])


def test_the_schedule_is_cosine_unless_told_otherwise(pipe, images):
    """As published: few tokens at the first steps, many at the last ones."""
    measured = pipe.measure(images[:1], "sr4")

    def masked(**options):
        left = []
        pipe(
            measured,
            steps=4,
            inner_steps=1,
            on_step=lambda _, state: left.append(int((state.z == 8192).sum())),
            **options,
        )
        return left

    assert masked() == [14, 10, 5, 0]
    assert masked(schedule="linear") == [12, 8, 4, 0]


def test_other_sizes(folders, pipe):
    folder, tokenizer = folders
    wide = RestorationPipeline.from_pretrained(folder, tokenizer=tokenizer, size=96)
    assert (wide.size, wide.model.tokens, wide.model.grid) == ((3, 96, 96), 36, 6)
    assert wide.paint("a dog", steps=2).images.shape == (1, 3, 96, 96)
    with pytest.raises(ValueError, match=r"size=250: .* the nearest are 240 and 256"):
        RestorationPipeline.from_pretrained(folder, tokenizer=tokenizer, size=250)
    with pytest.raises(ValueError, match="makes square images, got 64 x 32"):
        TextImageModel("m", MagvitTokenizer(wide.model.tokenizer.net, 64, 32), pipe.model.prior)


def test_what_is_longer_than_the_model_was_made_for_is_said(folders, caplog):
    RestorationPipeline.from_pretrained(folders[0], tokenizer=folders[1], size=1024)
    assert "have up to 4611 tokens, and the model was made for 4096" in caplog.text


def test_the_pixels_held_at_a_time_are_an_option(folders):
    folder, tokenizer = folders
    for at_most in (None, 2**20):
        found = RestorationPipeline.from_pretrained(folder, tokenizer=tokenizer, at_most=at_most)
        assert found.model.tokenizer.at_most == at_most
    # It is judged before anything is read.
    for name in (folder, folder.parent / "none"):
        with pytest.raises(ValueError, match="at_most=0 pixels"):
            RestorationPipeline.from_pretrained(name, tokenizer=tokenizer, at_most=0)
        for wrong in (1.5, True, "many"):
            with pytest.raises(TypeError, match=f"at_most is a whole number .* got {wrong!r}"):
                RestorationPipeline.from_pretrained(name, tokenizer=tokenizer, at_most=wrong)


def test_one_loaded_model_makes_images_and_answers(pipe):
    again = TextImageModel("m", pipe.model.tokenizer, MmadaPrior.of(pipe.model.prior.text))
    assert RestorationPipeline(again).paint("a dog", steps=1).images.shape == (1, 3, 64, 64)
    answer = APSPipeline(pipe.model.prior.text).generate("Who?", max_new_tokens=4, steps=2)
    assert isinstance(answer.text[0], str)


def test_parts_that_do_not_fit(folders, pipe, tmp_path):
    folder, tokenizer = folders
    write_magvit(tmp_path / "small", magvit_tensors(bits=5))
    small = load_magvit(tmp_path / "small", 64)
    with pytest.raises(ValueError, match="has 8192 image tokens and the image tokenizer 32"):
        TextImageModel("m", small, pipe.model.prior)
    with pytest.raises(ValueError, match=r"without an image tokenizer; name its own with tokeni"):
        RestorationPipeline.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"without an image tokenizer; name its own with tokeni"):
        RestorationPipeline.from_pretrained(folder, size=64)
    for options in ({}, {"size": 64}):
        with pytest.raises(ValueError, match="there is no such folder; compare the path"):
            RestorationPipeline.from_pretrained(tmp_path / "none", **options)
        with pytest.raises(ValueError, match="a hub id, as of MMaDA, needs its image tokenizer"):
            RestorationPipeline.from_pretrained("Gen-Verse/MMaDA-8B-MixCoT", **options)
    with pytest.raises(TypeError, match=r"takes a model of images, got TextModel; from_pretr"):
        RestorationPipeline(pipe.model.prior.text)
    with pytest.raises(ValueError, match="no image tokenizer at"):
        RestorationPipeline.from_pretrained(folder, tokenizer=tmp_path / "none")
    with pytest.raises(ValueError, match="'mini' has no image tokens; it is a model of text"):
        RestorationPipeline.from_pretrained("mini", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="not found in the local cache"):
        RestorationPipeline.from_pretrained(
            folder, tokenizer="showlab/magvitv2", local_files_only=True, cache_dir=tmp_path
        )


def test_a_model_of_text_is_told_before_its_weights_are_read(folders, tmp_path):
    """The weights are damaged: reading them would be another error."""
    folder, tokenizer = folders
    llada = shutil.copytree(folder, tmp_path / "llada")
    for path in llada.glob("*.safetensors"):
        path.write_bytes(b"no weights")
    config = json.loads((llada / "config.json").read_text())

    def told(tokenizer=tokenizer, **fields):
        (llada / "config.json").write_text(json.dumps(config | fields))
        with pytest.raises(ValueError, match=r".") as error:
            RestorationPipeline.from_pretrained(llada, tokenizer=tokenizer)
        return str(error.value)

    assert "no safetensors file" in told()
    text = {"model_type": "llada", "architectures": ["LLaDAModelLM"]}
    assert told(**text).endswith("has no image tokens; it is a model of text")
    assert "llada has 32 image tokens and the image tokenizer 8192" in told(codebook_size=32)
    assert "num_vq_tokens=17, which is no square image; give size=" in told(num_vq_tokens=17)
    assert "codebook_size='many', which is no size" in told(codebook_size="many")
    # Nor is the image tokenizer read before that.
    assert told(tmp_path / "none", **text).endswith("it is a model of text")


def test_a_size_that_no_canvas_holds_is_named(folders):
    folder, tokenizer = folders
    with pytest.raises(ValueError, match=r"size=100000 pixels: .* at most 16000 pixels \(1000 tok"):
        RestorationPipeline.from_pretrained(folder, tokenizer=tokenizer, size=100_000)
    net = load_magvit(tokenizer, 64).net
    assert MagvitTokenizer(net, 16_000, 16).tokens == 1000
    with pytest.raises(ValueError, match=r"height=16016 pixels: .* at most 16000 pixels"):
        MagvitTokenizer(net, 16_016, 16)


def test_hub_ids_are_found_in_the_cache(folders, tmp_path):
    names = ("Gen-Verse/MMaDA-8B-MixCoT", "showlab/magvitv2")
    for name, folder in zip(names, folders, strict=True):
        repo = tmp_path / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, repo / "snapshots" / COMMIT)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text(COMMIT)
    offline = {"local_files_only": True, "cache_dir": tmp_path}
    found = RestorationPipeline.from_pretrained(names[0], tokenizer=names[1], **offline)
    assert found.model.name == names[0]
    assert found.size == (3, 64, 64)


def test_conditions_that_are_refused(pipe, images):
    measured = pipe.measure(images, "sr4")
    with pytest.raises(ValueError, match=r"takes a text .* not attributes; got {'class': 'bag'}"):
        pipe(measured, {"class": "bag"})
    with pytest.raises(ValueError, match="3 texts for 2 images"):
        pipe(measured, ["a", "b", "c"])
    with pytest.raises(TypeError, match="is a str, got 5"):
        pipe(measured, [5, 6])
    with pytest.raises(TypeError, match="is a str, got 5"):
        pipe(measured, 5)
    with pytest.raises(TypeError, match=r"is a str, got {'a"):  # of a set's order nobody knows
        pipe(measured, {"a dog", "a car"})
    with pytest.raises(TypeError, match="is a str, got b'a dog'"):
        pipe(measured, b"a dog")
    with pytest.raises(ValueError, match="the text has half of a surrogate pair"):
        pipe(measured, "a dog \ud83d")
    with pytest.raises(ValueError, match=r"restores images \(B, 3, 64, 64\), got \(1, 3, 32, 32\)"):
        pipe.measure(torch.zeros(1, 3, 32, 32), "sr4")
