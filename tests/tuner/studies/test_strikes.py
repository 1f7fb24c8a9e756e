"""Trials that are struck out: they count for nothing, everywhere, and stay in the record with the reason."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from api_server import application, server
from fastapi.testclient import TestClient
from stub_study import SQLITE, Make, attempts_of, make

from tuner.commands.app import app
from tuner.errors import Clash, Missing, Usage
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies import strikes
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import Study
from tuner.workers.claims import Claim, LeaseLost
from tuner.workers.curves import Curves
from tuner.workers.leases import Attempts

BECAUSE = "the corpus was cut off"


def claim(attempts: Attempts) -> Claim:
    found = attempts.claim()
    assert found is not None
    return found


def finish(attempts: Attempts, value: float) -> None:
    mine = claim(attempts)
    epoch = {"epoch": 1, "neg_elbo": value, "rate": 1.0}
    attempts.record(mine, [epoch])
    metrics = {"nll": value, "rate": 1.0, "collapsed": False}
    attempts.finish(mine, "complete", value=value, values=[value], metrics=metrics)


def test_a_struck_trial_counts_for_nothing_and_stays_in_the_record(make: Make) -> None:
    study = make(5)
    attempts, curves = Attempts(study, "w"), Curves(study)
    for value in (5.0, 1e-9, 6.0):
        finish(attempts, value)
    assert len(curves.follow()) == 3
    best = study.best()
    assert best is not None
    assert best.number == 1
    made = strikes.strike(study, 1, BECAUSE)
    assert (made.state, made.reason, made.value) == ("failed", "struck", None)
    assert made.message == f"struck out, it was complete: {BECAUSE}"
    assert made.metrics is not None
    assert made.metrics["nll"] == 1e-9
    assert study.trials.attempts(1)[0]["state"] == "finished"
    best = study.best()
    assert best is not None
    assert (best.number, study.state) == (0, "active")
    assert [curve.number for curve in curves.follow()] == [0, 2]
    mine = claim(attempts)  # by a sampler that had learnt from it
    assert attempts._history is not None
    seen = attempts._history.storage.get_all_trials(attempts._history.id)
    assert [t.state.name for t in seen] == ["COMPLETE", "FAIL", "COMPLETE", "RUNNING"]
    assert mine.number == 3
    record = as_optuna(study).trials
    assert [t.state.name for t in record[:3]] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert record[1].user_attrs["reason"] == "struck"
    assert isinstance(record[1], optuna.trial.FrozenTrial)


def test_who_trains_a_struck_trial_loses_it(database: Database, make: Make) -> None:
    study = make()
    attempts = Attempts(study, "w")
    mine = claim(attempts)
    database.run(lambda s: setattr(s.get_one(TrialRow, ("s", 0)), "started_at", database.clock(s) - 30.0))
    assert strikes.strike(study, 0, BECAUSE).seconds == pytest.approx(30.0, abs=20.0)
    with pytest.raises(LeaseLost):
        attempts.renew(mine)
    with pytest.raises(LeaseLost):
        attempts.finish(mine, "complete", value=1.0)
    assert [(a.state, a.reason) for a in attempts_of(database)] == [("interrupted", "struck")]
    assert claim(attempts).number == 1


@SQLITE
def test_what_cannot_be_struck_out(make: Make) -> None:
    study = make()
    attempts = Attempts(study, "w")
    with pytest.raises(Missing, match="has no trial 0"):
        strikes.strike(study, 0, BECAUSE)
    attempts.fail(claim(attempts), "nan", "it diverged.")
    with pytest.raises(Clash, match="has failed already"):
        strikes.strike(study, 0, BECAUSE)
    finish(attempts, 5.0)
    for because in ("", " ", "x" * 501, "a\x1b[31m"):
        with pytest.raises(Usage, match="is no reason"):
            strikes.strike(study, 1, because)
    assert strikes.strike(study, 1, BECAUSE) == strikes.strike(study, 1, BECAUSE)
    with pytest.raises(Clash, match="has failed already"):
        strikes.strike(study, 1, "another reason")


def test_three_struck_out_do_not_stop_a_study(make: Make) -> None:
    study = make(9)
    attempts = Attempts(study, "w")
    for _ in range(2):
        finish(attempts, 5.0)
    for number in range(2):
        strikes.strike(study, number, BECAUSE)
    attempts.fail(claim(attempts), "error", "boom")
    assert study.refresh().state == "active"


def test_over_the_api(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(database, tmp_path, 9)
    for value in (5.0, 1e-9, *(6.0, 7.0, 8.0)):
        finish(Attempts(study, "w"), value)
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        pareto = "/v1/pareto?study=s&x=rate&y=nll"
        assert client.get(pareto).json()["studies"][0]["number"] == [0, 1, 2, 3, 4]
        found = client.post("/v1/studies/s/trials/1/strike", json={"because": BECAUSE})
        assert (found.status_code, found.json()["state"], found.json()["reason"]) == (200, "failed", "struck")
        assert client.get(pareto).json()["studies"][0]["number"] == [0, 2, 3, 4]
        assert client.get("/v1/studies/s/importance").json()["trials"] == 4
        assert client.get("/v1/studies/s").json()["best"]["number"] == 0
        assert client.post("/v1/studies/s/trials/1/strike", json={"because": ""}).status_code == 422


@SQLITE
def test_on_the_command_line(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study: Study = make(database, tmp_path)
    for value in (5.0, 6.0):
        finish(Attempts(study, "w"), value)
    place = ["--database", database.secret_url]
    app(["trials", "--fail", "s/0", "--because", BECAUSE, *place], standalone_mode=False)
    assert f"trial s/0 is failed: struck out, it was complete: {BECAUSE}" in capsys.readouterr().err
    app(["trials", "s", "--json", *place], standalone_mode=False)
    assert [t["state"] for t in json.loads(capsys.readouterr().out)] == ["failed", "complete"]
    for wrong, said in (
        ([], "names no study"),
        (["--fail", "s/0"], "needs a reason"),
        (["--fail", "s", "--because", "x"], "names no trial"),
        (["t", "--fail", "s/0", "--because", "x"], "names no trial"),
        (["--because", "x"], "names no trial"),
    ):
        with pytest.raises(Usage, match=said):
            app(["trials", *wrong, *place], standalone_mode=False)
    with server(database.secret_url, tmp_path) as (address, _):
        command = [sys.executable, "-m", "tuner", "trials", "--fail", "s/1", "--because", BECAUSE, "--api", address]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"trial s/1 is failed: struck out, it was complete: {BECAUSE}" in done.stderr
