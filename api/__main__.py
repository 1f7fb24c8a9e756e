"""`python -m api`: one server process. `tuner serve` starts it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.process import run
from api.settings import Settings
from tuner import keys
from tuner.console import say
from tuner.database import Database
from tuner.errors import Usage

GRACE_SECONDS = 10
"""for requests under way when the server is told to stop"""


class Server(uvicorn.Server):
    """Ends the event streams when it is told to stop: uvicorn alone would wait for their clients."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.service.feed.close()
        super().handle_exit(sig, frame)


def refuse_open(settings: Settings) -> None:
    """Beyond this machine nobody is served without a key.

    Raises:
        Usage: if there is none.
    """
    if settings.is_local:
        return
    database = Database(settings.database, create=True)
    try:
        if not any(key.revoked_at is None for key in keys.listed(database)):
            raise Usage(
                f"--host {settings.host} can be reached from other machines and there is no key: make one first with "
                "`tuner key create NAME`."
            )
    finally:
        database.close()


def companions(settings: Settings, optuna_port: int | None) -> list[list[str]]:
    """What the settings want beside the server, each a program with its arguments and a process of its own."""
    runs = ["--runs", str(settings.runs)]
    found = []
    if settings.workers:
        threads = [] if settings.threads is None else ["--threads", str(settings.threads)]
        found.append(["tuner", "worker", "--workers", str(settings.workers), *threads, *runs])
    if optuna_port is not None:
        names = [part for name in settings.hosts for part in ("--allowed-host", name)]
        place = ["--host", settings.host, "--port", str(optuna_port), "--rate", str(settings.rate)]
        found.append(["api.optuna", *place, *names])
    return found


@contextmanager
def beside(programs: list[list[str]], database: str) -> Iterator[None]:
    """The programs' processes, which end with this one, even if it is killed: workers hand their trials back."""
    # The address may hold a password, so it is no argument; a terminal's Ctrl-C is the server's to pass on.
    environment = {**os.environ, "TUNER_DATABASE": database}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for program in programs:
            command = [sys.executable, "-m", "tuner.companion", *program]
            processes.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True))
        yield
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()  # which tells it to stop
        for process in processes:
            process.wait()


def serve(settings: Settings, port: int, optuna_port: int | None) -> None:
    """Serves until it is told to stop."""
    refuse_open(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    say(f"serving {app.state.service.database.url} at http://{settings.host}:{port}")
    with beside(companions(settings, optuna_port), settings.database):
        Server(config).run()


if __name__ == "__main__":
    sys.exit(run(serve))
