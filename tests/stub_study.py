"""Studies with the stub trainer, for the tests."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from benchmarks.stub_study import defined
from tuner import trainer
from tuner.commands import render
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, TrialRow
from tuner.studies import answers, creation
from tuner.studies.study import Study
from tuner.trainer import ALL, Slot
from tuner.workers import watch
from tuner.workers.broker import DatabaseBroker
from tuner.workers.claims import Claim
from tuner.workers.worker import Listen, Worker

Make = Callable[..., Study]
"""Function `make` in a database and a folder of the test's own."""
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""Mark of a test of what no database decides."""
STUB = Path(__file__).parent.parent / "benchmarks" / "stub_trainer.py"


def make(database: Database, folder: Path, trials: int = 3, name: str = "s", **changes: Any) -> Study:
    """A study, or the same one again."""
    return creation.go_on(database, name, defined(trials, **changes), folder / "runs")


def deaf(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
    del event, claim, facts


def run(study: Study, listen: Listen = deaf, name: str = "w", slot: Slot = ALL) -> None:
    """Has one worker train the study to its end."""
    broker, work = DatabaseBroker(study.database, name), Path(study.files.store.address).parent / "work"
    with Worker(broker, work, listen, slot) as worker:
        worker.run(study)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the stub trainer train, which trains no model."""
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.delenv("STUB", raising=False)
    monkeypatch.setattr(watch, "BEAT_SECONDS", 0.1)


def behave(monkeypatch: pytest.MonkeyPatch, **behaviours: str) -> None:
    """Tells the stub what to do in trial n (`tn`), or in all (`all`)."""
    named = {"*" if key == "all" else key.removeprefix("t"): value for key, value in behaviours.items()}
    monkeypatch.setenv("STUB", json.dumps(named))


def gain_of(study: Study) -> str | None:
    """Sentence about the best trial beside the published values."""
    return render.gain(answers.study_here(study), study.trials.all(), study)


def states(study: Study) -> list[str]:
    return [t.state for t in study.trials.all()]


def attempts_of(database: Database) -> list[AttemptRow]:
    return list(database.read(lambda s: s.scalars(select(AttemptRow).order_by(AttemptRow.id)).all()))


def expire(database: Database) -> None:
    """Ends all leases, as if their time had come."""
    database.run(lambda s: s.execute(update(TrialRow).values(lease_until=0.0)))


def starts(study: Study, number: int) -> str:
    """A letter for each time that a complete trial's training was started."""
    folder = study.files.folder(number, Path(study.files.store.address).parent / "cache")
    found: str = json.loads((folder / "result.json").read_text())["starts"]
    return found
