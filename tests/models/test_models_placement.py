"""Devices, number types and compilers as people write them."""

from __future__ import annotations

import pytest
import torch

from aps_text.models.placement import as_backend, as_device, as_dtype
from aps_text.models.registry import load


@pytest.mark.parametrize("name", ["float16", "fp16", "torch.float16", "half", "FLOAT16"])
def test_a_dtype_goes_by_its_name(name):
    assert as_dtype(name) is as_dtype(torch.float16) is torch.float16
    assert as_dtype(None) is as_dtype("auto") is None


def test_devices_are_checked():
    assert as_device("cpu") == as_device(torch.device("cpu")) == torch.device("cpu")
    assert as_device(None) is None


def test_backends_are_torchs():
    assert as_backend(True) is True
    assert as_backend("eager") == "eager"


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"dtype": "int8"}, ValueError, "dtype is one of float16, .*; got 'int8'"),
        ({"dtype": 3}, TypeError, "dtype is a floating torch.dtype or its name, got 3"),
        ({"dtype": torch.int8}, TypeError, "got torch.int8"),
        ({"device": "gpu"}, ValueError, "no device 'gpu' here .*; use 'cpu'"),
        ({"device": 99}, ValueError, "no device 99 here"),
        ({"device": "meta"}, ValueError, "no device 'meta' here .'meta' has shapes and no numb"),
        ({"device": "vulkan"}, ValueError, r"^[^;]{0,160}; use 'cpu', or leave it out$"),
        ({"device": True}, TypeError, "device is a name like 'cuda:0' or 'cpu', got True"),
        ({"compile": "yes"}, ValueError, "compile is True, False or a backend .*; got 'yes'"),
        ({"compile": 3}, TypeError, "compile is True, False or a backend's name, got 3"),
    ],
)
def test_what_is_none_says_what_is_taken(options, kind, says):
    with pytest.raises(kind, match=says):
        load("mini", **options)


@pytest.mark.parametrize("name", [None, 5, ["mini"]])
def test_a_model_is_a_name_or_a_folder(name):
    with pytest.raises(TypeError, match="a model is a name, a hub id or a folder, got"):
        load(name)
