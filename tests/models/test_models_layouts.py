"""What every published layout must do, on tiny random checkpoints; and what loading refuses."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
import transformers
from checkpoints import (
    QUESTIONS,
    hashes,
    small_base,
    write,
    write_causal,
    write_dream,
    write_llada,
    write_smol,
)
from tiny import tiny_bert, word_tokenizer
from worlds import noise_for

from aps_text.core.config import APSConfig
from aps_text.models import smol
from aps_text.models.registry import load, wrap
from aps_text.models.transformer import TransformerDenoiser
from aps_text.pipelines.text import APSPipeline

KINDS = ["dream", "llada", "qwen2", "qwen3", "llama", "a2d-qwen3", "bert"]
KINDS += ["modernbert", "roberta", "xlm-roberta", "smol"]
CAUSAL = KINDS[:6]


def write_masked(folder, kind):
    """A random masked language model and a WordPiece tokenizer."""
    tokenizer = word_tokenizer()
    if kind == "bert":
        model = tiny_bert(tokenizer)
    else:
        names = {"modernbert": "ModernBert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
        name = names[kind]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = getattr(transformers, f"{name}Config")(
                vocab_size=len(tokenizer) + 3,
                hidden_size=32,
                num_hidden_layers=4,
                num_attention_heads=2,
                intermediate_size=48,
                max_position_embeddings=64,
                initializer_range=0.4,
                pad_token_id=tokenizer.pad_token_id,
                **({"local_attention": 8} if kind == "modernbert" else {}),
            )
            model = getattr(transformers, f"{name}ForMaskedLM")(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    for kind in KINDS:
        folder = root / kind
        if kind == "dream":
            write_dream(folder)
        elif kind == "llada":
            write_llada(folder)
        elif kind == "smol":
            write_smol(folder, root / "base")
        elif kind in CAUSAL:
            prefix = "a2d-" if kind.startswith("a2d-") else ""
            write_causal(folder, kind.removeprefix("a2d-"), prefix=prefix)
        else:
            write_masked(folder, kind)
    return root


@pytest.fixture(scope="module", autouse=True)
def _small_base(folders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smol, "smollm2", lambda what: small_base(folders / "base"))
        yield


@pytest.fixture(scope="module", params=KINDS)
def model(request, folders, _small_base):
    return load(folders / request.param, dtype=torch.float64)


def length(prompts, completions, **columns):
    return [float(len(text)) for text in completions]


def filled(model, width=8):
    """A canvas for each question with something on it, and its mask positions."""
    g = torch.Generator().manual_seed(1)
    usable = [i for i in model.tokenizer.get_vocab().values() if i not in model.stop_ids]
    usable = torch.tensor(sorted(set(usable) - set(model.parts.suppressed)))
    z = usable[torch.randint(len(usable), (len(QUESTIONS), width), generator=g)]
    z[torch.rand(z.shape, generator=g) < 0.6] = model.parts.mask_id
    z[:, -1] = model.parts.mask_id
    rows, cols = (z == model.parts.mask_id).nonzero().unbind(-1)
    return z, (rows, cols)


def bound(model, layers=None, width=8, questions=QUESTIONS):
    prompts = [model.encode(question) for question in questions]
    return model.bind(prompts, [width] * len(prompts), layers)


def whole_forward(model, row, z, cols):
    """By hand: one unpadded row through the model's own forward, in both directions."""
    return forward_of(model, model.encode(QUESTIONS[row]), z[row].tolist(), cols)


def forward_of(model, prompt, canvas, cols):
    parts = model.parts
    ids = torch.tensor([prompt + canvas])
    size = ids.shape[1]
    kwargs = {}
    if parts.attend_fill:
        kwargs["attention_mask"] = torch.ones(1, 1, size, size, dtype=torch.bool)
    if parts.causal_prompt:
        before = len(prompt) - 1
        seen = [
            [j == i or (token != parts.mask_id and (j < i or i >= before)) for j, token in
             enumerate(ids[0].tolist())] for i in range(size)
        ]  # fmt: skip
        kwargs["attention_mask"] = torch.tensor(seen)[None, None]
    with torch.no_grad():
        logits = parts.model(input_ids=ids, **kwargs).logits[0]
    return logits[len(prompt) + cols - parts.shift]


