"""Conversion of flat keywords to the records of `settings`, and back.

Every keyword goes to one record. Some keywords turn features off (`inner_steps=0` fits no phi,
`adapter="logits"` has no LoRA): the feature's record is then not built, and `Options.reasons` says
why its other keywords have no effect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .limits import Choice, Number, flat_name
from .settings import (
    CallSettings,
    Codes,
    Draw,
    Fit,
    Gradient,
    Logits,
    LoRA,
    ModelSettings,
    Order,
    Ranked,
    Relaxation,
    RewardSettings,
    SamplerSettings,
    ScoreFunction,
    Shuffled,
    Window,
)

__all__ = ["DEFAULTS", "SETTINGS", "Options", "flatten", "names_of", "records_of"]

RECORDS: tuple[Any, ...] = (
    *(CallSettings, SamplerSettings, RewardSettings, ModelSettings, Draw, Window, Ranked),
    *(ScoreFunction, Relaxation, Logits, Codes, LoRA, Fit),
)
FIELDS = [
    (flat_name(field), field)
    for record in RECORDS
    for field in dataclasses.fields(record)
    if field.metadata
]

ADAPTERS: dict[str, Any] = {"lora": LoRA, "logits": Logits, "codes": Codes}

# Keywords that choose a record, or whose range or default depends on the record.
CHOOSING: dict[str, tuple[Any, Any]] = {
    "beta": (Number(above=True, least=1e-9, optional=True), None),
    "inner_steps": (Number(high=10**6, whole=True), 1),
    "adapter": (Choice(("lora", "logits", "codes")), "lora"),
    "learning_rate": (Number(above=True, optional=True), None),
    "estimator": (Choice(("auto", "relaxed", "rloo", "remax")), "auto"),
    "quantizer": (Choice(("nearest", "argmax", "sample")), "sample"),
    "gumbel_temperature": (Number(above=True, least=1e-6), 1.0),
    "remasking": (Choice(("anchored", "standard", "low_confidence", "random")), "anchored"),
    "alg": (Choice(("maskgit_plus", "topk_margin", "entropy", "origin")), "maskgit_plus"),
    "rank_by": (Choice(("theta", "phi")), "theta"),
}

SETTINGS: dict[str, Any] = {name: field.metadata["takes"] for name, field in FIELDS}
SETTINGS |= {name: takes for name, (takes, _) in CHOOSING.items()}
"""What every keyword takes, by name."""

DEFAULTS: dict[str, Any] = {name: field.default for name, field in FIELDS}
DEFAULTS |= {name: default for name, (_, default) in CHOOSING.items()}
"""Every keyword's default, by name."""


@dataclass
class Options:
    """Keywords that are being converted to records.

    Attributes:
        values: by name; absent ones have their default.
        used: the names that were read for a record.
        reasons: for names that have no effect, why.
    """

    values: Mapping[str, Any]
    used: set[str] = dataclasses.field(default_factory=set)
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """A keyword's value, checked."""
        self.used.add(name)
        return SETTINGS[name].check(name, self.values.get(name, DEFAULTS[name]))

    def record(self, kind: Any, **others: Any) -> Any:
        """A record of type `kind`: `others` as given, the remaining fields from keywords."""
        own = [f for f in dataclasses.fields(kind) if f.metadata and f.name not in others]
        return kind(**{field.name: self[flat_name(field)] for field in own}, **others)

    def leave_out(self, reason: str, *what: Any) -> None:
        """Record why these keywords (or those of these record types) have no effect."""
        for one in what:
            for name in [one] if isinstance(one, str) else names_of(one):
                self.reasons.setdefault(name, reason)


def names_of(record: Any) -> list[str]:
    """The keywords of a record type."""
    return [flat_name(field) for field in dataclasses.fields(record) if field.metadata]


def records_of(
    options: Options,
) -> tuple[SamplerSettings, CallSettings, ModelSettings, RewardSettings]:
    """The four records of a configuration.

    Raises:
        ValueError, TypeError: naming a setting, its value and what it takes.
    """
    reward: RewardSettings = options.record(RewardSettings)
    usual: float = SamplerSettings().beta
    return (
        _sampler(options, usual if reward.beta is None else reward.beta),
        options.record(CallSettings),
        options.record(ModelSettings),
        reward,
    )


def _sampler(options: Options, beta: float) -> SamplerSettings:
    pool = options["pool_size"]
    if options["candidate"] == "quantized" and pool is not None and pool > 1:
        pool = None
        options.used.remove("pool_size")
        reason = "candidate='quantized' is one answer, no pool; use candidate='sample'"
        options.leave_out(reason, "pool_size")
    made: SamplerSettings = options.record(
        SamplerSettings,
        pool_size=pool,
        order=_order(options),
        draw=_draw(options),
        fit=_fit(options),
        window=options.record(Window),
        beta=beta,
    )
    return made


def _fit(options: Options) -> Fit | None:
    if options["inner_steps"] == 0:
        records = Fit, LoRA, Logits, Codes, Relaxation, ScoreFunction
        reason = "inner_steps=0 fits no phi; use inner_steps >= 1"
        options.leave_out(reason, *records, "adapter", "estimator", "quantizer")
        return None
    adapter = options["adapter"]
    kind: Any = ADAPTERS[adapter]
    if adapter != "codes":
        reason = f"adapter={adapter!r} tilts towards no codes; use adapter='codes'"
        options.leave_out(reason, "tilt_keep", "tilt_start")
    if adapter != "lora":
        reason = "has no LoRA and starts anew at each step; use adapter='lora'"
        if adapter == "codes":
            reason = "has no LoRA, and keeps `tilt_keep` of its tilt; use adapter='lora'"
        options.leave_out(f"adapter={adapter!r} {reason}", LoRA)
    rate = options["learning_rate"]
    phi = options.record(kind, learning_rate=kind().learning_rate if rate is None else rate)
    fit: Fit = options.record(Fit, phi=phi, gradient=_gradient(options))
    return fit


