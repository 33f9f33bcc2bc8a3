"""Answer sentences, the same for right and wrong facts, so that form gives no information.

Slots as in `phrases`. The embedded model's own sentence (`phrases.ANSWERS`) is used most of the
time; the other sentences, and the questions' phrasings, differ between the guiding and the
reporting reward.
"""

from __future__ import annotations

from recipes.word_knowledge.more_phrases import MORE
from recipes.word_knowledge.phrases import TRAIN

__all__ = ["FORMS", "QUESTIONS"]

QUESTIONS: dict[str, dict[str, list[str]]] = {"guide": TRAIN, "report": MORE}
"""The phrasings of the questions each reward is trained on."""

FORMS: dict[str, dict[str, list[str]]] = {
    "guide": {
        "definition_n": ["It is {text}.", "{x}: {text}.", "{ax} means {text}."],
        "definition_v": ["It means to {text}.", "To {text}.", "To {x} is to {text}."],
        "definition_a": ["It means {text}.", "{x}: {text}.", "Something {x} is {text}."],
        "kind": ["It is a kind of {h}.", "{ax} is {ah}.", "It is {ah}."],
        "example": ["{ax} is a kind of {h}.", "{ax}.", "It is {ax}."],
        "parts": ["They are {text}.", "{ax} has {text}.", "Among them are {text}."],
        "opposite": ["{y} is the opposite of {x}.", "It is {y}.", "{y}."],
        "synonym": ["{x} means the same as {y}.", "It is {y}.", "{y}."],
        "use": ["{text}.", "Here is one: {text}.", "It is used so: {text}."],
        "yes": ["Yes, {ax} is {ah}.", "Yes.", "Yes, it is a kind of {h}."],
        "no": ["No, {ax} is not {ah}.", "No.", "No, it is not a kind of {h}."],
        "choice": ["It is {ax}.", "{ax}.", "The kind of {h} is {ax}."],
    },
    "report": {
        "definition_n": ["By {x} we mean {text}.", "The word means {text}.", "That is {text}."],
        "definition_v": ["It means to {text}.", "We {x} when we {text}.", "It is to {text}."],
        "definition_a": ["The word means {text}.", "The sense is {text}.", "{x}, that is, {text}."],
        "kind": ["{ax} belongs to the kind {h}.", "{ah}.", "I would call it {ah}."],
        "example": ["For instance, {ax}.", "An example is {ax}.", "{ax} is one."],
        "parts": ["{ax} consists of {text}.", "I would name {text}.", "Its parts include {text}."],
        "opposite": ["The contrary is {y}.", "Not {x} but {y}.", "You can say {y}."],
        "synonym": ["{y} is another word for {x}.", "You can say {y}.", "{y} means the same."],
        "use": ["One can say: {text}.", "{text}.", "An example: {text}."],
        "yes": ["Yes, one can say so of {ax}.", "Yes, it is {ah}.", "Yes, {ax} belongs to {h}."],
        "no": ["No, one cannot say so of {ax}.", "No, it is not {ah}.", "No, {ax} is not."],
        "choice": ["{ax} is {ah}.", "Only {ax} is.", "I would choose {ax}."],
    },
}  # fmt: skip
"""Further answer sentences, by answer template, for each of the two rewards."""
