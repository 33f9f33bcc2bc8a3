"""Keywords are checked, go to one record each, come back, survive JSON, and are documented."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aps_text import APSConfig
from aps_text.core.config import SETTINGS
from aps_text.core.limits import Choice, Number, Switch, flat_name
from aps_text.core.names import CALL, ELSEWHERE, RENAMED, THEIRS
from aps_text.core.own_settings import config_for, own_settings
from aps_text.core.presets import IMAGE_PRESETS, PRESETS
from aps_text.core.routing import DEFAULTS, RECORDS, Options, names_of, records_of

NUMBERS = {name: takes for name, takes in SETTINGS.items() if isinstance(takes, Number)}
CHOICES = {name: takes.names for name, takes in SETTINGS.items() if isinstance(takes, Choice)}
SWITCHES = [name for name, takes in SETTINGS.items() if isinstance(takes, Switch)]
# Beside which a keyword has a record.
BESIDE = {
    "quantizer": {"relaxation": "quantized"},
    "gumbel_temperature": {"relaxation": "gumbel"},
    "rank_by": {"remasking": "standard"},
}


def outside(takes: Number) -> list:
    """Numbers it refuses."""
    found = [math.inf, -math.inf, math.nan] if not takes.whole else []
    step = 1 if takes.whole else 0.5
    found += [takes.low - step] + ([takes.low] if takes.above else [])
    found += [takes.least / 2, 1e-39] if takes.least else []
    return [*found, takes.high + 1 if takes.whole else takes.high * 1.1]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in NUMBERS for value in outside(NUMBERS[name])]
)
def test_a_number_outside_its_range_names_setting_and_value(name, value):
    with pytest.raises(ValueError, match=rf"{name}.*{re.escape(repr(value))}"):
        APSConfig(**{name: value}, **BESIDE.get(name, {}))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["8", True, [1], {}, 1j])
def test_a_number_of_the_wrong_type_names_setting_and_value(name, value):
    if isinstance(value, str) and NUMBERS[name].words:
        pytest.skip("it takes words")
    with pytest.raises(TypeError, match=rf"{name}.*{re.escape(repr(value))}"):
        APSConfig(**{name: value}, **BESIDE.get(name, {}))


@pytest.mark.parametrize("name", NUMBERS)
def test_none_only_where_it_means_something(name):
    if NUMBERS[name].optional:
        assert APSConfig(**{name: None}).flat().get(name) is None
    else:
        with pytest.raises(TypeError, match=f"{name}.*None"):
            APSConfig(**{name: None}, **BESIDE.get(name, {}))


@pytest.mark.parametrize("name", [name for name in NUMBERS if NUMBERS[name].whole])
def test_counts_are_whole_and_numpys_are_taken(name):
    with pytest.raises(TypeError, match=rf"{name} is an integer, got 4\.0"):
        APSConfig(**{name: 4.0})
    flat = APSConfig(**{name: np.int64(4)}).flat()
    assert type(flat[name]) is int
    assert json.loads(json.dumps(flat))[name] == 4


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["nonsense", "", None, 3, ["kl"], np.zeros(2)])
def test_an_unknown_choice_names_setting_value_and_what_there_is(name, value):
    with pytest.raises(ValueError, match=re.escape(repr(value))) as caught:
        APSConfig(**{name: value})
    assert str(caught.value).startswith(name)
    assert all(choice in str(caught.value) for choice in CHOICES[name])


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [1, "true", None])
def test_switches_are_true_or_false(name, value):
    with pytest.raises(TypeError, match=rf"{name}.*{re.escape(repr(value))}"):
        APSConfig(**{name: value})


def test_likelihood_weight_takes_words_too():
    assert APSConfig(likelihood_weight="length").sampler.fit.likelihood_weight == "length"
    with pytest.raises(ValueError, match="'length' or 'posterior', or a number; got 'slide'"):
        APSConfig(likelihood_weight="slide")


def test_contradictions_are_errors():
    with pytest.raises(ValueError, match=r"guidance_start=0\.6.*guidance_end=0\.5"):
        APSConfig(guidance_start=0.6, guidance_end=0.5)
    with pytest.raises(ValueError, match=r"threshold=0\.9 .* alg_temp=0\.2"):
        APSConfig(threshold=0.9, alg_temp=0.2)
    with pytest.raises(ValueError, match="remasking='random' and alg='entropy' are two orders"):
        APSConfig(remasking="random", alg="entropy")


@pytest.mark.parametrize("interval", [1, 2, 3, 7])
@pytest.mark.parametrize("end", [0.2, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 16])
def test_rollouts_guide_the_second_half_and_everything_else_all(steps, end, interval):
    window = {"steps": steps, "guidance_end": end, "guidance_interval": interval}
    every = {i for i in range(steps) if i / steps < end and i % interval == 0}
    late = {i for i in every if 2 * i >= steps}

    def guided(**options):
        sampler = APSConfig(**window, **options).sampler
        return {i for i in range(steps) if sampler.is_guided(i)}

    assert guided(pool_rollout=2) == guided(inner_steps=0) == (late or every)
    assert guided(pool_rollout=1) == guided(pool_size=1) == guided(guidance_start=0.0) == every
    assert guided(guidance_start=min(0.5, end)) == (late if end > 0.5 else set())


def test_a_configuration_does_not_change():
    config = APSConfig()
    with pytest.raises(AttributeError, match="replace"):
        config.steps = 3
    with pytest.raises(AttributeError):
        config.sampler.steps = 3
    with pytest.raises(ValueError, match="beta"):
        config.replace(beta=0)
    assert config.replace(steps=3).sampler.steps == 3
    assert config.sampler.steps == 16


# Names


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        *(("temprature", "temperature"), ("topp", "top_p"), ("innersteps", "inner_steps")),
        *(("Steps", "steps"), ("--lora-rank", "lora_rank"), ("rewrads", "reward")),
        *THEIRS.items(),
    ],
)
def test_an_unknown_option_suggests_the_right_one(typed, nearest):
    with pytest.raises(TypeError, match=f"'{typed}'; did you mean '{nearest}'"):
        APSConfig(**{typed: 1})


def test_the_names_suggested_exist_and_ours_are_not_among_theirs():
    assert set(THEIRS.values()) <= {*SETTINGS, *CALL}
    assert not set(THEIRS) & {*SETTINGS, *CALL, *RENAMED}
    assert set(RENAMED.values()) <= set(SETTINGS)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_no_option_says_where_it_is(name):
    with pytest.raises(TypeError, match=f"'{name}'; ") as caught:
        APSConfig(**{name: 1})
    assert "did you mean" not in str(caught.value)


def test_an_option_like_no_other_lists_what_there_is():
    with pytest.raises(TypeError, match="qqqq") as caught:
        APSConfig(qqqq=1)
    assert all(name in str(caught.value) for name in SETTINGS)


@pytest.mark.parametrize("old", RENAMED)
def test_earlier_names_work_with_a_warning(old):
    new = RENAMED[old]
    other = {"pool_size": 4, "reveal_rule": "dream", "rank_by": "phi", "remask": True}[new]
    beside = {"remasking": "standard"} if new == "rank_by" else {}
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
        found = APSConfig.make(**{old: other}, **beside)
    assert found == APSConfig(**{new: other}, **beside)
    with pytest.raises(TypeError, match=f"{old} and {new} are one option"):
        APSConfig(**{old: other, new: other}, **beside)
    stored = json.dumps({old: other, **beside})
    assert APSConfig.from_json(stored) == found


def test_slides_is_called_length():
    with pytest.warns(DeprecationWarning, match="likelihood_weight='length' now"):
        assert APSConfig(likelihood_weight="slides") == APSConfig(likelihood_weight="length")


# Presets


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_hold_and_options_win(preset):
    assert set(PRESETS[preset]) <= set(SETTINGS)
    flat = APSConfig.make(preset, beta=0.5, steps=5).flat()
    assert (flat["beta"], flat["steps"]) == (0.5, 5)
    kept = {name: v for name, v in PRESETS[preset].items() if name not in ("steps", "beta")}
    assert all(flat[name] == v for name, v in kept.items())


def test_presets_are_a_dial():
    def work(preset):
        flat = APSConfig(preset).flat()
        return flat["steps"] * flat["inner_steps"]

    assert work("fast") < work("balanced") < work("paper")
    assert APSConfig.make() == APSConfig.make("balanced") == APSConfig()


@pytest.mark.parametrize("preset", ["slow", "", 3, ["fast"], {"fast"}, {}, np.zeros(2)])
def test_a_preset_that_is_none_says_what_there_is(preset):
    with pytest.raises(
        ValueError, match="fast, balanced, paper, restore, posterior; got"
    ) as caught:
        APSConfig.make(preset)
    assert repr(preset) in str(caught.value)


def test_the_paper_preset_is_the_slides_ingredients():
    fit = APSConfig("paper").sampler.fit
    relaxation = fit.gradient.relaxation
    assert (fit.prior, fit.likelihood_weight) == ("overlap", "length")
    assert (relaxation.kind, relaxation.quantizer) == ("quantized", "nearest")
    assert APSConfig("paper").sampler.pool_size is None


@pytest.mark.parametrize("preset", PRESETS)
def test_repr_is_what_differs_from_the_preset_and_makes_the_same(preset):
    config = APSConfig.make(preset, steps=7, beta=0.25)
    shown = repr(config)
    named = "" if preset == "balanced" else f"{preset!r}, "
    assert shown == f"APSConfig({named}steps=7, beta=0.25)"
    assert eval(shown, {"APSConfig": APSConfig}) == config


# Properties


def values_of(name: str) -> st.SearchStrategy:
    takes = SETTINGS[name]
    if isinstance(takes, Choice):
        return st.sampled_from(takes.names)
    if isinstance(takes, Switch):
        return st.booleans()
    if takes.whole:
        found = st.integers(int(takes.low), int(takes.high))
    else:
        low = max(takes.low, takes.least)
        found = st.floats(low, takes.high, exclude_min=takes.above and low == takes.low)
        found = found.filter(lambda value: value == 0 or abs(value) >= takes.least)
        found = found | st.just(0.0) if takes.low == 0 and not takes.above else found
    found = found | st.sampled_from(takes.words) if takes.words else found
    return found | st.none() if takes.optional else found


@st.composite
def options(draw):
    """Any keywords that do not contradict each other."""
    names = draw(st.sets(st.sampled_from(sorted(SETTINGS))))
    found = {name: draw(values_of(name)) for name in names}
    if found.get("guidance_start") is not None or "guidance_end" in found:
        start, end = found.get("guidance_start") or 0.0, found.get("guidance_end", 1.0)
        found |= {"guidance_start": min(start, end), "guidance_end": max(start, end)}
    if found.get("remasking") in ("low_confidence", "random"):
        found["alg"] = "maskgit_plus"
    if found.get("threshold") is not None:
        found["alg_temp"] = None
    return draw(st.sampled_from([None, *PRESETS])), found


@given(options())
def test_flat_to_records_and_back(made):
    preset, typed = made
    config = APSConfig(preset, **typed)
    flat = config.flat()
    for name, value in typed.items():
        alias = (name, value) in ALIAS.items()
        alias |= name == "remasking" and typed.get("rank_by") == "phi"  # anchored
        # Ranked by phi, standard remasking is anchored, by the token's own probability.
        alias |= name == "anchor_score" and typed.get("rank_by") == "phi"
        alias |= name == "pool_size" and config.sampler.candidate == "quantized"
        if name in flat and not alias:
            usual = {"pool_size": 1, "learning_rate": None, "alg_temp": 0}.get(name)
            assert flat[name] == value or (flat[name] is None and usual in (value, None)), name
    assert APSConfig(**flat) == config
    assert APSConfig(**flat).flat() == flat
    assert APSConfig(config.preset, **flat) == config
    assert APSConfig.from_json(config.to_json()) == config == pickle.loads(pickle.dumps(config))
    assert hash(APSConfig.from_json(config.to_json())) == hash(config)
    assert eval(repr(config), {"APSConfig": APSConfig}) == config
    assert config.replace() == config


ALIAS = {"remasking": "low_confidence"}  # of `standard`


@given(options())
def test_every_keyword_goes_to_one_record_or_has_a_reason(made):
    preset, typed = made
    values = Options({**PRESETS[preset or "balanced"], **typed})
    records_of(values)
    assert values.used <= set(SETTINGS)
    assert not set(typed) - values.used - set(values.reasons)
    kinds = {kind: names_of(kind) for kind in RECORDS}
    for name in SETTINGS:
        owners = [kind.__name__ for kind, names in kinds.items() if name in names]
        if name == "beta":  # the reward's, from which the sampler's number is made
            assert owners == ["SamplerSettings", "RewardSettings"]
        elif name in ("learning_rate", "adam_eps"):  # of the one phi there is
            assert owners == ["Logits", "Codes", "LoRA"]
        elif name not in (
            "inner_steps",
            "adapter",
            "estimator",
            "remasking",
            "quantizer",
            "rank_by",
        ):
            assert len(owners) == 1, name


@given(options())
def test_a_keyword_without_effect_leaves_the_records_as_they_are(made):
    preset, typed = made
    base = APSConfig(preset, **typed)
    for name in SETTINGS:
        for value in (DEFAULTS[name], *CHOICES.get(name, ())):
            try:
                lost = base.ineffective({name: value})
            except ValueError:
                continue
            changed = base.replace(**{name: value})
            if lost and lost[name] in ROUTED:
                assert changed == base


ROUTED = {
    "inner_steps=0 fits no phi; use inner_steps >= 1",
    "remasking='anchored' ranks by phi; use remasking='standard'",
    "temperature=0 takes the likeliest token; use temperature > 0",
}


def test_json_that_is_no_configuration_is_an_error():
    assert APSConfig.from_json('{"beta": 2}') == APSConfig(beta=2)
    with pytest.raises(TypeError, match="list"):
        APSConfig.from_json("[]")
    with pytest.raises(TypeError, match="did you mean 'beta'"):
        APSConfig.from_json('{"betta": 2}')
    with pytest.raises(ValueError, match="beta"):
        APSConfig.from_json('{"beta": -2}')


def test_a_file_of_before_with_every_field_is_read():
    old = {**DEFAULTS, "beta": 0.02, "adapter": "logits", "lora_rank": 4, "num_candidates": 3}
    old |= {"counting": "dream", "standard_score": "phi", "revisable": True}
    for name in RENAMED.values():
        del old[name]
    config = APSConfig.from_json(json.dumps({**old, "likelihood_weight": "slides"}))
    assert config == APSConfig(
        beta=0.02,
        adapter="logits",
        pool_size=3,
        reveal_rule="dream",
        remask=True,
        likelihood_weight="length",
    )


def test_every_keyword_is_documented():
    assert all(re.search(rf"\b{name}\b", APSConfig.__doc__) for name in SETTINGS)


def test_the_learning_rate_of_each_adapter_is_the_documented_one():
    for adapter in CHOICES["adapter"]:
        rate = APSConfig(adapter=adapter).sampler.fit.phi.learning_rate
        assert f"{rate:g} for {adapter}" in APSConfig.__doc__
    other = APSConfig(adapter="lora").replace(adapter="logits")
    assert other == APSConfig(adapter="logits")
    assert APSConfig(learning_rate=0.2).sampler.fit.phi.learning_rate == 0.2


IN_VAIN = [
    ({"candidate": "quantized", "pool_size": 4}, "pool_size", "is one answer, no pool"),
    ({"candidate": "quantized", "pool_rollout": 2}, "pool_rollout", "use candidate='sample'"),
    ({"inner_steps": 0, "lora_rank": 4}, "lora_rank", "fits no phi"),
    ({"inner_steps": 0, "adapter": "logits"}, "adapter", "fits no phi"),
    ({"inner_steps": 0, "estimator": "rloo"}, "estimator", "fits no phi"),
    ({"inner_steps": 0, "quantizer": "argmax"}, "quantizer", "fits no phi"),
    ({"inner_steps": 0, "prior": "none"}, "prior", "fits no phi"),
    ({"inner_steps": 0, "tilt_keep": 0.5}, "tilt_keep", "fits no phi"),
    ({"inner_steps": 0, "num_samples": 4}, "num_samples", "fits no phi"),
    ({"inner_steps": 0, "relaxation": "gumbel"}, "relaxation", "fits no phi"),
    ({"adapter": "logits", "lora_rank": 4}, "lora_rank", "starts anew at each step"),
    ({"adapter": "logits", "carry_over": False}, "carry_over", "starts anew at each step"),
    ({"adapter": "codes", "lora_alpha": 8.0}, "lora_alpha", "keeps `tilt_keep` of its tilt"),
    ({"tilt_keep": 0.5}, "tilt_keep", "adapter='lora' tilts towards no codes"),
    ({"adapter": "logits", "tilt_start": 1.0}, "tilt_start", "tilts towards no codes"),
    ({"adapter": "logits", "lora_layers": 4}, "lora_layers", "no LoRA is fitted"),
    ({"inner_steps": 0, "lora_layers": 4}, "lora_layers", "no LoRA is fitted"),
    ({"estimator": "relaxed", "num_samples": 4}, "num_samples", "draws no answers"),
    ({"estimator": "rloo", "relaxation": "quantized"}, "relaxation", "relaxes none"),
    ({"estimator": "remax", "quantizer": "argmax"}, "quantizer", "relaxes none"),
    ({"quantizer": "argmax"}, "quantizer", "has no hard point"),
    ({"relaxation": "gumbel", "quantizer": "argmax"}, "quantizer", "has no hard point"),
    ({"gumbel_temperature": 0.5}, "gumbel_temperature", "draws no Gumbel noise"),
    ({"alg": "origin", "threshold": 0.9}, "threshold", "reveals in a random order"),
    ({"alg": "origin", "remasking": "standard"}, "remasking", "reveals in a random order"),
    ({"remasking": "random", "rank_by": "phi"}, "rank_by", "reveals in a random order"),
    ({"remasking": "standard", "anchor_score": "bits"}, "anchor_score", "keeps no anchors"),
    ({"rank_by": "phi"}, "rank_by", "remasking='anchored' ranks by phi"),
    ({"alg": "entropy", "anchor_score": "bits"}, "anchor_score", "scores the anchors"),
    ({"alg": "entropy", "threshold": 0.5}, "threshold", "has scores below 0"),
    ({"temperature": 0.0, "top_p": 0.5}, "top_p", "takes the likeliest token"),
    ({"temperature": 0.0, "top_k": 3}, "top_k", "takes the likeliest token"),
    ({"steps": 1, "schedule": "cosine"}, "schedule", "writes everything at once"),
    ({"steps": 1, "reveal_rule": "dream"}, "reveal_rule", "writes everything at once"),
    ({"steps": 1, "remask": True}, "remask", "writes everything at once"),
    ({"steps": 1, "remasking": "standard"}, "remasking", "writes everything at once"),
    ({"steps": 1, "carry_over": False}, "carry_over", "writes everything at once"),
    ({"steps": 1, "guidance_end": 0.5}, "guidance_end", "writes everything at once"),
    ({"steps": 1, "guidance_interval": 2}, "guidance_interval", "writes everything at once"),
    ({"steps": 1, "alg": "entropy"}, "alg", "writes everything at once"),
    ({"steps": 1, "threshold": 0.5}, "threshold", "writes everything at once"),
    ({"steps": 1, "max_new_tokens": 8, "block_length": 4}, "block_length", "at once"),
    ({"reveal_rule": "dream", "schedule": "cosine"}, "schedule", "has its own schedule"),
    ({"candidate": "quantized", "temperature": 0.3}, "temperature", "draws no candidates"),
    ({"candidate": "quantized", "top_p": 0.5}, "top_p", "draws no candidates"),
    ({"max_new_tokens": 8, "block_length": 9}, "block_length", "fits into one block"),
]


@pytest.mark.parametrize(("typed", "name", "reason"), IN_VAIN)
def test_what_was_typed_in_vain_is_refused_with_the_reason(typed, name, reason):
    assert set(APSConfig().ineffective(typed)) == {name}
    with pytest.raises(ValueError, match=f"{name}=.* has no use here: .*{re.escape(reason)}"):
        APSConfig.make(**typed)


@pytest.mark.parametrize(
    "typed",
    [
        {"max_new_tokens": 8, "block_length": 7},
        {"block_length": 64},
        {"reveal_rule": "dream", "schedule": "cosine", "remask": True},
        {"reveal_rule": "dream", "schedule": "cosine", "alg": "origin"},
        {"candidate": "quantized", "relaxation": "quantized", "temperature": 0.3},
        {"prefix_reuse": 2, "adapter": "logits", "lora_layers": 4},
        {"alg": "topk_margin", "threshold": 0.5},
        {"relaxation": "entropy", "quantizer": "argmax"},
        {"relaxation": "gumbel", "gumbel_temperature": 0.5},
        {"estimator": "remax", "num_samples": 4},
        {"adapter": "codes", "tilt_keep": 0.5, "tilt_start": 1.0},
        {"steps": 2, "schedule": "cosine", "carry_over": False},
        {"temperature": 0.5, "top_p": 0.5, "top_k": 3},
    ],
)
def test_what_has_an_effect_is_taken(typed):
    assert APSConfig().ineffective(typed) == {}
    assert APSConfig.make(**typed) == APSConfig(**typed)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_made_by_hand_checks_every_field(record):
    """`APSConfig` checks its keywords; records are public, too."""
    for field in dataclasses.fields(record):
        if field.metadata:
            with pytest.raises((ValueError, TypeError), match=flat_name(field)):
                record(**{field.name: object()})
    record()


def test_the_defaults_are_those_of_a_released_version():
    """A changed default changes the answers of everyone who never typed it."""
    flat = APSConfig().flat()
    assert {name: DEFAULTS[name] for name in flat} | PRESETS["balanced"] == {
        **{"steps": 16, "schedule": "linear", "reveal_rule": "exact", "remask": False},
        "prefer_ended": False,
        **{"remasking": "anchored", "alg": "maskgit_plus", "anchor_score": "token"},
        **{"alg_temp": None, "threshold": None, "candidate": "sample", "pool_size": 8},
        **{"pool_rollout": 4, "pool_interval": 1},
        **{"temperature": 0.7, "top_p": 1.0, "top_k": None, "eos_penalty": 0.0},
        **{"min_new_tokens": 1, "guidance_start": None, "guidance_end": 1.0},
        **{"guidance_interval": 1, "beta": None, "inner_steps": 1, "adapter": "lora"},
        **{"learning_rate": None, "lora_rank": 8, "lora_alpha": 16.0, "adam_eps": 0.1},
        **{"carry_over": True, "estimator": "auto", "num_samples": 8},
        **{"relaxation": "expectation", "prior": "kl", "likelihood_weight": "posterior"},
        **{"gradient_gate": 1e-6, "trust_region": 3.0, "max_new_tokens": None},
        **{"block_length": None, "num_return_sequences": 1, "seed": 0, "lora_layers": 2},
        **{"prefix_reuse": None, "cfg_scale": 0.0, "bridge": "restrict"},
        "reward_timeout": None,
    }


def test_a_configuration_goes_to_a_file_and_back(tmp_path):
    for preset in PRESETS:
        config = APSConfig.make(preset, steps=7)
        config.save(tmp_path / "settings.json")
        found = APSConfig.load(tmp_path / "settings.json")
        assert found == config
        # Those of images are refused for texts, and the other way round.
        assert (found.preset in IMAGE_PRESETS) == (preset in IMAGE_PRESETS)


def test_json_may_name_a_preset():
    assert APSConfig.from_json('{"preset": "fast", "beta": 2}') == APSConfig("fast", beta=2)
    with pytest.raises(ValueError, match=r"preset is one of fast, .* got 'quick'"):
        APSConfig.from_json('{"preset": "quick"}')


def test_an_attribute_it_lacks_is_answered_with_what_there_is():
    assert APSConfig(steps=7).steps == 7
    with pytest.raises(AttributeError, match=r"no 'stepz'; did you mean 'steps', and .*to_json"):
        _ = APSConfig().stepz
    with pytest.raises(AttributeError, match="no 'xyzzy'; it has its keywords as attributes"):
        _ = APSConfig().xyzzy


def test_which_numbers_are_whole_may_be_none_and_where_they_begin():
    """By name, beside the specifications: the tests above read those."""
    whole = "steps inner_steps pool_size pool_rollout num_samples lora_rank lora_layers top_k"
    whole += " pool_interval"
    whole += " min_new_tokens max_new_tokens block_length num_return_sequences seed"
    whole += " prefix_reuse guidance_interval"
    assert {name for name, takes in NUMBERS.items() if takes.whole} == set(whole.split())
    for record in RECORDS:
        for field in dataclasses.fields(record):
            if field.metadata and flat_name(field) in whole.split():
                with pytest.raises(TypeError, match=f"{flat_name(field)} is an integer, got 2.5"):
                    record(**{field.name: 2.5})
    optional = "beta learning_rate alg_temp threshold top_k pool_size trust_region max_new_tokens"
    optional += " guidance_start block_length lora_layers prefix_reuse reward_timeout"
    optional = {name for name, takes in NUMBERS.items() if takes.optional} - set(optional.split())
    assert not optional
    least = {
        "steps": 1,
        "inner_steps": 0,
        "pool_size": 1,
        "pool_rollout": 1,
        "num_samples": 2,
        "lora_rank": 1,
    }
    least |= {"lora_layers": 1, "top_k": 1, "min_new_tokens": 0, "max_new_tokens": 1, "seed": 0}
    least |= {"block_length": 1, "num_return_sequences": 1, "prefix_reuse": 1}
    least |= {"guidance_interval": 1, "pool_interval": 1}
    assert {name: takes.low for name, takes in NUMBERS.items() if takes.whole} == least
    positive = "beta lora_alpha learning_rate likelihood_weight trust_region threshold top_p"
    positive += " gumbel_temperature reward_timeout"
    assert {name for name, takes in NUMBERS.items() if takes.above} == set(positive.split())


def test_answers_in_blocks_are_steered_at_all_steps_unless_a_start_is_given():
    config = APSConfig(steps=8)
    assert config.in_blocks(4, 16).sampler.guided_window.start == 0.0
    for block in (None, 16, 32):  # one block
        assert config.in_blocks(block, 16) is config
    stated = APSConfig(steps=8, guidance_start=0.25)
    assert stated.in_blocks(4, 16) is stated
    plain = APSConfig(inner_steps=0, pool_size=None)
    assert plain.in_blocks(4, 16) is plain


def test_a_models_own_settings_stand_between_the_preset_and_the_options():
    own = {"steps": 9, "pool_size": 3, "presets": {"fast": {"pool_size": 5, "beta": 0.5}}}
    assert own_settings(own, None) == own_settings(own, "balanced") == {"steps": 9, "pool_size": 3}
    assert own_settings(own, "fast") == {"steps": 9, "pool_size": 5, "beta": 0.5}
    with pytest.raises(ValueError, match=r"preset is one of .* got 'slow'"):
        own_settings(own, "slow")
    made = config_for({**own, "canvas": 6}, max_new_tokens=8)
    assert (made.steps, made.pool_size, made.max_new_tokens) == (12, 3, 8)
    made = config_for({"canvas": 4, "pool_rollout": 3}, max_new_tokens=2, pool_size=2)
    assert made.pool_rollout == 2
    made = config_for({**own, "canvas": 6}, max_new_tokens=8, steps=9)
    assert made.steps == 9
    assert config_for({**own, "canvas": 6}).steps == 9
    made = config_for(own, max_new_tokens=8)
    assert made.steps == 9
    made = config_for(own, "fast", steps=4)
    assert (made.steps, made.pool_size, made.beta, made.pool_rollout) == (4, 5, 0.5, 1)
    # what the options leave without effect is left out
    assert config_for(own, pool_size=None).pool_size is None
    assert config_for({"pool_rollout": 7}, pool_size=None).flat() == (
        APSConfig(pool_size=None).flat()
    )


@pytest.mark.parametrize(
    ("options", "mend"), [({"inner_steps": 0}, "inner_steps >= 1"), ({"adapter": "logits"}, "lora")]
)
def test_layers_without_a_lora_are_told_what_is_missing(options, mend):
    with pytest.raises(ValueError, match=f"lora_layers=3 has no use here: no LoRA .*{mend}"):
        APSConfig.make(**options, lora_layers=3)


@pytest.mark.parametrize("size", [None, 1])
def test_a_models_own_preset_is_left_out_where_nothing_of_it_would_steer(size):
    pool = {"inner_steps": 0, "pool_size": 3, "pool_rollout": 9, "guidance_interval": 4}
    own = {"steps": 9, "presets": {"balanced": pool}}
    made = config_for(own, pool_size=size)
    assert made.flat() == APSConfig(steps=9, pool_size=size).flat()
    assert made.sampler.steers
    # what is stated may say that nothing steers
    assert not config_for(own, pool_size=size, inner_steps=0).sampler.steers
    assert config_for(own, pool_size=2).flat() == (
        APSConfig(**{**pool, "steps": 9, "pool_size": 2}).flat()
    )


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"stepz": 3}', '{"steps": "many"}'])
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path, text):
    file = tmp_path / "settings.json"
    file.write_text(text)
    with pytest.raises((ValueError, TypeError), match=r"settings\.json: "):
        APSConfig.load(file)
    file.write_text(text, encoding="utf-16")
    with pytest.raises(ValueError, match=r"settings\.json: "):
        APSConfig.load(file)


def test_a_settings_file_may_start_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(APSConfig.make(steps=3).to_json(), encoding="utf-8-sig")
    assert APSConfig.load(file) == APSConfig.make(steps=3)
