"""A paper's table of sentences with those that one's own models wrote."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner import screen
from tuner.analysis import sheets
from tuner.analysis.published import Table
from tuner.analysis.published.layout import of_system, owned
from tuner.analysis.published.systems import System, told_by
from tuner.storage.database import Database
from tuner.studies.study import open_study

HIDDEN = 0.5
"""Share of an adversary's draws from which on a word counts as hidden."""


@dataclass(frozen=True)
class Written:
    """Sentences of one run's model."""

    label: str
    study: str
    lines: tuple[str, ...]


def _homotopy(samples: Mapping[str, Any]) -> list[str]:
    return [entry["text"] for entry in samples["homotopy"]]


def _dropped(samples: Mapping[str, Any]) -> list[str]:
    """Words that the adversary hides more often than not stand in brackets."""
    return [
        " ".join(f"[{w['word']}]" if w["probability"] >= HIDDEN else w["word"] for w in words)
        for words in samples["dropped"]
    ]


KINDS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {"homotopy": _homotopy, "dropped": _dropped}
"""Functions by the kind of samples that a table shows; each makes lines of a run's samples."""


def lay(
    database: Database, table: Table, names: list[str], corpus: str | None = None, model: str | None = None
) -> list[Written]:
    """Sentences of the first run of each configuration that is a row's.

    Args:
        names: of studies; all but the confirmations of one of them, if there are none.
        corpus: whose studies alone are taken.
        model: likewise.
    """
    found, own = list[Written](), owned(database, names, "valid", corpus, model)
    every = [System(table, row) for row in table.rows]
    for system in every:
        for each in of_system(system, own, told_by(every)):
            samples = open_study(database, each.row.study).files.samples(each.row.trials[0])
            lines = KINDS[table.sentences](samples) if samples is not None else []
            if lines:
                found.append(Written(system.row.label, each.row.study, tuple(lines)))
    return found


def terminal(found: Sequence[Written], table: Table) -> str:
    text = [f"{table.source}: {table.caption}"]
    for each in found:
        text += ["", f"{each.label} ({each.study})", *(f"  {line}" for line in each.lines)]
    return "\n".join(text + _absent(found, table)) + "\n"


def markdown(found: Sequence[Written], table: Table) -> str:
    text = []
    for each in found:
        text += [f"**{each.label}** (`{each.study}`)", "", *(f"- {line}" for line in each.lines), ""]
    return "\n".join([*text, f"{table.source}: {table.caption}", *_absent(found, table)]) + "\n"


def latex(found: Sequence[Written], table: Table) -> str:
    text = [f"% {line}" for line in (f"{table.source}: {table.caption}", *_absent(found, table)) if line]
    text += [r"\begin{tabular}{l}", r"\toprule"]
    for each in found:
        text += [rf"\textbf{{{sheets.tex(each.label)}}} \\", *(rf"{sheets.tex(line)} \\" for line in each.lines)]
    return "\n".join([*text, r"\bottomrule", r"\end{tabular}", ""])


def as_csv(found: Sequence[Written], table: Table) -> str:
    rows = [(table.name, each.label, each.study, line) for each in found for line in each.lines]
    return screen.sheet(["table", "row", "study", "sentence"], rows)


def as_json(found: Sequence[Written], table: Table) -> str:
    rows = [{"label": each.label, "study": each.study, "sentences": list(each.lines)} for each in found]
    plain = {"table": table.name, "paper": table.source, "caption": table.caption, "rows": rows}
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


def _absent(found: Sequence[Written], table: Table) -> list[str]:
    rows = [row.label for row in table.rows if row.label not in {each.label for each in found}]
    return ["", *(f"absent: {label}: not trained" for label in rows)] if rows else []


FORMATS: Mapping[str, Callable[[Sequence[Written], Table], str]] = {
    "table": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}
