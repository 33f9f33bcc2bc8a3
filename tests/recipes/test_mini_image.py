"""The recipe of the image models: data, losses, resuming, exporting, measuring; all tiny."""

import gzip
import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from aps_text.images.classifier import AttributeClassifier, ClassifierConfig, load_classifier
from aps_text.images.lfq import LFQTokenizer, TokenizerConfig, load_tokenizer
from aps_text.models.combinations import read_combinations
from aps_text.models.mini_image import MaskedImageModel, PriorConfig, load_prior
from recipes.mini_image.card import card
from recipes.mini_image.classifier import classifier_loss, shifted
from recipes.mini_image.combinations import write_combinations
from recipes.mini_image.export import measure, write_part
from recipes.mini_image.garments import garments
from recipes.mini_image.images import Images
from recipes.mini_image.measure import accuracy, cross_entropy, reconstruction, sample
from recipes.mini_image.plans import SETS
from recipes.mini_image.portraits import attributes_of, portraits, split_of
from recipes.mini_image.prior import masked, prior_loss, withhold
from recipes.mini_image.sheets import sheet
from recipes.mini_image.tokenizer import tokenizer_loss
from recipes.mini_image.train import averaged_weights, new_model, tokens_of
from recipes.mini_image.training import Recipe, Run

TOKENIZER = TokenizerConfig(
    size=16, channels=1, factor=4, bits=4, width=16, encoder_blocks=1, decoder_blocks=1
)
PRIOR = PriorConfig(4, 4, 16, 1, 2, {"side": ("left", "right")})


def halves(count=64):
    """Gray images that are bright on the side their attribute names, of four brightnesses."""
    values = torch.arange(count)[:, None] % 2
    pixels = torch.zeros(count, 1, 16, 16, dtype=torch.uint8)
    for row in range(count):
        at = slice(0, 8) if row % 2 == 0 else slice(8, 16)
        pixels[row, :, :, at] = 100 + 50 * (row // 2 % 4)
    return Images(pixels, values, {"side": ("left", "right")})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tokenizer_run(steps=30):
    torch.manual_seed(0)
    recipe = Recipe(steps=steps, batch=8, learning_rate=3e-3, warmup=5)
    return Run(LFQTokenizer(TOKENIZER), tokenizer_loss(halves(), 8), recipe)


def test_combinations_are_those_that_occur(tmp_path):
    known = {"hat": ("cap", "fez", "none"), "style": ("flat", "round")}
    values = torch.tensor([[2, 0], [0, 0], [2, 0], [-1, 1]])  # hats, of the first style alone
    images = Images(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), values, known)
    write_combinations(images, tmp_path)
    expected = {"style": {"flat": {"hat": ["cap", "none"]}, "round": {}}}
    assert read_combinations(tmp_path) == expected
    (tmp_path / "combinations.json").unlink()
    write_combinations(halves(), tmp_path)  # without styles
    assert read_combinations(tmp_path) == {}


def test_a_resumed_run_is_bit_identical(tmp_path):
    whole, half, again = tokenizer_run(), tokenizer_run(), tokenizer_run()
    whole.train(tmp_path / "whole.pt")
    half.train(tmp_path / "cut.pt", until=11)
    assert half.step == 11
    again.train(tmp_path / "cut.pt")
    assert again.step == whole.step == 30
    for name in ("parameters", "average"):
        for p, q in zip(getattr(whole, name), getattr(again, name), strict=True):
            assert torch.equal(p, q)


def test_a_finished_run_is_extended(tmp_path):
    tokenizer_run(10).train(tmp_path / "c.pt")
    longer = tokenizer_run(20)
    longer.load(tmp_path / "c.pt")
    assert longer.step == 10
    assert longer.rate() > tokenizer_run(10).recipe.learning_rate / 2
    longer.train(tmp_path / "c.pt")
    assert longer.step == 20


def test_the_rate_warms_up_stays_and_falls_to_nothing():
    run = tokenizer_run(100)
    rates = []
    for step in range(100):
        run.step = step
        rates.append(run.rate())
    assert rates[0] == pytest.approx(run.recipe.learning_rate / 5)
    assert rates[10] == rates[69] == run.recipe.learning_rate
    assert rates[99] == pytest.approx(run.recipe.learning_rate / 100 / 0.3)
    assert all(a >= b for a, b in pairwise(rates[69:]))


