"""The plan of `aps plan` beside what real runs of random weights take.

    python benchmarks/planning.py [--big]

Prints planned / measured of the whole call's operations, of the bytes a replay keeps for its
backward, and of the peak of all tensors the call made, with the worst errors at the end. `--big`
adds sizes up to half a billion parameters (minutes, about 8 GB).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from aps_text.planning.call import Call, RewardCall
from aps_text.planning.flops import count_flops
from aps_text.planning.measure import measure
from aps_text.planning.memory import plan_memory
from aps_text.planning.saved import replay_saved
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true")
    args = parser.parse_args()
    call = Call(prompt=16, tokens=32, batch=2, steps=4, inner_steps=2, lora_layers=2, dtype_bytes=4)
    jobs = []
    for shape in TINY + SMALL:
        reward = RewardCall(shape=replace(TINY[1], token_head=False), dtype_bytes=4)
        chat = RewardCall(
            shape=replace(TINY[0], qk_norm=True, attention_bias=False, tied=True, token_head=False),
            frame=20,
            dtype_bytes=4,
        )
        small = {"steps": 3} if shape in SMALL else {}
        jobs += [
            (shape, replace(call, **small), reward),
            (shape, replace(call, batch=4, tokens=64, **small), None),
            (shape, replace(call, batch=1, prompt=100, lora_layers=None, **small), chat),
            (shape, replace(call, dtype_bytes=2, lora_rank=24, **small), None),
            (shape, replace(call, carry_over=False, checkpointing=True, **small), None),
            (shape, replace(call, adapter="logits", **small), reward),
            (shape, replace(call, estimator="rloo", num_samples=6, **small), chat),
            (shape, replace(call, inner_steps=0, pool_size=4, **small), None),
            (shape, replace(call, inner_steps=0, pool_size=16, **small), chat),
            (shape, replace(call, inner_steps=1, pool_size=16, **small), reward),
        ]
    if args.big:
        call = replace(call, steps=2, inner_steps=1, lora_layers=4)
        for shape in BIG:
            jobs += [
                (shape, call, None),
                (shape, replace(call, batch=1, tokens=100, prompt=60, lora_layers=None), None),
            ]
    head = f"{'model':<6}{'params':>9}{'B':>3}{'P+L':>9}{'n':>4}{'r':>4}  {'call':<28}"
    print(head + f"{'flops':>8}{'saved':>8}{'peak':>8}   worst moment", flush=True)
    worst = {"flops": 0.0, "saved": 0.0, "peak": 0.0}
    for shape, call, reward in jobs:
        began = time.perf_counter()
        real = measure(shape, call, reward)
        memory = plan_memory(shape, call, reward)
        made = memory.total - memory.parts["weights"] - memory.parts["reward weights"]
        ratio = {
            "flops": sum(count_flops(shape, call, reward).values()) / real.flops,
            "peak": made / real.peak,
        }
        if real.replay_saved and call.inner_steps and not call.checkpointing:
            ratio["saved"] = replay_saved(shape, call, call.tokens) / real.replay_saved
        for name, value in ratio.items():
            worst[name] = max(worst[name], abs(value - 1))
        words = [f"{8 * call.dtype_bytes} bit"]
        words += ["checkpointed"] if call.checkpointing else []
        words += ["logits"] if call.adapter == "logits" else []
        words += [call.estimator] if call.estimator != "relaxed" else []
        words += ["no phi"] if not call.inner_steps else []
        words += [f"pool {call.pool_size}"] if call.pool_size > 1 else []
        words += [f"+{reward.shape.layout}"] if reward else []
        print(
            f"{shape.name:<6}{shape.parameters / 1e6:>8.1f}M{call.batch:>3}"
            f"{f'{call.prompt}+{call.tokens}':>9}{call.adapted(shape):>4}{call.lora_rank:>4}  "
            f"{' '.join(words):<28}"
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
