"""Encoded corpora on this machine: each made once, then mapped into memory by every process that trains on it.

CACHE/sources/KEY.json        which entry the files of these names, sizes and times are, read with these options
CACHE/FINGERPRINT-DIGEST/     an entry (`trainers.encoding`)
CACHE/building-…/             one that is being made

An entry gets its name when it is whole, in one step, and is never changed. When the entries are more than the cache may hold,
those that were used longest ago are removed; a process that has one mapped keeps it until it ends.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trainers.encoding import FACTS
from trainers.errors import BadInput, Failure

FORMAT = 4
"""Version of the entries, counted up when encoding changes."""
PLACE, BOUND = "TUNER_CACHE", "TUNER_CACHE_GB"
"""Environment variables of the cache's folder and of its largest size."""
GIBIBYTES = 20.0
BUILDING, SOURCES = "building-", "sources"
RECENT_NS = 2_000_000_000
"""Nanoseconds within which a file that has just changed may change again without a trace in its times."""
OWN = f"{BUILDING}{socket.gethostname()}-"
"""Start of the names of what this machine makes, one entry at a time."""
ABANDONED_SECONDS = 86_400.0
"""Seconds after which what another machine was making is abandoned."""
T = TypeVar("T")


def place() -> Path:
    """The cache's folder.

    Raises:
        BadInput: if none is named, and the user has no home.
    """
    named = os.environ.get(PLACE)
    if named:
        return Path(named)
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise BadInput(f"encoded corpora have no folder, as there is no home folder: name one by {PLACE}.") from error
    return Path(home) / "text-vae-tuner" / "corpora"


def bound() -> int:
    """Bytes that the cache may hold.

    Raises:
        BadInput: if the environment's value is no number.
    """
    named = os.environ.get(BOUND, str(GIBIBYTES))
    try:
        found = float(named)
    except ValueError:
        found = -1.0
    if not 0 <= found < 2**40:
        raise BadInput(f"{BOUND} = {named!r} is not allowed: it must be a number of gibibytes, 0 or more.")
    return int(found * 2**30)


def key_of(files: Sequence[Path], asked: object) -> tuple[str, bool]:
    """A key that tells these files, as they are now and read as asked, from all others; and whether they have rested
    long enough for their times to be relied on.

    Raises:
        BadInput: if a file has gone.
    """
    now = time.time_ns()
    stamps: list[object] = [FORMAT, repr(asked)]
    newest = 0
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise BadInput(
                f"corpus file {file} cannot be read: {error.strerror}; put a copy there that can."
            ) from error
        stamps.append((str(file.resolve()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
        newest = max(newest, found.st_mtime_ns, found.st_ctime_ns)
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:32], now - newest > RECENT_NS


def encoded(files: Sequence[Path], asked: object, build: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """Returns the result of `read` on the entry of these files, which `build` makes unless it is there.

    Without a place to write the entry lies in a temporary folder, for this process alone.

    Raises:
        Failure: with reason `disk`, if the disk is full.
    """
    key, is_settled = key_of(files, asked)
    try:
        cache = place()
        (cache / SOURCES).mkdir(parents=True, exist_ok=True)
        lock = (cache / SOURCES / "lock").open("a")
    except (OSError, BadInput):
        return temporary(build, read)
    with lock:
        found = _read(cache, key, read)
        if found is None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)  # the others that want an entry wait for one to make it
            except OSError:  # a file system without locks
                return temporary(build, read)
            found = _read(cache, key, read)
        return _made(cache, key, is_settled, build, read) if found is None else found


def _read(cache: Path, key: str, read: Callable[[Path], T]) -> T | None:
    """The content of a key's entry, which is marked as used now; none if it is not there or not whole."""
    try:
        entry = cache / json.loads((cache / SOURCES / f"{key}.json").read_text(encoding="utf-8"))["entry"]
        os.utime(entry)
        return read(entry)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(cache: Path, key: str, is_settled: bool, build: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    most = bound()
    try:
        for left in cache.glob(f"{OWN}*"):  # by a process that was killed: this one has the lock
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=OWN, dir=cache, ignore_cleanup_errors=True) as folder:
            building = Path(folder)
            build(building)
            found = read(building)
            facts = (building / FACTS).read_bytes()
            entry = cache / f"{json.loads(facts)['fingerprint']}-{hashlib.sha256(facts).hexdigest()[:8]}"
            _remove(entry)  # of another source with the same text, or not whole
            building.rename(entry)
        if is_settled:
            partial = cache / SOURCES / f"{key}.partial"
            partial.write_text(json.dumps({"entry": entry.name}), encoding="utf-8")
            partial.replace(cache / SOURCES / f"{key}.json")
        _evict(cache, most, keep=entry.name)
        _sweep(cache)
    except OSError as error:
        raise Failure(
            "disk",
            f"the encoded corpus cannot be written to {cache} ({error.strerror or error}): make room, or name another {PLACE}.",
        ) from error
    return found


def temporary(build: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """Returns the result of `read` on an entry of this process alone, whose files have no name any more.

    Raises:
        Failure: with reason `disk`, if it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
            build(Path(folder))
            return read(Path(folder))
    except OSError as error:
        raise Failure(
            "disk", f"the encoded corpus cannot be written to a temporary folder ({error.strerror or error})."
        ) from error


@dataclass(frozen=True)
class Entry:
    """An encoded corpus in the cache."""

    name: str
    bytes: int
    used: float
    """Seconds since the epoch at which the entry was last used."""

    @property
    def fingerprint(self) -> str:
        return self.name.partition("-")[0]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def entries() -> list[Entry]:
    """All entries, the last used first."""
    return _entries(place())


def _entries(cache: Path) -> list[Entry]:
    found = []
    with suppress(FileNotFoundError):
        for folder in cache.iterdir():
            with suppress(OSError):  # removed meanwhile
                if (folder / FACTS).is_file() and not folder.name.startswith(BUILDING):
                    found.append(Entry(folder.name, _size(folder), folder.stat().st_mtime))
    return sorted(found, key=lambda entry: -entry.used)


def _evict(cache: Path, most: int, keep: str) -> None:
    """Removes the entries used longest ago until the rest is of at most so many bytes; never `keep`."""
    total = 0
    for entry in _entries(cache):
        total += entry.bytes
        if total > most and entry.name != keep:
            _remove(cache / entry.name)


def _sweep(cache: Path) -> None:
    """Removes what was never finished, and the names of entries that have gone."""
    for folder in cache.glob(f"{BUILDING}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
    for record in (cache / SOURCES).glob("*.json"):
        with suppress(OSError, ValueError, KeyError):
            if not (cache / json.loads(record.read_text(encoding="utf-8"))["entry"]).is_dir():
                record.unlink()


def _remove(entry: Path) -> None:
    """Takes an entry's name away first, so that nobody maps half of it."""
    going = entry.with_name(f"{BUILDING}{entry.name}-{os.getpid()}")
    with suppress(OSError):
        entry.rename(going)
        shutil.rmtree(going, ignore_errors=True)


def cleared() -> int:
    """Removes every entry; how many there were. Processes that have one mapped keep it."""
    found = entries()
    for entry in found:
        _remove(place() / entry.name)
    _sweep(place())
    return len(found)


def described() -> dict[str, Any]:
    """The cache's folder, its bound and its entries as plain values."""
    found = [
        {"name": each.name, "fingerprint": each.fingerprint, "bytes": each.bytes, "used": each.used}
        for each in entries()
    ]
    return {"folder": str(place()), "bound": bound(), "bytes": sum(each.bytes for each in entries()), "entries": found}