def test_a_gradient_that_is_no_number_moves_nothing():
    run = tokenizer_run()
    before = [p.detach().clone() for p in run.parameters]
    inner = run.loss
    run.loss = lambda *args: (inner(*args)[0] * torch.nan, {})
    run.update()
    assert all(torch.equal(p, q) for p, q in zip(run.parameters, before, strict=True))


def test_the_tokenizer_learns_and_is_measured(tmp_path):
    run = tokenizer_run(150)
    before = reconstruction(run.model.eval(), halves())
    run.train(tmp_path / "checkpoint.pt")
    model = LFQTokenizer(TOKENIZER)
    assert averaged_weights(model, tmp_path / "checkpoint.pt") == 150
    after = reconstruction(model, halves())
    assert after["psnr"] > before["psnr"] + 5
    assert after["images"] == 64
    assert 0 < after["codes used"] <= 1
    assert 1 <= after["code perplexity"] <= 16
    assert torch.equal(model.encode(halves().at(slice(None))).int(), tokens_of(model, halves(), 7))


def test_masks_are_as_many_as_asked_and_keep_the_rest():
    ids = torch.arange(40).view(4, 10)
    share = torch.tensor([0.0, 0.25, 0.5, 1.0])
    z, where = masked(ids, 99, share, generator())
    assert where.sum(1).tolist() == [1, 3, 5, 10]
    assert bool((z[where] == 99).all())
    assert torch.equal(z[~where], ids[~where])


def test_every_position_is_masked_alike():
    ids = torch.zeros(4000, 8, dtype=torch.long)
    _, where = masked(ids, 9, torch.full((4000,), 0.25), generator())
    share = where.float().mean(0)
    assert bool(((share - 0.25).abs() < 5 * (0.25 * 0.75 / 4000) ** 0.5).all())


def test_attributes_are_withheld_together_and_alone():
    values = torch.ones(20_000, 3, dtype=torch.long)
    gone = withhold(values, 0.1, generator()) == -1
    assert float(gone.all(1).float().mean()) == pytest.approx(0.1 + 0.9 * 1e-3, abs=0.01)
    assert float(gone.float().mean()) == pytest.approx(0.1 + 0.9 * 0.1, abs=0.01)
    one = withhold(values[:, :1], 0.1, generator()) == -1
    assert float(one.float().mean()) == pytest.approx(0.1, abs=0.01)


def test_the_prior_learns_its_condition_and_the_sampler_draws_it():
    """All tokens of a row equal its attribute: from nothing but masks, only that can tell."""
    values = torch.arange(32)[:, None] % 2
    ids = (values * 7 + 3).expand(-1, 16)
    torch.manual_seed(0)
    model = MaskedImageModel(PRIOR)
    recipe = Recipe(steps=150, batch=16, learning_rate=1e-2, warmup=5)
    run = Run(model, prior_loss(ids, values, 16), recipe)
    while run.step < recipe.steps:
        run.update()
    model.eval().requires_grad_(False)
    nats = cross_entropy(model, ids, values)
    assert nats["1"] < 0.1
    assert nats["1 unconditional"] > 0.4  # log 2 is the least there is
    assert nats["bound"] == pytest.approx(16 * nats["0.5"], abs=2)
    drawn = sample(model, values[:10], steps=4)
    assert float((drawn == ids[:10]).float().mean()) > 0.95
    assert torch.equal(drawn, sample(model, values[:10], steps=4))
    assert not torch.equal(
        sample(MaskedImageModel(PRIOR), values[:10], seed=1),
        sample(MaskedImageModel(PRIOR), values[:10], seed=2),
    )


def test_the_prior_s_loss_is_the_mean_over_masked_tokens():
    """A model that knows nothing has log K at every one, whatever is masked."""
    ids = torch.randint(0, 16, (8, 16), generator=generator())
    model = MaskedImageModel(PRIOR)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    loss, shown = prior_loss(ids, torch.zeros(8, 1).long(), 8)(model, generator(), 0.0)
    assert loss.item() == pytest.approx(np.log(16), rel=1e-5)
    assert shown["half"].item() == pytest.approx(np.log(16), rel=1e-5)


