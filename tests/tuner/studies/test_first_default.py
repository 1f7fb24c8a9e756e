"""Trial 0 of a study has the technique's published values, every sampler learns from it, and whoever reads the study is told."""

import csv
import io
import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import QUICK
from sqlalchemy import update
from stub_study import SQLITE, STUB, Make, expire, gain_of, run

from benchmarks.stub_study import CORPUS
from tuner import samplers, space, trainer
from tuner.analysis import export
from tuner.commands import render
from tuner.commands.app import app
from tuner.errors import Usage
from tuner.samplers import START
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow
from tuner.studies import answers, warmstart
from tuner.studies import study as studies
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import Study
from tuner.workers.leases import Attempts

PUBLISHED = {"r": 6.467, "alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def value(params: dict[str, Any]) -> float:
    return (float(params.get("r", 5)) - 6) ** 2 + float(params.get("alpha", 0))


def drive(study: Study) -> list[dict[str, Any]]:
    """Ends each trial at once, without a worker, one after another; returns their parameters."""
    attempts = Attempts(study, "w")
    while (claim := attempts.claim()) is not None:
        found = value(claim.params)
        attempts.finish(
            claim, "complete", value=found, values=[found], metrics={"nll": found, "rate": 5.0, "melbo": found}
        )
    return [t.params for t in study.trials.all()]


@pytest.mark.parametrize("technique", space.techniques())
def test_every_shipped_space_holds_its_published_values(technique: str) -> None:
    shipped = space.load(technique)
    values, published = shipped.published({})
    assert values == {p.name: p.default if p.paper is None else p.paper for p in shipped.parameters if p.tuned}
    assert published == any(p.paper is not None for p in shipped.parameters if p.tuned)


@SQLITE
@pytest.mark.filterwarnings("ignore")  # Optuna's about experimental samplers, BoTorch's about few data
@pytest.mark.parametrize("name", [*samplers.SAMPLERS, "own_sampler:Own"])
def test_a_sampler_goes_on_from_the_published_values_as_if_told_them(make: Make, name: str) -> None:
    options = {
        **QUICK,
        "nsga2": {"population_size": 9},
    }  # of a first generation Optuna leaves out the trial that was given
    facts = {"sampler": name, "sampler_options": options.get(name, {})}
    distributions = {p.name: p.distribution() for p in space.load("sfb").searched({})}

    def told(given: bool) -> list[dict[str, Any]]:
        """Parameters that Optuna alone proposes."""
        study = optuna.create_study()
        if given:
            study.enqueue_trial(PUBLISHED)
        for number in range(8):
            more = {"given": 1} if given and number else {}
            study.sampler = samplers.create(name, facts["sampler_options"], 0, number, distributions, **more)
            trial = study.ask(distributions)
            study.tell(trial, value(trial.params))
        return [t.params for t in study.trials]

    first = make(8, "first", first_default=True, **facts)
    found = drive(first)
    assert found[0] == PUBLISHED
    assert found == told(True)
    assert [t.source for t in first.trials.all()] == ["published", *["sampler"] * 7]
    assert len({json.dumps(params) for params in found}) == 8
    without = make(8, "without", **facts)
    assert drive(without) == told(False)
    assert without.trials.all()[0].params != PUBLISHED
    assert {t.source for t in without.trials.all()} == {"sampler"}


@SQLITE
@pytest.mark.parametrize("name", ["gp-map", "gp-mcmc"])
@pytest.mark.parametrize("claims_at_once", [1, 6])
def test_our_samplers_begin_with_all_their_sobol_points_after_it(make: Make, name: str, claims_at_once: int) -> None:
    facts = {"sampler": name, "sampler_options": QUICK[name]}
    start = drive(make(START, "without", **facts))
    study = make(START + 2, "first", first_default=True, **facts)
    if claims_at_once == 1:
        drive(study)
    else:
        for worker in range(claims_at_once):
            assert Attempts(study, f"w{worker}").claim() is not None
    tried = study.trials.all()
    assert [t.params for t in tried[: START + 1]] == [PUBLISHED, *start]
    notes = [t.system_attrs.get("gp:diagnostics") for t in as_optuna(study).trials]
    assert notes[: START + 1] == [None] * (START + 1)  # of the values that were given it makes no proposal
    if claims_at_once == 1:
        assert notes[-1] is not None
        assert notes[-1]["observations"] == START + 1


@SQLITE
def test_the_starts_of_optunas_samplers_lose_no_point(make: Make) -> None:
    distributions = {p.name: p.distribution() for p in space.load("sfb").searched({})}
    for name in ("gp", "tpe", "cmaes", "botorch"):
        for options, start in (({}, START), ({"n_startup_trials": 7}, 7)):
            made: Any = samplers.create(name, options, 0, 1, distributions, given=1)
            assert made._n_startup_trials == start + 1
    made = samplers.create("optuna.samplers:TPESampler", {}, 0, 1, distributions, given=1)
    assert made._n_startup_trials == 11
    for name in ("random", "qmc"):  # what a trial is depends on its number, or on the proposals before
        with_, without = (drive(make(6, f"{name}-{on}", sampler=name, first_default=on)) for on in (True, False))
        assert with_[1:] == without[1:]
    first = make(4, "genetic", sampler="nsga2", sampler_options={"population_size": 3}, first_default=True)
    drive(first)  # a trial without a generation would have no descendants
    assert [t.system_attrs["NSGAIISampler:generation"] for t in as_optuna(first).trials] == [0, 0, 0, 1]
    grid = drive(make(5, "grid", sampler="grid", space=space.load("iwae"), first_default=True))
    assert grid[0]["k"] == 10  # one of its five points
    assert {params["k"] for params in grid} == {2, 4, 10, 22, 50}


@SQLITE
@pytest.mark.parametrize("name", ["gp-map", "nsga2", "qmc", "grid", "tpe"])
def test_a_study_cut_in_two_asks_what_an_uncut_one_asks(make: Make, name: str) -> None:
    facts = {"sampler": name, "first_default": True}
    whole = drive(make(7, "whole", **facts))
    drive(make(2, "cut", **facts))
    assert drive(make(7, "cut", **facts)) == whole
    assert [params == PUBLISHED for params in whole] == [True] + 6 * [False]


@SQLITE
def test_with_a_warm_start_it_stays_trial_0(database: Database, make: Make) -> None:
    drive(make(6, "before", sampler="gp-map"))
    distributions = {p.name: p.distribution() for p in space.load("sfb").searched({})}
    taken = warmstart.observations(database, "before", distributions)
    warm = make(3, "warm", sampler="gp-map", first_default=True, warm_start="before", observations=taken)
    assert drive(warm)[0] == PUBLISHED
    seen = [t.system_attrs.get("gp:diagnostics", {}).get("observations") for t in as_optuna(warm).trials]
    assert seen == [None, 7, 8]


def test_workers_at_once_get_it_once_and_another_goes_on_with_it(database: Database, make: Make) -> None:
    study, claims = make(5, first_default=True), []

    def claim(name: str) -> None:
        claims.append(Attempts(study, name).claim())

    threads = [threading.Thread(target=claim, args=(f"w{place}",)) for place in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(c.number for c in claims if c is not None) == [0, 1, 2, 3, 4]
    assert [c.params == PUBLISHED for c in sorted(claims, key=lambda c: c.number)] == [True] + 4 * [False]
    expire(database)  # all of them were killed
    again = Attempts(study, "other").claim()
    assert again is not None
    assert (again.number, again.params, again.attempt) == (0, PUBLISHED, 1)
    Attempts(study, "other").fail(again, "preempted", "handed back")
    assert (study.trials.all()[0].source, study.trials.all()[0].state) == ("published", "waiting")
    assert len(study.trials.all()) == 5


def test_nothing_that_is_enqueued_takes_its_place(make: Make) -> None:
    study = make(2, first_default=True)
    assert [(t.number, t.state, t.source) for t in study.trials.all()] == [(0, "waiting", "published")]
    added = study.trials.enqueue({"r": 3.0})
    assert (added.number, added.source) == (1, "enqueued")
    assert [t["source"] for t in answers.whole(study)["trials"]] == ["published", "enqueued"]


def test_a_study_from_before_it_existed_goes_on_without(database: Database, make: Make) -> None:
    make(3)

    def age(session: Any) -> None:
        row = session.get_one(StudyRow, "s")
        row.specification = {key: v for key, v in row.specification.items() if key != "first_default"}

    database.run(age)
    assert studies.open_study(database, "s").spec.first_default is False
    with pytest.raises(Usage, match=r"another first_default \(False, not True\): .* go on with it as it is"):
        make(3, first_default=True)
    assert {t.source for t in make(3).trials.all()} == set()
    make(3, "new", first_default=True)
    with pytest.raises(Usage, match=r"another first_default \(True, not False\): .* go on with it as it is"):
        make(3, "new")


def ended(
    database: Database, number: int, nll: float, state: str = "complete", melbo: float = 0.0, **estimator: Any
) -> None:
    """Gives trial `number` of study s this end."""
    facts = {"proposal": "q", "samples": 9, "sentences": 5, "of": 5, "seed": number, "split": "valid", **estimator}
    metrics = {"nll": nll, "nll_se": 0.1, "rate": 1.0, "collapsed": False, "estimator": facts}
    row = {"state": state, "value": melbo or nll, "values": [nll], "metrics": metrics, "ended_at": 1.0}
    database.run(lambda s: s.execute(update(TrialRow).where(TrialRow.number == number).values(**row)))


TEMPERED = {"proposal": "tempered q", "temper": 0.1, "levels": {}, "error": 0.01, "bias": 0.01, "resolved": True}


@SQLITE
@pytest.mark.parametrize(
    ("changes", "ends", "said"),
    [
        ({}, [{"nll": 15.62}, {"nll": 15.48}], "trial 0 has the published values: NLL 15.62; the best is 0.14 lower"),
        ({}, [{"nll": 15.48}, {"nll": 15.62}], "trial 0 has the published values: NLL 15.48; it is the best"),
        ({}, [{"nll": 15.624}, {"nll": 15.622}], "…NLL 15.62; the best is less than 0.01 lower"),
        (
            {},
            [{"nll": 15.62, **TEMPERED}, {"nll": 15.60, **TEMPERED}],
            "…NLL 15.62; the best is 0.02 lower, within the estimates' errors",
        ),
        ({}, [{"nll": 15.62, **TEMPERED}, {"nll": 15.48, **TEMPERED}], "…NLL 15.62; the best is 0.14 lower"),
        (
            {},
            [{"nll": 15.62, **TEMPERED, "resolved": False}, {"nll": 15.48, **TEMPERED}],
            "…NLL 15.62; the best is 0.14 lower, but the estimate of trial 0 is not resolved",
        ),
        ({"min_rate": 2.0}, [{"nll": 15.62}, {"nll": 15.48}], "…NLL 15.62, R 1; the best is 0.14 lower"),
        (
            {"objective": "melbo"},
            [{"nll": 1.0, "melbo": 12.5}, {"nll": 2.0, "melbo": 12.0}],
            "…MELBO 12.50; the best is 0.50 lower",
        ),
        ({"space": space.load("lagvae")}, [{"nll": 2.0}, {"nll": 1.0}], "trial 0 has the default values: NLL 2; …1.00"),
        (
            {},
            [{"nll": 15.62, **TEMPERED}, {"nll": 15.48}],
            "…NLL 15.62, by another estimator than the best's: the two are not to be compared",
        ),
        ({}, [{"nll": 15.62, "state": "failed"}, {"nll": 15.48}], None),
        ({"first_default": False}, [{"nll": 15.62}, {"nll": 15.48}], None),
    ],
)
def test_a_summary_says_what_was_gained(
    database: Database, make: Make, changes: dict[str, Any], ends: list[dict[str, Any]], said: str | None
) -> None:
    study = make(2, **{"first_default": True, **changes})
    for number in range(2):
        assert Attempts(study, f"w{number}").claim() is not None
    for number, facts in enumerate(ends):
        ended(database, number, **facts)
    found = gain_of(study)
    if said is None:
        assert found is None
    else:
        assert found is not None
        for part in said.split("…"):
            assert part in found
        assert found.endswith(said.split("…")[-1] + (" lower" if said.endswith("1.00") else ""))


@SQLITE
def test_the_front_of_two_objectives_has_it_or_not(database: Database, make: Make) -> None:
    study = make(2, first_default=True, objective="nll,rate", sampler="tpe")
    for number, values in enumerate(([15.0, 1.0], [14.0, 2.0])):
        assert Attempts(study, f"w{number}").claim() is not None
        ended(database, number, values[0])
        database.run(
            lambda s, n=number, v=values: s.execute(update(TrialRow).where(TrialRow.number == n).values(values=v))
        )
    assert gain_of(study) == "trial 0 has the published values: NLL 15.00, R 1; it is not on the front"


@pytest.mark.usefixtures("stub")
@SQLITE
def test_tables_and_files_show_it(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study = make(2, first_default=True)
    run(study)
    render.summary(study)
    shown = capsys.readouterr().out
    (marked,) = [line for line in shown.splitlines() if line.rstrip().endswith("published values; collapsed")]
    assert marked.split()[0] == "0"
    assert "\ntrial 0 has the published values: NLL 10.22; it is the best\n" in shown
    rows = list(csv.DictReader(io.StringIO(export.trials(study, "csv"))))
    assert [row["source"] for row in rows] == ["published", "sampler"]


@pytest.fixture
def launched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[dict[str, Any], str]]:
    """Texts of `tuner launch --json` of two trials on both outputs."""
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    described = {**CORPUS, "latent": True, "stages": 1, "unfit": None, "limits": {}, "planned": {}, "warnings": []}
    monkeypatch.setattr(trainer, "check", lambda spec, corners: described)
    monkeypatch.setenv("TUNER_DATABASE", f"sqlite:///{tmp_path}/t.db")
    monkeypatch.setenv("TUNER_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str) -> tuple[dict[str, Any], str]:
        app(["launch", "-n", "2", "--sampler", "random", "--json", *arguments], standalone_mode=False)
        said = capsys.readouterr()
        return json.loads(said.out), said.err

    return run


def first(found: tuple[dict[str, Any], str]) -> tuple[str, dict[str, Any], bool]:
    trial = found[0]["trials"][0]
    return trial["source"], trial["params"], found[0]["spec"]["first_default"]


def test_launch_begins_with_what_is_published_unless_told_not_to(launched: Callable[..., Any]) -> None:
    assert first(launched("-t", "sfb")) == ("published", PUBLISHED, True)
    with pytest.raises(Usage, match="exists with another first_default"):
        launched("-t", "sfb", "--no-first-default")
    source, params, _ = first(launched("-t", "sfb", "--study", "without", "--no-first-default"))
    assert (source, params == PUBLISHED) == ("sampler", False)
    rest = {key: v for key, v in PUBLISHED.items() if key != "r"}
    assert first(launched("-t", "sfb", "--study", "fixed", "--set", "r=3")) == ("published", rest, True)
    assert first(launched("-t", "lagvae")) == ("default", {"e": 110.0, "m": 0.005, "alpha": 1.0}, True)
    for more in ((), ("--no-first-default",)):  # nothing is searched, and nothing changes
        assert first(launched("-t", "vanilla", *more)) == ("sampler", {}, False)


def test_a_space_of_ones_own_has_it_where_it_fits(launched: Callable[..., Any], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"

    def with_(text: str, study: str) -> tuple[str, dict[str, Any], str]:
        own.write_text(f'technique = "sfb"\n[parameters.r]\n{text}')
        found = launched("-t", "sfb", "--space", str(own), "--study", study)
        return *first(found)[:2], found[1]

    inside = with_('type = "float"\nlow = 2\nhigh = 12\n[parameters.d_z]\ntype = "int"\nlow = 8\nhigh = 64', "inside")
    assert inside[:2] == ("published", {"r": 6.467, "d_z": 8})
    assert with_('type = "float"\nlow = 2\nhigh = 12\npaper = 3', "said")[1] == {"r": 3.0}
    for study, text, domain in (
        ("out", "low = 7\nhigh = 12", "7 to 12"),
        ("between", "low = 1\nhigh = 9\nstep = 0.5", r"1 to 9 \(step 0.5\)"),
    ):
        source, params, said = with_(f'type = "float"\n{text}', study)
        assert source == "sampler"
        assert params != {"r": 6.467}
        (note,) = [line for line in said.splitlines() if line.startswith("note: trial 0")]
        expected = f"trial 0 of {study} is the sampler's.*: r = 6.467 is out of the search space's domain, {domain}: "
        assert re.search(expected, note)
