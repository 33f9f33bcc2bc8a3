"""The pipeline around a tiny image model: seeds, batches, methods, and what it refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_image_model import write

from aps_text import APSConfig
from aps_text.images.degradations import (
    Blur,
    Compose,
    Grayscale,
    Inpainting,
    JpegLike,
    SuperResolution,
)
from aps_text.images.files import contact_sheet, read_image, read_mask, write_image
from aps_text.images.measurement import Measurement
from aps_text.images.measurement_files import read_measurement, write_measurement
from aps_text.images.tasks import TASKS, make_task
from aps_text.methods.aps import APS
from aps_text.methods.registry import IMAGE_METHODS
from aps_text.methods.split_gibbs import SplitGibbs
from aps_text.pipelines.image_model import load_image_model
from aps_text.pipelines.restoration import RestorationPipeline


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return RestorationPipeline(load_image_model(write(tmp_path_factory.mktemp("m") / "m")))


@pytest.fixture(scope="module")
def measured(pipe):
    ids = torch.randint(16, (3, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = pipe.model.tokenizer.decode_ids(ids).clamp(-1, 1)
    return pipe.measure(images, "random-inpainting", sigma=0.02)


FEW = {"steps": 4, "inner_steps": 3}


def test_it_explains_what_was_measured_better_than_the_prior(pipe, measured):
    plain = pipe(measured, method="plain", **{"steps": 4})
    found = pipe(measured, {"kind": "a"}, **FEW)
    assert found.images.shape == (3, 1, 1, 16, 16)
    assert float(found.images.abs().max()) <= 1
    assert (found.chi2 < plain.chi2).all()
    assert found.cost.denoiser_forwards == 3 * 4
    assert torch.equal(found.mean, found.images[:, 0])
    assert not found.spread.any()
    assert "3 images, 1 sample" in repr(found)


def test_a_seed_that_is_read_is_taken_and_one_that_is_not_changes_nothing(pipe, measured):
    usual, other = (APSConfig("restore", seed=seed, **FEW) for seed in (0, 4))
    assert torch.equal(pipe(measured, config=usual).ids, pipe(measured, config=other).ids)
    for read in ({"samples": 2}, {"preset": "posterior"}, {"method": "plain"}, {"method": "sgdd"}):
        few = {"steps": 4} if "method" in read else FEW
        one, two = (pipe(measured, seed=seed, **read, **few).ids for seed in (3, 4))
        assert not torch.equal(one, two), read


def test_quantised_samples_are_taken_where_something_else_is_drawn(pipe, measured):
    for drawn in ({"alg_temp": 1.0}, {"relaxation": "gumbel"}):
        ids = pipe(measured, samples=2, candidate="quantized", **drawn, **FEW).ids
        assert not torch.equal(ids[:, 0], ids[:, 1]), drawn


def test_a_measurement_and_its_seed_decide_its_images(pipe, measured):
    whole = pipe(measured, samples=2, seeds=[5, 6, 7], **FEW)
    rows = torch.tensor([2, 0])
    part = pipe(measured.take(rows), samples=2, seeds=[7, 5], **FEW)
    assert torch.equal(part.ids, whole.ids[rows])
    small = RestorationPipeline(pipe.model, batch_size=1)
    assert torch.equal(small(measured, samples=2, seeds=[5, 6, 7], **FEW).ids, whole.ids)
    assert not torch.equal(whole.ids[:, 0], whole.ids[:, 1])
    assert float(whole.spread.max()) > 0


def test_images_from_0_to_1_are_warned_of(pipe, caplog):
    bright = torch.linspace(0, 1, 256).view(1, 1, 16, 16)
    for images, warned in ((bright, True), (2 * bright - 1, False), (0 * bright, False)):
        caplog.clear()
        pipe.measure(images, "sr4")
        assert ("no pixel is below 0 (they are 0 to 1)" in caplog.text) == warned
        caplog.clear()
        pipe.observe(images, "box-inpainting", seed=0)
        assert ("no pixel is below 0 (they are 0 to 1)" in caplog.text) == warned


@pytest.mark.parametrize("make", [torch.Tensor.to_sparse, lambda x: x.to("meta")])
def test_images_without_numbers_are_refused(pipe, make):
    with pytest.raises(TypeError, match="images are a dense tensor with numbers in it, got a"):
        pipe.measure(make(torch.ones(1, 1, 16, 16)), "sr4")


def test_samples_that_do_not_explain_what_was_measured_are_warned_of(pipe, measured, caplog):
    """Not what the tokenizer cannot say at a small sigma, nor what `model_sigma` allows for."""
    wrong = replace(measured, sigma=0.05, y=-measured.y.sign())
    found = pipe(wrong, **FEW)
    assert (found.chi2 > 20).all()
    assert caplog.text.count("the samples do not explain what was measured, chi2 is ") == 1
    assert "(image 1), " in caplog.text
    assert "sigma=0.05 is too small" in caplog.text
    caplog.clear()
    pipe([wrong, replace(wrong, sigma=0.1)], **FEW)
    assert "sigma=0.05 and 0.1 is too small" in caplog.text
    caplog.clear()
    pipe(replace(measured, sigma=0.05), **FEW)
    assert (pipe(replace(measured, sigma=1e-4), **FEW).chi2 > 20).all()
    pipe(replace(wrong, model_sigma=1.0), **FEW)
    pipe(wrong, method="plain", steps=4)
    pipe(wrong, method="best-of-n", steps=4)
    assert "do not explain" not in caplog.text


def test_samples_are_handed_out_as_they_come(pipe, measured):
    small, came = RestorationPipeline(pipe.model, batch_size=2), []

    def on_step(index, state):
        came.append("step")

    def on_sample(index, draw, image):
        came.append((index, draw, image))

    found = small(measured, samples=2, on_step=on_step, on_sample=on_sample, **FEW)
    assert [one if one == "step" else one[:2] for one in came] == [
        *([*["step"] * 4, (0, 0), (0, 1)]),
        *([*["step"] * 4, (1, 0), (1, 1)]),
        *([*["step"] * 4, (2, 0), (2, 1)]),
    ]
    for index, draw, image in (one for one in came if one != "step"):
        assert torch.equal(image, found.images[index, draw])
    with pytest.raises(TypeError, match=r"called as on_sample.index, draw, image.; got"):
        pipe(measured, on_sample=3, **FEW)


def test_painted_and_edited_samples_are_handed_out_as_they_come(pipe):
    small, image = RestorationPipeline(pipe.model, batch_size=2), torch.zeros(1, 1, 16, 16)
    mask, came = torch.zeros(16, 16), []
    mask[4:8, 4:8] = 1
    how = {"samples": 3, "steps": 4, "on_sample": lambda draw, image: came.append((draw, image))}
    calls = (
        lambda: small.paint(**how),
        lambda: small.edit(image, mask, **how),
        lambda: small.edit(image, mask, pasted=False, **how),
    )
    for call in calls:
        came.clear()
        found = call()
        assert [draw for draw, _ in came] == [0, 1, 2]
        assert torch.equal(torch.stack([one for _, one in came]), found.images)
    for call in (small.paint, lambda **bad: small.edit(image, mask, **bad)):
        with pytest.raises(TypeError, match=r"called as on_sample.draw, image.; got"):
            call(on_sample=3, steps=4)


def test_callbacks_may_write_on_what_they_are_given(pipe, measured):
    plain = pipe(measured, **FEW)

    def step(index, state):
        for values in (state.z, state.written, state.candidates, state.revealed, state.tilted):
            values.zero_()

    def sample(index, draw, image):
        image.mul_(0.5).add_(0.5)

    found = pipe(measured, on_step=step, on_sample=sample, **FEW)
    assert torch.equal(found.images, plain.images)
    assert torch.equal(found.chi2, plain.chi2)
    painted = pipe.paint(steps=4, on_sample=lambda draw, image: image.zero_())
    assert torch.equal(painted.images, pipe.paint(steps=4).images)


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64, torch.uint8])
def test_what_is_observed_is_floating(pipe, measured, dtype):
    with pytest.raises(TypeError, match=f"images are floating in .* got {dtype}"):
        pipe.observe((measured.y > 0).to(dtype), "hdr")


def test_several_measurements_of_the_same_images_are_all_explained(pipe):
    clean = torch.linspace(-0.6, 0.6, 2 * 256).view(2, 1, 16, 16)
    small = pipe.measure(clean, "sr4", sigma=0.05)
    holes = pipe.measure(clean, "random-inpainting", sigma=0.02, seed=1)
    found = pipe([small, holes], samples=2, seeds=[3, 4], **FEW)
    images = found.images.flatten(0, 1)
    rows = torch.arange(2).repeat_interleave(2)
    wanted = torch.zeros(4)
    for one in (small, holes):
        part = one.take(rows)
        wanted += part.residual(images).square().flatten(1).sum(1) / one.sigma**2
    wanted /= small.counts()[rows] + holes.counts()[rows]
    torch.testing.assert_close(found.chi2.flatten(), wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.measurement.y, small.y)
    assert [one.sigma for one in found.others] == [0.02]
    plain = pipe([small, holes], method="plain", samples=2, seeds=[3, 4], steps=4)
    assert found.chi2.mean() < plain.chi2.mean()
    for one in (small, holes):  # the other one guides, too
        assert not torch.equal(pipe(one, samples=2, seeds=[3, 4], **FEW).ids, found.ids)
    alone = pipe(
        [small.take(torch.tensor([1])), holes.take(torch.tensor([1]))], samples=2, seeds=[4], **FEW
    )
    assert torch.equal(alone.ids[0], found.ids[1])
    same = pipe([small], **FEW)
    assert torch.equal(same.ids, pipe(small, **FEW).ids)
    assert same.others == ()
    assert pipe([small, holes], method="g2d2", steps=2).images.shape == (2, 1, 1, 16, 16)
    for wrong, says in (
        ([], "of no image; give at least one"),
        ([small, holes.take(torch.tensor([0]))], "of the same images, got some of 1 and of 2"),
        ([small, clean], "made by pipe.measure .* got a?n? ?Tensor"),
    ):
        with pytest.raises((TypeError, ValueError), match=says):
            pipe(wrong, **FEW)


@pytest.mark.parametrize("method", ["best-of-n", "svdd", "fk", "ets", "particle-gibbs", "vgb"])
def test_peers_run_on_the_same_measurement(pipe, measured, method):
    found = pipe(measured, method=method, steps=4)
    assert found.images.shape == (3, 1, 1, 16, 16)
    assert found.cost.reward_forwards > 0


def test_split_gibbs_explains_more_than_the_prior(pipe, measured):
    plain = pipe(measured, method="plain", steps=4)
    for proposal in ("bit", "langevin"):
        method = SplitGibbs(sweeps=2, mh_steps=60, proposal=proposal)
        found = pipe(measured, method=method, steps=4, samples=2, seeds=[5, 6, 7])
        assert (found.chi2.mean(1) < plain.chi2[:, 0]).all()
        assert found.cost.reward_forwards == 6 * 2 * 61
        alone = pipe(measured.take(torch.tensor([1])), method=method, steps=4, samples=2, seeds=[6])
        assert torch.equal(alone.ids[0], found.ids[1])
    assert pipe(measured.take(torch.tensor([0])), method="sgdd", steps=2).images.shape == (
        1,
        1,
        1,
        16,
        16,
    )


def test_each_measurement_may_have_its_own_attributes(pipe, measured):
    each = pipe(measured, [{"kind": "a"}, {"kind": "b"}, {}], **FEW)
    one = pipe(measured.take(torch.tensor([1])), {"kind": "b"}, **FEW)
    assert torch.equal(each.ids[1], one.ids[0])


def test_a_start_is_used(pipe, measured):
    ids = torch.randint(16, (2, 16), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        images = pipe.model.tokenizer.decode_ids(ids)
    small = pipe.measure(images.clamp(-1, 1), "sr2")
    plain = pipe(small, steps=2, inner_steps=1, tilt_start=0.0)
    assert not torch.equal(plain.ids, pipe(small, steps=2, inner_steps=1).ids)
    started = pipe(small, steps=2, inner_steps=1, tilt_start=3.0)
    assert not torch.equal(plain.ids, started.ids)


def test_a_degraded_image_is_taken_as_it_is(pipe, measured):
    again = pipe.observe(measured.y, measured.degradation, sigma=0.02)
    assert torch.equal(pipe(again, **FEW).ids, pipe(measured, **FEW).ids)
    small = pipe.observe(torch.zeros(2, 1, 4, 4), "sr4", model_sigma=0.1)
    assert pipe(small, **FEW).images.shape == (2, 1, 1, 16, 16)
    assert (small.sigma, small.model_sigma) == (0.05, 0.1)
    one, two = (pipe.observe(measured.y, "box-inpainting", seed=seed) for seed in (1, 2))
    assert not torch.equal(one.degradation.mask, two.degradation.mask)


def test_each_kind_of_phi_runs_and_explains_more_than_the_prior(pipe, measured):
    plain = pipe(measured, method="plain", steps=4).chi2
    for options in ({"adapter": "codes"}, {"adapter": "logits"}, {"lora_layers": 1}):
        found = pipe(measured, **{"adapter": "lora", **options}, **FEW)
        assert found.chi2.mean() < plain.mean(), options


def test_a_method_is_the_same_by_name_and_as_an_object(pipe, measured):
    assert torch.equal(pipe(measured, method=APS(), **FEW).ids, pipe(measured, **FEW).ids)


def test_a_guess_reaches_the_particles_of_a_filter(pipe, measured):
    assert pipe(measured, method="aps-smc", tilt_start=1.0, steps=2).images.isfinite().all()


def test_a_saved_measurement_is_restored_alike(pipe, measured, tmp_path):
    write_measurement(measured, tmp_path / "y.safetensors")
    again = read_measurement(tmp_path / "y.safetensors")
    assert torch.equal(pipe(again, **FEW).ids, pipe(measured, **FEW).ids)


BAD = [
    (lambda p, m: p(m, samples=0), ValueError, "samples must be at least 1, got 0"),
    (lambda p, m: p(m, samples=2, candidate="quantized"), ValueError, "identical images"),
    (lambda p, m: p(m, {"kind": "c"}), ValueError, "'c'"),
    (lambda p, m: p(m, {"size": "a"}), ValueError, "no attribute 'size'"),
    (lambda p, m: p(m, [{}]), ValueError, "attributes has 1 mappings for 3 measurements"),
    (lambda p, m: p(m, seeds=[1]), ValueError, "seeds has 1 values for 3"),
    (
        lambda p, m: p(m, seeds=[1] * 3, seed=2, samples=2),
        ValueError,
        "seed=2 has no use beside seeds, which holds one per measurement",
    ),
    (lambda p, m: p(m, adapter="logits", tilt_keep=0.5), ValueError, "use adapter='codes'"),
    (lambda p, m: p(m, method="plain", inner_steps=50), ValueError, "inner_steps=50 has no use"),
    (lambda p, m: p(m, num_return_sequences=3), ValueError, "num_return_sequences=3 .* samples="),
    (lambda p, m: p(m, max_new_tokens=3), ValueError, "max_new_tokens=3 has no use here"),
    (lambda p, m: p(m, num_samples=4), ValueError, "num_samples=4 has no use here: all that"),
    (lambda p, m: p(m, seed=4), ValueError, "seed=4 has no use here: nothing is drawn with cand"),
    (lambda p, m: p(m, block_length=2), ValueError, "block_length=2 has no use here"),
    (lambda p, m: p(m, seeds=[1.5] * 3), TypeError, "seed 0 is a whole number"),
    (lambda p, m: p(m, seeds=[2**64] * 3), ValueError, "seed 0"),
    *(
        (
            lambda p, m, given={name: value}: p(m, config=APSConfig("restore", **given)),
            ValueError,
            f"config has {name}={value!r}, no use here: ",
        )
        for name, value in {
            "max_new_tokens": 3,
            "min_new_tokens": 2,
            "num_return_sequences": 3,
            "block_length": 2,
            "reward_timeout": 5.0,
        }.items()
    ),
    (lambda p, m: p(m.y), TypeError, r"a measurement is made by pipe.measure .* got a?n? ?Tensor"),
    (lambda p, m: p(m + m), TypeError, r"a measurement is made by .*, several are a list of them"),
    (lambda p, m: p(m, config=3), TypeError, "config is an APSConfig, got"),
    (lambda p, m: p(m, method="magic"), ValueError, "method is one of aps"),
    (lambda p, m: p.measure(torch.zeros(1, 3, 16, 16), "sr2"), ValueError, "restores images"),
    (lambda p, m: p.measure(torch.zeros(1, 1, 16, 16), "zoom"), ValueError, "task is one of"),
    (
        lambda p, m: p.measure(torch.zeros(1, 1, 16, 16), Grayscale()),
        ValueError,
        "images of 3 channels",
    ),
    (
        lambda p, m: p.observe(torch.zeros(1, 1, 16, 16), "sr4"),
        ValueError,
        r"super-resolution of images \(1, 16, 16\) is \(B, 1, 4, 4\), got .* with `measure`",
    ),
    (lambda p, m: p.observe(torch.zeros(1, 4, 4), "sr4"), ValueError, "got .1, 4, 4"),
    (lambda p, m: p(m, progress="no"), TypeError, "progress is True, False or None"),
    (lambda p, m: p(m, {3: "a", "x": "b"}), ValueError, "no attribute"),
    (lambda p, m: p.paint(seeds=[1]), TypeError, "unknown option 'seeds'; this call has no such"),
    (lambda p, m: p.paint(method="aps"), ValueError, r"APS fits .* a style .aps paint --reference"),
    *(
        (lambda p, m, name=name: p.paint(method=name), ValueError, "nothing does: give a style")
        for name in sorted(IMAGE_METHODS.keys() - {"plain"})
    ),
    (
        lambda p, m: p.style(torch.zeros(1, 1, 16, 16), lambda x, where: x.flatten(1)),
        ValueError,
        "no usual sigma; give one",
    ),
    *(
        (lambda p, m, call=call, seed=seed: call(p, seed), kind, f"seed {says}")
        for call in (
            lambda p, seed: p.measure(torch.zeros(1, 1, 16, 16), "motion-blur", seed=seed),
            lambda p, seed: p.observe(torch.zeros(1, 1, 16, 16), "motion-blur", seed=seed),
            lambda p, seed: make_task("motion-blur", (16, 16), seed),
        )
        for seed, kind, says in (
            (-1, ValueError, "must be >= 0"),
            (2**70, ValueError, "must be >= 0 .* got an integer of 71 bits"),
            (1.5, TypeError, "is an integer, got 1.5"),
            (True, TypeError, "is an integer, got True"),
            (None, TypeError, "is an integer, got None"),
        )
        if seed is not None or "observe" not in call.__code__.co_names
    ),
    *(
        (
            lambda p, m, task=task: p.observe(torch.zeros(1, 1, 16, 16), task),
            ValueError,
            f"{task} draws a part at random, .* the very part .* give its seed=",
        )
        for task in ("motion-blur", "nonlinear-blur", "random-inpainting", "box-inpainting")
    ),
    *(
        (
            lambda p, m, sigma=sigma, call=call: call(p)(
                torch.zeros(1, 1, 16, 16), "hdr", sigma=sigma
            ),
            TypeError,
            "sigma is a number, got",
        )
        for call in (lambda p: p.measure, lambda p: p.observe)
        for sigma in ("0.05", None, [0.05], True)
    ),
    *(
        (lambda p, m, call=call, task=task: call(p, task), TypeError, "task is one of sr2, .* got")
        for call in (
            lambda p, task: p.measure(torch.zeros(1, 1, 16, 16), task),
            lambda p, task: p.observe(torch.zeros(1, 1, 16, 16), task),
        )
        for task in (3, None, SuperResolution, lambda x: x)
    ),
    *(
        (
            lambda p, m, degradation=degradation, y=y: p(Measurement(degradation, y, 0.05)),
            ValueError,
            says,
        )
        for degradation, y, says in (
            (SuperResolution(4), torch.zeros(1, 3, 4, 4), r"is \(B, 1, 4, 4\), got \(1, 3, 4, 4\)"),
            (SuperResolution(4), torch.zeros(1, 1, 8, 8), r"is \(B, 1, 4, 4\), got \(1, 1, 8, 8\)"),
            (Inpainting(torch.ones(8, 8)), torch.zeros(1, 1, 8, 8), "must have the same size"),
        )
    ),
    (lambda p, m: p.measure(torch.zeros(1, 1, 16, 16) * 1j, "sr2"), TypeError, "got torch.complex"),
    (
        lambda p, m: RestorationPipeline.from_pretrained(tokenizer="a/b"),
        ValueError,
        "'mini-garments' has its own image tokenizer; leave tokenizer= out",
    ),
    (lambda p, m: RestorationPipeline.from_pretrained(None), TypeError, "name is that of a model"),
    (
        lambda p, m: RestorationPipeline.from_pretrained(device="nope"),
        ValueError,
        "no device 'nope' here",
    ),
    (lambda p, m: RestorationPipeline(p.model, batch_size=0), ValueError, "batch_size"),
]


@pytest.mark.parametrize(("call", "kind", "says"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said(pipe, measured, call, kind, says):
    with pytest.raises(kind, match=says):
        call(pipe, measured)


def test_images_go_to_files_and_back(tmp_path):
    pixels = torch.randint(256, (3, 5, 7), generator=torch.Generator().manual_seed(0))
    image = pixels.float() / 127.5 - 1
    write_image(image, tmp_path / "a.png")
    back = read_image(tmp_path / "a.png")
    assert back.shape == (1, 3, 5, 7)
    assert torch.allclose(back[0], image, atol=1e-6)
    assert read_image(tmp_path / "a.png", 1).shape == (1, 1, 5, 7)
    write_image(torch.where(torch.eye(4)[None] > 0, 1.0, -1.0), tmp_path / "m.png")
    assert torch.equal(read_mask(tmp_path / "m.png"), torch.eye(4).bool())
    with pytest.raises(ValueError, match="has grey pixels"):
        read_mask(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError, match="no image file at"):
        read_image(tmp_path / "none.png")


def test_transparency_is_laid_on_white(tmp_path):
    from PIL import Image

    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "t.png")
    assert (read_image(tmp_path / "t.png") == 1).all()


def test_a_sheet_shows_small_images_by_whole_pixels():
    sheet = contact_sheet([torch.zeros(2, 1, 8, 8), -torch.ones(1, 3, 2, 2)], zoom=2, gap=1)
    assert sheet.shape == (3, 2 * 17 + 1, 2 * 17 + 1)
    assert (sheet[:, 18:34, 1:17] == -1).all()
    assert (sheet[:, 18:34, 18:34] == 1).all()


def test_a_text_is_refused_where_attributes_are_known(pipe, measured):
    with pytest.raises(ValueError, match=r"takes attributes by name \(kind\), not a text; got 'a"):
        pipe(measured, "a red violin")
    with pytest.raises(TypeError, match=r"size: no option of .mini-garments., which has one size"):
        RestorationPipeline.from_pretrained("mini-garments", size=64)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_modes_of_the_caller_change_no_image(pipe, measured, mode):
    expected = pipe(measured, {"kind": "a"}, **FEW)
    with mode():
        again = pipe.measure(pipe(measured, **FEW).images[:, 0], "sr2", sigma=0.1)
        found = pipe(measured, {"kind": "a"}, **FEW)
    assert torch.equal(found.ids, expected.ids)
    assert not again.y.is_inference()
    pipe(again, **FEW)  # measured under the mode, restored outside of it


def test_images_of_another_range_or_kind_are_named(pipe, caplog):
    images = torch.zeros(1, *pipe.size)
    for wrong, said in (
        (images + 127.5, "127.5 to 127.5; from 0 to 255"),
        (images[:0], "got \\(0"),
    ):
        with pytest.raises(ValueError, match=said):
            pipe.measure(wrong, "sr2")
    for odd in ("nan", "inf"):
        holed = images.clone()
        holed[0, 0, 0, 0] = float(odd)
        of = holed.numel()
        with pytest.raises(ValueError, match=f"images: 1 of {of} numbers are not finite .NaN or"):
            pipe.measure(holed, "sr2")
        with pytest.raises(ValueError, match=r"what was measured: 1 of .* are not finite"):
            pipe.observe(holed, "jpeg")
    unseen = torch.ones(pipe.size[1:], dtype=torch.bool)
    unseen[0, 0] = False  # a pixel that is not measured may be anything
    assert pipe.observe(holed, Inpainting(unseen)).y.isfinite().all()
    with pytest.raises(ValueError, match=r"got 'inpainting'; holes of your own are .*Inpainting"):
        pipe.observe(images, "inpainting")
    caplog.clear()
    for sigma, warned in ((1.0, 0), (13.0, 2)):
        pipe.observe(pipe.measure(images, "jpeg", sigma=sigma).y, "jpeg", sigma=sigma)
        assert caplog.text.count("0 to 255: sigma / 127.5 = 0.102") == warned
    with pytest.raises(TypeError, match=r"images are a tensor .* got a list"):
        pipe.measure([[0.0]], "sr2")
    with pytest.raises(TypeError, match=r"images are a tensor .* got a list"):
        pipe.edit([[0.0]], torch.zeros(pipe.size[1:]))
    with pytest.raises(TypeError, match=r"a measurement is a tensor .* got a list"):
        pipe.observe([[0.0]], "sr2")
    reads = r"; images\.files\.read_image\(path, 1\) reads "
    for given, said in (
        ("a.png", "str" + reads),
        (Path("a.png"), "Path" + reads),
        (images.numpy(), f"ndarray{reads}a file, and torch.from_numpy"),
        (Image.new("L", (8, 8)), "Image of Pillow" + reads),
    ):
        for call in (pipe.measure, pipe.observe):
            with pytest.raises(TypeError, match=f"got a .*{said}"):
                call(given, "sr2")
    with pytest.raises(TypeError, match=r"got str; of a file with white holes it is ~images"):
        Inpainting("holes.png")

    with pytest.raises(TypeError, match=r"images are floating .* got torch.int64; use x.float"):
        pipe.measure(images.long(), "sr2")
    y = pipe.measure(images, "sr2").y
    with pytest.raises(ValueError, match=r"is \(B, 1, 8, 8\), got \(0, 1, 8, 8\)"):
        pipe.observe(y[:0], "sr2")
    with pytest.raises(ValueError, match="the measurement is of no image; give at least one"):
        pipe(pipe.observe(y, "sr2").take(torch.tensor([], dtype=torch.long)))


def test_what_is_observed_is_in_range_but_for_its_noise(pipe):
    image = pipe.measure(torch.zeros(1, *pipe.size), "box-inpainting", sigma=0.3)
    assert pipe.observe(image.y, image.degradation, sigma=0.3).y.shape == image.y.shape
    pixels = (image.y.clamp(-1, 1) + 1) * 127.5
    with pytest.raises(ValueError, match=r"but for noise of sigma=0.05, got up to .*from 0 to 255"):
        pipe.observe(pixels, image.degradation)
    hidden = image.degradation.observed(image.y).logical_not()
    assert bool(hidden.any())
    anything = image.y.masked_fill(hidden, 255.0)  # what is not measured is 0
    assert torch.equal(pipe.observe(anything, image.degradation, sigma=0.3).y, image.y)


def test_a_measurement_made_by_hand_is_in_range_too(pipe):
    clean = torch.zeros(1, *pipe.size)
    clean[..., :8] = 1
    for degradation in (Inpainting(torch.ones(16, 16)), Compose([SuperResolution(2)])):
        y = degradation(clean)
        with pytest.raises(ValueError, match=r"but for noise of .* got up to 255"):
            pipe(Measurement(degradation, y / y.max() * 255, 0.05), **FEW)
        pipe(Measurement(degradation, y * 20, 5.0), **FEW)
    half = torch.ones(16, 16)
    half[:8] = 0
    hidden = torch.full_like(clean, 255.0) * (1 - half)  # what is not measured is no matter
    assert pipe(Measurement(Inpainting(half), hidden, 0.05), **FEW).chi2.isfinite().all()


@pytest.mark.parametrize(
    "degradation",
    [Blur(torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]])), JpegLike(1), JpegLike(20)],
)
def test_what_a_degradation_of_ours_makes_beyond_the_range_is_measured(pipe, degradation):
    """A kernel that sharpens, and the coarse cosines of blocks of noise."""
    clean = torch.randn(2, *pipe.size, generator=torch.Generator().manual_seed(1)).sign()
    measured = pipe.measure(clean, degradation, sigma=0.01)
    assert float(measured.y.abs().max()) > 2
    assert torch.equal(pipe.observe(measured.y, degradation, sigma=0.01).y, measured.y)
    with pytest.raises(ValueError, match="from 0 to 255"):
        pipe.bound(replace(measured, y=measured.y * 127.5))


def test_what_is_observed_is_dense_and_carries_no_graph(pipe, recwarn):
    y = pipe.measure(torch.zeros(1, *pipe.size), "sr2").y
    leaf = torch.zeros_like(y).requires_grad_()
    assert not pipe.observe(leaf + y, "sr2").y.requires_grad
    assert not recwarn.list
    for wrong in (y.to_sparse(), y.to("meta")):
        with pytest.raises(TypeError, match="a dense tensor with numbers in it, got a"):
            pipe.observe(wrong, "sr2")


def test_images_that_nothing_steered_are_warned_of(pipe, measured, caplog):
    for how, warned in (({"inner_steps": 0}, True), (FEW, False)):
        caplog.clear()
        pipe(measured, **{**FEW, **how})
        assert ("nothing was steered" in caplog.text) == warned
    caplog.clear()
    pipe(measured, steps=4, method="plain")
    pipe.paint(steps=4)
    pipe(measured, steps=4, inner_steps=0, candidate="sample", pool_size=4)
    assert "steered" not in caplog.text


@pytest.mark.parametrize("seen", [torch.zeros(16, 16) > 0, torch.ones(16, 16)])
def test_a_degradation_of_ones_own_says_what_it_measures(pipe, seen):
    class Own(Inpainting):
        def observed(self, y):
            return seen

    with pytest.raises(ValueError, match=r"observed\(y\) is bool and True where y"):
        pipe.observe(torch.zeros(1, *pipe.size), Own(torch.ones(16, 16)))


def test_measurements_and_styles_print_no_network(pipe, measured):
    style = pipe.style(torch.zeros(1, *pipe.size))
    assert not any("Conv2d" in repr(one) for one in (measured, style))


def test_samples_that_are_all_alike_are_warned_of(pipe, measured, caplog):
    for temperature, warned in ((0, True), (1, False)):
        caplog.clear()
        pipe.paint(samples=2, steps=2, temperature=temperature)
        assert ("temperature=0 made 2 identical images" in caplog.text) == warned


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_other_precisions_are_those_of_32_bits(pipe, dtype):
    """torch resizes no image of 16 bits on a CPU, and convolves with weights of one precision."""
    images = (torch.rand(1, *pipe.size, generator=torch.Generator().manual_seed(0)) * 2 - 1).to(
        dtype
    )
    for task in TASKS:
        if pipe.size[0] == 1 and task == "grayscale":
            continue
        one, two = (pipe.measure(x, task) for x in (images, images.float()))
        assert one.y.dtype == torch.promote_types(dtype, torch.float32)
        assert torch.allclose(one.y.float(), two.y, atol=1e-5 if dtype == torch.float64 else 0)
    y = pipe.measure(images, "sr2").y.to(dtype)
    half, whole = (pipe.observe(x, "sr2") for x in (y, y.float()))
    assert torch.equal(pipe(half, **FEW).ids, pipe(whole, **FEW).ids)
    mask = torch.zeros(pipe.size[1:])
    mask[:8, :8] = 1
    one, two = (pipe.edit(x, mask, steps=2, inner_steps=1) for x in (images, images.float()))
    assert torch.equal(one.images, two.images)


def test_the_noise_of_a_measurement_does_not_depend_on_the_default_dtype(pipe):
    images = torch.zeros(1, *pipe.size)
    expected = pipe.measure(images, "sr2", sigma=0.1).y
    torch.set_default_dtype(torch.float64)
    try:
        found = pipe.measure(images, "sr2", sigma=0.1).y
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("phi", [{"adapter": "lora", "lora_layers": 1}, {"adapter": "codes"}])
def test_calls_in_several_threads_are_those_of_one_thread(pipe, measured, phi):
    """LoRA's hooks sit on the model's modules, which all threads share."""

    def call(seed: int):
        return pipe(measured, samples=4, seeds=[seed] * 3, steps=8, inner_steps=3, **phi)

    alone = [call(seed).ids for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = [found.ids for found in pool.map(call, range(4))]
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_quantised_image_is_one_answer_and_not_one_of_a_pool(pipe, measured):
    preset = APSConfig("restore")
    assert (preset.pool_size, preset.candidate, preset.quantizer) == (None, "quantized", "nearest")
    first, second = (pipe(measured, seeds=[seed] * 3, **FEW).ids for seed in (0, 1))
    assert torch.equal(first, second)  # nothing is drawn
    with pytest.raises(ValueError, match=r"pool_size=4 .*'quantized' is one answer, no pool"):
        pipe(measured, pool_size=4, **FEW)


def test_a_pool_of_images_is_drawn_from_what_was_fitted(pipe, measured):
    """Rollouts are the base sampler's: of so many tokens none comes near to what was measured."""
    how = {"samples": 4, "steps": 4, "inner_steps": 8, "pool_size": 4}
    usual, rollouts = (
        pipe(measured, **how, **more).chi2.mean() for more in ({}, {"pool_rollout": 4})
    )
    assert float(usual) < 0.5 * float(rollouts)


