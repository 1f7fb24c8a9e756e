"""A run: its specification, its folder, and its life from specification to metrics.

RUN/spec.json          what was asked, with every option's value
RUN/vocabulary.json    tokens by index
RUN/sentencepiece.model what divides texts into them, where `tokens` says so
RUN/latest.safetensors all that training needs to go on
RUN/best.safetensors   the best epoch's weights
RUN/samples.json       what its model writes
RUN/sentences.json     what each estimator found of every evaluated sentence, by split
RUN/result.json        the metrics, when the run is done
"""

import fcntl
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from trainers import checkpoint, machine, ngram, objectives, tempered
from trainers.contract import BEST, CONFIG, MODEL, RESULT, SAMPLES, SENTENCES, SPEC, VOCABULARY, WEIGHTS
from trainers.corpus import Corpus, Sentences, Vocabulary, load
from trainers.doubts import HELD_OUT
from trainers.errors import BadInput, Failure
from trainers.evaluation import evaluate, subset
from trainers.figures import Metrics
from trainers.models import SentenceModel, SenVAE
from trainers.objectives.objective import Objective
from trainers.options import (
    CODED,
    OPTION_NAMES,
    CorpusOptions,
    EvaluationOptions,
    ModelOptions,
    Options,
    Value,
    build,
    renewed,
)
from trainers.precision import require
from trainers.pretraining import stages
from trainers.tokens import Tokens, pieces_of, tokens_of
from trainers.training import Progress, Report, Training, batches_per_epoch, build_model, choose_device

OTHER_FIGURE = "trials that differ in it are not compared by the same figure"
UNSEARCHABLE = {
    **{spec.name: OTHER_FIGURE for group in (CorpusOptions, EvaluationOptions) for spec in fields(group)},
    **dict.fromkeys(("batching", "inputless"), OTHER_FIGURE),
    **dict.fromkeys(("checkpoint_seconds", "gallery"), "it changes no figure"),
    **dict.fromkeys(("device", "rows"), "it changes figures by other draws alone, as a seed does"),
}
"""Options that no study searches, each with the reason."""


@dataclass(frozen=True)
class Spec:
    """Specification of a run: two runs of one spec on one machine give equal figures."""

    technique: str
    corpus: str
    model: str = "tiny"
    values: dict[str, Value] = field(default_factory=dict)
    """Hyperparameters and options in one name space."""
    seed: int = 0
    fingerprint: str = ""
    """Fingerprint of the corpus; empty: any text will do."""

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "Spec":
        try:
            spec = cls(**content)
            return replace(spec, values=renewed(spec.values))
        except TypeError as error:
            raise BadInput(f"the run's specification is not valid: {error}.") from error

    def split(self) -> tuple[dict[str, Value], Options]:
        """The technique's hyperparameters and the options.

        Raises:
            BadInput: if a key is neither, or a value breaks its rule.
        """
        own = set(objectives.hyperparameter_names(self.technique))
        unknown = sorted(set(self.values) - own - OPTION_NAMES)
        if unknown:
            raise BadInput(
                f"{unknown[0]!r} is neither a hyperparameter of {self.technique} ({', '.join(sorted(own)) or 'none'}) "
                f"nor an option ({', '.join(sorted(OPTION_NAMES))})."
            )
        hyperparameters = {key: value for key, value in self.values.items() if key in own}
        rest = {key: value for key, value in self.values.items() if key not in own}
        return hyperparameters, Options.resolve(self.model, rest)


