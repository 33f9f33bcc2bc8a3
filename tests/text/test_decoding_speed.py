"""Work that is not done, with the numbers of doing it: last layer, vocabulary, prompt prefix."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from tiny import tiny_text_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from worlds import TableReward, noise_for

from aps_text import APSConfig, APSPipeline
from aps_text.core.canvas import Canvas
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.core.token_sampling import sampling_probs
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.models.causal import both_directions
from aps_text.models.masked_lm import masked_lm_layout
from aps_text.models.partial_forward import KEYS, QUERIES
from aps_text.models.parts import ModelParts
from aps_text.models.transformer import TransformerDenoiser

VOCAB, WIDTH, LAYERS = 300, 10, 4
MASK, FILL = VOCAB - 1, VOCAB - 2
KINDS = ["qwen2", "qwen3", "llama", "bert", "roberta", "modernbert"]
CAUSAL = KINDS[:3]
PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [12], [13, 14, 15]]


def parts_of_model(kind, dtype=torch.float32, **changes):
    """A random model of a layout; a wide init, so that no two logits nearly tie."""
    import transformers

    sizes = dict(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.4,
        pad_token_id=FILL,
    )
    torch.manual_seed(0)
    if kind in CAUSAL:
        name = kind.capitalize()
        config = getattr(transformers, f"{name}Config")(**sizes, num_key_value_heads=2)
        model = getattr(transformers, f"{name}ForCausalLM")(config).to(dtype)
        parts = dict(
            layers_path="model.layers",
            final=model.model.norm,
            head=model.lm_head,
            attend_fill=True,
            shift=1,
            attention=both_directions(model),
            options={"use_cache": False},
            embed=model.model.embed_tokens,
        )
    else:
        name = {"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}[kind]
        ids = dict(bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
        config = getattr(transformers, f"{name}Config")(**{**sizes, **ids, "pad_token_id": 3})
        model = getattr(transformers, f"{name}ForMaskedLM")(config).to(dtype)
        parts = masked_lm_layout(model)
    model.eval().requires_grad_(False)
    base = dict(model=model, mask_id=MASK, pad_id=FILL, vocab_size=VOCAB, suppressed=(MASK, FILL))
    return ModelParts(**{**base, **parts, **changes})


def bind(parts, prompts=PROMPTS, layers=2, widths=None, **options):
    widths = widths or [WIDTH] * len(prompts)
    return TransformerDenoiser.bind(parts, prompts, widths, layers, **options)


def open_canvas(widths):
    return Canvas.open(widths, mask_id=MASK, fill_id=FILL)


def some_of(batch=3, seed=0):
    """A partly filled canvas and positions asked for, uneven over the rows."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randint(20, VOCAB - 2, (batch, WIDTH), generator=g)
    asked = torch.rand(z.shape, generator=g) < torch.tensor([0.2, 0.5, 0.8])[:batch, None]
    asked[:, 0] = True  # the position a shifted model predicts from the prompt
    return z.masked_fill(asked, MASK), tuple(asked.nonzero().unbind(-1))


def every(z):
    return tuple(torch.ones_like(z).nonzero().unbind(-1))


@contextmanager
def widths_seen(module):
    """How many positions a row each call of `module` was given."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    try:
        yield seen
    finally:
        handle.remove()


def mlp_of(layer):
    return layer.mlp if hasattr(layer, "mlp") else layer.intermediate


def whole_logits(denoiser, z, where):
    """The model's own forward over prompt and canvas, head at every position."""
    parts = denoiser.parts
    real = torch.cat([denoiser.prompt_mask, torch.ones_like(z, dtype=torch.bool)], 1)
    with torch.no_grad():
        logits = parts.model(
            input_ids=torch.cat([denoiser.prompt, z], 1),
            attention_mask=parts.attention(real),
            position_ids=(real.long().cumsum(-1) - 1).clamp_min(0) + parts.first_position,
        ).logits
    rows, cols = where
    return logits[rows, denoiser.prompt.shape[1] + cols - parts.shift, :FILL]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_where_asked_are_those_of_the_models_own_forward(kind):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        denoiser = bind(parts_of_model(kind, dtype))
        z, where = some_of()
        got = denoiser.logits(denoiser.trunk(z), where)[:, :FILL]
        want = whole_logits(denoiser, z, where)
        assert want.std() > 1
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("layers", [1, LAYERS])
def test_where_nothing_is_padded_there_is_no_mask_and_attention_is_in_both_directions(kind, layers):
    def all_ones(real):
        return real[:, None, None, :].expand(-1, 1, real.shape[1], -1)

    def causal(real):
        return all_ones(real).tril()

    parts = parts_of_model(kind)
    z, where = some_of(1)
    found = {}
    for name, changes in {
        "none": {},
        "ones": {"attention": all_ones, "embed": None},
        "causal": {"attention": causal, "embed": None},
    }.items():
        denoiser = bind(replace(parts, **changes), PROMPTS[:1], layers)
        state = denoiser.trunk(z)
        assert (state.kwargs["attention_mask"] is None) == (name == "none")
        found[name] = denoiser.logits(state, where)[:, :FILL]
    torch.testing.assert_close(found["none"], found["ones"], rtol=1e-5, atol=1e-5)
    assert (found["none"] - found["causal"]).abs().max() > 0.1
    padded = bind(parts)
    assert padded.trunk(some_of()[0]).kwargs["attention_mask"] is not None
    assert padded.take(torch.tensor([2])).trunk(z).kwargs["attention_mask"] is None


