"""Studies: list, make, inspect, start, stop, delete; their fronts and importances."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api import bodies, cursors, figure_schemas, schemas
from api.response_cache import encode
from api.routes import Cursor, Limit, StudyName, page
from api.service import Service, service_of
from tuner.analysis import export, importance, levels, pareto, rates
from tuner.commands.study_options import command_line
from tuner.errors import Busy, Refused
from tuner.samplers import SAMPLERS
from tuner.studies import answers, confirmation, launch, queries, study_file
from tuner.studies.amendment import amend
from tuner.studies.spec import StudySpec
from tuner.studies.study import Study, open_to_delete

router = APIRouter(tags=["studies"])
HANDED_BACK_SECONDS = 20.0
"""Seconds for which the deletion of a study waits for its trials: a worker hears of a study's end within ten, then
saves.
"""
LOOK_SECONDS = 0.5
LEVELS_SECONDS = 10.0
"""Seconds for which the lines beside a front are believed: baselines hardly change."""
Compared = Annotated[
    Sequence[bodies.Name],
    Query(max_length=1000, description="Names of studies; none: all but the confirmations of one of them."),
]


@router.get("/studies", response_model=schemas.Studies)
def list_studies(
    request: Request,
    technique: Annotated[bodies.Name | None, Query()] = None,
    state: bodies.StudyState | None = None,
    tag: Annotated[str | None, Query(max_length=40, description="A tag of the listed studies.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Studies in short, the newest first. One whose row nobody of ours has written is `unreadable`: it can be deleted."""
    service = service_of(request)
    place = cursors.read(cursor, float, str)
    after = None if place is None else (place[0], place[1])
    takers, known = service.takers, service.revisions.get()

    def make() -> dict[str, Any]:
        found = queries.page(service.database, limit + 1, after, technique, state, tag)
        listed = page(found, limit, lambda last: cursors.write(last.created_at, last.name))
        return {**listed, "items": [service.listed(study, takers) for study in listed["items"]]}

    version = (hash(frozenset(known.items())), hash(takers), int(time.time()))
    return service.cache.get(("studies", technique, state, tag, limit, after), version, make).response(request)


@router.post(
    "/studies",
    status_code=201,
    response_model=schemas.Study,
    responses={
        200: {"model": schemas.Study, "description": "The same study was there."},
        204: {"description": "The study may be made, and was not (`check`)."},
    },
)
def create_study(
    request: Request,
    new: bodies.NewStudy,
    check: Annotated[bool, Query(description="True to make nothing, and answer 204 if the study may be made.")] = False,
) -> Response:
    """Make a study. Workers begin it at once; without any it waits. A repeated request with an equal body finds that
    study.
    """
    service, asked = service_of(request), new.model_dump(exclude_unset=True)
    name = asked.pop("name", None)
    spec, corpora = StudySpec.of(asked), service.corpora
    if spec.corpus not in corpora:
        raise Refused("corpus", repr(spec.corpus), f"is not one of this server's: choose one of {', '.join(corpora)}.")
    if spec.sampler not in SAMPLERS:  # a module:Class would be imported
        raise Refused("sampler", repr(spec.sampler), f"is unknown: choose one of {', '.join(SAMPLERS)}.")
    called, source = name or launch.name_of(spec.technique, spec.corpus, spec.model), corpora[spec.corpus]
    spec = replace(spec, corpus=source.place, fixed={**source.values, **spec.fixed})
    settings = service.settings
    if check:
        service.processes.do(launch.check, settings.database, called, spec)
        return Response(status_code=204)
    made = service.processes.do(launch.create, settings.database, called, spec, settings.runs, settings.artifacts)
    response = _shown(service, service.study(called), 201 if made else 200)
    response.headers["Location"] = f"/v1/studies/{quote(called)}"
    return response


@router.post("/study-file", response_model=schemas.Written)
def write_study(new: bodies.NewStudy) -> Response:
    """Write the command and the study file that make such a study elsewhere. Nothing is made here."""
    asked = new.model_dump(exclude_unset=True)
    name = asked.pop("name", None)
    spec = StudySpec.of(asked)
    return Response(
        encode({"command": command_line(name, spec), "file": study_file.write(name, spec)}),
        media_type="application/json",
    )


@router.patch("/studies/{name}", response_model=schemas.Study)
def change_study(request: Request, name: StudyName, told: bodies.Changes) -> Response:
    """Change a study's budget, rules, note or tags. Workers hear of it within seconds."""
    service = service_of(request)
    return _shown(service, amend(service.study(name), told.model_dump(exclude_unset=True)))


