"""Optuna's record follows our trials, and its own tools open it."""

from pathlib import Path

import pytest
from stub_study import SQLITE, Make, behave, run, states

from benchmarks.stub_study import defined
from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.studies import answers, creation, queries
from tuner.studies import study as studies
from tuner.studies.optuna_bridge import as_optuna
from tuner.workers import leases as attempts_module

pytestmark = pytest.mark.usefixtures("stub")


def test_optunas_record_catches_up_after_a_crash(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(3)
    with monkeypatch.context() as patched:
        patched.setattr(
            attempts_module, "record", lambda *_, **__: None
        )  # as if each worker had died before it came to that
        run(study)
    import optuna

    assert optuna.load_study(study_name="s", storage=study.database.storage).trials == []
    found = as_optuna(study).trials
    assert [(t.number, t.value, t.params) for t in found] == [(t.number, t.value, t.params) for t in study.trials.all()]
    assert [t.user_attrs["metrics"] for t in found] == [t.metrics for t in study.trials.all()]


def test_a_record_that_has_gone_astray_is_made_anew(make: Make) -> None:
    study = make(2)
    run(study)
    import optuna

    optuna.load_study(
        study_name="s", storage=study.database.storage
    ).ask()  # as a commit whose word was lost would leave
    run(make(4))
    found = as_optuna(study).trials
    assert [(t.number, t.state.name, t.params) for t in found] == [
        (t.number, "COMPLETE", t.params) for t in study.trials.all()
    ]


def test_somebody_elses_optuna_study_is_not_taken_over(database: Database, make: Make, tmp_path: Path) -> None:
    import optuna

    optuna.create_study(study_name="s", storage=database.storage).ask()
    with pytest.raises(Usage, match="is not this program's"):
        make()
    both = {"new": defined(3), "s": defined(3)}
    with pytest.raises(Usage, match="study 's' .* is not this program's"):
        creation.go_on_each(database, both, tmp_path)
    assert list(queries.all_studies(database)) == []


def test_optunas_own_tools_open_the_study(database: Database, make: Make) -> None:
    import optuna

    run(make(2))
    plain = optuna.load_study(study_name="s", storage=database.storage)
    assert len(plain.trials) == 2
    assert plain.best_value == studies.open_study(database, "s").best().value  # type: ignore[union-attr]


@SQLITE
@pytest.mark.parametrize("sampler", ["gp-mcmc", "gp-map", "nsga2", "tpe"])
def test_two_objectives_are_told_to_optuna_and_shown_as_a_front(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    import optuna

    behave(monkeypatch, all="trade")  # rate = r, NLL rises with it
    options = {"n_startup": 3, "burn_in": 20, "samples": 3} if sampler == "gp-mcmc" else {}
    study = make(6, objective="nll,rate", sampler=sampler, sampler_options=options)
    run(study)
    trials = study.trials.all()
    assert states(study) == ["complete"] * 6
    assert set(study.front()) == set(range(6))  # each buys its rate
    plain = optuna.load_study(study_name="s", storage=database.storage)
    assert [d.name for d in plain.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert {t.number for t in plain.best_trials} == set(answers.whole(study)["front"])
    assert answers.whole(study)["best"]["value"] == min(t.value for t in trials if t.value is not None)
    with pytest.raises(Usage, match="exists with another objective"):
        make(6, sampler=sampler, sampler_options=options)
