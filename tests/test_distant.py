"""The worker over HTTP does what a worker of the database does: the tests of that one are done again with a server between."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import test_worker
import uvicorn
from api_server import application
from sqlalchemy import update
from stub_study import SQLITE, Make, attempts_of, behave, deaf, expire, states
from test_worker import (  # noqa: F401 - the contract: whatever is not about files, which stay with such a worker
    test_a_pruned_trial_is_over_and_its_trainer_ended,
    test_a_study_whose_trials_all_crash_stops_itself_and_says_why,
    test_a_trainer_that_eats_memory_meets_its_limit,
    test_a_trainer_without_a_word_counts_as_lost,
    test_a_trial_that_gets_no_further_fails_after_so_many_tries,
    test_a_trial_that_takes_too_long_fails_and_a_hung_trainer_is_killed,
    test_workers_at_once_share_one_budget,
)

from api.process import bound
from tuner.client import Client
from tuner.errors import Fault, Interrupted
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow
from tuner.studies import queries
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import Study
from tuner.trainer import Slot
from tuner.workers import distant, leases, remote
from tuner.workers.distant import DistantWorker
from tuner.workers.leases import Attempts, Claim
from tuner.workers.worker import Listen, Worker

pytestmark = pytest.mark.usefixtures("stub")
Run = Callable[..., None]


@pytest.fixture
def address(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server in this process."""
    listening = bound("127.0.0.1", 0)
    app, one_at_a_time = application(database, tmp_path, monkeypatch), threading.Lock()

    def do(work: Callable[..., Any], *args: Any) -> Any:
        with one_at_a_time:  # as each of the real one's processes
            return work(*args)

    monkeypatch.setattr(app.state.service.processes, "do", do)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    while remote._databases:
        remote._databases.popitem()[1].close()


@pytest.fixture(autouse=True)
def run(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Has one worker train a study to its end, in the tests of the contract too."""
    monkeypatch.setattr(distant, "IDLE_SECONDS", 0.05)

    def train(study: Study, listen: Listen = deaf, name: str = "w", slot: Slot | None = None) -> None:
        with DistantWorker(Client(address), name, tmp_path / "work", listen, slot) as worker:
            worker.run(study)

    monkeypatch.setattr(test_worker, "run", train)
    return train


def test_a_trial_says_the_same_as_a_local_workers(database: Database, make: Make, run: Run) -> None:
    local, far = make(2, fixed={"test": True}), make(2, "far", fixed={"test": True})
    with Worker(database, "here", Path(far.store.address).parent / "here", deaf) as here:
        here.run(local)
    run(far)
    for mine, other in zip(local.trials(), far.trials(), strict=True):
        for key in ("number", "state", "params", "value", "metrics", "cost", "reason", "message", "source"):
            assert getattr(mine, key) == getattr(other, key), key
        assert local.epoch_page(mine.number, 9) == far.epoch_page(mine.number, 9)
    assert [t.state.name for t in as_optuna(far).trials] == ["COMPLETE"] * 2


@pytest.mark.parametrize("reason", ["nan", "crash", "null", "garbage", "half"])
def test_a_trials_own_failure_is_recorded(make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    behave(monkeypatch, t1=reason)
    study = make()
    run(study)
    assert states(study) == ["complete", "failed", "complete"]
    assert study.trials()[1].reason == {"nan": "nan", "null": "nan"}.get(reason, "error")


def test_who_is_interrupted_hands_its_trial_back(
    database: Database, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t1="wait")
    study = make()

    def interrupt(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(study, interrupt)
    assert states(study) == ["complete", "waiting"]
    behave(monkeypatch)
    run(study)
    assert states(study) == ["complete"] * 3
    assert [(a.trial, a.state, a.host) for a in attempts_of(database)][1:3] == [
        (1, "interrupted", "http"),
        (1, "finished", "http"),
    ]
    assert {w["name"]: w["state"] for w in queries.workers(database)} == {"w": "gone"}


@pytest.mark.parametrize("way", ["stop", "deadline"])
def test_a_stopped_study_is_handed_back(
    database: Database, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    behave(monkeypatch, t1="wait")
    study = make()

    def listen(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 1 and way == "stop":
            study.end("stopped", "stopped by the user")
        elif event == "epoch" and claim.number == 1:
            rules = {"deadline": time.time() - 1}
            database.run(lambda s: s.execute(update(StudyRow).values(rules=rules)))

    run(study, listen)  # returns
    assert states(study) == ["complete", "waiting"]
    assert study.refresh().state == "stopped"
    behave(monkeypatch)
    study.resume()
    run(study)
    assert states(study) == ["complete"] * 3


@SQLITE
def test_a_lease_is_kept_while_the_trainer_says_nothing(make: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 4.0)
    behave(monkeypatch, t0="sleep 6")
    study = make(1)
    thread = threading.Thread(target=run, args=(study,))
    thread.start()
    while not study.trials():
        thread.join(0.05)
    other = Attempts(study, "other")
    while thread.is_alive():
        assert other.claim() is None
        thread.join(0.2)
    assert states(study) == ["complete"]


def test_who_has_lost_its_trial_goes_on_with_another(
    database: Database, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0="wait once")
    study = make(2)

    def listen(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 0 and claim.attempt == 0:
            expire(database)
            assert Attempts(study, "other").claim() is not None

    run(study, listen)
    assert states(study) == ["running", "complete"]


@SQLITE
def test_a_server_that_is_away_is_waited_for_and_no_result_is_lost(
    database: Database, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, failed = make(2), []
    original = Client._answer

    def answer(client: Client, method: str, path: str, body: Any) -> Any:
        if path.endswith(("tell", "epochs")) and failed.count(path) < 3:
            failed.append(path)
            raise Fault("the server is away.")
        return original(client, method, path, body)

    monkeypatch.setattr(Client, "_answer", answer)
    run(study)
    assert states(study) == ["complete"] * 2
    assert [len(study.epoch_page(number, 9)) for number in (0, 1)] == [1, 1]
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
    assert "its figures were refused: estimator.samples = 1 is not this study's" in str(study.trial(0).message)
    assert heard.count("lost") == 2


@SQLITE
def test_all_studies_are_served_until_nothing_is_left(
    database: Database, make: Make, address: str, tmp_path: Path
) -> None:
    several = [make(2, name) for name in ("a", "b", "left alone")]
    with DistantWorker(Client(address), "w", tmp_path / "work", deaf) as worker:
        worker.serve(("a", "b"), wait=False)
    assert [states(study) for study in several] == [["complete"] * 2] * 2 + [[]]


@SQLITE
def test_the_command_joins_a_server(
    database: Database, make: Make, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.commands import online

    monkeypatch.setenv("TUNER_API", address)
    study = make(2)
    online.app(["worker", "--exit-when-idle", "--runs", str(tmp_path / "runs"), "--name", "far"], standalone_mode=False)
    assert states(study) == ["complete"] * 2
    assert [w["name"] for w in queries.workers(database)] == ["far"]