def check(spec: Spec, corners: Sequence[Mapping[str, Value]]) -> dict[str, object]:
    """Refuses what cannot run, with the spec's values alone or changed by any of `corners`; describes the corpus of what can, and
    says what an n-gram model makes of the sentences that a run would be evaluated on.

    Besides, it says whether the technique has a latent code, in how many stages it trains at most, why this machine cannot train
    it, if another one must, within which limits its schedule ends, its hyperparameters in that plan, and what its batches are.
    """
    for key in sorted({key for corner in corners for key in corner} & UNSEARCHABLE.keys()):
        raise BadInput(f"{key} cannot be searched: {UNSEARCHABLE[key]}; fix it with --set.")
    most = 1
    for corner in [{}, *corners]:
        hyperparameters, options = replace(spec, values={**spec.values, **corner}).split()
        made = objectives.create(spec.technique, hyperparameters)
        refused = made.refusal(options.model) or made.refusal_of_training(options.training)
        if refused is not None:
            raise BadInput(refused)
        values = {**options.flat(), **asdict(made.hyperparameters)}
        for name, other in {**options.idle(), **made.idle()}.items():
            if name in corner and other not in corner:
                raise BadInput(
                    f"{name} cannot be searched with {other} = {values[other]}, which leaves it without effect: fix {name} too, "
                    f"or set another {other}."
                )
        coded = sorted(CODED & corner.keys())
        if coded and not made.latent:
            raise BadInput(
                f"{coded[0]} cannot be searched with {spec.technique}, which has no latent code for it to act on: leave it out."
            )
        most = max(most, len(stages(made, options.training.pretrain)))
    _, options = spec.split()
    corpus = load(spec.corpus, options.corpus)
    objective = _planned(spec, corpus)
    warnings = [*corpus.warnings(), *ngram.copied(corpus, ngram.repeated(corpus)), *filter(None, [objective.warning()])]
    judged = {split: _chosen(corpus.splits[split], options.evaluation) for split in HELD_OUT}
    return {
        **corpus.describe(),
        "latent": objective.latent,
        "stages": most,
        "unfit": _unfit(options),
        "limits": objective.limits(),
        "planned": asdict(objective.hyperparameters),
        "batching": options.training.batching,
        "truncation": corpus.truncation,
        "ngram": ngram.reference(corpus, judged),
        "warnings": warnings,
    }


def _unfit(options: Options) -> str | None:
    """A sentence that says which device or instructions this machine lacks for a run with these options, if any."""
    try:
        require(options.model.precision, choose_device(options.training.device))
    except BadInput as error:
        return str(error)
    return None


