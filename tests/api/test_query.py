"""A part of a query that a route does not read is refused: a filter with a typing mistake would answer with everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import application
from fastapi.testclient import TestClient

from tuner.storage.database import Database


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with Database(f"sqlite:///{tmp_path}/t.db", create=True) as database:
        app = application(database, tmp_path, monkeypatch)
        with TestClient(app, "http://127.0.0.1") as opened:
            yield opened


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/studies?technqiue=sfb", "technqiue"),
        ("/v1/studies?limit=5&page=2", "page"),
        ("/v1/pareto?z=rate", "z"),
        ("/v1/techniques?limit=5", "limit"),
        ("/v1/studies/none?full=1", "full"),
    ],
)
def test_an_unknown_part_of_a_query_is_refused(client: TestClient, path: str, field: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["field"] == field
    assert problem["detail"].startswith(f"{field} is no part of this request's query: ")


def test_the_refusal_lists_what_a_query_has(client: TestClient) -> None:
    said = client.get("/v1/pareto?z=rate").json()["detail"]
    assert said == "z is no part of this request's query: it has study, x, y, split."
    assert client.get("/v1/techniques?z=1").json()["detail"].endswith("query: it has none.")


def test_every_part_that_the_openapi_document_names_is_known(client: TestClient) -> None:
    paths = client.get("/v1/openapi.json").json()["paths"]
    asked = 0
    for path, methods in paths.items():
        if "{" in path or "get" not in methods or path.endswith("events"):
            continue
        for each in methods["get"].get("parameters", []):
            if each["in"] == "query":
                answer = client.get(path, params={each["name"]: "1"})
                assert "is no part of this request's query" not in answer.text
                asked += 1
    assert asked > 5
