"""Texts as arrays of token indices, in a folder: made once, piece by piece, then mapped into memory by whoever reads them.

A first pass writes each token as the number of its type in the order of first appearance, and learns all that the vocabulary
and the limit of length depend on. A second one writes indices of the vocabulary. Memory grows with types and sentences, not with
tokens.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.contract import MODEL, VOCABULARY
from trainers.doubts import Counts, Oddities
from trainers.folders import SPLITS
from trainers.lines import Block
from trainers.options import WORDS, CorpusOptions
from trainers.tokens import SPACE, Tokens
from trainers.vocabulary import EOS, SPECIALS, UNK, Sentences, Vocabulary

FACTS = "facts.json"
AT_ONCE = 1 << 22
"""Largest number of tokens that the second pass holds."""
END, UNKNOWN = SPECIALS.index(EOS), SPECIALS.index(UNK)
Whole = NDArray[np.int64]


@dataclass
class _Split:
    """Counts of the first pass over a split."""

    lengths: list[NDArray[np.int32]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    sentences: int = 0
    empty: int = 0
    tabs: int = 0


class Encoder:
    """Writes a corpus into a folder, split by split in their order."""

    def __init__(self, folder: Path, options: CorpusOptions, tokens: Tokens) -> None:
        self.folder, self.options, self.tokens = folder, options, tokens
        self.types: defaultdict[str, int] = defaultdict()
        self.types.default_factory = self.types.__len__
        self.labels: defaultdict[str, int] = defaultdict()
        self.labels.default_factory = self.labels.__len__
        self.splits = {split: _Split() for split in SPLITS}
        self.odd = Oddities()
        plain = (options.min_count, options.truncation)
        asked = plain if tokens.noun == WORDS else (*plain, options.tokens, hashlib.sha256(tokens.model).hexdigest())
        self.digest = hashlib.sha256(repr(asked).encode())

    def read(self, split: str, blocks: Iterable[tuple[str, Block]], size: int = 0) -> None:
        """Takes in a split's records, each block with its file's name; of `size` sentences at most (0: all)."""
        found = self.splits[split]
        self.digest.update(split.encode())
        with (self.folder / f"{split}.types").open("wb") as out:
            for file, block in blocks:
                texts, labels = self._cleaned(found, file, block, size and size - found.sentences)
                if not texts:
                    continue
                self.digest.update(("\n".join(texts) + "\n").encode())
                found.sentences += len(texts)
                divided = self.tokens.split(texts)
                lengths = np.fromiter(map(len, divided), np.int32, len(divided))
                found.lengths.append(lengths)
                numbers = map(self.types.__getitem__, chain.from_iterable(divided))
                np.fromiter(numbers, np.int32, int(lengths.sum())).tofile(out)
                if labels is not None:
                    found.classes.extend(map(self.labels.__getitem__, labels))
                if size and found.sentences >= size:
                    return

    def _cleaned(self, found: _Split, file: str, block: Block, most: int) -> tuple[list[str], list[str] | None]:
        """The block's texts with single spaces, the empty ones left out, with their labels."""
        self.odd.look(file, block)
        found.tabs += block.tabs
        texts = [" ".join(text.split()) for text in block.texts]
        if self.tokens.prefix:  # a text of nothing but signs of a space has no pieces
            texts = [text if text.strip(f"{SPACE} ") else "" for text in texts]
        labels = block.labels
        if not all(texts):
            there = [i for i, text in enumerate(texts) if text]
            found.empty += len(texts) - len(there) - block.others
            texts, labels = [texts[i] for i in there], labels and [labels[i] for i in there]
        if most and len(texts) > most:
            texts, labels = texts[:most], labels and labels[:most]
        return texts, labels

    def finish(self, cut: bool = True, notes: Callable[["Encoder"], list[str]] = lambda _: []) -> None:
        """Writes the vocabulary, the encoded splits and the facts.

        Args:
            cut: sentences are cut at mean + `truncation` sd of the training sentences' token counts (PA, appendix A).
            notes: what there is to say besides the warnings.
        """
        lengths = {split: np.concatenate(each.lengths) for split, each in self.splits.items()}
        limit = self._limit(lengths["train"]) if cut and self.options.truncation else None
        counts = {split: self._counted(split) for split in SPLITS}
        names = list(self.types)
        of_training = counts["train"].tolist()
        occurring = {name: count for name, count in zip(names, of_training, strict=True) if count}
        vocabulary = Vocabulary.of(occurring, self.options.min_count, self.tokens)
        places = np.fromiter((vocabulary.index.get(name, UNKNOWN) for name in names), np.int32, len(names))
        sizes = _Sizes.of(names, self.tokens)
        unknown = {}
        for split in SPLITS:
            unknown[split] = self._write(split, lengths[split], limit, places, sizes)
        cuts = {split: int((each + 1 > limit).sum()) if limit else 0 for split, each in lengths.items()}
        classes = {split: np.array(self.splits[split].classes, dtype=np.int32) for split in SPLITS}
        own = {split: each for split, each in classes.items() if len(each)}
        for split, each in own.items():
            each.tofile(self.folder / f"{split}.classes")
        facts: dict[str, Any] = {
            "fingerprint": self.digest.hexdigest()[:16],
            "tokens": self.options.tokens,
            "sentences": {split: each.sentences for split, each in self.splits.items()},
            "unknown": unknown,
            "cut": cuts,
            "skipped": {split: each.empty for split, each in self.splits.items()},
            "truncation": self.options.truncation if limit else 0.0,
            "labels": list(self.labels) if own else None,
            "classes": hashlib.sha256(b"".join(each.tobytes() for each in own.values())).hexdigest()[:16],
        }
        gathered = Counts(
            names, counts, lengths, {split: each.tabs for split, each in self.splits.items()}, unknown, cuts, limit,
            {split: each.classes for split, each in self.splits.items()}, list(self.labels),
        )  # fmt: skip
        facts["warnings"] = [*notes(self), *self.odd.warnings(), *gathered.warnings(self.options)]
        (self.folder / VOCABULARY).write_text(json.dumps(vocabulary.words, ensure_ascii=False), encoding="utf-8")
        if self.tokens.model:
            (self.folder / MODEL).write_bytes(self.tokens.model)
        (self.folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")

    def _limit(self, lengths: NDArray[np.int32]) -> int:
        """Tokens of a sentence at most, its end token included."""
        counts = lengths.astype(np.int64) + 1
        return int(np.floor(counts.mean() + self.options.truncation * counts.std()))

    def _counted(self, split: str) -> Whole:
        """Counts of each type in a split: [types]."""
        total = np.zeros(len(self.types), dtype=np.int64)
        with (self.folder / f"{split}.types").open("rb") as stream:
            while len(part := np.fromfile(stream, np.int32, AT_ONCE)):
                total += np.bincount(part, minlength=len(total))
        return total

    def _write(
        self, split: str, lengths: NDArray[np.int32], limit: int | None, places: NDArray[np.int32], sizes: "_Sizes"
    ) -> int:
        """Writes a split by the vocabulary; how many of its tokens are unknown."""
        source, unknown = self.folder / f"{split}.types", 0
        most = max(limit - 1, 1) if limit else int(lengths.max())
        names = ("tokens", "ends", "characters", "utf8")
        files = {name: (self.folder / f"{split}.{name}").open("wb") for name in names}
        end = 0
        with source.open("rb") as stream:
            for part in _parts(lengths):
                types = np.fromfile(stream, np.int32, int(part.sum()))
                starts = np.cumsum(part) - part
                kept = np.arange(len(types)) - np.repeat(starts, part) < most
                types, part = types[kept], np.minimum(part, most)
                ends = np.cumsum(part + 1)
                tokens = np.full(int(ends[-1]), END, dtype=np.int32)
                is_word = np.ones(len(tokens), dtype=bool)
                is_word[ends - 1] = False
                tokens[is_word] = places[types]
                unknown += int((tokens == UNKNOWN).sum())
                tokens.tofile(files["tokens"])
                (ends + end).astype(np.int64).tofile(files["ends"])
                end += int(ends[-1])
                firsts = np.cumsum(part) - part
                for name, size in (("characters", sizes.characters), ("utf8", sizes.utf8)):
                    whole = np.add.reduceat(size[types], firsts) + sizes.more(part)
                    whole.astype(np.int32).tofile(files[name])
        for opened in files.values():
            opened.close()
        source.unlink()
        return unknown


def _parts(lengths: NDArray[np.int32]) -> Iterator[NDArray[np.int64]]:
    """The lengths of some sentences at a time, of `AT_ONCE` tokens or one sentence."""
    before = np.cumsum(lengths, dtype=np.int64) - lengths
    place = 0
    while place < len(lengths):
        after = max(int(np.searchsorted(before, before[place] + AT_ONCE)), place + 1)
        yield lengths[place:after].astype(np.int64)
        place = after


@dataclass(frozen=True)
class _Sizes:
    """Characters and bytes that each type adds to a text."""

    characters: Whole  # [types]
    utf8: Whole  # [types]
    separator: int
    prefix: int

    @classmethod
    def of(cls, names: list[str], tokens: Tokens) -> "_Sizes":
        plain = [name.replace(SPACE, " ") for name in names] if tokens.prefix else names
        characters = np.fromiter(map(len, plain), np.int64, len(plain))
        utf8 = np.fromiter((len(name.encode()) for name in plain), np.int64, len(plain))
        return cls(characters, utf8, len(tokens.separator), tokens.prefix)

    def more(self, lengths: Whole) -> Whole:
        """Characters of texts of so many tokens between and after their tokens: the separators, and one end."""
        return self.separator * (lengths - 1) - self.prefix + 1


def mapped(folder: Path) -> tuple[dict[str, Any], tuple[str, ...], bytes, dict[str, Sentences]]:
    """Content that `Encoder.finish` has written: facts, words, the SentencePiece model if there is one, and the splits.

    Raises:
        OSError, ValueError: if it is not whole.
    """
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    words = tuple(json.loads((folder / VOCABULARY).read_text(encoding="utf-8")))
    model = (folder / MODEL).read_bytes() if (folder / MODEL).exists() else b""

    def array(split: str, name: str, kind: Any) -> Any:
        return np.memmap(folder / f"{split}.{name}", dtype=kind, mode="r").view(np.ndarray)

    splits = {}
    for split in SPLITS:
        each = Sentences(
            array(split, "tokens", np.int32),
            array(split, "ends", np.int64),
            array(split, "characters", np.int32),
            array(split, "utf8", np.int32),
            array(split, "classes", np.int32) if facts["labels"] is not None else None,
        )
        whole = len(each.ends) == len(each.characters) == len(each.utf8) == facts["sentences"][split]
        if not whole or int(each.ends[-1]) != len(each.tokens):
            raise ValueError(f"{folder} is not whole")
        splits[split] = each
    return facts, words, model, splits