def test_logits_equal_a_whole_forward_of_the_row_alone(model):
    z, (rows, cols) = filled(model)
    denoiser = bound(model, 2)
    got = denoiser.logits(denoiser.trunk(z), (rows, cols))
    keep = [i for i in range(model.parts.vocab_size) if i not in set(model.parts.suppressed)]
    for row in range(len(QUESTIONS)):
        want = whole_forward(model, row, z, cols[rows == row])
        torch.testing.assert_close(got[rows == row][:, keep], want[:, keep], rtol=1e-8, atol=1e-8)


def test_the_states_of_a_causal_prompt_are_kept_and_right(folders):
    """Several canvases on one denoiser, whose rows are taken, repeated and dropped."""
    model = load(folders / "smol", dtype=torch.float64)
    pad, mask = model.parts.pad_id, model.parts.mask_id
    z, _ = filled(model)
    stopped = torch.where(z == mask, z.flip(0), z)
    stopped[:, 5:] = pad  # a narrower canvas
    stopped[:, 2] = mask
    denoiser, keep, found = bound(model, 1), used(model), []
    with widths_of(denoiser) as widths:
        for order in ([0, 1, 2], [2, 0, 2, 1], [1], [0]):
            taken = denoiser if order == [0, 1, 2] else denoiser.take(torch.tensor(order))
            for canvas in (z, stopped, z.flip(1)):
                own = canvas[order]
                where = (own == mask).nonzero().unbind(-1)
                found.append((order, own, where, taken.logits(taken.trunk(own), where)))
    for order, own, (rows, cols), got in found:
        for i, source in enumerate(order):
            real = [t for t in own[i].tolist() if t != pad]
            want = forward_of(model, model.encode(QUESTIONS[source]), real, cols[rows == i])
            torch.testing.assert_close(got[rows == i][:, keep], want[:, keep], rtol=1e-8, atol=1e-8)
    longest = max(len(model.encode(question)) for question in QUESTIONS)
    assert widths[0] == longest + 8
    assert set(widths[1:]) == {9, 6}  # the canvas, and the prompt's last column


def test_rows_taken_before_a_run_keep_the_states_of_their_prompts(folders):
    model = load(folders / "smol", dtype=torch.float64)
    z, _ = filled(model)
    denoiser = bound(model, 1)
    denoiser.take(torch.tensor([1]))
    with widths_of(denoiser) as widths:
        for _ in range(3):
            denoiser.take(torch.tensor([0, 2, 2])).trunk(z)
    assert widths == [9] * 3


def used(model):
    """The ids that may be drawn."""
    return [i for i in range(model.parts.vocab_size) if i not in set(model.parts.suppressed)]


@contextmanager
def widths_of(denoiser):
    """A list that collects the columns on which the second layer runs."""
    widths = []
    layer = denoiser._layers[1]
    handle = layer.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    try:
        yield widths
    finally:
        handle.remove()


