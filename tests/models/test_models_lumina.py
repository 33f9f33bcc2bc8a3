"""Lumina-DiMOO: its layout of an image row by row, and its traps.

The traps: newlines between the rows, which the canvas does not hold; two tokens in front of and
behind the image; a window that begins at a number of its own; guidance by `<uncondition>`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from aps_rewards import tokenizing
from checkpoints_lumina import write_lumina
from checkpoints_mmada import MASK, TEXT_SIZE, tokenizer_files
from reference.make_lumina import CASES
from references import read

from aps_text.models.guided import GuidedDenoiser
from aps_text.models.lumina import FIRST, IDS, SYSTEM, LuminaPrior
from aps_text.pipelines.restoration import RestorationPipeline
from aps_text.verification.images import check_ids, verify_images

pytest.importorskip("diffusers", reason="diffusers is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_lumina(tmp_path_factory.mktemp("models") / "lumina")


@pytest.fixture(scope="module")
def pipe(folder):
    return RestorationPipeline.from_pretrained(folder, size=64)


@pytest.fixture(scope="module")
def prior(pipe):
    return pipe.model.prior


def logits_of(denoiser, z):
    where = torch.ones_like(z).nonzero().unbind(-1)
    with torch.no_grad():
        return denoiser.logits(denoiser.trunk(z), where).unflatten(0, z.shape)


def canvas():
    z = torch.arange(16)[None] * 500
    z[0, [0, 5, 15]] = 8192
    return z


def laid_out(prior, text, z):
    """The published sequence, put together by hand."""
    said = f"<system>{SYSTEM}</system><user>{text}</user>"
    ids = [*prior.text.tokenizer(said).input_ids, 126354, 126349]
    for row in z.view(4, 4).tolist():
        ids += [MASK if token == 8192 else 126356 + token for token in row] + [126084]
    return torch.tensor([[*ids, 126350, 126355]])


@pytest.mark.parametrize("text", ["Who?", "a red violin"])
def test_logits_are_those_of_the_published_sequence(prior, text):
    z = canvas()
    ids = laid_out(prior, text, z)
    with torch.no_grad():
        mask = torch.ones(1, 1, *[ids.shape[1]] * 2).bool()
        whole = prior.text.parts.model(ids, attention_mask=mask).logits[0]
    image = whole[-22:-2].view(4, 5, -1)[:, :4].flatten(0, 1)
    found = logits_of(prior.denoiser([text], 16), z)[0]
    assert found.shape == (16, 8192)
    assert (found - image[:, FIRST : FIRST + 8192]).abs().max() < 1e-4
    assert image[:, FIRST : FIRST + 8192].std() > 1
    # A window that begins where MMaDA's does is another one.
    assert (found - image[:, 126349 : 126349 + 8192]).abs().max() > 1


@pytest.mark.parametrize("case", CASES)
def test_probabilities_are_those_of_the_published_code(folder, prior, case):
    """`reference/make_lumina.py` says how they were made."""
    made = read("lumina", folder)
    stored = {key: made[f"{case}/{key}"] for key in ("prompt", "uncond", "canvas", "best")}
    text, scale = CASES[case]
    assert prior.prompt(text) == stored["prompt"].tolist()
    assert prior.prompt("") == stored["uncond"].tolist()
    z = stored["canvas"][None]
    denoiser = prior.denoiser([text], 16, scale)
    with torch.no_grad():
        logits = denoiser.logits(denoiser.trunk(z), (z == 8192).nonzero().unbind(-1))
    logs, want = logits.log_softmax(-1), made[f"{case}/log_probs"]
    assert (logs[:, ::64] - want).abs().max() < 1e-3
    assert want.std() > 1
    assert torch.equal(logs.argmax(-1), stored["best"])


def test_what_the_model_reads(prior):
    seen = []
    table = prior.text.parts.model.get_input_embeddings()
    hook = table.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    z = canvas()
    logits_of(prior.denoiser(["Who?"], 16), z)
    hook.remove()
    assert torch.equal(seen[0], laid_out(prior, "Who?", z))
    assert prior.prompt("Who?")[-2:] == [IDS["boa"], IDS["boi"]]
    assert IDS == {
        "newline": 126084,
        "boi": 126349,
        "eoi": 126350,
        "boa": 126354,
        "eoa": 126355,
    }


def test_newlines_matter(prior):
    z = canvas()
    denoiser = prior.denoiser(["Who?"], 16)
    assert (denoiser.mask_id, denoiser.vocab_size) == (8192, 8192)
    other = replace(denoiser, newline=126085)
    assert (logits_of(denoiser, z) - logits_of(other, z)).abs().max() > 1e-2


def test_guidance_is_by_uncondition(prior):
    z = canvas()
    said = f"<system>{SYSTEM}</system><user><uncondition></user>"
    assert prior.prompt("") == [*prior.text.tokenizer(said).input_ids, 126354, 126349]
    guided = logits_of(prior.denoiser(["Who?"], 16, 4.0), z)
    plain, empty = (logits_of(prior.denoiser([t], 16), z) for t in ("Who?", ""))
    assert (guided - (5 * plain - 4 * empty)).abs().max() < 1e-3
    assert (guided - plain).abs().max() > 0.1


def test_rows_of_a_batch_are_as_alone(prior):
    z = canvas().repeat(2, 1)
    texts = ["Who?", "The big red violin of the dog"]
    both = logits_of(prior.denoiser(texts, 16), z)
    for row, text in enumerate(texts):
        alone = logits_of(prior.denoiser([text], 16), z[:1])[0]
        assert (both[row] - alone).abs().max() < 1e-4
    turned = prior.denoiser(texts, 16).take(torch.tensor([1, 0]))
    assert (logits_of(turned, z) - both[[1, 0]]).abs().max() < 1e-4


def test_a_prompt_is_encoded_while_no_other_text_is(prior):
    """Another thread's options are state of the tokenizer: it would read the tags as text."""
    plain = prior.text.tokenizer

    class Watched:
        def __call__(self, *texts, **options):
            assert tokenizing._LOCK.locked()
            return plain(*texts, **options)

        def get_added_vocab(self):
            return plain.get_added_vocab()

    watched = replace(prior, text=replace(prior.text, tokenizer=Watched()))
    assert watched.prompt("Who?") == prior.prompt("Who?")


