"""The Python client and the commands that use it, against a real server; and what a server process is made of."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ROOT, server
from stub_study import make

from benchmarks.api import Server
from benchmarks.large import fill
from tuner import connection
from tuner.client import Client, Work
from tuner.connection import Lost
from tuner.errors import Clash, Fault, Missing, Usage
from tuner.storage import keys
from tuner.storage.database import Database

EPOCH = {"epoch": 1, "rate": 1.0, "neg_elbo": 3.0}
ESTIMATOR = {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 0}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("client")
    opened = Database(f"sqlite:///{folder}/t.db", create=True)
    fill(opened, 12, 2, folder)
    make(opened, folder, 2, name="mine")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def key(database: Database) -> str:
    return keys.create(database, "writer", write=True)


@pytest.fixture(scope="module")
def address(database: Database, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    del key
    with server(database.secret_url, tmp_path_factory.mktemp("server")) as (address, _):
        yield address


def test_the_client_sees_what_the_database_holds(address: str, key: str, database: Database) -> None:
    client = Client(address, key)
    assert sorted(s["name"] for s in client.studies()) == ["empty", "mine", "s", "small"]
    assert client.study("s")["counts"]["complete"] == 12
    numbers = [t.number for t in client.trials("s", order="-number")]
    assert numbers == list(range(12))[::-1]
    assert [e["epoch"] for e in client.epochs("s", 3)] == [1, 2]
    assert client.pareto(["s"], y="nll")["studies"][0]["study"] == "s"
    trial, attempts = client.trial("s", 3)
    assert (trial.number, attempts) == (3, [])


def test_a_trial_from_ask_to_tell_in_real_processes(address: str, key: str) -> None:
    client = Client(address, key)
    client.stop("mine")
    assert client.ask("mine", "far") is None
    since = client.start("mine")["revision"]
    work: Work | None = client.ask("mine", "far")
    assert work is not None
    assert client.report("mine", work, [EPOCH])["stop"] is None
    assert client.renew("mine", work)["stop"] is None
    told = client.tell("mine", work, "complete", metrics={"nll": 3.0}, estimator=ESTIMATOR)
    assert told == "complete"
    with pytest.raises(Clash, match="has gone to another worker"):
        client.renew("mine", work)
    kinds = []
    for kind, data in client.events("mine", since):
        kinds.append(kind)
        if kind == "study" and data["counts"]["complete"]:
            break
    assert {"trial", "epoch", "study"} <= set(kinds)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sampler": "cmaes", "min_rate": 2}, "sampler = cmaes cannot keep a least rate"),
        ({"name": "-x"}, "name = '-x' is not allowed"),
        ({"pruner": "median", "objective": "nll,rate"}, "is not allowed"),
    ],
)
def test_a_refusal_comes_out_of_the_servers_processes_as_it_is(
    address: str, key: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(Usage, match=said):
        Client(address, key).create(technique="sfb", **settings)


def test_errors_are_the_services_own(address: str, key: str) -> None:
    client = Client(address, key)
    with pytest.raises(Missing, match="there is no study 'nix' here"):
        client.study("nix")
    with pytest.raises(Usage, match="must be 1 to 30") as refused:
        client.enqueue("small", {"r": 99})
    assert refused.value.field == "params.r"
    with pytest.raises(Usage, match="a key is needed"):
        Client(address).study("s")
    with pytest.raises(Fault, match="cannot be reached .*is `tuner serve` running"):
        Client("http://127.0.0.1:9").study("s")
    with pytest.raises(Usage, match="is no address of a server"):
        Client("127.0.0.1:8000")


def tuner(*arguments: str, key: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TUNER_API_KEY": key, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tuner", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_commands_over_the_api(address: str, key: str, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_API_KEY", key)
    server_ = ("--api", address)
    assert "small" in inside("studies", *server_).stdout
    assert "runs in   the server" in inside("show", "s", *server_).stdout
    assert inside("trials", "s", *server_).stdout.startswith(" ")
    assert "study small is stopped" in inside("stop", "small", *server_).stderr
    assert "study small is active" in inside("resume", "small", *server_).stderr
    for command in (["resume", "small"], ["launch", "-t", "sfb"]):
        refused = inside(*command, "--threads", "2", *server_, code=2)
        assert (
            "--threads is of this machine, and with --api the server's workers train: leave it out." in refused.stderr
        )
    refused = inside("delete", "nix", "--yes", *server_, code=2)
    assert "there is no study 'nix' here" in refused.stderr
    monkeypatch.setenv("TUNER_API", address)
    for command in (["paper", "li-2"], ["confirm", "s"], ["sweep", "-t", "fb", "--over", "r=1,2"]):
        assert f"{command[0]} trains on this machine, and TUNER_API names" in inside(*command, code=2).stderr
    monkeypatch.delenv("TUNER_API_KEY")
    assert "a key is needed" in inside("studies", *server_, code=2).stderr


def test_of_several_studies_none_is_made_on_a_server_unless_all_can_be(
    address: str, key: str, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_API_KEY", key)
    asked = ("launch", "--model", "tiny", "-n", "1", "--set", "pretrain=ae", "--api", address)
    assert "has no encoder" in inside(*asked, "-t", "mdr", "-t", "rnnlm", code=2).stderr
    assert "mdr-grammar-tiny" not in inside("studies", "--api", address).stdout
    monkeypatch.setattr("tuner.space.techniques", lambda: ["mdr", "rnnlm"])
    said = inside(*asked, "--all").stderr
    assert "note: rnnlm is left out: pretrain = 'ae' is not allowed" in said
    assert "study mdr-grammar-tiny is active" in said


def test_where_the_server_is_named(address: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_API", address)
    assert "small" in tuner("studies", key=key).stdout
    assert "12 done" not in tuner("techniques", key=key).stdout  # which is of no server
    there = f"sqlite:///{tmp_path}/mine.db"
    assert "there is no database" in tuner("studies", "--database", there, key=key, code=2).stderr
    assert "names no server" in tuner("studies", "--api", "", key=key, code=2).stderr


def test_the_server_process_is_small_and_loads_no_torch(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    database = Database(url, create=True)
    fill(database, 300, 2, tmp_path)
    started = Server(url, "--runs", str(tmp_path))
    try:
        client = Client(started.address)
        assert client.pareto(["s"])["front"]
        assert client.enqueue("small", {"r": 4}).state == "waiting"
        assert client.ask("small", "far") is not None
        client.stop("small")
        assert not any(map(started.loads, ("libtorch", "/sklearn/", "/scipy/")))
        assert started.megabytes() < 200
    finally:
        started.stop()
        database.close()


def test_serve_starts_it_and_ends_with_it(tmp_path: Path, database: Database) -> None:
    refused = tuner("serve", "--host", "0.0.0.0", "--database", f"sqlite:///{tmp_path}/new.db", code=2)
    assert "there is no key: make one first with `tuner key create NAME`" in refused.stderr
    made = tuner("key", "create", "me", "--write", "--database", f"sqlite:///{tmp_path}/new.db")
    assert keys.check(Database(f"sqlite:///{tmp_path}/new.db"), made.stdout.strip()) is not None
    assert made.stdout.strip() not in made.stderr
    assert "read, write" in tuner("key", "list", "--database", f"sqlite:///{tmp_path}/new.db").stdout
    tuner("key", "revoke", "me", "--database", f"sqlite:///{tmp_path}/new.db")
    with server(f"sqlite:///{tmp_path}/new.db", tmp_path, "--with-workers", "1") as (address, process):
        del address
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_an_event_that_breaks_off_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client, asked = Client("http://127.0.0.1:1"), list[str]()

    def lines(path: str) -> Iterator[str]:
        asked.append(path)
        yield from ("event: trial", "id: 10", 'data: {"number": 0}', "", "event: trial", "id: 11")
        if len(asked) == 1:
            raise Lost("the stream was cut off.")
        yield from ('data: {"number": 1}', "", "event: deleted", "data: {}", "")

    monkeypatch.setattr(client, "lines", lines)
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.01)
    found = [data.get("number") for kind, data in client.events("s", 9) if kind == "trial"]
    assert found == [0, 0, 1]
    assert [path.partition("since=")[2] for path in asked] == ["9", "10"]
