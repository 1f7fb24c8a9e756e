"""Weights & Biases as a tracker: a group a study. WANDB_MODE, WANDB_DIR, WANDB_ENTITY and its key work as for wandb itself."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuner.analysis.tracking import About, Scalars
from tuner.errors import Fault

END = "tuner.json"
"""File in an offline run's folder once the run is over, with its last step and its state."""
STATE, MESSAGE = "tuner/state", "tuner/message"
"""Keys of a run's summary."""
FAILED = ("failed", "broken")
"""States that wandb shows as failed."""


@contextmanager
def _said() -> Iterator[None]:
    """Errors of wandb in one sentence."""
    import wandb

    try:
        yield
    except (wandb.Error, wandb.errors.CommError, wandb.errors.UsageError) as error:
        raise Fault(
            f"Weights & Biases refuses ({str(error).splitlines()[0][:200]}): WANDB_MODE=offline keeps runs in a folder."
        ) from error


class Tracker:
    """The runs of a project."""

    def __init__(self, project: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._project = project
        self._settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        offline = wandb.setup(self._settings).settings.mode in ("offline", "dryrun")
        folder = Path(os.environ.get("WANDB_DIR", ".")) / "wandb"
        self._offline = folder if offline else None
        self.place = f"project {project} in {folder}; `wandb sync` sends it" if offline else f"project {project}"

    def open(self, about: About) -> "Run":
        ended = next((folder / END for folder in self._folders(about) if (folder / END).exists()), None)
        return Run(self, about, **json.loads(ended.read_text(encoding="utf-8")) if ended else {})

    def begin(self, about: About) -> Any:
        """Opens the run in wandb; offline in a new folder, which is told all that earlier ones hold."""
        import wandb

        for folder in self._folders(about):
            shutil.rmtree(folder)
        with _said():
            return wandb.init(
                project=self._project, id=about.key, name=about.name, group=about.study, job_type=about.kind,
                config=dict(about.settings), resume="allow", reinit="create_new", settings=self._settings,
            )  # fmt: skip

    @property
    def is_offline(self) -> bool:
        return self._offline is not None

    def _folders(self, about: About) -> list[Path]:
        return sorted(self._offline.glob(f"offline-run-*-{about.key}")) if self._offline else []


class Run:
    """A run of Weights & Biases; offline a folder that is whole in itself, opened when there is something to tell."""

    def __init__(self, tracker: Tracker, about: About, step: int = 0, state: str | None = None) -> None:
        self._tracker, self._about = tracker, about
        self._run: Any = None
        self.step, self.state = step, state
        if state is None:
            self._begin()

    def log(self, step: int, scalars: Scalars, time: float) -> None:
        with _said():
            self._run.log({**scalars, "_timestamp": time}, step=step)
        self.step = step

    def end(self, state: str, scalars: Scalars, time: float, message: str) -> None:
        del time
        with _said():
            self._run.summary.update({**scalars, STATE: state, MESSAGE: message})
        self.state = state
        folder = Path(self._run.dir).parent
        self.leave()
        if self._tracker.is_offline:
            (folder / END).write_text(json.dumps({"step": self.step, "state": state}), encoding="utf-8")

    def reopen(self) -> None:
        self._begin()
        self.state = None

    def leave(self) -> None:
        if self._run is not None:
            with _said():
                self._run.finish(exit_code=int(self.state in FAILED))
            self._run = None

    def _begin(self) -> None:
        if self._run is None:
            self._run, self.step = self._tracker.begin(self._about), 0
            if not self._tracker.is_offline:
                self.step = max(self._run.starting_step - 1, 0)
                self.state = self._run.summary.get(STATE)
