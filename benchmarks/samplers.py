"""Samplers × problems × seeds: simple regret after so many evaluations, and seconds a suggestion.

    python -m benchmarks.samplers --seeds 20 --evaluations 30 --out regret.json
    python -m benchmarks.samplers --read regret.json gpyopt.json --against gp-mcmc

Starts are paired: for one seed all samplers evaluate the same Sobol points first (4 up to three parameters, 2 a parameter above).
Regret is the noise-free value at the winner, minus the minimum: the point of the lowest value seen, or where noise is inferred
that of the lowest mean (`tuner.studies.winner`, the same for all samplers); `--by value` has the lowest value always. Where a
problem diverges the sampler is told the worst value seen, as in a study. Compared with `--against`, each sampler's regrets are
paired by problem and seed (Wilcoxon, two-sided), where both have them. An `--out` that exists is gone on with. One BLAS thread
a process; the seconds mean something with --jobs 1 and nothing else running."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import math
import platform
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from scipy.stats import qmc, wilcoxon

from benchmarks.problems import PROBLEMS
from tuner import samplers
from tuner.samplers.cube import Cube
from tuner.studies import winner

STARTUP = {"gp": "n_startup_trials", "tpe": "n_startup_trials", "botorch": "n_startup_trials", "cmaes": "n_startup_trials",
           "gp-mcmc": "n_startup", "gp-map": "n_startup", "botorch-mcmc": "n_startup"}  # fmt: skip
CHECKPOINTS = (10, 20, 25, 30, 60)
FLOOR = 1e-8
"""Regret below which regrets are rounding and count as equal."""


def run(sampler: str, problem: str, seed: int, evaluations: int, workers: int) -> dict[str, Any]:
    """One study: the regret after each evaluation, and the mean seconds of a suggestion after the start."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, cube = PROBLEMS[problem], Cube(PROBLEMS[problem].space)
    start = 4 if len(cube.parts) <= 3 else 2 * len(cube.parts)
    unit = qmc.Sobol(len(cube.parts), rng=np.random.default_rng([seed, 1])).random(start)
    study = optuna.create_study()
    for point in cube.spread(unit):
        study.enqueue_trial(cube.decode(point))
    options = {STARTUP[sampler]: start} if sampler in STARTUP else {}
    noise = np.random.default_rng([seed, 2]).standard_normal(evaluations)
    seen: list[float] = []
    true: list[float] = []
    seconds: list[float] = []
    points: list[np.ndarray] = []
    while len(seen) < evaluations:
        asked: list[optuna.Trial] = []
        for _ in range(min(workers, evaluations - len(seen))):
            study.sampler = samplers.create(sampler, options, seed, len(seen) + len(asked), task.space)
            before = time.perf_counter()
            asked.append(study.ask(task.space))
            if len(seen) + len(asked) > start:
                seconds.append(time.perf_counter() - before)
        for trial in asked:
            value = task.value(trial.params)
            true.append(value)
            seen.append(value + task.noise * noise[len(seen)])
            worst = max((v for v in seen if math.isfinite(v)), default=None)
            if math.isfinite(seen[-1]):
                study.tell(trial, seen[-1])
            else:
                study.tell(trial, worst, state=TrialState.FAIL if worst is None else TrialState.COMPLETE)
            points.append(cube.encode(trial.params))
    finite = np.isfinite(seen)
    shown, real = np.where(finite, seen, math.inf), np.where(finite, true, np.nanmax(true))
    best = [real[int(np.argmin(shown[: n + 1]))] - task.minimum for n in range(evaluations)]
    won = list(best)
    for n in CHECKPOINTS:
        among = np.flatnonzero(finite[:n])
        if n <= evaluations and len(among) >= winner.LEAST:
            found = winner.judged(np.array(points)[among], np.array(seen)[among])
            won[n - 1] = real[among[found.number]] - task.minimum
    return {
        "sampler": sampler,
        "problem": problem,
        "seed": seed,
        "workers": workers,
        "regret": [max(float(b), FLOOR) for b in best],
        "won": [max(float(b), FLOOR) for b in won],
        "diverged": int((~finite[start:]).sum()),
        "seconds": float(np.mean(seconds)),
    }


class Results:
    """Runs by sampler, problem and seed; of two of the same the longer counts."""

    def __init__(self, runs: Iterable[dict[str, Any]], by: str = "winner") -> None:
        self.by = "won" if by == "winner" else "regret"
        self.runs: dict[tuple[str, str, int], dict[str, Any]] = {}
        for run in runs:
            key = run["sampler"], run["problem"], run["seed"]
            if key not in self.runs or len(run["regret"]) > len(self.runs[key]["regret"]):
                self.runs[key] = run
        self.samplers, self.problems, self.seeds = (list(dict.fromkeys(part)) for part in zip(*self.runs, strict=True))

    def regrets(self, sampler: str, problem: str, n: int) -> dict[int, float]:
        """By seed, after n evaluations; of runs as long as that."""
        every = {seed: self.runs.get((sampler, problem, seed)) for seed in self.seeds}
        return {
            seed: run.get(self.by, run["regret"])[n - 1]
            for seed, run in every.items()
            if run and len(run["regret"]) >= n
        }

    def medians(self, names: Iterable[str], problem: str, n: int) -> tuple[dict[str, float], int]:
        """Regrets of each of these samplers that has the problem, over the seeds that all of those have; and their number."""
        each = {name: self.regrets(name, problem, n) for name in names}
        each = {name: regrets for name, regrets in each.items() if regrets}
        common = set.intersection(*map(set, each.values())) if each else set()
        if not common:
            return {}, 0
        return {name: float(np.median([regrets[s] for s in common])) for name, regrets in each.items()}, len(common)


