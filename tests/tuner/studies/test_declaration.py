"""A figure is declared once, and whatever lists figures says the same of it: what it is, what made it, what qualifies it."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_server import application
from fastapi.testclient import TestClient
from filled import confirmed, fill, metrics
from stub_study import make

from tuner import estimators
from tuner.analysis import export, figures, layouts
from tuner.analysis import report as paper
from tuner.analysis.pareto import Columns, compare
from tuner.commands import render
from tuner.commands.app import app
from tuner.metrics import AXES, ESTIMATES, FIGURES, SHOWN
from tuner.storage.database import Database
from tuner.studies import answers
from tuner.studies.study import Study

LEVELS = {"16": 40, "64": 40, "1024": 40, "4096": 24}
UNSURE = {
    "proposal": "tempered q", "samples": 16, "sentences": 40, "of": 40, "seed": 3, "split": "valid", "temper": 0.25,
    "levels": LEVELS, "error": 0.0625, "bias": 0.375, "resolved": False,
}  # fmt: skip
SURENESS = "the estimate's own standard error 0.062, its bias at most 0.375"
DASHBOARD = Path(__file__).parents[3] / "api" / "dashboard"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    yield opened
    opened.close()


@pytest.fixture
def study(database: Database, tmp_path: Path) -> Study:
    """Trial 0 is sound, trial 1 not resolved, trial 2 collapsed and the best."""
    made = make(database, tmp_path, 3)
    sure = {**UNSURE, "resolved": True, "bias": 0.03125}
    facts: tuple[dict[str, Any], ...] = (
        {"estimator": sure}, {"estimator": UNSURE, "rate": 9.0}, {"estimator": sure, "collapsed": True, "rate": 0.1}
    )  # fmt: skip
    fill(made, *(metrics(101.0 - n, **each) for n, each in enumerate(facts)))
    return made


def test_the_columns_of_all_tables_are_headed_by_the_declaration(study: Study) -> None:
    head = [column.label for column in render.trial_table(study.trials.all(), ()).columns]
    assert [word for word in head if word in [m.heading for m in SHOWN.values()]] == [
        metric.heading for key, metric in SHOWN.items() if key != "nll"
    ]
    assert set(paper.COLUMNS) <= set(FIGURES)
    (line,) = layouts.markdown(paper.rows(study.database, [], "valid")).splitlines()[:1]
    assert [cell.strip() for cell in line.split("|")][3:-2] == [FIGURES[key].heading for key in paper.COLUMNS[:4]] + [
        "AU"
    ]
    listed = re.compile(r'\[[^\]]*"nll", "ppl", "rate"')
    assert not [file.name for file in DASHBOARD.glob("*.js") if listed.search(file.read_text())]


def test_a_trials_notes_are_the_same_wherever_it_is_listed(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [[], ["not resolved"], ["collapsed"]]
    assert [trial.notes for trial in study.trials.all()] == wanted
    assert [trial["notes"] for trial in answers.whole(study)["trials"]] == wanted
    rows = list(csv.DictReader(io.StringIO(export.trials(study, "csv"))))
    assert [row["notes"] for row in rows] == ["", "not resolved", "collapsed"]
    assert [(row["estimator.temper"], row["estimator.error"], row["estimator.bias"]) for row in rows[:2]] == [
        ("0.25", "0.0625", "0.03125"),
        ("0.25", "0.0625", "0.375"),
    ]
    assert rows[1]["estimator.levels.4096"] == "24"
    assert rows[1]["estimator"] == estimators.estimator_of(
        study.trials.all()[1].metrics or {}, answers.whole(study)["text"]
    )
    app(["trials", "s", "--database", study.database.secret_url], standalone_mode=False)
    said = capsys.readouterr().out
    assert render.NOTES["not resolved"] in said.replace("\n", " ")
    assert render.COLLAPSED[:40] in said
    with TestClient(application(study.database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        assert [trial["notes"] for trial in client.get("/v1/studies/s/trials").json()["items"]] == wanted
        one = client.get("/v1/studies/s/trials/1").json()
        assert one["estimate"] == estimators.estimate(study.trials.all()[1].metrics or {})
        assert one["estimate"].endswith(f"{SURENESS}: not resolved, seed 3")
        assert client.get("/v1/studies/s").json()["best"]["notes"] == ["collapsed"]
        known = {each["key"]: each for each in client.get("/v1/options").json()["metrics"]}
        assert known == {key: {"key": key, **vars(metric)} for key, metric in AXES.items()}


def test_a_front_says_what_qualifies_its_trials(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare([Columns(study).follow()], "rate", "nll", "valid")
    (own,) = found["studies"]
    assert (own["notes"], own["bias"]) == (["", "not resolved", "collapsed"], [0.03125, 0.375, 0.03125])
    assert {key: own[key][1] for key in ESTIMATES} == {"temper": 0.25, "error": 0.0625, "bias": 0.375}
    app(["pareto", "--y", "nll", "--database", study.database.secret_url], standalone_mode=False)
    table = capsys.readouterr().out
    assert re.search(r"s/1 .* 0\.25 +0\.0625 +0\.375 +not resolved", table)
    figures.fronts([{**found, "text": "grammar", "levels": []}], tmp_path / "front.svg")
    assert "hollow: not resolved, or collapsed" in (tmp_path / "front.svg").read_text()
    errors = compare([Columns(study).follow()], "error", "bias", "valid")["studies"][0]
    assert errors["y"] == own["bias"]


def test_a_report_says_it_in_every_format(study: Study, database: Database, tmp_path: Path) -> None:
    runs = confirmed(database, study, tmp_path)
    facts = metrics(99.0)["estimator"]
    beside = {key: UNSURE[key] for key in ("temper", "levels", "error", "bias", "resolved")}
    both = {**facts, "tempered": {"proposal": "tempered q", "samples": 16, **beside}}
    resolved = {**facts, "tempered": {**both["tempered"], "resolved": True, "levels": {"16": 40, "1024": 40}}}
    figure = {"nll_tempered": 98.5, "ppl_tempered": 9.0}
    fill(runs, *(metrics(99.0, estimator=e, collapsed=e is both, **figure) for e in (both, both, resolved)))
    found = paper.rows(database, ["s-confirmed-2"], "valid")
    notes = "collapsed in 2 of 3, not resolved in 2 of 3"
    sentences = "40 valid sentences of grammar, 5 words, uncut, text f"
    for form in (layouts.table, layouts.markdown, layouts.latex):
        said = form(found)
        assert f"sfb (r 7): tempered, λ = 0.25; {SURENESS}, {notes}" in said
        assert f"a: S = 1000 from q, {sentences}\n" in said
        assert f"b: tempered, 16 draws or more, {sentences} (the temp" in said
    assert f"a b, {notes}\n" in layouts.table(found)
    assert f"| a b, {notes} |" in layouts.markdown(found)
    assert rf"sfb (r 7) ({notes}) & 3" in layouts.latex(found)
    assert "not to be ranked" not in layouts.table(found)
    other = replace(found[0], beside="tempered otherwise")
    assert rf"sfb (r 7)$^{{a c}}$ ({notes}) & 3" in layouts.latex([found[0], other])
    assert "figures under different letters are not to be ranked together" in layouts.table([found[0], other])
    (line,) = csv.DictReader(io.StringIO(layouts.as_csv(found)))
    assert (line["notes"], line["temper"], line["error"], line["bias"]) == (
        notes.replace(", ", "; "), "0.25", "0.0625", "0.375"
    )  # fmt: skip
    (entry,) = json.loads(layouts.as_json(found))
    assert (entry["notes"], entry["figures"]["bias"]) == (notes.split(", "), {"mean": 0.375, "sd": 0.0})


def test_the_test_sentences_figures_and_all_that_made_them_are_in_the_csv(study: Study) -> None:
    runs = confirmed(study.database, study, Path(study.files.store.address).parent)
    fill(runs, metrics(99.0, test=metrics(103.0, split="test")))
    (row,) = csv.DictReader(io.StringIO(export.trials(runs, "csv")))
    assert (row["nll"], row["test.nll"], row["test.estimator.split"]) == ("99.0", "103.0", "test")


FROM_Q = {"proposal": "q", "samples": 100, "sentences": 40, "of": 40, "seed": 3, "split": "valid", "fall": 0.6}


@pytest.mark.parametrize(
    ("found", "note", "meaning"),
    [
        ({"estimator": {**FROM_Q, "resolved": False}}, "not resolved from q", "nll=tempered, or both, is less biased"),
        ({"target_rate": 5.0, "rate_error": 10.5}, "off its rate", "R lies above r by nature"),
        ({"target_rate": 20.0, "rate_error": -2.5}, "off its rate", "more steps (max_epochs)"),
        ({"collapsed": True, "rate": 0.1, "mi": 0.1}, "collapsed", "R < 0.2 nats"),
        ({"collapsed": True, "rate": 0.1, "mi": 0.1}, "collapsed", "Try a technique that holds a rate"),
        ({"collapsed": True, "rate": 3.0, "mi": 0.1}, "collapsed", "codes do not tell them apart (MI < 0.2 nats)"),
    ],
)
def test_a_note_is_explained_by_the_figures_that_earn_it(found: dict[str, Any], note: str, meaning: str) -> None:
    every = metrics(10.0, **found)
    assert estimators.notes_of(every) == [note]
    (said,) = render.explained({7: every, 8: metrics(10.0)}).items()
    assert said[1] == [7]
    assert said[0].startswith(f"{note}: ")
    assert meaning in said[0]


def test_a_technique_that_was_to_hold_a_rate_is_not_told_to_try_one() -> None:
    found = metrics(10.0, collapsed=True, rate=0.1, mi=0.1, target_rate=5.0, rate_error=-4.9)
    assert estimators.notes_of(found) == ["collapsed", "off its rate"]
    said = next(iter(render.explained({0: found})))
    assert "raise max_epochs" in said
    assert "Try a technique" not in said
    alike = metrics(10.0, collapsed=True, rate=5.1, mi=0.1, target_rate=5.0, rate_error=0.1)
    said = next(iter(render.explained({0: alike})))
    assert "MI < 0.2 nats" in said
    assert "Else try another technique than this one" in said
    assert "Try a technique" not in said


@pytest.mark.parametrize(("r", "error"), [(5.0, 0.49), (1.0, -0.5), (20.0, 2.0)])
def test_a_rate_near_its_target_bears_no_note(r: float, error: float) -> None:
    assert estimators.notes_of(metrics(10.0, target_rate=r, rate_error=error)) == []


def test_the_sentence_of_an_estimate_from_too_few_samples_says_so() -> None:
    said = estimators.estimate(metrics(10.0, estimator={**FROM_Q, "resolved": False}))
    assert said.endswith("seed 3: not resolved, since it fell by 0.6 nats from a quarter of the draws to all")
    assert "resolved" not in estimators.estimate(metrics(10.0, estimator={**FROM_Q, "fall": 0.01, "resolved": True}))


def test_both_estimates_bear_notes_of_their_own() -> None:
    beside = {key: UNSURE[key] for key in ("temper", "levels", "error", "bias", "resolved")}
    both = {**FROM_Q, "resolved": False, "tempered": {"proposal": "tempered q", "samples": 16, **beside}}
    assert estimators.notes_of(metrics(10.0, estimator=both)) == ["not resolved", "not resolved from q"]
    both["tempered"]["resolved"] = True
    assert estimators.notes_of(metrics(10.0, estimator=both)) == ["not resolved from q"]


def test_a_front_doubts_no_trial_for_its_rate_and_names_each_note_once(database: Database, tmp_path: Path) -> None:
    made = make(database, tmp_path, 2)
    off = {"target_rate": 5.0, "rate_error": 5.0}
    fill(made, metrics(10.0, **off), metrics(11.0, **off, estimator=UNSURE, collapsed=True))
    found = compare([Columns(made).follow()], "rate", "nll", "valid")
    assert found["studies"][0]["notes"] == ["", "collapsed; not resolved"]
    figures.fronts([{**found, "text": "grammar", "levels": []}], tmp_path / "front.svg")
    drawn = (tmp_path / "front.svg").read_text()
    assert "hollow: collapsed, or not resolved" in drawn
    assert "; not resolved" not in drawn
