"""Checks of an image model given a text: MMaDA with MAGVIT-v2, aMUSEd, Lumina-DiMOO.

    ids          image tokens and the mask lie where the model and its files say
    window       logits are finite, of the image tokens alone
    offset       codes of pictures are likelier at their ids than at displaced ones (see
                 `image_offset`; not of aMUSEd, whose vocabulary is image tokens alone)
    codes        every code's nearest code is itself, and no two tokens share one
    round trip   a drawn picture is nearer to its decoded tokens than under another layout of them
    rows         a row of a batch has the logits it has alone
    guidance     (1 + w) cond - w uncond, and the text changes the logits
    gradient     of a measurement at the distributions: finite, and not zero anywhere
    steering     APS explains measurements better than the same run that fits nothing
    base         none of it changed the weights

The round trip and the offset cannot be judged where the weights know no pictures.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from ..core.codebook import LFQCodebook, Relaxed
from ..core.protocols import Denoiser
from ..images.metrics import psnr
from ..models import lumina, mmada
from ..models.lumina import LuminaPrior
from ..models.mmada import MmadaPrior
from ..pipelines.restoration import RestorationPipeline
from ..pipelines.text_image_model import TextImageModel
from .adapting import fingerprint
from .image_offset import check_offset
from .report import PACKAGES, Check, Report

__all__ = ["verify_images"]

TEXTS = ("a red violin on a wooden table, seen from above", "a dog")
SCALE = 2.0  # w of the guidance that is checked
KNOWN_DB = 15.0  # above it a decoded picture is one: noise has about 5
CLEAR_DB = 3.0  # by which another layout must be better


def verify_images(
    model: TextImageModel,
    *,
    pictures: Tensor | None = None,
    settings: Mapping[str, Any] | None = None,
    show: Callable[[str], None] = lambda line: None,
    around: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
) -> Report:
    """Check a loaded image model.

    Args:
        model: as `load_text_image_model` or `load_diffusers_image_model` returns it.
        pictures: photographs `(B, C, H, W)` in [-1, 1] for the check of the offset; None is a drawn
            picture, which may not decide.
        settings: the arguments it was loaded with, for the report.
        show: called with each line of the report.
        around: makes a context for each check, from its name.

    Raises:
        ValueError: photographs for a model whose vocabulary is image tokens alone.
    """
    of_text = isinstance(model.prior, MmadaPrior | LuminaPrior)
    if pictures is not None and not of_text:
        raise ValueError(
            "photographs (--image) tell where image tokens begin among those of text, and "
            f"{model.name} has image tokens alone; leave them out"
        )
    report = Report(model.name, _about(model, settings))
    show(report.heading())
    network = _network(model)
    before = fingerprint(network)
    seen = picture(model) if pictures is None else pictures.to(model.device)
    checks: dict[str, Callable[[], Check]] = {
        "ids": lambda: check_ids(model),
        "window": lambda: check_window(model),
        **({"offset": lambda: check_offset(model, seen)} if of_text else {}),
        "codes": lambda: check_codes(model),
        "round trip": lambda: check_round_trip(model),
        "rows": lambda: check_rows(model),
        "guidance": lambda: check_guidance(model),
        "gradient": lambda: check_gradient(model),
        "steering": lambda: check_steering(model),
        "base": lambda: check_base(network, before),
    }
    for name, check in checks.items():
        with around(name):
            try:
                report.checks.append(check())
            except Exception as error:  # any failure of the checkpoint is reported
                words = " ".join(str(error).split())[:200]
                report.checks.append(Check(name, "FAIL", f"{type(error).__name__}: {words}"))
        show(str(report.checks[-1]))
    with around("speed and memory"):
        report.figures = _figures(model)
    show(report.ending())
    return report


def _network(model: TextImageModel) -> nn.Module:
    prior: Any = model.prior
    of_text = isinstance(prior, MmadaPrior | LuminaPrior)
    found: nn.Module = prior.text.parts.model if of_text else prior.net
    return found


def _about(model: TextImageModel, settings: Mapping[str, Any] | None) -> dict[str, str]:
    found = {"python": f"{platform.python_version()} on {platform.system()} {platform.machine()}"}
    for name in (*PACKAGES, "diffusers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    network = _network(model)
    count = sum(p.numel() for p in network.parameters())
    kinds = sorted({str(p.dtype).removeprefix("torch.") for p in network.parameters()})
    channels, high, wide = model.size
    found["model"] = f"{type(network).__name__}, {count / 1e6:.1f} M numbers ({', '.join(kinds)})"
    found["images"] = (
        f"{channels} x {high} x {wide}, {model.tokens} tokens of {model.tokenizer.codes} "
        f"({type(model.tokenizer).__name__})"
    )
    found["device"] = str(model.device)
    asked = {key: value for key, value in (settings or {}).items() if value not in (None, False)}
    if asked:
        found["loaded with"] = ", ".join(f"{key}={value}" for key, value in asked.items())
    return found


def half_masked(model: TextImageModel, rows: int = 1) -> Tensor:
    """A canvas `(rows, L)` of counted ids, every second one masked."""
    ids = torch.arange(rows * model.tokens, device=model.device).view(rows, -1)
    ids = ids * 977 % model.tokenizer.codes
    ids[:, ::2] = model.mask_id
    return ids


@torch.no_grad()
def logits_of(denoiser: Denoiser, z: Tensor) -> Tensor:
    """Logits `(N, K)` at the masks of a canvas."""
    rows, cols = (z == denoiser.mask_id).nonzero().unbind(-1)
    return denoiser.logits(denoiser.trunk(z), (rows, cols))


def check_ids(model: TextImageModel) -> Check:
    """Check that the image tokens and the mask do not overlap, and begin behind the text's.

    Of a loaded MMaDA they do, since its tokenizer says where: `check_offset` judges that.
    """
    prior: Any = model.prior
    if isinstance(prior, MmadaPrior | LuminaPrior):
        parts, first = prior.text.parts, len(prior.text.tokenizer)
        last, mask = prior.first + prior.size - 1, parts.mask_id
        # Lumina's begin at a number of their own, and its tokenizer may name them, too.
        behind = isinstance(prior, MmadaPrior)
        fine = prior.first == first if behind else first in (prior.first, last + 1)
        wrong = [] if fine else [f"the tokenizer has {first} tokens"]
        if prior.first <= mask <= last:
            wrong.append("the mask is one of them")
        if max((mmada.IDS if behind else lumina.IDS).values()) >= prior.first:
            wrong.append("so are ids of the layout")
        of_text = first if behind else min(first, prior.first)
        figure = f"image tokens {prior.first} .. {last} behind {of_text} of text, mask {mask}"
    else:
        mask, vocab = prior.model_mask, prior.net.config.vocab_size
        wrong = [] if prior.size <= mask < vocab else ["the mask is one of them, or beyond"]
        figure = f"image tokens 0 .. {prior.size - 1}, mask {mask} of {vocab} ids"
    if wrong:
        return Check("ids", "FAIL", f"{figure}; but {', '.join(wrong)}")
    return Check("ids", "PASS", figure)


def check_window(model: TextImageModel) -> Check:
    """Check the width of the logits, and that they are finite."""
    logits = logits_of(model.denoiser(TEXTS[0]), half_masked(model))
    figure = f"{logits.shape[1]} logits for {model.tokenizer.codes} codes"
    if logits.shape[1] != model.tokenizer.codes or model.mask_id < logits.shape[1]:
        return Check("window", "FAIL", f"{figure}, mask {model.mask_id}")
    if not bool(logits.isfinite().all()):
        return Check("window", "FAIL", f"{figure}; some are not finite (another dtype?)")
    return Check("window", "PASS", f"{figure}, of spread {float(logits.std()):.2g}")


def check_codes(model: TextImageModel) -> Check:
    """Check that ids and codes determine each other."""
    book = model.tokenizer.codebook
    ids = torch.arange(model.tokenizer.codes, device=model.device)
    lost = sum(
        int((book.nearest(book.embed(part)).to(part) != part).sum()) for part in ids.split(1024)
    )
    kind = "signs, most significant first" if isinstance(book, LFQCodebook) else "vectors"
    width = book.embed(ids[:1]).shape[-1]
    figure = f"{len(ids)} codes of {width} {kind}; {lost} are nearest to another one"
    # A table of vectors may hold the same one twice: tokens that training never used.
    status = "PASS" if lost == 0 or (kind == "vectors" and lost < len(ids) // 2) else "FAIL"
    return Check("codes", status, figure)


def picture(model: TextImageModel) -> Tensor:
    """A disc and a square over a gradient, `(1, C, H, W)` in [-1, 1]."""
    channels, high, wide = model.size
    y = torch.linspace(-1, 1, high, device=model.device)[:, None].expand(high, wide)
    x = torch.linspace(-1, 1, wide, device=model.device)[None].expand(high, wide)
    disc = ((x + 0.3).square() + (y + 0.2).square()).sqrt() < 0.4
    colour = torch.linspace(0.7, -0.7, channels, device=x.device)[:, None, None]
    square = ((x - 0.5).abs() < 0.25) & ((y - 0.5).abs() < 0.25)
    planes = [0.6 * x, 0.6 * y, -0.4 * x]
    drawn = torch.stack([planes[channel % 3] for channel in range(channels)])
    drawn = torch.where(disc, colour, drawn)
    return torch.where(square, -0.5, drawn)[None].clamp(-1, 1)


@torch.no_grad()
def check_round_trip(model: TextImageModel) -> Check:
    """Check that a picture survives its tokens, and better so than under another layout."""
    tokenizer, truth = model.tokenizer, picture(model)
    ids, book, side = tokenizer.encode(truth), tokenizer.codebook, model.grid

    def quality(made: Tensor) -> float:
        return float(psnr(made.clamp(-1, 1), truth))

    found = {
        "declared": quality(tokenizer.decode_ids(ids)),
        "columns first": quality(tokenizer.decode_ids(ids.view(1, side, side).mT.flatten(1))),
        "pixels in [0, 1]": quality((tokenizer.decode_ids(ids) + 1) / 2),
        "pixels given in [0, 1]": quality(
            2 * tokenizer.decode_ids(tokenizer.encode((truth + 1) / 2)) - 1
        ),
    }
    if isinstance(book, LFQCodebook):
        found["least significant bit first"] = quality(tokenizer.decode(book.embed(ids).flip(-1)))
    own = found.pop("declared")
    other, best = max(found.items(), key=lambda pair: pair[1])
    figure = f"{own:.1f} dB; best of {len(found)} other layouts, {other}: {best:.1f} dB"
    if best > max(KNOWN_DB, own + CLEAR_DB):
        return Check("round trip", "FAIL", figure)
    if own > KNOWN_DB and own > best:
        return Check("round trip", "PASS", figure)
    return Check("round trip", "SKIP", f"cannot tell: these weights know no pictures; {figure}")


def tolerance(model: TextImageModel) -> float:
    """See `logits.tolerance`."""
    kinds = {p.dtype for p in _network(model).parameters()}
    return 1e-3 if kinds <= {torch.float32, torch.float64} else 0.1


def _close(name: str, model: TextImageModel, one: Tensor, two: Tensor, what: str) -> Check:
    a, b, limit = one.double(), two.double(), tolerance(model)
    relative = float((a - b).square().mean().sqrt() / a.std().clamp_min(1e-30))
    figure = f"{what}: logits differ by {relative:.1e} of their spread (limit {limit:.0e})"
    return Check(name, "PASS" if relative <= limit else "FAIL", figure)  # NaN fails


def check_rows(model: TextImageModel) -> Check:
    """Check that uneven texts in a batch do not change each other's logits."""
    z = half_masked(model, len(TEXTS))
    together = logits_of(model.denoiser(TEXTS, len(TEXTS)), z)
    alone = [logits_of(model.denoiser(t), z[k : k + 1]) for k, t in enumerate(TEXTS)]
    return _close("rows", model, together, torch.cat(alone), f"{len(TEXTS)} uneven texts")


