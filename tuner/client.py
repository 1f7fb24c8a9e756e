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
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal, TypedDict
from urllib.parse import quote, urlencode, urlsplit

from tuner.errors import Busy, Clash, Fault, Missing, StoreFault, Usage
from tuner.numbers import PORTS
from tuner.studies import answers
from tuner.studies.trials import Trial

SECONDS = 180.0
"""that an answer may take: a new study is checked by a trainer first, and may wait for its turn"""
BUSY_SECONDS = 60.0
"""for which a request is made again to a server that is busy and says when to come again"""
BROKEN_SECONDS = 5.0
"""for which one whose answer was lost is made again, if that is safe"""
RETRY_SECONDS = 0.5
"""before a request is made again, where the server says nothing; doubled up to `RETRY_LIMIT` each time"""
RETRY_LIMIT = 20.0
BLOCK = 2**18
"""bytes of a file that are in memory at a time"""
LEASE = "Lease"
"""the header that holds a trial's token, where no body does"""
ERRORS: dict[int, type[Usage]] = {404: Missing, 409: Clash}


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
    """`stop` says why a training must end now, if it must; the trial is then told as pruned, or as failed for this reason."""

    stop: str | None
    reason: str | None


class _Lost(Fault):
    """A request, or the answer to it, was lost on the way."""


class _Unreachable(_Lost):
    """A request that has not reached the server."""


def _json(response: http.client.HTTPResponse) -> Any:
    content = response.read()
    return json.loads(content) if content else None


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


