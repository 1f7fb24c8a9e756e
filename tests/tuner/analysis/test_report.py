"""Notes that tell a table's reader of its figures."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, update
from stub_study import make

from trainers.contract import SENTENCES
from tuner.analysis import ties
from tuner.commands import render
from tuner.commands.app import app
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies.study import Study
from tuner.studies.trials import Trial


def trial(number: int, nll: float, error: float | None, bias: float | None = 0.0) -> Trial:
    facts: dict[str, Any] = {"proposal": "q", "samples": 1000}
    if error is not None:
        facts = {"proposal": "tempered q", "error": error, "bias": bias}
    metrics = {"nll": nll, "estimator": facts}
    return Trial(number, "complete", {}, "sampler", nll, metrics, 1.0, None, None, None, None, f"s/{number}")


def test_a_difference_within_two_errors_and_the_larger_bias_is_a_tie() -> None:
    best, error = trial(0, 100.0, 0.03, 0.01), 2 * math.hypot(0.03, 0.04) + 0.05
    others = [trial(1, 100 + error - 1e-6, 0.04, 0.05), trial(2, 100 + error + 1e-6, 0.04, 0.05)]
    assert ties.tied(best, [best, *others]) == [1]


@pytest.mark.parametrize("other", [trial(1, 100.0, None), trial(1, 100.0, 0.1, None)])
def test_without_a_stated_error_nothing_is_said(other: Trial) -> None:
    assert ties.tied(trial(0, 100.0, 0.1), [other]) == []
    assert ties.tied(other, [trial(2, 100.0, 0.1)]) == []


def test_a_trial_that_failed_ties_with_nothing() -> None:
    failed = Trial(1, "failed", {}, "sampler", None, None, 1.0, None, "nan", "the loss is nan", None, "s/1")
    assert ties.tied(trial(0, 100.0, 0.1), [failed]) == []


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/t.db", create=True)


def many(database: Database, folder: Path, count: int = 120) -> Study:
    """Trials of which the first is the best, the second nearly as good, the third collapsed and the fourth not resolved."""
    study = make(database, folder, count)
    facts = {
        "proposal": "tempered q",
        "samples": 16,
        "sentences": 4,
        "of": 4,
        "split": "valid",
        "seed": 0,
        "temper": 1.0,
    }
    facts |= {"levels": {"16": 4}, "error": 0.1, "bias": 0.0, "resolved": True}
    figures = {"nll_se": 0.1, "ppl": 9.0, "rate": 5.0, "collapsed": False}

    def row(number: int) -> dict[str, Any]:
        nll = 100.0 + 0.2 * (number == 1) + 9.0 * (number > 1)
        estimator = {**facts, "resolved": number != 3}
        cost = {
            "seconds": {"set_up": 1.0, "training": 10.0 * number, "evaluation": 2.0},
            "tokens_per_second": 100.0 * number,
        }
        return {
            "study": study.name, "number": number, "state": "complete", "params": {"r": 2.0}, "attrs": {}, "value": nll,
            "values": [nll], "metrics": {**figures, "nll": nll, "collapsed": number == 2, "estimator": estimator},
            "cost": cost, "losses": 0, "seconds": 10.0 * number + 4.5, "told": True, "lease_until": 0.0, "created_at": 1.0,
            "started_at": 2.0, "revision": 1,
        }  # fmt: skip

    database.run(lambda session: session.execute(insert(TrialRow), [row(number) for number in range(count)]))
    return study


def test_averages_and_marks_are_of_all_trials_and_none_counts_twice(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = many(database, tmp_path)
    render.summary(study)
    said = capsys.readouterr().out.replace("\n", " ")
    mean = sum(range(120)) / 120
    parts = f"1 s of set-up, {render.duration(10 * mean)} of training, 2 s of evaluation, 1.5 s besides"
    assert f"a trial took on average {parts}" in said
    assert f"; training ran at {100 * mean:,.0f} tokens/s" in said
    assert "trial 1 may be as good" in said
    assert f"trial 2 {render.ALIKE[:60]}" in said
    assert f"trial 3 {render.NOTES['not resolved']}" in said
    assert "… and 69 earlier trials" in said
    app(["trials", study.name, "--database", database.secret_url], standalone_mode=False)
    listed = capsys.readouterr().out.replace("\n", " ")
    assert render.ALIKE[:60] in listed


def test_of_very_many_marked_trials_the_first_are_named() -> None:
    assert render._listed([4]) == "trial 4"
    assert render._listed(range(1, 1001)).endswith("19, 20, … (1,000 in all)")


def test_what_a_workers_cost_leaves_out_is_in_no_average(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = many(database, tmp_path, 2)
    told = {"epochs": 1, "seconds": {"training": 4.0}, "tokens_per_second": None}  # as a worker over the API may
    mine = (TrialRow.study == study.name, TrialRow.number == 0)
    database.run(lambda session: session.execute(update(TrialRow).where(*mine).values(cost=told)))
    render.summary(study)
    said = capsys.readouterr().out
    assert (
        "a trial took on average 1 s of set-up, 7 s of training, 2 s of evaluation; training ran at 100 tokens/s"
        in said
    )


def keep(study: Study, folder: Path, number: int, fingerprint: str, *levels: list[float]) -> None:
    """A trial's corrections by level, as a trainer keeps them."""
    corrections = {str(64 * 4**place): level for place, level in enumerate(levels)}
    estimate = {"estimator": {}, "nll": [0.0] * 4, "corrections": corrections, "order": [0, 1, 2, 3]}
    folder.mkdir(exist_ok=True)
    (folder / SENTENCES).unlink(missing_ok=True)
    (folder / SENTENCES).write_text(json.dumps({"valid": {"fingerprint": fingerprint, "estimates": [estimate]}}))
    generation = f"{number:04d}/{fingerprint}"
    study.files.store.publish(folder, generation, [SENTENCES])
    mine = (TrialRow.study == study.name, TrialRow.number == number)
    study.database.run(lambda session: session.execute(update(TrialRow).where(*mine).values(artifacts=generation)))


