"""Schemas of the answers. Answers are encoded without them (`api.response_cache`), but the tests hold every answer to
this contract.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from api.bodies import Reason, Source, Spec, StudyState, TrialState
from api.shapes import schema
from tuner import client
from tuner.commands import shapes
from tuner.metrics import FIGURES, Goal, Metric
from tuner.studies import answers, trials
from tuner.workers import gpu, remote


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
    column: Annotated[str, Field(description="Key of its column in a table of trials.")]
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
    domain: Annotated[str, Field(description="Domain of the hyperparameter, in words.")]


class Technique(BaseModel):
    name: str
    paper: str
    formula: str
    summary: str
    objective: str
    """Objective of a study of it that names none."""
    hyperparameters: list[Hyperparameter]


class Techniques(Listed):
    items: list[Technique]


class Corpus(BaseModel):
    name: str
    sentences: dict[str, int] | None
    vocabulary: int | None
    divided_into: str | None
    entropy: float | None
    fingerprint: str | None


class Corpora(Listed):
    items: list[Corpus]


MetricFacts = create_model("MetricFacts", __base__=schema(Metric, goal=Goal), key=(str, Field()))


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


class _Options(BaseModel):
    samplers: list[str]
    default_sampler: str
    pruners: list[str]
    models: list[str]
    objectives: list[str]
    states: list[str]
    trial_states: list[str]
    corpora: list[str]
    technique_names: list[str]
    settings: Annotated[list[SettingFacts], Field(description="Settings that a new study may be asked for.")]
    can_write: bool
    has_workers: bool
    version: str


Options = create_model("Options", __base__=_Options, metrics=(many(MetricFacts), Field()))


if TYPE_CHECKING:

    class Metrics(BaseModel):
        """Figures of an evaluation: each of `tuner.metrics.FIGURES`, and what they are of."""
else:
    Metrics = create_model(
        "Metrics",
        __config__=ConfigDict(extra="allow"),
        __doc__="Figures of an evaluation by key. A model without a latent code has null where one is needed.",
        **{key: (float | None, Field(default=None, description=each.meaning)) for key, each in FIGURES.items()},
        collapsed=(bool, Field(default=False, description="True if the code tells hardly anything of the sentence.")),
        estimator=(dict[str, Any], Field(default={}, description="Facts of the NLL's estimator.")),
        test=(
            dict[str, Any] | None,
            Field(
                default=None,
                description="Figures of the test sentences, which confirmations and runs of test=true have.",
            ),
        ),
    )


Best = schema(answers.Best, metrics=Metrics | None)
Summary = schema(answers.Summary, state=StudyState, created_at=datetime | None, best=Best | None)


Studies = page_of("Studies", Summary)


class NGramFigures(BaseModel):
    """Figures on so many of a split's sentences, which are those that a trial's figures are of."""

    nll: float
    ppl: float
    sentences: int
    of: int


class NGram(BaseModel):
    """An interpolated Kneser–Ney model of the study's text, of the order that is best on the validation sentences."""

    order: int
    counted: Annotated[int, Field(description="Number of training sentences that the model has read.")]
    train: Annotated[int, Field(description="Number of training sentences.")]
    valid: NGramFigures
    test: NGramFigures


Study = schema(answers.Study, Summary, spec=Spec, space=list[Hyperparameter], ngram=NGram | None)


class Written(BaseModel):
    """A command and a file that make an equal study elsewhere."""

    command: Annotated[
        str, Field(description="Command that makes the study; where no option can say a setting, it names the file.")
    ]
    file: Annotated[str, Field(description="Study file (TOML), which `tuner launch --config` reads.")]


Trial = schema(trials.Trial, state=TrialState, source=Source, metrics=Metrics | None, cost=dict[str, Any] | None)


Trials = page_of("Trials", Trial)


Attempt = schema(answers.Attempt, started_at=datetime, ended_at=datetime | None)


TrialWithAttempts = create_model(
    "TrialWithAttempts",
    __base__=Trial,
    estimate=(str | None, Field(description="Estimator of the trial's NLL, and how sure it is, in words.")),
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


Worker = schema(
    shapes.Worker,
    state=Literal["idle", "training", "gone", "lost"],
    gpu=schema(gpu.Load) | None,
    started_at=datetime,
    seen_at=datetime,
)


Workers = page_of("Workers", Worker)


Work = schema(remote.Work)


Stop = schema(client.Stop, reason=Reason | Literal["pruned"] | None)


class Told(BaseModel):
    """The trial's state now: `waiting` if it is to be tried again."""

    state: str
