"""Workers on a real Ray cluster of this machine: one is killed in the middle, and the study is exact all the same."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuner.errors import Usage
from tuner.workers import ray
from tuner.workers.engines import Staff

DEADLINE = 280.0
SETTINGS = ("corpus_size=200", "nll_samples=3", "nll_sentences=40", "d_h=12", "d_e=12", "max_epochs=2")


def ray_workers() -> list[int]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if line.read_bytes().startswith(b"ray::_task"):
                found.append(int(line.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.timeout(600)
def test_a_killed_ray_worker_loses_nothing(tmp_path: Path) -> None:
    tuner = [sys.executable, "-m", "tuner"]
    launch = [*tuner, "launch", "-t", "sfb", "--study", "s", "-n", "8", "--sampler", "random", "--workers", "2"]
    launch += ["--engine", "ray", "--address", "local", "--json"]
    launch += [part for key in SETTINGS for part in ("--set", key)]
    process = subprocess.Popen(launch, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def trials() -> list[dict[str, str]]:
        done = subprocess.run(
            [*tuner, "trials", "s", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return json.loads(done.stdout) if done.returncode == 0 else []

    until = time.monotonic() + DEADLINE
    while not (any(t["state"] == "complete" for t in trials()) and ray_workers()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
    os.kill(ray_workers()[0], signal.SIGKILL)
    out, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, said
    assert out.startswith("{"), out
    study = json.loads(out)
    assert [(t["number"], t["state"]) for t in study["trials"]] == [(n, "complete") for n in range(8)]
    assert "8 of 8 done" in said
    workers = json.loads(subprocess.check_output([*tuner, "workers", "--json"], cwd=tmp_path, text=True))
    assert sorted(w["state"] for w in workers) == ["gone", "gone", "lost"]


def test_no_cluster_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Usage, match="--engine 'slurm' is unknown"):
        Staff("slurm").check()
    with pytest.raises(Usage, match=r"needs Ray: pip install 'text-vae-tuner\[ray\]'"):
        monkeypatch.setattr(ray.importlib.util, "find_spec", lambda _: None)
        Staff("ray").check()


def test_a_files_address_is_made_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert ray._absolute("sqlite:///t.db") == f"sqlite:///{tmp_path}/t.db"
    assert ray._absolute("sqlite:////a/t.db") == "sqlite:////a/t.db"
    assert ray._absolute("postgresql://u@h/d") == "postgresql://u@h/d"
