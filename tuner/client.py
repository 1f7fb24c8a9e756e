"""A client of the REST API (`tuner serve`), with the standard library alone.

with Client("http://127.0.0.1:8000") as client:
    study = client.create(technique="sfb", trials=8)
    for kind, data in client.events(study["name"]):
        print(kind, data)
"""

import http.client
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict
from urllib.parse import quote, urlencode, urlsplit

from tuner.errors import Clash, Fault, Missing, Usage
from tuner.trials import Trial

SECONDS = 120.0
"""that an answer may take: a new study is checked by a trainer first"""
ERRORS: dict[int, type[Usage]] = {404: Missing, 409: Clash}


class Best(TypedDict):
    number: int
    value: float
    params: dict[str, Any]
    given: dict[str, Any]
    metrics: dict[str, Any] | None
    notes: list[str]


class Summary(TypedDict):
    """A study in short."""

    name: str
    technique: str
    corpus: str
    model: str
    sampler: str
    objective: str
    seed: int
    state: str
    why: str | None
    budget: int
    counts: dict[str, int]
    best: Best | None
    created_at: str
    revision: int
    waiting_for_workers: bool


class Study(Summary):
    """A study with what defines it."""

    space: list[dict[str, Any]]
    fixed: dict[str, Any]
    rules: dict[str, Any]
    pruner: str
    first_default: bool
    min_rate: float
    stop_when: float
    entropy: float | None
    ngram: dict[str, Any] | None
    front: list[int]


class Work(TypedDict):
    """A trial for a worker."""

    number: int
    params: dict[str, Any]
    token: str
    attempt: int
    lease_seconds: float
    specification: dict[str, Any]


class Client:
    """
    Args:
        url: of the server; default: TUNER_API.
        key: of the API; default: TUNER_API_KEY.

    Every call raises:
        Usage: if the server refuses it: `Missing` for 404, `Clash` for 409; `field` names what is wrong.
        Fault: if the server cannot be reached or cannot do it.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        self.url = url or os.environ.get("TUNER_API", "http://127.0.0.1:8000")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Usage(f"--api {self.url!r} is no address of a server: write e.g. http://127.0.0.1:8000.")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._place, self._root = parts.netloc.rpartition("@")[2], parts.path.rstrip("/")
        self._key = key or os.environ.get("TUNER_API_KEY")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close: each call has a connection of its own."""

    def studies(self, technique: str | None = None, state: str | None = None) -> Iterator[Summary]:
        """The newest first."""
        return self._pages("studies", technique=technique, state=state)

    def study(self, name: str) -> Study:
        found: Study = self._ask("GET", _path("studies", name))
        return found

    def create(self, technique: str, trials: int, **more: Any) -> Study:
        """Makes a study, or finds the same one; `more` are the other fields of `POST /v1/studies`."""
        made: Study = self._ask("POST", "studies", {"technique": technique, "trials": trials, **more})
        return made

    def start(self, name: str) -> Study:
        found: Study = self._ask("POST", _path("studies", name, "start"))
        return found

    def stop(self, name: str) -> Study:
        found: Study = self._ask("POST", _path("studies", name, "stop"))
        return found

    def delete(self, name: str) -> None:
        self._ask("DELETE", _path("studies", name))

    def trials(self, name: str, state: str | None = None, newest_first: bool = False) -> Iterator[Trial]:
        order = "-number" if newest_first else "number"
        return (Trial(**plain) for plain in self._pages(_path("studies", name, "trials"), state=state, order=order))

    def trial(self, name: str, number: int) -> tuple[Trial, list[dict[str, Any]]]:
        """A trial and its attempts."""
        found = self._ask("GET", _path("studies", name, "trials", number))
        attempts = found.pop("attempts")
        found.pop("estimate", None)
        return Trial(**found), attempts

    def enqueue(self, name: str, params: Mapping[str, Any]) -> Trial:
        return Trial(**self._ask("POST", _path("studies", name, "trials"), {"params": dict(params)}))

    def epochs(self, name: str, number: int) -> Iterator[dict[str, Any]]:
        return self._pages(_path("studies", name, "trials", number, "epochs"))

    def samples(self, name: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", _path("studies", name, "trials", number, "samples"))
        return found

    def pareto(self, studies: Sequence[str], x: str = "rate", y: str = "ppl", split: str = "valid") -> dict[str, Any]:
        query = [*(("study", name) for name in studies), ("x", x), ("y", y), ("split", split)]
        found: dict[str, Any] = self._ask("GET", f"pareto?{urlencode(query)}")
        return found

    def ask(self, name: str, worker: str, device: str = "cpu") -> Work | None:
        """A trial for this worker; none if there is nothing to do now."""
        found: Work | None = self._ask("POST", _path("studies", name, "ask"), {"worker": worker, "device": device})
        return found

    def report(self, name: str, work: Work, epochs: Sequence[Mapping[str, Any]]) -> str | None:
        """Epochs of a trial; returns why its training must end now, if it must. Renews the lease."""
        path = _path("studies", name, "trials", work["number"], "epochs")
        found: str | None = self._ask("POST", path, {"token": work["token"], "epochs": list(epochs)})["stop"]
        return found

    def renew(self, name: str, work: Work) -> str | None:
        """Prolongs the lease; as above."""
        path = _path("studies", name, "trials", work["number"], "renew")
        found: str | None = self._ask("POST", path, {"token": work["token"]})["stop"]
        return found

    def tell(self, name: str, work: Work, state: Literal["complete", "pruned", "failed"], **facts: Any) -> str:
        """Ends the trial; returns its state, `waiting` if it will be tried again."""
        path = _path("studies", name, "trials", work["number"], "tell")
        found: str = self._ask("POST", path, {"token": work["token"], "state": state, **facts})["state"]
        return found

    def events(self, name: str, since: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """What changes in a study, after a revision or from now on, until it is deleted; goes on where it was cut off."""
        last = since
        while True:
            query = "" if last is None else f"?since={last}"
            connection, response = self._open("GET", f"{_path('studies', name, 'events')}{query}", None)
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

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        connection, response = self._open(method, path, body)
        try:
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Fault(f"the server at {self.url} broke off ({error}): try again.") from error
        finally:
            connection.close()
        return json.loads(content) if content else None

    def _open(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body, allow_nan=False), "application/json"
        connection = self._kind(self._place, timeout=SECONDS)
        try:
            connection.request(method, f"{self._root}/v1/{path}", content, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Fault(f"the server at {self.url} cannot be reached ({error}): is `tuner serve` running?") from error
        if response.status < 400:
            return connection, response
        try:
            found = json.loads(response.read())
            detail, field = str(found["detail"]), found["field"]
        except (OSError, ValueError, TypeError, KeyError):
            detail, field = f"the server at {self.url} answered {response.status}: is it `tuner serve`?", None
        finally:
            connection.close()
        if response.status >= 500:
            raise Fault(detail)
        raise ERRORS.get(response.status, Usage)(detail, field)


def _path(*parts: object) -> str:
    return "/".join(quote(str(part), safe="") for part in parts)
