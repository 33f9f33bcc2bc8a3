"""Compares settings of APS, one change at a time, on TUNING questions only.

    python benchmarks/variants.py [--reward relevance] [--questions 40] [--model mini]
        [--try '{"learning_rate": 0.03}' ...]

Every row is the balanced preset with some settings changed (`best_of` is one): guiding reward,
token F1, words, repeated trigrams, KL per masked position and seconds, all on the same questions
and seeds. The presets were chosen from such tables.
"""

from __future__ import annotations

import argparse
import json
import time

from aps_eval.metrics import repeated_ngrams, token_f1
from aps_rewards import load_reward
from comparison import rows_of

from aps_text import APSConfig, APSPipeline
from aps_text.methods.registry import build_method
from aps_text.pipelines.text import METHODS

VARIANTS: list[dict] = [
    {},
    {"adapter": "logits"},
    {"inner_steps": 0},
    {"inner_steps": 0, "guidance_start": 0.5},
    {"inner_steps": 3},
    {"inner_steps": 3, "pool_size": 1},
    {"pool_size": 4},
    {"pool_size": 64},
    {"learning_rate": 0.003},
    {"learning_rate": 0.03},
    {"beta": 0.2},
    {"beta": 0.01},
    {"likelihood_weight": "length"},
    {"prior": "overlap"},
    {"prior": "none"},
    {"relaxation": "quantized"},
    {"relaxation": "expectation"},
    {"relaxation": "gumbel"},
    {"quantizer": "argmax"},
    {"quantizer": "nearest", "relaxation": "quantized"},
    {"estimator": "rloo"},
    {"estimator": "remax"},
    {"remasking": "standard"},
    {"remask": True},
    {"carry_over": True},
    {"lora_layers": None},
    {"lora_rank": 2},
    {"guidance_end": 0.5},
    {"guidance_interval": 2},
    {"steps": 8},
    {"steps": 24},
    {"trust_region": 1.0},
    {"trust_region": None},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reward", default="relevance")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--try", dest="tries", nargs="+", type=json.loads)
    parser.add_argument("--show", type=int, default=0, help="print this many answers a row")
    args = parser.parse_args()
    pipe = APSPipeline.from_pretrained(args.model, batch_size=16)
    reward, items = load_reward(args.reward), rows_of("tune", args.questions)
    for changes in [None, *(args.tries or VARIANTS)]:
        fields = dict(changes or {})
        options = {"best_of": fields.pop("best_of")} if "best_of" in fields else {}
        config = APSConfig.make(**fields)
        method = build_method(METHODS, "plain" if changes is None else "aps", options)
        kls: list[float] = []

        def keep(step, state, kls=kls):
            if state.kl is not None:
                kls.append(float(state.kl.mean()))

        start = time.perf_counter()
        out = pipe(
            [item.question for item in items], reward, method=method, config=config, on_step=keep
        )
        seconds = time.perf_counter() - start
        f1 = sum(token_f1(t, item.gold) for t, item in zip(out.text, items, strict=True))
        print(
            f"{'plain' if changes is None else json.dumps(changes):<55}"
            f" reward {sum(out.rewards['total']) / len(items):+.3f}  F1 {f1 / len(items):.3f}"
            f"  words {sum(len(t.split()) for t in out.text) / len(items):5.1f}"
            f"  rep-3 {repeated_ngrams(out.text):.3f}"
            f"  KL {sum(kls) / max(1, len(kls)):.2f}  {seconds:5.1f} s",
            flush=True,
        )
        for text, item in list(zip(out.text, items, strict=True))[: args.show]:
            print(f"      {item.question} -> {text}")


if __name__ == "__main__":
    main()
