"""The server's side of a trial that a worker over HTTP holds: what its token gives the right to, and for how long."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from tuner.errors import Missing, StoreFault, Usage
from tuner.storage.artifacts import Damaged
from tuner.storage.tables import TrialRow
from tuner.studies.study import Study
from tuner.trainer import STOP_SECONDS
from tuner.workers.claims import Claim, LeaseLost, Stop
from tuner.workers.gpu import Load
from tuner.workers.leases import Attempts


@contextmanager
def stored() -> Iterator[None]:
    """Says that a study's store cannot be used.

    Raises:
        StoreFault: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StoreFault(f"the study's files cannot be written or read now ({error.strerror or error}).") from error


@dataclass(frozen=True)
class Held:
    """Rights that a token gives to a trial."""

    attempts: Attempts
    claim: Claim
    spent: float
    """Seconds that all attempts have spent, this one too."""
    is_mine: bool
    """True if the trial is still under way by that token."""

    @classmethod
    def of(cls, study: Study, number: int, token: str) -> "Held":
        def look(session: Session) -> tuple[TrialRow | None, float]:
            return session.get(TrialRow, (study.name, number)), study.database.clock(session)

        row, now = study.database.read(look)
        if row is None:
            raise Missing(f"study {study.name!r} has no trial {number}: ask for one first.")
        timeout = study.spec.timeout or 0.0 if row.token == token else 0.0
        claim = Claim(study.name, number, dict(row.params), token, 0, row.artifacts, row.seconds, timeout, {}, {})
        spent, mine = row.seconds + now - (row.started_at or now), row.token == token
        return cls(Attempts(study, row.worker or ""), claim, spent, mine)

    def confirm(self) -> None:
        """
        Raises:
            LeaseLost: if the trial is another worker's by now, or over.
        """
        if not self.is_mine:
            raise LeaseLost(f"trial {self.claim.number} of study {self.claim.study!r} has gone to another worker.")

    def late(self) -> Stop | None:
        """The order to stop if the trial has taken longer than it may, else None. A worker that does not obey loses the
        trial.

        Raises:
            LeaseLost: if it was.
        """
        if not self.claim.timeout or self.spent <= self.claim.timeout:
            return None
        stop = Stop.late(self.claim.timeout)
        if self.spent > self.claim.timeout + STOP_SECONDS:
            self.attempts.fail(self.claim, stop.reason, stop.message)
            raise LeaseLost(f"trial {self.claim.number} of study {self.claim.study!r} is over: {stop.message}")
        return stop

    def renew(self, gpu: Load | None = None) -> Stop | None:
        return self.late() or self.attempts.renew(self.claim, gpu)

    def place(self, generation: str) -> str:
        """Place of a generation of this attempt in the study's store.

        Raises:
            Usage: if it is not named by the token.
        """
        if not generation.startswith(f"{self.claim.token[:8]}-"):
            raise Usage(
                f"generation {generation!r} is not this lease's: name it by the first eight digits of its token, and a number.",
                "generation",
            )
        return f"{self.claim.folder}/{generation}"

    def closed(self, generation: str) -> str:
        """Place of a generation in the study's store that this attempt has closed.

        Raises:
            Usage: if it is not whole, or not this attempt's.
            StoreFault: if the store cannot be read.
        """
        place = self.place(generation)
        with stored():
            try:
                self.attempts.study.files.store.manifest(place)
            except Damaged as damaged:
                said = f"files = {generation!r} is not whole: send the generation's files and close it first."
                raise Usage(said, "files") from damaged
        return place
