"""Train the answer-quality rewards with trl's `RewardTrainer` (Bradley-Terry).

    python -m recipes.answer_quality.train --work DIR --wordnet DICT --minutes 30 --which guide

    loss = -log sigmoid(r_chosen - r_rejected) + 0.01 (r_chosen + r_rejected)^2,  r = r(question, .)

The same command starts or resumes (from the newest checkpoint in DIR), writes `DIR/export` and
measures it (`DIR/export/metrics.json`). The learning rate and the end of training depend on the
fraction of the wall time that is spent. `--corpus recipes/smol_text/data` adds pairs about open
questions (`open_pairs.py`). Nothing is downloaded, and nothing is sent to a tracking service.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from aps_rewards.answer_quality import AnswerQuality, AnswerQualityReport
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from recipes.answer_quality.card import card
from recipes.answer_quality.measure import held_out_sets, measure
from recipes.answer_quality.model import export, starting_model
from recipes.answer_quality.open_pairs import OpenPairs, Triple, accuracy, read_own
from recipes.answer_quality.pairs import (
    Pair,
    PairMaker,
    balanced,
    held_out_words,
    shortcuts,
    split_facts,
)
from recipes.answer_quality.samples import sampled_pairs
from recipes.precision import fast_dtype
from recipes.word_knowledge.wordnet_qa import build_data

__all__ = ["SEEDS", "Clock", "Recipe", "as_rows", "train"]

log = logging.getLogger(__name__)

SEEDS = {"guide": 1, "report": 2}
"""Seeds of the split and the pairs of each reward."""


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one run."""

    minutes: float = 30.0
    pairs: int = 120_000
    open_pairs: int = 60_000
    batch_size: int = 64
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    max_length: int = 96
    judged: int = 6000
    sample_passes: int = 8
    save_minutes: float = 5.0
    log_steps: int = 50


class Clock(TrainerCallback):
    """Counts the wall time of all runs in a work folder; triggers checkpoints and the end."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.before, self.saved = recipe, 0.0, 0.0
        self.began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds spent, including earlier runs."""
        return self.before + time.monotonic() - self.began

    def fraction(self, *_: int) -> float:
        """Fraction of the budget that is spent, in [0, 1]."""
        return min(1.0, self.elapsed / (60 * self.recipe.minutes))

    def scale(self, step: int) -> float:
        """Factor of the learning rate: warm-up, then linear to 0."""
        at = self.fraction()
        return min(1.0, at / self.recipe.warmup + 1e-3) * (1.0 - at)

    def resume(self, checkpoint: Path) -> None:
        """Add the time that was spent before a checkpoint."""
        spent = json.loads((checkpoint / "clock.json").read_text(encoding="utf-8"))
        self.before = self.saved = spent["elapsed"]

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start counting."""
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Request a checkpoint every `save_minutes`, and the end when the time is spent."""
        done = self.fraction() >= 1.0
        if done or self.elapsed - self.saved > 60 * self.recipe.save_minutes:
            self.saved = self.elapsed
            control.should_save = control.should_evaluate = True
        control.should_training_stop = control.should_training_stop or done
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the time beside the checkpoint."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (folder / "clock.json").write_text(json.dumps({"elapsed": self.elapsed}), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Log one line."""
        names = ("loss", "accuracy", "margin", "eval_loss", "eval_accuracy", "learning_rate")
        shown = " ".join(f"{n} {float(logs[n]):.4g}" for n in names if n in (logs or {}))
        pairs = state.global_step * args.train_batch_size
        log.info(
            "step %d pairs %d minutes %.1f %s", state.global_step, pairs, self.elapsed / 60, shown
        )


def as_rows(
    pairs: list[Pair], tokenizer: PreTrainedTokenizerBase, batch_size: int, max_length: int
) -> dict[str, list[list[int]]]:
    """`chosen_ids` and `rejected_ids`, `[CLS] question [SEP] answer [SEP]`, N lists each.

    Rows are grouped by length into batches of `batch_size`, to be read in this order; the order of
    the batches is random. Pairs longer than `max_length` tokens are left out.
    """
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    texts = sorted({t for p in pairs for t in (p.question, p.chosen, p.rejected)})
    ids = dict(zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))

    def row(question: str, answer: str) -> list[int]:
        return [cls, *ids[question], sep, *ids[answer], sep]

    rows = [(row(p.question, p.chosen), row(p.question, p.rejected)) for p in pairs]
    rows = [r for r in rows if max(map(len, r)) <= max_length]
    batches = []
    for start in range(0, len(rows), 32 * batch_size):
        pool = sorted(rows[start : start + 32 * batch_size], key=lambda r: max(map(len, r)))
        batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(len(batches)))
    mixed = [r for i in order.tolist() for r in batches[i] if len(batches[i]) == batch_size]
    return {"chosen_ids": [c for c, _ in mixed], "rejected_ids": [r for _, r in mixed]}


