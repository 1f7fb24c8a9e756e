"""The commands' seconds on a study of 10,000 trials and 1,000,000 epoch rows, on SQLite and PostgreSQL.

    python -m benchmarks.large --repeats 5

Each command is a process of its own, so Python's start and imports count. Prints one JSON object a database.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from benchmarks.postgres import Postgres
from benchmarks.stub_study import defined
from tuner.metrics import METRICS
from tuner.storage.database import Database
from tuner.storage.tables import EpochRow, TrialRow
from tuner.studies import creation

COMMANDS = {"show": ["show", "s"], "trials": ["trials", "s"], "studies": ["studies"], "workers": ["workers"]}


def fill(database: Database, trials: int, epochs: int, folder: Path, objective: str = "nll") -> None:
    """A study of complete trials with plausible figures, and two small ones."""
    for name, count in (("s", trials), ("small", 3), ("empty", 3)):
        creation.go_on(database, name, defined(count, objective=objective), folder)
    rng, told = np.random.default_rng(0), "," not in objective  # those of two objectives are for Optuna's own tables
    estimator = {"proposal": "q", "samples": 100, "sentences": 500, "of": 1000, "seed": 1, "split": "valid"}

    def trial(number: int) -> dict[str, Any]:
        nll, rate = float(rng.normal(15, 1)), float(rng.uniform(0, 20))
        metrics = dict.fromkeys(METRICS, 1.0) | {"nll": nll, "rate": rate, "active_units": 7}
        cost = {"epochs": 100, "tokens_per_second": 1e4, "seconds": {"set_up": 1.0, "training": 9.0, "evaluation": 3.0}}
        values = [nll, rate] if "," in objective else [nll]
        return {
            "study": "s", "number": number, "state": "complete", "value": nll, "values": values, "attrs": {}, "cost": cost,
            "metrics": {**metrics, "collapsed": False, "estimator": estimator}, "losses": 0, "seconds": 13.0, "told": told,
            "params": {"r": rate, "alpha": 0.01, "gamma": 1.1, "epsilon": 0.9}, "lease_until": 0.0,
            "created_at": 1e9 + number, "started_at": 1e9 + number, "ended_at": 1e9 + number + 13,
        }  # fmt: skip

    database.run(lambda session: session.execute(insert(TrialRow), [trial(n) for n in range(trials)]))
    figures = {
        "distortion": 10.0,
        "rate": 5.0,
        "neg_elbo": 15.0,
        "active_units": 7,
        "seconds": 1.0,
        "objective": {"beta": 1.0},
    }
    for first in range(0, trials, 500):
        rows = [
            {"study": "s", "trial": n, "epoch": e, **figures}
            for n in range(first, min(first + 500, trials))
            for e in range(1, epochs + 1)
        ]
        database.run(lambda session, rows=rows: session.execute(insert(EpochRow), rows))  # type: ignore[misc]


def seconds(command: list[str], url: str, repeats: int) -> float:
    """The median of a command's wall time."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        environment = {**os.environ, "TUNER_DATABASE": url}
        subprocess.run(
            [sys.executable, "-m", "tuner", *command], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    server = Postgres()
    try:
        for url in (f"sqlite:///{folder}/t.db", server.url):
            database = Database(url, create=True)
            fill(database, arguments.trials, arguments.epochs, folder)
            found = {name: round(seconds(command, url, arguments.repeats), 3) for name, command in COMMANDS.items()}
            help_ = round(seconds(["--help"], url, arguments.repeats), 3)
            kind = "SQLite" if database.sqlite else "PostgreSQL"
            small = round(seconds(["show", "small"], url, arguments.repeats), 3)
            facts = {"database": kind, **vars(arguments), "seconds": {"--help": help_, "show small": small, **found}}
            print(json.dumps(facts), flush=True)
            database.close()
    finally:
        server.close()


if __name__ == "__main__":
    main()
