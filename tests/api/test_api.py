"""The REST API in this process, on both databases: what it answers is what the database holds."""

import csv
import errno
import gzip
import io
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import application
from fastapi.testclient import TestClient
from stub_study import SQLITE, attempts_of, make

from api.routes import catalogue
from benchmarks.large import fill
from tuner import trainer
from tuner.analysis import curves
from tuner.commands.app import app
from tuner.errors import Usage
from tuner.metrics import METRICS
from tuner.storage.artifacts import Store
from tuner.storage.database import Database
from tuner.studies import answers
from tuner.studies import study as studies
from tuner.studies.access import DatabaseStudies
from tuner.workers.leases import Attempts

NEW = {"technique": "sfb", "trials": 3, "name": "n", "sampler": "random"}
ESTIMATOR = {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 0}


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def filled(database: Database, tmp_path: Path) -> None:
    """Study s with 30 trials of 3 epochs; small and empty without any."""
    fill(database, 30, 3, tmp_path)


def pages(client: TestClient, path: str) -> Iterator[list[dict[str, Any]]]:
    cursor = ""
    while True:
        found = client.get(path + cursor).json()
        yield found["items"]
        if found["next"] is None:
            return
        cursor = ("&" if "?" in path else "?") + f"cursor={found['next']}"


def test_a_study_is_made_once(client: TestClient, database: Database) -> None:
    made = client.post("/v1/studies", json=NEW)
    assert (made.status_code, made.headers["Location"]) == (201, "/v1/studies/n")
    again = client.post("/v1/studies", json=NEW)
    assert again.status_code == 200
    assert again.json() == made.json() == client.get("/v1/studies/n").json()
    study = studies.open_study(database, "n")
    assert (study.spec.trials, study.spec.sampler) == (3, "random")
    study.end("stopped", "enough")
    assert client.post("/v1/studies", json=NEW).json()["state"] == "stopped"


def test_a_check_answers_as_the_making_would_and_makes_nothing(client: TestClient, database: Database) -> None:
    checked = client.post("/v1/studies?check=true", json=NEW)
    assert (checked.status_code, checked.content) == (204, b"")
    assert client.get("/v1/studies").json()["items"] == []
    client.post("/v1/studies", json=NEW)
    revision = studies.open_study(database, "n").revision
    assert client.post("/v1/studies?check=true", json=NEW).status_code == 204
    for change in ({"seed": 1}, {"trials": 4}, {"fixed": {"r": 99}}, {"technique": "nix"}):
        refused = [client.post(f"/v1/studies{asked}", json={**NEW, **change}) for asked in ("?check=true", "")]
        assert refused[0].json() == refused[1].json()
        assert refused[0].status_code in (409, 422)
    assert studies.open_study(database, "n").revision == revision


@SQLITE
@pytest.mark.parametrize(
    "change", [{"trials": 4}, {"seed": 1}, {"timeout": 5.0}, {"fixed": {"r": 5}}, {"first_default": False}]
)
def test_the_same_name_with_other_content_is_a_clash(client: TestClient, change: dict[str, Any]) -> None:
    client.post("/v1/studies", json=NEW)
    refused = client.post("/v1/studies", json={**NEW, **change})
    assert (refused.status_code, refused.json()["field"]) == (409, *change)
    assert "exists with" in refused.json()["detail"]
    assert "--" not in refused.json()["detail"]


def test_a_study_begins_with_the_published_values_unless_told_not_to(client: TestClient) -> None:
    made = client.post("/v1/studies", json=NEW).json()
    assert (made["spec"]["first_default"], made["counts"]["waiting"]) == (True, 1)
    (first,) = client.get("/v1/studies/n/trials").json()["items"]
    assert (first["source"], first["params"]["r"]) == ("published", 6.467)
    asked = client.post("/v1/studies/n/trials", json={"params": {"r": 5.0}}).json()
    assert (asked["number"], asked["source"]) == (1, "enqueued")
    work = client.post("/v1/studies/n/ask", json={"worker": "far"}).json()
    assert (work["number"], work["params"]) == (0, first["params"])
    assert client.get("/v1/studies/n/trials/0").json()["source"] == "published"
    without = client.post("/v1/studies", json={**NEW, "name": "without", "first_default": False}).json()
    assert (without["spec"]["first_default"], sum(without["counts"].values())) == (False, 0)
    refused = client.post("/v1/studies", json={**NEW, "name": "without"})
    assert "first_default (False, not True): " in refused.json()["detail"]


