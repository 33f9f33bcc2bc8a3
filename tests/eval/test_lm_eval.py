"""The adapter to lm-evaluation-harness: its likelihood by enumeration, a local task offline."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from aps_eval.lm_eval.likelihood import Span, greedy, log_likelihoods, masked_sets
from test_bridge import byte_bpe
from tiny import tiny_bert, tiny_text_model, word_tokenizer
from worlds import TableDenoiser, all_answers, factor_world, joint_table

from aps_text import APSPipeline
from aps_text.core.config import APSConfig
from aps_text.methods.fk_steering import FKSteering
from aps_text.models.registry import wrap

LENGTH, SYMBOLS = 3, 4
TABLE = joint_table(LENGTH, SYMBOLS, 4, sharp=1.5)


def bind_table(prompts, lengths):
    return TableDenoiser(TABLE.expand(len(prompts), -1, -1, -1))


def test_the_estimate_is_log_p_of_a_joint_distribution():
    """Conditionals of one joint: every order of filling multiplies to log p(x)."""
    answers = all_answers(LENGTH, SYMBOLS).tolist()
    spans = [Span((), (), tuple(answer)) for answer in answers]
    exact = TABLE.flatten().log()
    found = torch.tensor(
        [log_likelihoods(bind_table, spans, samples=400, seed=s, batch_size=9999) for s in range(8)]
    )
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - exact).abs() < 6 * error + 1e-9).all()
    assert (found.mean(0) - exact).abs().max() < 0.1


def test_given_tokens_are_conditioned_on():
    """log p(x_2 | x_0, x_1): one token takes one forward and is exact."""
    spans = [Span((), (0, 1), (token,)) for token in range(SYMBOLS)]
    found = log_likelihoods(bind_table, spans, samples=50)
    law = TABLE[0, 0, 1] / TABLE[0, 0, 1].sum()
    assert found == pytest.approx(law.log().tolist())


def bound_by_enumeration(model, prompt, target):
    """`mean_l mean_S L/l sum_S log x_theta` over all sets, one forward each."""
    length, total = len(target), 0.0
    for size in range(1, length + 1):
        sets = list(itertools.combinations(range(length), size))
        for hidden in sets:
            z = torch.tensor([target])
            z[0, list(hidden)] = model.parts.mask_id
            denoiser = model.bind([prompt], [length], 1)
            where = torch.zeros(size, dtype=torch.long), torch.tensor(hidden)
            log_x = denoiser.logits(denoiser.trunk(z), where).log_softmax(-1)
            value = sum(log_x[i, target[at]].item() for i, at in enumerate(hidden))
            total += value * length / size / len(sets) / length
    return total


def test_the_estimate_is_unbiased_for_a_network_whose_conditionals_agree_with_no_joint():
    model = tiny_text_model(dtype=torch.float64)
    targets = [
        model.tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in ("a big dog", "the red house")
    ]
    prompts = [model.encode(text) for text in ("who ?", "what is a house ?")]
    spans = [Span(tuple(p), (), tuple(t)) for p, t in zip(prompts, targets, strict=True)]

    def bind(asked, lengths):
        return model.bind(asked, lengths, 1)

    exact = torch.tensor(
        [bound_by_enumeration(model, p, t) for p, t in zip(prompts, targets, strict=True)]
    )
    found = torch.tensor(
        [log_likelihoods(bind, spans, samples=32, seed=s, batch_size=64) for s in range(10)]
    )
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - exact).abs() < 5 * error).all()
    assert (error < exact.abs() / 20).all()


def test_masks_are_of_every_size_and_uniform():
    many = 6000
    number, total = torch.arange(many), torch.full((many,), many)
    starts, lengths = torch.full((many,), 2), torch.full((many,), 4)
    hidden, count = masked_sets(starts, lengths, number, total, 7, seed=3)
    assert hidden.sum(-1).equal(count)
    assert not hidden[:, [0, 1, 6]].any()
    assert torch.bincount(count).tolist()[1:] == pytest.approx([many / 4] * 4, abs=1)
    pairs = hidden[count == 2][:, 2:6]
    seen = torch.bincount((pairs * torch.tensor([1, 2, 4, 8])).sum(-1), minlength=16)
    each = seen[[3, 5, 6, 9, 10, 12]].double() / len(pairs)
    assert (each - 1 / 6).abs().max() < 0.05


def test_greedy_is_what_plain_decoding_gives():
    denoiser = bind_table([()], [3])
    z = torch.full((1, LENGTH), SYMBOLS)
    for _ in range(LENGTH):
        where = (z == SYMBOLS).nonzero().unbind(-1)
        best = denoiser.logits(z, where)[:, :SYMBOLS].max(-1)
        at = int(best.values.argmax())
        z[0, where[1][at]] = best.indices[at]
    answers = all_answers(LENGTH, SYMBOLS).tolist()
    spans = [Span((), (), tuple(answer)) for answer in answers]
    found = greedy(bind_table, spans, SYMBOLS, SYMBOLS + 1, batch_size=999)
    assert [a for a, yes in zip(answers, found, strict=True) if yes] == z.tolist()


def test_rows_of_similar_length_share_a_pass():
    bound, world = [], factor_world(LENGTH, SYMBOLS, 1)

    def bind(prompts, lengths):
        bound.append([len(p) + n for p, n in zip(prompts, lengths, strict=True)])
        return world.take(torch.zeros(len(prompts), dtype=torch.long))

    sizes = [(9, 1), (1, 3), (5, 2), (2, 1), (7, 3), (1, 1), (4, 3)]
    spans = [Span((0,) * before, (), (1,) * after) for before, after in sizes]
    found = log_likelihoods(bind, spans, samples=3, batch_size=4)
    rows = sorted(a + b for a, b in sizes for _ in range(3 if b > 1 else 1))
    assert [n for part in bound for n in part] == rows
    assert [len(part) for part in bound] == [4, 4, 4, 3]
    alone = [log_likelihoods(bind, [span], samples=3)[0] for span in spans]
    assert found == pytest.approx(alone)
    assert found[0] == pytest.approx(world.log_probs[0, 0, 1].item())


harness = pytest.importorskip("lm_eval", reason="lm-eval is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model, a data file and two task files."""
    path = tmp_path_factory.mktemp("lm_eval")
    tokenizer = word_tokenizer()
    model = tiny_text_model()
    model.parts.model.save_pretrained(path / "model")
    tokenizer.save_pretrained(path / "model")
    docs = [
        {"question": "what is a dog ?", "choices": ["a big animal", "red"], "label": 0},
        {"question": "what is a violin ?", "choices": ["a tree", "an instrument"], "label": 1},
        {"question": "why ?", "choices": ["yes", "no"], "label": 0},
    ]
    data = path / "docs.jsonl"
    data.write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    source = f"""
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
doc_to_text: "{{{{question}}}}"
"""
    (path / "tiny_choice.yaml").write_text(
        f"task: tiny_choice\noutput_type: multiple_choice\n{source}"
        "doc_to_choice: choices\ndoc_to_target: label\n"
        "metric_list:\n  - {metric: acc}\n  - {metric: acc_norm}\n"
    )
    (path / "tiny_answer.yaml").write_text(
        f"task: tiny_answer\noutput_type: generate_until\n{source}"
        'doc_to_target: "{{choices[label]}}"\n'
        'generation_kwargs: {until: ["e"], max_gen_toks: 6}\n'
        "metric_list:\n  - {metric: exact_match}\n"
    )
    (path / "tiny_text.yaml").write_text(
        f"task: tiny_text\noutput_type: loglikelihood_rolling\n{source}"
        'doc_to_target: "{{question}}"\n'
        "metric_list:\n  - {metric: word_perplexity}\n"
    )
    return path


