"""A paper's table with one's own figures in its rows and columns."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainers.contract import PRESETS
from tuner import screen
from tuner.analysis import report, sheets
from tuner.analysis.published import PAPERS, Column, Row, Table
from tuner.analysis.published.systems import System, absence, is_of, systems, told_by
from tuner.analysis.sheets import Figure, Line, Sheet, legend, lettered, presets
from tuner.errors import Usage
from tuner.estimators import cutting
from tuner.metrics import AXES, FIGURES
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
    model: str = ""
    """Preset of the model's sizes; empty for the paper's own."""


@dataclass(frozen=True)
class Layout:
    table: Table
    """Part of the paper's table that is of one corpus."""
    split: str
    columns: Mapping[str, Column]
    rows: tuple[Laid, ...]
    absent: Mapping[str, str]
    """Reasons why rows have no figures of one's own, by their labels; not of others' figures that stand printed."""

    def ranked(self, figure: str) -> "Layout":
        """The rows in the order of a figure, the best first; those for which it means nothing come last.

        Raises:
            Usage: if it is in no column.
        """
        headings = {column.figure: heading for heading, column in self.columns.items()}
        if figure not in headings:
            known = ", ".join(key for key in headings if key in FIGURES)
            raise Usage(
                f"--rank {figure} is in no column of {self.table.name}: choose of {known}, or show it by --columns."
            )

        def place(row: Laid) -> tuple[bool, bool, float]:
            return report.place(row.technique, figure, row.cells.get(headings[figure]))

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
        names: of studies; all but the confirmations of one of them, if there are none.
        corpus: whose studies alone are taken.
        model: likewise.
        columns: figures in place of the paper's columns.
        printed: whether the paper's own figures stand below each row.
    """
    own = owned(database, names, split, corpus, model)
    shown = {AXES[key].heading: Column(key) for key in columns} or dict(table.columns)
    told, rows, absent = told_by(systems(table)), list[Laid](), dict[str, str]()
    searched = owned(database, names, "valid", corpus, model) if split == "test" else []
    for row in table.rows:
        why = absence(row)
        of_row = {} if why else {v: of_system(System(table, row, v), own, told) for v in ("", *table.variants)}
        laid = [_laid(row, one, shown) for one in _configurations(of_row)]
        rows += laid
        if printed:
            rows.append(_printed(table, row, shown))
        if not laid and not (printed and row.quoted):
            is_there = not why and of_system(System(table, row), searched, told)
            absent[row.label] = why or ("`tuner confirm` makes its test figures" if is_there else "not trained")
    return Layout(table, split, shown, tuple(rows), absent)


def owned(database: Database, names: list[str], split: str, corpus: str | None, model: str | None) -> list[Own]:
    """All configurations that may be rows: of these studies, or of all; of one corpus and preset, where these are named."""
    own = [Own.of(database, row) for row in report.found(database, names, split)]
    return [each for each in own if corpus in (None, each.corpus) and model in (None, each.model)]


def of_system(system: System, own: Sequence[Own], told: Mapping[str, set[str]]) -> list[Own]:
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
    return [each for each in made or found if each in made or not each.row.study.startswith(others)]


def _configurations(of_row: Mapping[str, list[Own]]) -> list[dict[str, report.Row]]:
    """A row's configurations, each with the runs of its variants: those of one corpus and preset go together."""
    found = dict[tuple[str, str, int], dict[str, report.Row]]()
    for variant, owns in of_row.items():
        seen = Counter[tuple[str, str]]()
        for own in owns:
            kind = (own.corpus, own.model)
            found.setdefault((*kind, seen[kind]), {})[variant] = own.row
            seen[kind] += 1
    return list(found.values())


def _laid(row: Row, variants: Mapping[str, report.Row], shown: Mapping[str, Column]) -> Laid:
    """A row with the figures of one configuration, by variant."""
    cells = {}
    for heading, column in shown.items():
        variant, _, figure = row.figures.get(heading, column.figure).rpartition(".")
        there = variants[variant].figures.get(figure) if variant in variants else None
        cells[heading] = _scaled(there, 1 / column.times)
    first = next(iter(variants.values()))
    runs = str(first.runs) if first.confirmed else "search"
    made = tuple(filter(None, (first.estimator, first.beside)))
    notes = tuple(dict.fromkeys(note for each in variants.values() for note in each.notes))
    return Laid(row.label, row.technique, first.study, runs, cells, made, notes, first.model)


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
    counts = Counter(row.label for row in found.rows if row.study)
    labels = [f"{row.label} ({row.study})" if row.study and counts[row.label] > 1 else row.label for row in found.rows]
    lines = [
        Line(label, row.runs, tuple(row.cells.values()), letter, row.notes)
        for label, row, letter in zip(labels, found.rows, letters, strict=True)
    ]
    table = found.table
    estimator = f"; in the paper NLL and PPL by {table.estimator}" if table.estimator else ""
    said = ["", f"{table.source}: {table.caption}; {found.split} sentences; mean ± sd over runs{estimator}"]
    if any(row.study for row in found.rows):
        said.append("rows trained here are of the text under their letter, whatever the paper's is")
    said += legend(kinds) + report.of_others({heading: column.figure for heading, column in found.columns.items()})
    mixed = len({row.made for row in found.rows if row.made}) > 1
    if mixed:
        said.append("figures under different letters are not to be ranked together")
    said += presets({label: row.model for label, row in zip(labels, found.rows, strict=True) if row.model})
    if any(row.runs == "search" for row in found.rows):
        said.append("search: the search's best trial, flattered by having been chosen; `tuner confirm` trains it anew")
    keys = [column.figure for column in found.columns.values()]
    said += report.void([(r.technique, dict(zip(keys, r.cells.values(), strict=True))) for r in found.rows if r.study])
    said += [f"absent: {label}: {why}" for label, why in found.absent.items()]
    decimals = tuple(
        AXES[column.figure].decimals if column.figure in AXES and column.times == 1 else 2
        for column in found.columns.values()
    )
    return Sheet(tuple(found.columns), tuple(lines), tuple(said), decimals, mixed)


def as_csv(found: Layout) -> str:
    heads = [f"{heading}{part}" for heading in found.columns for part in ("", " sd")]
    rows = []
    for row in found.rows:
        figures = [value for cell in row.cells.values() for value in (cell or (None, None))]
        said = found.table.name, row.label, row.technique, row.study, row.model, row.runs
        rows.append([*said, *figures, "; ".join(row.made), "; ".join(row.notes)])
    return screen.sheet(["table", "row", "technique", "study", "model", "runs", *heads, "estimator", "notes"], rows)


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
