"""What the server's processes share: their command line, and how they end."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from api.settings import Settings
from tuner.console import DATABASE, RUNS, say
from tuner.errors import Fault, Usage


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
    parser.add_argument("--threads", type=int, help="of a worker's trainer")
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
        threads=parsed.threads,
        rate=parsed.rate,
        streams=parsed.streams,
    )
    return settings, parsed.port, parsed.optuna_port


def run(serve: Callable[[Settings, int, int | None], None]) -> int:
    """Has `serve` do what the command line says until it is told to stop; the process's exit code, as of `tuner`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until a server has its own
    try:
        serve(*settings_of(sys.argv[1:]))
    except (Usage, Fault) as error:
        say(f"tuner: {error}")
        return 2 if isinstance(error, Usage) else 1
    except KeyboardInterrupt:
        pass
    return 0