def test_a_local_task_runs_offline_steered_by_a_reward(folder, capsys, monkeypatch):
    from aps_eval.lm_eval.command import main

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    command = ["--tasks", "tiny_choice,tiny_answer", "tiny_text", "--include-path", str(folder)]
    command += [
        "--trust-code",
        "--model",
        str(folder / "model"),
        "--method",
        "aps",
        "--reward",
        "sentiment",
    ]
    command += ["--set", "steps=3", "inner_steps=1", "--likelihood-samples", "3"]
    out = folder / "found.json"
    assert main([*command, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "aps, guided by sentiment" in shown
    assert "tiny_choice" in shown
    found = json.loads(out.read_text())
    assert found["aps"]["config"]["steps"] == 3
    assert 0 <= found["results"]["tiny_choice"]["acc,none"] <= 1
    assert found["results"]["tiny_text"]["word_perplexity,none"] > 1
    answers = [one["resps"][0][0] for one in found["samples"]["tiny_answer"]]
    assert len(answers) == 3
    assert not any("e" in answer for answer in answers)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ([], (5, 3, 0)),
        (["--preset", "fast"], (5, 16, 0)),
        (["--set", "steps=2"], (2, 3, 0)),
        (["--method", "aps-logits", "--reward", "length"], (5, 8, 1)),  # it has no pool
    ],
)
def test_the_command_takes_the_settings_of_the_model(folder, monkeypatch, more, found):
    from aps_eval.lm_eval import command

    pool = {"inner_steps": 0, "pool_size": 3}
    own = {"steps": 5, "presets": {"balanced": pool}}
    pipe = APSPipeline(replace(tiny_text_model(), settings=own))
    monkeypatch.setattr(APSPipeline, "from_pretrained", lambda *_, **__: pipe)

    class Met(Exception):
        pass

    def noted(lm, **_):
        config = lm.config.flat()
        raise Met(tuple(config[name] for name in ("steps", "pool_size", "inner_steps")))

    monkeypatch.setattr("lm_eval.simple_evaluate", noted)
    given = ["--method", "aps", "--reward", "length"] if "--method" not in more else []
    asked = ["--tasks", "tiny_answer", "--include-path", str(folder), "--trust-code"]
    with pytest.raises(Met) as met:
        command.main([*asked, *given, *more])
    assert met.value.args[0] == found