BAD = [
    ({"technique": "nix"}, "technique", "technique 'nix' is unknown"),
    ({"trials": 0}, "trials", "greater than or equal to 1"),
    ({"trials": "3"}, "trials", "integer"),
    ({"trials": True}, "trials", "integer"),
    ({"name": "../x"}, "name", "pattern"),
    ({"corpus": "etc"}, "corpus", "choose one of grammar"),
    ({"model": "huge"}, "model", "must be one of paper"),
    ({"sampler": "os:system"}, "sampler", "is unknown"),
    ({"sampler": "nix"}, "sampler", "is unknown"),
    ({"sampler_options": {"nix": 1}}, "sampler_options.nix", "has no option"),
    ({"sampler": "tpe", "sampler_options": {"n_ei_candidates": -5}}, "sampler_options.n_ei_candidates", "refuses"),
    ({"pruner": "nix"}, "pruner", "must be one of none"),
    ({"fixed": {"r": 99}}, "fixed.r", "must be 1 to 30"),
    ({"objective": "nll,rate", "stop_when": 1}, "stop_when", "leave it out with nll,rate"),
    ({"warm_start": "nix"}, "warm_start", "there is no study 'nix' here"),
    ({"nix": 1}, "nix", "is no field"),
    (
        {"fixed": {"r": None}},
        "fixed.r",
        "fixed.r = 'None' is not allowed: it must be a text, true, false, or a number from",
    ),
    ({"fixed": {"r": "5"}}, "fixed.r", "r = '5' is out of sfb's domain"),
    (
        {"space": {"technique": "sfb", "parameters": {"r": {"type": "float", "low": 1, "high": 2, "step": 1e-300}}}},
        "space.parameters.r.step",
        "it must be at least",
    ),
    ({"deadline": "tomorrow"}, "deadline", "datetime"),
]


@SQLITE
@pytest.mark.parametrize(("change", "field", "said"), BAD)
def test_bad_fields_are_named(client: TestClient, change: dict[str, Any], field: str, said: str) -> None:
    refused = client.post("/v1/studies", json={**NEW, **change})
    found = refused.json()
    assert refused.headers["Content-Type"] == "application/problem+json"
    status = 404 if "warm_start" in change else 422
    assert (refused.status_code, found["status"], found["field"]) == (status, status, field)
    assert said in found["detail"]
    assert "--" not in found["detail"]
    assert found["remedy"] is None or found["detail"].endswith(found["remedy"])
    assert client.get("/v1/studies").json() == {"items": [], "next": None}


