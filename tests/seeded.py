"""Studies for the dashboard's tests, made without training, and a worker that trains nothing."""

import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from shell import stubbed
from sqlalchemy import insert
from stub_study import make

from benchmarks.browser import environment
from tuner import space
from tuner.metrics import METRICS
from tuner.space import Space
from tuner.storage.database import Database
from tuner.storage.tables import EpochRow, TrialRow
from tuner.studies.study import Study

ESTIMATOR = {"proposal": "q", "samples": 100, "sentences": 500, "of": 1000, "seed": 1, "split": "valid"}


@contextmanager
def stub_worker(url: str, folder: Path, behaviour: str) -> Iterator[None]:
    """A worker process whose trainings last as `behaviour` says (`stub_trainer.py`)."""
    command = stubbed("worker", "--database", url)
    stub = json.dumps({"*": behaviour})
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(STUB=stub), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def settled(page: Page) -> None:
    """Waits until every section of the page has what it shows at first, so that nothing moves any more."""
    page.wait_for_selector(".view:not([aria-busy])")
    page.wait_for_function("() => document.querySelector('main h1') && !document.querySelector('main [aria-busy]')")


def look_away(page: Page, away: bool) -> None:
    """Tells the page that its tab is hidden, or that it is seen again."""
    page.evaluate(
        """(away) => {
          Object.defineProperty(document, "hidden", { value: away, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        away,
    )


def fits(page: Page, width: int) -> None:
    """Waits until the page is no wider than that: what is drawn follows a new width a moment later."""
    page.wait_for_function("(width) => document.documentElement.scrollWidth <= width", arg=width)


def figures(technique: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A trial's plausible hyperparameters and metrics, the same for every run."""
    dice = random.Random(f"{technique} {number}")
    params: dict[str, Any] = {}
    for parameter in space.load(technique).searched({}):
        if parameter.type == "categorical":
            params[parameter.name] = dice.choice(parameter.choices)
        else:
            params[parameter.name] = dice.uniform(float(parameter.low or 0), float(parameter.high or 0))
    rate = dice.uniform(0.1, 20)
    nll = 15 + 0.04 * rate**1.5 + dice.expovariate(1.5)
    metrics = dict.fromkeys(METRICS, 1.0) | {
        "nll": nll,
        "nll_se": 0.1,
        "rate": rate,
        "ppl": 2.71828 ** (nll / 7.7),
    }
    return params, metrics | {
        "distortion": nll - rate / 2,
        "active_units": 7,
        "collapsed": False,
        "estimator": ESTIMATOR,
    }


def trial_row(study: Study, number: int, **changes: Any) -> dict[str, Any]:
    params, metrics = figures(study.spec.technique, number)
    row = {
        "study": study.name, "number": number, "state": "complete", "params": params, "metrics": metrics, "attrs": {},
        "value": metrics["nll"], "values": [metrics["nll"]], "losses": 0, "seconds": 13.0, "told": True, "lease_until": 0.0,
        "cost": {"epochs": 3, "tokens_per_second": 1e4, "seconds": {"set_up": 1.0, "training": 9.0, "evaluation": 3.0}},
        "created_at": 1e9 + number, "started_at": 1e9 + number, "ended_at": 1e9 + number + 13,
    }  # fmt: skip
    return {**row, **changes}


def epoch_row(study: Study, number: int, epoch: int) -> dict[str, Any]:
    validation = {"distortion": 12.0 - epoch, "rate": 2.0 + epoch, "neg_elbo": 14.0, "active_units": 5, "seconds": 1.0}
    return {"study": study.name, "trial": number, "epoch": epoch, **validation, "objective": {"beta": 0.1 * epoch}}


def made(
    database: Database,
    folder: Path,
    name: str,
    tuned: str | Space,
    trials: int,
    budget: int | None = None,
    **changes: Any,
) -> Study:
    """A study of a technique or of a space with so many complete trials, or as `changes` has them, of three epochs each."""
    own = space.load(tuned) if isinstance(tuned, str) else tuned
    study = make(database, folder, trials=budget or trials, name=name, space=own)
    rows = [trial_row(study, number, **changes) for number in range(trials)]
    epochs = [epoch_row(study, number, epoch) for number in range(trials) for epoch in (1, 2, 3)]
    database.run(lambda session: session.execute(insert(TrialRow), rows))
    database.run(lambda session: session.execute(insert(EpochRow), epochs))
    return study
