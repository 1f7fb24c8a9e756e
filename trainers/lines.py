"""Files of text, a sentence a line: what is read, what is refused, and where.

A file is read in pieces, so that its size costs no memory. A line ends at a line feed, with or without a carriage return before.
"""

import gzip
import importlib
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from trainers.errors import BadInput

PIECE = 1 << 23
"""Number of bytes read at once."""
LONGEST = 1 << 26
"""Largest number of bytes of a line; a longer one is no text of sentences."""
COMPRESSED = (".gz", ".zst")
BOM = b"\xef\xbb\xbf"
OTHER_BOMS = {
    b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "Zstandard", b"PK\3\4": "a zip archive", b"PAR1": "Parquet"}
"""Kinds of files that hold no plain text, by their first bytes."""
DIVIDERS = {",": "csv", "\t": "tsv", ";": "", "|": ""}
"""Signs that divide a table's cells, each with the ending of the files that we read so; empty: none."""
LONE_RETURN = re.compile(r"\r(?!\r*$)")
TEXT_NAMES = ("text", "sentence", "content", "review", "document", "body", "utterance")
"""Usual names of a column of sentences."""
LABEL_NAMES = ("label", "class", "category", "sentiment", "topic", "stars", "score", "rating", "target")
OTHER_NAMES = ("id", "idx", "index", "title", "split", "source", "date", "author")
HEADINGS = {*TEXT_NAMES, *LABEL_NAMES, *OTHER_NAMES, "sentences", "texts", "labels"}


@dataclass(frozen=True)
class Block:
    """Some of a file's records in their order."""

    texts: list[str]
    """Texts as they stand in the file; an empty one is none."""
    labels: list[str] | None
    first: int
    """Number of the first record, counted from 1."""
    tabs: int = 0
    """Number of texts that hold a tab."""
    others: int = 0
    """Number of texts left empty since they are of another split."""


@contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked where its name says that they are compressed.

    Raises:
        BadInput: if it cannot be read.
    """
    try:
        with _stream(file) as stream:
            yield stream
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"corpus file {file} cannot be read: {reason}; put a copy there that can.") from error


def kind_of(file: Path) -> str:
    """A file's ending in small letters, that of a compression left out."""
    name = file.name.lower()
    return Path(name.removesuffix(file.suffix.lower()) if file.suffix.lower() in COMPRESSED else name).suffix


def _stream(file: Path) -> IO[bytes]:
    if file.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(file))
    if file.suffix.lower() == ".zst":
        return cast(IO[bytes], arrow("pyarrow", file).CompressedInputStream(str(file), "zstd"))
    return file.open("rb")


def arrow(module: str, file: Path) -> Any:
    """A module of the package that reads Parquet, Arrow and Zstandard.

    Raises:
        BadInput: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"corpus file {file} needs the package pyarrow: pip install 'text-vae-tuner[datasets]'."
        ) from error


def pieces(file: Path) -> Iterator[tuple[int, list[str]]]:
    """A file's lines, some at a time, with the number of the first.

    Raises:
        BadInput: if it cannot be read or is no UTF-8 text; the line is named.
    """
    number, rest = 1, b""
    with opened(file) as stream:
        while piece := stream.read(PIECE):
            if number == 1 and not rest:
                _check_start(file, piece)
                piece = piece.removeprefix(BOM)  # some editors put one first
            whole, feed, rest = (rest + piece).rpartition(b"\n")
            if feed:
                lines = _decoded(file, whole, number).split("\n")
                yield number, lines
                number += len(lines)
            if len(rest) > LONGEST:
                raise BadInput(
                    f"corpus file {file}, line {number} is longer than {LONGEST >> 20} MiB: write one sentence a line."
                )
    if rest:
        yield number, [_decoded(file, rest, number)]


def _check_start(file: Path, piece: bytes) -> None:
    for mark, encoding in OTHER_BOMS.items():
        if piece.startswith(mark):
            raise BadInput(f"corpus file {file} is not UTF-8 text but {encoding}: convert it to UTF-8.")
    for mark, kind in MAGIC.items():
        if piece.startswith(mark):
            raise BadInput(f"corpus file {file} is no text but {kind}: unpack it, or give it the ending of its kind.")


def _decoded(file: Path, content: bytes, number: int) -> str:
    """Lines from that number on as text."""

    def place(end: int) -> int:
        return number + content.count(b"\n", 0, end)

    if (at := content.find(b"\0")) >= 0:
        raise BadInput(
            f"corpus file {file}, line {place(at)} holds a NUL byte: it is no UTF-8 text but UTF-16 or binary; convert it."
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = place(error.start)
        before = ", while all before it are" if line > 1 else ""
        raise BadInput(
            f"corpus file {file} is not UTF-8 text: line {line} is not{before} (byte {content[error.start]:#04x}); "
            "convert it to UTF-8."
        ) from error
    if "\r" in text:
        for offset, line_text in enumerate(text.split("\n")):
            if LONE_RETURN.search(line_text):
                raise BadInput(
                    f"corpus file {file}, line {number + offset} holds a carriage return without a line feed: end every line "
                    "with a line feed."
                )
    return text


def is_object(line: str) -> bool:
    """True if a line is a JSON object."""
    found = None
    if line.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
    return isinstance(found, dict)


def _check_first(file: Path, number: int, line: str, labelled: bool) -> None:
    """Refuses a text whose first line that is not empty shows that it is a table."""
    if is_object(line):
        raise BadInput(
            f"corpus file {file}, line {number} is a JSON object, no sentence: name the file {file.stem}.jsonl and set text to "
            "the key of its sentences."
        )
    for mark, ending in DIVIDERS.items():
        cells = [cell.strip().strip('"').lower() for cell in line.strip().split(mark)]
        if len(cells) > 1 and set(cells) & HEADINGS and all(re.fullmatch(r"[a-z_]\w*", cell) for cell in cells):
            named = f"name the file {file.stem}.{ending}" if ending else f"save it as {file.stem}.csv with commas"
            raise BadInput(
                f"corpus file {file}, line {number} is a header ({', '.join(cells[:5])}), no sentence: {named} "
                f"and set text{' and label' if labelled else ''} to the columns, or delete the line."
            )


def read_lines(file: Path, labels: str) -> Iterator[Block]:
    """A text file's sentences; labels: none, or where a line has one, first or last, divided by a tab."""
    is_begun = False
    for first, lines in pieces(file):
        if not is_begun and (there := next((i for i, line in enumerate(lines) if line.strip()), None)) is not None:
            is_begun = True
            _check_first(file, first + there, lines[there], labels != "none")
        if labels == "none":
            yield Block(lines, None, first, sum("\t" in line for line in lines))
            continue
        texts, found = [], []
        for number, line in enumerate(lines, first):
            one, tab, other = line.partition("\t") if labels == "first" else line.rpartition("\t")
            label, text = (one, other) if labels == "first" else (other, one)
            if not (tab and label.strip()) and line.strip():
                raise BadInput(
                    f"corpus file {file}, line {number} has no label: labels={labels} wants one "
                    f"{'before the first' if labels == 'first' else 'after the last'} tab."
                )
            texts.append(text)
            found.append(label.strip())
        yield Block(texts, found, first, sum("\t" in text for text in texts))
