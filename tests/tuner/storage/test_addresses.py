"""Addresses of databases, servers and stores: what is wrong is said in a sentence, and a password in none."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from stub_study import make

from tuner import addresses
from tuner.client import Client
from tuner.errors import Usage
from tuner.storage.artifacts import Store
from tuner.storage.database import Database

SECRET = "Geheim"
SERVERS = (
    "postgresql://u:{}@127.0.0.1:/db", "postgres://u:{}@h/db", "postgresql://u:x@{}@h/db", "postgresql://u:x@{}/y@h/db",
    "postgresql://u:{}/x@h:port/db", "postgresql://u:{}@h:99999/db", "postgresql://u:{}@[::1/db", "mysql://u:{}@h/db",
    "sqlite+aiosqlite://u:{}@h", "postgresql:/u:{}@h/db", "postgresql+asyncpg://u:{}@h/db", "u:{}@h/db", "postgresql://u:{}@h:0/db",
)  # fmt: skip


@pytest.mark.parametrize("form", SERVERS)
def test_a_server_that_cannot_be_named_so_is_refused_without_its_password(form: str) -> None:
    with pytest.raises(Usage, match="--database") as refused:
        Database(form.format(SECRET))
    assert SECRET not in str(refused.value)
    if form.startswith("postgres:"):
        assert "begin it with postgresql://" in str(refused.value)


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://u:{}@h/db",
        "postgresql://u@h/db?password={}",
        "postgresql://h/db?sslpassword={}&user=u",
        "postgresql://:{}@h",
    ],
)
def test_an_address_is_shown_without_its_password(form: str) -> None:
    address = addresses.parse(form.format(SECRET))
    assert SECRET not in address.shown
    assert "***" in address.shown or "=hidden" in address.shown
    assert SECRET in address.rendered
    assert address.rendered.startswith("postgresql+psycopg://")


@pytest.mark.parametrize(
    "form", ["sqlite:///", "sqlite://t.db", "sqlite:t.db", "sqlite:///:memory:", "t.db", "", "sqlite://"]
)
def test_a_file_that_is_none_is_refused(form: str) -> None:
    with pytest.raises(Usage, match="--database"):
        Database(form, create=True)


@pytest.mark.parametrize(
    "name", ["bar%baz.db", "bar%20baz.db", "b a.db", "ü.db", "a#b.db", "a@b:c.db", "a+b.db", "a&b=c.db", "%25.db"]
)
def test_a_files_name_stands_for_itself_in_all_that_opens_it(name: str, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/{name}", create=True)
    make(database, tmp_path, 1)
    assert [study.study_name for study in optuna.get_all_study_summaries(database.storage)] == ["s"]
    database.close()
    assert [file.name for file in tmp_path.glob("*.db")] == [name]
    Database(database.secret_url).close()


@pytest.mark.parametrize("name", ["t.db?mode=ro", "file:t.db?uri=true", "t.db?x", "file:t.db"])
def test_options_of_a_file_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Usage, match="has options, which tuner sets itself"):
        Database(f"sqlite:///{name}", create=True)
    assert list(tmp_path.iterdir()) == []


ODD = ("http://box:abc", "http://[::1", "http://u:{}@box:abc", "ftp://box", "box:8000", "http://", "http://box:99999",
       "http://b ox", "http://box\n", "http://" + "x" * 70 + ".de", "http://u:{}@", "https://:80", "")  # fmt: skip


@pytest.mark.parametrize("url", ODD)
def test_a_server_of_no_address_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_API", "nothing")
    with pytest.raises(Usage, match="is no address of a server") as refused:
        Client(url.format(SECRET))
    assert SECRET not in str(refused.value)


def test_a_password_in_a_servers_address_is_refused_and_not_shown() -> None:
    with pytest.raises(Usage, match="--api has a name or a password, which no server reads") as refused:
        Client(f"http://u:{SECRET}@127.0.0.1:1/x/")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "place", [("--api", "http://box:abc"), ("--database", f"postgresql://u:{SECRET}@127.0.0.1:/db")]
)
def test_a_command_ends_in_a_sentence(place: tuple[str, str], inside: Any, tmp_path: Path) -> None:
    said = inside("studies", *place, code=2).stderr
    assert said.startswith("tuner: --")
    assert len(said.splitlines()) == 1
    assert SECRET not in said


@pytest.mark.parametrize("address", ["abc://x", "://x", "s3://", "s3:///x", "file://"])
def test_a_store_of_no_address_is_refused(address: str) -> None:
    with pytest.raises(Usage, match="artifacts"):
        Store(address)
