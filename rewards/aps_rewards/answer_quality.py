"""Answer quality: a cross-encoder's Bradley-Terry score of an answer. Differentiable.

    r = head(encoder([CLS] question [SEP] answer [SEP])),   P(a better than b) = sigmoid(r_a - r_b)

The Bradley-Terry model of TRL's `RewardTrainer`, trained here on answers to word-knowledge
questions (`recipes/answer_quality/train.py`; each folder of weights has its card). There are two
models: `answer-quality` is for guiding; `answer-quality-report`, trained from another encoder on
other data with other kinds of faults, is for reporting, as independent evidence of a gain.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from .paths import typed_path
from .sequence_classifier import SequenceClassifier

__all__ = ["AnswerQuality", "AnswerQualityReport"]


class AnswerQuality(SequenceClassifier):
    """Score whose difference between two answers to a question is the log-odds of the first.

    0 is about midway between good and bad training answers. Scores of different questions are not
    comparable.

    How to game it: see the card in `weights/answer_quality`. It was trained on one-sentence answers
    about common words; its scores of any other text mean little. It knows the facts of its
    training data only.

    Args:
        weights: folder of a cross-encoder with one label and its fast tokenizer; default: the one
            in the package.
        device: of the model; default: CPU.
        dtype: of its weights. Scores are returned in float32 or wider.
        batch_size: texts per forward on the text side.

    Raises:
        FileNotFoundError: no weights in the folder.
        ValueError: `batch_size` below 1, several labels, or no fast tokenizer.
    """

    name = "answer-quality"
    measures = "log-odds that an answer to a word-knowledge question is the better one"
    range = (float("-inf"), float("inf"))
    differentiable = True
    steering_beta = 0.25  # the best on tuning questions
    estimator = "rloo"  # its gradient on mixtures of words misleads: docs/reward_cards.md
    licence = "Apache-2.0 (from MiniLM; trained on WordNet 3.1)"
    _shipped = "answer_quality"

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 32,
    ) -> None:
        shipped = Path(str(files("aps_rewards"))) / "weights" / self._shipped
        folder = shipped if weights is None else typed_path(weights)
        if not (folder / "model.safetensors").is_file():
            raise FileNotFoundError(
                f"no weights at {folder / 'model.safetensors'}; make them with `python -m "
                "recipes.answer_quality.train --work DIR --wordnet DICT` or give weights=FOLDER"
            )
        super().__init__(
            folder,
            template="pair",
            batch_size=batch_size,
            dtype=dtype,
            device=device,
            local_files_only=True,
            name=self.name,
            measures=self.measures,
            licence=self.licence,
        )


class AnswerQualityReport(AnswerQuality):
    """A second model of answer quality, for reports: another encoder, other data and faults.

    It takes `AnswerQuality`'s options. It has no gradient, so that it is not used to guide by
    accident; if it guides, it is no independent evidence.
    """

    name = "answer-quality-report"
    measures = "a second, independent log-odds that an answer is the better one; reports only"
    differentiable = False
    licence = "Apache-2.0 (from DistilBERT; trained on WordNet 3.1)"
    _shipped = "answer_quality_report"
