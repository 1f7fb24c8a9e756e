"""The benchmarks' problems have the minima they claim, and their starts are paired."""

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import optuna
import pytest

from benchmarks import least_rate, stopping, suggestions
from benchmarks.data import CURVES, TRIALS
from benchmarks.problems import PROBLEMS
from benchmarks.samplers import main, run, summary

MINIMISERS = {
    "branin": {"x": math.pi, "y": 2.275},
    "branin-noisy": {"x": -math.pi, "y": 12.275},
    "hartmann-3": dict(zip(("x0", "x1", "x2"), (0.114614, 0.555649, 0.852547), strict=True)),
    "hartmann-6": {f"x{i}": v for i, v in enumerate((0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573))},
    "levy-4": {f"x{i}": 1.0 for i in range(4)},
    "ackley-5": {f"x{i}": 0.0 for i in range(5)},
    "rosenbrock-4": {f"x{i}": 1.0 for i in range(4)},
    "branin-nan": {"x": -math.pi, "y": 12.275},
    "categories": {"x": math.pi, "y": 2.275, "kind": "d"},
    "shekel-4": {f"x{i}": v for i, v in enumerate((4.000747, 3.999509, 4.000747, 3.999509))},
    "griewank-2": {"x0": 0.0, "x1": 0.0},
    "styblinski-3": {f"x{i}": -2.903534 for i in range(3)},
    "mixed": {"x": 3.1375, "y": 2, "kind": "b"},
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_minimum_is_there_and_nothing_is_lower(name: str) -> None:
    problem = PROBLEMS[name]
    if name in MINIMISERS:
        assert problem.value(MINIMISERS[name]) == pytest.approx(problem.minimum, abs=0.2 if name == "mixed" else 1e-4)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [problem.value(study.ask(problem.space).params) for _ in range(300)]
    assert np.nanmin(values) >= problem.minimum


def test_a_study_of_the_benchmark_is_repeatable_and_its_starts_are_paired() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = [run(sampler, "hartmann-3", 0, 10, 2) for sampler in ("gp-map", "tpe", "random", "random")]
    assert len({tuple(r["regret"][:4]) for r in found}) == 1
    assert found[2]["regret"] == found[3]["regret"]
    assert found[0]["regret"] != found[2]["regret"]
    text = summary([{**r, "regret": r["regret"] * 4, "won": r["won"] * 4} for r in found[:2]], "gp-map")
    assert "median regret [quartiles] (seeds) after 30 evaluations" in text
    assert "lower median on" in text
    assert np.isfinite(found[0]["seconds"])


def made(sampler: str, problem: str, seed: int, regret: float, workers: int = 1) -> dict[str, Any]:
    return {
        "sampler": sampler, "problem": problem, "seed": seed, "workers": workers, "regret": [regret] * 30, "seconds": 1.0,
    }  # fmt: skip


def test_samplers_are_compared_on_the_pairs_that_both_have() -> None:
    runs = [made(name, p, s, 1.0 + s) for name in ("a", "b") for p in ("p", "q") for s in range(4)]
    runs += [made("slow", "p", 0, 0.5), made("slow", "p", 1, 9.0)]
    lines = summary(runs, "a").splitlines()
    assert "b after 30: 0 of 8 better, 8 ties, p = 1; lower median on 0 of 2 problems" in lines
    assert "slow after 30: 1 of 2 better, 0 ties, p = 1; lower median on 1 of 1 problems (p)" in lines
    rows = [line for line in lines if line.startswith(("p ", "q "))]
    assert rows[-2].endswith("slow (2)")  # median 4.75 of the two seeds that all have, against 1.5
    assert rows[-1].endswith("all equal (4)")
    assert "2.5 [1.8, 3.2] (4)" in rows[-2]


def test_an_interrupted_comparison_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    arguments = ["x", "--samplers", "random", "--problems", "branin", "--evaluations", "5", "--out", str(out)]
    monkeypatch.setattr("sys.argv", [*arguments, "--seeds", "1"])
    main()
    first = json.loads(out.read_text())
    first[0]["seconds"] = -1.0  # a mark: it is not run again
    out.write_text(json.dumps(first))
    monkeypatch.setattr("sys.argv", [*arguments, "--seeds", "2"])
    main()
    assert [(r["seed"], r["seconds"] < 0) for r in json.loads(out.read_text())] == [(0, True), (1, False)]
    monkeypatch.setattr("sys.argv", [*arguments, "--workers", "2"])
    with pytest.raises(SystemExit):
        main()


def test_files_are_read_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps([made(name, "p", 0, 1.0 + (name == "a"))]))
    monkeypatch.setattr("sys.argv", ["x", "--read", str(tmp_path / "a"), str(tmp_path / "b"), "--against", "b"])
    main()
    assert "a after 30: 1 of 1 better" in capsys.readouterr().out


