"""Shared fixtures. Every test process uses one thread, so that two of them share two cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("TUNER_DATABASE", None)
os.environ.pop("TUNER_RUNS", None)
os.environ.pop("TUNER_CACHE_GB", None)

import atexit
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stub_study
import torch
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from shell import Start
from stub_study import Make

from benchmarks.browser import launch
from benchmarks.ports import port_of, reserved
from benchmarks.postgres import Postgres
from trainers.options import ModelOptions
from tuner import trainer
from tuner.commands import app as commands
from tuner.forkserver import ForkServer
from tuner.storage.database import Database

torch.set_num_threads(1)
os.environ["TUNER_CACHE"] = tempfile.mkdtemp(prefix="tuner-test-cache-")
atexit.register(shutil.rmtree, os.environ["TUNER_CACHE"], ignore_errors=True)

TRAINER = trainer.COMMAND
PATIENCE = 60_000
"""Milliseconds after which what a page was to show counts as missing: a busy machine takes seconds for what takes a tenth."""
SMALL = ModelOptions(d_z=3, d_e=6, d_h=5, decoder_layers=2, dropout=0.0, d_c=7, flow_steps=2, components=4)
LENGTHS = (3.0, 1.0)
"""Mean and sd of training lengths, for models built by hand."""

CHEAP = {
    "semi-amortised": {"svi_steps": 2},
    "aggressive": {"inner": 4, "window": 2},
    "iwae": {"k": 3},
    "multi-sample": {"samples": 2},
}
"""Hyperparameters with which a technique trains no longer than the others."""

QUICK: dict[str, dict[str, Any]] = {
    "gp-mcmc": {"samples": 3, "burn_in": 10, "leapfrog": 5, "n_startup": 4},
    "gp-map": {"n_startup": 4},
    "botorch-mcmc": {"samples": 3, "burn_in": 10, "leapfrog": 5, "n_startup": 4},
}
"""Options of samplers that make their proposals quick ones."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test process."""
    server = Postgres(durable=False)
    yield server
    server.close()


@pytest.fixture(scope="session")
def prepared(postgres: Postgres) -> str:
    """The address of a database with our tables and Optuna's, which are made once for all tests of this process."""
    url = postgres.create()
    database = Database(url, create=True)
    assert database.storage is not None
    database.close()
    return url


@pytest.fixture
def on_postgres(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes a test's database on PostgreSQL: with tables if it is opened by the fixture `database`, else an empty one."""
    with ExitStack() as stack:

        def create() -> str:
            server: Postgres = request.getfixturevalue("postgres")
            url = server.create(request.getfixturevalue("prepared") if "database" in request.fixturenames else None)
            stack.callback(server.drop, url)
            return url

        yield create


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, on_postgres: Callable[[], str], tmp_path: Path) -> str:
    """The address of a database without studies, of each kind."""
    return f"sqlite:///{tmp_path}/t.db" if request.param == "sqlite" else on_postgres()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is trained: the stub trainer stands in."""
    stub_study.stand_in(monkeypatch)


@pytest.fixture
def make(database: Database, tmp_path: Path) -> Make:
    return lambda trials=3, name="s", **changes: stub_study.make(database, tmp_path, trials, name, **changes)


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is nobody's; whoever connects to it is refused until a test's server listens there."""
    with reserved() as held:
        yield port_of(held)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process, which has ended when the test has, whatever became of it."""
    with ExitStack() as stack:

        def started(command: list[str], **how: Any) -> "subprocess.Popen[str]":
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            process = stack.enter_context(subprocess.Popen(command, text=True, **{**pipes, **how}))
            stack.callback(process.kill)
            return process

        yield started


class Lasting(ForkServer):
    """A server of this test process's own, which commands do not end."""

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Forks real trainers, whatever a test has put in their place."""
    server = Lasting(TRAINER, trainer.fork_server().environment)
    yield server
    ForkServer.close(server)


@pytest.fixture
def inside(
    fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command in this process, as `shell.run` does in one of its own; its trainers, which are real ones, are forked.

    They may be given no path from the current folder, which is not theirs.
    """
    monkeypatch.delenv("PTB_DIR", raising=False)
    monkeypatch.setattr(trainer, "Trainer", partial(trainer.Trainer, server=fork_server))
    for module in ("tuner.workers.local", "tuner.workers.worker"):
        monkeypatch.setattr(f"{module}.fork_server", lambda: fork_server)
    monkeypatch.setattr(commands, "STOPS", {})  # signals are the tests' own

    def run(*arguments: str, code: int = 0, cwd: Path = tmp_path) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
            for name in ("stdout", "stderr"):  # which the command takes
                patched.setattr(sys, name, getattr(sys, name))
            patched.setenv("TUNER_DATABASE", f"sqlite:///{cwd}/tuner.db")
            patched.setenv("TUNER_RUNS", str(cwd / "runs"))
            patched.chdir(cwd)
            patched.setattr(sys, "argv", ["tuner", *arguments])
            commands.main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


@pytest.fixture
def address(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Address of a server in this process; a parameter changes its settings."""
    import uvicorn
    from api_server import application

    from api.process import bound
    from tuner.workers import distant, remote

    monkeypatch.setattr(distant, "AGAIN_SECONDS", 0.05)
    listening, changes = bound("127.0.0.1", 0), getattr(request, "param", {})
    app, one_at_a_time = application(database, tmp_path, monkeypatch, **changes), threading.Lock()

    def do(work: Callable[..., Any], *args: Any) -> Any:
        with one_at_a_time:  # as each of the real one's processes
            return work(*args)

    monkeypatch.setattr(app.state.service.processes, "do", do)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=30))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    while remote._databases:
        remote._databases.popitem()[1].close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """A browser's context whose cache is shared, so that the plotting script is fetched once."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(PATIENCE)
    return opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that may have no complaint."""
    opened = context.new_page()
    expect.set_options(timeout=PATIENCE)
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A refused or unreachable request is what some tests are about, and the browser logs each.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    opened.on("console", listen)
    opened.on("pageerror", lambda error: complaints.append(f"{error.message}\n{error.stack}"))
    yield opened
    if opened.url.startswith("http"):
        opened.evaluate("localStorage.clear()")
    opened.close()
    assert complaints == []
