"""A worker's life with a stub trainer: faults, limits, what is handed back and what is left behind."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from shell import AWAITED, wait_for
from sqlalchemy import delete, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from stub_study import Make, attempts_of, behave, deaf, expire, starts, states

from trainers.contract import RESULT
from tuner.client import Client
from tuner.errors import Interrupted, Usage
from tuner.process import HOST, PLACE, is_dead, is_here, process_mark
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow, WorkerRow
from tuner.studies import queries
from tuner.studies import study as studies
from tuner.studies.pruners import PRUNERS
from tuner.studies.study import Study
from tuner.trainer import ALL, Slot
from tuner.workers import broker, publishing, watch
from tuner.workers.broker import DatabaseBroker
from tuner.workers.claims import Broker, Claim
from tuner.workers.distant import ServerBroker
from tuner.workers.leases import Attempts
from tuner.workers.places import Owner, Places
from tuner.workers.worker import Listen, Worker


class Died(BaseException):
    """The worker is gone in the middle of whatever it did."""


pytestmark = pytest.mark.usefixtures("stub")
LOCAL = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
"""Mark of a test that concerns the workers of a database alone."""
Run = Callable[..., None]


@pytest.fixture(params=["sqlite", "postgresql", "server"])
def url(request: pytest.FixtureRequest, on_postgres: Callable[[], str], tmp_path: Path) -> str:
    """The address of an empty database, of each kind; with `server`, workers reach a server before it and not the database."""
    return on_postgres() if request.param == "postgresql" else f"sqlite:///{tmp_path}/t.db"


@pytest.fixture
def broker_of(request: pytest.FixtureRequest, database: Database) -> Callable[[str], Broker]:
    """Broker of the studies for a worker of that name."""
    if request.node.callspec.params["url"] == "server":
        return partial(ServerBroker, Client(request.getfixturevalue("address")))
    return partial(DatabaseBroker, database)


@pytest.fixture
def run(broker_of: Callable[[str], Broker]) -> Run:
    """Has one worker train a study to its end."""

    def train(study: Study, listen: Listen = deaf, name: str = "w", slot: Slot = ALL) -> None:
        with Worker(broker_of(name), Path(study.files.store.address).parent / "work", listen, slot) as worker:
            worker.run(study)

    return train


def test_workers_at_once_share_one_budget(run: Run, database: Database, make: Make) -> None:
    study = make(trials=10)
    threads = [threading.Thread(target=run, args=(study, deaf, f"w{n}")) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(t.number, t.state) for t in study.trials.all()] == [(n, "complete") for n in range(10)]
    assert sorted(a.trial for a in attempts_of(database)) == list(range(10))
    assert {w["name"]: w["state"] for w in queries.workers(database)} == {"w0": "gone", "w1": "gone", "w2": "gone"}
    assert sum(w["trials"] for w in queries.workers(database)) == 10


@pytest.mark.parametrize("reason", ["nan", "crash", "null", "garbage", "half"])
def test_a_trials_own_failure_is_recorded_and_the_study_goes_on(
    run: Run, make: Make, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    behave(monkeypatch, t1=reason)
    study = make()
    run(study)
    assert states(study) == ["complete", "failed", "complete"]
    named = {"nan": "nan", "null": "nan"}.get(reason, "error")
    said = {
        "nan": "told to end with nan.",
        "null": "what the study judges its trials by is not a finite number.",
        "crash": "ValueError: boom",
        "garbage": "ended with code 0",
        "half": "the trainer's result is not whole (KeyError('metrics'))",
    }
    assert study.trials.all()[1].reason == named
    assert said[reason] in str(study.trials.all()[1].message)
    log = study.files.folder(1, Path(study.files.store.address).parent / "cache") / "trainer.log"
    assert ("boom" in log.read_text()) == (reason == "crash")


def test_a_killed_trainer_is_tried_again_with_its_checkpoint(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t1="die once")
    study = make()
    run(study)
    assert states(study) == ["complete"] * 3
    assert [(a.trial, a.state) for a in attempts_of(database)] == [
        (0, "finished"),
        (1, "lost"),
        (1, "finished"),
        (2, "finished"),
    ]
    assert [starts(study, n) for n in range(3)] == ["x", "xx", "x"]


@pytest.mark.parametrize(("behaviour", "reason", "tries"), [("die", "lost", 3), ("oom", "oom", 2)])
def test_a_trial_that_gets_no_further_fails_after_so_many_tries(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, behaviour: str, reason: str, tries: int
) -> None:
    behave(monkeypatch, t0=behaviour)
    study = make(2)
    run(study)
    first, second = study.trials.all()
    assert (first.state, first.reason, second.state) == ("failed", reason, "complete")
    assert [a.trial for a in attempts_of(database)] == [0] * tries + [1]


def test_a_study_whose_trials_all_crash_stops_itself_and_says_why(
    run: Run, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, all="crash")
    study = make(9)
    run(study)
    assert states(study) == ["failed"] * 3
    assert study.refresh().state == "broken"
    assert str(study.why).startswith("3 trials in a row failed, the last (trial 2) because ")
    assert "ValueError: boom" in str(study.why)
    run(study)
    assert len(study.trials.all()) == 3
    behave(monkeypatch, all="nan")  # a diverged trial is a result
    study.resume()
    run(study)
    assert states(study) == ["failed"] * 9
    assert study.refresh().state == "active"


@pytest.mark.parametrize(
    "why", [Interrupted().why, ("preempted", "this machine was told to stop.")], ids=lambda why: why[0]
)
def test_an_interrupted_worker_hands_its_trial_back_and_says_why(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, why: tuple[str, str]
) -> None:
    behave(monkeypatch, t1="wait once")
    study = make()

    def interrupt(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 1:
            raise Interrupted(*why)

    with pytest.raises(Interrupted):
        run(study, interrupt)
    assert states(study) == ["complete", "waiting"]
    run(study)
    assert states(study) == ["complete"] * 3
    assert [(a.trial, a.state, a.reason, a.message) for a in attempts_of(database)][1:3] == [
        (1, "interrupted", *why),
        (1, "finished", None, None),
    ]
    assert starts(study, 1) == "xx"


@pytest.mark.parametrize("way", ["stop", "deadline"])
def test_a_stopped_study_hands_back_what_is_under_way_and_can_go_on(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    behave(monkeypatch, t1="wait once")
    study = make()

    def listen(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 1:
            if way == "stop":
                studies.open_study(database, "s").end("stopped", "stopped by the user")
            else:
                rules = {"deadline": time.time() - 1}
                database.run(lambda s: s.execute(update(StudyRow).values(rules=rules)))

    run(study, listen)  # returns
    assert states(study) == ["complete", "waiting"]
    assert study.refresh().state == "stopped"
    assert study.why == ("stopped by the user" if way == "stop" else "its deadline has passed")
    run(study)
    assert states(study) == ["complete", "waiting"]
    study.resume()
    run(study)
    assert states(study) == ["complete"] * 3


def test_a_trial_that_takes_too_long_fails_and_a_hung_trainer_is_killed(
    run: Run, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STOP_SECONDS", 0.3)
    behave(monkeypatch, t0="hang")
    study = make(1, timeout=1.0)
    run(study)
    (trial,) = study.trials.all()
    assert (trial.state, trial.reason, trial.message) == ("failed", "timeout", "it took longer than its 1 s.")


@pytest.mark.parametrize(("behaviour", "reason"), [("hang", "timeout"), ("crash", "error")])
def test_an_attempts_end_is_told_once_and_as_it_is_recorded(
    run: Run, make: Make, monkeypatch: pytest.MonkeyPatch, behaviour: str, reason: str
) -> None:
    monkeypatch.setattr(watch, "STOP_SECONDS", 0.3)
    behave(monkeypatch, t0=behaviour)
    study, told = make(1, timeout=1.0 if behaviour == "hang" else 0.0), list[tuple[str, Any]]()
    run(study, lambda event, claim, facts: told.append((event, facts.get("reason"))))
    assert [each for each in told if each[0] not in ("claimed", "started", "progress", "epoch")] == [("failed", reason)]


def test_a_trainer_without_a_word_counts_as_lost(run: Run, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 1.0)
    behave(monkeypatch, t0="hang")
    study = make(1)
    run(study)
    assert [(t.state, t.reason) for t in study.trials.all()] == [("failed", "lost")]
    assert study.trials.all()[0].message == "its trainer said nothing for 1 s."


def test_a_trainer_that_eats_memory_meets_its_limit(run: Run, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, t0="eat memory")
    study = make(2)
    run(study, slot=Slot(memory=2**29))
    assert [(t.state, t.reason) for t in study.trials.all()] == [("failed", "oom"), ("complete", None)]


def test_a_lease_is_kept_while_the_trainer_is_silent(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0="wait once")  # it says nothing after its first epoch
    study, silent = make(1), threading.Event()
    thread = threading.Thread(target=run, args=(study, lambda event, *_: event == "epoch" and silent.set()))
    thread.start()
    assert silent.wait(AWAITED)

    def lease_until() -> float:
        return database.read(lambda session: session.get_one(TrialRow, ("s", 0)).lease_until)

    for _ in range(3):  # the epoch itself may have renewed it once
        before = lease_until()
        wait_for(lambda: lease_until() > before)  # noqa: B023 - done before the next
    assert Attempts(study, "other").claim() is None
    study.end("stopped", "stopped by the user")
    thread.join()
    assert [(a.worker, a.state) for a in attempts_of(database)] == [("w", "interrupted")]


@LOCAL
def test_a_name_in_use_is_refused(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ENTER_SECONDS", 0.01)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with Worker(DatabaseBroker(database, "w"), tmp_path, deaf):
            mark = process_mark(process.pid)
            database.run(lambda s: s.execute(update(WorkerRow).values(process=mark)))
            with pytest.raises(Usage, match=f"worker 'w' is at work on {HOST} .*another --name"):
                Worker(DatabaseBroker(database, "w"), tmp_path, deaf).__enter__()
            elsewhere = {"host": "elsewhere", "process": f"{process.pid}:1:another"}
            database.run(lambda s: s.execute(update(WorkerRow).values(elsewhere)))

            def speak(sentence: str) -> None:
                assert "worker 'w' was at work on elsewhere just now" in sentence
                database.run(lambda s: s.execute(update(WorkerRow).values(seen_at=WorkerRow.seen_at + 0.1)))

            with pytest.raises(Usage, match="worker 'w' is at work on elsewhere"):
                Worker(DatabaseBroker(database, "w"), tmp_path, deaf, warn=speak).__enter__()

            def fall_silent(sentence: str) -> None:
                database.run(lambda s: s.execute(update(WorkerRow).values(seen_at=1.0)))

            Worker(DatabaseBroker(database, "w"), tmp_path, deaf, warn=fall_silent).__enter__()
        process.communicate(b"\n")


def test_a_process_number_used_again_is_another_process() -> None:
    mark = process_mark(os.getpid())
    assert is_here(mark)
    assert not is_dead(mark)
    assert is_dead(f"{os.getpid()}:1:{PLACE}")
    assert is_dead(f"{2**22 + 1}:1:{PLACE}")
    for elsewhere in (f"{2**22 + 1}:1:another", f"{2**22 + 1}:1", f"{2**22 + 1}", "0", "", "x:1:" + PLACE):
        assert not is_dead(elsewhere)


@LOCAL
def test_a_kept_result_of_another_databases_study_is_left_to_its_workers(
    database: Database, make: Make, tmp_path: Path
) -> None:
    study, work = make(1), tmp_path / "work"
    mine = DatabaseBroker(database, "w").address
    owner = Owner("", study.name, study.created_at, 0)
    for token, address in (("a" * 8, mine), ("b" * 8, "postgresql://elsewhere/t")):
        place = Places(work).take(replace(owner, broker=address), token)
        (place.folder / RESULT).write_text("{}")
        place.leave(keep=True)
    database.run(lambda s: s.execute(delete(StudyRow)))
    with Worker(DatabaseBroker(database, "w"), work, deaf):
        assert [folder.name for folder in work.iterdir()] == ["s-0000-bbbbbbbb"]
    os.utime(work / "s-0000-bbbbbbbb" / "owner", (1.0, 1.0))
    with Worker(DatabaseBroker(database, "w"), work, deaf):
        assert list(work.iterdir()) == []


@LOCAL
def test_what_a_killed_worker_of_this_machine_left_in_its_folder_is_swept(database: Database, tmp_path: Path) -> None:
    live, dead = process_mark(os.getpid()), f"{2**22 + 1}:1"
    facts = {"study": "s", "created_at": 1.0, "trial": 0}
    owners = {"dead": f"{dead}:{PLACE}", "live": live, "elsewhere": f"{dead}:other", "forgotten": f"{dead}:other"}
    for name, process in owners.items():
        (tmp_path / f"s-0000-{name}").mkdir()
        (tmp_path / f"s-0000-{name}" / "owner").write_text(json.dumps({"process": process, **facts}))
    (tmp_path / "s-0000-old").mkdir()
    (tmp_path / "s-0000-old" / "owner").write_text(f"{HOST} {dead}")  # as an older program wrote it
    os.utime(tmp_path / "s-0000-forgotten" / "owner", (1.0, 1.0))
    with Worker(DatabaseBroker(database, "w"), tmp_path, deaf):
        left = {f.name.removeprefix("s-0000-") for f in tmp_path.iterdir() if f.name.startswith("s-")}
    assert left == {"live", "elsewhere", "old"}


def test_a_waiting_worker_does_not_take_a_new_study_for_a_deleted_one_of_its_name(
    run: Run, database: Database, make: Make, tmp_path: Path
) -> None:
    with Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf) as worker:
        for seed, trials in ((0, 2), (1, 3)):
            study = make(trials, seed=seed, sampler="gp-map")
            worker.serve(wait=False)
            assert states(study) == ["complete"] * trials
            asked = [t.params for t in study.trials.all()]
            study.delete()
    fresh = make(3, "fresh", seed=1, sampler="gp-map")
    run(fresh)
    assert [t.params for t in fresh.trials.all()] == asked


def test_a_dead_workers_trial_goes_on_from_what_it_published_last(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PUBLISH_SECONDS", 0.0)
    behave(monkeypatch, t0="wait once")
    study = make(1)

    def die(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        if event == "epoch":
            raise Died

    with pytest.raises(Died):
        run(study, die)
    expire(database)
    run(study)
    assert (states(study), starts(study, 0)) == (["complete"], "xx")


@LOCAL
def test_a_database_that_is_away_as_a_checkpoint_is_published_does_not_stop_the_training(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PUBLISH_SECONDS", 0.0)
    publish, tries = Attempts.publish, list[float | None]()

    def away(self: Attempts, claim: Claim, generation: str, patience: float | None = None) -> None:
        tries.append(patience)
        if len(tries) == 1:
            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        publish(self, claim, generation, patience)

    monkeypatch.setattr(Attempts, "publish", away)
    study = make(1)
    run(study)
    assert (states(study), [a.state for a in attempts_of(database)]) == (["complete"], ["finished"])
    assert 0.0 in tries


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_worker_that_looks_whether_the_database_is_there_waits_for_it(
    url: str, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make(1)
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    untold = [OperationalError("UPDATE", {}, locked)] * 2
    patient = Database(url, patience=60.0)
    found = DatabaseBroker(patient, "w")
    seen = found._be_seen

    def busy(session: Session, **facts: Any) -> None:
        if untold:
            raise untold.pop()
        seen(session, **facts)

    monkeypatch.setattr(found, "_be_seen", busy)
    with Worker(found, tmp_path / "work", deaf) as worker:
        worker._check()
    patient.close()
    assert untold == []


def test_a_damaged_checkpoint_costs_the_progress_and_no_more(
    run: Run, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0="wait once")
    study, heard = make(1), []

    def interrupt(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        if event == "epoch":
            raise Interrupted

    with pytest.raises(Interrupted):
        run(study, interrupt)
    (file,) = Path(study.files.store.address).glob("0000/*/latest.safetensors")
    file.unlink()
    file.write_text("rotten")
    behave(monkeypatch)
    run(study, lambda event, claim, facts: heard.append((event, facts.get("message"))))
    assert (states(study), starts(study, 0)) == (["complete"], "x")
    (warned,) = [message for event, message in heard if event == "warning"]
    assert "is not what was published: it is trained from its beginning" in str(warned)


def test_a_pruned_trial_is_over_and_its_trainer_ended(run: Run, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, t4="poor")
    study = make(6, pruner="hyperband")
    heard: list[str] = []
    monkeypatch.setitem(PRUNERS, "hyperband", lambda mine, _: mine.epochs[-1][0] == 2)
    run(study, lambda event, claim, facts: heard.append(event))
    assert states(study) == ["complete"] * 4 + ["pruned", "complete"]
    pruned = study.trials.all()[4]
    assert (pruned.reason, pruned.message) == ("pruned", "by hyperband, after epoch 2 of 9.")
    assert heard.count("pruned") == 1


def test_a_trial_is_not_judged_before_its_schedule_has_ended(
    run: Run, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t4="late")
    study = make(5, pruner="median")
    monkeypatch.setitem(PRUNERS, "median", lambda mine, _: mine.epochs[-1][0] == 2)
    run(study)
    assert states(study) == ["complete"] * 5


def test_a_rate_that_is_no_number_is_a_diverged_trial_of_two_objectives(
    run: Run, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t1="no rate")
    study = make(3, objective="nll,rate")
    run(study)
    assert [(t.state, t.reason) for t in study.trials.all()] == [
        ("complete", None),
        ("failed", "nan"),
        ("complete", None),
    ]
