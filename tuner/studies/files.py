"""Files of a trained run, and what they say of it."""

import json
import os
from pathlib import Path
from typing import Any

from trainers.contract import CONFIG, FILES, RESULT, SPEC, WEIGHTS
from tuner import names
from tuner.defaults import RUNS
from tuner.errors import Fault, Usage
from tuner.metrics import Metrics
from tuner.storage.artifacts import MANIFEST, check
from tuner.storage.database import Database
from tuner.studies.study import open_study


def run_folder(run: str, database: str) -> Path:
    """The folder with the newest files of a run: STUDY/NUMBER, or a folder itself. They are checked.

    Raises:
        Usage: if there is no such run.
        Fault: if one of its files is not what was published.
    """
    if Path(run).is_dir():
        if (Path(run) / MANIFEST).exists():
            check(Path(run), (*FILES, CONFIG, WEIGHTS))
        return Path(run)
    study, number = named(run)
    with Database(database) as there, there.errors():
        cache = Path(os.environ.get("TUNER_RUNS", RUNS)) / "cache"
        return open_study(there, study).files.folder(number, cache)


def named(run: str) -> tuple[str, int]:
    """The study and the number of a trial named STUDY/NUMBER.

    Raises:
        Usage: if it is no such name.
    """
    found = names.trial(run)
    if found is None:
        raise Usage(f"run {run!r} is no folder and no STUDY/NUMBER: see `tuner trials STUDY`.")
    return found


def recorded(folder: Path) -> tuple[dict[str, Any], Metrics | None]:
    """The record of how a run was made, and its figures; the figures are None if the run is not finished.

    Of the run's own folder, or of one that `tuner export --model` wrote.

    Raises:
        Fault: if what is there is not JSON.
    """
    exported = _json(folder / CONFIG)
    if exported is not None:
        return exported, exported.get("metrics")
    return _json(folder / SPEC) or {}, (_json(folder / RESULT) or {}).get("metrics")


def _json(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Fault(f"{file} cannot be read ({error}): put a copy back.") from error
    return found