@pytest.mark.slow
def test_the_command_itself_runs_a_local_task_offline(folder, tmp_path):
    command = [sys.executable, "-m", "aps_text.cli", "eval", "--trust-code", "--lm-eval"]
    command += ["--tasks", "tiny_choice,tiny_answer", "--include-path", str(folder)]
    command += ["--model", str(folder / "model"), "--method", "best-of-n:samples=2"]
    command += ["--reward", "sentiment", "--set", "steps=2", "--likelihood-samples", "2"]
    away = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--limit", "2", "--out", str(tmp_path / "found.json")],
        **{"capture_output": True, "text": True, "timeout": 300, "check": False},
        env={**os.environ, **away, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "best-of-n:samples=2, guided by sentiment" in done.stdout
    assert re.search(r"\|tiny_choice\s*\|", done.stdout)
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["samples"]["tiny_answer"]) == 2
    assert found["aps"]["likelihood_samples"] == 2


def test_answers_are_the_pipelines_own(folder):
    from aps_eval.lm_eval.adapter import PipelineLM, until
    from lm_eval.api.instance import Instance

    pipe = APSPipeline(tiny_text_model(dtype=torch.float64), batch_size=2)
    lm = PipelineLM(pipe, method="fk", reward="sentiment")
    asked = [("who ?", 6), ("why ?", 4), ("what is a dog ?", 6)]
    requests = [
        Instance("generate_until", {}, (text, {"until": ["."], "max_gen_toks": n}), i)
        for i, (text, n) in enumerate(asked)
    ]
    answers = lm.generate_until([*requests, requests[0]], disable_tqdm=True)
    for (text, length), answer in zip(asked, answers, strict=False):
        own = pipe(text, "sentiment", method="fk", max_new_tokens=length).text[0]
        assert answer == until(own, ["."])
    again = pipe("who ?", "sentiment", method="fk", max_new_tokens=6, seed=1).text[0]
    assert answers[3] == until(again, ".")


def test_a_long_context_of_characters_of_several_tokens_each_is_cut_too():
    from types import SimpleNamespace

    from aps_eval.lm_eval.contexts import Contexts

    tokenizer = byte_bpe(260)
    model = SimpleNamespace(
        tokenizer=tokenizer,
        encode=lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        context=10,
        name="bytes",
    )
    prompt, ids = Contexts(model).fitting("\U0001f3bb" * 3, 1)
    assert (prompt, len(ids)) == ("\U0001f3bb" * 2, 8)


