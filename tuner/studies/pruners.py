"""Pruners: whether a trial under way is worth its time, by the validation figures that it and others report each epoch.

They read the project's own epoch records, so they work for one objective or two. What is compared is the best so far of −ELBO,
an upper bound of the NLL, and what the rate falls short of the study's least one. No epoch reports MELBO, so a study of it has no
pruner. A trial is not judged while its technique's schedule has not ended (a slow annealing): it looks poor early. On real curves
they save epochs of one technique and end the best trials of another (`benchmarks.replay`): `none` is the default.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tuner.errors import Refused
from tuner.studies.objectives import OBJECTIVES

STARTUP = 4
"""Number of complete trials before any is compared with their median."""
WARM_UP = 2
"""Number of epochs that every trial may have."""
REDUCTION = 3
"""Factor between rungs: one in so many trials that reach a rung goes on, and the next rung is so many times as far."""
BRACKETS = 3


@dataclass(frozen=True)
class Curve:
    """A trial's epochs: (epoch, −ELBO and what the rate falls short of the least one, rate), in their order."""

    number: int
    complete: bool
    epochs: Sequence[tuple[int, float, float]]

    def best(self, epoch: int) -> float | None:
        """Lowest value up to an epoch; None for a trial that did not get there."""
        if not self.epochs or self.epochs[-1][0] < epoch:
            return None
        return min(value for at, value, _ in self.epochs if at <= epoch)

    def at(self, epoch: int) -> tuple[float, float] | None:
        """Value and rate at an epoch."""
        return next(((value, rate) for at, value, rate in self.epochs if at == epoch), None)


Pruner = Callable[[Curve, Sequence[Curve]], bool]
"""Function that is true of a trial that is to be ended, given its curve so far and the others'."""


def none(mine: Curve, others: Sequence[Curve]) -> bool:
    """Never."""
    del mine, others
    return False


def below_median(mine: Curve, others: Sequence[Curve]) -> bool:
    """True if the trial is worse than the median of the complete trials at its epoch (Golovin et al. 2017)."""
    epoch = mine.epochs[-1][0]
    reached = [best for other in others if other.complete and (best := other.best(epoch)) is not None]
    own = mine.best(epoch)
    return epoch >= WARM_UP and len(reached) >= STARTUP and own is not None and own > median(reached)


def hyperband(mine: Curve, others: Sequence[Curve]) -> bool:
    """True if the trial is not among the best third at a rung (asynchronous successive halving, Li et al. 2020).

    Rungs are at epochs 1, 3, 9, …; a trial's bracket, its number modulo 3, leaves out the first so many.
    """
    epoch = mine.epochs[-1][0]
    rung = REDUCTION ** (mine.number % BRACKETS)
    while rung < epoch:
        rung *= REDUCTION
    if rung != epoch:
        return False
    own = mine.best(epoch)
    reached = sorted(best for other in others if (best := other.best(epoch)) is not None)
    keep = (len(reached) + 1) // REDUCTION
    return own is not None and keep > 0 and sum(best < own for best in reached) >= keep


def dominated(mine: Curve, others: Sequence[Curve]) -> bool:
    """True if more than half of the complete trials had, at the trial's epoch, both a lower value and a higher rate."""
    epoch, value, rate = mine.epochs[-1]
    reached = [point for other in others if other.complete and (point := other.at(epoch)) is not None]
    better = sum(other < value and high > rate for other, high in reached)
    return epoch >= WARM_UP and len(reached) >= STARTUP and better > len(reached) / 2


PRUNERS: dict[str, Pruner] = {"none": none, "median": below_median, "hyperband": hyperband, "dominated": dominated}
JUDGED: dict[Pruner, tuple[str, ...]] = {
    none: tuple(OBJECTIVES),
    below_median: ("nll",),
    hyperband: ("nll",),
    dominated: ("nll", "nll,rate"),
}
"""Objectives by which each pruner can compare trials."""


def check(name: str, objective: str = "nll") -> None:
    """Refuses a pruner that would judge a study's trials by another figure than the study does."""
    if objective not in JUDGED[PRUNERS[name]]:
        fit = [other for other, pruner in PRUNERS.items() if objective in JUDGED[pruner]]
        why = f"is not allowed with {objective}, since it compares other figures: choose {' or '.join(fit)}."
        raise Refused("pruner", name, why)
