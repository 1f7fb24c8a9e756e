"""A study from its creation to its deletion, with a stub trainer. Real processes, on SQLite and on a real PostgreSQL."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from stub_study import SQLITE, Make, attempts_of, expire, run, states

from benchmarks.stub_study import defined
from tuner.errors import Clash, Fault, Missing, Usage
from tuner.metrics import METRICS
from tuner.storage import optuna_tables
from tuner.storage.database import Database
from tuner.storage.tables import EpochRow, StudyRow, TrialRow
from tuner.studies import answers, creation, endings
from tuner.studies import study as studies
from tuner.studies.access import DatabaseStudies
from tuner.studies.amendment import amend
from tuner.studies.objectives import outcome
from tuner.studies.optuna_bridge import History
from tuner.studies.pruners import PRUNERS, Curve
from tuner.studies.study import open_study
from tuner.workers.curves import Curves
from tuner.workers.leases import Attempts

pytestmark = pytest.mark.usefixtures("stub")


def test_a_study_runs_to_its_budget_and_no_further(database: Database, make: Make) -> None:
    study = make()
    run(study)
    found = study.trials.all()
    assert [(t.number, t.state) for t in found] == [(0, "complete"), (1, "complete"), (2, "complete")]
    assert all(t.value == pytest.approx(10 + (float(t.params["r"]) - 6) ** 2) for t in found)
    assert study.best() == min(found, key=lambda t: t.value or 0)
    assert study.trials.counts() == {"complete": 3}
    run(study)
    assert len(study.trials.all()) == 3
    run(make(trials=5))
    assert states(study) == ["complete"] * 5
    epochs = database.read(lambda s: s.scalars(select(EpochRow)).all())
    assert {(e.trial, e.epoch, e.rate) for e in epochs} == {(n, 1, 2.0) for n in range(5)}


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "tpe", "random", "qmc", "cmaes"])
def test_the_same_seed_gives_the_same_trials_with_every_sampler(make: Make, sampler: str) -> None:
    tried = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        study = make(6, name, sampler=sampler, seed=seed)
        run(study)
        tried.append([t.params for t in study.trials.all()])
    assert tried[0] == tried[1] != tried[2]
    assert len({json.dumps(p) for p in tried[0]}) == 6


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "qmc", "cmaes", "nsga2", "grid"])
def test_a_study_cut_in_two_asks_what_an_uncut_one_asks(make: Make, sampler: str) -> None:
    whole, cut = make(7, "whole", sampler=sampler), make(3, "cut", sampler=sampler)
    run(whole)
    run(cut)
    run(make(7, "cut", sampler=sampler))
    assert [t.params for t in cut.trials.all()] == [t.params for t in whole.trials.all()]


def test_runs_that_cannot_be_written_are_refused(database: Database, make: Make, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="the folder /proc/no for runs cannot be written"):
        creation.go_on(database, "s", defined(), Path("/proc/no"))
    with pytest.raises(Fault, match="the folder /proc/x for runs cannot be written"):
        creation.go_on(database, "s", defined(), tmp_path, "/proc/x")
    assert creation.go_on(database, "s", defined(), tmp_path).name == "s"  # neither has made it


def test_another_study_of_the_same_name_is_refused_and_the_same_goes_on(make: Make) -> None:
    make()
    for changes, other in (
        ({"seed": 1}, r"seed \(0, not 1\)"),
        ({"sampler": "tpe"}, r"sampler \(random, not tpe\)"),
        ({"fixed": {"r": 5}}, r"fixed \(r = the default, not 5\)"),
    ):
        with pytest.raises(Usage, match=f"study 's' exists with another {other}: give the new one a name"):
            make(**changes)
    with pytest.raises(Usage, match=r"another fixed \(r = the default, not 5\)"):  # and so has no published value first
        make(fixed={"r": 5}, first_default=False)
    assert make(trials=9).spec.trials == 9
    assert make(trials=2).spec.trials == 9  # another worker may be at it


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
        patched.setattr(optuna_tables, "forget", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            study.delete()
    with pytest.raises(Usage, match="study 's' is being deleted: finish that first"):
        make(9)
    study.delete()
    assert not Path(study.files.store.address).exists()
    assert [s["name"] for s in DatabaseStudies(database).studies()] == ["other"]
    assert [s.study_name for s in optuna.get_all_study_summaries(database.storage)] == ["other"]
    assert {a.study for a in attempts_of(database)} == {"other"}
    run(make(1))


def test_a_study_that_someone_else_has_deleted_is_said_to_be_gone(make: Make) -> None:
    study = make(2)
    open_study(study.database, "s").delete()
    for ask in (
        study.resume,
        study.winner,
        lambda: study.end("stopped", "x"),
        lambda: study.trials.enqueue({"r": 2.0}),
    ):
        with pytest.raises(Missing, match="study 's' is gone: it has been deleted"):
            ask()


def test_a_study_that_is_asked_for_again_as_it_is_stays_so(database: Database, make: Make, tmp_path: Path) -> None:
    study = make(2)
    again = creation.go_on(database, "s", defined(2), tmp_path / "elsewhere", keep=True)
    assert (again.name, again.revision, again.files.store.address) == ("s", study.revision, study.files.store.address)
    with pytest.raises(Clash, match="study 's' exists with trials = 2, not 3: ask for the same"):
        creation.go_on(database, "s", defined(3), tmp_path / "runs", keep=True)
    assert study.refresh().spec.trials == 2


def test_plain_study_has_the_promised_keys(make: Make) -> None:
    study = make(2)
    run(study)
    plain = json.loads(json.dumps(answers.whole(study), allow_nan=False))
    assert {"name", "technique", "corpus", "sampler", "trials", "best", "state", "spec"} <= set(plain)
    assert {"number", "state", "params", "value", "metrics", "seconds", "reason"} <= set(plain["trials"][0])
    assert set(METRICS) <= set(plain["best"]["metrics"])


def test_a_least_rate_changes_no_value_and_what_does_not_reach_it_is_said(make: Make) -> None:
    study = make(2, min_rate=2.0)  # the stub's rate is .05
    run(study)
    for trial in study.trials.all():
        assert trial.metrics is not None
        assert trial.value == trial.metrics["nll"]
    winner = study.winner()
    assert winner is not None
    assert winner.by == "nearest to R ≥ 2"


@SQLITE
@pytest.mark.parametrize(
    ("objective", "values"), [("nll", [100.0]), ("melbo", [90.0]), ("nll,rate", [100.0, 2.5])], ids=str
)
def test_a_trial_is_judged_by_its_studys_objective(make: Make, objective: str, values: list[float]) -> None:
    study = make(1, objective=objective, min_rate=4.0)
    found = outcome(study.spec.objective, {"nll": 100.0, "melbo": 90.0, "rate": 2.5})
    assert (found["value"], found["values"]) == (values[0], values)
    assert math.isnan(outcome(study.spec.objective, {"nll": None, "melbo": None, "rate": 2.5})["value"])


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


def test_curves_are_in_their_studys_own_terms(make: Make) -> None:
    """A trial that is worse by −ELBO alone, and has the least rate of 6, is not a poor one."""
    study = make(6, min_rate=6.0)
    attempts = Attempts(study, "w")
    for number, (neg_elbo, rate) in enumerate([(100.0, 2.0)] * 4 + [(102.0, 6.5)]):
        claim = attempts.claim()
        assert claim is not None
        figures = {"distortion": 1.0, "rate": rate, "neg_elbo": neg_elbo}
        attempts.record(claim, [{"epoch": epoch, **figures} for epoch in (1, 2)])
        if number < 4:
            attempts.finish(claim, "complete", value=104.0, values=[104.0])
    *others, mine = Curves(study).follow()
    assert [other.best(2) for other in others] == [104.0] * 4
    assert mine.best(2) == 102.0
    assert not PRUNERS["median"](mine, others)


def test_a_study_ends_when_its_sampler_expects_no_gain_and_says_so(make: Make) -> None:
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    facts = {"sampler": "gp-map", "sampler_options": {"n_startup": 2}, "fixed": fixed}
    study = make(12, stop_when=1e6, **facts)
    run(study)
    assert len(study.trials.all()) == 5  # the start, and three proposals from which nothing much is expected
    assert study.refresh().state == "satisfied"
    assert "expected to gain less than 1e+06 nats" in str(study.why)
    assert make(12, stop_when=1e6, **facts).state == "satisfied"
    again = make(7, stop_when=0.0, **facts)
    assert again.state == "active"
    run(again)
    assert len(again.trials.all()) == 12
    lifted = make(12, "lifted", stop_when=1e6, **facts)
    run(lifted)
    assert (lifted.refresh().state, len(lifted.trials.all())) == ("satisfied", 5)
    assert amend(lifted, {"note": "enough"}).state == "satisfied"
    lifted.trials.enqueue({"r": 5.0})  # which somebody wants to see
    assert lifted.refresh().state == "active"
    run(lifted)
    assert (lifted.refresh().state, lifted.trials.all()[5].state) == ("satisfied", "complete")
    assert amend(lifted, {"stop_when": 0.0}).state == "active"
    never = make(6, "never", stop_when=1e-300, **facts)
    run(never)
    assert len(never.trials.all()) == 6


def test_a_few_hopeless_proposals_are_no_evidence(make: Make) -> None:
    """Four hyperparameters ask for eight in a row, and twenty trials."""
    study = make(24, sampler="gp-map", sampler_options={"n_startup": 4}, stop_when=1e6)
    run(study)
    assert len(study.trials.all()) == 20
    assert "from the 4 trials that are left, by each of its last 8 proposals" in str(study.refresh().why)


def test_little_of_each_proposal_is_much_of_all_that_are_left(database: Database, make: Make) -> None:
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(20, sampler="gp-map", sampler_options={"n_startup": 2}, fixed=fixed, stop_when=5.5)
    attempts, ended = Attempts(study, "w"), 0
    while (claim := attempts.claim()) is not None:
        attempts.finish(claim, "complete", value=1.0, values=[1.0])
        change = {"gp:diagnostics": {"expected_gain": 1.0}}
        noted = update(TrialRow).where(TrialRow.number == claim.number).values(attrs=change)
        database.run(lambda s, noted=noted: s.execute(noted))
        ended += 1
    assert ended == 15
    assert "from the 5 trials that are left" in str(study.refresh().why)


def test_a_sampler_that_found_more_than_it_expected_is_not_believed(database: Database, make: Make) -> None:
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(40, sampler="gp-map", sampler_options={"n_startup": 2}, fixed=fixed, stop_when=50.0)
    attempts = Attempts(study, "w")
    values = [0.0, 1.0, -1.0, -100.0, -200.0, -300.0, -301.0, -301.0, -301.0, -301.0]
    told = []
    while (claim := attempts.claim()) is not None:
        told.append(values[claim.number])
        attempts.finish(claim, "complete", value=told[-1], values=[told[-1]])
        change = {"gp:diagnostics": {"expected_gain": 1.0}}
        noted = update(TrialRow).where(TrialRow.number == claim.number).values(attrs=change)
        database.run(lambda s, noted=noted: s.execute(noted))
    assert len(told) == 9  # the last three, and no earlier three, found no more than 50 below what was known


def test_a_lucky_value_among_noisy_ones_is_no_find(database: Database, make: Make) -> None:
    """The values have noise alone, and the lowest of them is among the last proposals."""
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(40, sampler="random", fixed=fixed)
    attempts = Attempts(study, "w")
    values = [0.0, 2.0, -2.0, 1.5, -1.5, 0.5, -0.5, 1.0, -1.0, 2.0, 0.3, -2.0, 1.0, 0.0, -3.0, 0.5]
    for value in values:
        claim = attempts.claim()
        assert claim is not None
        attempts.finish(claim, "complete", value=value, values=[value], metrics={"rate": 5.0})
    hopeless = {"gp:diagnostics": {"expected_gain": 0.001}}
    noted = update(TrialRow).where(TrialRow.study == study.name).values(attrs=hopeless)
    database.run(lambda s: s.execute(noted))
    history = History(study)
    history.update()
    study.definition = replace(study.definition, spec=replace(study.spec, stop_when=0.1))
    assert "they found no more" in str(endings.of(study, history))


def test_the_front_leaves_out_what_another_trial_beats_in_both(make: Make) -> None:
    study = make(5, objective="nll,rate")  # the stub's rate is always the same
    run(study)
    best = study.best()
    assert best is not None
    assert study.front() == [best.number]


@SQLITE
@pytest.mark.parametrize(
    ("technique", "fixed", "batching"),
    [
        ("vanilla", {}, "length"),
        ("vanilla", {"random_batches": True}, "random"),
        ("infovae", {}, "random"),
        ("mdr", {"rho": 0.5}, "length"),
    ],
)
def test_a_study_made_when_batches_were_by_length_goes_on_as_it_was_made(
    database: Database, make: Make, technique: str, fixed: dict[str, float], batching: str
) -> None:
    make(1, "old")

    def age(session: Session) -> None:
        row = session.get_one(StudyRow, "old")
        kept = {key: value for key, value in row.specification.items() if key != "batching"}
        changed = {"r": {"tuned": True}, "beta_0": {"tuned": False, "default": 0.25}}
        own = [p | changed.get(p["name"], {"tuned": False}) for p in kept["space"]["parameters"]]
        space = {**kept["space"], "parameters": own}
        row.specification = {**kept, "technique": technique, "fixed": fixed, "space": space}

    database.run(age)
    study = open_study(database, "old")
    assert study.facts.batching == batching
    values = study.definition.run_spec(0, {"r": 2.0})["values"]
    assert values["batching"] == batching
    assert "random_batches" not in values
    assert values["beta_0"] == 0.25  # the default of its own space, whatever it is now
    assert values.items() >= {key: value for key, value in fixed.items() if key != "random_batches"}.items()
