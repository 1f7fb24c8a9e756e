"""Routes of the techniques, corpora and options to choose from, and of the workers."""

import json
import time
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api import schemas, views
from api.response_cache import Answer
from api.routes import WorkerName
from api.service import Service, service_of
from trainers.contract import PRESETS
from tuner import __version__, space, trainer
from tuner.errors import Usage
from tuner.metrics import AXES
from tuner.samplers import DEFAULT, SAMPLERS
from tuner.studies import answers, queries
from tuner.studies.corpora import Source
from tuner.studies.objectives import OBJECTIVES
from tuner.studies.pruners import PRUNERS
from tuner.studies.spec import ASKED
from tuner.studies.trials import STATES
from tuner.workers import remote

router = APIRouter(tags=["catalogue"])
CORPUS_SECONDS = 300.0
"""Seconds for which what a trainer told of a corpus is believed: its text may change."""
TOLD = ("sentences", "vocabulary", "divided_into", "entropy", "fingerprint")


@router.get("/options", response_model=schemas.Options)
def options(request: Request) -> Response:
    """Options that a new study may choose from, and the rights of this key."""
    service = service_of(request)
    content = {
        "samplers": list(SAMPLERS),
        "default_sampler": DEFAULT,
        "pruners": list(PRUNERS),
        "models": list(PRESETS),
        "objectives": list(OBJECTIVES),
        "states": list(queries.LISTED_STATES),
        "trial_states": list(STATES),
        "metrics": [{"key": key, **vars(metric)} for key, metric in AXES.items()],
        "corpora": list(service.corpora),
        "technique_names": space.techniques(),
        "settings": [{**views.setting(each), **_choices(service).get(key, {})} for key, each in ASKED.items()],
        "can_write": request.scope["state"]["can_write"],
        "has_workers": bool(service.takers),
        "version": __version__,
    }
    return Answer(content).response(request)


def _choices(service: Service) -> dict[str, dict[str, list[str]]]:
    """The choices that a server narrows settings to: the techniques that it has, and the corpora that it offers."""
    return {"technique": {"choices": space.techniques()}, "corpus": {"choices": list(service.corpora)}}


@router.get("/techniques", response_model=schemas.Techniques)
def techniques(request: Request) -> Response:
    """All techniques with their formulas, hyperparameters and domains."""

    def make() -> dict[str, Any]:
        return {"items": [views.technique(space.load(name)) for name in space.techniques()], "next": None}

    return service_of(request).cache.get("techniques", 0, make).response(request)


@router.get("/corpora", response_model=schemas.Corpora)
def corpora(request: Request) -> Response:
    """The corpora that this server offers. Each is read by a trainer's process every five minutes at most, which takes
    seconds; one that cannot be read, since its folder has gone, is left out."""
    service = service_of(request)
    age = int(time.time() / CORPUS_SECONDS)

    def describe(name: str, source: Source) -> Answer | None:
        def make() -> dict[str, Any]:
            found = service.processes.do(trainer.ask, "corpus", source.place, json.dumps(source.values))
            return {"name": name, **{key: found[key] for key in TOLD}}

        try:
            return service.cache.get(("corpus", name), (source, age), make)
        except Usage:
            return None

    found = [describe(name, source) for name, source in service.corpora.items()]
    items = [orjson.Fragment(each.body) for each in found if each is not None]
    return Answer({"items": items, "next": None}).response(request)


@router.get("/workers", response_model=schemas.Workers)
def workers(request: Request) -> Response:
    """Workers that have reported, the newest word first. One without a word for a minute is `lost`."""
    found = queries.workers(service_of(request).database)
    return Answer({"items": [answers.worker(w) for w in found], "next": None}).response(request)


@router.delete("/workers/{name}", status_code=204, tags=["remote workers"])
def leave(request: Request, name: WorkerName) -> Response:
    """Say that a worker without the database has gone. A trial that it still has goes to another one when its lease ends."""
    remote.leave(service_of(request).database, name)
    return Response(status_code=204)
