"""Cheaper studies, replayed on real curves: what each way to spend epochs has found, and when.

    python -m benchmarks.replay --problems sfb mdr sfb@7 mdr@3 --seeds 20

A problem is a technique of `benchmarks.trials`' table of curves, and a least rate where one is named. Methods may train a table's
configurations a little, go on with them from where they stopped, and pay for the added epochs alone. What counts is the value of
those trained to their end, the NLL (or −ELBO, with `--by neg_elbo`). What is known before is each epoch's −ELBO (or with `--known
nll` its NLL of a few sentences). Where there is a least rate both have what the rate falls short of it added. The full search
trains each configuration that our process proposes to its end: `gp full`. Each row has the median lowest value after so many
epochs, and the epochs after which a method's median is the full search's after five and after ten trials, and within `WITHIN`
nats of that after ten, each beside its share of what the full search itself needed for it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import CURVES
from tuner import space
from tuner.samplers.acquisition import LogEI
from tuner.samplers.cube import Array, Cube
from tuner.samplers.gp import Posterior, Processes, mode, prior_mode
from tuner.samplers.observations import standardised, winsorised
from tuner.studies import pruners
from tuner.studies.objectives import shortfall

START = 4
"""Number of configurations before a process proposes."""
TRIALS = (5, 10, 20)
"""Numbers of trials of the full search, after whose epochs medians are shown."""
WITHIN = 0.1
"""Nats by which another seed changes the value of a good configuration."""
GOALS = {"five trials": (5, 0.0), "ten": (10, 0.0), f"ten, within {WITHIN:g}": (10, WITHIN)}
"""Medians of the full search that are to be reached, and how nearly."""
FULL = "gp full"
EACH = ("neg_elbo", "rate", "nll")
"""Figures of each epoch in a table, the NLL where it was made with `--each`."""


@dataclass(frozen=True)
class Pool:
    """Curves and final values of the configurations, each trained to its end."""

    x: Array  # [n, d]
    curves: Sequence[Sequence[float]]
    """Each epoch's −ELBO, or NLL, and what its rate falls short."""
    finals: Array  # [n]

    @classmethod
    def of(cls, table: Any, technique: str, least: float = 0.0, by: str = "nll", known: str = "neg_elbo") -> "Pool":
        rows = table["trials"][technique]
        cube = Cube({p.name: p.distribution() for p in space.load(technique).searched({})})

        def curve(row: Any, figure: str) -> list[float]:
            return [epoch[EACH.index(figure)] + shortfall(least, epoch[1]) for epoch in row["epochs"]]

        finals = [row["nll"] + shortfall(least, row["rate"]) if by == "nll" else curve(row, by)[-1] for row in rows]
        points = np.array([cube.encode(row["params"]) for row in rows])
        return cls(points, [curve(row, known) for row in rows], np.array(finals))

    @property
    def whole(self) -> int:
        """Epochs of a full trial."""
        return max(map(len, self.curves))


