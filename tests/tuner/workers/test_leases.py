"""Rights to train a trial: leases, the right to ask, and words said twice."""

import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from stub_study import Make, attempts_of, deaf, expire, run, states

from tuner.errors import Busy, Unfit
from tuner.process import PLACE
from tuner.storage.artifacts import Store
from tuner.storage.database import Database
from tuner.storage.tables import EpochRow, StudyRow, TrialRow, WorkerRow
from tuner.studies import queries
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import Study, open_study
from tuner.workers import leases as attempts_module
from tuner.workers.broker import DatabaseBroker
from tuner.workers.claims import LeaseLost
from tuner.workers.gpu import Load
from tuner.workers.leases import Attempts
from tuner.workers.worker import Worker


class Died(BaseException):
    """The worker is gone in the middle of whatever it did."""


pytestmark = pytest.mark.usefixtures("stub")


def test_a_dead_workers_trial_is_taken_over_and_a_live_ones_is_not(database: Database, make: Make) -> None:
    attempts = Attempts(make(2), "a")
    first, second = attempts.claim(), attempts.claim()
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert attempts.claim() is None  # the budget is spent, both are held
    database.run(lambda s: s.execute(update(TrialRow).where(TrialRow.number == 0).values(lease_until=0.0)))
    again = Attempts(attempts.study, "b").claim()
    assert again is not None
    assert (again.number, again.params, again.attempt) == (0, first.params, 1)
    for late in (
        lambda: attempts.renew(first),
        lambda: attempts.record(first, [{"epoch": 1}]),
        lambda: attempts.publish(first, "0000/x"),
        lambda: attempts.finish(first, "complete", value=1.0),
        lambda: attempts.fail(first, "nan", "late"),
    ):
        with pytest.raises(LeaseLost, match="trial 0 of study 's' has gone to another worker"):
            late()
    assert attempts.renew(second) is None
    assert database.read(lambda s: s.scalars(select(EpochRow)).all()) == []


def test_a_word_that_was_lost_with_the_connection_may_be_said_again(database: Database, make: Make) -> None:
    attempts = Attempts(make(2), "a")
    first, second = attempts.claim(), attempts.claim()
    assert first is not None
    assert second is not None
    for _ in range(2):
        attempts.finish(first, "complete", value=1.0, values=[1.0])
    assert [attempts.fail(second, "nan", "diverged") for _ in range(2)] == [True, True]
    assert [(t.state, t.value) for t in attempts.study.trials.all()] == [("complete", 1.0), ("failed", None)]
    assert [a.state for a in attempts_of(database)] == ["finished", "failed"]


def put(study: Study, generation: str, folder: Path) -> str:
    """Has a generation of files be there."""
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(generation)
    study.files.store.publish(folder, generation)
    return generation


@pytest.mark.parametrize("word", ["fail", "finish", "publish"])
def test_who_lost_its_trial_takes_no_file_of_whoever_has_it(
    database: Database, make: Make, tmp_path: Path, word: str
) -> None:
    study = make(1)
    lost = Attempts(study, "a").claim()
    assert lost is not None
    expire(database)
    other = Attempts(study, "b")
    claim = other.claim()
    assert claim is not None
    done = put(study, "0000/b-1", tmp_path / "b")
    other.finish(claim, "complete", value=1.0, values=[1.0], artifacts=done)
    late = put(study, "0000/a-1", tmp_path / "a")
    say = {
        "fail": lambda: Attempts(study, "a").fail(lost, "lost", "it stood still", late),
        "finish": lambda: Attempts(study, "a").finish(lost, "complete", value=2.0, values=[2.0], artifacts=late),
        "publish": lambda: Attempts(study, "a").publish(lost, late),
    }
    with pytest.raises(LeaseLost):
        say[word]()
    assert study.files.store.generations("0000") == {done}
    assert [(t.state, t.value) for t in study.trials.all()] == [("complete", 1.0)]


