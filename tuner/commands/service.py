"""Commands that run the service: workers, and a study's start, stop and end."""

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.commands.options import (
    ApiOption,
    DatabaseOption,
    JsonOption,
    LogFormatOption,
    MemoryOption,
    PerGpuOption,
    RunsOption,
    SomeStudiesArgument,
    ThreadsOption,
    WorkersOption,
    opened,
    print_json,
    say,
)
from tuner.commands.staff import refuse_here, with_staff
from tuner.commands.studies import reached, server
from tuner.commands.worker_log import WorkerLog
from tuner.defaults import DATABASE, RUNS, environment_of
from tuner.errors import Fault, Interrupted, Usage
from tuner.process import PYTHON, flags

if TYPE_CHECKING:
    from tuner.studies.study import Study
    from tuner.workers.claims import Broker, Claim
    from tuner.workers.engines import Staff
    from tuner.workers.worker import Worker

app = typer.Typer()
database_app = typer.Typer(help="The study database.", no_args_is_help=True)
app.add_typer(database_app, name="database")


def work(study: "Study", staff: "Staff", url: str, runs: Path) -> None:
    """Has workers train a study's trials until none is left, and shows how far they are; a staff of none leaves them to others.

    Raises:
        Fault: if it was stopped, or stopped itself because it is broken.
    """
    from tuner.commands.progress import Progress
    from tuner.studies.trials import count_over
    from tuner.workers import local
    from tuner.workers.broker import DatabaseBroker

    if staff.workers == 0:
        say(f"study {study.name} waits for workers: `tuner worker --database {shlex.quote(study.database.url)}`")
        return
    counts, trials = study.trials.counts(), study.spec.trials
    done = count_over(counts)
    say(f"study {study.name}: {done} of {trials} trials done" + (", going on" if 0 < done < trials else ""))
    if study.facts.corpus.entropy is not None and not done:
        say(f"the corpus's exact entropy is {study.facts.corpus.entropy:.3f} nats per sentence")
    try:
        if staff.engine == "ray":
            from tuner.workers import ray

            ray.run(study, staff, url, runs, Progress.of)
        else:
            places = local.slots(staff.workers, staff.workers_per_gpu, staff.trainer_memory, staff.threads)
            progress = Progress.of(study, len(places))

            def listen(event: str, claim: "Claim", facts: Mapping[str, Any]) -> None:
                progress(event, claim.number, facts)

            broker = partial(DatabaseBroker, study.database)
            local.run(broker, None, places, runs / "work", listen, lambda worker: worker.run(study), say)
    except Interrupted:
        counts = study.trials.counts()
        finished = count_over(counts)
        raise Fault(
            f"stopped: {finished} of {trials} trials are done, those under way keep their checkpoints; the same command goes on."
        ) from None
    study.refresh()
    if study.state == "broken":
        raise Fault(f"study {study.name} has stopped itself: {study.why} `tuner show {study.name}` has more.")
    if study.state == "satisfied":
        say(f"the study has ended: {study.why}")
    elif study.state == "stopped":
        say(f"the study was stopped: {study.why}; `tuner resume {study.name}` goes on")
    elsewhere = study.trials.counts().get("running", 0)
    if elsewhere:
        say(f"{elsewhere} trial{'s are' if elsewhere > 1 else ' is'} being trained by other workers")


def work_in_turn(studies: "Sequence[Study]", staff: "Staff", url: str, runs: Path) -> list[str]:
    """Has each study trained, though others stop themselves; returns a sentence about each that did, or is over without a result.

    Raises:
        Fault: if this was stopped, or the only study is broken.
    """
    _say_what_is_idle(studies, staff)
    if len(studies) == 1:
        work(studies[0], staff, url, runs)
        return _fruitless(studies[0])
    return [said for study in studies for said in work_unless_broken(study, staff, url, runs)]


def work_unless_broken(study: "Study", staff: "Staff", url: str, runs: Path) -> list[str]:
    """Works on a study; returns the fault by which it broke, if it did, or says that it is over without a result.

    Raises:
        Fault: if it ended by any other one.
    """
    try:
        work(study, staff, url, runs)
    except Fault as fault:
        if study.refresh().state != "broken":
            raise
        say(f"tuner: {fault}")
        return [str(fault)]
    return _fruitless(study)


