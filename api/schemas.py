"""What answers are made of. They are encoded without these (`api.response_cache`), which are the contract that the tests hold
every answer to."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from api.bodies import Axis, Reason, Source, Spec, Split, StudyState, TrialState
from api.shapes import schema
from tuner.metrics import FIGURES
from tuner.studies import answers, trials


class Problem(BaseModel):
    """An error: `detail` is one sentence with what, its value, the rule and the remedy."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None
    remedy: str | None


class Listed(BaseModel):
    """A page; `next` is the cursor of the one after it."""

    next: str | None


def many(item: Any) -> Any:
    return list[item]


def page_of(name: str, item: Any) -> Any:
    return create_model(name, __base__=Listed, items=(many(item), Field()))


class Hyperparameter(BaseModel):
    name: str
    kind: Literal["float", "int", "categorical"]
    low: float | None
    high: float | None
    log: bool
    step: float | None
    choices: list[bool | int | float | str]
    default: bool | int | float | str
    optimum: bool | int | float | str | None
    meaning: str
    unit: str
    tuned: bool
    domain: Annotated[str, Field(description="in words")]


class Technique(BaseModel):
    name: str
    paper: str
    formula: str
    summary: str
    hyperparameters: list[Hyperparameter]


class Techniques(Listed):
    items: list[Technique]


class Corpus(BaseModel):
    name: str
    sentences: dict[str, int] | None
    vocabulary: int | None
    entropy: float | None
    fingerprint: str | None


class Corpora(Listed):
    items: list[Corpus]


class MetricFacts(BaseModel):
    key: str
    label: str
    unit: str
    meaning: str
    goal: Literal["min", "max"]
    estimated: bool
    beside: Annotated[bool, Field(description="by the tempered estimator that is made beside samples from q")]
    latent: Annotated[bool, Field(description="a model without a latent code has none")]
    shown: Annotated[bool, Field(description="a column of the tables of trials")]
    short: Annotated[str, Field(description="what heads such a column, where the label is long")]


class SettingFacts(BaseModel):
    """A setting of a study, as it is declared."""

    key: str
    label: str
    meaning: str
    rule: str
    kind: str
    role: Literal["identity", "changeable", "remark"]
    default: Any
    required: bool
    flag: str
    choices: list[str] | None
    low: float | None
    high: float | None
    whole: bool | None


class Options(BaseModel):
    samplers: list[str]
    default_sampler: str
    pruners: list[str]
    models: list[str]
    objectives: list[str]
    states: list[str]
    trial_states: list[str]
    metrics: list[MetricFacts]
    corpora: list[str]
    technique_names: list[str]
    settings: Annotated[list[SettingFacts], Field(description="what a new study may be asked to be")]
    can_write: bool
    has_workers: bool
    version: str


if TYPE_CHECKING:

    class Metrics(BaseModel):
        """Figures of an evaluation: each of `tuner.metrics.FIGURES`, and what they are of."""
else:
    Metrics = create_model(
        "Metrics",
        __config__=ConfigDict(extra="allow"),
        __doc__="Figures of an evaluation by key. A model without a latent code has null where one is needed.",
        **{key: (float | None, Field(default=None, description=each.meaning)) for key, each in FIGURES.items()},
        collapsed=(bool, Field(default=False, description="the code tells hardly anything of the sentence")),
        estimator=(dict[str, Any], Field(default={}, description="what made the NLL")),
        test=(
            dict[str, Any] | None,
            Field(default=None, description="figures of the test sentences, of a confirmation"),
        ),
    )


Best = schema(answers.Best, metrics=Metrics | None)
Summary = schema(answers.Summary, state=StudyState, created_at=datetime | None, best=Best | None)


Studies = page_of("Studies", Summary)


class NGramFigures(BaseModel):
    """Of so many of a split's sentences, the same that a trial's are of."""

    nll: float
    ppl: float
    sentences: int
    of: int


class NGram(BaseModel):
    """An interpolated Kneser–Ney model of the same text, of the order that is best on the validation sentences."""

    order: int
    counted: Annotated[int, Field(description="training sentences that it has read")]
    train: Annotated[int, Field(description="how many there are")]
    valid: NGramFigures
    test: NGramFigures


Study = schema(answers.Study, Summary, spec=Spec, space=list[Hyperparameter], ngram=NGram | None)


