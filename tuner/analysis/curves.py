"""Learning curves of many trials: one validation figure by epoch and by seconds, all trials together."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, tuple_

from tuner.errors import Usage
from tuner.storage.tables import EpochRow
from tuner.studies.study import Study

FIGURES = ("neg_elbo", "distortion", "rate", "active_units")
"""Figures that every technique has; a technique's own quantities (β, a multiplier) come after them."""
POINTS = 60_000
"""Largest number of points of all curves together; of longer curves every nth epoch is told, and each trial's last."""
LOOKED_AT = 50
"""Largest number of epochs that are searched for the quantities of a technique."""


def of(study: Study, figure: str, numbers: Sequence[int] | None = None) -> dict[str, Any]:
    """One figure's curve of each trial, by columns: `number`, and for each of them a list of `epoch`, `seconds` (of all its
    optimiser steps until then, without set-up and validation) and `value`.

    Args:
        figure: one of `FIGURES`, or of the technique's own quantities.
        numbers: of these trials alone.

    Raises:
        Usage: if the technique has no such figure.
    """
    first = select(EpochRow.objective).where(EpochRow.study == study.name).order_by(EpochRow.trial, EpochRow.epoch)
    size = select(func.count()).select_from(EpochRow).where(EpochRow.study == study.name)
    objectives, count = study.database.read(
        lambda session: (session.scalars(first.limit(LOOKED_AT)).all(), session.execute(size).scalar_one())
    )
    figures = [*FIGURES, *dict.fromkeys(key for each in objectives for key in each)]
    if figure not in figures:
        raise Usage(
            f"figure {figure!r} has no curve in study {study.name!r}: choose of {', '.join(figures)}.", "figure"
        )
    value = getattr(EpochRow, figure) if figure in FIGURES else EpochRow.objective[figure].as_float()
    every = -(-count // POINTS) or 1
    query = select(EpochRow.trial, EpochRow.epoch, EpochRow.seconds, value)
    query = query.where(EpochRow.study == study.name)
    if every > 1:
        last = (
            select(EpochRow.trial, func.max(EpochRow.epoch))
            .where(EpochRow.study == study.name)
            .group_by(EpochRow.trial)
        )
        query = query.where(((EpochRow.epoch - 1) % every == 0) | tuple_(EpochRow.trial, EpochRow.epoch).in_(last))
    rows = study.database.read(lambda s: s.execute(query.order_by(EpochRow.trial, EpochRow.epoch)).all())
    wanted = None if numbers is None else set(numbers)
    found: dict[str, list[Any]] = {"number": [], "epoch": [], "seconds": [], "value": []}
    for trial, epoch, seconds, figure_ in rows:
        if wanted is not None and trial not in wanted:
            continue
        if not found["number"] or found["number"][-1] != trial:
            found["number"].append(trial)
            for key in ("epoch", "seconds", "value"):
                found[key].append([])
        for key, each in (("epoch", epoch), ("seconds", seconds), ("value", figure_)):
            found[key][-1].append(each)
    return {"figure": figure, "figures": figures, "every": every, **found}
