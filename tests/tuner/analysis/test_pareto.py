"""Fronts against their definition, tried point by point, and as they are served from a database."""

import json
import math
import random
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filled import confirmed, fill, held, metrics
from sqlalchemy import insert
from stub_study import SQLITE, make

from benchmarks.stub_study import CORPUS, defined
from tuner import space
from tuner.analysis import comparison, figures, history, levels, pareto, report
from tuner.analysis.access import DatabaseAnalysis
from tuner.analysis.pareto import Columns
from tuner.commands.app import app
from tuner.metrics import AXES, METRICS, Goal, front
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow, revise
from tuner.studies import creation
from tuner.studies.study import Study
from tuner.studies.table import Table

GOALS: tuple[Goal, ...] = ("min", "max", "zero")


def naive(xs: list[float], ys: list[float], x_goal: Goal, y_goal: Goal) -> set[int]:
    """Every point compared with every other, as the definition says."""

    def at_least(a: float, b: float, goal: Goal) -> bool:
        return abs(a) <= abs(b) if goal == "zero" else a <= b if goal == "min" else a >= b

    def no_worse(i: int, j: int) -> bool:
        return at_least(xs[i], xs[j], x_goal) and at_least(ys[i], ys[j], y_goal)

    def dominates(i: int, j: int) -> bool:
        return no_worse(i, j) and not no_worse(j, i)

    there = [i for i in range(len(xs)) if math.isfinite(xs[i]) and math.isfinite(ys[i])]
    return {j for j in there if not any(dominates(i, j) for i in there)}


def test_the_front_is_what_the_definition_says_for_thousands_of_random_studies() -> None:
    draw = random.Random(0)
    for _ in range(5000):
        few = draw.choice([2, 5, 10**9])  # few values make ties
        figures = [float(draw.randrange(-few, few)) for _ in range(draw.randrange(25))]
        others = [
            draw.choice([float(draw.randrange(-few, few)), math.nan, math.inf][: draw.choice([1, 3])]) for _ in figures
        ]
        x_goal, y_goal = draw.choice(GOALS), draw.choice(GOALS)
        found = front(figures, others, x_goal, y_goal)
        assert set(found) == naive(figures, others, x_goal, y_goal)
        assert len(set(found)) == len(found)
        assert [figures[i] for i in found] == sorted(figures[i] for i in found)


def test_no_trial_and_a_single_one() -> None:
    assert front([], [], "min", "max") == []
    assert front([1.0], [2.0], "min", "max") == [0]
    assert front([math.nan], [2.0], "min", "max") == []


def add(study: Study, first: int, states: list[str], draw: random.Random, test: bool = False) -> list[dict[str, Any]]:
    """Trials with figures of few values, some of them unknown."""
    rows = []
    for number, state in enumerate(states, first):
        figures = {key: draw.choice([None, 1.0, 2.0, 3.0, 4.5]) for key in METRICS}
        metrics = {**figures, "test": {"nll": 7.0, "rate": 1.0}} if test else figures
        rows.append(
            {
                "study": study.name, "number": number, "state": state, "params": {"r": float(number)}, "attrs": {},
                "value": figures["nll"], "metrics": metrics if state == "complete" else None,
                "losses": 0, "seconds": 1.0 + number, "lease_until": 0.0, "created_at": 1.0, "told": True,
            }
        )  # fmt: skip

    def enter(session: Any) -> None:
        revision = revise(session, study.name)
        session.execute(insert(TrialRow), [{**row, "revision": revision} for row in rows])

    study.database.run(enter)
    return [row for row in rows if row["state"] == "complete"]


