"""Trainers that are forked: each a process of its own, whatever becomes of it or of the process that forked it."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from shell import DEADLINE, Start, command_line, descendants, parent
from stub_study import SQLITE, STUB, Make, attempts_of, behave, run, starts, states

from tuner import trainer
from tuner.forkserver import Forked, ForkServer
from tuner.storage.database import Database
from tuner.trainer import Slot, Trainer, fork_server

PROGRAM = """
import os, resource, signal, sys
from trainers import forkserver

def run():
    what, *rest = sys.argv[1:]
    print(os.getpid(), flush=True)
    if what == "code":
        return int(rest[0])
    if what == "exit":
        sys.exit(rest[0])
    if what == "raise":
        raise ValueError("boom")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "tell":
        handlers = {signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)}
        descriptors = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]  # but that of this listing
        print(os.environ.get("SECRET"), resource.getrlimit(resource.RLIMIT_DATA)[0], os.getsid(0) == os.getpid(),
              handlers == {signal.SIG_DFL}, descriptors)
    if what == "wait":
        print(sys.stdin.read())
    return 0

forkserver.serve(run)
"""
Fork = Callable[..., Forked]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    (tmp_path / "program.py").write_text(PROGRAM)
    made = ForkServer([sys.executable, str(tmp_path / "program.py")], dict(os.environ))
    yield made
    made.close()


@pytest.fixture
def fork(server: ForkServer, tmp_path: Path) -> Iterator[Fork]:
    """Forks a process that has said its number, which is its attribute `pid`."""
    with ExitStack() as stack:

        def begin(*arguments: str, memory: int = 0, **environment: str) -> Forked:
            with (tmp_path / "log").open("a") as errors:
                forked = server.start(arguments, {**os.environ, **environment}, memory, errors)
            stack.callback(forked.close)
            stack.callback(forked.kill)
            return forked

        yield begin


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("code", "0"), 0, ""),
        (("code", "1"), 1, ""),
        (("code", "2"), 2, ""),
        (("code", "75"), 75, ""),
        (("exit", "no"), 1, ""),
        (("raise",), 1, "ValueError: boom"),
        (("kill",), -signal.SIGKILL, ""),
    ],
)
def test_how_each_ends_comes_through(
    fork: Fork, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    forked = fork(*arguments)
    assert int(forked.stdout.read()) > 0
    assert (forked.wait(), forked.poll()) == (code, code)
    forked.kill()  # it has gone: nothing happens
    assert (tmp_path / "log").read_text().strip().rpartition("\n")[2] == said


def test_what_one_is_given_is_no_others(fork: Fork) -> None:
    waiting = fork("wait")
    waiting.stdout.readline()
    for environment, memory, told in (
        ({"SECRET": "x"}, 2**30, f"x {2**30} True True [0, 1, 2]"),
        ({}, 0, "None -1 True True [0, 1, 2]"),
    ):
        forked = fork("tell", memory=memory, **environment)
        assert forked.stdout.read().split("\n", 1)[1].strip() == told
        assert forked.wait() == 0
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.01)
    assert waiting.poll() is None
    waiting.stdin.write("its own")
    waiting.stdin.close()
    assert waiting.stdout.read() == "its own\n"
    assert waiting.wait() == 0


def test_a_killed_one_costs_no_other_and_a_killed_server_none(fork: Fork) -> None:
    first, second, third = (fork("wait") for _ in range(3))
    pids = [int(forked.stdout.readline()) for forked in (first, second, third)]
    (server,) = {parent(pid) for pid in pids}
    os.kill(pids[0], signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert second.poll() is None
    handle = os.pidfd_open(server)
    os.kill(server, signal.SIGKILL)
    assert select.select([handle], [], [], DEADLINE)[0]
    os.close(handle)
    fourth = fork("wait")
    assert parent(int(fourth.stdout.readline())) not in (server, os.getpid())
    second.stdin.write("still here")
    second.stdin.close()
    assert second.stdout.read() == "still here\n"
    third.terminate()
    assert [second.wait(), third.wait()] == [-signal.SIGKILL] * 2  # as nobody knows
    fourth.stdin.close()
    assert fourth.wait() == 0


def test_a_server_that_cannot_begin_ends_as_its_trainer_would(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    broken = ForkServer([sys.executable, str(tmp_path / "broken.py")], dict(os.environ))
    for _ in range(2):
        with Trainer("train", log=tmp_path / "log", server=broken) as forked:
            (end,) = forked.events()
        assert (end["event"], end["reason"]) == ("failed", "error")
        assert "ended with code 1: ModuleNotFoundError: No module named 'nothing_of_that_name'" in end["message"]
    broken.close()


Forkers = Callable[[], list[int]]


@pytest.fixture
def forkers() -> Forkers:
    """Tells the fork servers of this process that it did not have before the test."""

    def found() -> list[int]:
        own = f"{trainer.COMMAND[-1]}\0forkserver".encode()
        return [p for p in descendants(os.getpid()) if own in command_line(p) and parent(p) == os.getpid()]

    before = set(found())
    return lambda: [pid for pid in found() if pid not in before]


@SQLITE
@pytest.mark.usefixtures("stub")
def test_a_workers_fork_server_that_is_killed_costs_at_most_one_attempt(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, forkers: Forkers
) -> None:
    behave(monkeypatch, t1="sleep 0.2", t2="die once")
    study, killed = make(4), []

    def listen(event: str, claim: Any, facts: Any) -> None:
        if event == "epoch" and claim.number == 1:
            killed.extend(forkers())
            os.kill(killed[0], signal.SIGKILL)
        if event == "complete" and claim.number == 2:
            assert len(forkers()) == 1
            assert forkers() != killed

    run(study, listen)
    assert states(study) == ["complete"] * 4
    assert [starts(study, n) for n in range(4)] == ["x", "x", "xx", "x"]
    assert [a.trial for a in attempts_of(database)] == [0, 1, 2, 2, 3]
    assert len(killed) == 1
    assert forkers() == []


LONG = {"corpus_size": 200, "max_epochs": 10_000, "patience": 10_000, "d_h": 8, "d_e": 8}
SHORT = {**LONG, "max_epochs": 1, "nll_samples": 1, "nll_sentences": 10, "gallery": 0}


def spec(**values: Any) -> str:
    return json.dumps({"technique": "sfb", "corpus": "grammar", "values": values})


@pytest.fixture
def own_server() -> Iterator[ForkServer]:
    server = fork_server()
    yield server
    server.close()


def test_a_models_threads_are_one_or_as_many_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_server: ForkServer, forkers: Forkers
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    server, found = own_server, []
    for name, asked, shared in (("one", None, server), ("two", 2, server), ("alone", 2, None), ("again", None, server)):
        folder = tmp_path / name
        with Trainer("train", spec(**SHORT), folder, slot=Slot(threads=asked), server=shared) as forked:
            assert [end["event"] for end in forked.events()][-1] == "done"
        found.append(json.loads((folder / "spec.json").read_text())["hardware"]["threads"])
        (pid,) = forkers()
        assert [thread.name for thread in Path(f"/proc/{pid}/task").iterdir()] == [str(pid)]
    assert found == [1, 2, 2, 1]
    results = [json.loads((tmp_path / name / "result.json").read_text())["metrics"] for name in ("one", "two", "alone")]
    assert results[1] == results[2]
    # A supervised one ends with its standard input, even when the server was killed.
    log = tmp_path / "log"
    with Trainer("train", spec(**LONG), tmp_path / "long", log=log, server=server) as forked:
        events = forked.events()
        assert next(events)["event"] == "started"
        os.kill(pid, signal.SIGKILL)
        assert next(events)["event"] in ("epoch", "progress")
        assert forked.process.stdin is not None
        forked.process.stdin.close()
        assert list(events)[-1]["reason"] == "lost"
    server.close()
    assert log.read_text() == ""


def test_a_worker_that_is_killed_leaves_no_process(start: Start, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tuner import trainer; from tuner.trainer import Trainer, fork_server\n"
        f"trainer.COMMAND = (sys.executable, {str(STUB)!r})\n"
        "server = fork_server(); trainer = Trainer('train', '{}', Path('s-0-x'), server=server)\n"
        "print(next(trainer.events()), flush=True); sys.stdin.read()"
    )
    stub = {**os.environ, "STUB": '{"*": "wait"}'}
    worker = start([sys.executable, "-c", program], cwd=tmp_path, env=stub, stdin=subprocess.PIPE)
    assert worker.stdout is not None
    assert "started" in worker.stdout.readline()
    handles = [os.pidfd_open(pid) for pid in descendants(worker.pid)]
    assert len(handles) == 2
    worker.kill()
    worker.wait()
    for handle in handles:
        assert select.select([handle], [], [], DEADLINE)[0]
        os.close(handle)
