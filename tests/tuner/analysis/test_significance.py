"""The paired bootstrap against SciPy's, the normal closed form and every resample there is; the estimates' errors in it."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import scipy.stats

from tuner.analysis.sentences import of_runs
from tuner.analysis.significance import Run, Sentences, bootstrap, differences, disagreement
from tuner.errors import Usage

FACTS = {"proposal": "q", "samples": 1000, "sentences": 3, "of": 3, "seed": 0, "split": "test"}


def sentences(
    nll: Sequence[float], tokens: Sequence[int] | None = None, fingerprint: str = "f", **facts: Any
) -> Sentences:
    figures = np.asarray(nll, dtype=np.float64)
    counts = np.full(len(figures), 20.0) if tokens is None else np.asarray(tokens, dtype=np.float64)
    return Sentences(fingerprint, {**FACTS, **facts}, counts, (Run(figures),))


def tempered(
    nll: Sequence[float], corrections: Sequence[Sequence[float]], bias: float | None = 0.0, runs: int = 1
) -> Sentences:
    """Estimates of 16 draws each, and corrections of the last sentences."""
    order = np.arange(len(nll))[::-1].copy()
    levels = tuple(np.asarray(level, dtype=np.float64) for level in corrections)
    facts = {**FACTS, "proposal": "tempered q", "samples": 16, "temper": 0.5}
    run = Run(np.asarray(nll, dtype=np.float64), levels, order, bias)
    return Sentences("f", facts, np.full(len(nll), 20.0), (run,) * runs)


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


def test_of_figures_without_corrections_it_is_scipys_paired_bootstrap() -> None:
    generator = np.random.default_rng(5)
    one, other = generator.gamma(3, 30, 120), generator.gamma(3, 30, 120)
    found = bootstrap(sentences(one), sentences(other), "b")
    theirs = scipy.stats.bootstrap(
        (one, other),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        paired=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    error = theirs.standard_error
    assert found.nll_interval == pytest.approx(tuple(theirs.confidence_interval), abs=0.1 * error)
    drawn = theirs.bootstrap_distribution
    assert found.p == pytest.approx(2 * min((drawn <= 0).mean(), (drawn >= 0).mean()), abs=0.03)


def test_a_corrections_noise_is_in_it_though_few_sentences_make_it() -> None:
    generator = np.random.default_rng(1)
    count, few, sd = 500, 40, 2.0
    noise = generator.standard_normal(few)
    noise = sd * (noise - noise.mean()) / noise.std(ddof=1)
    base = generator.normal(100, 30, count)
    one, other = tempered(base, [noise + 0.5]), tempered(base, [np.zeros(few)])
    found = bootstrap(one, other, "b")
    assert found.nll == pytest.approx(-0.5)
    error = sd / math.sqrt(few)
    students = scipy.stats.t(few - 1, -0.5, error)
    assert found.nll_interval == pytest.approx(students.interval(0.95), abs=0.15 * error)
    assert found.p == pytest.approx(2 * students.sf(0), abs=0.04)
    assert found.ppl == pytest.approx(math.exp((base.mean() - 0.5) / 20) - math.exp(base.mean() / 20))


def test_a_resamples_corrections_are_those_of_its_own_sentences() -> None:
    nll, level = [10.0, 21.0, 33.0, 8.0], [0.5, 2.0, 2.5]  # of sentences 3, 2 and 1
    found = bootstrap(tempered(nll, [level], runs=2), tempered(nll, []), "b")
    wider = math.sqrt(3 / 2) * scipy.stats.t.ppf(0.975, 2) / NormalDist().inv_cdf(0.975)
    mean, every = np.mean(level), []
    for drawn in itertools.product(range(4), repeat=4):
        own = [level[3 - i] for i in drawn if i > 0] or [0.0]
        every.append(-(mean + wider * (np.mean(own) - mean)))
    assert found.nll == pytest.approx(-mean)
    assert found.nll_interval == pytest.approx(tuple(np.percentile(every, (2.5, 97.5))), abs=0.1)


def test_an_estimate_that_is_too_high_by_so_much_at_most_makes_the_interval_so_much_longer() -> None:
    generator = np.random.default_rng(2)
    base, noise = generator.normal(100, 30, 400), generator.normal(0.5, 4, 400)
    plain = bootstrap(tempered(base + noise, []), tempered(base, []), "b")
    found = bootstrap(tempered(base + noise, [], bias=0.2), tempered(base, [], bias=0.1), "b")
    low, high = plain.nll_interval
    assert found.nll_interval == pytest.approx((low - 0.2, high + 0.1))
    assert (found.nll, found.p_without_bias, found.bias) == (plain.nll, plain.p, (0.2, 0.1))
    shifted = bootstrap(tempered(base + noise - 0.2, []), tempered(base, []), "b")
    assert found.p == shifted.p > plain.p  # ours is above: its bias is the unfavourable one
    mean = float(base.mean())
    wide = bootstrap(tempered(base + noise, [], bias=2.0), tempered(base, []), "b")
    assert wide.p == 1.0
    assert wide.ppl_interval[0] < math.exp((mean - 1) / 20) - math.exp(mean / 20) < 0 < wide.ppl_interval[1]
    unknown = bootstrap(tempered(base + noise, [], bias=None), tempered(base, []), "b")
    assert (unknown.nll_interval, unknown.p) == (plain.nll_interval, plain.p)
    assert "the estimates' bias is unknown and not in it" in unknown.said
    half = bootstrap(tempered(base + noise, [], bias=0.2), tempered(base, [], bias=None), "b")
    assert half.nll_interval == pytest.approx((low - 0.2, high))
    assert (
        f"a bias of up to 0.2 of one side in it; the other's is unknown and not; p = {plain.p:.2g} without" in half.said
    )
    assert "biases of up to 0.2 and 0.1 in it" in found.said


def test_over_seeds_it_is_welchs_interval_where_the_sentences_tell_nothing() -> None:
    one, other = [100.0, 100.6, 100.3], [99.0, 99.4]
    ours = replace(sentences([1.0, 1.0]), runs=tuple(Run(np.full(2, mean)) for mean in one))
    theirs = replace(sentences([1.0, 1.0]), runs=tuple(Run(np.full(2, mean)) for mean in other))
    found = bootstrap(ours, theirs, "b").seeds_interval
    expected = scipy.stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert found == pytest.approx((expected.low, expected.high))
    assert bootstrap(ours, sentences([99.0, 99.0]), "b").seeds_interval is None


@pytest.mark.parametrize(("rate_", "level"), [(0.2, 64), (3.0, 48)])
def test_a_model_against_itself_with_other_draws_differs_in_five_percent(rate_: float, level: int) -> None:
    """Corrections of few sentences with a long tail, as at high rates: p < .05 in 5 % of 400 pairs, and 7 at most."""
    generator, count = np.random.default_rng(7), 500
    truth = generator.normal(100, 30, count)

    def drawn() -> Sentences:
        corrections = generator.gamma(0.3, rate_ / 0.3, level)
        return tempered(truth + generator.gamma(2, rate_ / 2, count), [corrections])

    found = [bootstrap(drawn(), drawn(), "b", 1000).p < 0.05 for _ in range(400)]
    assert np.mean(found) <= 0.07


def test_each_estimator_of_both_is_tested_and_what_they_disagree_on_is_said() -> None:
    generator = np.random.default_rng(4)
    base = generator.normal(100, 30, 300)
    ours = [sentences(base + 0.4 + generator.normal(0, 0.5, 300)), tempered(base - 0.3, [generator.normal(0, 0.1, 48)])]
    theirs = [sentences(base, proposal="exact", samples=1)]
    found = differences(ours, theirs, "b")
    assert [(d.estimator, d.word) for d in found] == [("S = 1000 from q", "worse"), ("tempered", "better")]
    assert disagreement(found) == "the estimators disagree: worse by S = 1000 from q; better by tempered"
    assert disagreement(found[:1]) == ""
    assert [d.estimator for d in differences(ours, ours, "b")] == ["S = 1000 from q", "tempered"]
    assert [d.estimator for d in differences(theirs, theirs, "b")] == ["exact"]
    with pytest.raises(Usage, match=r"by another estimator than those of 'b' \(proposal q, not tempered q\)"):
        differences(ours[:1], ours[1:], "b")


def test_an_exact_figure_of_a_decoder_that_reads_no_words_is_not_tested_against_one_that_does() -> None:
    nll = np.linspace(90, 110, 50)
    blind, exact = sentences(nll, inputs="none"), {"proposal": "exact", "samples": 1}
    with pytest.raises(Usage, match=r"another estimator than those of 'b' \(inputs none, not None\)"):
        differences([blind], [sentences(nll, **exact)], "b")
    assert differences([blind], [sentences(nll, **exact, inputs="none")], "b")[0].nll == 0


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


def kept(nll: Sequence[float], **facts: Any) -> dict[str, Any]:
    return {"estimator": {**FACTS, **facts}, "nll": list(nll)}


def test_of_runs_a_sentences_figure_is_their_mean() -> None:
    runs = [{"fingerprint": "f", "tokens": [2, 3], "estimates": [kept(nll)]} for nll in ([1.0, 2.0], [3.0, 8.0])]
    (found,) = of_runs(runs)
    assert found.columns()[:, 0].tolist() == [2.0, 5.0]
    assert found.estimates == [1.5, 5.5]
    with pytest.raises(Usage, match="its runs were evaluated on different sentences"):
        of_runs([runs[0], {**runs[1], "fingerprint": "g"}])
    with pytest.raises(Usage, match="its runs were evaluated by different estimators"):
        of_runs([runs[0], {**runs[1], "estimates": [kept([1.0, 2.0], samples=10)]}])


def test_a_bias_is_bounded_by_the_certificate_or_by_the_tempered_estimate_of_the_same_sentences() -> None:
    nll, lower = [10.0, 20.0, 30.0, 40.0], [9.5, 19.0, 29.5, 39.0]
    stated = {"proposal": "tempered q", "samples": 16, "temper": 0.5, "bias": 0.05}
    beside = {**kept(lower, **stated), "corrections": {"64": [0.1, 0.3]}, "order": [3, 0]}
    certified = {**beside, "estimator": {**beside["estimator"], "certificate": {"gap": 0.02, "gap_se": 0.01}}}

    def of(*estimates: dict[str, Any]) -> list[float | None]:
        return [found.bias for found in of_runs([{"fingerprint": "f", "tokens": [2] * 4, "estimates": estimates}])]

    assert of(kept(nll)) == [None]
    assert of(beside) == [0.05]
    assert of(certified) == [pytest.approx(0.02 + 1.64 * 0.01)]
    shared = 2 * np.cov([1, 0.5], [0.1, 0.3])[0, 1] / 4  # of sentences 3 and 0, which both are of
    error = math.sqrt(np.var([0.5, 1, 0.5, 1], ddof=1) / 4 + np.var([0.1, 0.3], ddof=1) / 2 + shared)
    assert of(kept(nll), beside) == [pytest.approx(0.75 + 0.2 + 0.05 + 1.64 * error), 0.05]
    assert of(kept(nll, certificate={"gap": 14.0, "gap_se": None})) == [None]  # of one sentence
    assert of(kept(nll, proposal="exact")) == [0.0]


def test_the_bound_of_a_bias_has_the_errors_that_the_levels_share() -> None:
    """The difference is one mean where all levels have all sentences, and its error a closed form."""
    draw = np.random.default_rng(5)
    apart, levels = draw.normal(1, 0.5, 40), draw.normal(0.3, 0.2, (2, 40))
    levels += 0.3 * apart
    order = draw.permutation(40)
    beside = kept([50.0] * 40, proposal="tempered q", samples=16, temper=0.5, bias=0.05)
    beside |= {"corrections": dict(zip(("64", "256"), levels[:, order].tolist(), strict=True)), "order": order.tolist()}
    found = of_runs([{"fingerprint": "f", "tokens": [2] * 40, "estimates": [kept((50 + apart).tolist()), beside]}])
    whole = apart + levels.sum(0)
    assert found[0].bias == pytest.approx(whole.mean() + 0.05 + 1.64 * whole.std(ddof=1) / math.sqrt(40))