@pytest.mark.parametrize("kind", ["qwen2", "bert"])
def test_masks_and_positions_are_looked_up_once_where_they_depend_on_no_token(kind):
    parts = parts_of_model(kind)
    calls = []
    handle = parts.model.register_forward_pre_hook(lambda *_: calls.append(1))
    config = APSConfig(steps=6, temperature=0.0, lora_layers=2)
    canvas = open_canvas([WIDTH] * 3)
    out = run(Ancestral(), bind(parts), ZeroOperator(), canvas, config, noise_for(range(3)))
    handle.remove()
    assert len(calls) == (6 if kind == "bert" else 1)
    plain = bind(replace(parts, embed=None))
    again = run(Ancestral(), plain, ZeroOperator(), canvas, config, noise_for(range(3)))
    assert torch.equal(out.z, again.z)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layer_runs_only_where_it_is_asked(kind):
    parts = parts_of_model(kind)
    denoiser = bind(parts)
    z, where = some_of()
    most, everywhere = int(where[0].bincount().max()), len(PROMPTS[0]) + WIDTH
    assert most < WIDTH
    state = denoiser.trunk(z)
    with (
        widths_seen(mlp_of(parts.layers[-1])) as last,
        widths_seen(mlp_of(parts.layers[-2])) as below,
    ):
        denoiser.logits(state, where)
    assert below == [everywhere]
    assert last == [everywhere if kind == "modernbert" else most]


