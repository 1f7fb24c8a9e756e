"""What a person reads: tables of trials, a run's figures, and plain words about what they mean."""

import csv
import io
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tuner.analysis.ties import tied
from tuner.estimators import estimate, estimator_of, notes_of
from tuner.metrics import FIGURES, METRICS, SHOWN, flat
from tuner.metrics import number as number
from tuner.ngram import Line
from tuner.screen import cell, plain, styles
from tuner.storage.database import Database
from tuner.studies import winner
from tuner.studies.study import Study, open_study
from tuner.studies.trials import FIRST, Trial

if TYPE_CHECKING:
    from tuner.analysis.reproduction import Agreement

PIPE_WIDTH = 200
ROWS = 50
"""trials in a table unless all are asked for"""
LISTED = 20
"""numbers of trials in a sentence"""
PARTS = ("set_up", "training", "evaluation")
"""of a trial's seconds"""
MIN_SHARE = 0.05
"""probability of being hidden, from which a word is coloured"""
COLLAPSED = (
    "collapsed: the code z says (nearly) nothing about the sentence (R or MI < 0.2 nats), so the decoder "
    "ignores it and samples, reconstructions and interpolations all come out alike. Try a technique that holds a rate (sfb, mdr "
    "or fb with r of 2 or more), a smaller beta, or slower annealing."
)
NOTES = {
    "collapsed": COLLAPSED,
    "not resolved": "not resolved: the NLL may be too high by more than 0.1 nats, so it is not to be ranked with others",
}
"""what qualifies a trial's figures, explained"""


class Page(Console):
    """A console whose texts are texts: no markup, no names of emojis, nothing on which a terminal acts."""

    def render_str(self, text: str, **more: Any) -> Text:
        return super().render_str(plain(text), **{**more, "markup": False, "emoji": False})


