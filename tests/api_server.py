"""Servers for the tests: an application in this process, whose heavy work is done at once, and real ones."""

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from shell import AWAITED, wait_for

from api.app import create_app
from api.settings import Settings
from benchmarks.ports import port_of, reserved
from benchmarks.stub_study import CORPUS
from tuner import trainer
from tuner.storage.database import Database

ROOT = Path(__file__).parent.parent
DESCRIBED = {
    **CORPUS,
    "divided_into": "words",
    "latent": True,
    "stages": 1,
    "unfit": None,
    "limits": {},
    "planned": {},
    "warnings": [],
}


def application(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> FastAPI:
    """One whose new studies are checked by no trainer."""
    monkeypatch.setattr(trainer, "check", lambda spec, corners: DESCRIBED)
    settings = {"database": database.secret_url, "runs": folder / "runs", "rate": 0.0, "freshness": 0.0, **changes}
    app = create_app(Settings(**settings))
    monkeypatch.setattr(app.state.service.processes, "do", lambda work, *args, **more: work(*args, **more))
    return app


PROGRAM = "import sys; from api import __main__ as api; api.GRACE_SECONDS = 1; sys.exit(api.run(api.serve))"
"""The server's program, which gives requests under way a second when it is told to stop."""


@contextmanager
def server(url: str, folder: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server process, once it answers, and its address. What it and its companions say is in `server.log`."""
    environment = {**os.environ, "TUNER_DATABASE": url, "PYTHONPATH": str(ROOT)}
    with reserved() as held, (folder / "server.log").open("ab") as log:
        port = str(port_of(held))
        command = [sys.executable, "-c", PROGRAM, "--port", port, "--runs", str(folder / "runs"), *arguments]
        with subprocess.Popen(command, cwd=folder, env=environment, stderr=log) as process:
            try:
                address = f"http://127.0.0.1:{port}"

                def is_ready() -> bool:
                    assert process.poll() is None, (folder / "server.log").read_text()
                    return answer(address, "/readyz") == 200

                wait_for(is_ready)
                yield address, process
            finally:
                process.terminate()
                try:
                    process.wait(AWAITED)
                except subprocess.TimeoutExpired:
                    process.kill()


def answer(address: str, path: str) -> int | None:
    """Status of a server's answer; None while nobody answers."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=AWAITED)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def events(lines: Iterator[str]) -> Iterator[tuple[str, str | None, str]]:
    """Server-sent events as (kind, id, data)."""
    kind, name, data = "", None, ""
    for line in lines:
        found = re.match(r"(event|id|data): (.*)", line)
        if found is None:
            if not line and data:
                yield kind, name, data
                kind, name, data = "", None, ""
        elif found[1] == "event":
            kind = found[2]
        elif found[1] == "id":
            name = found[2]
        else:
            data = found[2]
