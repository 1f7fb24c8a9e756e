"""Pareto fronts of trials by two figures, and the columns that they are computed from."""

import json
import math
import sys
import threading
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, cast, select

from tuner.errors import Usage
from tuner.estimators import doubts_of, estimator_of, mixed, sentences_of
from tuner.metrics import AXES, ESTIMATES, FIGURES, Goal, Metrics, figure, front
from tuner.storage.tables import TrialRow

if TYPE_CHECKING:
    from tuner.studies.study import Study

SPLITS = ("valid", "test")
ENDS: dict[Goal, str] = {"min": "lower", "max": "higher", "zero": "nearer to 0"}
"""Words for the better end of a figure."""
CORNERS = {("min", "min"): "↙", ("min", "max"): "↖", ("max", "min"): "↘", ("max", "max"): "↗"}
"""Arrows to the better corner of a plane, by the goals of x and y."""


def better(x_goal: Goal, y_goal: Goal) -> str:
    """A few words on where in the plane of two figures the better trials are."""
    return CORNERS.get((x_goal, y_goal), f"x {ENDS[x_goal]}, y {ENDS[y_goal]}")


def has_stairs(x_goal: Goal, y_goal: Goal) -> bool:
    """True if a line along a front bounds what is worse; where 0 is the best value, the worse lies on both of its sides."""
    return (x_goal, y_goal) in CORNERS


def check_split(split: str) -> None:
    """
    Raises:
        Usage: if there is no such split.
    """
    if split not in SPLITS:
        raise Usage(f"--split {split!r} is unknown: choose {' or '.join(SPLITS)}.")


class Columns:
    """A study's complete trials by columns, which follow the study: only trials that are new since are read.

    `numbers` has one entry a trial; `figures[split][key]` one float a trial, NaN where it is unknown; `estimators[split, False]`
    the description of what made its NLL, `estimators[split, True]` of the estimate beside it, and `sentences[split]` of the
    sentences of both, all empty where there is none; `notes[split]` what qualifies its figures; `params[name]` one value a trial.
    """

    def __init__(self, study: "Study") -> None:
        self.study = study
        self.numbers: list[int] = []
        self.params: dict[str, list[Any]] = {p.name: [] for p in study.searched}
        self.figures = {split: {key: array("d") for key in AXES} for split in SPLITS}
        self.estimators: dict[tuple[str, bool], list[str]] = {(s, b): [] for s in SPLITS for b in (False, True)}
        self.sentences: dict[str, list[str]] = {split: [] for split in SPLITS}
        self.notes: dict[str, list[str]] = {split: [] for split in SPLITS}
        self.seen = 0
        """Revision of the newest of these trials."""
        self._lock = threading.Lock()

    def follow(self) -> "Columns":
        """The columns as they are now."""
        columns = (TrialRow.number, TrialRow.revision, TrialRow.value, TrialRow.seconds)
        texts = (cast(TrialRow.params, Text), cast(TrialRow.metrics, Text))
        with self._lock:
            new = (TrialRow.study == self.study.name, TrialRow.state == "complete", TrialRow.revision > self.seen)
            query = select(*columns, *texts).where(*new).order_by(TrialRow.revision)
            rows = self.study.database.read(lambda session: session.execute(query).all())
            if rows:
                numbers, revisions, values, seconds, params, metrics = zip(*rows, strict=True)
                chosen, valid = _read(params), _read(metrics)
                self.numbers += numbers
                for name, column in self.params.items():
                    column += [found.get(name) for found in chosen]
                text = self.study.facts.text
                for split, figures in (("valid", valid), ("test", [found.get("test") or Metrics() for found in valid])):
                    self._add(self.figures[split], figures)
                    for beside in (False, True):
                        self.estimators[split, beside] += [_estimator(found, text, beside) for found in figures]
                    self.sentences[split] += [_sentences(found, text) for found in figures]
                    self.notes[split] += [sys.intern("; ".join(doubts_of(found))) for found in figures]
                    self.figures[split]["seconds"].extend(seconds)
                self.figures["valid"]["value"].extend(map(_number, values))
                self.figures["test"]["value"].extend([math.nan] * len(values))  # no study minimises a test figure
                self.seen = revisions[-1]
        return self

    @staticmethod
    def _add(columns: dict[str, "array[float]"], found: Sequence[Metrics]) -> None:
        if any(found):
            for key in (*FIGURES, *ESTIMATES):
                columns[key].extend([_number(figure(figures, key)) for figures in found])
        else:
            for key in (*FIGURES, *ESTIMATES):
                columns[key].extend(array("d", [math.nan]) * len(found))

    def of(self, x: str, y: str, split: str) -> "Points":
        """The trials that have both figures of that split."""
        xs, ys = self.figures[split][x], self.figures[split][y]
        with (
            self._lock
        ):  # a trial's row is whole in all columns; rows stay as they are, so that they are read without it
            rows = [row for row, (a, b) in enumerate(zip(xs, ys, strict=True)) if math.isfinite(a) and math.isfinite(b)]
        return Points(self, split, rows, (x, y))

    def made(self, rows: Sequence[int], split: str, *keys: str) -> list[str]:
        """A description for each trial of what made these figures, be it estimators, sentences or the text alone.

        Figures of which it differs are not to be ranked together. Draws may differ.
        """
        columns, described = [self._made(split, key) for key in keys], cache(_described)
        return [described(*(column[row] for column in columns)) for row in rows]

    def _made(self, split: str, key: str) -> list[str]:
        """A description for each of all trials of what made one figure."""
        metric, text = AXES[key], self.study.facts.text
        if key in (*ESTIMATES, "seconds") or metric.sentences:
            return [text] * len(self.numbers)
        found = self.estimators[split, metric.beside] if metric.estimated else self.sentences[split]
        judged = "MELBO; " if key == "value" and self.study.spec.objective == "melbo" else ""
        return [judged + (kind or text) for kind in found]


