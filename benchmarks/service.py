"""The study service under load and under faults: many worker processes, a stub trainer, one study.

    python -m benchmarks.service --workers 16 --trials 500                      # SQLite
    python -m benchmarks.service --workers 16 --trials 500 --postgres           # a PostgreSQL of its own
    python -m benchmarks.service --workers 16 --trials 500 --optuna             # plain Optuna on the same kind of database
    python -m benchmarks.service --workers 16 --trials 500 --postgres --kill-every 2 --restart-every 15 --freeze-every 7 \\
        --delete-every 2 --broken --namespaces

Prints one JSON object: trials per second, with one worker also what the stub alone takes, the faults injected, the trials lost
(never over) and done twice, and the workers that ended by themselves before all was done. Each trial starts a process that
trains nothing (`stub_trainer.py`), for plain Optuna too.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.samplers import RandomSampler
from sqlalchemy import select

from benchmarks.postgres import Postgres
from benchmarks.stub_study import defined
from tuner import trainer
from tuner.errors import Busy, Clash
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, TrialRow
from tuner.studies import creation
from tuner.studies import faults as own_faults
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import Study
from tuner.workers import broker, leases, watch

STUB = Path(__file__).with_name("stub_trainer.py")
LEASE, BEAT, ASK = 4.0, 0.5, 5.0
"""Seconds of a lease, between beats, and of the right to ask; with a minute and ten seconds, as in service, a benchmark of
faults would last an hour.
"""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 1.0
"""Seconds of the first wait of a study or trial after a fault, and of the longest one."""
PATIENCE = 120.0
"""Seconds for which the last studies that are to be deleted are waited for."""
STUB_RUNS = 20
FIRST, LAST = 0.1, 0.97
"""Shares of the trials that are complete, between which faults are injected."""


@dataclass
class Faults:
    """Seconds between the faults of each kind, on average; 0: none."""

    kill: float = 0.0
    freeze: float = 0.0
    """A worker stands still for longer than its lease, and goes on."""
    restart: float = 0.0
    """The database server is killed by kill −9, and down for a second."""
    delete: float = 0.0
    """Another study is made, and deleted a moment later."""
    broken: bool = False
    """Two other studies cannot be trained: the sampler of one raises, a file is where the files of the other should be."""
    namespaces: bool = False
    """Every other worker is in a PID namespace of its own, with this machine's name."""
    counts: Counter[str] = field(default_factory=Counter)

    def due(self) -> list[str]:
        """Faults that happen from time to time."""
        return [kind for kind in ("kill", "freeze", "restart", "delete") if getattr(self, kind)]


APART = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Beginning of the command of a process in a PID namespace of its own, which dies with it."""


class Raising(RandomSampler):
    """A sampler that is no good."""

    def sample_independent(self, *_: Any) -> Any:
        raise ZeroDivisionError("division by zero")


class Crew:
    """Worker processes; one that is killed is replaced.

    Args:
        lease: seconds of their leases.
        apart: whether every other one is in a PID namespace of its own.
    """

    def __init__(self, url: str, folder: Path, count: int, behaviour: str, lease: float, apart: bool) -> None:
        self.url, self.folder, self.behaviour, self.lease, self.apart = url, folder, behaviour, lease, apart
        self.started = 0
        self._thaws: list[threading.Timer] = []
        self.processes = [self._start() for _ in range(count)]

    def _start(self) -> "subprocess.Popen[bytes]":
        self.started += 1
        log = (self.folder / "workers.log").open("ab")
        with log:
            given = [self.url, f"w{self.started}", str(self.folder), str(self.lease)]
            work = [sys.executable, "-m", "benchmarks.service", "work", *given]
            return subprocess.Popen(
                [*APART, *work] if self.apart and self.started % 2 else work,
                stdout=log,
                stderr=log,
                env={**os.environ, "STUB": json.dumps({"*": self.behaviour})},
            )

    def kill_one(self) -> None:
        index = random.randrange(len(self.processes))
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self._start()

    def freeze_one(self) -> None:
        """For longer than its lease; it may hold a lock that this process waits for meanwhile. One that ends just now is left."""
        chosen = random.choice(self.processes).pid
        with suppress(FileNotFoundError, ProcessLookupError):
            inner = Path(f"/proc/{chosen}/task/{chosen}/children").read_text(encoding="utf-8").split()
            pid = int(inner[0]) if _is_apart(chosen) and inner else chosen
            os.kill(pid, signal.SIGSTOP)
            self._thaws.append(threading.Timer(1.5 * self.lease, _thaw, (pid,)))
            self._thaws[-1].start()

    def gone(self) -> int:
        """Number of processes that ended by themselves, and not because all was done."""
        return sum(process.poll() not in (None, 0) for process in self.processes)

    def wait(self) -> None:
        for process in self.processes:
            process.wait()

    def close(self) -> None:
        """Ends those that still run, frozen ones too."""
        for timer in self._thaws:
            timer.cancel()
        for process in self.processes:
            process.kill()
        self.wait()


def _is_apart(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(APART[0].encode())


def _thaw(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


class Others:
    """Other studies beside the one that is to be exact.

    Args:
        broken: whether two are made that cannot be trained.
    """

    def __init__(self, database: Database, folder: Path, broken: bool) -> None:
        self.database, self.folder = database, folder
        self.made, self.deleted = 0, 0
        self.doomed: list[tuple[float, Study]] = []
        self.broken = []
        if broken:
            self.broken = [self.make("raising", sampler="benchmarks.service:Raising"), self.make("unwritable")]
            store = Path(self.broken[1].files.store.address)
            store.rmdir()
            store.write_text("no folder", encoding="utf-8")

    def make(self, name: str, **changes: Any) -> Study:
        """A study of ten trials."""
        return creation.go_on(self.database, name, defined(10, max_failures=0, **changes), self.folder / "runs")

    def doom(self) -> None:
        """Makes a study that is deleted soon, at once or in the middle of a trial."""
        self.made += 1
        self.doomed.append((time.monotonic() + random.uniform(0.0, 2.0), self.make(f"doomed-{self.made}")))

    def delete(self) -> None:
        """Deletes those whose time has come; who has trials under way is stopped, and deleted later."""
        for due, study in [d for d in self.doomed if time.monotonic() > d[0]]:
            try:
                study.delete()
            except (Busy, Clash):
                study.end("stopped", "it is to be deleted")
            else:
                self.deleted += 1
                self.doomed.remove((due, study))

    def finish(self) -> None:
        """Deletes the rest, whose time has not come while there were workers; a killed one's trial is held for its lease."""
        self.doomed = [(0.0, study) for _, study in self.doomed]
        until = time.monotonic() + PATIENCE
        while self.doomed and time.monotonic() < until:
            self.delete()
            time.sleep(0.05)