def test_what_two_estimates_share_is_not_in_their_difference(database: Database, tmp_path: Path) -> None:
    study = many(database, tmp_path, 2)
    best, other = study.trials.all()
    assert ties.tied(best, [other], study) == [1]  # .2 apart, 2 √(.1² + .1²) = .28: nothing is kept
    first, second = np.array([-0.2, 0.16, 0.14, -0.1]), np.array([-0.21, 0.15, 0.15, -0.1])
    few = np.array([0.01, -0.01])
    keep(study, tmp_path / "kept", 0, "f", first.tolist(), few.tolist())
    keep(study, tmp_path / "kept", 1, "g", second.tolist())
    assert ties.tied(best, [other], study) == [1]  # of other sentences
    keep(study, tmp_path / "kept", 1, "f", second.tolist())
    shared = np.cov(first, second)[0, 1] / 4 + np.cov(few, second[:2])[0, 1] / 4
    found = ties._shared(ties._corrections(study, 0), ties._corrections(study, 1))
    assert found == pytest.approx(shared)
    assert 2 * math.sqrt(0.02 - 2 * shared) < 0.2
    assert ties.tied(best, [other], study) == []


def test_the_shared_part_is_what_repeated_estimates_share() -> None:
    """Estimates of 40 of many sentences, whose corrections vary together: the difference's variance over choices of the 40."""
    draw = np.random.default_rng(1)
    population = draw.multivariate_normal([0, 0], [[1.0, 0.8], [0.8, 1.0]], 4000)
    chosen = [population[draw.choice(4000, 40, replace=False)] for _ in range(2000)]
    apart = np.var([sample[:, 0].mean() - sample[:, 1].mean() for sample in chosen])
    shared = np.mean([ties._shared(("f", [s[:, 0].tolist()]), ("f", [s[:, 1].tolist()])) for s in chosen])
    alone = population.var(axis=0, ddof=1).sum() / 40
    assert alone - 2 * shared == pytest.approx(apart, rel=0.1)
