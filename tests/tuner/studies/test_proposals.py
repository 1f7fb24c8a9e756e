"""Every sampler's history, and what becomes of its proposals: diverged trials teach, and nothing is tried twice."""

import math

import optuna
import pytest
from conftest import QUICK
from optuna.trial import TrialState
from stub_study import SQLITE, Make

from tuner import space
from tuner.samplers import START
from tuner.samplers.observations import Observations
from tuner.space import Space
from tuner.studies import strikes
from tuner.studies.objectives import outcome
from tuner.studies.optuna_bridge import History, as_optuna
from tuner.studies.study import Study
from tuner.workers.claims import Claim
from tuner.workers.leases import Attempts

pytestmark = [pytest.mark.usefixtures("stub"), SQLITE]
MODELS = ("gp-mcmc", "gp-map", "gp", "tpe", "random", "qmc", "nsga2", "cmaes")


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def whole_numbers(high: int) -> Space:
    """A space of k alone, from 2 on."""
    made = space.load("iwae").plain()
    for parameter in made["parameters"]:
        parameter |= (
            {"low": 2, "high": high, "default": 2, "paper": 2} if parameter["name"] == "k" else {"tuned": False}
        )
    return Space.of(made)


def end(attempts: Attempts, claim: Claim, value: float) -> None:
    if math.isfinite(value):
        attempts.finish(claim, "complete", value=value, values=[value])
    else:
        attempts.fail(claim, "nan", "it diverged.")


def told(study: Study) -> list[tuple[TrialState, list[float] | None]]:
    history = History(study)
    history.update()
    return [(t.state, t.values) for t in history.storage.get_all_trials(history.id)]


def test_a_diverged_trial_is_told_as_the_worst_value_seen(make: Make) -> None:
    study = make(9)
    attempts = Attempts(study, "w")
    claims = [attempts.claim() for _ in range(5)]
    assert all(claims)
    first, second, third, fourth, _ = claims
    history = History(study)

    def heard() -> list[tuple[str, list[float] | None]]:
        history.update()
        followed = [(t.state, t.values) for t in history.storage.get_all_trials(history.id)]
        assert followed == told(study)  # who has followed and who comes anew are told the same
        return [(state.name, values) for state, values in followed]

    end(attempts, second, math.nan)  # type: ignore[arg-type]
    assert heard()[:2] == [("RUNNING", None), ("FAIL", None)]  # no value is known
    end(attempts, first, 3.0)  # type: ignore[arg-type]
    assert heard()[:2] == [("COMPLETE", [3.0]), ("COMPLETE", [3.0])]
    end(attempts, third, 7.0)  # type: ignore[arg-type]
    end(attempts, fourth, math.nan)  # type: ignore[arg-type]
    assert heard() == [("COMPLETE", [v]) for v in (3.0, 7.0, 7.0, 7.0)] + [("RUNNING", None)]
    assert [t.state for t in study.trials.all()] == ["complete", "failed", "complete", "failed", "running"]
    assert [t.state.name for t in as_optuna(study).trials][1] == "FAIL"  # the record has what happened


def test_of_two_objectives_a_diverged_trial_has_the_worst_of_each(make: Make) -> None:
    study = make(3, objective="nll,rate")
    attempts = Attempts(study, "w")
    for number, values in enumerate(([3.0, 5.0], [7.0, 9.0], None)):
        claim = attempts.claim()
        assert claim is not None
        if values is None:
            attempts.fail(claim, "nan", "it diverged.")
        else:
            attempts.finish(claim, "complete", value=values[0], values=values)
        assert claim.number == number
    assert told(study)[2] == (TrialState.COMPLETE, [7.0, 5.0])


