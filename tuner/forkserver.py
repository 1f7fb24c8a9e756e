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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from tuner.errors import Fault

HEADER = 8
"""bytes that say how long a request is"""
ANSWER = 4096
"""bytes of an answer at most"""


def is_possible() -> bool:
    """Whether this system has descriptors of processes (Linux from 5.3 on)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Forked:
    """A process that the fork server has started; as much of `subprocess.Popen` as a trainer's needs.

    Raises:
        Fault: if the system has no room for another process.
    """

    def __init__(
        self, server: "subprocess.Popen[bytes]", answers: socket.socket, stdin: IO[str], stdout: IO[str]
    ) -> None:
        self.stdin, self.stdout = stdin, stdout
        self._answers, self._lock = answers, threading.Lock()
        self._handle: int | None = None
        self._code: int | None = None
        said, descriptors, _, _ = socket.recv_fds(answers, ANSWER, 1)
        if descriptors:
            (self._handle,) = descriptors
        elif said:
            self.close()
            raise Fault(f"the trainer cannot be started ({json.loads(said)['refused']}).")
        else:  # the server has died at it, as the trainer itself would have
            self._code = server.wait()

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; none while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended.

        Args:
            timeout: in seconds.

        Raises:
            subprocess.TimeoutExpired: if it has not ended by then.
        """
        if self._code is None:
            waiting = select.poll()
            assert self._handle is not None, "It is closed."
            waiting.register(self._handle, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("trainer", timeout or 0)
            with self._lock:
                if self._code is None:
                    said = self._answers.recv(ANSWER)
                    # Nobody knows if the server was killed too: most likely by the same hand.
                    self._code = int(json.loads(said)["code"]) if said else -signal.SIGKILL
        return self._code

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock, suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, number)

    def close(self) -> None:
        """Once it has ended."""
        self.stdin.close()
        self.stdout.close()
        self._answers.close()
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None


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
            OSError, Fault: if it cannot be started.
        """
        body = json.dumps({"arguments": arguments, "environment": dict(environment), "memory": memory}).encode()
        stdin, ours = os.pipe()
        theirs, stdout = os.pipe()
        mine, answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with self._lock:
                server, control = self._running(errors)
                with suppress(ConnectionError):  # it has died just now
                    socket.send_fds(
                        control, [len(body).to_bytes(HEADER, "big")], [stdin, stdout, errors.fileno(), answers.fileno()]
                    )
                    control.sendall(body)
        finally:
            os.close(stdin)
            os.close(stdout)
            answers.close()
        pipes = os.fdopen(ours, "w", encoding="utf-8"), os.fdopen(theirs, encoding="utf-8", errors="replace")
        return Forked(server, mine, *pipes)

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
