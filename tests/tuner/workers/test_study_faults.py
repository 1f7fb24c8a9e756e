"""A study's fault is not its workers': it waits, is broken at last and says why, and all other studies are served meanwhile."""

import errno
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import RandomSampler
from shell import wait_for
from sqlalchemy import event, update
from stub_study import SQLITE, Make, attempts_of, behave, deaf, starts, states

from tuner.errors import Fault
from tuner.storage import database as database_module
from tuner.storage.artifacts import Store
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow
from tuner.studies import endings, faults
from tuner.studies.study import Study, open_study
from tuner.workers import broker, places, worker
from tuner.workers import leases as attempts
from tuner.workers.broker import DatabaseBroker
from tuner.workers.leases import Attempts
from tuner.workers.worker import Worker

pytestmark = [
    pytest.mark.usefixtures("stub", "quick"),
    # A thread that is left may hear of it in a weak reference's callback, which can raise nothing; it is told again.
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]


class Raising(RandomSampler):
    """A user's own, with a mistake in it."""

    def sample_independent(self, *_: Any) -> Any:
        raise ZeroDivisionError("division by zero")


class Leaving(RandomSampler):
    """One that would end the whole program."""

    def sample_independent(self, *_: Any) -> Any:
        raise SystemExit(3)


class Endless(RandomSampler):
    """One that never comes to a proposal."""

    def sample_independent(self, *_: Any) -> Any:
        while True:
            pass


class Deaf(RandomSampler):
    """One that hangs where nothing reaches it."""

    def sample_independent(self, *_: Any) -> Any:
        threading.Event().wait()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(faults, "LONGEST_SECONDS", 0.05)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.01)


@pytest.fixture
def serve(database: Database, tmp_path: Path) -> Callable[[], list[str]]:
    """Serves all studies until nothing is left to do; what the worker warned of."""
    said: list[str] = []

    def until_idle() -> list[str]:
        said.clear()
        with Worker(DatabaseBroker(database, "w"), tmp_path / "runs" / "work", deaf, warn=said.append) as one:
            one.serve(wait=False)
        return said

    return until_idle


def in_the_way(study: Study) -> Path:
    """Puts a file where the study's store is."""
    store = Path(study.files.store.address)
    store.rename(store.with_name("aside"))
    store.write_text("no folder")
    return store


def put_back(store: Path) -> None:
    store.unlink()
    store.with_name("aside").rename(store)


def rename_space(row: StudyRow) -> None:
    row.specification = {**row.specification, "space": {"nothing": "known"}}


@SQLITE
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sampler": "tpe", "sampler_options": {"n_ei_candidates": -5}}, "sampler 'tpe' failed"),
        ({"sampler": "gp", "sampler_options": {"n_startup_trials": "x"}}, "sampler 'gp' failed"),
        ({"sampler": "test_study_faults:Raising"}, r"sampler 'test_study_faults:Raising' failed \(ZeroDivisionError: "),
        ({"sampler": "test_study_faults:Leaving"}, r"sampler 'test_study_faults:Leaving' failed \(SystemExit: 3"),
        ({"sampler": "nowhere:Gone"}, "cannot be loaded"),
    ],
)
def test_a_broken_sampler_breaks_its_study_alone(
    make: Make, serve: Callable[[], list[str]], changes: dict[str, Any], why: str
) -> None:
    bad, good = make(8, "bad", **changes), make(3, "good")
    said = serve()
    assert states(good) == ["complete"] * 3
    assert bad.refresh().state == "broken"
    assert bad.why is not None
    assert bad.why.startswith(f"{faults.LIMIT} faults in a row, the last: sampler")
    assert re.search(why, bad.why)
    assert len(said) == faults.LIMIT
    assert all(sentence.startswith("study bad: sampler ") for sentence in said)


def thinking() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "thinking"]


@SQLITE
@pytest.mark.parametrize(("sampler", "left"), [("Endless", 0), ("Deaf", 1)])
def test_a_sampler_that_thinks_for_ever_breaks_its_study_alone(
    make: Make, serve: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, sampler: str, left: int
) -> None:
    monkeypatch.setattr(attempts, "THINK_SECONDS", 0.5)
    before = len(thinking())
    bad = make(8, "bad", sampler=f"test_study_faults:{sampler}")
    said = serve()
    assert bad.refresh().state == "broken"
    assert f"sampler 'test_study_faults:{sampler}' failed (it " in str(bad.why)
    assert "has thought for longer than 0.5 s" in said[0]
    assert len(said) == faults.LIMIT
    monkeypatch.setattr(attempts, "THINK_SECONDS", 60.0)
    good = make(3, "good")
    serve()
    assert states(good) == ["complete"] * 3
    wait_for(lambda: len(thinking()) <= before + left)


