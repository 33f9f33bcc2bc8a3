"""`aps verify`: it passes a good model, and each line fails where its one thing is broken."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from checkpoints import smol_folder, write_dream, write_llada
from tiny import tiny_text_model
from torch import nn

from aps_text.cli import main
from aps_text.models.registry import load
from aps_text.models.text_states import TextStates
from aps_text.verification.logits import PLAIN, Sample, check_blocks, tolerance
from aps_text.verification.suite import verify

LINES = ["ids", "suppressed", "shift", "directions", "padded keys", "left padding", "batch"]
LINES += ["answers", "lora start", "lora moves", "steering", "base"]


def learn(model, steps=150):
    """Teach a tiny model the plain sentences, so that its shift can be told."""
    body, g = model.parts.model, torch.Generator().manual_seed(0)
    rows = [model.tokenizer(answer, add_special_tokens=False).input_ids for _, answer in PLAIN]
    lengths = [len(row) + 1 for row in rows]
    denoiser = model.bind([model.encode(question) for question, _ in PLAIN], lengths, None)
    z = torch.full((len(rows), max(lengths)), model.fill_id)
    for index, row in enumerate(rows):
        z[index, : len(row)] = torch.tensor(row)
        z[index, len(row)] = model.stop_ids[0]
    within = torch.arange(z.shape[1])[None] < torch.tensor(lengths)[:, None]
    body.requires_grad_(True)
    optimiser = torch.optim.Adam(body.parameters(), lr=3e-3)
    for _ in range(steps):
        hidden = (torch.rand(z.shape, generator=g) < 0.15) & within
        hidden[:, 0] = True
        where = hidden.nonzero().unbind(-1)
        state = denoiser.trunk(z.masked_fill(hidden, model.parts.mask_id))
        loss = nn.functional.cross_entropy(denoiser.logits(state, where), z[where])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    body.requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "dream"
    write_dream(folder)
    return folder


@pytest.fixture(scope="module")
def taught(folder):
    model = load(folder)
    learn(model)
    return model


@pytest.fixture
def model(taught, folder):
    """A copy whose parts may be broken."""
    fresh = load(folder)
    fresh.parts.model.load_state_dict(taught.parts.model.state_dict())
    return fresh


def files(folder):
    return {
        name: json.loads((folder / name).read_text())
        for name in ("config.json", "generation_config.json")
    }


def lines(report, status):
    return {check.name for check in report.checks if check.status == status}


def changed(model, **parts):
    return replace(model, parts=replace(model.parts, **parts))


def test_a_good_model_passes_every_line(model, folder):
    shown = []
    report = verify(model, files=files(folder), show=shown.append)
    assert {check.status for check in report.checks} == {"PASS"}, report.as_dict()
    assert report.passed
    assert [check.name for check in report.checks] == LINES
    text = "\n".join(shown)
    for word in ("transformers", "peft", "float32", "cpu", "12 PASS, 0 FAIL, 0 SKIP", "GiB"):
        assert word in text
    assert report.figures["peak memory, GiB"] > 0
    assert str(folder.parent) not in text  # nothing of the sender's machine


def causal(real):
    size = real.shape[1]
    return real[:, None, None, :] & torch.ones(size, size, dtype=torch.bool).tril()


def blind(real):
    return torch.ones_like(real)[:, None, None, :].expand(-1, 1, real.shape[1], -1)


def break_nothing_suppressed(model):
    return changed(model, suppressed=())


def break_weights(model):
    """A forward that writes into its own weights, where no prompt looks."""
    table = model.parts.model.get_input_embeddings()

    def write(module, args, output):
        table.weight.data[-1] += 1

    model.parts.layers[0].register_forward_hook(write)
    return model


def break_hooks(model):
    """A layer that takes another path when something is hooked to it, as fused kernels do."""

    class Fused(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1.2 if self._forward_hooks else 1.0)

    model.parts.layers[-1].mlp.down_proj.__class__ = Fused
    return model


def break_batches(model):
    """Rows that see each other's canvas."""

    def mix(module, args, output):
        near = output[:, -4:]
        return torch.cat([output[:, :-4], 0.5 * (near + near.mean(0, keepdim=True))], 1)

    model.parts.model.get_input_embeddings().register_forward_hook(mix)
    return model


def break_gradient(model):
    norm = model.parts.final
    return changed(model, final=lambda hidden: norm(hidden).detach())


