"""Workers that reach the API and not the database: they ask, report and tell over HTTP under the same leases as all others.

Such a worker trains with `python -m trainers` on its own machine. Its files stay there, so a trial that it loses begins anew.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tuner import __version__
from tuner.attempts import LEASE_SECONDS, Attempts, Claim
from tuner.database import Database
from tuner.errors import Clash, Missing, Usage
from tuner.metrics import METRICS
from tuner.samplers import SAMPLERS
from tuner.studies import Study, open_study
from tuner.tables import TrialRow, WorkerRow

HOST = "http"
"""such a worker's, in the list of workers"""
ASK_SECONDS = 20.0
"""for which an ask waits while another worker's sampler thinks"""
KEPT = 64
"""workers whose study is kept in memory between asks"""

_databases: dict[str, Database] = {}
_attempts: OrderedDict[tuple[str, str, str], Attempts] = OrderedDict()


@dataclass(frozen=True)
class Work:
    """A trial to be trained."""

    number: int
    params: dict[str, Any]
    token: str
    attempt: int
    lease_seconds: float
    specification: dict[str, Any]


def ask(url: str, name: str, worker: str, device: str) -> Work | None:
    """The next trial of a study for a worker, or none; runs in a process of its own, since a sampler may load torch.

    Raises:
        Missing: if there is no such study.
        Clash: if a worker that reaches the database has that name.
    """
    database = _databases.get(url) or _databases.setdefault(url, Database(url, patience=10.0))
    study = open_study(database, name)
    if study.specification["sampler"] not in SAMPLERS:
        raise Clash(
            f"study {name!r} has a sampler of its own, and a request imports no code: its workers need the database."
        )
    database.run(lambda session: _enter(database, session, worker, device))
    kept = _attempts.pop((url, name, worker), None)
    if kept is None or kept.study.created_at != study.created_at:
        kept = Attempts(study, worker)
    kept.study = study
    _attempts[url, name, worker] = kept
    if len(_attempts) > KEPT:
        _attempts.popitem(last=False)
    over = threading.Event()
    timer = threading.Timer(ASK_SECONDS, over.set)
    timer.start()
    try:
        claim = kept.claim(over)
    finally:
        timer.cancel()
    if claim is None:
        return None
    spec = study.run_spec(claim.number, claim.params)
    return Work(claim.number, claim.params, claim.token, claim.attempt, LEASE_SECONDS, spec)


def _enter(database: Database, session: Session, worker: str, device: str) -> None:
    row, now = session.get(WorkerRow, worker), database.clock(session)
    if row is not None and row.host != HOST and row.state != "gone":
        raise Clash(f"worker {worker!r} is at work on {row.host}: give this one another name.", "worker")
    if row is None or row.host != HOST:
        session.merge(
            WorkerRow(
                name=worker, host=HOST, process="0", device=device, state="idle", version=__version__, started_at=now,
                seen_at=now, trials=0, study=None, trial=None,
            )
        )  # fmt: skip
    else:
        row.seen_at, row.device = now, device
        if row.state == "gone":
            row.state = "idle"


def _claim(study: Study, number: int, token: str) -> tuple[Attempts, Claim]:
    """What the token gives the right to."""
    query = select(TrialRow).where(TrialRow.study == study.name, TrialRow.number == number)
    row = study.database.read(lambda session: session.scalars(query).first())
    if row is None:
        raise Missing(f"study {study.name!r} has no trial {number}: ask for one first.")
    claim = Claim(study.name, number, dict(row.params), token, 0, row.artifacts, row.seconds, 0.0)
    return Attempts(study, row.worker or ""), claim


def record(study: Study, number: int, token: str, epochs: Sequence[Mapping[str, Any]]) -> str | None:
    """Keeps epochs and renews the lease; returns why the training must end now, if it must.

    Raises:
        LeaseLost: if the trial belongs to another worker by now.
    """
    attempts, claim = _claim(study, number, token)
    flat = [{**{f"objective_{k}": v for k, v in e["objective"].items()}, **e} for e in epochs]
    attempts.record(claim, flat, patience=0.0)
    return attempts.renew(claim)


def renew(study: Study, number: int, token: str) -> str | None:
    """Renews the lease; as above."""
    attempts, claim = _claim(study, number, token)
    return attempts.renew(claim)


def tell(study: Study, number: int, token: str, state: str, facts: Mapping[str, Any]) -> str:
    """Ends a trial's attempt; returns the trial's state.

    Args:
        facts: metrics, collapsed, estimator and cost of a complete trial; reason and message of another.

    Raises:
        Usage: if a complete trial has no NLL, or a failed one no reason.
        LeaseLost: as above.
    """
    attempts, claim = _claim(study, number, token)
    message = facts["message"] or "its worker gave no reason."
    if state == "failed":
        if facts["reason"] is None:
            raise Usage(
                "reason is missing: a failed trial has one of nan, error, oom, preempted, user, disk, input.", "reason"
            )
        return "failed" if attempts.fail(claim, facts["reason"], message) else "waiting"
    if state == "pruned":
        attempts.finish(claim, "pruned", reason="pruned", message=message)
        return "pruned"
    metrics = {**dict.fromkeys(METRICS), **(facts["metrics"] or {})}
    if metrics["nll"] is None or facts["estimator"] is None:
        raise Usage(
            "metrics.nll or estimator is missing: a complete trial has both; tell a diverged one as failed, nan.",
            "metrics",
        )
    metrics |= {"collapsed": facts["collapsed"], "estimator": facts["estimator"]}
    if facts["test"]:
        metrics["test"] = facts["test"]
    outcome = study.outcome(metrics)
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in outcome["values"]):
        objective = study.specification["objective"]
        raise Usage(f"metrics lack what study {study.name!r} is judged by: give {objective}.", "metrics")
    attempts.finish(claim, "complete", **outcome, cost=facts["cost"])
    return "complete"
