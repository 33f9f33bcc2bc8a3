"""An option that a method does not read is an error when typed, and really changes nothing."""

from __future__ import annotations

import json

import pytest
import torch
from aps_rewards import Clipped, Threshold
from test_complaints import OTHER, equal
from test_reward_operator import TinyReward
from tiny import tiny_text_model
from worlds import TableDenoiser, enumerated_reward, joint_table, noise_for, open_canvas

from aps_text import APSConfig, APSPipeline
from aps_text.cli import main
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.methods.aps_smc import APSSMC
from aps_text.methods.best_of_n import BestOf
from aps_text.methods.draws import Draws
from aps_text.methods.entrgi import EntRGi
from aps_text.methods.ets import ETS
from aps_text.methods.fk_steering import FKSteering
from aps_text.methods.particle_gibbs import ParticleGibbs
from aps_text.methods.registry import PEERS
from aps_text.methods.svdd import SVDD
from aps_text.methods.twisted_smc import TwistedSMC
from aps_text.methods.unread import in_force, unread
from aps_text.methods.vgb import VGB

SMALL = {"steps": 3, "max_new_tokens": 6}
METHODS = {
    "aps": APS(),
    "plain": Ancestral(),
    "best-of": BestOf(samples=2),
    "best-of-aps": BestOf(APS(), 2),
    "svdd": SVDD(candidates=2),
    "svdd-beta": SVDD(candidates=2, beta=0.5),
    "fk": FKSteering(particles=2, every=1, final="weight"),
    "fk-beta": FKSteering(particles=2, every=1, beta=0.5, final="weight"),
    "ets": ETS(candidates=2, draws=2, points=2),
    "ets-beta": ETS(candidates=2, draws=1, points=3, rollout="sampler", beta=0.5),
    "gibbs": ParticleGibbs(particles=2, sweeps=2, every=1, final="weight"),
    "gibbs-beta": ParticleGibbs(particles=2, sweeps=2, every=1, beta=0.5, final="weight"),
    "vgb": VGB(candidates=2, limit=3, final="last"),
    "vgb-last": VGB(candidates=2, limit=3, remask="last", beta=0.5, final="last"),
    "entrgi": EntRGi(),
    "twisted": TwistedSMC(particles=2, final="weight"),
    "aps-smc": APSSMC(particles=2, final="weight"),
    "aps-smc-beta": APSSMC(particles=2, order="random", beta=0.5, final="weight"),
}
OPTIONS = OTHER | {"inner_steps": 1, "candidate": "quantized", "alg": "topk_margin"}


def fill(method, config, seeds=range(30), differentiable=True, answer=0):
    """Thirty rows filled in a world that can be enumerated: tokens and their probabilities."""
    denoiser = TableDenoiser(joint_table(6, 3, 0, 30, sharp=2.0))
    canvas = open_canvas(30, 6, 3, block_length=config.block_length)
    reward = enumerated_reward(6, 3, 1, differentiable=differentiable)
    noise = noise_for(seeds, torch.full((30,), answer))
    for state in method.steps(denoiser, reward, canvas, config, noise):
        yield from (state.tilted, state.z)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_said_to_be_unread_changes_nothing_and_the_rest_does(name):
    method = METHODS[name]
    base = APSConfig(
        steps=3, inner_steps=2, adapter="logits", trust_region=None, guidance_start=0.0
    )
    want, silent = list(fill(method, base)), []
    for option, value in OPTIONS.items():
        try:
            config = base.replace(**{option: value})
            same = equal(want, fill(method, config))
        except ValueError:
            continue  # refused already
        if option in unread(method, config, Draws(samples=False)):
            assert same, option
        elif same and not base.ineffective({option: value}):
            silent.append(option)
    # Unsteered, `standard` is another name for what plain decoding does.
    assert set(silent) <= {"remasking"}


GREEDY = {"temperature": 0.0, "pool_size": None}
QUANTIZED = {"candidate": "quantized", "pool_size": None}
FIXED = {"adapter": "logits", "estimator": "relaxed", "inner_steps": 1}


@pytest.mark.parametrize("method", [APS(), Ancestral()], ids=["aps", "plain"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        GREEDY,
        QUANTIZED,
        *(
            {**base, **more}
            for base in (GREEDY, QUANTIZED)
            for more in (
                {"relaxation": "quantized", "quantizer": "sample"},
                {"relaxation": "quantized", "quantizer": "nearest"},
                {"relaxation": "gumbel"},
                {"estimator": "rloo"},
                {"estimator": "relaxed"},
                {"alg_temp": 0.5},
                {"remasking": "random"},
                {"alg": "origin"},
            )
        ),
    ],
    ids=str,
)
def test_a_seed_and_more_answers_are_said_to_be_unread_where_they_change_nothing(method, options):
    config = APSConfig(
        **{"steps": 3, "inner_steps": 2, "adapter": "logits", "guidance_start": 0.0}, **options
    )
    first, vain = list(fill(method, config)), unread(method, config, Draws(samples=False))
    assert ("seed" in vain) == equal(first, fill(method, config, range(30, 60)))
    assert ("num_return_sequences" in vain) == equal(first, fill(method, config, answer=1))


