"""Sentences of a launch about its progress."""

import re
from pathlib import Path

import pytest
from stub_study import SQLITE, make

from tuner.commands.progress import Progress
from tuner.storage.database import Database


def end(progress: Progress, trial: int, nll: float, rate: float) -> None:
    metrics = {"nll": nll, "ppl": 2.0, "rate": rate, "active_units": 8, "collapsed": rate < 0.2}
    progress("complete", trial, {"metrics": metrics, "epochs": 3})


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


@SQLITE
def test_the_best_so_far_is_the_one_that_the_study_ranks_first(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress.of(make(database, tmp_path, min_rate=2.0), workers=1)
    end(progress, 0, nll=117.0, rate=3.6)
    end(progress, 1, nll=116.4, rate=0.1)  # collapsed: 1.9 nats are added
    assert "2 of 3 done, best NLL 117" in last_line(capsys)
    progress("progress", 2, {"epoch": 0.5, "epochs": 3})
    end(progress, 2, nll=116.9, rate=2.0)
    assert "3 of 3 done, best NLL 116.9" in last_line(capsys)


@SQLITE
def test_the_best_so_far_is_named_by_what_it_is_judged_by(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress.of(make(database, tmp_path, objective="melbo"), workers=1)
    for trial, (nll, melbo) in enumerate(((112.0, 44.25), (45.0, 44.5))):
        metrics = {"nll": nll, "ppl": 2.0, "rate": 5.0, "active_units": 8, "melbo": melbo}
        progress("complete", trial, {"metrics": metrics, "epochs": 3})
    assert "2 of 3 done, lowest MELBO 44.25" in last_line(capsys)


def test_one_run_is_its_own_best(capsys: pytest.CaptureFixture[str]) -> None:
    end(Progress(1), 0, nll=15.0, rate=1.0)
    assert "1 of 1 done, lowest NLL 15" in last_line(capsys)


class Clock:
    """Time as a test has it pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("tuner.commands.progress.time", made)
    monkeypatch.setattr("tuner.commands.progress.PIPE_SECONDS", -1.0)  # every line is said
    return made


def seconds_left(line: str) -> float | None:
    found = re.search(r"(?:about|more than) (?:(\d+) s|(\d+):(\d\d) min|(\d+):(\d\d) h) left", line)
    if found is None:
        return None
    numbers = [int(part or 0) for part in found.groups()]
    return numbers[0] + 60 * numbers[1] + numbers[2] + 3600 * numbers[3] + 60 * numbers[4]


def test_the_time_left_never_grows_and_phases_are_named(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(3)
    lines = []

    def tell(event: str, trial: int, after: float, **facts: object) -> None:
        clock.now += after
        progress(event, trial, facts)
        lines.extend(capsys.readouterr().err.splitlines())

    for trial, pace in enumerate((10.0, 30.0, 12.0)):  # the second trial is slower than the first let expect
        tell("claimed", trial, 1.0, params={}, seconds=0.0)
        tell("progress", trial, pace / 2, phase="training", epoch=0.5, epochs=4)
        for epoch in range(1, 5):
            tell("epoch", trial, pace / 2 if epoch == 1 else pace, epoch=epoch, epochs=4, distortion=10.0, rate=2.0)
        for part in range(2):
            for share in range(1, 6):
                tell("progress", trial, 3.0, phase="evaluation", done=20 * share, of=100, epoch=4, epochs=4)
                assert f"evaluation{', part 2' if part else ''} {20 * share} %" in lines[-1]
        metrics = {"nll": 15.0, "ppl": 2.0, "rate": 1.0, "active_units": 8, "collapsed": False}
        tell("complete", trial, 1.0, metrics=metrics, epochs=4)
    assert "50 % of epoch 1/4" in lines[1]
    told = [left for line in lines if (left := seconds_left(line)) is not None]
    assert len(told) > 15
    assert told == sorted(told, reverse=True)
    assert any("more than" in line for line in lines)
    assert seconds_left(lines[-1]) is None


def test_a_steady_launch_tells_what_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(4, workers=1)
    for trial in range(4):
        progress("claimed", trial, {"params": {}, "seconds": 0.0})
        clock.now += 60
        end(progress, trial, nll=15.0, rate=1.0)
        line = last_line(capsys)
        assert seconds_left(line) == (None if trial == 3 else 60 * (3 - trial))
        assert "more than" not in line


def test_no_time_that_is_left_is_below_none(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1)
    progress("claimed", 0, {"params": {}, "seconds": 0.0})
    for now, share in ((10.0, 0.5), (60.0, 0.99)):  # 10 s were told to be left, and 50 s later it is all but done
        clock.now = now
        progress("progress", 0, {"epoch": share, "epochs": 1})
    lines = capsys.readouterr().err.splitlines()
    assert "about 10 s left" in lines[-2]
    assert lines[-1].endswith("longer than it seemed")


def test_a_trial_that_is_resumed_has_its_own_pace_and_all_of_its_time(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(1)
    progress("claimed", 0, {"params": {}, "seconds": 3000.0})
    progress("progress", 0, {"epoch": 31.54, "epochs": 100})
    assert last_line(capsys).endswith("trial 0: 54 % of epoch 32/100")  # how fast it is, nothing has told yet
    for clock.now, epoch in ((50.0, 32.0), (500.0, 36.54)):
        progress("progress", 0, {"epoch": epoch, "epochs": 100})
    left = seconds_left(last_line(capsys))
    assert left == pytest.approx(500 / 5 * (100 - 36.54), rel=0.02)
    clock.now = 600.0
    end(progress, 0, nll=15.0, rate=1.0)
    assert "(1:00 h, 3 epochs)" in last_line(capsys)


def test_a_run_that_is_gone_on_with_by_itself_has_its_own_pace(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(1)
    for clock.now, epoch in ((1.0, 50.0), (11.0, 60.0)):
        progress("progress", 0, {"epoch": epoch, "epochs": 100})
    assert seconds_left(last_line(capsys)) == 40
