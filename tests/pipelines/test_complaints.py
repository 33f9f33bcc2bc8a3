"""What users of these models complain about: one test for each that is ours to solve.

`docs/complaints.md` lists all fifteen, and where the others are answered.
"""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import replace

import pytest
import torch
from checkpoints import QUESTIONS, write_dream, write_llada
from paths import ROOT
from tiny import tiny_text_model
from worlds import TableDenoiser, enumerated_reward, joint_table, noise_for, open_canvas

from aps_text import APSConfig, APSPipeline
from aps_text.core.config import SETTINGS
from aps_text.core.operator import ZeroOperator
from aps_text.core.presets import PRESETS
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.models.registry import load
from aps_text.verification.logits import Sample, check_left_padding, check_pad_keys

DOCS = (ROOT / "docs" / "complaints.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("complaints")
    write_dream(root / "dream")
    write_llada(root / "llada")
    return root


@pytest.fixture(scope="module", params=["dream", "llada"])
def model(request, folders):
    return load(folders / request.param, dtype=torch.float64)


def test_the_list_is_complete_and_names_tests_that_exist():
    assert re.findall(r"^## (\d+) ", DOCS, re.M) == [str(n) for n in range(1, 16)]
    tests = ROOT / "tests"
    for file, name in re.findall(r"`(test_\w+)\.py::(test_\w+)`", DOCS):
        assert f"def {name}(" in next(tests.rglob(f"{file}.py")).read_text(encoding="utf-8"), (
            file,
            name,
        )
    for part in re.split(r"^## ", DOCS, flags=re.M)[1:]:
        assert "::test_" in part or "Not " in part or "not " in part, part


# 1 remote code


def test_no_code_of_a_checkpoint_is_run(folders):
    before = set(sys.modules)  # a test before this one may have run code on purpose
    for name in ("dream", "llada"):
        assert list((folders / name).glob("modeling_*.py"))  # it would end this process
        load(folders / name)
    assert not any("transformers_modules" in module for module in set(sys.modules) - before)


# 2 temperature and the order


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy"])
def test_the_order_of_decoding_does_not_depend_on_the_temperature(alg):
    table = joint_table(6, 4, 0, 40, sharp=2.0)
    denoiser, canvas = TableDenoiser(table), open_canvas(40, 6, 4)
    orders, tempered = [], []
    for temperature in (0.0, 0.1, 0.7, 2.0):
        config = APSConfig(steps=6, temperature=temperature, top_p=1.0, alg=alg)
        config = config.replace(remasking="standard", inner_steps=0)
        state = next(
            iter(Ancestral().steps(denoiser, ZeroOperator(), canvas, config, noise_for(range(40))))
        )
        orders.append(state.revealed)
        if alg == "maskgit_plus":  # the score is the candidate's probability, as it is untempered
            best = state.prior.argmax(-1)
            assert (state.revealed.long().argmax(-1) == best).all()
        elif temperature > 0:  # scored on tempered distributions, the order would depend on it
            where = (canvas.z == 4).nonzero().unbind(-1)
            logs = (denoiser.logits(canvas.z, where) / temperature).log_softmax(-1)
            best = logs.topk(2, -1).values.exp()
            margin, entropy = best[:, 0] - best[:, 1], (logs.exp() * logs).nan_to_num().sum(-1)
            score = (margin if alg == "topk_margin" else entropy).view(40, 6)
            tempered.append(score.argmax(-1))
    if alg != "maskgit_plus":
        assert all(torch.equal(orders[0], order) for order in orders)
        assert not all(torch.equal(tempered[0], order) for order in tempered)


# 3 end-of-text flooding


def test_answers_are_not_empty_however_much_the_model_wants_to_stop():
    def biased(by):
        model = tiny_text_model(dtype=torch.float64)
        bias = model.parts.model.cls.predictions.bias
        bias.data[model.stop_ids[0]] += by
        return APSPipeline(model)

    settings = dict(steps=4, max_new_tokens=8)
    flooded, plain = biased(60.0), biased(0.0)
    assert all(flooded.generate(QUESTIONS, min_new_tokens=0, **settings).text) is False
    assert all(flooded.generate(QUESTIONS, **settings).text)
    longer = flooded.generate(QUESTIONS, min_new_tokens=5, **settings).token_ids
    assert [len(ids) for ids in longer] == [5, 5, 5]
    undone = flooded.generate(QUESTIONS, eos_penalty=60.0, **settings).token_ids
    assert undone == plain.generate(QUESTIONS, **settings).token_ids


# 4 reproducible


def test_settings_in_a_file_and_a_seed_give_the_answer_again(model):
    config = APSConfig(steps=3, max_new_tokens=6, temperature=1.0, seed=11)
    first = APSPipeline(model).generate(QUESTIONS, config=config)
    again = APSConfig.from_json(first.config.to_json())
    torch.manual_seed(123)  # nothing here reads the global seed
    assert APSPipeline(model).generate(QUESTIONS, config=again).token_ids == first.token_ids
    other = APSPipeline(model).generate(QUESTIONS, config=config.replace(seed=12))
    assert other.token_ids != first.token_ids


# 5 speed, 11 memory


def test_the_head_is_computed_at_masks_only_and_finished_rows_cost_nothing(model):
    seen = []

    def head(hidden):
        seen.append(len(hidden))
        return model.parts.head(hidden)

    counted = replace(model, parts=replace(model.parts, head=head))
    out = APSPipeline(counted).generate(
        QUESTIONS,
        steps=8,
        max_new_tokens=8,
        temperature=1.0,
        eos_penalty=-6.0,
        keep_trajectory=True,
    )
    left = [24]
    for state in out.trajectory[0][:-1]:
        left.append(int((state.z == model.parts.mask_id).sum()))
    assert seen == left  # a row with a stop has no masks behind it, and no row beyond its last
    assert sum(seen) < 3 * sum(range(1, 9))  # somebody stopped early
    assert out.cost.denoiser_forwards < 3 * 8


# 6 what is inexact is off


def test_nothing_inexact_is_on_by_default():
    for preset in PRESETS:
        usual = APSConfig(preset).flat()
        for name in ("threshold", "block_length", "alg_temp", "prefix_reuse"):
            drawn = (preset, name) == ("posterior", "alg_temp")  # what that preset is for
            assert (usual[name] is None) != drawn


# 7 batches


def uneven(count, longest, seed=0):
    words, g = " ".join(QUESTIONS).split(), torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, longest, (count,), generator=g).tolist()
    return [" ".join(words[i % 7 :][:size]) for i, size in enumerate(sizes)]


