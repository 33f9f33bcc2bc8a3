"""Models as rewards: loaded ones, pipelines, PEFT adapters; what is missing is refused by name."""

from __future__ import annotations

import json
import logging
import math
import re
import shutil

import pytest
import torch
from aps_rewards import RewardError, call_reward, load_reward
from aps_rewards.sequence_classifier import SequenceClassifier
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from test_rewards_sequence_classifier import (
    ANSWERS,
    PROMPTS,
    SIZE,
    build,
    chat_tokenizer,
    model_of,
    pair_tokenizer,
)
from tiny import tiny_text_model, word_tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    Qwen2Config,
    Qwen2ForCausalLM,
    pipeline,
)

from aps_text import APSPipeline

ADAPTER, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"


def qwen_config(tokenizer, **more):
    pad = tokenizer.pad_token_id
    sizes = {**SIZE, "vocab_size": len(tokenizer), "num_key_value_heads": 2, "pad_token_id": pad}
    return Qwen2Config(**sizes, **more)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A causal model, reward models without a head or a tokenizer, an adapter."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = chat_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen2ForCausalLM(qwen_config(tokenizer)).save_pretrained(root / "causal")
        tokenizer.save_pretrained(root / "causal")
        whole = model_of(qwen_config(tokenizer, num_labels=1))
        whole.save_pretrained(root / "whole")
        tokenizer.save_pretrained(root / "whole")
        whole.save_pretrained(root / "bare")
        state = {k: v for k, v in whole.state_dict().items() if k != "score.weight"}
        whole.save_pretrained(root / "headless", state_dict=state)
        tokenizer.save_pretrained(root / "headless")
        base = AutoModelForSequenceClassification.from_pretrained(root / "causal", num_labels=1)
        lora = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["q_proj"])
        adapted = get_peft_model(base, lora)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
        adapted.eval().save_pretrained(root / "adapter")
    return root, adapted


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("causal", "Qwen2ForCausalLM"),
        ("headless", "Qwen2ForSequenceClassification"),
        ("unnamed", "model"),  # its config.json does not say
    ],
)
def test_a_missing_head_is_named_and_nothing_else_is_printed(folders, name, kind, tmp_path, capfd):
    folder = folders[0] / name
    if name == "unnamed":
        folder = shutil.copytree(folders[0] / "headless", tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        del config["architectures"]
        (folder / "config.json").write_text(json.dumps(config))
    said = (
        rf"is no reward model: it lacks score\.weight of Qwen2.* \(its config\.json says {kind}\);"
    )
    level = logging.getLogger("transformers").level
    with pytest.raises(ValueError, match=said):
        load_reward(str(folder))
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
    assert logging.getLogger("transformers").level == level


def test_a_folder_without_a_tokenizer_is_refused(folders, tmp_path):
    root, _ = folders
    with pytest.raises(ValueError, match=r"holds no tokenizer \(no tokenizer.json"):
        load_reward(str(root / "bare"))
    reward = load_reward(str(root / "bare"), tokenizer=chat_tokenizer())
    whole = load_reward(str(root / "whole"))
    assert call_reward(reward, PROMPTS, ANSWERS) == call_reward(whole, PROMPTS, ANSWERS)
    # What transformers makes of no files has special tokens only.
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    special = {"unk": "[UNK]", "pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    words = {token: at for at, token in enumerate(special.values())}
    empty = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece(words, unk_token="[UNK]")),
        **{f"{name}_token": token for name, token in special.items()},
    )
    bert = model_of(BertConfig(**SIZE, vocab_size=112, max_position_embeddings=64, num_labels=1))
    with pytest.raises(ValueError, match="has only 5 special tokens"):
        SequenceClassifier(bert, empty)
    small = model_of(BertConfig(**SIZE, vocab_size=50, max_position_embeddings=64, num_labels=1))
    with pytest.raises(ValueError, match=r"has ids up to \d+ and the model 50 embeddings"):
        SequenceClassifier(small, pair_tokenizer(True))


