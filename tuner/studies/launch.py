"""A new study, from what a person or a request asks for: everything that can be wrong with it is said before anything is made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError

from tuner import names, samplers, trainer
from tuner.errors import Clash, Usage
from tuner.estimators import text_of
from tuner.samplers import DEFAULT, MODELS, SAMPLERS, rehearsal
from tuner.space import Space, Value
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow
from tuner.studies import creation, pruners, warmstart
from tuner.studies import study as studies
from tuner.studies.spec import OBJECTIVES, Request, Rules

Say = Callable[[str], None]
DIGITS = 9
"""of the samples that --nll may name"""


@dataclass(frozen=True)
class Proposal:
    """What is asked for, not yet checked."""

    space: Space
    trials: int
    name: str
    corpus: str = "grammar"
    """as the trainer opens it"""
    model: str = "tiny"
    sampler: str = DEFAULT
    sampler_options: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0
    objective: str = "nll"
    pruner: str = "none"
    min_rate: float = 0.0
    stop_when: float = 0.0
    fixed: Mapping[str, Value] = field(default_factory=dict)
    nll: str | None = None
    """what the trials are judged by (`judged_by`); None: as `fixed` says, else tempered"""
    rules: Rules = field(default_factory=Rules)
    warm_start: str | None = None
    confirms: Mapping[str, Any] | None = None
    """the study and the trial whose configuration is trained again"""
    first_default: bool = False
    """whether trial 0 shall have the technique's published values, where something is searched and its space holds them"""


