"""The papers' tables with one's own figures: a row for each configuration, mean ± sd over its runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from tuner.analysis.published import printed, unprinted
from tuner.errors import Usage
from tuner.estimators import cutting, estimator_of, notes_of_runs, sentences_of
from tuner.metrics import ESTIMATES, FIGURES, Metrics, figure, loss
from tuner.ngram import Line
from tuner.space import objective, techniques
from tuner.storage.database import Database
from tuner.studies.confirmation import sources
from tuner.studies.study import Study, open_study
from tuner.studies.trials import OVER, STRUCK, Trial

if TYPE_CHECKING:
    from tuner.analysis.significance import Difference

COLUMNS = ("distortion", "rate", "nll", "ppl", "nll_tempered", "ppl_tempered", "active_units", "acc_gap")
"""Columns of a table: those of PA's tables 3 and 4, and the tempered estimates beside S = 1000 from q. A column is
shown where a row has its figure; beside a paper's rows the figures that these print are shown too.
"""
UNDER_P = ("nll", "ppl", "ppl_no_end", "bits_per_char", "bits_per_byte", "nll_tempered", "ppl_tempered")
"""Figures under p(z), which mean nothing for a technique that does not hold q(z) near it (`space.objective`)."""
LISTED = 20
"""Largest number of studies that a sentence lists."""
KEPT = (*FIGURES, *ESTIMATES)
"""Figures of a row, and how sure the tempered estimates among them are."""


@dataclass(frozen=True)
class Row:
    """One configuration's figures."""

    study: str
    technique: str
    settings: dict[str, Any]
    """Hyperparameters of the configuration."""
    runs: int
    """Number of runs, each with a seed of its own; 0 for a published figure, whose runs are the paper's."""
    figures: dict[str, tuple[float, float | None] | None]
    """Mean, and standard deviation over runs where there are several; None where the technique has no such figure."""
    estimator: str
    """Estimator of the NLL, or the paper that it is from."""
    confirmed: bool
    """True if trained again with new seeds; else it is the search's best trial, whose figure is too good because it was
    chosen.
    """
    trials: tuple[int, ...] = ()
    """Numbers of the runs in their study."""
    differences: tuple["Difference", ...] = ()
    """Differences to the row that all are compared with, by each estimator that both have."""
    untested: str = ""
    """Reason why there is no difference although one was asked for."""
    ngram: Line | None = None
    """Figures of an n-gram model on these sentences."""
    sentences: str = ""
    """Description of the sentences, in few words."""
    beside: str = ""
    """Estimator of the tempered figures, where these stand beside samples from q."""
    notes: tuple[str, ...] = ()
    """Notes that qualify the figures: collapsed, off its rate, not resolved, runs that failed."""
    won_by: str = ""
    """Measure by which the search's best trial is the best; empty for a confirmed row."""
    truncation: float | None = None
    """Standard deviations above the mean length at which the text's sentences are cut; 0: never."""
    token: str = "word"
    """Noun for a token of the text, per which a perplexity is."""
    model: str = ""
    """Preset of the model's sizes; empty for a published figure."""

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
        """True if an n-gram model has a lower NLL than the lowest of the row's estimates."""
        own = [figure[0] for key in ("nll", "nll_tempered") if (figure := self.figures[key]) is not None]
        return (
            self.ngram is not None and bool(own) and min(own) > self.ngram.nll and not _is_void(self.technique, "nll")
        )


def rows(database: Database, names: list[str], split: str) -> list[Row]:
    """Every row that `found` has.

    Raises:
        Usage: if a study is unknown, or none of them has figures of that split.
    """
    there = found(database, names, split)
    if not there:
        remedy = "`tuner confirm STUDY` makes them" if split == "test" else "let a trial end first"
        raise Usage(f"there are no {split} figures of {', '.join(names) or 'any study'} in {database.url}: {remedy}.")
    return there


