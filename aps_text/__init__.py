"""Anchored Posterior Sampling: steer masked diffusion models with rewards at test time.

from ..aps_text import APSPipeline
pipe = APSPipeline.from_pretrained("mini")
print(pipe("What is a violin?", reward="relevance").text[0])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.config import APSConfig
    from .pipelines.output import APSOutput
    from .pipelines.text import APSPipeline

__version__ = "0.1.0"
__all__ = ["APSConfig", "APSOutput", "APSPipeline", "__version__"]

_HOME = {
    "APSConfig": ".core.config",
    "APSOutput": ".pipelines.output",
    "APSPipeline": ".pipelines.text",
}


def __getattr__(name: str) -> object:
    # Lazy, so that `import aps_text` does not pay for transformers.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)
