"""What of a trial's files is in the study's store, as the worker that trains it sees it."""

import time
from contextlib import suppress
from pathlib import Path

from trainers.contract import FILES, LATEST, LOG
from tuner.errors import Fault
from tuner.storage.artifacts import MANIFEST, Store
from tuner.workers.leases import Attempts, Claim, LeaseLost

PUBLISH_SECONDS = 30.0
"""at most so often a trial's checkpoint is published"""


class Publishing:
    """Publishes the files of one attempt.

    Args:
        work: the folder that its trainer writes in.
    """

    def __init__(self, store: Store, attempts: Attempts, claim: Claim, work: Path) -> None:
        self.store, self.attempts, self.claim, self.work = store, attempts, claim, work
        self.count, self.newest = 0, 0.0
        self.at = time.monotonic()

    def check(self) -> None:
        """Tries the store, before hours of training depend on it.

        Raises:
            Fault: if it cannot be written, or the trial's earlier files are gone with it.
        """
        try:
            if self.claim.artifacts is not None and not self.store.is_there():
                raise FileNotFoundError("it is gone")
            self.store.write(f"{self._next()}/{MANIFEST}", b"{}")
            self.store.delete(self._generation)
        except OSError as error:
            raise self._fault(error) from error

    def now_and_then(self) -> None:
        """A newer checkpoint, not too often; a store that cannot be written costs nothing but that."""
        if time.monotonic() - self.at > PUBLISH_SECONDS:
            self.at = time.monotonic()
            with suppress(Fault, OSError):
                self.again()

    def again(self) -> None:
        """A newer checkpoint, if there is one."""
        file = self.work / LATEST
        changed = file.stat().st_mtime if file.exists() else 0.0
        if changed > self.newest:
            generation = self._put([name for name in FILES if name != LOG])  # its trainer still writes it
            try:
                self.attempts.publish(self.claim, generation)
            except LeaseLost:
                self.store.delete(generation)
                raise
            self.tidy(generation)
            self.newest = changed

    def all(self, checkpoint: bool) -> str:
        """Publishes what its trainer has left, the checkpoint only if somebody may need it. The attempt's end must name it.

        Raises:
            Fault: if the store cannot be written.
        """
        return self._put([name for name in FILES if checkpoint or name != LATEST])

    def tidy(self, generation: str) -> None:
        """Removes the trial's other files; what cannot be removed now goes with the next ones."""
        with suppress(OSError):
            self.store.keep(self.claim.folder, generation)

    def _next(self) -> str:
        self.count += 1
        return self._generation

    @property
    def _generation(self) -> str:
        return f"{self.claim.folder}/{self.claim.token[:8]}-{self.count}"

    def _put(self, names: list[str]) -> str:
        generation = self._next()
        try:
            self.store.publish(self.work, generation, names)
        except OSError as error:
            raise self._fault(error) from error
        return generation

    def _fault(self, error: OSError) -> Fault:
        return Fault(f"its files cannot be written to {self.store.address} ({error.strerror or error}).")
