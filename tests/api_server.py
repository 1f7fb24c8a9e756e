"""Servers for the tests: an application in this process, whose heavy work is done at once, and real ones."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.settings import Settings
from benchmarks.stub_study import CORPUS
from tuner import trainer
from tuner.storage.database import Database

ROOT = Path(__file__).parent.parent
DESCRIBED = {
    **CORPUS,
    "divided_into": "words",
    "latent": True,
    "stages": 1,
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


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def server(url: str, folder: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process, once it answers, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "api", "--port", str(port), "--runs", str(folder / "runs"), *arguments]
    environment = {**os.environ, "TUNER_DATABASE": url, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{address}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < until
            time.sleep(0.05)
        yield address, process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


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
