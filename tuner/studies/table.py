"""A study's trials as a table: what its columns are, and the trials by columns, sorted and filtered.

Commands, requests and the dashboard all have their columns and their values from here.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from tuner.errors import Usage
from tuner.metrics import AXES, ESTIMATES, FIGURES, SHOWN, figure
from tuner.storage.tables import TrialRow
from tuner.studies import expressions
from tuner.studies.trials import Trial

if TYPE_CHECKING:
    from tuner.space import Space
    from tuner.studies.study import Study

SELECTED = (
    TrialRow.study, TrialRow.number, TrialRow.state, TrialRow.params, TrialRow.value, TrialRow.metrics, TrialRow.cost,
    TrialRow.attrs, TrialRow.reason, TrialRow.message, TrialRow.seconds, TrialRow.worker, TrialRow.lease_until,
    TrialRow.started_at, TrialRow.revision,
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """Head of a column: its key, name and meaning."""

    key: str
    label: str
    meaning: str = ""
    unit: str = ""
    is_text: bool = False
    shown: bool = False
    """True if the column is shown unless a reader chooses others."""


_FIRST = (
    Head("number", "#", "the trial's number", shown=True),
    Head("state", "state", "complete, running, waiting, pruned or failed", is_text=True, shown=True),
)
_LAST = (
    Head("epochs", "epochs", "epochs trained"),
    Head("tokens_per_second", "tokens/s", "training tokens a second"),
    Head("source", "source", "where its hyperparameters come from", is_text=True),
    Head("worker", "worker", "who has it, or had it last", is_text=True),
    Head("note", "note", "what qualifies its figures, and why it ended", is_text=True, shown=True),
)


_OWN = {*(head.key for head in (*_FIRST, *_LAST)), *AXES}
"""Keys of the columns that every study has."""


def column(hyperparameter: str) -> str:
    """The key of a hyperparameter's column: its name, or `params.NAME` where a figure has that name (word dropout's `rate`)."""
    return f"params.{hyperparameter}" if hyperparameter in _OWN else hyperparameter


def heads(hyperparameters: Mapping[str, Head]) -> dict[str, Head]:
    """All columns of a table, by their keys."""
    figures = [
        Head(key, metric.heading, metric.meaning, metric.unit, shown=key in SHOWN or key == "seconds")
        for key, metric in AXES.items()
    ]
    return {head.key: head for head in [*_FIRST, *hyperparameters.values(), *figures, *_LAST]}


def hyperparameters_in(space: "Space", given: Collection[str]) -> dict[str, Head]:
    """The columns of a space's hyperparameters; those that are given, searched or set by hand, are shown."""

    def is_text(choices: Sequence[Any]) -> bool:
        return any(isinstance(choice, (str, bool)) for choice in choices)

    found = [
        Head(column(p.name), p.name, p.meaning, p.unit, is_text(p.choices), p.name in given) for p in space.parameters
    ]
    return {head.key: head for head in found}


def hyperparameters_among(trials: Iterable[Trial]) -> dict[str, Head]:
    """Columns of the hyperparameters of trials whose study is not at hand; those that any trial was given are shown."""
    found: dict[str, Head] = {}
    for trial in trials:
        for name, value in trial.hyperparameters.items():
            key = column(name)
            shown = name in trial.given or (key in found and found[key].shown)
            found[key] = Head(key, name, is_text=isinstance(value, (str, bool)), shown=shown)
    return found


def figures_of(trial: Trial) -> dict[str, Any]:
    """A trial's figures, by the keys of `AXES`; None for what it does not have."""
    metrics = trial.metrics or {}
    found = {key: figure(metrics, key) for key in (*FIGURES, *ESTIMATES)}
    return {**found, "value": trial.value, "seconds": trial.seconds}


def cells(trial: Trial) -> dict[str, Any]:
    """A trial's value in each column; one that is not named here it does not have."""
    cost = trial.cost or {}
    return {
        **figures_of(trial),
        "number": trial.number,
        "state": trial.state,
        "epochs": cost.get("epochs"),
        "tokens_per_second": cost.get("tokens_per_second"),
        "source": trial.source,
        "worker": trial.worker,
        "note": trial.remark,
        **{column(name): value for name, value in trial.hyperparameters.items()},
    }


class Table:
    """A study's trials by columns, one value a trial. They follow the study: only trials that have changed are read."""

    def __init__(self, study: "Study") -> None:
        self.study = study
        given = {p.name for p in study.searched} | set(study.definition.fixed)
        self.heads = heads(hyperparameters_in(study.facts.space, given))
        self.columns: dict[str, list[Any]] = {key: [] for key in self.heads}
        self._rows: dict[int, int] = {}
        self._seen = 0
        self._lock = threading.RLock()

    def follow(self) -> "Table":
        """The table as it is now."""
        changed = or_(TrialRow.revision > self._seen, TrialRow.state == "running")  # whose time goes on
        query = select(*SELECTED).where(TrialRow.study == self.study.name, changed).order_by(TrialRow.number)

        def look(session: Any) -> list[tuple[int, Trial]]:
            now, definition = self.study.database.clock(session), self.study.definition
            return [(row.revision, Trial.of(row, now, definition)) for row in session.execute(query)]

        with self._lock:
            for revision, trial in self.study.database.read(look):
                self._put(trial)
                self._seen = max(self._seen, revision)
        return self

    def _put(self, trial: Trial) -> None:
        found, row = cells(trial), self._rows.setdefault(trial.number, len(self._rows))
        for key, column in self.columns.items():
            if row == len(column):
                column.append(found.get(key))
            else:
                column[row] = found.get(key)

    def condition(self, text: str | None) -> expressions.Expression | None:
        """An expression over these columns.

        Raises:
            Usage: if it is none.
        """
        if text is None or not text.strip():
            return None
        figures, texts = ([k for k, head in self.heads.items() if head.is_text is kind] for kind in (False, True))
        return expressions.parse(text, figures, texts)

    def checked(self, key: str, what: str) -> str:
        """
        Raises:
            Usage: if it is no column; what: the option or field that names it.
        """
        if key not in self.heads:
            raise Usage(
                f"{what} {key!r} is no column of study {self.study.name!r}: choose of {', '.join(self.heads)}.", what
            )
        return key

    def select(self, where: str | None = None, order: str = "number", state: str | None = None) -> list[int]:
        """The numbers of the trials that fit, in an order: by a column, or against it (`-nll`). Those without a value come last,
        equal ones by their numbers.

        Raises:
            Usage: if the condition or the column is none.
        """
        against = order.startswith("-")
        key, condition = self.checked(order.removeprefix("-"), "order"), self.condition(where)
        with self._lock:
            count, numbers, states = len(self._rows), self.columns["number"], self.columns["state"]
            rows = range(count) if condition is None else condition.rows(self.columns, count)
            fitting = sorted((row for row in rows if state in (None, states[row])), key=numbers.__getitem__)
            values = self.columns[key]
            there = [row for row in fitting if values[row] is not None]
            there.sort(key=lambda row: _rank(values[row]), reverse=against)
            return [numbers[row] for row in [*there, *(row for row in fitting if values[row] is None)]]

    def values(self, keys: Sequence[str], numbers: Sequence[int]) -> dict[str, list[Any]]:
        """Columns of these trials."""
        with self._lock:
            rows = [self._rows[number] for number in numbers]
            return {key: [self.columns[key][row] for row in rows] for key in keys}


def _rank(value: Any) -> tuple[bool, Any]:
    """Figures in their order, then texts in theirs."""
    is_text = isinstance(value, (str, bool))
    return is_text, str(value) if is_text else value
