"""The papers' tables with one's own figures: a row for each configuration, mean ± sd over its runs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from tuner import screen
from tuner.confirmation import confirmations, tuned
from tuner.database import Database
from tuner.errors import Usage
from tuner.estimators import cutting, estimator_of, notes_of_runs, sentences_of, sureness, text_of
from tuner.metrics import ESTIMATES, FIGURES, figure
from tuner.ngram import Line
from tuner.published import printed, unprinted
from tuner.studies import Study, open_study
from tuner.trials import Trial

if TYPE_CHECKING:
    from tuner.significance import Difference

COLUMNS = ("distortion", "rate", "nll", "ppl", "nll_tempered", "ppl_tempered", "active_units", "acc_gap")
"""those of PA's tables 3 and 4, and the tempered estimates beside S = 1000 from q; shown where a row has one,
and beside a paper's rows what these print too"""
KEPT = (*FIGURES, *ESTIMATES)
"""figures of a row, and how sure the tempered estimates among them are"""


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
    trials: tuple[int, ...] = ()
    """numbers of its runs in their study"""
    differences: tuple["Difference", ...] = ()
    """to the row that all are compared with, by each estimator that both have"""
    untested: str = ""
    """why there is no such difference, if one was asked for"""
    ngram: Line | None = None
    """what an n-gram model makes of the same sentences"""
    sentences: str = ""
    """which those are, in few words"""
    beside: str = ""
    """what made the tempered estimates, where these are beside samples from q"""
    notes: tuple[str, ...] = ()
    """what qualifies its figures: collapsed, not resolved"""
    truncation: float | None = None
    """of its text: at how many sd above the mean sentences are cut; 0: never"""

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
        return {
            **vars(self),
            "figures": figures,
            "trials": list(self.trials),
            "notes": list(self.notes),
            "differences": [difference.plain() for difference in self.differences],
            "ngram": None if self.ngram is None else asdict(self.ngram),
        }

    @property
    def is_worse_than_ngrams(self) -> bool:
        """Whether an n-gram model has the lower NLL, by the lowest of the row's estimates."""
        own = [figure[0] for key in ("nll", "nll_tempered") if (figure := self.figures[key]) is not None]
        return self.ngram is not None and bool(own) and min(own) > self.ngram.nll


def rows(database: Database, names: list[str], split: str) -> list[Row]:
    """A row for each confirmation of these studies (or of all), and for each unconfirmed study its best trial; where nothing was
    left to tune, all its trials, whose seeds alone differ.

    Raises:
        Usage: if a study is unknown, or none of them has figures of that split.
    """
    known, found = confirmations(database), []
    for study in tuned(database, names):
        facts = study.specification
        chosen = not facts["confirms"] and bool(study.space.searched(facts["fixed"]))
        own = known.get(study.name, []) if chosen else [study, *known.get(study.name, [])]
        found += [row for confirmed in own if (row := _confirmed(confirmed, split)) is not None]
        best = study.best()
        if not own and best is not None and best.metrics is not None and split == "valid":
            found.append(_row(study, [best], [best.metrics], split, confirmed=False))
    if not found:
        remedy = "`tuner confirm STUDY` makes them" if split == "test" else "let a trial end first"
        raise Usage(f"there are no {split} figures of {', '.join(names) or 'any study'} in {database.url}: {remedy}.")
    return found


def _confirmed(study: Study, split: str) -> Row | None:
    done = [trial for trial in study.trials() if trial.state == "complete" and trial.metrics]
    every = [metrics for trial in done if (metrics := _of_split(trial, split))]
    judged = [trial for trial in done if _of_split(trial, split)]
    return _row(study, judged, every, split, confirmed=True) if every else None


def _of_split(trial: Trial, split: str) -> dict[str, Any] | None:
    metrics = trial.metrics or {}
    return metrics if split == "valid" else metrics.get(split)