def differing(model, prompts, **settings):
    together, alone = (
        APSPipeline(model, batch_size=size).generate(prompts, seeds=range(len(prompts)), **settings)
        for size in (50, 1)
    )
    assert len({tuple(ids) for ids in alone.token_ids}) > len(prompts) / 8
    return sum(
        sum(a != b for a, b in itertools.zip_longest(x, y))
        for x, y in zip(together.token_ids, alone.token_ids, strict=True)
    )


def test_a_batch_is_its_rows_alone_on_uneven_prompts(model):
    prompts = uneven(100, 30)
    assert len({len(model.encode(prompt)) for prompt in prompts}) > 15
    assert differing(model, prompts, steps=2, max_new_tokens=6, temperature=1.0) == 0


def test_a_batch_is_its_rows_alone_for_the_embedded_model():
    prompts = uneven(60, 12, seed=1)
    assert differing(load("mini"), prompts, steps=2, max_new_tokens=4, temperature=0.7) == 0


# 8 the attention mask


def test_padding_is_not_read(model):
    sample = Sample.of(model, 8)
    assert check_pad_keys(model, sample).status == "PASS"
    assert check_left_padding(model, sample).status == "PASS"

    def everything(real):
        return torch.ones_like(real)[:, None, None, :].expand(-1, 1, real.shape[1], -1)

    deaf = replace(model, parts=replace(model.parts, attention=everything))
    assert check_pad_keys(deaf, sample).status == "FAIL"
    assert check_left_padding(deaf, sample).status == "FAIL"


# 9 LoRA


