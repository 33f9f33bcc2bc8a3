"""Accelerations of decoding that are not exact, and their loss; a part of `decoding.py`.

threshold   forwards against T = L, and token F1: chosen on the tuning questions, reported on
            the held-out ones (paired difference, 95% bootstrap interval)
prefix      along the exact trajectory of a plain run: KL(exact || reused) and agreement of the
            argmax at the masked positions of each step; seconds at long prompts
"""

from __future__ import annotations

import torch
from aps_eval.metrics import token_f1
from aps_eval.report.statistics import mean_interval
from aps_eval.word_knowledge import word_knowledge
from measured import random_model

from aps_text import APSConfig, APSPipeline
from aps_text.core.canvas import Canvas
from aps_text.core.noise import Noise
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
from aps_text.models.transformer import TransformerDenoiser

THRESHOLDS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
GOAL_RATIO, GOAL_LOSS = 3.0, 0.01
KEPT = (2, 4, 1000)  # steps; the last is longer than any run


def answered(pipe, items, config) -> tuple[list[float], int]:
    """Token F1 of each question, and row forwards of the call."""
    out = pipe.generate([item.question for item in items], config=config)
    scores = [token_f1(text, item.gold) for text, item in zip(out.text, items, strict=True)]
    return scores, out.cost.denoiser_forwards


def threshold_report(model: str, questions: int) -> None:
    pipe = APSPipeline.from_pretrained(model, batch_size=16)
    length = pipe.model.max_new_tokens
    # T = L: a token a step, until the answer has ended.
    base = APSConfig(steps=length, max_new_tokens=length, temperature=0.0)
    tune = word_knowledge("tune", questions)
    plain, forwards = answered(pipe, tune, base)
    f1 = sum(plain) / len(tune)
    print(f"\nthreshold, {model}, T = L = {length}, temperature 0; {len(tune)} tuning questions")
    print(f"  none   {forwards:>6} forwards          token F1 {f1:.4f}", flush=True)
    chosen = None
    for threshold in THRESHOLDS:
        scores, taken = answered(pipe, tune, base.replace(threshold=threshold))
        mean = sum(scores) / len(tune)
        print(
            f"  {threshold:<6g} {taken:>6} forwards {forwards / taken:>6.2f}x  token F1 {mean:.4f}",
            flush=True,
        )
        if chosen is None and forwards / taken >= GOAL_RATIO and mean >= f1 * (1 - GOAL_LOSS):
            chosen = threshold  # the highest that reaches the goal
    if chosen is None:
        chosen = min(THRESHOLDS)
        print(f"  none reaches {GOAL_RATIO:g}x at < {GOAL_LOSS:.0%} loss; reporting {chosen:g}")
    test = word_knowledge("test", questions)
    plain, forwards = answered(pipe, test, base)
    scores, taken = answered(pipe, test, base.replace(threshold=chosen))
    f1, mean = sum(plain) / len(test), sum(scores) / len(test)
    difference = mean_interval([a - b for a, b in zip(scores, plain, strict=True)])
    print(
        f"  held out ({len(test)}): threshold {chosen:g} takes {taken} of {forwards} forwards, "
        f"{forwards / taken:.2f}x fewer; token F1 {mean:.4f} against {f1:.4f}, difference "
        f"{difference}, {(mean - f1) / f1:+.2%}",
        flush=True,
    )


def along(exact, reused: dict, canvas, steps: int) -> dict:
    """By name `(steps, 3)`: mean and largest KL in nats, and argmax agreement, at each step's masks
    of a plain run."""
    config = APSConfig(steps=steps, temperature=0.0)
    states = run(
        Ancestral(), exact, ZeroOperator(), canvas, config, noise_of(canvas), keep_trajectory=True
    ).trajectory
    found, z = {name: [] for name in reused}, canvas.z
    for state in states:
        where = tuple((z == exact.mask_id).nonzero().unbind(-1))
        with torch.no_grad():
            want = exact.logits(exact.trunk(z), where).log_softmax(-1)
            for name, denoiser in reused.items():
                got = denoiser.logits(denoiser.trunk(z), where).log_softmax(-1)
                kl = (want.exp() * (want - got)).sum(-1)
                same = (want.argmax(-1) == got.argmax(-1)).double().mean()
                found[name].append((float(kl.mean()), float(kl.max()), float(same)))
        z = state.z
    return {name: torch.tensor(values) for name, values in found.items()}


