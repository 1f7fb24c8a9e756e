"""Defaults where a user names nothing, for the command line and for the server alike."""

from pathlib import Path

DATABASE = "sqlite:///tuner.db"
"""Address of the study database."""
RUNS = Path("runs")
"""Folder for checkpoints and logs."""
