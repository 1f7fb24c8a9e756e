"""The papers' tables: laid out with one's own figures, or made from nothing by one command."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from trainers.contract import PRESETS
from tuner import numbers
from tuner.commands.options import (
    ArtifactsOption,
    DatabaseOption,
    RunsOption,
    SetOption,
    StudiesArgument,
    bounded,
    opened,
    say,
    settings,
)
from tuner.commands.service import work_unless_broken
from tuner.commands.staff import with_staff
from tuner.commands.study_options import specs_of
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Fault, Usage
from tuner.studies.spec import ASKED, StudySpec

if TYPE_CHECKING:
    from tuner.analysis.published import Table
    from tuner.analysis.published.systems import System
    from tuner.storage.database import Database
    from tuner.studies.study import Study
    from tuner.workers.engines import Staff

app = typer.Typer()

TextOption = Annotated[
    str | None,
    typer.Option("--text", help="Corpus of the paper whose rows are taken, e.g. snli.", show_default="its first"),
]
PublishedOption = Annotated[bool, typer.Option("--published", help="Print the papers' figures too.")]

FormatOption = Annotated[str, typer.Option("--format", help="Format: table, markdown, latex, csv or json.")]


@app.command(epilog="Example: tuner report --format latex --split test --published > table.tex")
def report(
    study: StudiesArgument = None,
    form: FormatOption = "table",
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Split of the figures: valid, or test, which confirmations and runs of test=true have.",
            show_default="valid, or the table's",
        ),
    ] = None,
    published: PublishedOption = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="STUDY",
            help="Study with which the others are compared by a test.",
            show_default="one of two confirmed",
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--table", metavar="TABLE", help="Table of a paper, e.g. pa-3, li-10.", show_default="the studies'"
        ),
    ] = None,
    text: TextOption = None,
    corpus: Annotated[
        str | None, typer.Option("--corpus", "-c", help="Take only studies of this corpus.", show_default="all")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Take only studies of this preset.", show_default="all")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="F1,F2,…",
            help="Figures in place of the columns, e.g. nll,rate,mi.",
            show_default=False,
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            "--rank",
            metavar="FIGURE",
            help="Figure that orders the rows, the best first, e.g. nll, melbo.",
            show_default=False,
        ),
    ] = None,
    database: DatabaseOption = DATABASE,
) -> None:
    """Print a paper's table: a row for each configuration, mean ± sd over its runs.

    --table lays out any table of the five papers, in its rows and columns. Differences to --against are tested by each estimator
    that both sides have, its error and bias included. --rank by a figure under p(z) puts techniques last for which it means
    nothing (ae, mim).
    """
    from tuner.analysis import layouts
    from tuner.analysis import report as paper
    from tuner.analysis.pareto import check_split
    from tuner.analysis.published import systems
    from tuner.metrics import FIGURES

    if form not in layouts.FORMATS:
        raise Usage(f"--format {form!r} is unknown: choose one of {', '.join(layouts.FORMATS)}.")
    shown = [key.strip() for key in columns.split(",")] if columns else []
    for flag, value in [("--columns", key) for key in shown] + ([("--rank", rank)] if rank else []):
        if value not in FIGURES:
            raise Usage(f"{flag} {value!r} is unknown: choose of {', '.join(FIGURES)}.")
    if table is None and text is not None:
        raise Usage(f"--text {text} is of a paper's table: name one with --table.")
    if table is not None and against is not None:
        raise Usage(f"--against {against} is for the studies' own table: leave it out with --table.")
    part = None if table is None else systems.block(systems.named(table), text)
    if part is not None:
        _check_sentences(part, **{"--columns": columns, "--rank": rank, "--published": published})
    chosen = split or (part.split if part is not None and part.split else "valid")
    check_split(chosen)
    corpus = None if corpus is None else _text_name(database, corpus)
    with opened(database) as there:
        if part is not None:
            which = (study or [], chosen, corpus, model)
            print(_laid(there, part, which, form, shown, rank, published), end="")
            return
        rows = paper.narrowed(paper.rows(there, study or [], chosen), there, corpus, model)
        for line in paper.absent(there, study or [], chosen, rows, corpus, model):
            say(f"note: {line}")
        rows = paper.compared(there, rows, against, chosen)
    if published:
        own = list(dict.fromkeys(row.technique for row in rows))
        rows += paper.published(own, chosen)
        for line in paper.unpublished(own, chosen):
            say(f"note: {line}")
    print(layouts.FORMATS[form](paper.ranked(rows, rank) if rank else rows, shown), end="")


@app.command(epilog="Example: tuner paper li-10 --model small --seeds 2")
@with_staff
def paper(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Table of a paper, e.g. li-10.", show_default=False)],
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Corpus by name, or a folder.")] = "grammar",
    model: Annotated[str, typer.Option("--model", "-m", help="Preset of sizes.")] = "tiny",
    count: Annotated[
        int, bounded(numbers.RUNS, "--seeds", "-n", help="Number of runs of each row, each with a new seed.")
    ] = 1,
    text: TextOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--row", help="Take only rows with this text in their label; may be repeated.", show_default="all"
        ),
    ] = None,
    set_: SetOption = None,
    *,
    staff: "Staff",
    form: FormatOption = "table",
    published: PublishedOption = False,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
) -> None:
    """Make a paper's table from nothing: train every row that can be trained, and lay it out.

    Each row is a study of its own, whose file is written; tables of one paper share those that they share. Ctrl-C stops in order,
    the same command goes on. --set TECHNIQUE.key=value is for that technique's rows alone. --workers 0 makes the studies and
    leaves them to other workers.
    """
    from tuner.analysis.published import layout, systems
    from tuner.storage.database import PATIENCE
    from tuner.studies.launch import name_of

    if form not in layout.FORMATS:
        raise Usage(f"--format {form!r} is unknown: choose one of {', '.join(layout.FORMATS)}.")
    ASKED["model"].checked(model)
    part, asked = systems.block(systems.named(table), text), settings(set_)
    _check_sentences(part, **{"--published": published})
    chosen = _chosen(part, only)
    known = {each.technique for each in systems.systems(part)}
    for key in asked:
        if "." in key and key.partition(".")[0] not in known:
            raise Usage(f"--set {key}={asked[key]} names no technique of {table}: it has {', '.join(sorted(known))}.")
    rows, specs = dict[str, str](), dict[str, StudySpec]()
    text_name = _text_name(database, corpus)
    for system in chosen:
        name = name_of(system.called(model), text_name, model)
        specs |= specs_of(database, [{**system.spec(model, count, asked), "corpus": corpus}], name)
        rows.setdefault(name, system.row.label)
    folder = runs / "papers"
    _say_budget(table, specs, folder)
    with opened(database, create=True, patience=PATIENCE) as there:
        made, refused = _made(there, specs, folder, runs, artifacts, here=staff.workers != 0)
        broken = _worked(table, made, staff, database, runs)
        if staff.workers == 0:
            return
        which = ([study.name for study in made], part.split, None, None)
        whys = {rows[name]: why for name, why in refused.items()}
        whys |= {rows[s.name]: "no run of it is complete" for s in made if s.name in rows and s.best() is None}
        print(_laid(there, part, which, form, published=published, absent=whys), end="")
    if broken:
        raise Fault(" ".join(broken))


def _text_name(database: str, corpus: str) -> str:
    """The name of a corpus in tables and in the names of a table's studies: the last part of its place, wherever it is known."""
    from tuner.studies import corpora

    return Path(corpora.named(database, corpus).place).name


