"""Corpora by name: from files or made here to sentences of token indices. Needs no torch."""

import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

from trainers import corpus_cache, kjv, questions, tokens
from trainers.doubts import UNKNOWN_SHARE
from trainers.encoding import Encoder, mapped
from trainers.errors import BadInput
from trainers.folders import SPLITS, Texts, find
from trainers.grammar import Grammar, topic_grammar, topic_of
from trainers.lines import Block, kind_of
from trainers.options import WORDS, CorpusOptions
from trainers.tables import READERS
from trainers.vocabulary import (
    BOS,
    EOS,
    PAD,
    SPECIALS,
    UNK,
    Sentence,
    Sentences,
    Vocabulary,
    batches,
    lengths_of,
)

__all__ = [
    "BOS", "EOS", "PAD", "SPECIALS", "SPLITS", "UNK", "Corpus", "Sentence", "Sentences", "Vocabulary", "batches", "lengths_of",
    "load",
]  # fmt: skip

GRAMMAR_SIZE = 4000
GRAMMAR_HELD_OUT = 1000
HELD_OUT_SHARE = 20
"""Number of sentences of which one goes to each split that has no file."""
HASH_KEY = b"text-vae-tuner split 0"
"""Key of the hash that chooses the sentences of splits without a file."""


@dataclass(frozen=True)
class Corpus:
    """Three splits as token indices.

    labels: each split's sentences' labels, where it has them, for probing classifiers; no model sees them.
    entropy: nats per sentence, where the source's true entropy is known; `exact_nll`: the mean −log P of each split's own
    sentences under the source, the figure that a perfect model would reach on them.
    """

    name: str
    vocabulary: Vocabulary
    splits: Mapping[str, Sentences]
    facts: Mapping[str, Any]
    """Facts that `Encoder.finish` has found."""

    @property
    def fingerprint(self) -> str:
        return str(self.facts["fingerprint"])

    @property
    def unknown(self) -> Mapping[str, int]:
        """Tokens of each split that are <unk>."""
        found: Mapping[str, int] = self.facts["unknown"]
        return found

    @property
    def cut(self) -> Mapping[str, int]:
        """Sentences of each split that were cut."""
        found: Mapping[str, int] = self.facts["cut"]
        return found

    @property
    def skipped(self) -> Mapping[str, int]:
        """Empty records of each split."""
        found: Mapping[str, int] = self.facts["skipped"]
        return found

    @property
    def truncation(self) -> float:
        """The option `truncation` with which the corpus was read; 0 where sentences are never cut."""
        return float(self.facts["truncation"])

    @property
    def labels(self) -> dict[str, list[str]] | None:
        names = self.facts["labels"]
        if names is None:
            return None
        each = {split: sentences.classes for split, sentences in self.splits.items()}
        return {split: [names[i] for i in classes.tolist()] for split, classes in each.items() if classes is not None}

    @property
    def entropy(self) -> float | None:
        found: float | None = self.facts.get("entropy")
        return found

    @property
    def exact_nll(self) -> Mapping[str, float] | None:
        found: Mapping[str, float] | None = self.facts.get("exact_nll")
        return found

    @property
    def lengths(self) -> tuple[float, float]:
        """Mean and standard deviation of the training sentences' tokens."""
        counts = self.splits["train"].lengths
        return float(counts.mean()), float(counts.std())

    def warnings(self) -> list[str]:
        """Warnings for the readers of this corpus's figures."""
        return list(self.facts["warnings"])

    def describe(self) -> dict[str, object]:
        """Name, sizes and fingerprint as plain values."""
        mean, sd = self.lengths
        held = {split: self.splits[split] for split in SPLITS}
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "divided_into": self.facts["tokens"],
            "vocabulary": len(self.vocabulary),
            "sentences": {split: len(each) for split, each in held.items()},
            "tokens": {split: len(each.tokens) for split, each in held.items()},
            "characters": {split: int(each.characters.sum(dtype="int64")) for split, each in held.items()},
            "mean_length": mean,
            "sd_length": sd,
            "longest": int(self.splits["train"].lengths.max()),
            "unknown_tokens": dict(self.unknown),
            "truncation": self.truncation,
            "cut_sentences": dict(self.cut),
            "empty_lines": dict(self.skipped),
            "classes": None if self.facts["labels"] is None else len(self.facts["labels"]),
            "entropy": self.entropy,
            "exact_nll": self.exact_nll,
            "warnings": self.warnings(),
        }


Records = Callable[[str], Iterator[tuple[str, Block]]]
"""Function that reads a split's records, each block with its file's name."""
Notes = Callable[[Encoder], list[str]]
"""Function that tells notes on an encoded corpus besides its warnings."""


def _mapped(name: str) -> Callable[[Path], Corpus]:
    def read(folder: Path) -> Corpus:
        facts, words, model, splits = mapped(folder)
        return Corpus(name, Vocabulary(words, tokens.tokens_of(facts["tokens"], model)), splits, facts)

    return read