@router.get("/studies/{name}", response_model=schemas.Study)
def show_study(request: Request, name: StudyName) -> Response:
    """A study with its best trial, its front and what defines it."""
    service = service_of(request)
    takers = service.takers
    answer = service.of_study("study", name, takers, lambda s: answers.study(s, service.corpus(s), takers))
    return answer.response(request)


@router.delete("/studies/{name}", status_code=204)
async def delete_study(request: Request, name: StudyName) -> Response:
    """Remove a study with its trials and files. Of one that was just stopped the trials under way are waited for, for some
    seconds; an active one must have none."""
    service = service_of(request)
    study = await run_in_threadpool(open_to_delete, service.database, name)
    until = time.monotonic() + HANDED_BACK_SECONDS
    while True:
        try:
            await run_in_threadpool(study.delete)
            return Response(status_code=204)
        except Busy:
            if service.feed.is_closed or time.monotonic() > until or await request.is_disconnected():
                raise
        await asyncio.sleep(LOOK_SECONDS)


@router.post("/studies/{name}/start", response_model=schemas.Study)
def start_study(request: Request, name: StudyName) -> Response:
    """Hand out trials again."""
    service = service_of(request)
    study = service.study(name)
    study.resume()
    return _shown(service, study)


@router.post("/studies/{name}/stop", response_model=schemas.Study)
def stop_study(request: Request, name: StudyName) -> Response:
    """Hand out no more trials; those under way are handed back with their checkpoints."""
    service = service_of(request)
    study = service.study(name)
    study.stop()
    return _shown(service, study)


def _shown(service: Service, study: Study, status: int = 200) -> Response:
    content = answers.study(study, service.corpus(study), service.takers)
    return Response(encode(content), status, media_type="application/json")


@router.get("/studies/{name}/export", responses={200: {"content": {"text/csv": {}, "application/json": {}}}})
def export_study(
    request: Request, name: StudyName, form: Annotated[Literal["csv", "json"], Query(alias="format")] = "csv"
) -> Response:
    """All trials with their hyperparameters and metrics, as `tuner export` writes them."""
    service = service_of(request)
    service.study(name)
    text = service.processes.do(export.trials_at, service.settings.database, name, form)
    media = {"csv": "text/csv; charset=utf-8", "json": "application/json"}[form]
    return Response(text, media_type=media, headers={"Content-Disposition": f'attachment; filename="study.{form}"'})


@router.get("/studies/{name}/importance", response_model=figure_schemas.Importance)
def show_importance(request: Request, name: StudyName, metric: bodies.Axis = "value") -> Response:
    """Share of each hyperparameter in what tells the best tenth of the trials from all of them (PED-ANOVA), with its
    deviation over resamples of the trials. The sum is 1. Of fewer than ten trials none is told.
    """
    return service_of(request).of_results("importance", importance.of, name, metric).response(request)


@router.get("/pareto", response_model=figure_schemas.Pareto, tags=["pareto"])
def show_pareto(
    request: Request,
    study: Compared = (),
    x: bodies.Axis = "rate",
    y: bodies.Axis = "ppl",
    split: bodies.Split = "valid",
) -> Response:
    """All complete trials of studies in the plane of two metrics, by columns; each study's front, and that of all together,
    unless a metric is an estimate and the studies' estimators differ: then `note` says so."""
    service = service_of(request)
    names = list(dict.fromkeys(study))
    if split == "test" or not names:  # which confirmations of the named studies have, and studies that choose nothing
        found = [own.name for _, each in confirmation.sources(service.database, names, split) for own in each]
        names = list(dict.fromkeys(found))
    columns = [service.columns(name) for name in names]
    version = (
        *((own.study.created_at, own.seen, len(own.numbers)) for own in columns),
        int(time.time() / LEVELS_SECONDS),
    )
    name = ("pareto", tuple(names), x, y, split)

    def make() -> dict[str, Any]:
        return {**pareto.compare(columns, x, y, split), "levels": levels.of(service.database, columns, y, split)}

    return service.cache.get(name, version, make).response(request)


@router.get("/rates", response_model=figure_schemas.Rates, tags=["rates"])
def show_rates(request: Request, study: Compared = (), split: bodies.Split = "valid") -> Response:
    """Perplexity, accuracy gap and what the reached rate falls short against the target rate, for studies whose trials hold one,
    by columns; on the test split by the studies' confirmations."""
    service = service_of(request)
    names = list(dict.fromkeys(study))
    sources = confirmation.sources(service.database, names, split)
    found = [(one, [service.columns(each.name) for each in runs]) for one, runs in sources]
    version = tuple(
        (one.name, own.study.created_at, service.revision(own.study.name)) for one, each in found for own in each
    )  # what has failed is told too

    def make() -> dict[str, Any]:
        return rates.plain(rates.series(found, split), split)

    return service.cache.get(("rates", tuple(names), split), version, make).response(request)