def test_a_peft_adapter_is_a_reward(folders, tmp_path):
    root, adapted = folders
    reward = load_reward(str(root / "adapter"))  # base and its tokenizer from adapter_config.json
    wrapped = load_reward(adapted, tokenizer=chat_tokenizer())  # the PeftModel itself
    scores = call_reward(reward, PROMPTS, ANSWERS)
    assert scores == pytest.approx(call_reward(wrapped, PROMPTS, ANSWERS), abs=1e-5)
    base = AutoModelForSequenceClassification.from_pretrained(root / "causal", num_labels=1)
    again = PeftModel.from_pretrained(base, root / "adapter").merge_and_unload().eval()
    plain = call_reward(SequenceClassifier(again, chat_tokenizer()), PROMPTS, ANSWERS)
    assert scores == pytest.approx(plain, abs=1e-5)
    broken = tmp_path / "broken"
    shutil.copytree(root / "adapter", broken)
    config = json.loads((broken / "adapter_config.json").read_text())
    for change, message in (
        ({"task_type": "CAUSAL_LM"}, "is for task 'CAUSAL_LM'"),
        ({"base_model_name_or_path": None}, "names no base_model_name_or_path"),
    ):
        (broken / "adapter_config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ValueError, match=message):
            load_reward(str(broken))
    (broken / "adapter_config.json").write_text(json.dumps(config))
    (broken / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no adapter_model\.safetensors"):
        load_reward(str(broken))


MAP = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({MAP: None}, "lacks 1 of its 7 tensors, e.g. model.layers.1.self_attn.q_proj.lora_A"),
        ({MAP.replace("1", "9"): MAP}, "has 1 tensors that its base .* no place for, e.g. .*s.9."),
        ({MAP: torch.int32}, "q_proj.lora_A.weight holds I32"),
        ({"base_model.model.score.weight": None}, "lacks score.weight; save it again"),
        ({"lora_alpha": 0}, "has lora_alpha=0, and it is a number above 0"),
        ({"target_modules": ["v_proj"]}, "lacks 6 of its 7 tensors, e.g. .*v_proj"),
        ({"peft_type": "PROMPT_TUNING"}, "is of peft_type 'PROMPT_TUNING', which cannot be"),
        ({"base_model_name_or_path": "/nowhere/base"}, "the base '/nowhere/base' of .* not there"),
        ({"base_model_name_or_path": "."}, r"the base '\.' of the adapter .* no config.json"),
    ],
)
def test_an_adapter_that_would_be_applied_in_part_is_refused(
    folders, tmp_path, monkeypatch, change, message
):
    folder = shutil.copytree(folders[0] / "adapter", tmp_path / "adapter")
    tensors, config = load_file(folder / WEIGHTS), json.loads((folder / ADAPTER).read_text())
    for name, value in change.items():
        if not name.startswith("base_model.model"):
            config[name] = value
        elif value is None:
            del tensors[name]
        elif isinstance(value, str):
            tensors[name] = tensors[value].clone()
        else:
            tensors[name] = tensors[name].to(value)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    (folder / ADAPTER).write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load_reward(str(folder))
    on_hub(monkeypatch, folder)
    with pytest.raises(ValueError, match=message):
        load_reward("owner/adapter")


def on_hub(monkeypatch, *folders):
    """Make folders repositories of `owner`, by their names."""
    known = {f"owner/{folder.name}": str(folder) for folder in folders}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: known[name])


def test_an_adapter_and_its_base_on_the_hub_score_as_their_folders(folders, tmp_path, monkeypatch):
    folder = shutil.copytree(folders[0] / "adapter", tmp_path / "adapter")
    config = json.loads((folder / ADAPTER).read_text())
    (folder / ADAPTER).write_text(json.dumps({**config, "base_model_name_or_path": "owner/causal"}))
    on_hub(monkeypatch, folder, folders[0] / "causal")
    found = call_reward(load_reward("owner/adapter"), PROMPTS, ANSWERS)
    local = load_reward(str(folders[0] / "adapter"))
    assert found == call_reward(local, PROMPTS, ANSWERS)


def test_an_adapters_new_head_hides_no_misfit_of_its_base(folders, tmp_path):
    """A head of another width is loaded with sizes that may differ; only the head's may."""
    root = folders[0]
    base = shutil.copytree(root / "whole", tmp_path / "base")
    three = AutoModelForSequenceClassification.from_pretrained(root / "causal", num_labels=3)
    lora = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["q_proj"])
    get_peft_model(three, lora).save_pretrained(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / ADAPTER).read_text())
    config["base_model_name_or_path"] = str(base)
    (tmp_path / "adapter" / ADAPTER).write_text(json.dumps(config))
    assert len(call_reward(load_reward(str(tmp_path / "adapter"), label=2), PROMPTS, ANSWERS)) == 4
    tensors = load_file(base / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:300].contiguous()
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks model\.embed_tokens\.weight of"):
        load_reward(str(tmp_path / "adapter"), label=2)