class Written(BaseModel):
    """What makes the same study elsewhere."""

    command: Annotated[str, Field(description="that makes it; where no option can say a setting, it names the file")]
    file: Annotated[str, Field(description="TOML, which `tuner launch --config` reads")]


Trial = schema(trials.Trial, state=TrialState, source=Source, metrics=Metrics | None, cost=dict[str, Any] | None)


Trials = page_of("Trials", Trial)


class Head(BaseModel):
    key: str
    label: str
    meaning: str
    unit: str
    is_text: bool
    shown: Annotated[bool, Field(description="unless a reader chooses others")]


class Table(BaseModel):
    """Trials by columns; `number` has one entry a trial, each column too."""

    heads: Annotated[list[Head], Field(description="all columns that there are")]
    number: list[int]
    columns: dict[str, list[Any]]
    of: Annotated[int, Field(description="trials of the study")]
    best: int | None
    front: list[int]


class ComparedRun(BaseModel):
    run: str
    study: str
    number: int
    state: TrialState
    note: str
    seconds: float | None


class Setting(BaseModel):
    name: str
    values: list[bool | int | float | str | None]
    differs: bool


class ComparedFigure(BaseModel):
    key: str
    label: str
    unit: str
    goal: Literal["min", "max"]
    values: list[float | None]


class Comparison(BaseModel):
    """Trials side by side: a value for each of `runs` in every setting and figure."""

    runs: list[ComparedRun]
    settings: list[Setting]
    figures: list[ComparedFigure]
    note: str | None


class History(BaseModel):
    """A study's trials by number: each one's value, and the least up to it."""

    number: list[int]
    state: list[TrialState]
    value: list[float | None]
    note: list[str]
    best: list[float | None]
    judged: Annotated[str, Field(description="what the value is")]
    entropy: Annotated[float | None, Field(description="of the corpus, where it is known")]
    ngram: Annotated[float | None, Field(description="the NLL of an n-gram model of the same text")]


class Means(BaseModel):
    """Complete trials by number: the mean of a process through all values, and the lowest mean up to each."""

    number: list[int]
    mean: list[float]
    best: list[float | None]
    noise: Annotated[float | None, Field(description="its standard deviation; null where none is inferred")]


class Surface(BaseModel):
    """A process through all values over two hyperparameters: `mean` and `sd` have a row for each of `ys`."""

    x: str
    y: str
    xs: list[bool | int | float | str]
    ys: list[bool | int | float | str]
    mean: list[list[float]]
    sd: list[list[float]]
    noise: Annotated[float, Field(description="the standard deviation of what another seed would give, as inferred")]
    number: list[int]
    points_x: list[bool | int | float | str]
    points_y: list[bool | int | float | str]
    at: Annotated[dict[str, Any], Field(description="what the other hyperparameters are held at: the best trial's")]
    best: int


class Slice(BaseModel):
    name: str
    values: list[bool | int | float | str]
    mean: list[float]
    sd: list[float]


class Slices(BaseModel):
    """A process through all values along each hyperparameter, the others at the best trial's."""

    items: list[Slice]
    figures: Annotated[list[str], Field(description="the figures that the values are")]
    noise: Annotated[float, Field(description="the standard deviation of what another seed would give, as inferred")]
    at: Annotated[dict[str, Any], Field(description="the best trial's hyperparameters, which the others are held at")]
    best: int


class Curves(BaseModel):
    """Learning curves: of each trial in `number` a list of epochs, seconds and values."""

    figure: str
    figures: Annotated[list[str], Field(description="all that have curves")]
    every: Annotated[int, Field(description="of so many epochs one is told")]
    number: list[int]
    epoch: list[list[int]]
    seconds: list[list[float | None]]
    value: list[list[float | None]]


Attempt = schema(answers.Attempt, started_at=datetime, ended_at=datetime | None)


TrialWithAttempts = create_model(
    "TrialWithAttempts",
    __base__=Trial,
    estimate=(str | None, Field(description="what made its NLL, and how sure it is, in words")),
    attempts=(many(Attempt), Field()),
)


class Epoch(BaseModel):
    epoch: int
    distortion: float | None
    rate: float | None
    neg_elbo: float | None
    active_units: int | None
    seconds: float | None
    objective: dict[str, Any]


class EpochList(Listed):
    items: list[Epoch]


class Samples(BaseModel):
    samples: list[dict[str, Any]]
    homotopy: list[dict[str, Any]]
    reconstructions: list[dict[str, Any]]
    dropped: list[list[dict[str, Any]]] = []


