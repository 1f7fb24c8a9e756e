"""Studies: create, go on with, inspect, end."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import and_, case, delete, func, select, update

from trainers.contract import FILES, LOG, SAMPLES
from tuner import metrics, samplers
from tuner.errors import Busy, Clash, Fault, Missing, Unreadable, Usage
from tuner.numbers import INDEX, TIMES
from tuner.process import is_dead
from tuner.space import Parameter, Value
from tuner.storage import locations
from tuner.storage.artifacts import MANIFEST, Store
from tuner.storage.database import Database
from tuner.storage.tables import LOCK, AttemptRow, EpochRow, StudyRow, TrialRow, WorkerRow, revise
from tuner.studies.objectives import OBJECTIVES, judged, shortfall
from tuner.studies.spec import Definition, Facts, StudySpec
from tuner.studies.trials import OVER, SOURCE, STATES, Trial, epoch_of, shown_state
from tuner.studies.winner import Winner
from tuner.studies.winner import of as winner_of

STUDY_STATES = ("active", "stopped", "satisfied", "broken", "deleting")
ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, Usage)
"""what a row raises that is not one of ours, however it came into the database"""
SHOWN_STATES = ("active", "finished", *STUDY_STATES[1:])
"""an active study whose budget is spent is finished: not a state of its own in the database, since a larger budget ends it"""


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
            self.created_at, self.store = row.created_at, Store(locations.found(database, row.folder))
            self._stored: Mapping[str, Any] = {}
            self._keep(row)
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
        """What it was asked to be."""
        return self.definition.spec

    @property
    def facts(self) -> Facts:
        """What was found when it was made."""
        return self.definition.facts

    @property
    def searched(self) -> tuple[Parameter, ...]:
        """The hyperparameters that its sampler chooses."""
        return self.definition.searched

    def refresh(self) -> "Study":
        """The study with its settings and its state as they are now."""
        self._keep(self.database.read(lambda session: session.get_one(StudyRow, self.name)))
        return self

    def shown_state(self, counts: Mapping[str, int] | None = None) -> str:
        """One of `SHOWN_STATES`; counts: its trials by state, where they are known already."""
        known = self.counts() if counts is None else counts
        spent = sum(known.get(state, 0) for state in OVER) >= self.spec.trials
        return "finished" if self.state == "active" and spent else self.state

    def run_folder(self, number: int, cache: Path, used: Sequence[str] = FILES) -> Path:
        """A folder with the newest files of a trial, those that will be used checked.

        Raises:
            Usage: if there is no such trial, or it has none yet.
        """
        row = self.database.read(lambda session: session.get(TrialRow, (self.name, number)))
        if row is None:
            count = len(self.trials())
            raise Usage(
                f"run '{self.name}/{number}' does not exist: study {self.name!r} has {count} trials, from 0 on."
            )
        if row.artifacts is None:
            raise Usage(f"run '{self.name}/{number}' has saved nothing yet: its trial is {row.state}.")
        self.check_place()
        return self.store.folder(row.artifacts, cache, used)

    def check_place(self) -> None:
        """
        Raises:
            Fault: if the files of its trials are gone with their folder.
        """
        if self.store.local and not Path(self.store.address).is_dir() and self._published():
            raise Fault(
                f"the files of study {self.name!r} were in {self.store.address}, which is gone: put it back, or say where it is "
                f"with `tuner relocate {self.name} FOLDER`."
            )

    def _published(self) -> list[str]:
        """Where in its store the newest files of its trials are."""
        query = select(TrialRow.artifacts).where(TrialRow.study == self.name, TrialRow.artifacts.is_not(None))
        return [place for place in self.database.read(lambda s: s.scalars(query).all()) if place is not None]

    def relocate(self, address: str) -> None:
        """Has its files looked for elsewhere from now on.

        Raises:
            Usage: if those of its trials are not there.
        """
        there = Store(locations.found(self.database, locations.kept(self.database, address)))
        missing = next((p for p in self._published() if there.read(f"{p}/{MANIFEST}") is None), None)
        if missing is not None or (there.local and not Path(there.address).is_dir()):
            raise Usage(
                f"{address} does not hold the files of study {self.name!r}"
                + (f": it has no {missing}" if missing else "")
                + "."
            )
        moved = update(StudyRow).where(StudyRow.name == self.name)

        def change(session: Any) -> None:
            session.execute(moved.values(folder=locations.kept(self.database, address)))
            revise(session, self.name)

        self.database.run(change)
        self.store = there

    def published(self, number: int, file: str) -> bytes | None:
        """One of the newest files of a trial; none if it has not been published.

        Raises:
            Missing: if there is no such trial.
        """
        self.trial(number)
        query = select(TrialRow.artifacts).where(TrialRow.study == self.name, TrialRow.number == number)
        generation = self.database.read(lambda session: session.execute(query).scalar())
        return None if generation is None else self.store.read(f"{generation}/{file}")

    def samples(self, number: int) -> dict[str, Any] | None:
        """What a complete trial's model wrote; none if it has written nothing."""
        content = self.published(number, SAMPLES)
        return None if content is None else dict(json.loads(content))

    def log(self, number: int, size: int) -> str | None:
        """The last so many bytes of the last attempt's log, whole lines."""
        content = self.published(number, LOG)
        if content is None:
            return None
        end = content[-size:]
        return end[end.find(b"\n") + 1 if len(content) > size else 0 :].decode(errors="replace")

    def run_spec(self, number: int, params: Mapping[str, Value]) -> dict[str, Any]:
        """What the trainer is given for a trial."""
        return {
            "technique": self.spec.technique,
            "corpus": self.facts.corpus.name,
            "model": self.spec.model,
            "values": {**self.spec.fixed, **params},
            "fingerprint": self.facts.corpus.fingerprint,
            "seed": samplers.derive(self.spec.seed, number, "train"),
        }

    def outcome(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """What a complete trial of these metrics keeps: its value is its NLL (or MELBO), whatever its rate."""
        values = judged(self.spec.objective, metrics)
        return {"value": values[0], "values": values, "metrics": metrics}

    def front(self) -> list[int]:
        """Numbers of the complete trials that none has both a lower value and a higher rate than, from the lowest value on; none
        for one objective. Of equal ones all are in it. Of those that reach the least rate, if one does."""
        if len(OBJECTIVES[self.spec.objective]) == 1:
            return []
        mine = (TrialRow.study == self.name, TrialRow.state == "complete")
        query = select(TrialRow.number, TrialRow.values).where(*mine).order_by(TrialRow.number)
        found = self.database.read(lambda s: s.execute(query).all())
        found = [row for row in found if shortfall(self.spec.min_rate, row[1][1]) == 0] or found
        kept = metrics.front([v[0] for _, v in found], [v[1] for _, v in found], "min", "max")
        return [found[index][0] for index in kept]

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
            row = session.get_one(StudyRow, self.name, with_for_update=LOCK)
            if row.state == "deleting":
                raise Clash(
                    f"study {self.name!r} is being deleted: finish that first.", command=f"tuner delete {self.name}"
                )
            row.state, row.why, row.faults = "active", None, 0
            if row.specification.get("untrusted"):
                row.specification = {**row.specification, "untrusted": False}
            if row.rules.get("deadline") is not None and row.rules["deadline"] < self.database.clock(session):
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
            self.store.delete()
        except OSError as error:
            raise Fault(
                f"the files of study {self.name!r} in {self.store.address} cannot be removed ({error})."
            ) from error
        import optuna

        with suppress(KeyError):  # gone in an earlier try
            optuna.delete_study(study_name=self.name, storage=self.database.storage)
        mine = delete(StudyRow).where(StudyRow.name == self.name)
        self.database.run(lambda session: session.execute(mine))

    @staticmethod
    def _is_held(session: Any, name: str | None) -> bool:
        worker = session.get(WorkerRow, name)
        return worker is None or not is_dead(worker.process)

    def trials(self, last: int | None = None) -> list[Trial]:
        """All trials, or the last so many, in the order of their numbers."""
        query = select(TrialRow).where(TrialRow.study == self.name).order_by(TrialRow.number.desc()).limit(last)

        def look(session: Any) -> list[Trial]:
            now = self.database.clock(session)
            return [Trial.of(row, now, self.definition) for row in session.scalars(query)][::-1]

        return self.database.read(look)

    def trial(self, number: int) -> Trial:
        """One trial.

        Raises:
            Missing: if there is none of that number.
        """

        def look(session: Any) -> Trial | None:
            row = session.get(TrialRow, (self.name, number))
            return None if row is None else Trial.of(row, self.database.clock(session), self.definition)

        found = self.database.read(look)
        if found is None:
            raise Missing(f"study {self.name!r} has no trial {number}: list its trials first.")
        return found

    def trials_of(self, numbers: Sequence[int]) -> list[Trial]:
        """The trials of these numbers, in this order; one that is not there is left out."""
        query = select(TrialRow).where(TrialRow.study == self.name, TrialRow.number.in_(numbers))

        def look(session: Any) -> list[Trial]:
            now = self.database.clock(session)
            found = {row.number: Trial.of(row, now, self.definition) for row in session.scalars(query)}
            return [found[number] for number in numbers if number in found]

        return self.database.read(look)

    def trial_page(
        self, limit: int, after: int | None = None, state: str | None = None, newest_first: bool = False
    ) -> list[Trial]:
        """Up to `limit` trials, in the order of their numbers or against it, after one of a number."""
        query = select(TrialRow).where(TrialRow.study == self.name).limit(limit)
        query = query.order_by(TrialRow.number.desc() if newest_first else TrialRow.number)
        if after is not None:
            query = query.where(TrialRow.number < after if newest_first else TrialRow.number > after)

        def look(session: Any) -> list[Trial]:
            now = self.database.clock(session)
            chosen = query if state is None else query.where(shown_state(now) == state)
            return [Trial.of(row, now, self.definition) for row in session.scalars(chosen)]

        return self.database.read(look)

    def epoch_page(self, number: int, limit: int, after: int = 0) -> list[dict[str, Any]]:
        """Up to `limit` epochs of a trial after one; a part of a finished search costs a round trip, not a scan."""
        mine = (EpochRow.study == self.name, EpochRow.trial == number, EpochRow.epoch > after)
        query = select(EpochRow).where(*mine).order_by(EpochRow.epoch).limit(limit)
        return [epoch_of(row) for row in self.database.read(lambda session: session.scalars(query).all())]

    def attempts(self, number: int) -> list[dict[str, Any]]:
        """A trial's attempts, the first one first."""
        columns = (
            AttemptRow.worker, AttemptRow.host, AttemptRow.seed, AttemptRow.state, AttemptRow.reason, AttemptRow.message,
            AttemptRow.started_at, AttemptRow.ended_at,
        )  # fmt: skip
        mine = (AttemptRow.study == self.name, AttemptRow.trial == number)
        query = select(*columns).where(*mine).order_by(AttemptRow.id)
        rows = self.database.read(lambda session: session.execute(query).mappings().all())
        return [{"attempt": count, **row} for count, row in enumerate(rows)]

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """A trial with these hyperparameters, others at their defaults, for the next worker; a spent budget grows by it.

        Raises:
            Usage: if one of them is not searched by this study or out of its domain.
            Clash: if the study is being deleted.
        """
        names = [p.name for p in self.searched]
        for key in params:
            if key not in names:
                raise Usage(
                    f"{key!r} is not searched by study {self.name!r}: give values of {', '.join(names) or 'nothing'}.",
                    f"params.{key}",
                )
        chosen = self.facts.space.checked({**{p.name: p.default for p in self.searched}, **params}, "params")

        def insert(session: Any) -> Trial:
            study = session.get_one(StudyRow, self.name, with_for_update=LOCK)
            if study.state == "deleting":
                raise Clash(f"study {self.name!r} is being deleted: make another one.")
            now = self.database.clock(session)
            mine = select(func.count()).where(TrialRow.study == self.name)
            number = session.execute(mine).scalar_one()
            study.budget = max(study.budget, number + 1)
            return Trial.of(self.wait(session, number, chosen, {SOURCE: "enqueued"}, now), now, self.definition)

        return self.database.run(insert)

    def wait(self, session: Any, number: int, params: dict[str, Value], attrs: dict[str, Any], now: float) -> TrialRow:
        """A trial for the next worker."""
        row = TrialRow(study=self.name, number=number, state="waiting", params=params, attrs=attrs, created_at=now)
        session.add(row)
        row.revision = revise(session, self.name)
        session.flush()
        return row

    def given(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """The hyperparameters of a trial that were chosen or set by hand."""
        return self.definition.given(params)

    def counts(self) -> dict[str, int]:
        """How many trials are in each state."""
        query = select(TrialRow.state, func.count()).where(TrialRow.study == self.name).group_by(TrialRow.state)
        return {row[0]: row[1] for row in self.database.read(lambda session: session.execute(query).all())}

    def shown_counts(self) -> dict[str, int]:
        """The same, a trial whose lease has run out counted as waiting, and every state there."""

        def look(session: Any) -> dict[str, int]:
            state = shown_state(self.database.clock(session))
            query = select(state, func.count()).where(TrialRow.study == self.name).group_by(state)
            return {row[0]: row[1] for row in session.execute(query)}

        return {**dict.fromkeys(STATES, 0), **self.database.read(look)}

    def winner(self) -> Winner | None:
        """Its best trial, and by what; none if no trial is complete."""
        return winner_of(self.database, self.name, self.definition)

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
    """The same, though nothing of it but its name and its place can be read."""
    try:
        return open_study(database, name)
    except Unreadable:
        study = object.__new__(Study)
        place = select(StudyRow.folder).where(StudyRow.name == name)
        study.database, study.name = database, name
        study.store = Store(
            locations.found(database, database.read(lambda session: session.execute(place).scalar_one()))
        )
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
