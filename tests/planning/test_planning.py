"""The plan beside what real runs of random weights take: passes exactly, the rest within 10%."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import pytest
import torch
from aps_eval.run.flops import CPU_ATTENTION
from measured import Setting, measure, random_model
from paths import ROOT
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from aps_text import APSConfig
from aps_text.cli import main
from aps_text.models.registry import LAYOUTS, load
from aps_text.pipelines.image_model import embedded_image_models
from aps_text.planning.call import Call, PlannedReward
from aps_text.planning.flops import count_flops, count_passes
from aps_text.planning.gpus import GPUS, call_seconds, find_gpu, usable_bytes
from aps_text.planning.memory import plan_memory, replay_saved, weights_bytes
from aps_text.planning.report import plan
from aps_text.planning.shape import PRESETS, find_shape, from_config

TINY = {"layers": 4, "hidden": 96, "heads": 4, "head_dim": 24}
QWEN = replace(PRESETS["dream-7b"], name="qwen2-like", kv_heads=2, ffn=256, vocab=1501, **TINY)
BERT = replace(PRESETS["bert-base"], name="bert-like", kv_heads=4, ffn=320, vocab=1203, **TINY)
MODERN = replace(
    BERT, name="modernbert-like", layout="modernbert", attention_bias=False, ffn=160, layers=5
)
ENCODER = PlannedReward(
    shape=replace(BERT, layers=2, hidden=64, head_dim=16, token_head=False), dtype_bytes=4
)
CHAT = PlannedReward(
    shape=replace(QWEN, layers=2, qk_norm=True, tied=True, attention_bias=False, token_head=False),
    frame=21,
    dtype_bytes=4,
)
LARGE = replace(QWEN, vocab=40_000)  # where tokens are found by blocks
SETTINGS = {
    "max_new_tokens": 32,
    "steps": 4,
    "inner_steps": 2,
    "pool_size": 1,
    "pool_rollout": 1,
    "lora_layers": 2,
}


CALL = Call(shape=QWEN, config=APSConfig(**SETTINGS), prompt=15, batch=2, dtype_bytes=4)
DREAM = Call(shape=PRESETS["dream-7b"])
SKYWORK = PlannedReward(shape=PRESETS["skywork-0.6b"], frame=84)
POOL = {"inner_steps": 0, "pool_size": 4}
HOT = {"temperature": 50.0}  # no two rollouts are equal


def close(planned, measured, tolerance=0.1):
    assert planned == pytest.approx(measured, rel=tolerance)


@pytest.mark.parametrize(
    ("shape", "changes", "reward"),
    [
        (QWEN, {}, CHAT),
        (QWEN, {"dtype_bytes": 2, "batch": 3, "max_new_tokens": 50}, None),
        (QWEN, {"carry_over": False, "lora_layers": 4, "checkpointing": True}, None),
        (replace(QWEN, kv_heads=1, ffn=768), {"batch": 1, "prompt": 50}, None),
        (QWEN, {"inner_steps": 1}, None),
        (QWEN, {"adapter": "logits"}, ENCODER),
        (QWEN, {"adapter": "logits", "inner_steps": 1}, None),
        (BERT, {"adapter": "logits", "inner_steps": 1}, ENCODER),
        (QWEN, {"estimator": "rloo", "num_samples": 6}, CHAT),
        (BERT, {}, ENCODER),
        (BERT, {"inner_steps": 1}, ENCODER),
        (BERT, {"dtype_bytes": 2, "batch": 4, "lora_rank": 24, "lora_layers": 3}, None),
        (BERT, {"steps": 8, "schedule": "cosine", "prompt": 40}, None),
        (QWEN, {"cfg_scale": 1.5}, CHAT),
        (MODERN, {}, ENCODER),
        (MODERN, {"batch": 1, "dtype_bytes": 2, "lora_layers": 1}, None),
        (MODERN, {"lora_layers": 4, "checkpointing": True, "lora_rank": 16}, None),
        (BERT, {"cfg_scale": 1.5, "lora_layers": 1}, None),
        (QWEN, {"cfg_scale": 0.5, "adapter": "logits"}, ENCODER),
        (QWEN, {"steps": 8, "guidance_start": 0.25, "guidance_end": 0.75}, CHAT),
        (BERT, {"steps": 8, "guidance_interval": 3, "block_length": 8}, ENCODER),
        (QWEN, {"inner_steps": 0, "block_length": 8, "steps": 8}, None),
        (QWEN, {"inner_steps": 0, "cfg_scale": 2.0, "schedule": "cosine"}, None),
        (QWEN, {**POOL, "pool_size": 2, "batch": 1}, None),
        (QWEN, {**POOL, "dtype_bytes": 2, "batch": 3}, CHAT),
        (QWEN, {**POOL, "adapter": "logits", "cfg_scale": 1.5}, CHAT),
        (QWEN, {**POOL, "steps": 8, "guidance_start": 0.25, "guidance_end": 0.75}, CHAT),
        (BERT, {**POOL, "pool_size": 64}, ENCODER),
        (BERT, {**POOL, "pool_size": 512, "max_new_tokens": 100}, None),
        (BERT, {**POOL, "pool_size": 1024, "max_new_tokens": 100, "guidance_start": 0.75}, None),
        (BERT, {**POOL, "steps": 8, "guidance_interval": 3, "block_length": 8}, ENCODER),
        (MODERN, POOL, ENCODER),
        (QWEN, {"inner_steps": 1, "pool_size": 4}, CHAT),
        (BERT, {"inner_steps": 2, "pool_size": 16}, CHAT),
        (QWEN, {"adapter": "logits", "pool_size": 32}, CHAT),
        (QWEN, {"inner_steps": 1, "pool_size": 8, "estimator": "rloo"}, CHAT),
        (BERT, {"pool_size": 32, "steps": 8, "guidance_end": 0.5}, ENCODER),
        (BERT, {"adapter": "logits", "pool_size": 8, "estimator": "rloo"}, ENCODER),
        (QWEN, {"relaxation": "entropy", "top_p": 0.9}, CHAT),
        (BERT, {"relaxation": "entropy", "prior": "overlap"}, ENCODER),
        (BERT, {"relaxation": "quantized", "quantizer": "nearest", "bridge": "zero"}, ENCODER),
        (QWEN, {"relaxation": "gumbel", "inner_steps": 3}, ENCODER),
        (QWEN, {"estimator": "remax", "num_samples": 3, "top_k": 5}, CHAT),
        (BERT, {"bridge": "rloo", "num_samples": 4}, CHAT),
        (QWEN, {**POOL, "pool_size": 16, "top_p": 0.9}, None),
        (QWEN, {"pool_size": 16, "top_p": 0.9, "reveal_rule": "dream", "steps": 8}, None),
        (BERT, {"remask": True, "temperature": 0.0}, ENCODER),
        (QWEN, {"adapter": "codes"}, ENCODER),
        (LARGE, {**POOL, "pool_size": 16}, None),
        (QWEN, {**POOL, "pool_size": 6, **HOT, "pool_rollout": 3}, CHAT),
        (BERT, {**POOL, "pool_size": 16, **HOT, "pool_rollout": 4}, None),
        (BERT, {"pool_size": 4, **HOT, "pool_rollout": 2, "guidance_start": 0.5}, ENCODER),
        (QWEN, {**POOL, **HOT, "pool_rollout": 4, "cfg_scale": 1.0, "batch": 1}, None),
        (LARGE, {"relaxation": "entropy", "batch": 1, "steps": 2, "inner_steps": 1}, ENCODER),
    ],
)
def test_the_plan_is_what_a_real_run_takes(shape, changes, reward):
    call = CALL.changed(shape=shape, reward=reward, **changes)
    real, passes = measure(call), count_passes(call)
    names = ["trunk_forwards", "denoiser_forwards", "denoiser_backwards"]
    names += ["reward_forwards", "reward_backwards"] if reward else []
    for name in names:
        assert getattr(passes, name) == getattr(real.cost, name), name
    close(sum(count_flops(call).values()), real.flops)
    memory = plan_memory(call)
    made = memory.total - memory.parts["weights"] - memory.parts["reward weights"]
    close(made, real.peak)
    if call.lora is not None and not call.checkpointing:
        close(replay_saved(call, call.tokens), real.replay_saved)


@pytest.mark.parametrize(
    "changes", [{"inner_steps": 1, "threshold": 0.3}, {**POOL, "pool_rollout": 3}]
)
def test_a_threshold_and_equal_rollouts_take_at_most_what_is_planned(changes):
    call = CALL.changed(steps=8, **changes)
    real, planned = measure(call), count_passes(call)
    assert real.cost.trunk_forwards < planned.trunk_forwards
    assert real.flops < sum(count_flops(call).values())
    memory = plan_memory(call)
    assert real.peak < 1.1 * (memory.total - memory.parts["weights"])


def test_each_side_of_guidance_by_the_prompt_is_planned():
    plain, guided = CALL, CALL.changed(cfg_scale=1.0)
    more = count_passes(guided).unconditional
    assert (count_passes(plain).unconditional, more) == (0, 2 * 4)
    assert count_passes(guided).trunk_forwards == count_passes(plain).trunk_forwards
    parts = count_flops(CALL.changed(inner_steps=0, cfg_scale=1.0))
    assert parts["without prompt"] == pytest.approx(
        parts["trunk"] + parts["replays"] + parts["head"]
    )


def test_steps_outside_of_the_window_are_planned_unsteered():
    call = CALL.changed(steps=8, guidance_start=0.25, guidance_end=0.75)
    guided = [step.guided for step in call.steps]
    assert guided == [False, False, True, True, True, True, False, False]
    assert count_passes(call).denoiser_backwards == 2 * 4 * call.inner_steps
    block = call.changed(block_length=8)
    assert [step.asked for step in block.steps][:3] == [8, 4, 24]


def test_a_pool_adds_rewards_and_nothing_else_of_the_passes():
    call = replace(CALL, reward=CHAT)
    plain, pool = (count_passes(call.changed(**how)) for how in ({"inner_steps": 0}, POOL))
    assert pool == replace(plain, reward_forwards=2 * (4 + 3 * 3), guided=4)
    fitted, both = count_passes(call), count_passes(call.changed(pool_size=4))
    assert both == replace(fitted, reward_forwards=fitted.reward_forwards + 2 * (4 + 3 * 3))
    unrewarded = count_passes(CALL.changed(**POOL))
    assert unrewarded == replace(plain, guided=4)
    pooled = DREAM.changed(reward=SKYWORK, inner_steps=0)
    times = [call_seconds(pooled.changed(pool_size=n), [GPUS["h100"]])["h100"] for n in (1, 4, 64)]
    assert times == sorted(set(times))


def test_a_smaller_pool_is_proposed_before_fewer_layers():
    pool = DREAM.changed(
        reward=PlannedReward(shape=PRESETS["skywork-4b"], frame=84),
        inner_steps=0,
        pool_size=4096,
        pool_rollout=1,
    )
    changes = [change.what for change in plan(pool, "24GB").changes]
    assert changes[0].startswith("--pool-size")
    assert not any("layers" in what or "adapter" in what for what in changes)
    smallest = plan(pool.changed(pool_size=4), "1GB").changes
    assert "--pool-size 1" not in [change.what for change in smallest]


def test_operations_are_those_of_torchs_own_counter():
    call = CALL.changed(steps=2, inner_steps=1)
    counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
    with counter:
        Setting(call).run()
    assert measure(call).flops == counter.get_total_flops()


@pytest.mark.parametrize("shape", [QWEN, replace(QWEN, kv_heads=1), BERT])
def test_nothing_padded_keeps_no_mask_and_no_copies_of_grouped_keys(shape):
    call = replace(CALL, shape=shape, batch=1)
    close(replay_saved(call, call.tokens), Setting(call).replay_saved(), 0.01)
    assert replay_saved(replace(call, batch=2), 8) > 2 * replay_saved(call, 8)


@pytest.mark.parametrize(
    "shape", [QWEN, BERT, MODERN, CHAT.shape, replace(QWEN, attention_bias=True)]
)
def test_parameters_are_counted_exactly(shape):
    model = random_model(shape)
    assert shape.parameters == sum(p.numel() for p in model.parameters())


def test_published_sizes():
    published = {"dream-7b": 7_615_616_512, "llada-8b": 8_015_581_184, "qwen3-0.6b": 596_049_920}
    published["bert-base"] = 109_514_298
    for name, parameters in published.items():
        assert PRESETS[name].parameters == parameters
    assert find_shape("Dream-org/Dream-v0-Instruct-7B") == find_shape("dream-7b")
    recommended = "dllm-hub/Qwen3-0.6B-diffusion-mdlm-v0.1"
    assert find_shape(recommended) == find_shape("qwen3-0.6b")
    eight, four = (weights_bytes(PRESETS["dream-7b"], 2, bits) for bits in (8, 4))
    assert four < eight < weights_bytes(PRESETS["dream-7b"], 2)


@pytest.mark.parametrize(
    ("tokens", "steps", "masks"), [(8, 8, [8, 7, 6, 5, 4, 3, 2, 1]), (8, 2, [8, 4]), (4, 10, None)]
)
def test_masks_fall_to_nothing_and_sum_as_revealed(tokens, steps, masks):
    call = CALL.changed(max_new_tokens=tokens, steps=steps)
    found = [step.masks for step in call.steps]
    assert found == (masks or [4, 3, 2, 1])


@pytest.mark.parametrize("rule", ["exact", "dream"])
def test_a_rollout_of_m_masks_is_planned_with_at_most_m_steps(rule):
    """Its first costs nothing, also where Dream's counts would reveal nothing at it."""
    call = CALL.changed(
        max_new_tokens=3, steps=1, **POOL, pool_rollout=16, reveal_rule=rule, temperature=1.0
    )
    assert [(answers, step.masks) for answers, step in call.rollouts] == [(4, 2), (4, 1)]


