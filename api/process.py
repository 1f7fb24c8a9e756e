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

PLAIN: dict[str, Callable[[str], object]] = {
    "database": str, "runs": Path, "artifacts": str, "host": str, "threads": int, "rate": float, "streams": int,
    "streams_each": int, "work_seconds": float,
}  # fmt: skip
"""Settings that an option of their name gives, and what makes one of its text."""
HEADER_SECONDS = 15.0
"""Seconds in which a connection must have sent a whole request's head."""


def settings_of(arguments: list[str]) -> tuple[Settings, int, int | None]:
    """The settings, the port, and that of Optuna's dashboard if it is wanted.

    Raises:
        Usage: if one of them is not allowed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m api", description="One server process, which `tuner serve` starts: its options are these.",
        argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    for key, kind in PLAIN.items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=kind)
    for flag, key in {"corpus": "corpora", "allowed-host": "hosts", "trusted-proxy": "proxies"}.items():
        parser.add_argument(f"--{flag}", dest=key, action="append", default=[])
    parser.add_argument("--with-workers", dest="workers", type=int)
    parser.add_argument("--work-memory", type=lambda text: int(float(text) * GIB))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--optuna-port", type=int, default=None)
    parser.set_defaults(
        database=os.environ.get("TUNER_DATABASE", DATABASE),
        runs=Path(os.environ.get("TUNER_RUNS", RUNS)),
        artifacts=os.environ.get("TUNER_ARTIFACTS"),
    )
    given = vars(parser.parse_args(arguments))
    corpora = {}
    for pair in given["corpora"]:
        name, equals, folder = pair.partition("=")
        if not (name and equals and _holds_text(Path(folder))):
            raise Usage(
                f"--corpus {pair!r} is not NAME=DIR with a file or a folder of files that can be read: "
                "write e.g. --corpus ptb2=texts/ptb."
            )
        check_name(name)
        corpora[name] = folder
    given |= {"corpora": corpora, "hosts": tuple(given["hosts"])}
    given["proxies"] = (*OWN_PROXIES, *map(_network, given["proxies"]))
    port, optuna_port = given.pop("port"), given.pop("optuna_port")
    return Settings(**given), port, optuna_port


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
