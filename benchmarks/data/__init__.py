"""Tables of real trials, which `benchmarks.trials` makes."""

from pathlib import Path

TRIALS, CURVES = (Path(__file__).with_name(name) for name in ("trials.json", "curves.json"))
