"""A rate that must hold: as a penalty on the NLL, and as a constraint with a margin, on this project's own trials.

    python -m benchmarks.least_rate --problems sfb@7 sfb@12 --samplers gp-map --seeds 10

A problem is a technique and a least rate. NLL and rate are thin-plate splines through a table's trials (`--table`: a Sobol design
over the technique's space, and some points with several seeds, from which noise is drawn that NLL and rate share). Each sampler
is told either the NLL plus what the rate falls short of the least one, or the NLL with the rate as Optuna's constraint. Each
study's winner is chosen by that penalised value, as before, and by `tuner.studies.winner` as now. `reach` is the probability
that a confirmation of the winner reaches the rate, the mean over seeds; `NLL` its noise-free NLL, less the lowest of all points
that reach the rate with a probability of .9, the median."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy.interpolate import RBFInterpolator
from scipy.special import ndtr
from scipy.stats import qmc, wilcoxon

from benchmarks.data import CURVES
from tuner import samplers, space
from tuner.samplers.cube import Array, Cube
from tuner.studies import winner

START = 5
"""Number of points before a sampler's own: the published values and four of a Sobol sequence."""
CHECKPOINTS = (8, 12, 20, 30)
SMOOTHINGS = 10.0 ** np.arange(-4, 1.6, 0.25)


class Task:
    """A technique's NLL and rate over its space, and their noise."""

    def __init__(self, table: Any, technique: str, least: float) -> None:
        self.least = least
        self.space = {p.name: p.distribution() for p in space.load(technique).searched({})}
        self.cube = Cube(self.space)
        rows = table["trials"][technique]
        x = np.array([self.cube.encode(row["params"]) for row in rows])
        nll, rate = (np.array([row[key] for row in rows]) for key in ("nll", "rate"))
        shared = np.mean([np.cov(np.array(row["runs"]).T) for row in table["seeds"][technique]], axis=0)
        self.noise, sd = np.linalg.cholesky(shared), np.sqrt(np.diag(shared))
        self.sd, self.floor = float(sd[1]), float(nll.min())  # a spline may undershoot between its points
        self._nll, self._rate = _smooth(x, nll, sd[0]), _smooth(x, rate, sd[1])
        unit = qmc.Sobol(len(self.cube.parts), rng=np.random.default_rng(0)).random(2**12)
        dense = np.concatenate([self.cube.spread(unit), x])
        self.optimum = float(self.nll(dense)[self.reach(dense) >= 0.9].min())
        self.first = self.cube.encode(space.load(technique).published({})[0])

    def nll(self, x: Array) -> Array:
        """The NLL at points [m, d]: [m]."""
        found: Array = np.maximum(self._nll(x), self.floor)
        return found

    def rate(self, x: Array) -> Array:
        """The rate at points [m, d]: [m]."""
        return np.asarray(self._rate(x))

    def reach(self, x: Array) -> Array:
        """Probability that a run at each of points [m, d] reaches the least rate: [m]."""
        return np.asarray(ndtr((self.rate(x) - self.least) / self.sd))


def _smooth(x: Array, y: Array, sd: float) -> RBFInterpolator:
    """The thin-plate spline whose misfit is nearest to the noise."""
    made = [RBFInterpolator(x, y, kernel="thin_plate_spline", smoothing=s) for s in SMOOTHINGS]
    return min(made, key=lambda spline: abs(math.log(max(float((spline(x) - y).std()), 1e-12) / sd)))


def run(task: Task, sampler: str, constrained: bool, seed: int) -> dict[str, tuple[float, float]]:
    """One study: of each rule and number of trials the winner's NLL above the optimum, and its probability to reach the rate."""
    unit = qmc.Sobol(len(task.cube.parts), rng=np.random.default_rng([seed, 1])).random(START - 1)
    noise = np.random.default_rng([seed, 2]).standard_normal((max(CHECKPOINTS), 2)) @ task.noise.T
    study = optuna.create_study()
    for point in (task.first, *task.cube.spread(unit)):
        study.enqueue_trial(task.cube.decode(point))
    x, nll, short = np.empty((0, task.cube.d)), np.empty(0), np.empty(0)
    found: dict[str, tuple[float, float]] = {}
    for number, (up, more) in enumerate(noise):
        study.sampler = samplers.create(sampler, {}, seed, number, task.space)
        trial = study.ask(task.space)
        point = task.cube.encode(trial.params)[None]
        x = np.concatenate([x, point])
        nll, short = np.append(nll, task.nll(point) + up), np.append(short, task.least - task.rate(point) - more)
        penalised = nll + np.maximum(short, 0)
        if constrained:
            trial.set_constraint("rate", float(short[-1]))
        study.tell(trial, float((nll if constrained else penalised)[-1]))
        if number + 1 in CHECKPOINTS:
            for rule, place in (
                ("penalised", winner.judged(x, penalised).number),
                ("constrained", winner.judged(x, nll, short).number),
            ):
                won = x[place][None]
                found[f"{rule} {number + 1}"] = float(task.nll(won)[0]) - task.optimum, float(task.reach(won)[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", required=True, help="Problem, written technique@least rate.")
    parser.add_argument("--samplers", nargs="+", default=["gp-map"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--table", type=Path, default=CURVES)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = json.loads(arguments.table.read_text(encoding="utf-8"))
    pairs: dict[tuple[str, int], list[float]] = {}
    for name in arguments.problems:
        technique, _, least = name.partition("@")
        task = Task(table, technique, float(least))
        for sampler in arguments.samplers:
            every = {told: [run(task, sampler, told, s) for s in range(arguments.seeds)] for told in (False, True)}
            for told, each in every.items():
                for rule in each[0]:
                    nll, reach = np.array([found[rule] for found in each]).T
                    print(
                        f"{name} {sampler} told a {'constraint' if told else 'penalty'}, winner {rule}: "
                        f"NLL {np.median(nll):+.2f}, reach {reach.mean():.2f}",
                        flush=True,
                    )
            for n in CHECKPOINTS:
                key = f"constrained {n}"
                pairs.setdefault((sampler, n), []).extend(
                    mine[key][0] - theirs[key][0] for mine, theirs in zip(every[True], every[False], strict=True)
                )
    for (sampler, n), differences in pairs.items():
        lower, higher = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
        print(
            f"{sampler} after {n}, told a constraint against a penalty, both winners constrained: NLL lower in {lower}, "
            f"higher in {higher}, p = {wilcoxon(differences).pvalue if any(differences) else 1.0:.2g}"
        )


if __name__ == "__main__":
    main()
