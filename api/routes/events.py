"""Server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.problems import problem
from api.routes import StudyName
from api.service import Service, service_of
from tuner import revisions

router = APIRouter(tags=["events"])
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A stream that does not end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/studies/{name}/events", response_class=StreamingResponse, responses=STREAM)
async def study_events(
    request: Request,
    name: StudyName,
    since: Annotated[int | None, Query(ge=0, le=2**53, description="A revision; default: now")] = None,
    last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,16}$")] = None,
) -> Response:
    """What changes in a study: `study`, `trial`, `epoch`, `deleted`. Goes on after Last-Event-ID, or else after `since`."""
    service = service_of(request)
    now = await run_in_threadpool(revisions.of, service.database, name)
    wanted = int(last) if last is not None else now if since is None else since
    return _streamed(service, service.feed.study(name, min(wanted, now)))


@router.get("/events", response_class=StreamingResponse, responses=STREAM)
async def all_events(request: Request) -> Response:
    """Every study as it is, then studies as they change (`study`) or go (`deleted`)."""
    service = service_of(request)
    return _streamed(service, service.feed.all())


def _streamed(service: Service, events: AsyncIterator[bytes]) -> Response:
    if service.feed.is_full:
        return problem(
            429,
            f"{service.settings.streams} streams are open, as many as may be: try again.",
            None,
            **{"Retry-After": "10"},
        )
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)