def check_guidance(model: TextImageModel) -> Check:
    """Check that guidance is what it says, and that the text matters."""
    z = half_masked(model)
    plain, empty = (logits_of(model.denoiser(text), z) for text in (TEXTS[0], ""))
    guided = logits_of(model.denoiser(TEXTS[0], 1, SCALE), z)
    moved = float((plain - empty).abs().max())
    what = f"(1 + {SCALE:g}) cond - {SCALE:g} uncond, the text moves logits by {moved:.2g}"
    found = _close("guidance", model, (1 + SCALE) * plain - SCALE * empty, guided, what)
    if not moved > 0:
        return Check("guidance", "FAIL", f"{found.figure}: it is not read")
    return found


def check_gradient(model: TextImageModel) -> Check:
    """Check the gradient of a measurement at the distributions of every token."""
    pipe = RestorationPipeline(model)
    measured = pipe.measure(picture(model), "sr4")
    z = half_masked(model)
    logits = logits_of(model.denoiser(TEXTS[0]), z)
    rows, cols = (z == model.mask_id).nonzero().unbind(-1)
    ids = z.clone()
    ids[rows, cols] = logits.argmax(-1)
    leaf = logits.detach().float().requires_grad_()
    with torch.enable_grad():
        relaxed = Relaxed(ids, rows, cols, leaf.softmax(-1), torch.ones_like(ids).bool())
        total = measured.log_prob(relaxed).total.sum()
    (grad,) = torch.autograd.grad(total, leaf)
    norms = grad.norm(dim=1)
    none = int((norms == 0).sum())
    figure = f"norms {float(norms.min()):.1e} .. {float(norms.max()):.1e}, {none} of them 0"
    fine = bool(grad.isfinite().all()) and none == 0
    return Check("gradient", "PASS" if fine else "FAIL", figure)