@pytest.mark.parametrize("kind", ["qwen2", "bert"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_under_a_lora_logits_and_gradient_are_those_of_the_whole_layer(kind, checkpointing, layers):
    parts = parts_of_model(kind, torch.float64, checkpointing=checkpointing)
    denoiser = bind(parts, layers=layers)
    phi = denoiser.new_adapter(APSConfig(lora_layers=layers), noise_for(range(3)))
    g = torch.Generator().manual_seed(1)
    moved = torch.randn(phi.adam.value.shape, generator=g, dtype=torch.float64)
    phi.adam.value = phi.adam.value + 0.02 * moved
    z, where = some_of()
    weight = torch.randn(len(where[0]), VOCAB, generator=g, dtype=torch.float64)
    found = []
    for positions in (where, every(z)):  # everywhere on the canvas: nothing is left out of it
        logits = phi.logits(denoiser, denoiser.trunk(z), positions)
        at = torch.ones(len(logits), dtype=torch.bool)
        if positions is not where:
            at = (z == MASK).flatten()
        (gradient,) = torch.autograd.grad((logits[at] * weight).sum(), phi.leaf)
        found.append((logits[at].detach(), gradient))
    assert found[0][1].abs().max() > 1e-3
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    # And against the model's own forward under the same hooks.
    with phi.attached():
        want = whole_logits(denoiser, z, where)
    torch.testing.assert_close(found[0][0][:, :FILL], want, rtol=1e-9, atol=1e-9)


class Operations(TorchDispatchMode):
    """Names of operations on tensors as wide as the vocabulary, and whether any was float64."""

    def __init__(self):
        super().__init__()
        self.names, self.double = set(), False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in (*args, out):
            if isinstance(value, torch.Tensor) and value.shape[-1:] == (VOCAB,):
                self.names.add(func._overloadpacket.__name__)
                self.double |= value.dtype == torch.float64
        return out


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy"])
@pytest.mark.parametrize("how", [{"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 5}])
def test_nothing_sorts_or_sums_the_vocabulary_in_order(alg, how):
    parts = parts_of_model("qwen2")
    config = APSConfig(steps=4, alg=alg, **{"temperature": 0.7, "top_p": 1.0, **how})
    with Operations() as seen:
        run(
            Ancestral(), bind(parts), ZeroOperator(), open_canvas([WIDTH] * 3), config,
            noise_for(range(3)),
        )  # fmt: skip
    assert "_log_softmax" in seen.names  # it does see what is done
    assert not seen.names & {"sort", "argsort", "cumsum", "searchsorted"}
    assert not seen.double
    if how == {"temperature": 0.0}:
        assert not seen.names & {"_softmax", "scatter", "logsumexp"}
        assert ("topk" in seen.names) == (alg == "topk_margin")
    else:
        assert "topk" in seen.names


@pytest.mark.parametrize("sharp", [0.1, 3.0, None])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_the_nucleus_of_a_wide_vocabulary_is_that_of_a_full_sort(sharp, temperature):
    # Rows that need a handful, hundreds and thousands of tokens, alone and in one batch.
    g = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.1, 1.0, 3.0, 20.0])[:, None] if sharp is None else sharp
    logs = (torch.randn(4, 5000, generator=g, dtype=torch.float64) * scale).log_softmax(-1)
    probs = (logs / temperature).softmax(-1)
    ranked, order = probs.sort(-1, descending=True)
    kept = ranked * (ranked.cumsum(-1) - ranked < 0.9)
    want = torch.zeros_like(probs).scatter(-1, order, kept / kept.sum(-1, keepdim=True))
    torch.testing.assert_close(sampling_probs(logs, temperature, 0.9), want)


def forbid_canvas(width):
    """Attention in which the first `width` positions, the prompt's, never see the canvas."""

    def mask(real):
        here = torch.arange(real.shape[1])
        apart = (here[:, None] >= width) | (here[None, :] < width)
        return (real[:, None, None, :] & apart).clone()

    return mask


def trajectory(denoiser, widths, method=None, operator=None, **settings):
    config = APSConfig(**{"temperature": 0.0, "steps": WIDTH, **settings})
    return run(
        method or Ancestral(), denoiser, operator or ZeroOperator(), open_canvas(widths), config,
        noise_for(range(len(widths))), keep_trajectory=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["qwen2", "llama", "bert"])
def test_a_prefix_refreshed_at_every_step_changes_nothing(kind):
    parts, widths = parts_of_model(kind), [WIDTH, 3, WIDTH]
    plain = trajectory(bind(parts, widths=widths), widths)
    fresh = trajectory(bind(parts, widths=widths, prefix_reuse=1), widths)
    assert torch.equal(plain.z, fresh.z)
    for one, two in zip(plain.trajectory, fresh.trajectory, strict=True):
        torch.testing.assert_close(one.prior, two.prior, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_a_prefix_that_does_not_see_the_canvas_is_reused_exactly(kind):
    # The row with the longest prompt has the shortest canvas: it leaves, and columns with it.
    widths = [3, WIDTH, WIDTH]
    masks = {"attention": forbid_canvas(max(map(len, PROMPTS)))}
    parts = parts_of_model(kind, torch.float64, **masks)

    class Uneven(TransformerDenoiser):
        """Keeps all prompt columns, so that the mask above stays right when rows leave."""

        def take(self, rows):
            found = replace(
                self, prompt=self.prompt[rows], prompt_mask=self.prompt_mask[rows],
                lengths=self.lengths[rows],
            )  # fmt: skip
            return replace(found, prefix=self.prefix and self.prefix.take(rows, 0))

    plain = trajectory(Uneven.bind(parts, PROMPTS, widths, 2), widths)
    denoiser = Uneven.bind(parts, PROMPTS, widths, 2, WIDTH)
    with widths_seen(mlp_of(parts.layers[0])) as seen:
        kept = trajectory(denoiser, widths)
    # One pass over everything, then the canvas and the position its first token is read from.
    assert seen == [max(map(len, PROMPTS)) + WIDTH] + [WIDTH + 1] * (WIDTH - 1)
    assert torch.equal(plain.z, kept.z)
    for one, two in zip(plain.trajectory, kept.trajectory, strict=True):
        torch.testing.assert_close(one.prior, two.prior, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["qwen2", "bert"])
def test_in_both_directions_a_kept_prefix_is_an_approximation_until_it_is_refreshed(kind):
    parts = parts_of_model(kind)
    plain, kept = bind(parts), bind(parts, prefix_reuse=2)
    gaps = []
    for seed in range(4):  # other canvases, as at later steps
        z, where = some_of(seed=seed)
        got, want = (d.logits(d.trunk(z), where)[:, :FILL] for d in (kept, plain))
        gaps.append(float((got - want).abs().max()))
    assert max(gaps[::2]) < 1e-4
    assert min(gaps[1::2]) > 1e-2


def test_rows_and_columns_that_leave_take_their_prefix_along():
    parts = parts_of_model("qwen2", torch.float64)
    many, one = bind(parts, prefix_reuse=9), bind(parts, PROMPTS[1:], prefix_reuse=9)
    (z, _), (later, where) = some_of(seed=0), some_of(seed=1)
    many.trunk(z)
    one.trunk(z[1:])
    some = where[0] > 0
    where = where[0][some] - 1, where[1][some]
    few = many.take(torch.tensor([1, 2]))
    assert few.prompt.shape[1] < many.prompt.shape[1]
    got, want = (d.logits(d.trunk(later[1:]), where) for d in (few, one))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_steering_reuses_a_prefix_below_the_adapted_layers():
    g = torch.Generator().manual_seed(0)
    codes = torch.randn(VOCAB, 6, generator=g, dtype=torch.float64)
    reward = TableReward(codes, torch.randn(3, WIDTH, 6, generator=g, dtype=torch.float64))
    masks = {"attention": forbid_canvas(max(map(len, PROMPTS)))}
    parts, widths = parts_of_model("llama", torch.float64, **masks), [WIDTH] * 3
    settings = dict(steps=4, beta=0.1, inner_steps=2)
    plain = trajectory(bind(parts), widths, APS(), reward, **settings)
    kept = trajectory(bind(parts, prefix_reuse=9), widths, APS(), reward, **settings)
    base = trajectory(bind(parts), widths, steps=4)
    assert torch.equal(plain.z, kept.z)
    assert not torch.equal(plain.z, base.z)
    for one, two in zip(plain.trajectory, kept.trajectory, strict=True):
        torch.testing.assert_close(one.tilted, two.tilted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0])
def test_the_pipelines_option_reaches_the_model(cfg_scale):
    model = tiny_text_model(dtype=torch.float64)
    pipe, question = APSPipeline(model), "what is a violin ?"
    settings = dict(max_new_tokens=8, steps=8, lora_layers=1, temperature=0.0, cfg_scale=cfg_scale)
    settings["eos_penalty"] = 1e4  # no early end
    config = APSConfig(**settings)
    size = len(model.encode(question))
    texts, seen = [], []
    for every in (None, 1, 4):
        with widths_seen(mlp_of(model.parts.layers[0])) as widths:
            texts.append(pipe.generate(question, config=config.replace(prefix_reuse=every)).text)
        seen.append(widths[:: 1 if cfg_scale == 0 else 2])
    assert texts[0] == texts[1]
    assert seen == [[size + 8] * 8] * 2 + [[size + 8, 8, 8, 8] * 2]


def test_what_prefix_reuse_cannot_do_is_refused():
    parts = parts_of_model("qwen2")
    for layers in (None, LAYERS):
        with pytest.raises(ValueError, match="prefix_reuse=3 works below the adapted layers"):
            bind(parts, layers=layers, prefix_reuse=3)
    with pytest.raises(ValueError, match="prefix_reuse=3 and compile exclude each other"):
        bind(replace(parts, compiled=True), prefix_reuse=3)
    denoiser = bind(parts_of_model("modernbert"), prefix_reuse=3)
    with pytest.raises(ValueError, match="ModernBertEncoderLayer does not"):
        denoiser.trunk(some_of()[0])
    with pytest.raises(ValueError, match="prefix_reuse must be >= 1 and"):
        APSConfig(prefix_reuse=0)
    assert APSConfig().prefix_reuse is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layers_queries_and_keys_are_each_computed_once(kind):
    parts = parts_of_model(kind)
    denoiser = bind(parts, PROMPTS[:1])
    z, where = some_of(1)
    state = denoiser.trunk(z)
    maps = {name.rpartition(".")[2]: m for name, m in parts.layers[-1].named_modules()}
    queries, keys = ([maps[name] for name in names if name in maps] for names in (QUERIES, KEYS))
    assert len(queries) + len(keys) == (0 if kind == "modernbert" else 3)
    rows = dict.fromkeys((*queries, *keys), 0)
    stock = nn.functional.linear

    def counted(x, weight, bias=None):
        for linear in rows:
            rows[linear] += x.shape[1] if weight is linear.weight else 0
        return stock(x, weight, bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "linear", counted)
        denoiser.logits(state, where)
    everywhere = len(PROMPTS[0]) + WIDTH
    assert [rows[m] for m in queries] == [len(where[0])] * len(queries)
    assert [rows[m] for m in keys] == [everywhere] * len(keys)


@pytest.mark.parametrize("placed", ["q_proj", "block"])
def test_forwards_of_accelerates_still_run_and_nothing_of_the_block_changes(placed):
    parts, plain = parts_of_model("qwen2"), parts_of_model("qwen2")
    block = parts.layers[-1]
    module = block.self_attn.q_proj if placed == "q_proj" else block
    calls, stock = [], type(module).forward.__get__(module)

    def forward(*args, **kwargs):
        calls.append(1)
        return stock(*args, **kwargs)

    module.forward = forward
    before = {name: dict(vars(m)) for name, m in block.named_modules()}
    z, where = some_of(1)
    found = [d.logits(d.trunk(z), where) for d in (bind(p, PROMPTS[:1]) for p in (parts, plain))]
    torch.testing.assert_close(*found)
    assert calls
    assert {name: dict(vars(m)) for name, m in block.named_modules()} == before
