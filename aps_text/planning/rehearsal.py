"""The bytes of the sampler's own tensors at each moment of a step, counted in a small run.

The method runs unchanged, with the settings of the call, on minimal replacements: a model with
precomputed logits and one small map for LoRA, and a reward with one number per token as code. Each
marks when the sampler calls it, which divides a step into moments:

    trunk       before layers run        reward      from the relaxed canvas to the score
    replay      logits are computed      gradient    from the reward's codes to the logits
    x_theta     from logits without      backward    through the adapted layers
                gradient to the end of   optimiser   the update of phi
                the trunk's states       sampling    phi's logits are read
    decoding    unsteered, or drawing    pool        whole answers are scored

One row of few positions is filled, up to the second steered step (later ones have fewer masks). The
sampler's bytes are proportional to the positions and of the form a + b K in the vocabulary. Two
runs determine a and b; a large vocabulary is replaced by the smallest one that is searched by the
same algorithm (by blocks, `core.noise`).
"""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init
from torch.utils._python_dispatch import TorchDispatchMode

from ..core.canvas import Canvas
from ..core.codebook import Relaxed, VectorCodebook
from ..core.config import APSConfig
from ..core.noise import LARGE, Noise
from ..core.operator import Arithmetic, Operator, Scores, ZeroOperator
from ..core.protocols import Adapter, Denoiser, Where
from ..methods.ancestral import Ancestral
from ..methods.aps import APS
from ..models.guided import GuidedDenoiser
from ..models.lora import new_adapter
from .call import Call

__all__ = ["ConstantGradient", "Moments", "rehearsed"]

DTYPES = {2: torch.bfloat16, 4: torch.float32, 8: torch.float64}


