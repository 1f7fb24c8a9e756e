"""What requests and answers are made of. Answers are encoded without these (`api.response_cache`); they are the contract that the
tests hold every answer to."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from tuner import names, numbers
from tuner.metrics import AXES, METRICS
from tuner.samplers import DEFAULT
from tuner.studies.spec import OBJECTIVES
from tuner.studies.study import SHOWN_STATES
from tuner.studies.trials import SOURCES, STATES
from tuner.workers.leases import RETRIES

NAME = rf"^[\w\-][\w.\-]{{0,{names.LONGEST - 1}}}$"


def _storable(text: str) -> str:
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("a text has no NUL and no half of a surrogate pair")
    return text


Text = Annotated[str, Field(max_length=2000), AfterValidator(_storable)]


def _in(within: numbers.Numbers, **more: Any) -> Any:
    return Field(ge=within.low, le=within.high, **more)


Whole = Annotated[int, _in(numbers.WHOLE)]
Number = Annotated[float, _in(numbers.ANY)]


def _whole(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value not in numbers.WHOLE:  # no float is made of it
        raise ValueError(f"it must be {numbers.WHOLE}")
    return value


Value = Annotated[bool | Whole | Number | Text, BeforeValidator(_whole)]
Key = Annotated[str, Field(pattern=r"^\w{1,64}$")]
Values = Annotated[dict[Key, Value], Field(max_length=100)]
Name = Annotated[str, Field(pattern=NAME)]
Device = Annotated[str, Field(pattern=r"^[\w\-][\w.:,\-]{0,99}$")]
Split = Literal["valid", "test"]
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

if TYPE_CHECKING:
    Metric: TypeAlias = str
    Axis: TypeAlias = str
    TrialState: TypeAlias = str
    Source: TypeAlias = str
    StudyState: TypeAlias = str
    Objective: TypeAlias = str
    Reason: TypeAlias = str
else:  # a type checker cannot follow what is listed elsewhere
    Metric, Axis = Literal[METRICS], Literal[tuple(AXES)]
    TrialState, StudyState, Objective = Literal[STATES], Literal[SHOWN_STATES], Literal[tuple(OBJECTIVES)]
    Source = Literal[SOURCES]
    Reason = Literal[tuple(RETRIES)]


class Body(BaseModel):
    """A body: unknown fields and numbers that are none are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class NewStudy(Body):
    """A study to be made. The same body again finds the same study."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"technique": "sfb", "corpus": "grammar", "model": "tiny", "trials": 8}]}
    )

    technique: Name
    trials: Annotated[int, _in(numbers.TRIALS)]
    name: Annotated[Name | None, Field(description="default: TECHNIQUE-CORPUS-MODEL")] = None
    corpus: Name = "grammar"
    model: Name = "tiny"
    sampler: Name = DEFAULT
    sampler_options: Values = {}
    seed: Annotated[int, _in(numbers.INDEX)] = 0
    objective: Objective = "nll"
    pruner: Name = "none"
    min_rate: Annotated[float, _in(numbers.NATS, description="nats")] = 0.0
    stop_when: Annotated[float, _in(numbers.NATS, description="nats; 0: never")] = 0.0
    nll: Annotated[
        Name | None,
        Field(description="what trials are judged by: tempered (default), q, or q and the samples, e.g. q1000"),
    ] = None
    fixed: Values = {}
    timeout: Annotated[float | None, Field(gt=0, le=numbers.SECONDS.high, description="seconds of one trial")] = None
    deadline: Annotated[AwareDatetime | None, Field(strict=False)] = None
    max_failures: Annotated[int, _in(numbers.FAILURES)] = 3
    max_losses: Annotated[
        int, _in(numbers.FAILURES, description="workers in a row that a trial may lose before it fails; 0: any")
    ] = 20
    warm_start: Annotated[Name | None, Field(description="a study whose finished trials this one begins with")] = None
    first_default: Annotated[
        bool, Field(description="trial 0 has the technique's published values, not the sampler's")
    ] = True


class NewTrial(Body):
    """A configuration to be tried; hyperparameters left out have their defaults."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"params": {"r": 5.0}}]})

    params: Values


class Strike(Body):
    """A request to strike a trial out: its reason is kept with the trial."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"because": "the corpus was cut off"}]})

    because: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)]


class Ask(Body):
    """A worker that cannot reach the database asks for a trial. It keeps its name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"worker": "laptop", "device": "cuda:0"}]})

    worker: Name
    device: Device = "cpu"
    token: Annotated[
        Token | None, Field(description="of your choice, random; with it again, the same trial is answered")
    ] = None


class Renew(Body):
    """That a trial is still being trained."""

    token: Token


class ReportedEpoch(Body):
    """Validation figures after one epoch."""

    epoch: Annotated[int, Field(ge=1, le=10**6)]
    distortion: Number | None = None
    rate: Number | None = None
    neg_elbo: Number | None = None
    active_units: Annotated[int, Field(ge=0, le=10**6)] | None = None
    seconds: Annotated[float, _in(numbers.SECONDS)] | None = None
    objective: Annotated[dict[Key, Number | None], Field(max_length=50)] = {}


class Epochs(Renew):
    """A trial's newest epochs; those sent twice replace themselves."""

    epochs: Annotated[list[ReportedEpoch], Field(min_length=1, max_length=1000)]