def summary(runs: Iterable[dict[str, Any]], against: str, by: str = "winner") -> str:
    """Median and quartiles of the regret, who is worst, seconds a suggestion, and paired comparisons."""
    results, lines = Results(runs, by), []
    names, problems = results.samplers, results.problems
    width = max(map(len, names)) + 2
    reached = [n for n in CHECKPOINTS if any(len(run["regret"]) >= n for run in results.runs.values())]
    for n in reached:
        lines.append(f"\nmedian regret [quartiles] (seeds) after {n} evaluations")
        lines.append(f"{'':<16}" + "".join(f"{name:>{max(width, 32)}}" for name in names) + "  worst (seeds of all)")
        for problem in problems:
            cells = [_cell(list(results.regrets(name, problem, n).values())) for name in names]
            medians, seeds = results.medians(names, problem, n)
            highest = max(medians.values(), default=0.0)
            worst = [name for name, median in medians.items() if median == highest]
            said = "all equal" if len(worst) == len(medians) else ", ".join(worst)
            row = "".join(f"{cell:>{max(width, 32)}}" for cell in cells)
            lines.append(f"{problem:<16}{row}  {said} ({seeds})")
    for problem in problems:
        each = {
            n: [r.get("diverged", 0) for (s, q, _), r in results.runs.items() if (s, q) == (n, problem)] for n in names
        }
        if any(map(any, each.values())):
            told = ", ".join(f"{name} {float(np.median(counts)):g}" for name, counts in each.items() if counts)
            lines.append(f"\nproposals of {problem} that diverged, median: {told}")
    lines.append("\nseconds a suggestion, mean")
    for name in names:
        taken = {p: [r["seconds"] for (s, q, _), r in results.runs.items() if (s, q) == (name, p)] for p in problems}
        lines.append(f"{name:<{width}}" + ", ".join(f"{p} {np.mean(each):.3f}" for p, each in taken.items() if each))
    if against in names:
        lines.append(f"\n{against} against each, paired by problem and seed (two-sided Wilcoxon of log regrets)")
        for name in (other for other in names if other != against):
            lines += [_comparison(results, against, name, n) for n in reached if n >= 20]
    return "\n".join(lines)


def _cell(regrets: list[float]) -> str:
    if not regrets:
        return "–"
    low, middle, high = np.quantile(regrets, (0.25, 0.5, 0.75))
    return f"{middle:.2g} [{low:.2g}, {high:.2g}] ({len(regrets)})"


def _comparison(results: Results, one: str, other: str, n: int) -> str:
    pairs: list[float] = []
    lower: list[str] = []
    shared: list[str] = []
    for problem in results.problems:
        mine, theirs = results.regrets(one, problem, n), results.regrets(other, problem, n)
        pairs += [math.log(mine[s]) - math.log(theirs[s]) for s in mine.keys() & theirs.keys()]
        medians, seeds = results.medians((one, other), problem, n)
        if seeds and len(medians) == 2:
            shared.append(problem)
            lower += [problem] if medians[one] < medians[other] else []
    wins, ties = sum(d < 0 for d in pairs), sum(d == 0 for d in pairs)
    p_value = wilcoxon(pairs).pvalue if any(pairs) else 1.0
    return (
        f"{other} after {n}: {wins} of {len(pairs)} better, {ties} ties, p = {p_value:.2g}; lower median on "
        f"{len(lower)} of {len(shared)} problems" + (f" ({', '.join(lower)})" if lower else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["gp-mcmc", "gp-map", "gp", "tpe", "random"])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument(
        "--workers", type=int, default=1, help="Number of suggestions that are asked for before any value is told."
    )
    parser.add_argument("--by", default="winner", choices=["winner", "value"], help="Point that the regret is of.")
    parser.add_argument("--jobs", type=int, default=1, help="Number of processes.")
    parser.add_argument("--against", default="gp-mcmc")
    parser.add_argument("--out", type=Path, help="File that is written after each run; gone on with if it exists.")
    parser.add_argument("--read", type=Path, nargs="+", help="Earlier --out files, whose summary is printed instead.")
    arguments = parser.parse_args()
    if arguments.read:
        print(summary(_load(parser, arguments.read), arguments.against, arguments.by))
        return
    results = _load(parser, [arguments.out], arguments.workers) if arguments.out and arguments.out.exists() else []
    done = {(r["sampler"], r["problem"], r["seed"]) for r in results if len(r["regret"]) >= arguments.evaluations}
    tasks = [
        (sampler, problem, seed, arguments.evaluations, arguments.workers)
        for seed in range(arguments.seeds)
        for problem in arguments.problems
        for sampler in arguments.samplers
        if (sampler, problem, seed) not in done
    ]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(run, *zip(*tasks, strict=True)) if tasks else ():
            results.append(result)
            if arguments.out:
                whole = arguments.out.with_suffix(".part")
                whole.write_text(json.dumps(results))
                whole.replace(arguments.out)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Optuna {optuna.__version__}, {arguments.jobs} processes")
    print(summary(results, arguments.against, arguments.by))


def _load(parser: argparse.ArgumentParser, files: list[Path], workers: int | None = None) -> list[dict[str, Any]]:
    """The runs in files, all of so many workers or, where that is not said, as the first's."""
    runs = [run for file in files for run in json.loads(file.read_text())]
    found = {run.get("workers", 1) for run in runs} | ({workers} if workers else set())
    if len(found) > 1:
        parser.error(
            f"runs of {' and '.join(map(str, sorted(found)))} workers cannot be compared: keep them in files apart."
        )
    return runs


if __name__ == "__main__":
    main()
