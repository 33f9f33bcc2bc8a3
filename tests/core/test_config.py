"""Every field is checked, documented and survives JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aps_text.core.config import PRESETS, APSConfig
from aps_text.core.limits import CHOICES, RANGES

FIELDS = {f.name: f for f in dataclasses.fields(APSConfig)}
BOOLS = ("carry_over", "revisable")
# A value outside every numeric field's range, and the wrong types.
OUTSIDE = {
    "max_new_tokens": [0, -3],
    "steps": [0, -1],
    "block_length": [0, -4],
    "prefix_reuse": [0, -2],
    "inner_steps": [-1],
    "num_candidates": [0, -2],
    "beta": [0, -0.1, math.inf, math.nan],
    "gumbel_temperature": [0, -1.0],
    "num_samples": [1, 0],
    "reward_timeout": [0, -1.0, math.inf],
    "lora_rank": [0],
    "lora_alpha": [0.0, -16.0],
    "lora_layers": [0, -1],
    "learning_rate": [0, -0.5],
    "adam_eps": [-0.1],
    "gradient_gate": [-1e-9, math.nan],
    "trust_region": [0, -1.0],
    "guidance_start": [-0.1, 1.1],
    "guidance_end": [-0.1, 1.5],
    "guidance_interval": [0],
    "threshold": [0, 1.5],
    "alg_temp": [-1.0, math.inf],
    "cfg_scale": [-0.5, math.nan],
    "temperature": [-0.1, math.inf, math.nan],
    "top_p": [0, -0.2, 1.01],
    "top_k": [0, -5],
    "eos_penalty": [math.inf, math.nan],
    "min_new_tokens": [-1],
    "num_return_sequences": [0],
    "seed": [-1, 2**63],
    "likelihood_weight": [-0.5, math.inf, "slide"],
}
WHOLE = [name for name in RANGES if "int" in str(FIELDS[name].type)]


def test_the_tables_of_this_file_cover_every_field():
    assert set(OUTSIDE) | set(CHOICES) | set(BOOLS) == set(FIELDS)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in OUTSIDE.items() for v in vs])
def test_a_value_outside_its_range_names_field_and_value(name, value):
    with pytest.raises(ValueError, match=rf"{name}.*{re.escape(repr(value))}"):
        APSConfig(**{name: value})


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["nonsense", "", None, 3, ["kl"]])
def test_an_unknown_choice_names_field_value_and_what_there_is(name, value):
    with pytest.raises(ValueError, match=re.escape(repr(value))) as caught:
        APSConfig(**{name: value})
    assert str(caught.value).startswith(name)
    assert all(choice in str(caught.value) for choice in CHOICES[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in RANGES for value in ("8", True, [1], {})]
    + [("likelihood_weight", value) for value in (True, None, [1])],
)
def test_a_number_of_the_wrong_type_names_field_and_value(name, value):
    with pytest.raises(TypeError, match=rf"{name}.*{re.escape(repr(value))}"):
        APSConfig(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_counts_are_whole(name):
    with pytest.raises(TypeError, match=rf"{name} is an integer, got 4\.0"):
        APSConfig(**{name: 4.0})


@pytest.mark.parametrize("name", RANGES)
def test_none_only_where_it_means_something(name):
    if "None" in str(FIELDS[name].type):
        assert getattr(APSConfig(**{name: None}), name) is None
    else:
        with pytest.raises(TypeError, match=f"{name}.*None"):
            APSConfig(**{name: None})


@pytest.mark.parametrize("name", BOOLS)
@pytest.mark.parametrize("value", [1, "true", None])
def test_switches_are_true_or_false(name, value):
    with pytest.raises(TypeError, match=rf"{name}.*{re.escape(repr(value))}"):
        APSConfig(**{name: value})


def test_the_guidance_window_is_ordered():
    with pytest.raises(ValueError, match=r"guidance_start=0\.6.*guidance_end=0\.5"):
        APSConfig(guidance_start=0.6, guidance_end=0.5)


def test_contradictions_are_errors():
    with pytest.raises(ValueError, match=r"threshold=0\.9 .* alg_temp=0\.2"):
        APSConfig(threshold=0.9, alg_temp=0.2)
    with pytest.raises(ValueError, match="remasking='random' and alg='entropy' are two orders"):
        APSConfig(remasking="random", alg="entropy")


def test_a_change_is_checked_again():
    with pytest.raises(ValueError, match="beta"):
        APSConfig().replace(beta=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        APSConfig().beta = 0.0


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("temprature", "temperature"), ("topp", "top_p"), ("innersteps", "inner_steps")],
)
def test_an_unknown_option_suggests_the_nearest(typo, meant):
    with pytest.raises(TypeError, match=f"'{typo}'; did you mean '{meant}'"):
        APSConfig.make(**{typo: 1})


def test_an_option_like_no_other_lists_what_there_is():
    with pytest.raises(TypeError, match="qqqq") as caught:
        APSConfig.make(qqqq=1)
    assert all(name in str(caught.value) for name in FIELDS)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_validate_and_options_win(preset):
    assert set(PRESETS[preset]) <= set(FIELDS)
    config = APSConfig.make(preset, beta=0.5, steps=5)
    assert (config.beta, config.steps) == (0.5, 5)
    for name, value in PRESETS[preset].items():
        if name != "steps":
            assert getattr(config, name) == value


def test_presets_are_a_dial():
    work = {p: (lambda c: c.steps * c.inner_steps)(APSConfig.make(p)) for p in PRESETS}
    assert work["fast"] < work["balanced"] < work["paper"]
    assert APSConfig.make() == APSConfig.make("balanced") == APSConfig()
    with pytest.raises(ValueError, match="'slow'"):
        APSConfig.make("slow")


def test_the_paper_preset_is_the_slides_objective():
    paper = APSConfig.make("paper")
    assert (paper.prior, paper.likelihood_weight) == ("overlap", "slides")
    assert (paper.relaxation, paper.quantizer) == ("quantized", "nearest")


def test_the_learning_rate_in_force():
    for adapter in CHOICES["adapter"]:  # the default in force is the one the documentation states
        default = APSConfig(adapter=adapter).adapter_learning_rate
        assert f"{default:g} for {adapter}" in APSConfig.__doc__
    assert APSConfig(learning_rate=0.2).adapter_learning_rate == 0.2


def numbers(name: str) -> st.SearchStrategy:
    low, high, closed = RANGES[name]
    if name in WHOLE:
        values = st.integers(int(max(low, -(2**40))), int(min(high, 2**40)))
    else:
        values = st.floats(
            max(low, -1e9), min(high, 1e9), exclude_min=not closed and low > -1e9, allow_nan=False
        )
    return values | st.none() if "None" in str(FIELDS[name].type) else values


@st.composite
def configs(draw):
    values = {name: draw(numbers(name)) for name in RANGES}
    start, end = values["guidance_start"], values["guidance_end"]
    values["guidance_start"], values["guidance_end"] = min(start, end), max(start, end)
    values |= {name: draw(st.sampled_from(allowed)) for name, allowed in CHOICES.items()}
    values |= {name: draw(st.booleans()) for name in BOOLS}
    if values["remasking"] in ("low_confidence", "random"):
        values["alg"] = "maskgit_plus"
    if values["threshold"] is not None:
        values["alg_temp"] = None
    values["likelihood_weight"] = draw(st.sampled_from(["slides", "posterior"]) | st.floats(0, 1e6))
    return APSConfig(**values)


@given(configs())
def test_json_round_trip(config):
    text = config.to_json()
    assert set(json.loads(text)) == set(FIELDS)
    assert APSConfig.from_json(text) == config


def test_json_that_is_no_configuration_is_an_error():
    assert APSConfig.from_json('{"beta": 2}') == APSConfig(beta=2)
    with pytest.raises(TypeError, match="list"):
        APSConfig.from_json("[]")
    with pytest.raises(TypeError, match="did you mean 'beta'"):
        APSConfig.from_json('{"betta": 2}')
    with pytest.raises(ValueError, match="beta"):
        APSConfig.from_json('{"beta": -2}')


def test_every_field_is_documented():
    assert all(re.search(rf"\b{name}\b", APSConfig.__doc__) for name in FIELDS)
