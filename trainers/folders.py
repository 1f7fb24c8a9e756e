"""Division of a folder's files into the training, the validation and the test text."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import BadInput
from trainers.lines import COMPRESSED, Block, kind_of, read_lines
from trainers.options import CorpusOptions
from trainers.tables import READERS

SPLITS = ("train", "valid", "test")
NAMES = {"train": ("train", "training"), "valid": ("valid", "validation", "val", "dev"), "test": ("test",)}
"""Names of each split, as a part of a file's name."""
SHARD = re.compile(r"[-_.](\d+)-of-(\d+)")
"""Part of the names of files that are one split together."""
UNREADABLE = {
    ".zip": "unpack it", ".tar": "unpack it", ".tgz": "unpack it", ".bz2": "unpack it", ".xz": "unpack it", ".7z": "unpack it",
    ".xlsx": "save it as CSV", ".xls": "save it as CSV", ".pdf": "save it as text", ".docx": "save it as text",
    ".html": "save it as text", ".xml": "save it as text", ".pkl": "save it as JSON Lines", ".pickle": "save it as JSON Lines",
    ".npz": "save it as text", ".npy": "save it as text",
}  # fmt: skip
"""Endings of files that hold texts but are none, with the remedy."""
SAVED, SAVED_SPLITS = "state.json", "dataset_dict.json"
"""Files of a data set, and of several, that Hugging Face's `datasets` has saved."""


@dataclass(frozen=True)
class Texts:
    """The files of each split that has its own."""

    files: Mapping[str, tuple[Path, ...]]
    unread: tuple[Path, ...] = ()
    """Files that are named for a split of which another is read."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Splits that have no file: they are taken out of the training text."""
        return tuple(split for split in SPLITS if split not in self.files)

    def read(self, split: str, options: CorpusOptions) -> Iterator[tuple[Path, Block]]:
        """A split's records, some at a time, each with its file."""
        for file in self.files[split]:
            for block in reader_of(file, options)():
                yield file, block


def reader_of(file: Path, options: CorpusOptions) -> Callable[[], Iterator[Block]]:
    """A function that reads a file of its kind: a table by its columns, all else a sentence a line.

    Raises:
        BadInput: if the options are of another kind of file, or the file is no text.
    """
    kind = kind_of(file)
    if kind in UNREADABLE or file.suffix.lower() in UNREADABLE:
        raise BadInput(f"corpus file {file} is no text: {UNREADABLE.get(kind) or UNREADABLE[file.suffix.lower()]}.")
    if kind in READERS:
        if options.labels != "none":
            raise BadInput(
                f"labels = {options.labels!r} is of lines of text, and corpus file {file} is a table: set label to its column."
            )
        return lambda: READERS[kind](file, options)
    named = next((name for name in ("text", "label") if getattr(options, name)), None)
    if named:
        raise BadInput(
            f"{named} = {getattr(options, named)!r} names a column, and corpus file {file} has none: it is read a sentence a "
            "line; leave it out, or give the file the ending of its kind (jsonl, csv, tsv, parquet)."
        )
    return lambda: read_lines(file, options.labels)


def _stem(file: Path) -> str:
    """A file's name without its endings and the number of its shard, in small letters."""
    name = file.name.lower()
    for ending in (*COMPRESSED, kind_of(file)):
        name = name.removesuffix(ending) if ending else name
    return SHARD.sub("", name)


def _parts(file: Path) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", _stem(file)))


def _chosen(folder: Path, split: str, files: list[Path]) -> tuple[Path, ...]:
    """A split's files among those of the folder; none if there is none.

    Raises:
        BadInput: if more than one may be meant.
    """
    if folder / f"{split}.txt" in files:
        return (folder / f"{split}.txt",)
    exact = [file for file in files if _stem(file) == split]
    others = {name for other in SPLITS if other != split for name in NAMES[other]}
    named = [file for file in files if _parts(file) & set(NAMES[split]) and not _parts(file) & others]
    found = exact or named
    if len(found) > 1 and not all(SHARD.search(file.name) for file in found):
        raise BadInput(
            f"corpus folder {folder} has {len(found)} files named {split} ({', '.join(file.name for file in found[:5])}): leave "
            f"one, or name it {split}.txt."
        )
    found.sort(key=lambda file: int(part[1]) if (part := SHARD.search(file.name)) else 0)
    shards = [(int(part[1]), int(part[2])) for file in found if (part := SHARD.search(file.name))]
    numbers, total = sorted(number for number, _ in shards), max((of for _, of in shards), default=0)
    if shards and numbers not in (list(range(total)), list(range(1, total + 1))):
        raise BadInput(
            f"corpus folder {folder} has shards {', '.join(map(str, numbers[:20]))} of {total} of {split}: a split must have "
            "each of its shards once; add those that are missing."
        )
    return tuple(found)


def _saved(folder: Path) -> tuple[Path, ...]:
    """The files of one data set on disk, in their order."""
    try:
        state = json.loads((folder / SAVED).read_text(encoding="utf-8"))
        files = tuple(folder / each["filename"] for each in state["_data_files"])
        if not files:
            raise ValueError("it names none")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder / SAVED} does not tell a data set's files: save the data set anew.") from error
    return files


def find(folder: Path) -> Texts:
    """The texts of a folder or of one file.

    `train.txt`, `valid.txt` and `test.txt` go before other names, such as `wiki.train.tokens`, `dev.jsonl` or
    `train-00000-of-00002.parquet`. A split without a file is taken out of the training text, one file alone being that.

    Raises:
        BadInput: if there is no training text, or more than one file may be meant.
    """
    if folder.is_file():
        return Texts({"train": (folder,)})
    if not folder.is_dir():
        raise BadInput(f"corpus {folder} is neither a folder nor a plain file: name one of these.")
    if (folder / SAVED_SPLITS).is_file():
        parts = [part for part in sorted(folder.iterdir()) if (part / SAVED).is_file()]
        found = {split: _chosen(folder, split, parts) for split in SPLITS}
        return _checked(folder, {split: _saved(parts[0]) for split, parts in found.items() if parts}, [])
    if (folder / SAVED).is_file():
        return Texts({"train": _saved(folder)})
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    found = {split: _chosen(folder, split, files) for split in SPLITS}
    if not any(found.values()):
        texts = [file for file in files if file.suffix.lower() not in (".md", ".json") or kind_of(file) == ".jsonl"]
        if len(texts) == 1:
            return Texts({"train": (texts[0],)})
    there = {split: files for split, files in found.items() if files}
    return _checked(folder, there, [file for file in files if not any(file in each for each in there.values())])


def _checked(folder: Path, found: Mapping[str, tuple[Path, ...]], others: list[Path]) -> Texts:
    """The texts of these splits; others: files that are none of them."""
    if "train" not in found:
        raise BadInput(f"corpus folder {folder} has no file train.txt: it must hold train.txt, valid.txt and test.txt.")
    missing = [split for split in SPLITS if split not in found]
    likely = [file for file in others if kind_of(file) in {".txt", ".tokens", *READERS} - {".json"}]
    if missing and likely:
        there = ", ".join(file.name for file in likely[:5])
        raise BadInput(
            f"corpus folder {folder} has no file {missing[0]}.txt but {there}: name that file {missing[0]}, or "
            "take it away so that the split is taken out of the training text."
        )
    every = {name for names in NAMES.values() for name in names}
    return Texts(found, tuple(file for file in likely if _parts(file) & every))
