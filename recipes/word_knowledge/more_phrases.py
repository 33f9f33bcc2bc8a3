"""Further training phrasings, so that the model understands more ways of asking.

The bundled questions of strata B and C use the phrasings in `phrases.TRAIN`; these ones are used in
training only. None is a held-out phrasing.
"""

from __future__ import annotations

__all__ = ["MORE"]

_DEFINE = [
    "What's the meaning of {x}?", "{x} means what?", "What do people mean by {x}?",
    "Meaning of {x}?", "Could you tell me the definition of {x}?", "What is the sense of {x}?",
    "I want to know what {x} means.",
]  # fmt: skip

MORE: dict[str, list[str]] = {
    "definition_n": [*_DEFINE, "What's {ax}?", "Please describe what {ax} is."],
    "definition_v": [*_DEFINE, "What do you do when you {x}?", "Can you explain the verb {x}?"],
    "definition_a": [*_DEFINE, "When is something {x}?", "Can you explain the word {x}?"],
    "kind": [
        "What would you call {ax} in general?", "Into which category does {ax} fall?",
        "In what category is {ax}?", "Name the category of {ax}.", "What is {ax}, in a word?",
        "How would you classify {ax}?", "Of what kind is {ax}?", "Tell me the class of {ax}.",
        "What general thing is {ax}?",
    ],
    "example": [
        "Show me one example of {h}.", "What is one kind of {h}?", "Which {h} do you know?",
        "Mention some {h}.", "Could you give an example of {h}?", "An example of {h}, please.",
        "Do you know {ah}?", "What kinds of {h} are there?",
    ],
    "parts": [
        "What belongs to {ax}?", "Of what parts does {ax} consist?", "What does {ax} consist of?",
        "Tell me what {ax} has.", "What are some components of {ax}?", "Which parts has {ax}?",
        "Where do you divide {ax}?",
    ],
    "opposite": [
        "What's the opposite of {x}?", "What is the contrary of {x}?", "Opposite of {x}?",
        "What is the reverse of {x}?", "Can you tell me the opposite of {x}?",
        "Find an antonym for the word {x}.", "What stands opposite to {x}?",
        "What is an opposite word to {x}?", "Could you name a word opposite to {x}?",
        "I need a word that is the contrary of {x}.", "Not {x}, but what?",
        "Which word has the contrary sense of {x}?",
    ],
    "synonym": [
        "What's another word for {x}?", "Another word for {x}?", "Find a synonym for the word {x}.",
        "What other word can I use for {x}?", "Could you name a word like {x}?",
        "Which word can replace {x}?", "How else can I say {x}?", "Say {x} in another way.",
        "Which other word means {x}?", "I need another word with the sense of {x}.",
        "Can you tell me a word that means {x}?", "What is the same as {x}?",
    ],
    "use": [
        "Show me a sentence that has {x} in it.", "Could you write a sentence using {x}?",
        "An example of {x} in use, please.", "Say something with the word {x}.",
        "Put {x} in a sentence.", "Let me see {x} in a phrase.", "Use the word {x}.",
    ],
    "yesno": [
        "Does {ax} belong to the kind {h}?", "Could you call {ax} {ah}?", "{ax} is {ah}, right?",
        "Do you count {ax} as {ah}?", "Is {ax} some kind of {h}?", "Is {ax} {ah} or not?",
    ],
    "choice": [
        "{ap}, {aq}: which one is {ah}?", "Which of the two is {ah}, {ap} or {aq}?",
        "Which belongs to the kind {h}, {ap} or {aq}?", "Of these, which is {ah}: {ap} or {aq}?",
        "Tell me which is a kind of {h}: {ap} or {aq}.",
    ],
}  # fmt: skip
