"""Answers that older rules have read are read again from their texts; rules have a version."""

from __future__ import annotations

import dataclasses
import itertools

from aps_eval.extraction import RULES, extract
from aps_eval.items import Item
from aps_eval.measures import NOT_FOUND, measure
from aps_eval.rows import digest
from aps_eval.run.answering import Answerer
from aps_eval.run.runner import planned, run
from aps_eval.store import RowStore, read_rows
from eval_tiny import tiny_grid, tiny_pipe

SAID = [
    *("{}", "The answer is {}.", "Answer: {}", "It is {}, I think, or so", "not {}", "{} (five)"),
    *("If the answer is {}, well", "Q: which? A: {}", "{} or 7 (C)", "\\boxed{{{}}}", "#### {}"),
    *("Is it {}? No", "So {}, by step 2.", "{} is wrong", "both {} and B", "no {}", "**{}**"),
    *("between {} and 9", "The answer is, as in (2), {}", "I choose {}", "as {} = 8", "-{}"),
    *("The answer is 9. Wait, no, it is {}", "{}. Wait, that is wrong", "9. Actually, {}"),
    "9. Wait, let me check: {} and so on. That is right",
    *("9. Actually, I forgot some, so it is {}", "He carried over {}"),
    *("{}\nbecause of that", "probably {}", "either {} or not", "{}, not 4", "the {} of 3"),
    *(
        "x = {}",
        '"{}"',
        "({})",
        "If {} is wrong, (B)",
        "If not 7, {}",
        "Only if x is it {}",
        "2({})",
    ),
]
ANSWERS = [
    *("5", "B", "(B)", "yes", "no", "true", "False", "cat", "a dog", "1,234.5", "3/4", "five"),
    *("two dozen", "5%", "2x", "1,2,3", "A, B", "2^3", "10:30", "5-10", "3 x 10^8", "-7", "i"),
    *("option C", "28 November 2026", "H2O", "5 kg", "$5", "½", "nope", "cat or dog", "minus two"),
    *(".5", "1 000", "1/2 million", "5 x 10^3 million", "5 million and a half", "over five"),
    *("above 5", "O’Brien", "O'Brien"),
]
READ = {
    2: "03ade7c6cabf72bc8d15d063db93d80bfdeebdf8d3c583cc36b0ef89e9a0ff14",
    3: "a617735ac6ef8cf3fa9ebd8b431fb1c7d05c0709190808fd0218f9818c900b9f",
    4: "550a1699060b828223603cbc23a643cb6a2ee6763dc0a709c1712a2cbb799152",
    5: "fec2ec2941f9e2e96fa12c522c0129e3928aff0a6c7cebd618f5592793a02252",
    6: "a78736810b15a0eac50a2dc05c03a630fa5fd077fe7564c6006312e2780ea160",
    7: "798a4b83f8792fd29f77769e91829ca37db40674199414de4d1d4d2c52952dfd",
    8: "c3abdd34dc21897386ea924dd2583f84b71c5f90aa8b75ba91c0fd930299623a",
}
"""By version: the digest of what is read and measured. A change of rules is a new version of both
`aps_eval.extraction.RULES` and this."""


def test_what_is_read_changes_with_the_version_only():
    texts = [said.format(one) for said, one in itertools.product(SAID, ANSWERS)]
    choices = ["cat", "dog", "5"]
    found = [
        [extract(how, text, words if how == "choice" else [])]
        for text in texts
        for how, words in [
            *(("number", []), ("choice", []), ("choice", choices)),
            *(("yes_no", []), ("boolean", [])),
        ]
    ]
    assert sum(one != [None] for one in found) > 900
    names = [*("exact", "f1", "rouge_l", "accuracy", "numeric", "contains"), "repetition", "empty"]
    item = Item(id="0", prompt="?", gold=["5", "1,234.5"])
    scores = [measure(names, [text], [extract("number", text)], [item])[0] for text in texts]
    name = Item(id="1", prompt="?", gold=["O'Brien"])
    scores += [measure(["exact", "f1", "contains"], [text], [text], [name])[0] for text in texts]
    rounded = [{k: v if v is None else round(v, 9) for k, v in one.items()} for one in scores]
    assert digest([found, rounded]) == READ.get(RULES), (
        "answers are read otherwise than before: raise aps_eval.extraction.RULES by one, and put "
        f"{digest([found, rounded])!r} under it here"
    )


def test_an_answer_that_older_rules_have_read_is_read_again_and_not_made_again(tmp_path):
    grid = tiny_grid(tmp_path, 3)
    answerer = Answerer(tiny_pipe())
    items = {cell.task.name: cell.task.items("test") for cell in grid.cells}
    plan = planned(answerer, grid.cells, items, grid.seeds)
    file = tmp_path / "rows.jsonl"
    made = run(answerer, plan, RowStore(file)).made
    right = {row.key: row for row in read_rows(file)}
    assert {row.rules for row in right.values()} == {RULES}
    old = [
        dataclasses.replace(row, rules=0, extracted="old", metrics={**row.metrics, "words": -1.0})
        for row in right.values()
    ]
    file.write_text("".join(row.to_json() + "\n" for row in old))
    store = RowStore(file)
    answerer.pipe = _NoCalls()  # type: ignore[assignment]
    tally = run(answerer, plan, store)
    assert (tally.made, tally.kept) == (0, made)
    assert {row.key: row for row in store.rows()} == right
    assert {row.key: row for row in read_rows(file)} == right
    assert {row.key: row for row in RowStore(file).rows()} == right  # a file of both is whole
    assert len(file.read_text().splitlines()) == 2 * made
    run(answerer, plan, RowStore(file))
    assert len(file.read_text().splitlines()) == 2 * made  # once


def test_an_answer_in_which_nothing_is_found_any_more_says_so(tmp_path):
    grid, answerer = tiny_grid(tmp_path, 1), Answerer(tiny_pipe())
    cell = grid.cells[0]
    number = dataclasses.replace(cell, task=dataclasses.replace(cell.task, extract="number"))
    (unit,) = planned(answerer, [number], {cell.task.name: cell.task.items("test")}, [0])[0]
    row = answerer.row(unit, answer="5")
    assert answerer.measured_again(unit, row).metrics[NOT_FOUND] == 0
    none = answerer.measured_again(unit, dataclasses.replace(row, answer="none"))
    assert (none.extracted, none.metrics[NOT_FOUND]) == (None, 1)


class _NoCalls:
    """A pipeline that cannot be called."""

    batch_size = 4
