"""Answers as bytes: encoded once for each revision of what they tell, compressed once, and not sent again to whoever has them."""

import gzip
import hashlib
import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Generic, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.process_pool import Left

COMPRESSED_BYTES = 2_000
"""Number of bytes from which an answer is worth compressing."""
KEPT = 256
KEPT_BYTES = 16 * 2**20


def encode(content: Any) -> bytes:
    """JSON, with null for what is no finite number."""
    try:
        return orjson.dumps(content)
    except TypeError:  # half a surrogate pair, or an integer of more than 64 bits
        text = json.dumps(_finite(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(errors="replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return {key: _finite(v) for key, v in value.items()} if isinstance(value, dict) else value


class Answer:
    """One JSON text, and what it takes to send it."""

    def __init__(self, content: Any) -> None:
        self.body = encode(content)

    @cached_property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:24]}"'

    @cached_property
    def packed(self) -> bytes:
        return gzip.compress(self.body, 1, mtime=0)

    def response(self, request: Request) -> Response:
        """The full response, or 304 if the client's ETag matches."""
        headers = {"ETag": self.tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Authorization"}
        known = request.headers.get("if-none-match", "")
        if known == "*" or self.tag in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
            return Response(None, 304, headers)
        if len(self.body) >= COMPRESSED_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(self.packed, 200, headers, "application/json")
        return Response(self.body, 200, headers, "application/json")


class ResponseCache:
    """The last answers, each by its name and the version of what it tells. `make` is called once for a version, however many
    ask at the same time; if it fails, it fails for all of them.

    Args:
        wait: returns when the answer that another request makes is there, or has failed.
    """

    def __init__(self, wait: Callable[[Future[Answer]], None]) -> None:
        self.wait = wait
        self._kept: OrderedDict[Hashable, tuple[Hashable, Answer]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._making: dict[Hashable, Future[Answer]] = {}

    def get(self, name: Hashable, version: Hashable, make: Callable[[], Any]) -> Answer:
        while True:
            with self._lock:
                if (found := self._find(name, version)) is not None:
                    return found
                is_mine = (name, version) not in self._making
                making = self._making.setdefault((name, version), Future())
            if is_mine:
                return self._made(name, version, make, making)
            self.wait(making)
            if not isinstance(making.exception(), Left):  # else who made it has gone: it is another's turn
                return making.result()

    def _made(self, name: Hashable, version: Hashable, make: Callable[[], Any], making: Future[Answer]) -> Answer:
        try:
            found = Answer(make())
        except BaseException as error:
            with self._lock:
                del self._making[name, version]
            making.set_exception(error)
            raise
        with self._lock:
            self._keep(name, version, found)
            del self._making[name, version]
        making.set_result(found)
        return found

    def _find(self, name: Hashable, version: Hashable) -> Answer | None:
        kept = self._kept.get(name)
        if kept is None or kept[0] != version:
            return None
        self._kept.move_to_end(name)
        return kept[1]

    def _keep(self, name: Hashable, version: Hashable, answer: Answer) -> None:
        if (older := self._kept.pop(name, None)) is not None:
            self._bytes -= len(older[1].body)
        self._kept[name] = version, answer
        self._bytes += len(answer.body)
        while len(self._kept) > KEPT or (self._bytes > KEPT_BYTES and len(self._kept) > 1):
            _, (_, old) = self._kept.popitem(last=False)
            self._bytes -= len(old.body)


T = TypeVar("T")


class Fresh(Generic[T]):
    """A value read from the database, and read again once it is older than so many seconds; concurrent requests wait
    for one reading.
    """

    def __init__(self, read: Callable[[], T], seconds: float) -> None:
        self.read, self.seconds = read, seconds
        self._value: T | None = None
        self._until = -math.inf
        self._lock = threading.Lock()

    def known(self) -> T | None:
        """The value, if it is fresh; never waits."""
        return self._value if time.monotonic() < self._until else None

    def get(self) -> T:
        if (value := self.known()) is not None:
            return value
        with self._lock:
            if (value := self.known()) is None:
                until = time.monotonic() + self.seconds
                value = self._value = self.read()
                self._until = until
            return value

    def forget(self) -> None:
        self._until = -math.inf
