"""Tests whether two configurations differ by more than chance: the paired bootstrap (Koehn 2004), with the estimates'
errors.

Both are judged on the same sentences. Resamples of these, drawn with replacement and the same for both, tell how the difference
would vary over other texts of the same source and over other draws of the estimator: draws are independent between sentences, so
what is resampled holds their noise, also that of a tempered estimate's corrections, which few sentences make. An estimate of
−log P(x) is too high by no more than its bias's bound: the interval is so much longer, and p that of the least favourable bias.
Of several runs the figure is their mean, so other seeds are not in it; `seeds_interval` has them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import Usage

RESAMPLES = 10_000
SEED = 1
LEVEL = 0.05
"""Level of p, below which figures differ."""
ROWS = 200
"""Number of resamples drawn at once, which bounds the memory."""
JUDGED = ("sentences", "of", "split", "inputs")
"""Facts in which two figures must agree, also where one is exact."""
ESTIMATOR = ("proposal", "samples", *JUDGED)
"""Facts in which two figures' estimators must agree. Seeds differ between runs, and a tempered proposal's levels follow
the model.
"""

Figures = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One run's estimate over N sentences: the mean of `nll` less the mean of each level of `corrections`."""

    nll: Figures  # [N] nats
    corrections: tuple[Figures, ...] = ()
    """Corrections by level; a level of n values is of the first n sentences of `order`."""
    order: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    bias: float | None = 0.0
    """Nats by which the estimate is too high at most; None: unknown."""

    @property
    def estimate(self) -> float:
        return float(self.nll.mean()) - sum(float(level.mean()) for level in self.corrections)


@dataclass(frozen=True)
class Sentences:
    """One configuration's figures on each sentence of a split, by one estimator."""

    fingerprint: str
    """Fingerprint of the sentences in their order, as the models read them."""
    estimator: dict[str, Any]
    tokens: Figures  # [N], the end token included
    runs: tuple[Run, ...]

    @property
    def kind(self) -> dict[str, Any]:
        """The estimator without what may differ between runs; an exact figure is of as many samples as one likes."""
        return {key: self.estimator.get(key) for key in ESTIMATOR}

    @property
    def exact(self) -> bool:
        return bool(self.estimator["proposal"] == "exact")

    @property
    def bias(self) -> float | None:
        """Nats by which the runs' mean is too high at most; None if a run's bias is unknown."""
        known = [run.bias for run in self.runs if run.bias is not None]
        return sum(known) / len(known) if len(known) == len(self.runs) else None

    @property
    def estimates(self) -> list[float]:
        """Nats per sentence, by run."""
        return [run.estimate for run in self.runs]

    def columns(self) -> Figures:
        """Columns from which a resample's figure is made [N, 1 + 2·levels of all runs]: the mean `nll`, then each
        level's corrections and an indicator of the sentences that have one.
        """
        parts = [np.mean([run.nll for run in self.runs], axis=0)]
        for run in self.runs:
            for level in run.corrections:
                here = run.order[: len(level)]
                for values in (level, np.ones(len(level))):
                    parts.append(np.zeros(len(self.tokens)))
                    parts[-1][here] = values
        return np.stack(parts, axis=1)

    def of_resamples(self, sums: Figures) -> Figures:
        """Sums of counted columns [1 + resamples, …], first the sentences as they are → the mean NLL of each.

        A resample's corrections are those of its own sentences, and vary a little more than resampled: so much as makes Student's
        interval of the percentiles' of so few (Hesterberg 2015, §3.2, "expanded").
        """
        drawn = sums[:, 0] / len(self.tokens)
        if sums.shape[1] > 1:
            means = sums[:, 1::2] / np.maximum(sums[:, 2::2], 1)
            wider = np.array([_expansion(int(count)) for count in sums[0, 2::2]])
            drawn = drawn - (means[0] + wider * (means - means[0])).sum(1) / len(self.runs)
        return drawn