def _encode(
    nothing: Callable[[str], str],
    records: Records,
    options: CorpusOptions,
    cut: bool = True,
    notes: Notes = lambda _: [],
) -> Callable[[Path], None]:
    """A function that writes a corpus into a folder; nothing: tells why a split has no sentence."""

    def build(folder: Path) -> None:
        count = tokens.pieces_of(options.tokens)
        if count:
            divided: tokens.Tokens = tokens.train(count, _texts(records("train"), options.corpus_size))
        else:
            divided = tokens.tokens_of(options.tokens)
        encoder = Encoder(folder, options, divided)
        for split in SPLITS:
            encoder.read(split, records(split), options.corpus_size if split == "train" else 0)
            if not encoder.splits[split].sentences:
                raise BadInput(nothing(split))
        encoder.finish(cut, notes)

    return build


def _texts(records: Iterator[tuple[str, Block]], most: int) -> Iterator[str]:
    """The first texts with single spaces, without the empty ones."""
    every = (" ".join(text.split()) for _, block in records for text in block.texts)
    for number, text in enumerate(filter(None, every), 1):
        yield text
        if number == most:
            return


def _side(text: str) -> int:
    """A number below `HELD_OUT_SHARE`, equal for all copies of a sentence."""
    plain = " ".join(text.split()).encode("utf-8", "replace")
    return int.from_bytes(blake2b(plain, digest_size=8, key=HASH_KEY).digest()) % HELD_OUT_SHARE


class _Divided:
    """The records of files, where splits without a file are taken out of the training text."""

    def __init__(self, texts: Texts, options: CorpusOptions) -> None:
        self.texts, self.options = texts, options
        self.owners = dict(enumerate(texts.missing))
        """Splits by the sides that are theirs; other sides are of the training text."""
        self.taken = 0
        """Number of texts of the training text's files that are of other splits."""

    def __call__(self, split: str) -> Iterator[tuple[str, Block]]:
        source = split if split in self.texts.files else "train"
        for file, block in self.texts.read(source, self.options):
            is_whole = source == split and (split != "train" or not self.owners)
            yield str(file), block if is_whole else self._part(split, block)

    def _part(self, split: str, block: Block) -> Block:
        """A training block with the texts of other splits left empty."""
        own = [self.owners.get(_side(text), "train") == split for text in block.texts]
        texts = [text if is_own else "" for text, is_own in zip(block.texts, own, strict=True)]
        others = sum(bool(text.strip()) and not is_own for text, is_own in zip(block.texts, own, strict=True))
        self.taken += others if split == "train" else 0
        return replace(block, texts=texts, tabs=sum("\t" in text for text in texts), others=others)

    def nothing(self, split: str) -> str:
        """The reason why a split has no sentence, with the remedy."""
        files = self.texts.files
        if split in files:
            left = " that is left to train on" if split == "train" and self.taken else ""
            return f"corpus file {files[split][0]} holds no sentence{left}: it must have one sentence a line."
        return (
            f"no sentence of corpus file {files['train'][0]} falls to {split}, which gets one in {HELD_OUT_SHARE} by a hash "
            f"of its text: give more sentences, or a file {split}.txt."
        )

    def notes(self, encoder: Encoder) -> list[str]:
        """Notes on how the files were read: splits without files, records without text, files that are not read."""
        said = [*self._divided(encoder), *self._textless(encoder)]
        if self.texts.unread:
            names = ", ".join(file.name for file in self.texts.unread[:5])
            read = ", ".join(file.name for files in self.texts.files.values() for file in files[:5])
            said.append(f"not read: {names}; the splits are read from {read}, whose names go before.")
        return said

    def _textless(self, encoder: Encoder) -> list[str]:
        """Notes on tables of which many records have no text."""
        said = []
        for split, files in self.texts.files.items():
            empty, sentences = encoder.splits[split].empty, encoder.splits[split].sentences
            if kind_of(files[0]) in READERS and empty > UNKNOWN_SHARE * (empty + sentences):
                said.append(
                    f"{empty:,} records of {files[0]} have no text and are left out, beside {sentences:,} {split} sentences: is "
                    "the column of the sentences the right one?"
                )
        return said

    def _divided(self, encoder: Encoder) -> list[str]:
        """Notes on splits without files: how they were made, and their sizes."""
        if not self.owners:
            return []
        sizes = ", ".join(f"{encoder.splits[split].sentences:,} {split}" for split in SPLITS)
        return [
            f"no file is named {' or '.join(self.owners.values())}: one training sentence in {HELD_OUT_SHARE} is taken for each, "
            f"by a hash of its text, so that copies stay together ({sizes} sentences)."
        ]


