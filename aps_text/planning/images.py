"""The plan of an image call: tokens, passes, memory and seconds, without loading a model.

    trunk       the prior on text and image tokens: T passes, 2 T with guidance
    decoder     T M passes forward and as many back, of every image
    memory      weights, and the larger of a trunk pass and an inner step: distributions over the
                image tokens, as the sampler holds them (`rehearsal`), and the decoder's graph of
                one image

phi is a tilt towards codes, which holds few numbers and needs no pass back through the prior. As
in `gpus`, seconds are a roofline of public peaks; the decoder is float32 and uses the float32 peak.
Nothing here was measured on a GPU. PAPER holds what the paper reports for MMaDA on an A100.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..core.config import APSConfig
from ..images.sliced_tokenizer import MOST_CELLS
from .call import Call, PlannedReward
from .gpus import BANDWIDTH, COMPUTE, GPUS, VOCABULARY_PASSES, Gpu, find_gpu, usable_bytes
from .image_shapes import IMAGE_SHAPES, ImageShape, UVitShape, find_image_shape
from .memory import workspace
from .rehearsal import rehearsed
from .shape import PRESETS, ModelShape

__all__ = ["IMAGE_SHAPES", "PAPER", "ImageCall", "ImagePlan", "ImageShape", "find_image_shape"]
__all__ += ["plan_images"]

AT_MOST = 2**18  # pixels, the default of the loaders
PAPER = {256: (55, 19.2), 512: (121, 26.2), 1024: (484, 51.8)}
"""By pixels per side: seconds and GiB of an image that the paper reports (A100, T = 15, MMaDA)."""


@dataclass(frozen=True, kw_only=True)
class ImageCall:
    """A call that restores, paints in a style or edits images with a tilt towards codes.

    Attributes:
        shape: of the model.
        side: pixels per side, a multiple of 16.
        config: the settings; `adapter` is codes, without a pool or a score function.
        batch: images in one pass, >= 1.
        dtype_bytes: bytes of the prior's numbers; None is as loaded.
        at_most: pixels whose activations the decoder holds; None is no limit. See `limit`.

    Raises:
        ValueError: a value outside its range, or settings that are not planned.
    """

    shape: ImageShape
    side: int
    config: APSConfig = field(default_factory=lambda: APSConfig("restore"))
    batch: int = 1
    dtype_bytes: int | None = None
    at_most: int | None = AT_MOST

    def __post_init__(self) -> None:
        factor = self.shape.decoder.factor
        if self.shape.mini and self.side != self.shape.trained:
            raise ValueError(
                f"--image {self.side}: {self.shape.name} has images of {self.shape.trained} pixels "
                f"a side alone; give --image {self.shape.trained}"
            )
        if self.side < factor or self.side % factor:
            raise ValueError(
                f"--image {self.side}: sides are multiples of {factor} pixels, at least {factor}"
            )
        cells = self.side // factor
        if cells > MOST_CELLS:
            raise ValueError(
                f"--image {self.side}: sides are at most {MOST_CELLS * factor} pixels "
                f"({MOST_CELLS} tokens)"
            )
        if isinstance(self.shape.prior, UVitShape) and self.shape.prior.halved and cells % 2:
            raise ValueError(
                f"--image {self.side}: {self.shape.name} halves its grid of tokens; sides are "
                f"multiples of {2 * factor} pixels"
            )
        if self.shape.mini and self.dtype_bytes not in (None, 4):
            raise ValueError(f"{self.shape.name} is loaded in float32 alone; leave the dtype out")
        if self.batch < 1:
            raise ValueError(f"batch must be >= 1, got {self.batch}")
        fit = self.config.sampler.fit
        if fit is not None and type(fit.phi).__name__ != "Codes":
            raise ValueError(
                f"images are planned for adapter='codes', got {type(fit.phi).__name__.lower()!r}"
            )
        if fit is not None and fit.gradient.relaxation is None:
            raise ValueError(
                "images are planned for gradients through the decoder; estimator='rloo' and "
                "'remax' decode whole answers instead: use estimator='auto' or 'relaxed'"
            )
        if (self.config.sampler.pool_size or 1) > 1:
            raise ValueError(
                f"images are planned without a pool of answers, got "
                f"pool_size={self.config.sampler.pool_size}; leave it out"
            )

    @property
    def tokens(self) -> int:
        """L, tokens of an image."""
        return (self.side // self.shape.decoder.factor) ** 2

    @property
    def limit(self) -> int | None:
        """Pixels whose activations the decoder holds; None where it holds those of all images."""
        return None if self.shape.mini else self.at_most

    @property
    def together(self) -> int:
        """Images that the decoder has in one slice."""
        if self.limit is None:
            return self.batch
        return max(1, min(self.batch, self.limit // self.side**2))

    @property
    def inner_steps(self) -> int:
        """M; 0 if no phi is fitted."""
        fit = self.config.sampler.fit
        return 0 if fit is None else fit.inner_steps

    @property
    def number_bytes(self) -> int:
        """Bytes of a number of the prior."""
        return self.dtype_bytes or self.shape.stored_bytes

    @property
    def sampler(self) -> Call:
        """The call whose distributions the sampler holds: L positions over K codes."""
        shape = replace(PRESETS["mmada-8b"], vocab=self.shape.codes, limit=2**20)
        reward = PlannedReward(shape=replace(PRESETS["minilm"], layers=1), dtype_bytes=4)
        config = self.config.replace(max_new_tokens=self.tokens)
        return Call(shape=shape, reward=reward, config=config, batch=self.batch, dtype_bytes=4)


@dataclass(frozen=True)
class ImagePlan:
    """The plan of an image call; see the module.

    Attributes:
        call: the input.
        passes: row passes by part.
        flops: operations by part, of the whole call.
        memory: bytes by part, at the worst moment.
        seconds: estimated, by GPU; only those with enough memory, none for a small model.
        gpu: (GiB of the GPU, GiB usable for tensors); None if none was given.
        fits: whether it fits that GPU.
        paper: seconds and GiB that the paper reports for this size; None for another one.
    """

    call: ImageCall
    passes: dict[str, int]
    flops: dict[str, float]
    memory: dict[str, float]
    seconds: dict[str, float]
    gpu: tuple[float, float] | None
    fits: bool | None
    paper: tuple[float, float] | None

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        call = self.call
        return {
            "model": asdict(call.shape),
            "call": {
                "side": call.side,
                "tokens": call.tokens,
                "batch": call.batch,
                "dtype_bytes": call.number_bytes,
                "at_most": call.limit,
            }
            | call.config.flat(),
            "passes": self.passes,
            "flops": self.flops | {"total": sum(self.flops.values())},
            "memory_bytes": self.memory | {"total": sum(self.memory.values())},
            "estimated_seconds": self.seconds,
            "gpu_gib": None if self.gpu is None else self.gpu[0],
            "usable_gib": None if self.gpu is None else self.gpu[1],
            "fits": self.fits,
            "paper_seconds_gib": self.paper,
        }


def plan_images(call: ImageCall, gpu: str | None = None) -> ImagePlan:
    """Plan an image call, optionally for a GPU, given by its name or its memory (`24GB`).

    Raises:
        ValueError: an unknown GPU.
    """
    passes, flops, memory = _passes(call), _flops(call), _memory(call)
    total = sum(memory.values())
    shown, named, fits = list(GPUS.values()), None, None
    if gpu is not None:
        size, known = find_gpu(gpu)
        usable = usable_bytes(size)
        named, fits = (size, usable / 2**30), total <= usable
        shown = [known] if known is not None else [g for g in shown if g.memory == size]
    # A roofline says nothing of networks so small that launching their kernels takes longer.
    fitting = [] if call.shape.mini else [g for g in shown if total <= usable_bytes(g.memory)]
    seconds = _seconds(call, fitting)
    paper = PAPER.get(call.side) if call.shape.name.startswith("MMaDA") else None
    return ImagePlan(call, passes, flops, memory, seconds, named, fits, paper)


def _passes(call: ImageCall) -> dict[str, int]:
    steps, inner = len(call.sampler.steps), call.inner_steps
    guided = sum(step.guided for step in call.sampler.steps)
    each = 2 if call.config.model.cfg_scale > 0 else 1
    return {
        "prior": call.batch * steps * each,
        "decoder forward": call.batch * guided * inner,
        "decoder backward": call.batch * guided * inner,
    }


def _flops(call: ImageCall) -> dict[str, float]:
    passes = _passes(call)
    work = call.shape.decoder.operations(call.side)
    again = call.batch > call.together or (call.limit is not None and call.side**2 > call.limit)
    return {
        "prior": passes["prior"] * call.shape.forward(call.tokens),
        "decoder forward": passes["decoder forward"] * work * (2 if again else 1),
        "decoder backward": passes["decoder backward"] * work,
    }


def _memory(call: ImageCall) -> dict[str, float]:
    """Bytes by part at the worst moment."""
    shape, e, rows = call.shape, call.number_bytes, call.batch
    if not isinstance(shape.prior, ModelShape):
        inside = shape.prior.inside(call.tokens) * e
    else:
        inside = workspace(shape.prior, shape.positions(call.tokens), e)
    width = shape.prior.hidden * e * shape.positions(call.tokens)
    state = rows * width * (2 if call.config.model.cfg_scale > 0 else 1)
    moments = rehearsed(call.sampler)
    graph = shape.decoder.kept(call.side, call.limit) * call.together if call.inner_steps else 0.0
    names = {"reward", "gradient"} & moments.keys()
    inner = max((sum(moments[name]) for name in names), default=0.0)
    trunk = {"distributions": sum(moments["trunk"]), "decoder": 0.0, "workspace": rows * inside}
    step = {"distributions": inner, "decoder": graph, "workspace": 0.0}
    worst = max((trunk, step), key=lambda parts: sum(parts.values()))
    weights = {"prior": float(shape.parameters * e), "tokenizer": 4.0 * shape.decoder.parameters}
    return {**weights, "state": float(state), **worst}


def _seconds(call: ImageCall, gpus: Iterable[Gpu]) -> dict[str, float]:
    """Estimated seconds of the whole call by GPU."""
    passes, flops, shape = _passes(call), _flops(call), call.shape
    masks = call.batch * sum(step.masks for step in call.sampler.steps)
    read = max(1, call.inner_steps) * masks * shape.codes * 4.0 * VOCABULARY_PASSES
    weights = passes["prior"] / call.batch * shape.parameters * call.number_bytes
    decoder = flops["decoder forward"] + flops["decoder backward"]
    # Kept numbers are written once and read once.
    moved = 2 * passes["decoder forward"] * shape.decoder.kept(call.side, None)
    single = call.number_bytes != 2
    found = {}
    for gpu in gpus:
        wide = BANDWIDTH * gpu.bandwidth * 1e9
        slow, fast = COMPUTE * gpu.fp32 * 1e12, COMPUTE * gpu.bf16 * 1e12
        found[gpu.name] = math.fsum(
            (
                max(flops["prior"] / (slow if single else fast), weights / wide),
                max(decoder / slow, moved / wide),
                read / wide,
            )
        )
    return found
