"""Tables that the papers print: one TOML file a paper, every row with its deviations and settings.

A file is read by hand from the paper's text. It names the texts (corpus, cutting), and for each table the split, the runs, what
estimates the NLL, and which figure of ours each column is. Row and column labels are the paper's, a block's heading before its
rows' (`block / label`).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from tuner.analysis.sheets import AsPrinted
from tuner.metrics import FIGURES

PAPERS = ("pa", "li", "kr", "mi", "lv")


@dataclass(frozen=True)
class Text:
    """A corpus and its cutting, of which figures are."""

    text: str
    """The corpus, in few words."""
    truncation: float
    """Standard deviations above the mean length at which sentences are cut; 0: never."""


@dataclass(frozen=True)
class Column:
    figure: str
    """Our figure's key, or a plain name where we have no such figure."""
    text: str = ""
    """Key of the column's corpus, if it is not the row's or the table's."""
    times: float = 1.0
    """Factor from the printed unit to ours."""


@dataclass(frozen=True)
class Row:
    """One system's line in a table."""

    label: str
    values: Mapping[str, tuple[float, float | None]]
    """Value and standard deviation of each printed column; the latter is None if it is not printed."""
    technique: str = ""
    """Our technique's name; empty where we have no such technique."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters and options as printed, by our names."""
    text: str = ""
    """Key of the row's corpus, if it is not the table's."""
    quoted: str = ""
    """Source of the figures, where the paper repeats another's."""
    note: str = ""
    """Anything else that sets the row apart."""
    kl_once: bool = False
    """True if one code's KL is counted where several codes make a sentence, so that the figures are no bound."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """Our figure's key for a column, where the table's does not hold for this row."""
    trained: Mapping[str, Any] = field(default_factory=dict)
    """Options of ours with which the row is trained, where the paper is silent."""
    untrained: str = ""
    """Reason why nothing here trains the row, if there is one."""


@dataclass(frozen=True)
class Table:
    name: str
    """Name of the table, e.g. `pa-3`."""
    paper: str
    caption: str
    texts: Mapping[str, Text]
    text: str = ""
    """Key of the corpus of all rows, where they share one."""
    split: str = ""
    runs: int | None = None
    """Number of runs whose mean a figure is; None where the paper does not say."""
    estimator: str = ""
    """Estimator of the NLL and PPL."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    sentences: str = ""
    """Kind of the samples that the table shows in place of figures (`sentences.KINDS`)."""
    usual: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a run that does not name them, where rows differ in them."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of a row's other runs, by the prefix of the figures that come from these."""

    @property
    def paper_key(self) -> str:
        """One of `PAPERS`."""
        return self.name.partition("-")[0]

    @property
    def source(self) -> str:
        return f"{self.paper}, table {self.name.partition('-')[2]}"

    def figures(self, row: Row) -> dict[str, dict[str, tuple[float, float | None]]]:
        """A row's figures in our units, for each text that it has figures of."""
        found: dict[str, dict[str, tuple[float, float | None]]] = {}
        for heading, (value, sd) in row.values.items():
            column = self.columns[heading]
            own = found.setdefault(column.text or row.text or self.text, {})
            scaled = value * column.times, None if sd is None else sd * column.times
            own[row.figures.get(heading, column.figure)] = (value, sd) if column.times == 1 else scaled
        return found


def _printed(cell: float) -> float:
    return AsPrinted(cell) if isinstance(cell, int) else cell


def _row(entry: Mapping[str, Any]) -> Row:
    values = {
        heading: (_printed(cell[0]), _printed(cell[1])) if isinstance(cell, list) else (_printed(cell), None)
        for heading, cell in entry.get("values", {}).items()
    }
    return Row(**{**entry, "values": values})


def _column(entry: str | Mapping[str, Any]) -> Column:
    return Column(entry) if isinstance(entry, str) else Column(**entry)


def _read(paper: str) -> dict[str, Any]:
    text = (resources.files(__name__) / f"{paper}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=AsPrinted)


@cache
def tables() -> Mapping[str, Table]:
    """Every table, by its name."""
    found = {}
    for paper in PAPERS:
        content = _read(paper)
        texts = {key: Text(**text) for key, text in content["texts"].items()}
        for entry in content["table"]:
            columns = {heading: _column(column) for heading, column in entry.pop("columns", {}).items()}
            rows = tuple(map(_row, entry.pop("rows", [])))
            found[entry["name"]] = Table(paper=content["paper"], texts=texts, columns=columns, rows=rows, **entry)
    return found


@cache
def unprinted() -> Mapping[str, str]:
    """Why no table has a row of these techniques."""
    return {technique: why for paper in PAPERS for technique, why in _read(paper).get("unprinted", {}).items()}


@dataclass(frozen=True)
class Printed:
    """A row's figures of one text."""

    table: Table
    row: Row
    text: Text
    figures: Mapping[str, tuple[float, float | None]]
    """Value and standard deviation of each figure, in our units."""

    def is_within(self, other: "Printed") -> bool:
        """True if the other row has all figures of this one, in the same paper, for the same settings and text."""
        same = (self.table.paper, self.row.technique, self.row.settings, self.text) == (
            other.table.paper, other.row.technique, other.row.settings, other.text
        )  # fmt: skip
        return same and self.figures.items() <= other.figures.items()


def printed(split: str) -> list[Printed]:
    """The papers' own figures of our techniques: no quotations, only figures that we have too, and each once."""
    found = [
        Printed(table, row, table.texts[text], own)
        for table in tables().values()
        for row in (table.rows if table.split == split else ())
        if row.technique and not row.quoted
        for text, figures in table.figures(row).items()
        if (own := {key: figure for key, figure in figures.items() if key in FIGURES})
    ]
    kept: list[Printed] = []
    for one in sorted(found, key=lambda one: -len(one.figures)):
        if not any(one.is_within(other) for other in kept):
            kept.append(one)
    return [one for one in found if one in kept]