def test_a_loaded_model_of_prompt_tuning_is_refused(folders):
    base = AutoModelForSequenceClassification.from_pretrained(folders[0] / "whole")
    tuned = get_peft_model(base, PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2))
    with pytest.raises(TypeError, match="PROMPT_TUNING puts vectors of its own before the text"):
        load_reward(tuned, tokenizer=chat_tokenizer())


@pytest.mark.parametrize(
    ("layers", "message"), [(2, r"weights of layers .*\.h\.2\."), (10**6, "has n_layer=1000000")]
)
def test_the_number_of_layers_goes_by_any_name(tmp_path, layers, message):
    """GPT-2 says `n_layer`, and calls its layers `h`."""
    tokenizer = pair_tokenizer(False)
    sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": len(tokenizer)}
    model_of(GPT2Config(**sizes, num_labels=1, pad_token_id=0)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert len(call_reward(load_reward(str(tmp_path)), PROMPTS, ANSWERS)) == 4
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_layer": layers}))
    with pytest.raises(ValueError, match=message):
        load_reward(str(tmp_path))


def test_a_loaded_model_and_a_pipeline_steer_as_they_are(folders):
    root, _ = folders
    model = AutoModelForSequenceClassification.from_pretrained(root / "whole")
    classify = pipeline("text-classification", model=str(root / "whole"))
    wanted = call_reward(load_reward(str(root / "whole")), PROMPTS, ANSWERS)
    for given in (model, classify):
        assert call_reward(load_reward(given), PROMPTS, ANSWERS) == pytest.approx(wanted, abs=1e-5)
    pipe = APSPipeline(tiny_text_model())
    options = {"steps": 2, "max_new_tokens": 4, "inner_steps": 1, "bridge": "rloo"}
    out = pipe("what ?", reward=model, select=model, report=classify, **options)
    assert out.cost.reward_calls > 0
    assert len(pipe._rewards) == 2  # wrapped once, kept for the next call
    with pytest.raises(TypeError, match="a Qwen2ForCausalLM is no reward"):
        load_reward(Qwen2ForCausalLM(qwen_config(chat_tokenizer())))
    nameless = model_of(qwen_config(chat_tokenizer(), num_labels=1))
    with pytest.raises(ValueError, match="give its tokenizer"):
        load_reward(nameless)
    two = model_of(qwen_config(chat_tokenizer(), num_labels=2))
    with pytest.raises(ValueError, match=r"has 2 labels.*choose one: label="):
        load_reward(two, tokenizer=chat_tokenizer())
    assert max(call_reward(load_reward(two, tokenizer=chat_tokenizer(), label=1), ["q"], ["a"])) < 0


def test_a_loaded_model_stays_where_and_as_it_is():
    moved = []

    class Watched(type(build("qwen2").model)):
        def to(self, *args, **kwargs):
            moved.append(args)
            return super().to(*args, **kwargs)

    model = model_of(qwen_config(chat_tokenizer(), num_labels=1))
    model.__class__ = Watched
    SequenceClassifier(model, chat_tokenizer())
    assert moved == []
    assert SequenceClassifier(model, chat_tokenizer(), dtype="float64").model.dtype == torch.float64
    SequenceClassifier(model, chat_tokenizer(), device="cpu")
    assert moved == [(torch.float64,), ("cpu",)]


@pytest.mark.parametrize("kind", ["qwen2", "bert"])
@pytest.mark.parametrize("pad", ["none", "outside"])
def test_a_tokenizer_without_a_usable_pad_token_scores_a_batch_as_one_by_one(kind, pad):
    reward = build(kind)
    wanted = [call_reward(reward, [p], [a])[0] for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    tokenizer = chat_tokenizer() if kind == "qwen2" else pair_tokenizer(True)
    tokenizer.pad_token = None
    if pad == "outside":
        tokenizer.add_special_tokens({"pad_token": "<outside>"})
        assert tokenizer.pad_token_id >= len(reward.embedding_table())
    model = reward.model
    model.config.pad_token_id = tokenizer.pad_token_id
    again = SequenceClassifier(model, tokenizer)
    assert call_reward(again, PROMPTS, ANSWERS) == pytest.approx(wanted, abs=1e-5)
    extract = SequenceClassifier(
        model, tokenizer, extract=lambda out, mask: out.logits[:, 0], padding_side="right",
        template=again.template.spec,
    )  # fmt: skip
    if pad == "none":
        found = call_reward(extract, PROMPTS, ANSWERS)
        alone = [call_reward(extract, [p], [a])[0] for p, a in zip(PROMPTS, ANSWERS, strict=True)]
        assert found == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("question", ["{reference}", "{answer} {question}", "a {reference} b"])
def test_slots_in_a_users_text_are_text(question):
    template = "Q: {question} R: {reference} A: {answer} ?"
    reward = build("bert", template=template)
    before, _ = reward.frame(question, reference="cat")
    ids = reward.tokenizer(f"Q: {question} R: cat A: ", add_special_tokens=False)["input_ids"]
    assert before[1:] == ids


def test_the_slot_of_the_answer_may_stand_in_a_question():
    from aps_rewards.templates import _SLOT

    reward = build("qwen2")
    for question in (_SLOT, _SLOT + "@", f"{_SLOT} {_SLOT}@"):
        before, _ = reward.frame(question)
        assert _SLOT in reward.tokenizer.decode(before)


@pytest.mark.parametrize("template", ["auto", "answer", "Q: {question} A: {answer} {reference}"])
@pytest.mark.parametrize("kind", ["qwen2", "bert"])
def test_special_tokens_typed_in_a_text_are_text(kind, template):
    reward = build(kind, template=template)
    tokenizer = reward.tokenizer
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def controls(prompt, answer, reference):
        before, after = reward.frame(prompt, reference=reference)
        return [i for i in [*before, *reward.template.answer(answer), *after] if i in control]

    for special in tokenizer.all_special_tokens:
        typed = controls(f"a {special} cat", f"{special} dog", special)
        assert typed == controls("a cat", "a dog", "so")  # the frame's own, and no other
        asked = f"a {special} cat"
        messages = [{"role": "user", "content": asked}]
        assert reward.frame(messages, reference="so") == reward.frame(asked, reference="so")


def test_a_reward_folder_is_read_within_itself_and_holds_numbers(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    def saved(name):
        folder = tmp_path / name
        shutil.copytree(folders[0] / "whole", folder)
        return folder, load_file(folder / "model.safetensors")

    folder, weights = saved("outside")
    save_file(weights, tmp_path / "outside.safetensors")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": dict.fromkeys(weights, "../outside.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="only files in the index's own folder are read"):
        load_reward(str(folder))

    folder, weights = saved("pickled")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"only pickled weights .pytorch_model.bin."):
        load_reward(str(folder))

    head = next(name for name in weights if "classifier" in name or "score" in name)
    for worse, says in (
        (torch.full_like(weights[head], math.nan), "holds numbers that are not finite"),
        (torch.ones_like(weights[head], dtype=torch.int8), "floating-point numbers"),
    ):
        folder, weights = saved(f"head-{worse.dtype}".replace(".", "-"))
        save_file({**weights, head: worse}, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=says):
            load_reward(str(folder))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("vocab_size", 99, r"(config\.json says|current model is torch\.Size\() ?\[99, \d+\]"),
        ("hidden_act", "nope", "nope"),
        ("hidden_act", -1, "hidden_act=-1, and an activation is a name"),
        ("num_attention_heads", 0, "ZeroDivisionError"),
        (None, [], "is no JSON object"),
    ],
)
def test_a_wrong_config_is_an_error_of_ours(folders, tmp_path, field, value, said, capfd):
    folder = shutil.copytree(folders[0] / "whole", tmp_path / "wrong")
    config = json.loads((folder / "config.json").read_text())
    config = value if field is None else {**config, field: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=rf"(?s){said}.*compare .* with the published file"):
        load_reward(str(folder))
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""