def test_a_lora_made_here_is_pefts(model, tmp_path):
    from peft import PeftModel

    prompt, reward = QUESTIONS[0], lambda prompts, completions, **_: list(map(len, completions))
    pipe = APSPipeline(model)
    options = dict(steps=2, max_new_tokens=6, inner_steps=2, learning_rate=0.1, num_samples=4)
    out = pipe(prompt, reward, **options)
    out.save_adapter(0, tmp_path)
    z = torch.full((1, 6), model.parts.mask_id)
    where = (torch.zeros(6, dtype=torch.long), torch.arange(6))
    denoiser = model.bind([model.encode(prompt)], [6], 2)
    phi = denoiser.new_adapter(out.config, noise_for([0])).load(tmp_path)
    with torch.no_grad():
        base = denoiser.logits(denoiser.trunk(z), where)
        ours = denoiser.logits(denoiser.trunk(z), where, phi)
    peft = PeftModel.from_pretrained(model.parts.model, str(tmp_path)).double().eval()
    try:
        whole = model.bind([model.encode(prompt)], [6], None)
        with torch.no_grad():
            theirs = whole.logits(whole.trunk(z), where)
    finally:
        peft.unload()
    assert (ours - base).abs().max() > 1e-2
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# 12 no diversity, flags that do nothing


def test_answers_to_one_prompt_differ(model):
    out = APSPipeline(model).generate(
        QUESTIONS[0], num_return_sequences=8, steps=4, max_new_tokens=8, temperature=1.0
    )
    assert len(set(out.text)) == 8


def fill(config):
    """Forty rows filled in two worlds that can be enumerated, with and without a gradient."""
    for differentiable in (True, False):
        if not differentiable and config.estimator == "relaxed":
            continue
        denoiser = TableDenoiser(joint_table(6, 3, 0, 40, sharp=2.0))
        reward = enumerated_reward(6, 3, 1, differentiable=differentiable)
        canvas = open_canvas(40, 6, 3, block_length=config.block_length)
        for state in APS().steps(denoiser, reward, canvas, config, noise_for(range(40))):
            yield from (state.tilted, state.z)


def equal(one, two):
    """Whether two runs are the same; they go on as long as they are."""
    pairs = itertools.zip_longest(one, two)
    return all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs)


OTHER = {
    "schedule": "cosine",
    "reveal_rule": "dream",
    "threshold": 0.6,
    "block_length": 2,
    "prior": "overlap",
    "likelihood_weight": 3.0,
    "beta": 0.3,
    "relaxation": "quantized",
    "quantizer": "nearest",
    "gumbel_temperature": 0.2,
    "estimator": "rloo",
    "num_samples": 3,
    "pool_size": 3,
    "learning_rate": 0.05,
    "trust_region": 0.01,
    "guidance_start": 0.3,
    "guidance_end": 0.6,
    "guidance_interval": 2,
    "remasking": "standard",
    "rank_by": "phi",
    "remask": True,
    "alg": "entropy",
    "alg_temp": 0.5,
    "temperature": 2.0,
    "top_p": 0.3,
    "top_k": 1,
}
BASES = {
    "default": {},
    "plain": {"inner_steps": 0},
    "a pool": {"pool_size": 4, "guidance_start": 0.0},
    "a pool alone": {"inner_steps": 0, "pool_size": 4, "guidance_start": 0.0},
    "a greedy pool": {
        **{"inner_steps": 0, "pool_size": 4, "pool_rollout": 1},
        "temperature": 0.0,
    },
    "no step in the window": {"guidance_start": 0.8, "guidance_end": 0.9},
    "one step": {"steps": 1},
    "greedy": {"temperature": 0.0},
    "sampled": {"estimator": "rloo"},
    "relaxed": {"estimator": "relaxed"},
    "gumbel": {"relaxation": "gumbel"},
    "quantized": {"relaxation": "quantized"},
    "random": {"remasking": "random"},
    "origin": {"alg": "origin"},
    "entropy": {"alg": "entropy"},
    "standard": {"remasking": "standard"},
    "standard entropy": {"remasking": "standard", "alg": "entropy"},
    "dream counting": {"reveal_rule": "dream", "steps": 4},
}


