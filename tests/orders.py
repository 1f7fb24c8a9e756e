"""Work that a server's processes are ordered to do in the tests; they import this module and nothing heavy."""

import os
import threading
from pathlib import Path


def hoard(size: int) -> int:
    return len(b"x" * size)


def wait_at(folder: Path) -> None:
    """Says whose it is, and never ends."""
    (folder / "pid").write_text(str(os.getpid()))
    (folder / "at work").touch()
    threading.Event().wait()
