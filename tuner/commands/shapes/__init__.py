"""The shapes of all that commands print with `--json`, declared once: docs/reference/json.md is made from them, and a test judges
the commands' output by them. Figures within are by their keys in docs/reference/metrics.md."""

from typing import Any, NotRequired, TypedDict

from tuner.analysis.significance import Difference
from tuner.commands.shapes import runs
from tuner.commands.shapes.runs import Figures
from tuner.ngram import Line
from tuner.space import Space
from tuner.storage.keys import Key
from tuner.studies import answers
from tuner.studies.trials import Trial
from tuner.workers.gpu import Load


class Sampler(TypedDict):
    """A sampler by its name."""

    name: str
    summary: str
    options: NotRequired[dict[str, str]]
    """Options with their defaults, where one sampler is asked for."""


class Corpus(TypedDict):
    """A corpus that there is."""

    name: str
    description: str


class Repeated(TypedDict):
    """Sentences of a split that stand word for word in the training text."""

    count: int
    share: float


class NGramFigures(TypedDict):
    """Figures of an n-gram model of one order on a split."""

    nll: float
    ppl: float
    bits_per_char: NotRequired[float]
    sentences: int
    of: int


class NGrams(TypedDict):
    """Interpolated Kneser–Ney models of a text, by order."""

    best: int
    """The order that is best on the validation sentences."""
    counted: int
    """Training sentences that the models have read."""
    train: int
    orders: dict[str, dict[str, NGramFigures]]
    """Figures by order and split."""


class Text(TypedDict):
    """A corpus as models read it; tables are by split."""

    name: str
    fingerprint: str
    divided_into: str
    vocabulary: int
    sentences: dict[str, int]
    tokens: dict[str, int]
    characters: dict[str, int]
    mean_length: float
    sd_length: float
    longest: int
    unknown_tokens: dict[str, int]
    truncation: float
    """Standard deviations above the mean length at which sentences are cut; 0: never."""
    cut_sentences: dict[str, int]
    empty_lines: dict[str, int]
    classes: int | None
    entropy: float | None
    exact_nll: dict[str, float] | None
    warnings: list[str]
    repeated: dict[str, Repeated]
    ngrams: NGrams


class CacheEntry(TypedDict):
    """An encoded corpus."""

    name: str
    fingerprint: str
    bytes: int
    used: float
    """Unix seconds."""


class Cache(TypedDict):
    """The encoded corpora of a machine (`--cache`)."""

    folder: str
    bound: int
    """Bytes that they may have."""
    bytes: int
    entries: list[CacheEntry]
    cleared: NotRequired[int]
    """Number of entries that `--clear` has removed."""


class RecipeSplit(TypedDict):
    """A split that was made."""

    sentences: int
    tokens: int
    types: int
    sha256: str
    pairs: NotRequired[int]
    """Pairs of a question and an answer, right or wrong (`yahoo-cqa`)."""
    questions: NotRequired[int]
    """Questions with answers to choose from."""


class Recipe(TypedDict):
    """A paper's corpus, made from a copy of its source, and compared with what the paper prints."""

    name: str
    folder: str
    labels: bool
    splits: dict[str, RecipeSplit]
    same: list[str]
    differs: list[str]


class Whole(answers.Study):
    """A study with all its trials; of a server's, when it has just been made, without them."""

    trials: NotRequired[list[Trial]]


class Mean(TypedDict):
    """A figure over runs."""

    mean: float
    sd: float | None


class Row(TypedDict):
    """A configuration's figures in the report."""

    study: str
    technique: str
    settings: Figures
    """The configuration's hyperparameters."""
    runs: int
    """Runs with seeds of their own; 0 for a published figure."""
    figures: dict[str, Mean | None]
    estimator: str
    """The estimator of the NLL, or the paper that it is from."""
    confirmed: bool
    """True for new seeds; a search's best trial is better than it should be by being the best."""
    trials: list[int]
    differences: list[Difference]
    """Differences to the row that all are compared with, one for each estimator that both have."""
    untested: str
    ngram: Line | None
    sentences: str
    beside: str
    """The estimator of the tempered estimates, if these are beside samples from q."""
    notes: list[str]
    won_by: str
    truncation: float | None
    token: str
    """Noun for a token of the text, per which a perplexity is: word, character or piece."""
    model: str
    """Preset of the model's sizes; empty for a published figure."""


class Launched(TypedDict):
    """Studies of several techniques with equal budgets."""

    studies: list[Whole]
    comparison: list[Row]


class Confirmed(TypedDict):
    """The rows of the report by split."""

    valid: list[Row]
    test: list[Row]


class ComparedRun(TypedDict):
    """A trial that is compared."""

    run: str
    study: str
    number: int
    state: str
    note: str
    seconds: float | None


class ComparedSetting(TypedDict):
    """A setting, with a value for each run."""

    name: str
    values: list[Any]
    differs: bool


class ComparedFigure(TypedDict):
    """A figure, with a value for each run."""

    key: str
    label: str
    unit: str
    goal: str
    values: list[float | None]


class Comparison(TypedDict):
    """Trials side by side."""

    runs: list[ComparedRun]
    settings: list[ComparedSetting]
    figures: list[ComparedFigure]
    note: str | None
    """Why the figures are not to be ranked together, if they are not."""


class Worker(TypedDict):
    """A worker."""

    name: str
    host: str
    device: str
    state: str
    study: str | None
    trial: int | None
    trials: int
    """Trials that it has ended."""
    takes: list[str] | None
    """The studies that it takes trials of; null: any."""
    gpu: Load | None
    """The load of its card while it trains; null without a card."""
    version: str
    started_at: str
    seen_at: str
    tokens_per_second: float | None
    """Tokens a second of the last trial that it has trained to its end."""
    silent: float
    """Seconds since its last word."""


SHAPES: dict[str, Any] = {
    "techniques": list[Space],
    "samplers": list[Sampler],
    "corpora describe": list[Corpus] | Text | Cache,
    "corpora get": Recipe,
    "studies": list[answers.Summary],
    "launch": Whole | Launched,
    "sweep": Whole | Launched,
    "show": Whole,
    "trials": list[Trial],
    "compare": Comparison,
    "confirm": Confirmed,
    "workers": list[Worker],
    "key list": list[Key],
    "train": runs.Trained,
    "evaluate": runs.Evaluated,
    "reproduce": runs.Reproduced,
    "log": runs.Log,
    "sample": runs.Samples,
    "reconstruct": runs.Reconstructions,
    "interpolate": runs.Homotopy | runs.Likeness,
    "neighbours": runs.Neighbours | list[runs.Neighbours],
    "dropped": runs.Dropped | runs.DroppedBy,
    "latent": runs.Latent,
    "answer": runs.Answers,
    "arithmetic": runs.Arithmetic,
    "perturbed": runs.Perturbed,
}
"""The shape that each command prints."""
