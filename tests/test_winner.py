"""The winner where values are noisy, and where they are not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from stub_study import SQLITE, Make

from tuner.analysis import history
from tuner.studies import confirmation, winner
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
    found, best = winner.of(study), study.best()
    assert found is not None
    assert best is not None
    assert (found.trial.number, found.noise, found.said) == (best.number, None, None)
    assert history.smoothed(study.database.secret_url, study.name)["noise"] is None


def test_a_lucky_value_does_not_win_over_what_its_neighbours_say(make: Make) -> None:
    draw = 0.3 * np.random.default_rng(0).standard_normal(30)

    def value(r: float, number: int) -> float:
        lucky = number == lucks
        return 0.01 * (r - 9.0) ** 2 + float(draw[number]) - 0.6 * lucky

    lucks = 14  # a point beside the valley
    study = told(make, value)
    unlucky, best = winner.of(study), study.best()
    assert best is not None
    assert unlucky is not None
    assert best.number == lucks
    assert abs(best.params["r"] - 9.0) > 5
    assert abs(unlucky.trial.params["r"] - 9.0) < 3
    assert unlucky.noise == pytest.approx(0.3, abs=0.1)
    said: list[str] = []
    assert [t.number for t in confirmation.chosen(study, None, front=False, say=said.append)] == [unlucky.trial.number]
    assert f"the winner is trial {unlucky.trial.number}" in said[0]
    drawn = history.smoothed(study.database.secret_url, study.name)
    assert drawn["noise"] == unlucky.noise
    assert drawn["number"][drawn["mean"].index(drawn["best"][-1])] == unlucky.trial.number
    assert drawn["best"] == sorted(drawn["best"], reverse=True)


def test_a_few_trials_or_one_configuration_show_no_noise(make: Make) -> None:
    draw = np.random.default_rng(0).standard_normal(30)
    few = told(make, lambda r, number: float(draw[number]), trials=9)
    assert winner.of(few).said is None  # type: ignore[union-attr]
    fixed = {**FIXED, "r": 5.0}
    same = told(make, lambda r, number: float(draw[number]), trials=12, name="same", fixed=fixed)
    found, best = winner.of(same), same.best()
    assert (found.trial.number, found.said) == (best.number, None)  # type: ignore[union-attr]


def test_a_study_without_a_complete_trial_has_no_winner(make: Make) -> None:
    assert winner.of(make(3)) is None
