"""Trials: list, inspect, enqueue; and their life with a worker that has no database."""

import secrets
import time
from dataclasses import asdict
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from api import bodies, cursors, schemas
from api.process_pool import Left
from api.response_cache import Answer, encode
from api.routes import Cursor, Limit, StudyName, TrialNumber, Where, page
from api.service import service_of
from tuner.errors import Clash, Missing
from tuner.studies import answers, strikes
from tuner.studies import study as studies
from tuner.workers import remote
from tuner.workers.claims import Stop
from tuner.workers.gpu import Load
from tuner.workers.held import stored
from tuner.workers.leases import Attempts

router = APIRouter(prefix="/studies/{name}", tags=["trials"])


@router.get("/trials", response_model=schemas.Trials)
def list_trials(
    request: Request,
    name: StudyName,
    state: bodies.TrialState | None = None,
    where: Where = None,
    order: Annotated[
        str,
        Query(
            max_length=65,
            description="Column of the table to sort by; -nll: the highest first. Trials without it come last.",
        ),
    ] = "number",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Trials by their numbers, or by any column of the study's table, those that fit a condition."""
    place = cursors.read(cursor, int)
    after = None if place is None else place[0]
    service = service_of(request)

    def make(study: studies.Study) -> dict[str, Any]:
        if where is None and order in ("number", "-number"):
            found = study.trials.page(limit + 1, after, state, order == "-number")
        else:
            numbers = service.table(study).select(where, order, state)
            if after is not None and after not in numbers:
                raise Clash(
                    f"trial {after}, the last one of the page before, does not fit any more: begin at the first page."
                )
            start = 0 if after is None else numbers.index(after) + 1
            found = study.trials.get_many(numbers[start : start + limit + 1])
        return page([trial.plain() for trial in found], limit, lambda last: cursors.write(last["number"]))

    return service.of_study("trials", name, (state, where, order, limit, after), make).response(request)


@router.post("/trials", status_code=201, response_model=schemas.Trial)
def enqueue_trial(request: Request, name: StudyName, new: bodies.NewTrial) -> Response:
    """Have a configuration tried next. A study whose budget is spent gets one more trial."""
    made = service_of(request).study(name).trials.enqueue(new.params)
    place = {"Location": f"/v1/studies/{quote(name)}/trials/{made.number}"}
    return Response(encode(made.plain()), 201, place, "application/json")


@router.get("/trials/{number}", response_model=schemas.TrialWithAttempts)
def show_trial(request: Request, name: StudyName, number: TrialNumber) -> Response:
    """A trial and its attempts."""

    def make(study: studies.Study) -> dict[str, Any]:
        return answers.trial(
            study.trials.get(number), [answers.attempt(each) for each in study.trials.attempts(number)]
        )

    return service_of(request).of_study("trial", name, number, make).response(request)


@router.get("/trials/{number}/epochs", response_model=schemas.EpochList)
def list_epochs(
    request: Request, name: StudyName, number: TrialNumber, limit: Limit = 1000, cursor: Cursor = None
) -> Response:
    """A trial's validation figures by epoch, with the technique's own state in `objective`."""
    place = cursors.read(cursor, int)
    after = 0 if place is None else place[0]

    def make(study: studies.Study) -> dict[str, Any]:
        study.trials.get(number)
        found = study.trials.epochs(number, limit + 1, after)
        return page(found, limit, lambda last: cursors.write(last["epoch"]))

    return service_of(request).of_study("epochs", name, (number, limit, after), make).response(request)


@router.get("/trials/{number}/samples", response_model=schemas.Samples)
def show_samples(request: Request, name: StudyName, number: TrialNumber) -> Response:
    """Sentences of a complete trial's model: samples with their nearest training sentences, a homotopy,
    reconstructions.
    """
    service = service_of(request)
    with stored():
        found = service.study(name).files.samples(number)
    if found is None:
        raise Missing(f"trial {number} of study {name!r} has no samples: they are written when its training ends well.")
    return Answer(found).response(request)


@router.get("/trials/{number}/log", response_class=PlainTextResponse)
def show_log(request: Request, name: StudyName, number: TrialNumber) -> Response:
    """The end of the last attempt's log."""
    with stored():
        return PlainTextResponse(service_of(request).study(name).files.log(number))


@router.post("/trials/{number}/strike", response_model=schemas.Trial)
def strike_trial(request: Request, name: StudyName, number: TrialNumber, told: bodies.Strike) -> Response:
    """Strike a trial out: it counts as failed and for nothing; its figures and the reason stay in the record."""
    made = strikes.strike(service_of(request).study(name), number, told.because)
    return Response(encode(made.plain()), media_type="application/json")


@router.post(
    "/ask",
    response_model=schemas.Work,
    responses={204: {"description": "There is nothing to do now."}},
    tags=["remote workers"],
)
def ask(request: Request, name: StudyName, asked: bodies.Ask) -> Response:
    """The next trial for a worker without a database, under a lease that it must renew."""
    service = service_of(request)
    service.study(name)
    began = time.perf_counter()
    token = asked.token or secrets.token_hex(16)
    who = (asked.worker, asked.device, token, asked.takes)
    try:
        found = service.processes.do(remote.ask, service.settings.database, name, *who)
    except Left:
        Attempts(service.study(name), asked.worker).give_back(token)
        raise
    if found is None:
        return Response(status_code=204, headers={"Retry-After": "5"})
    service.measures.suggestion.observe(time.perf_counter() - began)
    return Response(encode(asdict(found)), media_type="application/json")


@router.post("/trials/{number}/epochs", response_model=schemas.Stop, tags=["remote workers"])
def report_epochs(request: Request, name: StudyName, number: TrialNumber, told: bodies.Epochs) -> Response:
    """Report epochs, which renews the lease too."""
    epochs = [epoch.model_dump() for epoch in told.epochs]
    return _renewed(remote.record(service_of(request).study(name), number, told.token, epochs))


@router.post("/trials/{number}/renew", response_model=schemas.Stop, tags=["remote workers"])
def renew(request: Request, name: StudyName, number: TrialNumber, told: bodies.RenewWithLoad) -> Response:
    """Renew the lease."""
    gpu = None if told.gpu is None else cast(Load, told.gpu.model_dump())
    return _renewed(remote.renew(service_of(request).study(name), number, told.token, gpu))


def _renewed(stop: Stop | None) -> Response:
    content = {"stop": stop and stop.message, "reason": stop and stop.reason}
    return Response(encode(content), media_type="application/json")


@router.post("/trials/{number}/tell", response_model=schemas.Told, tags=["remote workers"])
def tell(request: Request, name: StudyName, number: TrialNumber, told: bodies.Tell) -> Response:
    """End the trial's attempt."""
    facts = told.model_dump(exclude={"token", "state", "epochs", "tokens_per_second", "seconds"})
    for key in ("estimator", "test_estimator"):
        if (made := getattr(told, key)) is not None:
            facts[key] = made.model_dump(exclude_none=True)
    facts["cost"] = {"epochs": told.epochs, "tokens_per_second": told.tokens_per_second, "seconds": told.seconds}
    state = remote.tell(service_of(request).study(name), number, told.token, told.state, facts)
    return Response(encode({"state": state}), media_type="application/json")
