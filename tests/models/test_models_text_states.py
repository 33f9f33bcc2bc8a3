"""Text that attends to nothing behind its block: right by hand, and computed once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from checkpoints import QUESTIONS, smol_folder

from aps_text.core.canvas import Canvas
from aps_text.models.registry import load
from aps_text.models.text_states import settled_columns
from aps_text.pipelines.text import APSPipeline

WIDTH = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with smol_folder(tmp_path_factory.mktemp("smol")) as found:
        yield found


@pytest.fixture(scope="module")
def model(folder):
    return load(folder, dtype=torch.float64)


def words(model, rows, seed):
    """Random text `(rows, WIDTH)` without stop tokens."""
    ids = sorted(set(model.tokenizer.get_vocab().values()) - {*model.stop_ids, model.fill_id})
    usable = torch.tensor([i for i in ids if i not in set(model.parts.suppressed)])
    g = torch.Generator().manual_seed(seed)
    return usable[torch.randint(len(usable), (rows, WIDTH), generator=g)]


def by_hand(model, question, canvas, blocks, cols):
    """The logits at `cols` of one row alone: the model's own forward under the rule."""
    prompt, mask = model.encode(question), model.parts.mask_id
    ids = [*prompt, *canvas.tolist()]
    block = [-1] * len(prompt) + blocks
    whole = max(blocks) == 0
    seen = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for i in range(len(ids)):
        for j in range(len(ids)):
            ahead = i < len(prompt) - (1 if whole else 0)
            behind = j > i if ahead else block[j] > block[i] and not whole
            seen[i, j] = i == j or (ids[j] != mask and not behind)
    with torch.no_grad():
        logits = model.parts.model(
            input_ids=torch.tensor([ids]), attention_mask=seen[None, None]
        ).logits[0]
    return logits[len(prompt) + cols - 1]


@contextmanager
def columns_of(denoiser):
    """A list of (rows, columns) on which the second layer runs."""
    found = []
    handle = denoiser._layers[1].register_forward_pre_hook(
        lambda _, args: found.append(tuple(args[0].shape[:2]))
    )
    try:
        yield found
    finally:
        handle.remove()


def bound(model, blocks, rows=3, layers=1):
    prompts = [model.encode(q) for q in QUESTIONS[:rows]]
    return model.bind(prompts, [WIDTH] * rows, layers, blocks=blocks)


def agree(model, denoiser, z, blocks, sources):
    """Whether the denoiser's logits at every mask are those by hand."""
    where = (z == model.parts.mask_id).nonzero().unbind(-1)
    got = denoiser.logits(denoiser.trunk(z), where)
    keep = [i for i in range(model.parts.vocab_size) if i not in set(model.parts.suppressed)]
    for row, source in enumerate(sources):
        mine = where[0] == row
        want = by_hand(model, QUESTIONS[source], z[row], blocks[row].tolist(), where[1][mine])
        torch.testing.assert_close(got[mine][:, keep], want[:, keep], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("layers", [1, 2, None])
def test_logits_follow_the_rule_whatever_was_computed_before(model, length, layers):
    blocks = (torch.arange(WIDTH) // length).expand(len(QUESTIONS), -1)
    denoiser, mask = bound(model, blocks, layers=layers), model.parts.mask_id
    text, other = words(model, len(QUESTIONS), 1), words(model, len(QUESTIONS), 2)
    order = list(range(len(QUESTIONS)))
    for written in (0, 1, 2, 5, 8):
        z = text.clone()
        z[:, written:] = mask
        agree(model, denoiser, z, blocks, order)
        # Copies that go on with text of their own, and a token that is masked again.
        copies = [2, 0, 0, 1]
        own = z[copies]
        own[1, : written + 1] = other[0, : written + 1]
        own[3, max(0, written - 3)] = mask
        own[:, -1] = mask
        agree(model, denoiser.take(torch.tensor(copies)), own, blocks[copies], copies)
    agree(model, denoiser.take(torch.tensor([1])), z[[1]], blocks[[1]], [1])


def test_a_row_that_holds_text_behind_a_mask_is_read_as_a_whole(model):
    mask, fill = model.parts.mask_id, model.fill_id
    text = words(model, 3, 3)
    rows = [[mask] * WIDTH, [mask, *text[1, 1:4].tolist(), mask], text[2, :4].tolist() + [mask] * 3]
    canvas = Canvas.of(rows, mask_id=mask, fill_id=fill, block_length=2)
    blocks = canvas.reading_blocks(mask)
    assert blocks.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3, 4], [0] * 9, [0, 0, 1, 1, 2, 2, 3, 3, 4]]
    short = Canvas.of([[mask] * 2, [mask] * 3], mask_id=mask, fill_id=fill, block_length=2)
    assert short.reading_blocks(mask).tolist() == [[0, 0, 0], [0, 0, 1]]
    assert Canvas.of(rows, mask_id=mask, fill_id=fill).reading_blocks(mask) is None
    z = text.clone()
    z[:, 6:] = mask
    z[1, 2] = mask
    denoiser = bound(model, blocks)
    for _ in range(2):
        agree(model, denoiser, z, blocks, [0, 1, 2])