def test_a_quantised_candidate_has_one_order_by_phi_and_another_by_theta(pipe, measured):
    """Anchored by the token and standard by phi are then one algorithm; the paper's is by theta."""

    def found(**order):
        return pipe(measured, **{**FEW, "steps": 8}, **order).ids

    anchored = found(remasking="anchored", anchor_score="token")
    assert torch.equal(anchored, found(remasking="standard", rank_by="phi"))
    assert not torch.equal(anchored, found(remasking="standard", rank_by="theta"))


def test_the_preset_posterior_draws_candidates_and_their_order(pipe, measured):
    found = pipe(measured, preset="posterior", samples=2, **FEW)
    spelled = pipe(measured, samples=2, alg_temp=APSConfig("posterior").alg_temp, **FEW)
    assert torch.equal(found.ids, spelled.ids)
    assert not torch.equal(found.ids, pipe(measured, samples=2, **FEW).ids)
    one = pipe(measured, preset="posterior", **FEW)
    assert torch.equal(one.ids[:, 0], found.ids[:, 0])  # also one sample is drawn


@pytest.mark.parametrize("preset", ["paper", "balanced", "map", 3])
def test_another_preset_is_refused_by_name(pipe, measured, preset):
    with pytest.raises(ValueError, match=rf"preset={preset!r} .*'restore' or 'posterior'"):
        pipe(measured, preset=preset, **FEW)


def test_saved_settings_are_those_that_were_saved(pipe, measured, tmp_path):
    config = APSConfig.make("posterior", **FEW)
    config.save(tmp_path / "settings.json")
    again = APSConfig.load(tmp_path / "settings.json")
    assert torch.equal(pipe(measured, config=again).ids, pipe(measured, config=config).ids)


@pytest.mark.parametrize("preset", [None, "fast"])
def test_a_config_of_texts_is_refused(pipe, measured, preset):
    with pytest.raises(ValueError, match=r"preset='\w+', which is for texts; .*'restore'"):
        pipe(measured, config=APSConfig(preset, **FEW))


def test_a_config_beside_a_preset_is_refused(pipe, measured):
    with pytest.raises(TypeError, match="either config"):
        pipe(measured, config=APSConfig("restore"), preset="restore")
