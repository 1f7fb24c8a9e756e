"""Schemas of figures across trials and studies: tables, fronts, curves, surfaces, timelines."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from api.bodies import Axis, Split, TrialState
from api.schemas import many
from api.shapes import schema
from tuner.commands import shapes
from tuner.metrics import Goal
from tuner.studies import table


class _Table(BaseModel):
    number: list[int]
    columns: dict[str, list[Any]]
    of: Annotated[int, Field(description="Number of the study's trials.")]
    best: int | None
    front: list[int]


Table = create_model(
    "Table",
    __base__=_Table,
    __doc__="Trials by columns; `number` has one entry a trial, each column too.",
    heads=(many(schema(table.Head)), Field(description="All columns of the table.")),
)


ComparedRun = schema(shapes.ComparedRun, state=TrialState)
ComparedSetting = schema(shapes.ComparedSetting, values=list[bool | int | float | str | None])
ComparedFigure = schema(shapes.ComparedFigure, goal=Goal)
Comparison = schema(
    shapes.Comparison, runs=many(ComparedRun), settings=many(ComparedSetting), figures=many(ComparedFigure)
)


class History(BaseModel):
    """A study's trials by number: each one's value, and the least up to it."""

    number: list[int]
    state: list[TrialState]
    value: list[float | None]
    note: list[str]
    best: list[float | None]
    judged: Annotated[str, Field(description="Name of the value that trials are judged by.")]
    entropy: Annotated[float | None, Field(description="Exact entropy of the corpus, where it is known.")]
    ngram: Annotated[float | None, Field(description="NLL of an n-gram model of the text.")]


class Means(BaseModel):
    """Complete trials by number: the mean of a process through all values, and the lowest mean up to each."""

    number: list[int]
    mean: list[float]
    best: list[float | None]
    noise: Annotated[float | None, Field(description="Standard deviation of the noise; null where none is inferred.")]


class Surface(BaseModel):
    """A process through all values over two hyperparameters: `mean` and `sd` have a row for each of `ys`."""

    x: str
    y: str
    xs: list[bool | int | float | str]
    ys: list[bool | int | float | str]
    mean: list[list[float]]
    sd: list[list[float]]
    noise: Annotated[
        float, Field(description="Standard deviation of the values that other seeds would give, as inferred.")
    ]
    number: list[int]
    points_x: list[bool | int | float | str]
    points_y: list[bool | int | float | str]
    at: Annotated[dict[str, Any], Field(description="Values of the other hyperparameters, which are the best trial's.")]
    best: int


class Slice(BaseModel):
    name: str
    values: list[bool | int | float | str]
    mean: list[float]
    sd: list[float]


class Slices(BaseModel):
    """A process through all values along each hyperparameter, the others at the best trial's."""

    items: list[Slice]
    figures: Annotated[list[str], Field(description="Figures that the values are.")]
    noise: Annotated[
        float, Field(description="Standard deviation of the values that other seeds would give, as inferred.")
    ]
    at: Annotated[dict[str, Any], Field(description="Hyperparameters of the best trial, whose values the others have.")]
    best: int


class Curves(BaseModel):
    """Learning curves: of each trial in `number` a list of epochs, seconds and values."""

    figure: str
    figures: Annotated[list[str], Field(description="Figures that have curves.")]
    every: Annotated[int, Field(description="Number of epochs of which one is told.")]
    number: list[int]
    epoch: list[list[int]]
    seconds: list[list[float | None]]
    value: list[list[float | None]]


class Front(BaseModel):
    study: str
    technique: str
    text: Annotated[str, Field(description="Text that the figures are of.")]
    confirms: Annotated[str | None, Field(description="Study that this one confirms.")]
    estimators: list[str]
    made: Annotated[list[int], Field(description="Number for each trial that stands for its figures' estimators.")]
    number: list[int]
    x: list[float]
    y: list[float]
    params: dict[str, list[Any]]
    temper: Annotated[list[float | None], Field(description="Values of λ of tempered estimates.")]
    error: Annotated[list[float | None], Field(description="Standard errors of tempered estimates.")]
    bias: Annotated[
        list[float | None], Field(description="Largest biases of tempered estimates, which are too high by no more.")
    ]
    notes: Annotated[list[str], Field(description="Notes that doubt each trial's figures: collapsed, not resolved.")]
    front: list[int]


class Level(BaseModel):
    label: str
    value: float


class Pareto(BaseModel):
    x: Axis
    y: Axis
    split: Split
    x_goal: Goal
    y_goal: Goal
    studies: list[Front]
    front: list[tuple[int, int]]
    note: str | None
    levels: Annotated[list[Level], Field(description="Lines across y: exact entropy, n-gram model, RNNLM.")]


class Line(BaseModel):
    """Figures of a study, posterior and prior by target rate: mean and deviation over runs that differ in their seeds."""

    label: str
    studies: list[str]
    estimators: list[str]
    joined: Annotated[bool, Field(description="True if the runs differ in one hyperparameter at most.")]
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
    error: Annotated[float | None, Field(description="Standard deviation of the share over resamples of the trials.")]


class Importance(BaseModel):
    metric: str
    trials: Annotated[int, Field(description="Number of trials that the shares are of.")]
    least: Annotated[int, Field(description="Number of trials below which no share is told.")]
    items: list[Share]


class Timeline(BaseModel):
    """Attempts to train trials, in the order of their beginnings; times are Unix seconds."""

    trial: list[int]
    attempt: Annotated[
        list[int],
        Field(
            description="Number of the attempt at its trial, from 0 on: later ones repeat the trial or go on with it."
        ),
    ]
    worker: list[str]
    state: list[Literal["running", "finished", "failed", "lost", "interrupted"]]
    note: list[str]
    started: list[float]
    ended: list[float | None]
    now: Annotated[float, Field(description="Time of the database.")]
    of: Annotated[int, Field(description="Number of the study's attempts; of more than 20,000 the newest are told.")]
