"""`python -m api`: one server process. `tuner serve` starts it."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.app import create_app
from api.process import HEADER_SECONDS, bound, run, url_of
from api.settings import Settings
from tuner.commands.options import say
from tuner.defaults import environment_of
from tuner.errors import Usage
from tuner.process import PYTHON, flags
from tuner.storage import keys
from tuner.storage.database import Database

GRACE_SECONDS = 10
"""Seconds that requests under way may take when the server is told to stop."""
STUCK_SECONDS = 60
"""Seconds for which a client may leave unread what it was sent."""


class Impatient(H11Protocol):
    """Ends connections that send half a request's head, or nothing, and those whose client reads nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection: socket.socket = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_SECONDS * 1000)
        self._last: object = None
        self._look_again = self.loop.call_later(HEADER_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_again.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """No request has begun since the last look, and none is under way."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._last = self
        elif self.cycle is self._last:
            self.transport.abort()
            return
        else:
            self._last = self.cycle
        self._look_again = self.loop.call_later(HEADER_SECONDS, self._look)


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
    with Database(settings.database, create=True) as database:
        if not any(key.revoked_at is None for key in keys.listed(database)):
            raise Usage(
                f"{settings.open_by} lets other machines in and there is no key: make one first with `tuner key create NAME`, "
                "in the server's database."
            )


def companions(settings: Settings, optuna_port: int | None) -> list[list[str]]:
    """Programs that the settings want beside the server, each with its arguments and a process of its own."""
    found = []
    if settings.workers:
        asked = {"workers": settings.workers, "threads": settings.threads, "runs": settings.runs}
        found.append(["tuner", "worker", *flags(asked)])
    if optuna_port is not None:
        own = {key: getattr(settings, key) for key in ("host", "rate")}
        names = {"allowed_host": settings.hosts, "trusted_proxy": settings.proxies}
        found.append(["api.optuna", *flags({**own, "port": optuna_port, **names})])
    return found


@contextmanager
def beside(programs: list[list[str]], database: str) -> Iterator[None]:
    """The programs' processes, which end with this one, even if it is killed: workers hand their trials back."""
    # The address may hold a password, so it is no argument; a terminal's Ctrl-C is the server's to pass on.
    environment = environment_of(database)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for program in programs:
            command = [*PYTHON, "-m", "tuner.die_with_parent", *program]
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
    listening = bound(settings.host, port)
    if optuna_port is not None:
        bound(settings.host, optuna_port, "--optuna-port").close()
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=Impatient,
        proxy_headers=False,  # the guard knows whom to believe
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    say(f"serving {app.state.service.database.url} at {url_of(settings.host, port)}")
    with beside(companions(settings, optuna_port), settings.database):
        Server(config).run([listening])


if __name__ == "__main__":
    sys.exit(run(serve))
