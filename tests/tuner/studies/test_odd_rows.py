"""A row that no program of ours has written, however it came there, takes no other study with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import application
from fastapi.testclient import TestClient
from sqlalchemy import text
from stub_study import SQLITE, Make, run

from tuner.errors import Unreadable
from tuner.storage.database import Database
from tuner.studies import changes, queries
from tuner.studies import study as studies
from tuner.studies.access import DatabaseStudies

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
"""Values that only SQLite keeps."""
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


@SQLITE
@pytest.mark.parametrize(("table", "change"), ALL)
def test_the_lists_and_the_others_stay(
    table: str, change: str, make: Make, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "bad", "last"):
        run(make(1, name))
    spoil(database, table, change)
    assert {"first", "last"} <= {found["name"] for found in DatabaseStudies(database).studies()}
    json.dumps(list(DatabaseStudies(database).studies()), allow_nan=False)
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        listed = [each for found in pages(client) for each in found]
        assert sorted((each["name"], each["name"] == "bad" or each["state"]) for each in listed) == [
            ("bad", True), ("first", "finished"), ("last", "finished"),
        ]  # fmt: skip
        assert all(each["why"] for each in listed if each["state"] == "unreadable")
        for state in queries.LISTED_STATES:
            assert {s["state"] for s in client.get(f"/v1/studies?state={state}").json()["items"]} <= {
                state,
                "unreadable",
            }
        assert client.get("/v1/studies?technique=sfb&state=finished").json()["items"][0]["name"] == "last"
        assert client.get("/v1/studies/first").status_code == 200
        assert client.delete("/v1/studies/bad").status_code == 204
    assert [study.name for study in queries.all_studies(database)] == ["first", "last"]


def pages(client: TestClient) -> Iterator[list[dict[str, Any]]]:
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(f"/v1/studies?limit=1{cursor and f'&cursor={cursor}'}")
        assert answer.status_code == 200
        yield answer.json()["items"]
        cursor = answer.json()["next"]


@SQLITE
@pytest.mark.parametrize(("table", "change"), [ALL[0], ALL[8], ALL[-5]])
def test_its_events_say_that_it_is_unreadable_and_the_others_go_on(
    table: str, change: str, make: Make, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bad", "good"):
        run(make(1, name))
    spoil(database, table, change)
    service = application(database, tmp_path, monkeypatch).state.service
    told = service._summary_or_none("bad")
    assert (told["name"], told["state"]) == ("bad", "unreadable")
    assert service._summary_or_none("good")["state"] == "finished"
    ((_, event),), until = service._changes("bad", 0)
    assert b'"unreadable"' in event
    assert until == changes.current(database)["bad"]
    assert service._changes("good", 0)[1] == changes.current(database)["good"]


@pytest.mark.parametrize("change", [ROWS["rules"], ROWS["no specification"], ROWS["a time"], ROWS["a state"]])
def test_of_either_database(change: str, make: Make, database: Database) -> None:
    for name in ("first", "bad", "last"):
        make(1, name)
    spoil(database, "tuner_studies", change)
    assert [study.name for study in queries.all_studies(database)] == ["first", "last"]
    assert sorted(study.name for study in queries.page(database, 3)) == ["bad", "first", "last"]
    assert [study.name for study in queries.page(database, 3, state="unreadable")] == ["bad"]
    assert len(queries.page(database, 3, state="active")) == 2
    assert len(queries.page(database, 3, technique="sfb")) >= 2
    with pytest.raises(
        Unreadable, match=r"study 'bad' is none that this program has written .* `tuner delete bad` removes it"
    ):
        studies.open_study(database, "bad")
    assert [found["name"] for found in DatabaseStudies(database).studies() if found["state"] == "unreadable"] == ["bad"]


def test_the_commands_say_it_and_delete_it(inside: Any, tmp_path: Path) -> None:
    from stub_study import make

    database = Database(f"sqlite:///{tmp_path}/tuner.db", create=True)
    for name in ("first", "bad"):
        make(database, tmp_path, 1, name)
    spoil(database, "tuner_studies", BROKEN["no JSON"])
    database.close()
    listed = inside("studies").stdout
    assert "unreadable" in listed
    assert "first" in listed
    assert "`tuner delete bad` removes it" in inside("show", "bad", code=2).stderr
    inside("delete", "bad", "--yes")
    assert [each["name"] for each in json.loads(inside("studies", "--json").stdout)] == ["first"]
