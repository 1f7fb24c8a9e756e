"""A whole study's trials an hour on this machine, and where a trial's time goes.

    python -m benchmarks.trial_cost --trials 4 --set nll=tempered
    python -m benchmarks.trial_cost --trials 4 --set nll=tempered --busy 1

Runs the same study (fixed hyperparameters, so that all do the same work) three times: as `tuner launch` does by itself, one
worker with one thread; one worker with all processors as its threads, which is what one would run first; and a worker a processor
with one thread each. Prints one JSON object: trials an hour of each, and of a trial's seconds those of set-up, training and
evaluation; the rest is the service's own. --busy has another program keep so many processors busy meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tuner import processors


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keeps so many processors busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def study(workers: int, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """A study from nothing, in a folder of its own."""
    folder = tempfile.mkdtemp()
    command = [
        sys.executable,
        "-m",
        "tuner",
        "launch",
        "--technique",
        arguments.technique,
        "--corpus",
        arguments.corpus,
    ]
    command += ["--model", arguments.model, "--trials", str(arguments.trials), "--sampler", "random", "--json"]
    command += ["--workers", str(workers), "--threads", str(threads), "--runs", folder]
    command += [part for pair in arguments.set for part in ("--set", pair)]
    environment = {**os.environ, "TUNER_DATABASE": f"sqlite:///{folder}/t.db"}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    trials = json.loads(done.stdout)["trials"]
    parts = {
        part: round(statistics.mean(trial["cost"]["seconds"][part] for trial in trials), 2)
        for part in ("set_up", "training", "evaluation")
    }
    whole = statistics.mean(trial["seconds"] for trial in trials)
    return {
        "workers": workers, "threads": threads, "seconds": round(seconds, 1),
        "trials_per_hour": round(3600 * len(trials) / seconds, 1),
        "trial": {**parts, "other": round(whole - sum(parts.values()), 2)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--technique", default="vanilla")
    parser.add_argument("--corpus", default="grammar")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--busy", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    have = processors.usable()
    with busy(arguments.busy):
        found = {
            "default": study(1, 1, arguments),
            "threads": study(1, have, arguments),
            "workers": study(have, 1, arguments),
        }
    ratio = round(found["workers"]["trials_per_hour"] / found["threads"]["trials_per_hour"], 2)
    print(json.dumps({**vars(arguments), "processors": have, **found, "ratio": ratio}))


if __name__ == "__main__":
    main()
