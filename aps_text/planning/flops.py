"""How many passes a call takes, and how many floating point operations.

    passes    trunk T, replays T (M+1) (one more with carry-over, but not at the first step),
              backwards T M; rewards T M forward and back (RLOO: T M K forward); adapter="logits":
              T replays and no backward; a step outside of the guidance window: one replay. These
              are `aps_text.cost.Cost`'s, an upper bound where gates, the trust region or a
              threshold end a step or the call early.
    guidance  by the prompt's absence (cfg_scale): another trunk and replay a step, of theta
    layer     2 X (weights of its linear maps) + 4 X S H d_h           X = rows * S positions
    last      2 X (weights of q, k, v) + 2 N (weights) + 4 N S H d_h: keys everywhere, the rest at
              the N masked positions only
    head      2 N K d at the N masked positions, which fall from L to 0
    backward  as the forward for frozen linear maps (only inputs need a gradient, and nothing below
              the first adapted layer), 2.5 times for attention (probabilities are recomputed)
    LoRA      2 X r (in + out) forward, twice that back

Multiplications and additions count one each; only matrix products count, as in torch's
`FlopCounterMode`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .shape import ModelShape
from .steps import planned_steps

__all__ = ["Call", "Passes", "RewardCall", "count_flops", "count_passes"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is asked of a model: `APSConfig`'s fields where it has them.

    Attributes:
        prompt, tokens: positions of the prompt and of the canvas (L).
        batch: rows in one pass (prompts times answers each).
        steps, inner_steps: T and M.
        lora_layers: adapted layers n; None adapts all.
        dtype_bytes: of the base's numbers in computation (2: bfloat16, 4: float32, 8: float64).
        bits: 8 or 4 for a quantised base, None for none.
        checkpointing: replayed layers keep their inputs only and are run again on the way back.
        padded: prompts of different lengths, so attention takes a mask.
        restrict: the bridge leaves unmatched tokens out (the default policy, two tokenizers).
        threshold: reveals more than planned, so with it everything is an upper bound.
    """

    prompt: int = 64
    tokens: int = 128
    batch: int = 1
    steps: int = 128
    inner_steps: int = 3
    lora_layers: int | None = 4
    lora_rank: int = 8
    adapter: str = "lora"
    carry_over: bool = True
    estimator: str = "relaxed"
    num_samples: int = 8
    schedule: str = "linear"
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    guidance_interval: int = 1
    cfg_scale: float = 0.0
    block_length: int | None = None
    threshold: float | None = None
    dtype_bytes: int = 2
    bits: int | None = None
    checkpointing: bool = False
    padded: bool = True
    restrict: bool = True

    def __post_init__(self) -> None:
        """Raises `ValueError` naming the value and its range."""
        counts = ("tokens", "batch", "steps", "lora_rank", "num_samples", "guidance_interval")
        for name in (*counts, "block_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("guidance_start", "guidance_end", "threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {value}")
        if self.guidance_start > self.guidance_end:
            raise ValueError(
                f"guidance_start={self.guidance_start} lies after guidance_end={self.guidance_end}"
            )
        for name in ("prompt", "inner_steps", "cfg_scale"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.lora_layers is not None and self.lora_layers < 1:
            raise ValueError(f"lora_layers must be at least 1 or 'all', got {self.lora_layers}")
        for name, allowed in (
            ("adapter", ("lora", "logits")),
            ("estimator", ("relaxed", "rloo")),
            ("bits", (None, 8, 4)),
            ("dtype_bytes", (2, 4, 8)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {allowed}, got {getattr(self, name)!r}")

    @property
    def positions(self) -> int:
        """S, prompt and canvas."""
        return self.prompt + self.tokens

    def adapted(self, shape: ModelShape) -> int:
        """n, the layers that are replayed.

        Raises:
            ValueError: more than the model has.
        """
        top = shape.layers if self.lora_layers is None else self.lora_layers
        if top > shape.layers:
            raise ValueError(f"lora_layers={top}, but {shape.name} has {shape.layers}; use fewer")
        return top

    def check(self, shape: ModelShape) -> None:
        """Raises `ValueError` where the model cannot take the call."""
        self.adapted(shape)
        if self.positions > shape.context:
            raise ValueError(
                f"prompt {self.prompt} + tokens {self.tokens} = {self.positions} positions, but "
                f"{shape.name} has a context of {shape.context}; use fewer tokens"
            )
        if self.inner_steps and not any(step.guided for step in planned_steps(self)):
            raise ValueError(
                f"no step is steered: none of {self.steps} lies in [{self.guidance_start}, "
                f"{self.guidance_end}) on its interval; widen it, or plan inner_steps=0"
            )


@dataclass(frozen=True, kw_only=True)
class RewardCall:
    """A reward model's part.

    Attributes:
        shape: of the model.
        frame: positions around the answer: [CLS] and [SEP], or a prompt and its template.
        dtype_bytes: of its numbers.
    """

    shape: ModelShape
    frame: int = 2
    dtype_bytes: int = 2


@dataclass(frozen=True)
class Passes:
    """Row passes of a call (all rows together), named as in `Cost`, and masked positions.

    Attributes:
        unconditional: further trunks and replays, without the prompt; `Cost` leaves them out.
        masks: masked positions summed over steps, of one row.
        steps, guided: steps that really happen (a row without masks is finished), and are steered.
    """

    trunk_forwards: int
    denoiser_forwards: int
    denoiser_backwards: int
    reward_forwards: int
    reward_backwards: int
    unconditional: int
    masks: int
    steps: int
    guided: int


def count_passes(call: Call, *, rewarded: bool = True) -> Passes:
    """Passes of the whole call; `rewarded` False where nothing is scored by a model."""
    steps, rows, inner = planned_steps(call), call.batch, call.inner_steps
    guided = sum(step.guided for step in steps)
    forwards, backwards = len(steps), 0
    if call.adapter == "lora":
        forwards += guided * inner
        forwards += sum(step.guided and step.again for step in steps) if call.carry_over else 0
        backwards = guided * inner
    scored = guided * inner if rewarded else 0
    sampled = call.estimator == "rloo"
    return Passes(
        trunk_forwards=rows * len(steps),
        denoiser_forwards=rows * forwards,
        denoiser_backwards=rows * backwards,
        reward_forwards=rows * scored * (call.num_samples if sampled else 1),
        reward_backwards=0 if sampled else rows * scored,
        unconditional=rows * len(steps) if call.cfg_scale > 0 else 0,
        masks=sum(step.masks for step in steps),
        steps=len(steps),
        guided=guided,
    )


def layer_forward(shape: ModelShape, positions: int) -> float:
    """One layer, one row of `positions`."""
    attention = 4.0 * positions**2 * shape.attention_width
    return 2.0 * positions * shape.layer_linear_parameters + attention


def last_forward(shape: ModelShape, positions: int) -> tuple[float, float]:
    """The last layer of the generator, one row: once, and for each masked position."""
    if shape.layout == "modernbert":  # takes no cache of keys, so it runs everywhere
        return layer_forward(shape, positions), 0.0
    attention = 4.0 * positions * shape.attention_width
    everywhere = 2.0 * positions * sum(i * o for i, o in shape.linears[:3])
    return everywhere, 2.0 * shape.layer_linear_parameters + attention


def last_backward(shape: ModelShape, positions: int) -> tuple[float, float]:
    """Back through the last layer, one row: once (keys, values), and for each masked position."""
    if shape.layout == "modernbert":
        return layers_backward(shape, 1, positions, from_input=True), 0.0
    keys = sum(i * o for i, o in shape.linears[1:3])
    attention = 10.0 * positions * shape.attention_width
    return 2.0 * positions * keys, 2.0 * (shape.layer_linear_parameters - keys) + attention


def layers_backward(shape: ModelShape, layers: int, positions: int, *, from_input: bool) -> float:
    """Back through `layers` frozen layers; `from_input`: also to what goes into the first."""
    attention = 10.0 * positions**2 * shape.attention_width
    each = 2.0 * positions * shape.layer_linear_parameters + attention
    first = 0 if from_input else sum(i * o for i, o in shape.linears[:3])
    return layers * each - 2.0 * positions * first


def lora_maps(linears: list[tuple[int, int]], positions: float, rank: int) -> float:
    """The low-rank maps beside `linears` at so many positions."""
    return 2.0 * positions * rank * sum(i + o for i, o in linears)


def lora_forward(shape: ModelShape, layers: int, positions: int, rank: int) -> float:
    """The low-rank maps of `layers`, one row."""
    return layers * lora_maps(shape.maps, positions, rank)


def head_forward(shape: ModelShape) -> float:
    """Norm, transform and head at one position."""
    extra = 0 if shape.layout == "llama" else shape.hidden
    return 2.0 * shape.hidden * (shape.vocab + extra)


def count_flops(
    shape: ModelShape, call: Call, reward: RewardCall | None = None
) -> dict[str, float]:
    """Operations of the whole call by part.

    `trunk`, `replays` (adapted layers), `head`, `backward` (both), `lora` (forward and back),
    `without prompt` (trunk, replay and head of the unconditional side), `recomputed`
    (checkpointing), `bridge` (probabilities times reward embeddings), `reward`.
    """
    call.check(shape)
    passes, steps = count_passes(call, rewarded=reward is not None), planned_steps(call)
    top, size, rank, rows = call.adapted(shape), call.positions, call.lora_rank, call.batch
    forwards, backwards = passes.denoiser_forwards, passes.denoiser_backwards
    # Every pass of a step asks for the same positions, summed here over all rows.
    asked = rows * sum(step.asked for step in steps)
    inner = rows * call.inner_steps * sum(step.masks for step in steps if step.guided)
    fitted = [step.masks for step in steps if step.guided] if backwards else []
    bare = [step for step in steps if not step.guided or (step.again and call.carry_over)]
    with_lora = rows * (call.inner_steps + 1) * len(fitted)
    lora_asked = rows * (call.inner_steps + 1) * sum(fitted)
    heads = lora_asked + rows * sum(step.asked for step in bare) if backwards else asked
    back_asked = inner if backwards else 0
    once, each = last_forward(shape, size)

    def replay(passes: float, positions: float) -> float:
        return passes * ((top - 1) * layer_forward(shape, size) + once) + positions * each

    back_once, back_each = last_backward(shape, size)
    back = layers_backward(shape, top - 1, size, from_input=True) + back_once
    # What goes into the first adapted layer needs no gradient.
    query, keys, rest = shape.linears[0], shape.linears[1:3], shape.linears[3:]
    whole = shape.layout == "modernbert"
    everywhere = whole or top > 1
    entry = shape.linears[:3] if everywhere else keys
    back -= 2.0 * size * sum(i * o for i, o in entry)
    back_each -= 0.0 if everywhere else 2.0 * query[0] * query[1]
    full = lora_forward(shape, top - 1, size, rank)
    if whole:
        low = used = lora_forward(shape, top, size, rank)
        low_each = used_each = 0.0
        used -= rank * size * shape.maps[0][0]
    else:
        low = full + lora_maps(shape.linears[:3], size, rank)
        low_each = lora_maps(shape.linears, 1, rank)
        used = full + lora_maps(keys, size, rank) - rank * size * sum(i for i, _ in entry)
        used_each = lora_maps([query, *rest], 1, rank) - (0 if everywhere else rank * query[0])
    # Where layers are called differently, the upper ones run once to tell how, but for the last.
    below = shape.layers - (1 if whole else top)
    found = {
        "trunk": passes.trunk_forwards * below * layer_forward(shape, size),
        "replays": replay(forwards, heads),
        "head": heads * head_forward(shape),
        "backward": backwards * back + back_asked * (back_each + head_forward(shape)),
        "lora": with_lora * low
        + lora_asked * low_each
        + 2 * (backwards * used + back_asked * used_each),
        "without prompt": 0.0,
        "recomputed": 0.0,
        "bridge": 0.0,
        "reward": 0.0,
    }
    if passes.unconditional:
        trunk = passes.unconditional * below * layer_forward(shape, size)
        replayed = replay(passes.unconditional, asked) + asked * head_forward(shape)
        found["without prompt"] = trunk + replayed
    if call.checkpointing:
        again = replay(backwards, back_asked) + backwards * low
        found["recomputed"] = again + back_asked * low_each
    if reward is not None:
        span = call.tokens + reward.frame
        body = reward.shape.layers * layer_forward(reward.shape, span)
        back = layers_backward(reward.shape, reward.shape.layers, span, from_input=True)
        found["reward"] = passes.reward_forwards * body + passes.reward_backwards * back
        # p @ C and its gradient, and two sums of p over what the bridge matches.
        mixing = 2.0 * inner * shape.vocab * (2 * reward.shape.hidden + 2)
        found["bridge"] = mixing if passes.reward_backwards else 0.0
    return found
