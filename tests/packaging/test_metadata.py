"""What the repository says of itself in several places agrees."""

import re
import tomllib

import pytest
import yaml
from paths import ROOT

import aps_text

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def matrix():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    return jobs["versions"]["strategy"]["matrix"]["include"]


def test_the_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == aps_text.__version__
    assert cited["license"] == PROJECT["license"]


def test_every_python_of_the_classifiers_is_tried(matrix):
    said = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert {row["python"] for row in matrix} == said
    assert f">={min(said, key=lambda v: int(v[2:]))}" == PROJECT["requires-python"]


@pytest.mark.parametrize("package", ["transformers", "peft"])
def test_the_oldest_versions_are_tried(matrix, package):
    (lowest,) = (
        d.partition(">=")[2] for d in PROJECT["dependencies"] if d.startswith(f"{package}>=")
    )
    assert any(f"{package}=={lowest}.*" in row["pins"] for row in matrix)


def test_the_demo_is_not_installed_beside_a_transformers_that_it_cannot_have(matrix):
    extras = PROJECT["optional-dependencies"]
    assert "transformers>=5.0" in extras["demo"]
    (old,) = (row for row in matrix if "transformers==4." in row["pins"])
    named = set(re.search(r"\.\[(.+?)\]", old["install"])[1].split(","))
    assert not {"demo", "dev"} & named
    (dev,) = (d for d in extras["dev"] if d.startswith("aps-text["))
    assert named == set(re.search(r"\[(.+)\]", dev)[1].split(",")) - {"demo"}
