"""`python -m api`: one server process. `tuner serve` starts it."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.settings import Settings
from tuner import keys
from tuner.console import say
from tuner.database import Database
from tuner.errors import Fault, Usage

GRACE_SECONDS = 10
"""for requests under way when the server is told to stop"""


class Server(uvicorn.Server):
    """Ends the event streams when it is told to stop: uvicorn alone would wait for their clients."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.service.feed.close()
        super().handle_exit(sig, frame)


def settings_of(arguments: list[str]) -> tuple[Settings, int, int | None]:
    """The settings, the port, and that of Optuna's dashboard if it is wanted.

    Raises:
        Usage: if one of them is not allowed.
    """
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--database", default=os.environ.get("TUNER_DATABASE", "sqlite:///tuner.db"))
    parser.add_argument("--runs", type=Path, default=Path(os.environ.get("TUNER_RUNS", "runs")))
    parser.add_argument("--artifacts", default=os.environ.get("TUNER_ARTIFACTS"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--with-workers", type=int, default=0, metavar="K")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second of one client; 0: any")
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--optuna-port", type=int, help="serve Optuna's dashboard there too")
    parsed = parser.parse_args(arguments)
    corpora = {}
    for pair in parsed.corpus:
        name, equals, folder = pair.partition("=")
        if not (name and equals and Path(folder).is_dir()):
            raise Usage(
                f"--corpus {pair!r} is not NAME=DIR with a folder that is there: write e.g. --corpus ptb2=texts/ptb."
            )
        corpora[name] = folder
    settings = Settings(
        database=parsed.database,
        runs=parsed.runs,
        artifacts=parsed.artifacts,
        corpora=corpora,
        host=parsed.host,
        hosts=tuple(parsed.allowed_host),
        workers=parsed.with_workers,
        rate=parsed.rate,
        streams=parsed.streams,
    )
    return settings, parsed.port, parsed.optuna_port


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
        found.append(["tuner", "worker", "--workers", str(settings.workers), *runs])
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


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until uvicorn has its own
    try:
        serve(*settings_of(sys.argv[1:]))
    except (Usage, Fault) as error:
        say(f"tuner: {error}")
        return 2 if isinstance(error, Usage) else 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
