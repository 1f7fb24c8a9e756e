"""The study database: our tables (`tuner.storage.tables`), and beside them Optuna's record of studies and trials, for every tool
that reads it.

Optuna's tables follow ours (`tuner.studies.optuna_bridge`): Optuna writes each value in a transaction of its own, which no lease
can fence.
"""

import logging
import math
import os
import random
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from tuner import addresses
from tuner.errors import Fault, Usage

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

Result = TypeVar("Result")

VERSION_TABLE = "tuner_version"
"""Table of our schema's version. Alembic's default, `alembic_version`, is Optuna's in the same database."""
SCHEMA = "0009"
"""Version of the schema that this program uses: the newest of `tuner.storage.migrations.versions`."""
BUSY_SECONDS = 30
POOL: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": -1}
"""Options of a server's connections: threads share a few, and an idle one may have been cut."""
RETRY_SECONDS = 0.2
"""Seconds before a transaction that lost its connection is tried again; doubled up to `RETRY_LIMIT` each time."""
RETRY_LIMIT = 10.0
PATIENCE = 900.0
"""Seconds for which a worker waits for a database that cannot be used; its training goes on meanwhile."""
RACES = ("40001", "40P01")
"""PostgreSQL's states of a transaction that lost against another one: serialization failure, deadlock."""
SLOW_SECONDS = 5.0
"""Seconds beyond which a transaction counts as kept waiting, and others' renewals of their leases with it."""
SQLITE_CAUSES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
"""Causes for which SQLite's file may be unusable for a while: a backup's lock, a full disk."""
NETWORK_FILE_SYSTEMS = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs",
     "fuse.glusterfs", "fuse.sshfs", "fuse.ceph", "fuse.s3fs")
)  # fmt: skip


