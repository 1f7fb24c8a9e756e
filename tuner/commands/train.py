"""Commands that train: the trials of studies, or one model without a study."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainers.contract import LOG
from tuner import space as spaces
from tuner.commands.options import (
    ApiOption,
    ArtifactsOption,
    DatabaseOption,
    JsonOption,
    RunsOption,
    StudyNameOption,
    ThreadsOption,
    opened,
    print_json,
    say,
)
from tuner.commands.service import work, work_detached, work_in_turn
from tuner.commands.staff import refuse_here, with_staff
from tuner.commands.studies import server
from tuner.commands.study_options import Given, TechniquesOption, of_each, plain_of, specs_of, with_settings
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Fault, Usage
from tuner.numbers import counted
from tuner.studies.spec import ASKED, StudySpec

if TYPE_CHECKING:
    from tuner.analysis.report import Row
    from tuner.client import Client
    from tuner.studies.study import Study
    from tuner.workers.engines import Staff

app = typer.Typer()


@app.command(epilog="Example: tuner launch --technique sfb --corpus ptb --model small --trials 20")
@with_settings(*(key for key in ASKED if key != "technique"))
@with_staff
def launch(
    context: typer.Context,
    given: Given,
    technique: TechniquesOption = None,
    every: Annotated[bool, typer.Option("--all", help="Tune all techniques, compared at the end.")] = False,
    study: StudyNameOption = None,
    *,
    staff: "Staff",
    detach: Annotated[bool, typer.Option("--detach", help="Leave the workers in the background.")] = False,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune a technique: create a study, or go on with it, and train its trials.

    Several techniques, or --all, have a study each of the same budget, one after another, and a table at the end.
    Ctrl-C stops in order; the same command goes on where it stopped. On a server (--api) its own workers train.
    """
    from tuner.commands import render
    from tuner.storage.artifacts import Store
    from tuner.storage.database import PATIENCE
    from tuner.studies import creation
    from tuner.studies import launch as launches

    asked, name = of_each("launch", given, technique, study, every)
    if server(context, api):
        _launch_there(context, api, asked, name, as_json, skip=every)
        return
    specs = specs_of(database, asked, name)
    with ExitStack() as stack:
        prepared = launches.prepare_all(
            specs, lambda: stack.enter_context(opened(database)), say, skip=every, here=staff.workers != 0
        )
    if artifacts is not None:
        Store(artifacts)
    with opened(database, create=True, patience=PATIENCE) as there:
        made = creation.go_on_each(there, prepared, runs, artifacts)
        if detach or staff.workers == 0:
            if staff.workers == 0:
                for current in made:
                    work(current, staff, database, runs)
            else:
                work_detached(made, staff, database, runs)
            if as_json:
                print_json(plain(made, []))
            return
        broken = work_in_turn(made, staff, database, runs)
        if as_json:
            print_json(plain(made, _comparison(made)))
        elif len(made) == 1:
            render.summary(made[0])
            render.next_commands(made[0], "" if database == DATABASE else f" --database {shlex.quote(there.url)}")
        else:
            _print_comparison(made)
    if broken:
        raise Fault(" ".join(broken))


def _launch_there(
    context: typer.Context, api: str | None, every: Sequence[Given], name: str | None, as_json: bool, *, skip: bool
) -> None:
    """Makes studies on a server, whose workers train them; none unless all that `skip` does not leave out are allowed."""
    from tuner.client import Client

    refuse_here(context, "detach", "runs", "artifacts", "database")
    client = Client(api)
    bodies = {given["technique"]: {**plain_of(given), **({"name": name} if name else {})} for given in every}
    made = [client.create(**bodies[each]) for each in _allowed(client, bodies, skip)]
    if as_json:
        print_json(made[0] if len(made) == 1 else {"studies": made, "comparison": []})
        return
    for each in made:
        waits = "; it waits for workers (`tuner serve --with-workers`, `tuner worker`)"
        say(f"study {each['name']} is {each['state']}{waits if each['waiting_for_workers'] else ''}")


