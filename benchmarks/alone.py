"""Changes to the machine that one process may make at a time: users, permissions, programs."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Waits until no other process of this user holds the lock of that name, and holds it."""
    with Path(tempfile.gettempdir(), f"tuner-{name}-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