@dataclass(frozen=True)
class Difference:
    """Difference of one configuration's figures to another's by one estimator; below 0 the first one is better."""

    against: str
    estimator: str
    """Name of the estimator."""
    nll: float
    """Difference of the NLLs in nats per sentence."""
    nll_interval: tuple[float, float]
    """Interval of 95 %, between the 2.5th and the 97.5th percentile of the resamples, and longer by the biases' bounds."""
    ppl: float
    ppl_interval: tuple[float, float]
    p: float
    """Two-sided p: twice the share of resamples on the other side of 0 under the least favourable bias, ties counted as
    there, at most 1. It holds for both figures, as perplexities of the same tokens are in the order of the NLLs.
    """
    bias: tuple[float | None, float | None]
    """Nats by which our and their figure may be too high; None: unknown, and not in the interval and p."""
    p_without_bias: float
    """Value of p if neither figure had a bias, as the papers' tests take it."""
    seeds_interval: tuple[float, float] | None
    """Interval of 95 % of the NLL's difference over other seeds too, where both have several runs: Student's t, Welch's
    degrees of freedom.
    """
    sentences: int
    resamples: int
    seed: int

    @property
    def word(self) -> str:
        """Verdict of a test that knows of no bias: better, worse or not told apart."""
        if self.p_without_bias >= LEVEL:
            return "not told apart"
        return "better" if self.nll < 0 else "worse"

    @property
    def said(self) -> str:
        """The difference in words, without who is compared."""
        low, high = self.nll_interval
        ppl_low, ppl_high = self.ppl_interval
        words = (
            f"by {self.estimator}: NLL {self.nll:+.3f} [{low:+.3f}, {high:+.3f}], "
            f"PPL {self.ppl:+.3f} [{ppl_low:+.3f}, {ppl_high:+.3f}], p = {self.p:.2g}"
        )
        known = [bias for bias in self.bias if bias]
        if None in self.bias and known:
            words += (
                f" (a bias of up to {known[0]:.2g} of one side in it; the other's is unknown and not; "
                f"p = {self.p_without_bias:.2g} without)"
            )
        elif None in self.bias:
            words += " (the estimates' bias is unknown and not in it)"
        elif self.bias != (0.0, 0.0):
            words += f" (biases of up to {self.bias[0]:.2g} and {self.bias[1]:.2g} in it; p = {self.p_without_bias:.2g} without)"
        if self.seeds_interval is not None:
            words += f"; over seeds too: NLL [{self.seeds_interval[0]:+.3f}, {self.seeds_interval[1]:+.3f}]"
        return words

    def plain(self) -> dict[str, Any]:
        found = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def bootstrap(ours: Sentences, theirs: Sentences, against: str, resamples: int = RESAMPLES) -> Difference:
    """Difference of `ours` to `theirs` by a paired bootstrap; every pair of the same sentences has the same resamples.

    Raises:
        Usage: if they are of other sentences or estimators, or of one sentence, which tells nothing of others.
    """
    _comparable(ours, theirs, against)
    count = len(ours.tokens)
    one, other = ours.columns(), theirs.columns()
    # The difference is a column of its own, so that equal figures differ by 0 and not by rounding.
    columns = np.concatenate([one[:, :1] - other[:, :1], one, other, ours.tokens[:, None]], axis=1)
    drawn = np.concatenate(
        [np.ones((1, count)) @ columns, *(counts @ columns for counts in _resamples(count, resamples))]
    )
    middle = 1 + one.shape[1]
    ours_, theirs_ = ours.of_resamples(drawn[:, 1:middle]), theirs.of_resamples(drawn[:, middle:-1])
    corrected = one.shape[1] + other.shape[1] > 2
    nll = ours_ - theirs_ if corrected else drawn[:, 0] / count
    tokens = drawn[:, -1] / count
    high, low = ours.bias or 0.0, theirs.bias or 0.0
    ppl = np.exp(ours_ / tokens) - np.exp(theirs_ / tokens)
    return Difference(
        against,
        name_of(theirs.estimator if ours.exact else ours.estimator),
        nll=float(nll[0]),
        nll_interval=_interval(nll[1:] - high, nll[1:] + low),
        ppl=float(ppl[0]),
        ppl_interval=_interval(
            np.exp((ours_ - high) / tokens)[1:] - np.exp(theirs_ / tokens)[1:],
            np.exp(ours_ / tokens)[1:] - np.exp((theirs_ - low) / tokens)[1:],
        ),
        p=_p(nll[1:] - high, nll[1:] + low),
        bias=(ours.bias, theirs.bias),
        p_without_bias=_p(nll[1:], nll[1:]),
        seeds_interval=_over_seeds(float(nll[0]), float(nll[1:].std()), ours.estimates, theirs.estimates, high, low),
        sentences=count,
        resamples=resamples,
        seed=SEED,
    )