def _file_system(path: Path, mounts: str) -> str:
    """The type of the file system that holds an absolute path, by the text of /proc/self/mounts."""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, found = line.split()[:3]
        point = point.replace("\\040", " ")
        if (path.is_relative_to(point)) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _refuse_network(file: Path) -> None:
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    except OSError:
        return
    kind = _file_system(file.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise Usage(
            f"--database sqlite:///{file} lies on a network file system ({kind}), where SQLite's locks do not hold: "
            "name a file on a local disk, or use PostgreSQL (postgresql://user@host/name)."
        )


def _is_closed(file: Path) -> bool:
    """True if this process may not write a file that exists, or make the files beside it that writing needs."""
    return file.exists() and not all(os.access(place, os.W_OK, effective_ids=True) for place in (file, file.parent))


def _reader(file: Path) -> sqlite3.Connection:
    """A connection for one transaction that only reads.

    Beside a writer it sees what he has committed. A quiet file, which has no log, is read as it is: SQLite opens none of the kind
    without writing beside it.
    """
    quiet = "" if file.with_name(f"{file.name}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro{quiet}", uri=True, check_same_thread=False)


def _immediate(engine: sqlalchemy.Engine) -> None:
    """Makes SQLite take its write lock when a transaction begins: a lock taken half-way through cannot be waited for.

    `reading` on the connection's options begins one that only reads, which WAL lets pass beside a writer.
    """

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # else the driver begins transactions of its own
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _(connection: sqlalchemy.Connection) -> None:
        reads = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _has_gone(error: BaseException) -> bool:
    """True if the transaction may be tried again: the database failed, or it lost a race that is not its fault."""
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in SQLITE_CAUSES
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or state in RACES:
        return True
    # class 08: connection; 57P0x: the server shuts down or starts; 53: out of connections. None: no server answered.
    unreachable = state is None or state[:2] in ("08", "53") or state.startswith("57P")
    return unreachable and type(error.orig).__module__.startswith("psycopg") and not isinstance(error.orig, TypeError)


class Database:
    """A study database.

    Args:
        url: sqlite:///FILE, or postgresql://…
        create: makes one that is not there yet.
        patience: seconds for which a transaction is tried again while the database cannot be reached or written.
        upgrade: upgrades an older one; SQLite's, which one machine has to itself, always is.

    Raises:
        Usage: if the URL is not one that can be used, or (without `create`) there is no database.
        Fault: if it cannot be opened, its schema is older (PostgreSQL) or newer than this program's.
    """

    def __init__(self, url: str, create: bool = False, patience: float = 0.0, upgrade: bool = False) -> None:
        self.patience = patience
        self.back_at = -math.inf
        """Time by `time.monotonic` at which a transaction last went through that had been kept waiting."""
        self._file: tuple[Path, int, int] | None = None
        """Path, device and inode of SQLite's file, by which another file in its place is noticed; None if it is only
        read.
        """
        self.address = addresses.parse(url)
        self.url = self.address.shown
        """Address for people, without its password."""
        self.secret_url = self.address.text
        self.sqlite = self.address.file is not None
        if self.address.file is not None:
            self._check_file(self.address.file, create)
        self.reads_only = self.address.file is not None and _is_closed(Path(self.address.file))
        """True if this user may not write SQLite's file."""
        options = POOL
        if self.address.file is not None:
            reader = {"creator": partial(_reader, Path(self.address.file)), "poolclass": sqlalchemy.NullPool}
            options = reader if self.reads_only else {"max_overflow": -1}  # a thread that writes may wait for long
        try:
            self.engine = sqlalchemy.create_engine(self.address.url, **options)
        except ImportError as error:
            raise Usage(
                f"--database {self.url!r} cannot be used ({error}): pip install 'text-vae-tuner[postgres]'."
            ) from error
        if self.sqlite:
            _immediate(self.engine)
        try:
            with self.errors():
                self._open(create, upgrade or self.sqlite)
        except BaseException:
            self.close()
            raise

    def _open(self, create: bool, upgrade: bool) -> None:
        if self.sqlite and not self.reads_only:
            with self.engine.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                connection.rollback()
                if driver.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    driver.execute("PRAGMA journal_mode = WAL")
                file = Path(driver.execute("PRAGMA database_list").fetchone()[2])
            self._file = (file, file.stat().st_dev, file.stat().st_ino)
        current = self.read(self._current)
        if current != SCHEMA:
            self._prepare(current, create, upgrade)

    def _check_file(self, file: str, create: bool) -> None:
        if not create and not Path(file).exists():
            raise Usage(
                f"there is no database at {self.url}: `tuner launch` makes it, or name another one with --database."
            )
        _refuse_network(Path(file))

    def _prepare(self, current: str | None, create: bool, upgrade: bool) -> None:
        if current is None and not create and not upgrade:
            raise Usage(f"{self.url} holds no studies yet: `tuner launch` or `tuner database upgrade` prepares it.")
        if current is not None and current > SCHEMA:
            raise self._newer(current)
        if current is not None and not upgrade:
            raise Fault(
                f"database {self.url} has schema {current!r}, older than this program's {SCHEMA!r}: stop the workers, then "
                "run `tuner database upgrade`."
            )
        self.run(lambda session: self._migrate(session))

    @staticmethod
    def _current(session: Session) -> str | None:
        """The schema's version; None where there is none."""
        try:
            with session.begin_nested():
                found: str | None = session.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        except (OperationalError, ProgrammingError) as error:
            if _has_gone(error) or not any(word in str(error) for word in ("no such table", "does not exist")):
                raise
            return None
        return found

    def _newer(self, current: str) -> Fault:
        return Fault(
            f"database {self.url} has schema {current!r}, newer than this program's {SCHEMA!r}: upgrade tuner, or name "
            "another database with --database."
        )

    def _migrate(self, session: Session) -> None:
        """Upgrades the tables in one transaction, which holds a lock, so that two programs migrate in turn."""
        from alembic import command
        from alembic.config import Config

        logging.getLogger("alembic").setLevel(logging.WARNING)
        if not self.sqlite:
            session.execute(text("SELECT pg_advisory_xact_lock(7465787476616531)"))
        if self._current(session) == SCHEMA:
            return
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.attributes["connection"] = session.connection()
        command.upgrade(config, SCHEMA)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns the database's errors into one sentence."""
        try:
            yield
        except (Fault, Usage):
            raise
        except Exception as error:
            kinds = (DBAPIError, sqlite3.DatabaseError)
            cause = error if isinstance(error, kinds) else error.__cause__  # Optuna's errors are raised from ours
            if not isinstance(cause, kinds):
                raise
            detail = str(getattr(cause, "orig", cause)).strip().splitlines()[0]
            hint = {
                "readonly": "make it and its folder writable",
                "full": "free some space; the same command then goes on",
                "unable to open": "check that its folder exists and may be written",
                "locked": "another process holds it; try again when that has ended",
                "not a database": "name another file",
                "password": "check the user and the password in the URL",
            }
            advice = next((text for key, text in hint.items() if key in detail), "check that it is reachable")
            raise Fault(f"database {self.url} cannot be used ({detail}): {advice}.") from error

    def run(self, work: Callable[[Session], Result], patience: float | None = None) -> Result:
        """The result of `work`, done in one transaction, and done again if the connection is lost or a race decided against it.

        A connection may be lost after the commit and before word of it: `work` must bear being done twice.
        """

        def once() -> Result:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                return work(session)

        return self._patiently(once, patience)

    def read(self, work: Callable[[Session], Result]) -> Result:
        """Returns the result of work that only reads: all of it sees one state, and it does not wait for SQLite's writers."""
        snapshot = {} if self.sqlite else {"isolation_level": "REPEATABLE READ"}

        def once() -> Result:
            connected = self.engine.connect().execution_options(reading=True, **snapshot)
            with connected as connection, Session(connection) as session:
                return work(session)

        return self._patiently(once, None)

    def _patiently(self, once: Callable[[], Result], patience: float | None) -> Result:
        began = time.monotonic()
        deadline = began + (self.patience if patience is None else patience)
        wait = RETRY_SECONDS
        while True:
            self._check_place()
            try:
                found = once()
            except DBAPIError as error:
                lost = getattr(error.orig, "sqlstate", None) in RACES  # which takes no patience
                if not _has_gone(error) or time.monotonic() > (began + BUSY_SECONDS if lost else deadline):
                    raise
            else:
                if time.monotonic() > began + SLOW_SECONDS:
                    self.back_at = time.monotonic()
                return found
            time.sleep(wait * random.uniform(0.5, 1.0))  # not all workers at once
            wait = min(2 * wait, RETRY_LIMIT)

    def _check_place(self) -> None:
        """Notices when SQLite's file is not there any more: what is written to a deleted file is lost without a word.

        Raises:
            Fault: if it has been deleted, or replaced by another one.
        """
        if self._file is None:
            return
        file, *known = self._file
        try:
            found = [file.stat().st_dev, file.stat().st_ino]
        except FileNotFoundError:
            found = []
        if found != known:
            done = "replaced by another one" if found else "deleted"
            raise Fault(
                f"the file of database {self.url} was {done} while it was in use: put it back, and start again."
            )

    def clock(self, session: Session) -> float:
        """Now, by the database's clock: machines' clocks disagree."""
        if self.sqlite:
            return time.time()
        now: float = (
            session.connection().exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8").scalar_one()
        )
        return now

    def rest(self) -> None:
        """Gives the connections back: a worker holds none while it trains."""
        if not self.sqlite:
            self.engine.pool.dispose()  # the idle ones; another thread may be using one
            if "storage" in self.__dict__:
                self._record_engine.pool.dispose()

    def close(self) -> None:
        """Closes all connections; the next use opens new ones."""
        self.engine.dispose()
        if "storage" in self.__dict__:
            self._record_engine.dispose()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def storage(self) -> "BaseStorage":
        """Optuna's storage in this database, made or upgraded as needed."""
        import optuna
        from optuna.storages import RDBStorage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        connect: dict[str, Any] = (
            {"connect_args": {"timeout": BUSY_SECONDS}} if self.sqlite else dict(POOL, pool_size=1)
        )
        deadline = time.monotonic() + BUSY_SECONDS
        with _STORAGES:  # Optuna's check for its tables and their creation are apart
            while True:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # its check for the schema's version warns before it raises
                        storage = RDBStorage(
                            self.address.rendered,
                            engine_kwargs=connect,
                            skip_compatibility_check=True,
                        )
                    break
                except DBAPIError as error:
                    racing = any(word in str(error) for word in ("already exists", "UNIQUE", "unique", "locked"))
                    if not (racing or _has_gone(error)) or time.monotonic() > deadline:
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
        self._record_engine = storage.engine
        storage.remove_session()  # its looking for versions keeps a connection
        return optuna.storages.get_storage(storage)


_STORAGES = threading.Lock()
