"""Our tables, all made by Alembic (`tuner.storage.migrations`). Times are Unix seconds (UTC) by the database's own clock.

    tuner_studies   what a study is: its specification, its budget, its state, and who may ask for the next trial right now
    tuner_trials    a trial as it is now: whose it is, until when, and what it found; this is what decides
    tuner_attempts  one training process of a trial, and how it ended
    tuner_epochs    a trial's validation figures by epoch
    tuner_workers   who is at work
    tuner_keys      who may use the REST API
    tuner_corpora   folders of texts by name

Whatever changes a study, its trials or its epochs counts the study's `revision` up (`revise`) and stamps the rows it changed, so
that a reader who asks for what is newer than the revision it knows misses nothing, whichever process wrote it.
"""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tuner.errors import Missing
from tuner.metrics import Cost, Metrics

LOCK = {"key_share": True}
"""Lock of a study's row: its key does not change, so that rows which refer to it may be added meanwhile."""


class Base(DeclarativeBase):
    """Our tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double, dict[str, Any]: JSON, list[Any]: JSON}


class StudyRow(Base):
    __tablename__ = "tuner_studies"

    name: Mapped[str] = mapped_column(primary_key=True)
    """Name of the study, as in Optuna's table `studies`."""
    specification: Mapped[dict[str, Any]]
    budget: Mapped[int]
    """Number of trials in all, however many workers there are."""
    folder: Mapped[str]
    """Place of the trials' artifacts: a folder or an address such as s3://bucket/prefix."""
    state: Mapped[str] = mapped_column(default="active")
    """State of the study, one of `studies.study.STUDY_STATES`."""
    why: Mapped[str | None] = mapped_column(default=None)
    """Reason why the study was stopped or is broken; of an active study, the fault that it waits for."""
    faults: Mapped[int] = mapped_column(default=0)
    """Number of the study's own faults in a row (`tuner.studies.faults`)."""
    faulted_at: Mapped[float] = mapped_column(default=0.0)
    """Unix time at which the last fault was counted."""
    resumed_at: Mapped[float] = mapped_column(default=0.0)
    """Unix time at which the study was last asked to go on; what failed before does not count against it."""
    rules: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Rules that end a trial or the study early, by name (`studies.spec.RULES`)."""
    attrs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Attributes that the sampler keeps about the study."""
    created_at: Mapped[float]
    recorded_at: Mapped[float] = mapped_column(default=0.0)
    """Unix time at which Optuna's record was last brought up."""
    asker: Mapped[str | None] = mapped_column(default=None)
    """Token of the worker that may create trials now; one at a time."""
    asker_until: Mapped[float] = mapped_column(default=0.0)
    revision: Mapped[int] = mapped_column(BigInteger, default=1)
    """Count of the study's changes, from its creation's Unix milliseconds on: a later study of that name repeats none."""
    results: Mapped[int] = mapped_column(BigInteger, default=0)
    """Revision of the study when a trial last became a result, or was struck out as one; 0: never."""
    winner: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """Best trial by the results of a revision (`tuner.studies.winner`), if someone has asked for it since."""


