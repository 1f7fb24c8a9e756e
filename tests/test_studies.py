"""A study's life with a stub trainer: budgets, leases, faults, and what is left behind. Real processes, real SQLite."""

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import IntDistribution
from sqlalchemy import select, update

from tuner import attempts as attempts_module
from tuner import samplers, space, studies, trainer
from tuner.attempts import Attempts, LeaseLost
from tuner.database import AttemptRow, Database, EpochRow
from tuner.errors import Fault, Interrupted, Usage
from tuner.pruners import PRUNERS
from tuner.studies import Request, Study
from tuner.worker import Worker

CORPUS = {"name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0}


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(Path(__file__).with_name("stub_trainer.py"))))
    monkeypatch.delenv("STUB", raising=False)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/t.db", create=True)


def request_(trials: int = 3, **changes: Any) -> Request:
    facts: dict[str, Any] = {"space": space.load("sfb"), "corpus": "grammar", "model": "tiny", "fixed": {}}
    return Request(**{**facts, "sampler": "random", "seed": 0, "trials": trials, **changes})


def make(database: Database, trials: int = 3, name: str = "s", **changes: Any) -> Study:
    return studies.go_on(database, name, request_(trials, **changes), CORPUS, Path(database.url[10:]).parent / "runs")


def deaf(event: str, trial: int, facts: Mapping[str, Any]) -> None:
    del event, trial, facts


def behave(monkeypatch: pytest.MonkeyPatch, **behaviours: str) -> None:
    monkeypatch.setenv("STUB", json.dumps({k.removeprefix("t"): v for k, v in behaviours.items()}))


def rows(database: Database) -> list[AttemptRow]:
    with database.session() as session:
        return list(session.scalars(select(AttemptRow).order_by(AttemptRow.id)))


def test_a_study_runs_to_its_budget_and_no_further(database: Database) -> None:
    study = make(database)
    Worker(study, deaf).run()
    found = study.trials()
    assert [(t.number, t.state) for t in found] == [(0, "complete"), (1, "complete"), (2, "complete")]
    assert all(t.value == pytest.approx(10 + (float(t.params["r"]) - 6) ** 2) for t in found)
    assert studies.best_of(found) == min(found, key=lambda t: t.value or 0)
    Worker(study, deaf).run()
    assert len(study.trials()) == 3
    Worker(make(database, trials=5), deaf).run()
    assert [t.state for t in study.trials()] == ["complete"] * 5
    with database.session() as session:
        assert {(e.trial, e.epoch, e.rate) for e in session.scalars(select(EpochRow))} == {
            (n, 1, 2.0) for n in range(5)
        }


def test_two_workers_at_once_share_one_budget(database: Database) -> None:
    make(database, trials=10)
    workers = [
        threading.Thread(target=lambda: Worker(studies.open_study(Database(database.url), "s"), deaf).run())
        for _ in range(3)
    ]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert [(t.number, t.state) for t in studies.open_study(database, "s").trials()] == [
        (n, "complete") for n in range(10)
    ]
    assert len(rows(database)) == 10


@pytest.mark.parametrize("sampler", ["gp-mcmc", "tpe", "random"])
def test_the_same_seed_gives_the_same_trials_with_every_sampler(database: Database, sampler: str) -> None:
    tried = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        study = make(database, 6, name, sampler=sampler, seed=seed)
        Worker(study, deaf).run()
        tried.append([t.params for t in study.trials()])
    assert tried[0] == tried[1] != tried[2]
    assert len({json.dumps(p) for p in tried[0]}) == 6


def test_a_study_cut_in_two_asks_what_an_uncut_one_asks(database: Database) -> None:
    whole, cut = make(database, 7, "whole", sampler="gp-mcmc"), make(database, 3, "cut", sampler="gp-mcmc")
    Worker(whole, deaf).run()
    Worker(cut, deaf).run()
    Worker(make(database, 7, "cut", sampler="gp-mcmc"), deaf).run()
    assert [t.params for t in cut.trials()] == [t.params for t in whole.trials()]


