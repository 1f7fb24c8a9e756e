"""The papers' tables laid out: for a terminal, as Markdown, LaTeX, CSV or JSON, with what to know about their figures."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tuner import screen
from tuner.analysis import sheets
from tuner.analysis.report import COLUMNS, KEPT, Row, of_others, void
from tuner.analysis.sheets import Figure, Line, Sheet, legend, lettered, presets, terminal
from tuner.estimators import cutting, sureness
from tuner.metrics import AXES, ESTIMATES, FIGURES
from tuner.studies.winner import LOWEST

FEW = 30
"""Number of sentences below which a bootstrap's intervals are much too short: at 30 by a twentieth."""


def _is_mixed(found: Sequence[Row]) -> bool:
    """True if figures of these rows, or their tempered ones, are by several estimators or of several texts."""
    columns = ([row.estimator for row in found], [row.beside for row in found])
    return any(len(set(filter(None, made))) > 1 for made in columns)


def _runs(row: Row) -> str:
    return "paper" if not row.runs else f"{row.runs}" if row.confirmed else "search"


def _shown(found: Sequence[Row]) -> dict[str, str]:
    """The columns that a reader is shown."""
    printed_ = [
        key for key in FIGURES if key not in COLUMNS and any(row.figures.get(key) for row in found if not row.runs)
    ]
    return {key: FIGURES[key].heading for key in (*COLUMNS, *printed_) if any(row.figures.get(key) for row in found)}


def _cells(row: Row, shown: Mapping[str, str]) -> list[Figure]:
    return [row.figures.get(key) for key in shown]


def told_apart(found: Sequence[Row]) -> list[Row]:
    """The rows, those of one's own that no setting tells from another one with the name of their study."""
    counts = Counter(label for label, _ in {(row.label, row.study) for row in found if row.runs})
    return [
        replace(row, settings={**row.settings, "study": row.study}) if row.runs and counts[row.label] > 1 else row
        for row in found
    ]


def sheet(found: Sequence[Row], columns: Sequence[str] = ()) -> Sheet:
    """The rows in the papers' columns.

    Args:
        columns: figures to show in place of these.
    """
    found = told_apart(found)
    letters, kinds = lettered([list(filter(None, (row.estimator, row.beside))) for row in found])
    shown = {key: AXES[key].heading for key in columns} or _shown(found)
    lines = [
        Line(row.label, _runs(row), tuple(_cells(row, shown)), letter, row.notes)
        for row, letter in zip(found, letters, strict=True)
    ]
    said = [
        *_said(found, kinds),
        *of_others({heading: key for key, heading in shown.items()}),
        *void([(row.technique, {key: row.figures.get(key) for key in shown}) for row in found]),
    ]
    decimals = tuple(AXES[key].decimals for key in shown)
    return Sheet(tuple(shown.values()), tuple(lines), tuple(said), decimals, _is_mixed(found))


