"""Forward hooks that belong to one call: they leave the network with it, whatever ends it.

An interrupt may fall between any two lines, also between the registration of a hook and the note of
its handle. So hooks are not removed by their handles but by what they are: whatever of the call is
found on its modules goes, and `sweep` removes what an interrupted removal left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["CallHook", "attached", "sweep"]


class CallHook(ABC):
    """A callable of its own class, so that it is known among other people's hooks."""

    before = False
    """Whether it is called before the module's forward, with keyword arguments, or after it."""

    @abstractmethod
    def __call__(self, *args: Any) -> Any:
        """As torch calls a forward hook."""


@contextmanager
def attached(hooks: Sequence[tuple[nn.Module, CallHook]]) -> Iterator[None]:
    """While open, each hook is on its module; on any exit they are gone."""
    try:
        for module, hook in hooks:
            if hook.before:
                module.register_forward_pre_hook(hook, with_kwargs=True)
            else:
                module.register_forward_hook(hook)
        yield
    finally:
        ours = {id(hook) for _, hook in hooks}
        for module, _ in hooks:
            _remove(module, ours)


def sweep(modules: Iterable[nn.Module]) -> None:
    """Remove every hook of a call. Only where no call is open: hold the network's lock."""
    for module in modules:
        if module._forward_hooks or module._forward_pre_hooks:
            _remove(module, None)


def _remove(module: nn.Module, ours: set[int] | None) -> None:
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        for key, hook in list(hooks.items()):
            if isinstance(hook, CallHook) and (ours is None or id(hook) in ours):
                del hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)
