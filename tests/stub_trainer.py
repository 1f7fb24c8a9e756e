"""Stands in for `python -m trainers`: speaks its protocol, trains nothing. What it does is in the run's values.

`mode` of the environment variable STUB: a JSON object from trial folder name (or "*") to a behaviour.
"""

import json
import os
import signal
import sys
from pathlib import Path

PREEMPTED = 75


def say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> int:
    spec, folder = json.loads(sys.argv[3]), Path(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    starts = folder / "starts"
    starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
    behaviours = json.loads(os.environ.get("STUB", "{}"))
    behaviour = behaviours.get(folder.name, behaviours.get("*", "train"))
    print("garbage that a library prints")
    print('["not", "an", "event"]')
    say("started", sentences=1, epochs=1)
    figures = dict(distortion=1.0, rate=2.0, neg_elbo=3.0, active_units=4, seconds=0.1, objective_beta=0.5)
    say("epoch", epoch=1, epochs=1, **figures)
    if behaviour == "poor":  # epoch after epoch, until it is told to stop
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(PREEMPTED))
        say("epoch", epoch=2, epochs=9, **{**figures, "neg_elbo": 99.0})
        sys.stdin.buffer.read()
        return 1
    if (behaviour == "die once" and len(starts.read_text()) == 1) or behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "wait once" and len(starts.read_text()) == 1:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(PREEMPTED))
        sys.stdin.buffer.read()
        return 1
    if behaviour == "crash":
        raise ValueError("boom")
    if behaviour in ("nan", "oom", "disk", "input"):
        say("failed", reason=behaviour, message=f"told to end with {behaviour}.")
        return 1
    nll = None if behaviour == "null" else 10 + (spec["values"].get("r", 5) - 6) ** 2
    estimator = {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": spec["seed"], "split": "valid"}
    metrics = dict(nll=nll, nll_se=0.1, ppl=2.0, rate=0.05, distortion=1.0, neg_elbo=1.05, active_units=0, mi=0.0)
    if behaviour == "trade":
        rate = spec["values"]["r"]
        metrics |= dict(nll=100 + rate**1.5, rate=rate)
    metrics |= dict(ppl_no_end=2.1, ppl_elbo=2.2, mi_he=0.0, rate_error=None, mi_lower=None, paper_elbo=None)
    metrics |= dict(melbo=1.0, ppl_melbo=2.3)
    cost = {"tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}
    say("done", epochs=1, **cost, metrics={**metrics, "acc_gap": 0.0, "collapsed": True, "estimator": estimator})
    return 0


sys.exit(main())