def table(found: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """The rows as a table for the terminal."""
    return terminal(sheet(found, columns))


def markdown(found: Sequence[Row], columns: Sequence[str] = ()) -> str:
    return sheets.markdown(sheet(found, columns))


def latex(found: Sequence[Row], columns: Sequence[str] = ()) -> str:
    return sheets.latex(sheet(found, columns))


def _said(found: Sequence[Row], kinds: Sequence[str]) -> list[str]:
    nouns = {row.token for row in found}
    each = "token" if nouns == {"word"} else " or ".join(sorted(nouns))
    said = ["", f"nats per sentence; PPL per {each}, end token included; mean ± sd over runs"]
    beside = {row.beside for row in found}
    said += legend([f"{kind}{' (the tempered columns)' if kind in beside else ''}" for kind in kinds])
    if _is_mixed(found):
        said.append("figures under different letters are not to be ranked together")
    said += presets({row.label: row.model for row in found if row.model})
    if any(not row.confirmed for row in found):
        said.append("search: the search's best trial, flattered by having been chosen; `tuner confirm` trains it anew")
        said += [f"{row.label}: the best by {row.won_by}" for row in found if row.won_by not in ("", LOWEST)]
    return said + _cut(found) + _estimates(found) + _ngrams(found) + _tests(found)


def _cut(found: Sequence[Row]) -> list[str]:
    """Notes on papers' rows whose sentences are cut otherwise than ours, so that their figures cannot be compared."""
    ours = {cutting(row.truncation) for row in found if row.runs and row.truncation is not None}
    others = {
        row.study: cutting(row.truncation) for row in found if not row.runs and row.truncation is not None and ours
    }
    said = [f"{source}: its sentences are {made}" for source, made in others.items() if {made} != ours]
    return [
        f"{each}, ours {' or '.join(sorted(ours))}: a figure of cut sentences is another, and lower" for each in said
    ]


def _estimates(found: Sequence[Row]) -> list[str]:
    """Notes on how sure the tempered estimates of each row are, as means over its runs."""
    every = [(row, {key: row.figures.get(key) for key in ESTIMATES}) for row in found]
    known = [(row, {key: value[0] if value else None for key, value in each.items()}) for row, each in every]
    return [
        f"{row.label}: tempered, λ = {means['temper']:.2g}; "
        + ", ".join([sureness(means["error"], means["bias"]), *row.notes])
        for row, means in known
        if means["temper"] is not None
    ]


def _ngrams(found: Sequence[Row]) -> list[str]:
    """Notes on the n-gram models of the rows' sentences, and on the rows that are worse than these."""
    said = []
    for line, sentences in dict.fromkeys((row.ngram, row.sentences) for row in found):
        if line is not None:
            rows = [row for row in found if (row.ngram, row.sentences) == (line, sentences)]
            worse = [row.label for row in rows if row.is_worse_than_ngrams]
            verdict = f"worse than that: {', '.join(worse)}" if worse else "no row of them is worse"
            said.append(f"{line.said} on {sentences}: {verdict}")
    return said


def _tests(found: Sequence[Row]) -> list[str]:
    """Notes on the paired bootstraps, by each estimator, and on estimators that disagree."""
    from tuner.analysis.significance import disagreement

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
    if one.sentences < FEW:
        said.append(
            f"resamples of fewer than {FEW} sentences vary too little: the intervals are too short, and p too low"
        )
    alone = [row.label for row in tested if row.differences[0].seeds_interval is None]
    if alone:
        said.append(f"other seeds are not in it, as not both sides have several runs: {', '.join(alone)}")
    return said


TESTS = ("", "tempered_")
"""Prefixes of a difference's columns: none by the NLL's own estimator, `tempered_` by the tempered one."""
TESTED = ("nll_difference", "nll_low", "nll_high", "ppl_difference", "ppl_low", "ppl_high", "p", "p_without_bias")


def _tested(row: Row, prefix: str) -> list[float | None]:
    for d in row.differences:
        if (d.estimator == "tempered") == bool(prefix):
            return [d.nll, *d.nll_interval, d.ppl, *d.ppl_interval, d.p, d.p_without_bias]
    return [None] * len(TESTED)


def as_csv(found: Sequence[Row], columns: Sequence[str] = ()) -> str:
    shown = list(dict.fromkeys(columns)) or KEPT
    heads = ["study", "technique", "model", "settings", "runs", "confirmed", "estimator", "beside", "notes"]
    heads += [f"{key}{part}" for key in shown for part in ("", "_sd")]
    heads += ["against", *(f"{prefix}{part}" for prefix in TESTS for part in TESTED)]
    heads += ["ngram_order", "ngram_nll", "ngram_ppl"]
    rows = [
        [row.study, row.technique, row.model, json.dumps(row.settings), row.runs, row.confirmed]
        + [row.estimator, row.beside, "; ".join(row.notes)]
        + [value for key in shown for value in (row.figures.get(key) or (None, None))]
        + [row.differences[0].against if row.differences else None]
        + [value for prefix in TESTS for value in _tested(row, prefix)]
        + ([g.order, g.nll, g.ppl] if (g := row.ngram) else [None] * 3)
        for row in found
    ]
    return screen.sheet(heads, rows)


def as_json(found: Sequence[Row], columns: Sequence[str] = ()) -> str:
    del columns  # it has all figures
    return json.dumps([row.plain() for row in found], indent=1, ensure_ascii=False) + "\n"


FORMATS = {"table": table, "markdown": markdown, "latex": latex, "csv": as_csv, "json": as_json}
