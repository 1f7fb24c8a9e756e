"""End that `--stop-when` would have put to a study, and what the rest of its budget would have found.

    python -m benchmarks.stopping --problem shekel-4 --sampler gp-map --seeds 10 --evaluations 60

Each study is run to its end; the rule of `tuner.studies.endings` is then asked after each evaluation, for each tolerance. Printed
are, over the seeds: how many studies ended early, after how many evaluations, and by how much the rest lowered the best value.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import optuna

from benchmarks.problems import PROBLEMS, Problem
from tuner import samplers
from tuner.samplers import MODELS, START
from tuner.samplers.gp_mcmc import DIAGNOSTICS
from tuner.studies import endings

TOLERANCES = (0.01, 0.05, 0.1, 0.5, 1.0)


def run(problem: Problem, sampler: str, seed: int, evaluations: int) -> tuple[list[float], list[float | None]]:
    """A study's values, and what each of its proposals promised."""
    study = optuna.create_study()
    for number in range(evaluations):
        study.sampler = samplers.create(sampler, {"n_startup": START}, seed, number, problem.space)
        trial = study.ask(problem.space)
        study.tell(trial, problem.value(trial.params))
    values = [float(trial.value or 0.0) for trial in study.trials]
    return values, [trial.system_attrs.get(DIAGNOSTICS, {}).get("expected_gain") for trial in study.trials]


def end(values: Sequence[float], gains: Sequence[float | None], parameters: int, tolerance: float) -> int:
    """After how many evaluations the rule would have ended the study; all of them if it would not."""
    needed = endings.proposals(parameters)
    for n in range(max(needed + 1, endings.TRIALS_EACH * parameters), len(values)):
        last, before = n - needed, min(values[: n - needed])
        if endings.hopeless(gains[last:n], len(values) - n, values[last:n], before, tolerance):
            return n
    return len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="shekel-4", choices=list(PROBLEMS))
    parser.add_argument("--sampler", default="gp-map", choices=MODELS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=60)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = PROBLEMS[arguments.problem]
    studies = [run(problem, arguments.sampler, seed, arguments.evaluations) for seed in range(arguments.seeds)]
    print(f"regrets at the end: {', '.join(f'{min(values) - problem.minimum:.3g}' for values, _ in studies)}")
    print("| tolerance | ended early | after, median [range] | lower after that, median [range] |\n|---|---|---|---|")
    for tolerance in TOLERANCES:
        ends = np.array([end(values, gains, len(problem.space), tolerance) for values, gains in studies])
        lost = [min(values[:n]) - min(values) for n, (values, _) in zip(ends, studies, strict=True)]
        print(
            f"| {tolerance:g} | {(ends < arguments.evaluations).sum()} of {len(ends)} "
            f"| {np.median(ends):g} [{ends.min()}, {ends.max()}] | {np.median(lost):.2g} [{min(lost):.2g}, {max(lost):.2g}] |"
        )


if __name__ == "__main__":
    main()