class Seen:
    """Configurations that have been trained, in the order begun, and their cost."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool, self.spent = pool, 0
        self.reached: dict[int, int] = {}
        self.order: list[int] = np.random.default_rng(seed).permutation(len(pool.finals)).tolist()

    def train(self, configuration: int, until: int) -> None:
        """Goes on with a configuration up to an epoch."""
        until = min(until, len(self.pool.curves[configuration]))
        self.spent += until - self.reached.get(configuration, 0)
        self.reached[configuration] = until

    def over(self, configuration: int) -> bool:
        return self.reached.get(configuration) == len(self.pool.curves[configuration])

    @property
    def finished(self) -> list[int]:
        return [c for c in self.reached if self.over(c)]

    @property
    def untried(self) -> list[int]:
        return [c for c in self.order if c not in self.reached]

    @property
    def lowest(self) -> float:
        return float(min((self.pool.finals[c] for c in self.finished), default=math.inf))

    def curve(self, configuration: int) -> pruners.Curve:
        epochs = self.pool.curves[configuration][: self.reached[configuration]]
        told = [(number + 1, value, 0.0) for number, value in enumerate(epochs)]
        place = list(self.reached).index(configuration)
        return pruners.Curve(place, self.over(configuration), told)

    def best(self, configuration: int, epoch: int) -> float:
        """The lowest of a curve up to an epoch, or up to its end."""
        return min(self.pool.curves[configuration][:epoch])


Step = tuple[int, int] | None
"""Configuration that is trained next, and up to which epoch; None: all are over."""
Method = Callable[[Seen], Step]
Proposal = Callable[[Seen], int | None]
"""Next configuration to begin, if one is left."""


def at_random(seen: Seen) -> int | None:
    return next(iter(seen.untried), None)


def _improved(seen: Seen, values: Mapping[int, float]) -> int | None:
    """The untried configuration of the highest expected improvement below values of others, as by `gp-map`."""
    left = seen.untried
    if len(values) < START or not left:
        return at_random(seen)
    x = seen.pool.x[list(values)]
    y, _ = standardised(winsorised(np.array(list(values.values()))))
    processes = Processes.fit(mode(Posterior(x, y), prior_mode(x.shape[1]))[None], x, y)
    lowest = processes.predict(x)[0].min()
    return left[int(np.argmax(LogEI(processes, np.full((1, 1), lowest))(seen.pool.x[left])))]


def by_process(seen: Seen) -> int | None:
    """Told of those that were given up as of the worst value, as our samplers are."""
    known = {c: float(seen.pool.finals[c]) for c in seen.finished}
    worst = max(known.values(), default=0.0)
    return _improved(seen, {c: known.get(c, worst) for c in seen.reached} if known else {})


def by_rungs(seen: Seen) -> int | None:
    """Told of the latest epoch that more than `START` have reached."""
    ends = sorted(seen.reached.values(), reverse=True)
    epoch = ends[START] if len(ends) > START else 0
    return _improved(seen, {c: seen.best(c, epoch) for c, end in seen.reached.items() if epoch and end >= epoch})


@dataclass(frozen=True)
class Full:
    """One configuration after the other, each to its end unless a pruner ends it."""

    propose: Proposal
    pruner: pruners.Pruner = pruners.none

    def __call__(self, seen: Seen) -> Step:
        if seen.reached:
            last = next(reversed(seen.reached))
            others = [seen.curve(c) for c in seen.reached if c != last]
            if not seen.over(last) and not self.pruner(seen.curve(last), others):
                return last, seen.reached[last] + 1
        new = self.propose(seen)
        return None if new is None else (new, 1)


@dataclass(frozen=True)
class Halving:
    """One in `reduction` of those at a rung goes on to the next, as soon as so many are there (Li et al. 2020).

    With several brackets (Hyperband) new configurations begin in turn at the first, second, … rung. When none is left the best
    of the highest rung goes on.
    """

    propose: Proposal
    reduction: int = 3
    brackets: int = 1

    def rungs(self, whole: int) -> list[int]:
        """Epochs, from two or more up to all."""
        found = [whole]
        while found[0] >= 2 * self.reduction:
            found.insert(0, math.ceil(found[0] / self.reduction))
        return found

    def __call__(self, seen: Seen) -> Step:
        rungs = self.rungs(seen.pool.whole)
        stopped: list[tuple[int, int]] = []
        for rung, following in reversed(list(itertools.pairwise(rungs))):
            there = sorted((c for c in seen.reached if seen.reached[c] >= rung), key=lambda c: seen.best(c, rung))
            waiting = [c for c in there if seen.reached[c] == rung and not seen.over(c)]
            for configuration in waiting:
                if configuration in there[: len(there) // self.reduction]:
                    return configuration, following
            stopped += [(configuration, following) for configuration in waiting[:1]]
        new = self.propose(seen)
        if new is None:
            return next(iter(stopped), None)
        return new, rungs[len(seen.reached) % min(self.brackets, len(rungs))]


class Thawing:
    """A process over configuration and epoch: goes on where the final value's expected improvement an epoch is highest.

    After freeze and thaw (Swersky et al. 2014). The epoch is one more coordinate, in logarithms, and the final value one step
    beyond the last. The process is fitted anew whenever there are a tenth more observations.
    """

    STEPS = (1, 2, 4, 8, 16)
    FINAL = 1.25

    def __init__(self) -> None:
        self.theta = np.zeros(0)
        self.fitted = 0

    def _at(self, x: Array, time: float) -> Array:
        return np.concatenate([x, np.full((len(x), 1), time)], 1)

    def __call__(self, seen: Seen) -> Step:
        pool, begun, unfinished = seen.pool, list(seen.reached), [c for c in seen.order if not seen.over(c)]
        if not unfinished:
            return None
        if len(begun) < START:
            return seen.untried[0], self.STEPS[1]
        places, values = [], []
        for c in begun:
            for step in self.STEPS:
                if step <= seen.reached[c]:
                    places.append([*pool.x[c], math.log(step) / math.log(pool.whole)])
                    values.append(pool.curves[c][step - 1])
            if seen.over(c):
                places.append([*pool.x[c], self.FINAL])
                values.append(pool.finals[c])
        x, y = np.array(places), standardised(winsorised(np.array(values)))[0]
        if len(x) > 1.1 * self.fitted:
            start = self.theta if len(self.theta) else prior_mode(x.shape[1])
            self.theta, self.fitted = mode(Posterior(x, y), start), len(x)
        processes = Processes.fit(self.theta[None], x, y)
        lowest = processes.predict(self._at(pool.x[seen.finished or begun], self.FINAL))[0].min()
        gain = LogEI(processes, np.full((1, 1), lowest))(self._at(pool.x[unfinished], self.FINAL))
        left = [pool.whole - seen.reached.get(c, 0) for c in unfinished]
        chosen = unfinished[int(np.argmax(gain - np.log(left)))]
        return chosen, next(step for step in (*self.STEPS, pool.whole) if step > seen.reached.get(chosen, 0))


METHODS: dict[str, Callable[[], Method]] = {
    FULL: lambda: Full(by_process),
    "random full": lambda: Full(at_random),
    "gp, median pruning": lambda: Full(by_process, pruners.below_median),
    "gp, hyperband pruning": lambda: Full(by_process, pruners.hyperband),
    "random, median pruning": lambda: Full(at_random, pruners.below_median),
    "random, halving by 3": lambda: Halving(at_random),
    "random, halving by 2": lambda: Halving(at_random, 2),
    "gp, halving by 3": lambda: Halving(by_rungs),
    "gp, halving by 2": lambda: Halving(by_rungs, 2),
    "random, Hyperband": lambda: Halving(at_random, brackets=3),
    "gp, Hyperband": lambda: Halving(by_rungs, brackets=3),
    "curve model": Thawing,
}


def replay(pool: Pool, method: Method, seed: int, budget: int) -> Array:
    """The lowest final value after each epoch that was paid for: [budget + 1], infinite before the first."""
    seen, found = Seen(pool, seed), np.full(budget + 1, math.inf)
    while seen.spent < budget and (step := method(seen)) is not None:
        seen.train(*step)
        found[seen.spent :] = seen.lowest
    return found


def first(values: Array, wanted: float) -> int | None:
    """The epoch from which on values [epochs] are at most what is wanted."""
    reached = np.flatnonzero(values <= wanted)
    return int(reached[0]) if len(reached) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--problems", nargs="+", default=["sfb", "mdr"], help="Problem: a technique, or technique@least rate."
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--by", default="nll", choices=["nll", "neg_elbo"], help="Figure that is the final value.")
    parser.add_argument("--known", default="neg_elbo", choices=["neg_elbo", "nll"], help="Figure known of each epoch.")
    parser.add_argument("--table", type=Path, default=CURVES)
    arguments = parser.parse_args()
    table = json.loads(arguments.table.read_text(encoding="utf-8"))
    for problem in arguments.problems:
        technique, _, least = problem.partition("@")
        pool = Pool.of(table, technique, float(least or 0), arguments.by, arguments.known)
        budget = max(TRIALS) * pool.whole
        shown = [trials * pool.whole for trials in TRIALS]
        print(f"\n{problem}: lowest {pool.finals.min():.3f}, median {np.median(pool.finals):.3f}")
        heads = ["method", *(f"{n} epochs" for n in shown), *(f"as good as {goal}" for goal in GOALS)]
        print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
        wanted: list[tuple[float, int]] = []
        for name in dict.fromkeys([FULL, *arguments.methods]):
            every = [replay(pool, METHODS[name](), seed, budget) for seed in range(arguments.seeds)]
            medians = np.median(every, axis=0)
            if name == FULL:
                values = [float(medians[trials * pool.whole]) + near for trials, near in GOALS.values()]
                wanted = [(value, first(medians, value) or budget) for value in values]
            cells = [f"{medians[n]:.3f}" if math.isfinite(medians[n]) else "–" for n in shown]
            for value, needed in wanted:
                at = first(medians, value)
                cells.append("never" if at is None else f"{at} ({at / needed:.2f})")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
