"""A worker's folder: a place for each trial under way, and those of results that could not be told yet."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from trainers.contract import RESULT
from tuner.errors import Fault
from tuner.process import is_dead

OWNER = "owner"
"""Name of the file that says whose a folder is."""
ROOM = 2**20
"""Bytes that a folder must have room for."""
LONGEST_NAME = 40
"""Largest number of characters of a study's name in a place's name."""
FORGET_SECONDS = 86_400.0
"""Seconds after which a place that nobody has touched is nobody's, wherever its worker was."""


@dataclass(frozen=True)
class Owner:
    """Owner of a place: a worker's process and a trial of its study."""

    process: str
    """Mark of the worker's process (`process_mark`); empty once it has left a result there."""
    study: str
    created_at: float
    """Time at which the study was created, by which another study of its name is told apart."""
    trial: int
    broker: str = ""
    """Address of the broker whose study it is; empty if an older program has signed."""

    @classmethod
    def read(cls, file: Path) -> "Owner | None":
        """The owner that a file names; None if the file has gone, or is an older program's."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8", errors="replace")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def has_left(self) -> bool:
        return not self.process or is_dead(self.process)

    def has_trial_of(self, other: "Owner") -> bool:
        """True if both are of one trial."""
        one, two = ((each.study, each.created_at, each.trial) for each in (self, other))
        return one == two and self.broker in ("", other.broker)


@dataclass(frozen=True)
class Place:
    """A folder for one attempt."""

    folder: Path
    owner: Owner

    @property
    def sign(self) -> Path:
        """File that is touched from time to time while the place is in use."""
        return self.folder / OWNER

    @property
    def is_finished(self) -> bool:
        """True if its trial's result is there."""
        return (self.folder / RESULT).exists()

    def leave(self, keep: bool) -> None:
        """Removes the place, unless its result is to be kept."""
        if keep and self.is_finished:
            _sign(self.folder, Owner(**{**asdict(self.owner), "process": ""}))
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


class Places:
    """All places in a folder, which several workers of one or more machines may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, owner: Owner, token: str) -> Place:
        """A place for an attempt: an earlier one's if that has left a result, else an empty one.

        Args:
            token: the attempt's.

        Raises:
            OSError: if it cannot be made.
        """
        folder = self.folder / f"{owner.study[:LONGEST_NAME]}-{owner.trial:04d}-{token[:8]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        for sign in self.folder.glob(f"*-{owner.trial:04d}-*/{OWNER}"):
            left = Owner.read(sign)
            if left is None or not (left.has_left and left.has_trial_of(owner)):
                continue
            if Place(sign.parent, left).is_finished:
                sign.parent.rename(folder)
                break
        folder.mkdir(exist_ok=True)
        _sign(folder, owner)
        return Place(folder, owner)

    def check(self) -> None:
        """Tries the folder.

        Raises:
            Fault: if it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(bytes(ROOM))
                file.flush()
        except OSError as error:
            raise Fault(
                f"the folder {self.folder} of this worker cannot be written ({error.strerror or error}): free or mend it, and "
                "the same command goes on."
            ) from error

    def sweep(self, broker: str, is_awaited: Callable[[Owner], bool]) -> None:
        """Removes what workers left behind that were killed, but results that their trials still wait for.

        Args:
            broker: address of the one that is asked; it knows nothing of another's trials.
        """
        for sign in self.folder.glob(f"*/{OWNER}"):
            owner = Owner.read(sign)
            try:
                is_old = time.time() - sign.stat().st_mtime > FORGET_SECONDS
            except FileNotFoundError:  # another worker sweeps too
                continue
            if is_old or (owner is not None and owner.has_left):
                kept = owner is not None and Place(sign.parent, owner).is_finished
                if kept and owner is not None:
                    kept = is_awaited(owner) if owner.broker in ("", broker) else not is_old
                if not kept:
                    shutil.rmtree(sign.parent, ignore_errors=True)


def _sign(folder: Path, owner: Owner) -> None:
    (folder / OWNER).write_text(json.dumps(asdict(owner)), encoding="utf-8")
