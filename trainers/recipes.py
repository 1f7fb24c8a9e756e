"""The papers' corpora out of a user's own copies: converted and divided as they did, and compared with what they print.

Numbers are the papers': KR (Kruengkrai 2019, table 1), LV (Livne 2020, table 1 and §4.1), LI (Li 2019, appendix A), PA
(Pelsmaeker & Aziz 2019, table 6). Sums are of the sentences with single spaces, each ended by a line feed.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np

from trainers import cqa
from trainers.corpus import SPECIALS
from trainers.errors import BadInput, Failure
from trainers.folders import SPLITS, Texts, find
from trainers.options import CorpusOptions
from trainers.vocabulary import UNK

HEADING = re.compile(r"=+ .* =+")
"""Pattern of a line of WikiText that is no text."""


@dataclass(frozen=True)
class Recipe:
    """Recipe of a paper's corpus: how it is made, and what it must then be."""

    said: str
    sizes: Mapping[str, tuple[int, str]]
    """Number of sentences of each split, and the papers that print it."""
    types: tuple[tuple[int, str], ...] = ()
    """Numbers of different words of the training text, each with the papers that print it; some count special tokens
    too.
    """
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Number of words of each split."""
    sums: Mapping[str, str] = field(default_factory=dict)
    labels: str = "none"
    """Place of the labels in the usual files."""
    unknown: str = UNK
    """Form of the unknown word in the usual files."""
    drawn: tuple[str, ...] = ()
    """Splits that are a random part of more text."""
    headings: bool = False
    """True if headings stand between the text, which are left out."""


def _sizes(train: int, valid: int, test: int, by: str) -> dict[str, tuple[int, str]]:
    return {"train": (train, by), "valid": (valid, by), "test": (test, by)}


RECIPES: dict[str, Recipe] = {
    "ptb-mikolov": Recipe(
        "Penn Treebank as Mikolov prepared it: numbers are N, 10,000 types with the end token",
        _sizes(42_068, 3_370, 3_761, "KR"),
        ((10_000, "KR"),),
        {"train": 887_521, "valid": 70_390, "test": 78_669},
        {
            "train": "5145926136ee9aef6f359b267ac09cc8a920879cd71725de17c490dd111d2998",
            "valid": "fadf6277290823f881b7bf39b84e88536c87a859cd629dcfd1d2dfdef06097cf",
            "test": "c2f8c16a611595d31da5acdb7a61d50e7d5e95f6b9c05fceda5f5ddc4383e791",
        },
    ),
    "ptb-dyer": Recipe("Penn Treebank as Dyer et al. prepared it, with 25,643 types", {}, ((25_643, "PA"),)),
    "yahoo": Recipe(
        "Yahoo Answers, the part that Yang et al. drew",
        _sizes(100_000, 10_000, 10_000, "KR, LV"),
        ((20_000, "KR"), (37_165, "LV")),
        labels="first",
        unknown="_UNK",
    ),
    "yelp": Recipe(
        "Yelp reviews, the part of Yelp15 that Yang et al. drew",
        _sizes(100_000, 10_000, 10_000, "LI, LV"),
        ((19_730, "LV"),),
        labels="first",
        unknown="_UNK",
    ),
    "snli": Recipe(
        "sentences of SNLI, 120,000 of them drawn",
        _sizes(100_000, 10_000, 10_000, "LI"),
        drawn=SPLITS,
    ),
    "wikitext": Recipe(
        "WikiText-103 without headings, training and validation text drawn",
        _sizes(200_000, 10_000, 2_185, "LV"),
        ((89_247, "LV"),),
        drawn=("train", "valid"),
        headings=True,
    ),
}


def make(name: str, folder: Path, out: Path, options: CorpusOptions) -> dict[str, object]:
    """Writes `train.txt`, `valid.txt` and `test.txt`, with labels last where there are any, and compares them with the papers'.

    Raises:
        BadInput: if there is no such recipe or text, or `out` holds files.
        Failure: if they cannot be written.
    """
    if name not in (*RECIPES, cqa.NAME):
        raise BadInput(f"there is no recipe {name!r}: choose one of {', '.join((*RECIPES, cqa.NAME))}.")
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder: name the one with your copy's train, valid and test text.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"--out {out} is there already: name a new folder, or remove it.")
    if name == cqa.NAME:
        return cqa.make(folder, out)
    recipe, texts = RECIPES[name], find(folder)
    if not (options.labels != "none" or options.text or options.label):
        options = replace(options, labels=recipe.labels)
    missing = [split for split in texts.missing if split not in recipe.drawn]
    if missing:
        raise BadInput(f"{folder} has no {missing[0]} text, which is no part that is drawn: add it.")
    chosen, said = _chosen(recipe, texts, options)
    half = out.with_name(f".{out.name}.half")
    try:
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        found = {split: _written(recipe, texts, split, chosen, options, half / f"{split}.txt") for split in SPLITS}
        half.replace(out)  # an empty folder gives way
    except OSError as error:
        raise Failure("disk", f"--out {out} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    same, differs = _compared(recipe, found)
    labelled = any(each.labelled for each in found.values())
    facts = {
        split: {"sentences": each.sentences, "tokens": each.tokens, "types": len(each.types), "sha256": each.sum}
        for split, each in found.items()
    }
    return {
        "name": name,
        "folder": str(out),
        "labels": labelled,
        "splits": facts,
        "same": same,
        "differs": said + differs,
    }


def _records(recipe: Recipe, texts: Texts, split: str, options: CorpusOptions) -> Iterator[tuple[str, str | None]]:
    """A split's sentences with single spaces and the usual unknown word, each with its label."""
    for _, block in texts.read(split, options):
        for place, text in enumerate(block.texts):
            words = [UNK if word == recipe.unknown else word for word in text.split()]
            sentence = " ".join(words)
            if sentence and not (recipe.headings and HEADING.fullmatch(sentence)):
                yield sentence, None if block.labels is None else block.labels[place]