def test_the_classifier_learns_and_leaves_out_what_an_image_has_not():
    images = halves()
    hidden = images.values.clone()
    hidden[::4] = -1
    images = Images(images.pixels, hidden, images.attributes)
    torch.manual_seed(0)
    model = AttributeClassifier(ClassifierConfig(16, 1, 8, images.attributes))
    run = Run(model, classifier_loss(images, 16), Recipe(steps=60, batch=16, learning_rate=1e-2))
    while run.step < 60:
        run.update()
    found = accuracy(model.eval(), halves().at(slice(None)), halves().values, ["side"])
    assert found["side"] > 0.95
    none = torch.full_like(hidden, -1)
    assert accuracy(model, images.at(slice(None)), none, ["side"]) == {}


def test_shifts_stay_within_their_bound():
    x = torch.arange(64.0).view(1, 1, 8, 8)
    seen = {tuple(shifted(x, 1, generator(seed))[0, 0, 4, 4:5].tolist()) for seed in range(60)}
    assert {int(value[0]) for value in seen} == {27, 28, 29, 35, 36, 37, 43, 44, 45}


def write_idx(folder, name, array, header):
    with gzip.open(folder / name, "wb") as file:
        file.write(bytes(header) + array.astype(np.uint8).tobytes())


def test_garments_are_split_and_padded(tmp_path):
    deep = tmp_path / "usr" / "share"
    deep.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (2003, 28, 28))
    write_idx(deep, "train-images-idx3-ubyte.gz", pixels, 16)
    write_idx(deep, "train-labels-idx1-ubyte.gz", np.arange(2003) % 10, 8)
    write_idx(deep, "t10k-images-idx3-ubyte.gz", pixels[:5], 16)
    write_idx(deep, "t10k-labels-idx1-ubyte.gz", np.arange(5), 8)
    sizes = {split: len(garments(tmp_path, split)) for split in ("train", "tune", "test")}
    assert sizes == {"train": 3, "tune": 2000, "test": 5}
    tune = garments(tmp_path, "tune")
    assert tune.pixels.shape[1:] == (1, 32, 32)
    assert np.array_equal(tune.pixels[0, 0, 2:30, 2:30].numpy(), pixels[3])
    assert int(tune.pixels[0, 0, :2].max()) == 0
    assert tune.values[0, 0] == 3
    assert tune.at(slice(0, 1)).min() == -1
    with pytest.raises(ValueError, match="got 'valid'"):
        garments(tmp_path, "valid")
    with pytest.raises(FileNotFoundError, match="dpkg -x"):
        garments(tmp_path / "nowhere", "train")


DRAWN = [
    {"style": "personas", "background": "blue", "hair": "cap", "hairColor": "#362c47",
     "clothingColor": "#456dff", "skinColor": "#eeb4a4", "body": "small", "eyes": "open"},
    {"style": "toon-head", "background": "white", "hair": "bun", "hairColor": "#2c1b18",
     "clothesColor": "#b11f1f", "skinColor": "#f1c3a5", "clothes": "dress", "beard": "chin"},
    {"style": "open-peeps", "background": "green", "head": "afro", "face": "calm",
     "headContrastColor": "#e8e1e1", "clothingColor": "#8fa7df", "skinColor": "#694d3d"},
]  # fmt: skip


def test_designs_share_their_attributes():
    one, two, three = map(attributes_of, DRAWN)
    assert one["clothing colour"] == three["clothing colour"] == "blue"
    assert one["hair colour"] == two["hair colour"] == "black"
    assert (one["clothes"], two["clothes"]) == ("small", "dress")
    assert "clothes" not in three
    assert (one["beard"], two["beard"], three["mask"]) == ("none", "chin", "none")
    assert three["hair"] == "afro"