def test_two_loads_at_once_leave_the_reports_as_they_were():
    from aps_rewards.classifier_loading import quiet
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    one, two = quiet(), quiet()
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)  # the first ends while the second still loads
    assert logging.get_verbosity() == logging.CRITICAL
    two.__exit__(None, None, None)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, bars)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    """A BERT reward model with its tokenizer."""
    tokenizer, folder = pair_tokenizer(True), tmp_path_factory.mktemp("bert")
    model = model_of(BertConfig(**SIZE, vocab_size=len(tokenizer), num_labels=1))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["classifier.weight", "classifier.bias", EMBEDDINGS])
@pytest.mark.parametrize(
    "kind",
    ["bool", "int8", "uint8", "int64", "complex64", "float8_e4m3fn", "float8_e5m2"],
)
def test_weights_of_other_kinds_are_refused_by_name(bert_folder, tmp_path, kind, name):
    folder = shutil.copytree(bert_folder, tmp_path / "other")
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = tensors[name].to(getattr(torch, kind))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{re.escape(name)} holds \w+, .* save the model again"):
        load_reward(str(folder))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_every_float_kind_are_read(bert_folder, tmp_path, kind):
    folder = shutil.copytree(bert_folder, tmp_path / "other")
    tensors = {k: v.to(kind) for k, v in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    stored = call_reward(load_reward(str(bert_folder)), PROMPTS, ANSWERS)
    assert call_reward(load_reward(str(folder)), PROMPTS, ANSWERS) == pytest.approx(stored, abs=0.2)


@pytest.mark.parametrize("value", [-1, -1e-6, 0, 0.0, math.nan, math.inf, 1e30, "small", True])
def test_an_epsilon_that_is_none_is_named_at_loading(bert_folder, tmp_path, value):
    folder = shutil.copytree(bert_folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": value}))
    with pytest.raises(ValueError, match=r"has layer_norm_eps=.*a number in \(0, 1\)"):
        load_reward(str(folder))


def test_a_wrapped_model_is_the_model_inside(bert_folder):
    plain = load_reward(str(bert_folder))
    stored = call_reward(plain, PROMPTS, ANSWERS)
    model, tokenizer = plain.model, plain.tokenizer
    compiled = torch.compile(model)
    for wrapped in (torch.nn.DataParallel(model), compiled, torch.nn.DataParallel(compiled)):
        reward = load_reward(wrapped, tokenizer=tokenizer)
        assert call_reward(reward, PROMPTS, ANSWERS) == stored
        assert isinstance(reward, SequenceClassifier)


def test_a_network_of_tensors_is_no_reward():
    for network in (torch.nn.Linear(3, 1), torch.nn.Sequential(torch.nn.Linear(3, 1))):
        with pytest.raises(TypeError, match=r"is no reward: its forward takes \(input\), .* texts"):
            load_reward(network)

    class Counts(torch.nn.Module):
        def forward(self, prompts, completions):
            return torch.tensor([float(len(text)) for text in completions])

    class Anything(torch.nn.Module):
        def forward(self, **rows):
            return [float(len(text)) for text in rows["completions"]]

    for network in (Counts(), Anything()):
        assert call_reward(load_reward(network), ["a", "b"], ["cd", "e"]) == [2, 1]


def test_a_reward_made_under_inference_mode_guides(bert_folder):
    pipe = APSPipeline(tiny_text_model())
    wanted = {"steps": 2, "max_new_tokens": 4, "seed": 0}
    outside = load_reward(str(bert_folder))
    plain = pipe(PROMPTS[0], reward=outside, **wanted).text
    tokenizer = outside.tokenizer
    with torch.inference_mode():
        model = AutoModelForSequenceClassification.from_pretrained(bert_folder)
        for weight in model.parameters():
            weight.data = weight.data.clone()  # as a model that is built there
        assert any(weight.is_inference() for weight in model.parameters())
        made = SequenceClassifier(model, tokenizer)
        assert pipe(PROMPTS[0], reward=made, **wanted).text == plain
    assert pipe(PROMPTS[0], reward=made, **wanted).text == plain


def test_a_reward_of_ones_own_made_under_inference_mode_is_told():
    tokenizer = word_tokenizer()

    class Own:
        differentiable = True

        def __init__(self, inside):
            self.tokenizer = tokenizer
            self.table = torch.randn(len(tokenizer), 8)
            with torch.inference_mode(inside):
                self.weight = torch.randn(8)

        def __call__(self, prompts, completions, **columns):
            return [float(len(text)) for text in completions]

        def embedding_table(self):
            return self.table

        def frame(self, prompt, **columns):
            return [], []

        def score_embeds(self, embeds, attention_mask, position_ids, *, prompts, **columns):
            return (embeds * attention_mask[..., None]).sum(1) @ self.weight

    pipe = APSPipeline(tiny_text_model())
    with torch.inference_mode():
        inside = Own(True)
    inside.table = inside.table.clone()
    half = Own(True)
    for own in (inside, half):
        with pytest.raises(RewardError, match=r"made under torch.inference_mode\(\).* outside"):
            pipe(PROMPTS[0], reward=own, steps=2, max_new_tokens=4)
    assert pipe(PROMPTS[0], reward=Own(False), steps=2, max_new_tokens=4).text


def test_a_model_of_one_segment_gets_one_whatever_its_tokenizer_says():
    one = BertConfig(**SIZE, vocab_size=112, max_position_embeddings=64, num_labels=1)
    one.type_vocab_size = 1
    model = model_of(one)
    said = [SequenceClassifier(model, pair_tokenizer(types)) for types in (True, False)]
    assert call_reward(said[0], PROMPTS, ANSWERS) == call_reward(said[1], PROMPTS, ANSWERS)
