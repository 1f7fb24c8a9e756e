"""A row that no program of ours has written, however it came there, takes no other study with it."""

import json
from pathlib import Path
from typing import Any

import pytest
from api_server import application
from fastapi.testclient import TestClient
from shell import run as command
from sqlalchemy import text
from stub_study import Make, run

from tuner.errors import Unreadable
from tuner.storage.database import Database
from tuner.studies import queries
from tuner.studies import study as studies

pytestmark = pytest.mark.usefixtures("stub")
SPECIFICATION: dict[str, Any] = {
    "no space": {"space": None}, "no corpus": {"corpus": None}, "a name": {"corpus": {"name": 3}},
    "technique": {"technique": 1},
    "objective": {"objective": ["x"]}, "space": {"space": {"parameters": 7}}, "fixed": {"fixed": None, "batching": None},
}  # fmt: skip
ROWS = {
    "rules": "rules = '{\"x\": 1}'",
    "rules of a list": "rules = '[1]'",
    "no specification": "specification = '{}'",
    "a text": "specification = '\"x\"'",
    "a time": "created_at = 1e300",
    "a time before": "created_at = -1",
    "a budget": "budget = -5",
    "a state": "state = 'odd'",
}
BROKEN = {
    "no JSON": "specification = '{'",
    "no JSON of rules": "rules = 'x'",
    "no text": "specification = x'ff'",
    "a time in words": "created_at = 'yesterday'",
    "a budget in words": "budget = 'much'",
    "an endless time": "created_at = 9e999",
}
"""what only SQLite keeps"""
TRIALS = {
    "metrics": "metrics = '[1]'",
    "no metrics": "metrics = NULL",
    "params": "params = '7'",
    "attrs": "attrs = '[]'",
    "value": "value = 1e308, seconds = -1e308",
}
ALL = [("tuner_studies", change) for change in (*ROWS.values(), *BROKEN.values())]
ALL += [
    ("tuner_studies", f"specification = json_patch(specification, '{json.dumps(s)}')") for s in SPECIFICATION.values()
]
ALL += [("tuner_trials", change) for change in TRIALS.values()]


def spoil(database: Database, table: str, change: str) -> None:
    key = "name" if table == "tuner_studies" else "study"
    with database.engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET {change} WHERE {key} = 'bad'"))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("table", "change"), ALL)
def test_the_lists_and_the_others_stay(
    table: str, change: str, make: Make, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "bad", "last"):
        run(make(1, name))
    spoil(database, table, change)
    assert {"first", "last"} <= {found["study"] for found in queries.overview(database)}
    json.dumps(queries.overview(database), allow_nan=False)
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        answer = client.get("/v1/studies?limit=2")
        assert answer.status_code == 200
        assert [each["name"] for each in answer.json()["items"]][:1] == ["last"]
        assert client.get("/v1/studies/first").status_code == 200
    studies.open_to_delete(database, "bad").delete()
    assert [study.name for study in queries.all_studies(database)] == ["first", "last"]


@pytest.mark.parametrize("change", [ROWS["rules"], ROWS["no specification"], ROWS["a time"], ROWS["a state"]])
def test_of_either_database(change: str, make: Make, database: Database) -> None:
    for name in ("first", "bad", "last"):
        make(1, name)
    spoil(database, "tuner_studies", change)
    assert [study.name for study in queries.all_studies(database)] == ["first", "last"]
    assert sorted(study.name for study in queries.page(database, 2)) == ["first", "last"]
    with pytest.raises(
        Unreadable, match=r"study 'bad' is none that this program has written .* `tuner delete bad` removes it"
    ):
        studies.open_study(database, "bad")
    assert [found["study"] for found in queries.overview(database) if found["state"] == "unreadable"] == ["bad"]


def test_the_commands_say_it_and_delete_it(tmp_path: Path) -> None:
    from stub_study import make

    database = Database(f"sqlite:///{tmp_path}/tuner.db", create=True)
    for name in ("first", "bad"):
        make(database, tmp_path, 1, name)
    spoil(database, "tuner_studies", BROKEN["no JSON"])
    database.close()
    listed = command("studies", cwd=tmp_path).stdout
    assert "unreadable" in listed
    assert "first" in listed
    assert "`tuner delete bad` removes it" in command("show", "bad", cwd=tmp_path, code=2).stderr
    command("delete", "bad", "--yes", cwd=tmp_path)
    assert [each["study"] for each in json.loads(command("studies", "--json", cwd=tmp_path).stdout)] == ["first"]
