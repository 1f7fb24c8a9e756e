"""A worker's card: its load as a stand-in for nvidia-smi tells it, on both ways to a study, and in the lists of workers."""

import json
import os
from pathlib import Path

import pytest
from api_server import server
from sqlalchemy import update
from stub_study import SQLITE, Make, run

from tuner.client import Client
from tuner.commands import render
from tuner.commands.app import app
from tuner.errors import Fault
from tuner.process import HOST
from tuner.storage.database import Database
from tuner.storage.tables import WorkerRow
from tuner.studies import queries
from tuner.trainer import Slot
from tuner.workers import gpu
from tuner.workers.broker import DatabaseBroker
from tuner.workers.distant import ServerBroker
from tuner.workers.gpu import Gauge, Load
from tuner.workers.watch import Watch

GIB = 2**30
LOAD = Load(use=87.0, memory_used=11 * GIB, memory_total=80 * GIB)
CARD = Slot("cuda:3", {"CUDA_VISIBLE_DEVICES": "3"})


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answer of a stand-in for nvidia-smi, which notes how it was called."""
    answer, called = tmp_path / "answer", tmp_path / "called"
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {called}\ncat {answer} || exit 9\n')
    program.chmod(0o755)
    monkeypatch.setattr(gpu, "ANSWER_SECONDS", 60.0)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    answer.write_text(f"87, {11 * 1024}, {80 * 1024}\n")
    return answer


def test_the_load_of_the_workers_own_card_is_read(smi: Path) -> None:
    gauge = Gauge(CARD)
    assert gauge.read() == LOAD
    assert "--id=3" in (smi.parent / "called").read_text()
    smi.write_text("[N/A], 11264, 81920\n")  # a part of a card does not tell its use
    assert gauge.read() == {**LOAD, "use": None}
    assert render.load({**LOAD, "use": None}) == "11.0 of 80 GiB"
    assert render.load({**LOAD}) == "87 %, 11.0 of 80 GiB"
    assert (render.load(None), render.load(dict.fromkeys(LOAD))) == ("–", "–")


def test_nothing_is_asked_without_a_card_and_a_failure_is_no_fault(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Gauge(Slot()).read() is None
    assert not (smi.parent / "called").exists()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert Gauge(Slot()).read() is None
    gauge = Gauge(CARD)
    for odd in ("", "Unable to determine the device handle\n", "1, 2\n"):
        smi.write_text(odd)
        assert Gauge(CARD).read() is None
    smi.unlink()
    assert gauge.read() is None
    smi.write_text("87, 11264, 81920\n")
    assert gauge.read() is None  # it rests after a failure
    monkeypatch.setattr(gpu, "AGAIN_SECONDS", 0.0)
    assert Gauge(CARD).read() == LOAD
    monkeypatch.setenv("PATH", "")
    assert Gauge(CARD).read() is None


@SQLITE
@pytest.mark.parametrize("over_http", [False, True])
def test_a_renewal_tells_the_load(
    make: Make, database: Database, request: pytest.FixtureRequest, tmp_path: Path, over_http: bool
) -> None:
    study = make(2)
    broker = (
        ServerBroker(Client(request.getfixturevalue("address")), "w") if over_http else DatabaseBroker(database, "w")
    )
    broker.enter("cuda:3", lambda _: None, print)
    assert broker.active(["s"]) == ["s"]
    leases = broker.open("s")
    claim = leases.claim()
    assert claim is not None

    def told() -> object:
        (found,) = queries.workers(database)
        return found["gpu"]

    assert told() is None
    Watch(leases, claim, lambda: False, tmp_path / "sign", lambda: LOAD).look()
    assert told() == LOAD
    (found,) = queries.workers(database)
    assert (found["takes"], found["state"]) == (["s"], "training")
    leases.fail(claim, "user", "stopped by the user.")
    assert told() is None  # an idle worker has no load of its own
    assert study.trials.counts()["waiting"] >= 1


@SQLITE
def test_workers_here_are_those_that_can_be_seen_from_here(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine", "theirs"):
        DatabaseBroker(database, name).enter("cpu", lambda _: None, print)
    elsewhere = update(WorkerRow).where(WorkerRow.name == "theirs").values(process="1:0:another")
    database.run(lambda session: session.execute(elsewhere))
    app(["workers", "--here", "--json", "--database", database.secret_url], standalone_mode=False)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["host"], "process" in found) == ("mine", HOST, False)
    database.run(lambda session: session.execute(update(WorkerRow).values(process="1:0:another")))
    with pytest.raises(Fault, match="no worker of .* is at work"):
        app(["workers", "--here", "--database", database.secret_url], standalone_mode=False)


@SQLITE
def test_a_study_that_no_living_worker_takes_says_so(
    make: Make, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    make(2, "mine")
    make(2, "theirs")

    def waiting() -> dict[str, bool]:
        app(["studies", "--json", "--database", database.secret_url], standalone_mode=False)
        return {each["name"]: each["waiting_for_workers"] for each in json.loads(capsys.readouterr().out)}

    assert waiting() == {"mine": True, "theirs": True}
    one = DatabaseBroker(database, "one")
    one.enter("cpu", lambda _: None, print)
    one.active(["theirs"])
    assert waiting() == {"mine": True, "theirs": False}
    for command in (["studies"], ["show", "mine"]):
        app([*command, "--database", database.secret_url], standalone_mode=False)
        assert "no worker" in capsys.readouterr().out.replace("\n", " ")
    app(["show", "theirs", "--database", database.secret_url], standalone_mode=False)
    assert "no worker" not in capsys.readouterr().out
    app(["workers", "--database", database.secret_url], standalone_mode=False)
    assert "theirs" in capsys.readouterr().out
    other = DatabaseBroker(database, "other")
    other.enter("cpu", lambda _: None, print)
    other.active([])
    assert waiting() == {"mine": False, "theirs": False}
    gone = update(WorkerRow).where(WorkerRow.name == "other").values(process="1:0")
    database.run(lambda session: session.execute(gone))
    assert "other" in {each["name"] for each in queries.workers(database)}
    other.leave()
    assert waiting() == {"mine": True, "theirs": False}


@SQLITE
def test_a_worker_of_one_study_is_known_to_take_it_alone(make: Make, stub: None, database: Database) -> None:
    del stub
    run(make(1, "mine"), name="w")
    make(1, "other")
    (found,) = queries.workers(database)
    assert found["takes"] == ["mine"]


@SQLITE
def test_workers_over_http_are_of_this_machine_by_their_names(
    database: Database, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(1)
    with server(database.secret_url, tmp_path) as (address, _):
        here = ["workers", "--here", "--json", "--api", address]
        with pytest.raises(Fault, match="no worker of .* is at work"):
            app(here, standalone_mode=False)
        for name in ("elsewhere-7", f"{HOST}-7"):
            Client(address).ask("s", name)
        capsys.readouterr()
        app(here, standalone_mode=False)
    assert [worker["name"] for worker in json.loads(capsys.readouterr().out)] == [f"{HOST}-7"]
