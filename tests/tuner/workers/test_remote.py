"""Trials over HTTP: their time, what may be told of them, and requests that are made twice."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from api_server import application, server
from fastapi.testclient import TestClient
from shell import wait_for
from sqlalchemy import select, update
from stub_study import SQLITE, attempts_of, make

from api.process_pool import Left
from tuner import connection
from tuner.client import Client
from tuner.errors import Fault, Missing
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow, WorkerRow
from tuner.workers import curves, remote

ESTIMATOR = {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 0}
PATH = "/v1/studies/s/trials"


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as opened:
        yield opened


def ask(client: TestClient, **more: str) -> dict[str, Any]:
    found: dict[str, Any] = client.post("/v1/studies/s/ask", json={"worker": "far", **more}).json()
    return found


def complete(client: TestClient, work: dict[str, Any], **changes: Any) -> Any:
    told = {"token": work["token"], "state": "complete", "metrics": {"nll": 12.0, "rate": 2.0}, "estimator": ESTIMATOR}
    return client.post(f"{PATH}/{work['number']}/tell", json={**told, **changes})


def begun(database: Database, seconds: float) -> None:
    """As if all trials had begun so many seconds earlier."""
    database.run(lambda session: session.execute(update(TrialRow).values(started_at=TrialRow.started_at - seconds)))


def test_a_trials_time_is_told_and_kept(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, timeout=100.0)
    work = ask(client)
    assert (work["timeout"], work["seconds"]) == (100.0, 0.0)
    mine = {"token": work["token"]}
    assert client.post(f"{PATH}/0/renew", json=mine).json() == {"stop": None, "reason": None}
    begun(database, 101)
    late = {"stop": "it took longer than its 100 s.", "reason": "timeout"}
    assert client.post(f"{PATH}/0/renew", json=mine).json() == late
    assert client.post(f"{PATH}/0/epochs", json={**mine, "epochs": [{"epoch": 1}]}).json() == late
    assert complete(client, work).json() == {"state": "complete"}  # it was about to end

    work = ask(client)
    begun(database, 1000)
    for path, body in (("renew", {}), ("epochs", {"epochs": [{"epoch": 1}]})):
        refused = client.post(f"{PATH}/1/{path}", json={"token": work["token"], **body})
        assert (refused.status_code, study.trials.get(1).reason) == (409, "timeout")
    assert complete(client, work).status_code == 409
    assert [(a.state, a.reason) for a in attempts_of(database)] == [("finished", None), ("failed", "timeout")]


@SQLITE
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metrics": {"nll": -1e300, "rate": 1.0}}, "metrics.nll"),
        ({"metrics": {"nll": 1e37, "rate": 1.0}}, "metrics.nll"),
        ({"metrics": {"nll": 12.0, "rate": -50.0}}, "metrics.rate"),
        ({"metrics": {"nll": 12.0, "ppl": 0.5}}, "metrics.ppl"),
        ({"metrics": {"nll": 12.0, "acc_gap": 1e9}}, "metrics.acc_gap"),
        ({"estimator": {**ESTIMATOR, "split": "test"}}, "estimator.split"),
        ({"estimator": {**ESTIMATOR, "proposal": "a guess"}}, "estimator.proposal"),
        ({"estimator": {**ESTIMATOR, "proposal": "tempered q"}}, "estimator.proposal"),
        ({"estimator": {**ESTIMATOR, "of": 7}}, "estimator.of"),
        ({"estimator": {**ESTIMATOR, "samples": 7}}, "estimator.samples"),
        ({"test": {"nll": 3.0}}, "test_estimator"),
        ({"test": {"nll": -3.0}}, "test.nll"),
    ],
)
def test_figures_that_cannot_be_or_are_by_another_estimator_are_refused(
    client: TestClient, database: Database, tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    study = make(database, tmp_path)
    assert complete(client, ask(client)).status_code == 200
    work = ask(client)
    refused = complete(client, work, **changes)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert study.trials.get(1).state == "running"
    assert complete(client, work).status_code == 200


@SQLITE
def test_figures_are_held_to_the_studys_own_options(client: TestClient, database: Database, tmp_path: Path) -> None:
    make(database, tmp_path, fixed={"nll": "tempered"})
    work = ask(client)
    assert complete(client, work).json()["field"] == "estimator.proposal"
    told = {**ESTIMATOR, "proposal": "tempered q", "temper": 0.5}
    assert complete(client, work, estimator=told).status_code == 200
    make(database, tmp_path, name="t", fixed={"nll_samples": 100})
    work = client.post("/v1/studies/t/ask", json={"worker": "far"}).json()
    mine = {"token": work["token"], "state": "complete", "metrics": {"nll": 12.0}, "estimator": ESTIMATOR}
    assert client.post("/v1/studies/t/trials/0/tell", json=mine).json()["field"] == "estimator.samples"


@SQLITE
def test_an_epoch_that_cannot_be_is_refused(client: TestClient, database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    work = ask(client)
    epochs = [{"epoch": 1, "neg_elbo": 3.0}, {"epoch": 2, "neg_elbo": -1e300}]
    refused = client.post(f"{PATH}/0/epochs", json={"token": work["token"], "epochs": epochs})
    assert (refused.status_code, refused.json()["field"]) == (422, "epochs.1.neg_elbo")
    assert study.trials.epochs(0, 9) == []


def test_who_asks_again_with_a_token_gets_the_same_trial(
    client: TestClient, database: Database, tmp_path: Path
) -> None:
    make(database, tmp_path)
    token = "0" * 31 + "1"
    first, again = ask(client, token=token), ask(client, token=token)
    assert first == again
    assert (first["number"], first["token"]) == (0, token)
    assert ask(client)["number"] == 1
    assert complete(client, first).json() == complete(client, first).json() == {"state": "complete"}
    refused = client.post("/v1/studies/s/ask", json={"worker": "far", "token": token})
    assert (refused.status_code, refused.json()["field"]) == (409, "token")
    assert len(attempts_of(database)) == 2


@SQLITE
def test_a_poor_trial_is_told_so(
    client: TestClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(database, tmp_path, pruner="median")
    monkeypatch.setitem(curves.PRUNERS, "median", lambda mine, others: mine.number == 1)
    works = [ask(client) for _ in range(2)]
    epochs = {"epochs": [{"epoch": 1, "neg_elbo": 3, "rate": 1}]}
    stops = [client.post(f"{PATH}/{work['number']}/epochs", json={"token": work["token"], **epochs}) for work in works]
    assert [stop.json()["reason"] for stop in stops] == [None, "pruned"]


def test_twenty_who_ask_at_once_all_get_a_trial(database: Database, tmp_path: Path) -> None:
    make(database, tmp_path, 20)
    with server(database.secret_url, tmp_path) as (address, _), ThreadPoolExecutor(20) as pool:
        works = list(pool.map(lambda n: wait_for(lambda: Client(address).ask("s", f"far-{n}")), range(20)))
    assert sorted(work["number"] for work in works if work) == list(range(20))


class Flaky(BaseHTTPRequestHandler):
    """Answers as its server's list says: a status, or a connection that is cut off after the request."""

    server: "Scripted"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, json.loads(body) if body else None))
        found = self.server.script.pop(0)
        if found is None:
            self.close_connection = True
            return
        content = json.dumps({"detail": "so it is.", "field": None, "stop": None, "state": "complete"}).encode()
        self.send_response(found)
        self.send_header("Content-Length", str(len(content)))
        if found in (429, 503):
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        pass


