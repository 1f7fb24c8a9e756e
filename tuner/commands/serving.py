"""Commands of the REST API: its server, which is a program of its own, and its keys."""

import importlib.util
import os
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from tuner import numbers
from tuner.commands.options import (
    ArtifactsOption,
    DatabaseOption,
    JsonOption,
    RunsOption,
    ThreadsOption,
    bounded,
    opened,
    print_json,
    say,
)
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Usage
from tuner.process import PYTHON, flags

SERVER = "api"
"""Package that serves; it imports this one, not the other way round."""

app = typer.Typer()
key_app = typer.Typer(help="Keys of the REST API.", no_args_is_help=True)
app.add_typer(key_app, name="key")


@app.command(epilog="Example: tuner serve --with-workers 1")
def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to serve at; any but this machine's own needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, bounded(numbers.PORTS, "--port", help="Port to serve at.")] = 8000,
    with_workers: Annotated[
        int,
        bounded(
            numbers.PROCESSES,
            "--with-workers",
            help="Number of workers to start too; without any, studies wait for workers.",
        ),
    ] = 0,
    threads: ThreadsOption = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", metavar="NAME=DIR", help="Name for studies and its folder of texts; may be repeated."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host", metavar="NAME", help="Name of this server under which requests may come; may be repeated."
        ),
    ] = None,
    rate: Annotated[
        float, bounded(numbers.RATE, "--rate", help="Largest number of requests a second of one client (0: any).")
    ] = 100.0,
    streams: Annotated[
        int, bounded(numbers.STREAMS, "--streams", help="Largest number of event streams open at a time.")
    ] = 512,
    streams_each: Annotated[
        int,
        bounded(
            numbers.STREAMS,
            "--streams-each",
            help="Largest number of event streams of one key, or of one address without a key.",
        ),
    ] = 64,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="ADDRESS",
            help="Proxy, or its network, that is believed for whom it speaks (X-Forwarded-For); may be repeated.",
            show_default="this machine's",
        ),
    ] = None,
    work_seconds: Annotated[
        float,
        bounded(
            numbers.WORK_SECONDS, "--work-seconds", help="Seconds that heavy work which a request orders may take."
        ),
    ] = 120.0,
    work_memory: Annotated[
        float,
        bounded(numbers.WORK_MEMORY, "--work-memory", help="GiB of memory that each process of such work may have."),
    ] = 4.0,
    optuna_port: Annotated[
        int | None,
        bounded(numbers.PORTS, "--optuna-port", help="Port for Optuna's dashboard, which is served too, for reading."),
    ] = None,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
) -> None:
    """Serve the REST API and the dashboard.

    Ctrl-C ends requests, event streams and workers in order.
    """
    asked = {key: value for key, value in locals().items() if key != "database"}
    for package in ("fastapi", "uvicorn", "orjson", "plotly", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            raise Usage(f"tuner serve needs {package}: pip install 'text-vae-tuner[api]'.")
    if optuna_port is not None and importlib.util.find_spec("optuna_dashboard") is None:
        raise Usage("--optuna-port needs optuna-dashboard: pip install 'text-vae-tuner[optuna-dashboard]'.")
    command = [*PYTHON, "-m", SERVER, *flags(asked)]
    sys.stdout.flush()
    # Not an argument: it may hold a password.
    os.execve(command[0], command, {**os.environ, "TUNER_DATABASE": database})


@key_app.command(epilog="Example: tuner key create laptop --write")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key, e.g. its owner's.", show_default=False)],
    write: Annotated[bool, typer.Option("--write", help="Allow the key to change things, not only to read.")] = False,
    database: DatabaseOption = DATABASE,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from tuner.storage import keys

    with opened(database, create=True) as there:
        made = keys.create(there, name, write)
    say(f"key {name!r} may {'read and write' if write else 'read'}; it cannot be shown again:")
    print(made)


@key_app.command(name="list", epilog="Example: tuner key list")
def list_keys(database: DatabaseOption = DATABASE, as_json: JsonOption = False) -> None:
    """List the keys: what each may, and when it was last used."""
    from tuner.commands.tables import Table
    from tuner.storage import keys

    with opened(database) as there:
        found = keys.listed(there)
    if as_json:
        print_json([vars(key) for key in found])
        return
    rows = Table("key", "may", "made", "used", "revoked")
    for key in found:
        times = [_day(t) for t in (key.created_at, key.used_at, key.revoked_at)]
        rows.add(key.name, "read, write" if key.can_write else "read", *times)
    rows.print()


@key_app.command(epilog="Example: tuner key revoke laptop")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.", show_default=False)],
    database: DatabaseOption = DATABASE,
) -> None:
    """End a key, at once and for every server."""
    from tuner.storage import keys

    with opened(database) as there:
        keys.revoke(there, name)
    say(f"key {name!r} is revoked")


def _day(seconds: float | None) -> str:
    return "–" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
