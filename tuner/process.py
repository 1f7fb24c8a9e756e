"""Processes: how ours are started; each is told apart from all others of its number, later ones' or other machines'."""

import hashlib
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

HOST = socket.gethostname()
"""Name of this machine for people; two machines, or two containers, may have one name."""


def _born(pid: int) -> str | None:
    """Ticks at which a process was started; None if it has ended, or if the system does not tell."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]


def _place() -> str:
    """Mark of the place in which a process's number is unique: this boot of this machine, and this PID namespace.

    Empty where the system does not tell: then of no process it is known that it has ended.
    """
    try:
        if str(Path("/proc/self").readlink()) != str(os.getpid()):  # /proc is another namespace's
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{_machine()}{boot}{namespace}".encode()).hexdigest()[:16]


def _machine() -> str:
    """The machine's identity by systemd; empty where there is none, as in most containers."""
    try:
        return Path("/etc/machine-id").read_text(encoding="utf-8")
    except OSError:
        return ""


PLACE = _place()
PYTHON = (sys.executable, "-P")
"""Command that starts every process of ours; `-P` keeps modules in the user's folder from being taken for ours."""


def flags(values: Mapping[str, object]) -> list[str]:
    """Options of a command line from values by name: none for None, one for each entry of a list."""
    found = []
    for name, value in values.items():
        every = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        found += [part for each in every for part in (f"--{name.replace('_', '-')}", str(each))]
    return found


def process_mark(pid: int) -> str:
    """Mark of a process: its number, birth and place, which no other process shares."""
    return f"{pid}:{_born(pid) or ''}:{PLACE}"


def is_here(mark: str) -> bool:
    """True if the process of that mark is, or was, one that this process can see."""
    return bool(PLACE) and mark.rpartition(":")[2] == PLACE


def is_dead(mark: str) -> bool:
    """True if the process of that mark is known to have ended, which is never known of a process that cannot be seen
    from here.
    """
    pid, _, rest = mark.partition(":")
    born = rest.partition(":")[0]
    if not is_here(mark) or not pid.isdecimal() or not born:
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # another user's, whose birth may be hidden too
        return _born(int(pid)) not in (born, None)
    return _born(int(pid)) != born
