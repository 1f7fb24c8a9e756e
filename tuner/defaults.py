"""Defaults where a user names nothing, for the command line and for the server alike."""

import os
from pathlib import Path

DATABASE = "sqlite:///tuner.db"
"""Address of the study database."""
RUNS = Path("runs")
"""Folder for checkpoints and logs."""


def environment_of(database: str) -> dict[str, str]:
    """The environment of a program for a database, which this one's may hide behind a server's address."""
    kept = {key: value for key, value in os.environ.items() if key not in ("TUNER_API", "TUNER_API_KEY")}
    return {**kept, "TUNER_DATABASE": database}