def _check_sentences(part: "Table", **asked: object) -> None:
    """
    Raises:
        Usage: if the table has sentences and no figures, and an option of figures is asked for.
    """
    if part.sentences and (flags := [flag for flag, value in asked.items() if value]):
        raise Usage(f"{flags[0]} is of figures, and {part.name} is a table of sentences: leave it out.")


def _laid(
    database: "Database",
    part: "Table",
    which: tuple[list[str], str, str | None, str | None],
    form: str,
    columns: Sequence[str] = (),
    rank: str | None = None,
    published: bool = False,
    absent: Mapping[str, str] | None = None,
) -> str:
    """A paper's table as text.

    Args:
        which: studies, the split, a corpus and a preset.
        absent: why rows have no figures, beyond what their studies tell.
    """
    from tuner.analysis.published import layout, sentences

    names, split, corpus, model = which
    if part.sentences:
        return sentences.FORMATS[form](sentences.lay(database, part, names, corpus, model), part)
    laid = layout.lay(database, part, names, split, corpus, model, columns, published)
    laid = replace(laid, absent={**laid.absent, **(absent or {})})
    return layout.FORMATS[form](laid.ranked(rank) if rank else laid)


def _chosen(part: "Table", only: Sequence[str] | None) -> "list[System]":
    """The rows of a table's part that are to be trained.

    Raises:
        Usage: if there is none.
    """
    from tuner.analysis.published.systems import systems

    every = systems(part)
    chosen = [each for each in every if not only or any(text in each.row.label for text in only)]
    if not chosen:
        labels = ", ".join(dict.fromkeys(each.row.label for each in every))
        raise Usage(f"--row {', '.join(only or ())} is in no label of {part.name}: its rows are {labels}.")
    return chosen


