"""Optuna's tables hold what Optuna itself would have written, so that its tools read it; Optuna's changes are told at once."""

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb import models
from sqlalchemy import event, select, text, update
from stub_study import SQLITE, Make, behave, run
from stub_study import make as make_study

from tuner.storage.database import Database
from tuner.storage.optuna_tables import PARTS
from tuner.storage.tables import TrialRow
from tuner.studies.optuna_bridge import as_optuna, record
from tuner.studies.study import open_study

ROOT = Path(__file__).parents[3]
PRIVATE = "optuna.storages._rdb"
pytestmark = pytest.mark.usefixtures("stub")
COLUMNS = {
    models.StudyModel: {"study_id", "study_name"},
    models.StudyUserAttributeModel: {"study_user_attribute_id", "study_id", "key", "value_json"},
    models.StudySystemAttributeModel: {"study_system_attribute_id", "study_id", "key", "value_json"},
    models.TrialModel: {"trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"},
    models.TrialParamModel: {"param_id", "trial_id", "param_name", "param_value", "distribution_json"},
    models.TrialSystemAttributeModel: {"trial_system_attribute_id", "trial_id", "key", "value_json"},
    models.TrialUserAttributeModel: {"trial_user_attribute_id", "trial_id", "key", "value_json"},
    models.TrialValueModel: {"trial_value_id", "trial_id", "objective", "value", "value_type"},
    models.TrialIntermediateValueModel: {
        "trial_intermediate_value_id", "trial_id", "step", "intermediate_value", "intermediate_value_type",
    },
}  # fmt: skip
"""Parts of Optuna's tables that we write."""


def rows(database: Database, name: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of a study in Optuna's tables, without identities."""

    def plain(row: Any) -> dict[str, Any]:
        own = {a.key: getattr(row, a.key) for a in row.__mapper__.column_attrs if not a.key.endswith("_id")}
        jsons = {key: json.loads(own[key]) for key in ("value_json", "distribution_json") if key in own}
        return {key: value for key, value in {**own, **jsons}.items() if key != "study_name"}

    def look(session: Any) -> dict[str, list[dict[str, Any]]]:
        study = session.scalars(select(models.StudyModel).where(models.StudyModel.study_name == name)).one()
        trials = session.scalars(
            select(models.TrialModel)
            .where(models.TrialModel.study_id == study.study_id)
            .order_by(models.TrialModel.number)
        ).all()
        found = {"trials": [plain(trial) for trial in trials]}
        for model in (models.StudyUserAttributeModel, models.StudySystemAttributeModel):
            entries = session.scalars(select(model).where(model.study_id == study.study_id))
            found[model.__tablename__] = sorted(map(plain, entries), key=lambda row: str(row["key"]))
        for model in PARTS:
            entries = [session.scalars(select(model).where(model.trial_id == t.trial_id)) for t in trials]
            found[model.__tablename__] = [row for each in entries for row in sorted(map(plain, each), key=str)]
        return found

    return database.read(look)


def test_its_private_mapping_is_used_in_one_file() -> None:
    files = [file for room in ("tuner", "api", "trainers") for file in (ROOT / room).rglob("*.py")]
    used = [file.relative_to(ROOT).as_posix() for file in files if PRIVATE in file.read_text(encoding="utf-8")]
    assert used == ["tuner/storage/optuna_tables.py"]
    assert PRIVATE in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_its_tables_have_the_columns_that_we_write() -> None:
    """If this fails, a new Optuna has other tables: CONTRIBUTING says what to do."""
    assert {model: {column.name for column in model.__table__.columns} for model in COLUMNS} == COLUMNS


@SQLITE
def test_the_record_is_what_optuna_would_have_written(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t1="nan")
    study = make(3, min_rate=2.0)
    run(study)
    ours = as_optuna(study)
    theirs = optuna.create_study(study_name="theirs", storage=database.storage, directions=["minimize"])
    for key, value in ours.user_attrs.items():
        theirs.set_user_attr(key, value)
    theirs._storage.set_study_system_attr(theirs._study_id, "study:metric_names", ours.metric_names)
    for trial in ours.trials:
        theirs.add_trial(trial)
    assert rows(database, "s") == rows(database, "theirs")


@SQLITE
def test_its_tools_show_curves_settings_and_the_objectives_name(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t1="nan")
    study = make(4, seed=7)
    run(study)
    found = as_optuna(study)
    assert found.metric_names == ["nll"]
    assert found.user_attrs["technique"] == "sfb"
    assert (found.user_attrs["seed"], found.user_attrs["corpus"]) == (7, "grammar")
    for trial in found.trials:
        epochs = {
            row["epoch"]: row["neg_elbo"]
            for row in study.trials.epochs(trial.number, 100)
            if row["neg_elbo"] is not None
        }
        assert trial.intermediate_values == epochs
    assert any(trial.intermediate_values for trial in found.trials)
    assert all(math.isfinite(value) for trial in found.trials for value in trial.intermediate_values.values())
    from optuna import visualization as plots

    assert len(plots.plot_intermediate_values(found).data) == 3  # Optuna draws no failed trial
    drawn = (
        plots.plot_optimization_history, plots.plot_parallel_coordinate, plots.plot_slice, plots.plot_contour, plots.plot_edf,
        plots.plot_timeline, plots.plot_rank, plots.plot_param_importances,
    )  # fmt: skip
    for plot in drawn:
        assert plot(found).data, plot.__name__


POSTGRES = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")


@contextmanager
def meanwhile(database: Database, url: str, work: Callable[[Database], Any]) -> Iterator[None]:
    """Has another program do this when the next transaction here has written its rows; it waits for the commit."""
    begun: list[Future[Any]] = []
    with Database(url) as own, ThreadPoolExecutor(1) as pool:

        def begin(connection: Any) -> None:
            del connection
            begun.append(pool.submit(work, own))
            while not own.read(lambda session: session.scalar(BLOCKED)):
                assert not begun[0].done()
                time.sleep(0.01)

        event.listen(database.engine, "commit", begin, once=True)
        yield
        begun[0].result()


@POSTGRES
def test_a_study_that_is_deleted_while_its_trials_are_recorded_leaves_nothing(
    database: Database, make: Make, url: str
) -> None:
    study = make(2)
    run(study)
    database.run(lambda session: session.execute(update(TrialRow).values(told=False)))
    with meanwhile(database, url, lambda own: open_study(own, "s").delete()):
        record(study)
    assert optuna.get_all_study_names(database.storage) == []
    make(1)


@POSTGRES
def test_programs_that_make_a_study_at_once_make_one(database: Database, url: str, tmp_path: Path) -> None:
    with meanwhile(database, url, lambda own: make_study(own, tmp_path, 4)):
        make_study(database, tmp_path, 3)
    study = open_study(database, "s")
    assert study.spec.trials == 4
    run(study)
    assert [trial.number for trial in as_optuna(study).trials] == [0, 1, 2, 3]