@pytest.mark.parametrize("reason", ["nan", "oom"])
def test_a_trials_own_failure_is_recorded_and_the_study_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    behave(monkeypatch, t0001=reason)
    study = make(database)
    Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["complete", "failed", "complete"]
    assert (study.trials()[1].reason, study.trials()[1].message) == (reason, f"told to end with {reason}.")


def test_an_nll_that_is_no_number_fails_as_nan(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, t0000="null")
    study = make(database, 1)
    Worker(study, deaf).run()
    assert (study.trials()[0].state, study.trials()[0].reason) == ("failed", "nan")


def test_a_killed_trainer_is_tried_again_in_the_same_folder(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0001="die once")
    study = make(database)
    Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["complete"] * 3
    assert [(a.trial, a.state) for a in rows(database)] == [
        (0, "finished"),
        (1, "lost"),
        (1, "finished"),
        (2, "finished"),
    ]
    assert (study.run_folder(1) / "starts").read_text() == "xx"


def test_a_trial_that_is_lost_three_times_fails(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, t0000="die")
    study = make(database, 2)
    Worker(study, deaf).run()
    first, second = study.trials()
    assert (first.state, first.reason, second.state) == ("failed", "lost", "complete")
    assert "SIGKILL" in str(first.message)
    assert [a.trial for a in rows(database)] == [0, 0, 0, 1]


@pytest.mark.parametrize("reason", ["disk", "input"])
def test_a_broken_set_up_stops_the_worker_and_keeps_the_trial(
    database: Database, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    behave(monkeypatch, t0001=reason)
    study = make(database)
    with pytest.raises(Fault, match=f"trial 1 stopped: told to end with {reason}"):
        Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["complete", "interrupted"]
    behave(monkeypatch)
    Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["complete"] * 3


def test_a_trainer_that_always_crashes_stops_the_worker_and_says_why(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, **{"*": "crash"})
    study = make(database, 9)
    with pytest.raises(Fault, match=r"3 trials in a row failed, the last because .*ValueError: boom"):
        Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["failed"] * 3


def test_an_interrupted_worker_hands_its_trial_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, t0001="wait once")
    study = make(database)

    def interrupt(event: str, trial: int, facts: Mapping[str, Any]) -> None:
        del facts
        if event == "epoch" and trial == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        Worker(study, interrupt).run()
    assert [t.state for t in study.trials()] == ["complete", "interrupted"]
    Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["complete"] * 3
    assert [(a.trial, a.state) for a in rows(database)][1:3] == [(1, "interrupted"), (1, "finished")]


def test_a_dead_workers_trial_is_taken_over_and_a_live_ones_is_not(database: Database) -> None:
    study = make(database, 2)
    attempts = Attempts(study)
    claimed = attempts.claim()
    assert claimed is not None
    trial, mine = claimed
    other = attempts.claim()
    assert other is not None
    assert other[0].number == 1
    assert attempts.claim() is None  # the budget is spent, both are live
    with database.session() as session:
        session.execute(update(AttemptRow).where(AttemptRow.id == mine.id).values(lease_until=time.time() - 1))
    again = attempts.claim()
    assert again is not None
    assert (again[0].number, again[0].params) == (trial.number, trial.params)
    with pytest.raises(LeaseLost):
        attempts.renew(mine)
    with pytest.raises(LeaseLost):
        attempts.end(mine, "finished")
    attempts.renew(again[1])


def test_a_lease_is_kept_while_the_trainer_is_silent(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "LEASE_SECONDS", 0.3)
    attempts = Attempts(make(database, 1))
    claimed = attempts.claim()
    assert claimed is not None
    renewed, renew = threading.Event(), attempts.renew
    count = iter(range(100))

    def counted(attempt: AttemptRow) -> None:
        renew(attempt)
        if next(count) >= 3:
            renewed.set()

    monkeypatch.setattr(attempts, "renew", counted)
    with attempts.kept(claimed[1]):
        assert renewed.wait(30)
        assert Attempts.is_live(rows(database)[0])