@pytest.mark.parametrize("kind", ["qwen2", "Dream", "bert", "modernbert"])
def test_sizes_are_read_from_a_config(kind, tmp_path):
    shape = {"bert": BERT, "modernbert": MODERN}.get(kind, QWEN)
    config = {
        "model_type": kind,
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.context,
        "vocab_size": shape.vocab,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert find_shape(str(tmp_path)).parameters == shape.parameters
    for stored in (torch.float32, torch.bfloat16):  # as it is loaded where nothing is stated
        tensors = {"ids": torch.arange(2), "w": torch.zeros(2, dtype=stored)}
        save_file(tensors, tmp_path / "model.safetensors")
        assert find_shape(str(tmp_path)).stored_bytes == stored.itemsize
    del config["hidden_size"]
    with pytest.raises(ValueError, match="lacks 'hidden_size'"):
        from_config(config)


def test_context_and_precision_are_those_the_model_is_loaded_with(capsys):
    real = load("mini")
    shape = find_shape("mini")
    assert shape.limit == real.context
    assert shape.stored_bytes == next(real.parts.model.parameters()).element_size()
    assert PRESETS["dream-7b"].stored_bytes == 2
    assert main(["plan", "--model", "mini", "--tokens", "24"]) == 0
    assert "32-bit numbers" in capsys.readouterr().out
    assert main(["plan", "--model", "mini", "--tokens", "24", "--dtype", "bfloat16"]) == 0
    assert "16-bit numbers" in capsys.readouterr().out
    assert main(["plan", "--model", "mini", "--tokens", "100"]) == 2
    assert f"context of {real.context}" in capsys.readouterr().err


def test_lladas_own_names_are_read():
    config = {
        "model_type": "llada",
        "n_layers": 32,
        "d_model": 4096,
        "n_heads": 32,
        "n_kv_heads": 32,
        "mlp_hidden_size": 12288,
        "max_sequence_length": 4096,
        "embedding_size": 126464,
        "weight_tying": False,
    }
    assert from_config(config).parameters == PRESETS["llada-8b"].parameters


def test_a_plan_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    plan_memory(CALL.changed(reward=CHAT, max_new_tokens=30))
    assert torch.equal(before, torch.get_rng_state())


def test_suggestions_are_planned_and_end_when_it_fits():
    call = DREAM.changed(reward=SKYWORK, batch=16, lora_layers=None)
    found = plan(call, "24GB")
    assert found.fits is False
    assert found.changes[-1].fits
    assert not any(change.fits for change in found.changes[:-1])
    totals = [found.memory.total / 2**30, *(change.total for change in found.changes)]
    assert totals == sorted(totals, reverse=True)
    first = found.changes[0]
    assert first.what.startswith("--batch")
    again = plan_memory(replace(call, batch=int(first.what.split()[1])))
    assert first.total == pytest.approx(again.total / 2**30)
    assert first.alone == pytest.approx(totals[0] - first.total)
    assert plan(call, "500GB").changes == []


def test_changes_no_longer_needed_are_taken_back():
    reward = PlannedReward(shape=PRESETS["skywork-4b"], frame=84)
    found = plan(DREAM.changed(reward=reward, lora_layers=None), "24GB")
    assert [change.what for change in found.changes] == ["--load-in-8bit"]
    small = plan(DREAM.changed(batch=2), "6GB")
    assert len(small.changes) > 2
    assert not any(change.fits for change in small.changes)


def test_a_faster_gpu_is_estimated_faster():
    times = call_seconds(DREAM.changed(batch=4), GPUS.values())
    assert min(times, key=times.__getitem__) == "h100"
    assert times["rtx-4090"] < times["rtx-3090"]
    assert usable_bytes(24) < 24 * 2**30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "gpt-9"], "no shape for 'gpt-9'"),
        (["--model", "dream-7b", "--gpu", "huge"], "no GPU 'huge'"),
        (["--model", "dream-7b", "--lora-layers", "40"], "lora_layers=40, but Dream-7B has 28"),
        (["--model", "dream-7b", "--lora-layers", "some"], "lora_layers is an integer, got 'some'"),
        (["--model", "dream-7b", "--tokens", "4000"], "context of 2048"),
        (["--model", "dream-7b", "--batch", "0"], "batch must be >= 1 and <= 1e+06, got 0"),
        (["--model", "dream-7b", "--steps", "0"], "steps must be >= 1 and <= 1e+06, got 0"),
        (
            ["--model", "dream-7b", "--cfg-scale", "-1"],
            "cfg_scale must be >= 0 and <= 1e+09, got -1",
        ),
        (
            ["--model", "dream-7b", "--block-length", "0"],
            "block_length must be >= 1 and <= 1e+06, got 0",
        ),
        (["--model", "dream-7b", "--threshold", "2"], r"threshold must be > 0 and <= 1, got 2"),
        (
            ["--model", "dream-7b", "--guidance-end", "1.5"],
            "guidance_end must be >= 0 and <= 1, got 1.5",
        ),
        (["--model", "dream-7b", "--guidance-start", "1"], "no step is steered"),
        (["--model", "dream-7b", "--pool-size", "0"], "pool_size must be >= 1"),
        (
            ["--model", "bert-base", "--inner-steps=0", "--pool-size=4", "--guidance-start=1"],
            "or plan inner_steps=0, no pool",
        ),
        (["--model", "dream-7b", "--reward", "gpt-9"], "no shape for 'gpt-9'"),
        (["--model", "dream-7b", "--load-in-4bit", "--load-in-8bit"], "not both"),
    ],
)
def test_errors_name_the_value(options, message, capsys):
    assert main(["plan", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["mini"], ["mini", "--reward", "relevance"], ["mmada", "--image", "256"]]
)
def test_a_small_model_is_shown_in_units_of_its_size(options, capsys):
    assert main(["plan", "--model", *options]) == 0
    shown = capsys.readouterr().out
    amounts = re.findall(r"([\d.]+) ([kMGT]?FLOP|[KMGT]?i?B)\b", shown)
    assert len(amounts) > 6
    for number, unit in amounts:
        assert float(number) >= 1 or unit in ("FLOP", "B"), (number, unit)
        digits = len(number.replace(".", ""))
        assert digits >= 3 or unit in ("FLOP", "B"), (number, unit)
    if options[0] == "mini":
        assert "15.7 M parameters" in shown
        assert "MFLOP" in shown
        assert "MiB" in shown
    seconds = re.findall(r"  [\w-]+ +([\d.]+)(?: +[\d.]+ an answer)?$", shown, re.M)
    assert seconds
    assert all(float(one) > 0 for one in seconds)