def found(database: Database, names: list[str], split: str) -> list[Row]:
    """A row for each confirmation of these studies (or of all), and for each unconfirmed study its best trial; where nothing was
    left to tune, all its trials, whose seeds alone differ.

    Raises:
        Usage: if a study is unknown.
    """
    rows_ = list[Row]()
    for study, own in sources(database, names, "test"):
        confirmed = [row for runs in own if (row := _confirmed(runs, split)) is not None]
        rows_ += confirmed
        winner = None if confirmed or split == "test" else study.winner()
        if winner is not None and (figures := winner.trial.metrics) is not None:
            row = _row(study, [winner.trial], [figures], split, confirmed=False)
            rows_.append(replace(row, won_by=winner.by))
    return rows_


def narrowed(found: Sequence[Row], database: Database, corpus: str | None, model: str | None) -> list[Row]:
    """Rows of a corpus and of a preset, where these are named.

    Raises:
        Usage: if there is none.
    """
    kept = [row for row in found if corpus is model is None or _fits(open_study(database, row.study), corpus, model)]
    if not kept:
        raise Usage(
            f"no study has figures of {' and '.join(filter(None, (corpus, model)))}: `tuner studies` lists them."
        )
    return kept


def ranked(found: Sequence[Row], key: str) -> list[Row]:
    """The rows in the order of a figure, the best first; those for which it means nothing come last."""
    return sorted(found, key=lambda row: place(row.technique, key, row.figures.get(key)))


def place(technique: str, key: str, figure: tuple[float, float | None] | None) -> tuple[bool, bool, float]:
    """Key that orders rows by a figure."""
    return _is_void(technique, key), figure is None, loss(figure[0], FIGURES[key].goal) if figure else 0.0


def _is_void(technique: str, key: str) -> bool:
    return key in UNDER_P and technique in techniques() and objective(technique) != "nll"


def void(shown: Sequence[tuple[str, Mapping[str, tuple[float, float | None] | None]]]) -> list[str]:
    """A note on figures that mean nothing for the technique of their row, if there are any.

    Args:
        shown: technique and shown figures of each row.
    """
    found = [(each, key) for each, figures in shown for key, own in figures.items() if own and _is_void(each, key)]
    heads = ", ".join(FIGURES[key].heading for key in dict.fromkeys(key for _, key in found))
    whose = ", ".join(dict.fromkeys(each for each, _ in found))
    return [f"{whose}: {heads} mean nothing, as q(z) is held near no p(z); MELBO compares such models"] if found else []


def of_others(shown: Mapping[str, str]) -> list[str]:
    """Notes on figures that are of other sentences than the NLL is.

    Args:
        shown: the figure under each heading.
    """
    by: dict[str, list[str]] = {}
    for heading, key in shown.items():
        if key in FIGURES and FIGURES[key].sentences:
            by.setdefault(FIGURES[key].sentences, []).append(heading)
    return [f"{', '.join(heads)}: of {sentences}, whatever the NLL is of" for sentences, heads in by.items()]


def absent(
    database: Database, names: list[str], split: str, there: Sequence[Row], corpus: str | None, model: str | None
) -> list[str]:
    """Sentences that name those of these studies (or of all) that have no row, or not of their winner, so that none is left out
    unseen.

    Args:
        there: all rows.
        corpus: whose studies alone are taken.
        model: likewise.
    """
    shown, empty, untested = {row.study for row in there}, list[str](), list[str]()
    said = list[str]()
    for study, own in sources(database, names, "test"):
        confirmed = {e.spec.confirms["trial"] for e in own if e.spec.confirms and e.trials.counts().get("complete")}
        best = study.winner() if confirmed and not study.spec.confirms and _fits(study, corpus, model) else None
        if best is not None and best.trial.number not in confirmed:
            said.append(
                f"the winner of {study.name} is trial {best.trial.number}, and what is confirmed is another: "
                f"`tuner confirm {study.name}` confirms it"
            )
        if _fits(study, corpus, model) and not shown & {study.name, *(each.name for each in own)}:
            (empty if study.best() is None else untested).append(study.name)
    said += [f"no trial of {_listed(empty)} is complete: `tuner show STUDY` tells why"] if empty else []
    return said + ([f"no {split} figures of {_listed(untested)}: `tuner confirm STUDY` makes them"] if untested else [])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} others" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