def rehearsed(call: Call) -> dict[str, tuple[float, float]]:
    """Peak bytes at each moment for all rows: (growing with the vocabulary, the others)."""
    answers, settings = max(call.pool, call.draws), call.config.sampler
    tokens = min(call.tokens, 16 if answers <= 256 else 8)
    changes: dict[str, Any] = {
        "max_new_tokens": tokens,
        "steps": min(settings.steps, tokens),
        "guidance_interval": min(settings.window.interval, 2),
        "lora_layers": None,
        "lora_rank": 1,
        "beta": 1.0,
    }
    if call.inner_steps:  # later inner steps are like the second
        changes |= {"inner_steps": min(2, call.inner_steps), "gradient_gate": 0.0}
    if call.block_length:
        block = call.block_length * tokens / call.tokens
        changes["block_length"] = max(1, round(block))
    config = call.config.replace(**changes)
    vocab = call.shape.vocab
    sizes = (vocab - vocab // 4, vocab) if vocab < LARGE else (LARGE, LARGE + LARGE // 4)
    reward = None if call.reward is None else call.reward.dtype_bytes
    found = [_rehearsal(config, tokens, size, call.number_bytes, reward) for size in sizes]
    scale = call.batch * call.tokens / tokens
    moments = {}
    for name in found[0]:
        each = (found[1][name] - found[0][name]) / (sizes[1] - sizes[0])
        rest = found[0][name] - each * sizes[0]
        moments[name] = scale * each * vocab, scale * rest
    return moments


@lru_cache(maxsize=256)
def _rehearsal(
    config: APSConfig, tokens: int, vocab: int, dtype_bytes: int, reward_bytes: int | None
) -> dict[str, int]:
    """Peak bytes at each moment for one row."""
    moments = Moments()
    model: Denoiser = _Model(moments, vocab, DTYPES[dtype_bytes])
    operator: Operator = ConstantGradient()
    if reward_bytes is not None:
        operator = _Reward(moments, vocab, DTYPES[reward_bytes], config.reward.bridge)
    if config.model.cfg_scale > 0:
        model = GuidedDenoiser(model, model, config.model.cfg_scale)
    block, row = config.call.block_length, torch.zeros(1, dtype=torch.long)
    canvas = Canvas.open(
        [tokens], mask_id=vocab - 1, fill_id=vocab - 2, stop_ids=(vocab - 3,), block_length=block
    )
    steers, seen = config.sampler.steers, 0
    method = APS() if steers else Ancestral()
    with moments:
        for state in method.steps(model, operator, canvas, config, Noise(row, row)):
            seen += state.guided or not steers
            if seen == 2:
                break
    del moments.most[""]
    return moments.most


class ConstantGradient(ZeroOperator):
    """An operator that costs nothing and whose gradient is not 0, so that phi is updated."""

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """`(B,)`, on the graph of `relaxed.probs`."""
        return Scores(relaxed.probs[:, 0].sum().expand(len(relaxed.ids)))


class Moments(TorchDispatchMode):
    """Tracks the lifetime of tensors' storages, and the peak of their bytes at each moment.

    Attributes:
        now: current bytes.
        most: their peaks by moment; "" is the time before the first `begin`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.name, self.now, self.most, self.sizes = "", 0, {"": 0}, dict[int, int]()

    def begin(self, name: str) -> None:
        """End the current moment and begin the one called `name`, or go on with it."""
        self.name = name
        self.most[name] = max(self.most.get(name, 0), self.now)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and importing the compiler takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        made = _storages(out)
        if new := made.keys() - self.sizes.keys():
            for at in new - _storages((args, kwargs)).keys():  # no views, nothing in place
                self.sizes[at] = made[at].nbytes()
                self.now += self.sizes[at]
                weakref.finalize(made[at], self._end, at)
        self.begin(self.name)
        return out

    def _end(self, at: int) -> None:
        self.now -= self.sizes.pop(at, 0)


def _storages(tree: Any) -> dict[int, torch.UntypedStorage]:
    """The storages of the tensors in nested containers, by their addresses.

    Called for every operation: torch's own walk, over containers of any kind, is far slower.
    """
    found, left = {}, [tree]
    while left:
        one = left.pop()
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            found[storage._cdata] = storage
        elif isinstance(one, tuple | list):
            left.extend(one)
        elif isinstance(one, dict):
            left.extend(one.values())
    return found


class _State:
    """Of a trunk: its end is noted."""


class _Model:
    """A denoiser with one linear map of size 1 and distributions as peaked as a trained model's."""

    def __init__(self, moments: Moments, vocab: int, dtype: torch.dtype) -> None:
        self.moments, self.mask_id, self.vocab_size, self.dtype = moments, vocab - 1, vocab, dtype
        self.map = skip_init(nn.Linear, 1, 1, bias=False).requires_grad_(False)  # draws nothing
        self.map.weight.zero_()
        self.logit = -torch.arange(vocab, dtype=torch.promote_types(dtype, torch.float32)) / 2

    def take(self, rows: Tensor) -> _Model:
        return self

    def trunk(self, z: Tensor) -> _State:
        self.moments.begin("trunk")
        state = _State()
        weakref.finalize(state, self.freed)
        return state

    def freed(self) -> None:
        if self.moments.name == "x_theta":
            self.moments.begin("decoding")

    def logits(self, state: _State, where: Where, phi: Any = None) -> Tensor:
        self.moments.begin("trunk")
        self.moments.begin("replay")
        with nullcontext() if phi is None else phi.attached():
            change = self.map(torch.zeros(1, 1, 1))[0]
        logits = self.logit.expand(len(where[0]), -1) + change
        if logits.requires_grad:
            logits.register_hook(self.backward)
            phi.leaf.register_hook(lambda _: self.moments.begin("optimiser"))
        self.moments.begin("sampling" if torch.is_grad_enabled() else "x_theta")
        return logits

    def backward(self, grad: Tensor) -> None:
        self.moments.begin("backward")
        # Suppressed ids have no gradient, and the head takes its own number type.
        grad.clone().to(self.dtype)

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        return new_adapter(config, noise, {"block": nn.Sequential(self.map)}, 1)


class _Reward(Arithmetic):
    """A reward model without layers, with codes of dimension 1."""

    def __init__(self, moments: Moments, vocab: int, dtype: torch.dtype, bridge: str) -> None:
        self.moments, self.differentiable = moments, bridge != "rloo"
        table = torch.linspace(-1, 1, vocab)[:, None].to(dtype)
        allowed = torch.arange(vocab) % 7 > 0 if bridge == "restrict" else None
        self.codebook = VectorCodebook(table, allowed)

    def take(self, rows: Tensor) -> _Reward:
        return self

    def guess(self) -> Tensor:
        return self.codebook.embed(torch.zeros(1, 0, dtype=torch.long))

    def log_prob(self, relaxed: Relaxed) -> Scores:
        codes = relaxed.codes(self.codebook)
        self.moments.begin("reward")
        score = codes.to(relaxed.probs).sum((1, 2))
        self.moments.begin("gradient")
        return Scores(score)

    def log_prob_ids(self, ids: Tensor) -> Scores:
        fitting = torch.is_grad_enabled()
        self.moments.begin("reward" if fitting else "pool")
        score = torch.arange(len(ids)).float()
        self.moments.begin("gradient" if fitting else "decoding")
        return Scores(score)