def test_who_stands_still_after_its_word_takes_no_file_of_its_successor(
    database: Database, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial is taken over and done between the commit of a checkpoint's name and the removal of the older ones."""
    study = make(1)
    slow, store = Attempts(study, "a"), study.files.store
    claim = slow.claim()
    assert claim is not None
    put(study, "0000/a-1", tmp_path / "a")
    slow.publish(claim, "0000/a-1")
    put(study, "0000/a-2", tmp_path / "a")
    drop = type(store).drop

    def late(self: Store, generations: Iterable[str]) -> None:
        monkeypatch.undo()
        expire(database)
        other = Attempts(study, "b")
        taken = other.claim()
        assert taken is not None
        other.finish(taken, "complete", value=1.0, values=[1.0], artifacts=put(study, "0000/b-1", tmp_path / "b"))
        drop(self, generations)

    monkeypatch.setattr(type(store), "drop", late)
    slow.publish(claim, "0000/a-2")
    assert store.generations("0000") == {"0000/b-1"}


def test_a_taken_trial_leaves_its_former_worker_at_what_it_does_now(
    database: Database, make: Make, tmp_path: Path
) -> None:
    study = make(2)
    with Worker(DatabaseBroker(database, "a"), tmp_path, deaf):
        former = Attempts(study, "a")
        assert former.claim() is not None
        database.run(lambda s: s.execute(update(TrialRow).values(worker="a", lease_until=0.0)))
        second = Attempts(study, "a")
        database.run(lambda s: s.execute(update(TrialRow).values(lease_until=9e9)))
        assert (claim := second.claim()) is not None
        database.run(lambda s: s.execute(update(TrialRow).where(TrialRow.number == 0).values(lease_until=0.0)))
        assert Attempts(study, "b").claim() is not None
        row = database.read(lambda s: s.get_one(WorkerRow, "a"))
        assert (row.state, row.study, row.trial) == ("training", "s", claim.number)


def test_a_beat_without_a_load_leaves_the_cards_last_one(database: Database, make: Make, tmp_path: Path) -> None:
    with Worker(DatabaseBroker(database, "a"), tmp_path, deaf):
        attempts = Attempts(make(1), "a")
        claim = attempts.claim()
        assert claim is not None
        load: Load = {"use": 50.0, "memory_used": 1, "memory_total": 2}
        attempts.renew(claim, load)
        attempts.renew(claim)
        assert database.read(lambda s: s.get_one(WorkerRow, "a").gpu) == load


def test_a_study_that_is_finished_stays_so_after_its_deadline(database: Database, make: Make) -> None:
    study = make(1, deadline=2e9)
    run(study)
    database.run(lambda s: setattr(s.get_one(StudyRow, "s"), "rules", {**study.definition.rules(), "deadline": 1.0}))
    assert Attempts(study.refresh(), "a").claim() is None
    assert study.refresh().shown_state() == "finished"


def test_a_study_that_was_stopped_is_not_broken_by_its_last_trial(database: Database, make: Make) -> None:
    study = make(3, max_failures=1)
    attempts = Attempts(study, "a")
    claim = attempts.claim()
    assert claim is not None
    study.end("stopped", "by its user")
    assert attempts.fail(claim, "nan", "x") or attempts.fail(claim, "error", "x")
    assert (study.refresh().state, study.why) == ("stopped", "by its user")


def test_failures_before_a_study_was_resumed_count_no_more(database: Database, make: Make) -> None:
    study = make(5, max_failures=2)
    attempts = Attempts(study, "a")

    def failed() -> str:
        claim = attempts.claim()
        assert claim is not None
        attempts.fail(claim, "error", "x")
        return study.refresh().state

    assert [failed(), failed()] == ["active", "broken"]
    study.resume()
    assert [failed(), failed()] == ["active", "broken"]


def test_who_comes_back_under_its_name_gets_its_trial_at_once(database: Database, make: Make, tmp_path: Path) -> None:
    study = make(3)
    for number in range(2):  # two workers that will die
        with Worker(DatabaseBroker(database, f"w{number}"), tmp_path, deaf):
            claim = Attempts(study, f"w{number}").claim()
            assert claim is not None
            assert claim.number == number
    with Worker(DatabaseBroker(database, "w1"), tmp_path, deaf):
        claim = Attempts(study, "w1").claim()
        assert claim is not None
        assert (claim.number, claim.attempt) == (1, 1)
        fresh = Attempts(study, "w2").claim()
        assert fresh is not None
        assert fresh.number == 2  # w0's lease still holds


def test_what_a_worker_that_comes_back_had_held_ended_when_it_came(
    database: Database, make: Make, tmp_path: Path
) -> None:
    study = make(1)
    with Worker(DatabaseBroker(database, "w"), tmp_path, deaf):
        assert Attempts(study, "w").claim() is not None
    began = time.time()
    with Worker(DatabaseBroker(database, "w"), tmp_path, deaf):
        (attempt,) = study.trials.attempts(0)
        assert (attempt["state"], attempt["reason"]) == ("lost", "lost")
        assert began - 1.0 <= attempt["ended_at"] <= time.time() + 1.0
        trial = study.trials.get(0)
        assert (trial.state, trial.seconds) == (
            "waiting",
            pytest.approx(attempt["ended_at"] - attempt["started_at"], abs=0.01),
        )
        assert all(w["seen_at"] >= began - 1.0 for w in queries.workers(database))
        again = Attempts(study, "w").claim()
    assert again is not None
    assert again.attempt == 1


def test_a_dead_worker_of_this_machine_is_not_waited_for(database: Database, make: Make, tmp_path: Path) -> None:
    study = make(1)
    with Worker(DatabaseBroker(database, "w"), tmp_path, deaf):
        claim = Attempts(study, "w").claim()
        database.run(lambda s: s.execute(update(WorkerRow).values(process=f"{2**22 + 1}:1:{PLACE}")))
        assert [w["state"] for w in queries.workers(database)] == ["lost"]
        again = Attempts(study, "other").claim()
    assert claim is not None
    assert again is not None
    assert (again.number, again.attempt) == (0, 1)


def test_a_crash_before_the_end_counts_the_trial_once(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(2)

    def crash(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Attempts, "finish", crash)
        with pytest.raises(Died):
            run(study)
    expire(database)
    assert states(study) == ["waiting"]
    run(study)
    assert states(study) == ["complete"] * 2
    assert len(as_optuna(study).trials) == 2


def test_a_crash_in_the_middle_of_asking_leaves_no_hole(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    study = make(2)

    def crash(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(optuna.trial.Trial, "_suggest", crash)
        with pytest.raises(Died):
            run(study)
    assert study.trials.all() == []
    run(study)
    assert [(t.number, t.state) for t in study.trials.all()] == [(0, "complete"), (1, "complete")]


def test_a_worker_that_died_while_asking_holds_nobody_up_for_long(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(1)
    now = time.time()
    database.run(lambda s: s.execute(update(StudyRow).values(asker="gone", asker_until=now + 0.5)))
    assert Attempts(study, "w").claim() is not None
    assert time.time() > now + 0.5


def test_a_worker_that_waits_for_another_to_ask_can_be_stopped(database: Database, make: Make) -> None:
    study, over = make(1), threading.Event()
    database.run(lambda s: s.execute(update(StudyRow).values(asker="slow", asker_until=time.time() + 3600)))
    threading.Timer(0.2, over.set).start()
    assert Attempts(study, "w").claim(over) is None
    assert study.trials.all() == []


def test_a_worker_waits_for_another_to_ask_for_as_long_as_it_may(database: Database, make: Make) -> None:
    study = make(1)
    database.run(lambda s: s.execute(update(StudyRow).values(asker="slow", asker_until=time.time() + 3600)))
    with pytest.raises(Busy, match="study 's' has another worker that asks for a trial"):
        Attempts(study, "w").claim(patience=0.0)


def test_a_spent_study_is_looked_at_once(database: Database, make: Make) -> None:
    spent = make(1, name="spent")
    make(2, name="open")
    run(spent)
    broker = DatabaseBroker(database, "later")
    assert broker.active(()) == ["open", "spent"]
    assert broker.open("spent").claim() is None
    assert broker.active(()) == ["open"]
    spent.trials.enqueue({"r": 5.0})
    assert broker.active(()) == ["spent", "open"]


def test_a_store_out_of_this_machines_reach_is_its_own_fault(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(1)
    database.run(lambda s: s.execute(update(StudyRow).values(folder="gs://bucket/s")))
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    assert open_study(database, "s").name == "s"
    assert [each.name for each in queries.all_studies(database)] == ["s"]
    with pytest.raises(Unfit, match="study 's' cannot be trained here: artifacts 'gs://bucket/s' cannot be used"):
        DatabaseBroker(database, "w").open("s")
    assert study.refresh().state == "active"


def test_two_that_ask_at_once_after_a_lost_right_make_one_trial(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(1)
    slow, ask = Attempts(study, "slow"), attempts_module.History.ask

    def stolen(self: Any, number: int) -> Any:
        monkeypatch.setattr(attempts_module.History, "ask", ask)
        database.run(lambda s: s.execute(update(StudyRow).values(asker_until=1.0)))  # it stood still meanwhile
        assert Attempts(study, "quick").claim() is not None
        return ask(self, number)

    monkeypatch.setattr(attempts_module.History, "ask", stolen)
    assert slow.claim() is None
    assert [t.worker for t in study.trials.all()] == ["quick"]


def test_no_trial_begins_in_a_study_that_was_stopped_while_its_sampler_thought(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(2)
    attempts = Attempts(study, "a")
    proposal = attempts._proposal

    def slow() -> Any:
        found = proposal()
        open_study(database, "s").end("stopped", "enough")
        return found

    monkeypatch.setattr(attempts, "_proposal", slow)
    assert attempts.claim() is None
    assert study.trials.all() == []


def test_a_failure_that_is_told_again_takes_no_file_of_whoever_has_the_trial_now(
    database: Database, make: Make, tmp_path: Path
) -> None:
    study = make(1)
    first, second = Attempts(study, "a"), Attempts(study, "b")
    claim = first.claim()
    assert claim is not None
    left = put(study, "0000/a-1", tmp_path / "a")
    assert not first.fail(claim, "preempted", "told to stop", left)
    taken = second.claim()
    assert taken is not None
    newer = put(study, "0000/b-1", tmp_path / "b")
    second.publish(taken, newer)
    assert not first.fail(claim, "preempted", "told to stop", left)  # the answer to the first word was lost
    assert newer in study.files.store.generations("0000")


def test_a_worker_that_died_long_ago_is_forgotten(database: Database, make: Make, tmp_path: Path) -> None:
    make(1)
    facts = {"host": "there", "process": "1", "device": "cpu", "state": "training", "version": "1", "trials": 0}
    database.run(lambda s: s.add(WorkerRow(name="killed", started_at=1.0, seen_at=1.0, **facts)))
    DatabaseBroker(database, "new").enter("cpu", lambda _: None, lambda _: None)
    assert [worker["name"] for worker in queries.workers(database)] == ["new"]
