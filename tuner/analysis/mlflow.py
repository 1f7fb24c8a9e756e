"""MLflow as a tracker: an experiment a project, trials' runs below their study's.

MLFLOW_TRACKING_URI names the place, as for MLflow itself."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tuner.analysis.tracking import About, Scalars
from tuner.errors import Fault

KEY, STEP, STATE, MESSAGE = "tuner.key", "tuner.step", "tuner.state", "tuner.message"
"""Tags of a run."""
STATUSES = {
    "complete": "FINISHED", "finished": "FINISHED", "satisfied": "FINISHED", "pruned": "KILLED", "stopped": "KILLED",
}  # fmt: skip
"""Status by the state of a run that is over; any other state has failed."""


@contextmanager
def _said() -> Iterator[None]:
    """MLflow's errors in one sentence."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        why = _without_password(str(error).splitlines()[0])[:200]
        raise Fault(f"MLflow refuses ({why}): the same command goes on later.") from error


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


class Tracker:
    """The runs of an experiment."""

    def __init__(self, project: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        with _said():
            self._client = mlflow.MlflowClient()
            found = self._client.get_experiment_by_name(project)
            self._experiment = found.experiment_id if found else self._client.create_experiment(project)
        self.place = f"experiment {project} of {_without_password(mlflow.get_tracking_uri())}"

    def open(self, about: About) -> "Run":
        with _said():
            found = self._found(about.key)
            if found is None:
                tags = {KEY: about.key, "tuner.kind": about.kind, "tuner.study": about.study}
                parent = self._found(about.parent) if about.parent else None
                tags |= {"mlflow.parentRunId": parent.info.run_id} if parent else {}
                found = self._client.create_run(self._experiment, int(about.started * 1000), tags, run_name=about.name)
            run = Run(self._client, found)
            run.describe(about.settings)
            return run

    def _found(self, key: str) -> Any:
        found = self._client.search_runs([self._experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
        return found[0] if found else None


class Run:
    """A run of MLflow."""

    def __init__(self, client: Any, found: Any) -> None:
        self._client, self._id, tags = client, found.info.run_id, found.data.tags
        self._known = dict(found.data.params)
        self.step, self.state = int(tags.get(STEP, 0)), tags.get(STATE)

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Parameters that it has not; MLflow lets none change."""
        from mlflow.entities import Param

        new = [Param(key, str(value)) for key, value in settings.items() if key not in self._known]
        if new:
            self._client.log_batch(self._id, params=new)

    def log(self, step: int, scalars: Scalars, time: float) -> None:
        """Told twice, a step is one: MLflow's times are those of the study."""
        self._tell(step, scalars, time, {STEP: str(step)})
        self.step = step

    def end(self, state: str, scalars: Scalars, time: float, message: str) -> None:
        self._tell(self.step, scalars, time, {MESSAGE: message} if message else {})
        with _said():
            self._client.set_terminated(self._id, STATUSES.get(state, "FAILED"), int(time * 1000))
            self._client.set_tag(self._id, STATE, state)
        self.state = state

    def reopen(self) -> None:
        with _said():
            self._client.update_run(self._id, status="RUNNING")
            self._client.delete_tag(self._id, STATE)
        self.state = None

    def leave(self) -> None:
        """Nothing to do: MLflow keeps nothing open here."""

    def _tell(self, step: int, scalars: Scalars, time: float, tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, RunTag

        metrics = [Metric(key, value, int(time * 1000), step) for key, value in scalars.items()]
        with _said():
            self._client.log_batch(self._id, metrics=metrics, tags=[RunTag(*tag) for tag in tags.items()])
