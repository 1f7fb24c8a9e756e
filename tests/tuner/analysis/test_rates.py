"""Figures against the target rate: what is drawn, of which runs, with which deviations."""

import json
from pathlib import Path
from statistics import mean, stdev

import pytest
from filled import confirmed, fill, held, metrics
from sqlalchemy import update
from stub_study import make

from tuner.analysis import figures, rates
from tuner.analysis.pareto import Columns
from tuner.commands.app import app
from tuner.errors import Missing, Usage
from tuner.space import load
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies import confirmation, sweep


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/t.db", create=True)


def found(database: Database, names: list[str], split: str) -> list[rates.Series]:
    sources = confirmation.sources(database, names, split)
    return rates.series([(one, [Columns(each).follow() for each in own]) for one, own in sources], split)


def test_runs_of_one_target_are_one_point_with_their_mean_and_deviation(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 4)
    runs = [
        held(0.1 + 0.2, 0.25, 100.0),
        held(5.0, 4.5, 90.0),
        held(0.3, 0.4, 104.0),
        held(20.0, 18.0, 95.0, None),
        None,
    ]
    fill(study, *runs)
    (series,) = found(database, [], "valid")
    assert (series.label, series.studies, series.estimators) == (
        "sfb",
        ["s"],
        ["S = 1000 from q, 40 valid sentences of grammar, 5 words, uncut, text f"],
    )
    assert [(p.target, p.runs) for p in series.points] == [(0.3, 2), (5.0, 1), (20.0, 1)]
    assert series.points[0].figures["ppl"] == (mean([100, 104]), stdev([100, 104]))
    assert series.points[0].figures["rate_error"] == pytest.approx((mean([-0.05, 0.1]), stdev([-0.05, 0.1])))
    assert series.points[2].figures == {"ppl": (95.0, None), "acc_gap": None, "rate_error": (-2.0, None)}
    plain = series.plain()
    assert (plain["target"], plain["acc_gap"], plain["ppl_sd"][1:]) == (
        [0.3, 5.0, 20.0],
        [5.0, 5.0, None],
        [None, None],
    )


def test_a_target_is_the_rate_that_was_asked_for_to_the_last_digit(database: Database, tmp_path: Path) -> None:
    third = 1 / 3  # of which R − (R − r) is not r
    study = make(database, tmp_path, 2)
    fill(study, *(held(third, rate, 90.0, target_rate=third) for rate in (7.7, 0.1)))
    (series,) = found(database, [], "valid")
    assert [(point.target, point.runs) for point in series.points] == [(third, 2)]


def test_lines_are_named_by_what_differs_and_test_figures_come_from_confirmations(
    database: Database, tmp_path: Path
) -> None:
    for name, fixed in (("a", {}), ("b", {"posterior": "iaf", "prior": "mog"}), ("c", {"d_z": 9}), ("d", {})):
        study = make(database, tmp_path, 1, name=name, fixed=fixed)
        fill(study, metrics(99.0) if name == "d" else held(5.0, 4.0, 90.0))
    labels = [each.label for each in found(database, [], "valid")]
    assert labels == ["a", "sfb (iaf, mog)", "c"]
    assert found(database, ["d"], "valid") == found(database, [], "test") == []
    with pytest.raises(Missing, match="study 'nix' is not in"):
        found(database, ["nix"], "valid")
    place = ("--database", database.secret_url)
    with pytest.raises(Usage, match="no complete trial of d has valid figures and a target rate: `tuner sweep"):
        app(["rates", "d", *place], standalone_mode=False)
    with pytest.raises(Usage, match="of any study has test figures .* `tuner confirm"):
        app(["rates", "--split", "test", *place], standalone_mode=False)
    runs = confirmed(database, make(database, tmp_path, 1, name="a"), tmp_path)
    fill(runs, *(held(5.0, 4.0, 90.0, test=held(5.0, 4.5 + n, 91.0 + n)) for n in range(2)))
    for names in ([], ["a"], ["a-confirmed-0"]):
        (series,) = found(database, names, "test")
        assert (series.studies, series.points[0].figures["ppl"]) == (["a-confirmed-0"], (91.5, stdev([91, 92])))


def test_a_grid_has_a_line_for_each_posterior_and_no_mean_over_what_is_not_seeds(
    database: Database, tmp_path: Path
) -> None:
    grid = sweep.narrowed(load("sfb"), {"r": (1.0, 5.0), "posterior": ("gaussian", "iaf")})
    study = make(database, tmp_path, 4, space=grid, fixed={"prior": "mog"})
    points = [{"r": r, "posterior": posterior} for posterior in ("iaf", "gaussian") for r in (1.0, 5.0)]
    fill(study, *(held(p["r"], p["r"], 90.0 + n) for n, p in enumerate(points)), params=points)
    drawn = {one.label: one for one in found(database, [], "valid")}
    assert {label: [p.figures["ppl"] for p in one.points] for label, one in drawn.items()} == {
        "sfb (iaf, mog)": [(90.0, None), (91.0, None)],
        "sfb (mog)": [(92.0, None), (93.0, None)],
    }
    assert all(one.joined for one in drawn.values())
    other = make(database, tmp_path, 2, name="other", space=sweep.narrowed(load("sfb"), {"alpha": (0.05, 0.1)}))
    fill(other, held(5.0, 5.0, 90.0), held(5.0, 5.0, 92.0), params=[{"alpha": 0.05}, {"alpha": 0.1}])
    (apart,) = found(database, ["other"], "valid")
    assert [p.figures["ppl"] for p in apart.points] == [(90.0, None), (92.0, None)]


def test_the_figure_is_drawn_alike_each_time(database: Database, tmp_path: Path) -> None:
    runs = held(1.0, 1.0, 100.0), held(1.0, 1.1, 101.0), held(5.0, 4.8, 90.0, None)
    fill(make(database, tmp_path, 2), *runs)
    drawn = found(database, [], "valid")
    for name in ("one.svg", "two.svg", "one.pdf", "one.png"):
        figures.rates(rates.plain(drawn, "valid"), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert str(tmp_path) not in text
    with pytest.raises(Usage, match="is no kind of file that can be drawn"):
        figures.rates(rates.plain(drawn, "valid"), tmp_path / "one.gif")
    assert json.dumps(rates.plain(drawn, "valid"))


def test_a_sweep_is_a_line_and_a_search_is_points(database: Database, tmp_path: Path) -> None:
    search = make(database, tmp_path, 2, name="search", space=load("sfb"))
    fill(search, held(1.0, 1.0, 90.0), held(5.0, 5.0, 91.0))
    (joined,) = found(database, ["search"], "valid")
    assert joined.joined  # `fill` varies r alone
    changed = update(TrialRow).where(TrialRow.number == 1).values(params={"r": 6.0, "alpha": 0.5})
    database.run(lambda session: session.execute(changed))
    (apart,) = found(database, ["search"], "valid")
    assert not apart.joined
    assert apart.plain()["joined"] is False


def test_runs_that_are_in_no_mean_are_told(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 4)
    fill(study, *[held(5.0, 4.5, 90.0)] * 3, None)
    assert rates.plain(found(database, [], "valid"), "valid")["note"] == "1 of 4 runs of s failed"
