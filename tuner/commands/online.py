"""Commands about the studies of a server, over its REST API: `tuner COMMAND --api URL`, or with TUNER_API set.

They mirror those of a database that is at hand. Only these commands go over the API.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any

import typer

from tuner.commands.options import (
    BecauseOption,
    ColumnsOption,
    FailOption,
    JsonOption,
    LogFormatOption,
    MemoryOption,
    OneStudyArgument,
    PerGpuOption,
    RunsOption,
    SortOption,
    StudyArgument,
    StudyNameOption,
    ThreadsOption,
    TopOption,
    WhereOption,
    WorkersOption,
    YesOption,
    print_json,
    say,
    struck_out,
)
from tuner.commands.study_options import Given, plain_of, with_settings
from tuner.defaults import RUNS
from tuner.errors import Usage
from tuner.studies.spec import ASKED

FLAG, VARIABLE = "--api", "TUNER_API"
COMMANDS = ("studies", "show", "trials", "launch", "stop", "resume", "delete")

app = typer.Typer(
    help="Studies of a server, over its REST API. TUNER_API_KEY holds the key.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Example: tuner studies --api http://127.0.0.1:8000",
)


def address_in(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The server that a command line names, and the line without it; TUNER_API counts for these commands alone."""
    left, address = list(arguments), None
    for place, argument in enumerate(arguments):
        if argument == FLAG:
            if place + 1 == len(arguments):
                raise Usage(f"{FLAG} names no server: write e.g. {FLAG} http://127.0.0.1:8000.")
            address, left = arguments[place + 1], [*arguments[:place], *arguments[place + 2 :]]
            break
        if argument.startswith(f"{FLAG}="):
            address, left = argument.partition("=")[2], [*arguments[:place], *arguments[place + 1 :]]
            break
    if address is None and next(iter(arguments), "") in COMMANDS and "--database" not in " ".join(arguments):
        address = os.environ.get(VARIABLE) or None
    return address, left


def run(address: str, arguments: Sequence[str]) -> None:
    """One of these commands."""
    os.environ[VARIABLE] = address
    sys.argv[1:] = arguments
    app()


def _client() -> Any:
    from tuner.client import Client

    return Client()


@app.command(name="studies", epilog="Example: tuner studies --api http://127.0.0.1:8000 --json")
def list_studies(as_json: JsonOption = False) -> None:
    """List the server's studies, the newest first."""
    from tuner.commands import render
    from tuner.studies.trials import OVER

    found = list(_client().studies())
    if as_json:
        print_json(found)
        return
    rows = render.study_table()
    for s in found:
        best = s["best"] or {"metrics": {}}
        done = sum(s["counts"][state] for state in OVER)
        notes = [s["why"] or ("waits for workers" if s["waiting_for_workers"] else ""), render.won(s["best"])]
        rows.add(
            s["name"], s["state"], s["technique"], s["corpus"], s["model"], s["sampler"], f"{done}/{s['budget']}",
            str(s["counts"]["running"]), *(render.number(best["metrics"].get(key)) for key in ("nll", "rate")),
            "; ".join(filter(None, notes)),
        )  # fmt: skip
    rows.print()


@app.command(epilog="Example: tuner show sfb-grammar-tiny --api http://127.0.0.1:8000")
def show(study: StudyArgument, as_json: JsonOption = False) -> None:
    """Show a study of the server: its state, its best trial, its last trials."""
    from tuner.commands import render
    from tuner.estimators import estimate

    client = _client()
    found = client.study(study)
    if as_json:
        print_json({**found, "trials": [trial.plain() for trial in client.trials(study)]})
        return
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count) or "none"
    print(f"study     {study}: {found['state']}" + (f", {found['why']}" if found["why"] else ""))
    print(
        f"what      {found['technique']} on {found['corpus']}, {found['model']}, by {found['sampler']}, seed {found['seed']}"
    )
    print(f"trials    {counts}; {found['budget']} in all\n")
    _print_trials(client, study, found)
    best = found["best"]
    if best:
        print(f"\nbest by {best['by']}: trial {best['number']}")
    if best and best["metrics"].get("estimator"):
        print(estimate(best["metrics"]))
        for note in best["notes"]:
            print(render.NOTES[note])
    counted = render.against_ngram(found.get("ngram"), best and best["metrics"], found["objective"])
    if counted is not None:
        print(f"\n{counted}")


