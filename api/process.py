"""Shared parts of the server's processes: their command line, and how they end."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from api.settings import OWN_PROXIES, Settings
from tuner.commands.options import say
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Fault, Usage
from tuner.numbers import GIB
from tuner.studies.corpora import check_name

HEADER_SECONDS = 15.0
"""Seconds in which a connection must have sent a whole request's head."""


def settings_of(arguments: list[str]) -> tuple[Settings, int, int | None]:
    """The settings, the port, and that of Optuna's dashboard if it is wanted.

    Raises:
        Usage: if one of them is not allowed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m api", description="`python -m api`: one server process. `tuner serve` starts it."
    )
    parser.add_argument("--database", default=os.environ.get("TUNER_DATABASE", DATABASE))
    parser.add_argument("--runs", type=Path, default=Path(os.environ.get("TUNER_RUNS", RUNS)))
    parser.add_argument("--artifacts", default=os.environ.get("TUNER_ARTIFACTS"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--with-workers", type=int, default=0, metavar="K")
    parser.add_argument("--threads", type=int, help="Threads of a worker's trainer.")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME")
    parser.add_argument(
        "--rate", type=float, default=100.0, help="Largest number of requests a second of one client; 0: any."
    )
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--streams-each", type=int, default=64, help="Largest number of event streams of one client.")
    parser.add_argument("--trusted-proxy", action="append", default=[], metavar="ADDRESS")
    parser.add_argument(
        "--work-seconds", type=float, default=120.0, help="Seconds that work ordered by a request may take."
    )
    parser.add_argument(
        "--work-memory", type=float, default=4.0, help="GiB of memory that a process of such work may have."
    )
    parser.add_argument("--optuna-port", type=int, help="Port for Optuna's dashboard, which is served too.")
    parsed = parser.parse_args(arguments)
    corpora = {}
    for pair in parsed.corpus:
        name, equals, folder = pair.partition("=")
        if not (name and equals and _holds_text(Path(folder))):
            raise Usage(
                f"--corpus {pair!r} is not NAME=DIR with a file or a folder of files that can be read: "
                "write e.g. --corpus ptb2=texts/ptb."
            )
        check_name(name)
        corpora[name] = folder
    settings = Settings(
        database=parsed.database,
        runs=parsed.runs,
        artifacts=parsed.artifacts,
        corpora=corpora,
        host=parsed.host,
        hosts=tuple(parsed.allowed_host),
        workers=parsed.with_workers,
        threads=parsed.threads,
        rate=parsed.rate,
        streams=parsed.streams,
        streams_each=parsed.streams_each,
        proxies=(*OWN_PROXIES, *map(_network, parsed.trusted_proxy)),
        work_seconds=parsed.work_seconds,
        work_memory=int(parsed.work_memory * GIB),
    )
    return settings, parsed.port, parsed.optuna_port


def _holds_text(place: Path) -> bool:
    try:
        return any(os.access(file, os.R_OK) for file in (place.iterdir() if place.is_dir() else [place]))
    except OSError:
        return False


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise Usage(
            f"--trusted-proxy {text!r} is no address or network: write e.g. --trusted-proxy 172.18.0.0/16."
        ) from None


def url_of(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def bound(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket at that address, so that whether it can be had is known before anything is said of it.

    Raises:
        Fault: if another program has it, or this machine has no such address.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(socket.SOMAXCONN)
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise Fault(
            f"{host} port {port} cannot be served at ({error.strerror}): name another one with {option}."
        ) from error
    return found


def run(serve: Callable[[Settings, int, int | None], None]) -> int:
    """Has `serve` do what the command line says until it is told to stop; the process's exit code, as of `tuner`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until a server has its own
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # a lost terminal; ignored under `nohup`
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        serve(*settings_of(sys.argv[1:]))
    except (Usage, Fault) as error:
        say(f"tuner: {error}")
        return 2 if isinstance(error, Usage) else 1
    except KeyboardInterrupt:
        pass
    return 0
