"""The server's side of workers that reach the API and not the database: they ask, report and tell over HTTP under the same leases
as all others. Their trials' files are in `uploads.py`.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from tuner import __version__
from tuner.errors import Busy, Clash, Fault, Missing, Usage
from tuner.metrics import METRICS, PLAUSIBLE, Metrics
from tuner.samplers import SAMPLERS
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, TrialRow, WorkerRow
from tuner.studies import faults, objectives
from tuner.studies.study import Study, open_study
from tuner.workers.broker import forget
from tuner.workers.claims import RETRIES, SETUP_FAULTS, Stop
from tuner.workers.curves import Curves
from tuner.workers.gpu import Load
from tuner.workers.held import Held
from tuner.workers.leases import LEASE_SECONDS, Attempts

HOST = "http"
"""Host of a worker over HTTP in the list of workers."""
ASK_SECONDS = 20.0
"""Seconds for which an ask waits while another worker's sampler thinks."""
KEPT = 64
"""Largest number of workers whose study is kept in memory between asks."""
ESTIMATES = {"tempered": ("tempered q", "exact"), "q": ("q", "exact"), "both": ("q", "exact")}
"""Proposals that may estimate the NLL, by the option `nll`; exact: of a model without a latent code."""

_databases: dict[str, Database] = {}
_attempts: OrderedDict[tuple[str, str, str], Attempts] = OrderedDict()
_curves: OrderedDict[tuple[str, str], Curves] = OrderedDict()
_following = threading.Lock()


@dataclass(frozen=True)
class Work:
    """A trial for a worker, and what `python -m trainers train` is given for it."""

    number: int
    params: dict[str, Any]
    token: str
    attempt: int
    lease_seconds: float
    specification: dict[str, Any]
    timeout: float | None
    """Seconds that all of the trial's attempts may take together."""
    seconds: float
    """Seconds that earlier attempts have spent."""
    files: str | None
    """Generation of the trial's newest files, from which to go on."""


def ask(
    url: str, name: str, worker: str, device: str, token: str | None = None, takes: Sequence[str] | None = None
) -> Work | None:
    """The next trial of a study for a worker, or none; runs in a process of its own, since a sampler may load torch.

    Args:
        token: of the worker's choice; who asks with it again, since the answer was lost, gets the same trial.
        takes: names of the studies that the worker takes trials of; None: of any.

    Raises:
        Missing: if there is no such study.
        Busy: if the study's sampler failed; it is broken after some times in a row.
        Clash: if a worker that reaches the database has that name, the token's trial is over, or the sampler is code.
    """
    database = _databases.get(url) or _databases.setdefault(url, Database(url, patience=10.0))
    study = open_study(database, name)
    if study.spec.sampler not in SAMPLERS:
        raise Clash(
            f"study {name!r} has a sampler of its own, and a request imports no code: its workers need the database."
        )
    if token is not None and database.read(lambda session: _is_spent(session, name, token)):
        raise Clash(
            "the token's trial is over, another worker's by now, or another study's: ask with a new token.", "token"
        )
    database.run(lambda session: _enter(database, session, worker, device, takes))
    kept = _attempts.pop((url, name, worker), None)
    if kept is None or kept.study.created_at != study.created_at:
        kept = Attempts(study, worker)
    kept.study = study
    _attempts[url, name, worker] = kept
    if len(_attempts) > KEPT:
        _attempts.popitem(last=False)
    try:
        claim = kept.claim(own=token, patience=ASK_SECONDS)
    except Busy:
        raise
    except Fault as fault:
        faults.tell(database, name, faults.sentence(fault))
        raise Busy(f"study {name!r} waits: {fault}", faults.LONGEST_SECONDS) from fault
    if claim is None:
        return None
    return Work(
        claim.number,
        claim.params,
        claim.token,
        claim.attempt,
        LEASE_SECONDS,
        claim.spec,
        claim.timeout or None,
        claim.seconds,
        None if claim.artifacts is None else claim.artifacts.rpartition("/")[2],
    )