class TrialRow(Base):
    __tablename__ = "tuner_trials"
    __table_args__ = (
        Index("tuner_trials_by_state", "study", "state", "number"),
        Index("tuner_trials_by_value", "study", "value"),
        Index("tuner_trials_untold", "study", "told"),
        Index("tuner_trials_by_worker", "worker"),
        Index("tuner_trials_by_revision", "study", "revision"),
    )

    study: Mapped[str] = mapped_column(ForeignKey("tuner_studies.name", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    """State of the trial: waiting, running, complete, failed or pruned."""
    params: Mapped[dict[str, Any]]
    value: Mapped[float | None] = mapped_column(default=None)
    """Value that the study minimises."""
    values: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """Values of all objectives, as Optuna is told them."""
    metrics: Mapped[Metrics | None] = mapped_column(JSON(none_as_null=True), default=None)
    cost: Mapped[Cost | None] = mapped_column(JSON(none_as_null=True), default=None)
    attrs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Attributes that the sampler keeps about the trial, and its `trials.SOURCE`."""
    reason: Mapped[str | None] = mapped_column(default=None)
    message: Mapped[str | None] = mapped_column(default=None)
    losses: Mapped[int] = mapped_column(default=0)
    """Number of attempts in a row whose trainer was lost or out of memory since the last new epoch."""
    abandoned: Mapped[int] = mapped_column(default=0)
    """Number of attempts in a row whose worker was lost since the last new epoch."""
    wait_until: Mapped[float] = mapped_column(default=0.0)
    """Unix time before which the trial is not handed out again."""
    seconds: Mapped[float] = mapped_column(default=0.0)
    """Seconds spent by the attempts that are over."""
    artifacts: Mapped[str | None] = mapped_column(default=None)
    """Place of the trial's newest files in the study's folder."""
    token: Mapped[str | None] = mapped_column(default=None)
    """Token of the attempt under way; fences off a worker that has lost its lease."""
    worker: Mapped[str | None] = mapped_column(default=None)
    """Name of the worker that has the trial, or had it last."""
    lease_until: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[float]
    started_at: Mapped[float | None] = mapped_column(default=None)
    """Unix time at which the attempt under way began, or the last one."""
    ended_at: Mapped[float | None] = mapped_column(default=None)
    told: Mapped[bool] = mapped_column(default=False)
    """True once the final state has been copied to Optuna's tables."""
    revision: Mapped[int] = mapped_column(BigInteger, default=1)
    """Revision of the study when this row last changed for a reader."""


class AttemptRow(Base):
    __tablename__ = "tuner_attempts"
    __table_args__ = (Index("tuner_attempts_by_trial", "study", "trial"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey("tuner_studies.name", ondelete="CASCADE"))
    trial: Mapped[int]
    token: Mapped[str] = mapped_column(unique=True)
    seed: Mapped[int]
    state: Mapped[str]
    """State of the attempt: running, finished, failed, lost or interrupted."""
    reason: Mapped[str | None] = mapped_column(default=None)
    message: Mapped[str | None] = mapped_column(default=None)
    worker: Mapped[str] = mapped_column(default="")
    host: Mapped[str]
    pid: Mapped[int]
    """Number of the worker's process."""
    started_at: Mapped[float]
    ended_at: Mapped[float | None] = mapped_column(default=None)


CURVES = ("distortion", "rate", "neg_elbo", "active_units")
"""Figures of each epoch on the validation sentences."""
TOLD = ("epoch", *CURVES, "seconds")
"""Columns of an epoch that a trainer reports, but for its technique's own state."""


class EpochRow(Base):
    __tablename__ = "tuner_epochs"
    __table_args__ = (Index("tuner_epochs_by_revision", "study", "revision"),)

    study: Mapped[str] = mapped_column(ForeignKey("tuner_studies.name", ondelete="CASCADE"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    distortion: Mapped[float | None]
    rate: Mapped[float | None]
    neg_elbo: Mapped[float | None]
    active_units: Mapped[int | None]
    seconds: Mapped[float | None]
    objective: Mapped[dict[str, Any]]
    """State of the technique, e.g. its KL weight."""
    revision: Mapped[int] = mapped_column(BigInteger, default=1)
    """Revision of the study when the epoch was reported."""


class WorkerRow(Base):
    __tablename__ = "tuner_workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    process: Mapped[str]
    """Number and birth of the worker's process (`process_mark`)."""
    device: Mapped[str]
    state: Mapped[str]
    """State of the worker: idle, training, or gone."""
    study: Mapped[str | None] = mapped_column(default=None)
    trial: Mapped[int | None] = mapped_column(default=None)
    trials: Mapped[int] = mapped_column(default=0)
    """Number of trials that the worker has ended."""
    takes: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """The names of the studies that it takes trials of; None: of any."""
    gpu: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """The load of its card when it last renewed a lease, as `workers.gpu.Load`; None without a card."""
    version: Mapped[str]
    started_at: Mapped[float]
    seen_at: Mapped[float]


class KeyRow(Base):
    __tablename__ = "tuner_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    """Part of the key that is no secret."""
    name: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str]
    """SHA-256 of the key, whose 256 random bits need no slower hash."""
    scopes: Mapped[str]
    """Scopes of the key: `read`, or `read write`."""
    created_at: Mapped[float]
    revoked_at: Mapped[float | None] = mapped_column(default=None)
    used_at: Mapped[float | None] = mapped_column(default=None)


class CorpusRow(Base):
    __tablename__ = "tuner_corpora"

    name: Mapped[str] = mapped_column(primary_key=True)
    folder: Mapped[str]
    """Absolute path of the folder in which every worker reads the texts."""
    options: Mapped[dict[str, Any]]
    """Options with which a trainer reads the corpus."""
    created_at: Mapped[float]


def study_row(session: Session, name: str, **how: Any) -> StudyRow:
    """A study's row.

    Args:
        how: options of SQLAlchemy's `Session.get`.

    Raises:
        Missing: if it has been deleted.
    """
    if (row := session.get(StudyRow, name, **how)) is None:
        raise Missing(f"study {name!r} is gone: it has been deleted.")
    return row


def revise(session: Session, study: str, results: bool = False) -> int:
    """Counts a change of a study, one of its results or not, and returns its revision, with which the caller stamps the trial or
    epochs it changed.

    The study's row is locked until the transaction ends, so revisions come in the order of the commits. It is the last row that a
    transaction locks, after trials, attempts and workers; who creates a trial holds it first, and then touches new rows and its
    own worker's only.
    """
    session.flush()
    changed = {"revision": StudyRow.revision + 1} | ({"results": StudyRow.revision + 1} if results else {})
    counted = update(StudyRow).where(StudyRow.name == study).values(**changed)
    return session.execute(counted.returning(StudyRow.revision)).scalar_one()
