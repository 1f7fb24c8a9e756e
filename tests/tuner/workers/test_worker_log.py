"""Log of `tuner worker`: all that happens to an attempt, and of its progress no more than one wants to read."""

import json

import pytest

from tuner.commands import worker_log
from tuner.commands.worker_log import WorkerLog
from tuner.workers.claims import Claim


def claim(number: int) -> Claim:
    return Claim("s", number, {}, f"{number:032x}", 0, None, 0.0, 0.0, {}, {})


def progress(phase: str, done: int) -> dict[str, object]:
    return {"event": "progress", "phase": phase, "done": done, "of": 99}


def test_progress_is_said_when_a_phase_begins_and_once_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(worker_log.time, "monotonic", lambda: now[0])
    log, one, other = WorkerLog(as_json=True), claim(1), claim(2)
    log.hear("claimed", one, {"params": {}})
    log.hear("claimed", other, {"params": {}})
    for second in range(0, 200, 2):
        now[0] = float(second)
        log.hear("progress", one, progress("training" if second < 100 else "evaluation", second))
    log.hear("progress", other, progress("training", 0))
    log.hear("epoch", one, {"epoch": 1})
    log.hear("epoch", one, {"epoch": 2})
    now[0] += 59.0
    log.hear("progress", one, progress("evaluation", 98))
    log.hear("complete", one, {"metrics": {"nll": 1.0, "ppl": 2.0, "rate": 3.0, "se": 4.0}})
    assert not log._last.keys() & {one.token}
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["trial"], line["event"], line.get("done")) for line in lines] == [
        (1, "claimed", None), (2, "claimed", None), (1, "progress", 0), (1, "progress", 60), (1, "progress", 100),
        (1, "progress", 160), (2, "progress", 0), (1, "epoch", None), (1, "epoch", None), (1, "complete", None),
    ]  # fmt: skip
    assert lines[-1].keys() >= {"time", "study", "attempt", "nll", "ppl", "rate"}
