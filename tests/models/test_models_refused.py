"""Published image models that are not supported are refused by name, with the reason."""

from __future__ import annotations

import json
import re
import sys

import pytest
from tiny import tiny_bert, word_tokenizer

from aps_text.cli import main
from aps_text.models.refused import REFUSED, refuse_known
from aps_text.models.registry import load, wrap
from aps_text.pipelines.restoration import RestorationPipeline

IDS = [
    ("showlab/show-o-512x512", "Show-o", "Phi-1.5"),
    ("showlab/show-o", "Show-o", "MMaDA has the same image tokenizer"),
    ("showlab/show-o2-1.5B", "Show-o", "Phi-1.5"),
    ("markweber/maskbit_tokenizer_12bit", "MaskBit", "pickles"),
    ("tyfeld/MMaDA-Parallel-A", "MMaDA-Parallel-A", "from another image"),
    ("MeissonFlow/Meissonic", "Meissonic", "amused/amused-512 is of the same kind"),
    ("markweber/maskbit", "MaskBit", "pickles"),
    ("llvictorll/Halton-MaskGIT", "Halton-MaskGIT", "pickles"),
    ("yucornetto/tokenizer_titok_l32_imagenet", "TiTok", "no place in the image"),
    ("openMUSE/muse-256", "open-MUSE", "use amused/amused-256"),
]


@pytest.mark.parametrize(("name", "family", "reason"), IDS, ids=[name for name, _, _ in IDS])
@pytest.mark.parametrize("tokenizer", [None, "showlab/magvitv2"])
def test_hub_ids_are_refused_before_anything_is_downloaded(
    name, family, reason, tokenizer, monkeypatch
):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    pattern = f"'{name}' is {re.escape(family)}.*, which is not supported: .*{re.escape(reason)}"
    with pytest.raises(ValueError, match=pattern):
        RestorationPipeline.from_pretrained(name, tokenizer=tokenizer)


def test_they_are_refused_as_models_of_text_too(capsys):
    with pytest.raises(ValueError, match=r"is Show-o, which is not supported: .*Phi-1.5"):
        load("showlab/show-o")
    assert main(["verify", "showlab/show-o"]) == 2
    assert "is Show-o, which is not supported" in capsys.readouterr().err


FOLDERS = [
    ("Show-o", "config.json", {"_class_name": "Showo", "llm_vocab_size": 50295}),
    ("open-MUSE", "config.json", {"_class_name": "MaskGiTUViT"}),
    ("MaskBit", "maskbit_generator_14bit.bin", None),
    ("Halton-MaskGIT", "ImageNet_384_large.pth", None),
    ("TiTok", "maskgit_titok_l32.bin", None),
    (
        "MMaDA-Parallel-A",
        "config.json",
        {"architectures": ["LLaDAForMultiModalGeneration"], "model_type": "llada"},
    ),
    ("Show-o", "config.json", {"model_type": "llada", "_name_or_path": "showlab/show-o-512x512"}),
]


@pytest.mark.parametrize(("family", "file", "content"), FOLDERS, ids=[f for _, f, _ in FOLDERS])
def test_folders_are_refused_by_what_is_in_them(tmp_path, family, file, content):
    (tmp_path / file).write_bytes(b"" if content is None else json.dumps(content).encode())
    with pytest.raises(ValueError, match=f"is {family}.*, which is not supported"):
        RestorationPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("tokenizer", [None, "showlab/magvitv2"])
def test_mmada_parallel_a_is_refused_by_its_folder(tmp_path, tokenizer):
    """Its class is that of Lumina-DiMOO, which has a model_index.json."""
    config = {"architectures": ["LLaDAForMultiModalGeneration"], "model_type": "llada"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"is MMaDA-Parallel-A, .*from another image.*Lumina-DiM"):
        RestorationPipeline.from_pretrained(tmp_path, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"is MMaDA-Parallel-A, which is not supported"):
        load(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "LuminaDiMOOPipeline"}))
    refuse_known(tmp_path)
    config["_name_or_path"] = "tyfeld/MMaDA-Parallel-A"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"is MMaDA-Parallel-A, which is not supported"):
        refuse_known(tmp_path)


def test_a_path_of_training_is_no_name(tmp_path):
    """MMaDA's code comes from Show-o's; a folder of that name says nothing of the model."""
    for path in ("/data/show-o/outputs/mmada", "Gen-Verse/MMaDA-8B-Base", 5, None):
        config = {"architectures": ["MMadaModelLM"], "_name_or_path": path}
        (tmp_path / "config.json").write_text(json.dumps(config))
        refuse_known(tmp_path)


def test_a_transformer_that_brings_its_code_is_refused(tmp_path):
    """Meissonic's index names diffusers' own classes; its transformer is another one."""
    (tmp_path / "transformer").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "Pipeline"}))
    config = {"_class_name": "Transformer2DModel", "codebook_size": 8192}
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(config))
    (tmp_path / "transformer" / "transformer.py").write_text("raise SystemExit('run')")
    with pytest.raises(ValueError, match="is Meissonic, which is not supported: its transformer"):
        RestorationPipeline.from_pretrained(tmp_path)


def test_others_are_not_refused_here(tmp_path):
    for name in ("amused/amused-512", "Gen-Verse/MMaDA-8B-MixCoT", "tyfeld/MMaDA-Parallel-M"):
        refuse_known(name)
    refuse_known("show-off")
    for text in ("[]", "{", json.dumps({"architectures": "Showo"})):
        (tmp_path / "config.json").write_text(text)
        refuse_known(tmp_path)
    assert len({one.family for one in REFUSED}) == len(REFUSED)


@pytest.mark.parametrize(("field", "value"), [("is_decoder", True), ("chunk_size_feed_forward", 8)])
def test_a_masked_model_that_attends_to_one_side_or_is_cut_is_refused(field, value):
    """Attending to the left alone, it would answer nonsense."""
    tokenizer = word_tokenizer()
    model = tiny_bert(tokenizer)
    setattr(model.config, field, value)
    with pytest.raises(ValueError, match=f"has {field}={value}; .* set it to {type(value)(0)}"):
        wrap(model, tokenizer)
