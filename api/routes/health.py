"""Routes that tell if the server lives and can serve, and its figures for Prometheus."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from api.problems import problem
from api.prometheus import render
from api.service import service_of
from tuner.studies import changes

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=JSONResponse)
async def healthz() -> Response:
    """The process answers, even while all its threads are busy."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", response_class=JSONResponse)
def readyz(request: Request) -> Response:
    """The database answers too, and the server is not about to stop."""
    service = service_of(request)
    if service.feed.is_closed:
        return problem(503, "the server is stopping: ask another one.")
    changes.current(service.database)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Trials by state, the queue, lost attempts, suggestion seconds, requests: Prometheus's text format."""
    service = service_of(request)
    body, media = render(service.database, service.feed.streams, service.measures)
    return Response(body, media_type=media)