def test_a_workers_death_is_not_counted_against_its_trial(database: Database) -> None:
    study = make(database, 1)
    for _ in range(5):
        claimed = Attempts(study).claim()
        assert claimed is not None
        with database.session() as session:
            session.execute(update(AttemptRow).where(AttemptRow.id == claimed[1].id).values(lease_until=0.0))
    Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["complete"]


def test_runs_that_cannot_be_written_are_refused_before_the_study_is_made(database: Database) -> None:
    with pytest.raises(Fault, match="--runs /proc/no cannot be written"):
        studies.go_on(database, "s", request_(), CORPUS, Path("/proc/no"))
    Worker(make(database, 1), deaf).run()


def test_a_process_that_is_gone_has_no_live_attempt() -> None:
    def row(**changes: Any) -> AttemptRow:
        facts = {"state": "running", "host": socket.gethostname(), "pid": os.getpid(), "lease_until": time.time() + 60}
        return AttemptRow(**{**facts, **changes})

    assert Attempts.is_live(row())
    assert Attempts.is_live(row(host="elsewhere", pid=2**22 + 1))
    assert not Attempts.is_live(row(pid=2**22 + 1))
    assert not Attempts.is_live(row(lease_until=time.time() - 1))
    assert not Attempts.is_live(row(state="finished"))


@pytest.mark.parametrize(("where", "state"), [((Worker, "_tell"), "interrupted"), ((Attempts, "end"), "complete")])
def test_a_crash_around_the_tell_counts_the_trial_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str], state: str
) -> None:
    study = make(database, 2)

    def crash(*_: object) -> None:
        raise MemoryError("the worker dies here")

    with monkeypatch.context() as patched:
        patched.setattr(*where, crash)
        with pytest.raises(MemoryError):
            Worker(study, deaf).run()
    with database.session() as session:
        session.execute(update(AttemptRow).values(lease_until=0.0))
    assert [t.state for t in study.trials()] == [state]
    Worker(study, deaf).run()
    assert [t.state for t in study.trials()] == ["complete"] * 2


def test_a_crash_in_the_middle_of_asking_leaves_no_hole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    study, suggest = make(database, 2), optuna.trial.Trial._suggest
    asked: list[str] = []

    def crash(self: optuna.trial.Trial, name: str, distribution: Any) -> Any:
        asked.append(name)
        if len(asked) == 3:
            raise MemoryError("the worker dies here")
        return suggest(self, name, distribution)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.trial.Trial, "_suggest", crash)
        with pytest.raises(MemoryError):
            Worker(study, deaf).run()
    kept = study.trials()[0].params
    assert set(kept) == {"r", "alpha"}
    Worker(study, deaf).run()
    first, second = study.trials()
    assert (first.state, second.state) == ("complete", "complete")
    assert set(first.params) == set(second.params) == {"r", "alpha", "gamma", "epsilon"}
    assert kept.items() <= first.params.items()


def test_a_worker_that_died_while_asking_holds_nobody_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "ASK_SECONDS", 0.2)
    study = make(database, 1)
    with pytest.raises(MemoryError), Attempts(study)._asking():
        with database.session() as session:  # as if the process had gone before it could let go
            session.execute(update(studies.StudyRow).values(asker="gone", asker_until=time.time() + 0.2))
        raise MemoryError
    assert Attempts(study).claim() is not None


def test_another_study_of_the_same_name_is_refused_and_the_same_goes_on(database: Database) -> None:
    make(database)
    for changes, key in (({"seed": 1}, "seed"), ({"sampler": "tpe"}, "sampler"), ({"fixed": {"r": 5}}, "fixed")):
        with pytest.raises(Usage, match=f"study 's' exists with another {key}"):
            make(database, **changes)
    assert make(database, trials=9).budget == 9
    assert make(database, trials=2).budget == 9  # another worker may be at it


def test_somebody_elses_optuna_study_is_not_taken_over(database: Database) -> None:
    import optuna

    optuna.create_study(study_name="s", storage=database.storage).ask()
    with pytest.raises(Usage, match="is not this program's"):
        make(database)