@pytest.mark.parametrize(("x", "y"), [("rate", "ppl"), ("value", "seconds"), ("nll", "nll")])
def test_what_is_compared_follows_the_studies(database: Database, tmp_path: Path, x: str, y: str) -> None:
    draw = random.Random(1)
    studies = [make(database, tmp_path, 9, name, fixed={"alpha": 0.05}) for name in ("a", "b")]
    columns = [Columns(study) for study in studies]
    complete: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}

    def figure(row: dict[str, Any], key: str) -> float:
        known = row["metrics"].get(key, row.get(key))
        return math.nan if known is None else float(known)

    for round_ in range(3):
        for study in studies:
            states = draw.choices(["complete", "failed", "pruned", "waiting"], weights=[4, 1, 1, 1], k=20)
            complete[study.name] += add(study, 20 * round_, states, draw)
        found = pareto.compare([each.follow() for each in columns], x, y, "valid")
        everyone: list[tuple[int, int, float, float]] = []
        for place, served in enumerate(found["studies"]):
            rows = [r for r in complete[served["study"]] if math.isfinite(figure(r, x) + figure(r, y))]
            assert sorted(served["number"]) == [r["number"] for r in rows]
            xs, ys = served["x"], served["y"]
            assert sorted(zip(served["number"], xs, ys, strict=True)) == [
                (r["number"], figure(r, x), figure(r, y)) for r in rows
            ]
            assert served["params"]["r"] == [float(n) for n in served["number"]]
            assert set(served["front"]) == naive(xs, ys, AXES[x].goal, AXES[y].goal)
            everyone += [(place, i, xs[i], ys[i]) for i in range(len(xs))]
        wanted = naive([p[2] for p in everyone], [p[3] for p in everyone], AXES[x].goal, AXES[y].goal)
        assert {tuple(pair) for pair in found["front"]} == {everyone[i][:2] for i in wanted}


def test_the_splits_are_kept_apart(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 9)
    draw = random.Random(2)
    add(study, 0, ["complete"] * 5, draw)
    add(study, 5, ["complete"] * 4, draw, test=True)
    columns = Columns(study).follow()
    found = pareto.compare([columns], "rate", "nll", "test")["studies"][0]
    assert (found["number"], found["y"]) == ([5, 6, 7, 8], [7.0] * 4)


@SQLITE
def test_a_study_that_is_named_twice_is_shown_once(database: Database, tmp_path: Path) -> None:
    fill(make(database, tmp_path, 3), metrics(100.0), metrics(99.0))
    shown = DatabaseAnalysis(database).pareto(["s", "s"], "rate", "ppl", "valid")
    assert [own["study"] for own in shown["studies"]] == ["s"]
    assert len(report.rows(database, ["s", "s"], "valid")) == 1


def test_figures_of_different_estimators_are_never_joined(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 4, "mixed")
    few = {**metrics(0.0)["estimator"], "samples": 10}
    fill(
        study,
        metrics(100.0, 1.0),
        metrics(90.0, 2.0, estimator=few),
        metrics(95.0, 3.0, estimator=few),
        metrics(99.0, 0.5),
    )
    columns = Columns(study).follow()
    own = pareto.compare([columns], "rate", "ppl", "valid")["studies"][0]
    assert (own["made"], own["front"]) == ([0, 1, 1, 0], [3, 0, 1, 2])
    bounds = pareto.compare([columns], "rate", "distortion", "valid")["studies"][0]  # no estimates
    assert (set(bounds["made"]), bounds["front"]) == ({0}, [1, 2])


def test_the_best_error_of_a_rate_is_the_one_nearest_to_0(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 4)
    fill(study, held(5.0, 0.1, 9.0), held(5.0, 5.02, 7.0), held(5.0, 4.0, 6.0), held(5.0, 7.5, 5.0))
    found = pareto.compare([Columns(study).follow()], "rate_error", "ppl", "valid")
    (own,) = found["studies"]
    assert {own["number"][at] for at in own["front"]} == {1, 2, 3}  # 0 has collapsed, and the worst perplexity
    assert found["x_goal"] == "zero"
    assert pareto.better("zero", "min") == "x nearer to 0, y lower"


def test_an_nll_and_a_melbo_have_no_front_together(database: Database, tmp_path: Path) -> None:
    likely = make(database, tmp_path, 2, "fb")
    fill(likely, metrics(100.0, 5.0), metrics(101.0, 6.0))
    bound = make(database, tmp_path, 1, "mim", objective="melbo")
    fill(bound, metrics(16.0, 300.0, melbo=16.0))
    columns = [Columns(study).follow() for study in (likely, bound)]
    found = pareto.compare(columns, "rate", "value", "valid")
    assert found["front"] == []
    assert "not to be ranked together" in found["note"]
    assert "MELBO; S = 1000 from q" in found["note"]
    assert levels.of(database, columns, "value", "valid") == []  # MELBO may lie below any entropy
    (alone,) = pareto.compare(columns[1:], "melbo", "value", "valid")["studies"]
    assert alone["front"] == [0]
    assert history.of(bound, Table(bound).follow())["entropy"] is None
    assert history.of(likely, Table(likely).follow())["entropy"] == 15.0
    side_by_side = comparison.of(database, ["fb/0", "mim/0"])["figures"]
    assert "value" not in {figure["key"] for figure in side_by_side}


