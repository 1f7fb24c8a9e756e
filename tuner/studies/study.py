"""A study of a database: its settings, its state and its best trial; how it is stopped, resumed and deleted."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, case, delete, func, select, update

from tuner.errors import Busy, Clash, Fault, Missing, Unreadable, Usage
from tuner.numbers import INDEX, TIMES
from tuner.process import is_dead
from tuner.space import Parameter
from tuner.storage.database import Database
from tuner.storage.tables import LOCK, StudyRow, TrialRow, WorkerRow, revise, study_row
from tuner.studies import winner
from tuner.studies.published import Published
from tuner.studies.spec import Definition, Facts, StudySpec
from tuner.studies.trials import OVER, Trial, Trials, count_over, revive

STUDY_STATES = ("active", "stopped", "satisfied", "broken", "deleting")
ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, Usage)
"""Errors of a row that is not one of ours, however it came into the database."""
SHOWN_STATES = ("active", "finished", *STUDY_STATES[1:])
"""States as shown. An active study whose budget is spent is finished, which is no state in the database, as a larger
budget ends it.
"""


def shown_study_state() -> Any:
    """A study's state as shown, in SQL."""
    over = select(func.count()).where(TrialRow.study == StudyRow.name, TrialRow.state.in_(OVER)).correlate(StudyRow)
    spent = and_(StudyRow.state == "active", over.scalar_subquery() >= StudyRow.budget)
    return case((spent, "finished"), else_=StudyRow.state)


class Study:
    """One study in its database."""

    def __init__(self, database: Database, row: StudyRow) -> None:
        """
        Raises:
            Unreadable: if the row is none of this program's.
        """
        self.database = database
        try:
            self.name = row.name
            self.created_at, self.files = row.created_at, Published(database, row.name, row.folder)
            self._stored: Mapping[str, Any] = {}
            self._keep(row)
            self.trials = Trials(database, self.name, self.definition)
            json.dumps((row.specification, self.created_at, row.budget, self.why, row.rules), allow_nan=False)
            odd = not all(isinstance(text, str) for text in (self.facts.corpus.name, self.why or ""))
            if odd or self.created_at not in TIMES or row.budget not in INDEX or self.state not in STUDY_STATES:
                raise ValueError("a value that no study has")
        except ODD as error:
            raise _unreadable(row.name, error) from error

    def _keep(self, row: StudyRow) -> None:
        if row.specification != self._stored:  # what may change is in it too
            self._stored = row.specification
            self.definition = Definition.of(row.specification, row.budget, row.rules)
        self.definition = self.definition.changed(row.budget, row.rules)
        self.state, self.why, self.revision = row.state, row.why, row.revision

    @property
    def spec(self) -> StudySpec:
        """The settings that people asked for."""
        return self.definition.spec

    @property
    def facts(self) -> Facts:
        """The facts found when the study was made."""
        return self.definition.facts

    @property
    def searched(self) -> tuple[Parameter, ...]:
        """The hyperparameters that its sampler chooses."""
        return self.definition.searched

    def refresh(self) -> "Study":
        """The study with its settings and its state as they are now."""
        self._keep(self.database.read(lambda session: study_row(session, self.name)))
        return self

    def shown_state(self, counts: Mapping[str, int] | None = None) -> str:
        """One of `SHOWN_STATES`; counts: its trials by state, where they are known already."""
        known = self.trials.counts() if counts is None else counts
        spent = count_over(known) >= self.spec.trials
        return "finished" if self.state == "active" and spent else self.state

    def stop(self) -> None:
        """Ends it if it is active: some user says so."""
        if self.shown_state() == "active":
            self.end("stopped", "stopped by the user")

    def end(self, state: str, why: str) -> None:
        """Hands out no more trials: the study is `stopped` by someone, or `satisfied`. What is under way is handed back."""
        ended = update(StudyRow).where(StudyRow.name == self.name, StudyRow.state == "active")

        def change(session: Any) -> None:
            if session.execute(ended.values(state=state, why=why)).rowcount:
                revise(session, self.name)

        self.database.run(change)
        self.refresh()

    def resume(self, load_sampler: bool = False) -> None:
        """Hands out trials again; a deadline that has passed is dropped.

        Args:
            load_sampler: a sampler that is code which came with a bundle may be imported from now on.

        Raises:
            Clash: if it must not, or the study is being deleted.
        """
        if self.facts.untrusted and not load_sampler:
            came = f"study {self.name!r} came in a bundle, and its sampler {self.spec.sampler} is code"
            raise Clash(
                f"{came}: look at it, then have it imported.",
                public=f"{came}: it can be resumed on the command line alone, where that is asked for.",
                command=f"tuner resume {self.name} --load-sampler",
            )

        def change(session: Any) -> None:
            row = study_row(session, self.name, with_for_update=LOCK)
            if row.state == "deleting":
                raise Clash(
                    f"study {self.name!r} is being deleted: finish that first.", command=f"tuner delete {self.name}"
                )
            now = self.database.clock(session)
            revive(row, now)
            if row.specification.get("untrusted"):
                row.specification = {**row.specification, "untrusted": False}
            if row.rules.get("deadline") is not None and row.rules["deadline"] < now:
                row.rules = {**row.rules, "deadline": None}
            revise(session, self.name)

        self.database.run(change)
        self.refresh()

    def delete(self) -> None:
        """Removes its files, its place in Optuna's tables, and its record; cut short, it can be done again. What is gone already
        is gone.

        Raises:
            Clash: if trials of it are under way.
            Busy: if it has been stopped, and trials are being handed back.
        """

        def mark(session: Any) -> None:
            now = self.database.clock(session)
            mine = select(StudyRow.state).where(StudyRow.name == self.name).with_for_update(key_share=True)
            state = session.execute(mine).scalar()  # and no more of the row: it may be unreadable
            if state is None:  # someone was quicker
                return
            live = (TrialRow.study == self.name, TrialRow.state == "running", TrialRow.lease_until > now)
            rows = session.execute(select(TrialRow.number, TrialRow.worker).where(*live)).all()
            held = [number for number, worker in rows if self._is_held(session, worker)]
            if held and state != "active":
                raise Busy(
                    f"study {self.name!r} is {state}, and trials of it ({_listed(held)}) are being handed back: "
                    "try again in a moment."
                )
            if held:
                raise Clash(
                    f"study {self.name!r} has trials under way ({_listed(held)}): stop it first.",
                    command=f"tuner stop {self.name}",
                )
            session.execute(update(StudyRow).where(StudyRow.name == self.name).values(state="deleting"))
            revise(session, self.name)

        self.database.run(mark)
        try:
            self.files.remove()
        except OSError as error:
            raise Fault(
                f"the files of study {self.name!r} in {self.files.store.address} cannot be removed ({error})."
            ) from error
        from tuner.storage import optuna_tables

        def remove(session: Any) -> None:
            optuna_tables.forget(session, self.name)
            session.execute(delete(StudyRow).where(StudyRow.name == self.name))

        self.database.run(remove)

    @staticmethod
    def _is_held(session: Any, name: str | None) -> bool:
        worker = session.get(WorkerRow, name)
        return worker is None or not is_dead(worker.process)

    def front(self) -> list[int]:
        """Numbers of the trials that no other dominates (`winner.front`); none for one objective."""
        return winner.front(self.database, self.name, self.definition)

    def winner(self) -> winner.Winner | None:
        """The study's best trial, with the figures by which it wins; None if no trial is complete."""
        return winner.of(self.database, self.name, self.definition)

    def best(self) -> Trial | None:
        """The winner alone."""
        found = self.winner()
        return None if found is None else found.trial


