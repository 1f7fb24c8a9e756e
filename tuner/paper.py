"""The papers' tables with one's own figures: a row for each configuration, mean ± sd over its runs."""

import csv
import io
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tuner.confirmation import confirmations, tuned
from tuner.database import Database
from tuner.errors import Usage
from tuner.studies import Study

COLUMNS = {
    "distortion": "D", "rate": "R", "nll": "NLL", "ppl": "PPL", "active_units": "AU", "acc_gap": "gap",
}  # fmt: skip
"""those of PA's tables 3 and 4"""
PUBLISHED = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class Row:
    """One configuration's figures."""

    study: str
    technique: str
    settings: dict[str, Any]
    """its hyperparameters"""
    runs: int
    """with seeds of their own; 0 for a published figure, whose runs are the paper's"""
    figures: dict[str, tuple[float, float | None] | None]
    """mean, and standard deviation over runs where there are several; none where the technique has no such figure"""
    estimator: str
    """what made the NLL, or which paper it is from"""
    confirmed: bool
    """with new seeds; else it is the search's best trial, which is better than it should be by being the best"""

    @property
    def label(self) -> str:
        settings = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in self.settings.items()
        )
        return f"{self.technique} ({settings})" if settings else self.technique

    def plain(self) -> dict[str, Any]:
        figures = {
            key: None if found is None else {"mean": found[0], "sd": found[1]} for key, found in self.figures.items()
        }
        return {**vars(self), "figures": figures}


def rows(database: Database, names: list[str], split: str) -> list[Row]:
    """A row for each confirmation of these studies (or of all), and for each unconfirmed study its best trial.

    Raises:
        Usage: if a study is unknown, or none of them has figures of that split.
    """
    known, found = confirmations(database), []
    for study in tuned(database, names):
        own = [study] if study.specification["confirms"] else known.get(study.name, [])
        found += [row for confirmed in own if (row := _confirmed(confirmed, split)) is not None]
        best = study.best()
        if not own and best is not None and best.metrics is not None and split == "valid":
            found.append(_row(study, best.params, [best.metrics], confirmed=False))
    if not found:
        remedy = "`tuner confirm STUDY` makes them" if split == "test" else "let a trial end first"
        raise Usage(f"there are no {split} figures of {', '.join(names) or 'any study'} in {database.url}: {remedy}.")
    return found


def _confirmed(study: Study, split: str) -> Row | None:
    every = [trial.metrics for trial in study.trials() if trial.state == "complete" and trial.metrics]
    if split == "test":
        every = [metrics["test"] for metrics in every if metrics.get("test")]
    return _row(study, study.specification["confirms"]["params"], every, confirmed=True) if every else None


def _row(study: Study, params: dict[str, Any], every: Sequence[dict[str, Any]], confirmed: bool) -> Row:
    figures: dict[str, tuple[float, float | None] | None] = {}
    for key in COLUMNS:
        values = [float(metrics[key]) for metrics in every if metrics.get(key) is not None]
        whole = len(values) == len(every)
        figures[key] = (fmean(values), stdev(values) if len(values) > 1 else None) if whole else None
    return Row(
        study.name, study.specification["technique"], dict(params), len(every), figures, _estimator(every[0]), confirmed
    )


def _estimator(metrics: dict[str, Any]) -> str:
    facts = metrics["estimator"]
    sentences = f"{facts['of']:,} {facts['split']} sentences"
    if facts["sentences"] != facts["of"]:
        sentences = f"{facts['sentences']:,} of {sentences}"
    if facts["proposal"] == "exact":
        return f"exact, {sentences}"
    return f"S = {facts['samples']} from {facts['proposal']}, {sentences}"


def published(techniques: Sequence[str], split: str) -> list[Row]:
    """What the papers print for these techniques."""
    found = []
    for entry in tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))["row"]:
        if entry["technique"] in techniques and entry["split"] == split:
            figures: dict[str, tuple[float, float | None] | None] = {
                key: (float(entry[key]), None) if key in entry else None for key in COLUMNS
            }
            settings = entry.get("settings", {})
            found.append(
                Row(
                    entry["source"],
                    entry["technique"],
                    settings,
                    0,
                    figures,
                    f"{entry['source']}; {entry['text']}",
                    True,
                )
            )
    return found


