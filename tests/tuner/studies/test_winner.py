"""The winner where values are noisy, and where they are not."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError
from stub_study import SQLITE, Make

from tuner.analysis import history
from tuner.studies import answers, confirmation, strikes, winner
from tuner.studies.objectives import outcome
from tuner.studies.study import Study
from tuner.workers.leases import Attempts

pytestmark = [pytest.mark.usefixtures("stub"), SQLITE]
FIXED = {"alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}


def told(make: Make, value: Callable[[float, int], float], trials: int = 30, **changes: Any) -> Study:
    """A study of r whose trials have these values of (r, number)."""
    study = make(trials, sampler="qmc", **{"fixed": FIXED, **changes})
    attempts = Attempts(study, "w")
    while (claim := attempts.claim()) is not None:
        found = value(float(claim.params.get("r", 0.0)), claim.number)
        attempts.finish(claim, "complete", value=found, values=[found])
    return study


def test_without_noise_the_winner_is_the_best_and_nothing_is_said(make: Make) -> None:
    study = told(make, lambda r, _: 0.01 * (r - 9.0) ** 2)
    found = study.winner()
    lowest = min(study.trials.all(), key=lambda t: t.value or 0.0)
    assert found is not None
    assert (found.trial, found.found.noise, found.said, found.by) == (lowest, None, [], "lowest value")
    assert history.smoothed(study.database.secret_url, study.name)["noise"] is None


def test_a_lucky_value_does_not_win_over_what_its_neighbours_say(make: Make) -> None:
    draw = 0.3 * np.random.default_rng(0).standard_normal(30)

    def value(r: float, number: int) -> float:
        lucky = number == lucks
        return 0.01 * (r - 9.0) ** 2 + float(draw[number]) - 0.6 * lucky

    lucks = 14  # a point beside the valley
    study = told(make, value)
    unlucky = study.winner()
    lowest = min(study.trials.all(), key=lambda t: t.value or 0.0)
    assert unlucky is not None
    assert lowest.number == lucks
    assert abs(float(lowest.params["r"]) - 9.0) > 5
    assert abs(float(unlucky.trial.params["r"]) - 9.0) < 3
    assert unlucky.found.noise == pytest.approx(0.3, abs=0.1)
    assert unlucky.by == "lowest mean"
    said: list[str] = []
    assert [t.number for t in confirmation.chosen(study, None, front=False, say=said.append)] == [unlucky.trial.number]
    assert f"the winner is trial {unlucky.trial.number}" in said[0]
    drawn = history.smoothed(study.database.secret_url, study.name)
    assert drawn["noise"] == unlucky.found.noise
    assert drawn["number"][drawn["mean"].index(drawn["best"][-1])] == unlucky.trial.number
    assert drawn["best"] == sorted(drawn["best"], reverse=True)


def test_a_few_trials_or_one_configuration_show_no_noise(make: Make) -> None:
    draw = np.random.default_rng(0).standard_normal(30)
    few = told(make, lambda r, number: float(draw[number]), trials=9)
    assert few.winner().said == []  # type: ignore[union-attr]
    fixed = {**FIXED, "r": 5.0}
    same = told(make, lambda r, number: float(draw[number]), trials=12, name="same", fixed=fixed)
    lowest = min(same.trials.all(), key=lambda t: t.value or 0.0)
    assert (same.winner().trial, same.winner().said) == (lowest, [])  # type: ignore[union-attr]


def test_a_study_without_a_complete_trial_has_no_winner(make: Make) -> None:
    assert make(3).winner() is None


def rated(
    make: Make,
    rate: Callable[[float, int], float],
    trials: int = 24,
    least: float = 6.0,
    noise: Callable[[int], float] = lambda _: 0.0,
    **changes: Any,
) -> Study:
    """A study of r with a least rate, whose NLL is r and noise, and whose rates are these of (r, number)."""
    study = make(trials, sampler="qmc", **{"fixed": FIXED, "min_rate": least, **changes})
    attempts = Attempts(study, "w")
    while (claim := attempts.claim()) is not None:
        r = float(claim.params["r"])
        nll = r + noise(claim.number)
        metrics = {"nll": nll, "melbo": nll, "rate": rate(r, claim.number), "collapsed": False, "estimator": {}}
        attempts.finish(claim, "complete", **outcome(study.spec.objective, metrics))
    return study


def test_a_trials_value_is_its_nll_whatever_its_rate(make: Make) -> None:
    study = rated(make, lambda r, _: r / 2)
    assert all(t.value == t.params["r"] for t in study.trials.all())


def test_the_winner_is_not_the_one_that_reached_the_rate_by_luck(make: Make) -> None:
    draw = 0.8 * np.random.default_rng(0).standard_normal(40)
    study = rated(make, lambda r, number: 0.8 * r + float(draw[number]), trials=40)
    reached = [t for t in study.trials.all() if t.metrics["rate"] >= 6.0]  # type: ignore[index]
    luckiest = min(reached, key=lambda t: t.value or 0.0)
    found = study.winner()
    assert found is not None
    assert luckiest.params["r"] < 7.5  # type: ignore[operator]
    assert found.trial.number != luckiest.number
    assert 8.5 < float(found.trial.params["r"]) < 10  # .8 r is 1.28 sd above 6 from 8.8 on, and 1.88 from 9.4
    assert found.found.probability is not None
    assert found.found.probability >= winner.SURE
    shown = math.floor(1000 * found.found.probability) / 1000
    assert found.by == f"lowest value of those that reach R ≥ 6 (p = {shown:.3f})"
    said: list[str] = []
    assert confirmation.chosen(study, None, front=False, say=said.append) == [found.trial]
    assert "reaches R ≥ 6 with probability 0.9" in said[0]


def test_where_none_is_sure_to_reach_the_rate_the_likeliest_wins_and_it_is_said(make: Make) -> None:
    draw = 0.5 * np.random.default_rng(1).standard_normal(24)
    study = rated(make, lambda r, number: min(0.8 * r, 5.5) + float(draw[number]))
    found = study.winner()
    assert found is not None
    assert found.trial.params["r"] > 6.0  # type: ignore[operator]
    assert found.by.startswith("likeliest to reach R ≥ 6 (p = 0.")
    assert "no trial reaches R ≥ 6 with the probability of 0.97" in found.said[-1]


def test_a_few_trials_are_taken_at_their_word(make: Make) -> None:
    some = rated(make, lambda r, _: r / 2, trials=4, least=3.0)
    best = min((t for t in some.trials.all() if t.metrics["rate"] >= 3.0), key=lambda t: t.value or 0.0)  # type: ignore[index]
    assert (some.winner().trial, some.winner().by) == (best, "lowest value of those that reach R ≥ 3")  # type: ignore
    none = rated(make, lambda r, _: r / 20, trials=4, least=3.0, name="none")
    nearest = max(none.trials.all(), key=lambda t: t.params["r"])
    assert (none.winner().trial, none.winner().by) == (nearest, "nearest to R ≥ 3")  # type: ignore[union-attr]
    assert none.winner().said == [f"no trial reaches R ≥ 3: trial {nearest.number} is the nearest to it"]  # type: ignore


def test_it_is_found_once_and_anew_when_results_change(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a list of studies, or of a study with many trials, costs no process each time."""
    draw = 0.3 * np.random.default_rng(0).standard_normal(40)
    study = told(make, lambda r, number: 0.01 * (r - 9.0) ** 2 + float(draw[number]))
    first = study.winner()
    assert first is not None
    fitted: list[int] = []
    judged = winner.judged

    def counted(x: Any, values: Any, limits: Any = None) -> Any:
        fitted.append(len(values))
        return judged(x, values, limits)

    monkeypatch.setattr(winner, "judged", counted)
    assert study.winner() == first
    best = answers.study_here(study)["best"]
    assert best is not None
    assert best["number"] == first.trial.number
    assert fitted == []
    strikes.strike(study, first.trial.number, "a disk was full")
    assert study.best().number != first.trial.number  # type: ignore[union-attr]
    assert fitted == [29]
    study = told(make, lambda r, number: -5.0, trials=31)
    assert study.best() == study.best()
    assert fitted == [29, 30]


