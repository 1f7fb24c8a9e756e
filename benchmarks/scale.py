"""Many simulated workers against one PostgreSQL: claims a second, their latencies, and what saturates first.

    python -m benchmarks.scale --workers 1000 --trial-seconds 600 --ramp 60 --seconds 300

A simulated worker is a thread that claims, renews its lease, records epochs and finishes as a real one does, and sleeps where a
real one trains. So what is measured is the protocol and the database, on this one machine, clients included. All workers
begin within `--ramp` seconds, as on a cluster, in the middle of a trial, as after a while. Each opens a connection for what it
says and closes it, as a real one; with `--pooled` the workers of a process share theirs, as through PgBouncer.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.exc import DBAPIError

from benchmarks.postgres import Postgres
from benchmarks.stub_study import defined
from tuner.storage.database import Database
from tuner.studies import creation
from tuner.studies import study as studies
from tuner.workers import leases
from tuner.workers.claims import Claim, LeaseLost
from tuner.workers.leases import Attempts

EPOCHS = 3


def _worker(
    place: str | Database,
    study: str,
    name: str,
    until: float,
    ramp: float,
    trial_seconds: float,
    waits: dict[str, list[float]],
) -> None:
    rng = np.random.default_rng(abs(hash(name)) % 2**32)
    share = float(rng.uniform())  # of the first trial that is left: real workers are out of step
    time.sleep(ramp * float(rng.uniform()))
    database = Database(place, patience=600.0) if isinstance(place, str) else place
    mine = Attempts(studies.open_study(database, study), name)

    def timed(kind: str, action: Any, *arguments: Any, **found: Any) -> Any:
        started = time.monotonic()
        try:
            return action(*arguments, **found)
        except DBAPIError:  # a real worker goes on, and renews at its next beat
            waits["refused"].append(0.0)
            return None
        finally:
            waits[kind].append(time.monotonic() - started)
            if database is not place:
                database.rest()

    while time.monotonic() < until:
        over = threading.Event()
        end = threading.Timer(until - time.monotonic(), over.set)
        end.daemon = True
        end.start()
        claim = timed("claim", mine.claim, over)
        end.cancel()
        if claim is None:
            return
        with suppress(LeaseLost):
            _train(mine, claim, timed, until, share * trial_seconds, rng)
        share = 1.0


def _train(
    mine: Attempts, claim: Claim, timed: Any, until: float, trial_seconds: float, rng: np.random.Generator
) -> None:
    for epoch in range(1, EPOCHS + 1):
        left = float(rng.uniform(0.8, 1.2)) * trial_seconds / EPOCHS
        while left > 0 and time.monotonic() < until:
            time.sleep(min(left, 10.0))
            left -= 10.0
            if left > 0:
                timed("renew", mine.renew, claim)
        figures = {
            "epoch": epoch,
            "distortion": 1.0,
            "rate": 2.0,
            "neg_elbo": 3.0,
            "active_units": 4,
            "seconds": 1.0,
        }
        timed("record", mine.record, claim, [figures])
    value = float(rng.normal())
    timed("finish", mine.finish, claim, "complete", value=value, values=[value], metrics={"nll": value, "rate": 1.0})


def _process(
    url: str,
    name: str,
    workers: int,
    studies_: int,
    until: float,
    ramp: float,
    trial_seconds: float,
    pooled: bool,
    out: Any,
) -> None:
    place = Database(url, patience=600.0) if pooled else url
    leases.ASK_SECONDS = 60.0
    waits: dict[str, list[float]] = {"claim": [], "renew": [], "record": [], "finish": [], "refused": []}
    threads = [
        threading.Thread(
            target=_worker, args=(place, f"s{n % studies_}", f"{name}-{n}", until, ramp, trial_seconds, waits)
        )
        for n in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.put(waits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--trial-seconds", type=float, default=600.0)
    parser.add_argument("--ramp", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--connections", type=int, default=1100, help="Value of the server's max_connections.")
    parser.add_argument("--pooled", action="store_true", help="Workers of a process share connections.")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    server = Postgres(connections=arguments.connections)
    try:
        database = Database(server.url, create=True)
        for n in range(arguments.studies):
            creation.go_on(database, f"s{n}", defined(10**6, sampler=arguments.sampler), folder / "runs")
        out: Any = multiprocessing.Queue()
        started, server_began = time.monotonic(), server.processor_seconds()
        share = arguments.workers // arguments.processes
        processes = [
            multiprocessing.Process(
                target=_process,
                args=(
                    server.url, f"p{n}", share, arguments.studies, started + arguments.seconds,
                    arguments.ramp, arguments.trial_seconds, arguments.pooled, out,
                ),
            )
            for n in range(arguments.processes)
        ]  # fmt: skip
        for process in processes:
            process.start()
        results = [out.get() for _ in processes]
        for process in processes:
            process.join()
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        found: dict[str, Any] = {**vars(arguments), "cores": os.cpu_count(), "wall_seconds": round(seconds, 1)}
        found["server_cores"] = round((server.processor_seconds() - server_began) / seconds, 2)
        found["client_cores"] = round((used.ru_utime + used.ru_stime) / seconds, 2)
        for kind in results[0]:
            waits = np.array([wait for result in results for wait in result[kind]])
            if kind == "refused" or not len(waits):
                found[kind] = len(waits)
                continue
            found[kind] = {
                "count": len(waits),
                "per_second": round(len(waits) / seconds, 2),
                "p50_ms": round(float(np.quantile(waits, 0.5)) * 1e3, 1),
                "p99_ms": round(float(np.quantile(waits, 0.99)) * 1e3, 1),
            }
        print(json.dumps(found))
    finally:
        server.close()


if __name__ == "__main__":
    main()
