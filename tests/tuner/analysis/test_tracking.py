"""MLflow and Weights & Biases are told a study's epochs and figures, while it runs or later, and nothing twice."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from stub_study import SQLITE, Make, behave
from typer.testing import CliRunner

from benchmarks.large import fill
from tuner.analysis import tracking
from tuner.analysis.tracking import TRACKERS, Following
from tuner.client import Client
from tuner.commands.app import app
from tuner.errors import Fault, Missing, Usage
from tuner.storage.database import Database
from tuner.studies import strikes
from tuner.studies import study as studies
from tuner.studies.access import DatabaseStudies
from tuner.workers.broker import DatabaseBroker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, under the newest SQLAlchemy
NEEDED = {"mlflow": "mlflow", "wandb": "wandb"}


@dataclass
class Kept:
    """A run as the tracker itself reads it."""

    settings: dict[str, str]
    series: dict[str, list[tuple[int, float]]]
    """Values by step, as often as each is there."""
    final: dict[str, float]
    state: str | None
    ended: str
    group: str | None


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's, which takes seconds to make one."""
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(params=TRACKERS)
def kept(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], dict[str, Kept]]]:
    """Reads all runs by name; the tracker is `kept.to`."""
    pytest.importorskip(NEEDED[request.param], reason=f"the extra {request.param} is not installed")
    monkeypatch.chdir(tmp_path)
    if request.param == "mlflow":
        shutil.copy(request.getfixturevalue("mlflow_database"), tmp_path / "mlflow.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        read = mlflow_runs
    else:
        for key, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
            monkeypatch.setenv(key, value)
        read = lambda: wandb_runs(tmp_path / "wandb")  # noqa: E731
    read.to = request.param  # type: ignore[attr-defined]
    yield read
    if request.param == "wandb":
        import wandb

        wandb.teardown()  # it keeps what the variables were


def mlflow_runs() -> dict[str, Kept]:
    import mlflow

    client, found = mlflow.MlflowClient(), {}
    experiment = client.get_experiment_by_name("p").experiment_id
    runs = client.search_runs([experiment])
    names = {run.info.run_id: run.info.run_name for run in runs}
    for run in runs:
        assert run.info.run_name not in found, "a run is there twice"
        series = {
            key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        tags = run.data.tags
        parent = names.get(tags.get("mlflow.parentRunId"), run.info.run_name)
        found[run.info.run_name] = Kept(
            dict(run.data.params), series, dict(run.data.metrics), tags.get("tuner.state"), run.info.status, parent
        )
    return found


def wandb_runs(folder: Path) -> dict[str, Kept]:
    import wandb

    wandb.teardown()  # its other process has closed its files then
    found = {}
    for file in sorted(folder.glob("offline-run-*/run-*.wandb")):
        kept = Kept({}, {}, {}, None, "open", None)
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                name, kept.group = record.run.display_name, record.run.run_group
                kept.settings = {each.key: str(json.loads(each.value_json)) for each in record.run.config.update}
            elif kind == "history":
                items = {key(each): json.loads(each.value_json) for each in record.history.item}
                step = int(items["_step"])
                for each, value in items.items():
                    kept.series.setdefault(each, []).append((step, value))
            elif kind == "summary":
                kept.final |= {key(each): json.loads(each.value_json) for each in record.summary.update}
            elif kind == "exit":
                kept.ended = "FAILED" if record.exit.exit_code else "FINISHED"
        assert name not in found, "a run is there twice"
        kept.state = str(kept.final["tuner/state"]) if "tuner/state" in kept.final else None
        found[name] = kept
    return found


def key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def records(file: Path) -> Iterator[Any]:
    """Records of a run's file, which is a log of LevelDB: blocks of 32 KiB, parts with a head of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, part = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if place % 32768 > 32768 - 7:
            place += 32768 - place % 32768
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        part += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(part)
            part = b""


def told(database: Database, kept: Any, name: str = "s") -> int:
    """Tells what there is, as a process of its own would; returns the trials told to their end."""
    following = Following(DatabaseStudies(database), name, tracking.tracker(kept.to, "p"))
    with contextlib.closing(following):
        following.look()
    return following.told


@SQLITE
def test_a_finished_study_is_told_whole_and_once(kept: Any, database: Database, tmp_path: Path) -> None:
    fill(database, 3, 3, tmp_path)
    assert [told(database, kept) for _ in range(2)] == [3, 0]
    study, runs = studies.open_study(database, "s"), kept()
    assert set(runs) == {"s", "s/0", "s/1", "s/2"}
    assert {run.group for run in runs.values()} == {"s"}
    for trial in study.trials.all():
        run = runs[f"s/{trial.number}"]
        assert {key: float(run.settings[key]) for key in trial.params} == pytest.approx(trial.params)
        assert run.series["epoch/neg_elbo"] == [(1, 15.0), (2, 15.0), (3, 15.0)]
        assert run.series["objective/beta"] == [(1, 1.0), (2, 1.0), (3, 1.0)]
        assert trial.metrics is not None
        assert run.final["trial/nll"] == pytest.approx(trial.metrics["nll"])
        assert (run.state, run.ended) == ("complete", "FINISHED")
    values = [trial.value for trial in study.trials.all()]
    assert runs["s"].series["study/value"] == [(n + 1, pytest.approx(v)) for n, v in enumerate(values)]
    assert runs["s"].final["study/lowest"] == pytest.approx(min(values))
    assert runs["s"].settings["technique"] == "sfb"
    assert runs["s"].state == "finished"


@SQLITE
def test_epochs_come_while_a_trial_runs_and_another_process_goes_on(
    kept: Any, make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(2)
    leases = DatabaseBroker(database, "w").open("s")
    claim = leases.claim()
    assert claim is not None
    row = {"distortion": 1.0, "rate": 2.0, "active_units": 4, "seconds": 0.1}
    leases.record(claim, [{"epoch": 1, "neg_elbo": 3.0, **row}])
    first = Following(DatabaseStudies(database), "s", tracking.tracker(kept.to, "p"))
    assert first.look()
    leases.record(claim, [{"epoch": 2, "neg_elbo": float("nan"), **row}])
    assert first.look()
    first.close()
    run = kept()["s/0"]
    assert (run.series["epoch/rate"], run.state) == ([(1, 2.0), (2, 2.0)], None)
    assert run.series["epoch/neg_elbo"] == [(1, 3.0)]  # no number is no point
    leases.record(claim, [{"epoch": 3, "neg_elbo": 2.0, **row}])
    leases.fail(claim, "nan", "it diverged.")
    study.end("stopped", "stopped by the user")
    assert told(database, kept) == 1
    run = kept()["s/0"]
    assert run.series["epoch/rate"] == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert (run.state, run.ended) == ("failed", "FAILED")
    assert kept()["s"].state == "stopped"
    assert "s/1" not in kept()


@SQLITE
def test_an_epochs_time_is_its_trials_start_and_all_seconds_until_then(make: Make, database: Database) -> None:
    study = make(1)
    leases = DatabaseBroker(database, "w").open("s")
    claim = leases.claim()
    assert claim is not None
    row = {"distortion": 1.0, "rate": 2.0, "active_units": 4, "neg_elbo": 3.0}
    leases.record(claim, [{"epoch": n, **row, "seconds": 60.0 * n} for n in (1, 2, 3)])  # of training in all
    told = mock.Mock(step=1)
    Following(DatabaseStudies(database), study.name, mock.Mock())._tell_epochs(0, told, 1000.0)
    assert [(call.args[0], call.args[2]) for call in told.log.call_args_list] == [(2, 1120.0), (3, 1180.0)]


@SQLITE
def test_what_changes_after_its_end_is_told_again(kept: Any, database: Database, tmp_path: Path) -> None:
    fill(database, 2, 2, tmp_path)
    told(database, kept)
    study = studies.open_study(database, "s")
    strikes.strike(study, 1, "a mistake")
    assert told(database, kept) == 1
    run = kept()["s/1"]
    assert (run.state, run.ended) == ("failed", "FAILED")
    assert run.series["epoch/rate"] == [(1, 5.0), (2, 5.0)]
    assert told(database, kept) == 0


@SQLITE
def test_a_study_that_goes_on_is_followed_from_there(
    kept: Any, make: Make, database: Database, stub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stub_study import run

    behave(monkeypatch, t1="nan")
    study = make(2)
    run(study)
    assert told(database, kept) == 2
    assert kept()["s"].state == "finished"
    assert DatabaseStudies(database).change("s", trials=3)["budget"] == 3
    run(studies.open_study(database, "s"))
    assert told(database, kept) == 1
    runs = kept()
    assert [step for step, _ in runs["s"].series["study/value"]] == [1, 3]
    assert [runs[f"s/{n}"].state for n in range(3)] == ["complete", "failed", "complete"]
    assert runs["s"].state == "finished"


@SQLITE
def test_a_study_of_a_server_is_told_alike(kept: Any, address: str, database: Database, tmp_path: Path) -> None:
    fill(database, 1, 2, tmp_path)
    following = Following(Client(address), "s", tracking.tracker(kept.to, "p"))
    following.look()
    following.close()
    assert following.told == 1
    assert told(database, kept) == 0
    assert kept()["s/0"].series["epoch/rate"] == [(1, 5.0), (2, 5.0)]


@SQLITE
def test_the_command_tells_where_its_runs_are(kept: Any, database: Database, tmp_path: Path) -> None:
    fill(database, 1, 1, tmp_path)
    line = ["track", "s", "--to", kept.to, "--project", "p", "--once", "--database", database.url]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "s goes to " in done.output
    assert "project p" in done.output or "experiment p of sqlite:///" in done.output
    assert "s: 1 trial told to the end" in done.output


@SQLITE
def test_another_study_of_that_name_is_not_told_as_the_same(kept: Any, make: Make, database: Database) -> None:
    make(1)
    following = Following(DatabaseStudies(database), "s", tracking.tracker(kept.to, "p"))
    studies.open_study(database, "s").end("stopped", "stopped by the user")
    studies.open_to_delete(database, "s").delete()
    make(1)
    with contextlib.closing(following), pytest.raises(Missing, match="deleted and made anew"):
        following.look()


def test_an_unknown_tracker_and_a_missing_package_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Usage, match="--to 'comet' is unknown: choose mlflow or wandb"):
        tracking.tracker("comet", "p")
    for name, package in TRACKERS.items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(Usage, match=rf"needs the package {package}: pip install 'text-vae-tuner\[{name}\]'"):
            tracking.tracker(name, "p")


def test_a_tracker_that_cannot_be_reached_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Fault, match="MLflow refuses .*the same command goes on later") as caught:
        tracking.tracker("mlflow", "p")
    assert "secret" not in str(caught.value)