def test_prompts_of_a_causal_layout_may_be_empty(folders):
    model = load(folders / "smol", dtype=torch.float64)
    z, (rows, cols) = filled(model)
    keep = used(model)
    for prompts in ([[]], [[], model.encode(QUESTIONS[1])]):
        denoiser = model.bind(prompts, [8] * len(prompts), 1)
        # An empty prompt has no column in front of the canvas: its position 0 is left out.
        asked = (rows < len(prompts)) & ((rows > 0) | (cols > 0))
        where = rows[asked], cols[asked]
        got = denoiser.logits(denoiser.trunk(z[: len(prompts)]), where)
        for i, prompt in enumerate(prompts):
            mine = where[0] == i
            want = forward_of(model, prompt, z[i].tolist(), where[1][mine])
            torch.testing.assert_close(got[mine][:, keep], want[:, keep], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("missing", ["1_out_b", "mask", "0_qkv_a_scale", None])
def test_a_folder_of_smol_that_lacks_something_is_refused(folders, tmp_path, missing):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "changed"
    shutil.copytree(folders / "smol", folder)
    file = folder / "lora.safetensors"
    lora = load_file(file)
    if missing is None:
        file.unlink()
    else:
        save_file({k: v for k, v in lora.items() if k != missing}, file)
    message = {None: "cannot be read", "0_qkv_a_scale": "'0_qkv_a' has no scale"}
    with pytest.raises(ValueError, match=message.get(missing, f"lacks the map '{missing}'")):
        load(folder)
    for name in ("0_qkv_b", "0_qkv_b_scale"):
        lora[name] = lora[name][:-1].clone()
    save_file(lora, file)
    with pytest.raises(ValueError, match=r"0_qkv of \(63, 4\) by \(4, 32\) does not make \(64, 32"):
        load(folder)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"stepz": 3}, "stepz"),
        ({"steps": 0}, "steps"),
        ({"steps": 4, "canvas": 0}, "canvas"),
        ({"steps": 4, "canvas": "8"}, "canvas"),
        ([3], r"mappings, got \[3\]"),
        ({"presets": [3]}, "mappings"),
        ({"presets": {"slow": {}}}, "preset is one of .* got 'slow'"),
        ({"presets": {"restore": {}}}, "is for images"),
        ({"presets": {"fast": {"pool_size": -1}}}, "pool_size"),
    ],
)
def test_bad_settings_of_a_folder_are_told_when_it_is_loaded(folders, tmp_path, own, message):
    folder = tmp_path / "changed"
    shutil.copytree(folders / "smol", folder)
    settings = json.loads((folder / "aps.json").read_text())
    write(folder, "aps.json", {**settings, "settings": own})
    with pytest.raises(ValueError, match=f"aps.json: settings: .*{message}"):
        load(folder)


@pytest.mark.parametrize(
    "options", [{"load_in_8bit": True}, {"device_map": "auto"}, {"attn_implementation": "flex"}]
)
@pytest.mark.skipif(transformers.__version__ < "5", reason="transformers 4 wants bitsandbytes")
def test_smol_says_which_options_it_does_not_take(folders, options):
    with pytest.raises(ValueError, match=r"takes no|keys of its own"):
        load(folders / "smol", **options)


def test_smol_is_the_same_under_the_modes_of_its_caller(folders):
    plain = load(folders / "smol").parts.model.state_dict()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        other = load(folders / "smol").parts.model.state_dict()
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_a_model_may_have_a_block_length_of_its_own(folders):
    pipe = APSPipeline.from_pretrained(folders / "smol", dtype=torch.float64)
    assert pipe.model.block_length == 4
    settings = {"steps": 12, "max_new_tokens": 12, "keep_trajectory": True}

    def order(**more):
        """The step at which each position is written."""
        out = pipe.generate(QUESTIONS[0], min_new_tokens=11, **settings, **more)
        z = torch.stack([state.z[0] for state in out.trajectory[0]])
        return (z == pipe.model.parts.mask_id).sum(0).tolist()

    own = order()
    assert own == order(block_length=4)
    assert max(own[:4]) < min(own[4:8]) <= max(own[4:8]) < min(own[8:11])
    whole = order(block_length=12)
    assert max(whole[:4]) > min(whole[4:11])


