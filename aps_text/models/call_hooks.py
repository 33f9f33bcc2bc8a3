"""Forward hooks that belong to one call and are removed when it ends, also by an exception.

An interrupt may occur between any two lines, also after a hook is registered and before its handle
is stored. So hooks are removed by their class and identity instead of by handles; `sweep` removes
those that an interrupted removal left behind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["CallHook", "attached", "sweep"]


class CallHook(ABC):
    """A forward hook of a class of its own, which tells it from hooks that others registered."""

    before = False
    """True: called before the module's forward, with keyword arguments. False: after it."""

    @abstractmethod
    def __call__(self, *args: Any) -> Any:
        """Called by torch with the arguments of a forward (pre-)hook."""


@contextmanager
def attached(hooks: Sequence[tuple[nn.Module, CallHook]]) -> Iterator[None]:
    """Context in which each hook is registered on its module; any exit removes them."""
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
    """Remove every `CallHook` of these modules; hold the network's lock so that no call is open."""
    for module in modules:
        if module._forward_hooks or module._forward_pre_hooks:
            _remove(module, None)


def _remove(module: nn.Module, ours: set[int] | None) -> None:
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        for key, hook in list(hooks.items()):
            if isinstance(hook, CallHook) and (ours is None or id(hook) in ours):
                del hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)