def judged_by(nll: str | None, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """The options that make a trial's NLL: tempered; q, posterior samples, as many as the preset says; or q1000, so many of them.

    Raises:
        Usage: if there is no such estimator, or the settings name one too.
    """
    own = [key for key in ("nll", "nll_samples") if key in fixed]
    if nll is None:
        return {} if own else {"nll": "tempered"}
    if own:
        raise Usage(f"--nll {nll} and {own[0]} = {fixed[own[0]]!r} both say what makes the NLL: leave one out.", "nll")
    samples = nll.removeprefix("q")
    if nll == "tempered":
        return {"nll": nll}
    if nll == "q":
        return {}
    if samples == nll or not samples.isdecimal() or len(samples) > DIGITS or not int(samples):
        raise Usage(
            f"--nll {nll!r} is unknown: give tempered, q, or q and the samples of a sentence, e.g. q1000.", "nll"
        )
    return {"nll_samples": int(samples)}


def name_of(technique: str, corpus: str, model: str) -> str:
    """What a study is called that was given no name."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(corpus).name)
    return f"{technique}-{plain}-{model}"


def prepare(
    proposal: Proposal, opened: Callable[[], Database], say: Say = lambda _: None
) -> tuple[Request, dict[str, Any]]:
    """The request that a proposal comes to, and its corpus described by a trainer.

    Args:
        opened: the database, for what lies in it.
        say: hears what a person should know though it is no mistake.

    Raises:
        Usage: if anything of it is not allowed.
    """
    p = proposal
    several = len(OBJECTIVES.get(p.objective, ())) > 1
    if p.objective not in OBJECTIVES:
        raise Usage(f"--objectives {p.objective!r} is unknown: choose one of {'; '.join(OBJECTIVES)}.", "objective")
    pruners.check(p.pruner, p.objective)
    if several and p.sampler in SAMPLERS and not SAMPLERS[p.sampler].several:
        raise Usage(
            f"sampler {p.sampler!r} has one objective only: for {p.objective} take {', '.join(MODELS)} or tpe.",
            "sampler",
        )
    if several and p.stop_when:
        raise Usage(
            f"--stop-when {p.stop_when:g} is for one objective: leave it out with --objectives {p.objective}.",
            "stop_when",
        )
    if p.stop_when and p.sampler not in MODELS:
        raise Usage(
            f"--stop-when {p.stop_when:g} needs a sampler that knows its expected gain: {' or '.join(MODELS)}, not {p.sampler}.",
            "stop_when",
        )
    if p.warm_start is not None and several:
        raise Usage(
            f"--warm-start {p.warm_start!r} is for one objective: leave it out with --objectives {p.objective}.",
            "warm_start",
        )
    fixed = p.space.checked({**p.fixed, **judged_by(p.nll, p.fixed)})
    names.check("--study", p.name, names.LONGEST if p.confirms else names.BYTES)
    spec = {"technique": p.space.technique, "corpus": p.corpus, "model": p.model, "values": fixed, "seed": p.seed}
    say(f"checking {p.space.technique} on {p.corpus} …")
    with _in("fixed", fixed):
        described = trainer.check(spec, p.space.corners(fixed))
    # Without a latent code the NLL is exact: no study of it is another one for an estimator that it does not need.
    kept = fixed if described["latent"] else {key: value for key, value in fixed.items() if key != "nll"}
    space = p.space.within(described["limits"], described["planned"], fixed)
    distributions = {q.name: q.distribution() for q in space.searched(fixed)}
    taken = None
    if p.warm_start is not None:
        with _in("warm_start"):
            judged = {**kept, "batching": described["batching"], "text": text_of({**described, "corpus": described})}
            taken = warmstart.observations(opened(), p.warm_start, distributions, p.objective, judged, p.min_rate)
    rehearsal.rehearse(p.sampler, p.sampler_options, distributions, OBJECTIVES[p.objective])
    samplers.create(p.sampler, p.sampler_options, p.seed, 0, distributions, taken["observations"] if taken else ())
    if p.objective != "nll" and not described["latent"]:
        raise Usage(
            f"--objectives {p.objective} is not allowed for {p.space.technique}, which has no latent code.",
            "objective",
        )
    if p.pruner != "none" and described["stages"] > 1:
        raise Usage(
            f"--pruner {p.pruner} is not allowed for {p.space.technique}, which trains in {described['stages']} stages: the "
            "epochs of the first tell nothing of the last; leave it out.",
            "pruner",
        )
    if p.min_rate and not described["latent"]:
        raise Usage(
            f"--min-rate {p.min_rate:g} is not allowed for {p.space.technique}, which has no latent code and so no rate.",
            "min_rate",
        )
    for warning in described["warnings"]:
        say(f"warning: {warning}")
    for q in space.searched(fixed):
        if q.planned:
            say(f"note: {q.name} is searched from {q.domain}, where its schedule ends within max_epochs")
    if not space.searched(fixed):
        say(f"note: nothing is left to tune for {p.space.technique}; the trials differ in their seed alone")
    first_default = p.first_default and bool(space.searched(fixed))
    if first_default:
        try:
            space.published(fixed)
        except Usage as error:
            first_default = False
            say(f"note: trial 0 of {p.name} is the sampler's and has not the published values: {error}")
    request = Request(
        space,
        p.corpus,
        p.model,
        kept,
        sampler=p.sampler,
        seed=p.seed,
        trials=p.trials,
        sampler_options=p.sampler_options,
        min_rate=p.min_rate,
        pruner=p.pruner,
        objective=p.objective,
        stop_when=p.stop_when,
        rules=p.rules,
        warm_start=taken,
        confirms=p.confirms,
        first_default=first_default,
    )
    return request, described


def prepare_all(
    proposals: Sequence[Proposal], opened: Callable[[], Database], say: Say, skip: bool
) -> dict[str, tuple[Request, dict[str, Any]]]:
    """The same of several, by the studies' names, before any of them is made.

    Args:
        skip: leaves out what is not allowed with some techniques, and says so, if it is with others.

    Raises:
        Usage: if a proposal, or unless `skip` one of them, is not allowed.
    """
    found, refused = {}, []
    for proposal in proposals:
        try:
            found[proposal.name] = prepare(proposal, opened, say)
        except Usage as error:
            if not skip:
                raise
            refused.append((proposal.space.technique, error))
    if not found:
        raise refused[0][1]
    for technique, why in refused:
        say(f"note: {technique} is left out: {why}")
    return found


@contextmanager
def _in(field: str, keys: Iterable[str] = ()) -> Iterator[None]:
    """Says in which field the mistake is, or under which of its keys if the sentence begins with one."""
    try:
        yield
    except Usage as error:
        said = str(error).lstrip("'")
        key = next((key for key in keys if said.startswith(key)), None)
        place = error.field or (f"{field}.{key}" if key else field)
        raise type(error)(str(error), place, error.public) from error


def create(url: str, proposal: Proposal, runs: Path, artifacts: str | None) -> bool:
    """Makes the study; whether it is new. The same proposal again changes nothing.

    Raises:
        Usage: if it is not allowed.
        Clash: if there is another study of that name.
    """
    database = Database(url, patience=10.0)
    try:
        request, described = prepare(proposal, lambda: database)
        for last in (False, True):
            if _is_there(database, proposal.name, request, described):
                return False
            try:
                creation.go_on(database, proposal.name, request, described, runs, artifacts)
            except IntegrityError:  # another server has made it meanwhile
                if last:
                    raise
                continue
            return True
        return False
    finally:
        database.close()


def _is_there(database: Database, name: str, request: Request, described: Mapping[str, Any]) -> bool:
    row = database.read(lambda session: session.get(StudyRow, name))
    if row is None:
        return False
    earlier, study = creation.agree(row, request.specification(described)), studies.Study(database, row)
    wanted = {"trials": request.trials, "stop_when": request.stop_when, **vars(request.rules)}
    there = {"trials": study.budget, "stop_when": earlier["stop_when"], **vars(study.rules)}
    for key, value in wanted.items():
        if there[key] != value:
            raise Clash(
                f"study {name!r} exists with {key} = {there[key]}, not {value}: ask for the same, or give the new one a name of "
                "its own.",
                key,
            )
    return True
