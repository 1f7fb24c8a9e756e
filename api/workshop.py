"""A process beside the server for what loads Optuna's samplers, scipy or torch, or thinks for seconds: new studies, proposals,
importances, exports. The server stays small and quick."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from tuner.errors import Fault

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("tuner.api")
PROCESSES = 2
WAITING = 8
"""works under way or waiting; more are refused, since each holds one of the server's threads"""


def _begin() -> None:
    """In the new process: it is the server that is told to stop, and without the server there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Workshop:
    """Starts with the first work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._places = threading.BoundedSemaphore(WAITING)

    def do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of `work`, a function of a module with arguments that can be pickled; its errors are raised here.

        Raises:
            Fault: if the process was killed at it, or too much waits already.
        """
        if not self._places.acquire(blocking=False):
            raise Fault("too much heavy work waits already.")
        try:
            return self._do(work, *args, **kwargs)
        finally:
            self._places.release()

    def _do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            if self._pool is None:
                spawn = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(PROCESSES, spawn, _begin)
            pool = self._pool
        try:
            return pool.submit(work, *args, **kwargs).result()
        except BrokenProcessPool as error:
            with self._lock:
                if self._pool is pool:
                    self._pool = None
            raise Fault("the process that does the heavy work was killed, perhaps for memory.") from error

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None
