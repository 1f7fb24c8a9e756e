"""A new study, from what a person or a request asks for: everything that can be wrong with it is said before anything is made."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tuner import names, samplers, trainer
from tuner.errors import Refused, Usage
from tuner.metrics import number
from tuner.samplers import MODELS, SAMPLERS, rehearsal
from tuner.space import Value, load
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow
from tuner.studies import creation, pruners, warmstart
from tuner.studies.objectives import OBJECTIVES
from tuner.studies.setting import time_of
from tuner.studies.spec import Definition, Facts, StudySpec, judge_of, today

Say = Callable[[str], None]
T = TypeVar("T")
DIGITS = 9
"""Largest number of digits of the samples that --nll may name."""


def judged_by(nll: str | None, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """The options that make a trial's NLL: tempered; q, posterior samples, as many as the preset says; or q1000, so many of them.

    Raises:
        Usage: if there is no such estimator, or the settings name one too.
    """
    own = [key for key in ("nll", "nll_samples") if key in fixed]
    if nll is None:
        return {} if own else {"nll": "tempered"}
    if own:
        raise Refused("nll", nll, f"and {own[0]} = {fixed[own[0]]!r} both say what makes the NLL: leave one out.")
    samples = nll.removeprefix("q")
    if nll == "tempered":
        return {"nll": nll}
    if nll == "q":
        return {}
    if samples == nll or not samples.isdecimal() or len(samples) > DIGITS or not int(samples):
        raise Refused("nll", repr(nll), "is unknown: give tempered, q, or q and the samples of a sentence, e.g. q1000.")
    return {"nll_samples": int(samples)}


def name_of(technique: str, corpus: str, model: str) -> str:
    """Name of a study that was given none."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(corpus).name)
    return f"{technique}-{plain}-{model}"


def prepare(
    name: str, spec: StudySpec, opened: Callable[[], Database], say: Say = lambda _: None, *, here: bool
) -> Definition:
    """The definition of the study of that name: its settings after all checks, and the facts that a trainer finds.

    Args:
        opened: the database, for what lies in it.
        say: hears what a person should know though it is no mistake.
        here: refuses what this machine cannot train.

    Raises:
        Usage: if anything of it is not allowed.
    """
    own = spec.space or load(spec.technique)
    if own.technique != spec.technique:
        raise Usage(
            f"space is of technique {own.technique!r}, not of {spec.technique!r}: give one of the same.", "space"
        )
    judge(spec)
    judge_deadline(spec.deadline)
    fixed = own.checked({**today(spec.fixed), **judged_by(spec.nll, spec.fixed)})
    names.check("name", name, names.LONGEST if spec.confirms else names.BYTES)
    run = {"technique": spec.technique, "corpus": spec.corpus, "model": spec.model, "values": fixed, "seed": spec.seed}
    say(f"checking {spec.technique} on {spec.corpus} …")
    try:
        with _in("fixed", fixed):
            described = trainer.check(run, own.corners(spec.fixed))  # nll too, if the space has it
            if here and described["unfit"]:
                raise Usage(described["unfit"])
    except Usage as error:
        if str(error).startswith(("corpus ", "no sentence of corpus ")):
            error.field = "corpus"
        raise
    _judge_trained(spec, described)
    if described["unfit"]:
        say(f"note: this machine cannot train it; workers that can are waited for: {described['unfit']}")
    # Without a latent code the NLL is exact: no study of it is another one for an estimator that it does not need.
    kept = fixed if described["latent"] else {key: value for key, value in fixed.items() if key != "nll"}
    space = own.within(described["limits"], described["planned"], fixed)
    searched = space.searched(fixed)
    distributions = {q.name: q.distribution() for q in searched}
    facts = Facts.of(described, space)
    if spec.warm_start is not None:
        with _in("warm_start"):
            judged = {**kept, "batching": facts.batching, "text": facts.text}
            found = warmstart.observations(
                opened(), spec.warm_start, distributions, spec.objective, judged, spec.min_rate, spec.model
            )
            facts = replace(facts, observations=found)
    rehearsal.rehearse(spec.sampler, spec.sampler_options, distributions, OBJECTIVES[spec.objective])
    samplers.create(spec.sampler, spec.sampler_options, spec.seed, 0, distributions, facts.observations or ())
    for warning in described["warnings"]:
        say(f"warning: {warning}")
    for q in searched:
        if q.planned:
            say(f"note: {q.name} is searched from {q.domain}, where its schedule ends within max_epochs")
    for p in space.parameters:
        usual = described["planned"].get(p.name, p.default)
        if not p.planned and p.name not in fixed and p not in searched and usual != p.default:
            say(
                f"note: {p.name} is {number(usual)} in a training of so few steps; its usual {number(p.default)} is for longer "
                f"ones, and is taken with --set {p.name}={p.default}"
            )
    if not searched:
        say(f"note: nothing is left to tune for {spec.technique}; the trials differ in their seed alone")
    first_default = spec.first_default and bool(searched)
    if first_default:
        try:
            space.published(fixed)
        except Usage as error:
            first_default = False
            say(f"note: trial 0 of {name} is the sampler's and has not the published values: {error}")
    return Definition(replace(spec, fixed=kept, nll=judge_of(kept), first_default=first_default), facts)


