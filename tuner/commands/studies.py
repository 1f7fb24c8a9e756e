"""Commands about studies, of a database that is at hand or of a server: list, show, change, stop, delete."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.commands.options import (
    GIVEN,
    ApiOption,
    BecauseOption,
    ColumnsOption,
    DatabaseOption,
    FailOption,
    JsonOption,
    OneStudyArgument,
    SomeStudiesArgument,
    SortOption,
    StateOption,
    StudyArgument,
    TagOption,
    TopOption,
    WhereOption,
    YesOption,
    leave_out,
    opened,
    print_json,
    say,
    source_of,
    struck_out,
)
from tuner.commands.study_options import Given, described, plain_of, with_settings
from tuner.defaults import DATABASE
from tuner.errors import Busy, Usage
from tuner.numbers import counted
from tuner.studies.spec import OPEN

if TYPE_CHECKING:
    from tuner.analysis.access import Analysis
    from tuner.studies.access import Studies

HANDED_BACK_SECONDS = 120.0
"""Seconds for which the deletion of a stopped study waits for its trials: a lease, and a trainer's time to save."""
LOOK_SECONDS = 0.2

app = typer.Typer()


@contextmanager
def reached(context: typer.Context, database: str, api: str | None) -> "Iterator[Studies]":
    """The studies of a server, if one is named, or else of the database.

    A database on the command line comes before a server in the environment.
    """
    if server(context, api):
        from tuner.client import Client

        yield Client(api)
        return
    from tuner.studies.access import DatabaseStudies

    with opened(database) as there:
        yield DatabaseStudies(there)


@contextmanager
def analysed(context: typer.Context, database: str, api: str | None) -> "Iterator[Analysis]":
    """The figures of a server's studies, if one is named, or else of the database's."""
    if server(context, api):
        from tuner.client import Client

        yield Client(api)
        return
    from tuner.analysis.access import DatabaseAnalysis

    with opened(database) as there:
        yield DatabaseAnalysis(there)


def server(context: typer.Context, api: str | None) -> str | None:
    """The server that a command is about."""
    api_from, database_from = source_of(context, "api"), source_of(context, "database")
    if api == "" and api_from == GIVEN:
        raise Usage("--api names no server: write e.g. --api http://127.0.0.1:8000.")
    if api_from == database_from == GIVEN:
        raise Usage("--api and --database exclude each other: leave one out.")
    return None if api_from == "ENVIRONMENT" and database_from == GIVEN else api


