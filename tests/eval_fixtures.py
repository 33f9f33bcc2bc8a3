"""Twenty items of each published set's layout, written for these tests."""

from __future__ import annotations

import json
from pathlib import Path

THINGS = (
    "apple pear plum fig nut egg cup hat pen key cart bell coin drum lamp rope shoe fork bag box"
)
PEOPLE = """Ann Bob Cleo Dan Eve Finn Gia Hal Ida Jon Kim Leo Mia Ned Ona Pia Quin Rue Sam Tess"""


def write_sets(folder: Path) -> Path:
    """Files as `gsm8k`, `svamp`, `bbh` and `countdown` lay them out."""
    things, people = [f"{word}s" for word in THINGS.split()], PEOPLE.split()
    gsm8k, svamp, counting, logic, dates, steps, sports, countdown = ([] for _ in range(8))
    for i, (name, thing) in enumerate(zip(people, things, strict=True)):
        a, b = i + 3, 2 * i + 1
        gsm8k.append(
            {
                "question": f"{name} has {a} {thing} and gets {b * 1000:,} more. How many?",
                "answer": f"{a}+{b}000=<<{a}+{b}000={a + b * 1000}>>.\n#### {a + b * 1000:,}",
            }
        )
        svamp.append(
            {
                "ID": f"own-{i}",
                "Body": f"{name} had {a + b} {thing} and lost {b}",
                "Question": f"How many {thing} are left?",
                "Equation": f"( {a + b}.0 - {b}.0 )",
                "Answer": float(a),
                "Type": "Subtraction",
            }
        )
        counting.append({"input": f"I have {a} {thing}. How many do I have?", "target": str(a)})
        value = (i % 2 == 0) and (i % 3 == 0)
        logic.append({"input": f"{i % 2 == 0} and {i % 3 == 0} is", "target": str(value)})
        dates.append(
            {
                "input": f"Today is day {a}. Which is tomorrow?\nOptions:\n(A) {a}\n(B) {a + 1}",
                "target": "(B)",
            }
        )
        there = "back" if i % 2 else "forward"
        back = "Yes" if there == "back" else "No"
        steps.append(
            {
                "input": f"Take {a} steps forward. Take {a} steps {there}. Options:\n- Yes\n- No",
                "target": back,
            }
        )
        sports.append(
            {
                "input": f'Is it plausible? "{name} {"kicked" if i % 2 else "drank"} the ball."',
                "target": "yes" if i % 2 else "no",
            }
        )
        countdown.append(
            {
                "input": f"{a},{b},{i + 2},{a * b + i + 2}",
                "output": f"{a}*{b}={a * b},{a * b}+{i + 2}={a * b + i + 2}",
            }
        )
    for name in ("gsm8k", "svamp", "bbh", "countdown"):
        (folder / name).mkdir(parents=True)
    lines(folder / "gsm8k" / "test.jsonl", gsm8k)
    lines(folder / "countdown" / "cd3_test.jsonl", countdown)
    (folder / "svamp" / "SVAMP.json").write_text(json.dumps(svamp))
    for name, examples in {
        "object_counting": counting,
        "boolean_expressions": logic,
        "date_understanding": dates,
        "navigate": steps,
        "sports_understanding": sports,
    }.items():
        text = json.dumps({"canary": "ours", "examples": examples})
        (folder / "bbh" / f"{name}.json").write_text(text)
    return folder


def lines(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