def _fits(study: Study, corpus: str | None, model: str | None) -> bool:
    return corpus in (None, Path(study.facts.corpus.name).name) and model in (None, study.spec.model)


def _confirmed(study: Study, split: str) -> Row | None:
    over = [trial for trial in study.trials.all() if trial.state in OVER]
    judged = [trial for trial in over if trial.state == "complete" and _of_split(trial, split)]
    if not judged:
        return None
    row = _row(
        study, judged, [metrics for trial in judged if (metrics := _of_split(trial, split))], split, confirmed=True
    )
    return replace(row, notes=(*row.notes, *_lost(over)))


def _lost(over: Sequence[Trial]) -> list[str]:
    """Notes on the runs that are in no mean: without those that diverged, a mean is too good."""
    ends = Counter("struck out" if t.reason == STRUCK else t.state for t in over if t.state != "complete")
    return [f"{count} of {len(over)} runs {end}" for end, count in ends.items()]


def _of_split(trial: Trial, split: str) -> Metrics | None:
    metrics = trial.metrics or Metrics()
    return metrics if split == "valid" else metrics.get("test")


def _row(
    study: Study,
    trials: Sequence[Trial],
    every: Sequence[Metrics],
    split: str,
    confirmed: bool,
) -> Row:
    figures: dict[str, tuple[float, float | None] | None] = {}
    for key in KEPT:
        values = [float(value) for metrics in every if (value := figure(metrics, key)) is not None]
        whole = len(values) == len(every)
        figures[key] = (fmean(values), stdev(values) if len(values) > 1 else None) if whole else None
    line = Line.of_study(study.facts.ngram, split, study.facts.corpus.token)
    facts, text = every[0]["estimator"], study.facts.text
    kinds = [
        dict.fromkeys(filter(None, (estimator_of(metrics, text, each) for metrics in every))) for each in (False, True)
    ]
    made, beside = map("; ".join, kinds)
    return Row(
        study.name,
        study.spec.technique,
        trials[0].given,
        len(every),
        figures,
        made,
        confirmed,
        tuple(trial.number for trial in trials),
        ngram=line if line is not None and line.is_of(facts) else None,
        sentences=sentences_of(every[0], study.facts.sentences),
        beside=beside if beside != made else "",
        notes=(*notes_of_runs(every), *["runs by different estimators"] * (max(map(len, kinds)) > 1)),
        truncation=study.facts.truncation,
        token=study.facts.corpus.token,
        model=study.spec.model,
    )


def compared(database: Database, found: Sequence[Row], against: str | None, split: str) -> list[Row]:
    """The rows, each with how much its figures are above those of `against`, a study, whose row comes first if it is not there.

    Without a name, of two confirmed configurations the second is compared with the first, and of others none.

    Raises:
        Usage: if the study is unknown, has no figures of that split, or more than one configuration.
    """
    from tuner.analysis import sentences, significance

    rows_ = list(found)
    if against is None:
        if len(rows_) != 2 or not all(row.confirmed for row in rows_):
            return rows_
        base = rows_[0]
    else:
        every = rows(database, [against], split)
        named = [row for row in every if row.study == against] or every
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
    """Rows of the figures that the papers print for these techniques: their own, once each, a row for each text."""
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
    """Sentences that name the techniques of which no paper prints figures, each with the reason if one is known."""
    known = {one.row.technique for one in printed(split)}
    missing = [technique for technique in techniques if technique not in known]
    reasons = {technique: f": {why}" for technique, why in unprinted().items()}
    return [f"no paper here prints {split} figures of {each}{reasons.get(each, '')}" for each in missing]
