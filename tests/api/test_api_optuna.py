"""Optuna's dashboard beside the server: behind the same keys, and for reading only."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import answer, server
from shell import wait_for
from stub_study import make

from api.optuna import Application, Fence, Start, listening
from api.settings import Settings
from tuner.errors import Fault
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.studies.optuna_bridge import as_optuna


def page(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/html")])
    return [b"read"]


def ask(app: Application, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    told: dict[str, Any] = {}

    def start(status: str, given: list[tuple[str, str]], *rest: Any) -> None:
        told.update(status=int(status[:3]), headers=httpx.Headers(given))

    environ = {"REQUEST_METHOD": method, "PATH_INFO": "/", "REMOTE_ADDR": "10.0.0.9", "HTTP_HOST": "localhost:80"}
    body = b"".join(app({**environ, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}, start))
    return told["status"], told["headers"], body


@pytest.fixture
def database(tmp_path: Path) -> Iterable[Database]:
    there = Database(f"sqlite:///{tmp_path / 'tuner.db'}", create=True)
    yield there
    there.close()


def test_a_request_needs_a_key_a_known_host_and_only_reads(database: Database) -> None:
    app = Fence(page, Settings("", rate=0.0), database)
    assert ask(app)[::2] == (200, b"read")  # on loopback and without keys, as the API
    key = keys.create(database, "mine", write=True)
    status, headers, body = ask(app)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Basic")
    assert "key" in json.loads(body)["detail"]
    assert ask(app, authorization=f"Bearer {key}")[0] == 200
    assert ask(app, authorization=httpx.BasicAuth("me", key)._auth_header)[0] == 200
    for wrong in ("Bearer no", "Basic !!!", "Basic bm8=", "Basic /w==", f"Digest {key}", f"Bearer {key}x"):
        assert ask(app, authorization=wrong)[0] == 401, wrong
    assert ask(app, authorization=f"Bearer {key}", host="evil.example")[0] == 421
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(app, method, authorization=f"Bearer {key}")[0] == 405, method
    keys.revoke(database, "mine")
    assert ask(app, authorization=f"Bearer {key}")[0] == 401
    assert ask(app)[0] == 401


def test_wrong_keys_are_slowed_down_and_pages_cannot_be_framed(database: Database) -> None:
    key = keys.create(database, "mine", write=False)
    app = Fence(page, Settings("", rate=5.0), database)
    app.rates.clock = lambda: 0.0
    found = [ask(app, authorization="Bearer wrong")[0] for _ in range(3)]
    assert found == [401, 429, 429]
    status, headers, _ = ask(app, authorization=f"Bearer {key}")
    assert status == 200
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_is_served_at_an_address_of_either_version(host: str) -> None:
    try:
        with listening(host, 0, page) as made:
            assert made.server_address[0] == host
    except Fault:
        pytest.skip(f"this machine has no address {host}")


def test_a_server_brings_optunas_dashboard_along_and_takes_it_away(port: int, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tuner.db'}"
    there = Database(url, create=True)
    study = make(there, tmp_path)
    as_optuna(study)  # its tables follow now
    key = keys.create(there, "reader", write=False)
    there.close()
    address = f"http://127.0.0.1:{port}"
    with server(url, tmp_path, "--optuna-port", str(port)):
        assert wait_for(lambda: answer(address, "/api/studies")) == 401
        with httpx.Client(base_url=address, timeout=60) as client:
            client.auth = ("anyone", key)
            names = [found["study_name"] for found in client.get("/api/studies").json()["study_summaries"]]
            assert names == [study.name]
            assert "bundle.js" in client.get("/dashboard").text
            assert client.post("/api/studies", json={"study_name": "x", "directions": ["minimize"]}).status_code == 405
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/api/studies")
