"""Figures against the target rate over HTTP: what `tuner rates` draws, of the same runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import application
from fastapi.testclient import TestClient
from filled import confirmed, fill, held
from stub_study import make

from tuner.commands.app import app
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.studies import strikes
from tuner.workers.leases import Attempts


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as opened:
        yield opened


def test_the_route_answers_what_the_command_writes(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 3, name="a")
    fill(study, held(5.0, 4.5, 90.0), held(5.0, 4.7, 92.0), held(20.0, 18.0, 95.0, None))
    fill(make(database, tmp_path, 1, name="b", fixed={"prior": "mog"}), held(5.0, 5.5, 88.0))
    fill(confirmed(database, study, tmp_path), held(5.0, 4.0, 90.0, test=held(5.0, 4.5, 91.0)))
    for split, points in (("valid", 3), ("test", 1)):
        out = tmp_path / f"{split}.json"
        app(
            ["rates", "a", "b", "--split", split, "--out", str(out), "--database", database.secret_url],
            standalone_mode=False,
        )
        found = client.get(f"/v1/rates?study=a&study=b&study=a&split={split}").json()
        assert found == json.loads(out.read_text())
        assert sum(len(line["target"]) for line in found["series"]) == points


def test_an_answer_is_kept_until_a_run_is_new(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1, name="a")
    assert client.get("/v1/rates?study=a").json()["series"] == []
    claim = Attempts(study, "w").claim()
    assert claim is not None
    Attempts(study, "w").finish(claim, "complete", value=100.0, metrics=held(5.0, 4.5, 90.0))
    found = client.get("/v1/rates?study=a")
    assert found.json()["series"][0]["ppl"] == [90.0]
    assert client.get("/v1/rates?study=a", headers={"If-None-Match": found.headers["ETag"]}).status_code == 304
    assert client.get("/v1/rates?study=a&split=test").json()["series"] == []
    fill(confirmed(database, study, tmp_path), held(5.0, 4.0, 90.0, test=held(5.0, 4.5, 91.0)))
    assert client.get("/v1/rates?study=a&split=test").json()["series"][0]["ppl"] == [91.0]


def test_a_trial_that_is_struck_out_is_gone(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 2, name="a")
    fill(study, held(5.0, 4.5, 90.0), held(6.0, 5.5, 80.0))
    assert client.get("/v1/rates?study=a").json()["series"][0]["ppl"] == [90.0, 80.0]
    strikes.strike(study, 0, "a wrong text")
    assert client.get("/v1/rates?study=a").json()["series"][0]["ppl"] == [80.0]


def test_what_is_refused(client: TestClient, database: Database, tmp_path: Path) -> None:
    make(database, tmp_path, 1, name="a")
    assert client.get("/v1/rates?study=a&study=nix").status_code == 404
    for query, field in (
        ("study=a&split=nix", "split"),
        ("study=../a", "study.0"),
        ("study=a&" * 1001, "study"),
    ):
        refused = client.get(f"/v1/rates?{query}")
        assert (refused.status_code, refused.json()["field"]) == (422, field), query
    assert client.post("/v1/rates?study=a").status_code == 405
    keys.create(database, "someone", write=False)
    assert client.get("/v1/rates?study=a").status_code == 401
