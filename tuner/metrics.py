"""Figures of a complete trial: name, unit, better end, meaning, and the estimator that made each.

Whatever lists figures (tables, CSV, JSON, LaTeX, the API, the dashboard, docs/reference) takes them from here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

from trainers.contract import LATENT_SENTENCES

Goal = Literal["min", "max", "zero"]
"""Better end of a figure; of `zero` the best value is 0, and a value is the worse the further it is from 0 on either side."""


def loss(value: float, goal: Goal) -> float:
    """A number that is the lower the better the value is."""
    return abs(value) if goal == "zero" else value if goal == "min" else -value


@dataclass(frozen=True)
class Metric:
    """Facts of a figure."""

    label: str
    unit: str
    goal: Goal
    meaning: str
    estimated: bool = False
    """True if the figure is the NLL estimator's or of as many sentences; figures of different estimators cannot be
    ranked together.
    """
    beside: bool = False
    """True if the figure is by the tempered estimator that is made beside samples from q."""
    latent: bool = False
    """True if the figure is of the latent code; a model without one has no such figure."""
    sentences: str = ""
    """Sentences of the split that the figure is of, in few words, where they are others than the NLL's."""
    shown: bool = False
    """True if the figure is a column of the tables of trials."""
    short: str = ""
    """Heading of the figure's column, where the label is long."""
    decimals: int = 2
    """Number of decimals in a table of means."""

    @property
    def heading(self) -> str:
        return self.short or self.label

    @property
    def titled(self) -> str:
        """The label with its unit, as it heads an axis."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


NATS = "nats per sentence"
SOME = f"{LATENT_SENTENCES:,} sentences at most"
ALL = "all sentences"


def _noisy(swaps: str) -> Metric:
    meaning = f"D of a sentence from the code of it after {swaps} of two tokens"
    return Metric(f"D after {swaps}", NATS, "min", meaning, latent=True, sentences=SOME)


def _probe(count: int) -> Metric:
    meaning = f"share of labels that a linear classifier tells from the codes, trained on {count:,} labelled sentences"
    return Metric(f"probe {count:,}", "", "max", meaning, latent=True, sentences=ALL, decimals=3)


class Figures(TypedDict, total=False):
    """Figures of an evaluation, each declared here once with all that is said of it; None where a model has none."""

    nll: Annotated[float | None, Metric("NLL", NATS, "min", "−log P(x), nats per sentence", estimated=True, shown=True)]
    nll_se: Annotated[
        float | None, Metric("NLL se", NATS, "min", "standard error of the NLL over sentences", estimated=True)
    ]
    nll_tempered: Annotated[
        float | None,
        Metric(
            "NLL tempered",
            NATS,
            "min",
            "tempered estimate of the NLL, where both were made: less biased at high rates",
            estimated=True,
            beside=True,
            latent=True,
        ),
    ]
    ppl_tempered: Annotated[
        float | None,
        Metric(
            "PPL tempered",
            "",
            "min",
            "perplexity per token by the tempered estimate",
            estimated=True,
            beside=True,
            latent=True,
        ),
    ]
    ppl: Annotated[
        float | None,
        Metric("PPL", "per token", "min", "perplexity per token, end token included", estimated=True, shown=True),
    ]
    ppl_no_end: Annotated[
        float | None,
        Metric(
            "PPL without ends",
            "",
            "min",
            "perplexity per token, as ppl, but end tokens are not counted",
            estimated=True,
        ),
    ]
    bits_per_char: Annotated[
        float | None,
        Metric(
            "bits per character",
            "",
            "min",
            "NLL in bits by character, each sentence's end counted as one: compares texts whatever their tokens are",
            estimated=True,
            short="bits/char",
            decimals=3,
        ),
    ]
    bits_per_byte: Annotated[
        float | None,
        Metric(
            "bits per byte",
            "",
            "min",
            "NLL in bits by byte of UTF-8, each sentence's end counted as one",
            estimated=True,
            short="bits/byte",
            decimals=3,
        ),
    ]
    ppl_elbo: Annotated[
        float | None,
        Metric("PPL by ELBO", "", "min", "exp(Σ −ELBO / Σ tokens), above ppl but for the samples' noise", latent=True),
    ]
    melbo: Annotated[
        float | None,
        Metric(
            "MELBO",
            NATS,
            "min",
            "D + ln of the number of evaluated sentences: bounds the NLL with their posteriors as the prior; grows "
            "with their number",
            estimated=True,
            latent=True,
        ),
    ]
    ppl_melbo: Annotated[
        float | None, Metric("PPL by MELBO", "", "min", "exp(Σ MELBO / Σ tokens)", estimated=True, latent=True)
    ]
    rate: Annotated[
        float | None, Metric("R", NATS, "max", "R = KL(q(z|x) ‖ p(z)), nats per sentence", latent=True, shown=True)
    ]
    target_rate: Annotated[
        float | None, Metric("r", NATS, "max", "r, the rate that the technique was to hold, nats", latent=True)
    ]
    rate_error: Annotated[
        float | None,
        Metric("R − r", NATS, "zero", "R − r, reached minus wanted rate, nats", latent=True),
    ]
    distortion: Annotated[
        float | None, Metric("D", NATS, "min", "D = −E_q log P(x|z), nats per sentence", latent=True, shown=True)
    ]
    neg_elbo: Annotated[float | None, Metric("−ELBO", NATS, "min", "D + R", latent=True, shown=True)]
    paper_elbo: Annotated[
        float | None,
        Metric(
            "ELBO of the paper",
            NATS,
            "min",
            "D + R/L, Kruengkrai's own figure for L codes a sentence: no bound, for comparison with that paper alone",
            latent=True,
        ),
    ]
    ppl_paper_elbo: Annotated[
        float | None,
        Metric(
            "PPL by the paper's ELBO",
            "",
            "min",
            "exp(Σ (D + R/L) / Σ tokens): Kruengkrai's own figure, no bound",
            latent=True,
        ),
    ]
    rate_once: Annotated[
        float | None,
        Metric("R/L", NATS, "max", "one code's rate where L codes make a sentence: Kruengkrai's KL", latent=True),
    ]
    nll_once: Annotated[
        float | None,
        Metric(
            "NLL, KL once",
            NATS,
            "min",
            "importance samples of Kruengkrai's ELBO, one code's log p(z) − log q(z|x) counted of L: no likelihood's, for "
            "comparison with that paper alone",
            estimated=True,
            latent=True,
        ),
    ]
    active_units: Annotated[
        int | None, Metric("AU", "dimensions", "max", "latent dimensions that vary with x", latent=True, shown=True)
    ]
    mi: Annotated[
        float | None,
        Metric(
            "MI",
            "nats",
            "max",
            "mutual information of x and z under q, nats; at most ln of the sentences evaluated",
            latent=True,
            shown=True,
        ),
    ]
    mi_he: Annotated[
        float | None,
        Metric(
            "MI by He",
            "nats",
            "max",
            "mutual information by He et al. 2019's estimator, from batches of 32; about ln 32 = 3.47 at most",
            latent=True,
        ),
    ]
    mi_lower: Annotated[
        float | None,
        Metric(
            "H − D", "nats", "max", "H − D, a lower bound on the mutual information; R is an upper one", latent=True
        ),
    ]
    acc_gap: Annotated[
        float | None,
        Metric(
            "accuracy gap",
            "points",
            "max",
            "next-token accuracy, posterior minus prior sample, points",
            latent=True,
            shown=True,
            short="gap",
        ),
    ]
    parameters: Annotated[int | None, Metric("parameters", "", "min", "numbers that training fits", decimals=0)]
    bleu: Annotated[
        float | None,
        Metric(
            "BLEU",
            "",
            "max",
            "BLEU of greedy reconstructions from posterior samples, 0–100",
            latent=True,
            sentences=SOME,
        ),
    ]
    bleu_1: Annotated[
        float | None,
        Metric(
            "BLEU-1", "", "max", "BLEU of single words of the same reconstructions, 0–100", latent=True, sentences=SOME
        ),
    ]
    smoothness: Annotated[
        float | None,
        Metric(
            "smoothness",
            "",
            "max",
            "Pearson correlation of the distance of two codes and their sentences' token edit distance",
            latent=True,
            sentences=SOME,
            decimals=3,
        ),
    ]
    noisy_1: Annotated[float | None, _noisy("1 swap")]
    noisy_2: Annotated[float | None, _noisy("2 swaps")]
    noisy_3: Annotated[float | None, _noisy("3 swaps")]
    noisy_4: Annotated[float | None, _noisy("4 swaps")]
    probe_0: Annotated[
        float | None,
        Metric(
            "clusters",
            "",
            "max",
            "share of labels that clusters of the codes tell, each one label",
            latent=True,
            sentences=ALL,
            decimals=3,
        ),
    ]
    probe_100: Annotated[float | None, _probe(100)]
    probe_500: Annotated[float | None, _probe(500)]
    probe_1000: Annotated[float | None, _probe(1000)]
    probe_2000: Annotated[float | None, _probe(2000)]
    probe_10000: Annotated[float | None, _probe(10_000)]


class Estimator(TypedDict, total=False):
    """The origin of an NLL (`trainers.figures.Metrics.estimator`)."""

    proposal: str
    samples: int
    sentences: int
    of: int
    split: str
    seed: int
    inputs: str
    temper: float
    levels: dict[str, int]
    error: float | None
    bias: float | None
    fall: float
    resolved: bool
    certificate: dict[str, Any]
    tempered: "Estimator"


class Metrics(Figures, total=False):
    """An evaluation as the trainer reports it, on the validation sentences."""

    collapsed: bool
    estimator: Estimator
    test: "Metrics"
    """Figures of the test sentences, which confirmations alone have."""


class Cost(TypedDict, total=False):
    """The price of a trial's last attempt."""

    epochs: int
    tokens_per_second: float
    seconds: dict[str, float]
    """Seconds of set-up, training and evaluation."""