@SQLITE
@pytest.mark.parametrize(
    "place", ["corpus folder /x/y has no file train.txt", "no sentence of corpus file y falls to valid"]
)
def test_a_corpus_that_cannot_be_read_is_the_fields_fault(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def refuse(*_: object) -> None:
        raise Usage(f"{place}: give one.")

    monkeypatch.setattr(trainer, "check", refuse)
    found = client.post("/v1/studies", json=NEW).json()
    assert (found["field"], found["remedy"]) == ("corpus", "give one.")


@pytest.mark.parametrize("name", ["é", "日本"])
def test_a_name_may_have_any_letters(client: TestClient, name: str) -> None:
    made = client.post("/v1/studies", json={**NEW, "name": name})
    assert (made.status_code, made.json()["name"]) == (201, name)
    assert client.get(made.headers["Location"]).json()["name"] == name
    asked = client.post(f"{made.headers['Location']}/trials", json={"params": {"r": 5.0}})
    assert asked.status_code == 201
    assert client.get(asked.headers["Location"]).json()["run"] == f"{name}/1"


def test_a_warm_start_that_cannot_be_is_said_as_it_is(client: TestClient) -> None:
    assert client.post("/v1/studies", json={**NEW, "name": "first"}).status_code == 201
    refused = client.post("/v1/studies", json={**NEW, "name": "second", "sampler": "gp-map", "warm_start": "first"})
    assert (refused.status_code, refused.json()["field"]) == (422, "warm_start")
    assert refused.json()["detail"] == (
        "warm_start = 'first' has no finished trial in this study's space with what it is judged by: name another study."
    )


@SQLITE
@pytest.mark.parametrize("body", ["[" * 100_000, '{"trials": ' + "9" * 6000 + "}", b"\xff\xfe"])
def test_what_cannot_be_read_at_all(client: TestClient, body: Any) -> None:
    refused = client.post("/v1/studies", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code in (400, 422)
    assert refused.json()["detail"].endswith(": send one JSON object.")


@SQLITE
@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"technique": NaN}', "\x00", '"sfb"'])
def test_what_is_no_json_object(client: TestClient, body: str) -> None:
    refused = client.post("/v1/studies", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422
    assert refused.json()["detail"]


@SQLITE
def test_a_body_of_another_kind_is_said_to_be_one(client: TestClient) -> None:
    refused = client.post("/v1/studies", data={"technique": "sfb"})
    assert refused.status_code == 422
    said = "Content-Type 'application/x-www-form-urlencoded' is not JSON: send Content-Type: application/json."
    assert refused.json()["detail"] == said


def test_lists_are_paged_filtered_and_not_sent_twice(client: TestClient, filled: None, database: Database) -> None:
    del filled
    names = [[s["name"] for s in items] for items in pages(client, "/v1/studies?limit=2")]
    assert names == [["empty", "small"], ["s"]]
    studies.open_study(database, "small").end("stopped", "enough")
    stopped = client.get("/v1/studies?state=stopped").json()["items"]
    assert [s["name"] for s in stopped] == ["small"]
    assert client.get("/v1/studies?technique=mdr").json()["items"] == []
    assert len(client.get("/v1/studies?technique=sfb").json()["items"]) == 3
    for path in ("/v1/studies", "/v1/studies/s", "/v1/studies/s/trials", "/v1/pareto?study=s", "/v1/techniques"):
        first = client.get(path)
        tag = {"If-None-Match": first.headers["ETag"]}
        assert client.get(path, headers=tag).status_code == 304
        assert gzip.decompress(gzip.compress(first.content)) == first.content
    before = client.get("/v1/studies/s").headers["ETag"]
    studies.open_study(database, "s").end("stopped", "enough")
    assert client.get("/v1/studies/s", headers={"If-None-Match": before}).status_code == 200


def test_trials_are_paged_both_ways(client: TestClient, filled: None) -> None:
    del filled
    up = [t["number"] for items in pages(client, "/v1/studies/s/trials?limit=7") for t in items]
    down = [t["number"] for items in pages(client, "/v1/studies/s/trials?limit=7&order=-number") for t in items]
    assert up == down[::-1] == list(range(30))
    assert client.get("/v1/studies/s/trials?state=failed").json()["items"] == []
    epochs = [e["epoch"] for items in pages(client, "/v1/studies/s/trials/4/epochs?limit=2") for e in items]
    assert epochs == [1, 2, 3]


@pytest.mark.parametrize("cursor", ["x", "W10", "WzFd!!", "bnVsbA", "WzFlNDAwXQ", "Wy0xXQ", "WzldWzld", "é"])
def test_a_forged_cursor(client: TestClient, filled: None, cursor: str) -> None:
    del filled
    for path in ("/v1/studies", "/v1/studies/s/trials", "/v1/studies/s/trials/0/epochs"):
        assert client.get(path, params={"cursor": cursor}).status_code == 422


def test_a_study_is_shown_as_the_service_has_it(client: TestClient, filled: None, database: Database) -> None:
    del filled
    found, study = client.get("/v1/studies/s").json(), studies.open_study(database, "s")
    winner = study.winner()
    assert winner is not None
    told = {k: getattr(winner.trial, k) for k in ("number", "run", "value", "params", "given", "metrics", "notes")}
    own = {k: getattr(winner.found, k) for k in ("noise", "mean", "probability")}
    assert found["best"] == {**told, **own, "by": winner.by, "said": winner.said}
    assert found["counts"] == {"complete": 30, "failed": 0, "pruned": 0, "running": 0, "waiting": 0}
    assert [p["name"] for p in found["space"]] == [p.name for p in study.facts.space.parameters]
    assert (found["budget"], found["waiting_for_workers"]) == (30, False)
    assert client.get("/v1/studies/small").json()["waiting_for_workers"]
    made = "importance-sampled NLL: S = 100 from q, 500 of 1000 valid sentences, seed 1"
    shown = {**study.trials.get(3).plain(), "estimate": made, "attempts": []}
    assert client.get("/v1/studies/s/trials/3").json() == shown


def test_the_front_is_served_by_columns(client: TestClient, filled: None, database: Database) -> None:
    del filled
    found = client.get("/v1/pareto?study=s&study=small&x=rate&y=nll").json()
    trials = studies.open_study(database, "s").trials.all()
    mine = found["studies"][0]
    points = {n: (x, y) for n, x, y in zip(mine["number"], mine["x"], mine["y"], strict=True)}
    assert points == {t.number: (t.metrics["rate"], t.metrics["nll"]) for t in trials if t.metrics}
    assert (found["x_goal"], found["y_goal"]) == ("max", "min")
    assert found["front"] == [[0, i] for i in mine["front"]]
    assert found["studies"][1]["number"] == []
    assert client.get("/v1/pareto?study=s&study=nix").status_code == 404
    assert client.get("/v1/pareto?study=s&x=nix").json()["field"] == "x"
    everything = client.get("/v1/pareto?y=nll").json()
    assert [each["study"] for each in everything["studies"]] == ["s", "small", "empty"]
    assert client.get("/v1/rates").json() == client.get("/v1/rates?study=s&study=small&study=empty").json()


def test_exports(client: TestClient, filled: None) -> None:
    del filled
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/studies/s/export").text)))
    trials = client.get("/v1/studies/s/export?format=json").json()["trials"]
    assert [int(row["number"]) for row in rows] == [t["number"] for t in trials] == list(range(30))
    assert [float(row["nll"]) for row in rows] == [t["metrics"]["nll"] for t in trials]


def test_importance_finds_what_matters(client: TestClient, filled: None) -> None:
    del filled
    found = client.get("/v1/studies/s/importance?metric=rate").json()
    assert found["trials"] == 30
    assert found["items"][0]["name"] == "r"  # in these trials the rate is r
    assert sum(item["importance"] for item in found["items"]) == pytest.approx(1)
    assert all(0 < item["error"] < item["importance"] for item in found["items"][:1])
    assert client.get("/v1/studies/s/importance?metric=rate").json() == found  # the resamples are seeded
    few = {"metric": "value", "trials": 0, "least": 10, "items": []}
    assert client.get("/v1/studies/empty/importance").json() == few


def test_start_stop_and_delete(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    assert client.post("/v1/studies/s/stop").json()["state"] == "stopped"
    assert Attempts(study, "w").claim() is None
    assert client.post("/v1/studies/s/start").json()["state"] == "active"
    claim = Attempts(study, "w").claim()
    assert claim is not None
    refused = client.delete("/v1/studies/s")
    assert (refused.status_code, "under way" in refused.json()["detail"]) == (409, True)
    Attempts(study, "w").finish(claim, "complete", value=1.0)
    assert client.delete("/v1/studies/s").status_code == 204
    assert client.get("/v1/studies/s").status_code == 404
    assert client.delete("/v1/studies/s").status_code == 404


def test_a_worker_over_http(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 2)
    path = "/v1/studies/s/trials"
    assert client.post(path, json={"params": {"r": 5}}).status_code == 201
    work = client.post("/v1/studies/s/ask", json={"worker": "far", "device": "cuda"}).json()
    assert (work["number"], work["params"]["r"], work["attempt"]) == (0, 5.0, 0)
    assert work["specification"] == study.definition.run_spec(0, work["params"])
    mine = {"token": work["token"]}
    epoch = {"epoch": 1, "neg_elbo": 3.0, "rate": 1.0, "objective": {"beta": 0.5}}
    assert client.post(f"{path}/0/epochs", json={**mine, "epochs": [epoch]}).json() == {"stop": None, "reason": None}
    found = client.get(f"{path}/0/epochs").json()["items"]
    assert [(e["epoch"], e["neg_elbo"], e["objective"]) for e in found] == [(1, 3.0, {"beta": 0.5})]
    assert client.post(f"{path}/0/renew", json=mine).json() == {"stop": None, "reason": None}
    assert "tuner_suggestion_seconds_count 1.0" in client.get("/metrics").text
    worker = client.get("/v1/workers").json()["items"][0]
    assert (worker["name"], worker["host"], worker["state"], worker["trial"]) == ("far", "http", "training", 0)

    told = {**mine, "state": "complete", "metrics": {"nll": 12.0, "rate": 2.0}}
    assert client.post(f"{path}/0/tell", json=told).json()["field"] == "metrics"
    assert client.post(f"{path}/0/tell", json={**told, "estimator": ESTIMATOR}).json() == {"state": "complete"}
    assert client.post(f"{path}/0/renew", json=mine).status_code == 409
    trial = study.trials.get(0)
    assert (trial.state, trial.value) == ("complete", 12.0)
    assert trial.metrics is not None
    assert set(METRICS) <= set(trial.metrics)

    work = client.post("/v1/studies/s/ask", json={"worker": "far"}).json()
    lost = {"token": work["token"], "state": "failed", "reason": "preempted"}
    assert client.post(f"{path}/1/tell", json=lost).json() == {"state": "waiting"}
    work = client.post("/v1/studies/s/ask", json={"worker": "far"}).json()
    assert (work["number"], work["attempt"]) == (1, 1)
    assert client.post("/v1/studies/s/stop").status_code == 200
    assert client.post(f"{path}/1/renew", json={"token": work["token"]}).json() == {
        "stop": "stopped by the user",
        "reason": "user",
    }
    diverged = {"token": work["token"], "state": "failed", "reason": "nan", "message": "it diverged."}
    assert client.post(f"{path}/1/tell", json=diverged).json() == {"state": "failed"}
    assert client.post("/v1/studies/s/ask", json={"worker": "far"}).status_code == 204
    assert [(a.trial, a.state, a.reason) for a in attempts_of(database)] == [
        (0, "finished", None),
        (1, "interrupted", "preempted"),
        (1, "failed", "nan"),
    ]


def test_a_trial_with_files(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None
    assert client.get("/v1/studies/s/trials/0/samples").status_code == 404
    assert client.get("/v1/studies/s/trials/0/log").json()["detail"].startswith("trial 0 of study 's' has no log")
    samples = {"samples": [{"text": "<b>", "neighbour": "a", "ter": 1.0}], "homotopy": [], "reconstructions": []}
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    (tmp_path / "trainer.log").write_text("first\n" * 20_000 + "last <script>\n")
    study.files.store.publish(tmp_path, "0000/x")
    attempts.finish(claim, "complete", value=1.0, artifacts="0000/x")
    assert client.get("/v1/studies/s/trials/0/samples").json() == samples
    for content in (b"x", b"7", b"[" * 100_000):
        (Path(study.files.store.address) / "0000/x/samples.json").write_bytes(content)
        assert client.get("/v1/studies/s/trials/0/samples").status_code == 503
    log = client.get("/v1/studies/s/trials/0/log")
    assert log.headers["Content-Type"].startswith("text/plain")
    assert log.text.endswith("first\nlast <script>\n")
    assert len(log.text) < 70_000
    assert set(log.text.split("\n")[:-2]) == {"first"}


@SQLITE
def test_a_store_that_cannot_be_read_is_said(
    client: TestClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(database, tmp_path)
    claim = Attempts(study, "w").claim()
    assert claim is not None
    Attempts(study, "w").finish(claim, "complete", value=1.0, artifacts="0000/x")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Store, "read", refuse)
    for file in ("samples", "log"):
        said = client.get(f"/v1/studies/s/trials/0/{file}")
        assert said.status_code == 507
        assert said.json()["detail"] == "the study's files cannot be written or read now (Permission denied)."


@SQLITE
def test_of_many_epochs_each_trials_last_is_told(
    client: TestClient, filled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del filled
    monkeypatch.setattr(curves, "POINTS", 30)
    found = client.get("/v1/studies/s/curves").json()
    assert (found["every"], found["epoch"]) == (3, [[1, 3]] * 30)


def test_unknown_figures_are_null(client: TestClient, database: Database, tmp_path: Path) -> None:
    if not database.sqlite:
        return  # PostgreSQL's JSON has no NaN
    study = make(database, tmp_path)
    claim = Attempts(study, "w").claim()
    assert claim is not None
    Attempts(study, "w").finish(claim, "complete", value=1.0, metrics={"nll": math.nan, "rate": math.inf})
    assert client.get("/v1/studies/s/trials/0").json()["metrics"] == {"nll": None, "rate": None}
    assert client.get("/v1/pareto?study=s&y=nll").json()["studies"][0]["number"] == []


def test_what_is_not_there(client: TestClient, filled: None) -> None:
    del filled
    for path in ("/v1/nix", "/v1/studies/nix", "/v1/studies/s/trials/99", "/assets/nix.js", "/assets/__init__.py"):
        found = client.get(path)
        assert (found.status_code, found.headers["Content-Type"]) == (404, "application/problem+json")
    assert client.put("/v1/studies").status_code == 405
    assert client.get("/v1/studies/s/trials/99999999999999999999").status_code == 422


def test_health_and_measures(client: TestClient, filled: None) -> None:
    del filled
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(lines['tuner_trials{state="complete"}']) == 30
    assert float(lines["tuner_queue"]) == 6
    assert float(lines['tuner_studies{state="active"}']) == 2
    assert float(lines['tuner_studies{state="finished"}']) == 1
    assert float(lines["tuner_attempts_lost_total"]) == 0
    for method in ("BREW", "WHEN"):  # whatever a client invents, the server keeps one figure of it
        assert client.request(method, "/v1/studies").status_code == 405
    said = client.get("/metrics").text
    assert 'tuner_http_requests_total{method="other",status="405"} 2.0' in said
    assert "BREW" not in said


def test_the_catalogue(client: TestClient) -> None:
    found = client.get("/v1/options").json()
    assert found["can_write"]
    assert not found["has_workers"]
    assert [m["key"] for m in found["metrics"]][: len(METRICS)] == list(METRICS)
    techniques = client.get("/v1/techniques").json()["items"]
    assert [t["name"] for t in techniques] == found["technique_names"]


@SQLITE
def test_corpora_are_read_again_if_that_failed_and_after_minutes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, asked = {"grammar"}, list[str]()

    def ask(_: str, place: str, __: str) -> dict[str, Any]:
        asked.append(place)
        if place in gone:
            raise Usage("it has gone.")
        return dict.fromkeys(catalogue.TOLD, 1)

    def names() -> set[str]:
        return {item["name"] for item in client.get("/v1/corpora").json()["items"]}

    monkeypatch.setattr(trainer, "ask", ask)
    there = set(client.get("/v1/options").json()["corpora"])
    assert names() == there - gone
    gone.clear()
    assert names() == there
    assert sorted(asked) == sorted([*there, "grammar"])
    monkeypatch.setattr(catalogue, "CORPUS_SECONDS", 2 * catalogue.CORPUS_SECONDS)  # another age
    assert names() == there
    assert len(asked) == 2 * len(there) + 1


def test_a_study_whose_budget_is_spent_is_finished_everywhere(
    client: TestClient, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make(database, tmp_path, 1)
    make(database, tmp_path, 1, name="other")
    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None
    attempts.finish(claim, "complete", value=1.0, values=[1.0], metrics={"nll": 1.0, "rate": 5.0, "collapsed": False})

    def listed(state: str) -> list[str]:
        return [s["name"] for s in client.get(f"/v1/studies?state={state}").json()["items"]]

    assert (listed("active"), listed("finished")) == (["other"], ["s"])
    assert client.get("/v1/studies/s").json()["state"] == "finished"
    assert 'tuner_studies{state="finished"} 1.0' in client.get("/metrics").text
    assert {s["name"]: s["state"] for s in DatabaseStudies(database).studies()} == {"s": "finished", "other": "active"}
    assert answers.whole(study)["state"] == "finished"
    assert client.post("/v1/studies/s/stop").json()["state"] == "finished"
    app(["stop", "s", "--database", database.secret_url], standalone_mode=False)
    assert "study s is not active: it is finished" in capsys.readouterr().err
    assert client.post("/v1/studies/s/trials", json={"params": {"r": 5}}).status_code == 201
    assert (listed("active"), listed("finished")) == (["s", "other"][::-1], [])


def test_what_was_just_stopped_is_deleted_once_its_trials_are_handed_back(
    client: TestClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for delete in (
        lambda: client.delete("/v1/studies/s"),
        lambda: app(["delete", "s", "--yes", "--database", database.secret_url], standalone_mode=False),
    ):
        study = make(database, tmp_path)
        attempts = Attempts(study, "w")
        claim = attempts.claim()
        assert claim is not None
        client.post("/v1/studies/s/stop")
        tried, original = threading.Event(), studies.Study.delete

        def watched(study: studies.Study) -> None:
            try:
                original(study)  # noqa: B023 - called before the next
            finally:
                tried.set()  # noqa: B023

        monkeypatch.setattr(studies.Study, "delete", watched)
        thread = threading.Thread(target=delete)
        thread.start()
        assert tried.wait(30)
        assert study.refresh().state == "stopped"
        attempts.fail(claim, "user", "stopped by the user.")
        thread.join(30)
        assert client.get("/v1/studies/s").status_code == 404
        monkeypatch.undo()


def test_a_deletion_that_waits_too_long_says_when_to_come_again(
    client: TestClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Attempts(make(database, tmp_path), "w").claim() is not None
    client.post("/v1/studies/s/stop")
    monkeypatch.setattr("api.routes.studies.HANDED_BACK_SECONDS", 0.0)
    refused = client.delete("/v1/studies/s")
    assert (refused.status_code, "are being handed back" in refused.json()["detail"]) == (503, True)
    assert int(refused.headers["Retry-After"]) > 0
