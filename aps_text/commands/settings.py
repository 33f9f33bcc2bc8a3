"""Flags for the settings of a call, shared by all commands that make or plan one."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from ..core.config import SETTINGS
from ..core.limits import Choice, Switch
from ..core.presets import IMAGE_PRESETS, TEXT_PRESETS
from .completion import offer
from .setting_words import WORDS

__all__ = ["IMAGE_HELP", "TEXT_HELP", "add_settings", "settings_in", "typed_value"]


TEXT_HELP = ", ".join(TEXT_PRESETS)
IMAGE_HELP = ", ".join(f"{name} ({sought})" for name, sought in IMAGE_PRESETS.items())
"""Help of `--preset`, for texts and for images."""


def add_settings(
    parser: argparse.ArgumentParser,
    presets: str = TEXT_HELP,
    names: Collection[str] = TEXT_PRESETS,
) -> None:
    """Add a flag for every keyword of `APSConfig`, which checks the values; and for the preset.

    Args:
        presets: the help of `--preset`.
        names: the presets that shells complete.
    """
    offer(parser.add_argument("--preset", default=None, metavar="NAME", help=presets), names)
    group = parser.add_argument_group("settings", "in full: docs/methods.md and help(APSConfig)")
    for name, takes in SETTINGS.items():
        flag = f"--{name.replace('_', '-')}"
        words = WORDS[name]
        if isinstance(takes, Switch):
            how: dict[str, Any] = {"action": argparse.BooleanOptionalAction, "help": words}
        elif isinstance(takes, Choice):
            how = {"metavar": "NAME", "help": f"{words}: {', '.join(takes.names)}"}
        else:
            how = {"type": typed_value, "metavar": "N" if takes.whole else "X", "help": words}
        action = group.add_argument(flag, default=argparse.SUPPRESS, **how)
        if isinstance(takes, Choice):
            offer(action, takes.names)


def settings_in(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords given by flags."""
    return {name: getattr(args, name) for name in SETTINGS if hasattr(args, name)}


def typed_value(text: str) -> Any:
    """An int, a float, None for `none`, or the text itself."""
    if text.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
