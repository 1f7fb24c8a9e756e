"""Trainers that start at once: forked by a process that has loaded what they need (`python -m trainers forkserver`).

That process is started with the first trainer and ends with this one, however that ends. What it forks are processes of their
own, which it loses nothing of if it is killed: they go on, and the next trainer has a new one.
"""

import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

HEADER = 8
"""Bytes that say how long a request is."""
ANSWER = 4096
"""Largest number of bytes of an answer."""


def is_possible() -> bool:
    """True if this system has descriptors of processes (Linux from 5.3 on)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Forked:
    """A process that the fork server starts as soon as it can; as much of `subprocess.Popen` as a trainer's needs."""

    def __init__(
        self, server: "subprocess.Popen[bytes]", answers: socket.socket, stdin: IO[str], stdout: IO[str]
    ) -> None:
        self.stdin, self.stdout = stdin, stdout
        self._server, self._answers = server, answers
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._code: int | None = None

    def poll(self) -> int | None:
        """The process's exit code, or minus the signal that ended it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Waits until the process has ended; its exit code, or minus the signal that ended it.

        Args:
            timeout: in seconds.

        Raises:
            subprocess.TimeoutExpired: if it has not ended by then.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while self._code is None:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            if not _is_readable(self._answers.fileno() if self._handle is None else self._handle, left):
                raise subprocess.TimeoutExpired("trainer", timeout or 0.0)
            self._hear()
        return self._code

    def _hear(self) -> None:
        """The next answer, if there is one: that it has begun, or how it has ended."""
        with self._lock:
            if self._code is not None or not _is_readable(self._answers.fileno(), 0.0):
                return
            said, descriptors, _, _ = socket.recv_fds(self._answers, ANSWER, 1)
            if descriptors:
                (self._handle,) = descriptors
            elif said:
                self._code = int(json.loads(said)["code"])
            else:  # the server has been killed: if it had begun this one, nobody knows, and most likely by the same hand
                self._code = -signal.SIGKILL if self._handle is not None else self._server.wait()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._handle is None:
            self._hear()
        with self._lock, suppress(ProcessLookupError):
            if self._code is not None:
                return
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, number)
            elif number == signal.SIGKILL:
                self._server.kill()  # it hangs
            else:
                self.stdin.close()  # with which it ends as soon as it has begun

    def close(self) -> None:
        """Frees the descriptors of the process, which must have ended."""
        self.stdin.close()
        self.stdout.close()
        self._answers.close()
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)


def _is_readable(descriptor: int, timeout: float | None) -> bool:
    """Waits so many seconds; None: for ever."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if timeout is None else timeout * 1000))


class ForkServer:
    """Starts the trainers of one process; several threads may ask at a time.

    Args:
        command: that starts the server, and whose arguments are those of a trainer.
        environment: of the server.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.command, self.environment = command, environment
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], memory: int, errors: IO[str]) -> Forked:
        """A new trainer.

        Args:
            environment: all of its variables.
            memory: bytes of data that it may have; 0: any.
            errors: what it says on standard error goes there, and what a server says that has to be started for it.

        Raises:
            OSError: if no server can be started.
        """
        body = json.dumps({"arguments": arguments, "environment": dict(environment), "memory": memory}).encode()
        head = len(body).to_bytes(HEADER, "big")
        with self._lock:
            server, control = self._running(errors)
            stdin, to_stdin = os.pipe()
            from_stdout, stdout = os.pipe()
            answers, to_answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with suppress(ConnectionError):  # it has died just now
                socket.send_fds(control, [head], [stdin, stdout, errors.fileno(), to_answers.fileno()])
                control.sendall(body)
        os.close(stdin)
        os.close(stdout)
        to_answers.close()
        written = os.fdopen(to_stdin, "w", encoding="utf-8")
        return Forked(server, answers, written, os.fdopen(from_stdout, encoding="utf-8", errors="replace"))

    def _running(self, errors: IO[str]) -> "tuple[subprocess.Popen[bytes], socket.socket]":
        if self._server is None or self._control is None or self._server.poll() is not None:
            self._end()
            self._control, theirs = socket.socketpair()
            with theirs:
                command = [*self.command, "forkserver"]
                self._server = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
                    env=self.environment,
                )  # fmt: skip
        return self._server, self._control

    def close(self) -> None:
        """Ends the server; what it has forked goes on."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            self._server.wait()
        self._server = self._control = None
