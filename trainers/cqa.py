"""YahooCQA (Tay et al. 2017) out of a user's own copy, as Livne et al. rank its answers (LV §4.6): the recipe `yahoo-cqa`.

The copy has train, valid (or dev) and test as `.tsv` or `.txt`, a pair a line: question, answer and 1 or 0, divided by tabs, 1
for the right answer; a question's lines stand together. Made are `train.txt`, `valid.txt` and `test.txt`, each right pair one
sentence, and `train.questions`, … for `tuner answer --file`: a question and its answers by tabs, the right one first.
"""

import hashlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainers.errors import BadInput, Failure
from trainers.folders import SPLITS
from trainers.questions import MARK

NAME = "yahoo-cqa"
PRINTED = {"train": (253_000, 1000), "valid": (31_700, 100), "test": (31_700, 100)}
"""Pairs of each split that LV print, and the unit to which they are rounded."""
TYPES = 116_900
ALSO = {"valid": ("valid", "dev")}

Pair = tuple[str, str, bool]


def _file(folder: Path, split: str) -> Path:
    for stem, kind in itertools.product(ALSO.get(split, (split,)), ("tsv", "txt")):
        if (file := folder / f"{stem}.{kind}").exists():
            return file
    raise BadInput(
        f"{folder} has no {split}.tsv: it must have a question, an answer and 1 or 0 a line, divided by tabs."
    )


def _pairs(file: Path) -> Iterator[Pair]:
    """Question, answer and whether it is right, with single spaces.

    Raises:
        BadInput: if a line is of another form.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeError) as error:
        raise BadInput(f"{file} cannot be read ({error}).") from error
    for number, line in enumerate(lines, 1):
        parts = line.split("\t")
        if len(parts) != 3 or parts[2].strip() not in ("0", "1"):
            raise BadInput(
                f"{file.name} line {number}: {line[:60]!r} is no question, answer and 1 or 0, divided by tabs."
            )
        question, answer = (" ".join(part.split()) for part in parts[:2])
        if question and answer:
            yield " ".join([*question.removesuffix(MARK).split(), MARK]), answer, parts[2].strip() == "1"


def make(folder: Path, out: Path) -> dict[str, object]:
    """Writes the sentences and the questions; says what of their numbers is as printed.

    Raises:
        BadInput: if the copy is of another form.
        Failure: if they cannot be written.
    """
    same: list[str] = []
    differs: list[str] = []
    splits: dict[str, dict[str, int | str]] = {}
    words: set[str] = set()
    half = out.with_name(f".{out.name}.half")
    try:
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for split in SPLITS:
            pairs = list(_pairs(_file(folder, split)))
            sentences = "".join(f"{question} {answer}\n" for question, answer, right in pairs if right)
            (half / f"{split}.txt").write_text(sentences, encoding="utf-8")
            asked = 0
            with (half / f"{split}.questions").open("w", encoding="utf-8") as text:
                for question, group in itertools.groupby(pairs, lambda pair: pair[0]):
                    answers = {True: list[str](), False: list[str]()}
                    for _, answer, right in group:
                        answers[right].append(answer)
                    for answer in answers[True] if answers[False] else ():  # a second right one is no wrong choice
                        asked += 1
                        text.write("\t".join([question, answer, *answers[False]]) + "\n")
            words.update(word for question, answer, _ in pairs for word in f"{question} {answer}".split())
            splits[split] = {
                "sentences": sum(right for *_, right in pairs),
                "tokens": len(sentences.split()),
                "types": len(set(sentences.split())),
                "sha256": hashlib.sha256(sentences.encode()).hexdigest(),
                "pairs": len(pairs),
                "questions": asked,
            }
            printed, unit = PRINTED[split]
            as_printed = round(len(pairs) / unit) * unit == printed
            fact = f"{split}: {len(pairs):,} pairs"
            (same if as_printed else differs).append(fact if as_printed else f"{fact}, where LV has {printed:,}")
        half.replace(out)
    except OSError as error:
        raise Failure("disk", f"--out {out} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    fact = f"{len(words):,} types"
    (same if len(words) == TYPES else differs).append(
        fact if len(words) == TYPES else f"{fact}, where LV has {TYPES:,}"
    )
    return {"name": NAME, "folder": str(out), "labels": False, "splits": splits, "same": same, "differs": differs}