FIGURES: dict[str, Metric] = {
    key: declared.__metadata__[0] for key, declared in get_type_hints(Figures, include_extras=True).items()
}
"""Every figure of an evaluation with all that is said of it."""
METRICS = tuple(FIGURES)
PLAUSIBLE: dict[str, tuple[float, float]] = {
    **dict.fromkeys(METRICS, (-1e6, 1e6)),
    **dict.fromkeys(("nll", "nll_se", "nll_tempered", "distortion", "neg_elbo", "melbo"), (0.0, 1e6)),
    **dict.fromkeys(("ppl", "ppl_tempered", "ppl_no_end", "ppl_elbo", "ppl_melbo"), (1.0, 1e300)),
    "rate": (-1.0, 1e6),
    "active_units": (0.0, 65_536.0),
    "acc_gap": (-100.0, 100.0),
}
"""Bounds of each figure of sentences that comes from elsewhere: an NLL below zero would be the best for ever. An estimated
rate may fall a little short of zero.
"""
ESTIMATES: dict[str, Metric] = {
    "temper": Metric("tempered λ", "", "max", "λ of the tempered estimate; 1 is q itself", latent=True),
    "error": Metric(
        "tempered error", NATS, "min", "standard error of the tempered estimate for these sentences", latent=True
    ),
    "bias": Metric(
        "tempered bias", NATS, "min", "largest bias of the tempered estimate, which is too high by no more", latent=True
    ),
}
"""Figures that tell how sure a tempered estimate is, be it the NLL itself or the one beside it."""
AXES: dict[str, Metric] = {
    **FIGURES,
    **ESTIMATES,
    "value": Metric(
        "value",
        NATS,
        "min",
        "value that the study minimises: the NLL, or MELBO",
        estimated=True,
    ),
    "seconds": Metric("time", "s", "min", "seconds that all of a trial's attempts took"),
}
"""Every figure by which a trial can be plotted or compared."""
SHOWN = {key: metric for key, metric in FIGURES.items() if metric.shown}


