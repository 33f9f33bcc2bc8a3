"""Files are written whole or not at all, whoever writes them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from aps_text.core.config import APSConfig
from aps_text.core.whole_files import write_together, write_whole
from aps_text.images.degradations import SuperResolution
from aps_text.images.files import write_image
from aps_text.images.measurement import Measurement
from aps_text.images.measurement_files import write_measurement
from aps_text.models.lora_files import FittedLora


def adapter(folder):
    maps = torch.arange(4.0).view(1, 4)
    FittedLora({"layer": (1, 1)}, 2, 2.0, maps, torch.ones(1)).save(folder.parent)


# What writes a user's file, and the file's name.
WRITERS = {
    "a.txt": lambda path: write_whole(path, "new"),
    "settings.json": APSConfig().save,
    "a.png": lambda path: write_image(torch.zeros(1, 2, 2), path),
    "a.safetensors": lambda path: write_measurement(
        Measurement(SuperResolution(2), torch.zeros(1, 1, 2, 2), 0.1), path
    ),
    "adapter_model.safetensors": adapter,
    "adapter_config.json": adapter,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(name, tmp_path, monkeypatch):
    path, write = tmp_path / name, WRITERS[name]
    path.write_text("old")

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space is left to write it") as found:
        write(path)
    assert Path(found.value.filename).parent == tmp_path
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_links_and_permissions_stay(name, tmp_path):
    (tmp_path / "real").mkdir()
    target, path = tmp_path / "real" / "target", tmp_path / name
    target.write_text("old")
    target.chmod(0o640)
    path.symlink_to(target)
    WRITERS[name](path)
    assert path.is_symlink()
    assert target.read_bytes() not in (b"old", b"")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [one.name for one in target.parent.iterdir()] == ["target"]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "a").write_text("")
    write_whole(tmp_path / "b", "")
    (tmp_path / "c").symlink_to(tmp_path / "d")
    write_whole(tmp_path / "c", "through a link to nothing yet")
    modes = {(tmp_path / name).stat().st_mode for name in "abd"}
    assert len(modes) == 1


def test_files_that_belong_together_are_replaced_together(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError, match="b"):
        write_together({tmp_path / "a": "text", tmp_path / "b": "text"})
    assert [one.name for one in tmp_path.iterdir()] == ["b"]
    with pytest.raises(UnicodeEncodeError):
        write_together({tmp_path / "a": "text", tmp_path / "c": "\ud800"})
    assert [one.name for one in tmp_path.iterdir()] == ["b"]


def test_a_missing_folder_is_named_as_it_was_given(tmp_path):
    with pytest.raises(FileNotFoundError) as found:
        write_whole(tmp_path / "none" / "a.txt", "text")
    assert found.value.filename == str(tmp_path / "none" / "a.txt")


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
