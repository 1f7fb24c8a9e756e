"""Workers on a real Ray cluster of this machine, one of which is killed; the commands of the files for SLURM and Kubernetes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shell
import yaml
from shell import Start
from stub_study import attempts_of

from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.studies import queries
from tuner.studies.study import open_study
from tuner.trainer import STOP_SECONDS
from tuner.workers import ray
from tuner.workers.engines import Staff

DEADLINE = 280.0
SETTINGS = ("corpus_size=200", "nll_samples=3", "nll_sentences=40", "d_h=12", "d_e=12", "max_epochs=2")


@pytest.mark.timeout(600)
def test_a_killed_ray_worker_loses_nothing(start: Start, inside: Any, tmp_path: Path) -> None:
    settings = [part for key in SETTINGS for part in ("--set", key)]
    launch = ["launch", "-t", "sfb", "--study", "s", "-n", "3", "--sampler", "random", *settings]
    inside(*launch, "--workers", "0")
    database = Database(f"sqlite:///{tmp_path}/tuner.db")
    study = open_study(database, "s")
    process = start(
        shell.command(*launch, "--workers", "2", "--engine", "ray", "--address", "local", "--json"), cwd=tmp_path
    )

    def at_work() -> list[int]:
        """Processes of workers whose trial has begun to be trained."""
        assert process.poll() is None, process.communicate()
        return [a.pid for a in attempts_of(database) if a.state == "running" and study.trials.epochs(a.trial, 1)]

    def held() -> int | None:
        """One of them, frozen in the middle of its trial."""
        for pid in at_work()[:1]:
            os.kill(pid, signal.SIGSTOP)
            if pid in at_work():
                return pid
            os.kill(pid, signal.SIGCONT)
        return None

    os.kill(shell.wait_for(held) or 0, signal.SIGKILL)
    out, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, said
    assert out.startswith("{"), out
    assert [(t["number"], t["state"]) for t in json.loads(out)["trials"]] == [(n, "complete") for n in range(3)]
    assert "3 of 3 done" in said
    assert sorted(a.state for a in attempts_of(database)) == ["finished"] * 3 + ["lost"]
    assert sorted(worker["state"] for worker in queries.workers(database)) == ["gone", "gone", "lost"]
    database.close()


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


def test_nodes_that_do_not_share_a_studys_files_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = []
    fake = SimpleNamespace(
        init=lambda **_: None,
        nodes=lambda: [{"Alive": True}] * 2,
        shutdown=lambda: ended.append(True),
        cluster_resources=dict,
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    store = SimpleNamespace(local=True, address=str(tmp_path / "runs" / "s-1"))
    study: Any = SimpleNamespace(name="s", database=SimpleNamespace(sqlite=False), files=SimpleNamespace(store=store))
    with pytest.raises(Usage, match="which 2 nodes cannot share: launch one of another name with --artifacts"):
        ray.run(study, Staff("ray"), "postgresql://h/d", tmp_path / "runs", lambda *_: lambda *_: None)
    assert ended == [True]
    store.address = str(tmp_path / "shared" / "s-1")
    with pytest.raises(AttributeError, match="remote"):  # it goes on, to what the fake lacks
        ray.run(study, Staff("ray"), "postgresql://h/d", tmp_path / "runs", lambda *_: lambda *_: None)


def block(mark: str) -> str:
    """The block of the service page that has these words."""
    page = (Path(__file__).parents[3] / "docs" / "service.md").read_text(encoding="utf-8")
    return next(found for found in re.findall(r"^```\w*\n(.*?)^```", page, re.S | re.M) if mark in found)


def worked(inside: Any, words: list[str], cwd: Path) -> list[str]:
    """Has a worker's command, as a scheduler would start it, train a study; the names of its workers."""
    settings = [part for key in SETTINGS for part in ("--set", key)]
    inside("launch", "-t", "sfb", "--study", "s", "-n", "1", "--workers", "0", *settings)
    shell.run(*words, cwd=cwd)
    trials = json.loads(inside("trials", "s", "--json").stdout)
    assert [trial["state"] for trial in trials] == ["complete"]
    return [worker["name"] for worker in json.loads(inside("workers", "--json").stdout)]


def test_the_slurm_scripts_command_works(inside: Any, tmp_path: Path) -> None:
    script = block("#SBATCH")
    assert script.startswith("#!/bin/bash\n")
    assert re.search(r"--signal=B:TERM@\d+", script)
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    line = script.strip().splitlines()[-1]
    ids = {"SLURM_ARRAY_JOB_ID": "71", "SLURM_ARRAY_TASK_ID": "3"}
    said = subprocess.check_output(["bash", "-c", line.replace("exec tuner", "printf '%s\\n'")], text=True, env=ids)
    assert worked(inside, said.splitlines(), tmp_path) == ["slurm-71-3"]


def test_the_kubernetes_job_is_whole_and_its_command_works(inside: Any, tmp_path: Path) -> None:
    job = yaml.safe_load(block("kind: Job"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] in ("Never", "OnFailure")  # a Job takes no other
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    (worker,) = pod["containers"]
    dockerfile = (Path(__file__).parents[3] / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert f"AS {worker['image'].removeprefix('text-vae-tuner-')}\n" in dockerfile
    assert f"USER {pod['securityContext']['runAsUser']}\n" in dockerfile
    assert {mount["name"] for mount in worker["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    declared = {entry["name"] for entry in worker["env"]}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(worker["args"]))) <= declared
    words = [word.replace("$(POD_NAME)", "tuner-workers-x7") for word in worker["args"]]
    assert worked(inside, words, tmp_path) == ["tuner-workers-x7"]