class Points:
    """Trials of one study in the plane of two figures."""

    def __init__(self, columns: Columns, split: str, rows: list[int], axes: tuple[str, str]) -> None:
        self.columns, self.split, self.rows = columns, split, rows
        self.xs, self.ys = ([columns.figures[split][key][row] for row in rows] for key in axes)
        made = columns.made(rows, split, *axes)
        self.estimators = list(dict.fromkeys(made))
        """Descriptions of what made these figures, each once."""
        self.kinds = [self.estimators.index(kind) for kind in made]
        """A number for each trial that stands for its description; only equal numbers can be ranked together."""

    def plain(self, x_goal: Goal, y_goal: Goal) -> dict[str, Any]:
        """The points as JSON values, with the study's own front."""
        columns, rows = self.columns, self.rows
        fixed = {name: [value] * len(rows) for name, value in columns.study.definition.fixed.items()}
        figures, notes = columns.figures[self.split], columns.notes[self.split]
        return {
            "study": columns.study.name,
            "technique": columns.study.spec.technique,
            "text": columns.study.facts.text,
            "confirms": (columns.study.spec.confirms or {}).get("study"),
            "estimators": self.estimators,
            "made": self.kinds,
            "number": [columns.numbers[row] for row in rows],
            "x": self.xs,
            "y": self.ys,
            "params": {**fixed, **{name: [values[row] for row in rows] for name, values in columns.params.items()}},
            **{key: [_known(figures[key][row]) for row in rows] for key in ESTIMATES},
            "notes": [notes[row] for row in rows],
            "front": self.front(x_goal, y_goal),
        }

    def front(self, x_goal: Goal, y_goal: Goal) -> list[int]:
        """Rows on the front. Each kind of estimator has a front of its own, as figures of different estimators cannot
        be ranked.
        """
        found = []
        for kind in sorted(set(self.kinds)):
            rows = [row for row, own in enumerate(self.kinds) if own == kind]
            kept = front([self.xs[row] for row in rows], [self.ys[row] for row in rows], x_goal, y_goal)
            found += [rows[index] for index in kept]
        return found


def compare(columns: Iterable[Columns], x: str, y: str, split: str) -> dict[str, Any]:
    """The fronts of studies in the plane of two of `AXES`, each study's own and that of all together.

    Where the figures are of other texts or sentences, or by other estimators, there is no front of all, and `note` says why.
    """
    x_goal, y_goal = AXES[x].goal, AXES[y].goal
    each = [own.of(x, y, split) for own in columns]
    studies = [points.plain(x_goal, y_goal) for points in each]
    # What its own study's front leaves out, no front of more trials takes in.
    places = [(study, index) for study, own in enumerate(studies) for index in own["front"]]
    xs, ys = ([studies[study][axis][index] for study, index in places] for axis in ("x", "y"))
    made = {own.columns.study.name: own.estimators for own in each}
    note = mixed(made)
    together = [] if note else front(xs, ys, x_goal, y_goal)
    return {
        "x": x,
        "y": y,
        "split": split,
        "x_goal": x_goal,
        "y_goal": y_goal,
        "studies": studies,
        "front": [list(places[index]) for index in together],
        "note": note,
    }


def _read(texts: Sequence[str | None]) -> list[Any]:
    """JSON objects, by one call: half the time of a call for each."""
    found: list[Any] = json.loads(f"[{','.join(text or '{}' for text in texts)}]")
    return found


def _estimator(metrics: Metrics, text: str, beside: bool) -> str:
    """One string for all trials that share it."""
    return sys.intern(estimator_of(metrics, text, beside)) if "estimator" in metrics else ""


def _described(*kinds: str) -> str:
    """The kinds of several figures together; one that another's description ends with is said by that."""
    return "; ".join(kind for kind in dict.fromkeys(kinds) if not any(o != kind and o.endswith(kind) for o in kinds))


def _sentences(metrics: Metrics, text: str) -> str:
    """One string for all trials that share it."""
    return sys.intern(sentences_of(metrics, text)) if "estimator" in metrics else ""


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
