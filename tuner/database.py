"""The study database: Optuna's tables for studies, trials, parameters and values; ours beside them; both made by Alembic.

Times are Unix seconds (UTC). Ours:

    tuner_studies   what a study is: its specification, its budget, and who may ask for the next trial right now
    tuner_attempts  one training process of a trial: its token, its lease, how it ended
    tuner_epochs    a trial's validation figures by epoch
"""

import logging
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy
from sqlalchemy import JSON, ForeignKey, Index, event
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tuner.errors import Fault, Usage

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

VERSION_TABLE = "tuner_version"
"""Alembic's default, `alembic_version`, is Optuna's in the same database"""
BUSY_SECONDS = 30


class Base(DeclarativeBase):
    """Our tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {float: sqlalchemy.Double}


class StudyRow(Base):
    __tablename__ = "tuner_studies"

    name: Mapped[str] = mapped_column(primary_key=True)
    """as in Optuna's table `studies`"""
    specification: Mapped[dict[str, Any]] = mapped_column(JSON)
    budget: Mapped[int]
    """trials in all, however many workers there are"""
    folder: Mapped[str]
    """where the trials' runs are"""
    created_at: Mapped[float]
    asker: Mapped[str | None]
    """token of the worker that may create a trial now; one at a time"""
    asker_until: Mapped[float] = mapped_column(default=0.0)


class AttemptRow(Base):
    __tablename__ = "tuner_attempts"
    __table_args__ = (Index("tuner_attempts_by_trial", "study", "trial"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey("tuner_studies.name", ondelete="CASCADE"))
    trial: Mapped[int]
    token: Mapped[str] = mapped_column(unique=True)
    """fences off a worker that has lost its lease"""
    seed: Mapped[int]
    state: Mapped[str]
    """running, finished, failed, lost or interrupted"""
    reason: Mapped[str | None]
    message: Mapped[str | None]
    host: Mapped[str]
    pid: Mapped[int]
    """the worker's process"""
    lease_until: Mapped[float]
    started_at: Mapped[float]
    ended_at: Mapped[float | None]


class EpochRow(Base):
    __tablename__ = "tuner_epochs"

    study: Mapped[str] = mapped_column(ForeignKey("tuner_studies.name", ondelete="CASCADE"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    distortion: Mapped[float | None]
    rate: Mapped[float | None]
    neg_elbo: Mapped[float | None]
    active_units: Mapped[int | None]
    seconds: Mapped[float | None]
    objective: Mapped[dict[str, Any]] = mapped_column(JSON)
    """the technique's own state, e.g. its KL weight"""


def _immediate(engine: sqlalchemy.Engine) -> None:
    """Makes SQLite take its write lock when a transaction begins: a lock taken half-way through cannot be waited for."""

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # else the driver begins transactions of its own
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class Database:
    """A study database. Opening one of an older version upgrades it; `create` makes one that is not there yet.

    Raises:
        Usage: if the URL is not one, or (without `create`) there is no database.
        Fault: if it cannot be opened, or a newer version of this program made it.
    """

    def __init__(self, url: str, create: bool = False) -> None:
        self.url = url
        try:
            parsed = sqlalchemy.make_url(url)
            self.engine = sqlalchemy.create_engine(url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise Usage(
                f"--database {url!r} is no database URL that can be used ({error}): give e.g. sqlite:///tuner.db."
            ) from error
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if self.sqlite:
            if parsed.database in (None, "", ":memory:"):
                raise Usage(
                    f"--database {url!r} names no file: workers share the database, so give e.g. sqlite:///tuner.db."
                )
            if not create and not Path(str(parsed.database)).exists():
                raise Usage(
                    f"there is no database at {url}: `tuner launch` makes it, or name another one with --database."
                )
            _immediate(self.engine)
        with self.errors():
            if self.sqlite:
                with self.engine.connect() as connection:
                    driver = connection.connection.driver_connection
                    assert driver is not None
                    connection.rollback()
                    driver.execute("PRAGMA journal_mode = WAL")
            self._migrate()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns the database's errors into one sentence."""
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except (DatabaseError, StorageInternalError, sqlite3.DatabaseError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            detail = str(getattr(cause, "orig", cause)).strip().splitlines()[0]
            hint = {
                "readonly": "make it and its folder writable",
                "full": "free some space; the same command then goes on",
                "unable to open": "check that its folder exists and may be written",
                "locked": "another process holds it; try again when that has ended",
                "not a database": "name another file",
            }
            advice = next((text for key, text in hint.items() if key in detail), "check that it is reachable")
            raise Fault(f"database {self.url} cannot be used ({detail}): {advice}.") from error

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        logging.getLogger("alembic").setLevel(logging.WARNING)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        head = ScriptDirectory.from_config(config).get_current_head()
        with self.engine.begin() as connection:  # SQLite: holds the write lock, so that two programs migrate in turn
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            current = context.get_current_revision()
            if current == head:
                return
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            if current is not None and current not in known:
                raise Fault(
                    f"database {self.url} has schema {current!r}, newer than this program's {head!r}: upgrade tuner, or name "
                    "another database with --database."
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @cached_property
    def storage(self) -> "RDBStorage":
        """Optuna's storage in the same database, made or upgraded as needed."""
        import optuna
        from optuna.storages import RDBStorage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        connect = {"connect_args": {"timeout": BUSY_SECONDS}} if self.sqlite else {}
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # its check for the schema's version warns before it raises
                    storage = RDBStorage(self.url, engine_kwargs=connect, skip_compatibility_check=True)
                break
            except DatabaseError as error:
                racing = any(word in str(error) for word in ("already exists", "UNIQUE", "unique", "locked"))
                if not racing or time.monotonic() > deadline:
                    raise  # else another program makes the tables at this moment
                time.sleep(0.1)
        if storage.get_current_version() not in storage.get_all_versions():
            raise Fault(
                f"database {self.url} was made by a newer Optuna (schema {storage.get_current_version()}): upgrade optuna."
            )
        if storage.get_current_version() != storage.get_head_version():
            storage.upgrade()
        if self.sqlite:
            storage.engine.dispose()
            _immediate(storage.engine)
        return storage

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back on an exception."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session
