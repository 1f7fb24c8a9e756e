"""The bodies of requests, and the kinds of values in their paths and queries."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from tuner import names, numbers
from tuner.metrics import AXES, METRICS
from tuner.studies.objectives import OBJECTIVES
from tuner.studies.queries import LISTED_STATES
from tuner.studies.setting import REQUIRED, Domains, Duration, Moment, Number, Pairs, Setting, Text, Truth, Word, Words
from tuner.studies.spec import ASKED, OPEN
from tuner.studies.trials import SOURCES, STATES
from tuner.workers.claims import GENERATION, RETRIES, TOKEN

NAME = rf"^[\w\-][\w.\-]{{0,{names.LONGEST - 1}}}$"


Sentence = Annotated[str, Field(max_length=2000), AfterValidator(numbers.storable)]


def _in(within: numbers.Numbers, **more: Any) -> Any:
    return Field(ge=within.low, le=within.high, **more)


Whole = Annotated[int, _in(numbers.WHOLE)]
Figure = Annotated[float, _in(numbers.ANY)]


def _plain(value: object) -> object:
    if not numbers.is_plain(value):  # no float is made of a whole number that is too large
        whole = isinstance(value, int)
        raise ValueError(
            f"it must be {numbers.WHOLE}" if whole else f"it must be a text, true, false, or {numbers.ANY}"
        )
    return value


Value = Annotated[bool | Whole | Figure | Sentence, BeforeValidator(_plain)]
Key = Annotated[str, Field(pattern=r"^\w{1,64}$")]
Values = Annotated[dict[Key, Value], Field(max_length=100)]
Name = Annotated[str, Field(pattern=NAME)]
Run = Annotated[str, Field(pattern=rf"{NAME[:-1]}/[0-9]{{1,{names.DIGITS}}}$")]
Device = Annotated[str, Field(pattern=r"^[\w\-][\w.:,\-]{0,99}$")]
Split = Literal["valid", "test"]
Token = Annotated[str, Field(pattern=TOKEN)]

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
    TrialState, StudyState, Objective = Literal[STATES], Literal[LISTED_STATES], Literal[tuple(OBJECTIVES)]
    Source = Literal[SOURCES]
    Reason = Literal[tuple(RETRIES)]


class Body(BaseModel):
    """A body: unknown fields and numbers that are none are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _limited(declared: Setting) -> Any:
    """A setting's type in a body; what a body's type cannot say, `StudySpec.of` checks."""
    kind = declared.kind
    if isinstance(kind, Number):
        number: Any = int if kind.within.whole else float
        return Annotated[number, _in(kind.within)]
    if isinstance(kind, Word):
        return Annotated[Sentence, Field(json_schema_extra={"enum": list(kind.choices)})]
    return {
        Text: Annotated[str, Field(max_length=getattr(kind, "longest", None))], Truth: bool, Pairs: Values,
        Words: list[str], Duration: Annotated[float, Field(gt=0, le=numbers.SECONDS.high)],
        Moment: Annotated[AwareDatetime, Field(strict=False)], Domains: dict[str, Any],
    }[type(kind)]  # fmt: skip


def _field(declared: Setting) -> Any:
    kind: Any = _limited(declared)
    said: Any = Annotated[kind if declared.default is not None else kind | None, Field(description=declared.meaning)]
    return (said, ...) if declared.default is REQUIRED else (said, declared.default)


def _without_defaults(schema: dict[str, Any]) -> None:
    """Takes the defaults out of the schema of a body, of which what is left out stays as it was."""
    for each in schema["properties"].values():
        each.pop("default", None)


if TYPE_CHECKING:

    class Spec(Body):
        """The settings of a study."""

    class NewStudy(Spec):
        name: str | None

    class Changes(Body):
        """Other values for what may change of a study."""

else:
    Spec = create_model("Spec", __base__=Body, __doc__="The settings of a study. With a name they are the body that makes it.",
                        **{key: _field(each) for key, each in ASKED.items()})  # fmt: skip

    class NewStudy(Spec):
        """A study to be made. A repeated request with an equal body finds that study."""

        model_config = ConfigDict(
            json_schema_extra={"examples": [{"technique": "sfb", "corpus": "grammar", "model": "tiny", "trials": 8}]}
        )

        name: Annotated[Name | None, Field(description="Name of the study; default: TECHNIQUE-CORPUS-MODEL.")] = None

    class _Changes(Body):
        model_config = ConfigDict(json_schema_extra=_without_defaults)

    Changes = create_model(
        "Changes", __base__=_Changes, __doc__="Other values for what may change of a study; what is left out stays.",
        **{key: _field(each) for key, each in OPEN.items()},
    )  # fmt: skip


