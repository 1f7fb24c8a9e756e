"""The paired bootstrap against the normal closed form and against every resample there is."""

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from tuner.errors import Usage
from tuner.significance import Sentences, bootstrap, of_runs

FACTS = {"proposal": "q", "samples": 1000, "sentences": 3, "of": 3, "seed": 0, "split": "test"}


def sentences(
    nll: Sequence[float], tokens: Sequence[int] | None = None, fingerprint: str = "f", **facts: Any
) -> Sentences:
    figures = np.asarray(nll, dtype=np.float64)
    counts = np.full(len(figures), 20.0) if tokens is None else np.asarray(tokens, dtype=np.float64)
    return Sentences(fingerprint, {**FACTS, **facts}, counts, figures)


@pytest.mark.parametrize("shift", [0.0, 0.05, -0.12])
def test_of_many_normal_differences_it_is_the_normal_closed_form(shift: float) -> None:
    count, sd = 900, 1.5
    generator = np.random.default_rng(3)
    noise = generator.standard_normal(count)
    noise = sd * (noise - noise.mean()) / noise.std()  # exactly of this mean and deviation
    base = generator.normal(100, 30, count)  # which pairing takes out
    found = bootstrap(sentences(base + shift + noise), sentences(base), "b")
    error = sd / math.sqrt(count)
    assert found.nll == pytest.approx(shift)
    assert found.nll_interval == pytest.approx(
        (shift - 1.96 * error, shift + 1.96 * error), abs=0.1 * error
    )  # 4 Monte-Carlo errors
    assert found.p == pytest.approx(2 * NormalDist().cdf(-abs(shift) / error), abs=0.04)


def test_of_three_sentences_it_is_the_share_of_all_27_resamples() -> None:
    ours, theirs, tokens = [10.0, 21.0, 33.0], [10.5, 22.0, 31.0], [4, 7, 12]
    found = bootstrap(sentences(ours, tokens), sentences(theirs, tokens), "b")
    every = list(itertools.product(range(3), repeat=3))
    nlls = [sum(ours[i] - theirs[i] for i in drawn) / 3 for drawn in every]
    lower, higher = (sum(sign * value <= 0 for value in nlls) / 27 for sign in (1, -1))
    assert found.p == pytest.approx(min(2 * min(lower, higher), 1), abs=0.02)
    assert found.nll_interval == pytest.approx((min(nlls), max(nlls)))
    ppls = [
        math.exp(sum(ours[i] for i in drawn) / sum(tokens[i] for i in drawn))
        - math.exp(sum(theirs[i] for i in drawn) / sum(tokens[i] for i in drawn))
        for drawn in every
    ]
    assert found.ppl_interval == pytest.approx((min(ppls), max(ppls)))
    assert found.ppl == pytest.approx(math.exp(64 / 23) - math.exp(63.5 / 23))
    assert all((nll > 0) == (ppl > 0) for nll, ppl in zip(nlls, ppls, strict=True))


def test_it_is_antisymmetric_and_the_same_again() -> None:
    generator = np.random.default_rng(0)
    one, other = (sentences(generator.normal(100, 9, 77)) for _ in range(2))
    there, back = bootstrap(one, other, "b"), bootstrap(other, one, "a")
    assert there == bootstrap(one, other, "b")
    assert (there.nll, there.p) == (-back.nll, back.p)
    assert there.nll_interval == pytest.approx((-back.nll_interval[1], -back.nll_interval[0]))


def test_ties_are_no_difference() -> None:
    same = sentences([3.0, 4.0, 5.0])
    found = bootstrap(same, same, "b")
    assert (found.nll, found.nll_interval, found.ppl, found.p) == (0.0, (0.0, 0.0), 0.0, 1.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (sentences([1.0]), sentences([2.0]), "one sentence tells nothing of others"),
        (sentences([1.0, 2.0]), sentences([2.0, 1.0], fingerprint="g"), "of other sentences, or of another order"),
        (sentences([1.0, 2.0], samples=100), sentences([1.0, 2.0]), r"another estimator .* \(samples 100, not 1000\)"),
        (sentences([1.0, 2.0], inputs="none"), sentences([1.0, 2.0]), r"\(inputs none, not None\)"),
    ],
)
def test_what_may_not_be_compared_is_refused(ours: Sentences, theirs: Sentences, said: str) -> None:
    with pytest.raises(Usage, match=said):
        bootstrap(ours, theirs, "b")


def test_an_exact_figure_may_be_compared_and_seeds_may_differ() -> None:
    sampled = sentences([1.0, 2.0, 4.0], seed=5)
    for other in (sentences([1.5, 2.5, 3.0], proposal="exact", samples=1), sentences([1.5, 2.5, 3.0], seed=6)):
        assert bootstrap(sampled, other, "b").nll == pytest.approx(0)


def test_of_runs_a_sentences_figure_is_their_mean() -> None:
    runs = [{"fingerprint": "f", "estimator": FACTS, "tokens": [2, 3], "nll": nll} for nll in ([1.0, 2.0], [3.0, 8.0])]
    assert of_runs(runs).nll.tolist() == [2.0, 5.0]
    with pytest.raises(Usage, match="its runs were evaluated on different sentences"):
        of_runs([runs[0], {**runs[1], "fingerprint": "g"}])