def leave(database: Database, worker: str) -> None:
    """Notes that a worker over HTTP has gone.

    Raises:
        Missing: if there is none of that name.
    """

    def change(session: Session) -> None:
        row = session.get(WorkerRow, worker)
        if row is None or row.host != HOST:
            raise Missing(f"there is no worker {worker!r} that works over HTTP: list the workers first.")
        row.state, row.study, row.trial, row.seen_at = "gone", None, None, database.clock(session)

    database.run(change)


def _is_spent(session: Session, study: str, token: str) -> bool:
    attempt = session.scalars(select(AttemptRow).where(AttemptRow.token == token)).first()
    return attempt is not None and (attempt.state != "running" or attempt.study != study)


def _enter(database: Database, session: Session, worker: str, device: str, takes: Sequence[str] | None) -> None:
    row, now = session.get(WorkerRow, worker), database.clock(session)
    if row is not None and row.host != HOST and row.state != "gone":
        raise Clash(f"worker {worker!r} is at work on {row.host}: give this one another name.", "worker")
    if row is None or row.host != HOST:
        forget(session, now)
        session.merge(
            WorkerRow(
                name=worker, host=HOST, process="0", device=device, state="idle", version=__version__, started_at=now,
                seen_at=now, trials=0, study=None, trial=None, takes=list(takes or ()) or None,
            )
        )  # fmt: skip
    else:
        row.seen_at, row.device, row.takes = now, device, list(takes or ()) or None
        if row.state == "gone":
            row.state = "idle"


def record(study: Study, number: int, token: str, epochs: Sequence[Mapping[str, Any]]) -> Stop | None:
    """Keeps epochs and renews the lease; returns why the training must end now, if it must.

    Raises:
        LeaseLost: if the trial belongs to another worker by now.
        Usage: if a figure cannot be.
    """
    for place, epoch in enumerate(epochs):
        _refuse_implausible(epoch, f"epochs.{place}")
    held = Held.of(study, number, token)
    flat = [{**{f"objective_{k}": v for k, v in e["objective"].items()}, **e} for e in epochs]
    held.attempts.record(held.claim, flat, patience=0.0)
    if (stop := held.renew()) is None and _is_poor(study, number):
        return Stop("pruned", f"by {study.spec.pruner}, after epoch {epochs[-1]['epoch']}.")
    return stop


def _is_poor(study: Study, number: int) -> bool:
    """True if the study's pruner ends the trial now."""
    place = (study.database.secret_url, study.name)
    with _following:
        kept = _curves.pop(place, None)
        if kept is None or kept.study.created_at != study.created_at:
            kept = Curves(study)
        _curves[place] = kept
        if len(_curves) > KEPT:
            _curves.popitem(last=False)
        return kept.is_poor(number)


def renew(study: Study, number: int, token: str, gpu: Load | None = None) -> Stop | None:
    """Renews the lease, and keeps the load of the worker's card; as above."""
    return Held.of(study, number, token).renew(gpu)