def noise_of(canvas) -> Noise:
    rows = torch.arange(len(canvas.z))
    return Noise(rows, torch.zeros_like(rows))


def show(every: int, steps: int, found, extra: str = "") -> None:
    name = f"{every} steps" if every < steps else "the run"
    mean, most, same = found[:, 0].mean(), found[:, 1].max(), found[:, 2]
    print(
        f"    kept for {name:<9} KL mean {mean:.4f}, largest {most:.3f} nats; same argmax "
        f"{same.mean():.1%} (worst step {same.min():.1%}){extra}",
        flush=True,
    )


def prefix_report(model: str, questions: int, shape, parts_of_model, prompts, clock) -> None:
    """`shape` is of a random model, tried at prompts of these lengths."""
    print("\nprompt-prefix reuse: logits along the trajectory of a plain run, and time")
    parts, length, steps = parts_of_model(random_model(shape), shape.vocab), 64, 16
    for size in prompts:
        g = torch.Generator().manual_seed(0)
        prompt = torch.randint(shape.vocab - 1, (1, size), generator=g).tolist()
        canvas = Canvas.open([length], mask_id=parts.mask_id, fill_id=0)
        config = APSConfig(steps=steps, temperature=0.0)
        denoisers, taken = {}, {}
        for every in (None, 2, 4, steps):
            denoiser = TransformerDenoiser.bind(parts, prompt, [length], 1, every)
            start = clock()
            run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise_of(canvas))
            taken[every] = (clock() - start) / steps * 1e3
            denoisers[every] = TransformerDenoiser.bind(parts, prompt, [length], 1, every)
        plain, exact = taken[None], denoisers.pop(None)
        print(
            f"  random {shape.name}, {size} + {length} tokens, T = {steps}: {plain:.0f} ms a step"
        )
        for every, found in along(exact, denoisers, canvas, steps).items():
            saved = plain - taken[every]
            extra = f"; saves {saved:.0f} ms a step, {plain / taken[every]:.2f}x"
            show(every, steps, found, extra)
    pipe = APSPipeline.from_pretrained(model, batch_size=16)
    text, length = pipe.model, pipe.model.max_new_tokens
    items = word_knowledge("tune", min(questions, 32))
    encoded = [text.encode(item.question) for item in items]
    print(f"  {model}, {len(items)} tuning questions, T = L = {length}")
    canvas = Canvas.open(
        [length] * len(items),
        mask_id=text.parts.mask_id,
        fill_id=text.fill_id,
        stop_ids=text.stop_ids,
    )
    exact, *others = (text.bind(encoded, [length] * len(items), 1, n) for n in (None, *KEPT))
    reused = dict(zip(KEPT, others, strict=True))
    for every, found in along(exact, reused, canvas, length).items():
        show(every, length, found)
    test = word_knowledge("test", questions)
    base = APSConfig(steps=length, max_new_tokens=length, temperature=0.0, lora_layers=1)
    plain, _ = answered(pipe, test, base)
    for every in KEPT:
        scores, _ = answered(pipe, test, base.replace(prefix_reuse=every))
        change = mean_interval([a - b for a, b in zip(scores, plain, strict=True)])
        name = f"{every} steps" if every < length else "the run"
        print(
            f"    kept for {name:<9} token F1 {sum(scores) / len(test):.4f} against "
            f"{sum(plain) / len(test):.4f} on {len(test)} held-out questions, difference {change}",
            flush=True,
        )
