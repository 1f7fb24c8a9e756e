"""Studies: create, go on with, inspect. The one service layer; the command line is a thin coat over it."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import select

from tuner import __version__, samplers
from tuner.attempts import Attempts
from tuner.database import AttemptRow, Database, EpochRow, StudyRow
from tuner.errors import Fault, Usage
from tuner.pruners import Curve
from tuner.space import Space, Value

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

METRICS = (
    "nll", "nll_se", "ppl", "ppl_no_end", "ppl_elbo", "melbo", "ppl_melbo", "rate", "rate_error", "distortion", "neg_elbo",
    "paper_elbo", "active_units", "mi", "mi_he", "mi_lower", "acc_gap",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a study shall be."""

    space: Space
    corpus: str
    model: str
    fixed: Mapping[str, Value]
    """hyperparameters and options set by hand"""
    sampler: str
    seed: int
    trials: int
    sampler_options: Mapping[str, Value] = field(default_factory=dict)
    min_rate: float = 0.0
    """nats; what a trial's rate falls short of it is added to its NLL, so that a collapsed model does not win (PA's own tool)"""
    pruner: str = "none"
    objective: str = "nll"
    """one of `OBJECTIVES`"""
    stop_when: float = 0.0
    """nats; the study ends when the sampler expects to gain less (0: never)"""

    def specification(self, corpus: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "technique": self.space.technique,
            "space": self.space.plain(),
            "corpus": {key: corpus[key] for key in ("name", "fingerprint", "sentences", "vocabulary", "entropy")},
            "model": self.model,
            "fixed": dict(self.fixed),
            "sampler": self.sampler,
            "sampler_options": dict(self.sampler_options),
            "min_rate": self.min_rate,
            "pruner": self.pruner,
            "stop_when": self.stop_when,
            "seed": self.seed,
            "objective": self.objective,
            "version": __version__,
        }


IDENTITY = (
    "technique", "space", "corpus", "model", "fixed", "sampler", "sampler_options", "min_rate", "pruner", "seed", "objective",
)  # fmt: skip
"""what must agree for a command to go on with a study"""
ADDED = {"sampler_options": {}, "min_rate": 0.0, "pruner": "none", "stop_when": 0.0}
"""what a study made before these existed has"""
OBJECTIVES: dict[str, list[Literal["minimize", "maximize"]]] = {
    "nll": ["minimize"],
    "nll,rate": ["minimize", "maximize"],
}
"""what a study optimises, and Optuna's directions"""
OVER = ("complete", "failed", "pruned")
"""states that a trial does not leave"""


@dataclass(frozen=True)
class Trial:
    """A trial as shown."""

    number: int
    state: str
    """complete, failed, pruned, running, or interrupted (goes on when the study does)"""
    params: dict[str, Value]
    value: float | None
    metrics: dict[str, Any] | None
    seconds: float | None
    """spent by all its attempts"""
    cost: dict[str, Any] | None
    """epochs, training tokens per second, and the last attempt's seconds of set-up, training and evaluation"""
    reason: str | None
    message: str | None
    run: str

    def plain(self) -> dict[str, Any]:
        return dict(vars(self))


class Study:
    """One study in its database."""

    def __init__(self, database: Database, row: StudyRow) -> None:
        self.database = database
        self.name, self.specification, self.budget = row.name, {**ADDED, **row.specification}, row.budget
        self.folder, self.created_at = Path(row.folder), row.created_at

    @property
    def space(self) -> Space:
        return Space.of(self.specification["space"])

    def optuna(self, sampler: "optuna.samplers.BaseSampler | None" = None) -> "optuna.Study":
        import optuna

        return optuna.load_study(study_name=self.name, storage=self.database.storage, sampler=sampler)

    def run_folder(self, number: int) -> Path:
        return self.folder / f"{number:04d}"

    def run_spec(self, number: int, params: Mapping[str, Value]) -> dict[str, Any]:
        """What the trainer is given for a trial."""
        facts = self.specification
        return {
            "technique": facts["technique"],
            "corpus": facts["corpus"]["name"],
            "model": facts["model"],
            "values": {**facts["fixed"], **params},
            "fingerprint": facts["corpus"]["fingerprint"],
            "seed": samplers.derive(facts["seed"], number, "train"),
        }

    def front(self, trials: list[Trial]) -> list[Trial]:
        """The complete trials that none has both a lower value and a higher rate than; empty for one objective."""
        if self.specification["objective"] == "nll":
            return []
        done = [t for t in trials if t.value is not None and t.metrics]
        return [t for t in done if not any(_dominates(other, t) for other in done)]

    @property
    def stopped(self) -> str | None:
        """Why the study ended before its budget, if it did."""
        reason: str | None = self.optuna().user_attrs.get("stopped")
        return reason

    def stop(self, reason: str | None) -> None:
        """Keeps in the study's record why it ended, or that it goes on."""
        self.optuna().set_user_attr("stopped", reason)

    def curves(self) -> list[Curve]:
        """Every trial's validation figures by epoch."""
        with self.database.session() as session:
            mine = select(EpochRow).where(EpochRow.study == self.name).order_by(EpochRow.trial, EpochRow.epoch)
            rows: dict[int, list[tuple[int, float, float]]] = {}
            for row in session.scalars(mine):
                if row.neg_elbo is not None and row.rate is not None:
                    rows.setdefault(row.trial, []).append((row.epoch, row.neg_elbo, row.rate))
        complete = {t.number for t in self.optuna().get_trials(deepcopy=False) if t.state.name == "COMPLETE"}
        return [Curve(number, number in complete, epochs) for number, epochs in rows.items()]

    def trials(self) -> list[Trial]:
        """All trials, in the order of their numbers."""
        attempts: dict[int, list[AttemptRow]] = {}
        with self.database.session() as session:
            for row in session.scalars(select(AttemptRow).where(AttemptRow.study == self.name).order_by(AttemptRow.id)):
                attempts.setdefault(row.trial, []).append(row)
        return [self._trial(t, attempts.get(t.number, [])) for t in self.optuna().get_trials(deepcopy=False)]

    def _trial(self, trial: "FrozenTrial", attempts: list[AttemptRow]) -> Trial:
        from optuna.trial import TrialState

        ended = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.PRUNED: "pruned"}
        state = ended.get(trial.state, "running")
        last = attempts[-1] if attempts else None
        if state == "running" and (last is None or not Attempts.is_live(last)):
            state = "interrupted"
        spent = [
            (a.ended_at or (time.time() if Attempts.is_live(a) else a.lease_until)) - a.started_at for a in attempts
        ]
        return Trial(
            number=trial.number,
            state=state,
            params=dict(trial.params),
            value=trial.values[0] if state == "complete" else None,
            metrics=trial.user_attrs.get("metrics"),
            seconds=round(sum(spent), 3) if attempts else None,
            cost=trial.user_attrs.get("cost"),
            reason=last.reason if last and state != "complete" else None,
            message=last.message if last and state != "complete" else None,
            run=f"{self.name}/{trial.number}",
        )

    def plain(self) -> dict[str, Any]:
        """The study, its trials and its best trial as JSON values."""
        facts, trials = self.specification, self.trials()
        best = best_of(trials)
        return {
            "study": self.name,
            "technique": facts["technique"],
            "corpus": facts["corpus"]["name"],
            "model": facts["model"],
            "sampler": facts["sampler"],
            "seed": facts["seed"],
            "objective": facts["objective"],
            "min_rate": facts["min_rate"],
            "pruner": facts["pruner"],
            "stopped": self.stopped,
            "fixed": facts["fixed"],
            "budget": self.budget,
            "entropy": facts["corpus"]["entropy"],
            "trials": [trial.plain() for trial in trials],
            "best": best.plain() if best else None,
            "front": [trial.number for trial in self.front(trials)],
        }