def open_study(database: Database, name: str) -> Study:
    """A study by its name.

    Raises:
        Missing: if there is none.
        Unreadable: if its row is none of this program's.
    """
    known = database.read(lambda s: s.scalars(select(StudyRow.name).order_by(StudyRow.name).limit(20)).all())
    try:
        row = database.read(lambda session: session.get(StudyRow, name))
    except ODD as error:
        raise _unreadable(name, error) from error
    if row is None:
        there = f"it holds {', '.join(known)}" if known else "it holds none"
        public = f"there is no study {name!r} here: list those that there are."
        raise Missing(f"study {name!r} is not in {database.url}: {there}.", public=public)
    return Study(database, row)


def open_to_delete(database: Database, name: str) -> Study:
    """A study by its name, to be deleted, though nothing of it but its name and its place can be read."""
    try:
        return open_study(database, name)
    except Unreadable:
        study = object.__new__(Study)
        place = select(StudyRow.folder).where(StudyRow.name == name)
        study.database, study.name = database, name
        folder = database.read(lambda session: session.execute(place).scalar_one())
        study.files = Published(database, name, folder)
        return study


def _unreadable(name: str, error: Exception) -> Unreadable:
    why = str(error)[:100] or type(error).__name__
    found = Unreadable(
        f"study {name!r} is none that this program has written ({why}): `tuner delete {name}` removes it.",
        public=f"study {name!r} is none that this program has written ({why}): delete it.",
    )
    found.name = name
    return found


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
