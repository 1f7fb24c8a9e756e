"""Processes beside the server for what loads Optuna's samplers, scipy or torch, or thinks for seconds: new studies, proposals,
importances, exports. The server stays small and quick.

A request may order any work, so all work is bounded: its time, its memory (its trainers' too), how much of it waits, and how much
of that for one client. It ends when the client that ordered it leaves, and with the server.
"""

import logging
import multiprocessing
import os
import pickle
import queue
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeVar

import anyio
from starlette.types import Receive

from tuner.errors import Busy, Exhausted, Fault, Usage

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("tuner.api")
PROCESSES = 2
THREADS = 80
"""Number of the server's threads that answer requests."""
WAITING = 48
"""Largest number of requests that work, wait for their turn, or wait for what another one has ordered; more are refused, since
each holds a thread.
"""
WAITING_EACH = 32
"""Largest number of requests of one client among them."""
QUEUE_SECONDS = 30.0
"""Seconds for which a work waits for its turn, or a request for what another one has ordered."""
LOOK_SECONDS = 0.2
"""Seconds between looks at whether the work's client is still there."""


@dataclass(frozen=True)
class Customer:
    """Client whose request orders work."""

    name: str
    receive: Receive

    async def _has_left(self) -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()  # only what is known already
            return bool((await self.receive())["type"] == "http.disconnect")
        return False

    def has_left(self) -> bool:
        """Tells if the client has closed its connection. It is asked in the thread that answers the request."""
        return anyio.from_thread.run(self._has_left)


CUSTOMER: ContextVar[Customer | None] = ContextVar("customer", default=None)
"""Customer of the request at hand; None for work that is ordered otherwise."""


class Left(Exception):
    """The client has gone, so nobody waits for the answer."""


def _serve(connection: Connection, memory: int) -> None:
    """Does the server's work in the new process. It ignores the signals that stop the server, and ends with the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))  # its trainers inherit it
    while True:
        try:
            work, args, kwargs = connection.recv()
        except EOFError:
            return
        try:
            answer = pickle.dumps((work(*args, **kwargs), None))
        except BaseException as error:
            answer = pickle.dumps((None, error))
        connection.send_bytes(answer)


class _Bench:
    """A process that does one work after another; it starts with its first."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._process: BaseProcess | None = None
        self._end: Connection | None = None

    def do(self, work: Callable[..., Any], args: Any, kwargs: Any, look: Callable[[], None]) -> Any:
        """The result; `look` is called meanwhile, and what it raises ends the process."""
        end = self._begun()
        try:
            end.send((work, args, kwargs))
            while not end.poll(LOOK_SECONDS):
                look()
            result, error = pickle.loads(end.recv_bytes())
        except BaseException:  # whatever ended the waiting: what it does, nobody waits for
            self.close()
            raise
        if isinstance(error, MemoryError):
            self.close()  # it holds what it has taken
        if error is not None:
            raise error
        return result

    def _begun(self) -> Connection:
        if self._end is None or self._process is None or not self._process.is_alive():
            self.close()
            spawn = multiprocessing.get_context("spawn")
            self._end, other = spawn.Pipe()
            self._process = spawn.Process(target=_serve, args=(other, self.memory), daemon=True)
            self._process.start()
            other.close()
        return self._end

    def kill(self) -> None:
        """Ends the process, whatever it does; its trainers end with it."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process and lets go of it. Only the thread that holds the bench may call it."""
        self.kill()
        if self._process is not None:
            self._process.join()
        if self._end is not None:
            self._end.close()
        self._process = self._end = None


class ProcessPool:
    """
    Args:
        seconds: that a work may take.
        memory: bytes of data that a process at work, or one of its trainers, may have.
    """

    def __init__(self, seconds: float, memory: int) -> None:
        self.seconds, self.memory = seconds, memory
        self._benches = [_Bench(memory) for _ in range(PROCESSES)]
        self._free: queue.LifoQueue[_Bench] = queue.LifoQueue()
        for bench in self._benches:
            self._free.put(bench)
        self._lock = threading.Lock()
        self._ordered: Counter[str] = Counter()
        self._closed = False

    def do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of `work`, a function of a module with arguments that can be pickled; its errors are raised here.

        Raises:
            Busy: if too much waits already, for too long, or the server stops.
            Usage: if it takes more time or memory than it may.
            Fault: if its process was killed.
            Left: if the client that ordered it has gone.
        """
        customer = CUSTOMER.get()
        began = time.monotonic()

        def look() -> None:
            if self._closed:
                raise Busy("the server is stopping: ask again in a moment.")
            if customer is not None and customer.has_left():
                raise Left
            if time.monotonic() - began > self.seconds:
                raise Usage(
                    f"this took longer than the {self.seconds:g} s that a request may order: ask for less at a time, or "
                    "again when the machine does less else."
                )

        with self._place(customer.name if customer else ""), self._turn(look) as bench:
            began = time.monotonic()
            try:
                result: R = bench.do(work, args, kwargs, look)
            except (MemoryError, Exhausted) as error:
                raise Usage(
                    f"this needs more than the {self.memory / 2**30:g} GiB of memory that a request may order: ask for less."
                ) from error
            except (EOFError, OSError) as error:
                if self._closed:
                    raise Busy("the server is stopping: ask again in a moment.") from error
                raise Fault("the process that does the heavy work was killed, perhaps for memory.") from error
            return result

    def await_other(self, ordered: Future[Any]) -> None:
        """Waits until what another request has ordered is there, or has failed.

        Raises:
            Busy: if too much waits already, or it takes too long.
            Left: if the client that waits has gone.
        """
        customer, until = CUSTOMER.get(), time.monotonic() + QUEUE_SECONDS
        with self._place(customer.name if customer else ""):
            while not wait([ordered], LOOK_SECONDS).done:
                if customer is not None and customer.has_left():
                    raise Left
                if time.monotonic() > until:
                    raise Busy("this answer is being made for another request, and takes long: try again in a moment.")

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        with self._lock:
            if self._ordered.total() >= WAITING or self._ordered[client] >= WAITING_EACH:
                raise Busy("too much heavy work waits already: try again in a moment.")
            self._ordered[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._ordered[client] -= 1
                self._ordered += Counter()  # forgets those that order nothing

    @contextmanager
    def _turn(self, look: Callable[[], None]) -> Iterator[_Bench]:
        until = time.monotonic() + QUEUE_SECONDS
        while True:
            look()
            try:
                bench = self._free.get(timeout=LOOK_SECONDS)
                break
            except queue.Empty:
                if time.monotonic() > until:
                    raise Busy("heavy work has waited for its turn for too long: try again in a moment.") from None
        try:
            look()
            yield bench
        finally:
            self._free.put(bench)

    def close(self) -> None:
        """Ends what is under way."""
        self._closed = True
        for bench in self._benches:
            bench.kill()
