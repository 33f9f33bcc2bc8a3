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
from aps_text.pipelines.image_loading import load_any
from aps_text.pipelines.text_image_model import TextImageModel
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
    verify_images,
)

LINES = ["ids", "window", "codes", "round trip", "rows", "guidance", "gradient", "steering", "base"]


@pytest.fixture(scope="module")
def mmada(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    return write_mmada(parent / "mmada"), write_magvit(parent / "magvitv2")


@pytest.fixture(scope="module")
def model(mmada):
    return load_any(*mmada)


def test_random_weights_pass_but_for_the_picture(model):
    report = verify_images(model)
    assert [check.name for check in report.checks] == LINES
    status = {check.name: check.status for check in report.checks}
    assert status.pop("round trip") == "SKIP"
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
