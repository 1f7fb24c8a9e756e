"""Commands from a finished study to the paper: confirm the winner, print the table, draw the front."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner import numbers
from tuner.commands.options import (
    ApiOption,
    ArtifactsOption,
    DatabaseOption,
    JsonOption,
    OutOption,
    RunsOption,
    SetOption,
    SplitOption,
    StudiesArgument,
    bounded,
    opened,
    print_json,
    say,
    settings,
    write_figure,
)
from tuner.commands.service import work_in_turn
from tuner.commands.staff import with_staff
from tuner.commands.studies import analysed
from tuner.commands.study_options import Given, TechniquesOption, of_each, specs_of, with_settings
from tuner.commands.train import plain
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Fault, Usage

if TYPE_CHECKING:
    from tuner.workers.engines import Staff

app = typer.Typer()


@app.command(epilog="Example: tuner confirm sfb-grammar-tiny --seeds 5")
@with_staff
def confirm(
    study: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="Names of studies, whose winners are trained one after another.",
            show_default=False,
        ),
    ],
    seeds: Annotated[
        int, bounded(numbers.RUNS, "--seeds", "-n", help="Number of runs of each configuration, each with a new seed.")
    ] = 5,
    trial: Annotated[
        int | None, bounded(numbers.INDEX, "--trial", help="Number of the trial to confirm.", show_default="the best")
    ] = None,
    front: Annotated[bool, typer.Option("--front", help="Confirm every trial of a front of two objectives.")] = False,
    set_: SetOption = None,
    *,
    staff: "Staff",
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train studies' winners again with new seeds, and evaluate them on validation and test sentences with S = 1000.

    Without `--set test=true` test figures exist only here. A confirmation is a study of its own: the same command goes on
    with it, or adds runs.
    """
    from tuner.analysis import layouts
    from tuner.analysis import report as paper
    from tuner.storage.database import PATIENCE
    from tuner.studies import confirmation, creation, launch
    from tuner.studies import study as studies

    if trial is not None and front:
        raise Usage(f"--trial {trial} and --front exclude each other: leave one out.")
    if trial is not None and len(study) > 1:
        raise Usage(f"--trial {trial} is of one study, and there are {len(study)}: name one.")
    with opened(database, patience=PATIENCE) as there:
        changes = settings(set_, example="nll_samples=5000")
        specs = {
            confirmation.name_of(found, winner): confirmation.spec(found, winner, seeds, changes)
            for found in [studies.open_study(there, name) for name in dict.fromkeys(study)]
            for winner in confirmation.chosen(found, trial, front, say)
        }
        prepared = launch.prepare_all(specs, lambda: there, lambda _: None, skip=False, here=staff.workers != 0)
        made = creation.go_on_each(there, prepared, runs, artifacts)
        broken = work_in_turn(made, staff, database, runs)
        if staff.workers == 0:
            if as_json:
                print_json({"valid": [], "test": []})
            return
        ended = [each.name for each in made if each.best() is not None]
        tables = {split: paper.rows(there, ended, split) if ended else [] for split in ("valid", "test")}
        for line in paper.absent(there, [each.name for each in made], "test", tables["test"], None, None):
            say(f"note: {line}")
    if as_json:
        print_json({split: [row.plain() for row in rows] for split, rows in tables.items()})
    elif ended:
        for split, rows in tables.items():
            print(f"{split}\n{layouts.table(rows)}")
    if broken:
        raise Fault(" ".join(broken))


