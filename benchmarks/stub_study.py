"""Studies without a corpus behind them, for the stub trainer: in the tests, and where the service is timed."""

from typing import Any

from tuner.space import load
from tuner.studies.spec import Definition, Facts, StudySpec

CORPUS: dict[str, Any] = {
    "name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0, "batching": "random",
    "truncation": 0.0, "divided_into": "words",
}  # fmt: skip
"""Description that a trainer would have given of the corpus."""


def defined(trials: int = 3, **settings: Any) -> Definition:
    """Definition of a study of `sfb`, randomly searched unless the settings say else.

    Args:
        settings: of `StudySpec`; and `described` for `CORPUS`, `observations` for those of a warm start.
    """
    described, observations = settings.pop("described", CORPUS), settings.pop("observations", None)
    usual = {"technique": "sfb", "corpus": described["name"], "sampler": "random", "first_default": False}
    space = settings.get("space")
    if space is not None:
        usual["technique"] = space.technique
    spec = StudySpec(trials=trials, **{**usual, **settings})
    return Definition(spec, Facts.of(described, space or load(spec.technique), observations))
