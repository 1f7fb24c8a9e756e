"""Limits of what one client may order, open and hold: work, streams, connections; and that it ends with whoever ordered it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from api_server import ROOT, application, server
from orders import hoard, wait_at
from shell import await_end, command_line, descendants, wait_for
from stub_study import SQLITE, make

import api.__main__ as program
from api import process_pool
from api.middleware import client_of
from api.process import url_of
from api.process_pool import CUSTOMER, Customer, Left, ProcessPool
from api.response_cache import ResponseCache
from api.settings import OWN_PROXIES
from trainers.errors import BadInput
from trainers.options import GROUPS, CorpusOptions, ModelOptions, build
from tuner.errors import Busy, Fault, Usage
from tuner.storage import keys
from tuner.storage.database import Database

SECONDS = 120.0
GIB = 2**30


@pytest.fixture
def shop() -> Iterator[ProcessPool]:
    opened = ProcessPool(SECONDS, GIB)
    yield opened
    opened.close()


def test_work_has_its_result_its_errors_and_limits_of_memory_and_time(shop: ProcessPool) -> None:
    assert shop.do(hoard, 10) == 10
    with pytest.raises(ZeroDivisionError):
        shop.do(divmod, 1, 0)
    with pytest.raises(Usage, match="needs more than the 1 GiB of memory that a request may order"):
        shop.do(hoard, 2 * GIB)
    assert shop.do(hoard, 10) == 10
    shop.seconds = 0.5
    with pytest.raises(Usage, match=r"longer than the 0.5 s that a request may order"):
        shop.do(time.sleep, 600)
    shop.seconds = SECONDS
    with pytest.raises(Fault, match="was killed"):
        shop.do(os.abort)


def test_work_ends_when_its_client_leaves(shop: ProcessPool, tmp_path: Path) -> None:
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def order() -> None:
        CUSTOMER.set(Customer("a", receive))
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, ordered)
            while not (tmp_path / "at work").exists():
                await anyio.sleep(0.02)
            left.set()

    def ordered() -> None:
        with pytest.raises(Left):
            shop.do(wait_at, tmp_path)

    anyio.run(order)
    await_end(int((tmp_path / "pid").read_text()))


def test_work_waits_for_its_turn_but_not_without_end(
    shop: ProcessPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / str(count) for count in range(process_pool.PROCESSES)]
    ended: list[BaseException] = []

    def busy(folder: Path) -> None:
        try:
            shop.do(wait_at, folder)
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=busy, args=(folder,)) for folder in folders]
    for folder, thread in zip(folders, threads, strict=True):
        folder.mkdir()
        thread.start()
    wait_for(lambda: all((folder / "at work").exists() for folder in folders))
    monkeypatch.setattr(process_pool, "QUEUE_SECONDS", 0.0)
    with pytest.raises(Busy, match="waited for its turn for too long"):
        shop.do(hoard, 1)
    monkeypatch.setattr(process_pool, "WAITING_EACH", 2)
    with pytest.raises(Busy, match="too much heavy work waits already"):
        shop.do(hoard, 1)
    shop.close()
    for thread in threads:
        thread.join(SECONDS)
    assert [str(error)[:22] for error in ended] == ["the server is stopping"] * len(threads)
    with pytest.raises(Busy, match="is stopping"):
        shop.do(hoard, 1)


class Asked:
    """Threads that ask for one answer, which is made once `go` is set."""

    def __init__(self, shop: ProcessPool, *made: Any) -> None:
        self.shop, self.cache, self.go = shop, ResponseCache(shop.await_other), threading.Event()
        self.made, self.making, self.heard = list(made), 0, list[Any]()

    def make(self) -> Any:
        self.making += 1
        self.go.wait(SECONDS)
        made = self.made.pop(0)
        if isinstance(made, Exception):
            raise made
        return made

    def ask(self) -> None:
        try:
            self.heard.append(self.cache.get("name", 0, self.make).body)
        except Exception as error:
            self.heard.append(error)

    def begin(self, count: int) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.ask) for _ in range(count)]
        for thread in threads:
            thread.start()
        wait_for(lambda: self.shop._ordered.total() == count - 1)
        return threads

    def end(self, threads: list[threading.Thread]) -> list[Any]:
        self.go.set()
        for thread in threads:
            thread.join(SECONDS)
        return self.heard


def test_who_waits_for_anothers_answer_is_counted_and_not_kept_for_ever(
    shop: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(shop, 1)
    threads = asked.begin(3)
    with monkeypatch.context() as patched, pytest.raises(Busy, match="too much heavy work waits already"):
        patched.setattr(process_pool, "WAITING_EACH", 2)
        asked.cache.get("name", 0, asked.make)
    with monkeypatch.context() as patched, pytest.raises(Busy, match="being made for another request"):
        patched.setattr(process_pool, "QUEUE_SECONDS", 0.0)
        asked.cache.get("name", 0, asked.make)
    assert asked.end(threads) == [b"1"] * 3
    assert (asked.making, shop._ordered.total()) == (1, 0)


def test_a_failure_is_shared_and_a_maker_who_leaves_is_followed(shop: ProcessPool) -> None:
    failed = Asked(shop, Usage("not so"), 2)
    assert [str(error) for error in failed.end(failed.begin(4))] == ["not so"] * 4
    assert failed.making == 1
    assert failed.cache.get("name", 0, failed.make).body == b"2"
    left = Asked(shop, Left(), 3)
    heard = left.end(left.begin(3))
    assert sorted(map(type, heard), key=str) == [Left, bytes, bytes]


@SQLITE
def test_a_server_whose_threads_are_all_busy_says_that_it_lives(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application(database, tmp_path, monkeypatch)

    async def asked() -> int:
        limiter = anyio.to_thread.current_default_thread_limiter()
        for _ in range(int(limiter.total_tokens)):
            await limiter.acquire_on_behalf_of(object())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            with anyio.fail_after(30):
                return (await client.get("/healthz")).status_code

    assert anyio.run(asked) == 200
    app.state.service.close()


def test_every_size_of_a_run_has_a_limit() -> None:
    for group in GROUPS:
        for name, field in group.__dataclass_fields__.items():
            if field.type is int:
                assert field.metadata["high"] is not None, name
    with pytest.raises(BadInput, match="corpus_size must be a whole number from 0 to 10,000,000"):
        build(CorpusOptions, {"corpus_size": 2**53})
    with pytest.raises(BadInput, match="d_h must be a whole number from 1 to 65,536"):
        build(ModelOptions, {"d_h": 2**40})


def trainers_of(process: subprocess.Popen[bytes]) -> list[int]:
    return [pid for pid in descendants(process.pid) if b"trainers\0--supervised" in command_line(pid)]


def sent(address: str, method: str, path: str, body: Any = None) -> socket.socket:
    """A request on its way, whose answer nobody has read."""
    host, _, port = address.removeprefix("http://").partition(":")
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    opened = socket.create_connection((host, int(port)), SECONDS)
    opened.sendall(head.encode() + b"\r\n\r\n" + content)
    return opened


def test_a_huge_order_is_refused_cancelled_and_ended_with_the_server(tmp_path: Path) -> None:
    new = {"technique": "sfb", "trials": 2}
    huge = {**new, "fixed": {"corpus_size": 10_000_000}}
    with server(f"sqlite:///{tmp_path}/t.db", tmp_path, "--work-memory", "3") as (address, process):
        refused = httpx.post(f"{address}/v1/studies", json={**new, "fixed": {"corpus_size": 2**53}}, timeout=SECONDS)
        assert (refused.status_code, refused.json()["field"]) == (422, "fixed.corpus_size")
        orders = [sent(address, "POST", "/v1/studies", huge) for _ in range(2)]
        found = wait_for(lambda: len(pids := trainers_of(process)) == 2 and pids)
        for order in orders:
            order.close()
        for trainer in found:
            await_end(trainer)
        assert httpx.get(f"{address}/v1/studies", timeout=SECONDS).json()["items"] == []
        with sent(address, "POST", "/v1/studies", huge):
            found = wait_for(lambda: trainers_of(process))
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        for trainer in found:
            await_end(trainer)


@SQLITE
def test_a_client_has_so_many_streams(database: Database, tmp_path: Path) -> None:
    make(database, tmp_path)
    key = keys.create(database, "reader", write=False)
    other = keys.create(database, "other", write=False)
    limits = ("--streams-each", "2", "--streams", "5")
    with server(database.secret_url, tmp_path, *limits) as (address, _), httpx.Client(base_url=address) as client:

        def opened(key: str, path: str) -> httpx.Response:
            request = client.build_request("GET", path, headers={"Authorization": f"Bearer {key}"}, timeout=SECONDS)
            return client.send(request, stream=True)

        mine = [opened(key, path) for path in ("/v1/events", "/v1/studies/s/events", "/v1/events")]
        assert [found.status_code for found in mine] == [200, 200, 429]
        assert "2 streams of this client are open" in json.loads(mine[2].read())["detail"]
        assert opened(other, "/v1/events").status_code == 200
        mine[0].close()
        wait_for(lambda: opened(key, "/v1/events").status_code == 200)


def test_connections_without_a_request_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "HEADER_SECONDS", 0.3)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(0.7)  # a slow answer is no silent client
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    import uvicorn

    async def session(text: bytes) -> bytes:
        server_ = uvicorn.Server(uvicorn.Config(app, http=program.Impatient, lifespan="off", log_level="error"))
        listening = program.bound("127.0.0.1", 0)
        serving = asyncio.create_task(server_.serve([listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(text)
        try:
            return await asyncio.wait_for(reader.read(), SECONDS)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()
            server_.should_exit = True
            await serving

    whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for text, answered in ((b"", 0), (whole[:-4], 0), (whole, 1), (whole + whole[:-4], 1)):
        assert asyncio.run(session(text)).count(b"HTTP/1.1 204") == answered


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.0.0.9", "1.2.3.4", "10.0.0.9"),
        ("127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4, 127.0.0.1", "1.2.3.4"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "nonsense", "nonsense"),
        ("2001:db8::1", "", "2001:db8::/64"),
        ("2001:db8::ffff:1", "", "2001:db8::/64"),
        ("::ffff:10.0.0.9", "", "10.0.0.9"),
        ("::ffff:127.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("testclient", "", "testclient"),
    ],
)
def test_whom_a_request_comes_from(peer: str, forwarded: str, found: str) -> None:
    assert client_of(peer, forwarded, OWN_PROXIES) == found


def test_a_port_that_is_in_use_is_said_before_anything_else(port: int, tmp_path: Path) -> None:
    def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TUNER_DATABASE": f"sqlite:///{tmp_path}/t.db", "PYTHONPATH": str(ROOT)}
        command = [program.sys.executable, "-m", "tuner", "serve", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    with program.bound("127.0.0.1", 0) as used:
        taken = str(used.getsockname()[1])
        for arguments, option in (
            (["--port", taken], "--port"),
            (["--port", str(port), "--optuna-port", taken], "--optuna-port"),
        ):
            done = ended(*arguments)
            assert done.returncode == 1
            assert done.stderr == (
                f"tuner: 127.0.0.1 port {taken} cannot be served at (Address already in use): name another one with {option}.\n"
            )


def test_an_address_of_six_has_brackets_before_its_port() -> None:
    assert [url_of(host, 8000) for host in ("::1", "127.0.0.1")] == ["http://[::1]:8000", "http://127.0.0.1:8000"]