@app.command(epilog="Example: tuner pareto sfb-ptb-small mdr-ptb-small --out front.svg")
def pareto(
    context: typer.Context,
    study: StudiesArgument = None,
    x: Annotated[str, typer.Option("--x", help="Figure on the x axis, e.g. rate, distortion, mi.")] = "rate",
    y: Annotated[str, typer.Option("--y", help="Figure on the y axis, e.g. ppl, nll.")] = "ppl",
    split: SplitOption = "valid",
    out: OutOption = None,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
) -> None:
    """Print or draw the Pareto front of studies' trials, of rate against perplexity or any two figures."""
    from tuner.analysis import figures
    from tuner.analysis.pareto import SPLITS
    from tuner.metrics import AXES

    for flag, value, known in (("--x", x, AXES), ("--y", y, AXES), ("--split", split, SPLITS)):
        if value not in known:
            raise Usage(f"{flag} {value!r} is unknown: choose one of {', '.join(known)}.")
    if x == y:
        raise Usage(f"--x and --y are both {x!r}: choose two figures.")
    with analysed(context, database, api) as analysis:
        found = analysis.pareto(study or [], x, y, split)
        by_text: dict[str, list[str]] = {}
        for own in found["studies"]:
            by_text.setdefault(own["text"], []).append(own["study"])
        panels = (
            [{**analysis.pareto(names, x, y, split), "text": text} for text, names in by_text.items()] if out else []
        )
    if not any(own["number"] for own in found["studies"]):
        raise Usage(
            f"no complete trial of {', '.join(study or []) or 'any study'} has both {x} and {y} of the {split} split."
        )
    there = {name for own in found["studies"] if own["number"] for name in (own["study"], own["confirms"])}
    if absent := [name for name in study or [] if name not in there]:
        say(f"note: no complete trial of {', '.join(absent)} has both {x} and {y} of the {split} split")
    if found["note"]:
        say(f"note: {found['note']}: the fronts are each study's own")
    if out is None:
        _print_front(found)
        return
    write_figure(out, found, lambda: figures.fronts(panels, out))