class Front(BaseModel):
    study: str
    technique: str
    text: Annotated[str, Field(description="what its figures are of")]
    confirms: Annotated[str | None, Field(description="the study that this one confirms")]
    estimators: list[str]
    made: Annotated[list[int], Field(description="of each trial, the same number for the same estimators")]
    number: list[int]
    x: list[float]
    y: list[float]
    params: dict[str, list[Any]]
    temper: Annotated[list[float | None], Field(description="λ of tempered estimates")]
    error: Annotated[list[float | None], Field(description="their own standard errors")]
    bias: Annotated[list[float | None], Field(description="what they are too high by at most")]
    notes: Annotated[list[str], Field(description="what qualifies each trial's figures: collapsed, not resolved")]
    front: list[int]


class Level(BaseModel):
    label: str
    value: float


class Pareto(BaseModel):
    x: Axis
    y: Axis
    split: Split
    x_goal: Literal["min", "max"]
    y_goal: Literal["min", "max"]
    studies: list[Front]
    front: list[tuple[int, int]]
    note: str | None
    levels: Annotated[list[Level], Field(description="lines across y: exact entropy, n-gram model, RNNLM")]


class Line(BaseModel):
    """A study's figures by target rate: of each, mean and standard deviation over its runs."""

    label: str
    studies: list[str]
    estimators: list[str]
    joined: Annotated[bool, Field(description="whether its runs differ in one hyperparameter at most")]
    target: list[float]
    runs: list[int]
    ppl: list[float | None]
    ppl_sd: list[float | None]
    acc_gap: list[float | None]
    acc_gap_sd: list[float | None]
    rate_error: list[float | None]
    rate_error_sd: list[float | None]


class Rates(BaseModel):
    split: Split
    panels: dict[str, str]
    series: list[Line]
    note: str | None


class Share(BaseModel):
    name: str
    importance: float
    error: Annotated[float | None, Field(description="the share's standard deviation over resamples of the trials")]


class Importance(BaseModel):
    metric: str
    trials: Annotated[int, Field(description="trials that the shares are of")]
    least: Annotated[int, Field(description="trials below which no share is told")]
    items: list[Share]


class Timeline(BaseModel):
    """Attempts to train trials, in the order of their beginnings; times are Unix seconds."""

    trial: list[int]
    attempt: Annotated[
        list[int], Field(description="of its trial, from 0 on: those after it repeat it or go on with it")
    ]
    worker: list[str]
    state: list[Literal["running", "finished", "failed", "lost", "interrupted"]]
    note: list[str]
    started: list[float]
    ended: list[float | None]
    now: Annotated[float, Field(description="the database's time")]
    of: Annotated[int, Field(description="attempts of the study; of more than 20,000 the newest are told")]


class Load(BaseModel):
    """A card's load, all programs together; what the card does not tell is null."""

    use: Annotated[float | None, Field(description="percent")]
    memory_used: Annotated[int | None, Field(description="bytes")]
    memory_total: Annotated[int | None, Field(description="bytes")]


class Worker(BaseModel):
    name: str
    host: str
    device: str
    state: Literal["idle", "training", "gone", "lost"]
    study: str | None
    trial: int | None
    trials: int
    tokens_per_second: Annotated[float | None, Field(description="of the last trial that it has trained to its end")]
    takes: Annotated[list[str] | None, Field(description="the studies that it takes trials of; null: any")]
    gpu: Annotated[Load | None, Field(description="its card's load while it trains; null without a card")]
    version: str
    started_at: datetime
    seen_at: datetime
    silent: float


class Workers(Listed):
    items: list[Worker]


class Claimed(BaseModel):
    """A trial for a worker, and what `python -m trainers train` is given for it."""

    number: int
    params: dict[str, Any]
    token: str
    lease_seconds: float
    attempt: int
    specification: dict[str, Any]
    timeout: Annotated[float | None, Field(description="seconds that all of the trial's attempts may take together")]
    seconds: Annotated[float, Field(description="of these, spent by earlier attempts")]
    files: Annotated[str | None, Field(description="the generation of its newest files, to go on from")]


class Renewed(BaseModel):
    """`stop` says why the training must end now, if it must; the trial is then to be told as `pruned`, or as failed for this
    `reason`."""

    stop: str | None
    reason: Reason | Literal["pruned"] | None


class Told(BaseModel):
    """The trial's state now: `waiting` if it is to be tried again."""

    state: str