def test_a_model_may_have_settings_of_its_own(folders):
    pipe = APSPipeline.from_pretrained(folders / "smol")
    pipe.model = replace(pipe.model, settings={"steps": 5, "guidance_start": 0.25})

    def found(**more):
        if "config" not in more:
            more["max_new_tokens"] = 12
        sampler = pipe(QUESTIONS[0], length, **more).config.sampler
        return sampler.steps, sampler.guided_window.start

    assert found() == (5, 0.25)
    assert found(preset="fast") == (5, 0.25)  # which states another start
    assert found(steps=3) == (3, 0.25)
    assert found(preset="fast", guidance_start=0.75) == (5, 0.75)
    assert found(config=APSConfig.make("fast", steps=7, max_new_tokens=12)) == (7, 0.5)
    # Those of a preset are for calls with it, and stand before those of all calls.
    many = {"fast": {"steps": 6, "pool_size": 3}, "balanced": {"pool_rollout": 7}}
    own = {"steps": 5, "guidance_start": 0.25, "presets": many}
    pipe.model = replace(pipe.model, settings=own)
    assert found() == (5, 0.25)
    assert found(preset="fast") == (6, 0.25)
    sampler = pipe(QUESTIONS[0], length, max_new_tokens=12).config.sampler
    assert (sampler.pool_size, sampler.pool_rollout) == (8, 7)
    sampler = pipe(QUESTIONS[0], length, preset="fast", max_new_tokens=12).config.sampler
    assert (sampler.pool_size, sampler.pool_rollout) == (3, 1)
    # One that would leave what is stated without effect, or nothing to steer with, is left out.
    own = {"steps": 5, "presets": {"balanced": {"inner_steps": 0, "pool_interval": 2}}}
    pipe.model = replace(pipe.model, settings=own)

    def sampler_of(**more):
        return pipe(QUESTIONS[0], length, max_new_tokens=12, **more).config.sampler

    assert sampler_of().fit is None
    assert sampler_of().pool_interval == 2
    assert sampler_of(lora_rank=4).fit.phi.rank == 4
    assert sampler_of(lora_rank=4).pool_interval == 2
    alone = sampler_of(pool_size=None)
    assert alone.fit is not None
    assert alone.steps == 5
    pipe.model = replace(pipe.model, settings={"steps": 5, "guidance_start": 0.25})
    # Where nothing steers, a start has no effect and is left out.
    out = pipe.generate(QUESTIONS[0], pool_size=None, inner_steps=0, max_new_tokens=12)
    assert out.config.sampler.steps == 5
    # A window without a step beside the model's own settings is an error.
    pipe.model = replace(pipe.model, settings={"steps": 5, "guidance_interval": 4})
    with pytest.raises(ValueError, match=r"no step is steered: .*guidance_interval=4"):
        pipe(QUESTIONS[0], length, guidance_start=0.25, guidance_end=0.75)


@pytest.mark.parametrize("method", ["aps-logits", "entrgi", "aps-smc"])
def test_a_method_without_a_pool_takes_nothing_of_a_models_own_pool(folders, method):
    pipe = APSPipeline.from_pretrained(folders / "smol")
    pool = {"inner_steps": 0, "pool_size": 2, "pool_rollout": 4, "guidance_interval": 4}
    own = {"steps": 4, "presets": {"balanced": {**pool, "temperature": 0.5}}}
    pipe.model = replace(pipe.model, settings=own)

    def found(**more):
        options = {"max_new_tokens": 8, **more}
        config = pipe.stream(QUESTIONS[0], length, **options).request.config
        return config.sampler.draw.temperature, config.sampler.window.interval, config.sampler.fit

    assert found() == (0.5, 4, None)
    assert found(method="plain") == (0.5, 4, None)
    assert found(method=method) == (0.5, 1, APSConfig().sampler.fit)
    assert found(method=method, guidance_interval=2)[1] == 2


def test_answers_in_blocks_are_steered_from_the_first_step_on(folders):
    """Short ones are finished before the second half of the steps."""
    pipe = APSPipeline.from_pretrained(folders / "smol")

    def states(**more):
        out = pipe(QUESTIONS[0], length, max_new_tokens=16, keep_trajectory=True, **more)
        return [state.guided for state in out.trajectory[0]]

    assert all(states(steps=8))  # blocks of its own length, 4
    assert all(states(steps=8, block_length=2))
    assert states(steps=8, block_length=16) == [False] * 4 + [True] * 4
    assert states(steps=8, block_length=4, guidance_start=0.5) == [False] * 4 + [True] * 4
    assert not any(states(steps=8, pool_size=None, inner_steps=0))
    template = {"template": "what [MASK:20] is"}
    assert all(states(steps=8, block_length=16, start=template))  # longer than max_new_tokens


def test_a_window_is_looked_at_with_the_steps_of_the_model(folders):
    pipe = APSPipeline.from_pretrained(folders / "smol")
    pipe.model = replace(pipe.model, settings={"steps": 8})
    pipe(QUESTIONS[0], length, max_new_tokens=8, guidance_start=0.87, inner_steps=0)  # the last
    pipe.model = replace(pipe.model, settings={"steps": 4})
    with pytest.raises(ValueError, match=r"none of the 4 steps lies in guidance_start=0\.87"):
        pipe(QUESTIONS[0], length, max_new_tokens=8, guidance_start=0.87, inner_steps=0)


