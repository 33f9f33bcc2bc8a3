"""The card of an answer-quality reward says what it was taught and how it ranks open answers."""

from __future__ import annotations

import json

import pytest
from paths import ROOT

from recipes.answer_quality.card import card

WEIGHTS = ROOT / "rewards/aps_rewards/weights"


@pytest.mark.parametrize("name", ["answer_quality", "answer_quality_report"])
def test_the_card_is_that_of_its_metrics(name):
    results = json.loads((WEIGHTS / name / "metrics.json").read_text(encoding="utf-8"))
    assert (WEIGHTS / name / "README.md").read_text(encoding="utf-8") == card(results)


def test_open_questions_have_their_part():
    path = WEIGHTS / "answer_quality" / "metrics.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    for name in ("open triples", "open", "own", "read"):
        results.pop(name, None)
    results["recipe"].pop("open_pairs", None)
    plain = card(results)
    assert "open" not in plain.split("## Ways")[0].lower().replace("open-", "")
    results["recipe"] |= {"pairs": 12_000, "open_pairs": 34_000}
    results["open triples"] = {"right > wrong": 0.9, "right > broken": 0.975}
    text = card(results)
    assert "| right > wrong | 90.0 |" in text
    assert "| right > broken | 97.5 |" in text
    for said in ("46,000", "12,000", "34,000", "own 20%", "--pairs 12000 --open-pairs 34000"):
        assert said in text
        assert said not in plain
    assert "--corpus recipes/smol_text/data" in text