def _dominates(one: Trial, other: Trial) -> bool:
    (a, b), (c, d) = ((t.value or 0.0, (t.metrics or {})["rate"]) for t in (one, other))
    return bool(a <= c and b >= d and (a, b) != (c, d))


def best_of(trials: list[Trial]) -> Trial | None:
    """The complete trial of the lowest value: its NLL, and what its rate falls short of a least one."""
    done = [t for t in trials if t.value is not None]
    return min(done, key=lambda t: (t.value, t.number), default=None)


def open_study(database: Database, name: str) -> Study:
    """A study by its name.

    Raises:
        Usage: if there is none.
    """
    with database.session() as session:
        row = session.get(StudyRow, name)
        if row is None:
            known = session.scalars(select(StudyRow.name).order_by(StudyRow.name).limit(20)).all()
            there = f"it holds {', '.join(known)}" if known else "it holds none"
            raise Usage(f"study {name!r} is not in {database.url}: {there}.")
    return Study(database, row)


def all_studies(database: Database) -> list[Study]:
    with database.session() as session:
        rows = session.scalars(select(StudyRow).order_by(StudyRow.created_at, StudyRow.name)).all()
    return [Study(database, row) for row in rows]


def go_on(database: Database, name: str, request: Request, corpus: Mapping[str, Any], runs: Path) -> Study:
    """Creates the study, or goes on with it if it is the same but for its budget.

    Raises:
        Usage: if a study of that name is another one.
    """
    import optuna

    wanted = request.specification(corpus)
    # First, so that a study of ours always has its record; one without any trial is a creation that was cut short.
    record = optuna.create_study(
        study_name=name, storage=database.storage, directions=OBJECTIVES[request.objective], load_if_exists=True
    )
    used = bool(record.get_trials(deepcopy=False))
    with database.session() as session:
        row = session.get(StudyRow, name)
        if row is None:
            if used:
                raise Usage(
                    f"study {name!r} is in {database.url} but is not this program's: take another --study NAME."
                )
            folder = (runs / f"{name}-{secrets.token_hex(3)}").resolve()
            try:
                folder.mkdir(parents=True)
            except OSError as error:
                raise Fault(f"--runs {runs} cannot be written ({error.strerror}): name another folder.") from error
            row = StudyRow(
                name=name,
                specification=wanted,
                budget=request.trials,
                folder=str(folder),
                created_at=time.time(),
            )
            session.add(row)
        else:
            earlier = {**ADDED, **row.specification}
            differs = [key for key in IDENTITY if earlier[key] != wanted[key]]
            if differs:
                key = differs[0]
                raise Usage(
                    f"study {name!r} exists with another {key} ({_brief(earlier[key])}, not {_brief(wanted[key])}): "
                    "give the new one a name of its own with --study NAME."
                )
            row.budget = max(row.budget, request.trials)  # another worker may be at it
            row.specification = {**earlier, "stop_when": request.stop_when}
    study = Study(database, row)
    if study.stopped is not None and not request.stop_when:
        study.stop(None)
    return study


def _brief(value: object) -> str:
    if isinstance(value, dict) and "fingerprint" in value:
        return f"{value['name']} with fingerprint {value['fingerprint']}"
    text = str(value)
    return text if len(text) < 60 else text[:57] + "…"