def work(url: str, name: str, folder: str, lease: str) -> None:
    """One worker process, with short leases and the stub trainer."""
    from tuner.commands.app import main

    changes: list[tuple[Any, str, Any]] = [
        (trainer, "COMMAND", (sys.executable, str(STUB))),
        *((module, "LEASE_SECONDS", float(lease)) for module in (leases, broker, watch)),
        (watch, "BEAT_SECONDS", BEAT),
        (own_faults, "FIRST_SECONDS", FIRST_PAUSE),
        (own_faults, "LONGEST_SECONDS", LONGEST_PAUSE),
        (leases, "ASK_SECONDS", ASK),
        (leases, "RENEWAL_SECONDS", float(lease)),
    ]
    for module, name_, value in changes:
        setattr(module, name_, value)
    sys.argv = [
        "tuner",
        "worker",
        "--database",
        url,
        "--name",
        name,
        "--runs",
        folder,
        "--exit-when-idle",
        "--workers",
        "1",
    ]
    main()


def run(
    url: str,
    folder: Path,
    workers: int,
    trials: int,
    faults: Faults,
    server: Postgres | None = None,
    behaviour: str = "train",
    sampler: str = "random",
    lease: float = LEASE,
) -> dict[str, Any]:
    """Has so many worker processes finish a study, injecting faults; what came of it."""
    database = Database(url, create=True, patience=60.0)
    study = creation.go_on(database, "s", defined(trials, sampler=sampler, max_failures=0), folder / "runs")
    random.seed(0)
    others = Others(database, folder, faults.broken)
    crew = Crew(url, folder, workers, behaviour, lease, faults.namespaces)
    try:
        seconds = _follow(study, crew, others, faults, trials, server)
        others.finish()
        pace = {"seconds": seconds, "trials_per_second": trials / seconds, "faults": dict(faults.counts)}
        beside = {"deleted": others.deleted, "broken": [each.refresh().state for each in others.broken]}
        return {**pace, "workers_gone": crew.gone(), **beside, **_audit(study)}
    finally:
        crew.close()
        database.close()


def _follow(study: Study, crew: Crew, others: Others, faults: Faults, trials: int, server: Postgres | None) -> float:
    """Injects the faults until all workers have ended; the seconds that they took."""
    started = time.monotonic()
    due = dict.fromkeys(faults.due(), math.inf)
    while any(process.poll() is None for process in crew.processes):
        now = time.monotonic()
        done = study.trials.counts().get("complete", 0)
        if math.inf in due.values() and done > FIRST * trials:
            due = dict.fromkeys(due, now)  # the first of each kind, however fast the machine is
        for kind in [kind for kind, at in due.items() if now >= at]:
            due[kind] = now + getattr(faults, kind) * random.uniform(0.7, 1.3)
            if done > LAST * trials:
                continue
            faults.counts[kind] += 1
            if kind == "kill":
                crew.kill_one()
            elif kind == "freeze":
                crew.freeze_one()
            elif kind == "delete":
                others.doom()
            elif server is not None:
                server.kill()
                time.sleep(1.0)
                server.start()
        others.delete()
        time.sleep(0.05)
    return time.monotonic() - started


