"""Whether a difference of two configurations is more than the choice of the sentences: the paired bootstrap (Koehn 2004).

Both are judged on the same sentences. Resamples of these sentences, drawn with replacement and the same for both, tell how the
difference would vary over other texts of the same source. Of several runs a sentence's figure is their mean, so other seeds are
not in it: the deviation over runs tells of those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import Usage

if TYPE_CHECKING:
    from tuner.studies import Study

RESAMPLES = 10_000
SEED = 1
ROWS = 500
"""resamples drawn at once, which bounds the memory"""
ESTIMATOR = ("proposal", "samples", "sentences", "of", "split", "inputs")
"""what two figures' estimators must agree in; seeds differ between runs, and a tempered proposal's levels follow the model"""


@dataclass(frozen=True)
class Sentences:
    """One configuration's figures on each sentence of a split."""

    fingerprint: str
    """of the sentences in their order, as the models read them"""
    estimator: dict[str, Any]
    tokens: NDArray[np.float64]  # [n], the end token included
    nll: NDArray[np.float64]  # [n] nats, the mean over runs

    @property
    def kind(self) -> dict[str, Any]:
        """The estimator without what may differ between runs; an exact figure is of as many samples as one likes."""
        return {key: self.estimator.get(key) for key in ESTIMATOR}


@dataclass(frozen=True)
class Difference:
    """How much one configuration's figures are above another's: below 0 it is better."""

    against: str
    nll: float
    """nats per sentence"""
    nll_interval: tuple[float, float]
    """95 %, between the 2.5th and the 97.5th percentile of the resamples"""
    ppl: float
    ppl_interval: tuple[float, float]
    p: float
    """two-sided: twice the share of resamples on the other side of 0, ties counted as there, at most 1. As perplexities of the
    same tokens are in the order of the NLLs, it is of both figures"""
    sentences: int
    resamples: int
    seed: int

    def plain(self) -> dict[str, Any]:
        found = asdict(self)
        return {**found, **{key: list(found[key]) for key in ("nll_interval", "ppl_interval")}}


def bootstrap(ours: Sentences, theirs: Sentences, against: str, resamples: int = RESAMPLES) -> Difference:
    """How much `ours` is above `theirs`, by a paired bootstrap; the same resamples for every pair of the same sentences.

    Raises:
        Usage: if they are of other sentences or estimators, or of one sentence, which tells nothing of others.
    """
    _comparable(ours, theirs, against)
    count = len(ours.nll)
    columns = np.stack([ours.nll, theirs.nll, ours.tokens])
    generator = np.random.default_rng(SEED)
    sums = np.concatenate(
        [
            columns[:, generator.integers(count, size=(min(ROWS, resamples - start), count))].sum(-1)
            for start in range(0, resamples, ROWS)
        ],
        axis=1,
    )
    nll, ppl = (sums[0] - sums[1]) / count, np.exp(sums[0] / sums[2]) - np.exp(sums[1] / sums[2])
    total = columns.sum(-1)
    beyond = min((nll <= 0).sum(), (nll >= 0).sum())
    return Difference(
        against,
        nll=float(total[0] - total[1]) / count,
        nll_interval=_interval(nll),
        ppl=float(np.exp(total[0] / total[2]) - np.exp(total[1] / total[2])),
        ppl_interval=_interval(ppl),
        p=min(2 * (int(beyond) + 1) / (resamples + 1), 1.0),
        sentences=count,
        resamples=resamples,
        seed=SEED,
    )


def _interval(found: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _comparable(ours: Sentences, theirs: Sentences, against: str) -> None:
    if len(ours.nll) == len(theirs.nll) == 1:
        raise Usage(f"one sentence tells nothing of others: evaluate more of them to compare with {against!r}.")
    if ours.fingerprint != theirs.fingerprint:
        raise Usage(f"its figures are of other sentences, or of another order of them, than those of {against!r}.")
    both = (ours.kind, theirs.kind)
    if "exact" not in (both[0]["proposal"], both[1]["proposal"]) and both[0] != both[1]:
        key = next(key for key in ESTIMATOR if both[0][key] != both[1][key])
        raise Usage(
            f"its figures are by another estimator than those of {against!r} ({key} {both[0][key]}, not {both[1][key]})."
        )


def of_runs(runs: Sequence[Mapping[str, Any]]) -> Sentences:
    """The mean over a configuration's runs of what a trainer keeps of each sentence.

    Raises:
        Usage: if the runs are of different sentences.
    """
    first = runs[0]
    if any(run["fingerprint"] != first["fingerprint"] for run in runs):
        raise Usage("its runs were evaluated on different sentences.")
    nll = np.mean([run["nll"] for run in runs], axis=0)
    return Sentences(first["fingerprint"], first["estimator"], np.array(first["tokens"], dtype=np.float64), nll)


def of_trials(study: "Study", numbers: Sequence[int], split: str) -> Sentences:
    """The same of a study's trials.

    Raises:
        Usage: if they have kept none of that split.
    """
    import json

    from tuner.artifacts import SENTENCES

    runs = []
    for number in numbers:
        content = study.published(number, SENTENCES)
        kept = {} if content is None else json.loads(content)
        if split not in kept:
            raise Usage(
                f"trial {study.name}/{number} has kept no {split} figures by sentence: it was trained by an older version, or "
                "its files are gone; train it anew."
            )
        runs.append(kept[split])
    return of_runs(runs)
