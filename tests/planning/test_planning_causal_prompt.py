"""The plan of a model whose prompt is causal (`smol`), beside what real runs of it take."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from zlib import crc32

import pytest
from aps_eval.run.flops import FlopCounter
from checkpoints import QUESTIONS, smol_folder
from measured import measure

from aps_text import APSConfig
from aps_text.cli import main
from aps_text.core.own_settings import config_for
from aps_text.models.registry import load
from aps_text.pipelines.text import APSPipeline
from aps_text.planning.call import Call
from aps_text.planning.flops import count_flops, count_passes
from aps_text.planning.memory import plan_memory, replay_saved
from aps_text.planning.report import plan
from aps_text.planning.shape import ModelShape, find_shape

SHAPE = ModelShape(
    name="smol-like",
    layers=5,
    hidden=96,
    heads=4,
    kv_heads=2,
    head_dim=24,
    ffn=256,
    vocab=1501,
    tied=True,
    shift=1,
    causal_prompt=True,
    masks_unseen=True,
    quantisable=False,
    stored_bytes=4,
)
SETTINGS = {"max_new_tokens": 32, "steps": 4, "inner_steps": 2, "pool_size": 1, "lora_layers": 2}
CALL = Call(shape=SHAPE, config=APSConfig(**SETTINGS), prompt=100)
PLAIN = {"inner_steps": 0}
POOL = {"inner_steps": 0, "pool_size": 4, "pool_rollout": 4, "temperature": 50.0}  # none are equal


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 2},
        {"prompt": 200, "dtype_bytes": 2, "lora_layers": 1},
        {"lora_layers": None},
        {"lora_layers": 3, "checkpointing": True},
        {"cfg_scale": 1.5, "batch": 2},
        {**PLAIN, "prompt": 200, "batch": 3},
        {**PLAIN, "cfg_scale": 1.5},
        {**PLAIN, "prompt": 1},
        POOL,
        {**POOL, "inner_steps": 1, "batch": 2, "prompt": 200},
        {**POOL, "cfg_scale": 1.0, "batch": 2},
        # Where distributions, not layers, are the largest part of a rollout.
        {**POOL, "shape": replace(SHAPE, vocab=8000, layers=10), "pool_size": 8, "batch": 2},
    ],
)
def test_the_plan_is_what_a_real_run_takes(changes):
    call = CALL.changed(**changes)
    real, passes, memory = measure(call), count_passes(call), plan_memory(call)
    for name in ("trunk_forwards", "denoiser_forwards", "denoiser_backwards"):
        assert getattr(passes, name) == getattr(real.cost, name), name
    assert sum(count_flops(call).values()) == pytest.approx(real.flops, rel=0.002)
    assert memory.total - memory.parts["weights"] == pytest.approx(real.peak, rel=0.1)
    if call.lora is not None and not call.checkpointing:
        assert replay_saved(call, call.tokens) == pytest.approx(real.replay_saved, rel=0.005)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with smol_folder(tmp_path_factory.mktemp("smol")) as found:
        yield found


@pytest.mark.parametrize(
    "settings",
    [
        {"inner_steps": 0, "steps": 8},  # blocks of its own length: fewer logits
        {"inner_steps": 0, "block_length": 16},
        {"inner_steps": 2, "cfg_scale": 1.0},
        {"inner_steps": 1, "pool_size": 4, "pool_rollout": 3, "temperature": 50.0},
        {"inner_steps": 1, "lora_layers": None},
        {"inner_steps": 0, "steps": 16, "block_length": 1},
        {
            "inner_steps": 0,
            "pool_size": 4,
            "pool_rollout": 16,
            "block_length": 1,
            "temperature": 50.0,
        },
        {
            "inner_steps": 1,
            "pool_size": 4,
            "pool_rollout": 5,
            "block_length": 2,
            "temperature": 50.0,
        },
    ],
)
def test_a_folder_of_smol_is_planned_as_a_call_of_it_costs(folder, settings):
    model, shape = load(folder), find_shape(str(folder))
    assert shape.parameters == sum(p.numel() for p in model.parts.model.parameters())
    assert (shape.limit, shape.new_tokens) == (model.context, model.max_new_tokens)
    assert shape.block_length == model.block_length == 4
    endless = {"eos_penalty": 1e4, "gradient_gate": 0.0, "trust_region": 1e9}  # as planned
    config = APSConfig(
        **{"steps": 4, "max_new_tokens": 16, "pool_size": 1, "lora_layers": 1, **settings}
    )
    own = endless if config.sampler.fit else {"eos_penalty": 1e4}
    with FlopCounter() as counter:
        output = APSPipeline(model)(
            QUESTIONS[0], config=config.replace(**own), method="aps", reward=untied, seeds=[0]
        )
    call = Call(shape=shape, config=config, prompt=len(model.encode(QUESTIONS[0])))
    passes = count_passes(call)
    assert call.block_length == settings.get("block_length", 4)
    assert output.cost.trunk_forwards == passes.trunk_forwards + passes.unconditional
    planned = sum(count_flops(call).values())
    if call.keeps_text and call.pool > 1:  # an answer of the pool may be known to further columns
        assert 0.85 * planned < counter.total <= planned * (1 + 1e-9)
    else:
        assert planned == pytest.approx(counter.total, rel=1e-9)


def untied(prompts, completions, **columns):
    """Equal rewards would have no gradient, and the pass back would be left out."""
    return [crc32(text.encode()) / 2**32 for text in completions]


def test_the_kept_prompt_saves_operations_of_the_trunk_alone():
    other = replace(SHAPE, causal_prompt=False)
    long, plain = CALL.changed(**PLAIN, prompt=200), CALL.changed(**PLAIN, prompt=200, shape=other)
    kept, whole = count_flops(long), count_flops(plain)
    assert {part for part in kept if kept[part] != whole[part]} == {"trunk"}
    assert kept["trunk"] < 0.5 * whole["trunk"]
    first = plan_memory(long.changed(steps=1)).parts["prompt"]
    assert first == 199 * (2 * 3 * 48 + 96) * 4
    assert count_flops(long.changed(steps=1)) == count_flops(plain.changed(steps=1))


@pytest.mark.parametrize("changes", [{"lora_layers": None}, {"prompt": 1}, {"prompt": 0}])
def test_nothing_is_kept_without_a_trunk_or_a_prompt(changes):
    call = CALL.changed(**changes)
    assert call.kept_prompt == plan_memory(call).parts["prompt"] == 0
    assert count_flops(call) == count_flops(call.changed(shape=replace(SHAPE, causal_prompt=False)))


@pytest.mark.parametrize("bits", [4, 8])
def test_smol_is_neither_planned_nor_proposed_in_8_or_4_bit(bits, capsys):
    assert main(["plan", "--model", "smol", f"--load-in-{bits}bit"]) == 2
    assert f"leave out --load-in-{bits}bit, or use --dtype bfloat16" in capsys.readouterr().err
    found = plan(Call(shape=find_shape("smol"), batch=4), "1GB")
    assert found.changes
    assert not any("bit" in change.what for change in found.changes)


@pytest.mark.parametrize(
    ("flags", "pool", "fits"),
    [
        ([], 5, False),
        (["--preset", "fast"], 3, False),
        (["--pool-size", "2"], 2, False),
        (["--lora-rank", "2"], 5, True),
        (["--pool-size", "none"], 1, True),
    ],
)
def test_a_folders_own_settings_are_planned_by_preset(folder, tmp_path, capsys, flags, pool, fits):
    root = tmp_path / "own"
    shutil.copytree(folder, root)
    aps = json.loads((root / "aps.json").read_text())
    presets = {"balanced": {"inner_steps": 0, "pool_size": 5, "pool_interval": 2}}
    presets["fast"] = {"pool_size": 3, "pool_rollout": 2, "guidance_start": 0.0}
    aps["settings"] = {"steps": 4, "presets": presets}
    (root / "aps.json").write_text(json.dumps(aps))
    assert main(["plan", "--model", str(root), "--reward", "none", "--json", *flags]) == 0
    planned = json.loads(capsys.readouterr().out)
    model = load(root)
    options = {
        flag[2:].replace("-", "_"): value
        for flag, value in zip(flags[::2], flags[1::2], strict=True)
    }
    typed = {k: None if v == "none" else int(v) for k, v in options.items() if k != "preset"}
    config = config_for(model.settings, options.get("preset"), **typed)
    assert (config.sampler.pool_size or 1, config.sampler.fit is not None) == (pool, fits)
    call = Call(shape=find_shape(str(root)), config=config)
    assert planned["passes"]["trunk_forwards"] == count_passes(call).trunk_forwards
