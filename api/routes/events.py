"""Server-sent events."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.events import Listener
from api.problems import later, problem
from api.routes import StudyName
from api.service import service_of
from tuner.studies import changes

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
    since: Annotated[
        int | None, Query(ge=0, le=2**53, description="Revision after which changes are told; default: now.")
    ] = None,
    last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,16}$")] = None,
) -> Response:
    """Stream of a study's changes: `study`, `trial`, `epoch`, `deleted`. Goes on after Last-Event-ID, or else after
    `since`.
    """
    service = service_of(request)
    now = await run_in_threadpool(changes.of, service.database, name)
    wanted = int(last) if last is not None else now if since is None else since
    return _streamed(request, lambda listener: service.feed.study(listener, name, min(wanted, now)))


@router.get("/events", response_class=StreamingResponse, responses=STREAM)
async def all_events(request: Request) -> Response:
    """Every study as it is, then studies as they change (`study`) or go (`deleted`)."""
    return _streamed(request, service_of(request).feed.all)


class _Stream(StreamingResponse):
    """One stream that its client has a place for, from before its first event to its end."""

    def __init__(self, events: AsyncIterator[bytes], place: AbstractContextManager[None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self.place = place
        self.place.__enter__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.place.__exit__(None, None, None)


def _streamed(request: Request, events: Callable[[Listener], AsyncIterator[bytes]]) -> Response:
    feed, state = service_of(request).feed, request.scope["state"]
    listener = Listener(state["client"], state["key"])
    refused = feed.refusal(listener.client)
    if refused is not None:
        return problem(429, refused, None, **later(10))
    return _Stream(events(listener), feed.opened(listener))
