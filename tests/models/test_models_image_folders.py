"""Image models and their parts where something else is expected: named, with the call to use."""

from __future__ import annotations

import json
import re

import pytest
from checkpoints_mmada import write_magvit, write_mmada

from aps_text import APSPipeline
from aps_text.cli import main
from aps_text.models.image_folders import EMBEDDED, image_folder
from aps_text.models.registry import load
from aps_text.pipelines.restoration import RestorationPipeline


def write_index(folder, kind):
    """The texts of a model in diffusers' layout, without weights."""
    for part, name in (("vqvae", "VQModel"), ("transformer", "UVit2DModel")):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps({"_class_name": name}))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    amused = write_index(parent / "amused", "AmusedPipeline")
    lumina = write_index(parent / "lumina", "LuminaDiMOOPipeline")
    config = {"architectures": ["LLaDAForMultiModalGeneration"], "model_type": "llada"}
    (lumina / "config.json").write_text(json.dumps(config))
    return {
        "amused": amused,
        "lumina": lumina,
        "part": amused / "vqvae",
        "magvit": write_magvit(parent / "magvit"),
        "mini": EMBEDDED / "garments",
        "embedded": "mini-garments",
        "mmada": write_mmada(parent / "mmada"),
    }


WHAT = {
    "amused": "an image model in diffusers' layout (AmusedPipeline)",
    "lumina": "an image model in diffusers' layout (LuminaDiMOOPipeline)",
    "part": "a part of an image model in diffusers' layout (VQModel)",
    "magvit": "the image tokenizer MAGVIT-v2",
    "mini": "an image model in the layout of recipes/mini_image",
    "embedded": "an image model in the layout of recipes/mini_image",
}


def call_of(kind, folders):
    """The call that the message must name."""
    if kind == "magvit":
        return f"RestorationPipeline.from_pretrained(model, tokenizer={str(folders[kind])!r})"
    whole = folders["amused"] if kind == "part" else folders[kind]
    return f"RestorationPipeline.from_pretrained({str(whole)!r})"


@pytest.mark.parametrize("kind", WHAT)
def test_an_image_model_is_named_where_a_language_model_is_loaded(kind, folders, capsys):
    name, what, use = folders[kind], re.escape(WHAT[kind]), re.escape(call_of(kind, folders))
    for made in (load, APSPipeline.from_pretrained):
        with pytest.raises(ValueError, match=f"is {what}, and no language model; .*{use}"):
            made(name)
    for command in (["ask", "Who?", "--model", str(name)], ["verify", str(name)]):
        if command[0] == "verify" and kind in ("amused", "lumina"):
            continue  # these are checked as image models
        assert main(command) == 2
        assert f"is {WHAT[kind]}, and no language model" in capsys.readouterr().err


@pytest.mark.parametrize("kind", WHAT)
def test_a_pipeline_of_a_name_says_what_loads_it(kind, folders):
    what, use = re.escape(WHAT[kind]), re.escape(call_of(kind, folders))
    for pipeline in (APSPipeline, RestorationPipeline):
        named = (
            rf"{pipeline.__name__}\(...\) takes a loaded model, got a name; .*is {what}; .*{use}"
        )
        with pytest.raises(TypeError, match=named):
            pipeline(folders[kind])
    with pytest.raises(TypeError, match=f"is {what}; .*{use}"):
        APSPipeline(folders[kind], object())


def test_a_pipeline_of_another_name(tmp_path):
    for name in ("mini", "Dream-org/Dream-v0-Instruct-7B", tmp_path):
        use = re.escape(f"APSPipeline.from_pretrained({str(name)!r}) loads one by its name")
        with pytest.raises(TypeError, match=use):
            APSPipeline(name)


@pytest.mark.parametrize("kind", [kind for kind in WHAT if kind != "magvit"])
def test_another_models_tokenizer_is_named(kind, folders):
    what, use = re.escape(WHAT[kind]), re.escape(call_of(kind, folders))
    with pytest.raises(
        ValueError,
        match=f"tokenizer='.*' is {what}, .*MMaDA's image tok.*showlab/magvitv2; .*{use}",
    ):
        RestorationPipeline.from_pretrained(folders["mmada"], tokenizer=folders[kind])


def test_names_that_were_exchanged(folders):
    mmada, magvit = folders["mmada"], folders["magvit"]
    with pytest.raises(
        ValueError, match=r"tokenizer='.*' is a model of type 'mmada', and no image"
    ):
        RestorationPipeline.from_pretrained(mmada, tokenizer=mmada)
    for tokenizer in (None, mmada, magvit):
        with pytest.raises(
            ValueError, match=r"is the image tokenizer MAGVIT-v2, and no .*tokenize"
        ):
            RestorationPipeline.from_pretrained(magvit, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"'mini-garments' has its own image tokenizer; leave"):
        RestorationPipeline.from_pretrained("mini-garments", tokenizer=magvit)
    with pytest.raises(ValueError, match=r"is a part of .*\(VQModel\), and no whole model"):
        RestorationPipeline.from_pretrained(folders["part"])


def test_what_is_no_image_model_is_not_named(folders, tmp_path):
    for name in (folders["mmada"], "mini", "mini-nothing", tmp_path, tmp_path / "none", "a/b"):
        assert image_folder(name) is None
    for text in ("[]", "{", '{"_class_name": 5}'):
        (tmp_path / "config.json").write_text(text)
        (tmp_path / "model_index.json").write_text(text)
        assert image_folder(tmp_path) is None