def test_a_seed_is_read_where_samples_a_draft_a_control_or_a_lora_draw_by_it():
    config = APSConfig(steps=3, inner_steps=2, adapter="logits", **GREEDY)
    one, other = (fill(APS(), config, seeds, False) for seeds in (range(30), range(30, 60)))
    assert not equal(list(one), other)  # the samples of a black box
    fixed = Draws(samples=False)
    assert "seed" not in unread(APS(), config)
    assert "seed" not in unread(APS(), config, Draws(samples=False, draft=True))
    assert "seed" not in unread(APS(), config, Draws(samples=False, control=True))
    assert "seed" not in unread(APS(), config, Draws(samples=False, beside=True))
    assert "seed" not in unread(APS(), config.replace(adapter="lora"), fixed)
    assert "seed" in unread(APS(), config, fixed)
    assert "seed" not in unread(Silent(), config, fixed)


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


def vowels(prompts, completions, **columns):
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("plain", {"beta": 0.5}, "beta=0.5 has no use here: method 'plain' does not read it"),
        ("plain", {"inner_steps": 9}, "inner_steps=9 .* method 'plain' has 0 in its place"),
        ("plain", {"lora_layers": 1}, "lora_layers=1 has no use here: method 'plain'"),
        ("plain", {"guidance_end": 0.5}, "guidance_end=0.5 has no use here"),
        ("plain", {"preset": "paper", "trust_region": 1.0}, "trust_region=1.0 has no use here"),
        (
            "aps",
            {"num_return_sequences": 2, "candidate": "quantized", **FIXED},
            "num_return_sequences=2 .* draws nothing, so all are identical",
        ),
        (
            "aps",
            {"num_return_sequences": 2, "temperature": 0, "pool_size": None, **FIXED},
            "num_return_sequences=2 .* temperature=0 draws nothing, so all are identical",
        ),
        (
            "plain",
            {"temperature": 0, "num_return_sequences": 3},
            "num_return_sequences=3 .* identical",
        ),
        ("best-of-n", {"temperature": 0}, "temperature=0 .* BestOf chooses among draws, and"),
        ("aps-smc", {"temperature": 0}, "temperature=0 .* APSSMC chooses among draws, and"),
        ("aps-smc", {"temperature": 0, "inner_steps": 0}, "APSSMC chooses among draws, and"),
        (
            "best-of-n",
            {"pool_size": 4},
            "pool_size=4 .* best-of-n draws 4 whole .*BestOf.samples=...",
        ),
        ("best-of-n", {"inner_steps": 9}, "best-of-n draws by method 'plain', which has 0 in its"),
        ("svdd", {"adapter": "logits"}, "adapter='logits' has no use here: SVDD does not"),
        (SVDD(beta=0.0), {"beta": 0.5}, "beta=0.5 has no use here: SVDD does not read it"),
        ("entrgi", {"temperature": 0.3}, "temperature=0.3 .* EntRGi has 0.7 in its place"),
        (TwistedSMC(), {"alg": "topk_margin"}, "TwistedSMC has 'entropy' in its place"),
        ("plain", {"temperature": 0, "seed": 3}, "seed=3 has no use here: nothing is drawn with t"),
    ],
)
def test_who_types_an_option_in_vain_is_told(pipe, method, options, message):
    with pytest.raises(ValueError, match=message):
        pipe("why ?", vowels, method=method, **options, **SMALL)


def test_samples_that_are_never_drawn_are_told(pipe):
    few = {"num_samples": 4, "inner_steps": 2, **SMALL}
    for rewards in (TinyReward(), Clipped(TinyReward(), -9.0, 9.0), [(vowels, 0.0), TinyReward()]):
        with pytest.raises(ValueError, match="num_samples=4 has no use here: all that guides has"):
            pipe("why ?", rewards, **few)
    seeded = {**GREEDY, "adapter": "logits", "seed": 3}
    with pytest.raises(ValueError, match="seed=3 has no use here: nothing is drawn"):
        pipe("why ?", TinyReward(), **seeded, **SMALL)
    for read in ({"estimator": "rloo"}, {"bridge": "rloo"}, {"control": "shuffled"}):
        assert pipe("why ?", TinyReward(), **few, **read).text
        assert pipe("why ?", TinyReward(), **seeded, **read, **SMALL).text
    asks = TinyReward()
    asks.estimator = "rloo"
    for rewards in (vowels, asks, Threshold(TinyReward(), 0.0), [vowels, TinyReward()]):
        assert pipe("why ?", rewards, **few).text
        assert pipe("why ?", rewards, **seeded, **SMALL).text
    assert pipe("why ?", TinyReward(), config=APSConfig(**few, **GREEDY, seed=3)).text