def test_figures_of_other_sentences_have_no_front_together(database: Database, tmp_path: Path) -> None:
    few, many = make(database, tmp_path, 1, "few"), make(database, tmp_path, 1, "many")
    fill(few, metrics(100.0, mi=6.21))
    facts = {**metrics(0.0)["estimator"], "sentences": 3370, "of": 3370}
    fill(many, metrics(99.0, mi=7.9, estimator=facts))
    columns = [Columns(study).follow() for study in (few, many)]
    for x, y in (("mi", "distortion"), ("rate", "active_units"), ("rate", "ppl")):
        found = pareto.compare(columns, x, y, "valid")
        assert found["front"] == []
        assert "40 valid sentences of" in found["note"]
    assert pareto.compare(columns[:1], "mi", "distortion", "valid")["note"] is None


def test_lines_that_a_front_is_held_against(database: Database, tmp_path: Path) -> None:
    study, baseline = make(database, tmp_path, 2, "a"), make(database, tmp_path, 2, "b", space=space.load("rnnlm"))
    fill(study, metrics(100.0))
    fill(baseline, metrics(98.0), metrics(97.0))
    columns = [Columns(study).follow()]
    heights = {level["label"]: level["value"] for level in levels.of(database, columns, "nll", "valid")}
    assert heights == {"exact entropy": 15.0, "RNNLM": 97.0}
    tokens = {level["label"]: level["value"] for level in levels.of(database, columns, "ppl", "valid")}
    assert tokens == pytest.approx({"exact entropy": math.exp(15 / 20), "RNNLM": math.exp(97 / 20)})
    assert levels.of(database, columns, "rate", "valid") == []
    other = creation.go_on(database, "other", defined(1, described={**CORPUS, "vocabulary": 6}), tmp_path / "runs")
    assert levels.of(database, [*columns, Columns(other).follow()], "nll", "valid") == []  # of several texts


def test_the_rnnlms_line_is_of_the_same_model_and_the_mean_of_a_configurations_runs(
    database: Database, tmp_path: Path
) -> None:
    space_ = space.load("rnnlm")
    paper = make(database, tmp_path, 1, "paper", space=space_, model="paper")
    searched = make(database, tmp_path, 2, "searched", space=space_)
    confirmed = make(database, tmp_path, 2, "confirmed", space=replace(space_, parameters=()))
    fill(paper, metrics(80.0))
    fill(searched, metrics(98.0), metrics(91.0))
    columns = [Columns(make(database, tmp_path, 1, "a")).follow()]

    def lines(own: list[Columns]) -> dict[str, float]:
        found = levels.of(database, own, "nll", "valid")
        return {level["label"]: level["value"] for level in found if "RNNLM" in level["label"]}

    assert lines(columns) == {"RNNLM": 91.0}  # no configuration was run by itself, so a search's best stands for it
    fill(confirmed, metrics(97.0), metrics(93.0))
    assert lines(columns) == {"RNNLM": 95.0}
    columns.append(Columns(make(database, tmp_path, 1, "b", model="paper")).follow())
    assert lines(columns) == {"RNNLM, paper": 80.0, "RNNLM, tiny": 95.0}


def test_a_line_that_is_near_is_drawn_and_one_that_is_far_is_told(database: Database, tmp_path: Path) -> None:
    study, baseline = make(database, tmp_path, 2, "a"), make(database, tmp_path, 1, "b", space=space.load("rnnlm"))
    fill(study, metrics(100.0, 1.0), metrics(101.0, 5.0))
    fill(baseline, {**metrics(101.5), "rate": None})
    app(
        ["pareto", "--y", "nll", "--out", str(tmp_path / "f.svg"), "--database", database.secret_url],
        standalone_mode=False,
    )
    drawn = (tmp_path / "f.svg").read_text()
    assert "<!-- RNNLM 101.5 -->" in drawn
    assert "<!-- exact entropy 15, below the plot -->" in drawn
    assert "<!-- a -->" in drawn
    assert "<!-- b -->" not in drawn  # it has no rate, so it is the line alone


