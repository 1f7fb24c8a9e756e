"""What holds where a user names nothing, for the command line and for the server alike."""

from pathlib import Path

DATABASE = "sqlite:///tuner.db"
"""the study database's address"""
RUNS = Path("runs")
"""the folder for checkpoints and logs"""