def console() -> Console:
    """Standard output; wide enough for every column when it is no terminal."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Page(file=styles(sys.stdout), width=width, highlight=False, soft_wrap=False)


def table(*columns: str | Column, title: str | None = None) -> Table:
    """An empty table with these columns, without rules; without columns no head either."""
    return Table(
        *columns,
        title=title,
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
        show_header=bool(columns),
    )


def duration(seconds: float) -> str:
    """`42 s`, `3:07 min` or `2:05 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def _with_error(metrics: Mapping[str, Any]) -> str:
    return number(metrics["nll"]) + (f" ± {metrics['nll_se']:.2g}" if metrics["nll_se"] is not None else "")


def _note(trial: Trial) -> str:
    notes = [f"{trial.source} values"] if trial.source in FIRST else []
    if trial.reason and not trial.notes:
        notes.append(f"{trial.reason}: {trial.message}")
    return "; ".join([*notes, *trial.notes])


def trial_table(trials: Sequence[Trial], marked: Collection[int], title: str | None = None) -> Table:
    """A row for each trial, with a star at those marked: the best one, or the front."""
    made = table(Column("#", justify="right"), "state", title=title)
    names = list(dict.fromkeys(name for trial in trials for name in trial.given))
    for name in names:
        made.add_column(name, justify="right", style="cyan")
    for key, metric in SHOWN.items():
        made.add_column("NLL ± se" if key == "nll" else metric.heading, justify="right")
    made.add_column("time", justify="right")
    made.add_column("note", overflow="fold")
    for trial in trials:
        metrics = trial.metrics or {}
        figures = [number(metrics.get(key)) for key in SHOWN]
        if metrics:
            figures[0] = _with_error(metrics)
        made.add_row(
            f"{trial.number}{' *' if trial.number in marked else '  '}",
            trial.state,
            *(number(trial.given.get(name)) for name in names),
            *figures,
            duration(trial.seconds) if trial.seconds is not None else "–",
            _note(trial),
            style="bold" if trial.number in marked else None,
        )
    return made


def gain(study: Study) -> str | None:
    """What the best trial gained over the published values, which trial 0 has; none if there is nothing to compare.

    Both must be complete; nothing is compared unless the same estimator judged them.
    By value, as they are ranked: a least rate counts.
    """
    best = study.best()
    first = study.trial(0) if study.spec.first_default and best is not None else None
    if best is None or first is None or first.value is None or best.value is None:
        return None
    assert first.metrics is not None
    assert best.metrics is not None
    front = study.front()
    judged = "MELBO" if study.spec.objective == "melbo" else "NLL"
    judged += f" + max({study.spec.min_rate:g} − R, 0)" if study.spec.min_rate else ""
    said = f"trial 0 has the {first.source} values: {judged} {number(first.value)}"
    if front:
        return f"{said}, R {number(first.metrics['rate'])}; it is {'' if 0 in front else 'not '}on the front"
    if best.number == 0:
        return f"{said}; it is the best"
    if estimator_of(first.metrics, "") != estimator_of(best.metrics, ""):
        return f"{said}, by another estimator than the best's: the two are not to be compared"
    lower = first.value - best.value
    said += f"; the best is {lower:.2f} lower" if lower >= 0.01 else "; the best is less than 0.01 lower"
    unresolved = [t for t in (first, best) if (t.metrics or {})["estimator"].get("resolved") is False]
    if study.spec.objective == "nll" and tied(best, [first], study):
        said += ", within the estimates' errors"
    elif study.spec.objective == "nll" and unresolved:
        said += f", but the estimate of trial {' and '.join(str(t.number) for t in unresolved)} is not resolved"
    return said


def against_ngram(kept: Mapping[str, Any] | None, best: Mapping[str, Any] | None, objective: str) -> str | None:
    """What an n-gram model makes of the validation sentences, and how far the best trial is from it.

    Args:
        kept: what the study keeps of it; none in a study of an older program.
        best: the best trial's metrics, if any.
        objective: of the study; models that are judged by MELBO have no NLL that anything keeps low.
    """
    line = Line.of_study(kept, "valid")
    if line is None:
        return None
    if best is None or best.get("nll") is None or not line.is_of(best["estimator"]) or objective == "melbo":
        return line.said
    lower = line.nll - best["nll"]
    apart = f"{abs(lower):.2f} nats" if abs(lower) >= 0.01 else "less than 0.01 nats"
    if lower >= 0:
        return f"{line.said}; the best trial is {apart} better"
    unsure = ", if its estimate can be believed" if best["estimator"].get("resolved") is False else ""
    return (
        f"warning: {line.said}; the best trial is {apart} worse{unsure}: it has learnt less of the text than counting words "
        "tells; give it more epochs (max_epochs), more text or a larger model before techniques are compared"
    )


def print_trials(study: Study, rows: int | None, title: str | None = None) -> list[Trial]:
    """Prints the last so many trials, and the best one wherever it is; returns all."""
    out, best, front, trials = console(), study.best(), study.front(), study.trials()
    last = trials if rows is None else trials[-rows:]
    earlier = [trial for trial in trials[: len(trials) - len(last)] if best is None or trial.number != best.number]
    if best is not None and best.number not in {t.number for t in last}:
        last = [best, *last]
    out.print(trial_table(last, set(front) or ({best.number} if best else set()), title))
    if earlier:
        out.print(f"… and {len(earlier):,} earlier trials: `tuner trials {study.name} --all`")
    return trials


def summary(study: Study) -> None:
    """A study's trials, its best, what to know about the figures and what to do next."""
    title = (
        f"{study.name}: {study.spec.technique} on {study.facts.corpus.name}, model {study.spec.model}, "
        f"sampler {study.spec.sampler}, seed {study.spec.seed}"
    )
    out, best, front = console(), study.best(), study.front()
    trials = print_trials(study, ROWS, title)
    if study.state != "active":
        out.print(f"\nthe study is {study.state}" + (f": {study.why}" if study.why else ""))
    if best is None:
        out.print("\nno trial is complete yet")
        return
    assert best.metrics is not None
    params = " ".join(f"{key}={number(value)}" for key, value in best.given.items()) or "the defaults"
    if front:
        out.print(f"\nfront of low NLL and high rate, from its lowest NLL on: trials {', '.join(map(str, front))}")
    out.print(
        f"\nbest: trial {best.number}, NLL {_with_error(best.metrics)} nats per sentence, "
        f"PPL {number(best.metrics['ppl'])}, with {params}"
    )
    out.print(estimate(best.metrics))
    equal = [] if front or study.spec.objective != "nll" else tied(best, trials, study)
    if equal:
        out.print(f"{_listed(equal)} may be as good: the difference is within the estimates' errors")
    if (found := winner.of(study)) is not None and found.said:
        out.print(f"{found.said}; `tuner confirm` takes it")
    if (gained := gain(study)) is not None:
        out.print(gained)
    if study.spec.min_rate:
        out.print(f"ranked by NLL + max({study.spec.min_rate:g} − R, 0)")
    if study.facts.corpus.entropy is not None:
        out.print(
            f"the corpus's exact entropy is {number(study.facts.corpus.entropy)} nats per sentence: "
            "no model's expected NLL is lower"
        )
    if (counted := against_ngram(study.facts.ngram, best.metrics, study.spec.objective)) is not None:
        out.print(counted)
    _print_costs([trial.cost for trial in trials if trial.cost])
    for note, meaning in NOTES.items():
        if marked := [trial.number for trial in trials if note in trial.notes]:
            out.print(f"{_listed(marked)} {meaning}")


def _listed(numbers: Sequence[int]) -> str:
    """`trial 3`, `trials 3, 5`, or of very many the first ones."""
    more = f", … ({len(numbers):,} in all)" if len(numbers) > LISTED else ""
    return f"trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:LISTED]))}{more}"


def _print_costs(costs: Sequence[Mapping[str, Any]]) -> None:
    """What trials took on average; a worker that is not ours may leave parts out."""
    parts = {part: [cost["seconds"][part] for cost in costs if part in cost["seconds"]] for part in PARTS}
    speeds = [cost["tokens_per_second"] for cost in costs if cost["tokens_per_second"] is not None]
    said = [f"{duration(fmean(spent))} of {part.replace('_', '-')}" for part, spent in parts.items() if spent]
    lines = [f"a trial took on average {', '.join(said)}"] if said else []
    lines += [f"training ran at {fmean(speeds):,.0f} tokens/s"] if speeds else []
    if lines:
        console().print("; ".join(lines))


def next_commands(study: Study, database_option: str) -> None:
    """What to type after a study."""
    best = study.best()
    commands = [(f"tuner show {study.name}{database_option}", "the study again")]
    if best:
        commands += [
            (f"tuner neighbours {best.run}{database_option}", "what its winner writes, and how new that is"),
            (
                f"tuner confirm {study.name}{database_option}",
                "the winner with new seeds, S = 1000, on the test sentences too",
            ),
        ]
    commands += [
        (f"tuner export {study.name} --format csv{database_option}", "every trial for a spreadsheet or pandas"),
        (f"tuner serve{database_option}", "all of it in a browser (pip install 'text-vae-tuner[api]')"),
    ]
    width = max(len(command) for command, _ in commands)
    print("\nnext:")
    for command, meaning in commands:
        print(f"  {command:<{width}}   {meaning}")


def metrics_table(metrics: Mapping[str, Any], entropy: float | None = None) -> None:
    """One run's figures, each with its meaning."""
    rows = table()
    for key in METRICS:
        if metrics.get(key) is not None:  # what has no meaning here, e.g. R − r of a technique that holds no rate
            rows.add_row(key, number(metrics[key]), FIGURES[key].meaning)
    out = console()
    out.print(rows)
    out.print(estimate(metrics))
    if entropy is not None:
        out.print(f"the corpus's exact entropy is {number(entropy)} nats per sentence")
    for note in notes_of(metrics):
        out.print(NOTES[note])


def agreement(found: "Agreement") -> None:
    """A run's figures then and now."""
    rows = table("", "then", "now", "")
    for key, (then, now) in found.figures.items():
        rows.add_row(key, repr(then), repr(now), "differs" if key in found.differs else "")
    out = console()
    out.print(rows)
    if found.exact:
        out.print("on the same class of machine: figures must be the same to the last digit")
        return
    then_, now_ = found.machines
    changes = ", ".join(
        f"{key} {then_[key] or 'none'} → {now_[key] or 'none'}" for key in then_ if then_[key] != now_[key]
    )
    out.print(
        f"on another class of machine ({changes}): NLL, −ELBO, D and R must agree within {number(found.tolerance)} nats"
    )


def latent_table(found: Mapping[str, Any]) -> None:
    """What a run's codes are worth, each figure with its meaning."""
    rows = table()
    rows.add_row("bleu", number(found["bleu"]), "greedy reconstructions from posterior samples, 0–100")
    rows.add_row("bleu_1", number(found["bleu_1"]), "the same, single words only")
    for swaps, distortion in found["noisy"].items():
        rows.add_row(
            f"noisy {swaps}", number(distortion), f"D of a sentence from the code of it after {swaps} word swaps"
        )
    rows.add_row(
        "smoothness", number(found["smoothness"]), "correlation of code distance and word edit distance over pairs"
    )
    rows.add_row(
        "entropy",
        number(found["entropy"]),
        f"of the codes, by nearest neighbours, nats; N(0, I): {number(found['normal_entropy'])}",
    )
    for labelled, accuracy in (found["probes"] or {}).items():
        kind = "a mixture of Gaussians, best match" if labelled == "0" else f"a linear classifier, {labelled} labels"
        rows.add_row(
            f"probe {labelled}", number(accuracy), f"accuracy of {kind}; largest class {number(found['largest_class'])}"
        )
    console().print(rows)
    console().print(f"on {found['sentences']} validation sentences")


def dropped_line(words: Sequence[Mapping[str, Any]]) -> Text:
    """A sentence whose words are the redder the likelier they are hidden; with figures where there is no colour."""
    line = Text()
    for number_, entry in enumerate(words):
        share = entry["probability"]
        green = round(255 * (1 - share))
        style = f"black on #ff{green:02x}{green:02x}" if share >= MIN_SHARE else ""
        line.append(" " if number_ else "")
        line.append(plain(entry["word"]), style)
        line.append("" if sys.stdout.isatty() else f" {share:.2f}")
    return line


def export(study: Study, form: str) -> str:
    """All trials as JSON, or as CSV with a column for each hyperparameter (`params.…`), figure, and what qualifies it."""
    if form == "json":
        return json.dumps(study.plain(), indent=1, ensure_ascii=False) + "\n"
    text, trials = study.facts.text, study.trials()
    found = [flat(trial.metrics or {}) for trial in trials]
    names = list(dict.fromkeys(name for trial in trials for name in trial.hyperparameters))
    keys = list(dict.fromkeys([*METRICS, "collapsed", *(key for each in found for key in each)]))
    head = ["number", "state", "source", "value", "seconds", "reason", "message", "run"]
    sheet = io.StringIO()
    rows = csv.writer(sheet, lineterminator="\n")
    rows.writerow([*head, "notes", "estimator", *(f"params.{name}" for name in names), *keys])
    for trial, figures in zip(trials, found, strict=True):
        facts, metrics = trial.plain(), trial.metrics or {}
        made = estimator_of(metrics, text) if "estimator" in metrics else None
        row = (
            [*(facts[key] for key in head), "; ".join(trial.notes), made]
            + [trial.hyperparameters.get(name) for name in names]
            + [figures.get(key) for key in keys]
        )
        rows.writerow(map(cell, row))
    return sheet.getvalue()


def export_from(url: str, name: str, form: str) -> str:
    """All trials of the study of that name, in the database at that address, as JSON or CSV (`export`)."""
    database = Database(url, patience=10.0)
    try:
        return export(open_study(database, name), form)
    finally:
        database.close()
