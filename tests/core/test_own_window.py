"""A stated end of guidance beside a preset's start and the model's own."""

from __future__ import annotations

import pytest

from aps_text.cli import main
from aps_text.core.own_settings import config_for

OWN = {"presets": {"fast": {"guidance_start": 0.0}}}


def test_a_stated_end_is_checked_against_the_models_own_start():
    window = config_for(OWN, "fast", guidance_end=0.3).sampler.guided_window
    assert (window.start, window.end) == (0.0, 0.3)
    with pytest.raises(ValueError, match=r"guidance_start=0\.5 lies after"):
        config_for({}, "fast", guidance_end=0.3)
    with pytest.raises(ValueError, match=r"guidance_start=0\.4 lies after"):
        config_for(OWN, "fast", guidance_end=0.3, guidance_start=0.4)


def test_the_plan_of_smol_has_its_own_start(capsys):
    plan = ["plan", "--model", "smol", "--preset", "fast", "--guidance-end", "0.3"]
    assert main(plan) == 0
    assert "steered at 15 of 48 steps" in capsys.readouterr().out
