"""Processes of this machine, told apart from later ones of the same number."""

import os
import socket
from pathlib import Path

HOST = socket.gethostname()


def process_mark(pid: int) -> str:
    """A process's number and birth, so that a later process of the same number is another one; the number alone where the
    system does not tell."""
    try:
        born = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return str(pid)
    return f"{pid}:{born}"


def is_alive(mark: str) -> bool:
    """Whether this machine's process of that mark exists."""
    pid = int(mark.split(":")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process_mark(pid) == mark