@app.command(epilog="Example: tuner compare sfb-grammar-tiny/3 mdr-grammar-tiny/5")
def compare(
    context: typer.Context,
    run: Annotated[
        list[str],
        typer.Argument(metavar="STUDY/NUMBER...", help="Two to six trials, each as STUDY/NUMBER.", show_default=False),
    ],
    every: Annotated[bool, typer.Option("--all", help="Show settings in which the trials agree, too.")] = False,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show trials side by side: the settings in which they differ, and their figures."""
    from tuner.commands import render as reports

    with analysed(context, database, api) as analysis:
        found = analysis.compare(run)
    if as_json:
        print_json(found)
    else:
        reports.comparison(found, every)


@app.command(epilog="Example: tuner sweep -t mdr -t fb --over r=1,2,5,10,20 --corpus ptb --model small")
@with_settings("corpus", "model", "nll", "fixed", "space", "seed", "timeout", "note", "tags")
@with_staff
def sweep(
    given: Given,
    over: Annotated[
        list[str],
        typer.Option(
            "--over",
            metavar="KEY=V1,V2,…",
            help="A hyperparameter and its values, e.g. r=1,2,5; given again: every combination.",
        ),
    ],
    technique: TechniquesOption = None,
    study: Annotated[
        str | None, typer.Option("--study", help="The study's name.", show_default="TECHNIQUE-CORPUS-MODEL-over-KEY")
    ] = None,
    *,
    staff: "Staff",
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a technique at each of the given values of a hyperparameter or an option, all else at its default.

    Several --over make a grid (Li et al.'s table 2: --over pretrain=none,ae --over anneal_epochs=0,10). Several techniques have a
    study each, one after another.

    A study of exactly so many trials: Ctrl-C stops in order, the same command goes on, and one with more values of a
    hyperparameter adds those. Other values of an option are another study.
    """
    from tuner.commands import render as reports
    from tuner.storage.database import PATIENCE
    from tuner.studies import creation, launch
    from tuner.studies import sweep as sweeps

    swept = sweeps.parse_all(over)
    every, told = of_each("sweep", given, technique, study)
    specs = {
        told or "-".join([usual, "over", *swept]): sweeps.spec(asked, swept)
        for usual, asked in specs_of(database, every).items()
    }
    with opened(database, create=True, patience=PATIENCE) as there:
        prepared = launch.prepare_all(specs, lambda: there, say, skip=False, here=staff.workers != 0)
        for definition in prepared.values():
            sweeps.check(definition, swept)
        made = creation.go_on_each(there, prepared, runs, artifacts)
        for current in made:
            sweeps.fill(current, swept)
        broken = work_in_turn([current.refresh() for current in made], staff, database, runs)
        if as_json:
            print_json(plain(made, []))
        elif staff.workers != 0:
            for current in made:
                reports.summary(current)
            names = " ".join(current.name for current in made)
            print(f"\nnext:\n  tuner rates {names} --out figure2.svg   where the technique holds a rate")
    if broken:
        raise Fault(" ".join(broken))


@app.command(epilog="Example: tuner rates mdr-ptb-small-over-r fb-ptb-small-over-r --out figure2.svg")
def rates(
    context: typer.Context,
    study: StudiesArgument = None,
    split: SplitOption = "valid",
    out: OutOption = None,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
) -> None:
    """Print or draw PPL, accuracy gap and reached minus wanted rate against the target rate: the paper's figures 2 and 3.

    `tuner sweep` makes the trials. A line a sweep, points for a search, named by technique, posterior and prior; mean ± sd.
    """
    from tuner.analysis import figures, sheets
    from tuner.analysis.pareto import check_split
    from tuner.commands import render as reports
    from tuner.commands.tables import Column, Table
    from tuner.studies.confirmation import MARK

    check_split(split)
    with analysed(context, database, api) as analysis:
        found = analysis.rates(study or [], split)
    if not found["series"]:
        remedy = (
            "`tuner sweep --technique mdr --over r=1,2,5,10,20` makes some"
            if split == "valid"
            else "`tuner confirm STUDY --trial N` makes them"
        )
        raise Usage(
            f"no complete trial of {', '.join(study or []) or 'any study'} has {split} figures and a target rate: {remedy}."
        )
    there = " ".join(f" {name}{MARK}" for each in found["series"] for name in each["studies"])
    if absent := [name for name in study or [] if f" {name}{MARK}" not in there]:
        say(f"note: no complete trial of {', '.join(absent)} has {split} figures and a target rate")
    if found["note"]:
        say(f"note: {found['note']}")
    if out is not None:
        write_figure(out, found, lambda: figures.rates(found, out))
        return
    table = Table("", *(Column(label, right=True) for label in ("target", "runs", "PPL", "gap", "R − r")))
    for each in found["series"]:
        for row, (target, runs) in enumerate(zip(each["target"], each["runs"], strict=True)):
            figures_ = [(each[key][row], each[f"{key}_sd"][row]) for key in found["panels"]]
            cells = [sheets.with_sd(None if mean is None else (mean, sd)) for mean, sd in figures_]
            table.add(each["label"], reports.number(target), str(runs), *cells)
    table.print()


def _print_front(found: dict[str, Any]) -> None:
    """Prints the front of all studies together, or where there is none each study's own."""
    from tuner.commands import render as reports
    from tuner.commands.tables import Column, Table
    from tuner.metrics import ESTIMATES

    studies = found["studies"]
    places = found["front"] or [(place, index) for place, own in enumerate(studies) for index in own["front"]]
    table = Table(
        "trial", Column(str(found["x"]), right=True), Column(str(found["y"]), right=True),
        Column("hyperparameters", rank=1, folds=True), *(Column(key, right=True, rank=2) for key in ESTIMATES),
        Column("note", rank=1, folds=True),
    )  # fmt: skip
    for place, index in places:
        own = studies[place]
        settings_ = " ".join(f"{key}={reports.number(values[index])}" for key, values in own["params"].items())
        table.add(
            f"{own['study']}/{own['number'][index]}",
            reports.number(own["x"][index]),
            reports.number(own["y"][index]),
            settings_,
            *(reports.number(own[key][index]) for key in ESTIMATES),
            own["notes"][index],
        )
    table.print()
