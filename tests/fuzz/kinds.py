"""The kinds of input: rewards, reward specs, prompts, settings, files, checkpoints."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from aps_rewards import call_reward, load_reward, parse_reward_spec
from harness import Kind
from hypothesis import strategies as st
from misbehaving import DEEDS, VALUES, reward_of, score
from tiny import tiny_text_model, word_tokenizer, write_tiny
from transformers import BertConfig, BertForSequenceClassification

from aps_text import APSPipeline

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?", "is it a good cat ?"]
SMALL = {"steps": 2, "max_new_tokens": 4}


@functools.cache
def pipe() -> APSPipeline:
    return APSPipeline(tiny_text_model(dtype=torch.float64))


@functools.cache
def scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="aps-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def answers_of(out, count: int) -> str | None:
    if not all(isinstance(text, str) for text in out.text):
        return f"answers that are no text: {out.text!r}"
    if len(out.text) != count:
        return f"{len(out.text)} answers to {count} prompts"
    return None


# Rewards


def use_reward(case) -> str | None:
    name, bad, coroutine, preset, on_error, samples = case
    reward = reward_of(name, {QUESTIONS[i] for i in bad}, coroutine)
    pipe()
    state = torch.get_rng_state()
    out = pipe()(
        QUESTIONS, reward, on_error=on_error, preset=preset, inner_steps=min(1, samples), **SMALL
    )
    if not state.equal(torch.get_rng_state()) or not torch.is_grad_enabled():
        return "the surroundings are changed"
    if sorted(failure.index for failure in out.failures) != sorted(bad):
        return f"failures of {[f.index for f in out.failures]}, not of {sorted(bad)}"
    return answers_of(out, 4 - len(bad))


REWARDS = st.tuples(
    st.sampled_from(sorted([*VALUES, *DEEDS])),
    st.sets(st.sampled_from(range(4)), max_size=4),
    st.booleans(),
    st.sampled_from(["fast", "balanced"]),
    st.sampled_from(["raise", "keep"]),
    st.just(1),
)


# What a reward returns, of any make

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**1024, float("nan"), float("inf"), 1e39, 1j])
    | st.floats()
    | st.text(st.characters(codec=None), max_size=5)
    | st.binary(max_size=5)
    | st.decimals()
    | st.fractions()
    | st.floats(width=32).map(np.float32)
    | st.floats(width=32).map(torch.tensor)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers(), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
        | st.lists(inner, max_size=3).map(iter)
    ),
    max_leaves=8,
)


def use_values(case) -> str | None:
    def reward(completions, **columns):
        return case

    found = call_reward(reward, ["a", "b", "c"], ["x", "y", "z"])
    fine = len(found) == 3 and all(type(v) is float and abs(v) < 3.5e38 for v in found)
    return None if fine else f"scores {found!r}"


# Reward specs

texts = st.text(st.sampled_from([*"abr:=/.,_-1 []\"'~\n\0é", "\ud800"]), max_size=12)
names = st.sampled_from(
    ["length", "keywords", "match", "no_such", "./no", "a.b", "os:path", "x.py"]
)
specs = st.one_of(
    texts,
    st.builds("{}:{}={}".format, names, st.sampled_from(["low", "high", "unit", "present"]), texts),
    st.builds("{}={}".format, names, texts),
)


def use_spec(case) -> str | None:
    if isinstance(case, str):
        name, weight = parse_reward_spec(case)
        call_reward(load_reward(name), ["q"], ["a"])
        return None if np.isfinite(weight) else f"weight {weight}"
    out = pipe()("what ?", case, preset="fast", **SMALL)
    return None if all(np.isfinite(v) for v in out.rewards.get("total", [])) else "no finite total"


def vowels(completions, **columns):
    return [score("", c) for c in completions]


weights = st.one_of(scalars, st.sampled_from([0.5, -1, 0]))
weighted = st.one_of(
    specs,
    st.lists(st.tuples(st.just(vowels), weights), max_size=2),
    st.tuples(st.just(vowels), weights),
    st.dictionaries(st.just(vowels), weights, max_size=1),
    values.filter(lambda v: v is not None),
)


# Prompts

wild = st.text(st.characters(codec=None), max_size=12)
messages = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "name"]),
        st.sampled_from(["user", "assistant", "system", "tool", "what ?"]) | wild | st.none(),
        max_size=3,
    ),
    max_size=3,
)
prompts = st.one_of(
    wild,
    messages,
    values,
    st.lists(st.one_of(wild, messages, values), max_size=3),
    st.just(Path("question.txt")),
    st.lists(wild, min_size=1, max_size=3).map(np.array),
    st.sampled_from(["<|im_end|>", "[SEP]", "[MASK] [MASK]", "[PAD]", "\x1b[2J", "a" * 5000]),
)


def use_prompts(case) -> str | None:
    out = pipe().generate(case, **SMALL)
    if not out.text and not out.failures:
        return "no answer and no failure"
    return answers_of(out, len(out.text))


# Settings


@functools.cache
def setting_names() -> list[str]:
    from aps_text.core.config import DEFAULTS

    return sorted(DEFAULTS)


some = st.one_of(
    st.sampled_from(
        [None, True, False, "auto", "lora", "logits", "", "nonsense", [], {}, (1,), "3"]
    ),
    st.sampled_from([-1, 0, 1, 2, 3, 5, 16, 1.5, 0.0, 1.0, 0.5, -0.5, float("nan"), float("inf")]),
    st.sampled_from([1e-300, 1e300, -(10**400), 2**63]),
    scalars.filter(lambda v: not isinstance(v, int) or abs(v) < 40),
)
COUNTS = (
    *("steps", "inner_steps", "pool_size", "pool_rollout"),
    *("num_samples", "num_return_sequences"),
)


def use_settings(case) -> str | None:
    case = {
        name: 3 if name in COUNTS and isinstance(v, (int, float)) and v > 16 else v
        for name, v in case.items()
    }
    out = pipe()("what ?", vowels, **{**SMALL, "inner_steps": 1, **case})
    return None if out.text and np.isfinite(out.rewards["total"]).all() else "no finite total"


def setting_cases() -> st.SearchStrategy:
    """One or two settings: of another kind than they take, and often the value they have."""
    from aps_text.core.config import DEFAULTS

    other = st.sampled_from(["max_length", "num_beams", "tempreature", "rewards", "generator"])
    wrong = st.tuples(st.sampled_from(setting_names()) | other, some)
    usual = st.sampled_from(setting_names()).map(lambda name: (name, DEFAULTS[name]))
    return st.lists(st.one_of(wrong, usual, usual), min_size=1, max_size=3).map(dict)


# Evaluation files

fields = st.dictionaries(
    st.sampled_from(["question", "answer", "prompt", "gold", "id", "stratum"]),
    scalars.filter(lambda v: isinstance(v, (str, int, float, bool, type(None)))),
    max_size=4,
)


def lines_of(records) -> bytes:
    text = "\n".join(json.dumps(record) for record in records if isinstance(record, dict))
    return text.encode("utf-8", "surrogatepass")


contents = st.one_of(
    st.binary(max_size=60),
    st.lists(fields, max_size=4).map(lines_of),
    st.lists(fields, max_size=3).map(lambda r: json.dumps(r).encode()),
    st.tuples(st.lists(fields, max_size=3).map(lines_of), st.binary(max_size=8)).map(b"\n".join),
    st.text(st.sampled_from(list('question,answer;"\n\t=@1é')), max_size=60).map(
        lambda text: b"question,answer\n" + text.encode("latin-1")
    ),
)
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz", ".txt", ".parquet", ".yaml")
evaluation_files = st.tuples(contents, st.sampled_from(ENDINGS))


def use_file(case) -> str | None:
    from aps_eval.sources import read_records

    data, ending = case
    path = scratch() / f"asked{ending}"
    path.write_bytes(data)
    found = read_records({"path": str(path)})
    for record in found:
        if record.problem:
            record.problem.encode("utf-8")
        if (
            "None" in [v for v in record.values.values() if isinstance(v, str)]
            and b"None" not in data
        ):
            return "the text None for a value that is missing"
    return None if found else "no records and no error"


# Checkpoint folders


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@functools.cache
def base() -> dict[str, bytes]:
    write_tiny(scratch() / "base")
    return files_of(scratch() / "base")


@functools.cache
def classifier() -> dict[str, bytes]:
    folder = scratch() / "classifier"
    tokenizer = word_tokenizer()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        **sizes, vocab_size=len(tokenizer), intermediate_size=48, num_labels=1,
        max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return files_of(folder)


sizes = st.sampled_from([-1, 0, 1, 2, 10**6, 10**12, "32", None, 1.5, True, [], "gelu_none"])
KEYS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "pad_token_id", "hidden_act", "model_type", "architectures",
    "dtype", "type_vocab_size", "layer_norm_eps", "quantization_config", "auto_map",
)  # fmt: skip
changes = st.one_of(
    st.tuples(st.just("config"), st.sampled_from(KEYS), sizes),
    st.tuples(st.just("cut"), st.sampled_from(range(8)), st.integers(0, 400)),
    st.tuples(st.just("drop"), st.sampled_from(range(8)), st.just(0)),
    st.tuples(st.just("write"), st.sampled_from(range(8)), st.binary(max_size=40)),
    st.tuples(st.just("flip"), st.sampled_from(range(8)), st.integers(0, 3000)),
)


def broken_folder(case, whole: dict[str, bytes]) -> Path:
    folder = scratch() / "broken"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    files = dict(whole)
    for what, which, how in case:
        if what == "config":
            config = json.loads(whole["config.json"])
            config[which] = how
            files["config.json"] = json.dumps(config).encode()
            continue
        name = sorted(files)[which % len(files)] if files else None
        if name is None:
            continue
        if what == "drop":
            del files[name]
        elif what == "cut":
            files[name] = files[name][:how]
        elif what == "write":
            files[name] = how
        else:
            at = how % max(1, len(files[name]))
            files[name] = files[name][:at] + b"\xff" + files[name][at + 1 :]
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def use_checkpoint(case) -> str | None:
    folder = broken_folder(case, base())
    loaded = APSPipeline.from_pretrained(folder)
    return answers_of(loaded.generate("what ?", **SMALL), 1)


def use_reward_folder(case) -> str | None:
    reward = load_reward(str(broken_folder(case, classifier())))
    scores = call_reward(reward, QUESTIONS, ["a dog", "", "yes", "no no"])
    return None if len(set(scores)) > 1 else "every answer scores alike"


KINDS = [
    Kind("rewards", REWARDS, use_reward, 1),
    Kind("values", values, use_values, 4),
    Kind("reward specs", weighted, use_spec, 2),
    Kind("prompts", prompts, use_prompts, 2),
    Kind("settings", setting_cases(), use_settings, 2),
    Kind("files", evaluation_files, use_file, 3),
    Kind("checkpoints", st.lists(changes, min_size=1, max_size=2), use_checkpoint, 1),
    Kind("reward folders", st.lists(changes, min_size=1, max_size=2), use_reward_folder, 1),
]
