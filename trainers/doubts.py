"""Doubts about a corpus that would spoil its figures: refused where no figure would mean anything, else told with
numbers.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.errors import BadInput
from trainers.lines import Block
from trainers.options import WORDS, CorpusOptions
from trainers.vocabulary import SPECIALS, UNK

Whole = NDArray[np.int64]

KINDS = {
    "control characters": re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]"),
    "zero-width characters or soft hyphens": re.compile(
        r"[\u00ad\u200b\u200e\u200f\u2060]|(?<=[A-Za-z])[\u200c\u200d]|[\u200c\u200d](?=[A-Za-z])"
    ),
    "byte-order marks": re.compile(r"\ufeff"),
    "replacement characters, which stand for letters that were lost": re.compile(r"\ufffd"),
}
"""Kinds of characters that no sentence holds. A NUL byte is refused where a file is read, so a NUL here was written as an
escape; joiners are letters of some scripts.
"""
ODD = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u2060\ufeff\ufffd]")
"""Characters of all these kinds, and joiners."""
LONGEST = 10_000
"""Largest number of words of a line."""
LETTERS = 200_000
"""Largest number of letters of a line."""
UNKNOWN_SHARE = 0.1
"""Share of unknown words among held-out tokens, above which figures are mostly of <unk>."""
SHORT = 3.0
"""Tokens of a sentence, end token left out; with a lower mean a text is none of sentences."""
CLASSES_SHARE = 0.5
"""Classes per sentence, from which on labels are no classes."""
FEW = 20
"""Number of sentences below which shares tell nothing."""
UNKNOWN_LIKE = re.compile(r"[<\[({@_|]*(?:unk|UNK|oov|OOV|unknown|UNKNOWN)[>\])}@_|]*")
"""Forms of the unknown word in other programs."""
MARK_LIKE = re.compile(r"</?\w+/?>|\[/?\w+\]|\{/?\w+\}|\|\w+\|")
"""Forms of the marks that other programs put where a sentence begins or ends."""
ONCE = 0.1
"""Share of the sentences by which a mark's count may differ from theirs, if it stands once in each."""
UNSEGMENTED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that put no space between words, as their letters' names begin."""
WORD_LETTERS = 6.0
"""Letters of a word, from which on a word of such a script is a sentence."""
RARER = "set min_count=2 so that rare training {} become <unk>"
FEWER = "more text, a lower min_count or tokens=sentencepiece:4000 leaves fewer"
UNKNOWN = {
    WORDS: ("tokens", "word", RARER.format("tokens"), FEWER),
    "characters": (
        "characters",
        "character",
        RARER.format("characters"),
        "more text or a lower min_count leaves fewer",
    ),
}
PIECES = ("pieces", "piece", "a larger training text would have them", "more training text leaves fewer")
"""Nouns for tokens and for one of them, and remedies for unknown ones: for those that are new, and for many."""
OTHER_SIDE = {"last": "first", "first": "last"}
HELD_OUT = {"valid": "validation", "test": "test"}


def _is_unknown_like(word: str) -> bool:
    found = UNKNOWN_LIKE.fullmatch(word) is not None
    return found and word != UNK and (not word.islower() or not word.isalpha())