def _audit(study: Study) -> dict[str, Any]:
    """Checks the record: every trial over once, numbers without gaps, and Optuna's the same."""
    mine = select(TrialRow).where(TrialRow.study == study.name).order_by(TrialRow.number)
    rows = study.database.read(lambda s: s.scalars(mine).all())
    tried = study.database.read(lambda s: s.scalars(select(AttemptRow).where(AttemptRow.study == study.name)).all())
    ended = Counter(a.trial for a in tried if a.state == "finished")
    optunas = as_optuna(study).trials
    first, last = min(r.created_at for r in rows), max(r.ended_at or 0.0 for r in rows)
    return {
        "trials": len(rows),
        "states": dict(Counter(r.state for r in rows)),
        "attempts": len(tried),
        "gaps": [r.number for r in rows] != list(range(study.spec.trials)),
        "lost": study.spec.trials - sum(r.state in ("complete", "failed", "pruned") for r in rows),
        "done_twice": sum(count > 1 for count in ended.values()),
        "differs_from_optunas_record": [(t.number, t.value, t.params) for t in optunas]
        != [(r.number, r.value, r.params) for r in rows],
        "seconds_a_trial_without_start": (last - first) / len(rows),
    }


def stub_seconds(folder: Path, behaviour: str) -> float:
    """Seconds that the stub trainer takes by itself: the part of a trial that is not the worker's."""
    spec = json.dumps({"values": {}, "seed": 0})
    started = time.monotonic()
    for n in range(STUB_RUNS):
        command = [sys.executable, str(STUB), "--supervised", "train", spec, str(folder / f"s-{n:04d}-x")]
        subprocess.run(
            command, capture_output=True, check=True, env={**os.environ, "STUB": json.dumps({"*": behaviour})}
        )
    return (time.monotonic() - started) / STUB_RUNS


def optunas(url: str, folder: Path, workers: int, trials: int) -> dict[str, Any]:
    """Plain Optuna in place of ours: processes that call `study.optimize` on one RDBStorage."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="s", storage=_for_optuna(url))
    started = time.monotonic()
    counts = [trials // workers + (n < trials % workers) for n in range(workers)]
    crew = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.service", "optimize", url, str(folder / f"o{n}"), str(count)],
            stderr=subprocess.DEVNULL,
        )
        for n, count in enumerate(counts)
    ]
    for process in crew:
        process.wait()
    seconds = time.monotonic() - started
    done = optuna.load_study(study_name="s", storage=_for_optuna(url)).trials
    return {
        "seconds": seconds,
        "trials_per_second": len(done) / seconds,
        "states": dict(Counter(t.state.name.lower() for t in done)),
    }


def _for_optuna(url: str) -> Any:
    import optuna

    return optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))


def optimize(url: str, folder: str, count: str) -> None:
    """One process of plain Optuna."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        params = {
            "r": trial.suggest_float("r", 1, 30),
            "alpha": trial.suggest_float("alpha", 1e-3, 0.1, log=True),
            "gamma": trial.suggest_float("gamma", 1, 1.5),
            "epsilon": trial.suggest_float("epsilon", 0.5, 1),
        }
        run_folder = Path(folder, f"s-{trial.number:04d}-x")
        spec = json.dumps({"values": params, "seed": 0})
        said = subprocess.run(
            [sys.executable, str(STUB), "--supervised", "train", spec, str(run_folder)], capture_output=True, check=True
        )
        last = json.loads(said.stdout.splitlines()[-1])
        trial.set_user_attr("metrics", last["metrics"])
        return float(last["metrics"]["nll"])

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(
        study_name="s", storage=_for_optuna(url), sampler=optuna.samplers.RandomSampler(seed=os.getpid())
    )
    study.optimize(objective, n_trials=int(count))


def main() -> None:
    own: dict[str, Callable[..., None]] = {"work": work, "optimize": optimize}
    if len(sys.argv) > 1 and sys.argv[1] in own:
        own[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--optuna", action="store_true", help="Run plain Optuna instead.")
    parser.add_argument("--kill-every", type=float, default=0.0)
    parser.add_argument("--freeze-every", type=float, default=0.0)
    parser.add_argument("--restart-every", type=float, default=0.0)
    parser.add_argument("--delete-every", type=float, default=0.0)
    parser.add_argument("--broken", action="store_true", help="Have two studies beside it that cannot be trained.")
    parser.add_argument(
        "--namespaces", action="store_true", help="Have every other worker in a PID namespace of its own."
    )
    parser.add_argument("--behaviour", default="train", help="Behaviour of the stub trainer.")
    parser.add_argument("--sampler", default="random")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    server = Postgres() if arguments.postgres else None
    url = server.url if server else f"sqlite:///{folder}/t.db"
    try:
        if arguments.optuna:
            found = optunas(url, folder, arguments.workers, arguments.trials)
        else:
            injected = Faults(
                arguments.kill_every, arguments.freeze_every, arguments.restart_every, arguments.delete_every,
                arguments.broken, arguments.namespaces,
            )  # fmt: skip
            found = run(
                url,
                folder,
                arguments.workers,
                arguments.trials,
                injected,
                server,
                arguments.behaviour,
                arguments.sampler,
            )
            if arguments.workers == 1:
                found["stub_seconds"] = stub_seconds(folder, arguments.behaviour)
        print(json.dumps({**vars(arguments), "cores": os.cpu_count(), **found}))
    finally:
        if server is not None:
            server.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
