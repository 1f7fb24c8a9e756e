"""A card's load, as `nvidia-smi` tells it: without torch, and nothing is asked where there is no card."""

import os
import subprocess
import time
from contextlib import suppress
from typing import TypedDict

from tuner.trainer import Slot

VISIBLE = "CUDA_VISIBLE_DEVICES"
ASKED = "utilization.gpu,memory.used,memory.total"
ANSWER_SECONDS = 5.0
"""The time for which an answer is waited for: a beat of a lease must not wait for longer."""
AGAIN_SECONDS = 300.0
"""The time after a failure for which nothing is asked."""
MIB = 2**20


class Load(TypedDict):
    """A card's load, all programs together; what the card does not tell is null."""

    use: float | None
    """Use of the card in percent."""
    memory_used: int | None
    """Memory in use, in bytes."""
    memory_total: int | None
    """Memory of the card, in bytes."""


class Gauge:
    """Reads the load of the card that a worker's trainers have."""

    def __init__(self, slot: Slot) -> None:
        self.card = slot.environment.get(VISIBLE, os.environ.get(VISIBLE, "")).split(",")[0].strip()
        self._rests_until = 0.0

    def read(self) -> Load | None:
        """The load now; None without a card, or where it cannot be told."""
        if self.card in ("", "-1") or time.monotonic() < self._rests_until:
            return None
        command = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader,nounits", f"--id={self.card}"]
        with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
            told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS)
            use, used, total = (_number(part) for part in told.stdout.splitlines()[0].split(","))
            return Load(use=use, memory_used=_bytes(used), memory_total=_bytes(total))
        self._rests_until = time.monotonic() + AGAIN_SECONDS
        return None


def _number(text: str) -> float | None:
    """A figure; None for one that this card does not tell, such as the use of a part of it."""
    return None if text.strip().startswith("[") else float(text)


def _bytes(mebibytes: float | None) -> int | None:
    return None if mebibytes is None else int(mebibytes * MIB)