def _row(
    study: Study,
    trials: Sequence[Trial],
    every: Sequence[dict[str, Any]],
    split: str,
    confirmed: bool,
) -> Row:
    figures: dict[str, tuple[float, float | None] | None] = {}
    for key in KEPT:
        values = [float(value) for metrics in every if (value := figure(metrics, key)) is not None]
        whole = len(values) == len(every)
        figures[key] = (fmean(values), stdev(values) if len(values) > 1 else None) if whole else None
    line = Line.of_study(study.specification["ngram"], split)
    facts, text = every[0]["estimator"], text_of(study.specification)
    made, beside = (
        "; ".join(dict.fromkeys(filter(None, (estimator_of(metrics, text, each) for metrics in every))))
        for each in (False, True)
    )
    return Row(
        study.name,
        study.specification["technique"],
        trials[0].given,
        len(every),
        figures,
        made,
        confirmed,
        tuple(trial.number for trial in trials),
        ngram=line if line is not None and line.is_of(facts) else None,
        sentences=sentences_of(every[0], text_of({**study.specification, "batching": "random"})),
        beside=beside if beside != made else "",
        notes=tuple(notes_of_runs(every)),
        truncation=study.specification["truncation"],
    )


def compared(database: Database, found: Sequence[Row], against: str | None, split: str) -> list[Row]:
    """The rows, each with how much its figures are above those of `against`, a study, whose row comes first if it is not there.

    Without a name, of two confirmed configurations the second is compared with the first, and of others none.

    Raises:
        Usage: if the study is unknown, has no figures of that split, or more than one configuration.
    """
    from tuner import sentences, significance

    rows_ = list(found)
    if against is None:
        if len(rows_) != 2 or not all(row.confirmed for row in rows_):
            return rows_
        base = rows_[0]
    else:
        named = rows(database, [against], split)
        if len(named) > 1:
            names = ", ".join(row.study for row in named)
            raise Usage(f"--against {against!r} has {len(named)} confirmed configurations: name one of {names}.")
        base = named[0]
        if base.study not in [row.study for row in rows_]:
            rows_ = [base, *rows_]

    def kept(row: Row) -> list[significance.Sentences]:
        return sentences.of_trials(open_study(database, row.study), row.trials, split)

    try:
        theirs = kept(base)
    except Usage as error:
        return [replace(row, untested="" if row.study == base.study else str(error)) for row in rows_]

    def tested(row: Row) -> Row:
        if row.study == base.study:
            return row
        try:
            return replace(row, differences=tuple(significance.differences(kept(row), theirs, base.study)))
        except Usage as error:
            return replace(row, untested=str(error))

    return [tested(row) for row in rows_]


def published(techniques: Sequence[str], split: str) -> list[Row]:
    """What the papers print for these techniques: their own figures, once each, a row for each text."""
    found = []
    for one in printed(split):
        if one.row.technique in techniques:
            made = [one.table.source, f"{one.text.text}, {cutting(one.text.truncation)}"]
            made += [f"mean of {one.table.runs} runs"] if one.table.runs else []
            made += [f"NLL: {one.table.estimator}"] if one.table.estimator else []
            notes = ["the KL of one code"] if one.row.kl_once else []
            found.append(
                Row(
                    one.table.source,
                    one.row.technique,
                    dict(one.row.settings),
                    0,
                    {key: one.figures.get(key) for key in KEPT},
                    "; ".join(made),
                    True,
                    notes=(*notes, *filter(None, [one.row.note])),
                    truncation=one.text.truncation,
                )
            )
    return found


def unpublished(techniques: Sequence[str], split: str) -> list[str]:
    """Which of these techniques no paper prints figures of, and why, if at all."""
    known = {one.row.technique for one in printed(split)}
    missing = [technique for technique in techniques if technique not in known]
    reasons = {technique: f": {why}" for technique, why in unprinted().items()}
    return [f"no paper here prints {split} figures of {each}{reasons.get(each, '')}" for each in missing]


def with_sd(found: tuple[float, float | None] | None, plus_minus: str = " ± ") -> str:
    """A figure with its deviation."""
    if found is None:
        return "–"
    mean, sd = found
    return f"{mean:.2f}" if sd is None else f"{mean:.2f}{plus_minus}{sd:.2f}"


def _notes(found: Sequence[Row]) -> tuple[list[str], list[str]]:
    """The letters of each row's estimators, that of the tempered columns second, and what the letters say: figures of different
    ones are not to be ranked together."""
    made = [list(filter(None, (row.estimator, row.beside))) for row in found]
    kinds = list(dict.fromkeys(kind for each in (0, 1) for row in made for kind in row[each : each + 1]))
    return [" ".join(chr(ord("a") + kinds.index(kind)) for kind in row) for row in made], kinds


