"""Stands in for `python -m trainers`: speaks its protocol, trains nothing.

What it does is in the environment variable STUB: a JSON object from trial number (or "*") to a behaviour. Its checkpoint is a
text with one letter for each start, so that a test can see what was handed on.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from trainers import forkserver
from trainers.contract import PREEMPTED
from tuner.metrics import METRICS


def say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> int:
    spec, folder = json.loads(sys.argv[-2]), Path(sys.argv[-1])
    folder.mkdir(parents=True, exist_ok=True)
    behaviours = json.loads(os.environ.get("STUB", "{}"))
    behaviour = behaviours.get(folder.name.split("-")[-2].lstrip("0") or "0", behaviours.get("*", "train"))
    if (folder / "result.json").exists():  # as a trainer does that finds its run finished
        say("done", **json.loads((folder / "result.json").read_text())["done"])
        return 0
    # Before the first word, as a worker may answer it by a signal.
    signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "hang" else lambda *_: sys.exit(PREEMPTED))
    checkpoint = folder / "latest.safetensors"
    starts = (checkpoint.read_text() if checkpoint.exists() else "") + "x"
    (folder / "partial").write_text(starts)
    (folder / "partial").replace(checkpoint)
    print("garbage that a library prints")
    print('["not", "an", "event"]')
    say("started", sentences=1, epochs=1)
    figures = {
        "distortion": 1.0,
        "rate": 2.0,
        "neg_elbo": 3.0,
        "active_units": 4,
        "seconds": 0.1,
        "objective_beta": 0.5,
    }
    say("epoch", epoch=1, epochs=1, **figures)
    if behaviour == "poor":  # epoch after epoch, until it is told to stop
        say("epoch", epoch=2, epochs=9, **{**figures, "neg_elbo": 99.0})
        sys.stdin.buffer.read()
        return 1
    if behaviour == "late":  # its schedule pays at its end alone
        say("epoch", epoch=2, epochs=9, settled=False, **{**figures, "neg_elbo": 99.0})
    if behaviour == "die" or (behaviour == "die once" and starts == "x"):
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "hang":  # deaf to being told to stop
        while True:
            time.sleep(60)
    if behaviour == "wait" or (behaviour == "wait once" and starts == "x"):
        sys.stdin.buffer.read()
        return 1
    if behaviour == "crash":
        raise ValueError("boom")
    if behaviour == "eat memory":
        hoard = []
        while True:
            hoard.append(bytearray(2**24))
    if behaviour == "garbage":
        sys.stdout.buffer.write(bytes(range(256)) * 4096 + b'\n{"event": ')
        sys.stdout.flush()
        return 0
    if behaviour == "half":
        say("done")
        return 0
    if behaviour in ("nan", "oom", "disk", "input"):
        say("failed", reason=behaviour, message=f"told to end with {behaviour}.")
        return 1
    if behaviour.startswith("sleep "):
        time.sleep(float(behaviour.split()[1]))
    nll = None if behaviour == "null" else 10 + (spec["values"].get("r", 5) - 6) ** 2
    estimator = {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": spec["seed"], "split": "valid"}
    metrics = {
        "nll": nll,
        "nll_se": 0.1,
        "ppl": 2.0,
        "rate": 0.05,
        "distortion": 1.0,
        "neg_elbo": 1.05,
        "active_units": 0,
    }
    if behaviour == "trade":
        rate = spec["values"]["r"]
        metrics |= {"nll": 100 + rate**1.5, "rate": rate}
    if behaviour == "no rate":
        metrics["rate"] = None
    metrics |= {
        "ppl_no_end": 2.1,
        "ppl_elbo": 2.2,
        "mi": 0.0,
        "mi_he": 0.0,
        "melbo": 1.0,
        "ppl_melbo": 2.3,
        "acc_gap": 0.0,
    }
    metrics = {**dict.fromkeys(METRICS), **metrics, "collapsed": True, "estimator": estimator}
    if spec["values"].get("test"):
        metrics["test"] = {**metrics, "estimator": {**estimator, "split": "test"}}
    cost = {"tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}
    found = {"epochs": 1, **cost, "metrics": metrics}
    (folder / "result.json").write_text(json.dumps({"starts": starts, "done": found}))
    say("done", **found)
    return 0


def guarded() -> int:
    try:
        return main()
    except MemoryError:
        say("failed", reason="oom", message="out of memory.")
        return 1


if sys.argv[1] == "forkserver":
    forkserver.serve(guarded)
else:
    forkserver.end(guarded)
