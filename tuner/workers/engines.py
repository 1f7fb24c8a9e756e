"""Engines that place workers, by name, and what a launch asks of one. Every engine runs `tuner.workers.worker.Worker`."""

import importlib.util
from dataclasses import dataclass

from tuner.errors import Usage

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Staff:
    """The workers that a study shall have."""

    engine: str = "local"
    address: str = "auto"
    """Address of the Ray cluster."""
    workers: int | None = None
    workers_per_gpu: int | None = None
    trainer_memory: float = 0.0
    """GiB of data that a trainer may have; 0: no limit."""
    threads: int | None = None
    """Threads of a trainer; None: as the environment says, else 1."""

    def check(self) -> None:
        """Refuses what cannot be.

        Raises:
            Usage: if the engine is unknown, or its package is missing.
        """
        if self.engine not in ENGINES:
            raise Usage(f"--engine {self.engine!r} is unknown: choose one of {' or '.join(ENGINES)}.")
        if self.engine == "ray" and importlib.util.find_spec("ray") is None:
            raise Usage("--engine ray needs Ray: pip install 'text-vae-tuner[ray]'.")
