"""The error of a reward, and the reading of a reward's attributes, which may be a user's code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from .guard import PASSED_ON, described, undisturbed

__all__ = ["RewardError", "attribute_of"]


class RewardError(RuntimeError):
    """A reward raised, hung, or returned something that is not one finite number per row.

    Attributes:
        reward: its name.
        index: row of the prompt on which it failed; None if it failed on the batch as a whole.
        partial: the answers finished before (an `APSOutput`), if a pipeline raised the error.
    """

    def __init__(
        self, reward: str, what: str, index: int | None = None, row: str = "", more: str = ""
    ) -> None:
        """The message is `reward NAME WHAT prompt INDEX (ROW)MORE`, or without the prompt."""
        super().__init__(reward, what, index, row, more)
        self.reward, self.index = reward, index
        self._what, self._row, self._more = what, row, more
        self.partial: Any = None

    def __str__(self) -> str:
        where = f" prompt {self.index} ({self._row})" if self._row else ""
        at = f" (prompt {self.index})" if self.index is not None and not self._row else ""
        return f"reward {self.reward!r} {self._what}{where}{self._more}{at}"

    def at(self, rows: Sequence[int]) -> RewardError:
        """The same error with its index i replaced by `rows[i]`, the row in the whole batch."""
        known = self.index is not None and 0 <= self.index < len(rows)
        index = rows[self.index] if known and self.index is not None else None
        moved = RewardError(self.reward, self._what, index, self._row, self._more)
        moved.partial, moved.__cause__ = self.partial, self.__cause__
        return moved


def attribute_of(reward: object, name: str, attribute: str, default: Any) -> Any:
    """An attribute of a reward, or `default` if it has none.

    Args:
        name: of the reward, for the error.

    Raises:
        RewardError: a property that raises, also an `AttributeError`.
    """
    try:
        with undisturbed():
            return getattr(reward, attribute)
    except PASSED_ON:
        raise
    except BaseException as error:
        computed = (property, functools.cached_property)
        own = inspect.getattr_static(reward, attribute, None)
        if isinstance(error, AttributeError) and not isinstance(own, computed):
            return default
        raise RewardError(name, f"raised in {attribute}: {described(error)}") from error
