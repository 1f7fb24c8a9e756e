"""A paper's table with one's own figures in its rows and columns."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainers.contract import PRESETS
from tuner import screen
from tuner.analysis import report, sheets
from tuner.analysis.published import PAPERS, Column, Row, Table
from tuner.analysis.published.systems import System, absence, is_of, systems, told_by
from tuner.analysis.sheets import Figure, Line, Sheet, lettered
from tuner.estimators import cutting
from tuner.metrics import AXES
from tuner.space import Value
from tuner.storage.database import Database
from tuner.studies.launch import name_of
from tuner.studies.study import open_study


@dataclass(frozen=True)
class Own:
    """A configuration of one's own, and all its settings."""

    row: report.Row
    corpus: str
    model: str
    values: Mapping[str, Value]
    is_tuned: bool
    """True where a search has chosen its settings."""

    @classmethod
    def of(cls, database: Database, row: report.Row) -> "Own":
        study = open_study(database, row.study)
        trial = study.trials.get(row.trials[0])
        values = {**PRESETS.get(study.spec.model, {}), **study.spec.fixed, **trial.hyperparameters}
        is_tuned = bool(study.searched or study.spec.confirms)
        return cls(row, Path(study.facts.corpus.name).name, study.spec.model, values, is_tuned)


@dataclass(frozen=True)
class Laid:
    """A row of the paper's table as it is laid out."""

    label: str
    technique: str
    study: str
    """Study whose runs these are; empty for the paper's own."""
    runs: str
    cells: Mapping[str, Figure]
    """Figures by heading, in the paper's units."""
    made: tuple[str, ...]
    """Estimators of the figures."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    table: Table
    """Part of the paper's table that is of one corpus."""
    split: str
    columns: Mapping[str, Column]
    rows: tuple[Laid, ...]
    absent: Mapping[str, str]
    """Reasons why rows have no figures of one's own, by their labels."""

    def ranked(self, figure: str) -> "Layout":
        """The rows in the order of a figure, the best first; those for which it means nothing come last."""
        heading = next((h for h, column in self.columns.items() if column.figure == figure), "")

        def place(row: Laid) -> tuple[bool, bool, float]:
            return report.place(row.technique, figure, row.cells.get(heading))

        return replace(self, rows=tuple(sorted(self.rows, key=place)))


def lay(
    database: Database,
    table: Table,
    names: list[str],
    split: str,
    corpus: str | None = None,
    model: str | None = None,
    columns: Sequence[str] = (),
    printed: bool = False,
) -> Layout:
    """A table's part of one corpus with the figures of studies of a database.

    Args:
        names: of studies; all that are no confirmation, if there are none.
        corpus: whose studies alone are taken.
        model: likewise.
        columns: figures in place of the paper's columns.
        printed: whether the paper's own figures stand below each row.
    """
    own = owned(database, names, split, corpus, model)
    shown = {AXES[key].heading: Column(key) for key in columns} or dict(table.columns)
    told, rows, absent = told_by(systems(table)), list[Laid](), dict[str, str]()
    for row in table.rows:
        why = absence(row)
        of_row = {} if why else {v: of_system(System(table, row, v), own, told) for v in ("", *table.variants)}
        laid = _laid(row, of_row, shown)
        rows += laid
        if printed:
            rows.append(_printed(table, row, shown))
        if why or not laid:
            absent[row.label] = why or "not trained"
    return Layout(table, split, shown, tuple(rows), absent)


def owned(database: Database, names: list[str], split: str, corpus: str | None, model: str | None) -> list[Own]:
    """All configurations that may be rows: of these studies, or of all; of one corpus and preset, where these are named."""
    own = [Own.of(database, row) for row in report.found(database, names, split)]
    return [each for each in own if corpus in (None, each.corpus) and model in (None, each.model)]


def of_system(system: System, own: Sequence[Own], told: Mapping[str, set[str]]) -> list[report.Row]:
    """The configurations that are a system's: a tuned one is alike in what tells the table's rows apart, one that was set by hand
    in all that the row prints. Where some were made for this paper, those alone."""
    apart = told.get(system.technique, set())
    found = [
        each
        for each in own
        if is_of(system, each.row.technique, each.values, apart if each.is_tuned else apart | system.printed)
    ]
    made = [each for each in found if each.row.study == name_of(system.called(each.model), each.corpus, each.model)]
    others = tuple(f"{paper}-{system.technique}-" for paper in PAPERS)
    return [each.row for each in made or found if each in made or not each.row.study.startswith(others)]


