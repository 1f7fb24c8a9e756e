"""The shapes of what commands tell of one run: its figures, its sentences, its codes."""

from typing import Any, NotRequired, TypedDict

Figures = dict[str, Any]


class Trained(TypedDict):
    """A run that has ended."""

    event: NotRequired[str]
    run: str
    technique: str
    corpus: str
    params: Figures
    hyperparameters: Figures
    metrics: Figures
    epochs: int
    best_epoch: int
    tokens_per_second: float | None
    parameters: int
    seconds: dict[str, float]
    """Seconds of `set_up`, `training` and `evaluation`, of the process that ended it."""
    entropy: float | None
    checkpoint: str


class Evaluated(TypedDict):
    """A run's figures, evaluated again."""

    run: str
    metrics: Figures


class Twice(TypedDict):
    """A value of a run as it was, and of the one that was trained again."""

    then: Any
    now: Any


class Reproduced(TypedDict):
    """The figures of a run and of the same run trained again."""

    run: str
    agrees: bool
    exact: bool
    """True where the machines are of one class, so that all digits must agree."""
    tolerance: float | None
    differs: list[str]
    figures: dict[str, Twice]
    machine: Twice


class Log(TypedDict):
    """A trainer's log."""

    run: str
    lines: list[str]


class Sample(TypedDict):
    """A sentence that a model wrote."""

    sentence: str
    source: NotRequired[str]
    """The validation sentence that its code is of, where it is of one."""


class Samples(TypedDict):
    """Sentences from the prior."""

    run: str
    sentences: list[Sample]
    distinct: int


class Reconstruction(TypedDict):
    """A sentence through the code and back."""

    source: str
    sentence: str
    ter: float
    notes: list[str]


class Reconstructions(TypedDict):
    """Sentences through the code and back."""

    run: str
    sentences: list[Reconstruction]


class Homotopy(TypedDict):
    """Sentences on the line between two codes."""

    run: str
    ends: list[str]
    """The sentences between whose codes it lies; none: codes of the prior."""
    sentences: list[Sample]
    notes: list[str]


class Neighbour(TypedDict):
    """A sample beside its nearest training sentence."""

    sentence: str
    source: NotRequired[str]
    neighbour: str
    ter: float


class Neighbours(TypedDict):
    """Samples beside their nearest training sentences."""

    run: str
    sentences: list[Neighbour]
    distinct: int
    novelty: float
    """The mean translation edit rate to the nearest training sentence."""


class HiddenWord(TypedDict):
    """A word, and how likely the adversary hides it."""

    word: str
    probability: float


class HiddenWords(TypedDict):
    """The words of a sentence."""

    words: list[HiddenWord]
    notes: list[str]


class Dropped(TypedDict):
    """Words with the probabilities by which an adversary hides them."""

    run: str
    sentences: list[HiddenWords]
    draws: int


class Answer(TypedDict):
    """A question and the model's own answer to it."""

    question: str
    sentence: str
    answer: str
    right: bool | None
    """True for an answer that the grammar gives; null where it does not have the question."""


class Answers(TypedDict):
    """Answers by the codes of sentences that hold question and answer."""

    run: str
    questions: int
    precision: NotRequired[float]
    """The share of questions for which the right answer is chosen, where there are answers to choose from."""
    precision_by_chance: NotRequired[float]
    reciprocal_rank: NotRequired[float]
    reciprocal_rank_by_chance: NotRequired[float]
    right: float | None
    """The share of the model's own answers that are right."""
    answers: list[Answer]


class Latent(TypedDict):
    """Figures of a run's codes."""

    run: str
    sentences: int
    bleu: float
    bleu_1: float
    noisy: dict[str, float]
    """D of the clean sentence, given the code of it with so many pairs of words exchanged."""
    smoothness: float | None
    entropy: float | None
    normal_entropy: float | None
    probes: dict[str, float] | None
    largest_class: NotRequired[float]


class Arithmetic(TypedDict):
    """The sentence of a sum of codes: the first source's less the second's plus the third's."""

    run: str
    sources: list[str]
    reconstructions: list[str]
    """The sources, each written from its own code."""
    sentence: str


class Perturbed(TypedDict):
    """Sentences written from their posteriors."""

    sentences: list[str]
    spread: float
    """Factor on the standard deviation of the perturbed codes."""
    runs: dict[str, dict[str, list[str]]]
    """By run and way: M the posterior's mean, R a sample, P a perturbed sample."""


class LikenessPoint(TypedDict):
    """The mean likeness to both ends at one point of many lines."""

    weight: float
    f1_source: float
    f1_target: float
    similarity_source: float
    similarity_target: float


class Likeness(TypedDict):
    """The likeness of what is written on lines between validation sentences to these (`--pairs`)."""

    run: str
    pairs: int
    points: list[LikenessPoint]


class HiddenGroup(TypedDict):
    """Words of one kind, and how likely the adversary hides one of them."""

    group: str
    words: int
    probability: float


class DroppedBy(TypedDict):
    """Mean probabilities of kinds of words (`--by`)."""

    run: str
    by: str
    groups: list[HiddenGroup]
    words: int
    mean: float
    draws: int