def test_a_long_context_loses_its_beginning_and_a_long_answer_is_refused():
    from aps_eval.lm_eval.adapter import PipelineLM

    model = replace(tiny_text_model(), settings={"steps": 3})
    lm = PipelineLM(APSPipeline(model))
    assert lm.config.sampler.steps == 3  # the model's own settings
    prompt, ids = lm.contexts.fitting("dog " * 100 + "what is a cat ?", 10)
    assert prompt.endswith("what is a cat ?")
    assert len(ids) + 10 == model.context
    with pytest.raises(ValueError, match=r"and a prompt of .* exceed the context"):
        lm.contexts.fitting("why ?", model.context)
    with pytest.raises(ValueError, match="has no token to score"):
        lm._span("why ?", "  ")


def test_a_rolling_likelihood_scores_every_token_once():
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.instance import Instance

    model = tiny_text_model(dtype=torch.float64)
    lm = PipelineLM(APSPipeline(model, batch_size=64), samples=2)
    long = "what is a big red house " * 12
    seen = []
    inner = lm._scored
    lm._scored = lambda spans, *rest: seen.extend(spans) or inner(spans, *rest)
    (value,) = lm.loglikelihood_rolling([Instance("x", {}, (long,), 0)], disable_tqdm=True)
    tokens = model.tokenizer(long, add_special_tokens=False)["input_ids"]
    assert [token for span in seen for token in span.target] == tokens
    for span in seen[1:]:
        assert len(span.given) > 0
        assert len(span.prompt) + len(span.given) + len(span.target) <= model.context
    assert value < 0
    assert math.isfinite(value)


def test_the_cache_of_one_method_is_not_served_to_another(tmp_path):
    """A4, by the harness's own cache: model, method, reward and settings part answers."""
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CachingLM

    pipe = APSPipeline(tiny_text_model(dtype=torch.float64), batch_size=4)
    tokenizer = word_tokenizer()
    other = wrap(tiny_bert(tokenizer, dtype=torch.float64, seed=1), tokenizer)
    small = APSConfig.make(None, steps=3, inner_steps=1, max_new_tokens=6)
    asked = ["who ?", "why ?", "what is a dog ?"]
    requests = [
        Instance("generate_until", {}, (text, {"until": [], "do_sample": False}), i)
        for i, text in enumerate(asked)
    ]
    kinds = {
        "plain": (pipe, {}),
        "aps": (pipe, {"method": "aps", "reward": "sentiment"}),
        "reward": (pipe, {"method": "aps", "reward": "length"}),
        "weight": (pipe, {"method": "aps", "reward": ["length=-1"]}),
        "method": (pipe, {"method": "fk", "reward": "length"}),
        "option": (pipe, {"method": FKSteering(particles=2), "reward": "length"}),
        "config": (pipe, {"config": small.replace(temperature=0.1)}),
        "seed": (pipe, {"config": small.replace(seed=3)}),
        "model": (APSPipeline(other, batch_size=4), {}),
    }

    def made(name):
        by, how = kinds[name]
        return PipelineLM(by, **{"config": small, **how})

    file = str(tmp_path / "cache.db")
    fresh = {name: made(name).generate_until(requests, disable_tqdm=True) for name in kinds}
    assert len({tuple(found) for found in fresh.values()}) > 4  # else nothing could be mistaken
    for turn in range(2):
        for name in kinds:
            lm = made(name)
            cached = CachingLM(lm, file)
            if turn:
                lm.generate_until = None  # everything is there
            assert cached.generate_until(requests) == fresh[name]
            cached.dbdict.close()


def test_several_answers_of_a_request_are_refused_where_the_cache_has_one(tmp_path):
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CachingLM

    lm = PipelineLM(APSPipeline(tiny_text_model()))
    cached = CachingLM(lm, str(tmp_path / "cache.db"))
    asked = {
        drawn: Instance("generate_until", {}, ("who ?", {"do_sample": drawn}), 0)
        for drawn in (False, True)
    }
    with pytest.raises(ValueError, match=r"repeats: 2.*leave out the cache"):
        cached.generate_until([asked[False]] * 2)
    assert len(cached.dbdict) == 0
    assert len(set(cached.generate_until([asked[True]] * 4))) > 1
    assert len(cached.generate_until([asked[False]])) == 1
    cached.dbdict.close()


