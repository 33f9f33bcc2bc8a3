"""Fields of a row from an answer's trajectory: tokens, their steps, rewards over steps."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aps_text.models.text_model import TextModel
    from aps_text.pipelines.output import APSOutput

__all__ = ["mean_kl", "pieces_of", "trace"]


def trace(model: TextModel, out: APSOutput, at: int, rewards: Sequence[str]) -> dict[str, Any]:
    """The fields `tokens`, `committed`, `steps` and `curve` of a row, for answer `at`.

    Args:
        out: of a call with `keep_trajectory`.
        rewards: names to follow over the steps.
    """
    ids = out.token_ids[at]
    found: dict[str, Any] = {"tokens": pieces_of(model.tokenizer, ids)}
    if not out.trajectory:
        return found
    batch, row = out.places[at]
    states = out.trajectory[batch]
    z, written = states[-1].z[row].tolist(), states[-1].written[row].tolist()
    found["steps"] = steps = max(*written, 0) + 1
    end = next((i for i, token in enumerate(z) if token in model.stop_ids), len(z))
    places = [i for i in range(end) if z[i] != model.fill_id]
    if [z[i] for i in places] == ids:
        found["committed"] = [max(written[i], 0) for i in places]
    curve = {
        name: [
            float(state.rewards[name][row])
            if state.guided and name in state.rewards and state.step < steps
            else None
            for state in states
        ]
        for name in rewards
    }
    found["curve"] = {k: v for k, v in curve.items() if any(one is not None for one in v)}
    return found


def mean_kl(out: APSOutput, at: int) -> float | None:
    """The KL of answer `at`, mean over its steered steps; None where none was.

    Args:
        out: of a call with `keep_trajectory`.
    """
    if not out.trajectory:
        return None
    batch, row = out.places[at]
    states = out.trajectory[batch]
    last = max(*states[-1].written[row].tolist(), 0)
    found = [float(s.kl[row]) for s in states if s.kl is not None and s.step <= last]
    return fmean(found) if found else None


def pieces_of(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Strings that make the decoded text when joined, one per token.

    If the tokenizer decodes a token differently depending on the next one, they are its own names
    of the tokens instead (`Ġthe`, `##ing`).
    """
    pieces, before = [], ""
    for count in range(1, len(ids) + 1):
        text = tokenizer.decode(list(ids[:count]), skip_special_tokens=True)
        if not text.startswith(before):
            return [str(one) for one in tokenizer.convert_ids_to_tokens(list(ids))]
        pieces.append(text[len(before) :])
        before = text
    return pieces
