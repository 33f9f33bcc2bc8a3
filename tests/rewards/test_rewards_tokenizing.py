"""Fast tokenizers keep options as state: threads that share one read each text by their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from aps_rewards.tokenizing import token_ids, tokenized

from aps_text.text.prompt_encoding import encode_text


class Stateful:
    """A tokenizer that stores its option, waits, and then reads by what is stored."""

    def __init__(self):
        self.split, self.elsewhere = None, Event()

    def __call__(self, text, split_special_tokens, **options):
        self.split = split_special_tokens
        self.elsewhere.wait(0.05)  # time for another thread to change it
        return {"input_ids": [text, self.split]}


def test_calls_with_other_options_do_not_mix_also_between_generator_and_reward():
    tokenizer, begin = Stateful(), Barrier(6)

    def call(number):
        begin.wait()
        if number < 3:
            return token_ids(tokenizer, number, split_special_tokens=number % 2 == 0)
        return encode_text(tokenizer, str(number), special_tokens=number % 2 == 0)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(call, range(6)))
    assert found == [[0, True], [1, False], [2, True], ["3", True], ["4", False], ["5", True]]


def test_an_error_leaves_the_tokenizer_to_others():
    def broken(*texts, **options):
        raise RuntimeError("no")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no"):
            tokenized(broken, "x")
    assert tokenized(lambda *texts: texts, "a", "b") == ("a", "b")