def _is_mixed(found: Sequence[Row]) -> bool:
    """Whether some rows' figures, or their tempered ones, are not by the same estimator of the same text as others'."""
    columns = ([row.estimator for row in found], [row.beside for row in found])
    return any(len(set(filter(None, made))) > 1 for made in columns)


def _marked(letter: str, row: Row) -> str:
    """The letter and what qualifies the row, for the end of its line."""
    return ", ".join([letter, *row.notes])


def _runs(row: Row) -> str:
    return "paper" if not row.runs else f"{row.runs}" if row.confirmed else "search"


def _shown(found: Sequence[Row]) -> dict[str, str]:
    """The columns that a reader is shown."""
    printed_ = [
        key for key in FIGURES if key not in COLUMNS and any(row.figures.get(key) for row in found if not row.runs)
    ]
    return {key: FIGURES[key].heading for key in (*COLUMNS, *printed_) if any(row.figures.get(key) for row in found)}


def _cells(row: Row, shown: Mapping[str, str]) -> list[tuple[float, float | None] | None]:
    return [row.figures.get(key) for key in shown]


def table(found: Sequence[Row]) -> str:
    """For the terminal."""
    letters, kinds = _notes(found)
    shown = _shown(found)
    head = ["", "runs", *shown.values(), ""]
    body = [
        [row.label, _runs(row), *map(with_sd, _cells(row, shown)), _marked(letter, row)]
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
    beside = {row.beside for row in found}
    for place, kind in enumerate(kinds):
        said.append(f"{chr(ord('a') + place)}: {kind}{' (the tempered columns)' if kind in beside else ''}")
    if _is_mixed(found):
        said.append("figures under different letters are not to be ranked together")
    if any(not row.confirmed for row in found):
        said.append("search: the search's best trial, flattered by having been chosen; `tuner confirm` trains it anew")
    return said + _cut(found) + _estimates(found) + _ngrams(found) + _tests(found)


def _cut(found: Sequence[Row]) -> list[str]:
    """That papers' figures are of whole sentences where ours are of cut ones, or the other way round."""
    ours = {cutting(row.truncation) for row in found if row.runs and row.truncation is not None}
    others = {
        row.study: cutting(row.truncation) for row in found if not row.runs and row.truncation is not None and ours
    }
    said = [f"{source}: its sentences are {made}" for source, made in others.items() if {made} != ours]
    return [
        f"{each}, ours {' or '.join(sorted(ours))}: a figure of cut sentences is another, and lower" for each in said
    ]


def _estimates(found: Sequence[Row]) -> list[str]:
    """How sure the tempered estimates of each row are, means over its runs."""
    every = [(row, {key: row.figures.get(key) for key in ESTIMATES}) for row in found]
    known = [(row, {key: value[0] if value else None for key, value in each.items()}) for row, each in every]
    return [
        f"{row.label}: tempered, λ = {means['temper']:.2g}; {sureness(means)}{''.join(f', {n}' for n in row.notes)}"
        for row, means in known
        if means["temper"] is not None
    ]


def _ngrams(found: Sequence[Row]) -> list[str]:
    """What n-gram models make of the rows' sentences, and which rows are worse."""
    said = []
    for line, sentences in dict.fromkeys((row.ngram, row.sentences) for row in found):
        if line is not None:
            rows = [row for row in found if (row.ngram, row.sentences) == (line, sentences)]
            worse = [row.label for row in rows if row.is_worse_than_ngrams]
            verdict = f"worse than that: {', '.join(worse)}" if worse else "no row of them is worse"
            said.append(f"{line.said} on {sentences}: {verdict}")
    return said


def _tests(found: Sequence[Row]) -> list[str]:
    """What the paired bootstraps say, by each estimator, and where these disagree."""
    from tuner.significance import disagreement

    said = [f"not tested: {row.label}: {row.untested}" for row in found if row.untested]
    tested = [row for row in found if row.differences]
    if not tested:
        return said
    one = tested[0].differences[0]
    said.append(
        f"difference to {one.against} [95 %], paired bootstrap over {one.sentences:,} sentences, "
        f"{one.resamples:,} resamples, seed {one.seed}; the estimates' own errors and the bounds of their biases are in it:"
    )
    for row in tested:
        said += [f"{row.label}: {difference.said}" for difference in row.differences]
        if conflict := disagreement(row.differences):
            said.append(f"{row.label}: {conflict}")
    alone = [row.label for row in tested if row.differences[0].seeds_interval is None]
    if alone:
        said.append(f"other seeds are not in it, as not both sides have several runs: {', '.join(alone)}")
    return said


def markdown(found: Sequence[Row]) -> str:
    letters, kinds = _notes(found)
    shown = _shown(found)
    lines = ["| | runs | " + " | ".join(shown.values()) + " | |", "|---" * (len(shown) + 3) + "|"]
    for row, letter in zip(found, letters, strict=True):
        lines.append(
            f"| {row.label} | {_runs(row)} | "
            + " | ".join(map(with_sd, _cells(row, shown)))
            + f" | {_marked(letter, row)} |"
        )
    return "\n".join([*lines, "", *(f"- {line}" for line in _said(found, kinds) if line)]) + "\n"


ESCAPED = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
}