def test_who_may_not_write_finds_it_each_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study = told(make, lambda r, _: 0.01 * (r - 9.0) ** 2, trials=12)

    def refused(*_: Any, **__: Any) -> None:
        raise OperationalError("UPDATE", {}, Exception("attempt to write a readonly database"))

    monkeypatch.setattr(study.database, "run", refused)
    assert study.winner() == study.winner() is not None


def test_a_probability_just_short_of_what_a_winner_must_have_is_not_shown_as_it(make: Make) -> None:
    trial = make(1).trials.enqueue({"r": 7.0})
    found = winner.Winner(trial, winner.Found(0, probability=0.9698, reaches=False), 7.0)
    assert found.by == "likeliest to reach R ≥ 7 (p = 0.969)"
    assert "another seed of trial 0 reaches R ≥ 7 with probability 0.969" in found.said[0]
    assert "the probability of 0.97 that a winner must have" in found.said[1]


def test_the_lowest_mean_so_far_is_of_those_that_reach_the_rate(make: Make) -> None:
    draw = np.random.default_rng(3).standard_normal(24)
    study = rated(make, lambda r, _: r / 3, least=4.0, noise=lambda number: float(draw[number]))
    drawn = history.smoothed(study.database.secret_url, study.name)
    reach = [(t.metrics or {})["rate"] >= 4.0 for t in study.trials.all()]
    assert drawn["noise"] is not None
    means = [mean for mean, reaches in zip(drawn["mean"], reach, strict=True) if reaches]
    assert drawn["best"][-1] == min(means) > min(drawn["mean"])