def test_the_command_shows_parts_and_changes(capsys):
    options = ["plan", "--model", "llada-8b", "--batch", "8", "--reward", "relevance"]
    options += ["--pool-size", "16", "--pool-rollout", "1"]
    assert main([*options, "--gpu", "24GB"]) == 0
    shown = capsys.readouterr().out
    for word in ("peak memory", "vocabulary", "TFLOP", "does NOT fit", "saves alone", "--batch"):
        assert word in shown
    assert main([*options, "--gpu", "a100-80", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"] is True
    assert set(found["estimated_seconds"]) == {"a100-80"}
    parts = {key: value for key, value in found["memory_bytes"].items() if key != "total"}
    assert sum(parts.values()) == pytest.approx(found["memory_bytes"]["total"])


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--inner-steps", "0", "--pool-size", "1"], "M=0, plain\n"),
        (
            ["--inner-steps", "0", "--pool-size", "16"],
            "M=0, pool of 16 answers, each drawn in 4 steps\n",
        ),
        (["--preset", "fast"], "M=0, pool of 16 answers\n"),
        ([], "M=1, LoRA rank 8 on 2 of 28 layers, pool of 8 answers, each drawn in 4 steps\n"),
        (["--adapter", "logits", "--pool-size", "1"], "M=1, phi = logits\n"),
    ],
)
def test_the_command_says_what_steers(options, shown, capsys):
    assert main(["plan", "--model", "dream-7b", *options]) == 0
    printed = capsys.readouterr().out
    assert shown in printed
    rolls = "each drawn in" in shown
    assert ("at most" in printed) == (rolls or "M=0" not in shown)
    assert ("equal answers of a pool share" in printed) == rolls


