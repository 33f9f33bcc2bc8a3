"""Loading an image model from a folder, and what it offers to the core."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from aps_text.core.config import APSConfig
from aps_text.core.noise import Noise
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.images.classifier import AttributeClassifier, ClassifierConfig
from aps_text.images.lfq import LFQTokenizer, TokenizerConfig
from aps_text.methods.ancestral import Ancestral
from aps_text.models.combinations import never_together
from aps_text.models.mini_image import MaskedImageModel, PriorConfig
from aps_text.pipelines.any_image_model import masked_canvas
from aps_text.pipelines.image_model import ImageModel, embedded_image_models, load_image_model
from aps_text.planning.image_folders import image_model_folder, image_shape_in

KINDS = {"kind": ("a", "b")}
TOKENS = TokenizerConfig(
    size=16, channels=1, factor=4, bits=4, width=8, encoder_blocks=1, decoder_blocks=1
)
PRIOR = PriorConfig(grid=4, bits=4, width=16, layers=1, heads=2, attributes=KINDS)
JUDGE = ClassifierConfig(16, 1, 8, KINDS)


def write(folder, parts=("tokenizer", "prior", "classifier")):
    made = {
        "tokenizer": (LFQTokenizer, TOKENS),
        "prior": (MaskedImageModel, PRIOR),
        "classifier": (AttributeClassifier, JUDGE),
    }
    folder.mkdir(exist_ok=True)
    for part in parts:
        kind, config = made[part]
        torch.manual_seed(0)
        save_file(kind(config).state_dict(), folder / f"{part}.safetensors")
        (folder / f"{part}.json").write_text(json.dumps(asdict(config)))
    return folder


def test_a_folder_samples_images_of_the_kind_asked_for(tmp_path):
    model = load_image_model(write(tmp_path / "m"))
    assert model.attributes == KINDS
    denoiser = model.denoiser({"kind": "b"}, rows=3, cfg_scale=0.5)
    config = APSConfig(max_new_tokens=16, steps=4, temperature=1.0, top_p=1.0)
    noise = Noise(torch.arange(3), torch.zeros(3, dtype=torch.long))
    z = run(Ancestral(), denoiser, ZeroOperator(), masked_canvas(model, 3), config, noise).z
    assert z.shape == (3, 16)
    assert int(z.max()) < model.mask_id
    assert model.tokenizer.decode_ids(z).shape == (3, 1, 16, 16)
    assert model.classifier.predict(model.tokenizer.decode_ids(z)).shape == (3, 1)


def test_attributes_may_be_a_tensor_of_all_rows(tmp_path):
    model = load_image_model(write(tmp_path / "m"))
    denoiser = model.denoiser(torch.tensor([[0], [1], [-1]]))
    assert denoiser.values.tolist() == [[0], [1], [-1]]
    assert model.denoiser(rows=2).values.tolist() == [[-1], [-1]]
    with pytest.raises(ValueError, match="kind='z' is not one of a, b"):
        model.denoiser({"kind": "z"})


@pytest.mark.parametrize("slip", ["mini-portrait", "portraits", "portrait", "mini_portraits"])
def test_a_slip_in_the_name_of_a_model_is_told_the_name(slip):
    with pytest.raises(ValueError, match=r"did you mean 'mini-portraits'\?$"):
        load_image_model(slip)
    with pytest.raises(ValueError, match="train one with recipes/mini_image"):
        load_image_model("mini-cars")


def test_attributes_that_never_occur_together_are_warned_of(tmp_path, caplog):
    folder = write(tmp_path / "m")
    (folder / "combinations.json").write_text('{"kind": {"a": {}, "b": {}}}')
    model = load_image_model(folder)
    assert model.conditions({"Kind": "A"}, 2) == [{"kind": "a"}] * 2
    assert not caplog.text
    whole = load_image_model("mini-portraits")
    odd = {"Style": "open-peeps", "eyes": "sleep", "skin": "1"}
    whole.conditions(odd, 3)
    assert caplog.text.count("style=open-peeps, eyes=sleep never occurred together") == 1
    assert "eyes=sleep is of style personas" in caplog.text
    caplog.clear()
    whole.conditions([{"style": "personas", "eyes": "sleep", "mask": "none"}, {}], 2)
    assert not caplog.text
    whole.conditions({"face": "calm", "nose": "wrinkles", "background": "blue"}, 1)
    assert "face=calm, nose=wrinkles never occurred" in caplog.text
    few = {"style": {"a": {"hair": ["red"]}, "b": {"hair": ["blue"]}}}
    assert never_together(few, {"hat": "yes", "hair": "red"}) == ""
    assert never_together(few, {"hair": "green"}) == "hair=green never occurred"
    assert never_together(few, {"style": "b", "hair": "red"}).startswith("style=b, hair=red never")


def test_a_classifier_is_optional_and_may_be_another_s(tmp_path):
    alone = load_image_model(write(tmp_path / "garments-large", ("tokenizer", "prior")))
    assert alone.classifier is None
    write(tmp_path / "garments")
    assert load_image_model(tmp_path / "garments-large").classifier is not None


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"'mini-cars'.*with recipes/mini_image, .* the folder"):
        load_image_model("mini-cars")
    with pytest.raises(ValueError, match=r"'Gen-Verse/MMaDA-8B-MixCoT'.* tokenizer=, .*magvitv2"):
        load_image_model("Gen-Verse/MMaDA-8B-MixCoT")
    with pytest.raises(ValueError, match="there is no such folder; compare the path"):
        load_image_model(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"tokenizer\.json and prior\.json"):
        load_image_model(write(tmp_path / "m", ("tokenizer",)))
    with pytest.raises(ValueError, match="4\\^2 tokens of 4 bits and a prior of 4\\^2 of 5"):
        ImageModel("x", LFQTokenizer(TOKENS), MaskedImageModel(replace(PRIOR, bits=5)))


def test_a_name_is_the_embedded_model_and_a_path_the_folder(tmp_path, monkeypatch, caplog):
    write(tmp_path / "mini-garments")
    monkeypatch.chdir(tmp_path)
    for name, size, warned in (
        ("mini-garments", 32, True),
        ("./mini-garments", 16, False),
        (Path("mini-garments"), 16, False),
    ):
        caplog.clear()
        assert load_image_model(name).size == (1, size, size)
        assert ("for the folder give ./mini-garments" in caplog.text) == warned
        assert image_shape_in(image_model_folder(name)).trained == size
    assert load_image_model(Path("mini-portraits")).size == (3, 64, 64)  # there is no such folder


@pytest.mark.parametrize("name", embedded_image_models())
def test_embedded_models_draw_what_their_classifier_recognises(name):
    """A few images of known kinds, drawn and judged: far better than chance."""
    model = load_image_model(name)
    attribute, kinds = next((n, v) for n, v in model.attributes.items() if n in ("class", "style"))
    column = list(model.attributes).index(attribute)
    asked = torch.full((2 * len(kinds), len(model.attributes)), -1)
    asked[:, column] = torch.arange(len(asked)) % len(kinds)
    config = APSConfig(
        max_new_tokens=model.tokenizer.config.tokens, steps=8, temperature=1.0, top_p=1.0
    )
    noise = Noise(torch.arange(len(asked)), torch.zeros(len(asked), dtype=torch.long))
    denoiser = model.denoiser(asked, cfg_scale=1.0)
    z = run(
        Ancestral(), denoiser, ZeroOperator(), masked_canvas(model, len(asked)), config, noise
    ).z
    drawn = model.tokenizer.decode_ids(z).clamp(-1, 1)
    right = (model.classifier.predict(drawn)[:, column] == asked[:, column]).float().mean()
    assert float(right) > 0.6


def changed(part, **sizes):
    def edit(folder):
        path = folder / f"{part}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **sizes}))

    return edit


def weighted(part, change):
    def edit(folder):
        path = folder / f"{part}.safetensors"
        tensors = load_file(path)
        save_file({name: one.contiguous() for name, one in change(tensors).items()}, path)

    return edit


def nan(tensors):
    next(iter(tensors.values())).flatten()[0] = float("nan")
    return tensors


BROKEN = {
    "no weights": (lambda f: (f / "prior.safetensors").unlink(), "prior.safetensors is not there"),
    "cut off": (
        lambda f: (f / "prior.safetensors").write_bytes(b"hello"),
        "prior.safetensors is no safetensors file, or is cut off",
    ),
    "not a number": (
        weighted("tokenizer", nan),
        "tokenizer.safetensors: 1 of the .* are NaN or infinite",
    ),
    "integers": (
        weighted("prior", lambda all: {name: one.int() for name, one in all.items()}),
        "stored as I32; weights are floating point",
    ),
    "one less": (
        weighted("classifier", lambda all: dict(list(all.items())[1:])),
        "classifier.safetensors lacks 1 tensors",
    ),
    "one more": (
        weighted("tokenizer", lambda all: {**all, "x": torch.zeros(1)}),
        "has unknown 1 tensors of a tokenizer, e.g. 'x'",
    ),
    "no JSON": (lambda f: (f / "prior.json").write_text("{"), "prior.json is not JSON"),
    "a list": (lambda f: (f / "tokenizer.json").write_text("[1]"), "has no sizes, and it has to"),
    "an unknown size": (changed("prior", depth=3), "has attributes, bits, depth, .* has to have"),
    "a text": (changed("tokenizer", width="x"), "tokenizer.json has width='x'; it is a number"),
    "true": (changed("tokenizer", channels=True), "has channels=True; it is a number from 0"),
    "a million blocks": (changed("prior", layers=10**6), "has layers=1000000; it is a number"),
    "other blocks": (changed("prior", layers=2), "prior.safetensors lacks 12 tensors"),
    "no factor": (changed("tokenizer", factor=0), "factor=0 does not divide size=16"),
    "many bits": (changed("tokenizer", bits=100), "tokenizer.json describes no tokenizer"),
    "no names": (changed("prior", attributes={"kind": []}), "it is a list of names by attribute"),
    "another judge": (changed("classifier", size=64), "a classifier of 1 x 64.2 do not fit"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_refused_with_the_file_s_name(tmp_path, kind):
    edit, says = BROKEN[kind]
    edit(write(tmp_path / "m"))
    with pytest.raises(ValueError, match=says):
        load_image_model(tmp_path / "m")
