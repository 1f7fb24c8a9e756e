"""Samplers × problems × seeds: simple regret after so many evaluations, and seconds a suggestion.

    python -m benchmarks.samplers --seeds 20 --evaluations 30 --jobs 2 --out regret.json

Starts are paired: for one seed all samplers evaluate the same Sobol points first (4 up to three parameters, 2 a parameter above).
Regret is the noise-free value at the point of the lowest value seen, minus the minimum. Compared with `--against`, each sampler's
regrets are paired by problem and seed (Wilcoxon, two-sided). One BLAS thread a process; the seconds mean something with --jobs 1
and nothing else running.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import platform
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy.stats import qmc, wilcoxon

from benchmarks.problems import PROBLEMS
from tuner import samplers
from tuner.samplers.cube import Cube

STARTUP = {"gp": "n_startup_trials", "tpe": "n_startup_trials", "botorch": "n_startup_trials", "cmaes": "n_startup_trials",
           "gp-mcmc": "n_startup", "gp-map": "n_startup"}  # fmt: skip
CHECKPOINTS = (10, 20, 30, 60)
FLOOR = 1e-8
"""regrets below are rounding; they count as equal"""


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
            study.tell(trial, seen[-1])
    best = [true[int(np.argmin(seen[: n + 1]))] - task.minimum for n in range(evaluations)]
    return {
        "sampler": sampler,
        "problem": problem,
        "seed": seed,
        "regret": [max(float(b), FLOOR) for b in best],
        "seconds": float(np.mean(seconds)),
    }


def summary(results: list[dict[str, Any]], against: str) -> str:
    """Median and quartiles of the regret, seconds a suggestion, and paired comparisons."""
    lines = []
    names, problems = (list(dict.fromkeys(r[key] for r in results)) for key in ("sampler", "problem"))
    by = {(r["sampler"], r["problem"], r["seed"]): r for r in results}
    seeds = sorted({r["seed"] for r in results})
    length = len(results[0]["regret"])
    for n in (c for c in CHECKPOINTS if c <= length):
        lines.append(f"\nmedian regret [quartiles] after {n} evaluations, {len(seeds)} seeds")
        lines.append(f"{'':<14}" + "".join(f"{name:>30}" for name in names))
        for problem in problems:
            cells = []
            for name in names:
                low, middle, high = np.quantile(
                    [by[name, problem, s]["regret"][n - 1] for s in seeds], (0.25, 0.5, 0.75)
                )
                cells.append(f"{f'{middle:.2g} [{low:.2g}, {high:.2g}]':>30}")
            lines.append(f"{problem:<14}" + "".join(cells))
    lines.append("\nseconds a suggestion, mean")
    for name in names:
        each = ", ".join(f"{p} {np.mean([by[name, p, s]['seconds'] for s in seeds]):.3f}" for p in problems)
        lines.append(f"{name:<14}{each}")
    if against in names:
        lines.append(
            f"\n{against} against each, paired by problem and seed (wins of runs; two-sided Wilcoxon of log regrets)"
        )
        for name in (other for other in names if other != against):
            for n in (c for c in (20, 30) if c <= length):
                pairs = [
                    np.log(by[against, p, s]["regret"][n - 1]) - np.log(by[name, p, s]["regret"][n - 1])
                    for p in problems
                    for s in seeds
                ]
                wins, ties = sum(d < 0 for d in pairs), sum(d == 0 for d in pairs)
                p_value = wilcoxon(pairs).pvalue if any(pairs) else 1.0
                medians = sum(
                    np.median([by[against, p, s]["regret"][n - 1] for s in seeds])
                    < np.median([by[name, p, s]["regret"][n - 1] for s in seeds])
                    for p in problems
                )
                lines.append(
                    f"{name:<14}after {n}: {wins} of {len(pairs)} ({ties} ties), p = {p_value:.2g}; "
                    f"lower median on {medians} of {len(problems)} problems"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["gp-mcmc", "gp-map", "gp", "tpe", "random"])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1, help="suggestions asked for before any value is told")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--against", default="gp-mcmc")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path, help="print the summary of an earlier --out instead")
    arguments = parser.parse_args()
    if arguments.read:
        print(summary(json.loads(arguments.read.read_text()), arguments.against))
        return
    tasks = [
        (sampler, problem, seed, arguments.evaluations, arguments.workers)
        for seed in range(arguments.seeds)
        for problem in arguments.problems
        for sampler in arguments.samplers
    ]
    results = []
    seed_tasks = len(arguments.samplers) * len(arguments.problems)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(run, *zip(*tasks, strict=True)):
            results.append(result)
            if arguments.out and len(results) % seed_tasks == 0:  # whole seeds, so that pairs are complete
                arguments.out.write_text(json.dumps(results))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Optuna {optuna.__version__}, {arguments.jobs} processes")
    print(summary(results, arguments.against))


if __name__ == "__main__":
    main()
