"""Tables of texts: JSON Lines, CSV, TSV, Parquet, and data sets that Hugging Face's `datasets` has saved.

JSON and CSV are read by Python's own modules, which know the line of a mistake; the others by pyarrow.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from trainers.errors import BadInput
from trainers.lines import DIVIDERS, HEADINGS, LABEL_NAMES, TEXT_NAMES, Block, arrow, kind_of, opened, pieces
from trainers.options import CorpusOptions

ROWS = 10_000
"""Number of records read at once."""
SHOWN = 12
"""Largest number of columns that a message names."""
ALIKE = 20
"""Number of rows from which on a sign that each has equally often divides them."""
SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Half of a character, which JSON can name and no file of UTF-8 can hold."""
CELL = 1 << 22
"""Largest number of letters of a CSV's cell; a longer one is a quotation mark that is not closed."""


@dataclass(frozen=True)
class Columns:
    """Places of the columns that are read."""

    text: int
    label: int | None


def choose(file: Path, names: Sequence[str], options: CorpusOptions, numbered: bool = False) -> Columns:
    """The columns that the options name, or that plainly hold the sentences.

    Args:
        numbered: the table has no header, so that its columns are named 1, 2, ….

    Raises:
        BadInput: if a column is not there, or more than one may be meant.
    """
    if not names:
        raise BadInput(f"corpus file {file} has no columns: one must have the sentences.")
    listed = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    columns = "1 column" if len(names) == 1 else f"{len(names)} columns"
    there = f"{columns} and no header line" if numbered else f"the columns {listed}"

    def place(option: str, name: str) -> int:
        if names.count(name) > 1:
            raise BadInput(
                f"{option} = {name!r} is the name of {names.count(name)} columns of corpus file {file}: give each its own."
            )
        if name in names:
            return names.index(name)
        raise BadInput(
            f"{option} = {name!r} is no column of corpus file {file}, which has {there}: set {option} to one of them."
        )

    label = place("label", options.label) if options.label else None
    if options.text:
        text = place("text", options.text)
        if text == label:
            raise BadInput(f"text and label are both {options.text!r}: name two columns of corpus file {file}.")
        return Columns(text, label)
    usual = [i for i, name in enumerate(names) if name.strip().lower() in TEXT_NAMES]
    if len(names) == 1 or len(usual) == 1:
        return Columns(usual[0] if usual else 0, label)
    raise BadInput(
        f"corpus file {file} has {there}: set text to the column that has the sentences, e.g. --set text={names[0]}."
    )


def _cell(file: Path, noun: str, number: int, option: str, value: object) -> str:
    """A cell as text; none, and what is not a number, are empty."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        if SURROGATE.search(value):
            raise BadInput(
                f"corpus file {file}, record {number} holds half of a character (a lone surrogate): write the text anew."
            )
        return value
    if option == "label" and isinstance(value, (int, float, bool)):
        return str(value)
    raise BadInput(
        f"corpus file {file}, {noun} {number}: {option} is {str(value)[:40]!r}, no text: set {option} to a column of texts."
    )


def read_jsonl(file: Path, options: CorpusOptions) -> Iterator[Block]:
    """Objects, one a line; a key that an object lacks is an empty text."""
    keys: list[str] = []
    columns = Columns(0, None)
    for first, lines in pieces(file):
        texts, labels = [], []
        for number, line in enumerate(lines, first):
            if not line.strip():
                texts.append("")
                labels.append("")
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                what = "one JSON array, not" if number == 1 and line.lstrip().startswith("[") else "no JSON, so not"
                raise BadInput(f"corpus file {file}, line {number} is {what} one object a line ({error}).") from error
            if not isinstance(found, dict):
                what = "a JSON array" if isinstance(found, list) else "no JSON object"
                raise BadInput(
                    f"corpus file {file}, line {number} is {what}: write one object a line, e.g. "
                    '{"text": "a sentence"}.'
                )
            if not keys:
                keys = list(found)
                if not keys:
                    raise BadInput(f"corpus file {file}, line {number} is an empty object: it must hold the sentence.")
                columns = choose(file, keys, options)
            texts.append(_cell(file, "line", number, "text", found.get(keys[columns.text])))
            label = None if columns.label is None else found.get(keys[columns.label])
            labels.append(_label(file, "line", number, label) if columns.label is not None and texts[-1] else "")
        yield Block(texts, labels if columns.label is not None else None, first)


def _label(file: Path, noun: str, number: int, value: object) -> str:
    text = _cell(file, noun, number, "label", value).strip()
    if not text:
        raise BadInput(
            f"corpus file {file}, {noun} {number} has no label: give it one, or leave out label to read none."
        )
    return text


def _is_header(cells: Sequence[str], options: CorpusOptions) -> bool:
    """True if a table's first row names its columns."""
    names = [cell.strip() for cell in cells]
    asked = [name for name in (options.text, options.label) if name]
    if asked and all(name.isdecimal() for name in asked):
        return bool({name.lower() for name in names} & {*TEXT_NAMES, *LABEL_NAMES})
    if asked and all(name in names for name in asked):
        return True
    plain = all(re.fullmatch(r"[^\W\d][\w .-]{0,39}", name) and len(name.split()) <= 3 for name in names)
    return plain and len(set(names)) == len(names) and bool({name.lower() for name in names} & HEADINGS)


