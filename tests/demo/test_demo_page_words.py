"""Warnings on the page name its controls, and no setting that it has none for."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from aps_text.core.routing import DEFAULTS
from aps_text.demo.page_words import for_the_page
from aps_text.pipelines import comparison, diagnosis, output_builder, unvaried, wording

OF_PYTHON = "|".join([name for name in DEFAULTS if "_" in name] + ["aps_rewards", "aps rewards"])
OF_PYTHON += "|(estimator|bridge|relaxation)=|temperature"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "the reward rose not; try another seed, a larger pool_size than 8 or a smaller beta "
            "than 0.1",
            "the reward rose not; try another Seed or a smaller Beta than 0.1",
        ),
        ("try another seed or a larger pool_size than 8", "try another Seed"),
        (
            "the canvas of 8 tokens was full within a sentence: plain, aps; raise max_new_tokens",
            "the canvas of 8 tokens was full within a sentence: plain, aps; raise Tokens. Tokens "
            "and Steps stand under More rewards and length.",
        ),
        (
            "reward 'a' never varied; ask for what it rewards in the question, draw more answers "
            "by a larger pool_size, or try it on answers that differ: aps rewards try a "
            '"question" "answer"',
            "reward 'a' never varied; ask for what it rewards in the question, or try another "
            "reward, or other Options of this one",
        ),
        (
            "reward 'a' never varied; try it on answers that differ: aps_rewards.call_reward("
            'reward, ["question"], ["answer"])',
            "reward 'a' never varied; try another reward, or other Options of this one",
        ),
        ("the answer repeats more than 30% of its word pairs", None),
        ("the question is empty; type one", None),
    ],
)
def test_advice_is_about_the_controls(said, shown):
    assert for_the_page(said) == (said if shown is None else shown)


def texts(module):
    """Every text of a module, with 8 for each value in it, but its docstrings."""
    tree = ast.parse(inspect.getsource(module))
    inside = {
        part for one in ast.walk(tree) if isinstance(one, ast.JoinedStr) for part in one.values
    }
    for one in ast.walk(tree):
        if isinstance(one, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "8" for part in one.values
            )
        elif isinstance(one, ast.Constant) and isinstance(one.value, str) and one not in inside:
            yield one.value


def test_no_warning_names_a_setting_that_the_page_does_not_have():
    seen = 0
    for module in (comparison, diagnosis, output_builder, unvaried, wording):
        for text in texts(module):
            sentence = " " in text and "\n" not in text
            piece = re.match(r"a larger pool_size than|aps.rewards[. ]", text)  # see above
            if sentence and not piece:
                seen += bool(re.search(OF_PYTHON, text))
                assert not re.search(OF_PYTHON, for_the_page(text)), text
    assert seen >= 6
