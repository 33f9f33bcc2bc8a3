"""The vocabulary bridge: maps each token of a generator to a token of a reward's tokenizer.

    map[k] = id in the reward's vocabulary, or -1

If both tokenizers mark words in the same way, equal strings are matched first. Then tokens are
matched by form: the text of the token and whether it begins a word or continues one. `Ġviolin`
(byte BPE), `▁violin` (SentencePiece) and `violin` (WordPiece) begin a word; `in`, `in` and `##in`
continue one. Text goes through the target's own normaliser (lower case, accents). Byte-level
tokens are decoded; those that hold part of a character match nothing.

In byte BPE and SentencePiece an unmarked token may also begin a text, a line or a quotation, so it
falls back to the target's word-initial token. Punctuation takes the word-initial token first if
the target splits it off (WordPiece). A word-initial token never falls back to a continuation,
which would join two words (single punctuation marks excepted).

Special tokens of the generator (mask, padding, stop) are never matched. The policy decides what
happens to the probability on unmatched tokens:

    error     refuse to build the bridge
    restrict  remove their probability and renormalise the rest
    zero      embed them as 0
    unk       embed them as the reward's unknown token
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...core.codebook import VectorCodebook
from .token_forms import Form, TokenForms, stands_alone

__all__ = ["POLICIES", "VocabularyBridge", "bridge_between"]

POLICIES = ("error", "restrict", "zero", "unk")

logger = logging.getLogger(__name__)


class VocabularyBridge:
    """The map from a generator's tokens to a reward's, for a pair of fast tokenizers.

    Args:
        source_tokenizer: the generator's Hugging Face fast tokenizer.
        target_tokenizer: the reward's.
        vocab_size: K, the width of the generator's distributions; ids past its tokenizer are
            unmatched.
        policy: `error | restrict | zero | unk`.
        exclude: further generator ids that are never text (a stop or fill token that is not among
            its tokenizer's special tokens).

    Attributes:
        map: `(K,)` int64, id in the target or -1.
        matched: `(K,)` bool.
        special: `(K,)` bool, ids that are never text; the others are text.
        matched_share: fraction of the text tokens that are matched, in [0, 1]. How much a reward
            sees in a run depends on their probability, see `mass`.

    Raises:
        ValueError: an unknown policy, a slow tokenizer, no match at all, unmatched text tokens
            under `error`, or `unk` where the target has no unknown token.
    """

    def __init__(
        self,
        source_tokenizer: Any,
        target_tokenizer: Any,
        *,
        vocab_size: int,
        policy: str = "restrict",
        exclude: Iterable[int] = (),
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(
                f"unknown policy {policy!r}; choose {', '.join(POLICIES)}, or rloo to steer "
                "without the bridge"
            )
        if vocab_size < 1:
            raise ValueError(f"vocab_size must be >= 1, got {vocab_size}")
        excluded = set(exclude)
        source, target = TokenForms(source_tokenizer), TokenForms(target_tokenizer)
        self.policy, self.unk_id = policy, target_tokenizer.unk_token_id
        self.map = torch.tensor(_match(source, target, vocab_size, excluded))
        self.special = torch.ones(vocab_size, dtype=torch.bool)
        text_ids = [i for i in source.text if i < vocab_size and i not in excluded]
        self.special[text_ids] = False
        self.matched = self.map >= 0
        self.matched_share = int(self.matched.sum()) / max(1, len(text_ids))
        self._placed: dict[torch.device, Tensor] = {}
        self._codebook: tuple[Tensor, int, VectorCodebook] | None = None
        self._check(source)

    def _check(self, source: TokenForms) -> None:
        lost = (~self.matched & ~self.special).nonzero().flatten().tolist()
        examples = ", ".join(repr(source.text[i]) for i in lost[:5])
        if not self.matched.any():
            raise ValueError(
                "the generator's and the reward's tokenizers share no piece "
                f"({examples}, ...); use 'rloo', which steers without the bridge"
            )
        if self.policy == "error" and lost:
            raise ValueError(
                f"{len(lost)} generator tokens have no counterpart in the reward's tokenizer "
                f"({examples}{', ...' if len(lost) > 5 else ''}); choose 'restrict', 'zero' or "
                "'unk', or 'rloo' to steer without the bridge"
            )
        if self.policy == "unk" and self.unk_id is None:
            raise ValueError("policy='unk' but the reward's tokenizer has no unknown token")
        logger.info(
            "vocabulary bridge: %.1f%% of the generator's text tokens matched, policy %s",
            100 * self.matched_share,
            self.policy,
        )

    def mass(self, probs: Tensor) -> Tensor:
        """Probability on matched tokens: `(N, K)` -> `(N,)`, on the device of `probs`."""
        return probs @ self._on(probs.device)[0].to(probs.dtype)

    def text_mass(self, probs: Tensor) -> Tensor:
        """Probability on text tokens, matched or not: `(N, K)` -> `(N,)`."""
        return probs @ self._on(probs.device)[1].to(probs.dtype)

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._placed:
            self._placed[device] = torch.stack([self.matched, ~self.special]).to(device)
        return self._placed[device]

    def codebook(self, table: Tensor) -> VectorCodebook:
        """Codes of the generator's K tokens: rows of the reward's `(V, d)` table, by the policy.

        The last codebook is cached: the same table gives the same object.

        Raises:
            ValueError: the table has fewer rows than the ids that the map uses.
        """
        if self._codebook is not None:
            kept, version, book = self._codebook
            same = kept.data_ptr() == table.data_ptr() and kept.shape == table.shape
            if same and kept.dtype == table.dtype and version == table._version:
                return book
        if int(self.map.max()) >= len(table):
            raise ValueError(
                f"the embedding table has {len(table)} rows but the reward's tokenizer uses id "
                f"{int(self.map.max())}; give the table that belongs to the tokenizer"
            )
        fallback = self.unk_id if self.policy == "unk" else 0
        rows = torch.where(self.matched, self.map, fallback).to(table.device)
        codes = table.detach()[rows]
        matched = self.matched.to(table.device)
        if self.policy != "unk":
            codes = codes * matched[:, None]
        allowed = matched if self.policy in ("restrict", "error") else None
        book = VectorCodebook(codes, allowed)
        self._codebook = (table.detach(), table._version, book)
        return book


_BRIDGES: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[Any, dict[Any, Any]]] = (
    weakref.WeakKeyDictionary()
)


def bridge_between(
    source_tokenizer: Any,
    target_tokenizer: Any,
    *,
    vocab_size: int,
    policy: str = "restrict",
    exclude: Sequence[int] = (),
) -> VocabularyBridge:
    """A `VocabularyBridge`, cached per pair of tokenizer objects while both exist."""
    pairs = _BRIDGES.setdefault(source_tokenizer, weakref.WeakKeyDictionary())
    built = pairs.setdefault(target_tokenizer, {})
    key = (vocab_size, policy, tuple(sorted(set(exclude))))
    if key not in built:
        built[key] = VocabularyBridge(
            source_tokenizer,
            target_tokenizer,
            vocab_size=vocab_size,
            policy=policy,
            exclude=exclude,
        )
    return built[key]


def _match(source: TokenForms, target: TokenForms, vocab_size: int, exclude: set[int]) -> list[int]:
    exact = {piece: i for i, piece in target.text.items()} if source.marks == target.marks else {}
    by_form: dict[Form, int] = {}
    for i, piece in target.text.items():
        form = target.form(piece)
        if form is not None:
            by_form.setdefault(form, i)
    found = [-1] * vocab_size
    for i, piece in source.text.items():
        if i >= vocab_size or i in exclude:
            continue
        if piece in exact:
            found[i] = exact[piece]
            continue
        form = source.form(piece)
        if form is None:
            continue
        for candidate in _candidates(form, source, target):
            if candidate in by_form:
                found[i] = by_form[candidate]
                break
    return found


def _candidates(form: Form, source: TokenForms, target: TokenForms) -> list[Form]:
    """The forms to look for in the target, in order of preference."""
    text = target.normalised(form.text)
    if not text:
        return []
    if target.marks == "##" and stands_alone(text):
        return [Form(text, True)]  # WordPiece makes punctuation a word of its own
    if form.initial:
        # The target may have no word-initial token for a punctuation mark; the mark alone may
        # fall back to a continuation.
        return [Form(text, True), *([Form(text, False)] if stands_alone(text) else [])]
    forms = [Form(text, False)]
    if source.marks != "##" or stands_alone(text):
        forms.append(Form(text, True))
    return forms