def _gradient(options: Options) -> Gradient:
    estimator = options["estimator"]
    if estimator == "relaxed":
        reason = "estimator='relaxed' draws no answers; use 'auto' or 'rloo'"
        options.leave_out(reason, ScoreFunction)
        return Gradient(relaxation=_relaxation(options), score=None)
    score = options.record(ScoreFunction, baseline="remax" if estimator == "remax" else "rloo")
    if estimator == "auto":
        return Gradient(relaxation=_relaxation(options), score=score)
    reason = f"estimator={estimator!r} scores drawn answers and relaxes none; use estimator='auto'"
    options.leave_out(reason, Relaxation, "quantizer")
    return Gradient(relaxation=None, score=score)


def _relaxation(options: Options) -> Relaxation:
    kind = options["relaxation"]
    hard = warmth = None
    if kind in ("quantized", "entropy"):
        hard = options["quantizer"]
    else:
        reason = "has no hard point; use relaxation='quantized' or 'entropy'"
        options.leave_out(f"relaxation={kind!r} {reason}", "quantizer")
    if kind == "gumbel":
        warmth = options["gumbel_temperature"]
    else:
        reason = "draws no Gumbel noise; use relaxation='gumbel'"
        options.leave_out(f"relaxation={kind!r} {reason}", "gumbel_temperature")
    return Relaxation(kind=kind, quantizer=hard, gumbel_temperature=warmth)


def _order(options: Options) -> Order:
    alg, remasking = options["alg"], options["remasking"]
    if remasking in ("low_confidence", "random") and alg != "maskgit_plus":
        raise ValueError(
            f"remasking={remasking!r} and alg={alg!r} are two orders; "
            "use remasking='standard' with that alg"
        )
    random = {"alg='origin'": alg == "origin", "remasking='random'": remasking == "random"}
    for name, chosen in random.items():
        if chosen:
            reason = f"{name} reveals in a random order, whatever the scores"
            options.leave_out(reason, Ranked, "rank_by")
            if alg == "origin":
                options.leave_out(reason, "remasking")
                options.used.discard("remasking")
            return Shuffled(coins=alg == "origin")
    if remasking != "anchored":
        reason = f"remasking={remasking!r} keeps no anchors; use 'anchored'"
        options.leave_out(reason, "anchor_score")
        return _ranked(options, under=options["rank_by"], anchor_score="token")
    options.leave_out("remasking='anchored' ranks by phi; use remasking='standard'", "rank_by")
    if alg != "maskgit_plus":
        reason = f"alg={alg!r} scores the anchors; use 'maskgit_plus'"
        options.leave_out(reason, "anchor_score")
        return _ranked(options, under="phi", anchor_score="token")
    return _ranked(options, under="phi")


def _ranked(options: Options, **known: Any) -> Ranked:
    made: Ranked = options.record(Ranked, **known)
    return made


def _draw(options: Options) -> Draw:
    if options["temperature"] == 0:
        reason = "temperature=0 takes the likeliest token; use temperature > 0"
        options.leave_out(reason, "top_p", "top_k")
        return Draw(temperature=0.0)
    made: Draw = options.record(Draw)
    return made


def flatten(*records: Any) -> dict[str, Any]:
    """The keywords of these records and their values; a later record overrides an earlier one."""
    found: dict[str, Any] = {}
    for record in records:
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if field.metadata:
                found[flat_name(field)] = value
            elif isinstance(value, Ranked | Shuffled):
                found |= _flat_order(value)
            elif isinstance(value, Draw | Window):
                found |= flatten(value)
            elif field.name == "fit":
                found |= {"inner_steps": 0} if value is None else _flat_fit(value)
    if found.get("temperature") == 0:
        found = {name: value for name, value in found.items() if name not in ("top_p", "top_k")}
    return found


def _flat_order(order: Order) -> dict[str, Any]:
    if isinstance(order, Shuffled):
        return {"alg": "origin"} if order.coins else {"remasking": "random"}
    found = flatten(order)
    if order.alg != "maskgit_plus" or order.under == "theta":
        del found["anchor_score"]
    if order.under == "theta":
        return {"remasking": "standard", "rank_by": "theta", **found}
    return {"remasking": "anchored", **found}


def _flat_fit(fit: Fit) -> dict[str, Any]:
    found = flatten(fit)
    names = {kind: name for name, kind in ADAPTERS.items()}
    found |= {"adapter": names[type(fit.phi)], **flatten(fit.phi)}
    if fit.phi.learning_rate == type(fit.phi)().learning_rate:
        found["learning_rate"] = None  # the default differs between adapters
    score, relaxation = fit.gradient.score, fit.gradient.relaxation
    if score is None:
        found["estimator"] = "relaxed"
    else:
        found |= {"estimator": "auto" if relaxation else score.baseline, **flatten(score)}
    if relaxation is not None:
        found["relaxation"] = relaxation.kind
        if relaxation.quantizer is not None:
            found["quantizer"] = relaxation.quantizer
        if relaxation.gumbel_temperature is not None:
            found["gumbel_temperature"] = relaxation.gumbel_temperature
    return found