@pytest.mark.parametrize("case", BASES)
def test_an_option_said_to_do_nothing_does_nothing_and_is_an_error(case):
    usual = {"steps": 3, "inner_steps": 2, "pool_size": None, "adapter": "logits"}
    usual |= {"trust_region": None, **BASES[case]}
    base = APSConfig(**usual)
    want, silent = list(fill(base)), []
    for name, value in OTHER.items():
        if name in BASES[case]:
            continue
        try:
            config = base.replace(**{name: value})
        except ValueError:
            continue  # a contradiction, refused at once
        same = equal(want, fill(config))
        if base.ineffective({name: value}):
            assert same, name
        elif same:
            silent.append(name)
    assert set(silent) <= SILENT.get(case, {"remasking"}), silent


# What is not refused by a configuration alone. Unsteered, `standard` is another name for
# `anchored`, and whether anything steers is a question to the method; with `origin` a count only
# weighs the loss, and Adam takes the same step for twice the loss.
SILENT = {
    "plain": {"remasking", "beta", "guidance_start", "guidance_end", "guidance_interval"},
    "no step in the window": set(OTHER),
    "one step": {"guidance_interval", "remasking"},
    "origin": {"reveal_rule"},
}


def test_an_option_as_it_is_anyway_is_never_an_error():
    for preset in PRESETS:
        base = APSConfig(preset)
        assert APSConfig.make(preset, **base.flat()) == base


# [MASK] in an answer


ORDERS = [
    {"alg": alg, "remasking": remasking}
    for alg in SETTINGS["alg"].names
    for remasking in ("anchored", "standard")
]
ORDERS += [{"remasking": name} for name in ("low_confidence", "random")]
VARIANTS = [{}, {"reveal_rule": "dream"}, {"block_length": 3}, {"remask": True}, {"threshold": 0.2}]
VARIANTS += [{"temperature": 0.0}, {"alg_temp": 0.5}, {"schedule": "cosine"}, {"cfg_scale": 1.5}]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(order.values()))
def test_no_answer_holds_a_mask_or_an_untrained_id(model, order):
    pipe, known = APSPipeline(model), set(model.tokenizer.get_vocab().values())
    for variant in VARIANTS:
        config = APSConfig(
            **{"steps": 3, "max_new_tokens": 7, "temperature": 3.0, "top_p": 1.0},
            **order,
        ).replace(**variant)
        for row in pipe.generate(QUESTIONS, config=config).token_ids:
            assert model.parts.mask_id not in row
            assert set(row) <= known - set(model.parts.suppressed)
            assert row


def test_a_tilt_towards_codes_needs_codes():
    pipe = APSPipeline.from_pretrained("mini")
    found = pipe("What is a dog?", reward="relevance", adapter="codes", steps=2, max_new_tokens=6)
    assert found.cost.reward_backwards > 0
    with pytest.raises(ValueError, match=r"have none .they are black boxes.; use adapter='logits'"):
        pipe("What is a dog?", reward=lambda prompts, completions, **_: [1.0], adapter="codes")
    with pytest.raises(ValueError, match=r"only a measurement of images makes; use tilt_start=0"):
        pipe("What is a dog?", reward="relevance", adapter="codes", tilt_start=1.0)
    with pytest.raises(ValueError, match=r"RestorationPipeline, `aps restore`, `aps paint`.; text"):
        pipe("What is a dog?", reward="relevance", preset="restore")
    with pytest.raises(ValueError, match=r"preset='posterior' is for images"):
        pipe.generate("What is a dog?", config=APSConfig("posterior"))


@pytest.mark.parametrize("method", [None, 5, ["aps"], b"aps", APS])
def test_a_method_is_a_name_or_an_object(method):
    pipe = APSPipeline(tiny_text_model())
    with pytest.raises(TypeError, match=r"method is one of aps, .* or an object with `steps`; got"):
        pipe("why ?", reward=lambda prompts, completions, **_: [1.0], method=method)


@pytest.mark.parametrize("which", ["0", True, None, 1.0])
def test_an_answers_number_is_an_integer(which):
    out = APSPipeline(tiny_text_model()).generate("why ?", steps=2, max_new_tokens=4)
    with pytest.raises(TypeError, match="an answer's number is an integer or a slice, got"):
        out[which]