class Silent:
    """A method that declares nothing."""

    def steps(self, denoiser, operator, canvas, config, noise):
        return Ancestral().steps(denoiser, operator, canvas, config, noise)


class Misspelt(Silent):
    """A method that declares two attributes of three, the third misspelt."""

    reads, selects = (), False

    def setings(self, config):
        return config


class Unknown(Ancestral):
    """A method that reads keywords that are none."""

    def __init__(self, reads):
        self.reads = reads


@pytest.mark.parametrize("name", sorted(PEERS))
def test_the_window_of_rollouts_is_of_no_peer(name):
    method = PEERS[name]()
    sampler = in_force(getattr(method, "method", method), APSConfig())[0].sampler
    assert sampler.guided_window.start == 0.0


def test_half_a_declaration_is_refused_by_name(pipe):
    message = "Misspelt has reads and selects but not settings; a method declares all three"
    for method in (Misspelt(), BestOf(Misspelt(), 2)):
        with pytest.raises(TypeError, match=message):
            pipe("why ?", vowels, method=method, **SMALL)
    for reads in (("betta",), "beta"):
        with pytest.raises(TypeError, match=r"Unknown.reads is a tuple of APSConfig's keywords"):
            pipe("why ?", vowels, method=Unknown(reads), **SMALL)
    assert unread(Silent(), APSConfig()) == {}  # it may read everything
    assert pipe("why ?", vowels, method=Silent(), beta=0.5, **SMALL).text


def test_a_whole_configuration_serves_every_method(pipe):
    config = APSConfig.make(
        "paper", beta=0.5, temperature=0.0, num_return_sequences=2, **SMALL, adapter="logits"
    )
    plain = pipe.generate("why ?", config=config)
    assert plain.text[0] == plain.text[1]
    assert plain.config.beta == 0.5
    assert pipe.generate("why ?", preset="paper", max_new_tokens=6).text


@pytest.mark.parametrize(
    "drawn",
    [
        {"remasking": "random"},
        {"alg": "origin"},
        {"alg_temp": 0.5},
        {"start": {"init_text": "a dog"}},
    ],
)
def test_draws_other_than_of_tokens_make_answers_differ_at_temperature_0(pipe, drawn):
    out = pipe.generate("why ?", temperature=0.0, num_return_sequences=8, **drawn, **SMALL)
    assert len(out.text) == 8


def test_a_steered_call_takes_several_answers_at_temperature_0(pipe):
    out = pipe("why ?", vowels, temperature=0.0, num_return_sequences=2, inner_steps=1, **SMALL)
    assert len(out.text) == 2


def test_warm_starts_and_controls_are_of_steering(pipe, tmp_path):
    with pytest.raises(ValueError, match="warm_start needs method 'aps', and Ancestral fits no"):
        pipe.generate("why ?", warm_start=tmp_path, **SMALL)
    with pytest.raises(ValueError, match="control='zero' needs a method that steers"):
        pipe.generate("why ?", reward=vowels, control="zero", **SMALL)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "plain", "--beta", "0.5"], "beta=0.5 has no use here"),
        (["--method", "plain", "--adapter", "logits"], "adapter='logits' has no use here"),
        (["--method", "entrgi", "--top-p", "0.5"], "EntRGi has 0.95 in its place"),
        (["--reward", "relevance", "--num-samples", "4"], "num_samples=4 has no use here"),
        (["--method", "plain", "--temperature", "0", "--seed", "3"], "seed=3 has no use here"),
    ],
)
def test_flags_in_vain_are_one_line(flags, message, capsys):
    assert main(["ask", "why?", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_seed_that_only_the_plain_answer_draws_by_is_taken_by_ask(capsys):
    flags = ["--candidate", "quantized", "--adapter", "logits", "--estimator", "relaxed"]
    flags += ["--reward", "relevance", "--inner-steps", "1", "--steps", "2", "--json"]
    flags += ["--max-new-tokens", "8"]
    texts = []
    for seed in (3, 4):
        assert main(["ask", "what is a violin?", "--seed", str(seed), *flags]) == 0
        answer = json.loads(capsys.readouterr().out)
        texts.append((answer["text"], answer["plain"]["text"]))
    assert texts[0][0] == texts[1][0]
    assert texts[0][1] != texts[1][1]
