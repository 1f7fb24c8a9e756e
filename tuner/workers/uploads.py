"""The server's side of trials' files that workers over HTTP send: written to their study's store, and read from it, in pieces.

A generation comes file by file, is closed, and then published; each step names the lease. It is bounded, as are the generations
that a trial has at a time: the newest one, and the one that comes.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainers.contract import SAMPLES
from tuner.errors import Clash, Missing, Usage
from tuner.storage.artifacts import Damaged, Writing
from tuner.studies.study import Study
from tuner.workers.held import Held, stored


@dataclass(frozen=True)
class Limits:
    """Bytes that a worker may send."""

    file: int = 2 * 2**30
    generation: int = 4 * 2**30
    samples: int = 16 * 2**20
    """Bytes of the file of texts, which a server reads whole."""


_coming: Counter[tuple[str, str]] = Counter()
"""Bytes on their way to a generation of a store, as they were announced."""
_lock = threading.Lock()


class Incoming:
    """A file on its way."""

    def __init__(self, files: "TrialFiles", place: str, file: str, size: int, sha256: bytes) -> None:
        self._files, self._sha256 = files, sha256
        self._place, self._size = (files.store.address, place), size
        with stored():
            self._writing: Writing = files.store.writing(f"{place}/{file}")
        with _lock:
            _coming[self._place] += size

    def write(self, block: bytes) -> None:
        with stored():
            self._writing.write(block)

    def end(self) -> None:
        """
        Raises:
            Usage: if it is not what was promised.
            LeaseLost: if the trial has gone to another worker meanwhile.
        """
        if self._writing.sha256 != self._sha256:
            raise Usage("the content is not what Content-Digest says: send the file again, as it is.", "content-digest")
        self._files.confirm()
        with stored():
            self._writing.commit()
        self._come()

    def discard(self) -> None:
        self._come()
        self._writing.discard()

    def _come(self) -> None:
        """Counts its bytes no more among those on their way."""
        with _lock:
            _coming[self._place] -= self._size
            if not _coming[self._place]:
                del _coming[self._place]
            self._size = 0


class TrialFiles:
    """A trial's files, for whoever holds it.

    Raises:
        Missing: if there is no such trial.
        LeaseLost: if the token is not the trial's.
        StoreFault: with each call, if the study's store cannot be reached.
    """

    def __init__(self, study: Study, number: int, token: str, limits: Limits) -> None:
        self.study, self.number, self.token, self.limits = study, number, token, limits
        self.store, self.held = study.files.store, self.confirm()
        self.newest = self.held.claim.artifacts

    def confirm(self) -> Held:
        """The trial, still held by that token."""
        held = Held.of(self.study, self.number, self.token)
        held.confirm()
        return held

    def _place(self, generation: str) -> str:
        place = self.held.place(generation)
        if place == self.newest:
            raise Clash(f"generation {generation} is published, and is not changed any more: send a new one.")
        return place

    def receive(self, generation: str, file: str, size: int, sha256: bytes) -> Incoming:
        """A place for a file that comes.

        Raises:
            Usage: if it is too large, or its generation becomes so.
            Clash: if its generation is published.
            LeaseLost: if the trial has gone to another worker meanwhile.
        """
        place = self._place(generation)
        with stored():
            if self.newest is not None and not self.store.is_there():
                raise FileNotFoundError("they are gone")
            left = self.store.generations(self.held.claim.folder) - {place, self.newest or place}
        self.confirm()  # so what was there before is of nobody who has the trial after this lease
        with stored():
            self.store.drop(left)
            others = sum(found for name, found in self.store.sizes(place).items() if name != file)
        with _lock:
            others += _coming[self.store.address, place]
        most = self.limits.samples if file == SAMPLES else self.limits.file
        if size > most or size + others > self.limits.generation:
            raise Usage(
                f"file {file} has {size} bytes, which is too large: this one may have {most}, those of one "
                f"generation {self.limits.generation} in all.",
                "content-length",
            )
        return Incoming(self, place, file, size, sha256)

    def close(self, generation: str, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Says that a generation is whole; with no files, only tries whether the store can be written.

        Raises:
            Usage: if one of its files has not come.
            Clash: as above.
        """
        place = self._place(generation)
        with stored():
            if not files:
                self.store.probe(place, self.newest)
                return
            there = self.store.sizes(place)
        for name, facts in files.items():
            if there.get(name) != facts["bytes"]:
                raise Usage(
                    f"files.{name} has not come whole: send it before the generation is closed.", f"files.{name}"
                )
        with stored():
            self.store.close(place, files)

    def publish(self, generation: str) -> None:
        """Makes a generation the newest.

        Raises:
            Usage: if it is not whole.
        """
        self.held.attempts.publish(self.held.claim, self.held.closed(generation))

    def shown(self) -> dict[str, Any] | None:
        """The newest generation and its files; none if nothing whole was published."""
        if self.newest is None:
            return None
        with stored():
            if not self.store.is_there():
                raise FileNotFoundError("they are gone")
            try:
                return {"generation": self.newest.rpartition("/")[2], "files": self.store.manifest(self.newest)}
            except Damaged:
                return None

    def read(self, generation: str, file: str) -> tuple[int, Iterator[bytes]]:
        """Bytes of one of the newest files, and its content.

        Raises:
            Missing: if it is not there.
        """
        with stored():
            if self.newest is None or self.newest.rpartition("/")[2] != generation:
                size = None
            else:
                size = self.store.sizes(self.newest).get(file)
        if size is None:
            raise Missing(f"generation {generation} of the trial has no {file}: list its files first.")
        return size, self.store.blocks(f"{self.newest}/{file}")