@pytest.mark.parametrize(("rate", "is_left"), [(1.0, False), (8.0, True)])
def test_a_lines_name_stands_where_no_mark_is(rate: float, is_left: bool, database: Database, tmp_path: Path) -> None:
    study, baseline = make(database, tmp_path, 8, "a"), make(database, tmp_path, 1, "b", space=space.load("rnnlm"))
    fill(study, *(metrics(100.0 + n, 1.0 + n) for n in range(7)), metrics(900.0, rate))  # the last is told at the edge
    fill(baseline, {**metrics(106.3), "rate": None})
    out = tmp_path / "f.svg"
    app(["pareto", "--y", "nll", "--out", str(out), "--database", database.secret_url], standalone_mode=False)
    place = re.search(r"<!-- RNNLM 106.3 -->\s*<g [^>]*translate\(([0-9.]+)", out.read_text())
    assert place is not None
    assert (float(place[1]) < 100) is is_left


def test_the_drawing_keeps_texts_apart_and_its_scale(database: Database, tmp_path: Path) -> None:
    fill(make(database, tmp_path, 7, "a"), *(metrics(100.0 + n, 1.0 + n) for n in range(6)), metrics(900.0, 8.0))
    other = creation.go_on(database, "other", defined(2, described={**CORPUS, "vocabulary": 6}), tmp_path / "runs")
    fill(other, metrics(50.0, 1.0), metrics(51.0, 2.0))
    app(
        ["pareto", "--y", "nll", "--out", str(tmp_path / "f.svg"), "--database", database.secret_url],
        standalone_mode=False,
    )
    drawn = (tmp_path / "f.svg").read_text()
    for said in (
        "grammar, 5 words, uncut, text f",
        "grammar, 6 words, uncut, text f",
        "↘ better",
        "NLL [nats per sentence]",
    ):
        assert f"<!-- {said} -->" in drawn
    assert "<!-- 800 -->" not in drawn  # one far trial does not take the scale
    assert re.search("<!-- .*a 900, above the plot.* -->", drawn)
    assert figures.near([1.0, 2.0, 3.0, 4.0, 5.0, 99.0]) == pytest.approx((0.84, 5.16))
    assert figures.near([1.0, 2.0, 98.0, 99.0]) == pytest.approx((-2.92, 102.92))
    rates = [0.06, 4.88, 4.99, 5.68, 6.54]  # the first is far off, but leaves the others a quarter of the scale
    assert figures.near(rates) == pytest.approx((0.06 - 0.04 * 6.48, 6.54 + 0.04 * 6.48))


def test_the_test_split_finds_the_confirmations_of_the_named_studies(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 2, "a")
    fill(study, metrics(100.0), metrics(99.0))
    fill(confirmed(database, study, tmp_path), metrics(98.0, test=metrics(97.0, 4.0, split="test")))
    place = ["--split", "test", "--database", database.secret_url]
    app(["pareto", "a", "--out", str(tmp_path / "f.json"), *place], standalone_mode=False)
    (own,) = json.loads((tmp_path / "f.json").read_text())["studies"]
    assert (own["study"], own["confirms"], own["x"]) == ("a-confirmed-1", "a", [4.0])


def test_who_looks_while_another_reads_new_trials_sees_them_whole(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(database, tmp_path, 3)
    add(study, 0, ["complete"] * 9, random.Random(2))
    columns, found, doubts = Columns(study), list[Any](), pareto.doubts_of

    def look() -> None:
        try:
            found.append(columns.of("rate", "nll", "valid").plain("max", "min")["number"])
        except Exception as error:
            found.append(error)

    other = threading.Thread(target=look)

    def meanwhile(metrics: Any) -> list[str]:
        if other.ident is None:
            other.start()
            other.join(0.3)  # it ends, or waits for these trials
        return doubts(metrics)

    monkeypatch.setattr(pareto, "doubts_of", meanwhile)
    columns.follow()
    other.join()
    whole = columns.of("rate", "nll", "valid").plain("max", "min")["number"]
    assert found == [whole]
    assert len(whole) > 1


def test_the_rnnlms_line_is_found_behind_newer_studies_of_other_texts(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "STUDIES", 1)
    space_ = space.load("rnnlm")
    fill(make(database, tmp_path, 1, "ours", space=space_), metrics(91.0))
    for name in ("other", "another"):
        creation.go_on(
            database, name, defined(1, space=space_, described={**CORPUS, "vocabulary": 6}), tmp_path / "runs"
        )
    columns = [Columns(make(database, tmp_path, 1, "a")).follow()]
    found = levels.of(database, columns, "nll", "valid")
    assert {line["label"]: line["value"] for line in found}["RNNLM"] == 91.0
