"""Steer by a reward of your own: a plain function, then weighed with an installed one.

python examples/own_reward.py
"""

from __future__ import annotations

from aps_text import APSPipeline


def short(prompts, completions, **columns):
    """1 for up to six words, falling to 0 at twelve."""
    return [min(1.0, max(0.0, 2 - len(text.split()) / 6)) for text in completions]


def main() -> None:
    pipe = APSPipeline.from_pretrained("mini")
    questions = ["What is a violin?", "What is a carpenter?"]
    plain = pipe.generate(questions, reward=short)
    steered = pipe(questions, reward={"relevance": 1.0, short: 0.3}, preset="fast")
    for i, question in enumerate(questions):
        print(question)
        print(f"  plain    {plain.text[i]}  (short {plain.rewards['short'][i]:.2f})")
        print(f"  steered  {steered.text[i]}  (short {steered.rewards['short'][i]:.2f})")


if __name__ == "__main__":
    main()