def _say_budget(table: str, specs: Mapping[str, StudySpec], folder: Path) -> None:
    """Says the largest cost of the table, before anything is made."""
    runs = sum(spec.trials for spec in specs.values())
    first = next(iter(specs.values()))
    epochs = first.fixed.get("max_epochs", PRESETS[first.model].get("max_epochs", 100))
    say(
        f"{table} on {Path(first.corpus).name}, {first.model}: {len(specs)} studies, {runs} runs of at most {epochs} epochs "
        f"(twice as many where an encoder is pretrained); their files are in {folder}"
    )


def _made(
    database: "Database", specs: Mapping[str, StudySpec], folder: Path, runs: Path, artifacts: str | None, *, here: bool
) -> "tuple[list[Study], dict[str, str]]":
    """The studies, new ones or those that are there, and why others cannot be made.

    Raises:
        Usage: if none can.
    """
    from tuner.errors import Missing
    from tuner.studies import creation, launch, study_file
    from tuner.studies.study import open_study

    made, refused, warn = [], dict[str, str](), cache(_warn)  # rows share most of their warnings
    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in specs.items():
        file, text = folder / f"{name}.toml", study_file.write(name, spec)
        known = None
        with suppress(Missing):
            there = open_study(database, name)
            known = there.definition if _is_known(file, _marked(there, text)) else None
        try:
            wanted = known or launch.prepare(name, spec, lambda: database, warn, here=here)
        except Usage as error:
            refused[name] = str(error)
            continue
        definition = replace(wanted, spec=replace(wanted.spec, trials=spec.trials))
        made.append(creation.go_on(database, name, definition, runs, artifacts))
        file.write_text(_marked(made[-1], text), encoding="utf-8")
    if not made:
        raise Usage(next(iter(refused.values())))
    launch.say_left_out(refused.items(), say)
    return made, refused


def _marked(study: "Study", text: str) -> str:
    """A study's file with a mark of the study: another database may have one of its name in the same folder."""
    return f"# of the study made at {study.created_at!r}\n{text}"


def _is_known(file: Path, text: str) -> bool:
    """True if the study's file is unchanged but for its budget, so that the study need not be checked again."""

    def lines(content: str) -> list[str]:
        return [line for line in content.splitlines() if not line.startswith("trials = ")]

    return file.exists() and lines(file.read_text(encoding="utf-8")) == lines(text)


def _warn(text: str) -> None:
    """Says what a person should know of a row, but not that it has nothing to tune, which is its nature."""
    if text.startswith(("checking", "warning")):
        say(text)


def _worked(table: str, made: "Sequence[Study]", staff: "Staff", url: str, runs: Path) -> list[str]:
    """Has each row trained, though others stop themselves; returns what is to be said of those.

    Raises:
        Fault: if this was stopped.
    """
    from tuner.commands.render import duration
    from tuner.studies.trials import OVER

    broken, total = [], sum(study.spec.trials for study in made)
    for study in made:
        over = {each.name: [trial for trial in each.trials.all() if trial.state in OVER] for each in made}
        if len(over[study.name]) >= study.spec.trials:
            continue
        done = [trial.seconds or 0.0 for trials in over.values() for trial in trials]
        left = (
            f"; about {duration(fmean(done) * (total - len(done)))} left, at {duration(fmean(done))} a run"
            if done
            else ""
        )
        say(f"{table}: {len(done)} of {total} runs done{left}")
        broken += work_unless_broken(study, staff, url, runs)
    return broken
