"""Two rewards in a package of their own: a function, and a class with options and metadata."""

from __future__ import annotations


def brevity(prompts, completions, *, words=12, **columns):
    """1 up to `words` words, falling to 0 at twice that."""
    return [min(1.0, max(0.0, 2 - len(text_of(c).split()) / words)) for c in completions]


class ShortWords:
    """How short the words are; gamed by "a a a"."""

    name = "short-words"
    measures = "1 divided by the mean word length"
    range = (0.0, 1.0)
    differentiable = False
    licence = "CC0 (no weights)"

    def __init__(self, power=1.0):
        self.power = power

    def __call__(self, prompts, completions, completion_ids=None, **columns):
        """None where there are no words: the reward does not apply."""
        scores = []
        for completion in completions:
            words = text_of(completion).split()
            mean = sum(map(len, words)) / len(words) if words else None
            scores.append(None if mean is None else mean**-self.power)
        return scores


def text_of(completion):
    """Completions are strings, or chat messages where the prompts were messages."""
    return completion if isinstance(completion, str) else completion[-1]["content"]