def _resamples(count: int, resamples: int) -> Iterator[Figures]:
    """Counts of each sentence in each resample, at most ROWS resamples at a time: [≤ ROWS, count]."""
    generator = np.random.default_rng(SEED)
    for start in range(0, resamples, ROWS):
        rows = min(ROWS, resamples - start)
        places = generator.integers(count, size=(rows, count), dtype=np.int32)
        places += np.arange(0, rows * count, count, dtype=np.int32)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def _interval(low: Figures, high: Figures) -> tuple[float, float]:
    return float(np.percentile(low, 2.5)), float(np.percentile(high, 97.5))


def _expansion(count: int) -> float:
    """√(n/(n−1)) · t/z, of the 97.5 % quantiles."""
    from scipy.special import ndtri, stdtrit

    return math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, 0.975) / ndtri(0.975)) if count > 1 else 1.0


def _p(low: Figures, high: Figures) -> float:
    beyond = min(int((low <= 0).sum()), int((high >= 0).sum()))
    return min(2 * (beyond + 1) / (len(low) + 1), 1.0)


def _over_seeds(
    difference: float, error: float, ours: Sequence[float], theirs: Sequence[float], high: float, low: float
) -> tuple[float, float] | None:
    """The runs' own spread beside the resamples' standard error, which has as many degrees of freedom as one likes."""
    if min(len(ours), len(theirs)) < 2:
        return None
    from scipy.stats import t

    parts = [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (ours, theirs)]
    squared = error**2 + sum(part for part, _ in parts)
    freedom = squared**2 / total if (total := sum(part**2 / own for part, own in parts)) > 0 else math.inf
    half = float(t.ppf(0.975, freedom)) * math.sqrt(squared)
    return difference - half - high, difference + half + low


def _comparable(ours: Sentences, theirs: Sentences, against: str) -> None:
    if len(ours.tokens) == len(theirs.tokens) == 1:
        raise Usage(f"one sentence tells nothing of others: evaluate more of them to compare with {against!r}.")
    if ours.fingerprint != theirs.fingerprint:
        raise Usage(f"its figures are of other sentences, or of another order of them, than those of {against!r}.")
    alike = JUDGED if ours.exact or theirs.exact else ESTIMATOR
    if key := next((key for key in alike if ours.kind[key] != theirs.kind[key]), None):
        raise Usage(
            f"its figures are by another estimator than those of {against!r} ({key} {ours.kind[key]}, not {theirs.kind[key]})."
        )


def name_of(estimator: Mapping[str, Any]) -> str:
    """An estimator's name in a sentence."""
    if estimator["proposal"] == "exact":
        return "exact"
    return "tempered" if "temper" in estimator else f"S = {estimator['samples']} from {estimator['proposal']}"


def disagreement(found: Sequence[Difference]) -> str:
    """A sentence that tells which estimators disagree, each taken without its bias, as such tests usually are; empty if
    they agree.
    """
    words = {one.estimator: one.word for one in found}
    said = "; ".join(f"{word} by {name}" for name, word in words.items())
    return f"the estimators disagree: {said}" if len(set(words.values())) > 1 else ""


def differences(ours: Sequence[Sentences], theirs: Sequence[Sentences], against: str) -> list[Difference]:
    """One for each estimator that both sides have; an exact figure goes with any.

    Raises:
        Usage: if there is none.
    """
    pairs = [
        (one, other)
        for one in ours
        for other in theirs
        if one.exact or other.exact or name_of(one.estimator) == name_of(other.estimator)
    ]
    if not pairs:
        _comparable(ours[0], theirs[0], against)
    return [bootstrap(one, other, against) for one, other in pairs]