def check_steering(model: TextImageModel) -> Check:
    """Check that APS explains measurements better than the same run that fits nothing.

    What is measured is painted by the model: a drawn picture may be out of its decoder's reach.
    """
    pipe = RestorationPipeline(model)
    how: dict[str, Any] = {"steps": 3, "progress": False}
    painted = pipe.paint(TEXTS[0], samples=2, seed=1, **how).images
    measured = pipe.measure(painted, "sr4")
    plain, steered = (
        float(pipe(measured, TEXTS[0], inner_steps=inner, **how).chi2.mean()) for inner in (0, 3)
    )
    figure = f"chi2 {steered:.3g} with APS in 3 steps, {plain:.3g} without"
    better = steered < 0.99 * plain  # more than rounding
    return Check("steering", "PASS" if better else "FAIL", figure)


def check_base(network: nn.Module, before: Any) -> Check:
    """Check that the weights are bit-identical to those before."""
    same = fingerprint(network) == before
    return Check("base", "PASS" if same else "FAIL", "bit-identical" if same else "it has changed")


def _figures(model: TextImageModel) -> dict[str, float]:
    """Seconds of a forward and of the decoder with its gradient, and peak memory on a GPU."""
    try:
        gpu = model.device.type == "cuda"

        def timed(call: Callable[[], object]) -> float:
            call()
            if gpu:
                torch.cuda.synchronize(model.device)
            start = time.perf_counter()
            call()
            if gpu:
                torch.cuda.synchronize(model.device)
            return time.perf_counter() - start

        def decoded() -> None:
            leaf = model.tokenizer.codebook.embed(half_masked(model) % model.tokenizer.codes)
            with torch.enable_grad():
                leaf = leaf.detach().float().requires_grad_()
                model.tokenizer.decode(leaf).sum().backward()

        denoiser, z = model.denoiser(TEXTS[0]), half_masked(model)
        found = {
            "seconds of a forward": timed(lambda: logits_of(denoiser, z)),
            "seconds of the decoder and back": timed(decoded),
        }
        if gpu:
            found["peak memory, GiB"] = torch.cuda.max_memory_allocated(model.device) / 2**30
        return found
    except Exception:  # the failed check reports why
        return {}