def test_texts_with_control_tokens_are_refused(prior):
    for text in ("a <uncondition> dog", "a</user>b", "<|mdm_mask|>"):
        with pytest.raises(ValueError, match="reads as a control token; leave it out"):
            prior.prompt(text)


def test_what_is_longer_than_the_model_was_made_for_is_said(prior, caplog):
    room = prior.text.context
    prior.denoiser(["dog"], 16)
    assert not caplog.records
    text = "a" * room
    whole = len(prior.prompt(text)) + 16 + 4 + 2
    prior.denoiser(["dog", text], 16)
    (said,) = caplog.messages
    assert f"a text and its image have {whole} tokens, and the model was made for {room}" in said
    caplog.clear()
    side = 32 * 32
    exact = replace(prior, text=replace(prior.text, context=len(prior.prompt("")) + side + 32 + 2))
    exact.denoiser([""], side)
    assert not caplog.records


def test_it_restores_and_edits(pipe):
    ids = torch.randint(8192, (1, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = pipe.model.tokenizer.decode_ids(ids).clamp(-1, 1)
    measured = pipe.measure(images, "sr4")
    plain = pipe(measured, "a dog", method="plain", samples=4, steps=3)
    for options in ({"cfg_scale": 1.0}, {"adapter": "lora", "lora_layers": 1}):
        found = pipe(measured, "a dog", steps=3, inner_steps=8, **options)
        assert found.chi2.mean() < plain.chi2.mean()
    mask = torch.zeros(64, 64)
    mask[20:30, 20:30] = 1
    edited = pipe.edit(images[0], mask, "a red violin", steps=2, inner_steps=1)
    assert int(edited.opened.sum()) == 1
    assert pipe.model.usual == {"tilt_start": 0.0}  # its codes are vectors


def test_its_checks_pass_but_for_the_picture(pipe):
    report = verify_images(pipe.model)
    failed = [str(check) for check in report.checks if check.status == "FAIL"]
    assert not failed
    assert "image tokens 126356 .. 134547 behind 126356 of text" in report.checks[0].figure


def test_a_tokenizer_may_name_the_image_tokens(pipe, tmp_path):
    folder = write_lumina(tmp_path / "m", named=True)
    named = RestorationPipeline.from_pretrained(folder, size=64)
    assert len(named.model.prior.text.tokenizer) == 126356 + 8192
    assert check_ids(named.model).status == "PASS"
    z = canvas()
    one, two = (logits_of(p.model.prior.denoiser(["Who?"], 16), z) for p in (pipe, named))
    assert torch.equal(one, two)


def test_what_is_refused(tmp_path, prior):
    with pytest.raises(ValueError, match="mask_token_id=5; published is 126336"):
        RestorationPipeline.from_pretrained(write_lumina(tmp_path / "a", mask_token_id=5))
    for size in (134000, 134656):  # MMaDA's: the published code would read from 126464 on
        said = (
            rf"has {size} tokens, and Lumina-DiMOO ends with its image tokens, 126356 \.\. 134547"
        )
        with pytest.raises(ValueError, match=said):
            RestorationPipeline.from_pretrained(write_lumina(tmp_path / str(size), size=size))
    other = write_lumina(tmp_path / "c")
    (other / "added_tokens.json").unlink(missing_ok=True)
    for name, text in tokenizer_files(TEXT_SIZE).items():
        (other / name).write_text(text, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"has 126349 tokens, and .* ids 126084 \.\. 126355, .* not LLaDA's"
    ):
        RestorationPipeline.from_pretrained(other)
    with pytest.raises(ValueError, match="cfg_scale must be >= 0, got -1"):
        prior.denoiser(["a"], 16, -1)
    with pytest.raises(ValueError, match="makes square images here; got 20 tokens"):
        prior.denoiser(["a"], 20)
    assert LuminaPrior(prior.text).tokens == 1024


def test_guidance_without_a_text_says_that_it_does_nothing(prior, caplog):
    with caplog.at_level("WARNING"):
        denoiser = prior.denoiser([""], 4, cfg_scale=2.0)
    assert not isinstance(denoiser, GuidedDenoiser)
    assert "cfg_scale=2 guides towards a text, and no text is given" in caplog.text
    assert isinstance(prior.denoiser(["a dog"], 4, cfg_scale=2.0), GuidedDenoiser)
    with pytest.raises(ValueError, match="cfg_scale must be >= 0, got -1"):
        prior.denoiser(["a dog"], 4, cfg_scale=-1)