def _cell(found: tuple[float, float | None] | None, plus_minus: str = " ± ") -> str:
    if found is None:
        return "–"
    mean, sd = found
    return f"{mean:.2f}" if sd is None else f"{mean:.2f}{plus_minus}{sd:.2f}"


def _notes(found: Sequence[Row]) -> tuple[list[str], list[str]]:
    """The letter of each row's estimator, and what the letters say: figures of different ones are not to be ranked together."""
    kinds = list(dict.fromkeys(row.estimator for row in found))
    return [chr(ord("a") + kinds.index(row.estimator)) for row in found], kinds


def _runs(row: Row) -> str:
    return "paper" if not row.runs else f"{row.runs}" if row.confirmed else "search"


def table(found: Sequence[Row]) -> str:
    """For the terminal."""
    letters, kinds = _notes(found)
    head = ["", "runs", *COLUMNS.values(), ""]
    body = [
        [row.label, _runs(row), *map(_cell, row.figures.values()), letter]
        for row, letter in zip(found, letters, strict=True)
    ]
    widths = [max(len(line[place]) for line in [head, *body]) for place in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if place == 0 else cell.rjust(w)
            for place, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in [head, *body]
    ]
    return "\n".join([line.rstrip() for line in lines] + _said(found, kinds)) + "\n"


def _said(found: Sequence[Row], kinds: Sequence[str]) -> list[str]:
    said = ["", "nats per sentence; PPL per token, end token included; mean ± sd over runs"]
    said += [f"{chr(ord('a') + place)}: {kind}" for place, kind in enumerate(kinds)]
    if len(kinds) > 1:
        said.append("figures under different letters are not to be ranked together")
    if any(not row.confirmed for row in found):
        said.append("search: the search's best trial, flattered by having been chosen; `tuner confirm` trains it anew")
    return said


def markdown(found: Sequence[Row]) -> str:
    letters, kinds = _notes(found)
    lines = ["| | runs | " + " | ".join(COLUMNS.values()) + " | |", "|---" * (len(COLUMNS) + 3) + "|"]
    for row, letter in zip(found, letters, strict=True):
        lines.append(
            f"| {row.label} | {_runs(row)} | " + " | ".join(map(_cell, row.figures.values())) + f" | {letter} |"
        )
    return "\n".join([*lines, "", *(f"- {line}" for line in _said(found, kinds) if line)]) + "\n"


ESCAPED = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _tex(text: str) -> str:
    return "".join(ESCAPED.get(mark, mark) for mark in text)


def latex(found: Sequence[Row]) -> str:
    """With booktabs; the notes are comments."""
    letters, kinds = _notes(found)
    lines = [f"% {line}" for line in _said(found, kinds) if line]
    lines += [r"\begin{tabular}{lr" + "r" * len(COLUMNS) + "}", r"\toprule"]
    lines.append(" & ".join(["", "runs", *("$D$", "$R$", "NLL", "PPL", "AU", "gap")]) + r" \\")
    lines.append(r"\midrule")
    for row, letter in zip(found, letters, strict=True):
        cells = [_cell(figure, r" $\pm$ ") for figure in row.figures.values()]
        mark = f"$^{letter}$" if len(kinds) > 1 else ""
        lines.append(
            " & ".join([_tex(row.label) + mark, _runs(row), *("--" if cell == "–" else cell for cell in cells)])
            + r" \\"
        )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def as_csv(found: Sequence[Row]) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ["study", "technique", "settings", "runs", "confirmed", "estimator"]
        + [f"{key}{part}" for key in COLUMNS for part in ("", "_sd")]
    )
    for row in found:
        figures = [value for figure in row.figures.values() for value in (figure or (None, None))]
        lines.writerow(
            [row.study, row.technique, json.dumps(row.settings), row.runs, row.confirmed, row.estimator, *figures]
        )
    return text.getvalue()


def as_json(found: Sequence[Row]) -> str:
    return json.dumps([row.plain() for row in found], indent=1, ensure_ascii=False) + "\n"


FORMATS = {"table": table, "markdown": markdown, "latex": latex, "csv": as_csv, "json": as_json}
