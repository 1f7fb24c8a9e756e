"""Commands that are interrupted, and go on: real signals, a full disk, another process."""

import json
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from shell import DEADLINE, QUICK, Start, begin, command, descendants, figures, launch, run, stubbed, wait_for
from stub_study import SQLITE, Make, behave, states

from tuner.studies import queries
from tuner.studies.study import Study

STOPPED = "stopped: 0 of 2 trials are done"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The database that a command finds in the test's folder."""
    return f"sqlite:///{tmp_path}/tuner.db"


def at_work(start: Start, study: Study, cwd: Path) -> "subprocess.Popen[str]":
    """A command that trains the study without a model, once its first trial is under way."""
    process = start(stubbed("resume", study.name), cwd=cwd)

    def has_begun() -> bool:
        assert process.poll() is None, process.communicate()
        return bool(study.trials.all()) and bool(study.trials.epochs(0, 1))

    wait_for(has_begun)
    return process


def test_ctrl_c_and_kill_lose_nothing_and_change_nothing(start: Start, inside: Any, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = json.loads(inside(*launch("--json", epochs=10), cwd=tmp_path / "whole").stdout)

    first = begin(start, tmp_path / "cut")
    first.send_signal(signal.SIGINT)
    out, said = first.communicate(timeout=DEADLINE)
    assert (first.returncode, out) == (1, "")
    assert STOPPED in said
    assert "the same command goes on" in said
    assert json.loads(inside("trials", "s", "--json", cwd=tmp_path / "cut").stdout)[0]["state"] == "waiting"

    second = begin(start, tmp_path / "cut", "0001")
    ends = [os.pidfd_open(pid) for pid in descendants(second.pid)]
    second.kill()
    second.communicate()
    assert len(ends) == 2  # the trainer, and what forked it
    for end in ends:  # they end with their worker
        assert select.select([end], [], [], DEADLINE)[0]
        os.close(end)

    cut = json.loads(inside(*launch("--json", epochs=10), cwd=tmp_path / "cut").stdout)
    assert figures(cut) == figures(whole)


def test_a_full_disk_ends_a_run_and_it_goes_on_afterwards(inside: Any, tmp_path: Path) -> None:
    arguments = ["train", "-t", "sfb", "--out", str(tmp_path / "run")]
    arguments += [part for key in (*QUICK, "max_epochs=3") for part in ("--set", key)]
    (tmp_path / "run").mkdir()
    full = tmp_path / "run" / "vocabulary.json.partial"
    full.symlink_to("/dev/full")
    assert "No space left on device" in inside(*arguments, code=1).stderr
    full.unlink(missing_ok=True)
    inside(*arguments)


@SQLITE
def test_a_study_whose_files_cannot_be_written_waits_says_so_and_goes_on_afterwards(
    start: Start, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    behave(monkeypatch, t0="wait once")
    study = make(2)
    process = at_work(start, study, tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE)
    folder = Path(study.files.store.address)
    shutil.move(folder / "0000", folder / "aside")
    (folder / "0000").write_text("no folder")
    process = start(stubbed("resume", "s"), cwd=tmp_path)
    assert process.stderr is not None
    while "study s: its files cannot be written to" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    assert "It is tried again in " in line
    study.refresh()
    assert (study.state, str(study.why)[:23]) == ("active", "waiting after a fault (")
    (folder / "0000").unlink()
    shutil.move(folder / "aside", folder / "0000")
    process.communicate(timeout=DEADLINE)
    assert states(study) == ["complete", "complete"]


@SQLITE
def test_stop_resume_and_delete_from_another_process(
    start: Start, inside: Any, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    behave(monkeypatch, t0="wait once")
    study = make(2)
    process = at_work(start, study, tmp_path)
    (row,) = json.loads(run("workers", "--json", cwd=tmp_path).stdout)
    assert (row["state"], row["study"], row["trial"]) == ("training", "s", 0)
    assert "study s is stopped; being handed back: 1 trial" in run("stop", "s", cwd=tmp_path).stderr
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert "the study was stopped: stopped by the user; `tuner resume s` goes on" in said
    assert states(study) == ["waiting"]
    assert "is not active: it is stopped" in inside("stop", "s").stderr
    assert "waits for workers" in run("resume", "s", "--workers", "0", cwd=tmp_path).stderr
    idle = start(stubbed("worker", "--exit-when-idle", "--workers", "2", "--log-format", "json"), cwd=tmp_path)
    _, said = idle.communicate(timeout=DEADLINE)
    assert idle.returncode == 0
    lines = [json.loads(line) for line in said.splitlines()]  # and nothing else, not even of Optuna
    assert {(x["study"], x["trial"]) for x in lines if x["event"] == "complete"} == {("s", 0), ("s", 1)}
    assert {x["attempt"] for x in lines if x["trial"] == 0} == {1}
    assert inside("log", "s/0").stdout == ""  # it had nothing to complain of
    assert inside("resume", "s").stdout.startswith("s: sfb on grammar")
    assert "cannot be undone: say --yes" in inside("delete", "s", code=2).stderr
    run("delete", "s", "--yes", cwd=tmp_path)
    assert json.loads(inside("studies", "--json").stdout) == []
    assert [f.name for f in (tmp_path / "runs").iterdir()] == ["work"]


def test_ctrl_c_during_set_up(start: Start, tmp_path: Path) -> None:
    process = start(command(*launch()), cwd=tmp_path)
    assert process.stderr is not None
    assert "checking sfb" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert said.strip() == "tuner: interrupted; nothing is lost, the same command goes on."


@SQLITE
@pytest.mark.parametrize(
    ("number", "reason", "message"),
    [
        (signal.SIGTERM, "preempted", "this machine was told to stop."),
        (signal.SIGHUP, "user", "its terminal was closed."),
    ],
)
def test_a_preempted_machine_and_a_lost_terminal_are_an_orderly_stop(
    start: Start, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    number: signal.Signals, reason: str, message: str,
) -> None:  # fmt: skip
    behave(monkeypatch, t0="wait once")
    study = make(2)
    process = at_work(start, study, tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert STOPPED in said
    (trial,) = study.trials.all()
    assert (trial.state, trial.reason, trial.message) == ("waiting", reason, message)


@SQLITE
def test_under_nohup_a_lost_terminal_is_nothing(start: Start, make: Make, tmp_path: Path) -> None:
    database = make(1, fixed={"max_epochs": 1}).database
    process = start(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *stubbed("worker", "--name", "w")], cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: queries.workers(database))
    process.send_signal(signal.SIGHUP)
    process.terminate()
    _, said = process.communicate(timeout=DEADLINE)
    assert "tuner: this machine was told to stop." in said
    assert process.returncode == 0
