"""Phrasings of the question types: training ones, held-out ones, and the answer sentences.

Slots: `{x}` the word asked about, `{ax}` the same with its article ("a violin", "water"),
`{h}` / `{ah}` a category, `{y}` another word, `{ap}` and `{aq}` the two things of a choice in
random order, `{text}` a definition or an example.
The held-out phrasings never occur in training: stratum A of the bundled questions asks facts
that were trained, in these words.
"""

from __future__ import annotations

import re

__all__ = ["ANSWERS", "HELD_OUT", "KEYED", "TRAIN", "capitalise", "key_of", "normalise"]

TRAIN: dict[str, list[str]] = {
    "definition_n": [
        "What is {ax}?", "Define {x}.", "What does the word {x} mean?", "Explain what {ax} is.",
        "Give a definition of {x}.", "Tell me what {ax} is.", "What is meant by {x}?",
        "Describe {ax}.",
    ],
    "definition_v": [
        "What does it mean to {x}?", "Define the verb {x}.", "What does the word {x} mean?",
        "Explain what it means to {x}.", "Give a definition of {x}.", "Define {x}.",
        "What is meant by {x}?", "Tell me what to {x} means.",
    ],
    "definition_a": [
        "What does {x} mean?", "Define the adjective {x}.", "What does the word {x} mean?",
        "Explain what {x} means.", "Give a definition of {x}.", "Define {x}.",
        "What is meant by {x}?", "Tell me what {x} means.",
    ],
    "kind": [
        "What kind of thing is {ax}?", "What is {ax} a kind of?", "{ax} is a kind of what?",
        "To what category does {ax} belong?", "What type of thing is {ax}?",
        "Classify the word {x}.", "Which group does {ax} belong to?",
    ],
    "example": [
        "Name a kind of {h}.", "Give an example of {ah}.", "What is an example of {ah}?",
        "Tell me one kind of {h}.", "Which thing is a kind of {h}?", "Can you name a kind of {h}?",
    ],
    "parts": [
        "What are the parts of {ax}?", "Name some parts of {ax}.", "What parts does {ax} have?",
        "Which parts make up {ax}?", "List the parts of {ax}.", "Tell me the parts of {ax}.",
    ],
    "opposite": [
        "What is the opposite of {x}?", "What is the antonym of {x}?", "Name the opposite of {x}.",
        "Give the opposite of {x}.", "Which word means the opposite of {x}?",
        "{x} is the opposite of what?", "Tell me an antonym of {x}.",
    ],
    "synonym": [
        "What is another word for {x}?", "What is a synonym of {x}?", "Name a synonym of {x}.",
        "Give another word for {x}.", "Which word means the same as {x}?",
        "Tell me a synonym for {x}.", "What word is similar to {x}?",
    ],
    "use": [
        "Use {x} in a sentence.", "Give an example sentence with {x}.", "How is {x} used?",
        "Show how to use the word {x}.", "Write a phrase with the word {x}.",
        "Make a sentence with {x}.",
    ],
    "yesno": [
        "Is {ax} a kind of {h}?", "Is {ax} {ah}?", "Would you say {ax} is a kind of {h}?",
        "Is it true that {ax} is a kind of {h}?", "Does {ax} count as a kind of {h}?",
        "Tell me if {ax} is a kind of {h}.",
    ],
    "choice": [
        "Which is a kind of {h}, {ap} or {aq}?", "Which one is a kind of {h}: {ap} or {aq}?",
        "{ap} or {aq}: which is a kind of {h}?", "Of {ap} and {aq}, which is a kind of {h}?",
        "Is {ap} or {aq} a kind of {h}?", "Choose the kind of {h}: {ap} or {aq}.",
    ],
}  # fmt: skip

HELD_OUT: dict[str, list[str]] = {
    "definition_n": ["How would you define {x}?", "Could you explain what {ax} is?"],
    "definition_v": ["How would you define {x}?", "Could you explain what it means to {x}?"],
    "definition_a": ["How would you define {x}?", "Could you explain what {x} means?"],
    "kind": ["What sort of thing is {ax}?", "What class of things does {ax} belong to?"],
    "example": ["What would be an example of {ah}?", "Give me one type of {h}."],
    "parts": ["What is {ax} made up of?", "What parts can you find in {ax}?"],
    "opposite": [
        "What word is opposite in meaning to {x}?", "Can you give me an antonym for {x}?",
    ],
    "synonym": [
        "Which other word has the meaning of {x}?", "Can you give me a synonym for {x}?",
    ],
    "use": ["Can you use {x} in a phrase?", "Give me a sentence that contains {x}."],
    "yesno": ["Can {ax} be called a kind of {h}?", "Is {ax} a type of {h}?"],
    "choice": [
        "Between {ap} and {aq}, which is a kind of {h}?", "What is a kind of {h}, {ap} or {aq}?",
    ],
}  # fmt: skip

ANSWERS: dict[str, str] = {
    "definition_n": "{ax} is {text}.",
    "definition_v": "To {x} means to {text}.",
    "definition_a": "{x} means {text}.",
    "kind": "{ax} is a kind of {h}.",
    "example": "One kind of {h} is {ax}.",
    "parts": "The parts of {ax} include {text}.",
    "opposite": "The opposite of {x} is {y}.",
    "synonym": "Another word for {x} is {y}.",
    "use": "For example: {text}.",
    "yes": "Yes, {ax} is a kind of {h}.",
    "no": "No, {ax} is not a kind of {h}.",
    "choice": "{ax} is a kind of {h}.",
}

KEYED = {
    "kind": re.compile(r" is a kind of (?P<key>.+)$"),
    "example": re.compile(r"^one kind of .+? is (?P<key>.+)$"),
    "opposite": re.compile(r"^the opposite of .+? is (?P<key>.+)$"),
    "synonym": re.compile(r"^another word for .+? is (?P<key>.+)$"),
    "choice": re.compile(r"^(?P<key>.+?) is a kind of "),
    "yesno": re.compile(r"^(?P<key>yes|no)\b"),
}
"""Question types that are scored by a key phrase, and the pattern that finds it in an answer."""


def capitalise(sentence: str) -> str:
    """The sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


def normalise(text: str) -> str:
    """Lower case, punctuation replaced by spaces, single spaces: for comparing answers.

    >>> normalise("A self-made  man, yes.")
    'a self made man yes'
    """
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


def key_of(kind: str, answer: str) -> str | None:
    """The key phrase of an answer without its article; None if the sentence has none.

    >>> key_of("kind", "A violin is a kind of bowed stringed instrument.")
    'bowed stringed instrument'
    """
    if kind not in KEYED:
        return None
    match = KEYED[kind].search(normalise(answer))
    return re.sub(r"^(an?|the) ", "", match["key"]) if match else None
