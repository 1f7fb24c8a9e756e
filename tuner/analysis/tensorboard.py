"""A study as TensorBoard reads it: a run for each trial, its epochs as curves; hyperparameters and figures in the HParams tab."""

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tuner.analysis.tracking import finite, of_epoch, of_trial
from tuner.errors import Usage, unwritten
from tuner.metrics import FIGURES
from tuner.storage.tables import EpochRow, TrialRow
from tuner.studies.study import Study
from tuner.studies.trials import OVER, epoch_of


class Run:
    """An event file in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary, self._writer = Event, Summary, EventFileWriter(str(folder))

    def scalars(self, values: Mapping[str, Any], step: int, time: float) -> None:
        """Writes the values that are finite numbers."""
        made = [self._summary.Value(tag=tag, simple_value=value) for tag, value in finite(values).items()]
        if made:
            self.add(self._summary(value=made), step, time)

    def add(self, summary: Any, step: int, time: float) -> None:
        self._writer.add_event(self._event(wall_time=time, step=step, summary=summary))

    def close(self) -> None:
        self._writer.close()


def write(study: Study, out: Path | None) -> Path:
    """Writes a folder for `tensorboard --logdir`, named as the study, below `out`.

    Raises:
        Usage: if there is no such package, or no `out`, or the folder is there already: its curves would be drawn twice.
        Fault: if the disk is full or fails.
    """
    try:
        from tensorboard.plugins.hparams import api_pb2, summary_v2
    except ModuleNotFoundError as error:
        raise Usage(
            "--format tensorboard needs the package tensorboard: pip install 'text-vae-tuner[tensorboard]'."
        ) from error
    if out is None:
        raise Usage("--format tensorboard needs --out: name a folder for it.")
    place = out / study.name
    if place.exists():
        raise Usage(f"--out {out} has {study.name} already: name another folder, or remove that one.")
    mine = select(TrialRow).where(TrialRow.study == study.name).order_by(TrialRow.number)
    epochs = select(EpochRow).where(EpochRow.study == study.name).order_by(EpochRow.trial, EpochRow.epoch)
    rows, found = study.database.read(lambda s: (s.scalars(mine).all(), s.scalars(epochs).all()))
    curves = {trial: list(those) for trial, those in groupby(found, key=lambda epoch: epoch.trial)}
    try:
        whole = Run(place)
        _describe(whole, study, rows, summary_v2)
        for row in rows:
            run = Run(place / f"{row.number:04}")
            chosen = study.definition.hyperparameters(row.params)
            run.add(summary_v2.hparams_pb(chosen, str(row.number), row.created_at), 0, row.created_at)
            _trial(run, row, curves.get(row.number, []))
            if row.state in OVER:
                status = api_pb2.STATUS_SUCCESS if row.state == "complete" else api_pb2.STATUS_FAILURE
                run.add(_end(status, row.ended_at), 0, row.ended_at or row.created_at)
            run.close()
        whole.close()
    except OSError as error:
        raise unwritten("--out", out, error) from error
    return place


def _describe(run: Run, study: Study, rows: Iterable[TrialRow], hparams: Any) -> None:
    """Writes which hyperparameters and figures there are, and the course of the lowest value over trials."""
    names = list(study.definition.usual)
    metrics = [hparams.Metric(f"trial/{key}", display_name=metric.label) for key, metric in FIGURES.items()]
    run.add(
        hparams.hparams_config_pb([hparams.HParam(n) for n in names], metrics, study.created_at), 0, study.created_at
    )
    lowest = math.inf
    for row in rows:
        if row.state == "complete" and row.value is not None:
            lowest = min(lowest, row.value)
            run.scalars({"study/value": row.value, "study/lowest": lowest}, row.number, row.ended_at or row.created_at)


def _trial(run: Run, row: TrialRow, epochs: list[EpochRow]) -> None:
    started = row.started_at or row.created_at
    for epoch in epochs:
        run.scalars(of_epoch(epoch_of(epoch)), epoch.epoch, started + (epoch.seconds or 0.0))
    last = epochs[-1].epoch if epochs else 0
    run.scalars(of_trial(row.metrics), last, row.ended_at or started)


def _end(status: int, time: float | None) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    tag = metadata.SESSION_END_INFO_TAG
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))])