def folder_corpus(name: str, folder: Path, options: CorpusOptions) -> Corpus:
    """Reads the texts of a folder or a file (`trainers.folders`), once on this machine (`trainers.corpus_cache`)."""
    try:
        if not folder.exists():
            raise BadInput(
                f"corpus {name!r} does not exist: name a folder with train.txt, valid.txt and test.txt, or one of "
                f"{', '.join(CORPORA)}."
            )
        texts = find(folder)
    except OSError as error:
        raise BadInput(f"corpus {name[:200]!r} cannot be read: {error.strerror}; name one that can.") from error
    records = _Divided(texts, options)
    asked = (
        astuple(options),
        tokens.version() if tokens.pieces_of(options.tokens) else "",
        texts.missing,
        texts.unread,
    )
    build = _encode(records.nothing, records, options, notes=records.notes)
    return corpus_cache.encoded(list(chain.from_iterable(texts.files.values())), asked, build, _mapped(name))


def _one_block(texts: list[str], labels: list[str]) -> Iterator[tuple[str, Block]]:
    yield "the text", Block(texts, labels, 1)


def kjv_corpus(name: str, options: CorpusOptions) -> Corpus:
    """The King James Bible (`trainers.kjv`). As words, those that its training text has once are <unk> in it, so that the models
    learn what an unknown word is; sentences are cut as a folder's are."""
    _refuse_places(name, options)

    texts: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    labels: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, words, label in kjv.verses():
        texts[split].append(words)
        labels[split].append(label)
    if options.tokens == WORDS:
        seen = Counter(word for words in texts["train"] for word in words)
        texts["train"] = [[word if seen[word] > 1 else UNK for word in words] for words in texts["train"]]
    build = _encode(
        lambda split: f"kjv {split} has no sentence.",
        lambda split: _one_block([" ".join(words) for words in texts[split]], labels[split]),
        options,
    )
    return corpus_cache.temporary(build, _mapped(name))


def grammar_corpus(name: str, options: CorpusOptions) -> Corpus:
    """The topic grammar's sentences."""
    return _drawn_corpus(name, topic_grammar(), topic_of, options)


def question_corpus(name: str, options: CorpusOptions) -> Corpus:
    """Questions with their answers (`trainers.questions`)."""
    return _drawn_corpus(name, questions.question_grammar(), questions.topic_of, options)


def _drawn_corpus(name: str, grammar: Grammar, label: Callable[[Sequence[str]], str], options: CorpusOptions) -> Corpus:
    """Draws a grammar's sentences (always the same for a size); never cuts them, so its entropy stays exact.

    Where min_count or a small corpus_size leaves tokens unknown, the entropy of what is left is not known.
    """
    _refuse_places(name, options)
    options = replace(options, truncation=CorpusOptions().truncation)  # which decides nothing here, nor the fingerprint
    sizes = {"train": options.corpus_size or GRAMMAR_SIZE, "valid": GRAMMAR_HELD_OUT, "test": GRAMMAR_HELD_OUT}
    drawn: dict[str, list[tuple[list[str], float]]] = {}
    for split in SPLITS:
        generator = random.Random(f"{name} {split}")
        drawn[split] = [grammar.sample(generator) for _ in range(sizes[split])]
    exact_nll = {split: -math.fsum(log_p for _, log_p in each) / len(each) for split, each in drawn.items()}

    def records(split: str) -> Iterator[tuple[str, Block]]:
        words = [words for words, _ in drawn[split]]
        return _one_block([" ".join(each) for each in words], [label(each) for each in words])

    build = _encode(lambda split: f"{name} {split} has no sentence.", records, options, cut=False)
    made = corpus_cache.temporary(build, _mapped(name))
    if any(made.unknown.values()):  # tokens merged into <unk> are another, simpler source
        return made
    return replace(made, facts={**made.facts, "entropy": grammar.entropy, "exact_nll": exact_nll})


def _refuse_places(name: str, options: CorpusOptions) -> None:
    """
    Raises:
        BadInput: if an option says where an embedded corpus, which is no file, has its sentences or labels.
    """
    for key in ("text", "label", "labels"):
        value = getattr(options, key)
        if value != getattr(CorpusOptions(), key):
            raise BadInput(f"{key} = {value!r} is not allowed with corpus {name!r}, which is no file: leave {key} out.")


def _ptb(name: str, options: CorpusOptions) -> Corpus:
    folder = os.environ.get("PTB_DIR")
    if not folder:
        raise BadInput(
            "corpus 'ptb' needs the environment variable PTB_DIR: set it to the folder with the Penn Treebank's train.txt, "
            "valid.txt and test.txt."
        )
    return folder_corpus(name, Path(folder), options)


CORPORA: dict[str, Callable[[str, CorpusOptions], Corpus]] = {
    "grammar": grammar_corpus,
    "questions": question_corpus,
    "ptb": _ptb,
    kjv.NAME: kjv_corpus,
}


def load(name: str, options: CorpusOptions) -> Corpus:
    """A named corpus, or the folder or file of that path.

    Raises:
        BadInput: if there is no such corpus, or a file is missing, empty or not UTF-8, or shows that it is misread.
    """
    if name in CORPORA:
        return CORPORA[name](name, options)
    return folder_corpus(name, Path(name), options)