def _laid(row: Row, of_row: Mapping[str, list[report.Row]], shown: Mapping[str, Column]) -> list[Laid]:
    """A row once for each configuration that is its own."""
    found = []
    for place in range(max(map(len, of_row.values()), default=0)):
        chosen = {variant: rows[place] for variant, rows in of_row.items() if place < len(rows)}
        cells = {}
        for heading, column in shown.items():
            variant, _, figure = row.figures.get(heading, column.figure).rpartition(".")
            there = chosen[variant].figures.get(figure) if variant in chosen else None
            cells[heading] = _scaled(there, 1 / column.times)
        first = next(iter(chosen.values()))
        runs = str(first.runs) if first.confirmed else "search"
        made = tuple(filter(None, (first.estimator, first.beside)))
        found.append(Laid(row.label, row.technique, first.study, runs, cells, made, first.notes))
    return found


def _printed(table: Table, row: Row, shown: Mapping[str, Column]) -> Laid:
    if shown == table.columns:
        cells: dict[str, Figure] = {heading: row.values.get(heading) for heading in shown}
    else:
        known = {key: figure for figures in table.figures(row).values() for key, figure in figures.items()}
        cells = {heading: known.get(column.figure) for heading, column in shown.items()}
    text = table.texts[table.text]
    made = f"{table.source}, {text.text}, {cutting(text.truncation)}"
    notes = (*(["the KL of one code"] if row.kl_once else []), *filter(None, [row.note, row.quoted]))
    return Laid(row.label, row.technique, "", "paper", cells, (made,), notes)


def _scaled(figure: Figure, by: float) -> Figure:
    return None if figure is None else (figure[0] * by, None if figure[1] is None else figure[1] * by)


def sheet(found: Layout) -> Sheet:
    letters, kinds = lettered([row.made for row in found.rows])
    lines = [
        Line(row.label, row.runs, tuple(row.cells.values()), letter, row.notes)
        for row, letter in zip(found.rows, letters, strict=True)
    ]
    table = found.table
    estimator = f"; in the paper NLL and PPL by {table.estimator}" if table.estimator else ""
    said = ["", f"{table.source}: {table.caption}; {found.split} sentences; mean ± sd over runs{estimator}"]
    said += [f"{chr(ord('a') + place)}: {kind}" for place, kind in enumerate(kinds)]
    mixed = len({row.made for row in found.rows if row.made}) > 1
    if mixed:
        said.append("figures under different letters are not to be ranked together")
    if any(row.runs == "search" for row in found.rows):
        said.append("search: the search's best trial, flattered by having been chosen; `tuner confirm` trains it anew")
    said += [f"absent: {label}: {why}" for label, why in found.absent.items()]
    return Sheet(tuple(found.columns), tuple(lines), tuple(said), mixed)


def as_csv(found: Layout) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    heads = [f"{heading}{part}" for heading in found.columns for part in ("", " sd")]
    lines.writerow(["table", "row", "technique", "study", "runs", *heads, "estimator", "notes"])
    for row in found.rows:
        figures = [value for cell in row.cells.values() for value in (cell or (None, None))]
        said = map(screen.cell, (row.label, row.technique, row.study, row.runs))
        lines.writerow(
            [found.table.name, *said, *figures, *map(screen.cell, ("; ".join(row.made), "; ".join(row.notes)))]
        )
    return text.getvalue()


def plain(found: Layout) -> dict[str, Any]:
    """As JSON values."""

    def cells(row: Laid) -> dict[str, Any]:
        return {h: None if cell is None else {"mean": cell[0], "sd": cell[1]} for h, cell in row.cells.items()}

    table = found.table
    text = table.texts[table.text].text
    return {
        "table": table.name,
        "paper": table.source,
        "caption": table.caption,
        "text": text,
        "split": found.split,
        "columns": {heading: column.figure for heading, column in found.columns.items()},
        "rows": [
            {**vars(row), "made": list(row.made), "notes": list(row.notes), "cells": cells(row)} for row in found.rows
        ],
        "absent": dict(found.absent),
    }


def as_json(found: Layout) -> str:
    return json.dumps(plain(found), indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Layout], str]] = {
    "table": lambda found: sheets.terminal(sheet(found)),
    "markdown": lambda found: sheets.markdown(sheet(found)),
    "latex": lambda found: sheets.latex(sheet(found)),
    "csv": as_csv,
    "json": as_json,
}
