"""The report's page, from rows of a real small run."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import pytest
from aps_eval.report import curves, examples, page_tables, panels
from aps_eval.report import page as report_page
from aps_eval.report.curves import Point, Series, chart, number, ticks
from aps_eval.report.page import write_page
from aps_eval.report.panels import families_of
from aps_eval.report.statistics import Difference
from aps_eval.report.summary import Entry, summarise
from aps_eval.report.winner import judged_by, winner
from eval_tiny import run_tiny, tiny_grid
from test_eval_statistics import answers

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Tags opened and closed, attributes, and the text outside of styles."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.seen, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def read(path):
    page = Reader()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page, " ".join(" ".join(page.text).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    grid = tiny_grid(
        folder,
        6,
        seeds=[0, 1],
        controls=["zero"],
        report=["eval_tiny:Length", "eval_tiny:Vowels"],
        methods=["plain", "aps", "best-of-n", {"method": "fk", "options": {"particles": 2}}],
    )
    rows, _ = run_tiny(grid, folder / "out", command=["aps", "eval", "--out", "a b"])
    return folder, rows


def test_the_run_writes_a_page_with_every_part(run):
    folder, rows = run
    page, text = read(folder / "out" / "report.html")
    assert page.seen.count("svg") >= 4
    assert "'a b'" in text  # the command as a shell reads it
    settings = json.dumps(report_page._settings(rows), indent=1)  # not wider: it is a long list
    assert f"<pre>{escape(settings)}</pre>" in (folder / "out" / "report.html").read_text()
    assert "torch " in text
    assert "Differences are to plain" in text
    assert "None of" in text
    assert "answers failed" in text
    for label in ("plain", "aps", "aps (zero)", "best-of-n", "fk particles=2"):
        assert label in text
    peers = re.search(r"the best peer here is (best-of-n|fk particles=2)\.", text)
    assert peers is not None
    for row in rows:
        if row.method == "aps" and row.seed == 0 and not row.control:
            assert row.question in text


def test_nothing_is_loaded_from_elsewhere(run):
    folder, _ = run
    page, _ = read(folder / "out" / "report.html")
    assert not {"script", "img", "link", "iframe", "object", "base"} & set(page.seen)
    assert not [a for a in page.attributes if a[1] in ("src", "href", "xlink:href", "action")]
    assert not [a for a in page.attributes if a[1].startswith("on")]
    source = (folder / "out" / "report.html").read_text()
    assert "default-src 'none'" in source
    assert "url(" not in source
    assert "@import" not in source
    assert "prefers-color-scheme: dark" in source


def test_numbers_are_the_summarys(run):
    folder, rows = run
    _, text = read(folder / "out" / "report.html")
    for one in summarise(rows):
        if one.value in ("f1", "report:letters") and one.difference is not None:
            gap = one.difference
            assert f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" in text
            assert number(one.mean) in text


def test_a_report_that_guided_is_marked_and_an_independent_one_is_not(run, tmp_path):
    folder, rows = run
    loud = folder / "out" / "report.html"
    assert "GUIDED BY IT: vowels guided or selected" in read(loud)[1]
    assert loud.read_text().count('class="number guided"') >= 3
    assert "better; <b class='loud-word'>GUIDED BY IT</b>" in loud.read_text()  # at its chart
    independent = [
        replace(
            row,
            rewards={**row.rewards, "report": row.rewards["report"][:1]},
            scores={**row.scores, "report": {"letters": row.scores["report"]["letters"]}},
        )
        for row in rows
    ]
    write_page(independent, tmp_path / "calm.html")
    assert "GUIDED BY IT" not in read(tmp_path / "calm.html")[1]


def test_tokens_are_coloured_by_the_step_that_committed_them(run, tmp_path):
    _, rows = run
    row = next(r for r in rows if r.method == "plain" and len(set(r.committed)) == 2)
    write_page([row], tmp_path / "one.html")
    page, _ = read(tmp_path / "one.html")
    steps = [value for tag, name, value in page.attributes if tag == "span" and name == "title"]
    assert steps == [f"step {step + 1} of {row.steps}" for step in row.committed]
    shades = {v for tag, name, v in page.attributes if name == "style"}
    assert shades == {"--t:0.00", "--t:1.00"}


def test_hostile_text_stays_text(run, tmp_path):
    _, rows = run
    bad = '<script>alert("x")</script> & </main>'
    hostile = [
        replace(
            row,
            question=bad + row.item,
            answer=bad,
            tokens=[bad],
            committed=[0],
            label=row.label + "<i>",
            gold=[bad],
        )
        for row in rows
    ]
    failed = replace(
        hostile[0], key="f", error=bad, answer="", tokens=[], committed=[], metrics={}, scores={}
    )
    write_page(
        [*hostile, failed], tmp_path / "bad.html", {"command": [bad], "versions": {bad: bad}}
    )
    page, text = read(tmp_path / "bad.html")
    assert not {"script", "i"} & set(page.seen)
    assert bad.replace("  ", " ") in text
    assert "1 of" in text
    assert "answers failed" in text
    ordered = {tag for tag, name, value in page.attributes if (name, value) == ("dir", "auto")}
    assert ordered == {"h3", "div"}  # of questions and answers, which may be read right to left


def test_settings_of_one_method_are_one_line_of_a_chart(run, tmp_path):
    _, rows = run
    best = [row for row in rows if row.method == "best-of-n" and not row.control]
    more = [
        replace(
            row,
            key="m" + row.key,
            label="best-of-n samples=9",
            cost={**row.cost, "seconds": 3 * row.cost["seconds"]},
        )
        for row in best
    ]
    families = families_of([*rows, *more])
    assert families["best-of-n"] == families["best-of-n samples=9"]
    assert families["best-of-n"][0] == "best-of-n"
    assert len({color for _, color in families.values()}) == len(set(families.values()))
    write_page([*rows, *more], tmp_path / "two.html", {"matching": []})
    page, _ = read(tmp_path / "two.html")
    before = (run[0] / "out" / "report.html").read_text().count("<polyline")
    assert page.seen.count("polyline") > before


def test_settings_that_differ_between_blocks_are_all_told(run, tmp_path):
    _, rows = run
    other = [replace(r, key="o" + r.key, task="u", options={"samples": 77}) for r in rows[-4:]]
    write_page([*rows, *other], tmp_path / "s.html")
    text = read(tmp_path / "s.html")[1]
    label = other[0].label
    for task in ("asked", "u"):
        assert f'"{label} ({task}, guided by eval_tiny:Vowels)": {{ "method": "fk"' in text
    assert '"samples": 77' in text
    assert '"plain": { "method": "plain"' in text


def test_matching_that_missed_is_said_loudly(run, tmp_path):
    one = {"task": "t", "guide": "g", "label": "fk", "knob": "options.particles", "value": 3}
    one |= {"unit": "seconds", "budget": 1.0, "cost": 2.0, "ratio": 2.0, "matched": False}
    write_page(run[1], tmp_path / "m.html", {"matching": [one]})
    text = read(tmp_path / "m.html")[1]
    assert "particles=3" in text
    assert "NOT MATCHED" in text


def test_a_page_needs_rows(run, tmp_path):
    with pytest.raises(ValueError, match="at least one row of split 'test', got none"):
        write_page([replace(row, split="tune") for row in run[1]], tmp_path / "no.html")


def test_charts_hold_their_points():
    points = (Point(1, 0.5, 0.4, 0.6, "a"), Point(10, -3, -4, -2, "b"))
    drawn = chart([Series("s", 9, points)], across="seconds", up="r")
    places = [tuple(map(float, m)) for m in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert len(places) == 2
    assert places[0][0] < places[1][0]
    assert places[0][1] < places[1][1]  # y grows downwards
    ends = [float(v) for v in re.findall(r'[xy][12]="([-\d.]+)"', drawn)]
    assert min(ends) >= 0
    assert max(ends) <= 340
    assert "stroke-dasharray" in drawn
    assert chart([], across="x", up="y") == ""
    flat = chart([Series("s", 0, (Point(2, 1.0), Point(2, 1.0)))], across="x", up="y")
    assert "nan" not in flat


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1.0]
    assert ticks(0.3, 8.2, whole=True) == [2, 4, 6, 8]
    assert ticks(5, 5) == [5]
    assert all(-3.1 <= t <= 2.9 for t in ticks(-3.1, 2.9))


@pytest.mark.parametrize("count", [1, 5, 6, 7, 10, 100])
def test_it_says_how_many_prompts_of_how_many_are_shown(tmp_path, count):
    rows = [
        replace(row, question=f"asked {row.item} ?", gold=["a dog", "<hound>", "a dog"])
        for label in ("plain", "aps")
        for row in answers(label, [0.0] * count)
    ]
    write_page(rows, tmp_path / "p.html", shown=6)
    _, text = read(tmp_path / "p.html")
    some = f"6 of {count} prompts, evenly spread" if count > 6 else f"all {count}"
    assert f"Shown: {some}, first seed" in text
    asked = [row.item for row in rows[:count]]
    shown = [item for item in asked if f"asked {item} ?" in text]
    assert len(shown) == min(6, count)
    places = [asked.index(item) for item in shown]
    gaps = [b - a for a, b in itertools.pairwise(places)]
    assert max(gaps, default=1) - min(gaps, default=1) <= 1
    assert text.count("expected: a dog or <hound>") == len(shown)


def block(**values):
    """Rows of methods by their values of each prompt."""
    rows = [
        replace(row, scores={"report": {"j": row.metrics["f1"]}})
        for label, numbers in values.items()
        for row in answers(label, numbers)
    ]
    return [one for one in summarise(rows) if not one.stratum]


UP = [0.1 * i + 1 for i in range(12)]
ZERO = [0.0] * 12
MIXED = [(-1.0) ** i for i in range(12)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"plain": ZERO, "aps": UP},
            r"^aps won by .*: \+1\.550 \[.*\] against plain, better on 100%",
        ),
        (
            {"plain": ZERO, "aps": MIXED},
            r"^Nobody won by .*: no difference to plain is shown of aps",
        ),
        (
            {"plain": ZERO, "aps": ZERO},
            r"^Nobody won by .*aps \(\+0\.000 \[\+0\.000, \+0\.000\]\)\.$",
        ),
        ({"plain": UP, "aps": ZERO}, r"^plain won by .*: aps \(-1\.550 .* is worse\.$"),
        (
            {"plain": ZERO, "aps": UP, "fk": UP},
            r"^aps \(.*\) and fk \(.*\) are better than plain .*not",
        ),
        (
            {"plain": UP, "aps": ZERO, "fk": UP},
            r"^Nobody won .* of fk \(.*\); aps \(.*\) is worse\.$",
        ),
        (
            {"plain": ZERO[:5], "aps": UP[:5]},
            r"^Nobody won by .*: 5 prompts are too few to .*; minus plain: aps \(\+1\.200\)\.$",
        ),
        ({"aps": UP}, "^Nobody won by .*: there is no baseline"),
    ],
)
def test_it_says_who_won_by_the_verdict(values, said, tmp_path):
    entries = block(**values)
    assert re.search(said, winner(entries))
    assert winner(entries).count(". ") == 0  # one sentence


def test_two_prompts_are_examples_and_no_result(tmp_path):
    rows = [*answers("plain", [0.0, 0.1]), *answers("aps", [1.0, 0.9])]
    write_page(rows, tmp_path / "two.html")
    _, text = read(tmp_path / "two.html")
    assert "2 prompts are too few to tell" in text
    assert "too few prompts; wins 100%" in text
    assert not re.search(r"\d \[[-+]?\d", text)  # no interval anywhere
    assert "no difference shown;" not in text


def test_seconds_of_a_batch_are_not_taken_for_an_answers_own(tmp_path):
    rows = [*answers("plain", UP), *answers("aps", MIXED)]
    aps = [
        replace(row, cost={"seconds": 0.25 if at < 8 else 0.5 + at})
        for at, row in enumerate(rows[12:])
    ]
    write_page([*rows[:12], *aps], tmp_path / "b.html", shown=12)
    _, text = read(tmp_path / "b.html")
    assert text.count("0.25 s, as each of 8 answered together") == 8
    assert "11.5 s" in text
    assert "11.5 s," not in text
    assert "seconds per prompt: an equal share of its batch's" in text
    costs = [one for one in summarise([*rows[:12], *aps]) if one.value == "seconds"]
    assert [(one.low, one.high) for one in costs] == [(None, None)] * 2


def test_an_answer_that_ended_keeps_its_value_in_the_mean_over_steps():
    held = panels._held([[None, 1.0, None, 3.0], [0.0, 1.0], [None, None, None, None, 8.0]])
    assert held == {0: [0.0], 1: [1.0, 1.0], 3: [3.0, 1.0], 4: [3.0, 1.0, 8.0]}
    rows = answers("aps", [0.0, 0.0])
    rows = [
        replace(row, curve={"r": curve})
        for row, curve in zip(rows, ([1.0, 1.0, 1.0], [5.0]), strict=True)
    ]
    drawn = panels.over_steps(rows, families_of(rows))
    (line,) = re.findall(r'<polyline[^>]*points="([^"]*)"', drawn)
    assert len({point.split(",")[1] for point in line.split()}) == 1  # it stays at 3


def test_the_page_and_the_terminal_say_who_won(run):
    folder, rows = run
    entries = [one for one in summarise(rows) if not one.stratum]
    assert judged_by(entries) == "report:letters"  # vowels guided, and are no judge of themselves
    assert winner(entries) in read(folder / "out" / "report.html")[1]
    alone = [one for one in entries if one.value.startswith("guide:")]
    assert "which guided and is no independent judge" in winner(alone)
    gold = [one for one in entries if one.value in ("f1", "guide:vowels", "words")]
    assert judged_by(gold) == "f1"
    assert judged_by([one for one in entries if one.value in ("words", "seconds")]) is None


def test_axes_hold_what_they_show_and_no_more():
    """Zeros have no axis below 0, values that are alike no ticks that read alike."""
    draw = random.Random(0)
    cases = [[0.0] * 3, [0.5] * 3, [-2.0] * 3, [1e-9] * 2, [100.01, 100.03], [5.0, 5.0 + 1e-9]]
    cases += [[draw.gauss(0, 10**k) for _ in range(4)] for k in range(-6, 6)]
    cases += [[abs(v) for v in case] for case in cases] + [[1e6, 1e6 + 1]]
    for values in cases:
        points = tuple(Point(i + 1, value) for i, value in enumerate(values))
        drawn = chart([Series("s", 0, points)], across="seconds", up="r")
        texts = re.findall(r'text-anchor="end">([^<]*)<', drawn)
        assert len(texts) > 1
        assert len(set(texts)) == len(texts), texts
        numbers = [float(text.replace(",", "")) for text in texts]
        if min(values) >= 0:
            assert min(numbers) >= 0
        if max(values) <= 0 > min(values):
            assert max(numbers) <= 0
        heights = [float(v) for v in re.findall(r'cy="([-\d.]+)"', drawn)]
        assert all(0 <= height <= 220 for height in heights)
        if max(values) == min(values) == 0:
            assert (numbers[0], numbers[-1]) == (0, 1)


def test_a_chart_by_hand():
    """x from 9.2 to 20.8 over pixels 52 to 326, y from 5.8 to -5.8 over 10 to 184."""
    points = (Point(20, -5, -5, 0, "b"), Point(10, 5, None, 5, "a"))
    drawn = chart([Series("s", 0, points)], across="x", up="y")

    def x_of(x):
        return 52 + (x - 9.2) / 11.6 * 274

    def y_of(y):
        return 10 + (5.8 - y) / 11.6 * 174

    def spot(x, y):
        return f"{x_of(x):.1f}", f"{y_of(y):.1f}"

    assert re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn) == [spot(10, 5), spot(20, -5)]
    line = " ".join(",".join(spot(*place)) for place in ((10, 5), (20, -5)))
    assert f'<polyline class="l0" points="{line}"/>' in drawn
    x, low = spot(20, -5)
    high = f"{y_of(0):.1f}"
    assert f'<line x1="{x}" y1="{low}" x2="{x}" y2="{high}" class="l0"/>' in drawn
    assert drawn.count('class="l0"/>') == 1  # an interval without its lower end is not drawn
    for y in (-5, 0, 5):
        at = f"{y_of(y):.1f}"
        assert f'<line x1="52.0" y1="{at}" x2="326.0" y2="{at}" class="axis"/>' in drawn
        assert f'<text x="46.0" y="{y_of(y) + 4:.1f}" text-anchor="end">{y:g}</text>' in drawn
    for x in (10, 15, 20):
        middle = f'<text x="{x_of(x):.1f}" y="200.0" text-anchor="middle">{x}</text>'
        assert middle in drawn
    assert '<text x="189.0" y="216.0" text-anchor="middle">x</text>' in drawn
    assert "<title>a: y 5 at 10 x</title>" in drawn


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ((0, 10), (0, 10.8)),
        ((1, 2), (0.92, 2.08)),
        ((0.05, 1.05), (0, 1.13)),
        ((-10, 0), (-10.8, 0)),
        ((-2, -1), (-2.08, -0.92)),
        ((-1.05, -0.05), (-1.13, 0)),
        ((-1, 1), (-1.16, 1.16)),
        ((2, 2), (0, 4)),
        ((-2, -2), (-4, 0)),
        ((0, 0), (0, 1)),
    ],
)
def test_an_axis_has_an_eighth_more_hundredths_and_crosses_0_only_with_its_values(values, ends):
    assert curves._padded(*values) == pytest.approx(ends)


BETTER = Difference(12, 0.25, 0.1, 0.4, 0.75, 0.01, 0.02)
ENTRY = Entry("t", "", "g", "aps", "", "f1", 12, 1, 0, 0.5, 0.375, 0.625, "plain", BETTER)


@pytest.mark.parametrize(
    ("changes", "cell"),
    [
        (
            {},
            '<td class="number">0.5 [0.375, 0.625]'
            '<span class="gap">+0.250 [+0.100, +0.400]</span>'
            '<span class="gap better">better; wins 75%</span></td>',
        ),
        (
            {"difference": replace(BETTER, higher_is_better=False), "guided_by_it": True},
            '<td class="number guided">0.5 [0.375, 0.625]'
            '<span class="gap">+0.250 [+0.100, +0.400]</span>'
            '<span class="gap worse">worse; wins 75%</span>'
            '<span class="gap"><b class="loud-word">GUIDED BY IT</b></span></td>',
        ),
        (
            {"difference": replace(BETTER, low=-0.1)},
            '<td class="number">0.5 [0.375, 0.625]'
            '<span class="gap">+0.250 [-0.100, +0.400]</span>'
            '<span class="gap ">no difference shown; wins 75%</span></td>',
        ),
        (
            {"value": "seconds"},
            '<td class="number">0.5 [0.375, 0.625]<span class="gap">+0.25</span></td>',
        ),
        ({"difference": None}, '<td class="number">0.5 [0.375, 0.625]</td>'),
        ({"difference": None, "low": None}, '<td class="number">0.5</td>'),
        ({"difference": None, "high": None}, '<td class="number">0.5</td>'),
    ],
)
def test_a_cell_of_the_table_of_values_by_hand(changes, cell):
    one = replace(ENTRY, **changes)
    table = page_tables.values([one], [one.value, "words"])
    assert cell in table
    assert table.count("<td") == 4
    assert "<td></td></tr>" in table  # it has no words
    assert '<th>aps<span class="gap">12 prompts</span></th>' in table


def card(**changes) -> str:
    row = replace(answers("aps", [0.5])[0], answer="a <dog>", scores={}, cost={}, **changes)
    return re.sub(r"<header>.*?</header>|</?div[^>]*>", "", examples.answer(row))


def test_an_answer_is_a_card():
    unrecorded = '<span class="soft"> (its steps are not recorded)</span>'
    assert card() == "a &lt;dog&gt;"
    assert card(tokens=["a", "dog"]) == "a &lt;dog&gt;" + unrecorded
    assert card(tokens=["a", "dog"], committed=[0]) == "a &lt;dog&gt;" + unrecorded
    assert card(error="no <b>") == '<b class="loud-word">failed</b>: no &lt;b&gt;'
    whole = card(tokens=["a", "<"], committed=[2, 0], steps=5)
    assert whole == (
        '<span class="token" style="--t:0.50" title="step 3 of 5">a</span>'
        '<span class="token" style="--t:0.00" title="step 1 of 5">&lt;</span>'
    )
    row = replace(answers("aps", [0.5])[0], answer="")
    assert '<span class="soft">(empty)</span></div>' in examples.answer(row)
    assert 'class="scores">r 0.5, j 0.5; 1 s</div>' in examples.answer(row)


def peers(**reports):
    """Rows of methods by what an independent report gives them; what guides gives the reverse."""
    rows = [row for label, value in reports.items() for row in answers(label, [1 - value] * 2)]
    return [replace(row, rewards={"guide": [{"name": "r", "weight": 1.0}]}) for row in rows]


def test_the_best_peer_is_that_of_the_first_independent_report(tmp_path):
    def said(rows):
        write_page(rows, tmp_path / "p.html")
        return re.search(r"the best peer here is (\w+)\.|no peer ran", read(tmp_path / "p.html")[1])

    rows = peers(plain=0.95, aps=0.9, svdd=0.2, fk=0.8, ets=0.5)
    assert said(rows)[1] == "fk"
    loud = [
        replace(row, scores={"guide": row.scores["guide"], "report": {"r": row.metrics["f1"]}})
        for row in rows
    ]
    assert said(loud)[1] == "svdd"  # its one report guided: by what guides
    silent = [replace(row, scores={}) for row in rows]
    assert said(silent)[1] == "svdd"  # the first
    zeros = [replace(r, key="z" + r.key, control="zero") if r.label == "fk" else r for r in rows]
    assert said(zeros)[1] == "ets"
    assert said([row for row in rows if row.method in ("plain", "aps")])[0] == "no peer ran"


def test_the_total_of_one_reward_is_not_shown_beside_it_and_of_two_it_is(tmp_path):
    rows = answers("plain", [0.0, 1.0]) + answers("aps", [1.0, 1.0])
    two = [
        replace(row, scores={"guide": {"r": 0.5, "s": 0.25, "total": 0.75}, "report": {}})
        for row in rows
    ]
    for some, shown in ((rows, False), (two, True)):
        write_page(
            [*some, *(replace(r, key="1" + r.key, seed=1) for r in some)], tmp_path / "p.html"
        )
        page = (tmp_path / "p.html").read_text()
        assert ("<b>guide:total</b>" in page) == shown
        assert ("<b>guide:total top</b>" in page) == shown
        assert "<b>guide:r</b>" in page
        assert "<b>guide:r top</b>" in page
        charts = re.findall(r"<figcaption>([^ ]+) <span", page)
        assert ("guide:total" in charts) == shown
        assert "guide:r" in charts
        assert not [name for name in charts if name.startswith("words")]
        assert " top <span" not in page  # the best of a prompt's seeds has no chart


def test_labels_of_one_method_are_a_family_and_a_family_of_its_own_is_named(run):
    first = run[1][0]
    method = {"a": replace(first, label="a"), "b": replace(first, label="b")}
    named = {name: replace(first, label=name, family="both") for name in ("c", "d")}
    families = families_of([*method.values(), *named.values()])
    assert families["a"] == families["b"] == (first.method, 0)
    assert families["c"] == families["d"] == ("both", 1)


def test_the_chart_of_a_judge_that_guided_says_so(run):
    html = (run[0] / "out" / "report.html").read_text()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    (guided,) = [text for text in captions if "GUIDED BY IT" in text]
    assert guided.startswith("report:vowels ")
    assert any(text.startswith("report:letters ") for text in captions)
