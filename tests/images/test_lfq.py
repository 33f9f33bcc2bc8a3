"""The tokenizer: bits, straight-through gradients, entropy by enumeration, files."""

import itertools
import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from aps_text.images.lfq import (
    LFQTokenizer,
    TokenizerConfig,
    code_entropy,
    load_tokenizer,
    straight_through,
)

GRAY = TokenizerConfig(
    size=16, channels=1, factor=4, bits=6, width=8, encoder_blocks=1, decoder_blocks=1
)
COLOUR = TokenizerConfig(
    size=16, channels=3, factor=8, bits=5, width=8, encoder_blocks=1, decoder_blocks=1, refine=1
)


def tokenizer(config=GRAY, seed=0):
    """Random weights everywhere, the residual blocks' too."""
    torch.manual_seed(seed)
    model = LFQTokenizer(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("config", [GRAY, COLOUR])
def test_ids_are_the_signs_most_significant_first(config):
    model = tokenizer(config)
    x = torch.rand(3, config.channels, 16, 16) * 2 - 1
    z, ids = model.project(x), model.encode(x)
    assert z.shape == (3, config.tokens, config.bits)
    weights = 2 ** torch.arange(config.bits - 1, -1, -1)
    assert torch.equal(ids, ((z > 0) * weights).sum(-1))
    drawn = model.decode_ids(ids)
    assert drawn.shape == x.shape
    assert torch.allclose(drawn, model.decode(straight_through(z)), atol=1e-5)
    assert torch.allclose(drawn, model(x)[0], atol=1e-5)


@pytest.mark.parametrize(("config", "reach"), [(GRAY, 4), (COLOUR, 5)])
def test_tokens_stand_row_by_row_around_where_they_draw(config, reach):
    """Convolutions reach a known number of cells: 1 + 2 + 1, and half of 2 + 1 for refinement."""
    config = replace(config, size=14 * config.factor)
    model = tokenizer(config)
    row, column = 5, 7
    codes = torch.zeros(1, config.tokens, config.bits)
    changed = codes.clone()
    changed[0, row * 14 + column] = 2.0
    side = config.factor
    difference = (model.decode(changed) - model.decode(codes)).abs().amax(1)[0]
    cells = difference.unfold(0, side, side).unfold(1, side, side).amax((2, 3))
    rows, columns = (cells > 0).nonzero().T
    assert (int(rows.min()), int(rows.max())) == (row - reach, row + reach)
    assert (int(columns.min()), int(columns.max())) == (column - reach, column + reach)
    x = torch.zeros(1, config.channels, config.size, config.size)
    spot = x.clone()
    spot[..., row * side, column * side] = 1.0
    moved = (model.project(spot) - model.project(x)).abs().amax(-1).view(14, 14)
    rows, columns = (moved > 0).nonzero().T
    assert (int(rows.min()), int(rows.max())) == (row - 3, row + 3)
    assert (int(columns.min()), int(columns.max())) == (column - 3, column + 3)


def test_the_gradient_passes_straight_through():
    z = torch.tensor([-3.0, -0.5, 0.0, 0.2, 1.5], requires_grad=True)
    code = straight_through(z)
    assert code.tolist() == [-1.0, -1.0, -1.0, 1.0, 1.0]
    code.backward(torch.arange(1.0, 6.0))
    assert z.grad.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_token_s_numbers_have_rms_one_and_the_signs_of_the_encoder():
    model = tokenizer()
    x = torch.rand(3, 1, 16, 16) * 2 - 1
    z = model.project(x)
    assert torch.allclose(z.square().mean(-1), torch.ones(3, GRAY.tokens), atol=1e-3)
    raw = model.encoder(x).flatten(2).transpose(1, 2)
    assert torch.equal(z > 0, raw > 0)


@pytest.mark.parametrize("bits", [2, 3, 6])
def test_entropy_of_the_whole_codebook_by_enumeration(bits):
    z = torch.randn(2, 7, bits, dtype=torch.float64, generator=torch.Generator().manual_seed(bits))
    high = torch.sigmoid(2 * z.flatten(0, 1))
    p = torch.stack(
        [
            torch.stack([high[:, b] if s else 1 - high[:, b] for b, s in enumerate(code)]).prod(0)
            for code in itertools.product((0, 1), repeat=bits)
        ],
        1,
    )
    each, mean = code_entropy(z)
    assert each.item() == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-5)
    assert mean.item() == pytest.approx(-(p.mean(0) * p.mean(0).log()).sum().item(), rel=1e-5)


def test_entropy_of_decided_tokens_has_a_finite_gradient():
    z = torch.full((4, 10), -60.0, requires_grad=True)
    each, mean = code_entropy(z)
    (each - mean).backward()
    assert each.item() == mean.item() == 0.0
    assert bool(z.grad.isfinite().all())


def test_the_decoder_passes_a_gradient_to_every_code():
    model = tokenizer()
    codes = torch.zeros(2, GRAY.tokens, GRAY.bits, requires_grad=True)
    model.decode(codes).square().sum().backward()
    assert bool((codes.grad.abs().sum(-1) > 0).all())


def test_wrong_images_and_sizes_are_named():
    with pytest.raises(ValueError, match=r"takes images \(B, 1, 16, 16\), got \(2, 3, 16, 16\)"):
        tokenizer().encode(torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match="factor=3 does not divide size=16"):
        replace(GRAY, factor=3)
    with pytest.raises(ValueError, match="even factor"):
        replace(GRAY, size=15, factor=3, refine=1)


def test_a_saved_tokenizer_comes_back_frozen_in_float32(tmp_path):
    model = tokenizer(COLOUR).bfloat16()
    save_file(model.state_dict(), tmp_path / "tokenizer.safetensors")
    (tmp_path / "tokenizer.json").write_text(json.dumps(asdict(COLOUR)))
    loaded = load_tokenizer(tmp_path)
    assert loaded.config == COLOUR
    assert not loaded.training
    for old, new in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(old.float(), new)
        assert not new.requires_grad