@dataclass(frozen=True)
class _Draw:
    """Sentences of a file's that are a split's: all, or those at these places."""

    source: str
    places: frozenset[int] | None = None


def _chosen(recipe: Recipe, texts: Texts, options: CorpusOptions) -> tuple[dict[str, _Draw], list[str]]:
    """The place of each split's sentences, and notes on splits that are drawn.

    A split is drawn by a hash of its sentences; one whose text is missing or too small comes out of what is left for training.
    """
    draws = {split: _Draw(split) for split in SPLITS}
    said: list[str] = []
    order: dict[str, list[int]] = {}
    for split in recipe.drawn:
        wanted = recipe.sizes[split][0]
        has_own = split in texts.files and len(_order(recipe, texts, split, options, order)) >= wanted
        source = split if has_own else "train"
        left = _order(recipe, texts, source, options, order)
        order[source] = left[wanted:]
        if not left:
            raise BadInput(f"there is no text left for {split}: the recipe draws {wanted:,} sentences for it.")
        if len(left) > wanted or source != split:
            draws[split] = _Draw(source, frozenset(left[:wanted]))
            said.append(f"{split}: drawn by a hash out of your {source} text; the paper's own draw is not known")
    return draws, said


def _order(recipe: Recipe, texts: Texts, source: str, options: CorpusOptions, order: dict[str, list[int]]) -> list[int]:
    """A text's places in the order of its sentences' hashes, without those that are taken."""
    if source not in order:
        hashes = (
            int.from_bytes(hashlib.blake2b(sentence.encode(), digest_size=8).digest())
            for sentence, _ in _records(recipe, texts, source, options)
        )
        order[source] = np.argsort(np.fromiter(hashes, np.uint64), kind="stable").tolist()
    return order[source]


@dataclass
class _Found:
    sentences: int = 0
    tokens: int = 0
    types: set[str] = field(default_factory=set)
    sum: str = ""
    labelled: bool = False


def _written(
    recipe: Recipe, texts: Texts, split: str, draws: Mapping[str, _Draw], options: CorpusOptions, file: Path
) -> _Found:
    found, digest, draw = _Found(), hashlib.sha256(), draws[split]
    out: TextIO
    with file.open("w", encoding="utf-8") as out:
        for place, (sentence, label) in enumerate(_records(recipe, texts, draw.source, options)):
            if draw.places is not None and place not in draw.places:
                continue
            words = sentence.split(" ")
            found.sentences += 1
            found.tokens += len(words)
            found.types.update(words)
            found.labelled |= label is not None
            digest.update(f"{sentence}\n".encode())
            out.write(f"{sentence}\n" if label is None else f"{sentence}\t{' '.join(label.split())}\n")
    found.sum = digest.hexdigest()
    return found


def _compared(recipe: Recipe, found: Mapping[str, _Found]) -> tuple[list[str], list[str]]:
    """Facts that agree with the papers, and facts that do not, in words."""
    same: list[str] = []
    differs: list[str] = []

    def compare(is_same: bool, fact: str, printed: str) -> None:
        (same if is_same else differs).append(fact if is_same else f"{fact}, where {printed}")

    for split, (sentences, by) in recipe.sizes.items():
        have = found[split].sentences
        compare(have == sentences, f"{split}: {have:,} sentences", f"{by} has {sentences:,}")
    for split, tokens in recipe.tokens.items():
        have = found[split].tokens
        compare(have == tokens, f"{split}: {have:,} words", f"the usual files have {tokens:,}")
    types = len(found["train"].types - set(SPECIALS) | {UNK})
    for printed, by in recipe.types:  # with the end token, and perhaps others that no text has
        compare(abs(types - printed) < len(SPECIALS), f"train: {types:,} types", f"{by} has {printed:,}")
    for split, expected in recipe.sums.items():
        compare(
            found[split].sum == expected, f"{split}: sum {found[split].sum[:12]}", f"the usual one is {expected[:12]}"
        )
    return same, differs
