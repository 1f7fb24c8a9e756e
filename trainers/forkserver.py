"""A process that has imported PyTorch and forks a trainer for each request, so that no trainer waits for imports.

Its standard input is a Unix socket, with which it ends. A request is 8 bytes, the length of what follows, and a JSON object:
{"arguments": ["train", …], "environment": {…}, "memory": bytes of data it may have, 0: any}. Four descriptors come along: the
trainer's standard input, output and error, and a socket for two answers, a JSON object each: {"pid": 7}, with a descriptor of
that process, then {"code": 0}, its exit code, or minus the signal that ended it.

Every trainer is a process and a session of its own: what it does to its memory, its environment, its signals or a GPU ends with
it. It goes on if this process is killed. Nothing here may start a thread or use a GPU: neither outlives a fork.
"""

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

HEADER = 8


@dataclass(frozen=True)
class _Child:
    pid: int
    handle: int
    """Descriptor of the process."""
    answers: socket.socket

    def close(self) -> None:
        os.close(self.handle)
        self.answers.close()

    def bury(self) -> None:
        """Tells how the child has ended, once it has."""
        _, status = os.waitpid(self.pid, 0)
        _answer(self.answers, {"code": os.waitstatus_to_exitcode(status)})
        self.close()


def end(run: Callable[[], int]) -> NoReturn:
    """Runs to the end, and ends the process with its exit code, at once: the interpreter takes 0.3 s to put PyTorch away."""
    code = 1
    try:
        code = run()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def serve(run: Callable[[], int]) -> None:
    """Forks a process that runs `run` for each request, until there can be no more.

    Args:
        run: finds its arguments in sys.argv, and returns its exit code.
    """
    control = socket.socket(fileno=os.dup(0))
    _replace({0: os.open(os.devnull, os.O_RDONLY)})
    gc.collect()
    gc.freeze()  # a child's collections would copy what it touches of the memory that all share
    children: dict[int, _Child] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in children:
                poll.unregister(descriptor)
                children.pop(descriptor).bury()
                continue
            try:
                request, standard, answers = _receive(control)
            except (EOFError, ConnectionError):
                return
            try:
                pid = os.fork()
            except OSError as error:  # no room for it: as if it had been killed at once
                os.write(standard[2], f"{error}\n".encode())
                _answer(answers, {"code": -signal.SIGKILL})
                answers.close()
            else:
                if pid == 0:
                    control.close()
                    answers.close()
                    for other in children.values():
                        other.close()
                    _become(request, standard)
                    end(run)
                child = _Child(pid, os.pidfd_open(pid), answers)
                children[child.handle] = child
                poll.register(child.handle, select.POLLIN)
                _answer(answers, {"pid": pid}, child.handle)
            for one in standard:
                os.close(one)


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int], socket.socket]:
    """The next request, the three standard descriptors and the socket for the answers.

    Raises:
        EOFError, ConnectionError: if the other end has gone.
    """
    head, descriptors, _, _ = socket.recv_fds(control, HEADER, 4)  # they come with the first byte
    if not head:
        raise EOFError
    length = int.from_bytes(head + _read(control, HEADER - len(head)), "big")
    *standard, answers = descriptors
    return json.loads(_read(control, length)), standard, socket.socket(fileno=answers)


def _read(control: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = control.recv(length - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def _answer(answers: socket.socket, facts: dict[str, Any], *descriptors: int) -> None:
    """Sends an answer. If the asker has gone, nobody need know."""
    with suppress(OSError):
        socket.send_fds(answers, [json.dumps(facts).encode()], descriptors)


def _become(request: dict[str, Any], standard: list[int]) -> None:
    """Gives the child what a process started for this request alone would have."""
    os.setsid()
    _replace(dict(enumerate(standard)))
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["memory"]:
        # Data, not address space: CUDA reserves far more of that than it uses.
        resource.setrlimit(resource.RLIMIT_DATA, (request["memory"],) * 2)
    sys.argv[1:] = request["arguments"]


def _replace(descriptors: dict[int, int]) -> None:
    for number, descriptor in descriptors.items():
        os.dup2(descriptor, number)
        os.close(descriptor)