@SQLITE
def test_a_worker_can_be_stopped_while_a_sampler_thinks(
    database: Database, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, begun = make(1, sampler="test_study_faults:Endless"), threading.Event()
    propose = Attempts._proposal

    def watched(mine: Attempts) -> Any:
        begun.set()
        return propose(mine)

    monkeypatch.setattr(Attempts, "_proposal", watched)
    with Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf) as one:
        thread = threading.Thread(target=one.serve)
        thread.start()
        assert begun.wait(60.0)
        one.stop()
        thread.join(60.0)
        assert not thread.is_alive()
    assert (study.refresh().state, study.why, study.trials.all()) == ("active", None, [])


@SQLITE
def test_a_store_out_of_reach_is_noticed_before_the_training_and_nothing_is_lost(
    database: Database, make: Make, serve: Callable[[], list[str]]
) -> None:
    bad, good = make(2, "bad"), make(2, "good")
    store = in_the_way(bad)
    heard: list[str] = []
    with Worker(
        DatabaseBroker(database, "w"),
        store.parent / "work",
        lambda event, claim, _: heard.append(f"{claim.study} {event}"),
    ) as one:
        one.serve(wait=False)
    assert "bad started" not in heard
    assert states(good) == ["complete"] * 2
    assert states(bad) == ["waiting"]
    assert bad.refresh().state == "broken"
    assert f"its files cannot be written to {store}" in str(bad.why)
    put_back(store)
    bad.resume()
    serve()
    assert states(bad) == ["complete"] * 2
    assert (bad.refresh().state, bad.why) == ("active", None)


@SQLITE
def test_a_study_that_waits_says_why_and_is_well_again_by_itself(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = make(2)
    store, seen = in_the_way(study), list[tuple[str, str | None]]()

    def warn(sentence: str) -> None:
        seen.append((study.refresh().state, study.why))
        if len(seen) == 3:
            put_back(store)

    with Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf, warn=warn) as one:
        one.run(study)
    assert [state for state, _ in seen] == ["active"] * 3
    assert str(seen[2][1]).startswith(f"waiting after a fault (3 in a row, {faults.LIMIT} break it): its files cannot")
    assert states(study) == ["complete"] * 2
    assert (study.refresh().state, study.why) == ("active", None)


@SQLITE
def test_a_result_that_cannot_be_published_is_kept_and_not_trained_again(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study, publish = make(1), Store.publish

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "publish", full)

    def warn(_: str) -> None:
        monkeypatch.setattr(Store, "publish", publish)

    with Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf, warn=warn) as one:
        one.run(study)
    assert states(study) == ["complete"]
    assert starts(study, 0) == "x"
    assert list((tmp_path / "work").iterdir()) == []


def test_a_result_outlives_its_worker_when_the_database_is_gone(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = make(1)

    def gone(*_: Any, **__: Any) -> None:
        raise Fault("the database is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Attempts, "finish", gone)
        patched.setattr(Attempts, "fail", gone)
        patched.setattr(Worker, "_check", gone)
        with (
            pytest.raises(Fault, match="is gone"),
            Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf) as one,
        ):
            one.run(study)
    assert len(list((tmp_path / "work").glob("s-0000-*/result.json"))) == 1
    database.run(lambda s: s.execute(update(TrialRow).values(lease_until=0.0)))
    with Worker(DatabaseBroker(database, "another"), tmp_path / "work", deaf) as one:
        one.run(study)
    assert (states(study), starts(study, 0)) == (["complete"], "x")
    assert list((tmp_path / "work").iterdir()) == []


@SQLITE
def test_a_kept_result_whose_trial_is_over_is_swept(database: Database, make: Make, tmp_path: Path) -> None:
    study = make(1)
    claim = Attempts(study, "w").claim()
    assert claim is not None
    place = places.Places(tmp_path / "work").take(places.Owner("", "s", study.created_at, claim.number), claim.token)
    (place.folder / places.RESULT).write_text("{}")
    with Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf):
        assert place.folder.exists()
    with Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf) as one:
        study.delete()
        one.places.sweep(one.broker.address, one.broker.is_awaited)
        assert not place.folder.exists()


@SQLITE
@pytest.mark.parametrize("reason", ["disk", "input"])
def test_a_machine_that_cannot_train_a_study_goes_on_with_others(
    make: Make, monkeypatch: pytest.MonkeyPatch, serve: Callable[[], list[str]], reason: str
) -> None:
    behave(monkeypatch, t1=reason)
    bad, good = make(2, "bad"), make(1, "good")
    serve()
    assert (states(bad), states(good)) == (["complete", "waiting"], ["complete"])
    assert bad.refresh().state == "broken"
    assert f"trial 1 stopped: told to end with {reason}." in str(bad.why)
    behave(monkeypatch)
    bad.resume()
    serve()
    assert states(bad) == ["complete"] * 2


