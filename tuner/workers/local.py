"""Workers of this machine: a thread each, as all they do is wait for their trainers, which are processes."""

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tuner import processors
from tuner.errors import Interrupted, Usage
from tuner.numbers import GIB
from tuner.process import HOST, PLACE
from tuner.trainer import Slot, fork_server
from tuner.workers.claims import Broker
from tuner.workers.gpu import VISIBLE
from tuner.workers.worker import Listen, Worker


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()


def slots(workers: int | None, per_gpu: int | None, memory: float = 0.0, threads: int | None = None) -> list[Slot]:
    """Shares of this machine that each worker may use: of a GPU, or threads.

    Args:
        workers: how many; None: as many as `per_gpu` a GPU, or 1 without a GPU.
        per_gpu: workers that share a GPU; None: 1.
        memory: GiB of data a trainer may have; 0: no limit.
        threads: of each trainer; None: as the environment says, else 1.

    Raises:
        Usage: if there is no GPU to share.
    """
    cards = gpus()
    if per_gpu is not None and not cards:
        raise Usage(f"--workers-per-gpu {per_gpu} needs a GPU and there is none here: use --workers.")
    count = workers if workers is not None else max(len(cards) * (per_gpu or 1), 1)
    limit, each = int(memory * GIB), processors.threads(threads)
    if not cards:
        return [Slot("cpu", {}, limit, each)] * count
    return [
        Slot(f"cuda:{card}", {VISIBLE: card}, limit, each) for card in (cards[n % len(cards)] for n in range(count))
    ]


def idle(places: Sequence[Slot], left: int) -> str | None:
    """A sentence that tells how many trials more workers would train at a time, if these leave processors of this machine.

    Args:
        places: of the workers that there are.
        left: trials that are not done.
    """
    if not places or any(place.name != "cpu" for place in places):
        return None
    have, each = processors.usable(), processors.threads(places[0].threads)
    spare = have - len(places) * each
    more = min(len(places) + spare // each, left)
    if more <= len(places):
        return None
    return f"the workers use {have - spare} of {have} processors: --workers {more} would train {more} trials at a time"


def run(
    broker: Callable[[str], Broker],
    name: str | None,
    places: Sequence[Slot],
    work: Path,
    listen: Listen,
    job: Callable[[Worker], None],
    warn: Callable[[str], None] = lambda _: None,
) -> None:
    """Has a worker for each place do the job; returns when all have.

    Args:
        broker: of the worker of a name.
        name: theirs, with a number if there are several; None: the machine's, the process's and its place's.
        warn: hears sentences about what is no trial's.

    Raises:
        Interrupted: after all have handed back what they had, if this process is told to stop.
        Exception: the first one that a worker met; the others have handed back what they had.
    """
    base = name or f"{HOST}-{os.getpid()}-{PLACE[:4]}".rstrip("-")
    server = fork_server()
    workers = [
        Worker(broker(base if len(places) == 1 else f"{base}-{n}"), work, listen, place, server, warn)
        for n, place in enumerate(places)
    ]
    failures: list[BaseException] = []
    # Not Thread.join: an exception out of a signal's handler makes it take a living thread for dead.
    ended = {worker: threading.Event() for worker in workers}

    def live(worker: Worker) -> None:
        try:
            with worker:
                job(worker)
        except BaseException as error:
            failures.append(error)
            for other in workers:
                other.stop("user", "another worker of this process met a fault.")
        finally:
            ended[worker].set()

    for worker in workers:
        threading.Thread(target=live, args=(worker,), name=worker.name).start()
    try:
        for event in ended.values():
            event.wait()
    except (Interrupted, KeyboardInterrupt) as interrupted:  # the latter is Ray's
        why = interrupted.why if isinstance(interrupted, Interrupted) else Interrupted().why
        for worker in workers:
            worker.stop(*why)
        for event in ended.values():
            event.wait()
        if not failures:
            raise
    finally:
        server.close()
    if failures:
        raise failures[0]
