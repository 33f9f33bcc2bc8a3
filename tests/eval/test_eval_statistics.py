"""Intervals, paired differences, Holm's adjustment, and what is called better."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from aps_eval.report import statistics
from aps_eval.report.statistics import by_prompt, difference, holm, mean_interval, sign_flip_p
from aps_eval.report.summary import summarise
from aps_eval.report.tables import records, show, show_trials
from rich.console import Console
from test_eval_rows import row


def columns(gap: float, prompts: int = 60, noise: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=prompts) * 5
    better = base + gap + noise * rng.normal(size=prompts)
    name = [str(i) for i in range(prompts)]
    return dict(zip(name, better, strict=True)), dict(zip(name, base, strict=True))


def test_pairing_sees_what_means_hide():
    one, two = columns(0.5)
    found = difference(one, two)
    assert found.low > 0
    assert found.verdict == "better"
    assert found.mean == pytest.approx(np.mean(list(one.values())) - np.mean(list(two.values())))
    assert difference(two, one).verdict == "worse"
    assert difference(one, two, higher_is_better=False).verdict == "worse"
    assert difference(one, two, higher_is_better=False).wins == pytest.approx(1 - found.wins)


def test_noise_is_no_difference_and_its_share_is_as_it_should_be():
    shown = 0
    for seed in range(100):
        found = difference(*columns(0.0, prompts=40, seed=seed))
        shown += found.verdict != "no difference shown"
    assert shown <= 12  # 5 of 100 expected


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        one = mean_interval(rng.normal(size=50))
        covered += one.low <= 0 <= one.high
    assert 180 <= covered <= 199


def test_equal_answers_are_no_difference():
    same = {str(at): float(at) for at in range(6)}
    found = difference(same, same)
    assert (found.mean, found.low, found.high, found.wins, found.p) == (0, 0, 0, 0.5, 1.0)
    assert found.verdict == "no difference shown"
    assert difference({"a": 1.0}, {"b": 1.0}) is None
    assert difference({"a": 2.0, "c": 9.0}, {"a": 1.0, "b": 1.0}).prompts == 1


def test_fewer_prompts_than_six_have_no_verdict_and_no_interval():
    for count, verdict in ((5, "too few prompts"), (6, "better")):
        two = {str(at): 0.1 * at for at in range(count)}
        found = difference({item: value + 1 for item, value in two.items()}, two)
        assert found.verdict == verdict
        assert (found.interval == "") == (count == 5)
        rows = answers("plain", two.values()) + answers("aps", [1 + v for v in two.values()])
        entries = {(one.label, one.value): one for one in summarise(rows)}
        assert (entries["aps", "f1"].low is None) == (count == 5)
        assert entries["aps", "seconds"].low is None  # a share of a batch's


def test_holm():
    base = difference(*columns(0.5))
    from dataclasses import replace

    ps = [0.01, 0.04, 0.03, 0.5]
    found = holm([replace(base, p=p) for p in ps])
    assert [one.p_holm for one in found] == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert [one.verdict for one in found] == ["better", *(["no difference shown"] * 3)]


def answers(label: str, values, *, task="t", seed=0, control=None, **more):
    return [
        row(
            f"{task}{label}{seed}{control}{i}",
            item=str(i),
            task=task,
            label=label,
            method=label,
            seed=seed,
            control=control,
            metrics={"f1": value},
            scores={"guide": {"r": value, "total": value}, "report": {"j": 1 - value}},
            cost={"seconds": 1.0},
            **more,
        )
        for i, value in enumerate(values)
    ]


def test_a_prompt_counts_once_whatever_its_seeds():
    rows = answers("plain", [0.0, 1.0]) + answers("plain", [1.0, 1.0], seed=1)
    assert by_prompt((r, r.metrics["f1"]) for r in rows) == {"0": 0.5, "1": 1.0}
    found = {one.value: one for one in summarise(rows)}
    assert found["f1"].mean == 0.75
    assert (found["f1"].prompts, found["f1"].seeds) == (2, 2)
    assert found["guide:r top"].mean == 1.0
    assert found["report:j top"].mean == 0.5


def test_blocks_controls_tasks_and_failures():
    values = np.linspace(0.0, 0.4, 30)
    rows = answers("plain", values) + answers("aps", values + 0.5)
    rows += answers("aps", values, control="zero")
    rows += answers("plain", values, task="u") + answers("aps", values, task="u")
    lost = [row("lost", item="0", task="u", label="aps", method="aps", error="no")]
    tune = answers("aps", [9.0], task="u", split="tune")
    entries = summarise([*rows, *lost, *tune])
    found = {(e.task, e.label, e.control, e.value): e for e in entries}
    assert found["t", "aps", "", "f1"].difference.verdict == "better"
    assert found["t", "aps", "", "f1"].difference.wins == 1
    assert found["t", "aps", "zero", "f1"].difference.verdict == "no difference shown"
    assert found["u", "aps", "", "f1"].difference.verdict == "no difference shown"
    gap = found["t", "aps", "", "f1"].difference
    assert gap.p_holm == pytest.approx(2 * gap.p)  # two tasks
    assert found["u", "aps", "", "f1"].failed == 1
    assert found["u", "aps", "", "f1"].mean < 1
    assert found["t", "plain", "", "f1"].difference is None
    flat = records(entries)
    assert {len(one) for one in flat} == {len(flat[0])}


def test_strata_are_entries_of_their_own():
    rows = answers("plain", [0.0, 0.2], stratum="x") + answers("plain", [1.0], seed=1, stratum="y")
    found = {(e.stratum, e.value): e.mean for e in summarise(rows, strata=True)}
    assert found["x", "f1"] == pytest.approx(0.1)
    assert found["y", "f1"] == 1
    assert not any(e.stratum for e in summarise(rows))


def test_rounding_and_identical_answers_are_ties():
    one = {str(i): 5.0 + i for i in range(8)}
    near = {item: value * (1 + 1e-6) for item, value in one.items()}
    found = difference(near, one)
    assert (found.mean, found.wins, found.p) == (0, 0.5, 1.0)
    far = {item: value + 1 for item, value in one.items()}
    assert difference(far, one).verdict == "better"
    assert difference(far, one, same=set(one)).verdict == "no difference shown"


def test_small_samples_are_tested_exactly():
    base = {str(i): 1.0 for i in range(10)}
    found = difference({**base, "0": 2.0, "1": 2.5, "2": 3.0}, base)
    assert found.p == 0.25  # 2 of 8 choices of signs; the seven ties say nothing
    assert found.verdict == "no difference shown"
    for k in range(1, 12):
        won = {str(i): 1.0 + (i < k) * (i + 1) for i in range(12)}
        assert difference(won, dict.fromkeys(won, 1.0)).p == pytest.approx(2 / 2**k)


def test_an_interval_of_95_percent_is_as_wide_as_that():
    values = np.random.default_rng(0).normal(size=2000)
    one = mean_interval(values)
    wide = (one.high - one.low) / (2 * values.std() / np.sqrt(2000))
    assert 1.90 < wide < 2.02  # of 90% it would be 1.645


@pytest.mark.parametrize(
    ("gaps", "p"),
    [
        ([0.0, 0.0], 1.0),
        ([2.0], 1.0),
        ([1.0, 2.0], 2 / 4),  # 3 and -3 of 3, 1, -1, -3
        ([1.0, -2.0], 1.0),
        ([1.0, 2.0, 4.0, 0.0], 2 / 8),
        ([-1.0, 2.0, 4.0], 4 / 8),  # 5 or more: 7, 5, -5, -7
        ([1.0, 0.3e-12], 1.0),  # sums that differ by rounding are equal
        ([1.0, 0.75e-12], 2 / 4),  # these differ by 1.5e-12
    ],
)
def test_the_sign_flip_test_counts_the_sums_at_least_as_far_from_0(gaps, p):
    assert sign_flip_p(np.array(gaps)) == p
    assert sign_flip_p(-np.array(gaps)) == p


def test_no_line_of_the_terminals_tables_is_broken():
    """A file that the output goes to is 80 columns wide to rich."""
    name = "a task [bold] with a very long name"
    rows = answers("plain", [0.0, 1.0] * 3, task=name) + answers("aps", [1.0] * 6, task=name)
    rows = [replace(one, rewards={"guide": [{"name": "r" * 40, "weight": 1.0}]}) for one in rows]
    console = Console(file=io.StringIO(), width=30)
    show(summarise(rows), console)
    said = console.file.getvalue().splitlines()
    assert said[0] == f"{name}, guided by {'r' * 40}"
    one = next(line for line in said if line.startswith("f1"))
    other = said[said.index(one) + 1]
    assert one.split() == ["f1", "plain", "6", "0.500", "[0.167,", "0.833]"]
    assert other.split()[:5] == ["aps", "6", "1.000", "[1.000,", "1.000]"]
    assert other.split()[-4:] == ["0.75", "no", "difference", "shown"]
    assert other.index("6") == one.index("6")  # columns stand under each other
    file, few = io.StringIO(), [row for row in rows if int(row.item) < 2]
    show(summarise(few), Console(file=file, width=30))
    assert "[" not in file.getvalue().split("\n", 1)[1].split("Differences")[0].replace("[95%]", "")
    assert file.getvalue().count("too few prompts") == 3  # f1, the guide's and the report's
    assert "Fewer than 6 prompts say nothing about others" in " ".join(file.getvalue().split())


def test_up_to_its_limit_the_test_is_exact():
    assert sign_flip_p(np.ones(statistics.EXACT)) == 2 / 2**statistics.EXACT
    assert sign_flip_p(np.ones(statistics.EXACT + 1)) >= 1 / (statistics.DRAWS + 1)


def test_draws_are_counted_with_the_signs_that_were_found(monkeypatch):
    monkeypatch.setattr(statistics, "DRAWS", 9)
    assert sign_flip_p(np.ones(60)) == 1 / 10  # no draw of 60 signs has one sign only


def test_the_tolerance_grows_with_a_pair_and_with_all_of_them():
    found = statistics.tolerance(np.array([[1.0, -2.0], [4.0, 8.0]]))
    assert found == pytest.approx([2.3e-5, 8.3e-5], rel=1e-12)  # the median size is 3


def test_a_gap_of_just_the_tolerance_is_a_tie(monkeypatch):
    monkeypatch.setattr(statistics, "tolerance", lambda pairs: np.full(len(pairs), 0.5))
    found = difference({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 1.0})
    assert (found.wins, found.mean) == (0.75, 0.5)  # a tie and a win


def test_trials_with_failures_say_how_many():
    trial = {
        "task": "t", "guide": "g", "label": "fk", "settings": {"n": 2}, "value": 0.5, "kept": {},
        "failed": 0, "taken": True, "bounds": {},
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    show_trials([trial, trial | {"failed": 3, "taken": False, "label": "svdd"}], console)
    lines = {
        line.split()[2]: line for line in console.file.getvalue().splitlines() if " n=" in line
    }
    assert "failed" not in lines["fk"]
    assert "taken" in lines["fk"]
    assert lines["svdd"].rstrip().endswith("3 failed")