def test_a_record_that_cannot_be_read_breaks_its_study_alone(
    database: Database, make: Make, serve: Callable[[], list[str]]
) -> None:
    bad, good = make(2, "bad"), make(2, "good")
    database.run(lambda session: rename_space(session.get_one(StudyRow, "bad")))
    serve()
    assert states(good) == ["complete"] * 2
    state, why = database.read(lambda s: (s.get_one(StudyRow, "bad").state, s.get_one(StudyRow, "bad").why))
    assert state == "broken"
    assert "faults in a row, the last: " in str(why)
    assert bad.name == "bad"


def test_a_study_deleted_while_it_is_looked_at_is_no_fault(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, serve: Callable[[], list[str]]
) -> None:
    other = make(1, "other")
    for step in ("open", "claim", "ask"):
        doomed = make(1, "doomed", seed=1)

        def deleting(call: Callable[..., Any], study: Study = doomed) -> Callable[..., Any]:
            def deleted(*arguments: Any) -> Any:
                whose = [arguments[-1], arguments[0], getattr(arguments[0], "study", None)]
                if "doomed" in [getattr(one, "name", one) for one in whose]:
                    study.delete()
                return call(*arguments)

            return deleted

        with monkeypatch.context() as patched:
            if step == "open":
                patched.setattr(broker, "open_study", deleting(open_study))
            elif step == "claim":
                patched.setattr(Attempts, "_take", deleting(Attempts._take))
            else:
                patched.setattr(endings, "of", deleting(endings.of))
            assert serve() == []
    assert states(other) == ["complete"]


@SQLITE
def test_a_name_longer_than_a_file_may_have_is_served(
    database: Database, make: Make, serve: Callable[[], list[str]]
) -> None:
    study = make(1)
    longer = "ж" * 99
    database.run(lambda s: s.execute(update(StudyRow).where(StudyRow.name == "s").values(name=longer)))
    assert serve() == []
    assert states(open_study(database, longer)) == ["complete"]
    assert study.name == "s"


@SQLITE
def test_a_worker_whose_own_folder_is_gone_ends_and_blames_no_study(
    database: Database, make: Make, tmp_path: Path
) -> None:
    study = make(2)
    (tmp_path / "work").write_text("no folder")
    with pytest.raises(Fault, match=r"the folder .*work of this worker cannot be written"):  # noqa: SIM117
        with Worker(DatabaseBroker(database, "w"), tmp_path / "work", deaf) as one:
            one.serve()
    assert (study.refresh().state, study.why) == ("active", None)
    assert states(study) == ["waiting"]


def test_faults_of_many_workers_at_once_are_one(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "FIRST_SECONDS", 1000.0)
    monkeypatch.setattr(faults, "LONGEST_SECONDS", 1000.0)
    study = make(1)
    for _ in range(2 * faults.LIMIT):
        assert faults.tell(database, "s", "its store is away.")
    assert study.refresh().state == "active"
    assert str(study.why).startswith("waiting after a fault (1 in a row")


def test_one_machines_fault_does_not_break_a_study_that_another_trains(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "FIRST_SECONDS", 0.0)
    study = make(1)
    attempts = Attempts(study, "far")
    claim = attempts.claim()
    assert claim is not None
    for _ in range(2 * faults.LIMIT):
        faults.tell(database, "s", "the corpus is not here.")
    assert study.refresh().state == "active"
    attempts.finish(claim, "complete", value=1.0, values=[1.0])
    assert study.refresh().why is None
    assert not faults.tell(database, "nothing", "of that name.")


