"""Masks that nobody attends to: those behind everything that is asked for are left out."""

from __future__ import annotations

import pytest
import torch
from aps_eval.run.flops import FlopCounter
from checkpoints import QUESTIONS, smol_folder, write_dream

from aps_text import APSConfig
from aps_text.core import step as step_module
from aps_text.core.canvas import Canvas
from aps_text.core.cost import Cost, MeteredDenoiser
from aps_text.core.noise import Noise
from aps_text.core.protocols import masks_unseen
from aps_text.core.step import Step
from aps_text.methods.distinct import DistinctRows
from aps_text.models.guided import GuidedDenoiser
from aps_text.models.registry import load
from aps_text.pipelines.text import APSPipeline

SETTINGS = {"max_new_tokens": 16, "steps": 16, "eos_penalty": 1e4}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with smol_folder(tmp_path_factory.mktemp("smol")) as folder:
        yield load(folder)


def bound(model, rows=2, guided=False):
    prompts = [model.encode(q) for q in QUESTIONS[:rows]]
    denoiser = model.bind(prompts, [16] * rows, 1)
    if not guided:
        return denoiser
    alone = [[model.parts.mask_id] * len(p) for p in prompts]
    return GuidedDenoiser(denoiser, model.bind(alone, [16] * rows, 1), 1.0)


@pytest.mark.parametrize("guided", [False, True])
def test_logits_are_those_of_the_whole_canvas(model, guided):
    config, denoiser = APSConfig(**SETTINGS), bound(model, guided=guided)
    mask, fill = denoiser.mask_id, model.fill_id
    rows = [[3, mask, 5, mask] + [mask] * 12, [mask] * 16]
    canvas = Canvas.of(rows, mask_id=mask, fill_id=fill, block_length=4)
    noise = Noise(torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long))
    step = Step.open(canvas, mask, config, noise, 0, everywhere=False)
    assert step._needed.tolist() == [
        [3, mask, 5, mask] + [fill] * 12,
        [mask] * 4 + [fill] * 12,
    ]
    for each in (
        denoiser,
        MeteredDenoiser(denoiser, Cost()),
        DistinctRows(denoiser, torch.arange(2)),
    ):
        assert masks_unseen(each)
        found = step.x_theta(each)
        whole = denoiser.logits(denoiser.trunk(canvas.z), step.where).log_softmax(-1)
        torch.testing.assert_close(found, step.bias(whole).log_softmax(-1), rtol=1e-4, atol=1e-4)


def test_what_stands_before_a_token_or_a_question_stays(model):
    """Masks in a gap, and a row's fill behind its stop token."""
    denoiser = bound(model, rows=3)
    mask, fill = denoiser.mask_id, model.fill_id
    z = [[mask, mask, 4, mask], [mask, fill, fill, fill], [mask, mask, mask, mask]]
    canvas = Canvas.of(z, mask_id=mask, fill_id=fill)
    noise = Noise(torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.long))
    step = Step.open(canvas, mask, APSConfig(**SETTINGS), noise, 0, everywhere=False)
    step.asked = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]).bool()
    assert step._needed.tolist() == [
        [mask, mask, 4, fill], [mask, fill, fill, fill], [mask, mask, mask, fill]
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"block_length": 1},
        {"block_length": 4},
        {"block_length": 2, "inner_steps": 1, "pool_size": 3, "pool_rollout": 6, "steps": 8},
        {"block_length": 1, "inner_steps": 0, "pool_size": 3, "pool_rollout": 16, "steps": 8},
    ],
)
def test_answers_are_those_of_the_whole_canvas_for_fewer_operations(model, settings, monkeypatch):
    def answers():
        with FlopCounter() as counter:
            out = APSPipeline(model)(
                QUESTIONS[0], lambda prompts, completions, **_: [len(c) for c in completions],
                **{**SETTINGS, "inner_steps": 0, "pool_size": 2, **settings},
            )  # fmt: skip
        return out.token_ids, counter.total

    ours, cost = answers()
    monkeypatch.setattr(step_module, "masks_unseen", lambda denoiser: False)
    whole, price = answers()
    assert ours == whole
    assert cost < 0.95 * price


def test_a_model_that_sees_masks_is_asked_with_all_of_them(tmp_path):
    write_dream(tmp_path)
    other = load(tmp_path)
    assert not masks_unseen(bound(other))
