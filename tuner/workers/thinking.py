"""Work that may take for ever, such as a user's own sampler, done in a thread that can be left."""

import ctypes
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tuner.errors import Fault, Interrupted

R = TypeVar("R")
LOOK_SECONDS = 0.5
"""Seconds between looks at whether the answer is still wanted."""


class _Left(BaseException):
    """Raised in a thread whose answer nobody waits for any more."""


class Thinking:
    """One thing at a time: what has been left and goes on, deaf to being told to end, is not begun again beside itself."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], R], seconds: float, over: threading.Event) -> R:
        """The work's result; what it raises is raised here.

        Raises:
            Fault: if it takes longer, or an earlier one still goes on.
            Interrupted: if `over` is set meanwhile.
        """
        if self._thread is not None and self._thread.is_alive():
            _end(self._thread)  # what it was told first may have been swallowed
            raise Fault(f"it still thinks, after more than {seconds:g} s")
        found: list[R] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                found.append(work())
            except BaseException as error:
                raised.append(error)

        thread = self._thread = threading.Thread(target=run, name="thinking", daemon=True)
        thread.start()
        left = seconds
        while thread.is_alive() and left > 0 and not over.is_set():
            thread.join(min(left, LOOK_SECONDS))
            left -= LOOK_SECONDS
        if thread.is_alive():
            _end(thread)
            raise Interrupted if over.is_set() else Fault(f"it has thought for longer than {seconds:g} s")
        if raised:
            raise raised[0]
        return found[0]


def _end(thread: threading.Thread) -> None:
    """Ends a thread at its next Python instruction; a thread that hangs elsewhere goes on, and ends with the program."""
    identity: Any = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(_Left))
