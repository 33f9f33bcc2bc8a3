"""GGUF files: written here by hand, value by value."""

from __future__ import annotations

import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aps_text.models.gguf_file import read_gguf


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(item):
    """(kind, bytes) of a metadata value."""
    if isinstance(item, bool):
        return 7, struct.pack("<?", item)
    if isinstance(item, int):
        return 4, struct.pack("<I", item)
    if isinstance(item, float):
        return 6, struct.pack("<f", item)
    if isinstance(item, str):
        return 8, text(item)
    kind = value(item[0])[0]
    inner = b"".join(value(part)[1] for part in item)
    return 9, struct.pack("<IQ", kind, len(item)) + inner


def write_gguf(path, facts, tensors, version=3):
    """`tensors`: (name, shape slowest first, type, bytes)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(facts))
    for key, item in facts.items():
        kind, data = value(item)
        out += text(key) + struct.pack("<I", kind) + data
    at = 0
    for name, shape, kind, data in tensors:
        out += text(name) + struct.pack("<I", len(shape))
        out += struct.pack(f"<{len(shape)}Q", *shape[::-1]) + struct.pack("<IQ", kind, at)
        at += -(-len(data) // 32) * 32
    out += bytes(-len(out) % 32)
    for _, _, _, data in tensors:
        out += data + bytes(-len(data) % 32)
    path.write_bytes(out)
    return path


half = st.floats(-8, 8, width=16)


@given(
    blocks=st.lists(
        st.tuples(half, half, st.lists(st.integers(0, 15), min_size=32, max_size=32)),
        min_size=1,
        max_size=6,
    )
)
def test_four_bits_are_scale_times_level_plus_least(tmp_path_factory, blocks):
    data, wanted = b"", []
    for scale, least, levels in blocks:
        pairs = bytes(levels[i] | levels[i + 16] << 4 for i in range(16))
        data += struct.pack("<ee", scale, least) + pairs
        wanted.append([scale * level + least for level in levels])
    path = tmp_path_factory.mktemp("gguf") / "a.gguf"
    _, tensors = read_gguf(write_gguf(path, {"a": 1}, [("w", [len(blocks), 32], 3, data)]))
    torch.testing.assert_close(tensors["w"], torch.tensor(wanted), rtol=1e-6, atol=1e-6)


def test_all_kinds_of_values_and_tensors(tmp_path):
    facts = {
        "general.name": "naïve", "n": 7, "theta": 0.5, "on": True,
        "words": ["a", "", "Ġb"], "kinds": [3, 1, 1], "scores": [0.25, -1.0],
    }  # fmt: skip
    bytes8 = b"".join(struct.pack("<e32b", s, *range(-16, 16)) for s in (0.5, -2.0))
    floats = struct.pack("<64f", *range(64))
    tensors = [("a", [2, 32], 0, floats), ("b", [1, 64], 8, bytes8), ("c", [64], 0, floats)]
    for version in (2, 3):
        path = write_gguf(tmp_path / f"{version}.gguf", facts, tensors, version)
        found, weights = read_gguf(path)
        assert found == facts
        assert torch.equal(weights["a"], torch.arange(64.0).view(2, 32))
        assert torch.equal(weights["c"], torch.arange(64.0))
        q = torch.arange(-16.0, 16)
        assert torch.equal(weights["b"], torch.cat([0.5 * q, -2 * q])[None])


def test_what_is_no_such_file_is_refused(tmp_path):
    good = write_gguf(
        tmp_path / "good", {"a": "b"}, [("w", [32], 0, struct.pack("<32f", *[1] * 32))]
    )
    data = good.read_bytes()
    (tmp_path / "other").write_bytes(b"PK" + data)
    with pytest.raises(ValueError, match="other is no GGUF file of version 2 or 3"):
        read_gguf(tmp_path / "other")
    with pytest.raises(ValueError, match="is no GGUF file of version"):
        read_gguf(write_gguf(tmp_path / "new", {}, [], version=4))
    (tmp_path / "short").write_bytes(data[:-40])
    with pytest.raises(ValueError, match="short ends within 'w'; install the package again"):
        read_gguf(tmp_path / "short")
    (tmp_path / "cut").write_bytes(data[:40])
    with pytest.raises(ValueError, match="cut is a damaged GGUF file"):
        read_gguf(tmp_path / "cut")
    with pytest.raises(ValueError, match=r"'w' of shape .* has type 12; F32, Q8_0 and Q4_1"):
        read_gguf(write_gguf(tmp_path / "k", {}, [("w", [32], 12, bytes(64))]))
