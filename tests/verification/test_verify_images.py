"""`aps verify` of image models: good ones pass, and each line fails where its thing is broken."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from checkpoints_amused import write_amused
from checkpoints_mmada import LLM_SIZE, write_magvit, write_mmada

from aps_text.cli import main
from aps_text.core.codebook import LFQCodebook, VectorCodebook
from aps_text.images.files import write_image
from aps_text.pipelines.image_loading import load_any
from aps_text.pipelines.text_image_model import TextImageModel
from aps_text.verification.image_offset import check_offset, nats, windows
from aps_text.verification.images import (
    check_base,
    check_codes,
    check_gradient,
    check_guidance,
    check_ids,
    check_round_trip,
    check_rows,
    check_steering,
    check_window,
    logits_of,
    picture,
    verify_images,
)

LINES = ["ids", "window", "codes", "round trip", "rows", "guidance", "gradient", "steering", "base"]
LINES_OF_TEXT = [*LINES[:2], "offset", *LINES[2:]]  # where image tokens follow those of text


@pytest.fixture(scope="module")
def mmada(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    return write_mmada(parent / "mmada"), write_magvit(parent / "magvitv2")


@pytest.fixture(scope="module")
def model(mmada):
    return load_any(*mmada)


def test_random_weights_pass_but_for_the_picture(model):
    report = verify_images(model)
    assert [check.name for check in report.checks] == LINES_OF_TEXT
    status = {check.name: check.status for check in report.checks}
    assert status.pop("round trip") == status.pop("offset") == "SKIP"
    assert set(status.values()) == {"PASS"}, [str(check) for check in report.checks]
    assert report.figures["seconds of a forward"] > 0


def test_the_command_checks_amused(tmp_path, capsys):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    folder = write_amused(tmp_path / "amused-512", downsample=True)
    assert main(["verify", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in report["checks"]] == LINES
    assert "VQTokenizer" in report["about"]["images"]
    assert "mask 8255 of 8256 ids" in report["checks"][0]["figure"]
    write_image(torch.zeros(3, 64, 64), tmp_path / "photo.png")
    assert main(["verify", str(folder), "--image", str(tmp_path / "photo.png")]) == 2
    assert "amused-512 has image tokens alone; leave them out" in capsys.readouterr().err


def test_the_command_checks_the_images_of_mmada(mmada, capsys):
    folder, tokenizer = mmada
    assert main(["verify", str(folder), "--tokenizer", str(tokenizer), "--size", "32"]) == 0
    out = capsys.readouterr().out
    assert "3 x 32 x 32, 4 tokens of 8192 (MagvitTokenizer)" in out
    assert "image tokens 126349 .. 134540 behind 126349 of text" in out
    assert main(["verify", str(folder), "--size", "32"]) == 2
    assert "give its image tokenizer with --tokenizer" in capsys.readouterr().err


def test_a_displaced_window_fails(model):
    moved = replace(model, prior=replace(model.prior, first=LLM_SIZE))
    assert check_ids(model).status == "PASS"
    assert check_ids(moved).status == "FAIL"
    assert "the tokenizer has 126349 tokens" in check_ids(moved).figure


@pytest.fixture(scope="module")
def taught(mmada):
    """A model whose head knows a photograph by the declared ids, and the photograph."""
    model = load_any(*mmada, size=128)
    ids = torch.randint(8192, (1, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        photo = model.tokenizer.decode_ids(ids).clamp(-1, 1)
    head = model.prior.text.parts.model.get_output_embeddings().weight
    head.requires_grad_(True)
    optimizer = torch.optim.Adam([head], 0.03)
    codes = model.tokenizer.encode(photo)
    assert len(codes.unique()) > 30
    where = torch.ones_like(codes).nonzero().unbind(-1)
    denoiser = model.denoiser("")
    for step in range(40):
        z = codes.clone()
        z[:, step % 2 :: 2] = model.mask_id
        logits = denoiser.logits(denoiser.trunk(z), where)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, codes[0]).backward()
        optimizer.step()
    head.requires_grad_(False)
    return model, photo


def displaced(model, by):
    return replace(model, prior=replace(model.prior, first=model.prior.first + by))


def test_codes_at_their_declared_ids_pass(taught):
    found = check_offset(*taught)
    assert found.status == "PASS", found
    assert "from 126349 on" in found.figure
    assert "guessing 9.01" in found.figure


@pytest.mark.parametrize("by", [-3, -1, 1, 3, LLM_SIZE - 126349, -8192 - 13])
def test_codes_at_displaced_ids_fail(taught, by):
    """Each is a window that could be declared by mistake, and the right one is found."""
    model, photo = taught
    found = check_offset(displaced(model, by), photo)
    assert found.status == "FAIL", found
    assert "from 126349 on, the best of" in found.figure
    assert "image tokens seem to begin there" in found.figure


def test_an_offset_that_cannot_be_judged_says_why(model, taught):
    found = check_offset(model, picture(model))
    assert found.status == "SKIP", found
    assert "cannot tell: these weights know no such pictures" in found.figure
    known, photo = taught
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert "know no such pictures" in check_offset(known, noise).figure
    flat = check_offset(with_tokenizer(known, Blocks(128)), torch.zeros_like(photo))
    assert (flat.status, "1 different codes; give --image" in flat.figure) == ("SKIP", True)


def test_windows_lie_in_the_vocabulary_without_the_mask(model):
    prior = model.prior
    vocab, mask = prior.text.parts.vocab_size, prior.text.parts.mask_id
    found = windows(prior)
    assert found[:4] == [126348, 126350, 126346, 126352]
    assert {mask - 8192, LLM_SIZE} < set(found)
    assert prior.first not in found
    for first in found:
        assert 0 <= first <= vocab - 8192
        assert not first <= mask < first + 8192
        assert replace(prior, first=first).parts.vocab_size == 8192


def test_every_token_is_scored_once_and_without_itself(model):
    """`nats` is the mean of what a denoiser says with a chequerboard hidden."""
    ids = torch.arange(16)[None] * 400
    z = ids.clone()
    hidden = [0, 2, 5, 7, 8, 10, 13, 15]
    z[0, hidden] = model.mask_id
    logits = logits_of(model.denoiser(""), z)
    want = -logits.log_softmax(-1)[torch.arange(8), ids[0, hidden]]
    found = nats(model.prior, ids)
    assert torch.allclose(found[hidden], want, atol=1e-4)
    changed = ids.clone()
    changed[0, 0] = 5000
    moved = nats(model.prior, changed)
    assert torch.allclose(moved[[2, 5, 15]], found[[2, 5, 15]], atol=1e-5)  # hidden with it
    assert not torch.allclose(moved[[1, 4]], found[[1, 4]], atol=1e-3)


def test_photographs_are_judged_before_the_model_is_loaded(tmp_path, capsys):
    none = str(tmp_path / "none.png")
    assert main(["verify", "no-such-model", "--tokenizer", "none", "--image", none]) == 2
    assert f"no image file at {none}" in capsys.readouterr().err


def test_photographs_are_checked_with(mmada, tmp_path, capsys):
    folder, tokenizer = mmada
    image = torch.rand(3, 40, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    write_image(image, tmp_path / "photo.png")
    shown = ["--image", str(tmp_path / "photo.png")]
    command = ["verify", str(folder), "--tokenizer", str(tokenizer), "--size", "64", "--json"]
    reports = []
    for more in ([], shown, shown * 2):
        assert main([*command, *more]) == 0
        report = json.loads(capsys.readouterr().out)
        (line,) = (check for check in report["checks"] if check["name"] == "offset")
        reports.append(line["figure"])
    assert reports[0] != reports[1]
    assert reports[1] == reports[2]  # the same photograph twice
    assert main(["verify", "mini", *shown]) == 2
    assert "is of images, and 'mini' would be checked as a model of text" in capsys.readouterr().err


@dataclass(frozen=True)
class Spoiled:
    """A prior whose logits or texts are changed."""

    inner: Any
    texts: Any = lambda texts: texts
    change: Any = lambda logits, where: logits
    scale: Any = lambda w: w

    @property
    def size(self):
        return self.inner.size

    @property
    def device(self):
        return self.inner.device

    @property
    def net(self):
        return self.inner.text.parts.model

    def denoiser(self, texts, tokens=None, cfg_scale=0.0, adapted_layers=None):
        made = self.inner.denoiser(
            self.texts(list(texts)), tokens, self.scale(cfg_scale), adapted_layers
        )
        return SpoiledDenoiser(made, self.change)


@dataclass(frozen=True)
class SpoiledDenoiser:
    inner: Any
    change: Any

    @property
    def mask_id(self):
        return self.inner.mask_id

    def trunk(self, z):
        return self.inner.trunk(z)

    def logits(self, state, where, phi=None):
        return self.change(self.inner.logits(state, where, phi), where)


def spoiled(model, **how):
    return replace(model, prior=Spoiled(model.prior, **how))


def test_a_prior_that_is_not_spoiled_passes(model):
    for check in (check_window, check_rows, check_guidance):
        assert check(spoiled(model)).status == "PASS"


@pytest.mark.parametrize(
    ("check", "how"),
    [
        (check_window, {"change": lambda logits, where: logits / 0}),
        (check_window, {"change": lambda logits, where: logits[:, :-1]}),
        (check_rows, {"change": lambda logits, where: logits - logits.mean(0)}),
        (check_guidance, {"texts": lambda texts: [""] * len(texts)}),
        (check_guidance, {"scale": lambda w: max(0.0, w - 1)}),
    ],
    ids=["not finite", "a width less", "rows mixed", "the text is not read", "scale 1 + w"],
)
def test_a_spoiled_prior_fails(model, check, how):
    assert check(spoiled(model, **how)).status == "FAIL"


@dataclass(frozen=True)
class Blocks:
    """An image tokenizer that works: the mean colour of each cell, in 4, 5 and 4 bits."""

    side: int = 256
    decoded: Any = lambda codes: codes
    encoded: Any = lambda ids, grid: ids
    pixels: Any = lambda images: images

    codebook = LFQCodebook(13)
    codes = 8192

    @property
    def size(self):
        return 3, self.side, self.side

    @property
    def grid(self):
        return self.side // 16, self.side // 16

    @property
    def tokens(self):
        return self.grid[0] ** 2

    def encode(self, images):
        means = torch.nn.functional.avg_pool2d((images + 1) / 2, 16).flatten(2)
        levels = [15, 31, 15]
        r, g, b = ((means[:, k] * n).round().long() for k, n in enumerate(levels))
        return self.encoded((r << 9) + (g << 4) + b, self.grid[0])

    def decode(self, codes):
        ids = self.codebook.nearest(self.decoded(codes))
        levels = torch.stack([(ids >> 9) / 15, (ids >> 4) % 32 / 31, ids % 16 / 15], 1)
        cells = levels.unflatten(2, self.grid).repeat_interleave(16, 2).repeat_interleave(16, 3)
        return self.pixels(2 * cells - 1)

    def decode_ids(self, ids):
        return self.decode(self.codebook.embed(ids))


def with_tokenizer(model, tokenizer):
    return TextImageModel("m", tokenizer, model.prior)


def test_a_tokenizer_that_knows_pictures_passes(model):
    found = check_round_trip(with_tokenizer(model, Blocks()))
    assert found.status == "PASS", found


@pytest.mark.parametrize(
    ("how", "layout"),
    [
        ({"decoded": lambda codes: codes.flip(-1)}, "least significant bit first"),
        (
            {"encoded": lambda ids, grid: ids.view(1, grid, grid).mT.flatten(1)},
            "columns first",
        ),
        ({"pixels": lambda images: 2 * images - 1}, r"pixels in [0, 1]"),
    ],
    ids=["bits", "columns", "range"],
)
def test_another_layout_fails(model, how, layout):
    found = check_round_trip(with_tokenizer(model, Blocks(**how)))
    assert found.status == "FAIL", found
    assert layout in found.figure


@dataclass(frozen=True)
class Wrapped:
    """A tokenizer with another decoder or other codes."""

    inner: Any
    decoded: Any = None
    codebook: Any = None

    @property
    def codes(self):
        return 8192

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def decode(self, codes):
        return self.decoded(self.inner, codes)


def test_a_decoder_without_a_gradient_fails(model):
    cut = Wrapped(
        model.tokenizer,
        lambda inner, codes: inner.decode(codes.detach()) + 0 * codes.sum(),
        model.tokenizer.codebook,
    )
    assert check_gradient(model).status == "PASS"
    found = check_gradient(with_tokenizer(model, cut))
    assert (found.status, "8 of them 0" in found.figure) == ("FAIL", True), found


def test_a_decoder_that_shows_nothing_is_not_steered(model):
    blind = Wrapped(
        model.tokenizer,
        lambda inner, codes: inner.decode(torch.zeros_like(codes)) + 0 * codes.sum(),
        model.tokenizer.codebook,
    )
    assert check_steering(with_tokenizer(model, blind)).status == "FAIL"


def test_codes_that_are_no_codes_fail(model):
    table = VectorCodebook(torch.zeros(8192, 4))
    found = check_codes(with_tokenizer(model, Wrapped(model.tokenizer, codebook=table)))
    assert (found.status, "8191 are nearest" in found.figure) == ("FAIL", True), found

    class Reversed(LFQCodebook):
        def nearest(self, codes):
            return super().nearest(codes.flip(-1))

    turned = Wrapped(model.tokenizer, codebook=Reversed(13))
    assert check_codes(with_tokenizer(model, turned)).status == "FAIL"


def test_a_changed_base_fails():
    network = torch.nn.Linear(2, 2)
    from aps_text.verification.adapting import fingerprint

    before = fingerprint(network)
    assert check_base(network, before).status == "PASS"
    with torch.no_grad():
        network.bias += 1
    assert check_base(network, before).status == "FAIL"