@pytest.mark.parametrize("name", ["gp-mcmc", "gp-map", "gp", "tpe"])
def test_samplers_leave_a_region_that_diverges(make: Make, name: str) -> None:
    """The better r is, the nearer it is to where it diverges."""
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(20, sampler=name, sampler_options=QUICK.get(name, {}), fixed=fixed, seed=1)
    attempts = Attempts(study, "w")
    while (claim := attempts.claim()) is not None:
        r = claim.params["r"]
        end(attempts, claim, math.nan if r > 12 else (r - 15) ** 2)
    states = [t.state for t in study.trials.all()][5:]
    assert states.count("failed") <= 9  # of 15; as failed trials 12 to 13 with gp and tpe
    assert study.best().params["r"] > 9  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore")  # Optuna's about experimental samplers
@pytest.mark.parametrize("name", MODELS)
def test_two_workers_never_get_the_same_whole_number_and_a_used_up_space_ends_the_study(make: Make, name: str) -> None:
    study = make(30, space=whole_numbers(9), sampler=name, sampler_options=QUICK.get(name, {}))
    attempts = [Attempts(study, worker) for worker in "ab"]
    asked: list[int] = []
    while claims := [claim for each in attempts if (claim := each.claim()) is not None]:
        asked += [claim.params["k"] for claim in claims]
        for each, claim in zip(attempts, claims, strict=False):
            end(each, claim, (claim.params["k"] - 6) ** 2)
    assert sorted(asked) == list(range(2, 10))
    assert study.refresh().state == "satisfied"
    assert study.why == "every combination of its hyperparameters has been tried, so no new trial can be made"


def test_who_still_trains_the_last_combination_may_end_it(make: Make) -> None:
    study = make(9, space=whole_numbers(3))
    one, other = Attempts(study, "a"), Attempts(study, "b")
    first, second = one.claim(), other.claim()
    assert first is not None
    assert second is not None
    end(one, first, 1.0)
    assert one.claim() is None
    assert study.refresh().state == "active"
    assert other.renew(second) is None
    end(other, second, 2.0)
    assert other.claim() is None
    assert study.refresh().state == "satisfied"


def test_a_grid_that_is_used_up_ends_the_study(make: Make) -> None:
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(9, sampler="grid", sampler_options={"points": 3}, fixed=fixed)
    attempts = Attempts(study, "w")
    asked = []
    while (claim := attempts.claim()) is not None:
        asked.append(claim.params["r"])
        end(attempts, claim, 1.0)
    assert sorted(asked) == [1.0, 15.5, 30.0]
    assert study.refresh().state == "satisfied"


def test_a_grid_leaves_out_a_combination_that_someone_has_enqueued(make: Make) -> None:
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(9, sampler="grid", sampler_options={"points": 3}, fixed=fixed)
    attempts = Attempts(study, "w")
    study.trials.enqueue({"r": 15.5})
    study.trials.enqueue({"r": 4.0})
    while (claim := attempts.claim()) is not None:
        end(attempts, claim, 1.0)
    assert [t.params["r"] for t in study.trials.all()][:2] == [15.5, 4.0]
    assert sorted(float(t.params["r"]) for t in study.trials.all()[2:]) == [1.0, 30.0]
    assert study.refresh().state == "satisfied"


@pytest.mark.parametrize("name", ["gp-map", "gp-mcmc", "tpe", "gp", "cmaes"])
def test_enqueued_trials_do_not_shorten_a_samplers_own_start(make: Make, name: str) -> None:
    facts = {"sampler": name, "sampler_options": QUICK.get(name, {}), "seed": 3}
    alone, study = make(START, "alone", **facts), make(START + 3, **facts)
    for r in (2.0, 3.0, 4.0):
        study.trials.enqueue({"r": r})
    for each in (alone, study):
        attempts = Attempts(each, "w")
        while (claim := attempts.claim()) is not None:
            end(attempts, claim, float(claim.params["r"]))
    first = study.trials.all()[3:]
    if name.startswith("gp-"):  # the points of one sequence
        assert [t.params for t in first] == [t.params for t in alone.trials.all()]
    history = History(study)
    history.update()
    assert history._given() == 3


