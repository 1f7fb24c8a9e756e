"""Routes of the tables and plots of many trials, by columns."""

import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import bodies, figure_schemas
from api.routes import StudyName, Where
from api.service import service_of
from tuner.analysis import comparison, curves, history, surface, timeline
from tuner.studies import study as studies

router = APIRouter(tags=["trials"])


@router.get("/studies/{name}/table", response_model=figure_schemas.Table)
def show_table(
    request: Request,
    name: StudyName,
    column: Annotated[
        list[str] | None,
        Query(
            max_length=100,
            description="Columns of the table; without any, the columns that are shown unless others are chosen.",
        ),
    ] = None,
    where: Where = None,
) -> Response:
    """All trials by columns, in the order of their numbers, those that fit a condition; and what columns there are."""
    service = service_of(request)

    def make(study: studies.Study) -> dict[str, Any]:
        table, best = service.table(study), study.best()
        shown = [key for key, head in table.heads.items() if head.shown]
        chosen = [*shown, "nll_se"] if column is None else column
        keys = [table.checked(key, "column") for key in dict.fromkeys(chosen)]
        numbers = table.select(where)
        return {
            "heads": [vars(head) for head in table.heads.values()],
            "number": numbers,
            "columns": table.values(keys, numbers),
            "of": len(table.columns["number"]),
            "best": None if best is None else best.number,
            "front": study.front(),
        }

    return service.of_study("table", name, (tuple(column or ()), where), make).response(request)


@router.get("/compare", response_model=figure_schemas.Comparison)
def compare_trials(
    request: Request,
    run: Annotated[
        list[bodies.Run], Query(min_length=1, max_length=20, description="Two to six trials, each as STUDY/NUMBER.")
    ],
) -> Response:
    """Two to six trials, named STUDY/NUMBER, side by side: their settings, which of them differ, and their figures."""
    service = service_of(request)
    version = (*(service.revision(study) for study, _ in comparison.parted(run)), int(time.time()))
    make = partial(comparison.of, service.database, run)
    return service.cache.get(("compare", tuple(run)), version, make).response(request)


@router.get("/studies/{name}/history", response_model=figure_schemas.History)
def show_history(request: Request, name: StudyName) -> Response:
    """Every trial's value by its number, the least so far, and the lines that it is to be held against."""
    service = service_of(request)
    return service.of_study("history", name, None, lambda s: history.of(s, service.table(s))).response(request)


@router.get("/studies/{name}/means", response_model=figure_schemas.Means)
def show_means(request: Request, name: StudyName) -> Response:
    """Mean of each complete trial by a process through all of them, and the lowest so far; empty where the values are
    not noisy.
    """
    return service_of(request).of_results("means", history.smoothed, name).response(request)


@router.get("/studies/{name}/surface", response_model=figure_schemas.Surface)
def show_surface(request: Request, name: StudyName, x: bodies.Key, y: bodies.Key) -> Response:
    """Mean and uncertainty of a process through all values, over two hyperparameters, the others at the best trial's."""
    return service_of(request).of_results("surface", surface.of, name, x, y).response(request)


@router.get("/studies/{name}/slices", response_model=figure_schemas.Slices)
def show_slices(request: Request, name: StudyName) -> Response:
    """Mean and uncertainty of a process through all values along each hyperparameter, the others at the best trial's."""
    return service_of(request).of_results("slices", surface.slices, name).response(request)


@router.get("/studies/{name}/timeline", response_model=figure_schemas.Timeline)
def show_timeline(request: Request, name: StudyName) -> Response:
    """Every attempt of a study by columns, with its worker, its trial and its times; lost and repeated attempts too."""
    return service_of(request).of_study("timeline", name, None, timeline.of).response(request)


@router.get("/studies/{name}/curves", response_model=figure_schemas.Curves)
def show_curves(
    request: Request,
    name: StudyName,
    figure: Annotated[
        str, Query(max_length=64, description="Figure of the curves: neg_elbo, rate, …, or a technique's own quantity.")
    ] = "neg_elbo",
    where: Where = None,
) -> Response:
    """One validation figure's learning curves of all trials that fit a condition; of very many epochs every nth."""
    service = service_of(request)

    def make(study: studies.Study) -> dict[str, Any]:
        return curves.of(study, figure, None if where is None else service.table(study).select(where))

    return service.of_study("curves", name, (figure, where), make).response(request)