def test_repeats_are_refused_though_every_answer_is_in_the_cache(folder, tmp_path, monkeypatch):
    from aps_eval.lm_eval.command import evaluate, lm_eval_parser

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    task = tmp_path / "tiny_answer.yaml"
    text = (folder / "tiny_answer.yaml").read_text()
    command = ["--tasks", "tiny_answer", "--include-path", str(tmp_path), "--trust-code"]
    command += ["--model", str(folder / "model"), "--use-cache", str(tmp_path / "cache")]
    args = lm_eval_parser().parse_args([*command, "--set", "steps=1"])
    task.write_text(text)
    evaluate(args)
    task.write_text(text + "repeats: 3\n")
    with pytest.raises(ValueError, match="repeats: 3"):
        evaluate(args)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "apx"}, "apx"),
        ({"method": "fk"}, "steers by a reward"),
        ({"reward": "sentimnt"}, "sentimnt"),
        ({"select": "sentimnt"}, "sentimnt"),
    ],
)
def test_a_model_of_wrong_names_is_not_built(given, message):
    from aps_eval.lm_eval.adapter import PipelineLM

    with pytest.raises(ValueError, match=message):
        PipelineLM(APSPipeline(tiny_text_model()), **given)


def test_a_reward_that_is_an_object_is_cached_for_itself_alone(tmp_path, caplog):
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.model import CachingLM

    pipe = APSPipeline(tiny_text_model())

    def table(reward, **key):
        lm = PipelineLM(pipe, method="fk", reward=reward, **key)
        cached = CachingLM(lm, str(tmp_path / "cache.db"))
        name = cached.dbdict.tablename
        cached.dbdict.close()
        return name

    def one(prompts, completions):
        return [0.0] * len(completions)

    assert table("length") == table("length") != table("sentiment")
    assert table(one) != table(one)
    assert "cached answers of function are not used again" in caplog.text
    assert table(one, cache_key="mine") == table(one, cache_key="mine") != table("length")


