"""The worker over HTTP, where it is not as one of the database; what is the same for both is in test_worker.py."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import shell
from api_server import ROOT, server
from sqlalchemy import select, update
from stub_study import SQLITE, Make, attempts_of, behave, deaf, expire, starts, states

from tuner.client import Client
from tuner.commands.app import app
from tuner.errors import Fault, Usage
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow, WorkerRow
from tuner.studies import queries
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import Study
from tuner.trainer import ALL, Slot
from tuner.workers import distant, watch
from tuner.workers.broker import DatabaseBroker
from tuner.workers.claims import Claim
from tuner.workers.distant import ServerBroker
from tuner.workers.leases import Attempts
from tuner.workers.worker import Listen, Worker

pytestmark = pytest.mark.usefixtures("stub")
Run = Callable[..., None]


@pytest.fixture
def run(address: str, tmp_path: Path) -> Run:
    """Has one worker train a study to its end."""

    def train(study: Study, listen: Listen = deaf, name: str = "w", slot: Slot = ALL) -> None:
        with Worker(ServerBroker(Client(address), name), tmp_path / "work", listen, slot) as worker:
            worker.run(study)

    return train


def test_a_trial_says_the_same_as_a_local_workers(database: Database, make: Make, run: Run) -> None:
    local, far = make(2, fixed={"test": True}), make(2, "far", fixed={"test": True})
    with Worker(DatabaseBroker(database, "here"), Path(far.files.store.address).parent / "here", deaf) as here:
        here.run(local)
    run(far)
    for mine, other in zip(local.trials.all(), far.trials.all(), strict=True):
        for key in ("number", "state", "params", "value", "metrics", "cost", "reason", "message", "source"):
            assert getattr(mine, key) == getattr(other, key), key
        assert local.trials.epochs(mine.number, 9) == far.trials.epochs(mine.number, 9)
    assert [t.state.name for t in as_optuna(far).trials] == ["COMPLETE"] * 2


def test_who_has_lost_its_trial_goes_on_with_another(
    database: Database, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0="wait once")
    monkeypatch.setattr(watch, "BEAT_SECONDS", 0.2)
    study = make(1)

    def listen(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 0:
            expire(database)
            while Attempts(study, "other").claim() is None:  # a beat came between
                expire(database)
            study.trials.enqueue({"r": 3})

    run(study, listen)
    assert states(study) == ["running", "complete"]


@SQLITE
def test_a_server_that_is_away_is_waited_for_and_no_result_is_lost(
    database: Database, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, failed = make(2), []
    original = Client._answer

    def answer(client: Client, method: str, path: str, *more: Any) -> Any:
        if path.endswith(("tell", "epochs")) and failed.count(path) < 3:
            failed.append(path)
            raise Fault("the server is away.")
        return original(client, method, path, *more)

    monkeypatch.setattr(Client, "_answer", answer)
    run(study)
    assert states(study) == ["complete"] * 2
    assert [len(study.trials.epochs(number, 9)) for number in (0, 1)] == [1, 1]
    assert len(attempts_of(database)) == 2
    assert len(failed) >= 8


@SQLITE
def test_figures_that_the_server_refuses_fail_the_trial(
    database: Database, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(2, fixed={"nll_samples": 7})  # the stub's are of one
    heard: list[str] = []
    run(study, lambda event, *_: heard.append(event))
    assert states(study) == ["failed"] * 2
    assert "its figures were refused: estimator.samples = 1 is not this study's" in str(study.trials.get(0).message)
    assert heard.count("lost") == 2


@SQLITE
def test_all_studies_are_served_until_nothing_is_left(
    database: Database, make: Make, address: str, tmp_path: Path
) -> None:
    several = [make(2, name) for name in ("a", "b", "left alone")]
    with Worker(ServerBroker(Client(address), "w"), tmp_path / "work", deaf) as worker:
        worker.serve(("a", "b"), wait=False)
    assert [states(study) for study in several] == [["complete"] * 2] * 2 + [[]]


@SQLITE
def test_the_command_joins_a_server(
    database: Database, make: Make, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(2)
    command = ["worker", "--api", address, "--exit-when-idle", "--runs", str(tmp_path / "runs"), "--name", "far"]
    app(command, standalone_mode=False)
    assert states(study) == ["complete"] * 2
    assert [w["name"] for w in queries.workers(database)] == ["far"]


@SQLITE
def test_a_name_in_use_is_refused_and_one_that_falls_silent_is_waited_for(
    database: Database, make: Make, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distant, "ENTER_SECONDS", 0.01)
    make(1)
    client, mine = Client(address), update(WorkerRow).where(WorkerRow.name == "w")
    assert client.ask("s", "w") is not None

    def speak(sentence: str) -> None:
        assert "worker 'w' was at work just now" in sentence
        database.run(lambda s: s.execute(mine.values(seen_at=WorkerRow.seen_at + 0.1)))

    with pytest.raises(Usage, match="worker 'w' is at work for .*another --name"):
        Worker(ServerBroker(client, "w"), tmp_path, deaf, warn=speak).__enter__()

    def fall_silent(_: str) -> None:
        database.run(lambda s: s.execute(mine.values(seen_at=1.0)))

    with Worker(ServerBroker(client, "w"), tmp_path, deaf, warn=fall_silent):
        pass


@pytest.mark.parametrize("error", [Usage("key unknown: ask for another one."), Fault("the file has been deleted.")])
def test_a_worker_that_is_refused_hears_of_it_and_goes_on_looking(tmp_path: Path, error: Exception) -> None:
    asked = threading.Semaphore(0)

    class Refusing:
        def renew(self, *_: Any) -> None:
            asked.release()
            raise error

        def rest(self) -> None:
            pass

    claim: Any = None
    leases: Any = Refusing()
    with watch.Watch(leases, claim, lambda: False, tmp_path / "sign") as found:
        for _ in range(3):
            assert asked.acquire(timeout=60.0)
        assert found.why == ("disk", str(error))


@SQLITE
@pytest.mark.parametrize(("killed", "heir"), [("server", "database"), ("database", "server"), ("server", "server")])
def test_a_killed_workers_trial_goes_on_from_its_checkpoint_with_a_worker_of_the_other_kind(
    url: str, address: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    start: shell.Start, killed: str, heir: str,
) -> None:  # fmt: skip
    behave(monkeypatch, t0="wait once")
    study, places = make(1), {"server": address, "database": url}
    command = [
        sys.executable,
        str(Path(__file__).parents[2] / "stub_worker.py"),
        places[killed],
        "one",
        str(tmp_path / "a"),
    ]
    process = start(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=None, stderr=None)

    def has_published() -> bool:
        assert process.poll() is None
        return database.read(lambda s: s.scalar(select(TrialRow.artifacts))) is not None

    shell.wait_for(has_published)
    process.kill()
    process.wait()
    brokers = {"server": ServerBroker(Client(address), "two"), "database": DatabaseBroker(database, "two")}
    with Worker(brokers[heir], tmp_path / "b", deaf) as worker:
        while states(study) == [
            "running"
        ]:  # the server may still carry out what the killed one had sent, a renewal too
            expire(database)
            worker.run(study)
    assert (states(study), starts(study, 0)) == (["complete"], "xx")
    assert [(a.worker, a.state) for a in attempts_of(database)] == [("one", "lost"), ("two", "finished")]


@SQLITE
def test_what_people_read_of_a_trial_is_there_when_it_was_trained_over_http(
    url: str, inside: Any, tmp_path: Path
) -> None:
    settings = [part for key in (*shell.QUICK, "max_epochs=1") for part in ("--set", key)]
    at = ("--database", url)
    inside("launch", "-t", "sfb", "-n", "1", "--study", "s", "--workers", "0", *settings, *at)
    with server(url, tmp_path) as (address, _):
        far = tmp_path / "far"
        far.mkdir()
        shell.run("worker", "--api", address, "--exit-when-idle", cwd=far)
        assert {"samples", "homotopy", "reconstructions"} <= Client(address).samples("s", 0).keys()
        assert httpx.get(f"{address}/v1/studies/s/trials/0/log").status_code == 200
        assert list((far / "runs" / "work").iterdir()) == []
    assert len(inside("sample", "s/0", "--count", "3", *at).stdout.splitlines()) == 3
    for reading in (["log", "s/0"], ["export", "s"], ["show", "s"], ["evaluate", "s/0"]):
        inside(*reading, *at)