def test_an_unknown_study_is_named_with_those_there_are(database: Database) -> None:
    with pytest.raises(Usage, match="study 'x' is not in .*: it holds none"):
        studies.open_study(database, "x")
    make(database)
    with pytest.raises(Usage, match="it holds s"):
        studies.open_study(database, "x")


def test_plain_study_has_the_promised_keys(database: Database) -> None:
    study = make(database, 2)
    Worker(study, deaf).run()
    plain = json.loads(json.dumps(study.plain(), allow_nan=False))
    assert {"study", "technique", "corpus", "sampler", "trials", "best"} <= set(plain)
    assert {"number", "state", "params", "value", "metrics", "seconds", "reason"} <= set(plain["trials"][0])
    assert set(studies.METRICS) <= set(plain["best"]["metrics"])


def test_optunas_own_tools_open_the_study(database: Database) -> None:
    import optuna

    Worker(make(database, 2), deaf).run()
    plain = optuna.load_study(study_name="s", storage=database.url)
    assert len(plain.trials) == 2
    assert plain.best_value == studies.best_of(studies.open_study(database, "s").trials()).value  # type: ignore[union-attr]


def test_a_least_rate_is_added_to_the_value_and_not_to_the_nll(database: Database) -> None:
    study = make(database, 2, min_rate=2.0)  # the stub's rate is .05
    Worker(study, deaf).run()
    for trial in study.trials():
        assert trial.metrics is not None
        assert trial.value == pytest.approx(trial.metrics["nll"] + 1.95)


