"""Every option of a run with its default, rule and meaning; the presets; how a run's settings are put together.

Keys form one flat name space (`--set key=value`): an option and a technique's hyperparameter never share a name, which a
test holds. The CLI's help, the validation and docs/reference/options.md are all made from these declarations.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, TypeVar, cast

from trainers.contract import FORMERLY, PRESETS
from trainers.errors import BadInput

LIMITS = ("above", "low", "high")
LARGEST, LARGEST_WHOLE = 1e300, 2**53
"""Largest numbers: their differences are finite, and every reader of JSON keeps them."""
PRECISIONS = ("float32", "tf32", "bfloat16")
NO_PRETRAINING = "none"
WORDS = "words"
"""Kind of tokens unless asked otherwise, as in the papers."""
T = TypeVar("T")
Value = float | int | str | bool
MILLIONS, UNITS, LAYERS, GALLERY = 10_000_000, 65_536, 64, 10_000
"""Largest numbers that a run may be asked for: no model or text of this kind is larger, and a request may name any
number.
"""


def option(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    form: tuple[str, str] | None = None,
    where: tuple[str, Callable[[Any], bool]] | None = None,
    coded: bool = False,
) -> Any:
    """A dataclass field that knows its meaning and its rule: low ≤ value ≤ high, value > above, one of `choices`, or of a form.

    Args:
        form: a regular expression that the whole text matches, and what it allows in words.
        where: another option, and which of its values give this one an effect; none: all.
        coded: a model without a latent code has nothing that it acts on.
    """
    return field(
        default=default,
        metadata={
            "meaning": meaning,
            "low": low,
            "high": high,
            "above": above,
            "choices": choices,
            "form": form,
            "where": where,
            "coded": coded,
        },
    )


def rule(spec: Field[Any]) -> str:
    """The rule of a field in words, e.g. `a number from 0 to 1`."""
    meta = spec.metadata
    if meta["choices"]:
        return "one of " + ", ".join(meta["choices"])
    if meta["form"]:
        return str(meta["form"][1])
    noun = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}[cast(type, spec.type)]
    said = {
        key: f"{value:,}" if isinstance(value, int) else f"{value:g}"
        for key in LIMITS
        if (value := meta[key]) is not None
    }
    limits = []
    if "above" in said:
        limits.append(f"above {said['above']}")
    if "low" in said:
        limits.append(f"from {said['low']}" if "high" in said else f"of at least {said['low']}")
    if "high" in said:
        limits.append(f"to {said['high']}" if "low" in said else f"at most {said['high']}")
    return " ".join([noun, *limits])


def _fits(spec: Field[Any], value: Value) -> bool:
    meta = spec.metadata
    if spec.type in (float, int):
        kinds, largest = ((int, float), LARGEST) if spec.type is float else (int, LARGEST_WHOLE)
        typed = isinstance(value, kinds) and not isinstance(value, bool) and -largest <= value <= largest
    else:
        typed = isinstance(value, cast(type, spec.type))
    if not typed:
        return False
    if meta["choices"]:
        return value in meta["choices"]
    if meta["form"]:
        return re.fullmatch(meta["form"][0], cast(str, value)) is not None
    if isinstance(value, (str, bool)):
        return True
    return (
        (meta["low"] is None or value >= meta["low"])
        and (meta["high"] is None or value <= meta["high"])
        and (meta["above"] is None or value > meta["above"])
    )


def _today(spec: Field[Any], value: Value) -> Value:
    """A field's value in today's words; a free text may look like a number (the column `1`)."""
    meta = spec.metadata
    if isinstance(value, bool):
        return FORMERLY.get(spec.name, {}).get(value, value)
    is_free = spec.type is str and not (meta["choices"] or meta["form"])
    return str(value) if is_free and isinstance(value, int) else value


def renewed(values: Mapping[str, Value]) -> dict[str, Value]:
    """Settings as an older program wrote them, in today's words.

    Batches were by length before they were random by default, and `labels` was true or false.
    """
    today = {key: _today(SPECS[key], value) if key in SPECS else value for key, value in values.items()}
    if "random_batches" in today:
        today["batching"] = "random" if today.pop("random_batches") else "length"
    return today


def build(kind: type[T], values: Mapping[str, Value]) -> T:
    """Makes the dataclass `kind` from `values`, each checked by its field's rule.

    Raises:
        BadInput: if a value breaks its field's rule.
    """
    checked: dict[str, Value] = {}
    for spec in fields(cast(Any, kind)):
        if spec.name not in values:
            continue
        value = _today(spec, values[spec.name])
        if not _fits(spec, value):
            raise BadInput(f"{spec.name} = {value!r} is not allowed: {spec.name} must be {rule(spec)}.")
        checked[spec.name] = float(value) if spec.type is float else value
    return kind(**checked)


@dataclass(frozen=True)
class CorpusOptions:
    corpus_size: int = option(
        0,
        "number of training sentences: the first so many of a folder (0: all) or so many drawn (0: 4000)",
        low=0,
        high=MILLIONS,
    )
    min_count: int = option(
        1, "number of times that a training word must be seen; rarer ones become <unk>", low=1, high=MILLIONS
    )
    truncation: float = option(
        3.0,
        "standard deviations above the mean training length at which a folder's sentences are cut (0: never)",
        low=0,
        high=1000,
    )
    tokens: str = option(
        WORDS,
        "division of a sentence: words at white space; characters; or pieces of a SentencePiece model that is trained "
        "on the training text alone",
        form=(
            r"words|characters|sentencepiece:[1-9]\d{0,5}",
            "words, characters, or sentencepiece:N with N pieces, e.g. sentencepiece:4000",
        ),
    )
    labels: str = option(
        "none",
        "place of a sentence's label in each line of a text, which only probes read: after its last tab, or before its "
        "first",
        choices=("none", "last", "first"),
    )
    text: str = option(
        "",
        "column of a table that has the sentences, by name, or by number where it has no header (empty: found if "
        "plain)",
    )
    label: str = option("", "column of a table that has the labels, by name or by number (empty: none)")

    def __post_init__(self) -> None:
        if self.labels != "none" and (self.text or self.label):
            raise BadInput(
                f"labels = {self.labels!r} is not allowed with text or label: labels is of lines of text, those two name columns "
                "of a table; leave one out."
            )


@dataclass(frozen=True)
class ModelOptions:
    d_z: int = option(32, "number of latent dimensions", low=1, high=UNITS, coded=True)
    d_e: int = option(256, "number of units of a word embedding", low=1, high=UNITS)
    d_h: int = option(256, "number of recurrent units per layer and direction", low=1, high=UNITS)
    d_h_encoder: int = option(
        0,
        "number of recurrent units of the encoder per layer and direction (0: as many as the decoder's)",
        low=0,
        high=UNITS,
        coded=True,
    )
    cell: str = option(
        "gru",
        "recurrent cell of decoder and encoder, or a transformer; double-lstm: the first LSTM reads the code alone, the encoder "
        "is an LSTM",
        choices=("gru", "lstm", "double-lstm", "transformer"),
    )
    heads: int = option(
        4, "number of attention heads of a transformer", low=1, high=LAYERS, where=("cell", "transformer".__eq__)
    )
    d_f: int = option(
        1024,
        "number of feed-forward units of a transformer's layer",
        low=1,
        high=UNITS,
        where=("cell", "transformer".__eq__),
    )
    decoder_layers: int = option(
        2, "number of layers of the decoder's cell (of each LSTM in a double-lstm)", low=1, high=LAYERS
    )
    encoder_layers: int = option(1, "number of layers of the encoder's cell", low=1, high=LAYERS, coded=True)
    bidirectional: bool = option(True, "the encoder reads in both directions", coded=True)
    reversed: bool = option(
        False, "the encoder reads the sentence from its end, so that it ends at the first word", coded=True
    )
    own_embeddings: bool = option(False, "the encoder has word embeddings of its own, not the decoder's", coded=True)
    encoder_unk: float = option(
        0.0,
        "share of the words that the encoder reads as <unk> in training, so that it learns to do without them (LV: "
        "0.2)",
        low=0,
        high=0.95,
        coded=True,
    )
    conditioning: str = option(
        "initial",
        "entry of z into the decoder: its initial state (a transformer's prefix), beside every input word (h_0 = 0), "
        "both, or as a memory that each layer of a transformer attends to",
        choices=("initial", "every-step", "both", "memory"),
    )
    skip: bool = option(
        False, "the output layer reads z as well, by a linear map that is added to the decoder's states", coded=True
    )
    pooling: str = option(
        "last",
        "pooling of the encoder's states for the posterior: where each direction ends, their mean, or each unit's "
        "largest value",
        choices=("last", "mean", "max"),
        coded=True,
    )
    inputless: bool = option(False, "the decoder reads <unk> for every word, in training and evaluation")
    dropout: float = option(0.4, "decoder dropout ρ on input embeddings and output states", low=0, high=0.95)
    dropout_mask: str = option(
        "sentence",
        "dropout masks: one for all time steps of a sentence, or one a step",
        choices=("sentence", "step"),
        where=("dropout", bool),
    )
    dropout_at: str = option(
        "both",
        "place of dropout: input embeddings and output states, or the former alone",
        choices=("both", "inputs"),
        where=("dropout", bool),
    )
    uniform: float = option(
        0.0,
        "range a of the first weights, from U(−a, a), embeddings then from U(−0.1, 0.1); 0: PyTorch's own start",
        low=0,
    )
    tied: bool = option(
        True, "the output matrix is that of the word embeddings (after an affine map where d_h differs from d_e)"
    )
    detached: bool = option(
        True,
        "the encoder's gradient does not reach the word embeddings that it shares with the decoder",
        where=("own_embeddings", False.__eq__),
        coded=True,
    )
    initial_tanh: bool = option(
        True,
        "h_0 = tanh(affine(z)); false leaves the tanh out",
        where=("conditioning", "every-step".__ne__),
        coded=True,
    )
    posterior: str = option(
        "gaussian",
        "posterior: diagonal Gaussian, inverse autoregressive flow or planar flow",
        choices=("gaussian", "iaf", "planar"),
    )
    prior: str = option(
        "normal", "prior: N(0, I), mixture of Gaussians or VampPrior", choices=("normal", "mog", "vamp")
    )
    flow_steps: int = option(
        4, "number T of steps of a flow", low=1, high=LAYERS, where=("posterior", "gaussian".__ne__)
    )
    d_c: int = option(
        512,
        "number of context units of an inverse autoregressive flow, its hidden layers' size",
        low=1,
        high=UNITS,
        where=("posterior", "iaf".__eq__),
    )
    components: int = option(
        100,
        "number K of Gaussians of the mixture or of pseudo-inputs of the VampPrior",
        low=1,
        high=UNITS,
        where=("prior", "normal".__ne__),
    )
    precision: str = option(
        "float32",
        "numbers that training multiplies: of 32 bits; a GPU's TF32; or bfloat16, in recurrent networks and output "
        "layer, where the processor or GPU has it (evaluation always takes 32 bits)",
        choices=PRECISIONS,
    )

    @property
    def encoder_units(self) -> int:
        """Recurrent units of the encoder per layer and direction."""
        return self.d_h_encoder or self.d_h

    def __post_init__(self) -> None:
        if self.cell == "double-lstm" and self.conditioning == "initial":
            raise BadInput(
                "conditioning = 'initial' is not allowed with cell = 'double-lstm', whose first LSTM reads z at every step: "
                "set conditioning=both or every-step."
            )
        if self.conditioning == "memory" and self.cell != "transformer":
            raise BadInput(
                f"conditioning = 'memory' is not allowed with cell = {self.cell!r}, which attends to nothing: set "
                "cell=transformer, or conditioning=both."
            )
        if self.cell == "transformer" and self.d_h % (2 * self.heads):
            raise BadInput(
                f"heads = {self.heads} is not allowed with d_h = {self.d_h}: each head must have an even number of units, so "
                "d_h must be a multiple of 2·heads."
            )
        if self.cell == "transformer" and self.d_h_encoder:
            raise BadInput(
                f"d_h_encoder = {self.d_h_encoder} is not allowed with cell = 'transformer', whose encoder has d_h units: "
                "leave it at 0."
            )
        if self.cell == "transformer" and self.uniform:
            raise BadInput(
                f"uniform = {self.uniform:g} is not allowed with cell = 'transformer', whose norms start at 1: set uniform=0."
            )


@dataclass(frozen=True)
class TrainingOptions:
    optimizer: str = option("adam", "the model's optimiser; sgd has no momentum", choices=("adam", "sgd"))
    learning_rate: float = option(1e-3, "the optimiser's step size", above=0)
    decay: float = option(1.0, "factor on the step size after each epoch", above=0, high=1)
    plateau: int = option(
        0,
        "number of epochs without improvement, after which the step size falls (0: never)",
        low=0,
        high=MILLIONS,
    )
    plateau_factor: float = option(
        0.5, "factor on the step size at a plateau", above=0, high=1, where=("plateau", bool)
    )
    plateau_reload: bool = option(
        True,
        "at a plateau training goes on from the best weights (LI); false: from its present weights",
        where=("plateau", bool),
    )
    plateau_decays: int = option(
        5, "number of plateaus after which training ends", low=1, high=MILLIONS, where=("plateau", bool)
    )
    polyak: float = option(
        0.0,
        "coefficient a step of a moving average of the weights, which is then evaluated and kept (0: none)",
        low=0,
        high=0.99999,
    )
    batch_size: int = option(64, "number of sentences per step", low=1, high=UNITS)
    batch_tokens: int = option(
        0,
        "number of tokens of a step whose logits are kept for the backward pass; a longer batch's are computed twice, "
        "a few at a time: an equal gradient in far less memory, at up to twice the time (0: as many as 512 MiB hold, "
        "2 GiB on a GPU)",
        low=0,
        high=MILLIONS,
    )
    batching: str = option(
        "random",
        "kind of batch: a random sample of the text, or sentences of near-equal length, which train worse (LI's and "
        "KR's code)",
        choices=("random", "length"),
    )
    clip: float = option(1.5, "largest gradient norm", above=0)
    weight_decay: bool = option(True, "Gal's weight decay on the generator: (1−ρ)/(2N)·‖W‖² and ‖b‖²/(2N)")
    max_epochs: int = option(100, "largest number of epochs", low=1, high=MILLIONS)
    patience: int = option(
        6,
        "number of epochs without a better validation −ELBO (D + max(r, R) where a rate is held) before training ends",
        low=1,
        high=MILLIONS,
    )
    pretrain: str = option(
        NO_PRETRAINING,
        "technique that the encoder is trained by first, to convergence; then the decoder starts anew and training begins: "
        "max_epochs holds for each of the two (LI: ae)",
        choices=(NO_PRETRAINING, "ae"),
    )
    checkpoint_seconds: float = option(120.0, "seconds between checkpoints inside an epoch", above=0)
    device: str = option(
        "auto", "processor to train on; auto takes a GPU where there is one", choices=("auto", "cpu", "cuda")
    )


@dataclass(frozen=True)
class EvaluationOptions:
    nll: str = option(
        "q",
        "estimator of the NLL: q, S posterior samples, as in the papers; tempered, samples of q^λ·p^(1−λ) at several "
        "levels (a study's default); both, each by its own name",
        choices=("q", "tempered", "both"),
    )
    nll_samples: int = option(
        1000, "number S of posterior samples of a sentence's importance-sampled NLL with nll=q", low=1, high=MILLIONS
    )
    nll_sentences: int = option(
        0, "number of validation sentences to evaluate, drawn once with a fixed seed (0: all)", low=0, high=MILLIONS
    )
    certify: int = option(
        0,
        "number of sentences that the model writes itself, on which the estimator's bias is bounded from both sides "
        "(0: none); `tuner confirm` takes 100",
        low=0,
        high=MILLIONS,
    )
    test: bool = option(
        False,
        "the test sentences are evaluated too, as `tuner confirm` has it, once nothing is chosen by them any more",
    )
    codes: bool = option(
        False,
        "measures of the codes are taken too, on each split that is evaluated: BLEU, noisy reconstruction, smoothness, "
        "and probes where there are labels; `tuner confirm` sets it",
    )
    rows: int = option(1024, "number of codes decoded at once; bounds evaluation's memory", low=1, high=MILLIONS)
    gallery: int = option(
        12,
        "number of sentences written into samples.json when training has ended (0: no such file)",
        low=0,
        high=GALLERY,
    )


@dataclass(frozen=True)
class Options:
    """All options of a run."""

    corpus: CorpusOptions
    model: ModelOptions
    training: TrainingOptions
    evaluation: EvaluationOptions

    @classmethod
    def resolve(cls, preset: str, overrides: Mapping[str, Value]) -> "Options":
        """The defaults, changed by the preset, changed by `overrides`.

        Raises:
            BadInput: if the preset or a key is unknown, or a value breaks its rule.
        """
        if preset not in PRESETS:
            raise BadInput(f"model preset {preset!r} is unknown: choose one of {', '.join(PRESETS)}.")
        unknown = sorted(set(overrides) - OPTION_NAMES)
        if unknown:
            raise BadInput(f"option {unknown[0]!r} is unknown: the options are {', '.join(sorted(OPTION_NAMES))}.")
        values = {**PRESETS[preset], **overrides}
        return cls(
            build(CorpusOptions, values),
            build(ModelOptions, values),
            build(TrainingOptions, values),
            build(EvaluationOptions, values),
        )

    def flat(self) -> dict[str, Value]:
        """Every option's value by its name."""
        return {key: value for group in asdict(self).values() for key, value in group.items()}

    def idle(self) -> dict[str, str]:
        """Options that another one's value leaves without effect, each with the name of that other one."""
        values = self.flat()
        deciding = {spec.name: where for spec in SPECS.values() if (where := spec.metadata["where"]) is not None}
        return {name: other for name, (other, fits) in deciding.items() if not fits(values[other])}


GROUPS: tuple[Any, ...] = (CorpusOptions, ModelOptions, TrainingOptions, EvaluationOptions)
SPECS: dict[str, Field[Any]] = {spec.name: spec for group in GROUPS for spec in fields(group)}
OPTION_NAMES = frozenset(SPECS)


CODED = frozenset(name for name, spec in SPECS.items() if spec.metadata["coded"])
"""Options without effect on a model that has no latent code."""
