"""The schema: migrations equal the models, older is upgraded, newer refused, trouble told in one sentence."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tuner.database import VERSION_TABLE, Base, Database
from tuner.errors import Fault, Usage


def test_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []


def test_ours_and_optunas_versions_live_side_by_side(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    assert database.storage.get_current_version() == database.storage.get_head_version()
    with sqlite3.connect(tmp_path / "t.db") as plain:
        tables = {name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert {VERSION_TABLE, "alembic_version", "tuner_studies", "tuner_attempts", "tuner_epochs", "trials"} <= tables


def test_a_newer_database_is_refused_and_untouched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    Database(url, create=True).engine.dispose()
    with sqlite3.connect(tmp_path / "t.db") as plain:
        plain.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(Fault, match="has schema '9999', newer than this program's '0001': upgrade tuner"):
        Database(url)
    with sqlite3.connect(tmp_path / "t.db") as plain:
        assert plain.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [("9999",)]


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


def test_a_read_only_database(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/t.db", create=True).engine.dispose()
    database = Database(f"sqlite:///file:{tmp_path}/t.db?mode=ro&uri=true", create=True)  # may be read
    with pytest.raises(Fault, match=r"readonly.*make it and its folder writable"), database.errors():
        assert database.storage


def test_a_full_database(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    with pytest.raises(Fault, match=r"full.*free some space"), database.errors(), database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("CREATE TABLE t (x)")
        connection.exec_driver_sql("INSERT INTO t VALUES (zeroblob(9000000))")


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", "oracle2://x"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(Usage, match="--database"):
        Database(url, create=True)


def test_reading_commands_make_no_database(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="there is no database at .*`tuner launch` makes it"):
        Database(f"sqlite:///{tmp_path}/t.db")
    assert list(tmp_path.iterdir()) == []


def test_programs_that_create_it_at_once_all_find_it_whole(tmp_path: Path) -> None:
    script = (
        "import sys; from tuner.database import Database; Database(sys.argv[1], create=True).storage.get_all_studies()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, f"sqlite:///{tmp_path}/t.db"], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