def _allowed(client: "Client", bodies: Mapping[str, dict[str, Any]], skip: bool) -> Iterable[str]:
    """The techniques whose studies may be made; a single study is not asked of beforehand."""
    from tuner.studies.launch import allowed

    if len(bodies) == 1:
        return bodies
    return allowed({each: each for each in bodies}, lambda each: client.check(**bodies[each]), say, skip=skip)


def _comparison(made: "list[Study]") -> "list[Row]":
    """Rows of the studies' best trials, to be compared; none for a single study."""
    from tuner.analysis import report as paper

    ended = [study.name for study in made if study.best() is not None]
    return paper.rows(made[0].database, ended, "valid") if len(made) > 1 and ended else []


def plain(made: "list[Study]", rows: "list[Row]") -> dict[str, Any]:
    """One study as it is shown, or several beside their comparison."""
    from tuner.studies import answers

    if len(made) == 1:
        return answers.whole(made[0])
    return {"studies": [answers.whole(study) for study in made], "comparison": [row.plain() for row in rows]}


def _print_comparison(made: "list[Study]") -> None:
    from tuner.analysis import layouts
    from tuner.commands import render
    from tuner.studies import answers

    rows = _comparison(made)
    if rows:
        print(layouts.table(rows))
    for study in made:
        if (gained := render.gain(answers.study_here(study), study.trials.all(), study)) is not None:
            print(f"{study.name}: {gained}")
    print("next:\n  tuner show STUDY      one of " + ", ".join(study.name for study in made))
    print("  tuner confirm STUDY   its winner with new seeds, on the test sentences too; then `tuner report`")


TRAINED = ("technique", "corpus", "model", "fixed", "seed")
"""Settings of a study that a single run has too."""


@app.command(epilog="Example: tuner train --technique mdr --set r=8 --set max_epochs=20")
@with_settings(*TRAINED)
def train(
    given: Given,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run.", show_default="RUNS/train/TECHNIQUE-CORPUS-DIGEST")
    ] = None,
    threads: ThreadsOption = None,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train and evaluate one model, without a study.

    The same command goes on after an interruption and answers at once when the run is done.
    """
    import hashlib

    from tuner import trainer
    from tuner.commands import render
    from tuner.commands.progress import Progress
    from tuner.studies import corpora
    from tuner.trainer import Slot

    given.pop("name", None)  # a study file's
    if idle := [key for key in given if key not in TRAINED]:
        say(f"note: {', '.join(idle)} of the file are a study's, and are left out: a single run has none")
    if "technique" not in given:
        raise Usage("train needs --technique NAME: `tuner techniques` lists them.")
    asked = StudySpec.of({key: given[key] for key in given if key in TRAINED})
    spaces.load(asked.technique)  # refuses an unknown one at once
    source = corpora.named(database, asked.corpus)
    # One run is no search: the technique's own rules apply, not the search's domains.
    values = {**source.values, **asked.fixed}
    spec = {
        "technique": asked.technique,
        "corpus": source.place,
        "model": asked.model,
        "values": values,
        "seed": asked.seed,
    }
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    folder = out or runs / "train" / f"{asked.technique}-{source.name}-{digest}"
    if folder.exists() and not folder.is_dir():
        raise Usage(f"--out {folder} is a file: name a folder.")
    progress = Progress(1)

    def hear(event: Mapping[str, Any]) -> None:
        for warning in event["warnings"] if event["event"] == "started" else ():
            say(f"warning: {warning}")
        progress(event["event"], 0, event)

    log, slot = folder / LOG, Slot(threads=threads)
    result = trainer.ask("train", json.dumps(spec), folder, log=log, slot=slot, hear=hear)
    if as_json:
        print_json(result)
        return
    say("")
    render.metrics_table(result["metrics"], result["entropy"])
    print(
        f"run {result['run']}: {counted(result['epochs'], 'epoch')}, the best was {result['best_epoch']}, "
        f"{result['tokens_per_second']:,.0f} tokens/s; checkpoint {result['checkpoint']}"
    )
