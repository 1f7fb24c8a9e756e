"""A study's life with a stub trainer: budgets, leases, faults, and what is left behind. Real processes, on SQLite and on a
real PostgreSQL."""

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import IntDistribution
from sqlalchemy import select, update
from stub_study import CORPUS, STUB, attempts_of, behave, deaf, expire, request_, run, starts
from stub_study import make as make_in

from tuner import attempts as attempts_module
from tuner import inventory, samplers, space, studies, trainer, warmstart
from tuner import worker as worker_module
from tuner.attempts import Attempts, Claim, LeaseLost
from tuner.curves import Curves
from tuner.database import Database
from tuner.errors import Fault, Interrupted, Usage
from tuner.metrics import METRICS
from tuner.process import HOST, process_mark
from tuner.pruners import PRUNERS, Curve
from tuner.specification import Rules
from tuner.studies import Study
from tuner.tables import EpochRow, StudyRow, TrialRow, WorkerRow
from tuner.trials import best_of
from tuner.worker import Slot, Worker

Make = Callable[..., Study]
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""for what no database decides"""


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.delenv("STUB", raising=False)
    monkeypatch.setattr(worker_module, "BEAT_SECONDS", 0.1)


@pytest.fixture
def make(database: Database, tmp_path: Path) -> Make:
    return lambda trials=3, name="s", **changes: make_in(database, tmp_path, trials, name, **changes)


def states(study: Study) -> list[str]:
    return [t.state for t in study.trials()]


def test_a_study_runs_to_its_budget_and_no_further(database: Database, make: Make) -> None:
    study = make()
    run(study)
    found = study.trials()
    assert [(t.number, t.state) for t in found] == [(0, "complete"), (1, "complete"), (2, "complete")]
    assert all(t.value == pytest.approx(10 + (float(t.params["r"]) - 6) ** 2) for t in found)
    assert study.best() == best_of(found) == min(found, key=lambda t: t.value or 0)
    assert study.counts() == {"complete": 3}
    run(study)
    assert len(study.trials()) == 3
    run(make(trials=5))
    assert states(study) == ["complete"] * 5
    epochs = database.read(lambda s: s.scalars(select(EpochRow)).all())
    assert {(e.trial, e.epoch, e.rate) for e in epochs} == {(n, 1, 2.0) for n in range(5)}


def test_workers_at_once_share_one_budget(database: Database, make: Make) -> None:
    study = make(trials=10)
    threads = [threading.Thread(target=run, args=(study, deaf, f"w{n}")) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(t.number, t.state) for t in study.trials()] == [(n, "complete") for n in range(10)]
    assert sorted(a.trial for a in attempts_of(database)) == list(range(10))
    assert {w["name"]: w["state"] for w in inventory.workers(database)} == {"w0": "gone", "w1": "gone", "w2": "gone"}
    assert sum(w["trials"] for w in inventory.workers(database)) == 10


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "tpe", "random", "qmc", "cmaes"])
def test_the_same_seed_gives_the_same_trials_with_every_sampler(make: Make, sampler: str) -> None:
    tried = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        study = make(6, name, sampler=sampler, seed=seed)
        run(study)
        tried.append([t.params for t in study.trials()])
    assert tried[0] == tried[1] != tried[2]
    assert len({json.dumps(p) for p in tried[0]}) == 6


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "qmc", "cmaes", "nsga2", "grid"])
def test_a_study_cut_in_two_asks_what_an_uncut_one_asks(make: Make, sampler: str) -> None:
    whole, cut = make(7, "whole", sampler=sampler), make(3, "cut", sampler=sampler)
    run(whole)
    run(cut)
    run(make(7, "cut", sampler=sampler))
    assert [t.params for t in cut.trials()] == [t.params for t in whole.trials()]


@pytest.mark.parametrize("reason", ["nan", "crash", "null", "garbage", "half"])
def test_a_trials_own_failure_is_recorded_and_the_study_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    behave(monkeypatch, t1=reason)
    study = make()
    run(study)
    assert states(study) == ["complete", "failed", "complete"]
    named = {"nan": "nan", "null": "nan"}.get(reason, "error")
    said = {
        "nan": "told to end with nan.",
        "null": "what the study minimises is not a finite number.",
        "crash": "ValueError: boom",
        "garbage": "ended with code 0",
        "half": "the trainer's result is not whole (KeyError('metrics'))",
    }
    assert study.trials()[1].reason == named
    assert said[reason] in str(study.trials()[1].message)
    log = study.run_folder(1, Path(study.store.address).parent / "cache") / "trainer.log"
    assert ("boom" in log.read_text()) == (reason == "crash")


def test_a_killed_trainer_is_tried_again_with_its_checkpoint(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
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
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, behaviour: str, reason: str, tries: int
) -> None:
    behave(monkeypatch, t0=behaviour)
    study = make(2)
    run(study)
    first, second = study.trials()
    assert (first.state, first.reason, second.state) == ("failed", reason, "complete")
    assert [a.trial for a in attempts_of(database)] == [0] * tries + [1]


@pytest.mark.parametrize("reason", ["disk", "input"])
def test_a_broken_set_up_stops_the_worker_and_keeps_the_trial(
    make: Make, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    behave(monkeypatch, t1=reason)
    study = make()
    with pytest.raises(Fault, match=f"trial 1 stopped: told to end with {reason}"):
        run(study)
    assert states(study) == ["complete", "waiting"]
    behave(monkeypatch)
    run(study)
    assert states(study) == ["complete"] * 3


def test_a_study_whose_trials_all_crash_stops_itself_and_says_why(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, all="crash")
    study = make(9)
    run(study)
    assert states(study) == ["failed"] * 3
    assert study.refresh().state == "broken"
    assert str(study.why).startswith("3 trials in a row failed, the last (trial 2) because ")
    assert "ValueError: boom" in str(study.why)
    run(study)
    assert len(study.trials()) == 3
    behave(monkeypatch, all="nan")  # a diverged trial is a result
    study.resume()
    run(study)
    assert states(study) == ["failed"] * 9
    assert study.refresh().state == "active"


def test_an_interrupted_worker_hands_its_trial_back(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t1="wait once")
    study = make()

    def interrupt(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(study, interrupt)
    assert states(study) == ["complete", "waiting"]
    run(study)
    assert states(study) == ["complete"] * 3
    assert [(a.trial, a.state, a.reason) for a in attempts_of(database)][1:3] == [
        (1, "interrupted", "user"),
        (1, "finished", None),
    ]
    assert starts(study, 1) == "xx"


@pytest.mark.parametrize("way", ["stop", "deadline"])
def test_a_stopped_study_hands_back_what_is_under_way_and_can_go_on(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    behave(monkeypatch, t1="wait once")
    study = make()

    def listen(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and claim.number == 1:
            if way == "stop":
                studies.open_study(database, "s").end("stopped", "stopped by the user")
            else:
                rules = {**vars(Rules()), "deadline": time.time() - 1}
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
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "STOP_SECONDS", 0.3)
    behave(monkeypatch, t0="hang")
    study = make(2, rules=Rules(timeout=1.0))
    run(study)
    assert [(t.state, t.reason) for t in study.trials()] == [("failed", "timeout"), ("complete", None)]
    assert study.trials()[0].message == "it took longer than its 1 s."


def test_a_trainer_without_a_word_counts_as_lost(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(worker_module, "SILENCE_SECONDS", 1.0)
    behave(monkeypatch, t0="hang")
    study = make(1)
    run(study)
    assert [(t.state, t.reason) for t in study.trials()] == [("failed", "lost")]
    assert study.trials()[0].message == "its trainer said nothing for 1 s."


def test_a_trainer_that_eats_memory_meets_its_limit(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, t0="eat memory")
    study = make(2)
    run(study, slot=Slot(memory=2**29))
    assert [(t.state, t.reason) for t in study.trials()] == [("failed", "oom"), ("complete", None)]


def test_a_dead_workers_trial_is_taken_over_and_a_live_ones_is_not(database: Database, make: Make) -> None:
    attempts = Attempts(make(2), "a")
    first, second = attempts.claim(), attempts.claim()
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert attempts.claim() is None  # the budget is spent, both are held
    database.run(lambda s: s.execute(update(TrialRow).where(TrialRow.number == 0).values(lease_until=1.0)))
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
    assert [(t.state, t.value) for t in attempts.study.trials()] == [("complete", 1.0), ("failed", None)]
    assert [a.state for a in attempts_of(database)] == ["finished", "failed"]


def test_a_lease_is_kept_while_the_trainer_is_silent(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(attempts_module, "LEASE_SECONDS", 1.5)
    behave(monkeypatch, t0="sleep 3")
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


def test_who_comes_back_under_its_name_gets_its_trial_at_once(database: Database, make: Make, tmp_path: Path) -> None:
    study = make(3)
    for number in range(2):  # two workers that will die
        with Worker(database, f"w{number}", tmp_path, deaf):
            claim = Attempts(study, f"w{number}").claim()
            assert claim is not None
            assert claim.number == number
    with Worker(database, "w1", tmp_path, deaf):
        claim = Attempts(study, "w1").claim()
        assert claim is not None
        assert (claim.number, claim.attempt) == (1, 1)
        fresh = Attempts(study, "w2").claim()
        assert fresh is not None
        assert fresh.number == 2  # w0's lease still holds


def test_a_name_in_use_is_refused(database: Database, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with Worker(database, "w", tmp_path, deaf):
            mark = process_mark(process.pid)
            database.run(lambda s: s.execute(update(WorkerRow).values(process=mark)))
            with pytest.raises(Usage, match=f"worker 'w' is at work on {HOST} .*another --name"):
                Worker(database, "w", tmp_path, deaf).__enter__()
            database.run(lambda s: s.execute(update(WorkerRow).values(host="elsewhere")))
            with pytest.raises(Usage, match="worker 'w' is at work on elsewhere"):
                Worker(database, "w", tmp_path, deaf).__enter__()
            database.run(lambda s: s.execute(update(WorkerRow).values(seen_at=1.0)))
            Worker(database, "w", tmp_path, deaf).__enter__()  # without a word for long
        process.communicate(b"\n")


def test_a_process_number_used_again_is_another_process() -> None:
    mark = process_mark(os.getpid())
    assert worker_module.is_alive(mark)
    assert not worker_module.is_alive(f"{os.getpid()}:1")
    assert not worker_module.is_alive(f"{2**22 + 1}:1")


def test_a_dead_worker_of_this_machine_is_not_waited_for(database: Database, make: Make, tmp_path: Path) -> None:
    study = make(1)
    with Worker(database, "w", tmp_path, deaf):
        claim = Attempts(study, "w").claim()
        database.run(lambda s: s.execute(update(WorkerRow).values(process=f"{2**22 + 1}:1")))
        assert [w["state"] for w in inventory.workers(database)] == ["lost"]
        again = Attempts(study, "other").claim()
    assert claim is not None
    assert again is not None
    assert (again.number, again.attempt) == (0, 1)


def test_what_a_killed_worker_of_this_machine_left_in_its_folder_is_swept(database: Database, tmp_path: Path) -> None:
    live, dead = process_mark(os.getpid()), f"{2**22 + 1}:1"
    for name, owner in (("dead", f"{HOST} {dead}"), ("live", f"{HOST} {live}"), ("elsewhere", f"other {dead}")):
        (tmp_path / f"s-0000-{name}").mkdir()
        (tmp_path / f"s-0000-{name}" / "owner").write_text(owner)
    with Worker(database, "w", tmp_path, deaf):
        assert {f.name for f in tmp_path.iterdir() if f.name.startswith("s-")} == {"s-0000-live", "s-0000-elsewhere"}


def test_a_waiting_worker_does_not_take_a_new_study_for_a_deleted_one_of_its_name(
    database: Database, make: Make, tmp_path: Path
) -> None:
    with Worker(database, "w", tmp_path / "work", deaf) as worker:
        for seed, trials in ((0, 2), (1, 3)):
            study = make(trials, seed=seed, sampler="gp-map")
            worker.serve(wait=False)
            assert states(study) == ["complete"] * trials
            asked = [t.params for t in study.trials()]
            study.delete()
    fresh = make(3, "fresh", seed=1, sampler="gp-map")
    run(fresh)
    assert [t.params for t in fresh.trials()] == asked


def test_runs_that_cannot_be_written_are_refused(database: Database, make: Make) -> None:
    with pytest.raises(Fault, match="--runs /proc/no cannot be written"):
        studies.go_on(database, "s", request_(), CORPUS, Path("/proc/no"))


def test_a_crash_before_the_end_counts_the_trial_once(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(2)

    def crash(*_: object, **__: object) -> None:
        raise MemoryError("the worker dies here")

    with monkeypatch.context() as patched:
        patched.setattr(Attempts, "finish", crash)
        with pytest.raises(MemoryError):
            run(study)
    expire(database)
    assert states(study) == ["waiting"]
    run(study)
    assert states(study) == ["complete"] * 2
    assert len(study.optuna().trials) == 2


def test_a_dead_workers_trial_goes_on_from_what_it_published_last(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PUBLISH_SECONDS", 0.0)
    study = make(1)

    def die(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        if event == "epoch":
            raise MemoryError("the worker dies here")

    with pytest.raises(MemoryError):
        run(study, die)
    expire(database)
    run(study)
    assert (states(study), starts(study, 0)) == (["complete"], "xx")


def test_a_damaged_checkpoint_costs_the_progress_and_no_more(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0="wait once")
    study, heard = make(1), []

    def interrupt(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        if event == "epoch":
            raise Interrupted

    with pytest.raises(Interrupted):
        run(study, interrupt)
    (file,) = Path(study.store.address).glob("0000/*/latest.safetensors")
    file.unlink()
    file.write_text("rotten")
    behave(monkeypatch)
    run(study, lambda event, claim, facts: heard.append((event, facts.get("message"))))
    assert (states(study), starts(study, 0)) == (["complete"], "x")
    (warned,) = [message for event, message in heard if event == "warning"]
    assert "is not what was published: it is trained from its beginning" in str(warned)


def test_optunas_record_catches_up_after_a_crash(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(3)
    with monkeypatch.context() as patched:
        patched.setattr(
            attempts_module, "record", lambda *_, **__: None
        )  # as if each worker had died before it came to that
        run(study)
    import optuna

    assert optuna.load_study(study_name="s", storage=study.database.storage).trials == []
    found = study.optuna().trials
    assert [(t.number, t.value, t.params) for t in found] == [(t.number, t.value, t.params) for t in study.trials()]
    assert [t.user_attrs["metrics"] for t in found] == [t.metrics for t in study.trials()]


def test_a_record_that_has_gone_astray_is_made_anew(make: Make) -> None:
    study = make(2)
    run(study)
    import optuna

    optuna.load_study(
        study_name="s", storage=study.database.storage
    ).ask()  # as a commit whose word was lost would leave
    run(make(4))
    found = study.optuna().trials
    assert [(t.number, t.state.name, t.params) for t in found] == [
        (t.number, "COMPLETE", t.params) for t in study.trials()
    ]


def test_a_crash_in_the_middle_of_asking_leaves_no_hole(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    study = make(2)

    def crash(*_: object) -> None:
        raise MemoryError("the worker dies here")

    with monkeypatch.context() as patched:
        patched.setattr(optuna.trial.Trial, "_suggest", crash)
        with pytest.raises(MemoryError):
            run(study)
    assert study.trials() == []
    run(study)
    assert [(t.number, t.state) for t in study.trials()] == [(0, "complete"), (1, "complete")]


def test_a_worker_that_died_while_asking_holds_nobody_up_for_long(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts_module, "ASK_SECONDS", 0.2)
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
    assert study.trials() == []


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
    assert [t.worker for t in study.trials()] == ["quick"]


def test_another_study_of_the_same_name_is_refused_and_the_same_goes_on(make: Make) -> None:
    make()
    for changes, key in (({"seed": 1}, "seed"), ({"sampler": "tpe"}, "sampler"), ({"fixed": {"r": 5}}, "fixed")):
        with pytest.raises(Usage, match=f"study 's' exists with another {key}"):
            make(**changes)
    assert make(trials=9).budget == 9
    assert make(trials=2).budget == 9  # another worker may be at it


def test_somebody_elses_optuna_study_is_not_taken_over(database: Database, make: Make) -> None:
    import optuna

    optuna.create_study(study_name="s", storage=database.storage).ask()
    with pytest.raises(Usage, match="is not this program's"):
        make()


def test_an_unknown_study_is_named_with_those_there_are(database: Database, make: Make) -> None:
    with pytest.raises(Usage, match="study 'x' is not in .*: it holds none"):
        studies.open_study(database, "x")
    make()
    with pytest.raises(Usage, match="it holds s"):
        studies.open_study(database, "x")


def test_a_study_is_deleted_with_all_it_left(database: Database, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    study, other = make(2), make(1, "other")
    run(study)
    run(other)
    claim = Attempts(make(3), "w").claim()
    assert claim is not None
    with pytest.raises(Usage, match=r"study 's' has trials under way \(2\): stop it first"):
        study.delete()
    expire(database)
    with monkeypatch.context() as patched:  # cut short
        patched.setattr(optuna, "delete_study", lambda **_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            study.delete()
    with pytest.raises(Usage, match="study 's' is being deleted: finish that with `tuner delete s`"):
        make(9)
    study.delete()
    assert not Path(study.store.address).exists()
    assert [s["study"] for s in inventory.overview(database)] == ["other"]
    assert [s.study_name for s in optuna.get_all_study_summaries(database.storage)] == ["other"]
    assert {a.study for a in attempts_of(database)} == {"other"}
    run(make(1))


def test_plain_study_has_the_promised_keys(make: Make) -> None:
    study = make(2)
    run(study)
    plain = json.loads(json.dumps(study.plain(), allow_nan=False))
    assert {"study", "technique", "corpus", "sampler", "trials", "best", "state", "rules"} <= set(plain)
    assert {"number", "state", "params", "value", "metrics", "seconds", "reason"} <= set(plain["trials"][0])
    assert set(METRICS) <= set(plain["best"]["metrics"])


def test_optunas_own_tools_open_the_study(database: Database, make: Make) -> None:
    import optuna

    run(make(2))
    plain = optuna.load_study(study_name="s", storage=database.storage)
    assert len(plain.trials) == 2
    assert plain.best_value == studies.open_study(database, "s").best().value  # type: ignore[union-attr]


def test_a_least_rate_is_added_to_the_value_and_not_to_the_nll(make: Make) -> None:
    study = make(2, min_rate=2.0)  # the stub's rate is .05
    run(study)
    for trial in study.trials():
        assert trial.metrics is not None
        assert trial.value == pytest.approx(trial.metrics["nll"] + 1.95)


def test_a_pruned_trial_is_over_and_its_trainer_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, t4="poor")
    study = make(6, pruner="hyperband")
    heard: list[str] = []
    monkeypatch.setitem(PRUNERS, "hyperband", lambda mine, _: mine.epochs[-1][0] == 2)
    run(study, lambda event, claim, facts: heard.append(event))
    assert states(study) == ["complete"] * 4 + ["pruned", "complete"]
    pruned = study.trials()[4]
    assert (pruned.reason, pruned.message) == ("pruned", "by hyperband, after epoch 2 of 9.")
    assert heard.count("pruned") == 1


@pytest.mark.parametrize(
    ("objective", "values"), [("nll", [101.5]), ("melbo", [91.5]), ("nll,rate", [101.5, 2.5])], ids=str
)
def test_a_trial_is_judged_by_its_studys_objective(make: Make, objective: str, values: list[float]) -> None:
    study = make(1, objective=objective, min_rate=4.0)
    found = study.outcome({"nll": 100.0, "melbo": 90.0, "rate": 2.5})
    assert (found["value"], found["values"]) == (values[0], values)
    assert math.isnan(study.outcome({"nll": None, "melbo": None, "rate": 2.5})["value"])


def test_curves_follow_the_epochs_reported(make: Make) -> None:
    study = make(3)
    following = Curves(study)
    assert following.follow() == []
    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None
    figures = {"distortion": 1.0, "rate": 2.0, "neg_elbo": 3.0}
    attempts.record(claim, [{"epoch": 1, **figures}, {"epoch": 2, "rate": None, "neg_elbo": None}])
    assert following.follow() == [Curve(0, False, [(1, 3.0, 2.0)])]
    attempts.record(claim, [{"epoch": 1, **figures, "neg_elbo": 2.5}, {"epoch": 3, **figures}])  # the first one again
    assert following.follow() == [Curve(0, False, [(1, 2.5, 2.0), (3, 3.0, 2.0)])]
    attempts.finish(claim, "complete", value=1.0, values=[1.0])
    run(study)
    rest = [Curve(n, True, [(1, 3.0, 2.0)]) for n in (1, 2)]
    assert following.follow() == [Curve(0, True, [(1, 2.5, 2.0), (3, 3.0, 2.0)]), *rest]
    assert following.follow() == Curves(study).follow()


def test_a_study_ends_when_its_sampler_expects_no_gain_and_says_so(make: Make) -> None:
    facts = {"sampler": "gp-map", "sampler_options": {"n_startup": 2}}
    study = make(12, stop_when=1e6, **facts)
    run(study)
    assert len(study.trials()) == 5  # the start, and three proposals from which nothing much is expected
    assert study.refresh().state == "satisfied"
    assert "expected to gain less than 1e+06 nats" in str(study.why)
    assert make(12, stop_when=1e6, **facts).state == "satisfied"
    again = make(7, stop_when=0.0, **facts)
    assert again.state == "active"
    run(again)
    assert len(again.trials()) == 12
    never = make(6, "never", stop_when=1e-300, **facts)
    run(never)
    assert len(never.trials()) == 6


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "gp-map", "nsga2", "tpe"])
def test_two_objectives_are_told_to_optuna_and_shown_as_a_front(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    import optuna

    behave(monkeypatch, all="trade")  # rate = r, NLL rises with it
    options = {"n_startup": 3, "burn_in": 20, "samples": 3} if sampler == "gp-mcmc" else {}
    study = make(6, objective="nll,rate", sampler=sampler, sampler_options=options)
    run(study)
    trials = study.trials()
    assert states(study) == ["complete"] * 6
    assert set(study.front()) == set(range(6))  # each buys its rate
    plain = optuna.load_study(study_name="s", storage=database.storage)
    assert [d.name for d in plain.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert {t.number for t in plain.best_trials} == set(study.plain()["front"])
    assert study.plain()["best"]["value"] == min(t.value for t in trials if t.value is not None)
    with pytest.raises(Usage, match="exists with another objective"):
        make(6, sampler=sampler, sampler_options=options)


def test_the_front_leaves_out_what_another_trial_beats_in_both(make: Make) -> None:
    study = make(5, objective="nll,rate")  # the stub's rate is always the same
    run(study)
    best = study.best()
    assert best is not None
    assert study.front() == [best.number]


def distributions(technique: str = "sfb", **fixed: float) -> dict[str, Any]:
    return {p.name: p.distribution() for p in space.load(technique).searched(fixed)}


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "gp-map"])
def test_a_study_begins_with_anothers_trials_as_they_were_then(database: Database, make: Make, sampler: str) -> None:
    first = make(6, "first", sampler="gp-map")
    run(first)
    taken = warmstart.observations(database, "first", distributions())
    assert [o["params"] for o in taken["observations"]] == [t.params for t in first.trials()]
    warm = {"sampler": sampler, "seed": 7, "warm_start": taken}
    second = make(3, "second", **warm)
    run(second)
    asked = [t.system_attrs["gp:diagnostics"]["observations"] for t in second.optuna().get_trials()]
    assert asked == [6, 7, 8]  # no start of its own
    run(make(8, "first", sampler="gp-map"))
    later = warmstart.observations(database, "first", distributions())
    assert len(later["observations"]) == 8
    run(make(5, "second", **{**warm, "warm_start": later}))
    assert len(studies.open_study(database, "second").specification["warm_start"]["observations"]) == 6
    whole = make(5, "whole", **warm)
    run(whole)
    assert [t.params for t in second.trials()] == [t.params for t in whole.trials()]
    with pytest.raises(Usage, match=r"exists with another warm_start \(6 trials of first, not None\)"):
        make(5, "second", **{**warm, "warm_start": None})


@SQLITE
def test_what_cannot_be_begun_with_is_said(database: Database, make: Make) -> None:
    run(make(1, "first"))
    make(1, "empty")
    make(1, "two", objective="nll,rate")
    wanted = distributions()
    name = next(iter(wanted))
    for study, domains, message in (
        ("none", wanted, "study 'none' is not in"),
        ("empty", wanted, "--warm-start 'empty' has no finished trial in this study's space"),
        ("two", wanted, "--warm-start 'two' is judged by nll,rate, not by nll"),
        (
            "first",
            distributions("mdr"),
            "--warm-start 'first' tunes alpha, epsilon, gamma, r, not r: name a study over the",
        ),
        ("first", {**wanted, name: IntDistribution(0, 3)}, f"--warm-start 'first' has {name} as FloatDistribution"),
    ):
        with pytest.raises(Usage, match=re.escape(message)):
            warmstart.observations(database, study, domains)
    taken = warmstart.observations(database, "first", wanted)
    with pytest.raises(
        Usage, match="sampler 'tpe' knows the trials of its own study alone: --warm-start needs gp-mcmc"
    ):
        samplers.create("tpe", {}, 0, 0, wanted, taken["observations"])
    with pytest.raises(Usage, match="has no option 'earlier'"):
        samplers.create("gp-map", {"earlier": 1}, 0, 0, wanted)
