"""The report of `aps verify`: lines with a verdict and a figure, and the settings of the run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ..models.text_model import TextModel

__all__ = ["Check", "Report", "about"]

PACKAGES = ("aps-text", "torch", "transformers", "peft", "accelerate", "tokenizers", "bitsandbytes")


@dataclass(frozen=True)
class Check:
    """The result of one check, a line of the report.

    Attributes:
        name: of the check.
        status: `PASS`, `FAIL`, or `SKIP` if it cannot be decided.
        figure: the finding, in words and numbers.
    """

    name: str
    status: str
    figure: str

    def __str__(self) -> str:
        """The line as it is printed."""
        return f"{self.status}  {self.name:<14}{self.figure}"


@dataclass
class Report:
    """The report of one model.

    Attributes:
        model: its name as given.
        about: versions, device, precision.
        checks: the results, in the order of the checks.
        figures: measurements in bytes and seconds.
    """

    model: str
    about: dict[str, str]
    checks: list[Check] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(check.status == "FAIL" for check in self.checks)

    def heading(self) -> str:
        """The lines above the checks."""
        return "\n".join(
            [f"aps verify {self.model}", *(f"  {k:<13}{v}" for k, v in self.about.items()), ""]
        )

    def ending(self) -> str:
        """The lines below the checks."""
        count = {
            status: sum(check.status == status for check in self.checks)
            for status in ("PASS", "FAIL", "SKIP")
        }
        lines = ["", *(f"  {name:<34}{value:12.4g}" for name, value in self.figures.items()), ""]
        return "\n".join([*lines, ", ".join(f"{n} {status}" for status, n in count.items())])

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-ready dict."""
        return {
            "model": self.model,
            "passed": self.passed,
            "about": self.about,
            "checks": [vars(check) for check in self.checks],
            "figures": self.figures,
        }


def about(model: TextModel, settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Versions, the model's class and size, its device and precision, and how it was loaded."""
    found = {"python": f"{platform.python_version()} on {platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["torch"] = str(torch.__version__)
    body, parts = model.parts.model, model.parts
    # Packed weights hold several numbers each, so this counts stored elements.
    count = sum(p.numel() for p in body.parameters())
    kinds = sorted({str(p.dtype).removeprefix("torch.") for p in body.parameters()})
    found["model"] = (
        f"{type(body).__name__}, {len(parts.layers)} layers, {count / 1e6:.1f} M stored numbers "
        f"({', '.join(kinds)}), shift {parts.shift}, context {model.context}"
    )
    devices = sorted({str(p.device) for p in body.parameters()})
    named = [
        f"{d} ({torch.cuda.get_device_name(d)})" if d.startswith("cuda") else d for d in devices
    ]
    found["device"] = ", ".join(named)
    kernel = getattr(getattr(body, "config", None), "_attn_implementation", None)
    if kernel:
        found["attention"] = str(kernel)
    asked = {key: value for key, value in (settings or {}).items() if value not in (None, False)}
    if asked:
        found["loaded with"] = ", ".join(f"{key}={value}" for key, value in asked.items())
    return found
