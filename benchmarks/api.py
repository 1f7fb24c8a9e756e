"""The REST API under load: requests in parallel on a study of 10,000 trials and 1,000,000 epoch rows, its process's memory, and
event streams that must lose nothing; on SQLite and PostgreSQL.

    python -m benchmarks.api --requests 400
    python -m benchmarks.api --requests 0 --streams 200 --minutes 5

Server and clients share the machine. Prints one JSON object a database.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.large import fill
from benchmarks.ports import port_of, reserved
from benchmarks.postgres import Postgres
from tuner.storage.database import Database
from tuner.storage.tables import revise
from tuner.studies.study import open_study
from tuner.workers.leases import Attempts

STUDY = "s"
PATHS = {
    "list": "/v1/studies",
    "show": f"/v1/studies/{STUDY}",
    "trials": f"/v1/studies/{STUDY}/trials",
    "epochs": f"/v1/studies/{STUDY}/trials/77/epochs",
    "pareto": f"/v1/pareto?study={STUDY}&x=rate&y=ppl",
}
START_SECONDS = 60.0
FIGURES = {"distortion": 1.0, "rate": 2.0, "neg_elbo": 3.0, "active_units": 4, "seconds": 0.1, "objective_beta": 0.5}


class Server:
    """A server process on a port of its own."""

    def __init__(self, url: str, *arguments: str) -> None:
        held = reserved()
        weakref.finalize(self, held.close)
        port = port_of(held)
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "api", "--port", str(port), "--rate", "0", *arguments]
        environment = {**os.environ, "TUNER_DATABASE": url}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"{self.address}/readyz").raise_for_status()
                return
            except httpx.HTTPError:
                if time.monotonic() > until or self.process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.1)

    def megabytes(self, name: str = "VmHWM") -> float:
        """Memory in use: the most so far (`VmHWM`), or now (`VmRSS`)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    def loads(self, library: str) -> bool:
        """True if the process has a shared library of that name in memory."""
        return library in Path(f"/proc/{self.process.pid}/maps").read_text(encoding="utf-8")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


async def ask(address: str, path: str, count: int, parallel: int, before: Callable[[], None]) -> list[float]:
    """Seconds of each of `count` requests, `parallel` at a time on open connections, which have carried one request before."""
    host, _, port = address.removeprefix("http://").partition(":")
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
    taken: list[float] = []
    left = iter(range(count))

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    async def connection(warm: bool) -> None:
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**22)
        if warm:
            await one(reader, writer)
        for _ in left:
            before()
            started = time.perf_counter()
            await one(reader, writer)
            taken.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(connection(parallel > 1) for _ in range(parallel)))
    return taken


def summary(seconds: list[float]) -> dict[str, float]:
    percentiles = np.percentile(seconds, (50, 95, 100)) * 1000
    return {key: round(float(value), 1) for key, value in zip(("p50_ms", "p95_ms", "max_ms"), percentiles, strict=True)}


def load(server: Server, database: Database, requests: int, parallel: int) -> dict[str, Any]:
    """Each path's times: the first answer, then in parallel, then in parallel while the study changes ten times a second."""

    def change() -> None:
        now = time.monotonic()
        if now - changed[0] > 0.1:  # ten writes a second, as of workers that report epochs
            changed[0] = now
            database.run(lambda session: revise(session, STUDY))

    found: dict[str, Any] = {}
    for name, path in PATHS.items():
        changed = [0.0]
        first = asyncio.run(ask(server.address, path, 1, 1, lambda: None))
        still = asyncio.run(ask(server.address, path, requests, parallel, lambda: None))
        moving = asyncio.run(ask(server.address, path, requests, parallel, change))
        found[name] = {"first_ms": round(first[0] * 1000, 1), "still": summary(still), "changing": summary(moving)}
    return found


async def listen(address: str, streams: int, epochs: int, opened: asyncio.Event) -> list[int]:
    """Number of epochs that each stream has heard, in their order and none twice, by its end."""
    counts = [0] * streams
    count_open = 0

    async def one(client: httpx.AsyncClient, place: int) -> None:
        nonlocal count_open
        async with client.stream("GET", "/v1/studies/small/events") as response:
            response.raise_for_status()
            kind = ""
            async for line in response.aiter_lines():
                if line.startswith("retry"):
                    count_open += 1
                    if count_open == streams:
                        opened.set()
                elif line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: ") and kind == "epoch":
                    epoch = json.loads(line[6:])["epoch"]
                    if epoch != counts[place] + 1:
                        raise RuntimeError(f"stream {place} heard epoch {epoch} after {counts[place]}")
                    counts[place] = epoch
                    if epoch == epochs:
                        return

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(60.0, pool=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=timeout) as client:
        await asyncio.gather(*(one(client, place) for place in range(streams)))
    return counts


async def stream(server: Server, database: Database, streams: int, seconds: float, rate: float) -> dict[str, Any]:
    """Streams that hear of `rate` epochs a second, each in a transaction of its own."""
    study = open_study(database, "small")
    attempts = Attempts(study, "benchmark")
    claim = attempts.claim()
    assert claim is not None
    epochs = max(round(seconds * rate), 1)
    opened = asyncio.Event()
    listening = asyncio.create_task(listen(server.address, streams, epochs, opened))
    await opened.wait()
    started = time.monotonic()
    for epoch in range(1, epochs + 1):
        await asyncio.to_thread(attempts.record, claim, [{"epoch": epoch, **FIGURES}], 60.0)
        await asyncio.sleep(max(started + epoch / rate - time.monotonic(), 0.0))
    told = time.monotonic()
    counts = await asyncio.wait_for(listening, 120.0)
    late = time.monotonic() - told
    attempts.finish(claim, "complete", value=1.0)
    return {
        "streams": streams,
        "seconds": round(told - started, 1),
        "epochs": epochs,
        "lost": sum(epochs - count for count in counts),
        "last_heard_after_s": round(late, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--requests", type=int, default=400, help="Number of requests of each path; 0: no load.")
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=5.0, help="Minutes for which the streams are open.")
    parser.add_argument("--rate", type=float, default=5.0, help="Number of epochs a second that streams hear of.")
    parser.add_argument("--databases", default="SQLite,PostgreSQL")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    postgres = Postgres() if "PostgreSQL" in arguments.databases else None
    addresses = {"SQLite": f"sqlite:///{folder}/t.db", "PostgreSQL": postgres.url if postgres else ""}
    try:
        for kind in arguments.databases.split(","):
            database = Database(addresses[kind], create=True, patience=30.0)
            fill(database, arguments.trials, arguments.epochs, folder)
            server = Server(addresses[kind], "--runs", str(folder))
            try:
                idle = server.megabytes()
                found: dict[str, Any] = {"database": kind, **vars(arguments), "idle_mb": round(idle)}
                if arguments.requests:
                    found["milliseconds"] = load(server, database, arguments.requests, arguments.parallel)
                if arguments.streams:
                    seconds = 60 * arguments.minutes
                    found["events"] = asyncio.run(stream(server, database, arguments.streams, seconds, arguments.rate))
                found |= {"most_mb": round(server.megabytes()), "torch": server.loads("libtorch")}
                print(json.dumps(found), flush=True)
            finally:
                server.stop()
                database.close()
    finally:
        if postgres is not None:
            postgres.close()


if __name__ == "__main__":
    main()
