"""Speed of one APS-LoRA step, compared with a lower bound, without a trunk, and unbatched.

    python benchmarks/speed.py [--model mini] [--layers 2] [--inner 3] [--batch 8] [--repeats 15]

Prints ratios measured in one run, medians of interleaved repeats; run it on an idle machine.

floor     trunk once, M+1 replays with the head, M backwards through them, M reward passes with
          gradient: the same shapes, no LoRA, no loss, no optimiser
trunk     the same step with every layer replayed M+1 times (LoRA in the same top layers), and with
          LoRA in all layers; limits from the measured costs of a layer and of the head
lora      our stacked maps (bmm in hooks) against one PEFT adapter of rank B*r with block masks
batch     answers per second, B at a time against one by one
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import contextmanager

import torch

from aps_text import APSConfig, APSPipeline
from aps_text.core.canvas import Canvas
from aps_text.core.noise import Noise
from aps_text.core.operator import Scores
from aps_text.core.step import Step
from aps_text.methods.aps import PosteriorTilt
from aps_text.text.reward_operator.operator import RewardOperator


def medians(jobs: dict, repeats: int) -> dict[str, float]:
    """Median seconds of each job; jobs alternate, so that the load affects all equally."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 2):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if turn >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class Setting:
    """One denoising step at the first canvas (all masked), with everything bound."""

    def __init__(self, pipe, reward, questions, config):
        model = pipe.model
        self.config, self.length = config, model.max_new_tokens
        rows = len(questions)
        prompts = [model.encode(q) for q in questions]
        self.denoiser = model.bind(prompts, [self.length] * rows, config.model.lora_layers)
        self.full = model.bind(prompts, [self.length] * rows, None)
        self.canvas = Canvas.open(
            [self.length] * rows,
            mask_id=self.denoiser.mask_id,
            fill_id=model.fill_id,
            stop_ids=model.stop_ids,
        )
        self.noise = Noise(torch.arange(rows), torch.zeros(rows, dtype=torch.long))
        self.operator = RewardOperator(
            reward,
            "relevance",
            prompts=list(questions),
            vocabulary=model.vocabulary,
        )
        asked = self.canvas.z == self.denoiser.mask_id
        count = torch.full((rows,), 2)
        unbiased = config.replace(min_new_tokens=0)
        mask_id = self.denoiser.mask_id
        self.step = Step(0, self.canvas, mask_id, asked, count, count, self.noise, unbiased)

    def aps(self, denoiser=None, adapted=None, phi=None):
        denoiser = denoiser or self.denoiser
        phi = phi or (adapted or denoiser).new_adapter(self.config, self.noise)
        tilt = PosteriorTilt(self.operator, self.config, phi)
        return tilt(denoiser, self.step)

    def replay(self, denoiser, state, backward):
        """Forward and backward pass of the layers above the trunk and the head."""
        hidden = state.hidden.detach().requires_grad_(backward)
        state.hidden = hidden
        with torch.set_grad_enabled(backward):
            logits = denoiser.logits(state, self.step.where)
        if backward:
            torch.autograd.grad(logits, hidden, torch.ones_like(logits))
        state.hidden = hidden.detach()
        return logits.detach()

    def floor(self):
        state = self.denoiser.trunk(self.canvas.z)
        for _ in range(self.config.sampler.fit.inner_steps):
            self.replay(self.denoiser, state, True)
        logits = self.replay(self.denoiser, state, False)
        self.reward(logits)

    def reward(self, logits):
        from aps_text.core.codebook import Relaxed

        rows, cols = self.step.where
        ids = self.canvas.z.index_put((rows, cols), logits.argmax(-1))
        alive = torch.ones_like(ids, dtype=torch.bool)
        leaf = logits.softmax(-1).requires_grad_()
        for _ in range(self.config.sampler.fit.inner_steps):
            relaxed = Relaxed(ids, rows, cols, leaf, alive, "quantized", "argmax")
            scores: Scores = self.operator.log_prob(relaxed)
            torch.autograd.grad(scores.total.sum(), leaf)


class PeftBlocks:
    """One PEFT adapter of rank B*r, alpha scaled by B, each row's block masked after lora_A."""

    def __init__(self, denoiser, rows, rank, alpha):
        from peft import LoraConfig, inject_adapter_in_model

        self.model, self.rows, self.rank = denoiser.parts.model, rows, rank
        names = list(denoiser.new_adapter(APSConfig(lora_layers=None), _one_noise()).modules)
        names = [n for n in names if int(n.split(".")[3]) >= denoiser.split]
        config = LoraConfig(r=rows * rank, lora_alpha=alpha * rows, target_modules=names)
        inject_adapter_in_model(config, self.model)
        block = torch.arange(rows * rank) // rank
        self.mask = (block[None, :] == torch.arange(rows)[:, None]).float()[:, None, :]
        for name, module in self.model.named_modules():
            if name.endswith("lora_A.default"):
                module.register_forward_hook(lambda m, a, out: out * self.mask)
        self.parameters = [p for n, p in self.model.named_parameters() if "lora_" in n]
        self.adam = torch.optim.Adam(self.parameters, lr=0.01)

    def begin(self, denoiser, state, where):
        with torch.no_grad():
            for parameter in self.parameters:
                parameter.zero_() if parameter.shape[1] == self.rows * self.rank else None
        self.adam.state.clear()

    def logits(self, denoiser, state, where):
        return denoiser.logits(state, where)

    def update(self, logits, grad, gate):
        self.adam.zero_grad()
        logits.backward(grad)
        self.adam.step()

    def take(self, rows):
        return self


