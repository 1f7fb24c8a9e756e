"""One connection to a server of the REST API: requests, retries and errors, with the standard library alone."""

import http.client
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from tuner.errors import Busy, Clash, Fault, Missing, StoreFault, Usage
from tuner.numbers import PORTS

SECONDS = 180.0
"""Seconds that an answer may take: a new study is checked by a trainer first, and may wait for its turn."""
BUSY_SECONDS = 60.0
"""Seconds for which a request is made again to a server that is busy and says when to come again."""
BROKEN_SECONDS = 5.0
"""Seconds for which a request whose answer was lost is made again, if that is safe."""
RETRY_SECONDS = 0.5
"""Seconds before a request is made again, where the server says nothing; doubled up to `RETRY_LIMIT` each time."""
RETRY_LIMIT = 20.0
ERRORS: dict[int, type[Usage]] = {404: Missing, 409: Clash}


class Lost(Fault):
    """A request, or the answer to it, was lost on the way."""


class _Unreachable(Lost):
    """A request that has not reached the server."""


def read_json(response: http.client.HTTPResponse) -> Any:
    content = response.read()
    return json.loads(content) if content else None


def read_text(response: http.client.HTTPResponse) -> str:
    return response.read().decode()


class Connection:
    """A server, and how long it is waited for.

    Args:
        url: address of the server; default: TUNER_API.
        key: key of the API; default: TUNER_API_KEY.
        patience: seconds for which a request that may be made again is, while the server cannot be reached.
        seconds: seconds that an answer may take.

    A server that is busy (429, 503) is asked again when it says so, for a minute at most. A request whose answer was lost is made
    again if doing it twice is as good as once.

    Every call raises:
        Usage: if the server refuses it: `Missing` for 404, `Clash` for 409; `field` names the fault's place.
        Fault: if the server cannot be reached or cannot do it.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, patience: float = 0.0, seconds: float = SECONDS
    ) -> None:
        self.patience, self.seconds = patience, seconds
        self.url, self._place, self._root, secure = _server(url or os.environ.get("TUNER_API", "http://127.0.0.1:8000"))
        self._kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._key = (key or os.environ.get("TUNER_API_KEY", "")).strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise Usage(
                "the key of the API has characters that no key has: give it as `tuner key create NAME` printed it."
            )

    def pages(self, path: str, **filters: str | None) -> Iterator[Any]:
        query = {key: value for key, value in filters.items() if value is not None}
        while True:
            found = self.request("GET", f"{path}?{urlencode(query)}")
            if not (isinstance(found, dict) and {"items", "next"} <= found.keys()):
                raise self._foreign()
            yield from found["items"]
            if found["next"] is None:
                return
            query["cursor"] = found["next"]

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | IO[bytes] | None = None,
        once: bool = False,
        headers: Mapping[str, str] | None = None,
        read: Callable[[http.client.HTTPResponse], Any] = read_json,
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
            except Lost as lost:
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
        connection, response = self.open(method, path, body, headers)
        try:
            return read(response)
        except ValueError as error:  # no JSON, or no text
            raise self._foreign() from error
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"the server at {self.url} broke off ({error}): try again.") from error
        finally:
            connection.close()

    def open(
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
            raise Lost(f"the server at {self.url} broke off ({error}): try again.") from error
        if response.status < 300 and response.headers.get_content_type() != "text/html":
            return connection, response
        if response.status < 400:
            connection.close()
            raise self._foreign(response.headers.get("Location"))
        try:
            found = json.loads(response.read())
            detail, field = str(found["detail"]), found["field"]
        except (OSError, ValueError, TypeError, KeyError):
            detail, field = f"the server at {self.url} answered {response.status}: is it `tuner serve`?", None
            if response.status in ERRORS:  # a proxy's, which knows of no study whether it is there
                raise Fault(detail) from None
        finally:
            connection.close()
        if response.status in (429, 503) and (after := response.headers.get("Retry-After", "")).isdecimal():
            raise Busy(detail, float(after))
        if response.status >= 500:
            raise (StoreFault if response.status == 507 else Fault)(detail)
        raise ERRORS.get(response.status, Usage)(detail, field)

    def lines(self, path: str) -> Iterator[str]:
        """Lines of a stream, whose end is a fault too."""
        connection, response = self.open("GET", path)
        try:
            for line in response:
                yield line.decode().rstrip("\r\n")
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"the server at {self.url} broke off ({error}): try again.") from error
        finally:
            connection.close()
        raise Lost(f"the server at {self.url} has ended the stream: try again.")

    def _foreign(self, location: str | None = None) -> Usage:
        """The error about an answer that `tuner serve` would not give, and where it sends its readers instead."""
        sent = f", and sends its readers to {location}" if location else ""
        return Usage(f"the server at {self.url} is no `tuner serve`{sent}: check the address.")


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
    if "@" in parts.netloc:
        raise Usage(
            "--api has a name or a password, which no server reads: leave them out, and give the key in TUNER_API_KEY."
        )
    place, root = parts.netloc, quote(parts.path.rstrip("/"), safe="/%")
    return f"{parts.scheme}://{place}{root}", place, root, parts.scheme == "https"


def path_of(*parts: object) -> str:
    return "/".join(quote(str(part), safe="") for part in parts)
