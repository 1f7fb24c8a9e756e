"""Companions of a server end with it, however it ends."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import answer, events, server
from shell import AWAITED as DEADLINE
from shell import SMALLEST as QUICK
from shell import await_end, descendants, wait_for
from stub_study import attempts_of

from tuner.storage.database import Database
from tuner.studies import queries, study


def test_a_killed_servers_worker_hands_its_trial_back_and_optunas_dashboard_ends(
    inside: Any, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    settings = [part for key in (*QUICK[:-1], "max_epochs=300") for part in ("--set", key)]
    inside("launch", "-t", "sfb", "-n", "1", "--study", "s", *settings, "--workers", "0", "--database", url)
    monkeypatch.setenv("TUNER_API", "http://127.0.0.1:9")  # a user's own: the workers are this server's
    with server(url, tmp_path, "--with-workers", "1", "--optuna-port", str(port)) as (address, process):
        assert wait_for(lambda: answer(f"http://127.0.0.1:{port}", "/api/studies")) == 200
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
