"""Further phrasings of the questions, for training alone: people ask in many ways.

The prompts that measure the model (`measure`, the task `sentences`) use those of `prompts`.
"""

from __future__ import annotations

__all__ = ["MORE"]

_SENTENCE = (
    "Please write a sentence about {a}.",
    "Can you write a sentence about {a}?",
    "Give me a sentence about {a}.",
    "Write something about {a}.",
    "Tell me something about {a}.",
    "A sentence about {a}, please.",
)
MORE: dict[str, tuple[str, ...]] = {
    "what": ("What's {a}?", "Can you tell me what {a} is?", "What is the meaning of {x}?",
             "Tell me about {a}.", "what is {a}"),
    "describe": ("Describe {a} in one sentence.", "Describe your favorite {x} in one sentence.",
                 "Tell me about your favorite {x}.", "Please describe {a}.",
                 "Can you describe {a}?", "describe {a}"),
    "sentence": _SENTENCE,
    "pair": _SENTENCE,
    "happy": ("Write something happy about {a}.", "Please write a happy sentence about {a}.",
              "Give me a cheerful sentence about {a}.", "Tell me something good about {a}."),
    "sad": ("Write something sad about {a}.", "Please write a sad sentence about {a}.",
            "Give me a gloomy sentence about {a}.", "Tell me something bad about {a}."),
    "use": ("What can I do with {a}?", "Tell me what {a} is for.", "What do you do with {a}?"),
    "where": ("Where do I find {a}?", "Tell me where {a} can be found.", "Where is {a}?"),
    "does": ("What does {a} do all day?", "What is it that {a} does?"),
    "why": ("Why do we need {a}?", "Why should I care about {a}?", "Tell me why {a} is important."),
    "advice": ("Give me a tip about {a}.", "Do you have any advice about {a}?",
               "What should I do with {a}?"),
    "poem": ("Write a poem about {x}.", "Write a short poem about {x}.",
             "Please write a poem about {a}.", "Compose a short poem about {a}.",
             "Give me a short poem about {x}.", "Can you write a poem about {a}?"),
    "simple": ("What does {x} mean, in simple words?", "Explain {x} simply.", "Explain {x}.",
               "Tell a child what {x} is."),
    "word": ("Please use {x} in a sentence.", "Make a sentence with {x}.",
             "Write a sentence that uses the word {x}.", "Give a sentence with {x}."),
    "mean": ("Tell me what it means to {x}.", "What is the meaning of {x}?"),
    "how": ("When do you {x}?", "Why would someone {x}?", "Why do we {x}?"),
    "meaning": ("What does it mean to be {x}?", "Tell me what {x} means.", "Explain {x}."),
    "example": ("Tell me something {x}.", "Which things are {x}?", "Name something {x}."),
    "about": ("Write about something {x}.", "Tell me about something {x}."),
}  # fmt: skip
"""By kind; slots as in `prompts`."""
