"""Publishing of a trial's files, by the worker that trains it."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from trainers.contract import FILES, LATEST, LOG
from tuner.errors import Fault
from tuner.storage.database import PATIENCE
from tuner.workers.claims import AGAIN_SECONDS, Away, Claim, Leases

PUBLISH_SECONDS = 30.0
"""Shortest time in seconds between two checkpoints of a trial that are published."""
SHARE = 0.1
"""Largest share of the time that sending checkpoints may take, where the way is slow."""


class Publishing:
    """Publishes the files of one attempt.

    Args:
        work: the folder that its trainer writes in.
        wait: waits so many seconds; returns whether the worker is told to stop.
    """

    def __init__(self, leases: Leases, claim: Claim, work: Path, wait: Callable[[float], bool]) -> None:
        self.leases, self.claim, self.work, self.wait = leases, claim, work, wait
        self.files = leases.files(claim)
        self.count, self.newest = 0, 0.0
        self.due = time.monotonic() + PUBLISH_SECONDS

    def check(self) -> None:
        """Tries the store, before hours of training depend on it.

        Raises:
            Fault: if it cannot be written, or the trial's earlier files are gone with it.
        """
        try:
            self.files.probe(self._next(), self.claim.artifacts)
        except OSError as error:
            raise self._fault(error) from error

    def now_and_then(self) -> None:
        """A newer checkpoint, not too often; a store or a database that is away costs nothing but that."""
        began = time.monotonic()
        if began > self.due:
            with suppress(Fault, OSError, DBAPIError):
                self.again()
            now = time.monotonic()
            self.due = now + max(PUBLISH_SECONDS, (now - began) / SHARE)

    def again(self) -> None:
        """A newer checkpoint, if there is one."""
        file = self.work / LATEST
        changed = file.stat().st_mtime if file.exists() else 0.0
        if changed > self.newest:
            generation = self._put([name for name in FILES if name != LOG])  # its trainer still writes it
            self.leases.publish(self.claim, generation, patience=0.0)
            self.newest = changed

    def all(self, checkpoint: bool) -> str:
        """Publishes what its trainer has left, the checkpoint only if somebody may need it. The attempt's end must name it.

        Raises:
            Fault: if the store cannot be written.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self._put([name for name in FILES if checkpoint or name != LATEST])
            except Away:
                if self.wait(AGAIN_SECONDS) or time.monotonic() > until:
                    raise

    def _next(self) -> str:
        self.count += 1
        return f"{self.claim.folder}/{self.claim.token[:8]}-{self.count}"

    def _put(self, names: list[str]) -> str:
        generation = self._next()
        try:
            self.files.publish(self.work, generation, names)
        except OSError as error:
            raise self._fault(error) from error
        return generation

    def _fault(self, error: OSError) -> Fault:
        return Fault(f"its files cannot be written to {self.files.address} ({error.strerror or error}).")
