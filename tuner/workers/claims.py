"""Protocols of the keeper of studies as a worker needs it, be it their database or a server before it: each has two
twins.

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
"""Number of times in a row that a trial is tried again after an attempt that ended so and saw no new epoch; None:
without limit.
"""
SETUP_FAULTS = ("disk", "input")
"""Reasons that would end every trial of the study here, so that the study waits (`tuner.studies.faults`)."""


TOKEN = r"^[0-9a-f]{32}$"
"""Pattern of an attempt's token: random, and known to its worker alone."""
ENTER_SECONDS = 1.0
"""Seconds between looks at another worker of this name that may have gone."""
AGAIN_SECONDS = 2.0
"""Seconds between tries to tell a server that is away."""
GENERATION = r"^[0-9a-f]{8}-[1-9]\d{0,8}$"
"""Pattern of the name of a generation of files: the first eight digits of its attempt's token, and a number."""


class LeaseLost(Exception):
    """The trial belongs to another worker now."""


@dataclass(frozen=True)
class Stop:
    """An order to end a training now."""

    reason: str
    """Reason of the end: pruned, or one of `RETRIES` with which the attempt is to be told as failed."""
    message: str

    @classmethod
    def late(cls, timeout: float) -> "Stop":
        return cls("timeout", f"it took longer than its {timeout:g} s.")


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
    """Number of earlier attempts."""
    artifacts: str | None
    """Place of the trial's newest files."""
    seconds: float
    """Seconds spent by earlier attempts."""
    timeout: float
    """Seconds that all attempts together might take when it was claimed; 0: no limit. `renew` goes by the newest value."""
    spec: dict[str, Any]
    """Specification that the trainer is given."""
    given: dict[str, Any]
    """Hyperparameters that were chosen or set by hand."""

    @property
    def folder(self) -> str:
        """Folder of the trial's files in the study's store."""
        return f"{self.number:04d}"


class Files(Protocol):
    """The published files of a trial, in generations: each whole, and never changed."""

    @property
    def address(self) -> str:
        """Address of the files, for people."""

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
    def created_at(self) -> float:
        """Time at which the study was created, by which another study of its name is told apart."""

    @property
    def pruner(self) -> str:
        """Name of the rule that ends poor trials early."""

    def claim(self, over: threading.Event | None = None) -> Claim | None:
        """The next trial to train; none if there is nothing to do now."""

    def files(self, claim: Claim) -> Files:
        """The published files of a claim's trial."""

    def outcome(self, metrics: Metrics) -> dict[str, Any]:
        """Columns that a complete trial of these metrics keeps: value, values and metrics."""

    def renew(self, claim: Claim, gpu: Load | None = None) -> Stop | None:
        """Prolongs the lease; returns why the training must end now, if it must: its study or its time is over.

        Args:
            gpu: the load of the worker's card.

        Raises:
            LeaseLost: if the trial belongs to another worker, or is gone with its study. So do all below.
        """

    def record(self, claim: Claim, epochs: Sequence[Mapping[str, Any]], patience: float | None = None) -> None:
        """Keeps epochs' figures and prolongs the lease; an epoch that is told twice replaces itself."""

    def is_poor(self, claim: Claim) -> bool:
        """True if the study's pruner ends the trial, by the epochs recorded of it."""

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
    """Keeper of studies that tells a worker what there is to do."""

    @property
    def name(self) -> str:
        """The worker's."""

    @property
    def address(self) -> str:
        """Address by which its studies are told from another's of their name; without a password."""

    def enter(self, device: str, pause: Callable[[float], None], say: Callable[[str], None]) -> None:
        """Notes that the worker is there.

        Args:
            pause: waits so many seconds, unless the worker is stopped.
            say: hears why the worker waits.

        Raises:
            Usage: if another worker of that name is at work.
        """

    def leave(self) -> None:
        """Notes that the worker has gone."""

    def active(self, names: Sequence[str]) -> list[str]:
        """The studies that hand out trials, or those of them that are named; the one with the fewest under way first.

        Whoever keeps the studies notes that the worker takes the named ones alone.
        """

    def count(self, names: Sequence[str], states: Sequence[str]) -> int:
        """Number of trials of those studies that are in one of these states."""

    def open(self, study: str) -> Leases:
        """A study's trials."""

    def is_awaited(self, owner: Owner) -> bool:
        """True if the trial of a place exists and is not over."""

    def blame(self, study: str, message: str) -> bool:
        """Has a fault of a study counted; returns whether there is such a study, and it is active."""

    def check(self) -> None:
        """
        Raises:
            Fault, DBAPIError: if it cannot be reached.
        """

    def rest(self) -> None:
        """Holds no connection for a while."""