def _tex(text: str) -> str:
    return "".join(ESCAPED.get(mark, mark) for mark in text)


def latex(found: Sequence[Row]) -> str:
    """With booktabs; the notes are comments."""
    letters, kinds = _notes(found)
    lines = [f"% {line}" for line in _said(found, kinds) if line]
    shown = _shown(found)
    lines += [r"\begin{tabular}{lr" + "r" * len(shown) + "}", r"\toprule"]
    heads = [f"${label}$" if len(label) == 1 else _tex(label) for label in shown.values()]
    lines.append(" & ".join(["", "runs", *heads]) + r" \\")
    lines.append(r"\midrule")
    for row, letter in zip(found, letters, strict=True):
        cells = [with_sd(figure, r" $\pm$ ") for figure in _cells(row, shown)]
        mark = f"$^{{{letter}}}$" if _is_mixed(found) else ""
        mark += f" ({', '.join(row.notes)})" if row.notes else ""
        lines.append(
            " & ".join([_tex(row.label) + mark, _runs(row), *("--" if cell == "–" else cell for cell in cells)])
            + r" \\"
        )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


TESTS = ("", "tempered_")
"""prefixes of a difference's columns: by the NLL's own estimator, and by the tempered one"""
TESTED = ("nll_difference", "nll_low", "nll_high", "ppl_difference", "ppl_low", "ppl_high", "p", "p_without_bias")


def _tested(row: Row, prefix: str) -> list[float | None]:
    for d in row.differences:
        if (d.estimator == "tempered") == bool(prefix):
            return [d.nll, *d.nll_interval, d.ppl, *d.ppl_interval, d.p, d.p_without_bias]
    return [None] * len(TESTED)


def as_csv(found: Sequence[Row]) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ["study", "technique", "settings", "runs", "confirmed", "estimator", "beside", "notes"]
        + [f"{key}{part}" for key in KEPT for part in ("", "_sd")]
        + ["against", *(f"{prefix}{part}" for prefix in TESTS for part in TESTED)]
        + ["ngram_order", "ngram_nll", "ngram_ppl"]
    )
    for row in found:
        figures = [value for key in KEPT for value in (row.figures.get(key) or (None, None))]
        lines.writerow(
            [*map(screen.cell, (row.study, row.technique, json.dumps(row.settings))), row.runs, row.confirmed]
            + [*map(screen.cell, (row.estimator, row.beside, "; ".join(row.notes))), *figures]
            + [row.differences[0].against if row.differences else None]
            + [value for prefix in TESTS for value in _tested(row, prefix)]
            + ([g.order, g.nll, g.ppl] if (g := row.ngram) else [None] * 3)
        )
    return text.getvalue()


def as_json(found: Sequence[Row]) -> str:
    return json.dumps([row.plain() for row in found], indent=1, ensure_ascii=False) + "\n"


FORMATS = {"table": table, "markdown": markdown, "latex": latex, "csv": as_csv, "json": as_json}