def train(spec: Spec, folder: Path, report: Report, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Trains and evaluates; goes on from the folder's checkpoint, and returns at once what a finished run found.

    Raises:
        BadInput: if the spec cannot run, or the folder holds another run.
        Failure: nan, disk, preempted.
    """
    clock = [time.perf_counter()]
    corpus = _read(spec)
    if (finished := _finished(spec, folder, corpus)) is not None:
        return finished
    with _alone(folder):
        training = begin(spec, folder, corpus, report, stop)
        clock.append(time.perf_counter())
        progress = training.run()
        clock.append(time.perf_counter())
        metrics = _evaluated(spec, folder, training, progress, report)
        clock.append(time.perf_counter())
        return _written(spec, folder, training, progress, metrics, clock)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in the folder meanwhile, where its file system has locks.

    Raises:
        BadInput: if one does.
        Failure: disk, if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Failure("disk", f"{folder} cannot be written: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"folder {folder} is trained in by another process: wait for its end, or name another folder."
            ) from None
        except OSError:  # no locks there
            pass
        yield
    finally:
        os.close(place)


def _read(spec: Spec) -> Corpus:
    """The run's text, which must be what the study was made for."""
    corpus = load(spec.corpus, spec.split()[1].corpus)
    if spec.fingerprint not in ("", corpus.fingerprint):
        raise BadInput(
            f"corpus {spec.corpus} has changed since the study was made: put the text back, or start another study."
        )
    return corpus


def _finished(spec: Spec, folder: Path, corpus: Corpus) -> dict[str, Any] | None:
    """The result of the folder's run, if it has ended; the folder must hold no other run."""
    if not (folder / SPEC).exists():
        return None
    known = _read_json(folder / SPEC)
    _same_text(known["corpus"], corpus)
    earlier, own = Spec.parse(known["spec"]), known.get("hyperparameters", {})
    if replace(earlier, values={**own, **earlier.values}) != replace(spec, values={**own, **spec.values}):
        raise BadInput(
            f"folder {folder} holds another run ({earlier.technique}, {earlier.values}): name another folder."
        )
    for name, value in asdict(_planned(spec, corpus).hyperparameters).items():
        if own.get(name, value) != value:
            raise BadInput(
                f"folder {folder} holds a run with {name} = {own[name]}, its default then, which is {value} now: set it to go on "
                "with that run, or name another folder."
            )
    return _placed(_read_json(folder / RESULT), folder) if (folder / RESULT).exists() else None


def _planned(spec: Spec, corpus: Corpus) -> Objective:
    """The technique with its hyperparameters in the plan of this training."""
    hyperparameters, options = spec.split()
    objective = objectives.create(spec.technique, hyperparameters)
    objective.plan(batches_per_epoch(corpus, options.training), options.training.max_epochs)
    return objective


def begin(
    spec: Spec, folder: Path, corpus: Corpus, report: Report, stop: Callable[[], bool] = lambda: False
) -> Training:
    """The training on the run's text, at its start or where it was; the folder then says what defines the run."""
    hyperparameters, options = spec.split()
    torch.manual_seed(spec.seed)
    objective = objectives.create(spec.technique, hyperparameters)
    model = build_model(objective, len(corpus.vocabulary), options.model, corpus.lengths)
    training = Training(model, objective, corpus, options.training, spec.seed, folder, report, stop)
    checkpoint.write_json(folder / VOCABULARY, corpus.vocabulary.words)
    if corpus.vocabulary.tokens.model:
        checkpoint.write(folder / MODEL, corpus.vocabulary.tokens.model)
    facts = {
        "spec": asdict(spec),
        "options": options.flat(),
        "hyperparameters": asdict(objective.hyperparameters),
        "corpus": corpus.describe(),
        "versions": machine.versions(),
        "hardware": machine.hardware(choose_device(options.training.device)),
        "command": machine.command(spec.technique, spec.corpus, spec.model, spec.seed, spec.values),
    }
    checkpoint.write_json(folder / SPEC, facts)
    sentences = len(corpus.splits["train"])
    report("started", {"sentences": sentences, "epochs": training.epochs, "warnings": corpus.warnings()})
    return training


def _evaluated(spec: Spec, folder: Path, training: Training, progress: Progress, report: Report) -> dict[str, Any]:
    """The best epoch's figures on the validation sentences, and on the test sentences if they are asked for; what is known of
    every sentence is written beside."""
    options, corpus, objective = spec.split()[1], training.corpus, training.objective
    epochs = {"epoch": progress.epoch, "epochs": training.epochs}
    each: dict[str, object] = {}

    def going_on(event: str, facts: dict[str, Any]) -> None:
        if training.stop():
            raise Failure("preempted", "the run was told to stop; it is evaluated anew from its checkpoint.")
        report(event, facts)

    def evaluating(done: int, of: int) -> None:
        going_on("progress", {"phase": "evaluation", "done": done, "of": of, **epochs})

    def of(split: str) -> dict[str, Any]:
        # a certificate is of the model and its estimator: it holds for all splits
        asked = options.evaluation if split == "valid" else replace(options.evaluation, certify=0)
        found = evaluate(training.model, corpus.splits[split], asked, spec.seed, evaluating, split)
        each[split] = _each(found, corpus, split, options.evaluation)
        if options.evaluation.codes and isinstance(training.model, SenVAE):
            from trainers.latent_space import figures

            found = replace(found, **figures(training.model, corpus.vocabulary, corpus, split, spec.seed, going_on))
        return _against(_in_bits(found, corpus.splits[split], asked), objective.target_rate, corpus.entropy).plain()

    metrics = of("valid")
    if options.evaluation.test:
        metrics["test"] = of("test")
    checkpoint.write_json(folder / SENTENCES, each)
    return metrics


def _written(
    spec: Spec, folder: Path, training: Training, progress: Progress, metrics: dict[str, Any], clock: Sequence[float]
) -> dict[str, Any]:
    """Writes the run's result into its folder; before it the model's sentences, so that a run with a result is whole.

    Args:
        clock: when the run was begun, set up, trained and evaluated, in seconds.
    """
    options, corpus, model, objective = spec.split()[1], training.corpus, training.model, training.objective
    spent = [later - earlier for earlier, later in itertools.pairwise(clock)]
    result = {
        "technique": spec.technique,
        "corpus": spec.corpus,
        "params": dict(spec.values),
        "hyperparameters": asdict(objective.hyperparameters),
        "metrics": metrics,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "tokens_per_second": progress.tokens / progress.seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": dict(zip(("set_up", "training", "evaluation"), spent, strict=True)),
        "entropy": corpus.entropy,
    }
    if options.evaluation.gallery:
        from trainers.gallery import gallery

        written = gallery(model, objective, corpus.vocabulary, corpus, options.evaluation.gallery, spec.seed)
        checkpoint.write_json(folder / SAMPLES, written)
    checkpoint.write_json(folder / RESULT, result)
    return _placed(result, folder)


def _placed(result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A result with the place of its run. The file has none: a run may be moved, and its files may be published."""
    return {**result, "run": str(folder), "checkpoint": str(folder / BEST)}


def _each(metrics: Metrics, corpus: Corpus, split: str, options: EvaluationOptions) -> dict[str, object]:
    """Estimates of every evaluated sentence by each estimator, with a fingerprint of the sentences in their order, as
    the model reads them. Two runs' figures may be compared in pairs if their fingerprints agree.

    A tempered estimate is the mean of its `nll` (few draws each) less the mean of every level of its `corrections`, which are of
    the first sentences of `order`.
    """
    chosen = subset(corpus.splits[split], options.nll_sentences)
    digest = hashlib.sha256()
    for sentence in chosen:
        digest.update((" ".join(corpus.vocabulary.decode(sentence.tolist())) + "\n").encode())
    facts, made = dict(metrics.estimator), metrics.tempered
    beside = facts.pop("tempered", None)
    estimates: list[dict[str, object]] = []
    if made is None or beside is not None:
        estimates.append({"estimator": dict(facts), "nll": list(metrics.each)})
    if made is not None:
        levels = {str(level): found.tolist() for level, found in made.corrections.items()}
        most = max(map(len, made.corrections.values()))
        if beside is not None:
            facts.pop("certificate", None)  # of the samples from q
        estimates.append(
            {
                "estimator": {**facts, **(beside or {})},
                "nll": made.each.tolist(),
                "corrections": levels,
                "order": tempered.order(len(chosen))[:most].tolist(),
            }
        )
    return {
        "fingerprint": digest.hexdigest()[:16],
        "tokens": [len(sentence) for sentence in chosen],
        "estimates": estimates,
    }


def _in_bits(metrics: Metrics, sentences: Sentences, options: EvaluationOptions) -> Metrics:
    """The metrics with the NLL in bits by character and by byte of the evaluated sentences, each with its end counted as one."""
    per_char, per_byte = _chosen(sentences, options).bits(metrics.nll)
    return replace(metrics, bits_per_char=per_char, bits_per_byte=per_byte)


def _chosen(sentences: Sentences, options: EvaluationOptions) -> Sentences:
    """The sentences that are evaluated."""
    return sentences.chosen(subset(range(len(sentences)), options.nll_sentences))


def _against(metrics: Metrics, target_rate: float | None, entropy: float | None) -> Metrics:
    """The metrics with those that need to know what was wanted or what is true."""
    if not metrics.latent:
        return metrics
    return replace(
        metrics,
        target_rate=target_rate,
        rate_error=None if target_rate is None else metrics.rate - target_rate,
        mi_lower=None if entropy is None else entropy - metrics.distortion,
    )


@dataclass(frozen=True)
class Run:
    """A trained run, loaded."""

    spec: Spec
    model: SentenceModel
    vocabulary: Vocabulary
    options: Options
    objective: Objective
    corpus: dict[str, Any]
    """Description of the corpus by `Corpus.describe` when the run was trained."""


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{file.parent} holds no run: it has no {file.name}.") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read ({error}).") from error


def _same_text(known: Mapping[str, Any], corpus: Corpus) -> None:
    if known["fingerprint"] != corpus.fingerprint:
        raise BadInput(
            f"corpus {corpus.name} has changed since the run was trained: put the text back, or train anew with --out."
        )


def _tokens(folder: Path, options: CorpusOptions) -> Tokens:
    """The way in which the run's texts are divided."""
    try:
        model = (folder / MODEL).read_bytes() if pieces_of(options.tokens) else b""
    except OSError as error:
        raise BadInput(f"{folder} holds no run of {options.tokens}: it has no {MODEL}.") from error
    return tokens_of(options.tokens, model)


def open_run(folder: Path) -> Run:
    """The model of a run with its best epoch's weights, from the run's own folder or one that `tuner export --model` wrote.

    Raises:
        BadInput: if the folder holds no trained run.
    """
    record, weights = (CONFIG, WEIGHTS) if (folder / CONFIG).exists() else (SPEC, BEST)
    known = _read_json(folder / record)
    if not isinstance(known, dict) or not {"spec", "corpus"} <= known.keys():
        raise BadInput(f"{folder / record} is no record of a run: train it anew.")
    if (folder / RESULT).exists() and not (folder / weights).exists():
        raise BadInput(
            f"{folder} has figures and no weights, as the bundle that it came in left them out: `tuner reproduce` trains it "
            "anew."
        )
    spec, corpus = Spec.parse(known["spec"]), known["corpus"]
    hyperparameters, options = spec.split()
    vocabulary = Vocabulary(tuple(_read_json(folder / VOCABULARY)), _tokens(folder, options.corpus))
    objective = objectives.create(spec.technique, hyperparameters)
    model = build_model(objective, len(vocabulary), options.model, (corpus["mean_length"], corpus["sd_length"]))
    checkpoint.load_weights(folder / weights, model, objective)
    device = choose_device("auto")  # not only where it was trained
    model.to(device).eval()
    objective.to(device)
    return Run(spec, model, vocabulary, options, objective, corpus)


def corpus_of(run: Run) -> Corpus:
    """The corpus that the run was trained on.

    Raises:
        BadInput: if its text has changed since.
    """
    corpus = load(run.spec.corpus, run.options.corpus)
    _same_text(run.corpus, corpus)
    return corpus


def evaluate_run(folder: Path, overrides: Mapping[str, Value], seed: int | None, report: Report) -> Metrics:
    """A run's metrics anew, with other evaluation options, another seed, or a decoder that reads no words (KR's `inputless`).

    The estimator is the run's own; if `nll_samples` is overridden and `nll` is not, it is q, whose samples these are.
    """
    run = open_run(folder)
    changeable = {**asdict(run.options.evaluation), "inputless": run.options.model.inputless}
    for key in ("test", "codes", "gallery"):  # of training alone: nothing is chosen by the test sentences
        del changeable[key]
    unknown = sorted(set(overrides) - set(changeable))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no option of evaluation: it has {', '.join(changeable)}.")
    from_q: dict[str, Value] = {"nll": "q"} if "nll_samples" in overrides else {}
    options = build(EvaluationOptions, {**changeable, **from_q, **overrides})
    run.model.decoder.options = build(ModelOptions, {**asdict(run.options.model), **overrides})
    corpus = corpus_of(run)
    metrics = evaluate(
        run.model,
        corpus.splits["valid"],
        options,
        run.spec.seed if seed is None else seed,
        lambda done, of: report("progress", {"phase": "evaluation", "done": done, "of": of}),
    )
    metrics = _in_bits(metrics, corpus.splits["valid"], options)
    return _against(metrics, run.objective.target_rate, corpus.entropy)
