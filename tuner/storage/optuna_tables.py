"""Optuna's own tables: a study's place in them, which is made, held and deleted in transactions of ours."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from optuna.storages._rdb import models as models  # its own mapping of its tables; CONTRIBUTING says what replaces it
from optuna.study import StudyDirection
from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

PARTS: tuple[Any, ...] = (
    models.TrialParamModel, models.TrialSystemAttributeModel, models.TrialUserAttributeModel, models.TrialValueModel,
    models.TrialIntermediateValueModel,
)  # fmt: skip
"""Tables that hold the rest of a trial, beside its number, state and times."""


def locked(name: str) -> Select[Any]:
    """The query for a study's row, which locks it: whoever changes what belongs to the study does so in turn."""
    return select(models.StudyModel).where(models.StudyModel.study_name == name).with_for_update()


def enrol(session: Session, name: str, directions: Sequence[str]) -> bool:
    """Enters a study if none of its name is there, and locks its row.

    Args:
        directions: `minimize` or `maximize` for each objective.

    Returns:
        True if there is one that is not as new: it has trials, or other directions.
    """
    wanted = _of(directions)
    while (found := session.scalar(locked(name))) is None:
        with suppress(IntegrityError), session.begin_nested():  # another program may be faster
            kept = [models.StudyDirectionModel(objective=n, direction=each) for n, each in enumerate(wanted)]
            session.add(models.StudyModel(study_name=name, directions=kept))
    return _is_used(session, found, wanted)


def is_used(session: Session, name: str, directions: Sequence[str]) -> bool:
    """True if `enrol` would say so of a study of that name."""
    found = session.scalar(select(models.StudyModel).where(models.StudyModel.study_name == name))
    return found is not None and _is_used(session, found, _of(directions))


def _of(directions: Sequence[str]) -> list[StudyDirection]:
    return [StudyDirection[direction.upper()] for direction in directions]


def _is_used(session: Session, found: models.StudyModel, wanted: list[StudyDirection]) -> bool:
    trials = select(models.TrialModel.trial_id).where(models.TrialModel.study_id == found.study_id).limit(1)
    there = [each.direction for each in sorted(found.directions, key=lambda each: each.objective)]
    return there != wanted or session.execute(trials).first() is not None


def forget(session: Session, name: str) -> None:
    """Deletes a study. Optuna's own deletion does not wait for a worker's record of its trials, and loses against it."""
    if (found := session.scalar(locked(name))) is not None:
        session.delete(found)
        session.flush()
