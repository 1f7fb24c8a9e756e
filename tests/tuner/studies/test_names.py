"""Names of studies: what a file system and a shell can bear, checked before anything is made."""

from dataclasses import replace
from pathlib import Path

import pytest
from api_server import application
from fastapi.testclient import TestClient
from stub_study import SQLITE, Make

from tuner import names
from tuner.commands.app import app
from tuner.errors import Missing, Usage
from tuner.storage import keys
from tuner.storage.artifacts import Store
from tuner.storage.database import Database
from tuner.studies import confirmation, queries
from tuner.studies.launch import prepare
from tuner.studies.spec import StudySpec
from tuner.studies.study import open_study

GOOD = ("a", "A-1_2.x", "é" * 50, "名" * 33, "x" * 100, "_")
LONG = ("é" * 51, "名" * 34, "x" * 101)
BAD = ("", "-", "--yes", "-x", ".hidden", "..", "a/b", "a b", "a\n", "a\x1b[31m", "\udcff", "a:b", "\u202ea", *LONG)


@pytest.mark.parametrize("name", GOOD)
def test_names_that_are_allowed_have_room_for_what_is_added(name: str, tmp_path: Path) -> None:
    names.check("--study", name)
    for added in ("-confirmed-2147483647", "-confirmed-2147483647-123456", "-and-100000-more.log"):
        (tmp_path / f"{name}{added}").touch()


@pytest.mark.parametrize("name", BAD)
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(Usage, match="is not allowed: a name has") as refused:
        names.check("--study", name)
    assert len(str(refused.value)) < 400


@SQLITE
@pytest.mark.parametrize("name", [name for name in BAD if name.isprintable()])
def test_a_command_and_a_request_refuse_them_before_anything_is_made(
    name: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        assert client.post("/v1/studies", json={"technique": "sfb", "trials": 1, "name": name}).status_code in (
            400,
            422,
        )
    with pytest.raises(Usage, match="is not allowed: a name has"):
        prepare(name, StudySpec(technique="sfb"), lambda: database, here=True)
    assert queries.all_studies(database) == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("stub")
def test_a_worker_and_a_key_have_such_names_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    database = Database(url, create=True)
    for name in ("../up", "x" * 101, "-w", ""):
        with pytest.raises(Usage, match="worker = .* is not allowed"):
            app(["worker", f"--name={name}", "--database", url, "--exit-when-idle"], standalone_mode=False)
    for name in ("", "-k", "x" * 101, "a\x1b"):
        with pytest.raises(Usage, match="key name .* is not allowed"):
            keys.create(database, name, False)
    database.close()


def test_the_confirmation_of_the_longest_name_can_be_made(make: Make) -> None:
    study = make(2, "x" * names.BYTES)
    trial = replace(study.trials.enqueue({}), number=2**31 - 1)
    names.check("name", confirmation.name_of(study, trial), names.LONGEST)


def test_delete_takes_what_is_gone_for_gone(make: Make) -> None:
    study, same = make(1), make(1)
    Path(study.files.store.address).rmdir()
    study.delete()
    same.delete()  # another was quicker
    assert queries.all_studies(study.database) == []
    with pytest.raises(Missing):
        open_study(study.database, study.name)


def test_a_store_that_became_a_file_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "nothing"):
        Store(f"{tmp_path}/{place}/s").delete("0000")
        Store(f"{tmp_path}/{place}/s").clear(1)
