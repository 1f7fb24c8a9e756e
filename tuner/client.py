"""A client of the REST API (`tuner serve`), with the standard library alone.

with Client("http://127.0.0.1:8000") as client:
    study = client.create(technique="sfb", trials=8)
    for kind, data in client.events(study["name"]):
        print(kind, data)
"""

import base64
import hashlib
import http.client
import json
import random
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.parse import urlencode

from tuner.connection import BUSY_SECONDS, RETRY_LIMIT, RETRY_SECONDS, Connection, Lost, path_of, read_text
from tuner.errors import Busy
from tuner.studies import answers
from tuner.studies.trials import Trial

BLOCK = 2**18
"""Bytes of a file that are in memory at a time."""
LEASE = "Lease"
"""Header that holds a trial's token, where no body does."""


class Work(TypedDict):
    """A trial for a worker."""

    number: int
    params: dict[str, Any]
    token: str
    attempt: int
    lease_seconds: float
    specification: dict[str, Any]
    timeout: float | None
    seconds: float
    files: str | None


class FileFacts(TypedDict):
    bytes: int
    sha256: str


class Files(TypedDict):
    """A trial's newest files by name."""

    generation: str
    files: dict[str, FileFacts]


class Stop(TypedDict):
    """`stop` says why the training must end now, if it must; the trial is then to be told as `pruned`, or as failed for this
    `reason`."""

    stop: str | None
    reason: str | None


def _save(response: http.client.HTTPResponse, target: Path) -> FileFacts:
    """Writes what comes to a file, whole or not at all."""
    digest, half = hashlib.sha256(), target.with_name(f".{target.name}.half")
    with half.open("wb") as opened:
        while block := response.read(BLOCK):
            digest.update(block)
            opened.write(block)
        size = opened.tell()
    expected = int(response.headers["Content-Length"])
    if size != expected:
        half.unlink()
        raise http.client.IncompleteRead(b"", expected - size)
    half.replace(target)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _trial(plain: Mapping[str, Any]) -> Trial:
    """A trial from an answer, of which a newer server may tell more."""
    return Trial(**{field.name: plain[field.name] for field in fields(Trial) if field.name in plain})


