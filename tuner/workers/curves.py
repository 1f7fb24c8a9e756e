"""Trials' validation figures by epoch, in their study's own terms, as pruners compare them."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from tuner.storage.tables import EpochRow, TrialRow
from tuner.studies.objectives import shortfall
from tuner.studies.pruners import PRUNERS, Curve, none
from tuner.studies.trials import STRUCK

if TYPE_CHECKING:
    from tuner.studies.study import Study


class Curves:
    """A study's curves, which follow the study: only epochs that are new since are read, however long it has become."""

    def __init__(self, study: "Study") -> None:
        self.study = study
        self._figures: dict[int, dict[int, tuple[float, float]]] = {}
        self._curves: dict[int, Curve] = {}
        self._complete: set[int] = set()
        self._epochs_seen = self._trials_seen = 0
        """Newest revision read of each kind of row; there are two, as the kinds are read one after the other."""

    def follow(self) -> list[Curve]:
        """Every trial's curve as it is now; an epoch without both figures, as of a diverged model, is in none."""
        newer = EpochRow.revision > self._epochs_seen
        mine = (EpochRow.study == self.study.name, EpochRow.neg_elbo.is_not(None), EpochRow.rate.is_not(None), newer)
        epochs = select(EpochRow.trial, EpochRow.epoch, EpochRow.neg_elbo, EpochRow.rate, EpochRow.revision).where(
            *mine
        )
        ended = (TrialRow.study == self.study.name, TrialRow.state == "complete", TrialRow.revision > self._trials_seen)
        over = select(TrialRow.number, TrialRow.revision).where(*ended)

        void = select(TrialRow.number).where(TrialRow.study == self.study.name, TrialRow.reason == STRUCK)

        def look(session: Any) -> tuple[list[Any], list[Any], set[int]]:
            return list(session.execute(epochs)), list(session.execute(over)), set(session.scalars(void))

        found, complete, struck = self.study.database.read(look)
        least = self.study.spec.min_rate
        for trial, epoch, neg_elbo, rate, _ in found:
            self._figures.setdefault(trial, {})[epoch] = (neg_elbo + shortfall(least, rate), rate)
        self._complete |= {number for number, _ in complete}
        for number in {row[0] for row in found} | {row[0] for row in complete if row[0] in self._figures}:
            sorted_ = [(epoch, *figures) for epoch, figures in sorted(self._figures[number].items())]
            self._curves[number] = Curve(number, number in self._complete, sorted_)
        self._epochs_seen = max([self._epochs_seen, *(row[-1] for row in found)])
        self._trials_seen = max([self._trials_seen, *(row[-1] for row in complete)])
        return [self._curves[number] for number in sorted(self._curves) if number not in struck]

    def is_poor(self, number: int) -> bool:
        """True if the study's pruner ends a trial as it is now."""
        prune = PRUNERS[self.study.spec.pruner]
        if prune is none:
            return False
        curves = {curve.number: curve for curve in self.follow()}
        mine = curves.pop(number, None)
        return mine is not None and prune(mine, list(curves.values()))