def tell(study: Study, number: int, token: str, state: str, facts: Mapping[str, Any]) -> str:
    """Ends a trial's attempt; returns the trial's state.

    Args:
        facts: metrics, collapsed, estimator and cost of a complete trial; reason and message of another; `files`, the generation
            that is published with it.

    Raises:
        Usage: if a complete trial has no NLL, or figures that cannot be or are not by the study's estimator; or a failed one no
            reason; or its files are not whole.
        LeaseLost: as above.
    """
    held = Held.of(study, number, token)
    attempts, claim = held.attempts, held.claim
    message = facts["message"] or "its worker gave no reason."
    files = None if facts["files"] is None else held.closed(facts["files"])
    if state == "failed":
        if facts["reason"] is None:
            raise Usage(f"reason is missing: a failed trial has one of {', '.join(RETRIES)}.", "reason")
        failed = attempts.fail(claim, facts["reason"], message, files)
        if facts["reason"] in SETUP_FAULTS:
            faults.tell(study.database, study.name, message)
        return "failed" if failed else "waiting"
    held.late()
    kept = {} if files is None else {"artifacts": files}
    if state == "pruned":
        attempts.finish(claim, "pruned", reason="pruned", message=message, **kept)
        return "pruned"
    metrics: Metrics = cast(Metrics, {**dict.fromkeys(METRICS), **(facts["metrics"] or {})})
    if metrics["nll"] is None or facts["estimator"] is None:
        raise Usage(
            "metrics.nll or estimator is missing: a complete trial has both; tell a diverged one as failed, nan.",
            "metrics",
        )
    _refuse_implausible(metrics, "metrics")
    _refuse_other_estimator(study, facts["estimator"], "estimator", "valid")
    metrics["collapsed"], metrics["estimator"] = facts["collapsed"], facts["estimator"]
    if facts["test"]:
        _refuse_implausible(facts["test"], "test")
        if facts["test_estimator"] is None:
            raise Usage(
                "test_estimator is missing: figures of the test sentences have one of their own.", "test_estimator"
            )
        _refuse_other_estimator(study, facts["test_estimator"], "test_estimator", "test")
        own = {"collapsed": facts["collapsed"], "estimator": facts["test_estimator"]}
        metrics["test"] = cast(Metrics, {**dict.fromkeys(METRICS), **facts["test"], **own})
    outcome = objectives.outcome(study.spec.objective, metrics)
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in outcome["values"]):
        objective = study.spec.objective
        raise Usage(f"metrics lack what study {study.name!r} is judged by: give {objective}.", "metrics")
    attempts.finish(claim, "complete", **outcome, cost=facts["cost"], **kept)
    return "complete"


def _refuse_implausible(figures: Mapping[str, Any], field: str) -> None:
    for key, value in figures.items():
        low, high = PLAUSIBLE.get(key, (-math.inf, math.inf))
        if isinstance(value, (int, float)) and not low <= value <= high:
            raise Usage(
                f"{field}.{key} = {value:g} cannot be: it is from {low:g} to {high:g}; tell a diverged trial as failed, nan.",
                f"{field}.{key}",
            )


def _refuse_other_estimator(study: Study, told: Mapping[str, Any], field: str, split: str) -> None:
    """Figures of different estimators are not to be ranked together, and a study ranks its own."""
    fixed = study.spec.fixed
    of = study.facts.corpus.sentences.get(split)
    wanted: dict[str, tuple[Any, ...]] = {"split": (split,), "proposal": ESTIMATES[str(fixed.get("nll", "q"))]}
    if of is not None:
        chosen = fixed.get("nll_sentences")
        wanted |= {
            "of": (of,),
            "sentences": (min(chosen, of) or of,) if chosen is not None else tuple(range(1, of + 1)),
        }
    if told["proposal"] == "q" and "nll_samples" in fixed:
        wanted["samples"] = (fixed["nll_samples"],)
    other = _first_estimator(study, split)
    if other is not None:
        same = ("proposal", "sentences", "of", "inputs", *(("samples",) if other["proposal"] == "q" else ()))
        wanted |= {key: (other.get(key),) for key in same}
    for key, allowed in wanted.items():
        if told.get(key) not in allowed:
            expected = " or ".join(map(str, allowed[-3:]))
            raise Usage(
                f"{field}.{key} = {told.get(key)} is not this study's: its figures have {expected}; evaluate as its "
                "specification says.",
                f"{field}.{key}",
            )


def _first_estimator(study: Study, split: str) -> dict[str, Any] | None:
    """Estimator of the figures of the study's first complete trial."""
    mine = (TrialRow.study == study.name, TrialRow.state == "complete", TrialRow.metrics.is_not(None))
    query = select(TrialRow.metrics).where(*mine).order_by(TrialRow.number).limit(1)
    found = study.database.read(lambda session: session.scalars(query).first()) or {}
    figures = found.get("test") or {} if split == "test" else found
    made: dict[str, Any] | None = figures.get("estimator")
    return made