def test_portraits_are_split_by_exact_combinations(tmp_path):
    colours = ["456dff", "54d7c7", "7555ca", "6dbb58", "e24553", "f3b63a", "f55d81"]
    drawn = [
        {**DRAWN[0], "hair": f"hair {n % 31}", "clothingColor": "#" + colours[n % 7]}
        for n in range(600)
    ]
    text = "".join(json.dumps(line) + "\n" for line in drawn)
    (tmp_path / "portraits.jsonl").write_text(text)
    pixels = np.random.default_rng(0).integers(0, 255, (600, 64, 64, 3)).astype(np.uint8)
    pixels.tofile(tmp_path / "portraits.rgb")
    parts = {split: portraits(tmp_path, split) for split in ("train", "tune", "test")}
    assert sum(map(len, parts.values())) == 600
    seen = {}
    for split, part in parts.items():
        assert len(part) > 0
        assert part.pixels.shape[1:] == (3, 64, 64)
        names = list(part.attributes)
        columns = [names.index(name) for name in ("style", "hair", "clothing colour")]
        seen[split] = set(map(tuple, part.values[:, columns].tolist()))
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["tune"]
    assert not seen["tune"] & seen["test"]
    first = next(n for n, line in enumerate(drawn) if split_of(attributes_of(line)) == "train")
    assert np.array_equal(parts["train"].pixels[0].permute(1, 2, 0).numpy(), pixels[first])
    with pytest.raises(FileNotFoundError, match=r"node recipes/mini_image/portraits\.mjs .* draws"):
        portraits(tmp_path / "elsewhere", "test")
    (tmp_path / "portraits.rgb").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"run portraits\.mjs until it finishes"):
        portraits(tmp_path, "train")


def test_a_sheet_places_images_in_rows():
    rows = [torch.full((3, 1, 4, 4), -1.0), torch.full((2, 3, 4, 4), 1.0)]
    picture = sheet(rows, gap=1, zoom=2)
    assert picture.shape == (3, 18, 27)
    assert picture[:, :8, :8].max() == 0
    assert picture[:, 9:17, :17].min() == 255
    assert picture.dtype == torch.uint8


def test_exported_parts_are_measured_and_described(tmp_path):
    images = halves()
    parts = {
        "tokenizer": LFQTokenizer(TOKENIZER),
        "prior": MaskedImageModel(PRIOR),
        "classifier": AttributeClassifier(ClassifierConfig(16, 1, 8, images.attributes)),
    }
    for part, model in parts.items():
        write_part(model, part, tmp_path)
    assert load_tokenizer(tmp_path).config == TOKENIZER
    assert load_prior(tmp_path).config.attributes == {"side": ["left", "right"]}
    assert load_classifier(tmp_path).config.width == 8
    results = measure(tmp_path, images, tmp_path, tmp_path / "sheets")
    assert results["prior"]["nats a token"]["1"] == pytest.approx(np.log(16), abs=1.0)
    assert set(results["prior"]["accuracy of samples"]) == {"0", "0.5", "1", "2"}
    for name in ("reconstructions.png", "samples.png"):
        assert (tmp_path / "sheets" / name).stat().st_size > 100
    about = {"set": "garments", "split": "test", "steps": {"tokenizer": 12},
             "recipes": {"tokenizer": {"batch": 8}}, "bytes": {"tokenizer": 1000}}  # fmt: skip
    text = card(about | results, tmp_path)
    assert "16 tokens of 4 bits for an image of 16 x 16 pixels" in text
    assert f"{results['tokenizer']['psnr']:.2f} dB" in text
    assert "12 steps of 8 images" in text


@pytest.mark.parametrize("name", SETS)
def test_every_plan_can_be_built(name):
    plan = SETS[name]
    tokenizer = new_model(plan, "tokenizer", {})
    prior = new_model(plan, "prior", {"class": ("a",)})
    assert tokenizer.config.bits == prior.config.bits
    assert tokenizer.config.grid == prior.config.grid
    assert {"tokenizer", "prior"} <= set(plan.recipes)
    if plan.classifier is None:
        with pytest.raises(ValueError, match="another set's serves"):
            new_model(plan, "classifier", {})
    else:
        judge = new_model(plan, "classifier", {"class": ("a",)})
        assert judge.config.channels == tokenizer.config.channels