def _fruitless(study: "Study") -> list[str]:
    """A sentence about a study that is over and has no complete trial; none of any other."""
    counts = study.trials.counts()
    if study.shown_state(counts) != "finished" or counts.get("complete"):
        return []
    return [f"study {study.name} has no result: none of its trials is complete; `tuner trials {study.name}` says why."]


def _say_what_is_idle(studies: "Sequence[Study]", staff: "Staff") -> None:
    """Says how many trials more workers would train at a time, unless somebody chose their number."""
    from tuner.studies.trials import count_over
    from tuner.workers import local

    if staff.engine != "local" or staff.workers is not None:
        return
    left = max(study.spec.trials - count_over(study.trials.counts()) for study in studies)
    said = local.idle(local.slots(None, staff.workers_per_gpu, threads=staff.threads), left)
    if said is not None:
        say(said)


def work_detached(studies: "Sequence[Study]", staff: "Staff", url: str, runs: Path) -> None:
    """Has studies trained in a process of its own that outlives this one."""
    _say_what_is_idle(studies, staff)
    names = [study.name for study in studies]
    several = len(names) > 1
    log = runs / (f"{names[0]}-and-{len(names) - 1}-more.log" if several else f"{names[0]}.log")
    command = [*PYTHON, "-m", "tuner", "resume", *names, *flags({**vars(staff), "runs": runs})]
    runs.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            env=environment_of(url),  # not an argument: it may hold a password
        )  # fmt: skip
    said_of = (
        f"studies {', '.join(names)} go on one after another in process {process.pid}, which writes {log}; "
        f"`tuner stop STUDY` ends one, `tuner report {' '.join(names)}` compares them"
    )
    alone = f"study {names[0]} goes on in process {process.pid}, which writes {log}; `tuner stop {names[0]}` ends it"
    say(said_of if several else alone)


@app.command(epilog="Example: tuner worker --database postgresql://tuner@host/tuner --name box3")
def worker(
    context: typer.Context,
    study: Annotated[
        list[str] | None,
        typer.Option("--study", help="Study whose trials are trained; may be repeated.", show_default="all"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Worker name. A restart under it resumes its unfinished trial.",
            show_default="HOST-PROCESS-PLACE",
        ),
    ] = None,
    workers: WorkersOption = None,
    workers_per_gpu: PerGpuOption = None,
    trainer_memory: MemoryOption = 0.0,
    threads: ThreadsOption = None,
    exit_when_idle: Annotated[
        bool, typer.Option("--exit-when-idle", help="End when no trial is left, instead of waiting for studies.")
    ] = False,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    runs: RunsOption = RUNS,
    log_format: LogFormatOption = "text",
) -> None:
    """Join the workers of a database, or of a server (--api): train trials of its studies, and wait for more.

    Ctrl-C, SIGTERM as a preempted machine gets it, or SIGHUP saves the trial under way and hands it back. A worker of a server
    need not reach the database; a corpus that is a folder must lie here where it lies there.
    """
    from tuner.storage.database import PATIENCE
    from tuner.studies.study import open_study
    from tuner.workers.broker import DatabaseBroker

    place = (workers, workers_per_gpu, trainer_memory, threads)
    if server(context, api):
        from tuner.client import Client
        from tuner.workers.distant import ServerBroker

        client = Client(api)
        for each in study or ():
            client.study(each)
        join(partial(ServerBroker, client), study or (), name, place, exit_when_idle, runs, log_format)
        return
    with opened(database, patience=PATIENCE) as there:
        for each in study or ():
            open_study(there, each)
        join(partial(DatabaseBroker, there), study or (), name, place, exit_when_idle, runs, log_format)


def join(
    broker: "Callable[[str], Broker]",
    studies: Sequence[str],
    name: str | None,
    place: tuple[int | None, int | None, float, int | None],
    exit_when_idle: bool,
    runs: Path,
    log_format: str,
) -> None:
    """Has this machine's workers serve studies until they are told to stop, and tells what they do.

    Args:
        broker: of the worker of a name.
        place: workers, workers a GPU, GiB of a trainer, its threads.
    """
    from tuner import names
    from tuner.workers import local

    if name is not None:
        names.check("worker", name)
    places = local.slots(*place)
    if not places:
        raise Usage("--workers 0 would do nothing: give 1 or more.")
    log = WorkerLog(log_format == "json")

    def serve(worker: "Worker") -> None:
        worker.serve(studies, wait=not exit_when_idle)

    try:
        local.run(broker, name, places, runs / "work", log.hear, serve, log.warn)
    except Interrupted as interrupted:
        say(f"tuner: {interrupted.why[1]} What was under way is handed back.")


