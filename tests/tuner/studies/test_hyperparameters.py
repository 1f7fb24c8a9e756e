"""A trial knows all its hyperparameters: those chosen, those set by hand, and those left at their defaults."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_server import application
from fastapi.testclient import TestClient
from filled import fill, metrics
from stub_study import STUB, make

from benchmarks.stub_study import CORPUS, defined
from trainers import runs
from trainers.runs import Spec
from tuner import space, trainer
from tuner.analysis import export
from tuner.analysis import report as paper
from tuner.analysis.pareto import Columns, compare
from tuner.commands import render
from tuner.commands.app import app
from tuner.storage.database import Database
from tuner.studies import strikes
from tuner.studies.spec import Definition
from tuner.studies.study import open_study

PLANNED = {"r": 5.0, "u_0": 1.01, "rho": 0.125}
"""Defaults of mdr in a short plan, whose step is not the published one."""


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(spec: Mapping[str, Any], corners: list[Mapping[str, Any]]) -> dict[str, Any]:
        usual = {p.name: p.default for p in space.load(spec["technique"]).parameters}
        planned = PLANNED if spec["technique"] == "mdr" else usual
        return {**CORPUS, "latent": True, "stages": 1, "unfit": None, "limits": {}, "planned": planned, "warnings": []}

    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.setattr(trainer, "check", check)
    monkeypatch.delenv("STUB", raising=False)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.chdir(tmp_path)
    opened = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    yield opened
    opened.close()


def test_a_default_that_the_plan_of_training_changes_is_told(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--database", database.secret_url)
    asked = ("launch", "-t", "mdr", "--trials", "1", "--workers", "1", "--sampler", "random", "--study")
    app([*asked, "short", *place], standalone_mode=False)
    assert (
        "note: rho is 0.125 in a training of so few steps; its usual 0.001 is for longer ones, and is taken with --set "
        "rho=0.001" in capsys.readouterr().err
    )
    app([*asked, "own", "--set", "rho=0.001", *place], standalone_mode=False)
    assert "note: rho" not in capsys.readouterr().err


def test_what_is_set_by_hand_is_told_wherever_a_trial_is(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--database", database.secret_url)
    options = ("--set", "r=5", "--set", "max_epochs=3", "--trials", "1", "--sampler", "random", "--workers", "1")
    app(["launch", "-t", "fb", *options, *place], standalone_mode=False)
    shown = capsys.readouterr()
    assert "trial 0: r=5\n" in shown.err
    assert "with r=5" in shown.out
    app(["trials", "fb-grammar-tiny", "--json", *place], standalone_mode=False)
    (trial,) = json.loads(capsys.readouterr().out)
    assert (trial["params"], trial["fixed"], trial["hyperparameters"]) == ({}, {"r": 5.0}, {"r": 5.0})
    study = open_study(database, "fb-grammar-tiny")
    (row,) = csv.DictReader(io.StringIO(export.trials(study, "csv")))
    assert (row["params.r"], "params.max_epochs" in row) == ("5.0", False)  # which is an option
    heads = [column.label for column in render.trial_table(study.trials.all(), ()).columns]
    assert "r" in heads
    assert paper.rows(database, [], "valid")[0].label == "fb (r 5)"
    (own,) = compare([Columns(study).follow()], "rate", "nll", "valid")["studies"]
    assert own["params"] == {"r": [5.0]}
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        assert client.get("/v1/studies/fb-grammar-tiny/trials/0").json()["hyperparameters"] == {"r": 5.0}
        assert client.get("/v1/studies/fb-grammar-tiny").json()["best"]["given"] == {"r": 5.0}


def test_a_confirmation_says_what_it_trains(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make(database, tmp_path, 1, name="s", fixed={"alpha": 0.02, "gamma": 1.25, "epsilon": 0.75})
    fill(study, metrics(99.0), r=6.0)
    folder = ("--runs", str(tmp_path / "runs"))
    app(
        ["confirm", "s", "--seeds", "1", *folder, "--workers", "1", "--database", database.secret_url],
        standalone_mode=False,
    )
    shown = capsys.readouterr()
    assert "the defaults" not in shown.err + shown.out
    assert "trial 0: r=6 alpha=0.02 gamma=1.25 epsilon=0.75\n" in shown.err
    assert "sfb (r 6, alpha 0.02, gamma 1.25, epsilon 0.75)" in shown.out
    (trial,) = open_study(database, "s-confirmed-0").trials.all()
    assert (trial.params, trial.fixed) == ({}, {"r": 6.0, "alpha": 0.02, "gamma": 1.25, "epsilon": 0.75})
    assert set(trial.hyperparameters) == {p.name for p in space.load("sfb").parameters} > set(trial.fixed)


def test_defaults_are_those_of_the_plan_of_training(database: Database, tmp_path: Path) -> None:
    app(
        ["launch", "-t", "mdr", "--trials", "1", "--workers", "0", "--database", database.secret_url],
        standalone_mode=False,
    )
    study = open_study(database, "mdr-grammar-tiny")
    (trial,) = study.trials.all()
    assert trial.hyperparameters == {**PLANNED, "r": trial.params["r"]}
    assert trial.given == trial.params
    older = {key: value for key, value in study.definition.stored().items() if key != "planned"}
    assert Definition.of(older, 1, {}).usual.items() >= {"r": 5.0}.items()


def test_they_are_what_the_trainer_trains_with(tmp_path: Path) -> None:
    values = {"corpus_size": 40, "max_epochs": 1, "nll_samples": 2, "nll_sentences": 4, "gallery": 0, "r": 3.0}
    spec = Spec("mdr", "grammar", "tiny", values)
    found: Any = runs.check(spec, [])
    trained = runs.train(spec, tmp_path / "run", lambda event, facts: None)
    described = {**CORPUS, "planned": found["planned"]}
    definition = defined(1, technique="mdr", fixed=values, described=described)
    assert definition.hyperparameters({}) == trained["hyperparameters"]
    assert trained["metrics"]["target_rate"] == 3.0
    assert trained["metrics"]["rate_error"] == trained["metrics"]["rate"] - 3.0


@pytest.mark.parametrize("option", ["batch_size", "max_epochs"])
def test_what_each_trials_own_plan_decides_is_not_told_of_all(option: str) -> None:
    choices = space.Parameter(option, "categorical", 16, choices=(16, 64), meaning="an option")
    shipped = space.load("mdr")
    own = replace(shipped, parameters=(*shipped.parameters, choices))
    plain = defined(2, technique="mdr", space=own, fixed={"r": 5.0})
    made = replace(plain, facts=replace(plain.facts, space=own, planned=PLANNED))
    assert made.hyperparameters({option: 64}) == {"r": 5.0, "u_0": 1.01, option: 64}, "rho is another in each trial"
    fixed = replace(made, spec=replace(made.spec, fixed={"r": 5.0, "rho": 0.125}))
    assert fixed.hyperparameters({option: 64})["rho"] == 0.125


def test_why_a_trial_was_struck_out_is_told_beside_what_its_figures_are(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/t.db", create=True) as database:
        study = make(database, tmp_path, 1)
        fill(study, metrics(99.0, 0.0, collapsed=True))
        struck = strikes.strike(study, 0, "wrong text")
    assert struck.remark.endswith("wrong text; collapsed")