class Oddities:
    """Oddities that no sentence holds, counted while the texts are read."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, str]] = {}
        """Number of lines by kind, and the place of the first."""

    def look(self, file: str, block: Block) -> None:
        """Takes in some records.

        Raises:
            BadInput: if one is far too long for a sentence.
        """
        together = "\n".join(block.texts)
        if ODD.search(together):
            for number, text in enumerate(block.texts, block.first):
                for kind, pattern in KINDS.items():
                    if pattern.search(text):
                        count, place = self.seen.get(kind, (0, f"line {number} of {file}"))
                        self.seen[kind] = (count + 1, place)
        for number, text in enumerate(block.texts, block.first):
            if len(text) > 2 * LONGEST and (words := len(text.split())) > LONGEST:
                raise BadInput(
                    f"line {number} of {file} has {words:,} words: write one sentence a line, or one document of at most "
                    f"{LONGEST:,} words."
                )
            if len(text) > LETTERS:
                raise BadInput(
                    f"line {number} of {file} has {len(text):,} letters: write one sentence a line, or one document of at "
                    f"most {LETTERS:,} letters."
                )

    def warnings(self) -> list[str]:
        return [
            f"{count:,} {'line holds' if count == 1 else 'lines hold'} {kind}, the first is {place}: remove them, or "
            "models learn them as parts of the text."
            for kind, (count, place) in self.seen.items()
        ]


@dataclass(frozen=True)
class Counts:
    """Counts of both passes over a corpus."""

    names: list[str]
    """Types in the order of their first appearance."""
    counts: Mapping[str, Whole]
    """Counts of each type, by split."""
    lengths: Mapping[str, NDArray[np.int32]]
    """Tokens of each sentence before it is cut, end token left out."""
    tabs: Mapping[str, int]
    unknown: Mapping[str, int]
    cut: Mapping[str, int]
    limit: int | None
    classes: Mapping[str, list[int]]
    labels: list[str]

    def warnings(self, options: CorpusOptions) -> list[str]:
        """Warnings for the readers of this corpus's figures.

        Raises:
            BadInput: if the corpus has been misread so that its figures would mean nothing.
        """
        if len(self.lengths["train"]) >= FEW and int(self._kept("train").sum()) == self.unknown["train"]:
            raise BadInput(
                f"all tokens of the training text are <unk> with min_count = {options.min_count}, so nothing can be learnt of "
                f"it: {'set a lower min_count' if options.min_count > 1 else 'give a text of known words'}."
            )
        if options.tokens == WORDS:
            self._check_own()
            self._check_script()
        if self.labels:
            self._check_labels(options)
        found = [
            self._tabs(),
            *self._unknown(options),
            self._unknown_like() if options.tokens == WORDS else None,
            *(self._marks() if options.tokens == WORDS else []),
            self._short() if options.tokens == WORDS else None,
            *(self._cut(split, noun) for split, noun in HELD_OUT.items()),
        ]
        return [said for said in found if said]

    def _check_own(self) -> None:
        """Refuses words that are this program's own marks: none of them has a probability as a word."""
        for name in SPECIALS:
            if name != UNK and name in self.names:
                place = self.names.index(name)
                times = sum(int(counts[place]) for counts in self.counts.values())
                raise BadInput(
                    f"the text has the word {name} {times:,} times, which is a mark of this program's own: remove it; a sentence "
                    "gets its end by itself."
                )

    def _check_script(self) -> None:
        """Refuses text without spaces, which as words is a sentence a word."""
        counts = self.counts["train"]
        most = np.argsort(-counts, kind="stable")[:2000]
        letters = native = words = 0
        for place in most.tolist():
            name, count = self.names[place], int(counts[place])
            own = [letter for letter in name if letter.isalpha()]
            words += count * bool(own)
            letters += count * len(own)
            native += count * sum(unicodedata.name(letter, "").startswith(UNSEGMENTED) for letter in own)
        if letters and native > 0.5 * letters and letters / words >= WORD_LETTERS:
            raise BadInput(
                f"the training text has no spaces between its words ({native / letters:.0%} of its letters are of a script "
                f"without them, and what stands between spaces has {letters / words:.1f} letters): set tokens=characters, or "
                "tokens=sentencepiece:4000 for pieces of words."
            )

    def _check_labels(self, options: CorpusOptions) -> None:
        """Refuses labels that are sentences, or that are no classes."""
        sentences = len(self.lengths["train"])
        distinct = len(set(self.classes["train"]))
        mean = float(self.lengths["train"].mean())
        label_words = np.array([len(label.split()) for label in self.labels])
        label_mean = float(label_words[np.array(self.classes["train"])].mean())
        if options.labels != "none" and options.tokens == WORDS and mean < 1.5 and label_mean >= 2:
            other = OTHER_SIDE[options.labels]
            raise BadInput(
                f"labels = {options.labels!r} reads sentences of {mean:.1f} words and labels of {label_mean:.1f}: the label "
                f"seems to stand {other} in each line; set labels={other}."
            )
        if sentences >= FEW and distinct > CLASSES_SHARE * sentences:
            other = (
                f"set labels={OTHER_SIDE[options.labels]} if they stand there"
                if options.labels in OTHER_SIDE
                else "read another column"
            )
            raise BadInput(
                f"the {sentences:,} training sentences have {distinct:,} different labels: labels that hardly repeat are no "
                f"classes; {other}, or leave the labels out."
            )

    def _tabs(self) -> str | None:
        total = sum(self.tabs.values())
        if not total or self.labels:
            return None
        return (
            f"{total:,} {'line holds' if total == 1 else 'lines hold'} a tab, read as a space: if a label stands before or after "
            "it, set labels=first or labels=last, or it is a word of the sentence."
        )

    def _unknown(self, options: CorpusOptions) -> list[str]:
        """Notes on tokens that the vocabulary lacks."""
        said = []
        noun, one, rarer, fewer = UNKNOWN.get(options.tokens, PIECES)
        unknown = sum(self.unknown[split] for split in HELD_OUT)
        if unknown and not self.unknown["train"]:
            said.append(
                f"{unknown:,} validation and test {noun} are not in the training text, which has no <unk> to learn from: "
                f"their likelihood is arbitrary; {rarer}."
            )
        for split, name in {"train": "training", **HELD_OUT}.items():
            tokens = int(self._kept(split).sum())
            share = self.unknown[split] / tokens
            if share > UNKNOWN_SHARE:
                said.append(
                    f"{share:.0%} of the {name} {noun} ({self.unknown[split]:,} of {tokens:,}) are <unk>: a low perplexity "
                    f"says little where so much is one {one}; {fewer}."
                )
        return said

    def _kept(self, split: str) -> NDArray[np.int32]:
        lengths = self.lengths[split]
        return lengths if self.limit is None else np.minimum(lengths, max(self.limit - 1, 1))

    def _unknown_like(self) -> str | None:
        found = {name: int(self.counts["train"][i]) for i, name in enumerate(self.names) if _is_unknown_like(name)}
        found = {name: count for name, count in found.items() if count}
        if not found:
            return None
        most = sorted(found, key=lambda name: -found[name])[:3]
        return (
            f"the training text has {', '.join(f'{name} ({found[name]:,})' for name in most)}, which seems to stand for an "
            f"unknown word but is read as any other: write {UNK} for it, or words that are unknown have two names."
        )

    def _marks(self) -> list[str]:
        """Warnings of words that look like marks and stand once in each training sentence, or nearly."""
        sentences, counts = len(self.lengths["train"]), self.counts["train"]
        return [
            f"{name} stands {int(counts[i]):,} times in {sentences:,} training sentences: if it marks where they begin or end, "
            "remove it; models learn it as a word that is sure, so that perplexities are too low."
            for i, name in enumerate(self.names)
            if sentences >= FEW
            and abs(int(counts[i]) - sentences) <= ONCE * sentences
            and MARK_LIKE.fullmatch(name)
            and not (name == UNK or _is_unknown_like(name))
        ]

    def _short(self) -> str | None:
        mean = float(self.lengths["train"].mean())
        if mean >= SHORT:
            return None
        return (
            f"the training sentences have {mean:.1f} words on average: is a sentence a line, are its words divided by spaces, "
            "and is the column the right one?"
        )

    def _cut(self, split: str, noun: str) -> str | None:
        if not self.cut[split]:
            return None
        longest = int(self._kept(split).max()) + 1
        return (
            f"{self.cut[split]} of {len(self.lengths[split])} {noun} sentences are cut to {longest} tokens, as in "
            "Pelsmaeker & Aziz's paper alone; truncation=0 keeps them whole."
        )
