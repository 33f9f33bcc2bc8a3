"""Anchored Posterior Sampling: steer masked diffusion models with rewards at test time.

    from aps_text import APSPipeline
    pipe = APSPipeline.from_pretrained("mini")
    print(pipe("What is a violin?", reward="answer-quality"))

Names are imported at their first use: `import aps_text` alone loads neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aps_rewards import Normalised as Normalised
    from aps_rewards import RewardError as RewardError
    from aps_rewards import list_rewards as list_rewards
    from aps_rewards import load_reward as load_reward

    from .core.config import APSConfig as APSConfig
    from .core.operator import Operator as Operator
    from .core.protocols import Denoiser as Denoiser
    from .core.sampler import Method as Method
    from .core.states import StepState as StepState
    from .models.text_model import TextModel as TextModel
    from .pipelines.output import APSOutput as APSOutput
    from .pipelines.restoration import RestorationPipeline as RestorationPipeline
    from .pipelines.stream import Stream as Stream
    from .pipelines.text import METHODS as METHODS
    from .pipelines.text import APSPipeline as APSPipeline

__version__ = "0.2.0"

_HOME = {
    "APSConfig": ".core.config",
    "APSOutput": ".pipelines.output",
    "APSPipeline": ".pipelines.text",
    "Denoiser": ".core.protocols",
    "METHODS": ".pipelines.text",
    "Method": ".core.sampler",
    "Normalised": "aps_rewards",
    "Operator": ".core.operator",
    "RestorationPipeline": ".pipelines.restoration",
    "RewardError": "aps_rewards",
    "StepState": ".core.states",
    "Stream": ".pipelines.stream",
    "TextModel": ".models.text_model",
    "list_rewards": "aps_rewards",
    "load_reward": "aps_rewards",
}

__all__ = [
    "METHODS",
    "APSConfig",
    "APSOutput",
    "APSPipeline",
    "Denoiser",
    "Method",
    "Normalised",
    "Operator",
    "RestorationPipeline",
    "RewardError",
    "StepState",
    "Stream",
    "TextModel",
    "__version__",
    "list_rewards",
    "load_reward",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