def test_blocks_that_share_a_step_are_told(folders, caplog):
    pipe = APSPipeline.from_pretrained(folders / "smol")
    for settings in ({"steps": 4}, {"steps": 16, "block_length": 1}, {"steps": 1}, {"steps": 3}):
        pipe.generate(QUESTIONS[0], max_new_tokens=16, **settings)
        told = [r.getMessage() for r in caplog.records if "blocks" in r.getMessage()]
        assert len(told) == (settings["steps"] == 3)
    assert "4 blocks of block_length=4 in steps=3" in told[0]
    assert "with steps=4" in told[0]
    # What counts is what is open: of a template that may be more than max_new_tokens, of a canvas
    # with a prefix it is less.
    caplog.clear()
    pipe.generate(QUESTIONS[0], start={"template": "[MASK:20]"}, max_new_tokens=16, steps=4)
    assert "5 blocks of block_length=4 in steps=4" in caplog.text
    caplog.clear()
    begun = " ".join(["a"] * 12)
    pipe.generate(QUESTIONS[0], start={"prefix": begun}, max_new_tokens=16, steps=3)
    assert "blocks" not in caplog.text


def test_verify_passes_a_causal_prompt(folders):
    from aps_text.verification.suite import verify

    report = verify(load(folders / "smol", dtype=torch.float64), tokens=6)
    assert report.passed, [str(check) for check in report.checks]