def _one_noise():
    return Noise(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))


@contextmanager
def section(title):
    print(f"\n{title}", flush=True)
    yield


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--inner", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    from aps_rewards import load_reward

    pipe = APSPipeline.from_pretrained(args.model)
    reward = load_reward("relevance")
    words = ["violin", "dog", "piano", "river", "house", "apple", "teacher", "winter"]
    questions = [f"What is a {words[i % len(words)]}?" for i in range(args.batch)]
    config = APSConfig(
        lora_layers=args.layers,
        inner_steps=args.inner,
        pool_size=None,
        trust_region=None,
        gradient_gate=0.0,
    )
    setting = Setting(pipe, reward, questions, config)
    depth, n, m = len(pipe.model.parts.layers), args.layers, args.inner

    everything = Setting(pipe, reward, questions, config.replace(lora_layers=None))
    jobs = {
        "step": setting.aps,
        "floor": setting.floor,
        "replayed": lambda: setting.aps(setting.full, setting.denoiser),
        "all layers": everything.aps,
    }
    with section(
        f"one APS-LoRA step, {args.batch} rows x {setting.length} positions, M={m}, n={n}"
    ):
        took = medians(jobs, args.repeats)
        for name, seconds in took.items():
            print(f"  {name:<12}{1000 * seconds:8.1f} ms")
        print(f"  step / floor          {took['step'] / took['floor']:.2f}   (goal <= 1.20)")

    # Denoiser only: a reward that costs nothing, so that the limits are those of the layers.
    state = setting.full.trunk(setting.canvas.z)
    hidden = state.hidden

    def forward_layers():
        h = hidden
        with torch.no_grad():
            for layer in pipe.model.parts.layers:
                h = layer(h, *state.args, **state.kwargs)

    rows, cols = setting.step.where
    picked = hidden[rows, cols]
    with torch.no_grad():
        cost = medians(
            {"layers": forward_layers, "head": lambda: pipe.model.parts.head(picked)},
            args.repeats,
        )
    h = cost["head"] / (cost["layers"] / depth)
    u = 2 * m + 1
    same = ((m + 1) * (depth + h) + m * (n + h)) / (depth - n + u * (n + h))
    whole = u * (depth + h) / (depth - n + u * (n + h))

    class Free:
        differentiable, codebook = True, None

        def take(self, rows):
            return self

        def log_prob(self, relaxed):
            return Scores(relaxed.probs[:, :1].sum().expand(len(relaxed.ids)))

        def log_prob_ids(self, ids):
            return Scores(torch.zeros(len(ids)))

    setting.operator = everything.operator = Free()
    for name in ("floor", "step"):
        jobs.pop(name)
    jobs["step"] = setting.aps
    with section(f"trunk once per step (head worth {h:.1f} layers)"):
        took = medians(jobs, args.repeats)
        for name, limit in (("replayed", same), ("all layers", whole)):
            ratio = took[name] / took["step"]
            print(
                f"  against {name:<12}{ratio:5.2f}x of at most {limit:.2f}x = {ratio / limit:.0%}"
                "   (goal >= 85%)"
            )

    with section(f"per-prompt LoRA, {args.batch} rows, rank {config.sampler.fit.phi.rank}"):
        import copy
        from dataclasses import replace

        clone = replace(
            setting.denoiser,
            parts=replace(
                setting.denoiser.parts,
                model=(other := copy.deepcopy(pipe.model.parts.model)),
                head=other.cls,
            ),
        )
        blocks = PeftBlocks(
            clone, args.batch, config.sampler.fit.phi.rank, config.sampler.fit.phi.alpha
        )
        took = medians(
            {"bmm hooks": setting.aps, "PEFT blocks": lambda: setting.aps(clone, phi=blocks)},
            args.repeats,
        )
        print(
            f"  PEFT rank B*r blocks / stacked bmm: {took['PEFT blocks'] / took['bmm hooks']:.2f}"
        )

    with section(f"answers per second, batch {args.batch} against one by one (T=8)"):
        single = APSPipeline(pipe.model, batch_size=1)
        batched = APSPipeline(pipe.model, batch_size=args.batch)
        for method in ("plain", "aps"):
            run = {
                "one": lambda m=method: single(questions, reward, method=m, steps=8),
                "all": lambda m=method: batched(questions, reward, method=m, steps=8),
            }
            took = medians(run, 3)
            print(f"  {method:<6} {took['one'] / took['all']:.2f}x")


if __name__ == "__main__":
    main()
