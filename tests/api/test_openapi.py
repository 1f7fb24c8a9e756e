"""Every answer is in the schema of the API's own document, whatever is asked; and nothing malformed gets through."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from api_server import application
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks

from benchmarks.large import fill
from trainers.contract import LOG
from tuner.storage.database import Database
from tuner.studies.study import open_study
from tuner.workers.leases import Attempts

EXAMPLES = 15
"""Number of examples of each operation."""
MALFORMED = 10_000
STREAMS = "/events$"
"""Routes of streams, which do not end."""
CHECKS = (
    checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance,
    checks.negative_data_rejection, schemathesis.checks.not_a_server_error,
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/t.db"


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    fill(database, 8, 3, tmp_path)
    assert Attempts(open_study(database, "small"), "w").claim() is not None
    app = application(database, tmp_path, monkeypatch)
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened


def test_every_answer_is_in_its_schema(client: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/v1/openapi.json").json())
    tried = 0
    for result in schema.exclude(path_regex=STREAMS).get_all_operations():
        operation: Any = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )  # fmt: skip
        def hold(case: Any) -> None:
            nonlocal tried
            tried += 1
            if tried % 2:  # what is there, for half of what is tried
                known = {
                    "name": "small" if tried % 4 == 1 else "s",
                    "number": 0,
                    "generation": "00000000-1",
                    "file": LOG,
                }
                case.path_parameters = {key: known[key] for key in case.path_parameters or {}}
            asked = case.as_transport_kwargs(base_url="http://127.0.0.1")
            asked.pop("cookies", None)
            asked["headers"].pop("Authorization", None)  # keys have tests of their own
            if isinstance(asked.get("data"), (bytes, str)):
                asked["content"] = asked.pop("data")
            case.validate_response(client.request(**asked), checks=list(CHECKS))

        hold()
    assert tried > 250


def spoilt(draw: random.Random) -> tuple[str, str, bytes, dict[str, bytes]]:
    """A request that is wrong in one way or several."""
    bodies = (
        {"technique": "sfb", "trials": 3}, {"params": {"r": 5.0}}, {"worker": "w"}, {"token": "0" * 32},
        {"token": "0" * 32, "epochs": [{"epoch": 1, "rate": 1.0}]}, {"token": "0" * 32, "state": "failed", "reason": "nan"},
    )  # fmt: skip
    paths = (
        "studies", "studies/s", "studies/s/start", "studies/s/trials", "studies/s/ask", "studies/s/trials/0/epochs",
        "studies/s/trials/0/renew", "studies/s/trials/0/tell", "studies/s/trials/0", "pareto", "nix", "studies/s/importance",
    )  # fmt: skip
    junk = (
        None,
        True,
        -1,
        10**400,
        1e308,
        "",
        "\x00",
        "\ud800",
        "x" * 3000,
        [],
        {},
        [[[]]],
        {"a": {"b": 1}},
        "../..",
        "<b>",
    )
    body: dict[str, Any] = dict(draw.choice(bodies))
    for _ in range(draw.randrange(1, 3)):
        body[draw.choice([*body, "name", "seed", "nix", "fixed", "metrics"])] = draw.choice(junk)
    text = json.dumps(body, ensure_ascii=draw.random() < 0.8).encode(errors="surrogatepass")
    if draw.random() < 0.4:
        place = draw.randrange(len(text))
        text = text[:place] + draw.randbytes(draw.randrange(4)) + text[place + draw.randrange(3) :]
    path = draw.choice(paths)
    if draw.random() < 0.3:
        path = "".join(draw.choice(path + "%/0.") for _ in range(20)).replace(
            "%", "%25" if draw.random() < 0.5 else "%2e"
        )
    query = draw.choice(
        ["", "?limit=x", "?cursor=%00", "?study=s&x=%ff", "?limit=0", "?study=" + "s&study=" * 30, "?since=-1"]
    )
    media = draw.choice(
        [b"application/json", b"text/plain", b"", b"multipart/form-data", b"application/json; charset=utf-16"]
    )
    method = draw.choice(["POST", "POST", "POST", "PUT", "PATCH", "GET", "TRACE"])
    return (
        method,
        f"/v1/{path}{query}",
        text,
        {"Content-Type": media, "Last-Event-ID": draw.randbytes(3).replace(b"\n", b"")},
    )


def test_ten_thousand_malformed_requests(client: TestClient) -> None:
    draw = random.Random(0)
    statuses: dict[int, int] = {}

    async def send() -> None:
        transport = httpx.ASGITransport(client.app, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as quick:
            for _ in range(MALFORMED):
                method, path, body, headers = spoilt(draw)
                response = await quick.request(method, path, content=body, headers=headers)  # type: ignore[arg-type]
                statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                assert response.status_code < 500, (method, path, body, response.text)
                if response.status_code >= 400 and path.startswith("/v1/"):
                    assert response.headers["Content-Type"] == "application/problem+json", path
                    assert response.json()["status"] == response.status_code

    asyncio.run(send())
    assert {404, 405, 409, 422} <= set(statuses), statuses