def test_attention_is_in_both_directions(model):
    z, _ = filled(model)
    denoiser, other = bound(model), z.clone()
    other[:, -2] = next(i for i in sorted(model.tokenizer.get_vocab().values()) if i not in z)
    where = (torch.arange(3), torch.zeros(3, dtype=torch.long))
    before, after = (denoiser.logits(denoiser.trunk(c), where) for c in (z, other))
    assert ((before - after).abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("layers", [1, 2, None])
def test_the_trunk_may_end_anywhere(model, layers):
    z, where = filled(model)
    whole, part = bound(model, None), bound(model, layers)
    torch.testing.assert_close(
        part.logits(part.trunk(z), where), whole.logits(whole.trunk(z), where)
    )


def test_batch_equals_single_with_uneven_prompts(model):
    pipe = APSPipeline(model)
    settings = dict(steps=4, max_new_tokens=8, inner_steps=1, num_samples=2, temperature=1.0)
    together = pipe(QUESTIONS, reward=length, **settings)
    for i, question in enumerate(QUESTIONS):
        assert pipe(question, reward=length, **settings).token_ids[0] == together.token_ids[i]


def test_nothing_suppressed_is_ever_emitted(model):
    pipe = APSPipeline(model, batch_size=16)
    drawn = pipe.generate(
        QUESTIONS[0],
        num_return_sequences=40,
        steps=3,
        max_new_tokens=12,
        temperature=5.0,
        top_p=1.0,
        min_new_tokens=11,
    )
    known = set(model.tokenizer.get_vocab().values())
    emitted = {token for answer in drawn.token_ids for token in answer}
    assert len(emitted) > 30
    assert model.parts.mask_id not in emitted
    assert emitted <= known
    assert not emitted & set(model.parts.suppressed)
    assert set(range(model.parts.vocab_size)) - known <= set(model.parts.suppressed)


@pytest.mark.parametrize("kind", KINDS)
def test_adapts_and_leaves_every_file_as_it_was(folders, kind):
    before = hashes(folders / kind)
    pipe = APSPipeline.from_pretrained(folders / kind)
    state = {k: v.clone() for k, v in pipe.model.parts.model.state_dict().items()}
    output = pipe(QUESTIONS, reward=length, steps=3, max_new_tokens=8, num_samples=4, inner_steps=2)
    assert all(isinstance(text, str) for text in output.text)
    assert output.cost.denoiser_backwards > 0
    assert (output.adapters[0].change > 0).any()
    after = pipe.model.parts.model.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert hashes(folders / kind) == before


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_answers(folders, kind):
    pipe = APSPipeline.from_pretrained(folders / kind, dtype=torch.bfloat16)
    assert next(pipe.model.parts.model.parameters()).dtype == torch.bfloat16
    settings = dict(steps=2, max_new_tokens=6, num_samples=2, inner_steps=1)
    assert len(pipe(QUESTIONS, reward=length, **settings).text) == 3
    z, where = filled(pipe.model)
    half = bound(pipe.model, 2)
    full = bound(load(folders / kind, dtype=torch.float32), 2)
    a, b = (d.logits(d.trunk(z), where).softmax(-1) for d in (half, full))
    assert (a - b).abs().sum(-1).mean() < 0.2  # total variation; unrelated rows differ by about 2


@pytest.mark.parametrize("kind", [*CAUSAL, "smol"])
def test_eager_and_sdpa_agree_with_padding(folders, kind):
    sdpa, eager = (
        load(folders / kind, dtype=torch.float32, attn_implementation=name)
        for name in ("sdpa", "eager")
    )
    z, where = filled(sdpa)
    a, b = (d.logits(d.trunk(z), where) for d in (bound(sdpa), bound(eager)))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def adapter_gradient(model):
    """Logits under a LoRA that is not theta, and the step it takes from a fixed gradient."""
    from aps_text.core.config import APSConfig

    z, where = filled(model)
    denoiser = bound(model, 2)
    config = APSConfig(lora_layers=2, learning_rate=0.1)
    phi = denoiser.new_adapter(config, noise_for(range(len(z))))
    gate = torch.ones(len(z), dtype=torch.bool)
    state = denoiser.trunk(z)
    for seed in range(2):
        logits = phi.logits(denoiser, state, where)
        g = torch.Generator().manual_seed(seed)
        grad = torch.randn(logits.shape, generator=g, dtype=torch.float64).to(logits.dtype)
        phi.update(logits, grad, gate)
    return logits.detach(), phi.adam.value


def test_gradient_checkpointing_changes_nothing(folders):
    for kind in KINDS:
        plain, saving = (
            adapter_gradient(
                load(folders / kind, dtype=torch.float64, gradient_checkpointing=checkpointing)
            )
            for checkpointing in (False, True)
        )
        for a, b in zip(plain, saving, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradient_checkpointing_keeps_less(folders):
    kept = []
    for checkpointing in (False, True):
        model = load(folders / "dream", dtype=torch.float64, gradient_checkpointing=checkpointing)
        denoiser = bound(model, 3)
        from aps_text.core.config import APSConfig

        phi = denoiser.new_adapter(APSConfig(lora_layers=3), noise_for(range(3)))
        z, where = filled(model)
        state, sizes = denoiser.trunk(z), {}

        def pack(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            phi.logits(denoiser, state, where)
        kept.append(sum(sizes.values()))
    assert kept[1] < 0.7 * kept[0]


def test_compiled_layers_give_the_same_and_still_see_lora(folders):
    plain, compiled = (
        load(folders / "dream", dtype=torch.float64, compile=backend)
        for backend in (False, "eager")
    )
    z, where = filled(plain)
    a, b = (d.logits(d.trunk(z), where) for d in (bound(plain, 1), bound(compiled, 1)))
    torch.testing.assert_close(a, b)
    for a, b in zip(adapter_gradient(plain), adapter_gradient(compiled), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["dream", "bert"])
def test_device_map_places_and_answers(folders, kind):
    pipe = APSPipeline.from_pretrained(folders / kind, device_map={"": "cpu"}, dtype=torch.float64)
    plain = APSPipeline.from_pretrained(folders / kind, dtype=torch.float64)
    settings = dict(steps=2, max_new_tokens=6)
    want = plain.generate(QUESTIONS, **settings).token_ids
    assert pipe.generate(QUESTIONS, **settings).token_ids == want
    with pytest.raises(ValueError, match="device='cpu' and device_map='auto': give one"):
        load(folders / kind, device="cpu", device_map="auto")


@pytest.mark.skipif(
    transformers.__version__ < "5" and find_spec("bitsandbytes") is None,
    reason="transformers 4 wants bitsandbytes to make its configuration",
)
def test_quantisation_is_transformers_configuration(folders, monkeypatch):
    from aps_text.models import checkpoint

    asked = {}

    def stop(self, kind, config, **options):
        asked.clear()
        asked.update(self.options)
        raise InterruptedError

    monkeypatch.setattr(checkpoint.Checkpoint, "model", stop)
    with pytest.raises(InterruptedError):
        load(folders / "dream", load_in_4bit=True, dtype=torch.float16)
    quantization = asked["quantization_config"]
    assert quantization.load_in_4bit
    assert quantization.bnb_4bit_quant_type == "nf4"
    assert quantization.bnb_4bit_compute_dtype == torch.float16
    with pytest.raises(InterruptedError):
        load(folders / "dream", load_in_8bit=True)
    assert asked["quantization_config"].load_in_8bit
    assert "device_map" not in asked
    with pytest.raises(InterruptedError):  # moved afterwards it would be quantised elsewhere
        load(folders / "dream", load_in_8bit=True, device="cpu")
    assert asked["device_map"] == {"": torch.device("cpu")}
    with pytest.raises(ValueError, match="quantization_config exclude each other; give one"):
        load(folders / "dream", load_in_8bit=True, load_in_4bit=True)


def changed(folders, kind, tmp_path, **fields):
    """A copy of a checkpoint with other config fields; None drops one."""
    folder = tmp_path / "changed"
    shutil.copytree(folders / kind, folder)
    config = {**json.loads((folder / "config.json").read_text()), **fields}
    write(folder, "config.json", {k: v for k, v in config.items() if v is not None})
    return folder


def test_refuses_what_it_cannot_read_and_says_the_mend(folders, tmp_path):
    folder = changed(folders, "dream", tmp_path)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(ValueError, match="no weights; only safetensors are read"):
        load(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"only pickled weights \(pytorch_model.bin\).*Convert"):
        load(folder)
    for file in ("vocab.json", "merges.txt"):
        (folder / file).unlink()
    with pytest.raises(ValueError, match=r"has no tokenizer .* copy the published tokenizer files"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("dream", {"model_type": "gpt2"}, "no adapter for model_type 'gpt2'; supported: Dream"),
        ("dream", {"architectures": ["DreamForScores"]}, "is a DreamForScores.* DreamModel is"),
        ("bert", {"architectures": ["BertModel"]}, "is a BertModel.*ForMaskedLM is supported"),
        ("dream", {"hidden_size": None}, "has no hidden_size, which a model of type 'Dream'"),
        ("dream", {"use_sliding_window": True}, "use_sliding_window"),
        ("llada", {"alibi": True}, "sets alibi=True; the published LLaDA models set False"),
        ("llada", {"block_type": "sequential"}, "sets block_type='sequential'"),
        ("llada", {"mask_token_id": 5000}, "mask 5000.* do not belong together"),
        ("dream", {"num_hidden_layers": 5}, "states 5 layers and its files hold 3"),
    ],
)
def test_refuses_other_configurations(folders, tmp_path, kind, fields, message):
    with pytest.raises(ValueError, match=message):
        load(changed(folders, kind, tmp_path, **fields))


def test_a_causal_model_without_a_mask_is_refused_before_its_weights_are_read(folders, tmp_path):
    folder = changed(folders, "qwen3", tmp_path)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings["added_tokens_decoder"].popitem()
    write(folder, file.name, {**settings, "mask_token": None, "additional_special_tokens": []})
    for name in ("added_tokens.json", "special_tokens_map.json"):
        (folder / name).unlink()
    for weights in folder.glob("*.safetensors"):
        weights.write_bytes(b"not read")
    with pytest.raises(ValueError, match=r"no mask token.*a causal one cannot be steered here"):
        load(folder)


def test_a_hub_id_is_found_in_the_cache_at_its_revision(folders, tmp_path):
    cache = tmp_path / "hub"
    repo = cache / "models--someone--tiny-dream"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(folders / "dream", repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    found = dict(local_files_only=True, cache_dir=cache)
    for revision in (None, commit):
        assert load("someone/tiny-dream", revision=revision, **found).name == "someone/tiny-dream"
    with pytest.raises(ValueError, match="not found in the local cache at revision 'v2'"):
        load("someone/tiny-dream", revision="v2", **found)
    with pytest.raises(ValueError, match="no model at 'someone/other': not a folder"):
        load("someone/other", **found)
    with pytest.raises(ValueError, match="revision='v2' needs a hub id"):
        load(folders / "dream", revision="v2")


def test_templates_are_told_not_to_think_aloud(folders, tmp_path):
    folder = changed(folders, "qwen3", tmp_path)
    file = folder / "tokenizer_config.json"
    template = "{{ messages[-1]['content'] }}{% if enable_thinking is false %} quietly{% endif %}"
    write(folder, file.name, {**json.loads(file.read_text()), "chat_template": template})
    model = load(folder)
    assert model.tokenizer.decode(model.encode("Who?")) == "Who? quietly"


def test_loaded_objects_are_recognised(folders):
    from transformers import Qwen3ForCausalLM, RobertaModel

    loaded = load(folders / "qwen3", dtype=torch.float64)
    stock = Qwen3ForCausalLM.from_pretrained(folders / "qwen3", dtype=torch.float64)
    wrapped = wrap(stock, loaded.tokenizer)
    assert wrapped.parts.mask_id == loaded.parts.mask_id
    z, where = filled(loaded)
    a, b = (d.logits(d.trunk(z), where) for d in (bound(loaded), bound(wrapped)))
    assert torch.equal(a, b)
    config = load(folders / "roberta").parts.model.config
    with pytest.raises(TypeError, match="no adapter for RobertaModel; supported: BertForMaskedLM"):
        wrap(RobertaModel(config), loaded.tokenizer)


def test_flash_attention_refuses_padding_and_unknown_kernels_are_named(folders):
    from aps_text.models.causal import both_directions

    model = load(folders / "dream").parts.model
    model.config._attn_implementation = "flash_attention_2"
    attention = both_directions(model)
    assert attention(torch.ones(2, 5, dtype=torch.bool)) is None
    assert not any(layer.self_attn.is_causal for layer in model.model.layers)
    with pytest.raises(ValueError, match="takes no padded batches; load with 'sdpa'"):
        attention(torch.tensor([[False, True]]))
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="'flex_attention' takes no mask of keys"):
        both_directions(model)


def test_an_empty_prompt_reads_no_other_row(folders):
    # Shifted models predict the first position by itself where nothing stands before it.
    model = load(folders / "dream", dtype=torch.float64)
    z = torch.full((2, 4), model.parts.mask_id)
    where = (torch.tensor([0]), torch.tensor([0]))
    alone = TransformerDenoiser.bind(model.parts, [[]], [4])
    beside = TransformerDenoiser.bind(model.parts, [[], [5, 6, 7]], [4, 4])
    torch.testing.assert_close(
        alone.logits(alone.trunk(z[:1]), where), beside.logits(beside.trunk(z), where)
    )


@pytest.mark.parametrize(
    ("option", "mend"),
    [
        ({"trust_remote_code": True}, "a checkpoint's own code is never run, so leave it out"),
        ({"torch_dtype": torch.float32}, "use dtype"),
        ({"devise": "cpu"}, "see docs/models.md"),
    ],
)
def test_options_of_transformers_are_told_what_to_use_here(folders, option, mend):
    with pytest.raises(TypeError, match=f"unknown option '{next(iter(option))}'; {mend}"):
        load(folders / "dream", **option)


@pytest.mark.parametrize("order", [{}, {"alg": "entropy"}, {"remasking": "random"}])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_what_is_no_number_ends_the_call_and_is_no_answer(folders, order, temperature):
    # Dream's own loop falls back to the argmax there, and so makes an answer of it.
    pipe = APSPipeline(load(folders / "dream"))
    options = {"steps": 2, "max_new_tokens": 6, "temperature": temperature, **order}
    assert pipe.generate("Who?", **options).text
    with torch.no_grad():
        pipe.model.parts.final.weight[0] = torch.nan
    with pytest.raises(RuntimeError, match=r"are NaN at step 0, first in row 0 .*bfloat16"):
        pipe.generate("Who?", **options)
    with pytest.raises(RuntimeError, match="are NaN at step 0"):
        pipe("Who?", lambda prompts, completions, **_: [1.0] * len(completions), steps=2)