@app.command(name="studies", epilog="Example: tuner studies --json")
def list_studies(
    context: typer.Context,
    state: StateOption = None,
    tag: TagOption = None,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the studies, the newest first."""
    from tuner.commands import render
    from tuner.studies.queries import LISTED_STATES
    from tuner.studies.trials import count_over

    if state not in (None, *LISTED_STATES):
        raise Usage(f"--state {state!r} is unknown: choose one of {', '.join(LISTED_STATES)}.")
    with reached(context, database, api) as studies:
        found = list(studies.studies(state=state, tag=tag))
    if as_json:
        print_json(found)
        return
    table = render.study_table()
    for s in found:
        best = s["best"]
        notes = [render.won(best), s["why"] or ("waits: no worker takes it" if s["waiting_for_workers"] else "")]
        notes += [f"best trial {note}" for note in best["notes"]] if best else []
        notes += [f"judged by MELBO, {render.number(best['value'])}"] if best and s["objective"] == "melbo" else []
        figures = (best["metrics"] if best else None) or {}
        done = count_over(s["counts"])
        table.add(
            s["name"], s["state"], s["technique"], s["corpus"], s["model"], s["sampler"], f"{done}/{s['budget']}",
            str(s["counts"]["running"]), *(render.number(figures.get(key)) for key in ("nll", "rate")),
            "; ".join(filter(None, notes)),
        )  # fmt: skip
    table.print()


@app.command(epilog="Example: tuner show sfb-grammar-tiny")
def show(
    context: typer.Context,
    study: StudyArgument,
    form: Annotated[
        str, typer.Option("--format", help="Format: table; or toml, the study file that `tuner launch --config` reads.")
    ] = "table",
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a study: its trials, its best trial, what made its figures."""
    from tuner.commands import render
    from tuner.studies import study_file
    from tuner.studies.access import DatabaseStudies
    from tuner.studies.spec import StudySpec
    from tuner.studies.study import open_study

    if form not in ("table", "toml"):
        raise Usage(f"--format {form!r} is unknown: choose table or toml.")
    if form == "toml":
        leave_out(context, "is for --format table", "as_json")
    with reached(context, database, api) as studies:
        found = studies.study(study)
        if form == "toml":
            first = next(iter(studies.trials(study)), None)
            if first is not None and first.source == "enqueued" and found["sampler"] == "grid":
                raise Usage(
                    f"the trials of study {study!r} were given one by one, as a sweep's are, and a study file has none: give "
                    f"`tuner export {study} --bundle FILE` to others, or make the sweep again with its own command."
                )
            print(study_file.write(study, StudySpec.of(found["spec"])), end="")
            return
        trials = list(studies.trials(study))
        if as_json:
            print_json({**found, "trials": [trial.plain() for trial in trials]})
            return
        here = open_study(studies.database, study) if isinstance(studies, DatabaseStudies) else None
        sizes = ", ".join(f"{count:,} {split}" for split, count in found["sentences"].items())
        fixed = ", ".join(f"{key}={value}" for key, value in found["spec"]["fixed"].items()) or "nothing"
        types = f"{found['vocabulary']:,} {found['token']}s"
        print(f"corpus    {found['corpus']} ({sizes} sentences, {types})")
        print(f"searched  {_searched(found['space'], found['spec']['fixed'])}\nset       {fixed}")
        print(f"runs in   {here.files.store.address if here is not None else 'the server'}\n")
        render.shown(found, trials, here)


def _searched(space: list[dict[str, object]], fixed: dict[str, object]) -> str:
    searched = [p for p in space if p["tuned"] and p["name"] not in fixed]
    return ", ".join(f"{p['name']} in {p['domain']}" for p in searched) or "nothing"


@app.command(epilog="Example: tuner trials sfb-grammar-tiny --json")
def trials(
    context: typer.Context,
    study: OneStudyArgument = None,
    every: Annotated[bool, typer.Option("--all", help="List all trials, not only the last ones and the best.")] = False,
    fail: FailOption = None,
    because: BecauseOption = None,
    sort: SortOption = None,
    top: TopOption = None,
    where: WhereOption = None,
    columns: ColumnsOption = None,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a study's trials: the last ones and the best, all (as --json does), or those that fit. Or strike one out."""
    from tuner.commands import render
    from tuner.commands.tables import console
    from tuner.studies.table import Head, column, heads, hyperparameters_among

    struck = struck_out(study, fail, because)
    if struck is not None:
        listing = ("every", "sort", "top", "where", "columns", "as_json")
        leave_out(context, "is for a list of trials, and --fail strikes one out", *listing)
    if as_json:
        leave_out(context, "is for a table, and --json gives every column", "columns")
    with reached(context, database, api) as studies:
        if struck is not None:
            made = studies.strike(*struck)
            say(f"trial {made.run} is {made.state}: {made.message}")
            return
        name = str(study)
        listed = list(islice(studies.trials(name, order=sort or "number", where=where), top))
        if as_json:
            print_json([trial.plain() for trial in listed])
            return
        found = studies.study(name)
    own = [Head(column(p["name"]), p["name"]) for p in found["space"]]
    known = heads({**{head.key: head for head in own}, **hyperparameters_among(listed)})
    keys = [key.strip() for key in columns.split(",")] if columns else None
    if odd := [key for key in keys or () if key not in known]:
        raise Usage(f"--columns {odd[0]!r} is no column of study {name!r}: choose of {', '.join(known)}.")
    if every or sort or top or where:
        render.trial_table(listed, render.marked(found), render.titled(found), keys, known, found["objective"]).print()
        if not listed and where:
            say(f"no trial of {name} fits {where}")
    else:
        render.print_trials(found, listed, columns=keys)
        if found["best"] and not found["front"]:
            print(f"* best by {found['best']['by']}")
    for meaning in render.explained({trial.number: trial.metrics for trial in listed}):
        console().print(f"\n{meaning}")


@app.command(epilog="Example: tuner stop sfb-grammar-tiny")
def stop(
    context: typer.Context, study: StudyArgument, database: DatabaseOption = DATABASE, api: ApiOption = None
) -> None:
    """Stop a study: no trial begins, and those under way are handed back with their checkpoints within seconds."""

    with reached(context, database, api) as studies:
        before = studies.study(study)
        if before["state"] != "active":
            why = f" ({before['why']})" if before["why"] else ""
            say(f"study {study} is not active: it is {before['state']}{why}")
            return
        running = studies.stop(study)["counts"]["running"]
    handed = f"; being handed back: {counted(running, 'trial')}" if running else ""
    say(f"study {study} is stopped{handed}")


@app.command(epilog="Example: tuner change sfb-grammar-tiny --trials 40 --tag night")
@with_settings(*OPEN, usual="as it is", file=False)
def change(
    context: typer.Context,
    given: Given,
    study: StudyArgument,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
) -> None:
    """Change a study's budget, rules, note or tags; what is not named stays as it is.

    --timeout none and --deadline none lift a limit, --note "" and --tag "" remove a remark.
    """
    with reached(context, database, api) as studies:
        found = studies.change(study, **plain_of(given))
    say(f"study {study} is {found['state']}, with {described(found['spec'], given)}")


@app.command(epilog="Example: tuner delete sfb-grammar-tiny --yes")
def delete(
    context: typer.Context,
    names: SomeStudiesArgument,
    yes: YesOption = False,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
) -> None:
    """Delete studies with their trials, checkpoints and logs."""
    with reached(context, database, api) as studies:
        if not yes:
            if not sys.stdin.isatty():
                raise Usage(f"deleting study {names[0]!r} cannot be undone: say --yes.")
            typer.confirm(f"Delete study {', '.join(names)} with its trials and files?", abort=True)
        chosen = dict.fromkeys(names)
        missing = chosen.keys() - {each["name"] for each in studies.studies()} if len(chosen) > 1 else set()
        for name in missing:
            studies.study(name)  # which says so, before any is deleted
        for name in chosen:
            _delete(studies, name)
            say(f"study {name} is deleted")


def _delete(studies: "Studies", name: str) -> None:
    """Deletes a study, once the trials of one that was just stopped have been handed back."""
    until, told = time.monotonic() + HANDED_BACK_SECONDS, False
    while True:
        try:
            studies.delete(name)
            return
        except Busy:
            if time.monotonic() > until:
                raise
        if not told:
            say(f"waiting until the trials of study {name} that were under way are handed back …")
        told = True
        time.sleep(LOOK_SECONDS)


@app.command(epilog="Example: tuner relocate sfb-grammar-tiny disk2/sfb-grammar-tiny-3f9a01")
def relocate(
    study: StudyArgument,
    place: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Folder of the files now, or s3://….", show_default=False)
    ],
    database: DatabaseOption = DATABASE,
) -> None:
    """Say where a study's files are, when they were moved without their database."""
    from tuner.studies.study import open_study

    with opened(database) as there:
        found = open_study(there, study)
        found.files.relocate(place)
    say(f"the files of study {study} are in {found.files.store.address}")
