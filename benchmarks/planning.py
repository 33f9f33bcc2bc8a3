"""Compares the plan of `aps plan` with real runs on random weights.

    python benchmarks/planning.py [--big]

Prints planned / measured for the call's operations, the bytes that a replay keeps for its backward
pass, and the peak of all tensors the call made, with the largest errors at the end. `--big` adds
sizes up to half a billion parameters (minutes, about 8 GB).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from measured import measure

from aps_text import APSConfig
from aps_text.planning.call import Call, PlannedReward
from aps_text.planning.flops import count_flops
from aps_text.planning.memory import plan_memory, replay_saved
from aps_text.planning.shape import PRESETS


def qwen(layers, hidden, heads, kv_heads, ffn, vocab):
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "head_dim": hidden // heads}
    return replace(
        PRESETS["dream-7b"], name="qwen2", kv_heads=kv_heads, ffn=ffn, vocab=vocab, **sizes
    )


def bert(layers, hidden, heads, ffn, vocab):
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "head_dim": hidden // heads}
    return replace(PRESETS["bert-base"], name="bert", kv_heads=heads, ffn=ffn, vocab=vocab, **sizes)


TINY = [qwen(4, 96, 4, 2, 256, 1501), bert(4, 96, 4, 320, 1203)]
SMALL = [qwen(6, 320, 5, 1, 1280, 8192), bert(6, 384, 12, 1536, 8192)]
BIG = [
    qwen(12, 768, 12, 2, 3072, 32000),  # about 0.14 B
    bert(12, 768, 12, 3072, 30522),  # BERT base
    qwen(24, 896, 14, 2, 4864, 151936),  # Qwen2.5-0.5B, head untied: 0.63 B
]


ENCODER = PlannedReward(shape=replace(TINY[1], token_head=False), dtype_bytes=4)
CHAT = PlannedReward(
    shape=replace(TINY[0], qk_norm=True, attention_bias=False, tied=True, token_head=False),
    frame=20,
    dtype_bytes=4,
)
CALLS = {  # as they are printed, and what differs from CALL
    "32 bit +bert": {"reward": ENCODER},
    "32 bit": {"batch": 4, "max_new_tokens": 64},
    "32 bit +llama": {"batch": 1, "prompt": 100, "lora_layers": None, "reward": CHAT},
    "16 bit": {"dtype_bytes": 2, "lora_rank": 24},
    "32 bit checkpointed": {"carry_over": False, "checkpointing": True},
    "32 bit logits +bert": {"adapter": "logits", "reward": ENCODER},
    "32 bit rloo +llama": {"estimator": "rloo", "num_samples": 6, "reward": CHAT},
    "32 bit entropy +llama": {"relaxation": "entropy", "reward": CHAT},
    "32 bit cfg 1.5": {"cfg_scale": 1.5},
    "32 bit no phi pool 4": {"inner_steps": 0, "pool_size": 4, "top_p": 0.9},
    "32 bit no phi pool 16 +llama": {
        "inner_steps": 0,
        "pool_size": 16,
        "top_p": 0.9,
        "reward": CHAT,
    },
    "32 bit no phi pool 16 top_p 1": {"inner_steps": 0, "pool_size": 16},
    "32 bit pool 16 +bert": {"inner_steps": 1, "pool_size": 16, "reward": ENCODER},
    "32 bit 8 rollouts, hot +bert": {  # at 50 no two are equal: equal ones would share a forward
        "inner_steps": 1,
        "pool_size": 8,
        "pool_rollout": 4,
        "temperature": 50.0,
        "reward": ENCODER,
    },
}
WHOLE = {"batch": 1, "max_new_tokens": 100, "prompt": 60, "lora_layers": None}
SETTINGS = {"max_new_tokens": 32, "steps": 4, "inner_steps": 2, "lora_layers": 2}
SETTINGS |= {"pool_size": 1, "pool_rollout": 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true")
    args = parser.parse_args()
    jobs = []
    for shape in TINY + SMALL + (BIG if args.big else []):
        call = Call(shape=shape, config=APSConfig(**SETTINGS), prompt=16, batch=2, dtype_bytes=4)
        calls = CALLS
        if shape in SMALL:
            call = call.changed(steps=3)
        if shape in BIG:
            call = call.changed(steps=2, inner_steps=1, lora_layers=4)
            calls = {"32 bit": {}, "32 bit all layers": WHOLE}
        jobs += [(words, call.changed(**settings)) for words, settings in calls.items()]
    head = f"{'model':<6}{'params':>9}{'B':>3}{'P+L':>9}{'n':>4}{'r':>4}  {'call':<32}"
    print(head + f"{'flops':>8}{'saved':>8}{'peak':>8}   worst moment", flush=True)
    worst = {"flops": 0.0, "saved": 0.0, "peak": 0.0}
    for words, call in jobs:
        began, shape, rank = time.perf_counter(), call.shape, call.lora.rank if call.lora else 0
        real, memory = measure(call), plan_memory(call)
        made = memory.total - memory.parts["weights"] - memory.parts["reward weights"]
        ratio = {
            "flops": sum(count_flops(call).values()) / real.flops,
            "peak": made / real.peak,
        }
        if call.lora is not None and not call.checkpointing:
            ratio["saved"] = replay_saved(call, call.tokens) / real.replay_saved
        for name, value in ratio.items():
            worst[name] = max(worst[name], abs(value - 1))
        print(
            f"{shape.name:<6}{shape.parameters / 1e6:>8.1f}M{call.batch:>3}"
            f"{f'{call.prompt}+{call.tokens}':>9}{call.layers:>4}{rank:>4}  "
            f"{words:<32}"
            + "".join(
                f"{ratio[name]:>8.3f}" if name in ratio else f"{'-':>8}"
                for name in ("flops", "saved", "peak")
            )
            + f"   {memory.moment:<10} {time.perf_counter() - began:5.1f} s",
            flush=True,
        )
    for name, error in worst.items():
        print(f"worst error of {name:<6} {error:6.1%}   (goal <= 10%)")


if __name__ == "__main__":
    main()
