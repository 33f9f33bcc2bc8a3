"""Links in a model's folder: followed inside of it and into the hub cache's blobs, nowhere else."""

from __future__ import annotations

import pytest
from aps_rewards import links
from aps_rewards.fluency import Fluency
from aps_rewards.links import check_links
from aps_rewards.loading import load_reward
from aps_rewards.relevance import Relevance

from aps_text.images.magvit import load_magvit
from aps_text.models.image_folders import image_folder
from aps_text.models.lora_files import read_maps
from aps_text.models.registry import load
from aps_text.models.search import find_adapter
from aps_text.pipelines.diffusers_image_model import load_diffusers_image_model
from aps_text.pipelines.image_model import load_image_model
from aps_text.planning.image_folders import image_shape_in
from aps_text.planning.shape import find_shape


@pytest.fixture
def place(tmp_path):
    """A folder `model` beside a folder `other`, both with a file of every kind."""
    for name in ("model", "other"):
        for part in ("", "transformer", "logs"):
            (tmp_path / name / part).mkdir(exist_ok=True, parents=True)
            for file in ("config.json", "model.safetensors", "vocab.txt", "run.log"):
                (tmp_path / name / part / file).write_text("{}")
    return tmp_path


# What is linked in `model`, to what, and whether that is refused.
LINKS = [
    ("config.json", "../other/config.json", True),
    ("model.safetensors", "{here}/other/model.safetensors", True),
    ("vocab.txt", "/etc/hostname", True),
    ("transformer/config.json", "../config.json", False),
    ("transformer/config.json", "../../other/config.json", True),
    ("transformer", "../other/transformer", True),
    ("tokenizer", "transformer", False),
    ("tokenizer.json", "../model/logs/run.log", False),
    ("tokenizer.json", "../modelled", True),
    ("tokenizer.json", "nothing", False),
    ("run.log", "../other/run.log", False),
    ("latest", "../other/logs", False),
]


@pytest.mark.parametrize(("name", "target", "refused"), LINKS)
def test_a_link_that_leads_out_of_its_folder_is_refused(place, name, target, refused):
    (place / "modelled").write_text("{}")
    path = place / "model" / name
    if path.is_dir():
        path.rename(place / "moved")
    path.unlink(missing_ok=True)
    path.symlink_to(target.format(here=place))
    (place / "named").symlink_to("model")  # the folder itself may be a link
    for folder in (place / "model", place / "named"):
        if refused:
            with pytest.raises(ValueError, match=f"{name} is a link to .*; copy it there, or give"):
                check_links(folder)
        else:
            check_links(folder)


def test_a_snapshot_of_the_hubs_cache_is_one_folder_with_its_blobs(tmp_path):
    cache = tmp_path / "models--owner--name"
    folder = cache / "snapshots" / "abc"
    (folder / "transformer").mkdir(parents=True)
    (cache / "blobs").mkdir()
    (cache / "blobs" / "1").write_text("{}")
    (folder / "config.json").symlink_to("../../blobs/1")
    (folder / "transformer" / "config.json").symlink_to("../../../blobs/1")
    check_links(folder)
    check_links(folder / "transformer")
    (cache / "refs").write_text("{}")
    (folder / "vocab.txt").symlink_to("../../refs")
    with pytest.raises(ValueError, match=r"vocab\.txt is a link to .*refs"):
        check_links(folder)
    (folder / "vocab.txt").unlink()
    (cache / "blobs").rename(tmp_path / "elsewhere")  # no cache lets its blobs lead out of it
    (cache / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"transformer|config\.json"):
        check_links(folder)


def test_a_folder_of_links_into_the_hubs_cache_is_read(place):
    """As `snapshot_download(local_dir=...)` of huggingface_hub before 0.23 makes it."""
    for cache, kept, refused in (
        ("models--owner--name", "blobs", False),
        ("models--owner--name", "private", True),
        ("elsewhere", "blobs", True),
    ):
        blob = place / cache / kept / "1"
        blob.parent.mkdir(parents=True)
        blob.write_text("{}")
        path = place / "model" / "config.json"
        path.unlink()
        path.symlink_to(blob)
        assert links.leads_out(path, place / "model") == refused


def test_what_is_installed_with_our_packages_may_be_linked(place, monkeypatch):
    package = place / "linked_package"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "weights" / "config.json").symlink_to(place / "other" / "config.json")
    with pytest.raises(ValueError, match="is a link"):
        check_links(package / "weights")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(links, "INSTALLED", ("linked_package",))
    check_links(package / "weights")
    (place / "model" / "config.json").unlink()
    (place / "model" / "config.json").symlink_to("../other/config.json")
    with pytest.raises(ValueError, match="is a link"):
        check_links(package / ".." / "model")


LOADERS = {
    "text": load,
    "adapter": find_adapter,
    "reward": load_reward,
    "relevance": lambda folder: Relevance(weights=folder),
    "fluency": lambda folder: Fluency(weights=folder),
    "image": load_image_model,
    "diffusers": load_diffusers_image_model,
    "tokenizer": lambda folder: load_magvit(folder, 16),
    "maps": lambda folder: read_maps(folder, {}, 1, 1),
    "image plan": lambda folder: image_shape_in(folder, None),
    "plan": lambda folder: find_shape(str(folder)),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_every_loader_refuses_it_before_it_reads(place, kind):
    (place / "private.json").write_text("no JSON")
    for name in ("config.json", "aps.json", "adapter_config.json", "model_index.json"):
        (place / "model" / name).unlink(missing_ok=True)
        (place / "model" / name).symlink_to("../private.json")
    with pytest.raises(ValueError, match=r"is a link to .*private\.json, and only what lies in"):
        LOADERS[kind](place / "model")


def test_what_a_folder_is_said_to_be_is_not_read_elsewhere(place):
    (place / "other" / "config.json").write_text('{"_class_name": "MAGVITv2"}')
    assert image_folder(place / "other") is not None
    (place / "model" / "config.json").unlink()
    (place / "model" / "config.json").symlink_to("../other/config.json")
    assert image_folder(place / "model") is None
