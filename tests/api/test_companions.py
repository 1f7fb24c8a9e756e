"""Companions of a server end with it, however it ends."""

import subprocess
import sys
from pathlib import Path

import httpx
from api_server import events, free_port, server
from shell import AWAITED as DEADLINE
from shell import SMALLEST as QUICK
from shell import await_end, descendants
from stub_study import attempts_of

from tuner.storage.database import Database
from tuner.studies import queries, study


def test_a_killed_servers_worker_hands_its_trial_back_and_optunas_dashboard_ends(tmp_path: Path) -> None:
    url, port = f"sqlite:///{tmp_path}/t.db", free_port()
    settings = [part for key in (*QUICK[:-1], "max_epochs=300") for part in ("--set", key)]
    asked = ["launch", "-t", "sfb", "-n", "1", "--study", "s", *settings, "--workers", "0", "--database", url]
    subprocess.run([sys.executable, "-m", "tuner", *asked], cwd=tmp_path, check=True, timeout=DEADLINE)
    with server(url, tmp_path, "--with-workers", "1", "--optuna-port", str(port)) as (address, process):
        with httpx.Client(
            transport=httpx.HTTPTransport(retries=9)
        ) as client:  # with growing pauses: its import takes seconds
            assert client.get(f"http://127.0.0.1:{port}/api/studies", timeout=DEADLINE).status_code == 200
        with httpx.stream("GET", f"{address}/v1/studies/s/events?since=0", timeout=DEADLINE) as stream:
            assert any(kind == "epoch" for kind, *_ in events(stream.iter_lines()))
        companions = descendants(process.pid)
        assert len(companions) >= 4  # the worker, what forks its trainer, that trainer, the dashboard
        process.kill()
        for companion in companions:
            await_end(companion)
    database = Database(url)
    assert [trial.state for trial in study.open_study(database, "s").trials.all()] == ["waiting"]
    assert [(attempt.state, attempt.reason) for attempt in attempts_of(database)] == [("interrupted", "preempted")]
    assert [worker["state"] for worker in queries.workers(database)] == ["gone"]
    database.close()
