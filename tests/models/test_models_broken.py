"""Broken and hostile checkpoints: each is a clear error that names the file and what to do.

Every case changes one thing of a good tiny checkpoint. Nothing of its code is run, no pickle is
opened and no file outside of the folder is read.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
import struct

import pytest
import torch
from aps_rewards.weight_index import INDEX
from checkpoints import write, write_dream
from forked import run
from safetensors.torch import load_file, save_file

from aps_text.models.checkpoint_files import Header, check_memory, read_headers
from aps_text.models.registry import load
from aps_text.pipelines.text import APSPipeline
from aps_text.text.prompt_encoding import ChatEncoder

WEIGHTS = "model.safetensors"
LAYER = "model.layers.2."


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A small Dream checkpoint with its weights in one file, and one with an index."""
    root = tmp_path_factory.mktemp("good")
    for name, shards in (("whole", 1), ("sharded", 2)):
        write_dream(root / name, shards=shards)
    return root


def changed_json(folder, name, **changes):
    found = json.loads((folder / name).read_text())
    write(folder, name, {k: v for k, v in {**found, **changes}.items() if v is not ...})


def config(**changes):
    return lambda folder: changed_json(folder, "config.json", **changes)


def raw(name, content):
    def break_it(folder):
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)

    return break_it


def tensors(change):
    """The weights after `change(tensors)`."""

    def break_it(folder):
        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS, {"format": "pt"})

    return break_it


def cut(keep):
    def break_it(folder):
        data = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(data[: int(len(data) * keep)])

    return break_it


def indexed(name):
    """An index that names this file for every tensor; the file itself is a good one elsewhere."""

    def break_it(folder):
        for target in (folder.parent.parent / "outside.safetensors", folder / "weights.bin"):
            shutil.copy(folder / WEIGHTS, target)
        names = list(load_file(folder / WEIGHTS))
        (folder / WEIGHTS).unlink()
        where = str(folder.parent.parent / "outside.safetensors") if name is ... else name
        write(folder, INDEX, {"weight_map": dict.fromkeys(names, where)})

    return break_it


def pickled(folder):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('a pickle was opened')",))

    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))


def set_to(key, value):
    def change(found):
        found[key].view(-1)[3] = value

    return tensors(change)


def retyped(key, dtype):
    return tensors(lambda found: found.update({key: found[key].to(dtype)}))


def table_of_a_million(folder):
    """A header that states a table of a million rows, and no bytes for it."""
    header = {"model.embed_tokens.weight": {"dtype": "F32", "shape": [10**6, 4096]}}
    header["model.embed_tokens.weight"]["data_offsets"] = [0, 4 * 4096 * 10**6]
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 64)


def template(text):
    return lambda folder: changed_json(folder, "tokenizer_config.json", chat_template=text)


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x"
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
MANY = 1_000_000
NORM = "model.norm.weight"

