"""Watches over one attempt from its claim to its end: renews the lease, and ends the trainer when it must."""

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from tuner.errors import Fault, Usage
from tuner.trainer import STOP_SECONDS, Trainer
from tuner.workers.claims import Away, Claim, LeaseLost, Leases
from tuner.workers.gpu import Load
from tuner.workers.leases import LEASE_SECONDS

BEAT_SECONDS = 10.0
"""Seconds between renewals of a lease, which is also how soon a worker hears that its study was stopped."""
SILENCE_SECONDS = 1800.0
"""Seconds without a word after which a trainer counts as hung; evaluations report as they go."""


class Watch:
    """Why a training must end now, if it must; looked after in a thread, as reports may be minutes apart.

    Args:
        is_over: whether the worker was told to stop.
        sign: a file that is touched at each renewal, so that others see that its folder is in use.
        load: reads the load of the worker's card, which each renewal tells.
    """

    def __init__(
        self,
        leases: Leases,
        claim: Claim,
        is_over: Callable[[], bool],
        sign: Path,
        load: Callable[[], Load | None] = lambda: None,
    ) -> None:
        self._load = load
        self.leases, self.claim, self.is_over, self.sign = leases, claim, is_over, sign
        self.heard_at = time.monotonic()
        self.why: tuple[str, str] | None = None
        self.trainer: Trainer | None = None
        self._told_at = math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def over(self, trainer: Trainer | None) -> None:
        """Looks after this trainer from now on, or after none."""
        self.heard_at = time.monotonic()
        self.trainer = trainer
        self.end_if_due()

    def _beat(self) -> None:
        while not self._ended.wait(min(BEAT_SECONDS, LEASE_SECONDS / 3)):
            if self.why is None:
                self.look()
            else:  # what it leaves is still to be saved and published
                with suppress(LeaseLost, Fault, Usage, DBAPIError):
                    self.leases.renew(self.claim, self._load())
            self.leases.rest()
            self.end_if_due()

    def end_if_due(self) -> None:
        """Tells the trainer to end if it must, and kills it if it does not."""
        trainer = self.trainer
        if trainer is None or (self.why is None and not self.is_over()):
            return
        self._told_at = min(self._told_at, time.monotonic())
        trainer.tell_to_stop()
        if time.monotonic() - self._told_at > STOP_SECONDS:
            trainer.process.kill()

    def look(self) -> None:
        """Renews the lease, and finds out whether the training must end."""
        if self.trainer is not None and time.monotonic() - self.heard_at > SILENCE_SECONDS:
            self.why = ("lost", f"its trainer said nothing for {SILENCE_SECONDS:g} s.")
        else:
            with suppress(OSError):
                os.utime(self.sign)
            try:
                told = self.leases.renew(self.claim, self._load())
            except LeaseLost as lost:
                self.why = ("lost", str(lost))
            except (DBAPIError, Away):
                pass  # the database has gone: so has every other worker's way to take the trial
            except (Fault, Usage) as error:  # the database's file has been deleted, or this worker's key revoked
                self.why = ("disk", str(error))
            else:
                self.why = None if told is None else (told.reason, f"{told.message.rstrip('.')}.")