@pytest.mark.parametrize("name", ["gp-map", "tpe", "nsga2"])
@pytest.mark.parametrize("objective", ["nll", "nll,rate"])
def test_no_sampler_learns_from_a_trial_that_was_struck_out(make: Make, name: str, objective: str) -> None:
    """Though its figures would have made it a parent, or the worst there is."""
    options = {"population_size": 3} if name == "nsga2" else {}
    study = make(16, sampler=name, sampler_options=options, objective=objective)
    attempts = Attempts(study, "w")
    for number in range(12):
        claim = attempts.claim()
        assert claim is not None
        attempts.finish(claim, "complete", **outcome(objective, {"nll": 9.0 - number % 5, "rate": float(number % 4)}))
    for struck in (4, 9, 11):
        strikes.strike(study, struck, "the corpus was cut off")
    assert attempts.claim() is not None
    history = attempts._history
    assert history is not None
    seen = Observations.of(optuna.load_study(study_name=study.name, storage=history.storage), history.cube, 12)
    assert len(seen.x) == 9
    for key, parents in history.storage.get_study_system_attrs(history.id).items():
        assert ":parent:" not in key or not {4, 9, 11} & set(parents)


def test_trials_that_differ_in_their_seed_alone_use_up_nothing(make: Make) -> None:
    fixed = {"r": 5.0, "alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(4, fixed=fixed)
    attempts = Attempts(study, "w")
    while (claim := attempts.claim()) is not None:
        end(attempts, claim, 1.0)
    assert len(study.trials.all()) == 4


def reached(study: Study, attempts: Attempts, claim: Claim, rate: float) -> None:
    """Completes a trial with this rate and an NLL of twice it; not a number diverges."""
    if math.isnan(rate):
        attempts.fail(claim, "nan", "it diverged.")
    else:
        attempts.finish(
            claim, "complete", **outcome(study.spec.objective, {"nll": 2 * rate, "melbo": None, "rate": rate})
        )


def test_a_least_rate_is_optunas_constraint_in_memory_and_in_its_record(make: Make) -> None:
    study = make(4, min_rate=3.0)
    attempts = Attempts(study, "w")
    claims = [attempts.claim() for _ in range(4)]
    history = History(study)
    history.update()  # follows some, and is told of others anew
    for claim, rate in zip(claims, (2.0, 5.0, math.nan, 4.0), strict=True):
        reached(study, attempts, claim, rate)  # type: ignore[arg-type]
        history.update()
    told = history.storage.get_all_trials(history.id)
    assert [t.constraints for t in told] == [{"rate": 1.0}, {"rate": -2.0}, {"rate": 1.0}, {"rate": -1.0}]
    assert [t.values for t in told] == [[4.0], [10.0], [10.0], [8.0]]
    record = as_optuna(study)
    assert [t.constraints for t in record.trials] == [{"rate": 1.0}, {"rate": -2.0}, {}, {"rate": -1.0}]
    assert record.best_trial.number == 3  # the lowest of those that reach it


@pytest.mark.parametrize("name", ["gp-map", "gp", "tpe", "nsga2"])
def test_samplers_keep_a_least_rate_though_the_nll_falls_twice_as_fast(make: Make, name: str) -> None:
    fixed = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(20, sampler=name, fixed=fixed, seed=1, min_rate=8.0)
    attempts = Attempts(study, "w")
    while (claim := attempts.claim()) is not None:
        r = float(claim.params["r"])
        reached(study, attempts, claim, math.nan if r > 28 else r)
    rates = [t.metrics["rate"] for t in study.trials.all() if t.metrics]
    assert sum(rate >= 7.99 for rate in rates[8:]) >= len(rates[8:]) / 2  # without noise the edge is the best
    assert 8.0 <= study.best().params["r"] < 14  # type: ignore[union-attr, operator]