def read_csv(file: Path, options: CorpusOptions) -> Iterator[Block]:
    """Rows of cells, in quotation marks where they hold commas or line ends; a header is found by its names."""
    # In a TSV a tab divides cells and a quotation mark is a letter, as GLUE's are written.
    tabs = kind_of(file) == ".tsv"
    style: Mapping[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    previous = csv.field_size_limit(CELL)
    reader = csv.reader((line + "\n" for line in chain.from_iterable(lines for _, lines in pieces(file))), **style)
    try:
        yield from _rows(file, reader, options, "\t" if tabs else ",")
    except csv.Error as error:
        raise BadInput(
            f"corpus file {file}, line {reader.line_num}: {error}; a quotation mark there may not be closed."
        ) from error
    finally:
        csv.field_size_limit(previous)


def _check_divider(file: Path, rows: Sequence[Sequence[str]], options: CorpusOptions, divider: str) -> None:
    """Refuses a table of one column that plainly has several, which another sign divides."""
    cells = [row[0] for row in rows if row]
    for mark in DIVIDERS:
        parts = cells[0].split(mark)
        alike = len(cells) >= ALIKE and len({cell.count(mark) for cell in cells}) == 1
        if mark != divider and len(parts) > 1 and (_is_header(parts, options) or (alike and mark != ",")):
            raise BadInput(
                f"corpus file {file} has one column, whose cells {mark!r} divides in {len(parts)}: save it with {divider!r} "
                f"between its cells{f', or name it {file.stem}.{DIVIDERS[mark]}' if DIVIDERS[mark] else ''}."
            )


def _rows(file: Path, reader: Iterator[list[str]], options: CorpusOptions, divider: str) -> Iterator[Block]:
    start = next((row for row in reader if row), None)
    if start is None:
        return
    if len(start) == 1:
        some = list(islice(reader, ROWS))
        _check_divider(file, [row for row in [start, *some] if len(row) == 1], options, divider)
        reader = chain(some, reader)
    width, has_header = len(start), _is_header(start, options)
    names = [cell.strip() for cell in start] if has_header else [str(i + 1) for i in range(width)]
    columns = choose(file, names, options, numbered=not has_header)
    rows = reader if has_header else chain([start], reader)
    number = 1 + has_header
    while some := list(islice(rows, ROWS)):
        texts, labels = [], []
        for place, row in enumerate(some, number):
            if len(row) != width and row:
                raise BadInput(
                    f"corpus file {file}, row {place} has {len(row)} cells, not {width} as the first: put a text that holds the "
                    "divider in quotation marks, or remove it."
                )
            texts.append(row[columns.text] if row else "")
            is_there = columns.label is not None and bool(texts[-1].strip())
            labels.append(_label(file, "row", place, row[columns.label or 0]) if is_there else "")
        yield Block(texts, labels if columns.label is not None else None, number)
        number += len(some)


def read_parquet(file: Path, options: CorpusOptions) -> Iterator[Block]:
    """A Parquet file's rows."""
    source = arrow("pyarrow.parquet", file)
    with opened(file):  # says what cannot be read
        pass
    try:
        table = source.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise BadInput(f"corpus file {file} is no Parquet file ({str(error)[:80]}).") from error
    columns = choose(file, table.schema_arrow.names, options)
    wanted = [table.schema_arrow.names[i] for i in (columns.text, columns.label) if i is not None]
    yield from _batches(file, table.iter_batches(ROWS, columns=wanted), wanted, options, {})


def read_arrow(file: Path, options: CorpusOptions) -> Iterator[Block]:
    """A stream of Arrow record batches, as Hugging Face's `datasets` saves them."""
    source = arrow("pyarrow", file)
    with opened(file):
        pass
    try:
        stream = source.ipc.open_stream(source.memory_map(str(file)))
    except (OSError, ValueError) as error:
        raise BadInput(f"corpus file {file} is no stream of Arrow batches ({str(error)[:80]}).") from error
    columns = choose(file, stream.schema.names, options)
    wanted = [stream.schema.names[i] for i in (columns.text, columns.label) if i is not None]
    yield from _batches(file, stream, wanted, options, _class_names(file, options.label))


def _class_names(file: Path, label: str) -> Mapping[int, str]:
    """Names of the numbers of a column of classes, by the data set's own description."""
    try:
        features = json.loads((file.parent / "dataset_info.json").read_text(encoding="utf-8"))["features"]
        return dict(enumerate(features[label]["names"]))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _batches(
    file: Path, batches: Iterator[Any], wanted: Sequence[str], options: CorpusOptions, names: Mapping[int, str]
) -> Iterator[Block]:
    number = 1
    for batch in _readable(file, batches):
        cells = [batch.column(name).to_pylist() for name in wanted]
        texts = [_cell(file, "row", place, "text", value) for place, value in enumerate(cells[0], number)]
        labels = None
        if options.label:
            labels = [
                _label(file, "row", place, names.get(value, value) if isinstance(value, int) else value) if text else ""
                for place, (value, text) in enumerate(zip(cells[1], texts, strict=True), number)
            ]
        yield Block(texts, labels, number)
        number += len(texts)


def _readable(file: Path, batches: Iterator[Any]) -> Iterator[Any]:
    """The batches, whose texts are UTF-8.

    Raises:
        BadInput: if one is damaged.
    """
    try:
        for batch in batches:
            batch.validate(full=True)
            yield batch
    except (OSError, ValueError) as error:
        said = (str(error).splitlines() or ["it is damaged"])[0]
        raise BadInput(f"corpus file {file} cannot be read ({said[:120]}): write it anew.") from error


READERS: dict[str, Callable[[Path, CorpusOptions], Iterator[Block]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
"""Readers by a file's ending, that of a compression left out."""