@pytest.mark.parametrize("limit", [5, 0])
def test_a_trial_waits_longer_for_each_worker_that_it_loses_and_fails_after_many(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(faults, "FIRST_SECONDS", 50.0)
    monkeypatch.setattr(faults, "LONGEST_SECONDS", 400.0)
    monkeypatch.setattr(attempts, "RENEWAL_SECONDS", 0.0)  # a server that answers late would spare the leases
    study, now = make(1, max_losses=limit), [time.time()]
    monkeypatch.setattr(database, "clock", lambda _: now[0])
    waits: list[int] = []
    for _ in range(2 * (limit or 15)):
        if Attempts(study, "w").claim() is None:
            if states(study) == ["failed"]:
                break
            until = database.read(lambda s: s.get_one(TrialRow, ("s", 0)).wait_until)
            waits.append(round(until - now[0]))
            now[0] = until
        else:
            now[0] += 61.0  # its lease runs out
    assert waits == [50, 100, 200] if limit else waits[:6] == [50, 100, 200, 400, 400, 400]
    assert states(study) == ["failed" if limit else "waiting"]
    if limit:
        assert len(attempts_of(database)) == limit
        assert (
            study.trials.all()[0].message == "5 workers in a row were lost with it before a new epoch (max_losses = 5)."
        )


def test_after_the_database_was_away_those_who_live_come_first(database: Database, make: Make) -> None:
    study = make(2)
    held = Attempts(study, "a").claim()
    assert held is not None
    database.run(lambda s: s.execute(update(TrialRow).values(lease_until=2.0)))  # it could not be renewed
    database.back_at = time.monotonic()
    other = Attempts(study, "b").claim()
    assert other is not None
    assert other.number == 1
    Attempts(study, "a").finish(held, "complete", value=1.0, values=[1.0])
    assert states(study) == ["complete", "running"]


@SQLITE
def test_results_that_a_lock_keeps_from_being_told_are_told_later_and_once(
    url: str, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A backup holds SQLite's file for longer than a lease, as two workers finish."""
    refused, has_gone = Counter[int](), database_module._has_gone

    def counted(error: BaseException) -> bool:
        refused[threading.get_ident()] += 1
        return has_gone(error)

    monkeypatch.setattr(database_module, "_has_gone", counted)
    monkeypatch.setattr(database_module, "RETRY_LIMIT", 0.2)
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(database_module, "SLOW_SECONDS", 0.5)
    behave(monkeypatch, all="sleep 0.5")
    study = make(2)
    database = Database(url, patience=60.0)
    under_way = threading.Semaphore(0)
    backup = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60.0, isolation_level=None)

    def listen(event: str, *_: Any) -> None:
        if event == "epoch":
            under_way.release()

    def work(name: str) -> None:
        with Worker(DatabaseBroker(database, name), tmp_path / "work", listen) as one:
            one.run(open_study(database, "s"))

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert under_way.acquire(timeout=60.0)
    backup.execute("BEGIN IMMEDIATE")
    for thread in threads:  # until each has waited for longer than is slow
        wait_for(lambda: refused[thread.ident or 0] > 8)  # noqa: B023 - done before the next
    backup.execute("UPDATE tuner_trials SET lease_until = ?", (time.time() - 1.0,))  # as if it had taken a minute
    backup.execute("COMMIT")
    for thread in threads:
        thread.join(60.0)
    assert states(study) == ["complete"] * 2
    assert [(a.trial, a.state) for a in attempts_of(database)] == [(0, "finished"), (1, "finished")]
    backup.close()
    database.close()


@SQLITE
@pytest.mark.parametrize("busy", [False, True])
def test_a_database_whose_file_is_deleted_ends_its_workers_and_says_so(
    url: str, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, busy: bool
) -> None:
    file = Path(url.removeprefix("sqlite:///"))
    behave(monkeypatch, all="wait")
    make(1 if busy else 0)
    database = Database(url, patience=60.0)

    def listen(event: str, *_: Any) -> None:
        if event == "epoch":
            file.unlink()

    with pytest.raises(Fault, match=r"the file of database .* was deleted while it was in use: put it back"):  # noqa: SIM117
        with Worker(DatabaseBroker(database, "w"), tmp_path / "work", listen) as one:
            if not busy:
                file.rename(tmp_path / "elsewhere")
            one.serve()
    database.close()
    if not busy:
        file.write_bytes((tmp_path / "elsewhere").read_bytes())
        with pytest.raises(Fault, match="was replaced by another one"):
            database.read(lambda s: s.get(StudyRow, "s"))
        file.unlink()
        (tmp_path / "elsewhere").rename(file)
        assert open_study(database, "s").name == "s"


@SQLITE
def test_a_full_database_is_waited_for(url: str, make: Make) -> None:
    make(1)
    database = Database(url, patience=60.0)

    def narrow(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    tries: list[int] = []

    def write(session: Any) -> None:
        tries.append(len(tries))
        if len(tries) == 3:  # somebody has made room
            event.remove(database.engine, "connect", narrow)
            database.engine.dispose()
        session.execute(update(StudyRow).values(why="x" * 100_000))

    event.listen(database.engine, "connect", narrow)
    database.engine.dispose()
    database.run(write)
    assert len(tries) == 3
    assert len(str(open_study(database, "s").why)) == 100_000
    database.close()


def test_a_fault_that_lasts_for_days_is_waited_for_no_longer() -> None:
    assert faults.pause(10**6) == faults.LONGEST_SECONDS
