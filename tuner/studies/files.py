"""Where the files of a trained run are."""

import os
from collections.abc import Sequence
from pathlib import Path

from trainers.contract import FILES
from tuner import numbers
from tuner.defaults import RUNS
from tuner.errors import Usage
from tuner.storage.artifacts import MANIFEST, check
from tuner.storage.database import Database
from tuner.studies.study import open_study


def run_folder(run: str, database: str, used: Sequence[str] = FILES) -> Path:
    """The folder with the newest files of a run: STUDY/NUMBER, or a folder itself. Those that will be used are checked.

    Raises:
        Usage: if there is no such run.
        Fault: if one of its files is not what was published.
    """
    if Path(run).is_dir():
        if (Path(run) / MANIFEST).exists():
            check(Path(run), used)
        return Path(run)
    study, slash, number = run.rpartition("/")
    if not slash or not number.isdecimal() or len(number) > 10 or int(number) not in numbers.INDEX:
        raise Usage(f"run {run!r} is no folder and no STUDY/NUMBER: see `tuner trials STUDY`.")
    there = Database(database)
    try:
        with there.errors():
            cache = Path(os.environ.get("TUNER_RUNS", RUNS)) / "cache"
            return open_study(there, study).run_folder(int(number), cache, used)
    finally:
        there.close()