@app.command(epilog="Example: tuner workers")
def workers(
    context: typer.Context,
    here: Annotated[
        bool,
        typer.Option(
            "--here",
            help="List only this machine's workers, by --api those named for it; exit code 1 if none was heard of for a minute.",
        ),
    ] = False,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the workers: what each does, and when it was last heard of."""
    from tuner.commands import render
    from tuner.commands.tables import Column, Table
    from tuner.process import HOST

    if here and not server(context, api):
        found = _here(database)
    else:
        with reached(context, database, api) as studies:
            found = [w for w in studies.workers() if not here or w["name"].startswith(f"{HOST}-")]
    if here and all(w["state"] in ("gone", "lost") for w in found):
        raise Fault(f"no worker of {HOST} is at work: start one with `tuner worker`.")
    if as_json:
        print_json(found)
        return
    heads = ("worker", "state", "host", "device", "study", "trial", "ended")
    table = Table(
        *heads, Column("takes", rank=4), Column("GPU", right=True, rank=3), Column("tokens/s", right=True, rank=2),
        Column("seen", rank=1),
    )  # fmt: skip
    for w in found:
        table.add(
            w["name"], w["state"], w["host"], w["device"], w["study"] or "–", render.number(w["trial"]), str(w["trials"]),
            ", ".join(w["takes"] or ["any study"]), render.load(w["gpu"]), render.number(w["tokens_per_second"]),
            f"{render.duration(w['silent'])} ago",
        )  # fmt: skip
    table.print()


def _here(database: str) -> list[dict[str, Any]]:
    """The workers whose processes can be seen from here; of a system that does not tell, those of this host's name."""
    from tuner.process import HOST, PLACE, is_here
    from tuner.studies import answers, queries

    with opened(database) as there:
        every = queries.workers(there)
    return [answers.worker(w) for w in every if (is_here(w["process"]) if PLACE else w["host"] == HOST)]


@app.command(epilog="Example: tuner resume sfb-grammar-tiny --workers 2")
@with_staff
def resume(
    context: typer.Context,
    study: SomeStudiesArgument,
    *,
    staff: "Staff",
    load_sampler: Annotated[
        bool, typer.Option("--load-sampler", help="Allow the import of a sampler module:Class that came with a bundle.")
    ] = False,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    runs: RunsOption = RUNS,
) -> None:
    """Go on with a study that was stopped or interrupted, or with several, one after another.

    --workers 0 leaves them to the workers that wait, as a server (--api) does.
    """
    from tuner.commands import render
    from tuner.storage.database import PATIENCE
    from tuner.studies.study import open_study

    if server(context, api):
        from tuner.client import Client

        refuse_here(context, "load_sampler", "runs", "database")
        for name in dict.fromkeys(study):
            there_is = Client(api).start(name)
            say(
                f"study {name} is {there_is['state']}"
                + (" and waits for workers" if there_is["waiting_for_workers"] else "")
            )
        return
    with opened(database, patience=PATIENCE) as there:
        studies = [open_study(there, name) for name in dict.fromkeys(study)]
        for found in studies:
            found.resume(load_sampler)
        if staff.workers == 0:
            for found in studies:
                state = found.shown_state()
                say(f"study {found.name} is {state}" + (" and waits for workers" if state == "active" else ""))
            return
        broken = work_in_turn(studies, staff, database, runs)
        for found in studies:
            render.summary(found)
    if broken:
        raise Fault(" ".join(broken))


@database_app.command(epilog="Example: tuner database upgrade --database postgresql://tuner@host/tuner")
def upgrade(database: DatabaseOption = DATABASE) -> None:
    """Make the database's tables, or bring them up to this program's version; workers should be stopped."""
    from tuner.storage.database import SCHEMA, Database

    with Database(database, create=True, upgrade=True) as there, there.errors():
        assert there.storage is not None  # Optuna's tables too
    say(f"database {there.url} has schema {SCHEMA}")