class NewTrial(Body):
    """A configuration to be tried; hyperparameters left out have their defaults."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"params": {"r": 5.0}}]})

    params: Values


class Strike(Body):
    """A request to strike a trial out: its reason is kept with the trial."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"because": "the corpus was cut off"}]})

    because: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(numbers.storable)]


class Ask(Body):
    """A worker that cannot reach the database asks for a trial. It keeps its name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"worker": "laptop", "device": "cuda:0"}]})

    worker: Name
    device: Device = "cpu"
    token: Annotated[
        Token | None,
        Field(
            description="Random token of the client's choice. A repeated request with this token gets this trial again."
        ),
    ] = None
    takes: Annotated[
        list[Name] | None, Field(max_length=500, description="Studies whose trials the worker takes; null: any.")
    ] = None


class Load(Body):
    """The load of a worker's card, all programs together."""

    use: Annotated[float, Field(ge=0, le=100, description="Use of the card in percent.")] | None = None
    memory_used: Annotated[int, Field(ge=0, le=2**53, description="Memory in use, in bytes.")] | None = None
    memory_total: Annotated[int, Field(ge=0, le=2**53, description="Memory of the card, in bytes.")] | None = None


class Renew(Body):
    """A worker's word that it still trains a trial."""

    token: Token


class RenewWithLoad(Renew):
    """A worker's word that it still trains a trial, with the load of its card."""

    gpu: Load | None = None


class ReportedEpoch(Body):
    """Validation figures after one epoch."""

    epoch: Annotated[int, Field(ge=1, le=10**6)]
    distortion: Figure | None = None
    rate: Figure | None = None
    neg_elbo: Figure | None = None
    active_units: Annotated[int, Field(ge=0, le=10**6)] | None = None
    seconds: Annotated[float, _in(numbers.SECONDS)] | None = None
    objective: Annotated[dict[Key, Figure | None], Field(max_length=50)] = {}


class Epochs(Renew):
    """A trial's newest epochs; those sent twice replace themselves."""

    epochs: Annotated[list[ReportedEpoch], Field(min_length=1, max_length=1000)]


class Certificate(BaseModel):
    """Bounds of the mean −log P(x) of sentences that the model wrote itself; `gap` is what its estimator is biased by at most."""

    gap: Figure
    gap_se: Figure | None = None
    sentences: Whole
    samples: Whole
    lower: Figure
    upper: Figure
    lower_temper: Figure
    cut: Whole
    mean_length: Figure
    mean_rate: Figure
    corpus_length: Figure
    corpus_rate: Figure


class Estimate(BaseModel):
    """The estimator of an NLL: its proposal, draws, own error and bias."""

    proposal: Sentence
    samples: Annotated[int, Field(ge=0, le=10**9)]
    temper: Figure | None = None
    levels: Annotated[dict[Key, Whole], Field(max_length=100)] | None = None
    error: Figure | None = None
    bias: Figure | None = None
    fall: Figure | None = None
    resolved: bool | None = None
    certificate: Certificate | None = None


class Estimator(Estimate):
    """The estimator of an NLL, and the sentences and the seed that it was made with."""

    sentences: Annotated[int, Field(ge=0, le=10**9)]
    of: Annotated[int, Field(ge=0, le=10**9)]
    seed: Whole
    split: Split = "valid"
    inputs: Sentence | None = None
    tempered: Annotated[Estimate | None, Field(description="Estimator of `nll_tempered`, if `nll` is both.")] = None


class Tell(Renew):
    """A worker's word that its trial has ended, and how."""

    state: Literal["complete", "pruned", "failed"]
    metrics: Annotated[
        dict[Metric, Figure | None] | None,
        Field(description="Figures of a complete trial, of which the NLL is needed."),
    ] = None
    test: Annotated[
        dict[Metric, Figure | None] | None, Field(description="Figures on the test sentences, if evaluated.")
    ] = None
    test_estimator: Estimator | None = None
    collapsed: bool = False
    estimator: Estimator | None = None
    epochs: Annotated[int, Field(ge=0, le=10**6)] = 0
    tokens_per_second: Annotated[float, Field(ge=0, le=1e12)] | None = None
    seconds: dict[Literal["set_up", "training", "evaluation"], Annotated[float, _in(numbers.SECONDS)]] = {}
    reason: Reason | None = None
    message: Sentence | None = None
    files: Annotated[
        str | None, Field(pattern=GENERATION, description="A closed generation of files, published with the end.")
    ] = None
