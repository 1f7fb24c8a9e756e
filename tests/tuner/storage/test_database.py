"""The schema: migrations equal the models, older is upgraded, newer refused, trouble told in one sentence."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from stub_study import STUB, make, run

from benchmarks.postgres import Postgres
from tuner import trainer
from tuner.errors import Fault, Usage
from tuner.storage import database as database_module
from tuner.storage import keys
from tuner.storage.database import SCHEMA, VERSION_TABLE, Database
from tuner.storage.tables import Base, KeyRow
from tuner.studies import changes, queries
from tuner.studies import study as studies
from tuner.studies.access import DatabaseStudies
from tuner.studies.objectives import outcome
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import open_study
from tuner.workers.curves import Curves
from tuner.workers.leases import Attempts

OLD = Path(__file__).parents[2] / "data" / "schema_0001.sql"
"""Database of version 0001 with four studies, made by that version with the stub trainer."""
SECOND = OLD.with_name("schema_0002.sql")
"""Database of version 0002 with two studies, made likewise."""


def test_migrations_make_what_the_models_say(database: Database) -> None:
    assert database.storage is not None
    with database.engine.connect() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "include_name": lambda name, kind, _: kind != "table" or name.startswith("tuner_"),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_this_programs_schema_is_the_newest_migration() -> None:
    folder = Path(database_module.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == SCHEMA


def test_ours_and_optunas_versions_live_side_by_side(database: Database) -> None:
    assert database.storage is not None
    tables = set(sqlalchemy.inspect(database.engine).get_table_names())
    assert {VERSION_TABLE, "alembic_version", "tuner_studies", "tuner_trials", "tuner_epochs", "trials"} <= tables


def test_sqlite_is_in_wal_mode(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/t.db", create=True).close()
    with sqlite3.connect(tmp_path / "t.db") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _set_version(database: Database, version: str) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")


@pytest.mark.parametrize("upgrade", [False, True])
def test_a_newer_database_is_refused_and_untouched(database: Database, upgrade: bool) -> None:
    _set_version(database, "9999")
    with pytest.raises(Fault, match=f"has schema '9999', newer than this program's '{SCHEMA}': upgrade tuner"):
        Database(database.secret_url, upgrade=upgrade)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").all() == [("9999",)]


def test_a_servers_older_database_waits_for_the_upgrade_command(postgres: Postgres) -> None:
    from alembic import command
    from alembic.config import Config

    url = postgres.create()
    with pytest.raises(Usage, match="holds no studies yet"):
        Database(url)
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with pytest.raises(
        Fault, match=r"has schema '0001', older than .*stop the workers, then run `tuner database upgrade`"
    ):
        Database(url)
    upgraded = Database(url, upgrade=True)
    assert queries.all_studies(upgraded) == []
    upgraded.close()
    again = Database(url)
    again.close()


def test_a_database_of_the_first_version_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(tmp_path / "t.db") as plain:
        plain.executescript(OLD.read_text(encoding="utf-8").replace("/runs/", f"{tmp_path}/runs/"))
    database = Database(f"sqlite:///{tmp_path}/t.db")
    found = {study.name: study for study in queries.all_studies(database)}
    old = found["old"]
    states = ["complete", "failed", "complete", "complete", "complete", "complete", "waiting"]
    assert [t.state for t in old.trials.all()] == states
    first, second = old.trials.all()[:2]
    assert first.value == first.metrics["nll"] == pytest.approx(10 + (first.params["r"] - 6) ** 2)  # type: ignore
    assert (second.reason, second.message) == ("nan", "told to end with nan.")
    assert all(t.seconds is not None and 0 < t.seconds < 60 for t in old.trials.all())
    assert (found["ended"].state, "expected to gain" in str(found["ended"].why)) == ("stopped", True)
    assert [len(t.params) for t in found["two"].trials.all()] == [4, 4, 4]
    assert found["two"].trials.all()[0].metrics is not None
    assert found["empty"].trials.all() == []
    assert {c.number: list(c.epochs) for c in Curves(old).follow()} == {n: [(1, 3.0, 2.0)] for n in range(7)}

    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    params = old.trials.all()[6].params
    run(old)
    assert [t.state for t in old.trials.all()][6] == "complete"
    assert old.trials.all()[6].params == params
    record = as_optuna(old).trials
    assert [t.params for t in record] == [t.params for t in old.trials.all()]
    assert [t.value for t in record] == [t.value for t in old.trials.all()]
    database.close()


def test_the_migration_of_results_takes_shortfalls_out_of_values_and_back(database: Database, tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    study = make(database, tmp_path, 2, min_rate=3.0)
    attempts = Attempts(study, "w")
    for rate in (1.0, 5.0):
        claim = attempts.claim()
        assert claim is not None
        attempts.finish(claim, "complete", **outcome(study.spec.objective, {"nll": 7.0, "melbo": None, "rate": rate}))
    as_optuna(study)

    def values() -> list[tuple[float, list[float]]]:
        query = sqlalchemy.text('SELECT value, "values" FROM tuner_trials ORDER BY number')
        with database.engine.connect() as connection:
            rows = connection.execute(query).all()
        return [(value, json.loads(all_) if isinstance(all_, str) else all_) for value, all_ in rows]

    assert values() == [(7.0, [7.0])] * 2
    for direction, version, first in ((command.downgrade, "0006", 9.0), (command.upgrade, "head", 7.0)):
        with database.engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            direction(config, version)
        assert values() == [(first, [first]), (7.0, [7.0])]
    assert as_optuna(study).best_trial.number == 1
    assert study.winner() is not None


def test_a_database_of_the_second_version_tells_all_it_holds_and_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "t.db") as plain:
        plain.executescript(SECOND.read_text(encoding="utf-8").replace("/runs/", f"{tmp_path}/runs/"))
    database = Database(f"sqlite:///{tmp_path}/t.db")
    assert keys.listed(database) == []
    before = changes.changes(database, "old", 0)
    assert before is not None
    assert [t.number for _, t in before.trials] == [0, 1, 2]
    assert [(number, figures["epoch"]) for _, number, figures in before.epochs] == [(0, 1), (1, 1), (2, 1)]
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    old = studies.open_study(database, "old")
    old.trials.enqueue({"r": 5})
    run(old)
    after = changes.changes(database, "old", before.until)
    assert after is not None
    assert [(t.number, t.state) for _, t in after.trials] == [(3, "complete")]
    database.close()


def test_a_newer_optunas_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    assert Database(url, create=True).storage
    with sqlite3.connect(tmp_path / "t.db") as plain:
        plain.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")
    with pytest.raises(Fault, match="made by a newer Optuna"):
        assert Database(url).storage


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////no/such/folder/t.db", "unable to open database file.*check that its folder exists"),
        ("sqlite:///{folder}", "unable to open database file"),
        ("sqlite:///{folder}/text.db", "file is not a database.*name another file"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, url: str, message: str) -> None:
    (tmp_path / "text.db").write_text("this is no database, but long enough to be read as the header of one" * 20)
    with pytest.raises(Fault, match=message):
        Database(url.format(folder=tmp_path), create=True)


@pytest.fixture
def closed() -> Iterator[Callable[[bool], Path]]:
    """Makes a folder with a database of one study, and takes the right to write it; who runs the tests is not root there."""
    with tempfile.TemporaryDirectory() as folder:
        place, own = Path(folder), os.geteuid()

        def close(whole: bool) -> Path:
            database = Database(f"sqlite:///{place}/t%20.db", create=True)
            make(database, place, 1)
            database.close()
            if own == 0:
                place.chmod(0o755)
                os.seteuid(65534)
            else:
                (place / "t%20.db").chmod(0o444)
                place.chmod(0o555 if whole else 0o755)
            return place / "t%20.db"

        yield close
        os.seteuid(own)
        place.chmod(0o755)


@pytest.mark.parametrize("whole", [True, False])
def test_who_may_not_write_a_quiet_database_reads_it(closed: Callable[[bool], Path], whole: bool) -> None:
    file = closed(whole)
    before = sorted(file.parent.iterdir()), file.read_bytes()
    database = Database(f"sqlite:///{file}")
    assert [found["name"] for found in DatabaseStudies(database).studies()] == ["s"]
    assert open_study(database, "s").trials.all() == []
    with pytest.raises(Fault, match=r"readonly.*make it and its folder writable"), database.errors():
        open_study(database, "s").end("stopped", "no")
    database.close()
    assert (sorted(file.parent.iterdir()), file.read_bytes()) == before


def test_a_reader_beside_a_writer_sees_what_he_has_committed(
    closed: Callable[[bool], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = closed(False)
    reader = Database(f"sqlite:///{file}")
    assert open_study(reader, "s").state == "active"
    monkeypatch.setattr("tuner.storage.database._is_closed", lambda _: False)
    user = os.geteuid()
    os.seteuid(os.getuid())
    file.chmod(0o644)
    writer = Database(f"sqlite:///{file}")
    for state in ("stopped", "active"):
        study = open_study(writer, "s")
        study.end("stopped", "enough") if state == "stopped" else study.resume()
        os.seteuid(user)
        assert open_study(reader, "s").state == state
        os.seteuid(os.getuid())
    writer.close()
    os.seteuid(user)
    assert open_study(reader, "s").state == "active"


def test_a_command_that_reads_does_not_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    Database(url, create=True).close()
    before = (tmp_path / "t.db").stat().st_mtime_ns, (tmp_path / "t.db").read_bytes()
    database = Database(url)
    list(DatabaseStudies(database).studies())
    database.close()
    assert ((tmp_path / "t.db").stat().st_mtime_ns, (tmp_path / "t.db").read_bytes()) == before


def test_a_full_database(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    with pytest.raises(Fault, match=r"full.*free some space"), database.errors(), database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("CREATE TABLE t (x)")
        connection.exec_driver_sql("INSERT INTO t VALUES (zeroblob(9000000))")


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", "oracle2://x", "mysql://x/y"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(Usage, match="--database"):
        Database(url, create=True)


def test_reading_commands_make_no_database(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="there is no database at .*`tuner launch` makes it"):
        Database(f"sqlite:///{tmp_path}/t.db")
    assert list(tmp_path.iterdir()) == []


def test_programs_that_create_it_at_once_all_find_it_whole(url: str) -> None:
    script = (
        "import sys; from tuner.storage.database import Database; "
        "Database(sys.argv[1], create=True).storage.get_all_studies()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, url], stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = (
        f"rootfs / ext4 rw 0 0\nbox:/home {tmp_path}/a\\040b nfs4 rw 0 0\ntmp {tmp_path}/a\\040b/local tmpfs rw 0 0\n"
    )
    kind = database_module._file_system
    assert kind(tmp_path / "t.db", mounts) == "ext4"
    assert kind(tmp_path / "a b/deep/t.db", mounts) == "nfs4"
    assert kind(tmp_path / "a b/local/t.db", mounts) == "tmpfs"
    assert kind(tmp_path / "a bc/t.db", mounts) == "ext4"
    monkeypatch.setattr(database_module, "_file_system", lambda *_: "nfs4")
    with pytest.raises(
        Usage, match=r"lies on a network file system \(nfs4\), where SQLite's locks do not hold: name a file"
    ):
        Database(f"sqlite:///{tmp_path}/t.db", create=True)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(Fault) as caught:
        Database("postgresql://tuner:secret@127.0.0.1:1/tuner")
    assert "secret" not in str(caught.value)
    assert "tuner:***@127.0.0.1" in str(caught.value)


def test_a_server_that_comes_back_in_time_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.sqlite:
        pytest.skip("SQLite has no server")
    monkeypatch.setattr(database_module, "RETRY_SECONDS", 0.001)
    tries = []

    def work(session: sqlalchemy.orm.Session) -> int:
        tries.append(1)
        if len(tries) < 3:  # the server ends this very connection
            session.execute(sqlalchemy.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return session.execute(sqlalchemy.text("SELECT 7")).scalar_one()

    assert database.run(work, patience=60) == 7
    assert len(tries) == 3
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        tries.clear()
        database.run(work, patience=0)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_who_loses_a_deadlock_tries_again_whatever_its_patience(database: Database) -> None:
    database.run(lambda session: session.execute(sqlalchemy.text("CREATE TABLE pair (n int, x int)")))
    database.run(lambda session: session.execute(sqlalchemy.text("INSERT INTO pair VALUES (0, 0), (1, 0)")))
    both, won, tries = threading.Barrier(2, timeout=60), threading.Event(), []

    def work(first: int) -> None:
        met: list[int] = []

        def change(session: sqlalchemy.orm.Session) -> None:
            tries.append(first)
            assert not met or won.wait(60)  # who lost takes no lock before the other has had both
            for n in (first, 1 - first):
                session.execute(sqlalchemy.text(f"UPDATE pair SET x = x + 1 WHERE n = {n}"))
                if not met:
                    met.append(n)
                    both.wait()

        database.run(change, patience=0.0)
        won.set()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, n) for n in (0, 1)]:
            done.result()
    assert len(tries) == 3
    assert database.read(lambda s: s.execute(sqlalchemy.text("SELECT sum(x) FROM pair")).scalar_one()) == 4


def test_what_is_read_together_is_of_one_moment(database: Database) -> None:
    """A study's trials and their attempts are, though workers claim trials meanwhile."""

    def count(session: Session) -> int:
        return session.execute(select(func.count()).select_from(KeyRow)).scalar_one()

    def look(session: Session) -> tuple[int, int]:
        before = count(session)
        keys.create(database, "meanwhile", write=False)
        return before, count(session)

    assert database.read(look) == (0, 0)
    assert database.read(count) == 1


def test_many_that_write_at_once_keep_nobody_from_reading(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/t.db", create=True) as there, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(there.engine.connect())
        assert there.read(lambda session: session.execute(text("SELECT 1")).scalar_one()) == 1