def train(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    pairs: list[Pair],
    held_out: list[Pair],
    work: Path,
    recipe: Recipe,
) -> int:
    """Train `model` in place until the recipe's minutes are spent; checkpoints in `work`.

    Returns:
        The number of pairs seen, including earlier runs in `work`.
    """
    import huggingface_hub.constants
    from datasets import Dataset
    from transformers.trainer_utils import get_last_checkpoint
    from trl import RewardConfig, RewardTrainer

    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    rows = as_rows(pairs, tokenizer, recipe.batch_size, recipe.max_length)
    judged = as_rows(held_out, tokenizer, recipe.batch_size, recipe.max_length)
    clock = Clock(recipe)
    plain = ("bias", "LayerNorm.weight")
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for n, p in named if n.endswith(plain)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not n.endswith(plain)]},
    ]
    optimiser = torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, clock.scale)
    arguments = RewardConfig(
        output_dir=str(work / "checkpoints"),
        num_train_epochs=1000,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        train_sampling_strategy="sequential",
        max_length=None,  # `as_rows` has left out what is longer
        center_rewards_coefficient=0.01,
        gradient_checkpointing=False,
        bf16=fast_dtype() is torch.bfloat16,
        use_cpu=True,
        max_grad_norm=1.0,
        logging_steps=recipe.log_steps,
        save_strategy="no",
        eval_strategy="no",
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    trainer = RewardTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(rows),
        eval_dataset=Dataset.from_dict(judged),
        processing_class=tokenizer,
        optimizers=(optimiser, schedule),
        callbacks=[clock],
    )
    (work / "checkpoints").mkdir(exist_ok=True)
    last = get_last_checkpoint(str(work / "checkpoints"))
    if last is not None:
        clock.resume(Path(last))
        log.info("resumed from %s, %.1f minutes spent", last, clock.before / 60)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last)  # of a finished run: one step, at rate 0
    return trainer.state.global_step * recipe.batch_size


def open_sets(
    corpus: Path, wordnet: str | None, which: str, recipe: Recipe, seed: int
) -> tuple[list[Triple], list[Pair], dict[str, list[Pair]]]:
    """(triples of test subjects, training pairs of train subjects, sets to measure: made pairs of
    tune subjects, the model's own answers to questions about them as a reader marked them, and of
    test subjects good against poor answers as a reader found them)."""
    from recipes.mini_text.corpus import read_corpus
    from recipes.mini_text.subjects import subjects
    from recipes.word_knowledge.wordnet import find_wordnet, read_wordnet

    rows = read_corpus(corpus)
    poor = read_corpus(corpus, "poor") if (corpus / "poor.jsonl.gz").exists() else []
    categories = {s.word: s.category for s in subjects(read_wordnet(find_wordnet(wordnet)))}
    own = read_own(corpus)
    train_on, watch, test = (
        OpenPairs(rows, categories, which, split, poor, own) for split in ("train", "tune", "test")
    )
    pairs = train_on.pairs(recipe.open_pairs, seed)
    sets = {
        "open": watch.pairs(1000, seed),
        "own": watch.own_pairs(seed),
        "read": test.read_pairs(seed),
    }
    return test.triples(300, seed), pairs, {name: some for name, some in sets.items() if some}


def main() -> None:
    """Train, resume or finish one of the answer-quality rewards, and measure it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--which", choices=sorted(SEEDS), default="guide")
    parser.add_argument("--samples", type=Path, default=None, help="JSONL of answer_samples")
    parser.add_argument("--corpus", type=Path, default=None, help="folder of mini_text answers")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args()
    recipe = Recipe(**{name: getattr(args, name) for name in asdict(Recipe())})
    args.work.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(args.work / "train.log"),
        logging.StreamHandler(),
    ]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    torch.set_num_threads(args.threads)
    seed = SEEDS[args.which]
    torch.manual_seed(seed)
    data = build_data(args.wordnet)
    facts, validation = split_facts(data, seed)
    hidden = held_out_words(data)
    pool, other = facts + validation, next(name for name in SEEDS if name != args.which)
    judge, stranger = (PairMaker(data, validation, w, hidden, pool) for w in (args.which, other))
    sets = held_out_sets(data, judge, stranger, recipe.judged)
    pairs = PairMaker(data, facts, args.which, hidden).pairs(recipe.pairs, seed)
    own: list[Pair] = []
    if args.samples is not None:
        own = sampled_pairs(args.samples, {f.lemma for f in facts}, hidden)
        sets["own answers"] = sampled_pairs(args.samples, {f.lemma for f in validation}, hidden)
    triples: list[Triple] = []
    if args.corpus is not None:
        triples, more, found = open_sets(args.corpus, args.wordnet, args.which, recipe, seed)
        pairs, sets = pairs + more, sets | found
    pairs = balanced(pairs + own * recipe.sample_passes, seed)
    log.info("%s, %d facts, %d pairs, %d own samples", recipe, len(facts), len(pairs), len(own))
    log.info("shortcuts %s", shortcuts(pairs))
    texts = (t for p in pairs for t in (p.question, p.chosen))
    model, tokenizer = starting_model(args.which, texts)
    seen = train(model, tokenizer, pairs, sets["validation"][:1024], args.work, recipe)
    folder = args.work / "export"
    export(model, tokenizer, folder)
    results: dict[str, Any] = {
        "which": args.which,
        "recipe": asdict(recipe),
        "pairs": len(pairs),
        "pairs seen": seen,
        "own samples": len(own),
        "validation words": len({f.lemma for f in validation}),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    reward = (AnswerQuality if args.which == "guide" else AnswerQualityReport)(folder)
    results |= measure(reward, sets)
    if triples:
        results["open triples"] = accuracy(reward, triples)
        log.info("open triples %s", results["open triples"])
    text = json.dumps(results, indent=1)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(results), encoding="utf-8")
    for name in sets:
        log.info("held-out accuracy, %s: %s", name, results[name]["accuracy"]["all"])


if __name__ == "__main__":
    main()