def judge(spec: StudySpec) -> None:
    """
    Raises:
        Usage: if settings do not go together, whatever is trained.
    """
    several = len(OBJECTIVES[spec.objective]) > 1
    pruners.check(spec.pruner, spec.objective)
    if several and spec.sampler in SAMPLERS and not SAMPLERS[spec.sampler].several:
        remedy = f"for {spec.objective} take {', '.join(MODELS)} or tpe"
        raise Refused("sampler", spec.sampler, f"has one objective only: {remedy}.")
    if spec.min_rate and spec.sampler in SAMPLERS and not SAMPLERS[spec.sampler].constrained:
        remedy = f"for min_rate take {', '.join(MODELS)} or tpe"
        raise Refused("sampler", spec.sampler, f"cannot keep a least rate: {remedy}.")
    for key in ("stop_when", "warm_start"):
        if several and (value := getattr(spec, key)):
            raise Refused(key, value, f"is for one objective: leave it out with {spec.objective}.")
    if spec.stop_when and spec.sampler not in MODELS:
        needed = f"needs a sampler that knows its expected gain: {' or '.join(MODELS)}, not {spec.sampler}"
        raise Refused("stop_when", f"{spec.stop_when:g}", f"{needed}.")


def judge_deadline(deadline: float | None) -> None:
    """
    Raises:
        Refused: if it has passed, so that nothing would be trained.
    """
    if deadline is not None and deadline <= time.time():
        raise Refused("deadline", time_of(deadline), "has passed: name a time to come, or leave it out.")


def _judge_trained(spec: StudySpec, described: Mapping[str, Any]) -> None:
    """Refuses settings that do not go with what is trained."""
    if not described["latent"]:
        for key, value, why in (
            ("objective", spec.objective != "nll" and spec.objective, "which has no latent code"),
            ("min_rate", spec.min_rate, "which has no latent code and so no rate"),
        ):
            if value:
                raise Refused(key, value, f"is not allowed for {spec.technique}, {why}: leave it out.")
    if spec.pruner != "none" and described["stages"] > 1:
        why = f"which trains in {described['stages']} stages: the epochs of the first tell nothing of the last; leave it out"
        raise Refused("pruner", spec.pruner, f"is not allowed for {spec.technique}, {why}.")


def prepare_all(
    specs: Mapping[str, StudySpec], opened: Callable[[], Database], say: Say, *, skip: bool, here: bool
) -> dict[str, Definition]:
    """The definitions of several studies by their names, before any of them is made.

    Args:
        say: hears each sentence once, however many studies it is of.
        skip: leaves out what is not allowed with some techniques, and says so, if it is with others.
        here: as in `prepare`.

    Raises:
        Usage: if a study, or unless `skip` one of them, is not allowed.
    """
    heard = cache(say)
    asked = {name: spec.technique for name, spec in specs.items()}
    return allowed(asked, lambda name: prepare(name, specs[name], opened, heard, here=here), say, skip=skip)


def allowed(asked: Mapping[str, str], check: Callable[[str], T], say: Say, *, skip: bool) -> dict[str, T]:
    """The results of a check of each study, by name.

    Args:
        asked: technique of each study.
        skip: as in `prepare_all`.

    Raises:
        Usage: the check's, if a study, or unless `skip` one of them, is not allowed.
    """
    found, refused = {}, []
    for name, technique in asked.items():
        try:
            found[name] = check(name)
        except Usage as error:
            if not skip:
                raise
            refused.append((technique, error))
    if not found:
        raise refused[0][1]
    say_left_out([(technique, str(why)) for technique, why in refused], say)
    return found


def say_left_out(refused: Iterable[tuple[str, str]], say: Say) -> None:
    """Says what is left out and why, each reason once; refused: names with their reasons."""
    by_reason: dict[str, list[str]] = {}
    for name, why in refused:
        by_reason.setdefault(why, []).append(name)
    for why, whose in by_reason.items():
        say(f"note: {', '.join(whose)} {'is' if len(whose) == 1 else 'are'} left out: {why}")


@contextmanager
def _in(field: str, keys: Iterable[str] = ()) -> Iterator[None]:
    """Says in which field the mistake is, or under which of its keys if the sentence begins with one."""
    try:
        yield
    except Usage as error:
        said = str(error).lstrip("'")
        key = next((key for key in keys if said.startswith(key)), None)
        error.field = error.field or (f"{field}.{key}" if key else field)
        raise


def create(url: str, name: str, spec: StudySpec, runs: Path, artifacts: str | None) -> bool:
    """Makes the study and tells if it is new. A repeated call with equal settings changes nothing.

    Raises:
        Usage: if it is not allowed.
        Clash: if there is another study of that name.
    """
    with Database(url, patience=10.0) as database:
        definition = prepare(name, spec, lambda: database, here=False)
        is_new = database.read(lambda session: session.get(StudyRow, name)) is None
        creation.go_on(database, name, definition, runs, artifacts, keep=True)
        return is_new


def check(url: str, name: str, spec: StudySpec) -> None:
    """Refuses what `create` would refuse, and makes nothing.

    Raises:
        Usage: as `create`.
    """
    with Database(url, patience=10.0) as database:
        creation.check(database, name, prepare(name, spec, lambda: database, here=False), keep=True)