class Client:
    """
    Args:
        url: of the server; default: TUNER_API.
        key: of the API; default: TUNER_API_KEY.
        patience: seconds for which what can be asked again is, while the server cannot be reached.
        seconds: that an answer may take.

    A server that is busy (429, 503) is asked again when it says so, for a minute at most. A request whose answer was lost is made
    again if doing it twice is as good as once: that is all but `enqueue`.

    Every call raises:
        Usage: if the server refuses it: `Missing` for 404, `Clash` for 409; `field` names what is wrong.
        Fault: if the server cannot be reached or cannot do it.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, patience: float = 0.0, seconds: float = SECONDS
    ) -> None:
        self.patience, self.seconds = patience, seconds
        self.url, self._place, self._root, secure = _server(url or os.environ.get("TUNER_API", "http://127.0.0.1:8000"))
        self._kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._key = key or os.environ.get("TUNER_API_KEY")

    def within(self, seconds: float) -> "Client":
        """The same client, whose answers may take so long."""
        return Client(self.url, self._key, self.patience, seconds)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close: each call has a connection of its own."""

    def studies(
        self, technique: str | None = None, state: str | None = None, tag: str | None = None
    ) -> Iterator[answers.Summary]:
        """The newest first."""
        return self._pages("studies", technique=technique, state=state, tag=tag)

    def study(self, name: str) -> answers.Study:
        found: answers.Study = self._ask("GET", _path("studies", name))
        return found

    def create(self, **settings: Any) -> answers.Study:
        """Makes a study, or finds the same one.

        Args:
            settings: those of `spec.StudySpec`, technique at least, as JSON values; and name.
        """
        made: answers.Study = self._ask("POST", "studies", settings)
        return made

    def start(self, name: str) -> answers.Study:
        found: answers.Study = self._ask("POST", _path("studies", name, "start"))
        return found

    def stop(self, name: str) -> answers.Study:
        found: answers.Study = self._ask("POST", _path("studies", name, "stop"))
        return found

    def change(self, name: str, **settings: Any) -> answers.Study:
        """Other values for what may change of a study: its changeable settings, note and tags."""
        found: answers.Study = self._ask("PATCH", _path("studies", name), settings)
        return found

    def delete(self, name: str) -> None:
        self._ask("DELETE", _path("studies", name))

    def strike(self, name: str, number: int, because: str) -> Trial:
        """Makes a trial failed, whatever it was; its figures and the reason stay in the record."""
        return Trial(**self._ask("POST", _path("studies", name, "trials", number, "strike"), {"because": because}))

    def trials(
        self, name: str, state: str | None = None, order: str = "number", where: str | None = None
    ) -> Iterator[Trial]:
        """Those that fit a condition, by any column of the table; `-nll`: the highest first."""
        filters = {"state": state, "order": order, "where": where}
        return (Trial(**plain) for plain in self._pages(_path("studies", name, "trials"), **filters))

    def trial(self, name: str, number: int) -> tuple[Trial, list[answers.Attempt]]:
        """A trial and its attempts."""
        found = self._ask("GET", _path("studies", name, "trials", number))
        attempts = found.pop("attempts")
        found.pop("estimate", None)
        return Trial(**found), attempts

    def enqueue(self, name: str, params: Mapping[str, Any]) -> Trial:
        return Trial(**self._ask("POST", _path("studies", name, "trials"), {"params": dict(params)}, once=True))

    def epochs(self, name: str, number: int) -> Iterator[dict[str, Any]]:
        return self._pages(_path("studies", name, "trials", number, "epochs"))

    def samples(self, name: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", _path("studies", name, "trials", number, "samples"))
        return found

    def pareto(self, studies: Sequence[str], x: str = "rate", y: str = "ppl", split: str = "valid") -> dict[str, Any]:
        query = [*(("study", name) for name in studies), ("x", x), ("y", y), ("split", split)]
        found: dict[str, Any] = self._ask("GET", f"pareto?{urlencode(query)}")
        return found

    def ask(self, name: str, worker: str, device: str = "cpu", takes: Sequence[str] | None = None) -> Work | None:
        """A trial for this worker; none if there is nothing to do now.

        Args:
            takes: names of the studies that the worker takes trials of; None: of any.
        """
        asked = {"worker": worker, "device": device, "token": secrets.token_hex(16), "takes": takes}
        found: Work | None = self._ask("POST", _path("studies", name, "ask"), asked)
        return found

    def report(self, name: str, work: Work, epochs: Sequence[Mapping[str, Any]]) -> Stop:
        """Epochs of a trial; returns whether its training must end now. Renews the lease."""
        path = _path("studies", name, "trials", work["number"], "epochs")
        found: Stop = self._ask("POST", path, {"token": work["token"], "epochs": list(epochs)})
        return found

    def renew(self, name: str, work: Work, gpu: Mapping[str, Any] | None = None) -> Stop:
        """Prolongs the lease, and tells the load of the worker's card; as above."""
        path = _path("studies", name, "trials", work["number"], "renew")
        found: Stop = self._ask("POST", path, {"token": work["token"], "gpu": gpu})
        return found

    def tell(self, name: str, work: Work, state: Literal["complete", "pruned", "failed"], **facts: Any) -> str:
        """Ends the trial; returns its state, `waiting` if it will be tried again."""
        path = _path("studies", name, "trials", work["number"], "tell")
        found: str = self._ask("POST", path, {"token": work["token"], "state": state, **facts})["state"]
        return found

    def files(self, name: str, work: Work) -> Files | None:
        """The newest files that were published of the trial; none if there are none."""
        path = _path("studies", name, "trials", work["number"], "files")
        found: Files | None = self._ask("GET", path, headers={LEASE: work["token"]})
        return found

    def fetch_file(self, name: str, work: Work, generation: str, file: str, target: Path) -> FileFacts:
        """Writes one of them to `target`; returns what came."""
        path = _path("studies", name, "trials", work["number"], "files", generation, file)
        came: FileFacts = self._ask("GET", path, headers={LEASE: work["token"]}, read=lambda body: _save(body, target))
        return came

    def send_file(self, name: str, work: Work, generation: str, file: Path) -> FileFacts:
        """Sends a file of a new generation, named by the token's first eight digits and a number: TOKEN8-N."""
        path = _path("studies", name, "trials", work["number"], "files", generation, file.name)
        with file.open("rb") as opened:
            digest, size = hashlib.file_digest(opened, "sha256"), opened.tell()
            sum_ = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
            headers = {LEASE: work["token"], "Content-Digest": sum_, "Content-Length": str(size)}
            self._ask("PUT", path, opened, headers={**headers, "Content-Type": "application/octet-stream"})
        return {"bytes": size, "sha256": digest.hexdigest()}

    def close_files(self, name: str, work: Work, generation: str, files: Mapping[str, FileFacts]) -> None:
        """Says that all files of a generation have been sent; with none, only tries whether the study's store can be written."""
        path = _path("studies", name, "trials", work["number"], "files", generation)
        self._ask("POST", path, {"token": work["token"], "files": dict(files)})

    def publish(self, name: str, work: Work, generation: str) -> None:
        """Makes a generation that is whole the trial's newest."""
        path = _path("studies", name, "trials", work["number"], "files")
        self._ask("POST", path, {"token": work["token"], "generation": generation})

    def workers(self) -> Iterator[dict[str, Any]]:
        """Who is at work, the newest word first."""
        return self._pages("workers")

    def leave(self, worker: str) -> None:
        """Says that a worker has gone, for those who look at the list of workers."""
        self._ask("DELETE", _path("workers", worker))

    def events(self, name: str, since: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """What changes in a study, after a revision or from now on, until it is deleted; goes on where it was cut off."""
        last = since
        while True:
            query = "" if last is None else f"?since={last}"
            connection, response = self._open("GET", f"{_path('studies', name, 'events')}{query}")
            kind = ""
            try:
                for line in response:
                    field, _, value = line.decode().rstrip("\r\n").partition(": ")
                    if field == "event":
                        kind = value
                    elif field == "id":
                        last = int(value)
                    elif field == "data":
                        yield kind, json.loads(value)
                        if kind == "deleted":
                            return
            except OSError as error:
                raise Fault(f"the server at {self.url} has gone ({error}): try again.") from error
            finally:
                connection.close()

    def _pages(self, path: str, **filters: str | None) -> Iterator[Any]:
        query = {key: value for key, value in filters.items() if value is not None}
        while True:
            found = self._ask("GET", f"{path}?{urlencode(query)}")
            yield from found["items"]
            if found["next"] is None:
                return
            query["cursor"] = found["next"]

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | IO[bytes] | None = None,
        once: bool = False,
        headers: Mapping[str, str] | None = None,
        read: Callable[[http.client.HTTPResponse], Any] = _json,
    ) -> Any:
        """An answer's content.

        Args:
            body: what is sent as JSON, or a file whose length is in the headers.
            once: it must not be done twice, so that one whose answer is lost is not asked again.
            read: reads the content.
        """
        began, wait, tried = time.monotonic(), RETRY_SECONDS, False
        while True:
            spent = time.monotonic() - began
            try:
                return self._answer(method, path, body, headers or {}, read)
            except Busy as busy:
                pause = max(busy.after, random.uniform(0.5, 1.0) * wait)
                if spent + pause > min(BUSY_SECONDS, self.seconds):
                    raise
            except _Lost as lost:
                patience = self.patience if isinstance(lost, _Unreachable) else max(self.patience, BROKEN_SECONDS)
                pause = random.uniform(0.5, 1.0) * wait
                if (once and not isinstance(lost, _Unreachable)) or spent + pause > patience:
                    raise
                tried = True
            except Missing:
                if method == "DELETE" and tried:  # it was done the first time
                    return None
                raise
            time.sleep(pause)
            wait = min(2 * wait, RETRY_LIMIT)

    def _answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | IO[bytes] | None,
        headers: Mapping[str, str],
        read: Callable[[http.client.HTTPResponse], Any],
    ) -> Any:
        connection, response = self._open(method, path, body, headers)
        try:
            return read(response)
        except (OSError, http.client.HTTPException) as error:
            raise _Lost(f"the server at {self.url} broke off ({error}): try again.") from error
        finally:
            connection.close()

    def _open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | IO[bytes] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"Accept": "application/json", **(more or {})}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        content: str | IO[bytes] | None
        if isinstance(body, Mapping):
            content, headers["Content-Type"] = json.dumps(body, allow_nan=False), "application/json"
        else:
            content = body
            if body is not None:
                body.seek(0)
        connection = self._kind(self._place, timeout=self.seconds)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise _Unreachable(
                f"the server at {self.url} cannot be reached ({error}): is `tuner serve` running?"
            ) from error
        try:
            with suppress(ConnectionError):  # a file that is refused is not read to its end
                connection.request(method, f"{self._root}/v1/{path}", content, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _Lost(f"the server at {self.url} broke off ({error}): try again.") from error
        if response.status < 400:
            return connection, response
        try:
            found = json.loads(response.read())
            detail, field = str(found["detail"]), found["field"]
        except (OSError, ValueError, TypeError, KeyError):
            detail, field = f"the server at {self.url} answered {response.status}: is it `tuner serve`?", None
        finally:
            connection.close()
        if response.status in (429, 503) and (after := response.headers.get("Retry-After", "")).isdecimal():
            raise Busy(detail, float(after))
        if response.status >= 500:
            raise (StoreFault if response.status == 507 else Fault)(detail)
        raise ERRORS.get(response.status, Usage)(detail, field)


def _server(url: str) -> tuple[str, str, str, bool]:
    """A server's address for people, its host and port, the path before the API's own, and whether it speaks TLS.

    Raises:
        Usage: if it is none; a name and a password in it are not shown.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        is_one = (
            parts.scheme in ("http", "https") and bool(host.encode("idna")) and url.isprintable() and " " not in url
        )
    except ValueError:
        is_one = False
    if not is_one or (port is not None and port not in PORTS):
        raise Usage(
            f"--api {url.rpartition('@')[2]!r} is no address of a server: write e.g. http://127.0.0.1:8000, its port {PORTS}."
        )
    place, root = parts.netloc.rpartition("@")[2], quote(parts.path.rstrip("/"), safe="/%")
    return f"{parts.scheme}://{place}{root}", place, root, parts.scheme == "https"


def _path(*parts: object) -> str:
    return "/".join(quote(str(part), safe="") for part in parts)