def tempered_of(metrics: Metrics) -> Estimator:
    """Facts of a trial's tempered estimate, be it the NLL or the one beside it; empty if there is none."""
    facts = metrics.get("estimator") or Estimator()
    return facts if "temper" in facts else facts.get("tempered") or Estimator()


def figure(metrics: Metrics, key: str) -> Any:
    """One of `FIGURES` or `ESTIMATES`; None if there is none, or no finite one."""
    value = (tempered_of(metrics) if key in ESTIMATES else metrics).get(key)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value: object) -> str:
    """A figure for a table: 4 significant digits or 2 decimals, whichever is more; powers of ten from a million on."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    if isinstance(value, int):
        return str(value)
    return f"{value:.2f}" if 10 <= abs(value) < 1e6 else f"{value:z.4g}"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Figures within figures by one name, e.g. `estimator.error`: for a table's columns."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def front(xs: Sequence[float], ys: Sequence[float], x_goal: Goal, y_goal: Goal) -> list[int]:
    """Indices of the points that no other is at least as good as in both figures and better in one; in the order of x.

    Of equal points all are in it; a point with a figure that is not finite is not.
    """
    points = sorted(
        (loss(x, x_goal), loss(y, y_goal), index)
        for index, (x, y) in enumerate(zip(xs, ys, strict=True))
        if math.isfinite(x) and math.isfinite(y)
    )
    kept: list[int] = []
    last = (math.inf, math.inf)
    for x, y, index in points:
        if y < last[1] or (x, y) == last:
            kept.append(index)
            last = (x, y)
    return sorted(kept, key=lambda index: (xs[index], index))
