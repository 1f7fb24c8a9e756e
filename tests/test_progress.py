"""What a launch says of its progress."""

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
    assert "2 of 3 done, lowest NLL 117" in last_line(capsys)
    progress("progress", 2, {"epoch": 0.5, "epochs": 3})
    end(progress, 2, nll=116.9, rate=2.0)
    assert "3 of 3 done, lowest NLL 116.9" in last_line(capsys)


def test_one_run_is_its_own_best(capsys: pytest.CaptureFixture[str]) -> None:
    end(Progress(1), 0, nll=15.0, rate=1.0)
    assert "1 of 1 done, lowest NLL 15" in last_line(capsys)
