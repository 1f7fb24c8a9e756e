"""What a table's reader is told of its figures."""

import math
from typing import Any

import pytest

from tuner import ties
from tuner.trials import Trial


def trial(number: int, nll: float, error: float | None, bias: float | None = 0.0) -> Trial:
    facts: dict[str, Any] = {"proposal": "q", "samples": 1000}
    if error is not None:
        facts = {"proposal": "tempered q", "error": error, "bias": bias}
    metrics = {"nll": nll, "estimator": facts}
    return Trial(number, "complete", {}, "sampler", nll, metrics, 1.0, None, None, None, None, f"s/{number}")


def test_a_difference_within_two_errors_and_the_larger_bias_is_a_tie() -> None:
    best, error = trial(0, 100.0, 0.03, 0.01), 2 * math.hypot(0.03, 0.04) + 0.05
    others = [trial(1, 100 + error - 1e-6, 0.04, 0.05), trial(2, 100 + error + 1e-6, 0.04, 0.05)]
    assert ties.tied(best, [best, *others]) == [1]


@pytest.mark.parametrize("other", [trial(1, 100.0, None), trial(1, 100.0, 0.1, None)])
def test_without_a_stated_error_nothing_is_said(other: Trial) -> None:
    assert ties.tied(trial(0, 100.0, 0.1), [other]) == []
    assert ties.tied(other, [trial(2, 100.0, 0.1)]) == []


def test_a_trial_that_failed_ties_with_nothing() -> None:
    failed = Trial(1, "failed", {}, "sampler", None, None, 1.0, None, "nan", "the loss is nan", None, "s/1")
    assert ties.tied(trial(0, 100.0, 0.1), [failed]) == []
