"""Rights of those who ask: keys, scopes, hosts, origins, sizes, rates; and that what is typed in is never run."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from api_server import application
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import select
from stub_study import make

from api import problems
from api.__main__ import refuse_open
from api.app import create_app
from api.middleware import FORWARDED, HEADERS, RateLimiter
from api.process import settings_of
from api.settings import Settings
from trainers.contract import LOG
from tuner.errors import Clash, Missing, Usage
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.storage.tables import KeyRow
from tuner.workers.leases import Attempts

SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
Open = Callable[..., TestClient]


@pytest.fixture
def open_(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    made: list[TestClient] = []

    def make_client(**changes: Any) -> TestClient:
        client = TestClient(application(database, tmp_path, monkeypatch, **changes), "http://127.0.0.1")
        made.append(client)
        return client.__enter__()

    yield make_client
    for client in made:
        client.__exit__()


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still for the limits of rates."""
    monkeypatch.setattr("api.middleware.RateLimiter", partial(RateLimiter, clock=lambda: 0.0))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


PLACE = {"name": "s", "number": 0, "generation": "00000000-1", "file": LOG}
"""Values of the parts of a route's path."""


def calls(client: TestClient) -> list[tuple[str, str]]:
    """Every method and path of the document, of study s and its trial 0."""
    paths = client.app.openapi()["paths"]  # type: ignore[attr-defined]
    return [(method.upper(), path.format(**PLACE)) for path, methods in paths.items() for method in methods]


BODIES: dict[str, dict[str, Any]] = {
    "/v1/studies": {"technique": "sfb", "trials": 2},
    "/v1/studies/s/trials": {"params": {}},
    "/v1/studies/s/ask": {"worker": "x"},
    "/v1/studies/s/trials/0/strike": {"because": "x"},
    "/v1/studies/s/trials/0/epochs": {"token": "0" * 32, "epochs": [{"epoch": 1}]},
    "/v1/studies/s/trials/0/renew": {"token": "0" * 32},
    "/v1/studies/s/trials/0/tell": {"token": "0" * 32, "state": "failed", "reason": "nan"},
}


def contents(database: Database) -> dict[str, list[Any]]:
    """All rows of our tables but the keys', whose last use is noted."""
    with database.engine.connect() as connection:
        from tuner.storage.tables import Base

        tables = [t for t in Base.metadata.sorted_tables if t.name != KeyRow.__tablename__]
        return {t.name: list(connection.execute(select(t))) for t in tables}


def test_a_read_key_can_change_nothing(database: Database, tmp_path: Path, open_: Open) -> None:
    study = make(database, tmp_path)
    assert Attempts(study, "w").claim() is not None
    key = keys.create(database, "reader", write=False)
    client, before = open_(), contents(database)
    tried = 0
    for method, path in calls(client):
        if path.endswith("/events") or path in ("/healthz", "/readyz"):
            continue
        response = client.request(method, path, headers=bearer(key), json=BODIES.get(path))
        if method == "GET":
            assert response.status_code in (200, 404, 422), (path, response.text)
        else:
            tried += 1
            assert response.status_code == 403, (method, path)
            assert "may only read" in response.json()["detail"]
    assert tried >= 9
    assert contents(database) == before
    assert client.get("/v1/options", headers=bearer(key)).json()["can_write"] is False


def test_without_a_key_nothing(database: Database, tmp_path: Path, open_: Open) -> None:
    make(database, tmp_path)
    real = keys.create(database, "someone", write=True)
    client, before = open_(), contents(database)
    wrong = [None, "", "x", real[:-1], real + "x", real.swapcase(), real[:19], "tuner--", "é"]
    for method, path in calls(client):
        if path in ("/healthz", "/readyz"):
            continue
        for key in wrong:
            headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
            response = client.request(method, path, headers=headers, json=BODIES.get(path))  # type: ignore[arg-type]
            assert response.status_code == 401, (method, path, key)
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert "study" not in response.text
    assert client.get("/v1/studies", headers={"Authorization": f"Basic {real}"}).status_code == 401
    assert client.get(f"/v1/studies?key={real}").status_code == 401
    assert contents(database) == before


def test_every_route_of_the_application_is_behind_the_guard(open_: Open) -> None:
    client = open_(host="192.0.2.1")
    free = {"/healthz", "/readyz", "/", "/assets/{name}"}
    for route in client.app.routes:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute) and route.path not in free:
            for method in route.methods:
                assert client.request(method, route.path.format(**PLACE)).status_code == 401, route.path


