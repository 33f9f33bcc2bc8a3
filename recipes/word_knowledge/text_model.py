"""Train the embedded question answerer: a masked-diffusion BERT from the MiniLM encoder.

    python -m recipes.word_knowledge.text_model --work DIR --minutes 115 --wordnet DICT

The same command starts or resumes (from the checkpoint in DIR) and exports. The learning rate and
the end depend on the fraction of the budget that is spent: wall time with `--minutes`, steps with
`--steps`. `--from-export FOLDER` starts from an export instead of MiniLM, with a new optimiser and
warm-up; `--first-epoch 20` then starts with the last stage of the data (`wordnet_qa.STAGES`). The
loss is the cross-entropy at masked canvas positions, see `masking.py`; averaged weights (EMA) are
used for monitoring and export.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from aps_eval.word_knowledge import Question
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedTokenizerBase

from recipes.logs import log_to
from recipes.word_knowledge.decoding import decode
from recipes.word_knowledge.masking import Batch, make_batches
from recipes.word_knowledge.pruned_tokenizer import (
    minilm_folder,
    prune_rows,
    prune_tokenizer,
    pruned_ids,
)
from recipes.word_knowledge.scoring import exact_match
from recipes.word_knowledge.trainer import IDS, Recipe, Trainer, add_options, chosen
from recipes.word_knowledge.wordnet_qa import KnowledgeData, build_data

__all__ = [
    "Recipe",
    "Trainer",
    "TrainingData",
    "export",
    "from_minilm",
    "keep_heap",
    "load_weights",
    "train",
    "unused_pieces",
]  # fmt: skip

log = logging.getLogger(__name__)


class TrainingData(Protocol):
    """Training data, and held-out questions for monitoring (`items`)."""

    items: dict[str, list[Question]]

    def epoch(self, number: int) -> Iterator[tuple[str, str]]:
        """(question, answer) pairs of an epoch; a function of its number."""
        ...


def load_weights(folder: Path, **options: Any) -> BertForMaskedLM:
    """The model in fp32, with eager attention (1.6 times faster than SDPA on two CPU cores)."""
    options |= {"dtype": torch.float32, "attn_implementation": "eager"}
    return BertForMaskedLM.from_pretrained(folder, **options)


def keep_heap() -> None:
    """Keep glibc from returning memory to the system at every step (1.2 to 1.4 times faster)."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):
            libc.mallopt(option, value)  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD


