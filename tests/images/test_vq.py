"""Image tokenizers of vectors: parity with diffusers' own `VQModel`, and their traps.

The traps: pixels in [0, 1] inside and [-1, 1] outside; ids looked up instead of vectors quantised
again; codes of any unit; expected codes as a product with the table.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from checkpoints_amused import write_amused
from safetensors.torch import load_file, save_file

from aps_text.core.adapters import CodeTilt
from aps_text.core.codebook import Relaxed
from aps_text.images.degradations import SuperResolution
from aps_text.images.measurement import Measurement
from aps_text.images.vq import VQTokenizer
from aps_text.models.diffusers_files import WEIGHTS, read_part

pytestmark = pytest.mark.skipif(find_spec("diffusers") is None, reason="no diffusers")


def net_of(parent, **how):
    return read_part(write_amused(parent, **how), "vqvae", "VQModel")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return net_of(tmp_path_factory.mktemp("models") / "m")


@pytest.fixture(scope="module")
def tokenizer(net):
    return VQTokenizer(net, 64, 64)


def some_ids(count=2, length=16, seed=0):
    return torch.randint(8192, (count, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(64, 64), (32, 48)])
def test_tokens_and_pixels_are_those_of_the_published_class(net, shape):
    """Its pixels are in [0, 1]."""
    ours = VQTokenizer(net, *shape)
    grid = ours.grid
    ids = some_ids(2, grid[0] * grid[1])
    with torch.no_grad():
        made = ours.decode_ids(ids)
        want = net.decode(
            ids.view(2, *grid), force_not_quantize=True, shape=(2, *grid, 8), return_dict=False
        )[0]
        assert want.std() > 0.3
        assert (made - (2 * want - 1)).abs().max() < 1e-4
        images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
        latents = net.encode((images + 1) / 2).latents
        theirs = net.quantize(latents)[2][2].view(2, -1)
    assert torch.equal(ours.encode(images), theirs)
    assert len(theirs.unique()) > 2


@pytest.mark.parametrize("lookup", [True, False])
def test_how_the_published_class_decodes_is_not_read(tmp_path, lookup):
    """`lookup_from_codebook=False`: its `decode` takes vectors; tokens and pixels are the same."""
    net = net_of(tmp_path / "m", changes={"vqvae": {"lookup_from_codebook": lookup}})
    ours, ids = VQTokenizer(net, 64, 64), some_ids()
    with torch.no_grad():
        vectors = net.quantize.embedding(ids).transpose(1, 2).unflatten(2, ours.grid)
        given = ids.view(2, *ours.grid) if lookup else vectors
        want = net.decode(given, force_not_quantize=True, shape=(2, *ours.grid, 8)).sample
        assert (ours.decode_ids(ids) - (2 * want - 1)).abs().max() < 1e-4
        assert torch.equal(ours.codebook.nearest(ours.codebook.embed(ids)), ids)


def test_the_range_of_pixels(tokenizer):
    """An image in [0, 1] has other tokens: nothing is scaled twice, or not at all."""
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert not torch.equal(tokenizer.encode(images), tokenizer.encode((images + 1) / 2))


def test_the_unit_of_the_codes_does_not_matter(tmp_path, tokenizer):
    """Vectors 100 times as long: the same codes, images, and steps of a tilt."""
    long = VQTokenizer(net_of(tmp_path / "long", unit=5.0), 64, 64)
    table = tokenizer.net.quantize.embedding.weight
    assert (long.net.quantize.embedding.weight / table).median() == pytest.approx(100, rel=1e-3)
    one, two = tokenizer.codebook.table, long.codebook.table
    assert (one - two).abs().max() < 1e-4
    assert one.mean(0).abs().max() < 1e-5
    assert float(one.square().sum(1).mean()) == pytest.approx(13, rel=1e-4)  # as of 13 signs
    ids = some_ids()
    with torch.no_grad():
        assert (tokenizer.decode_ids(ids) - long.decode_ids(ids)).abs().max() < 1e-3


def test_an_expected_code_is_a_product_with_the_table(tokenizer):
    book = tokenizer.codebook
    probs = torch.rand(3, 8192, generator=torch.Generator().manual_seed(0)).softmax(-1)
    by_hand = sum(p[:, None] * c for p, c in zip(probs.T, book.table, strict=True))
    assert (book.expect(probs) - by_hand).abs().max() < 1e-4
    hot = torch.nn.functional.one_hot(some_ids(1, 16)[0], 8192).float()
    assert torch.allclose(book.expect(hot), book.embed(some_ids(1, 16)[0]))
    assert torch.equal(book.nearest(book.embed(some_ids())), some_ids())
    assert (tokenizer.codes, book.size, book.table.shape) == (8192, 8192, (8192, 8))


def test_a_tilt_holds_few_numbers_per_token(tokenizer):
    tilt = CodeTilt.fresh(2, tokenizer.codebook, 0.3)
    assert tilt.u.shape == (2, 0, 8)


def test_gradients_reach_the_distributions(tokenizer):
    ids = some_ids(1)
    where = torch.ones_like(ids).nonzero().unbind(-1)
    logits = torch.zeros(16, 8192, requires_grad=True)
    alive = torch.ones_like(ids).bool()
    relaxed = Relaxed(ids, *where, logits.softmax(-1), alive, relaxation="quantized")
    with torch.no_grad():
        image = tokenizer.decode_ids(ids).clamp(-1, 1)
    measured = Measurement(
        SuperResolution(4),
        SuperResolution(4)(image),
        0.05,
        tokenizer.decode,
        tokenizer.codebook,
        encode=tokenizer.encode,
        shape=tokenizer.size,
    )
    measured.log_prob(relaxed).total.sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad.abs().sum(1) > 0).all()
    assert measured.log_prob_ids(ids).total > measured.log_prob_ids(some_ids(1, seed=3)).total
    assert measured.guess().shape == (1, 16, 8)


def test_a_decoder_in_slices_gives_the_same_image_and_gradient(tokenizer):
    codes = torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    def gradient(at_most):
        leaf = codes.clone().requires_grad_()
        image = tokenizer.decode(leaf, at_most)
        (image * weight).sum().backward()
        return image.detach(), leaf.grad

    whole, slope = gradient(None)
    for at_most in (64 * 64, 2 * 64 * 64, 1000):
        image, found = gradient(at_most)
        assert (image - whole).abs().max() < 1e-4
        assert (found - slope).abs().max() < 1e-4 * slope.abs().max()


def held(tokenizer, count, at_most):
    """Bytes that the graph of decoded images holds, the weights apart."""
    weights = {p.untyped_storage().data_ptr() for p in tokenizer.net.parameters()}
    seen, kept = {}, []

    def pack(tensor):
        kept.append(tensor)
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        tokenizer.decode(torch.zeros(count, 16, 8, requires_grad=True), at_most)
    return sum(size for storage, size in seen.items() if storage not in weights)


def test_memory_of_the_activations_is_bounded(tokenizer):
    whole = held(tokenizer, 4, None)
    assert whole > 3 * held(tokenizer, 1, None)
    assert held(tokenizer, 4, 64 * 64) < whole / 50
    assert held(tokenizer, 1, 1) < held(tokenizer, 1, None) / 3


def test_sizes_that_are_refused(net, tokenizer):
    with pytest.raises(ValueError, match=r"height=250: .* nearest are 240 and 256"):
        VQTokenizer(net, 250, 256)
    with pytest.raises(ValueError, match="at_most=0 pixels"):
        VQTokenizer(net, 64, 64, 0)
    with pytest.raises(ValueError, match=r"takes images \(B, 3, 64, 64\), got \(1, 3, 64, 48\)"):
        tokenizer.encode(torch.zeros(1, 3, 64, 48))
    with pytest.raises(ValueError, match=r"are \(B, 16, 8\), got \(1, 12, 8\)"):
        tokenizer.decode(torch.zeros(1, 12, 8))
    assert replace(tokenizer, height=32).grid == (2, 4)


def test_a_table_of_equal_vectors_is_refused(tmp_path):
    folder = write_amused(tmp_path / "m")
    path = folder / "vqvae" / WEIGHTS
    tensors = load_file(path)
    name = "quantize.embedding.weight"
    tensors[name] = tensors[name][:1].expand_as(tensors[name]).contiguous()
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"all 8192 code vectors in .* are equal, so every image"):
        read_part(folder, "vqvae", "VQModel")


def test_other_norms_are_refused(tmp_path):
    net = net_of(tmp_path / "m", changes={"vqvae": {"norm_type": "spatial"}})
    with pytest.raises(ValueError, match="norm_type='spatial' of the image tokenizer"):
        VQTokenizer(net, 64, 64)
