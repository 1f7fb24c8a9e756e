"""TensorBoard's own reader finds what `tuner export --format tensorboard` writes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stub_study import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from benchmarks.large import fill
from tuner.analysis import tensorboard, tracking
from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.storage.tables import EpochRow
from tuner.studies import study as studies


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(found: EventAccumulator, tag: str) -> dict[int, float]:
    """By step; each step once."""
    values = {event.step: event.value for event in found.Scalars(tag)}
    assert len(values) == len(found.Scalars(tag))
    return values


def hparams(found: EventAccumulator, tag: str) -> Any:
    return plugin_data_pb2.HParamsPluginData.FromString(found.PluginTagToContent("hparams")[tag])


def test_epochs_figures_and_hyperparameters_come_back(database: Database, tmp_path: Path) -> None:
    fill(database, 5, 3, tmp_path)
    study = studies.open_study(database, "s")
    place = tensorboard.write(study, tmp_path / "out")
    assert place == tmp_path / "out" / "s"
    trials = study.trials.all()
    assert sorted(p.name for p in place.iterdir() if p.is_dir()) == [f"{t.number:04}" for t in trials]
    whole = read(place)
    values = {t.number: t.value for t in trials if t.value is not None}
    assert scalars(whole, "study/value") == pytest.approx(values)
    assert scalars(whole, "study/lowest")[max(values)] == pytest.approx(min(values.values()))
    names = {info.name for info in hparams(whole, "_hparams_/experiment").experiment.hparam_infos}
    assert names == {p.name for p in study.facts.space.parameters}
    for trial in trials:
        found = read(place / f"{trial.number:04}")
        start = hparams(found, "_hparams_/session_start_info").session_start_info
        numbers = {
            name: value.number_value for name, value in start.hparams.items() if not value.HasField("string_value")
        }
        assert numbers.items() >= trial.params.items()
        assert set(start.hparams) == set(trial.hyperparameters)
        rows = epochs(database, trial.number)
        assert len(rows) == 3
        for key in tracking.CURVES:
            assert scalars(found, f"epoch/{key}") == pytest.approx({r.epoch: getattr(r, key) for r in rows})
        times = [event.wall_time for event in found.Scalars("epoch/rate")]
        assert (
            times == [1e9 + trial.number + 1.0] * 3
        )  # seconds are counted from the start, and the same in all rows here
        assert trial.metrics is not None
        assert scalars(found, "trial/nll") == pytest.approx({3: trial.metrics["nll"]})
        end = hparams(found, "_hparams_/session_end_info").session_end_info
        assert end.status == 1  # success


def epochs(database: Database, trial: int) -> list[EpochRow]:
    from sqlalchemy import select

    query = select(EpochRow).where(EpochRow.study == "s", EpochRow.trial == trial).order_by(EpochRow.epoch)
    return list(database.read(lambda s: s.scalars(query).all()))


def test_a_study_without_trials_is_written_and_nothing_twice(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    study = make(database, tmp_path)
    with pytest.raises(Usage, match="needs --out: name a folder"):
        tensorboard.write(study, None)
    assert read(tensorboard.write(study, tmp_path)).Tags()["scalars"] == []
    with pytest.raises(Usage, match=f"--out {tmp_path} has s already: name another folder"):
        tensorboard.write(study, tmp_path)
    database.close()


def test_without_the_package_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    for module in [name for name in sys.modules if name.startswith("tensorboard.plugins.hparams")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams", None)
    with pytest.raises(Usage, match=r"pip install 'text-vae-tuner\[tensorboard\]'"):
        tensorboard.write(make(database, tmp_path), tmp_path)
    database.close()


def test_the_command_writes_it_and_loads_no_torch(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    fill(database, 1, 1, tmp_path)
    database.close()
    program = (
        "import sys\nfrom tuner.commands.app import app\n"
        f"app(['export', 's', '--format', 'tensorboard', '--out', 'tb', '--database', 'sqlite:///{tmp_path}/t.db'], "
        "standalone_mode=False)\nassert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "look at it with: tensorboard --logdir tb" in done.stderr
    assert scalars(read(tmp_path / "tb" / "s" / "0000"), "trial/nll")
