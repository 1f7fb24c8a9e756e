"""The program `python -m api.optuna`: Optuna's dashboard over the study database, behind the server's keys, for reading
only.

A process of its own: its import loads torch and takes hundreds of megabytes. Optuna's tables are a copy of ours, so what it
would write there is refused, whatever the key. A page cannot send `Authorization: Bearer`, so a browser asks for
the key as a password (any user name).
"""

import base64
import binascii
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from starlette.responses import Response

from api.middleware import (
    FORWARDED,
    HEADERS,
    WRONG_KEY_COST,
    RateLimiter,
    came_by_proxy,
    client_of,
    foreign,
    host_of,
    too_many,
)
from api.problems import problem
from api.process import HEADER_SECONDS, bound, run, url_of
from api.settings import Settings
from tuner.commands.options import say
from tuner.storage import keys
from tuner.storage.database import Database

Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]

READING = ("GET", "HEAD")


class Fence:
    """WSGI middleware: what `api.middleware` asks of a request, for an application that only shall be read."""

    def __init__(self, app: Application, settings: Settings, database: Database) -> None:
        self.app, self.settings, self.database = app, settings, database
        self.rates = RateLimiter(settings.rate)

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        refused = self._refused(environ)
        if refused is not None:
            status = f"{refused.status_code} {HTTPStatus(refused.status_code).phrase}"
            start(status, [*refused.headers.items(), ("Cache-Control", "no-store")])
            return [bytes(refused.body)]

        def safely(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            """Our headers, but its own content policy: its plots need eval."""
            have = {name.lower() for name, _ in headers}
            ours = [(name, value) for name, value in HEADERS.items() if name != "Content-Security-Policy"]
            more = [(name, value) for name, value in (*ours, ("X-Frame-Options", "DENY")) if name.lower() not in have]
            return start(status, [*headers, *more], *rest)

        return self.app(environ, safely)

    def _refused(self, environ: dict[str, Any]) -> Response | None:
        host = environ.get("HTTP_HOST", "")
        headers = {name.removeprefix("HTTP_").replace("_", "-").lower(): value for name, value in environ.items()}
        peer = client_of(environ.get("REMOTE_ADDR", "unknown"), headers.get(FORWARDED[0], ""), self.settings.proxies)
        if host_of(host) not in self.settings.allowed_hosts:
            return foreign(host)
        if environ["REQUEST_METHOD"] not in READING:
            detail = "Optuna's tables are a copy that follows the studies: change those with tuner or its dashboard."
            return problem(405, detail, None, Allow=", ".join(READING))
        presented = _presented(environ.get("HTTP_AUTHORIZATION", ""))
        key = keys.check(self.database, presented) if presented else None
        missing = key is None and (bool(presented) or self._needs_key() or came_by_proxy(headers))
        bucket = f"key {key.id}" if key else f"wrong {peer}" if presented else peer
        wait = self.rates.wait(bucket, WRONG_KEY_COST if presented and missing else 1.0)
        if wait:
            return too_many(wait)
        if missing:
            detail = "a key is needed: give one that `tuner key create NAME` made as the password, under any user name."
            return problem(401, detail, None, **{"WWW-Authenticate": 'Basic realm="a key of tuner as password"'})
        return None

    def _needs_key(self) -> bool:
        return not self.settings.is_local or keys.is_guarded(self.database)


def _presented(header: str) -> str:
    """The key in an Authorization header, a bearer's or a password."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = HEADER_SECONDS
    """Seconds for which a connection may stay silent."""

    def handle(self) -> None:
        with suppress(TimeoutError):
            super().handle()

    def log_message(self, format: str, *values: Any) -> None:
        """Logs nothing, as an address may tell more than a log should keep."""


def listening(host: str, port: int, app: Application) -> WSGIServer:
    """A server at an address of either version.

    Raises:
        Fault: if it cannot be had.
    """
    with bound(host, port, "--optuna-port") as place:
        kind = type("Server", (_Server,), {"address_family": place.family})
    return make_server(host, port, app, kind, _Quiet)


def serve(settings: Settings, port: int) -> None:
    """Serves until it is told to stop."""
    from optuna_dashboard import wsgi

    with Database(settings.database, create=True) as database:
        server = listening(settings.host, port, Fence(wsgi(database.storage), settings, database))
        say(f"serving Optuna's dashboard, for reading, at {url_of(settings.host, port)}")
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(run(lambda settings, port, _: serve(settings, port)))
