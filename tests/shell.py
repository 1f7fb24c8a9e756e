"""Commands in processes of their own, for the tests."""

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

QUICK = ("corpus_size=200", "nll_samples=3", "nll_sentences=40", "d_h=12", "d_e=12", "checkpoint_seconds=0.001")
DEADLINE = 120.0
SMALLEST = ("corpus_size=200", "nll_samples=3", "nll_sentences=40", "d_h=12", "d_e=12", "max_epochs=1")
AWAITED = 240.0
"""Seconds for which a process that is no child is waited for."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tuner", *arguments]


def run(*arguments: str, cwd: Path, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PTB_DIR"} | environment
    done = subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True, check=False, env=env, timeout=DEADLINE
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def launch(*more: str, epochs: int = 2, study: str = "s") -> list[str]:
    settings = [part for key in (*QUICK, f"max_epochs={epochs}") for part in ("--set", key)]
    return ["launch", "--technique", "sfb", "--study", study, "--trials", "2", *settings, *more]


def figures(study: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(t["number"], t["state"], t["params"], t["value"], t["metrics"]) for t in study["trials"]]


def begin(cwd: Path, trial: str = "0000", epochs: int = 24) -> subprocess.Popen[str]:
    """Starts a launch and waits until the trial has a checkpoint in the middle of its training."""
    process = subprocess.Popen(
        command(*launch("--json", epochs=epochs)), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + DEADLINE
    while not list(cwd.glob(f"runs/work/s-{trial}-*/latest.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


def await_end(process: int) -> None:
    """Waits for a process that need be no child of this one."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        try:
            assert select.select([handle], [], [], AWAITED)[0], "it still runs"
        finally:
            os.close(handle)


def descendants(pid: int) -> list[int]:
    """The processes that this one and those it has started have started."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            found.extend(map(int, file.read_text().split()))
    return [*found, *(later for child in found for later in descendants(child))]


def command_line(pid: int) -> bytes:
    """A process's arguments, each ended by a NUL; empty once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
