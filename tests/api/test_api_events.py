"""Server-sent events across real server processes: all see what any process wrote, and a client that returns misses nothing."""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import events, server
from stub_study import SQLITE, make

from api.events import KEPT, Feed, Followed, Listener, event, events_of
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.studies import changes
from tuner.workers.leases import Attempts

FIGURES = {"distortion": 1.0, "rate": 2.0, "neg_elbo": 3.0, "active_units": 4, "seconds": 0.1, "objective_beta": 0.5}
PATIENT = httpx.Timeout(60.0)


def read(address: str, path: str, **headers: str) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    with httpx.stream("GET", f"{address}{path}", headers=headers, timeout=PATIENT) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        for kind, name, data in events(response.iter_lines()):
            yield kind, name, json.loads(data)


def until_epoch(stream: Iterator[tuple[str, str | None, dict[str, Any]]], last: int) -> tuple[list[int], str]:
    """The epochs up to one, and the last id after it."""
    found, name = [], ""
    for kind, own, data in stream:
        name = own or name
        if kind == "epoch":
            found.append(data["epoch"])
        if kind == "study" and found and found[-1] >= last:
            return found, name
    raise AssertionError("the stream has ended")


def test_two_servers_tell_the_same_and_a_returning_client_misses_nothing(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None

    def report(*numbers: int) -> None:
        attempts.record(claim, [{"epoch": n, **FIGURES} for n in numbers], patience=60.0)

    path = "/v1/studies/s/events"
    with (
        server(database.secret_url, tmp_path) as (first, process),
        server(database.secret_url, tmp_path) as (second, _),
    ):
        streams = [read(address, f"{path}?since=0") for address in (first, second)]
        assert [next(stream)[0] for stream in streams] == ["trial", "trial"]
        report(1)
        report(2, 3)
        heard = [until_epoch(stream, 3) for stream in streams]
        assert [epochs for epochs, _ in heard] == [[1, 2, 3]] * 2
        assert heard[0][1] == heard[1][1]
        # One client leaves, is told nothing for a while, and comes again, to the other server.
        streams[0].close()
        report(4)
        report(5)
        again = read(second, path, **{"Last-Event-ID": heard[0][1]})
        assert until_epoch(again, 5)[0] == [4, 5]
        assert until_epoch(streams[1], 5)[0] == [4, 5]
        # A server that is told to stop ends its streams in order, and at once.
        listening, everything = read(first, f"{path}?since=0"), read(first, "/v1/events")
        assert (next(listening)[0], next(everything)[2]["name"]) == ("trial", "s")
        waiting = threading.Thread(target=lambda: [list(listening), list(everything)])
        waiting.start()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        waiting.join(timeout=30)
        assert not waiting.is_alive()
        # Those of a study that is deleted end with that word.
        attempts.finish(claim, "complete", value=1.0)
        study.delete()
        assert list(again)[-1][0] == "deleted"


@SQLITE
def test_a_stream_says_first_from_where_it_goes_on(database: Database, tmp_path: Path) -> None:
    revision = make(database, tmp_path).revision
    with server(database.secret_url, tmp_path) as (address, _):
        for query, cursor in (("", revision), ("?since=0", 0), (f"?since={2**53}", revision)):
            with httpx.stream("GET", f"{address}/v1/studies/s/events{query}", timeout=PATIENT) as response:
                assert next(response.iter_text()).startswith(f"retry: 2000\nid: {cursor}\n\n")


def test_all_studies_in_one_stream(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, name="old")
    with server(database.secret_url, tmp_path) as (address, _):
        stream = read(address, "/v1/events")
        assert next(stream)[2]["name"] == "old"
        study.end("stopped", "enough")
        found = [next(stream)]
        while found[-1][2]["state"] != "stopped":  # it may be told twice at first
            found.append(next(stream))
        make(database, tmp_path, name="new")
        while found[-1][2].get("name") != "new":
            found.append(next(stream))
        study.delete()
        while found[-1][0] != "deleted":
            found.append(next(stream))
        assert found[-1][2] == {"name": "old"}
        stream.close()


def test_an_id_comes_with_the_last_event_of_its_revision(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None
    attempts.record(claim, [{"epoch": n, **FIGURES} for n in (1, 2, 3)])
    found = changes.changes(database, "s", 0)
    assert found is not None
    texts = [text.decode() for _, text in events_of(found, {})]
    kinds = [text.split("\n")[0] for text in texts]
    assert kinds == ["event: trial", "event: epoch", "event: epoch", "event: epoch", "event: study"]
    revision = study.refresh().revision
    assert [f"id: {revision}\n" in text for text in texts] == [False, False, False, False, True]
    assert f"id: {revision - 1}\n" in texts[0]


def test_what_is_kept_is_cut_between_revisions() -> None:
    followed = Followed(0)
    for revision in range(1, KEPT):
        followed.add([(revision, b"a%d " % revision), (revision, b"b%d " % revision)], revision)
    assert len(followed.events) <= KEPT
    first = followed.events[0][0]
    assert followed.after(followed.since).startswith(b"a%d b%d " % (first, first))
    assert followed.since == first - 1
    assert followed.after(KEPT - 2) == b"a%d b%d " % (KEPT - 1, KEPT - 1)
    assert followed.after(KEPT - 1) == b""


@SQLITE
def test_a_stream_ends_with_its_key(database: Database, tmp_path: Path) -> None:
    make(database, tmp_path)
    with server(database.secret_url, tmp_path) as (address, _):

        def opened(key: str | None) -> Iterator[Iterator[tuple[str, str | None, dict[str, Any]]]]:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            for path in ("/v1/events", "/v1/studies/s/events?since=0"):
                stream = read(address, path, **headers)
                next(stream)
                yield stream

        without = list(opened(None))
        lost, kept = (keys.create(database, name, write=False) for name in ("lost", "kept"))
        for stream in without:  # from the first key on everybody needs one
            list(stream)
        streams, others = list(opened(lost)), list(opened(kept))
        keys.revoke(database, "lost")
        for stream in streams:
            list(stream)
        make(database, tmp_path, name="new")
        assert any(data.get("name") == "new" for _, _, data in others[0])


def test_a_look_judges_no_stream_that_opens_meanwhile() -> None:
    old, new = Listener("a", "1"), Listener("b", "2")

    async def look() -> None:
        with ExitStack() as stack:
            feed = Feed(lambda: stack.enter_context(feed.opened(new)) or [], dict, lambda *_: None, bool, 9, 9)
            stack.enter_context(feed.opened(old))
            await feed._shut()

    asyncio.run(look())
    assert (old.is_shut, new.is_shut) == (True, False)


def test_a_look_that_failed_is_taken_again() -> None:
    failures = [OSError("the database is away")]

    def summary(name: str) -> dict[str, str]:
        if failures:
            raise failures.pop()
        return {"name": name}

    async def look() -> None:
        feed = Feed(list, lambda: {"s": 1}, lambda *_: None, summary, 9, 9)
        feed._all.streams = 1
        with pytest.raises(OSError, match="away"):
            await feed._look()
        await feed._look()
        assert feed._all.after(0) == event("study", {"name": "s"})

    asyncio.run(look())
