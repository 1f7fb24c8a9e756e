"""Commands that are interrupted, and go on: real signals, a full disk, another process."""

import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

from shell import DEADLINE, QUICK, begin, command, descendants, figures, launch, run


def test_ctrl_c_and_kill_lose_nothing_and_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = json.loads(run(*launch("--json", epochs=24), cwd=tmp_path / "whole").stdout)

    first = begin(tmp_path / "cut")
    first.send_signal(signal.SIGINT)
    out, said = first.communicate(timeout=DEADLINE)
    assert (first.returncode, out) == (1, "")
    assert "stopped: 0 of 2 trials are done" in said
    assert "the same command goes on" in said
    assert json.loads(run("trials", "s", "--json", cwd=tmp_path / "cut").stdout)[0]["state"] == "waiting"

    second = begin(tmp_path / "cut", "0001")
    ends = [os.pidfd_open(pid) for pid in descendants(second.pid)]
    second.kill()
    second.communicate()
    assert len(ends) == 2  # the trainer, and what forked it
    for end in ends:  # they end with their worker
        assert select.select([end], [], [], DEADLINE)[0]
        os.close(end)

    cut = json.loads(run(*launch("--json", epochs=24), cwd=tmp_path / "cut").stdout)
    assert figures(cut) == figures(whole)


def test_a_full_disk_ends_a_run_and_it_goes_on_afterwards(tmp_path: Path) -> None:
    arguments = ["train", "-t", "sfb", "--out", "run"]
    arguments += [part for key in (*QUICK, "max_epochs=3") for part in ("--set", key)]
    (tmp_path / "run").mkdir()
    full = tmp_path / "run" / "vocabulary.json.partial"
    full.symlink_to("/dev/full")
    assert "No space left on device" in run(*arguments, cwd=tmp_path, code=1).stderr
    full.unlink(missing_ok=True)
    run(*arguments, cwd=tmp_path)


def test_a_study_whose_files_cannot_be_written_waits_says_so_and_goes_on_afterwards(tmp_path: Path) -> None:
    process = begin(tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE)
    (folder,) = tmp_path.glob("runs/s-*")
    shutil.move(folder / "0000", folder / "aside")
    (folder / "0000").write_text("no folder")
    process = subprocess.Popen(
        command(*launch("--json", epochs=24)), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "study s: its files cannot be written to" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    assert "It is tried again in " in line
    (study,) = json.loads(run("studies", "--json", cwd=tmp_path).stdout)
    assert study["state"] == "active"
    assert study["why"].startswith("waiting after a fault (1 in a row")
    (folder / "0000").unlink()
    shutil.move(folder / "aside", folder / "0000")
    out, _ = process.communicate(timeout=DEADLINE)
    assert [t["state"] for t in json.loads(out)["trials"]] == ["complete", "complete"]


def test_stop_resume_and_delete_from_another_process(tmp_path: Path) -> None:
    process = begin(tmp_path, epochs=300)
    (row,) = json.loads(run("workers", "--json", cwd=tmp_path).stdout)
    assert (row["state"], row["study"], row["trial"]) == ("training", "s", 0)
    assert "study s is stopped; 1 trials are being handed back" in run("stop", "s", cwd=tmp_path).stderr
    out, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert "the study was stopped: stopped by the user; `tuner resume s` goes on" in said
    assert [t["state"] for t in json.loads(out)["trials"]] == ["waiting"]
    assert "is not active: it is stopped" in run("stop", "s", cwd=tmp_path).stderr
    assert "waits for workers" in run("resume", "s", "--workers", "0", cwd=tmp_path).stderr
    idle = run("worker", "--exit-when-idle", "--workers", "2", "--log-format", "json", cwd=tmp_path)
    lines = [json.loads(line) for line in idle.stderr.splitlines() if line.startswith("{")]
    assert {(x["study"], x["trial"]) for x in lines if x["event"] == "complete"} == {("s", 0), ("s", 1)}
    assert {x["attempt"] for x in lines if x["trial"] == 0} == {1}
    assert run("log", "s/0", cwd=tmp_path).stdout == ""  # it had nothing to complain of
    assert run("resume", "s", cwd=tmp_path).stdout.startswith("s: sfb on grammar")
    assert "cannot be undone: say --yes" in run("delete", "s", cwd=tmp_path, code=2).stderr
    run("delete", "s", "--yes", cwd=tmp_path)
    assert json.loads(run("studies", "--json", cwd=tmp_path).stdout) == []
    assert [f.name for f in (tmp_path / "runs").iterdir()] == ["work"]


def test_a_detached_study_goes_on_by_itself(tmp_path: Path) -> None:
    said = run(*launch("--detach"), cwd=tmp_path).stderr
    assert "study s goes on in process" in said
    until = time.monotonic() + DEADLINE
    while sum(t["state"] == "complete" for t in json.loads(run("trials", "s", "--json", cwd=tmp_path).stdout)) < 2:
        assert time.monotonic() < until, (tmp_path / "runs" / "s.log").read_text()


def test_ctrl_c_during_set_up(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(*launch()), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "checking sfb" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert said.strip() == "tuner: interrupted; nothing is lost, the same command goes on."


def test_sigterm_is_obeyed_like_ctrl_c(tmp_path: Path) -> None:
    process = begin(tmp_path)
    process.terminate()
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "stopped: 0 of 2 trials are done" in said


def test_a_lost_terminal_is_an_orderly_stop(tmp_path: Path) -> None:
    process = begin(tmp_path)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "stopped: 0 of 2 trials are done" in said
    (trial,) = json.loads(run("trials", "s", "--json", cwd=tmp_path).stdout)
    assert (trial["state"], trial["reason"], trial["message"]) == ("waiting", "user", "its terminal was closed.")


def test_under_nohup_a_lost_terminal_is_nothing(tmp_path: Path) -> None:
    run("database", "upgrade", cwd=tmp_path)
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command("worker", "--name", "w")],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + DEADLINE
    while not json.loads(run("workers", "--json", cwd=tmp_path).stdout):
        assert time.monotonic() < until
    process.send_signal(signal.SIGHUP)
    process.terminate()
    _, said = process.communicate(timeout=DEADLINE)
    assert "tuner: this machine was told to stop." in said
    assert process.returncode == 0