def from_minilm(
    data: KnowledgeData, recipe: Recipe
) -> tuple[BertForMaskedLM, PreTrainedTokenizerBase]:
    """The untrained model: MiniLM encoder, pruned vocabulary, tied head initialised as identity."""
    folder = minilm_folder()
    old = AutoTokenizer.from_pretrained(folder)
    pairs = [text for n in range(3) for pair in data.epoch(n) for text in pair]
    pairs += [i.question for items in data.items.values() for i in items]
    pairs += [g for items in data.items.values() for i in items for g in i.gold[:5]]
    used = {i for row in old(pairs, add_special_tokens=False)["input_ids"] for i in row}
    ids = pruned_ids(old.get_vocab(), used, recipe.vocabulary)
    config = BertConfig.from_pretrained(folder)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = load_weights(folder, config=config)
    table = prune_rows(model.get_input_embeddings().weight.data, ids)
    model.resize_token_embeddings(len(ids), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(table)
        head = model.cls.predictions
        torch.nn.init.eye_(head.transform.dense.weight)
        head.transform.dense.bias.zero_()
        head.transform.LayerNorm.reset_parameters()
        head.bias.zero_()
        head.decoder.bias.zero_()
    model.tie_weights()
    return model, prune_tokenizer(old, ids, 512)


def unused_pieces(data: TrainingData, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Bool `(K,)`: the pieces that no text of the first five epochs uses."""
    texts = [text for n in range(5) for pair in data.epoch(n) for text in pair]
    used = {i for row in tokenizer(texts)["input_ids"] for i in row}
    used |= set(tokenizer.all_special_ids)
    unused = torch.ones(len(tokenizer), dtype=torch.bool)
    unused[sorted(used)] = False
    return unused


def batches(
    data: TrainingData, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, epoch: int, skip: int
) -> Iterator[Batch]:
    """Batches of one epoch from number `skip` on; a function of its arguments only."""
    pairs = list(data.epoch(epoch))
    prompts = tokenizer([q for q, _ in pairs])["input_ids"]
    answers = tokenizer([a for _, a in pairs], add_special_tokens=False)["input_ids"]
    number = 0
    for start in range(0, len(pairs), recipe.pool_rows):
        end = start + recipe.pool_rows
        generator = torch.Generator().manual_seed((recipe.seed * 9973 + epoch) * 1_000_003 + start)
        for batch in make_batches(
            prompts[start:end],
            answers[start:end],
            canvas_length=recipe.canvas,
            budget=recipe.batch_tokens,
            ids=IDS,
            generator=generator,
            full=recipe.full,
            tail=recipe.tail,
            shorter=recipe.shorter,
        ):
            if number >= skip:
                yield batch
            number += 1


def export(
    model: BertForMaskedLM, tokenizer: PreTrainedTokenizerBase, folder: Path, recipe: Recipe
) -> None:
    """Write the model as a standard folder in bf16, with `aps.json` for the sampler."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = BertForMaskedLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.tie_weights()
    copy.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # transformers 4 has this name, too
    text = json.dumps({k: v for k, v in settings.items() if not k.startswith(("is_", "local_"))})
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    facts = {"mask_id": IDS.mask, "stop_id": IDS.stop, "fill_id": IDS.pad,
             "max_new_tokens": recipe.canvas, "context": 128,
             "layout": "[CLS] question [SEP] answer"}  # fmt: skip
    (folder / "aps.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _checkpoint(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    items: list[Question],
    work: Path,
    exported: Callable[[Path], None] | None,
) -> None:
    trainer.save(work / "checkpoint.pt")
    trainer.swap_ema()
    questions = [i.question for i in items]
    answers = decode(trainer.model, tokenizer, questions, canvas_length=trainer.recipe.canvas)
    export(trainer.model, tokenizer, work / "export", trainer.recipe)
    if exported is not None:
        exported(work / "export")
    trainer.swap_ema()
    scores = exact_match(items, answers)
    log.info("held-out EM %s", {k: round(v, 2) for k, v in scores.items()})
    for item, answer in list(zip(items, answers, strict=True))[::17]:
        log.info("  %s -> %s", item.question, answer)


def train(
    trainer: Trainer,
    data: TrainingData,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
    stop_after: int | None = None,
    exported: Callable[[Path], None] | None = None,
) -> None:
    """Train to the end of the budget (or `stop_after` more steps), with checkpoints in `work`.

    Args:
        stop_after: number of steps; None trains to the end.
        exported: called with the folder of each export.
    """
    recipe, items = trainer.recipe, data.items.get("tune", [])
    clock, saved, mean, first = time.monotonic(), trainer.elapsed, 0.0, trainer.step
    began, tokens = trainer.elapsed, trainer.tokens
    while trainer.fraction() < 1.0:
        for batch in batches(data, tokenizer, recipe, trainer.epoch, trainer.position):
            loss = trainer.update(batch)
            trainer.elapsed = began + time.monotonic() - clock
            mean = loss if trainer.step == first + 1 else 0.98 * mean + 0.02 * loss
            if trainer.step % 50 == 0:
                rate = (trainer.tokens - tokens) / (trainer.elapsed - began)
                log.info(
                    "step %d epoch %d loss %.3f tokens/s %.0f seen %.2fM elapsed %.1f min (%.1f%%)",
                    trainer.step, trainer.epoch, mean, rate, trainer.tokens / 1e6,
                    trainer.elapsed / 60, 100 * trainer.fraction(),
                )  # fmt: skip
            if trainer.elapsed - saved > 60 * recipe.save_minutes:
                saved = trainer.elapsed
                _checkpoint(trainer, tokenizer, items, work, exported)
            done = stop_after is not None and trainer.step - first >= stop_after
            if done or trainer.fraction() >= 1.0:
                _checkpoint(trainer, tokenizer, items, work, exported)
                return
        trainer.epoch, trainer.position = trainer.epoch + 1, 0


def main() -> None:
    """Train, resume or finish the embedded text model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--from-export", type=Path, default=None, help="start from this export")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    add_options(parser, Recipe())
    args = parser.parse_args()
    recipe = chosen(args)
    log_to(args.work)
    keep_heap()
    torch.set_num_threads(args.threads)
    torch.manual_seed(recipe.seed)
    data = build_data(args.wordnet)
    resumed = (args.work / "checkpoint.pt").exists()
    source = args.work / "export" if resumed else args.from_export
    if source is None:
        model, tokenizer = from_minilm(data, recipe)
    else:
        model, tokenizer = load_weights(source), AutoTokenizer.from_pretrained(source)
    model.train()
    trainer = Trainer(model, recipe, frozen=unused_pieces(data, tokenizer))
    if resumed:
        trainer.load(args.work / "checkpoint.pt")
        log.info("resumed at step %d, %.1f min", trainer.step, trainer.elapsed / 60)
    log.info("recipe %s, vocabulary %d, facts %d", recipe, len(tokenizer), len(data.facts))
    train(trainer, data, tokenizer, args.work)


if __name__ == "__main__":
    main()