class Scripted(ThreadingHTTPServer):
    script: list[int | None]
    asked: list[tuple[str, str, Any]]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(connection, "BROKEN_SECONDS", 600.0)
    made = Scripted(("127.0.0.1", 0), Flaky)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


WORK: Any = {"number": 0, "token": "0" * 32}
SAFE: dict[str, Callable[[Client], object]] = {
    "study": lambda c: c.study("s"),
    "create": lambda c: c.create(technique="sfb", trials=3),
    "stop": lambda c: c.stop("s"),
    "ask": lambda c: c.ask("s", "w"),
    "report": lambda c: c.report("s", WORK, [{"epoch": 1}]),
    "renew": lambda c: c.renew("s", WORK),
    "tell": lambda c: c.tell("s", WORK, "failed", reason="oom"),
    "delete": lambda c: c.delete("s"),
}


@pytest.mark.parametrize("name", SAFE)
def test_what_is_safe_to_repeat_is_repeated_as_it_was(scripted: Scripted, name: str) -> None:
    scripted.script = [503, None, 429, None, 200]
    SAFE[name](Client(f"http://127.0.0.1:{scripted.server_port}"))
    assert scripted.script == []
    assert all(asked == scripted.asked[0] for asked in scripted.asked)


def test_what_is_not_safe_to_repeat_is_not(scripted: Scripted) -> None:
    client = Client(f"http://127.0.0.1:{scripted.server_port}")
    scripted.script = [503, None, 201]
    with pytest.raises(Fault, match="broke off"):
        client.enqueue("s", {"r": 5})
    assert scripted.script == [201]
    scripted.script = [500, 200]
    with pytest.raises(Fault, match="so it is"):
        client.study("s")
    scripted.script = [None, 404]
    client.delete("s")  # it was done the first time
    scripted.script = [404]
    with pytest.raises(Missing):
        client.delete("s")


def test_a_token_is_of_one_study(client: TestClient, database: Database, tmp_path: Path) -> None:
    make(database, tmp_path)
    make(database, tmp_path, name="other")
    token = ask(client)["token"]
    refused = client.post("/v1/studies/other/ask", json={"worker": "far", "token": token})
    assert (refused.status_code, refused.json()["field"]) == (409, "token")


def test_who_leaves_while_it_asks_keeps_nobody_waiting(
    client: TestClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(database, tmp_path)

    def leave(url: str, name: str, worker: str, device: str, token: str, takes: Any) -> Any:
        del url, name, worker, device, takes
        right = update(StudyRow).values(asker=token, asker_until=time.time() + 3600)
        database.run(lambda session: session.execute(right))
        raise Left

    with monkeypatch.context() as patched:
        patched.setattr(remote, "ask", leave)
        client.post("/v1/studies/s/ask", json={"worker": "far"})
    assert database.read(lambda session: session.scalars(select(StudyRow.asker)).all()) == [None]
    assert ask(client)["number"] == 0


def test_a_worker_that_died_long_ago_is_forgotten_by_those_over_http(
    client: TestClient, database: Database, tmp_path: Path
) -> None:
    make(database, tmp_path)
    facts = {"host": "http", "process": "0", "device": "cpu", "state": "training", "version": "1", "trials": 0}
    database.run(lambda s: s.add(WorkerRow(name="killed", started_at=1.0, seen_at=1.0, **facts)))
    ask(client)
    assert [worker["name"] for worker in client.get("/v1/workers").json()["items"]] == ["far"]
