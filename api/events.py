"""Server-sent events, read from the database: every server process sees what any process wrote.

One task polls the studies' revisions for all streams of the process, and encodes what has changed once. A stream is a cursor, the
last revision that its client has; it takes what is newer from the last events kept here, or, where those do not reach
back far enough, from the database. So a slow or returning client loses nothing and no queue grows.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from api.response_cache import encode
from tuner.storage.keys import Key
from tuner.studies.changes import Changes

POLL_SECONDS = 0.5
COMMENT_SECONDS = 15.0
RETRY_MS = 2000
COMMENT = b": nothing new\n\n"
KEPT = 2000
"""Largest number of events of a study that are kept."""
log = logging.getLogger("tuner.api")
Event = tuple[int, bytes]
"""A revision, and the event as it is sent."""


def event(kind: str, data: Any, revision: int | None = None) -> bytes:
    """One event of the stream. JSON holds no line break, so its text is one `data:` line."""
    name = b"" if revision is None else b"id: %d\n" % revision
    return b"event: %s\n%sdata: %s\n\n" % (kind.encode(), name, encode(data))


def events_of(changes: Changes, summary: dict[str, Any]) -> list[Event]:
    """Epochs and trials in the order of their revisions, then the study. The last event of a revision carries its id, so
    that a client cut off among them hears all of it again."""
    found: list[tuple[int, str, Any]] = [
        *((revision, "epoch", {"trial": number, **figures}) for revision, number, figures in changes.epochs),
        *((revision, "trial", trial.plain()) for revision, trial in changes.trials),
    ]
    found.sort(key=lambda entry: entry[0])
    found.append((changes.until, "study", summary))
    after = [entry[0] for entry in found[1:]] + [None]
    return [
        (revision, event(kind, data, None if following == revision else revision))
        for (revision, kind, data), following in zip(found, after, strict=True)
    ]


class Followed:
    """One study as far as the streams of this process have it."""

    def __init__(self, head: int) -> None:
        self.since = self.head = head
        """Revision after which all events up to `head` are kept."""
        self.events: list[Event] = []
        self.changed = asyncio.Event()
        self.gone = False
        self.streams = 0

    def after(self, cursor: int) -> bytes:
        """Events that are newer than the cursor, which must not lie before `since`."""
        first = bisect_right(self.events, cursor, key=lambda entry: entry[0])
        return b"".join(text for _, text in self.events[first:])

    def add(self, events: list[Event], head: int) -> None:
        self.events += events
        self.head = head
        if len(self.events) > KEPT:
            self.since = self.events[-KEPT - 1][0]
            self.events = self.events[bisect_right(self.events, self.since, key=lambda entry: entry[0]) :]

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass(eq=False)
class Listener:
    """Whoever an open stream is for."""

    client: str
    key: str | None = None
    """Id of the key that opened it; none if it was opened without one."""
    is_shut: bool = False
    """True once it may hear no more."""


class Feed:
    """The streams of this process.

    Args:
        keys: all that there are. A stream ends, within a look, when its key is revoked, or the first key is made and it has none.
        revisions: every study's.
        read: what has changed in a study after a revision, as events, and up to which revision; None if the study is gone.
        summary: a study as the event `study` has it; None if it is gone.
        limit: streams that may be open.
        limit_each: of one client.
    """

    def __init__(
        self,
        keys: Callable[[], Sequence[Key]],
        revisions: Callable[[], dict[str, int]],
        read: Callable[[str, int], tuple[list[Event], int] | None],
        summary: Callable[[str], Any],
        limit: int,
        limit_each: int,
    ) -> None:
        self.keys, self.revisions, self.read, self.summary = keys, revisions, read, summary
        self.limit, self.limit_each = limit, limit_each
        self._listeners: set[Listener] = set()
        self._heads: dict[str, int] = {}
        self._followed: dict[str, Followed] = {}
        self._all = Followed(0)
        """Events of all studies together; its revisions count the polls that found a change."""
        self._wanted, self._closed = asyncio.Event(), asyncio.Event()

    @property
    def streams(self) -> int:
        return len(self._listeners)

    def refusal(self, client: str) -> str | None:
        """The sentence that refuses a client another event stream; none if it may open one."""
        if self.streams >= self.limit:
            return f"{self.limit} streams are open, as many as may be: try again."
        if sum(each.client == client for each in self._listeners) >= self.limit_each:
            return f"{self.limit_each} streams of this client are open, as many as one may have: close one."
        return None

    @contextmanager
    def opened(self, listener: Listener) -> Iterator[None]:
        """Counts a stream for as long as it is open."""
        self._listeners.add(listener)
        self._wanted.set()
        try:
            yield
        finally:
            self._listeners.remove(listener)

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Ends all streams; their clients come again, here or elsewhere."""
        self._closed.set()
        self._wanted.set()
        self._wake()

    def _is_over(self, listener: Listener) -> bool:
        return self._closed.is_set() or listener.is_shut

    def _wake(self) -> None:
        for followed in (self._all, *self._followed.values()):
            followed.tell()

    async def run(self) -> None:
        """Follows the database for as long as there are streams."""
        while not self._closed.is_set():
            if not self.streams:
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await self._look()
            except Exception as error:  # the database may be away for a while; the streams stay
                log.warning("events wait for the database: %s", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), POLL_SECONDS)

    async def _look(self) -> None:
        heads = await run_in_threadpool(self.revisions)
        await self._shut()
        for name, followed in list(self._followed.items()):
            followed.gone = name not in heads
            while not followed.gone and followed.head < heads[name]:
                found = await run_in_threadpool(self.read, name, followed.head)
                followed.gone = found is None
                if found is not None:
                    followed.add(*found)
                followed.tell()
            if followed.gone:
                self._followed.pop(name, None)
                followed.tell()
        if self._all.streams:
            await self._look_at_all(heads)
        self._heads = heads  # a look that failed is taken again

    async def _shut(self) -> None:
        """Ends the streams whose keys hold no more."""
        listeners = list(self._listeners)  # one that opens meanwhile may have a key that is not among those read now
        keys = await run_in_threadpool(self.keys)
        holding = {key.id for key in keys if key.revoked_at is None} if keys else {None}
        for listener in listeners:
            listener.is_shut = listener.key not in holding
        if any(listener.is_shut for listener in listeners):
            self._wake()

    async def _look_at_all(self, heads: dict[str, int]) -> None:
        before = self._heads
        found = [event("deleted", {"name": name}) for name in before if name not in heads]
        for name, revision in heads.items():
            if before.get(name) != revision and (told := await run_in_threadpool(self.summary, name)) is not None:
                found.append(event("study", told))
        if found:
            self._all.add([(self._all.head + 1, b"".join(found))], self._all.head + 1)
            self._all.tell()

    async def study(self, listener: Listener, name: str, cursor: int) -> AsyncIterator[bytes]:
        """The events of a study after a revision, which is said first."""
        followed: Followed | None = None
        try:
            yield b"retry: %d\nid: %d\n\n" % (RETRY_MS, cursor)
            while not self._is_over(listener):
                if followed is None or cursor < followed.since:  # further back than what is kept
                    found = await run_in_threadpool(self.read, name, cursor)
                    if found is None:
                        yield event("deleted", {"name": name})
                        return
                    events, until = found
                    if until > cursor:
                        yield b"".join(text for _, text in events)
                        cursor = until
                    elif followed is None:
                        followed = self._followed.setdefault(name, Followed(cursor))
                        followed.streams += 1
                    continue
                changed = followed.changed
                if text := followed.after(cursor):
                    cursor = followed.head
                    yield text
                elif followed.gone:
                    yield event("deleted", {"name": name})
                    return
                elif not await _changes(changed):
                    yield COMMENT
        finally:
            if followed is not None:
                followed.streams -= 1
                if not followed.streams and self._followed.get(name) is followed:
                    del self._followed[name]

    async def all(self, listener: Listener) -> AsyncIterator[bytes]:
        """Every study as it is, then studies as they change and go."""
        self._all.streams += 1
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            cursor = self._all.head
            for name in await run_in_threadpool(self.revisions):
                if (told := await run_in_threadpool(self.summary, name)) is not None:
                    yield event("study", told)
            while not self._is_over(listener) and cursor >= self._all.since:  # else too slow: it comes again
                changed = self._all.changed
                if text := self._all.after(cursor):
                    cursor = self._all.head
                    yield text
                elif not await _changes(changed):
                    yield COMMENT
        finally:
            self._all.streams -= 1


async def _changes(changed: asyncio.Event) -> bool:
    """True if something changes before a sign of life is due."""
    try:
        await asyncio.wait_for(changed.wait(), COMMENT_SECONDS)
    except TimeoutError:
        return False
    return True
