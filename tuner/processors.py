"""The processors that this process may use, and how many threads of work start unless more are asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import Usage
from tuner.numbers import SOME

THREADS = "OMP_NUM_THREADS"
"""Environment variable that OpenMP, MKL and OpenBLAS read when they are loaded."""


def usable(root: Path = Path("/")) -> int:
    """Processors that this process may use, at least 1: those of its affinity, or what its control groups' quotas leave of
    them, rounded down (a container may have 2 of a machine's 64).

    Args:
        root: of the file system that has /proc and /sys.
    """
    counts = [quota // period for quota, period in _quotas(root) if quota > 0 and period > 0]
    return max(min([_affinity(), *counts]), 1)


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Microseconds of processor time in each period of so many, of this process's control groups and all above them."""
    groups = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        own = Path(name.lstrip("/"))
        for group in (own, *own.parents):
            if not controllers:  # version 2
                quota, _, period = _read(groups / group / "cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                quota, period = (_read(groups / "cpu" / group / f"cpu.cfs_{key}_us") for key in ("quota", "period"))
            else:
                continue
            if quota.strip().isdigit() and period.strip().isdigit():  # not `max` or -1
                yield int(quota), int(period)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""


def threads(asked: int | None = None) -> int:
    """Threads of a trainer: as many as asked for, else as the environment's OMP_NUM_THREADS says, else 1.

    One is the default because threads wait for each other at every operation: where another program keeps one of two processors
    busy, two threads are many times slower than one.

    Raises:
        Usage: if the environment's value is no number.
    """
    if asked is not None:
        return asked
    said = os.environ.get(THREADS, "1").partition(",")[0].strip()  # a list is of nested levels
    if not said.isdecimal() or len(said) > 9 or int(said) not in SOME:
        raise Usage(f"{THREADS}={os.environ[THREADS]!r} is no number of threads: set it to {SOME}, or unset it.")
    return int(said)


def take_one_thread() -> None:
    """Has this process's own arithmetic (the samplers' BLAS, Optuna's PyTorch) use one thread, unless the environment says
    otherwise; to be called before NumPy is loaded."""
    os.environ.setdefault(THREADS, "1")
