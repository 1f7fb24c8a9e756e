"""The trainer as seen from outside: a command that prints JSON lines. Nothing here imports a model."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tuner import processors
from tuner.errors import Exhausted, Fault, Unfit, Usage
from tuner.forkserver import Forked, ForkServer, is_possible
from tuner.process import PYTHON

COMMAND = (*PYTHON, "-m", "trainers")
ENDS = ("done", "failed")
"""Events that are a trainer's last."""
# GOMP_SPINCOUNT: OpenMP's threads wait for each other in a loop, by default for 300,000 rounds, which keeps the thread that they
# wait for from a processor that another program shares. After 1,000 they sleep: docs/cost.md has what that costs and saves.
# Logits are large and short-lived: glibc by default gives each back to the system, and the page faults of the next one cost
# a third of a training step on the CPU (PTB, preset small: 8.1k against 11.5k tokens/s). 4 GiB − 1 is the largest value.
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "1000",
    "MALLOC_MMAP_THRESHOLD_": "4294967295",
    "MALLOC_TRIM_THRESHOLD_": "4294967295",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Variables of a trainer's environment, unless the user's own say otherwise."""
INPUT = "-"
"""Sign in place of an argument that is the next line of standard input."""
LONGEST = 16_384
"""Largest number of letters of an argument; the system allows 131,072 bytes, and a letter of JSON may have 12."""
STOP_SECONDS = 60
"""Seconds that a trainer may take to save its checkpoint when told to stop."""


@dataclass(frozen=True)
class Slot:
    """Share of a machine that one worker's trainers may use."""

    name: str = "cpu"
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    """Bytes of data that a trainer may have; 0: no limit."""
    threads: int | None = None
    """Threads of a trainer; None: as the environment says, else 1."""


ALL = Slot()
"""A whole machine without limits."""


def _events(lines: IO[str]) -> Iterator[dict[str, Any]]:
    """The JSON lines among what a trainer prints; anything else a library prints is passed over."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def _oom_kills() -> int:
    """Processes that this system has killed for memory since it started; 0 where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def fork_server() -> ForkServer:
    """A server that starts trainers for this process's workers; it is to be closed."""
    # Without a thread and a GPU of its own, so that its children may have both.
    own = {processors.THREADS: "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    return ForkServer(COMMAND, {**ENVIRONMENT, **os.environ, **own})


class Trainer:
    """A trainer's process in a session of its own, so that Ctrl-C reaches the worker alone; it ends when the worker does.

    Args:
        log: the file for what it says beside its events.
        slot: what it may use of this machine.
        server: starts it at once; without one it is a program started anew, which loads PyTorch first.
    """

    def __init__(
        self,
        command: str,
        *arguments: object,
        log: Path | None = None,
        slot: Slot = ALL,
        server: ForkServer | None = None,
    ) -> None:
        self.log, self.told = log, False
        threads = str(processors.threads(slot.threads))
        environment = {**ENVIRONMENT, **os.environ, **slot.environment, processors.THREADS: threads}
        given = [str(argument) for argument in arguments]
        long = [argument for argument in given if len(argument) > LONGEST]
        given = [INPUT if argument in long else argument for argument in given]
        line = ["--supervised", "--threads", threads, command, *given]

        self.oom_kills = _oom_kills()
        self.process: subprocess.Popen[str] | Forked
        try:
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") if log else open(os.devnull, "w") as errors:  # noqa: PTH123
                if server is not None and is_possible():
                    self.process = server.start(line, environment, slot.memory, errors)
                else:
                    self.process = subprocess.Popen(
                        [*COMMAND, *line],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        text=True,
                        encoding="utf-8",
                        errors="replace",
                        start_new_session=True,
                        env=environment,
                    )
                    if slot.memory:
                        resource.prlimit(self.process.pid, resource.RLIMIT_DATA, (slot.memory, slot.memory))
        except OSError as error:
            raise Unfit(f"the trainer cannot be started ({error}).") from error
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; its events tell why
            for text in long:
                self.process.stdin.write(f"{text}\n")
            self.process.stdin.flush()

    def events(self) -> Iterator[dict[str, Any]]:
        """Events that the trainer reports, as they come. The last one is always `done` or `failed`."""
        assert self.process.stdout is not None
        for event in _events(self.process.stdout):
            yield event
            if event["event"] in ENDS:
                self.process.wait()
                return
        code = self.process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            if code == -signal.SIGKILL and _oom_kills() > self.oom_kills:
                message = (
                    "the system ran out of memory and killed the trainer; fewer workers or a smaller batch_size help."
                )
                yield {"event": "failed", "reason": "oom", "message": message}
            else:
                yield {"event": "failed", "reason": "lost", "message": f"the trainer was killed by {name}."}
        else:
            yield {
                "event": "failed",
                "reason": "error",
                "message": f"the trainer ended with code {code}: {self._last_error()}",
            }

    def _last_error(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n") if self.log else []
        said = [line.strip() for line in lines if line.strip()]
        return f"{said[-1]} (the run's trainer.log has all of it)" if said else "it said nothing."

    def tell_to_stop(self) -> None:
        """Tells the trainer, once, to save its checkpoint and end."""
        if not self.told:
            self.told = True
            self.process.terminate()

    def stop(self) -> None:
        """Tells the trainer to save its checkpoint and end; kills it if it does not."""
        self.tell_to_stop()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        if isinstance(self.process, Forked):
            self.process.close()


def ask(
    command: str,
    *arguments: object,
    log: Path | None = None,
    slot: Slot = ALL,
    hear: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Runs a trainer's command to its end, and returns its answer.

    Args:
        log: the file for what it says beside its events.
        slot: what it may use of this machine.
        hear: hears its events as they come, but the last one, which is the answer.

    Raises:
        Usage: if the trainer refuses its input.
        Fault: if it fails.
    """
    with Trainer(command, *arguments, log=log, slot=slot) as trainer:
        last: dict[str, Any] = {}
        for last in trainer.events():
            if last["event"] not in ENDS:
                hear(last)
    return answer(last)


def answer(event: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a last event, or its failure raised."""
    if event["event"] == "done":
        return {key: value for key, value in event.items() if key != "event"}
    if event["reason"] == "input":
        raise Usage(event["message"])
    raise (Exhausted if event["reason"] == "oom" else Fault)(event["message"])


def check(spec: Mapping[str, Any], corners: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Has the trainer look at a run's specification, with its values changed by each of `corners`; describes the corpus."""
    return ask("check", json.dumps(spec), json.dumps(corners))
