"""A study begins with what another one has found."""

import re
from typing import Any

import pytest
from optuna.distributions import IntDistribution
from stub_study import SQLITE, Make, run

from benchmarks.stub_study import CORPUS
from tuner import samplers, space
from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.studies import strikes, warmstart
from tuner.studies import study as studies
from tuner.studies.objectives import outcome
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import open_study
from tuner.workers.leases import Attempts

pytestmark = pytest.mark.usefixtures("stub")


def distributions(technique: str = "sfb", **fixed: float) -> dict[str, Any]:
    return {p.name: p.distribution() for p in space.load(technique).searched(fixed)}


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "gp-map"])
def test_a_study_begins_with_anothers_trials_as_they_were_then(database: Database, make: Make, sampler: str) -> None:
    first = make(6, "first", sampler="gp-map")
    run(first)
    taken = warmstart.observations(database, "first", distributions())
    assert [o["params"] for o in taken] == [t.params for t in first.trials.all()]
    warm = {"sampler": sampler, "seed": 7, "warm_start": "first", "observations": taken}
    second = make(3, "second", **warm)
    run(second)
    asked = [t.system_attrs["gp:diagnostics"]["observations"] for t in as_optuna(second).get_trials()]
    assert asked == [6, 7, 8]  # no start of its own
    run(make(8, "first", sampler="gp-map"))
    later = warmstart.observations(database, "first", distributions())
    assert len(later) == 8
    run(make(5, "second", **{**warm, "observations": later}))
    assert len(studies.open_study(database, "second").facts.observations or ()) == 6
    whole = make(5, "whole", **warm)
    run(whole)
    assert [t.params for t in second.trials.all()] == [t.params for t in whole.trials.all()]
    with pytest.raises(Usage, match=r"exists with another warm_start \(first, not None\)"):
        make(5, "second", **{**warm, "warm_start": None})


@SQLITE
def test_what_cannot_be_begun_with_is_said(database: Database, make: Make) -> None:
    run(make(1, "first"))
    make(1, "empty")
    wanted = distributions()
    name = next(iter(wanted))
    for study, domains, message in (
        ("none", wanted, "study 'none' is not in"),
        ("empty", wanted, "warm_start = 'empty' has no finished trial in this study's space"),
        (
            "first",
            distributions("mdr"),
            "warm_start = 'first' tunes alpha, epsilon, gamma, r, not r: name a study over the",
        ),
        ("first", {**wanted, name: IntDistribution(0, 3)}, f"warm_start = 'first' has {name} as FloatDistribution"),
    ):
        with pytest.raises(Usage, match=re.escape(message)):
            warmstart.observations(database, study, domains)
    text = "grammar, 5 words, uncut, text f"
    for judged, message in (
        ({"batching": "length"}, "was judged with batching = random, not length: such figures are not to be ranked"),
        (
            {"batching": "random", "text": text, "nll": "tempered"},
            "was judged with nll = q, not tempered, and its trials have no other",
        ),
        (
            {"batching": "random", "text": text, "nll_samples": 7},
            "was judged with nll_samples = 100, not 7, and",
        ),
        ({"batching": "random", "text": "x, uncut"}, f"was judged with text = {text}, not x, uncut: such figures"),
        ({"batching": "random", "text": text, "inputless": True}, "with inputless = the default, not True"),
    ):
        with pytest.raises(Usage, match=message):
            warmstart.observations(database, "first", wanted, judged=judged)
    assert warmstart.observations(database, "first", wanted, judged={"batching": "random", "text": text})
    taken = warmstart.observations(database, "first", wanted)
    with pytest.raises(Usage, match="sampler 'tpe' knows the trials of its own study alone: warm_start needs gp-mcmc"):
        samplers.create("tpe", {}, 0, 0, wanted, taken)
    with pytest.raises(Usage, match="has no option 'earlier'"):
        samplers.create("gp-map", {"earlier": 1}, 0, 0, wanted)


@SQLITE
def test_anothers_trials_have_the_values_that_this_study_would_give_them(database: Database, make: Make) -> None:
    """The constraint, the objective and the estimator are this study's, from the figures that are there."""
    study = make(2, "first", min_rate=6.0, objective="nll,rate", fixed={"nll": "both"})
    attempts = Attempts(study, "w")
    metrics = [
        {"nll": 100.0, "nll_tempered": 98.0, "melbo": 90.0, "rate": 2.5},
        {"nll": 101.0, "nll_tempered": 99.5, "melbo": None, "rate": 7.0},
    ]
    for each in metrics:
        claim = attempts.claim()
        assert claim is not None
        attempts.finish(claim, "complete", **outcome(study.spec.objective, each))

    def values(**changes: Any) -> list[float]:
        judged = {"batching": "random", "text": study.facts.text, **changes.pop("judged", {"nll": "both"})}
        taken = warmstart.observations(database, "first", distributions(), judged=judged, **changes)
        return [each["value"] for each in taken]

    assert values() == [100.0, 101.0]
    assert values(min_rate=4.0) == [100.0, 101.0]
    kept = warmstart.observations(database, "first", distributions(), min_rate=4.0)
    assert [each["constraints"] for each in kept] == [{"rate": 1.5}, {"rate": -3.0}]
    assert values(judged={}) == [100.0, 101.0]  # the figure from q
    assert values(judged={"nll": "tempered", "nll_samples": 7}) == [98.0, 99.5]  # whose number of samples is its own
    assert values(objective="melbo", min_rate=3.0) == [90.0]


@SQLITE
def test_diverged_trials_are_told_as_the_worst_of_anothers(database: Database, make: Make) -> None:
    study = make(4, "first", max_failures=0)
    attempts = Attempts(study, "w")
    for rate in (2.5, None, 7.0, 4.0):
        claim = attempts.claim()
        assert claim is not None
        if rate is None:
            attempts.fail(claim, "nan", "it diverged.")
        else:
            attempts.finish(claim, "complete", **outcome("nll", {"nll": 10 * rate, "rate": rate}))
    strikes.strike(study, 3, "the corpus was cut off")
    trials = study.trials.all()
    taken = warmstart.observations(database, "first", distributions(), min_rate=4.0)
    assert [(each["value"], each["constraints"]) for each in taken] == [
        (25.0, {"rate": 1.5}), (70.0, {"rate": -3.0}), (70.0, {"rate": 1.5})
    ]  # fmt: skip
    assert [each["params"] for each in taken] == [trials[number].params for number in (0, 2, 1)]
    assert "constraints" not in warmstart.observations(database, "first", distributions())[-1]


@SQLITE
def test_a_presets_estimator_is_known(database: Database, make: Make) -> None:
    described = {**CORPUS, "sentences": {"train": 9, "valid": 700}}
    run(make(1, "first", described=described))  # of 500 sentences, 100 samples each
    text = open_study(database, "first").facts.text

    def begun(model: str, **options: Any) -> int:
        judged = {"batching": "random", "text": text, **options}
        return len(warmstart.observations(database, "first", distributions(), judged=judged, model=model))

    assert begun("small") == 1
    assert begun("paper", nll_sentences=500, nll_samples=100) == 1
    with pytest.raises(Usage, match="was judged with nll_sentences = 500, not 0"):
        begun("paper")
    with pytest.raises(Usage, match="was judged with nll_samples = 100, not the default"):
        begun("paper", nll_sentences=500)
    run(make(1, "few", described={**CORPUS, "sentences": {"train": 9, "valid": 400}}))  # all of which are judged
    judged = {"batching": "random", "text": text, "nll_samples": 100}
    assert warmstart.observations(database, "few", distributions(), judged=judged, model="paper")