def test_a_pruned_trial_is_over_and_its_trainer_ended(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB", json.dumps({"0004": "poor"}))
    study = make(database, 6, pruner="hyperband")
    heard: list[str] = []
    monkeypatch.setitem(PRUNERS, "hyperband", lambda mine, _: mine.epochs[-1][0] == 2)
    Worker(study, lambda event, trial, facts: heard.append(event)).run()
    states = [t.state for t in studies.open_study(database, "s").trials()]
    assert states == ["complete"] * 4 + ["pruned", "complete"]
    pruned = study.trials()[4]
    assert (pruned.reason, pruned.message) == ("pruned", "by hyperband, after epoch 2 of 9.")
    assert heard.count("pruned") == 1
    assert (study.run_folder(4) / "starts").read_text() == "x"  # not taken up again


def test_curves_are_the_epochs_reported(database: Database) -> None:
    study = make(database, 3)
    Worker(study, deaf).run()
    curves = study.curves()
    assert [(c.number, c.complete, list(c.epochs)) for c in curves] == [(n, True, [(1, 3.0, 2.0)]) for n in range(3)]


def test_a_study_ends_when_its_sampler_expects_no_gain_and_says_so(database: Database) -> None:
    facts = {"sampler": "gp-map", "sampler_options": {"n_startup": 2}}
    study = make(database, 12, stop_when=1e6, **facts)
    Worker(study, deaf).run()
    assert len(study.trials()) == 5  # the start, and three proposals from which nothing much is expected
    assert "expected to gain less than 1e+06 nats" in str(study.stopped)
    assert study.plain()["stopped"] == study.stopped
    again = make(database, 7, stop_when=0.0, **facts)
    assert again.stopped is None
    Worker(again, deaf).run()
    assert len(again.trials()) == 12
    never = make(database, 6, "never", stop_when=1e-300, **facts)
    Worker(never, deaf).run()
    assert len(never.trials()) == 6


@pytest.mark.parametrize("sampler", ["gp-mcmc", "gp-map", "nsga2", "tpe"])
def test_two_objectives_are_told_to_optuna_and_shown_as_a_front(
    database: Database, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    import optuna

    monkeypatch.setenv("STUB", json.dumps({"*": "trade"}))  # rate = r, NLL rises with it
    options = {"n_startup": 3, "burn_in": 20, "samples": 3} if sampler == "gp-mcmc" else {}
    study = make(database, 6, objective="nll,rate", sampler=sampler, sampler_options=options)
    Worker(study, deaf).run()
    trials = study.trials()
    assert [t.state for t in trials] == ["complete"] * 6
    assert {t.number for t in study.front(trials)} == set(range(6))  # each buys its rate
    plain = optuna.load_study(study_name="s", storage=database.url)
    assert [d.name for d in plain.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert {t.number for t in plain.best_trials} == set(study.plain()["front"])
    assert study.plain()["best"]["value"] == min(t.value for t in trials if t.value is not None)
    with pytest.raises(Usage, match="exists with another objective"):
        make(database, 6, sampler=sampler, sampler_options=options)


def test_the_front_leaves_out_what_another_trial_beats_in_both(database: Database) -> None:
    study = make(database, 5, objective="nll,rate")  # the stub's rate is always the same
    Worker(study, deaf).run()
    best = studies.best_of(study.trials())
    assert best is not None
    assert [t.number for t in study.front(study.trials())] == [best.number]


def distributions(technique: str = "sfb", **fixed: float) -> dict[str, Any]:
    return {p.name: p.distribution() for p in space.load(technique).searched(fixed)}


@pytest.mark.parametrize("sampler", ["gp-mcmc", "gp-map"])
def test_a_study_begins_with_anothers_trials_as_they_were_then(database: Database, sampler: str) -> None:
    first = make(database, 6, "first", sampler="gp-map")
    Worker(first, deaf).run()
    taken = studies.observations_of(database, "first", distributions())
    assert [o["params"] for o in taken["observations"]] == [t.params for t in first.trials()]
    warm = {"sampler": sampler, "seed": 7, "warm_start": taken}
    second = make(database, 3, "second", **warm)
    Worker(second, deaf).run()
    asked = [t.system_attrs["gp:diagnostics"]["observations"] for t in second.optuna().get_trials()]
    assert asked == [6, 7, 8]  # no start of its own
    Worker(make(database, 8, "first", sampler="gp-map"), deaf).run()
    later = studies.observations_of(database, "first", distributions())
    assert len(later["observations"]) == 8
    Worker(make(database, 5, "second", **{**warm, "warm_start": later}), deaf).run()
    assert len(studies.open_study(database, "second").specification["warm_start"]["observations"]) == 6
    whole = make(database, 5, "whole", **warm)
    Worker(whole, deaf).run()
    assert [t.params for t in second.trials()] == [t.params for t in whole.trials()]
    with pytest.raises(Usage, match=r"exists with another warm_start \(6 trials of first, not None\)"):
        make(database, 5, "second", **{**warm, "warm_start": None})


def test_what_cannot_be_begun_with_is_said(database: Database) -> None:
    Worker(make(database, 1, "first"), deaf).run()
    make(database, 1, "empty")
    make(database, 1, "two", objective="nll,rate")
    wanted = distributions()
    name = next(iter(wanted))
    for study, domains, message in (
        ("none", wanted, "study 'none' is not in"),
        ("empty", wanted, "--warm-start 'empty' has no finished trial in this study's space"),
        ("two", wanted, "--warm-start 'two' has two objectives"),
        (
            "first",
            distributions("mdr"),
            "--warm-start 'first' tunes alpha, epsilon, gamma, r, not r: name a study over the",
        ),
        ("first", {**wanted, name: IntDistribution(0, 3)}, f"--warm-start 'first' has {name} as FloatDistribution"),
    ):
        with pytest.raises(Usage, match=re.escape(message)):
            studies.observations_of(database, study, domains)
    taken = studies.observations_of(database, "first", wanted)
    with pytest.raises(
        Usage, match="sampler 'tpe' knows the trials of its own study alone: --warm-start needs gp-mcmc"
    ):
        samplers.create("tpe", {}, 0, 0, wanted, taken["observations"])
    with pytest.raises(Usage, match="has no option 'earlier'"):
        samplers.create("gp-map", {"earlier": 1}, 0, 0, wanted)