CASES = {
    # config.json
    "list": (raw("config.json", "[]"), r"config\.json holds a list instead of an object"),
    "text": (raw("config.json", '"Dream"'), "holds a str instead of an object"),
    "empty": (raw("config.json", ""), r"config\.json is empty"),
    "not json": (raw("config.json", "{oops"), r"config\.json is not JSON"),
    "too deep": (raw("config.json", DEEP), r"config\.json is nested too deeply"),
    "latin-1": (
        raw("config.json", '{"model_type": "Dréam"}'.encode("latin-1")),
        r"config\.json is not UTF-8 \(byte 18\); if it is latin-1, convert it",
    ),
    "type a list": (config(model_type=["Dream"]), "no adapter for model_type"),
    "architectures a text": (config(architectures="DreamModel"), "architectures='DreamModel'"),
    "size as text": (config(hidden_size="32"), "hidden_size='32', which is no size"),
    "size null": (config(hidden_size=None), "has no hidden_size"),
    "size negative": (config(num_hidden_layers=-3), "num_hidden_layers=-3, which is no size"),
    "size zero": (config(intermediate_size=0), "intermediate_size=0, which is no size"),
    "size float": (config(vocab_size=331.5), r"vocab_size=331\.5, which is no size"),
    "size true": (config(num_attention_heads=True), "num_attention_heads=True, which is no"),
    "size huge": (config(hidden_size=10**12), "hidden_size=1000000000000, which is no size"),
    "heads do not divide": (
        config(num_attention_heads=5),
        r"config\.json (of .*describes no|makes it \(30, 32\))",
    ),
    "a million layers": (config(num_hidden_layers=MANY), "states 1000000 layers and its files"),
    "fewer layers": (config(num_hidden_layers=2), "states 2 layers and its files hold 3"),
    "a million rows": (config(vocab_size=MANY), r"shape \(332, 32\), and config.json makes it"),
    "activation": (config(hidden_act="swish9"), "hidden_act='swish9'; known are .*silu"),
    "dtype": (config(torch_dtype="float7"), "dtype 'float7'; it is one of float64"),
    "dtype of integers": (config(torch_dtype="int64"), "dtype 'int64'; it is one of"),
    "rope": (config(rope_scaling={"rope_type": "magic"}), r"config\.json of .* describes no"),
    "epsilon as text": (config(rms_norm_eps="small"), "(describes no|cannot be loaded)"),
    # ids
    "stop beyond": (config(eos_token_id=9999), r"stops \(9999.*below the vocabulary's size 332"),
    "stop as text": (config(eos_token_id="2"), r"stops \('2'.*must be ids"),
    "stop negative": (config(eos_token_id=-1), r"stops \(-1.*must be ids"),
    "mask beyond": (config(mask_token_id=10**7), "mask 10000000.*below the vocabulary"),
    "mask a float": (config(mask_token_id=3.5), r"mask 3\.5.*must be ids"),
    "generation not json": (raw("generation_config.json", "{"), r"generation_config\.json is not"),
    # weights
    "wrong shape": (
        tensors(lambda t: t.update({NORM: torch.ones(31)})),
        r"'model\.norm\.weight' has shape \(31,\), and config\.json makes it \(32,\)",
    ),
    "bool weights": (retyped(NORM, torch.bool), "stored as BOOL; weights are floating point"),
    "integer weights": (retyped("lm_head.weight", torch.int8), "stored as I8; weights are"),
    "nan": (set_to(f"{LAYER}mlp.up_proj.weight", torch.nan), r"1 of .*up_proj.* are NaN"),
    "infinite": (set_to("lm_head.weight", torch.inf), "'lm_head.weight' are NaN or infinite"),
    "a weight is missing": (tensors(lambda t: t.pop(NORM)), "lacks 1 of the weights"),
    "no tensors": (tensors(lambda t: t.clear()), "hold no tensors"),
    "cut in the data": (cut(0.9), "cut off or damaged"),
    "cut in the header": (cut(0.001), "no safetensors file, or is cut off"),
    "no bytes": (cut(0), "no safetensors file, or is cut off"),
    "garbage": (raw(WEIGHTS, b"\x93" * 5000), "no safetensors file, or is cut off"),
    "garbage header": (raw(WEIGHTS, struct.pack("<Q", 4) + b"ouch"), "header is no JSON"),
    "header a list": (raw(WEIGHTS, struct.pack("<Q", 2) + b"[]"), "header is no object"),
    "no offsets": (raw(WEIGHTS, struct.pack("<Q", 8) + b'{"a": 1}'), "'a' has no shape"),
    "a million empty rows": (table_of_a_million, "cut off or damaged"),
    "pickle": (pickled, r"only pickled weights \(pytorch_model\.bin\); only safetensors"),
    "index leads out": (
        indexed("../../outside.safetensors"),
        "only files in the index.s own folder are read",
    ),
    "index is absolute": (indexed(...), "only files in the index.s own folder are read"),
    "index names a bin": (indexed("weights.bin"), "only safetensors are read"),
    "index names a number": (indexed(7), "only files in the index.s own folder are read"),
    "index names a list": (indexed([]), "only files in the index.s own folder are read"),
    "index names nothing": (indexed("model-1.safetensors"), "only safetensors are read"),
    # tokenizer
    "tokenizer broken": (
        lambda f: [(f / "vocab.json").unlink(), raw("tokenizer.json", "{oops")(f)],
        "tokenizer files of .* cannot be read",
    ),
    "tokenizer empty": (
        lambda f: [(f / "vocab.json").unlink(), raw("tokenizer.json", "")(f)],
        "tokenizer files of .* cannot be read",
    ),
    "merges broken": (raw("merges.txt", "\x00 \x01 \x02\nq"), "tokenizer"),
    "vocabulary a list": (raw("vocab.json", "[1, 2]"), "tokenizer files of .* cannot be read"),
    "no tokenizer": (lambda f: (f / "vocab.json").unlink(), "has no tokenizer"),
    "template malformed": (template("{% for m in %}"), "chat template fails .*chat=False"),
    "template raises": (template("{{ raise_exception('no') }}"), "chat template fails.*: no;"),
    "template of other names": (template("{{ messages.x.y.z }}"), "chat template fails"),
    "template divides by zero": (template("{{ 1 // 0 }}"), "chat template fails"),
    "template loops": (template(LOOP), "chat template fails .*it did not end"),
    "template recurses": (
        template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
        "chat template fails",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_broken_checkpoint_is_a_clear_error(case, good, tmp_path):
    break_it, message = CASES[case]
    folder = tmp_path / "models" / "mine"
    shutil.copytree(good / "whole", folder)
    break_it(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    text = str(caught.value)
    assert len(text) < 900
    assert any(word in text for word in ("mine", ".json", WEIGHTS, "template", "model_type")), text


def test_a_template_that_calls_itself_is_stopped_where_the_recursion_limit_was_raised(
    good, tmp_path
):
    folder = tmp_path / "mine"
    shutil.copytree(good / "whole", folder)
    template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")(folder)
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from aps_text.models.registry import load\n"
        "try: load(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    done = run(program, folder)
    assert done.returncode == 0, done.stderr[-500:]
    assert "it calls itself more than 100 times" in done.stdout


def test_code_beside_the_weights_is_never_run(good, tmp_path):
    folder = shutil.copytree(good / "whole", tmp_path / "mine")
    (folder / "trap.py").write_text("raise SystemExit('the code of a checkpoint was run')")
    names = ("Config", "Model", "ModelForMaskedLM", "ModelForCausalLM")
    named = {f"Auto{name}": f"trap.{name}" for name in names}
    for file, mapped in {
        "config.json": named,
        "tokenizer_config.json": {"AutoTokenizer": ["trap.Slow", "trap.Fast"]},
    }.items():
        stated = json.loads((folder / file).read_text()) | {"auto_map": mapped}
        (folder / file).write_text(json.dumps(stated))
    assert load(folder).parts.vocab_size == 332


def test_the_good_one_loads_whole_and_in_shards_and_without_a_sound(good, capfd):
    for name in ("whole", "sharded"):
        assert load(good / name).parts.vocab_size == 332
    shown = capfd.readouterr()
    assert "Loading" not in shown.out + shown.err


def test_headers_are_those_of_the_files_that_are_loaded(good, tmp_path):
    one, two = (read_headers(good / name, name) for name in ("whole", "sharded"))
    assert one.keys() == two.keys()
    assert {header.file for header in two.values()} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }
    stored = load_file(good / "whole" / WEIGHTS)
    assert {name: header.shape for name, header in one.items()} == {
        name: tuple(value.shape) for name, value in stored.items()
    }
    vast = {"w": Header("f", "F32", (10**8, 10**8 // 4))}
    with pytest.raises(ValueError, match=r"needs 9313225\.7 GiB .* use a smaller dtype"):
        check_memory(vast, None, "mine")


def test_a_tensor_that_two_shards_hold_is_refused(good, tmp_path):
    """One of them is of another model: the one that is read last would win."""
    folder = shutil.copytree(good / "sharded", tmp_path / "twice")
    first, second = sorted(folder.glob("*.safetensors"))
    held = load_file(first)
    name = sorted(held)[0]
    save_file({**load_file(second), name: held[name] + 1}, second, {"format": "pt"})
    with pytest.raises(ValueError, match=rf"both hold '{re.escape(name)}', and only one"):
        load(folder)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1000, 5000, 20000])
def test_a_file_that_ends_anywhere_is_refused(good, tmp_path, length):
    folder = tmp_path / "mine"
    shutil.copytree(good / "whole", folder)
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:length])
    with pytest.raises(ValueError, match="cut off"):
        load(folder)


def test_an_adapters_folder_without_weights_is_refused(good, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    stated = {"peft_type": "LORA", "base_model_name_or_path": str(good / "whole")}
    write(folder, "adapter_config.json", stated)
    with pytest.raises(ValueError, match=r"no weights; adapter_model\.safetensors is needed"):
        load(folder)
    (folder / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"only adapter_model\.bin; adapter_model\.safetensors"):
        load(folder)
    write(folder, "adapter_config.json", {**stated, "base_model_name_or_path": None})
    with pytest.raises(ValueError, match=r"names no base model \(base_model_name_or_path\)"):
        load(folder)
    write(folder, "adapter_config.json", {**stated, "base_model_name_or_path": "nowhere"})
    with pytest.raises(ValueError, match="no model at 'nowhere'"):
        load(folder)


def test_what_loads_answers(good):
    assert APSPipeline(load(good / "sharded")).generate("Who?", steps=1, max_new_tokens=4).text


class Turns:
    """A tokenizer whose template is a function of the roles."""

    added_tokens_decoder, all_special_tokens = {}, []

    def __init__(self, template):
        self.template = template

    def apply_chat_template(self, messages, **options):
        return self.template([message["role"] for message in messages])


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def test_a_template_that_drops_the_system_message_and_takes_no_other_form_is_refused():
    def silent(roles):
        if "system" in roles:
            return "Why?"
        raise ZeroDivisionError("folded")

    with pytest.raises(ValueError, match=r"chat template fails .*folded"):
        ChatEncoder(Turns(silent)).rendered(CHAT)


def test_of_two_failures_of_a_template_the_first_is_told():
    def failing(roles):
        raise ZeroDivisionError("as given" if "system" in roles else "folded")

    with pytest.raises(ValueError, match=r"chat template fails .*as given"):
        ChatEncoder(Turns(failing)).rendered(CHAT)