def break_forward(model):
    def stop(module, args):
        raise RuntimeError("device-side assert")

    model.parts.layers[0].register_forward_pre_hook(stop)
    return model


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda m: changed(m, mask_id=m.parts.mask_id + 1), {"ids"}),
        (lambda m: replace(m, stop_ids=m.stop_ids[1:]), {"ids"}),
        (break_nothing_suppressed, {"suppressed", "answers"}),
        (lambda m: changed(m, suppressed=(*m.parts.suppressed, *m.stop_ids)), {"suppressed"}),
        (lambda m: changed(m, shift=0), {"shift"}),
        (lambda m: changed(m, attention=causal), {"directions"}),
        (lambda m: changed(m, attention=blind), {"padded keys", "left padding", "batch"}),
        (break_batches, {"left padding", "batch"}),
        (break_hooks, {"lora start"}),
        (break_gradient, {"lora moves", "steering"}),
        (break_weights, {"base"}),
    ],
)
def test_each_line_fails_where_its_one_thing_is_broken(model, folder, damage, expected):
    report = verify(damage(model), files=files(folder), tokens=8)
    found = {check.name: check.figure for check in report.checks if check.status == "FAIL"}
    assert set(found) == expected, found
    assert not report.passed


def test_reading_by_block_is_checked_of_models_that_do(tmp_path, monkeypatch):
    with smol_folder(tmp_path) as folder:
        model = load(folder, dtype=torch.float64)
    report = verify(model, tokens=8)
    assert not lines(report, "FAIL"), report.as_dict()
    assert [check.name for check in report.checks] == [*LINES[:6], "blocks", *LINES[6:]]
    sample = Sample.of(model, 8)
    assert check_blocks(changed(model, block_causal=False), sample).status == "FAIL"
    beginning = TextStates._beginning

    def of_another_row(*args):
        source, rows, width = beginning(*args)
        return source, rows.flip(0), width

    monkeypatch.setattr(TextStates, "_beginning", of_another_row)
    assert check_blocks(model, sample).status == "FAIL"


def test_a_model_that_raises_is_a_report_and_no_crash(model, folder):
    report = verify(break_forward(model), files=files(folder), tokens=8)
    assert {"ids", "base"} == lines(report, "PASS")
    assert "RuntimeError: device-side assert" in str(report.checks[3])
    assert report.figures == {}


def test_random_weights_cannot_tell_their_shift(folder, tmp_path):
    write_llada(tmp_path)
    for name in (folder, tmp_path):
        report = verify(load(name), tokens=8)
        assert lines(report, "SKIP") == {"shift"}
        assert not lines(report, "FAIL")
        shift = next(check for check in report.checks if check.name == "shift")
        assert "cannot tell: these weights know no English" in shift.figure


def test_low_precision_is_measured_against_its_own_rounding(folder):
    model = load(folder, dtype=torch.bfloat16)
    assert tolerance(model) == 0.1
    assert not lines(verify(model, tokens=8), "FAIL")
    assert {"padded keys", "left padding"} <= lines(
        verify(changed(model, attention=blind), tokens=8), "FAIL"
    )
    assert tolerance(tiny_text_model(dtype=torch.float64)) == 1e-9


def test_the_embedded_model_passes_from_a_shell(capsys):
    assert main(["verify", "mini", "--json", "--tokens", "8"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["passed"]
    said = shown.err.splitlines()
    assert said[0] == "aps: loading mini ..."
    assert {f"aps: checking {check['name']} ..." for check in found["checks"]} <= set(said)
    statuses = {check["name"]: check["status"] for check in found["checks"]}
    assert {name for name, status in statuses.items() if status != "PASS"} == set()
    assert found["figures"]["peak memory, GiB"] > 0


def test_a_failure_is_the_exit_status(folder, tmp_path, capsys):
    other = tmp_path / "other"
    ids = write_dream(other)
    file = other / "generation_config.json"
    stated = json.loads(file.read_text())
    file.write_text(json.dumps({**stated, "mask_token_id": ids["<|im_start|>"]}))
    assert main(["verify", str(folder), "--dtype", "float64"]) == 0
    assert "cannot tell" in capsys.readouterr().out
    assert main(["verify", str(other), "--device-map", "auto"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  ids" in shown
    assert f"mask_token_id is {ids['<|im_start|>']} in generation_config.json" in shown
    assert "device_map=auto" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "no model at 'nowhere'"),
        (["mini", "--tokens", "2"], "tokens must be at least 4, got 2"),
        (["mini", "--tokens", "500"], "tokens=500, but the context of mini leaves"),
        (["mini", "--device", "quantum"], "no device 'quantum' here"),
        (["mini", "--revision", "v1"], "revision='v1' needs a hub id"),
        (["mini", "--device", "cpu", "--device-map", "auto"], "give one of them"),
    ],
)
def test_bad_arguments_are_one_line(options, message, capsys):
    assert main(["verify", *options]) == 2
    assert message in capsys.readouterr().err