def test_gpus_by_size_and_name():
    assert find_gpu("24GB") == (24.0, None)
    assert find_gpu("A100-80")[1] is GPUS["a100-80"]


@pytest.mark.parametrize(("more", "said"), [([], True), (["--reward", "none"], False)])
def test_a_plan_says_that_it_counts_no_reward(capsys, more, said):
    args = ["plan", "--model", "mini", *more]
    assert main(args) == 0
    note = "no reward counted; name one with --reward"
    assert capsys.readouterr().out.rstrip().endswith(note) is said
    assert main([*args, "--json"]) == 0
    times, *rest = json.loads(capsys.readouterr().out)["notes"]
    assert re.fullmatch(r"at most [\d.]+ times the operations of a plain answer", times)
    assert rest == [note] * said


@pytest.mark.parametrize("reward", ["sentiment", "length:high=8=0.5", "mine.py:short=0.2"])
def test_a_reward_without_known_sizes_is_said_to_be_left_out(capsys, reward):
    assert main(["plan", "--model", "smol", "--reward", reward]) == 0
    said = f"{reward} is not counted: it is no model whose sizes are known here"
    assert capsys.readouterr().out.rstrip().endswith(said)
    assert main(["plan", "--reward", "nosuch"]) != 0
    assert "no shape for 'nosuch'" in capsys.readouterr().err


