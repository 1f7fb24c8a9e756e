"""The benchmarks' problems have the minima they claim, and their starts are paired."""

import json
import math

import numpy as np
import optuna
import pytest

from benchmarks.problems import PROBLEMS, TRIALS
from benchmarks.samplers import run, summary

MINIMISERS = {
    "branin": {"x": math.pi, "y": 2.275},
    "branin-noisy": {"x": -math.pi, "y": 12.275},
    "hartmann-3": dict(zip(("x0", "x1", "x2"), (0.114614, 0.555649, 0.852547), strict=True)),
    "hartmann-6": {f"x{i}": v for i, v in enumerate((0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573))},
    "levy-4": {f"x{i}": 1.0 for i in range(4)},
    "ackley-5": {f"x{i}": 0.0 for i in range(5)},
    "rosenbrock-4": {f"x{i}": 1.0 for i in range(4)},
    "mixed": {"x": 3.1375, "y": 2, "kind": "b"},
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_minimum_is_there_and_nothing_is_lower(name: str) -> None:
    problem = PROBLEMS[name]
    if name in MINIMISERS:
        assert problem.value(MINIMISERS[name]) == pytest.approx(problem.minimum, abs=0.2 if name == "mixed" else 1e-4)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [problem.value(study.ask(problem.space).params) for _ in range(300)]
    assert min(values) >= problem.minimum


def test_a_study_of_the_benchmark_is_repeatable_and_its_starts_are_paired() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = [run(sampler, "hartmann-3", 0, 10, 2) for sampler in ("gp-map", "tpe", "random", "random")]
    assert len({tuple(r["regret"][:4]) for r in found}) == 1
    assert found[2]["regret"] == found[3]["regret"]
    assert found[0]["regret"] != found[2]["regret"]
    text = summary([{**r, "regret": r["regret"] * 4} for r in found[:2]], "gp-map")
    assert "median regret [quartiles] after 30 evaluations, 1 seeds" in text
    assert "lower median on" in text
    assert np.isfinite(found[0]["seconds"])


def test_surrogates_pass_near_the_trials_they_are_made_from() -> None:
    rows = json.loads(TRIALS.read_text(encoding="utf-8"))["trials"]
    for technique, trials in rows.items():
        problem = PROBLEMS[f"{technique}-trials"]
        misfit = [problem.value(row["params"]) - row["nll"] for row in trials]
        assert np.std(misfit) <= problem.noise + 1e-6
        assert problem.noise < 0.8 * np.std([row["nll"] for row in trials])
        assert problem.minimum == pytest.approx(min(row["nll"] for row in trials), abs=3 * problem.noise + 0.5)
