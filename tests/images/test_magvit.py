"""MAGVIT-v2: its published layout, parity with its published code, and what cannot be loaded."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
import torch
from checkpoints_mmada import DECODER, ENCODER, magvit_shapes, magvit_tensors, write_magvit
from references import FOLDER
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from aps_text.images.magvit import MagvitTokenizer, load_magvit
from aps_text.images.magvit_files import sizes_of
from aps_text.images.magvit_layers import Magvit
from aps_text.images.measurement import Measurement
from aps_text.images.tasks import make_task

SIZES = {"64x64": (64, 64), "32x48": (32, 48)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_magvit(tmp_path_factory.mktemp("magvit") / "magvitv2")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_magvit(folder, 64)


@pytest.fixture(scope="module")
def reference():
    weights = magvit_tensors()
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode() + weights[key].contiguous().numpy().tobytes())
    path = FOLDER / "magvit.safetensors"
    with safe_open(path, "pt") as file:
        assert digest.hexdigest() == file.metadata()["weights"], "run make_mmada.py again"
    return load_file(path)


@pytest.mark.parametrize("size", SIZES)
def test_tokens_and_pixels_are_those_of_the_published_code(folder, reference, size):
    height, width = SIZES[size]
    ours = load_magvit(folder, (height, width))
    want = {name: reference[f"{size}/{name}"] for name in ("images", "z", "ids", "decoded")}
    z = ours.project(want["images"])
    assert (z - want["z"].flatten(2).transpose(1, 2)).abs().max() < 1e-4
    assert torch.equal(ours.encode(want["images"]), want["ids"])
    with torch.no_grad():
        made = ours.decode_ids(reference[f"{size}/tokens"])
    assert want["decoded"].std() > 0.3
    assert (made - want["decoded"]).abs().max() < 1e-4


PUBLISHED = (
    (128, (1, 2, 2, 4, 4), (4, 3, 4, 3, 4)),
    (128, (1, 1, 2, 2, 4), (4, 4, 3, 4, 3)),
    13,
)


def test_every_size_is_read_from_the_published_shapes():
    shapes = magvit_shapes(*PUBLISHED)
    encoder, decoder = sizes_of(shapes)
    assert (encoder.widths, encoder.blocks) == ((128, 256, 256, 512, 512), (4, 3, 4, 3, 4))
    assert (decoder.widths, decoder.blocks) == ((128, 128, 256, 256, 512), (4, 4, 3, 4, 3))
    assert (encoder.first, decoder.first, decoder.bits, decoder.factor) == (128, 512, 13, 16)
    with torch.device("meta"):
        net = Magvit(encoder, decoder)
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == shapes
    # The published file has 95.4 M numbers: 55.4 M in the encoder, 39.9 M in the decoder.
    counts = [sum(p.numel() for p in part.parameters()) for part in (net.encoder, net.decoder)]
    assert [round(count / 1e6, 1) for count in counts] == [55.4, 39.9]


def test_bits_are_signs_the_most_significant_first(tokenizer):
    top = torch.tensor([4096, 1, 0])
    signs = tokenizer.codebook.embed(top)
    assert signs[0].tolist() == [1.0] + [-1.0] * 12
    assert signs[1].tolist() == [-1.0] * 12 + [1.0]
    assert torch.equal(tokenizer.codebook.nearest(signs), top)
    ids = torch.arange(32).view(2, 16) * 255
    with torch.no_grad():
        made = tokenizer.decode(tokenizer.codebook.embed(ids))
        assert torch.equal(made, tokenizer.decode_ids(ids))
        # The other order of bits is another image.
        assert (tokenizer.decode(tokenizer.codebook.embed(ids).flip(-1)) - made).abs().max() > 0.1


def test_zero_before_the_sign_is_minus_one(folder):
    """As in the published code: `z > 0` is +1, all else -1."""
    ours = load_magvit(folder, 32)
    for parameter in ours.net.encoder.quant_conv.parameters():
        parameter.zero_()
    assert not ours.encode(torch.rand(1, 3, 32, 32)).any()


def test_a_decoder_in_slices_gives_the_same_image_and_gradient(tokenizer):
    g = torch.Generator().manual_seed(0)
    codes = torch.rand(3, 16, 13, generator=g) * 2 - 1
    weight = torch.randn(3, 3, 64, 64, generator=g)

    def gradient(at_most):
        leaf = codes.clone().requires_grad_()
        image = tokenizer.decode(leaf, at_most)
        (image * weight).sum().backward()
        return image.detach(), leaf.grad

    whole, slope = gradient(None)
    for at_most in (64 * 64, 2 * 64 * 64, 1000):
        image, found = gradient(at_most)
        assert (image - whole).abs().max() < 1e-5
        assert (found - slope).abs().max() < 1e-4 * slope.abs().max()


def held(tokenizer, codes, at_most):
    """Bytes that the graph of a decoded image holds."""
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)
        return tensor

    kept = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        tokenizer.decode(codes.clone().requires_grad_(), at_most)
    weights = sum(p.untyped_storage().nbytes() for p in tokenizer.net.decoder.parameters())
    return max(0, sum(seen.values()) - weights)


@pytest.mark.parametrize(
    ("side", "recompute", "gib"),
    [(256, False, 1.22), (512, False, 4.89), (1024, False, 19.61), (1024, True, 3.65)],
)
def test_memory_of_the_published_sizes(side, recompute, gib):
    """What a graph holds, by shapes alone: the figures of docs/image_models.md."""
    with torch.device("meta"):
        net = Magvit(*sizes_of(magvit_shapes(*PUBLISHED))).requires_grad_(False)
        codes = torch.zeros(1, 13, side // 16, side // 16, requires_grad=True)
    weights = {p.untyped_storage()._cdata for p in net.parameters()}
    seen, kept = {}, []

    def pack(tensor):
        kept.append(tensor)  # so that no storage's number is used again
        seen[tensor.untyped_storage()._cdata] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net.decoder(codes, recompute)
    found = sum(size for storage, size in seen.items() if storage not in weights)
    assert found / 2**30 == pytest.approx(gib, abs=0.01)


def test_memory_of_the_activations_is_bounded(tokenizer):
    one, four = (torch.zeros(count, 16, 13) for count in (1, 4))
    whole = held(tokenizer, four, None)
    assert whole > 3 * held(tokenizer, one, None)
    # Slices keep their codes only; an image that is larger than a slice, the inputs of its blocks.
    assert held(tokenizer, four, 64 * 64) < whole / 50
    assert held(tokenizer, one, 1) < held(tokenizer, one, None) / 3


def test_sides_are_multiples_of_16(folder, tokenizer):
    with pytest.raises(ValueError, match=r"size=250: .* nearest are 240 and 256"):
        load_magvit(folder, 250)
    with pytest.raises(ValueError, match=r"width=70: .* nearest are 64 and 80"):
        MagvitTokenizer(tokenizer.net, 64, 70)
    for size in (0, -16, 8, 32.0, True):
        with pytest.raises(ValueError, match="multiples of 16"):
            load_magvit(folder, size)
    assert load_magvit(folder, (16, 160)).tokens == 10
    with pytest.raises(ValueError, match=r"takes images \(B, 3, 64, 64\), got \(1, 3, 64, 48\)"):
        tokenizer.encode(torch.zeros(1, 3, 64, 48))
    with pytest.raises(ValueError, match=r"are \(B, 16, 13\), got \(1, 12, 13\)"):
        tokenizer.decode(torch.zeros(1, 12, 13))
    with pytest.raises(ValueError, match="at_most=0"):
        MagvitTokenizer(tokenizer.net, 64, 64, 0)


def test_a_measurement_scores_its_tokens(tokenizer):
    ids = torch.randint(8192, (1, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        image = tokenizer.decode_ids(ids).clamp(-1, 1)
    made = Measurement.simulate(
        make_task("sr4", (64, 64), 0),
        image,
        0.05,
        torch.Generator().manual_seed(0),
        decode=tokenizer.decode,
        codebook=tokenizer.codebook,
        encode=tokenizer.encode,
        shape=tokenizer.size,
    )
    other = torch.randint(8192, (1, 16), generator=torch.Generator().manual_seed(2))
    assert made.log_prob_ids(ids).total > made.log_prob_ids(other).total
    assert made.guess().shape == (1, 16, 13)


def changed(**new):
    tensors = magvit_tensors()
    for name, value in new.items():
        key = name.replace("__", ".")
        if value is None:
            del tensors[key]
        else:
            tensors[key] = value
    return tensors


BROKEN = [
    (
        {"encoder__mid__attn_1__q__bias": None},
        r"lacks 1 tensors of showlab.*'encoder.mid.attn_1.q.bias'",
    ),
    ({"decoder__up__0__attn__0__q__bias": torch.zeros(3)}, r"has unknown 1 .*up.0.attn.0.q.bias"),
    ({"encoder__conv_in__weight": None}, "lacks 'encoder.conv_in.weight'"),
    ({"decoder__up__2__block__0__conv2__weight": None}, "lacks 'decoder.up.2.block.0.conv2"),
    (
        {"decoder__mid__block_1__conv1__weight": torch.zeros(32, 64, 3, 3)},
        r"conv1.weight' has shape \(32, 64, 3, 3\), and the other tensors make it \(64, 64, 3, 3\)",
    ),
    ({"decoder__conv_out__weight": torch.zeros(1, 32, 3, 3)}, "encoder has channels=3 and the dec"),
    ({"encoder__quant_conv__weight": torch.zeros(12, 13, 1, 1)}, "bits=12 and the decoder bits=13"),
    ({"encoder__conv_in__weight": torch.zeros(24, 3, 3, 3)}, "24 channels are no multiple of 32"),
    ({"encoder__conv_in__weight": torch.zeros(32, 3)}, "instead of 4 sizes"),
    ({"decoder__conv_in__bias": torch.full((64,), torch.nan)}, "conv_in.bias' are NaN or infinite"),
    ({"decoder__conv_in__bias": torch.zeros(64, dtype=torch.int8)}, "stored as I8"),
    ({"quantize__embedding": magvit_tensors()["quantize.embedding"].flip(-1)}, "bit first"),
    ({"quantize__power_vals": 2 ** torch.arange(13)}, "most significant bit first"),
    (
        {"encoder__quant_conv__weight": torch.zeros(13, 13, 1, 1)},
        "all 169 numbers in .* are 0; its",
    ),
    ({"quantize__codes": torch.zeros(1)}, "unknown tensor 'quantize.codes'"),
]


@pytest.mark.parametrize(("new", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_a_file_that_does_not_fit_is_refused(tmp_path, new, message):
    write_magvit(tmp_path / "m", changed(**new))
    with pytest.raises(ValueError, match=message):
        load_magvit(tmp_path / "m", 64)


def test_levels_that_differ_are_refused(tmp_path):
    write_magvit(tmp_path / "m", decoder=(32, (1, 1, 2), (1, 1, 1)))
    with pytest.raises(ValueError, match="encoder has factor=16 and the decoder factor=4"):
        load_magvit(tmp_path / "m", 64)


def test_files_that_are_not_read(tmp_path, folder):
    with pytest.raises(ValueError, match=r"no image tokenizer at .*pytorch_model.safetensors"):
        load_magvit(tmp_path / "none", 64)
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.Model"}}))
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    with pytest.raises(ValueError, match="has no weights; only safetensors"):
        load_magvit(tmp_path, 64)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match=r"only pickled weights \(pytorch_model.bin\)"):
        load_magvit(tmp_path, 64)
    whole = (folder / "pytorch_model.safetensors").read_bytes()
    (tmp_path / "pytorch_model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut off .*download it again"):
        load_magvit(tmp_path, 64)
    (tmp_path / "pytorch_model.safetensors").rename(tmp_path / "magvit.safetensors")
    with pytest.raises(ValueError, match=r"weights under another name \(magvit.safetensors\)"):
        load_magvit(tmp_path, 64)
    (tmp_path / "model.safetensors").write_bytes(whole)
    assert load_magvit(tmp_path, 64).tokens == 16


def test_half_precision_and_files_without_the_buffers(tmp_path):
    tensors = {k: v for k, v in magvit_tensors().items() if not re.match("quantize", k)}
    tensors = {name: value.to(torch.bfloat16) for name, value in tensors.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    ours = load_magvit(tmp_path, 32)
    assert ours.net.decoder.conv_in.weight.dtype == torch.float32
    half = load_magvit(tmp_path, 32, dtype=torch.bfloat16)
    ids = torch.arange(4)[None]
    gap = (ours.decode_ids(ids) - half.decode_ids(ids)).abs().max()
    assert 0 < gap < 0.2
    assert half.decode_ids(ids).dtype == torch.float32


def test_widths_of_any_size_round_trip(tmp_path):
    """Other sizes than those of the other tests, read from the shapes alone."""
    for bits, encoder, decoder in ((5, (64, (1, 2), (1, 2)), (32, (2, 1), (1, 1))),):
        write_magvit(tmp_path / "m", encoder=encoder, decoder=decoder, bits=bits)
        ours = load_magvit(tmp_path / "m", (6, 4))
        assert (ours.net.factor, ours.tokens, ours.codebook.size) == (2, 6, 32)
        image = torch.rand(1, 3, 6, 4) * 2 - 1
        assert ours.decode_ids(ours.encode(image)).shape == image.shape
    assert ENCODER[1] != DECODER[1]