@pytest.mark.parametrize(
    "name", ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"]
)
def test_the_length_of_an_answer_goes_by_all_its_names(name, caplog):
    """A5: the tokens that a task asks for, not the model's usual number."""
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.instance import Instance

    pipe = APSPipeline(tiny_text_model(dtype=torch.float64))
    lm = PipelineLM(pipe)
    for length in (2, 4):
        asked = ("what is a dog ?", {"until": [], name: length})
        (answer,) = lm.generate_until([Instance("x", {}, asked, 0)], disable_tqdm=True)
        assert answer == pipe(asked[0], method="plain", max_new_tokens=length).text[0]
    assert lm._length({name: "6"}) == 6
    assert lm._length({name: 6, "max_gen_toks": 5}) == 5  # the harness's order
    assert lm._length({}) == pipe.model.max_new_tokens
    assert repr(lm._length({name: 10**6})) == repr(pipe.model.context // 2)
    for wrong in (0, -1, "x", [3]):
        with pytest.raises(ValueError, match=f"{name} is a number from 1"):
            lm._length({name: wrong})
    assert caplog.text == ""
    lm._length({"top_p": 0.5, "do_sample": False})
    lm._length({"top_p": 0.5})
    assert caplog.text.count("the task's top_p is ignored") == 1


CHAT = [
    {"role": "system", "content": "a big dog ."},
    {"role": "user", "content": "who ?"},
    {"role": "assistant", "content": "the cat"},
    {"role": "user", "content": "why ?"},
]


def test_turns_are_joined_on_a_model_without_them_and_it_says_so_once(caplog):
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.instance import Instance

    pipe = APSPipeline(tiny_text_model(dtype=torch.float64))
    lm = PipelineLM(pipe)
    text = "a big dog .\n\nwho ? the cat\n\nwhy ?"
    context = lm.apply_chat_template(CHAT)
    assert lm.contexts.read(context) == [{"role": "user", "content": text}]
    asked = (context, {"until": [], "max_gen_toks": 4})
    answers = lm.generate_until([Instance("x", {}, asked, i) for i in range(2)], disable_tqdm=True)
    assert answers[0] == pipe(text, method="plain", max_new_tokens=4).text[0]
    assert caplog.text.count("joined into one question") == 1
    assert caplog.text.count("(system, user, assistant, user)") == 1
    one = lm.apply_chat_template(CHAT[-1:])
    assert lm.contexts.read(one) == CHAT[-1:]
    with pytest.raises(ValueError, match="roles"):
        PipelineLM(pipe).contexts.read(lm.apply_chat_template([{"role": "x", "content": "why ?"}]))


def test_an_answer_that_is_begun_is_continued():
    """`gen_prefix` with a chat template: behind the question, by generation and by likelihood."""
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.instance import Instance

    model = tiny_text_model(dtype=torch.float64)
    pipe = APSPipeline(model)
    lm = PipelineLM(pipe, samples=3)
    begun = [*CHAT, {"role": "assistant", "content": "the"}]
    context = lm.apply_chat_template(begun, add_generation_prompt=False)
    prompt = lm.contexts.read(context)
    assert [one["role"] for one in prompt] == ["user", "assistant"]
    assert prompt[1]["content"] == "the"
    the = model.tokenizer("the", add_special_tokens=False)["input_ids"]
    assert model.encode(prompt)[-1:] == the
    asked = (context, {"until": [], "max_gen_toks": 4})
    (answer,) = lm.generate_until([Instance("x", {}, asked, 0)], disable_tqdm=True)
    assert answer == pipe([prompt], method="plain", max_new_tokens=4).text[0]
    span = lm._span(context, " house")
    assert span.prompt == tuple(model.encode(prompt))
    assert span.target == lm._tokens("house")
    long = [{"role": "user", "content": "dog " * 200 + "why ?"}, *begun[-1:]]
    cut, ids = lm.contexts.fitting(lm.apply_chat_template(long), 5)
    assert len(ids) == model.context - 5
    assert (ids[-1:], cut[1]["content"], cut[0]["content"][-5:]) == (the, "the", "why ?")


def test_turns_stay_where_the_model_has_them():
    """A chat template gets its turns; none are joined."""
    from aps_eval.lm_eval.adapter import PipelineLM

    tokenizer = word_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}[CLS]{{ m.content }}[SEP]{% endfor %}"
        "{% if add_generation_prompt %}[CLS]{% endif %}"
    )
    model = wrap(tiny_bert(tokenizer), tokenizer)
    lm = PipelineLM(APSPipeline(model))
    assert lm.contexts.read(lm.apply_chat_template(CHAT)) == CHAT
    assert model.encode(CHAT).count(tokenizer.sep_token_id) == len(CHAT)


@pytest.mark.parametrize("flags", [[], ["--no-fewshot-as-multiturn"]])
def test_the_harness_with_a_chat_template_few_shots_and_a_cache(folder, flags, monkeypatch, caplog):
    from aps_eval.lm_eval.command import main

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    text = (folder / "tiny_answer.yaml").read_text().replace("tiny_answer", "tiny_chat")
    text = text.replace("max_gen_toks: 6", "max_new_tokens: 5") + 'gen_prefix: "the"\n'
    (folder / "tiny_chat.yaml").write_text(text + "description: a big dog .\n")
    found = {}
    for method in ("plain", "best-of-n:samples=9", "plain"):
        command = ["--tasks", "tiny_chat", "tiny_choice", "--include-path", str(folder)]
        command += ["--trust-code", "--model", str(folder / "model"), "--method", method]
        command += ["--reward", "length:low=1:high=2"] if method != "plain" else []
        command += ["--set", "steps=2", "--likelihood-samples", "2", "--num-fewshot", "1", *flags]
        command += ["--apply_chat_template", "--system-instruction", "who ?"]
        command += ["--use-cache", str(folder / f"answers{len(flags)}")]
        assert main([*command, "--out", str(folder / "found.json")]) == 0
        whole = json.loads((folder / "found.json").read_text())
        answers = [one["resps"][0][0] for one in whole["samples"]["tiny_chat"]]
        assert found.setdefault(method, answers) == answers
    assert len({tuple(answers) for answers in found.values()}) == 2
    assert "joined into one question" in caplog.text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "fk"], "steers by a reward and got none"),
        (["--method", "fk:k=3", "--reward", "sentiment"], "no setting 'k'"),
        (["--method", "fkk", "--reward", "sentiment"], "got 'fkk'"),
        (["--set", "step=3"], "did you mean 'steps'"),
        ([], "no task 'nothing'"),
    ],
)
def test_a_bad_command_names_the_mend(more, message, monkeypatch, tmp_path):
    import lm_eval.tasks
    from aps_eval.lm_eval.command import main

    asked = []

    class Short(lm_eval.tasks.TaskManager):
        """Indexes an empty folder: all of the harness's own tasks take 18 seconds."""

        def __init__(self, include_path, include_defaults=True):
            asked.append((include_path, include_defaults))
            super().__init__(include_path=str(tmp_path), include_defaults=False)

    monkeypatch.setattr(lm_eval.tasks, "TaskManager", Short)
    with pytest.raises((ValueError, TypeError), match=message):
        main(["--tasks", "nothing", *more])
    assert asked == ([] if more else [(None, True)])


