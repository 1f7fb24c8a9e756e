"""Tables of real trials, which `benchmarks.trials` makes; `curves-ptb.json` is for `benchmarks.replay --table`."""

from pathlib import Path

TRIALS, CURVES = (Path(__file__).with_name(name) for name in ("trials.json", "curves.json"))