def test_a_token_is_computed_once(model):
    mask = model.parts.mask_id
    blocks = torch.arange(WIDTH).expand(2, -1)
    denoiser, text = bound(model, blocks, rows=2), words(model, 2, 4)
    longest = max(len(model.encode(q)) for q in QUESTIONS[:2])
    with columns_of(denoiser) as found:
        for written in range(4):
            z = text.clone()
            z[:, written:] = model.fill_id
            z[:, written] = mask
            denoiser.trunk(z)
        assert found == [(2, longest), (2, 1), (2, 1), (2, 1)]
        del found[:]
        z[:, 3], z[:, 4] = text[:, 3], mask
        copies = denoiser.take(torch.tensor([1, 1, 0]))
        copies.trunk(z[[1, 1, 0]])
        assert found == [(3, 1)]
        del found[:]
        other = z[[1, 1, 0]].clone()
        other[0, 2] = text[0, 0]  # from its third token on
        copies.trunk(other)
        assert found == [(3, 2)]


def test_a_block_is_known_as_a_whole_or_not_at_all(model):
    mask = model.parts.mask_id
    blocks = (torch.arange(WIDTH) // 3).expand(1, -1)
    denoiser, text = bound(model, blocks, rows=1), words(model, 1, 5)
    z = text.clone()
    z[:, 7:] = mask
    other = z.clone()
    other[:, 4] = text[:, 0]  # in the middle of the second block
    with columns_of(denoiser) as found:
        for canvas in (z, other, z):
            agree(model, denoiser, canvas, blocks, [0])
    # Between them the forwards by hand, and the first one, of all columns.
    assert [columns for _, columns in found if columns < WIDTH] == [6, 6]


def test_a_block_that_became_shorter_is_not_known(model):
    """What stood behind has been attended to, though its columns are no longer computed."""
    blocks = (torch.arange(WIDTH) // 4).expand(1, -1)
    denoiser, text = bound(model, blocks, rows=1), words(model, 1, 6)
    z = text.clone()
    z[:, 6:] = model.parts.mask_id
    denoiser.trunk(z)
    z[:, 2:] = model.fill_id
    want = bound(model, blocks, rows=1).trunk(z).hidden
    torch.testing.assert_close(denoiser.trunk(z).hidden, want, rtol=1e-9, atol=1e-9)


def test_settled_columns_lie_in_blocks_before_the_first_mask():
    blocks = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0]])
    masked = torch.zeros(3, 6, dtype=torch.bool)
    masked[0, 3] = masked[1, 3] = masked[2, 5] = True
    assert settled_columns(masked, blocks).sum(1).tolist() == [2, 3, 0]
    assert settled_columns(torch.zeros_like(masked), blocks).all()


@pytest.mark.parametrize("block_length", [1, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {"method": "plain"},
        {"method": "plain", "remask": True},
        {"inner_steps": 0, "pool_size": 4, "pool_rollout": 12, "pool_interval": 2},
        {"inner_steps": 1, "pool_size": 1},
        {"method": "svdd"},
        {"method": "fk"},
        {"cfg_scale": 1.0, "method": "plain"},
    ],
)
def test_what_is_kept_changes_no_answer(folder, monkeypatch, block_length, settings):
    """Float64: with rounding of its own an answer could differ in a token that is nearly tied."""
    from aps_text.models import text_states

    def answers(questions):
        pipe = APSPipeline(load(folder, dtype=torch.float64), batch_size=4)
        steered = {} if settings.get("method") == "plain" else {"reward": brief}
        call = {"temperature": 0.9, "max_new_tokens": 12, "steps": 12, "block_length": block_length}
        return pipe(questions, **call, **steered, **settings, seeds=range(len(questions))).token_ids

    found = answers(QUESTIONS)
    assert [answers([q])[0] for q in QUESTIONS[:1]] == found[:1]
    monkeypatch.setattr(
        text_states.TextStates, "_beginning", lambda self, owner, *rest: (None, owner, 0)
    )
    assert answers(QUESTIONS) == found


@pytest.mark.parametrize("block_length", [2, 4])
def test_an_answer_within_its_first_block_is_that_of_its_prompt_alone(folder, block_length):
    """Beside longer canvases, which have further blocks, it is read as a whole all the same."""
    pipe = APSPipeline(load(folder, dtype=torch.float64))
    spans = ["[MASK:2]", "A cat is [MASK:5]", "The [MASK:2]"]
    call = {"method": "plain", "temperature": 0.9, "steps": 7, "block_length": block_length}
    together = pipe(QUESTIONS, start={"template": spans}, seeds=range(3), **call).token_ids
    for seed, (question, span) in enumerate(zip(QUESTIONS, spans, strict=True)):
        alone = pipe([question], start={"template": span}, seeds=[seed], **call).token_ids
        assert alone == together[seed : seed + 1]


def test_blocks_ascend_and_a_block_causal_model_sees_no_masks(model):
    for wrong in ([1, 1, 2], [0, 2, 1]):
        with pytest.raises(ValueError, match=r"ascend from 0 in each row; got \[\["):
            model.bind([[1, 2]], [3], 1, blocks=torch.tensor([wrong]))
    for name, value in (("attend_masks", True), ("attend_fill", True), ("causal_prompt", False)):
        with pytest.raises(ValueError, match="block_causal=True needs causal_prompt=True"):
            replace(model.parts, **{name: value})


def brief(prompts, completions, **columns):
    return [-len(text) / 50 for text in completions]


def test_a_setting_that_changes_nothing_of_such_a_model_is_refused(model):
    pipe = APSPipeline(model)
    with pytest.raises(
        ValueError, match=r"prefix_reuse=3 has no use here: .* always reuses the states"
    ):
        pipe.generate("Who?", steps=2, max_new_tokens=4, prefix_reuse=3)
    assert pipe.generate("Who?", steps=2, max_new_tokens=4, prefix_reuse=None).text
