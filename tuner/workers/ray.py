"""Workers on a Ray cluster: tasks of Ray Core that run the ordinary worker, started again by Ray when a node is lost.

Ray only places them. Trials, leases and results are the database's, so a task that dies loses at most what its trial did since
the last checkpoint, and nothing is done twice.
"""

import contextlib
import importlib
import logging
import secrets
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import addresses, processors
from tuner.errors import Fault, Interrupted, Usage
from tuner.numbers import GIB
from tuner.storage.database import PATIENCE, Database
from tuner.studies.study import Study, open_study
from tuner.studies.trials import OVER, Trial
from tuner.trainer import Slot
from tuner.workers import local
from tuner.workers.broker import DatabaseBroker
from tuner.workers.engines import Staff
from tuner.workers.worker import Worker

Tell = Callable[[str, int, Mapping[str, Any]], None]
"""Function that hears an event, the trial's number and facts about it."""
Follower = Callable[[Study, int], Tell]

if TYPE_CHECKING:
    from tuner.workers.claims import Claim

POLL_SECONDS = 1.0


def _task(url: str, name: str, runs: str, memory: int, threads: int) -> None:
    """One worker, in a process of Ray's that has a share of a GPU, or as many cores as its trainer has threads, to itself."""
    database = Database(url, patience=PATIENCE)
    study = open_study(database, name)
    # A name of its own each time: the one that died may seem alive for as long as its lease.
    worker = f"ray-{secrets.token_hex(4)}"

    def deaf(event: str, claim: "Claim", facts: Mapping[str, Any]) -> None:
        del event, claim, facts

    def job(each: Worker) -> None:
        each.run(study)

    broker = partial(DatabaseBroker, database)
    local.run(broker, worker, [Slot("ray", {}, memory, threads)], Path(runs) / "work", deaf, job)


def run(study: Study, staff: Staff, url: str, runs: Path, follower: Follower) -> None:
    """Has the cluster's workers train a study's trials until none is left.

    Args:
        follower: makes of a study and its number of workers what hears how far its trials are.

    Raises:
        Usage: if there is no cluster at the address, or its nodes cannot share the database or the study's files.
        Fault: if a worker met one.
        Interrupted: after the workers have handed back what they had.
    """
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints there what it has to say; --json must stay JSON
        _run(study, staff, url, runs, follower)


def _run(study: Study, staff: Staff, url: str, runs: Path, follower: Follower) -> None:
    ray = importlib.import_module("ray")  # it has no types
    # SQLite's file and the runs' folder are named from the driver's folder.
    place, files = _absolute(url), str(runs.resolve())
    try:
        with contextlib.chdir(sys.prefix):  # Ray puts the current folder first on its workers' module path
            ray.init(
                address=None if staff.address == "local" else staff.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                ignore_reinit_error=True,
            )
    except (ConnectionError, ValueError) as error:
        raise Usage(
            f"--address {staff.address!r}: there is no Ray cluster ({error}): start one with `ray start --head`, or give "
            "--address local."
        ) from error
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if study.database.sqlite and len(nodes) > 1:
            raise Usage(
                f"--database {study.database.url} is a file, which {len(nodes)} nodes cannot share: use PostgreSQL."
            )
        own = study.files.store.local and Path(study.files.store.address).resolve().is_relative_to(runs.resolve())
        if own and len(nodes) > 1:
            raise Usage(
                f"study {study.name!r} has its files in {study.files.store.address}, a folder of this machine, which "
                f"{len(nodes)} nodes cannot share: launch one of another name with --artifacts, a folder that all mount or s3://BUCKET/PREFIX."
            )
        cards = ray.cluster_resources().get("GPU", 0.0)
        share = 1.0 / (staff.workers_per_gpu or 1) if cards else 0.0
        count = staff.workers or max(int(cards * (staff.workers_per_gpu or 1)), 1)
        threads = processors.threads(staff.threads)
        remote = ray.remote(num_cpus=threads, num_gpus=share, max_retries=-1)(_task)
        memory = int(staff.trainer_memory * GIB)
        tasks = [remote.remote(place, study.name, files, memory, threads) for _ in range(count)]
        try:
            _follow(study, tasks, follower(study, count))
        except Interrupted:
            for task in tasks:
                ray.cancel(task)
            ray.wait(tasks, num_returns=len(tasks), timeout=2 * 60)
            raise
    finally:
        ray.shutdown()


def _absolute(url: str) -> str:
    file = addresses.parse(url).file
    return url if file is None else f"sqlite:///{Path(file).resolve()}"


def _follow(study: Study, tasks: list[Any], tell: Tell) -> None:
    """Shows by the database how far the trials are, until all tasks have ended."""
    ray = importlib.import_module("ray")

    before = {trial.number: trial for trial in study.trials.all()}
    left = tasks
    while left:
        ended, left = ray.wait(left, num_returns=len(left), timeout=POLL_SECONDS)
        for trial in study.trials.all():
            _tell(tell, before.get(trial.number), trial)
            before[trial.number] = trial
        for task in ended:
            try:
                ray.get(task)
            except ray.exceptions.RayTaskError as error:
                raise Fault(f"a worker on the Ray cluster ended: {error.cause}") from error


def _tell(tell: Tell, earlier: Trial | None, trial: Trial) -> None:
    was = earlier.state if earlier else None
    if trial.state == was:
        return
    if was != "running" and trial.state != "waiting":
        tell("claimed", trial.number, {"params": trial.given, "seconds": trial.seconds or 0.0})
    if trial.state == "complete":
        assert trial.cost is not None
        tell("complete", trial.number, {"metrics": trial.metrics, "epochs": trial.cost["epochs"]})
    elif trial.state in OVER:
        tell("failed", trial.number, {"reason": trial.reason or "", "message": trial.message or ""})
    elif trial.state == "waiting":
        tell("handed back", trial.number, {"message": trial.message or "handed back"})
