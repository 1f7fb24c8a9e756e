"""What a worker needs of whoever keeps the studies, be it their database or a server before it: two twins of each protocol here.

`Broker` hands out studies, `Leases` one study's trials, and `Files` holds what is published of one trial. The database's are in
`broker.py`, `leases.py` and `tuner.storage.artifacts`; the server's are in `distant.py`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tuner.errors import Fault
from tuner.metrics import Metrics
from tuner.workers.gpu import Load
from tuner.workers.places import Owner

RETRIES: dict[str, int | None] = {
    "nan": 0,  # the same seed diverges again
    "error": 0,
    "timeout": 0,
    "oom": 1,  # a neighbour on the card may have had the memory
    "lost": 2,  # killed or hung: a machine's fault until it happens again and again; a lost worker is counted apart
    "preempted": None,
    "user": None,
    "disk": None,
    "input": None,
}
"""how often in a row a trial is tried again after an attempt that ended so and saw no new epoch; None: without limit"""
SETUP_FAULTS = ("disk", "input")
"""reasons that would end every trial of the study here: it waits (`tuner.studies.faults`)"""


TOKEN = r"^[0-9a-f]{32}$"
"""of an attempt: random, and known to its worker alone"""
GENERATION = r"^[0-9a-f]{8}-[1-9]\d{0,8}$"
"""how a generation of files is named: the first eight digits of its attempt's token, and a number"""


class LeaseLost(Exception):
    """The trial belongs to another worker now."""


class Away(Fault):
    """A server has gone, or cannot answer now: it is waited for, as a database is."""


@dataclass(frozen=True)
class Claim:
    """The right to train a trial."""

    study: str
    number: int
    params: dict[str, Any]
    token: str
    attempt: int
    """how many attempts there were before"""
    artifacts: str | None
    """its newest files"""
    seconds: float
    """spent by earlier attempts"""
    timeout: float
    """seconds that all attempts together may take; 0: no limit"""
    spec: dict[str, Any]
    """what the trainer is given"""
    given: dict[str, Any]
    """the hyperparameters that were chosen or set by hand"""

    @property
    def folder(self) -> str:
        """Where in the study's store the trial's files are."""
        return f"{self.number:04d}"


class Files(Protocol):
    """The published files of a trial, in generations: each whole, and never changed."""

    @property
    def address(self) -> str:
        """Where they are, for people."""

    def probe(self, generation: str, newest: str | None) -> None:
        """Tries whether a generation could be published.

        Args:
            newest: the trial's newest generation, if it has one.

        Raises:
            OSError: if none could be, or the store that has the newest one is gone.
            LeaseLost: if the trial is another worker's.
        """

    def publish(self, folder: Path, generation: str, names: Sequence[str]) -> None:
        """Puts those of the named files that exist in `folder` into a new generation; it is not the newest one yet.

        Raises:
            OSError: if the store cannot be written; nothing of the generation is left, or will be.
            LeaseLost: as above.
        """

    def fetch(self, generation: str, folder: Path) -> None:
        """Puts a generation's files into `folder`.

        Raises:
            Damaged: if one is missing or is not what was published; the folder is left without them.
        """


class Leases(Protocol):
    """The trials of one study as one worker sees them. Each is handed out under a lease, which all that is said of it names."""

    @property
    def study_name(self) -> str:
        """The study's."""

    @property
    def created_at(self) -> float:
        """When the study was: another one may have its name."""

    @property
    def pruner(self) -> str:
        """What ends poor trials early."""

    def claim(self, over: threading.Event | None = None) -> Claim | None:
        """The next trial to train; none if there is nothing to do now."""

    def files(self, claim: Claim) -> Files:
        """Its trial's."""

    def outcome(self, metrics: Metrics) -> dict[str, Any]:
        """What a complete trial of these metrics keeps: value, values and metrics."""

    def renew(self, claim: Claim, gpu: Load | None = None) -> str | None:
        """Prolongs the lease; returns why the training must end now, if it must.

        Args:
            gpu: the load of the worker's card.

        Raises:
            LeaseLost: if the trial belongs to another worker, or is gone with its study. So do all below.
        """

    def record(self, claim: Claim, epochs: Sequence[Mapping[str, Any]], patience: float | None = None) -> None:
        """Keeps epochs' figures and prolongs the lease; an epoch that is told twice replaces itself."""

    def is_poor(self, claim: Claim) -> bool:
        """Whether the study's pruner ends the trial, after what was recorded of it."""

    def publish(self, claim: Claim, generation: str, patience: float | None = None) -> None:
        """Makes a generation of files the trial's newest, and removes the others."""

    def finish(self, claim: Claim, state: str, **found: Any) -> None:
        """Ends the trial: it is complete or pruned, with what it found, `artifacts` among it."""

    def fail(
        self, claim: Claim, reason: str, message: str, artifacts: str | None = None, patience: float | None = None
    ) -> bool:
        """Ends the attempt for one of `RETRIES`' reasons, with the files it leaves; returns whether the trial has failed."""

    def rest(self) -> None:
        """Holds no connection for a while."""


class Broker(Protocol):
    """Who tells a worker of that name what there is to do."""

    @property
    def name(self) -> str:
        """The worker's."""

    def enter(self, device: str, pause: Callable[[float], None], say: Callable[[str], None]) -> None:
        """Notes that the worker is there.

        Args:
            pause: waits so many seconds, unless the worker is stopped.
            say: hears why the worker waits.

        Raises:
            Usage: if another worker of that name is at work.
        """

    def leave(self) -> None:
        """Notes that it has gone."""

    def active(self, names: Sequence[str]) -> list[str]:
        """The studies that hand out trials, or those of them that are named; the one with the fewest under way first.

        Whoever keeps the studies notes that the worker takes the named ones alone.
        """

    def count(self, names: Sequence[str], states: Sequence[str]) -> int:
        """How many trials of those studies are in one of these states."""

    def open(self, study: str) -> Leases:
        """A study's trials."""

    def is_awaited(self, owner: Owner) -> bool:
        """Whether the trial of a place is there and not over."""

    def blame(self, study: str, message: str) -> bool:
        """Has a fault of a study counted; returns whether there is such a study, and it is active."""

    def check(self) -> None:
        """
        Raises:
            Fault, DBAPIError: if it cannot be reached.
        """

    def rest(self) -> None:
        """Holds no connection for a while."""