def test_surrogates_pass_near_the_trials_they_are_made_from() -> None:
    rows = json.loads(TRIALS.read_text(encoding="utf-8"))["trials"]
    for technique, trials in rows.items():
        problem = PROBLEMS[f"{technique}-trials"]
        misfit = [problem.value(row["params"]) - row["nll"] for row in trials]
        assert np.std(misfit) <= problem.noise + 1e-6
        assert problem.noise < 0.8 * np.std([row["nll"] for row in trials])
        assert problem.minimum == pytest.approx(min(row["nll"] for row in trials), abs=3 * problem.noise + 0.5)


def test_the_plot_has_a_line_for_each_sampler_in_both_panels_on_logarithmic_axes() -> None:
    sizes = [(10, 4), (100, 4), (1000, 4), (100, 2), (100, 8)]
    found = {(n, d): {"slow": 1e-3 * n, "quick": 1e-2} for n, d in sizes}
    drawn = ElementTree.fromstring(suggestions.plot(found))
    lines = [e.attrib["points"].split() for e in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(line) for line in lines] == [3, 3, 3, 3]
    slow = [tuple(map(float, point.split(","))) for point in lines[0]]
    assert slow[1][0] - slow[0][0] == pytest.approx(slow[2][0] - slow[1][0])  # proportional is straight
    assert slow[1][1] - slow[0][1] == pytest.approx(slow[2][1] - slow[1][1])
    assert slow[2][1] < slow[0][1]
    said = "".join(drawn.itertext())
    assert "observations (d = 4)" in said
    assert "hyperparameters (n = 100)" in said
    assert "| 1000 | 4 | 1.000 | 0.010 |" in suggestions.table(found)


def test_a_benchmark_that_diverges_tells_the_worst_value_and_counts_it() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = run("random", "branin-nan", 0, 20, 1)
    assert 0 < found["diverged"] < 16
    assert np.isfinite(found["regret"]).all()
    assert "proposals of branin-nan that diverged, median: random" in summary([found], "random")


def test_the_regret_of_a_noisy_problem_is_the_winners() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = run("random", "branin-noisy-20", 2, 30, 1)
    assert found["won"][:9] == found["regret"][:9]
    assert found["won"][29] != found["regret"][29]


def test_a_least_rate_of_real_trials_can_be_kept_and_its_study_runs() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = least_rate.Task(json.loads(CURVES.read_text(encoding="utf-8")), "sfb", 7.0)
    assert task.floor < task.optimum < 20.0  # to hold a rate costs nats
    found = least_rate.run(task, "random", True, 0)
    assert set(found) == {f"{rule} {n}" for rule in ("penalised", "constrained") for n in least_rate.CHECKPOINTS}
    assert all(0 <= reach <= 1 and math.isfinite(nll) for nll, reach in found.values())
    assert found["constrained 30"][1] > 0.5


def test_the_rule_of_an_end_is_asked_after_each_evaluation() -> None:
    values = [5.0, *[4.0] * 59]
    assert stopping.end(values, [1.0] * 60, 4, 0.5) == 60
    assert stopping.end(values, [None] * 4 + [1e-3] * 56, 4, 0.5) == 20  # 40 are left, which promise 0.04
    assert stopping.end(values, [None] * 4 + [1e-2] * 56, 4, 0.1) == 51  # nine are left
    assert stopping.end([*[5.0] * 19, *range(4, -37, -1)], [None] * 4 + [1e-9] * 56, 4, 0.5) == 60  # they find more
