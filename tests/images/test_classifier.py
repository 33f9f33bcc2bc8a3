"""The classifier: features, gradients, attributes of its own heads, files."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from aps_text.images.classifier import AttributeClassifier, ClassifierConfig, load_classifier

CONFIG = ClassifierConfig(16, 3, 8, {"shape": ("disc", "box"), "colour": ("red", "green", "blue")})


def classifier():
    torch.manual_seed(0)
    return AttributeClassifier(CONFIG)


def test_features_halve_and_carry_a_gradient_to_every_pixel():
    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    maps = classifier().features(x)
    assert [tuple(m.shape) for m in maps] == [(2, 8, 8, 8), (2, 16, 4, 4), (2, 32, 2, 2)]
    maps[-1].square().sum().backward()
    assert bool((x.grad.abs().sum(1) > 0).all())


def test_one_head_an_attribute():
    model = classifier()
    x = torch.randn(4, 3, 16, 16)
    assert [logits.shape[1] for logits in model(x)] == [2, 3]
    found = model.predict(x)
    assert found.shape == (4, 2)
    assert torch.equal(found[:, 1], model(x)[1].argmax(1))


def test_rows_do_not_see_one_another():
    model, x = classifier().train(), torch.randn(4, 3, 16, 16)
    assert torch.allclose(model(x)[0][2:], model(x[2:])[0], atol=1e-5)


def test_wrong_images_and_sizes_are_named():
    with pytest.raises(ValueError, match=r"takes images \(B, 3, 16, 16\), got \(1, 1, 16, 16\)"):
        classifier()(torch.zeros(1, 1, 16, 16))
    with pytest.raises(ValueError, match="multiples of 8, got size=20"):
        ClassifierConfig(20, 1, 8, {})


def test_a_saved_classifier_comes_back(tmp_path):
    model = classifier().bfloat16()
    save_file(model.state_dict(), tmp_path / "classifier.safetensors")
    (tmp_path / "classifier.json").write_text(json.dumps(asdict(CONFIG)))
    loaded = load_classifier(tmp_path)
    for old, new in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(old.float(), new)
    assert list(loaded.config.attributes) == ["shape", "colour"]