@app.command(epilog="Example: tuner trials sfb-grammar-tiny --api http://127.0.0.1:8000 --json")
def trials(
    study: OneStudyArgument = None,
    fail: FailOption = None,
    because: BecauseOption = None,
    sort: SortOption = None,
    top: TopOption = None,
    where: WhereOption = None,
    columns: ColumnsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a study's trials: the last ones and the best, all with --json, or those that fit a condition. Or strike one out."""
    client, struck = _client(), struck_out(study, fail, because)
    if struck is not None:
        made = client.strike(*struck)
        say(f"trial {made.run} is {made.state}: {made.message}")
        return
    name, keys = str(study), [key.strip() for key in columns.split(",")] if columns else None
    if not (as_json or sort or top or where):
        found = client.study(name)
        _print_trials(client, name, found, keys)
        if found["best"]:
            print(f"* best by {found['best']['by']}")
        return
    listed = list(islice(client.trials(name, order=sort or "number", where=where), top))
    if as_json:
        print_json([trial.plain() for trial in listed])
        return
    _print_table(listed, client.study(name), keys)


def _print_table(trials: Sequence[Any], found: Any, columns: Sequence[str] | None) -> None:
    from tuner.commands import render
    from tuner.studies.table import heads, hyperparameters_among

    known, best = heads(hyperparameters_among(trials)), found["best"]
    if odd := [key for key in columns or () if key not in known]:
        raise Usage(f"--columns {odd[0]!r} is no column of study {found['name']!r}: choose of {', '.join(known)}.")
    render.trial_table(
        trials, found["front"] or ([best["number"]] if best else []), columns=columns, known=known
    ).print()


def _print_trials(client: Any, study: str, found: Any, columns: Sequence[str] | None = None) -> None:
    from tuner.commands import render

    last = list(islice(client.trials(study, order="-number"), render.ROWS))[::-1]
    best = found["best"]
    if best is not None and best["number"] not in [trial.number for trial in last]:
        last.insert(0, client.trial(study, best["number"])[0])
    _print_table(last, found, columns)


@app.command(epilog="Example: tuner launch --technique sfb --trials 8 --api http://127.0.0.1:8000")
@with_settings(*ASKED)
def launch(given: Given, study: StudyNameOption = None, as_json: JsonOption = False) -> None:
    """Create a study on the server, which its workers then train. The same command finds the same study."""
    made = _client().create(**plain_of(given), **({"name": study} if study else {}))
    if as_json:
        print_json(made)
        return
    waits = (
        "; it waits for workers (`tuner serve --with-workers`, `tuner worker`)" if made["waiting_for_workers"] else ""
    )
    say(f"study {made['name']} is {made['state']}{waits}")


@app.command(epilog="Example: tuner worker --api http://tuner.lab:8000 --name laptop")
def worker(
    study: Annotated[
        list[str] | None, typer.Option("--study", help="Only this study; may be repeated.", show_default="all")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Unique on the server.", show_default="HOST-PROCESS")
    ] = None,
    workers: WorkersOption = None,
    workers_per_gpu: PerGpuOption = None,
    trainer_memory: MemoryOption = 0.0,
    threads: ThreadsOption = None,
    exit_when_idle: Annotated[
        bool, typer.Option("--exit-when-idle", help="End when no trial is left, instead of waiting for studies.")
    ] = False,
    runs: RunsOption = RUNS,
    log_format: LogFormatOption = "text",
) -> None:
    """Train trials of the server's studies on this machine, which need not reach the database.

    A corpus that is a folder must lie here where it lies there. The trials' files go to the server, which keeps them.
    """
    from tuner.commands.service import join
    from tuner.workers.distant import ServerBroker

    client = _client()
    for each in study or ():
        client.study(each)
    place = (workers, workers_per_gpu, trainer_memory, threads)
    join(partial(ServerBroker, client), study or (), name, place, exit_when_idle, runs, log_format)


@app.command(epilog="Example: tuner stop sfb-grammar-tiny --api http://127.0.0.1:8000")
def stop(study: StudyArgument) -> None:
    """Stop a study: no trial begins, and those under way are handed back."""
    found = _client().stop(study)
    say(f"study {study} is {found['state']}" + (f" ({found['why']})" if found["why"] else ""))


@app.command(epilog="Example: tuner resume sfb-grammar-tiny --api http://127.0.0.1:8000")
def resume(study: StudyArgument) -> None:
    """Hand out the study's trials again."""
    found = _client().start(study)
    say(f"study {study} is {found['state']}" + (" and waits for workers" if found["waiting_for_workers"] else ""))


@app.command(epilog="Example: tuner delete sfb-grammar-tiny --yes --api http://127.0.0.1:8000")
def delete(study: StudyArgument, yes: YesOption = False) -> None:
    """Delete a study with its trials and files."""
    if not yes:
        if not sys.stdin.isatty():
            raise Usage(f"deleting study {study!r} cannot be undone: say --yes.")
        typer.confirm(f"Delete study {study} with its trials and files?", abort=True)
    _client().delete(study)
    say(f"study {study} is deleted")