def test_a_revoked_key_ends_at_once_and_opens_no_door(database: Database, open_: Open) -> None:
    key = keys.create(database, "someone", write=True)
    client = open_()
    assert client.get("/v1/studies", headers=bearer(key)).status_code == 200
    keys.revoke(database, "someone")
    assert client.get("/v1/studies", headers=bearer(key)).status_code == 401
    assert client.get("/v1/studies").status_code == 401


def test_keys_are_kept_as_hashes_and_never_logged(
    database: Database, open_: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = keys.create(database, "someone", write=False)
    secret = key.split("-", 2)[2]
    assert len(secret) >= 40
    open_().get("/v1/studies", headers=bearer(key))
    rows = database.read(lambda session: session.execute(select(KeyRow.__table__)).all())
    assert secret not in str(rows)
    assert re.search("[0-9a-f]{64}", str(rows))
    assert rows[0].used_at is not None
    assert secret not in caplog.text
    assert [k.name for k in keys.listed(database)] == ["someone"]


@SQLITE
def test_keys_that_cannot_be(database: Database) -> None:
    keys.create(database, "a", write=False)
    with pytest.raises(Clash, match="exists"):
        keys.create(database, "a", write=True)
    with pytest.raises(Missing, match="no key named 'b'"):
        keys.revoke(database, "b")
    for name in ("", "x" * 101, "a\nb"):
        with pytest.raises(Usage, match="not allowed"):
            keys.create(database, name, write=False)


@SQLITE
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("tuner.lab", 200), ("TUNER.lab:1", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421), ("[::1", 421), ("localhost@evil.example", 421),
    ],
)  # fmt: skip
def test_only_requests_under_our_names_are_answered(database: Database, open_: Open, host: str, status: int) -> None:
    headers = {**bearer(keys.create(database, "someone", write=False)), "Host": host}
    assert open_(hosts=("tuner.lab",)).get("/v1/studies", headers=headers).status_code == status


@SQLITE
def test_a_name_for_others_and_a_proxy_need_a_key(database: Database, tmp_path: Path, open_: Open) -> None:
    make(database, tmp_path)
    client = open_(hosts=("tuner.lab",))
    for method, path in (("GET", "/v1/studies"), ("POST", "/v1/studies/s/stop"), ("DELETE", "/v1/studies/s")):
        assert client.request(method, path, headers={"Host": "tuner.lab"}).status_code == 401
        assert client.request(method, path).status_code == 401
    local = open_()
    assert local.get("/v1/studies").status_code == 200
    for header in FORWARDED:  # the proxy may give requests this machine's name
        assert local.get("/v1/studies", headers={header: "198.51.100.7"}).status_code == 401


@SQLITE
@pytest.mark.usefixtures("frozen")
def test_who_tries_keys_shuts_nobody_else_out(database: Database, open_: Open) -> None:
    key = keys.create(database, "someone", write=False)
    client = open_(rate=3.0)
    assert [client.get("/v1/studies", headers=bearer("wrong")).status_code for _ in range(20)][-1] == 429
    assert client.get("/").status_code == 200
    assert client.get("/v1/studies", headers=bearer(key)).status_code == 200
    assert client.get("/v1/studies").status_code == 401
    for _ in range(20):
        client.get("/v1/studies")
    assert client.get("/").status_code == 200
    assert client.get("/v1/studies", headers=bearer(key)).status_code == 200


