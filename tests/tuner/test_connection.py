"""The client's connection to servers that answer as `tuner serve` never does."""

import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tuner import connection
from tuner.client import Client
from tuner.errors import Fault, Usage
from tuner.studies.trials import Trial


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that gives each request the next of these answers, and closes; its address, and the requests' first lines."""
    asked: list[str] = []

    def serve() -> None:
        for answer in answers:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(2**16).decode().splitlines()[0])
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(10)


def answer(content: str, *headers: str, status: str = "200 OK") -> bytes:
    own = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*own, "", content]).encode()


@pytest.mark.parametrize(
    "given",
    [
        answer("<p>hello", "Content-Type: text/html"),
        answer("<p>hello", "Content-Type: application/json"),
        answer(json.dumps({"other": 1})),
        answer("[]"),
    ],
)
def test_another_program_is_no_server_of_ours(given: bytes) -> None:
    with answering(given) as (address, _), pytest.raises(Usage) as refused:
        list(Client(address).studies())
    assert str(refused.value) == f"the server at {address} is no `tuner serve`: check the address."


@pytest.mark.parametrize("status", ["404 Not Found", "409 Conflict"])
def test_a_proxys_error_does_not_say_that_a_study_is_gone(status: str) -> None:
    page = answer("default backend - 404", "Content-Type: text/plain", status=status)
    with answering(page) as (address, _), pytest.raises(Fault, match=f"answered {status[:3]}: is it `tuner serve`"):
        Client(address).study("s")


def test_a_page_is_no_text() -> None:
    page = answer("<p>hello", "Content-Type: text/html")
    with answering(page) as (address, _), pytest.raises(Usage, match="is no `tuner serve`"):
        Client(address).export("s")


def test_an_answer_that_sends_elsewhere_says_where() -> None:
    moved = answer("", "Location: https://there/", status="301 Moved Permanently")
    said = "is no `tuner serve`, and sends its readers to https://there/: check the address"
    with answering(moved) as (address, _), pytest.raises(Usage, match=said):
        Client(address).study("s")


def test_a_keys_line_break_is_left_out_and_odd_keys_are_not_shown() -> None:
    with answering(answer("{}")) as (address, _):
        assert Client(address, "secret\n").study("s") == {}
    for key in ("sec\nret", "secr\u00e9t"):
        with pytest.raises(Usage, match="as `tuner key create NAME` printed it") as refused:
            Client("http://127.0.0.1:9", key)
        assert key not in str(refused.value)


def stream(*events: str, ends: str = "0\r\n\r\n") -> bytes:
    """A chunked event stream, which ends as it should, or is cut off."""
    chunks = "".join(f"{len(event):x}\r\n{event}\r\n" for event in events)
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return f"{head}{chunks}{ends}".encode()


OPENING = "retry: 2000\nid: 7\n\n"
BUSY = answer('{"detail": "busy", "field": null}', "Retry-After: 0", status="503 Service Unavailable")


def test_a_stream_goes_on_from_its_opening_though_it_is_cut_refused_or_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tuner.connection.time.sleep", pauses.append)
    monkeypatch.setattr("tuner.client.random.uniform", lambda low, high: high)
    answers = (
        stream(OPENING, ends="40\r\nevent: tri"),  # within a chunk
        BUSY,
        b"",
        stream(OPENING),
        stream(OPENING, 'event: trial\nid: 8\ndata: {"number": 1}\n\n'),
        stream(OPENING, "event: deleted\ndata: {}\n\n"),
    )
    with answering(*answers) as (address, asked):
        assert list(Client(address, patience=60.0).events("s")) == [("trial", {"number": 1}), ("deleted", {})]
    places = [line.split()[1].removeprefix("/v1/studies/s/events") for line in asked]
    assert places == ["", *["?since=7"] * 4, "?since=8"]
    assert pauses == [connection.RETRY_SECONDS * factor for factor in (1, 2, 4, 8, 1)]


def test_a_server_that_tells_nothing_is_not_asked_for_ever() -> None:
    with answering(stream(OPENING)) as (address, asked), pytest.raises(Fault, match="has ended the stream: try again"):
        list(Client(address).events("s"))
    assert len(asked) == 1


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(Usage, match="which no server reads: leave them out") as refused:
        Client("http://user:pw@127.0.0.1:9")
    assert "pw" not in str(refused.value)


def test_a_newer_servers_trial_may_tell_more() -> None:
    known = [field.name for field in dataclasses.fields(Trial)]
    told = answer(json.dumps({**dict.fromkeys(known), "number": 3, "attempts": [], "newer": 1}))
    with answering(told) as (address, _):
        assert Client(address).trial("s", 3)[0].number == 3
