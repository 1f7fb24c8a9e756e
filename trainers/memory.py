"""Memory that is given back and asked for again with every batch stays with the process.

glibc hands blocks of more than 32 MB (a batch's logits) back to the system at once, which clears every page of the next one:
a third of a training step with a large vocabulary. A trainer's process ends with its trial, and its memory with it.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def keep(limit: int = LARGEST) -> None:
    """Keeps freed blocks of up to so many bytes; nothing where the C library is another one."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, limit)
        mallopt(M_TRIM_THRESHOLD, limit)