class Client(Connection):
    """A server's studies, and its trials for workers. All calls but `enqueue` are made again if their answer is lost."""

    def within(self, seconds: float) -> "Client":
        """A client of this server whose answers may take so many seconds."""
        return Client(self.url, self._key, self.patience, seconds)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        """Closes nothing, as each call has a connection of its own."""

    def studies(
        self, technique: str | None = None, state: str | None = None, tag: str | None = None
    ) -> Iterator[answers.Summary]:
        """The newest first."""
        return self.pages("studies", technique=technique, state=state, tag=tag)

    def study(self, name: str) -> answers.Study:
        found: answers.Study = self.request("GET", path_of("studies", name))
        return found

    def create(self, **settings: Any) -> answers.Study:
        """Makes a study, or finds it if there is one of this name and settings.

        Args:
            settings: those of `spec.StudySpec`, technique at least, as JSON values; and name.
        """
        made: answers.Study = self.request("POST", "studies", settings)
        return made

    def check(self, **settings: Any) -> None:
        """Refuses what `create` would refuse, and makes nothing."""
        self.request("POST", "studies?check=true", settings)

    def start(self, name: str) -> answers.Study:
        found: answers.Study = self.request("POST", path_of("studies", name, "start"))
        return found

    def stop(self, name: str) -> answers.Study:
        found: answers.Study = self.request("POST", path_of("studies", name, "stop"))
        return found

    def change(self, name: str, **settings: Any) -> answers.Study:
        """Other values for what may change of a study: its changeable settings, note and tags."""
        found: answers.Study = self.request("PATCH", path_of("studies", name), settings)
        return found

    def delete(self, name: str) -> None:
        self.request("DELETE", path_of("studies", name))

    def strike(self, name: str, number: int, because: str) -> Trial:
        """Makes a trial failed, whatever it was; its figures and the reason stay in the record."""
        return _trial(self.request("POST", path_of("studies", name, "trials", number, "strike"), {"because": because}))

    def trials(
        self, name: str, state: str | None = None, order: str = "number", where: str | None = None
    ) -> Iterator[Trial]:
        """Trials that fit a condition, ordered by any column of the table; `-nll`: the highest first."""
        filters = {"state": state, "order": order, "where": where}
        return (_trial(plain) for plain in self.pages(path_of("studies", name, "trials"), **filters))

    def trial(self, name: str, number: int) -> tuple[Trial, list[answers.Attempt]]:
        """A trial and its attempts."""
        found = self.request("GET", path_of("studies", name, "trials", number))
        return _trial(found), found["attempts"]

    def enqueue(self, name: str, params: Mapping[str, Any]) -> Trial:
        return _trial(self.request("POST", path_of("studies", name, "trials"), {"params": dict(params)}, once=True))

    def epochs(self, name: str, number: int) -> Iterator[dict[str, Any]]:
        return self.pages(path_of("studies", name, "trials", number, "epochs"))

    def samples(self, name: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", path_of("studies", name, "trials", number, "samples"))
        return found

    def log(self, name: str, number: int) -> str:
        found: str = self.request("GET", path_of("studies", name, "trials", number, "log"), read=read_text)
        return found

    def pareto(self, studies: Sequence[str], x: str = "rate", y: str = "ppl", split: str = "valid") -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"pareto?{self._of(studies, x=x, y=y, split=split)}")
        return found

    def rates(self, studies: Sequence[str], split: str = "valid") -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"rates?{self._of(studies, split=split)}")
        return found

    @staticmethod
    def _of(studies: Sequence[str], **more: str) -> str:
        """A query about these studies, or about all but the confirmations of one of them."""
        return urlencode([*(("study", name) for name in studies), *more.items()])

    def compare(self, runs: Sequence[str]) -> dict[str, Any]:
        """Two to six trials, STUDY/NUMBER each, side by side."""
        found: dict[str, Any] = self.request("GET", f"compare?{urlencode([('run', run) for run in runs])}")
        return found

    def curves(self, name: str, figure: str = "neg_elbo") -> dict[str, Any]:
        """A validation figure by epoch, of each trial of a study."""
        place = path_of("studies", name, "curves")
        found: dict[str, Any] = self.request("GET", f"{place}?{urlencode({'figure': figure})}")
        return found

    def export(self, name: str, form: str = "csv") -> str:
        """All trials of a study as CSV or JSON."""
        found: str = self.request(
            "GET", f"{path_of('studies', name, 'export')}?{urlencode({'format': form})}", read=read_text
        )
        return found

    def ask(self, name: str, worker: str, device: str = "cpu", takes: Sequence[str] | None = None) -> Work | None:
        """A trial for this worker; none if there is nothing to do now.

        Args:
            takes: names of the studies that the worker takes trials of; None: of any.
        """
        asked = {"worker": worker, "device": device, "token": secrets.token_hex(16), "takes": takes}
        found: Work | None = self.request("POST", path_of("studies", name, "ask"), asked)
        return found

    def report(self, name: str, work: Work, epochs: Sequence[Mapping[str, Any]]) -> Stop:
        """Epochs of a trial; returns whether its training must end now. Renews the lease."""
        path = path_of("studies", name, "trials", work["number"], "epochs")
        found: Stop = self.request("POST", path, {"token": work["token"], "epochs": list(epochs)})
        return found

    def renew(self, name: str, work: Work, gpu: Mapping[str, Any] | None = None) -> Stop:
        """Prolongs the lease, and tells the load of the worker's card; as above."""
        path = path_of("studies", name, "trials", work["number"], "renew")
        found: Stop = self.request("POST", path, {"token": work["token"], "gpu": gpu})
        return found

    def tell(self, name: str, work: Work, state: Literal["complete", "pruned", "failed"], **facts: Any) -> str:
        """Ends the trial; returns its state, `waiting` if it will be tried again."""
        path = path_of("studies", name, "trials", work["number"], "tell")
        found: str = self.request("POST", path, {"token": work["token"], "state": state, **facts})["state"]
        return found

    def files(self, name: str, work: Work) -> Files | None:
        """The newest files that were published of the trial; none if there are none."""
        path = path_of("studies", name, "trials", work["number"], "files")
        found: Files | None = self.request("GET", path, headers={LEASE: work["token"]})
        return found

    def fetch_file(self, name: str, work: Work, generation: str, file: str, target: Path) -> FileFacts:
        """Writes a trial's file to `target`; returns its size and hash."""
        path = path_of("studies", name, "trials", work["number"], "files", generation, file)
        came: FileFacts = self.request(
            "GET", path, headers={LEASE: work["token"]}, read=lambda body: _save(body, target)
        )
        return came

    def send_file(self, name: str, work: Work, generation: str, file: Path) -> FileFacts:
        """Sends a file of a new generation, named by the token's first eight digits and a number: TOKEN8-N."""
        path = path_of("studies", name, "trials", work["number"], "files", generation, file.name)
        with file.open("rb") as opened:
            digest, size = hashlib.file_digest(opened, "sha256"), opened.tell()
            sum_ = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
            headers = {LEASE: work["token"], "Content-Digest": sum_, "Content-Length": str(size)}
            self.request("PUT", path, opened, headers={**headers, "Content-Type": "application/octet-stream"})
        return {"bytes": size, "sha256": digest.hexdigest()}

    def close_files(self, name: str, work: Work, generation: str, files: Mapping[str, FileFacts]) -> None:
        """Says that all files of a generation have been sent; with none, only tries whether the study's store can be written."""
        path = path_of("studies", name, "trials", work["number"], "files", generation)
        self.request("POST", path, {"token": work["token"], "files": dict(files)})

    def publish(self, name: str, work: Work, generation: str) -> None:
        """Makes a generation that is whole the trial's newest."""
        path = path_of("studies", name, "trials", work["number"], "files")
        self.request("POST", path, {"token": work["token"], "generation": generation})

    def workers(self) -> Iterator[dict[str, Any]]:
        """Workers that have reported, the newest word first."""
        return self.pages("workers")

    def leave(self, worker: str) -> None:
        """Says that a worker has gone, for those who look at the list of workers."""
        self.request("DELETE", path_of("workers", worker))

    def events(self, name: str, since: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Changes of a study, after a revision or from now on, until it is deleted; a stream that was cut off goes on.

        Raises:
            Fault: if the server has told nothing for longer than the patience, or a minute if it had told something.
        """
        last, wait, until = since, RETRY_SECONDS, time.monotonic() + self.patience
        while True:
            query, event = "" if last is None else f"?since={last}", dict[str, str]()
            try:
                for line in self.lines(f"{path_of('studies', name, 'events')}{query}"):
                    field, _, value = line.partition(": ")
                    if field == "data" or line.startswith(":"):
                        wait, until = RETRY_SECONDS, time.monotonic() + max(self.patience, BUSY_SECONDS)
                    if line:
                        event[field] = value
                        continue
                    last = int(event["id"]) if "id" in event else last  # an event counts once its end has come
                    if "data" in event:
                        yield event.get("event", "message"), json.loads(event["data"])
                        if event.get("event") == "deleted":
                            return
                    event.clear()
            except (Lost, Busy) as fault:
                pause = max(fault.after if isinstance(fault, Busy) else 0.0, random.uniform(0.5, 1.0) * wait)
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            wait = min(2 * wait, RETRY_LIMIT)