def test_requests_of_one_length_share_a_call(monkeypatch):
    from aps_eval.lm_eval.adapter import PipelineLM
    from lm_eval.api.instance import Instance

    pipe = APSPipeline(tiny_text_model(), batch_size=2)
    calls, call = [], APSPipeline.__call__

    def noted(self, prompts, *args, config, **options):
        calls.append((len(prompts), config.call.max_new_tokens))
        return call(self, prompts, *args, config=config, **options)

    monkeypatch.setattr(APSPipeline, "__call__", noted)
    lm = PipelineLM(pipe, config=APSConfig(steps=1))
    requests = [
        Instance("generate_until", {}, (f"{'why ' * i}?", {"max_gen_toks": n}), i)
        for i, n in enumerate([6, 4, 6, 2, 4, 6])
    ]
    lm.generate_until(requests, disable_tqdm=True)
    assert calls == [(1, 2), (2, 4), (2, 6), (1, 6)]


@pytest.mark.parametrize(
    ("context", "options", "said"),
    [
        ("", {}, "its question is empty"),
        ("a \ud800", {}, r"request 1 \(a \\ud800\)"),
        ("why ?", {"until": [3]}, "until is a list of texts, got 3"),
        ("why ?", {"max_gen_toks": True}, "max_gen_toks is a number from 1, got True"),
        ("why ?", {"max_gen_toks": math.inf}, "max_gen_toks is a number from 1, got inf"),
        ("why ?", None, "generation_kwargs are a mapping, got None"),
    ],
)
def test_a_request_that_cannot_be_asked_is_named_before_any_is_answered(
    context, options, said, monkeypatch
):
    """A harness run of hours ended at it, by the number of a prompt within its batch."""
    lm, calls = tiny_lm(), []
    monkeypatch.setattr(APSPipeline, "__call__", lambda *given, **named: calls.append(given))
    good = instance("what is a dog ?", {"until": ["x"]})
    with pytest.raises(ValueError, match=rf"request 1 .*{said}" if "request" not in said else said):
        lm.generate_until([good, instance(context, options)], disable_tqdm=True)
    assert calls == []


def test_an_answer_of_one_token():
    """`max_gen_toks: 1`, as tasks that ask for a letter have it."""
    lm = tiny_lm()
    assert lm.generate_until([instance("why ?", {"max_gen_toks": 1})], disable_tqdm=True)


def test_a_text_that_looks_like_messages_is_a_text():
    from aps_eval.lm_eval.contexts import messages_of

    for text in ('[{"role": "user"}]', '[{"role": 3, "content": "x"}]', '[{"role": 1}, 2]'):
        assert messages_of(text) == text
    real = [{"role": "user", "content": "猫 ?"}]
    assert messages_of(beside := json.dumps([*real, 2])) == beside
    assert messages_of(json.dumps(real)) == real


def instance(context, options):
    from lm_eval.api.instance import Instance

    return Instance("generate_until", {}, (context, options), 0)


def tiny_lm():
    from aps_eval.lm_eval.adapter import PipelineLM

    config = APSConfig(steps=2, max_new_tokens=4)
    return PipelineLM(APSPipeline(tiny_text_model()), config=config)
