"""Refuses grid and task files that would run code chosen by the file.

A grid or task file names rewards, a model and data. An installed reward (an entry point) is code
that the user chose to install. `os:system`, `theirs.py:reward`, a folder or a hub id would be
chosen by the FILE, and are refused; so are options that select such code (`weights`,
`trust_remote_code`), and model options that fetch kernels. `--trust-code` on the command line, or
`trust_code=True`, allows them. Flags and Python arguments of the user are not checked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .rows import ROLES

__all__ = ["UntrustedError", "check_file", "check_harness_file"]

MODEL_OPTIONS = frozenset(
    {"device", "dtype", "device_map", "load_in_8bit", "load_in_4bit", "revision", "chat"}
    | {"local_files_only", "gradient_checkpointing", "special_tokens_in_text"}
)
ATTENTION = ("sdpa", "eager", None)
MEND = "if you trust the file, add --trust-code"


class UntrustedError(ValueError):
    """A file names something that would run code."""


def check_file(values: Mapping[str, Any], path: str | Path) -> None:
    """Check the contents of a grid or task file.

    Raises:
        UntrustedError: it would run code; names the file, the entry and the mend.
    """
    for key in ("rewards", *ROLES):
        for name, options in _rewards(values.get(key)):
            _check_reward(name, options, path)
    tasks = values.get("tasks")
    for task in tasks if isinstance(tasks, list | tuple) else [tasks]:
        if isinstance(task, Mapping):
            check_file(task, path)
    model = values.get("model_options")
    for name, value in model.items() if isinstance(model, Mapping) else ():
        harmless = name in MODEL_OPTIONS or (name == "compile" and isinstance(value, bool))
        if not harmless and not (name == "attn_implementation" and value in ATTENTION):
            raise UntrustedError(
                f"{path} sets the model option {name}={value!r}, which may fetch code; {MEND}"
            )


def check_harness_file(what: str) -> None:
    """Refuse task files of lm-evaluation-harness: `!function` and unsandboxed templates are code.

    Raises:
        UntrustedError: always.
    """
    raise UntrustedError(
        f"{what}: task files of lm-evaluation-harness run code (their `!function` and templates); "
        "if you trust them, add --trust-code"
    )


def _check_reward(spec: str, options: Mapping[str, Any], path: str | Path) -> None:
    from aps_rewards.installed import installed_names
    from aps_rewards.specs import FILE_OPTIONS, split_options

    name, typed = split_options(spec)
    known = installed_names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UntrustedError(
            f"{path} names the reward {name!r}{hint}. A file may only name installed rewards "
            f"(`aps rewards` lists them); {MEND}, or give the reward by --reward"
        )
    for option in (*typed, *options):
        if option.replace("-", "_").lower() in FILE_OPTIONS:
            raise UntrustedError(
                f"{path} gives the reward {name!r} the option {option!r}, which chooses what is "
                f"loaded; {MEND}, or give the reward by --reward"
            )


def _rewards(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every reward in an entry of `rewards` or of a role, as (string, options)."""
    if isinstance(value, str):
        from aps_rewards import parse_reward_spec

        yield parse_reward_spec(value)[0], {}
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _rewards(one)
    elif isinstance(value, Mapping) and "name" in value:
        options = value.get("options")
        yield str(value["name"]), options if isinstance(options, Mapping) else {}
    elif isinstance(value, Mapping):
        for role in ROLES:
            yield from _rewards(value.get(role))