@SQLITE
@pytest.mark.usefixtures("frozen")
def test_a_trusted_proxys_users_are_many(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = settings_of(["--trusted-proxy", "172.18.0.0/16"])[0].proxies
    client = TestClient(open_(rate=1.0, proxies=proxies).app, "http://127.0.0.1", client=("172.18.0.4", 1))
    one, other = ({"X-Forwarded-For": f"6.6.6.6, 198.51.100.{count}"} for count in (1, 2))
    assert [client.get("/", headers=one).status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/", headers=other).status_code == 200
    two_lines = [[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", f"198.51.100.{count}")] for count in (3, 4)]
    assert [client.get("/", headers=two_lines[0]).status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/", headers=two_lines[1]).status_code == 200
    with pytest.raises(Usage, match="--trusted-proxy 'nix' is no address or network"):
        settings_of(["--trusted-proxy", "nix"])


@SQLITE
def test_what_is_not_there_tells_nothing_of_what_is(database: Database, tmp_path: Path, open_: Open) -> None:
    make(database, tmp_path, name="private")
    client = open_()
    bodies = {**BODIES, "/v1/studies": {"technique": "sfb", "trials": 2, "name": "n", "warm_start": "s"}}
    seen = 0
    for method, path in calls(client):
        if path in bodies or path.startswith("/v1/studies/s"):
            response = client.request(method, path, json=bodies.get(path))
            if response.status_code == 404:
                seen += 1
                assert "there is no study 's' here: list those" in response.json()["detail"], path
            assert "private" not in response.text or path == "/v1/studies"
            assert str(tmp_path) not in response.text
    assert seen >= 15


def test_a_problem_tells_no_folder_and_its_remedy_is_whole() -> None:
    said = problems.FOLDERS.sub(
        "", "corpus file /data/secret/texts/train.txt is gone: see GET /v1/studies or http://a/b."
    )
    assert said == "corpus file train.txt is gone: see GET /v1/studies or http://a/b."
    for detail, remedy in (
        ("a key is needed: send `Authorization: Bearer KEY` with one.", "send `Authorization: Bearer KEY` with one."),
        ("x exists (a: b): take another name.", "take another name."),
        ("it has failed.", None),
    ):
        assert json.loads(problems.body(422, detail))["remedy"] == remedy


@SQLITE
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_pages_cannot_write(
    database: Database, tmp_path: Path, open_: Open, headers: dict[str, str]
) -> None:
    study = make(database, tmp_path)
    assert open_().post("/v1/studies/s/stop", headers=headers).status_code == 403
    assert study.refresh().state == "active"


@SQLITE
def test_cross_origin_reads_are_closed_and_our_own_page_works(database: Database, tmp_path: Path, open_: Open) -> None:
    make(database, tmp_path)
    client = open_()
    asked = client.options(
        "/v1/studies", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert asked.status_code == 403
    found = client.get("/v1/studies", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert "access-control-allow-origin" not in found.headers
    own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/studies/s/stop", headers=own).status_code == 200
    form = client.post("/v1/studies", content="technique=sfb", headers={"Content-Type": "text/plain"})
    assert form.status_code == 422


@SQLITE
def test_bodies_have_a_limit(open_: Open) -> None:
    client = open_(body_bytes=1000)
    said = client.post("/v1/studies", json={"technique": "x" * 2000})
    assert (said.status_code, said.json()["detail"][:4]) == (413, "the ")

    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 100

    for headers in ({}, {"Content-Length": "-1"}, {"Content-Length": "x"}):
        said = client.post("/v1/studies", content=chunks(), headers={"Content-Type": "application/json", **headers})
        assert said.status_code == 413


def test_rates_are_buckets() -> None:
    now = [0.0]
    rates = RateLimiter(2.0, lambda: now[0])
    assert [rates.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rates.wait("b") == 0
    now[0] = 0.5
    assert [rates.wait("a") == 0, rates.wait("a")] == [True, 0.5]
    now[0] = 100
    assert [rates.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]


def test_a_rate_below_one_request_in_two_seconds_serves_one_at_a_time() -> None:
    now = [0.0]
    rates = RateLimiter(0.4, lambda: now[0])
    assert [rates.wait("a"), rates.wait("a")] == [0, 2.5]
    now[0] = 2.5
    assert [rates.wait("a"), rates.wait("a")] == [0, 2.5]


@SQLITE
@pytest.mark.usefixtures("frozen")
def test_too_many_requests_are_told_when_to_come_again(database: Database, open_: Open) -> None:
    client = open_(rate=3.0)
    statuses = [client.get("/v1/studies").status_code for _ in range(12)]
    assert statuses[:6] == [200] * 6
    assert statuses[-1] == 429
    said = client.get("/v1/studies")
    assert int(said.headers["Retry-After"]) >= 1
    key = keys.create(database, "someone", write=False)
    assert client.get("/v1/studies", headers=bearer(key)).status_code == 200  # a bucket of its own
    guesses = [client.get("/v1/studies", headers=bearer("wrong")).status_code for _ in range(3)]
    assert 429 in guesses


@SQLITE
def test_streams_have_a_limit(open_: Open) -> None:
    said = open_(streams=0).get("/v1/events")
    assert (said.status_code, "Retry-After" in said.headers) == (429, True)


INJECTIONS = (
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "s'; DROP TABLE tuner_studies; --", "s\" OR 1=1",
    "<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "a\r\nSet-Cookie: x=1", "%0d%0aX: y", "\U0001f600", "%ff%fe",
    "x" * 5000, "s%20",
)  # fmt: skip


def test_what_is_typed_in_is_never_run(database: Database, tmp_path: Path, open_: Open) -> None:
    make(database, tmp_path)
    client, before = open_(), contents(database)
    for text in INJECTIONS:
        for path in (
            f"/v1/studies/{text}",
            f"/v1/studies/{text}/trials/0/log",
            f"/assets/{text}",
            f"/v1/studies/s/{text}",
        ):
            try:
                response = client.get(path.replace("\r\n", "%0D%0A"))
            except Exception as error:  # the client itself refuses
                assert "Invalid" in type(error).__name__, error
                continue
            assert response.status_code in (404, 422), path
            assert response.headers["Content-Type"] == "application/problem+json"
        for query in (
            {"study": text},
            {"study": "s", "x": text},
            {"cursor": text},
            {"technique": text},
            {"state": text},
        ):
            response = client.get("/v1/pareto" if "study" in query else "/v1/studies", params=query)
            assert response.status_code in (200, 404, 422)
            assert "set-cookie" not in response.headers
        headers = {"If-None-Match": text.encode(), "Last-Event-ID": text.encode(), "Accept-Encoding": text.encode()}
        clean = {k: v for k, v in headers.items() if b"\r" not in v}
        assert client.get("/v1/studies", headers=clean).status_code == 200  # type: ignore[arg-type]
        for body in ({"technique": text, "trials": 1}, {"technique": "sfb", "trials": 1, "corpus": text, "name": "n"}):
            assert client.post("/v1/studies", json=body).status_code == 422
        assert client.post("/v1/studies/s/trials", json={"params": {text: text}}).status_code == 422
    assert contents(database) == before


@SQLITE
def test_every_answer_carries_the_policy(open_: Open) -> None:
    client = open_()
    for path, headers in (("/", {}), ("/v1/studies", {}), ("/v1/nix", {}), ("/healthz", {}), ("/", {"Host": "evil"})):
        found = client.get(path, headers=headers)
        assert {name: found.headers[name] for name in HEADERS} == HEADERS
    scripts = re.search("script-src ([^;]*)", HEADERS["Content-Security-Policy"])
    assert scripts is not None
    assert scripts[1] == "'self'"


@SQLITE
def test_a_failure_shows_nothing_of_the_inside(
    database: Database, tmp_path: Path, open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(database, tmp_path)
    client = open_()

    def fail(*_: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("tuner.studies.queries.page", fail)
    quiet = TestClient(client.app, "http://127.0.0.1", raise_server_exceptions=False)
    said = quiet.get("/v1/studies")
    assert (said.status_code, said.headers["Content-Type"]) == (500, "application/problem+json")
    assert "secret" not in said.text
    assert "Traceback" not in said.text
    assert {name: said.headers[name] for name in HEADERS} == HEADERS


@SQLITE
def test_a_server_for_others_needs_a_key(database: Database, tmp_path: Path) -> None:
    settings = Settings(database.secret_url, host="0.0.0.0")
    with pytest.raises(Usage, match=r"there is no key: make one first with `tuner key create NAME`"):
        refuse_open(settings)
    keys.create(database, "someone", write=False)
    refuse_open(settings)
    keys.revoke(database, "someone")
    with pytest.raises(Usage, match="there is no key"):
        refuse_open(settings)
    refuse_open(Settings(database.secret_url))
    refuse_open(Settings(database.secret_url, hosts=("localhost",)))
    with pytest.raises(Usage, match="--allowed-host tuner.lab lets other machines in and there is no key"):
        refuse_open(Settings(database.secret_url, hosts=("localhost", "tuner.lab")))


@SQLITE
def test_corpora_are_registered_by_name(database: Database, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="is not NAME=DIR"):
        settings_of(["--corpus", f"mine={tmp_path}/nix"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Usage, match="a folder of files that can be read"):
        settings_of(["--corpus", f"mine={empty}"])
    for name in ("grammar", "add", "a b", ".x"):
        with pytest.raises(Usage, match=f"corpus name '{name}' is not allowed"):
            settings_of(["--corpus", f"{name}={tmp_path}"])
    settings, *_ = settings_of(["--corpus", f"mine={tmp_path}", "--database", database.secret_url])
    assert settings.offered["mine"].place == str(tmp_path)
    create_app(settings).state.service.close()


@SQLITE
@pytest.mark.usefixtures("frozen")
def test_who_asks_for_its_state_too_often_is_told_when_to_come_again(open_: Open) -> None:
    client = open_(rate=3.0)
    statuses = [client.get("/readyz").status_code for _ in range(12)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert client.get("/v1/studies").status_code == 200  # a bucket of its own