def test_a_rewards_weight_changes_nothing_of_its_plan(capsys):
    printed = []
    for spec in ("relevance", "relevance=0.5"):
        assert main(["plan", "--model", "smol", "--reward", spec]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "MiniLM" in printed[0] or "minilm" in printed[0]


def test_a_plan_says_how_many_plain_answers_it_takes(capsys):
    def notes(*options):
        assert main(["plan", "--model", "smol", *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["notes"]

    few, many = (float(notes("--pool-size", n)[0].split()[2]) for n in ("2", "8"))
    assert 1 < few < many
    assert notes("--pool-size", "1", "--inner-steps", "0") == []


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    assert "Dream-org/Dream-v0-Instruct-7B" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    dream = next(row for row in rows if row["family"] == "Dream")
    assert dream["shift"] is True
    assert 14 < dream["weights_gib"]["bf16"] < 15
    assert (dream["context"], dream["positions"]) == (2048, 131072)
    assert all(row["needs"] and row["parameters"] and row["context"] for row in rows)
    loaded = {kind.removeprefix("a2d-") for kind in LAYOUTS}
    assert loaded == {kind for row in rows for kind in row["model_types"]}
    image = {row["models"][0]: row for row in rows if "attributes" in row}
    assert set(image) == set(embedded_image_models())
    assert "bag" in image["mini-garments"]["attributes"]["class"]
    assert image["mini-portraits"]["pixels"] == [3, 64, 64]
    mini = next(row for row in rows if row["family"] == "embedded")
    real = load("mini")
    assert mini["parameters"] == sum(p.numel() for p in real.parts.model.parameters())
    assert mini["context"] == real.context


def test_the_documented_plans_are_what_the_command_prints(capsys):
    text = (ROOT / "docs" / "planning.md").read_text()
    blocks = re.findall(r"```console\n\$ aps (.*?)\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    for command, shown in blocks:
        assert main(shlex.split(command)) == 0
        assert capsys.readouterr().out == shown


def test_the_command_plans_all_answers_of_a_question_and_refuses_what_it_would_ignore(capsys):
    base = ["plan", "--model", "mini", "--preset", "fast"]

    def planned(*more):
        assert main([*base, *more]) == 0
        return capsys.readouterr().out

    assert planned("--num-return-sequences", "3") == planned("--batch", "3")
    assert planned("--num-return-sequences", "3", "--batch", "6") == planned("--batch", "6")
    assert planned("--tokens", "20", "--max-new-tokens", "20") == planned("--tokens", "20")
    for more, message in (
        (["--reward", "relevance", "--reward-prompt", "-5"], "at least 0; got -5"),
        (["--tokens", "20", "--max-new-tokens", "10"], "are the same setting; give one of them"),
    ):
        assert main([*base, *more]) == 2
        assert message in capsys.readouterr().err


def test_a_plan_at_temperature_0_draws_one_answer_a_pool(capsys):
    def forwards(*options):
        assert main(["plan", "--model", "smol", "--json", "--reward", "none", *options]) == 0
        return json.loads(capsys.readouterr().out)["passes"]["trunk_forwards"]

    small = forwards("--pool-size", "2", "--temperature", "0")
    assert (
        small == forwards("--pool-size", "8", "--temperature", "0") < forwards("--pool-size", "8")
    )


def test_a_plan_takes_one_reward_and_says_when_answers_end_early(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--reward", "relevance", "--reward", "sentiment"])
    assert "--reward is given twice" in capsys.readouterr().err
    assert main(["plan", "--tokens", "6"]) != 0
    said = capsys.readouterr().err
    assert "an answer of 6 tokens is finished before; plan a lower guidance_start" in said
    assert main(["plan", "--model", "smol", "--reward", "package.module:fn"]) == 0
