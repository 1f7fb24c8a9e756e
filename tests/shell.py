"""Commands in processes of their own, and in this one, for the tests."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from stub_study import STUB

T = TypeVar("T")
Start = Callable[..., "subprocess.Popen[str]"]
"""Function `start`, whose processes end with the test."""
QUICK = ("corpus_size=200", "nll_samples=3", "nll_sentences=40", "d_h=12", "d_e=12", "checkpoint_seconds=0.001")
DEADLINE = 240.0
SMALLEST = ("corpus_size=200", "nll_samples=3", "nll_sentences=40", "d_h=12", "d_e=12", "max_epochs=1")
AWAITED = 240.0
"""Seconds for which what comes a moment later is waited for."""
STUBBED = (
    "import sys; from tuner import trainer; from tuner.commands.app import main; from tuner.workers import watch; "
    f"trainer.COMMAND = (sys.executable, {str(STUB)!r}); watch.BEAT_SECONDS = 0.1; sys.argv[0] = 'tuner'; main()"
)
"""The program `tuner`, whose trainer is the stub, and whose workers hear at once that their study was stopped."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tuner", *arguments]


def stubbed(*arguments: str) -> list[str]:
    """A command that trains no model."""
    return [sys.executable, "-c", STUBBED, *arguments]


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


def wait_for(found: Callable[[], T]) -> T:
    """Calls again and again until the answer is true, and returns it."""
    until = time.monotonic() + AWAITED
    while not (value := found()):
        assert time.monotonic() < until, "it has not come"
        time.sleep(0.02)
    return value


def begin(start: Start, cwd: Path, trial: str = "0000", epochs: int = 10) -> "subprocess.Popen[str]":
    """Starts a launch and waits until the trial has a checkpoint in the middle of its training."""
    process = start(command(*launch("--json", epochs=epochs)), cwd=cwd)

    def has_checkpoint() -> bool:
        assert process.poll() is None, process.communicate()
        return bool(list(cwd.glob(f"runs/work/s-{trial}-*/latest.safetensors")))

    wait_for(has_checkpoint)
    return process


def await_end(process: int) -> None:
    """Waits for a process that need be no child of this one, and ends it if it does not end."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        try:
            assert select.select([handle], [], [], AWAITED)[0], "it still runs"
        except BaseException:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            raise
        finally:
            os.close(handle)


def descendants(pid: int) -> list[int]:
    """The processes that this one and those it has started have started."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread of it has
                found.extend(map(int, file.read_text().split()))
    return [*found, *(later for child in found for later in descendants(child))]


def command_line(pid: int) -> bytes:
    """A process's arguments, each ended by a NUL; empty once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def parent(pid: int) -> int | None:
    """The process that has started this one, or looks after it since; None once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None