class Certificate(BaseModel):
    """Bounds of the mean −log P(x) of sentences that the model wrote itself; `gap` is what its estimator is biased by at most."""

    gap: Number
    gap_se: Number | None = None
    sentences: Whole
    samples: Whole
    lower: Number
    upper: Number
    lower_temper: Number
    cut: Whole
    mean_length: Number
    mean_rate: Number
    corpus_length: Number
    corpus_rate: Number


class Estimate(BaseModel):
    """The estimator of an NLL: its proposal, draws, own error and bias."""

    proposal: Text
    samples: Annotated[int, Field(ge=0, le=10**9)]
    temper: Number | None = None
    levels: Annotated[dict[Key, Whole], Field(max_length=100)] | None = None
    error: Number | None = None
    bias: Number | None = None
    resolved: bool | None = None
    certificate: Certificate | None = None


class Estimator(Estimate):
    """The estimator of an NLL, and the sentences and the seed that it was made with."""

    sentences: Annotated[int, Field(ge=0, le=10**9)]
    of: Annotated[int, Field(ge=0, le=10**9)]
    seed: Whole
    split: Split = "valid"
    inputs: Text | None = None
    tempered: Annotated[Estimate | None, Field(description="with `nll` both: what made `nll_tempered`")] = None


class Tell(Renew):
    """How a trial ended."""

    state: Literal["complete", "pruned", "failed"]
    metrics: Annotated[dict[Metric, Number | None] | None, Field(description="of a complete trial; NLL is needed")] = (
        None
    )
    test: Annotated[dict[Metric, Number | None] | None, Field(description="of the test sentences, if evaluated")] = None
    test_estimator: Estimator | None = None
    collapsed: bool = False
    estimator: Estimator | None = None
    epochs: Annotated[int, Field(ge=0, le=10**6)] = 0
    tokens_per_second: Annotated[float, Field(ge=0, le=1e12)] | None = None
    seconds: dict[Literal["set_up", "training", "evaluation"], Annotated[float, _in(numbers.SECONDS)]] = {}
    reason: Reason | None = None
    message: Text | None = None


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
    can_write: bool
    has_workers: bool
    version: str


class Best(BaseModel):
    number: int
    value: float
    params: dict[str, Any]
    given: Annotated[dict[str, Any], Field(description="the hyperparameters that were chosen or set by hand")]
    metrics: dict[str, Any] | None
    notes: Annotated[list[str], Field(description="what qualifies its figures: collapsed, not resolved")]


class Summary(BaseModel):
    name: str
    technique: str
    corpus: str
    model: str
    sampler: str
    objective: str
    seed: int
    state: StudyState
    why: str | None
    budget: int
    counts: dict[str, int]
    best: Best | None
    estimator: str | None
    created_at: datetime
    revision: int
    waiting_for_workers: bool


class Studies(Listed):
    items: list[Summary]


class Rules(BaseModel):
    timeout: float | None
    deadline: datetime | None
    max_failures: int
    max_losses: int


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


class Study(Summary):
    space: list[Hyperparameter]
    fixed: dict[str, Any]
    rules: Rules
    pruner: str
    first_default: bool
    min_rate: float
    stop_when: float
    entropy: float | None
    ngram: Annotated[
        NGram | None, Field(description="what counting words is worth; of a study of an older program null")
    ]
    front: list[int]


class Trial(BaseModel):
    number: int
    state: TrialState
    params: dict[str, Any]
    source: Annotated[Source, Field(description="where its hyperparameters come from")]
    value: float | None
    metrics: dict[str, Any] | None
    seconds: float | None
    cost: dict[str, Any] | None
    reason: str | None
    message: str | None
    worker: str | None
    run: str
    fixed: Annotated[dict[str, Any], Field(description="hyperparameters set by hand for all trials of the study")]
    hyperparameters: Annotated[dict[str, Any], Field(description="all of them, those left at their defaults too")]
    notes: Annotated[list[str], Field(description="what qualifies its figures: collapsed, not resolved")]


class Trials(Listed):
    items: list[Trial]


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


class Curves(BaseModel):
    """Learning curves: of each trial in `number` a list of epochs, seconds and values."""

    figure: str
    figures: Annotated[list[str], Field(description="all that have curves")]
    every: Annotated[int, Field(description="of so many epochs one is told")]
    number: list[int]
    epoch: list[list[int]]
    seconds: list[list[float | None]]
    value: list[list[float | None]]


class Attempt(BaseModel):
    attempt: int
    worker: str
    host: str
    seed: int
    state: str
    reason: str | None
    message: str | None
    started_at: datetime
    ended_at: datetime | None


class TrialWithAttempts(Trial):
    estimate: Annotated[str | None, Field(description="what made its NLL, and how sure it is, in words")]
    attempts: list[Attempt]


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


class Importance(BaseModel):
    metric: str
    trials: int
    items: list[Share]


class Worker(BaseModel):
    name: str
    host: str
    device: str
    state: Literal["idle", "training", "gone", "lost"]
    study: str | None
    trial: int | None
    trials: int
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


class Renewed(BaseModel):
    """`stop` says why the training must end now, if it must; the trial is then to be told as `pruned`, or as failed for this
    `reason`."""

    stop: str | None
    reason: Reason | Literal["pruned"] | None


class Told(BaseModel):
    """The trial's state now: `waiting` if it is to be tried again."""

    state: str
