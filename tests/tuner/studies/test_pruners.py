"""Each pruner's rule on curves written by hand."""

import pytest

from tuner.errors import Usage
from tuner.studies.pruners import PRUNERS, Curve, check


def curve(number: int, *values: float, complete: bool = True, rates: tuple[float, ...] = ()) -> Curve:
    rates = rates or (1.0,) * len(values)
    return Curve(number, complete, [(i + 1, v, r) for i, (v, r) in enumerate(zip(values, rates, strict=True))])


FOUR = [curve(n, 20, 15, 10 + n) for n in range(4)]


def test_none_never_prunes() -> None:
    assert not PRUNERS["none"](curve(9, 1e9, 1e9), FOUR)


def test_median_compares_the_best_so_far_with_complete_trials_at_the_same_epoch() -> None:
    poor = PRUNERS["median"]
    assert poor(curve(9, 20, 15, 11.6), FOUR)  # the median of 10, 11, 12, 13 is 11.5
    assert not poor(curve(9, 20, 15, 11.4), FOUR)
    assert not poor(curve(9, 20, 11, 30), FOUR)  # its best was good
    assert not poor(curve(9, 99), FOUR)  # every trial has two epochs
    assert not poor(curve(9, 99, 99), FOUR[:3])  # too few to compare with
    assert not poor(curve(9, 99, 99), [curve(n, 1, 1, complete=False) for n in range(9)])
    assert not poor(curve(9, 99, 99, 99, 99), FOUR)  # none of them got so far


def test_hyperband_keeps_the_best_third_at_each_rung_of_the_trials_bracket() -> None:
    poor = PRUNERS["hyperband"]
    others = [curve(n, 10 + n, complete=False) for n in range(5)]  # with the trial: six at the rung, two go on
    assert not poor(curve(9, 10.5), others)
    assert poor(curve(9, 11.5), others)
    assert not poor(curve(9, 11.5), others[:1])  # nobody is judged among two
    assert not poor(curve(10, 99), others)  # its first rung is epoch 3
    assert not poor(curve(9, 99, 99), others)  # no rung
    longer = [curve(n, 50, 40, 30 + n) for n in range(5)]
    assert poor(curve(10, 99, 99, 40), longer)


def test_dominated_needs_both_objectives_to_be_worse_than_most() -> None:
    poor = PRUNERS["dominated"]
    others = [curve(n, 20, 15, rates=(1.0, 5.0)) for n in range(4)]
    assert poor(curve(9, 20, 16, rates=(1.0, 4.0)), others)
    assert not poor(curve(9, 20, 16, rates=(1.0, 6.0)), others)  # worse likelihood, but a higher rate
    assert not poor(curve(9, 20, 14, rates=(1.0, 1.0)), others)
    mixed = [*others[:2], *(curve(n, 20, 30, rates=(1.0, 1.0)) for n in (5, 6))]
    assert not poor(curve(9, 20, 16, rates=(1.0, 4.0)), mixed)  # by half of them only


@pytest.mark.parametrize(
    ("name", "objective", "fit"),
    [
        ("median", "nll,rate", "none or dominated"),
        ("hyperband", "nll,rate", "none or dominated"),
        ("median", "melbo", "none"),
        ("dominated", "melbo", "none"),
    ],
)
def test_a_pruner_that_compares_other_figures_is_refused(name: str, objective: str, fit: str) -> None:
    with pytest.raises(Usage, match=f"pruner = {name} is not allowed with {objective}.*: choose {fit}\\.$"):
        check(name, objective)


def test_what_fits_is_allowed() -> None:
    for name in PRUNERS:
        check(name)
    for name in ("none", "dominated"):
        check(name, "nll,rate")
